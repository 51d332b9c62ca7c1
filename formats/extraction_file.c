/*
 * extraction_file.c - a quantized network's factors and integers as the files of the QKeras-Mod notebook, two CSV
 * files, and once more as safetensors.
 *
 * A row has a layer's or a quantizer's name, and then arrays: JSON in quotes. A number has the fewest digits that give
 * the double again. docs/QKERAS_FORMAT.md describes the files.
 *
 * Interface: dt_quantized_extract in include/detent/quantize.h.  Tests: tests/formats/test_extraction_file.c.
 */
#include "../core/names.h"
#include "../quant/extract.h"
#include "../quant/program/program.h"
#include "metadata.h"
#include "whole_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT  "detent-extraction"
#define VERSION "1"

enum { NUMBER_BYTES = 32, MOST_COLUMNS = 5 };

/* Integers up to here are exact in a double. */
static const double most_exact = 9007199254740992.0;

static const char *const weight_columns[][MOST_COLUMNS] = { { "w_scale", "b_scale", "subq1", "wq", "bq" },
                                                            { "w_scale", "b_scale", "subq", "wq", "bq" } };
static const char *const act_columns[][MOST_COLUMNS] = {
    { "alpha_of_max_abs", "beta_of_max_abs", "in_scale", "in_zeropoint" },
    { "alpha_of_min", "beta_of_max", "in_scale", "in_zeropoint" }
};

/* A cell: an array of doubles, or of integers. */
typedef struct {
    const double *real;     /* NULL: it is of integers */
    const int32_t *integer; /* NULL: it is of doubles */
    int is_whole;           /* 1: the doubles are integers, which safetensors has as I64 */
    int ndim;
    int64_t dim[4];
} cell;

/* A row of a table; its cells point into the extraction. */
typedef struct {
    const char *name;
    const char *const *column;
    int n;
    cell cell[MOST_COLUMNS];
} row;

static cell reals(const double *v, int64_t n, int is_whole)
{
    return (cell){ .real = v, .is_whole = is_whole, .ndim = 1, .dim = { n } };
}

static row layer_row(const dt_extracted_layer *l, dt_columns columns)
{
    row r = { .name = l->name, .column = weight_columns[columns], .n = 5 };

    r.cell[0] = reals(l->w_scale, l->n_scale, 0);
    r.cell[1] = reals(&l->b_scale, 1, 0);
    r.cell[2] = reals(l->subq, l->n_out, 1);
    r.cell[3] = (cell){ .integer = l->wq, .ndim = l->ndim };
    memcpy(r.cell[3].dim, l->dim, sizeof l->dim);
    r.cell[4] = (cell){ .integer = l->bq, .ndim = 1, .dim = { l->n_out } };
    return r;
}

static row act_row(const dt_extracted_act *a, dt_columns columns)
{
    row r = { .name = a->name, .column = act_columns[columns], .n = 4 };

    r.cell[0] = reals(&a->alpha, 1, 0);
    r.cell[1] = reals(&a->beta, 1, 0);
    r.cell[2] = reals(&a->grid.scale, 1, 0);
    r.cell[3] = reals(&a->grid.zero, 1, 1);
    return r;
}

/* ---- CSV ---- */

/* 0 is never -0, and an integer has no exponent. */
static void write_number(FILE *file, double v)
{
    char text[NUMBER_BYTES];

    if (fabs(v) <= most_exact && v == rint(v)) {
        fprintf(file, "%.0f", v + 0.0);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    fputs(text, file);
}

/* As nested arrays: a bracket opens and closes where a part of its axis does. */
static void write_array(FILE *file, const cell *c)
{
    const int64_t n = dt_count_of(c->dim, c->ndim);
    int64_t part[4] = { 0 }; /* elements of a part of the axis */

    for (int64_t axis = c->ndim - 1, size = 1; axis >= 0; axis--) part[axis] = size *= c->dim[axis];
    for (int64_t i = 0; i < n; i++) {
        if (i > 0) fputs(", ", file);
        for (int axis = 0; axis < c->ndim; axis++) {
            if (i % part[axis] == 0) fputc('[', file);
        }
        write_number(file, c->real ? c->real[i] : (double)c->integer[i]);
        for (int axis = 0; axis < c->ndim; axis++) {
            if ((i + 1) % part[axis] == 0) fputc(']', file);
        }
    }
}

/* A name with a comma, a quote or a line's end is quoted. */
static void write_name(FILE *file, const char *name)
{
    if (!strpbrk(name, ",\"\r\n")) {
        fputs(name, file);
        return;
    }
    fputc('"', file);
    for (; *name; name++) {
        if (*name == '"') fputc('"', file);
        fputc(*name, file);
    }
    fputc('"', file);
}

static void write_row(FILE *file, const row *r)
{
    write_name(file, r->name);
    for (int i = 0; i < r->n; i++) {
        fputs(",\"", file);
        write_array(file, &r->cell[i]);
        fputc('"', file);
    }
    fputc('\n', file);
}

/* What the files are made of. */
typedef struct {
    const dt_extracted *extracted;
    dt_columns columns;
} contents;

/* The column of names has no name. */
static void write_head(FILE *file, const char *const *column, int n)
{
    for (int i = 0; i < n; i++) fprintf(file, ",%s", column[i]);
    fputc('\n', file);
}

static int write_weights(const void *user, FILE *file)
{
    const contents *c = user;

    write_head(file, weight_columns[c->columns], 5);
    for (int i = 0; i < c->extracted->n_layers; i++) {
        const row r = layer_row(&c->extracted->layer[i], c->columns);
        write_row(file, &r);
    }
    return 1;
}

static int write_acts(const void *user, FILE *file)
{
    const contents *c = user;

    write_head(file, act_columns[c->columns], 4);
    for (int i = 0; i < c->extracted->n_acts; i++) {
        const row r = act_row(&c->extracted->act[i], c->columns);
        write_row(file, &r);
    }
    return 1;
}

/* ---- safetensors ---- */

/* The writer, and integers that it borrows until it is destroyed. */
typedef struct {
    dt_safetensors_writer *writer;
    int64_t **whole; /* [n_whole] */
    int n_whole;
} tensors;

/* Doubles that are integers, as I64. */
static dt_status add_whole(tensors *t, const char *name, const cell *c)
{
    const int64_t n = dt_count_of(c->dim, c->ndim);
    int64_t *v = malloc((size_t)n * sizeof *v);

    DT_CHECK(v, DT_ERR_MEMORY, "no memory for %lld integers of %s", (long long)n, name);
    t->whole[t->n_whole++] = v;
    for (int64_t i = 0; i < n; i++) {
        DT_CHECK(fabs(c->real[i]) <= most_exact, DT_ERR_NUMERIC,
                 "%s is %g, beyond 2^53: its range is too narrow for where it lies; calibrate on other images", name,
                 c->real[i]);
        v[i] = (int64_t)c->real[i];
    }
    return dt_safetensors_writer_add(t->writer, name, DT_SAFETENSORS_I64, c->ndim, c->dim, v);
}

static dt_status add_cell(tensors *t, const row *r, int k)
{
    const cell *c = &r->cell[k];
    char name[2 * DT_NAME_MAX];

    snprintf(name, sizeof name, "%s.%s", r->name, r->column[k]);
    if (c->is_whole) return add_whole(t, name, c);
    if (c->real) return dt_safetensors_writer_add(t->writer, name, DT_SAFETENSORS_F64, c->ndim, c->dim, c->real);
    return dt_safetensors_writer_add(t->writer, name, DT_SAFETENSORS_I32, c->ndim, c->dim, c->integer);
}

/* wide: 1: numbers of 64 bits; 0: those of 32, which come behind, so that all lie aligned. */
static dt_status add_row(tensors *t, const row *r, int wide)
{
    for (int k = 0; k < r->n; k++) {
        if ((r->cell[k].real != NULL) == wide) DT_TRY(add_cell(t, r, k));
    }
    return DT_OK;
}

static dt_status add_all(tensors *t, const contents *c)
{
    DT_TRY(dt_metadata_begin(t->writer, FORMAT, VERSION));
    for (int wide = 1; wide >= 0; wide--) {
        for (int i = 0; i < c->extracted->n_acts; i++) {
            const row r = act_row(&c->extracted->act[i], c->columns);
            DT_TRY(add_row(t, &r, wide));
        }
        for (int i = 0; i < c->extracted->n_layers; i++) {
            const row r = layer_row(&c->extracted->layer[i], c->columns);
            DT_TRY(add_row(t, &r, wide));
        }
    }
    return DT_OK;
}

static dt_status write_tensors(const contents *c, const char *path)
{
    const int n = c->extracted->n_acts + c->extracted->n_layers;
    tensors t = { .whole = calloc((size_t)n, sizeof *t.whole) };

    DT_CHECK(t.whole, DT_ERR_MEMORY, "no memory for %d rows of %s", n, path);
    dt_status status = dt_safetensors_writer_create(&t.writer);
    if (status == DT_OK) status = add_all(&t, c);
    if (status == DT_OK) status = dt_safetensors_writer_write(t.writer, path);
    dt_safetensors_writer_destroy(t.writer);
    for (int i = 0; i < t.n_whole; i++) free(t.whole[i]);
    free(t.whole);
    return status;
}

/* ---- the folder ---- */

/* The safetensors come first, because they may be refused. */
static dt_status write_folder(const contents *c, const char *folder)
{
    char path[DT_PATH_BYTES];

    DT_TRY(dt_folder_make(folder));
    DT_TRY(dt_path_join(folder, "extracted.safetensors", path));
    DT_TRY(write_tensors(c, path));
    DT_TRY(dt_path_join(folder, "extracted_weights.csv", path));
    DT_TRY(dt_whole_file_write(path, write_weights, c));
    DT_TRY(dt_path_join(folder, "extracted_activations.csv", path));
    return dt_whole_file_write(path, write_acts, c);
}

dt_status dt_quantized_extract(dt_model *m, const dt_extraction *how, const char *folder, dt_extraction_counts *counts)
{
    dt_extracted extracted = { 0 };
    dt_model *source;

    DT_TRY(dt_check_word("columns", (int)how->columns, dt_columns_names));
    DT_TRY(dt_program_source(m, &source));
    dt_status status = dt_extract(source, how, &extracted);
    if (status == DT_OK) status = write_folder(&(contents){ &extracted, how->columns }, folder);
    if (status == DT_OK && counts) *counts = (dt_extraction_counts){ extracted.n_layers, extracted.n_acts };
    dt_extracted_free(&extracted);
    dt_model_destroy(source);
    DT_TRY(status);
    return DT_OK;
}
