/*
 * debug_table.c - the layers of a quantized network with their errors, as TensorFlow's debugger writes them to CSV:
 *
 *   op_name,tensor_idx,num_elements,stddev,mean_error,max_abs_error,mean_squared_error,scale,zero_point,tensor_name
 *
 * and behind these the two columns that TensorFlow's guide computes of them, range and rmse/scale. A reader finds
 * columns by their names, takes further ones for somebody's own metrics, and computes the last two where they are
 * missing.
 */
#include "debug.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const debug_number_names[DEBUG_NUMBERS] = {
    [DEBUG_ELEMENTS] = "num_elements", [DEBUG_STDDEV] = "stddev",          [DEBUG_MEAN] = "mean_error",
    [DEBUG_MAX] = "max_abs_error",     [DEBUG_MSE] = "mean_squared_error", [DEBUG_RANGE] = "range",
    [DEBUG_SCALE] = "scale",           [DEBUG_ZERO] = "zero_point",        [DEBUG_RMSE] = "rmse/scale"
};

/* Texts of a layer, and the columns of a file; -1: it has no such column. */
typedef struct {
    int op, index, name, number[DEBUG_NUMBERS];
    int n; /* columns of a line */
} places;

enum { CELLS_MOST = 64, STEPS_OF_8_BITS = 255 };

static dt_status add_layer(debug_table *t, const char *op, const char *name, int index, debug_layer **out)
{
    debug_layer *bigger = realloc(t->layer, (size_t)(t->n + 1) * sizeof *bigger);

    DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for a table of %d layers", t->n + 1);
    t->layer = bigger;
    *out = &t->layer[t->n++];
    **out = (debug_layer){ .op = strdup(op), .name = strdup(name), .index = index };
    DT_CHECK((*out)->op && (*out)->name, DT_ERR_MEMORY, "no memory for the name of %s", name);
    return DT_OK;
}

static double rmse_of(const debug_layer *l)
{
    return sqrt(l->number[DEBUG_MSE]) / l->number[DEBUG_SCALE];
}

dt_status debug_table_of(const dt_debug_report *r, debug_table *out)
{
    for (int i = 0; i < r->n; i++) {
        const dt_debug_row *row = &r->row[i];
        debug_layer *l = NULL;
        DT_TRY(add_layer(out, row->op, row->name, row->index, &l));
        l->number[DEBUG_ELEMENTS] = (double)row->n_elements;
        l->number[DEBUG_STDDEV] = row->stddev;
        l->number[DEBUG_MEAN] = row->mean_error;
        l->number[DEBUG_MAX] = row->max_abs_error;
        l->number[DEBUG_MSE] = row->mean_squared_error;
        l->number[DEBUG_RANGE] = row->range;
        l->number[DEBUG_SCALE] = (double)row->scale;
        l->number[DEBUG_ZERO] = row->zero_point;
        l->number[DEBUG_RMSE] = rmse_of(l);
    }
    return DT_OK;
}

void debug_table_free(debug_table *t)
{
    for (int i = 0; i < t->n; i++) {
        free(t->layer[i].op);
        free(t->layer[i].name);
    }
    free(t->layer);
    *t = (debug_table){ 0 };
}

/* ---- to a file ---- */

static void write_layer(FILE *to, const debug_layer *l)
{
    const double *x = l->number;

    fprintf(to, "%s,%d,%.0f,%.9g,%.9g,%.9g,%.9g,%.9g,%.0f,%s,%.9g,%.9g\n", l->op, l->index, x[DEBUG_ELEMENTS],
            x[DEBUG_STDDEV], x[DEBUG_MEAN], x[DEBUG_MAX], x[DEBUG_MSE], x[DEBUG_SCALE], x[DEBUG_ZERO], l->name,
            x[DEBUG_RANGE], x[DEBUG_RMSE]);
}

static void write_table(FILE *to, const void *user)
{
    const debug_table *t = user;

    fprintf(to, "op_name,tensor_idx,num_elements,stddev,mean_error,max_abs_error,mean_squared_error,scale,zero_point,"
                "tensor_name,range,rmse/scale\n");
    for (int i = 0; i < t->n; i++) write_layer(to, &t->layer[i]);
}

dt_status debug_file_write(const char *path, debug_content content, const void *user)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);

    DT_CHECK(to, DT_ERR_MEMORY, "no memory to write %s", path);
    content(to, user);
    const int is_whole = fclose(to) == 0;
    const dt_status status = is_whole ? dt_file_replace(path, text, bytes)
                                      : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to write %s", path);
    free(text);
    return status;
}

dt_status debug_table_write(const debug_table *t, const char *path)
{
    return debug_file_write(path, write_table, t);
}

/* ---- from a file ---- */

/* Cuts a line at its commas, and takes the quotes off cells that have them. Returns the number of cells. */
static int cut_line(char *line, char *cell[CELLS_MOST])
{
    int n = 0;

    line[strcspn(line, "\r\n")] = '\0';
    while (n < CELLS_MOST) {
        const int is_quoted = *line == '"';
        char *end;
        cell[n++] = line += is_quoted;
        end = is_quoted ? strchr(line, '"') : NULL;
        if (end) *end++ = '\0';
        end = strchr(end ? end : line, ',');
        if (!end) return n;
        *end = '\0';
        line = end + 1;
    }
    return n;
}

static int place_of(const char *name, char *const *cell, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(cell[i], name) == 0) return i;
    }
    return -1;
}

static dt_status find_places(const char *path, char *line, places *out)
{
    char *cell[CELLS_MOST];

    out->n = cut_line(line, cell);
    out->op = place_of("op_name", cell, out->n);
    out->index = place_of("tensor_idx", cell, out->n);
    out->name = place_of("tensor_name", cell, out->n);
    DT_CHECK(out->op >= 0 && out->name >= 0, DT_ERR_FORMAT,
             "%s: the first line has no columns op_name and tensor_name; --csv of 'detent inspect --debug-quant' and "
             "TensorFlow's debugger write such files",
             path);
    for (int i = 0; i < DEBUG_NUMBERS; i++) {
        out->number[i] = place_of(debug_number_names[i], cell, out->n);
        DT_CHECK(out->number[i] >= 0 || i == DEBUG_RANGE || i == DEBUG_RMSE, DT_ERR_FORMAT, "%s: has no column %s",
                 path, debug_number_names[i]);
    }
    return DT_OK;
}

static dt_status read_number(const char *path, const char *cell, const char *column, int line, double *out)
{
    char *end;

    *out = strtod(cell, &end);
    DT_CHECK(end != cell && *end == '\0', DT_ERR_FORMAT, "%s: line %d: %s is '%.40s', expected a number", path, line,
             column, cell);
    return DT_OK;
}

static dt_status read_layer(const char *path, const places *at, char *line, int number, debug_table *out)
{
    char *cell[CELLS_MOST];
    const int n = cut_line(line, cell);
    debug_layer *l = NULL;

    DT_CHECK(n == at->n, DT_ERR_FORMAT, "%s: line %d has %d cells, and the first %d", path, number, n, at->n);
    DT_TRY(add_layer(out, cell[at->op], cell[at->name], at->index >= 0 ? atoi(cell[at->index]) : 0, &l));
    for (int i = 0; i < DEBUG_NUMBERS; i++) {
        if (at->number[i] < 0) continue;
        DT_TRY(read_number(path, cell[at->number[i]], debug_number_names[i], number, &l->number[i]));
    }
    if (at->number[DEBUG_RANGE] < 0) l->number[DEBUG_RANGE] = STEPS_OF_8_BITS * l->number[DEBUG_SCALE];
    if (at->number[DEBUG_RMSE] < 0) l->number[DEBUG_RMSE] = rmse_of(l);
    return DT_OK;
}

static dt_status read_lines(const char *path, FILE *file, debug_table *out)
{
    char *line = NULL;
    size_t room = 0;
    places at = { 0 };
    int number = 0;
    dt_status status = DT_OK;

    while (status == DT_OK && getline(&line, &room, file) > 0) {
        number++;
        if (number == 1)
            status = find_places(path, line, &at);
        else if (line[strspn(line, "\r\n")] != '\0')
            status = read_layer(path, &at, line, number, out);
    }
    free(line);
    DT_TRY(status);
    DT_CHECK(out->n > 0, DT_ERR_FORMAT, "%s: has no layer", path);
    return DT_OK;
}

dt_status debug_table_read(const char *path, debug_table *out)
{
    FILE *file = fopen(path, "r");

    DT_CHECK(file, DT_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    const dt_status status = read_lines(path, file, out);
    fclose(file);
    return status;
}
