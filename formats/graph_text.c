/*
 * graph_text.c - graphs as text: a table with a line for each node, a network's file with a line for each node, or a
 *                drawing by Graphviz.
 *
 * All three show any graph: a network of real values, one with quantizers, an integer program.
 * Interface: include/detent/network.h.  Tests: tests/formats/test_graph_text.c.
 */
#include "graph_json.h"
#include "json_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_COLUMNS = 6, CELL_BYTES = 512 };

static const char *const headings[N_COLUMNS] = { "node", "operator", "one image", "values", "reads", "attributes" };

typedef struct {
    char cell[N_COLUMNS][CELL_BYTES];
} row;

typedef struct {
    char s[CELL_BYTES];
} words;

static void append(char *to, size_t bytes, const char *separator, const char *text)
{
    const size_t used = strlen(to);

    snprintf(to + used, bytes - used, "%s%s", used ? separator : "", text);
}

/* "15x16" */
static words dims_words(const int64_t *dim, int n)
{
    words out = { "" };
    char number[24];

    for (int d = 0; d < n; d++) {
        snprintf(number, sizeof number, "%lld", (long long)dim[d]);
        append(out.s, sizeof out.s, "x", number);
    }
    return out;
}

/* 32x32x8 of one image; of constants, which no image changes, the whole shape. */
static words shape_words(const dt_graph *g, int value)
{
    const dt_tensor *t = &g->value[value]->facts;
    dt_shape shape = t->shape;

    if (t->constant) return dims_words(shape.dim, shape.ndim);
    shape.dim[0] = dt_graph_rows(g, value);
    const int first = shape.dim[0] == 1 && shape.ndim > 1;
    return dims_words(shape.dim + first, shape.ndim - first);
}

/* "0..15" of codes and psums, else "real" */
static words value_words(const dt_graph *g, int value)
{
    const dt_tensor *t = &g->value[value]->facts;
    words out = { "real" };

    if (t->type == DT_U8) snprintf(out.s, sizeof out.s, "0..255");
    if (t->n_scale > 0) snprintf(out.s, sizeof out.s, "%lld..%lld", (long long)t->qmin, (long long)t->qmax);
    return out;
}

/* Parameters are left out, unless there is nothing else. */
static words input_words(const dt_graph *g, const dt_graph_node *n)
{
    words out = { "" };

    for (int k = 0; k < n->n_in; k++) {
        if (g->value[n->in[k]]->source == DT_SOURCE_PARAM) continue;
        append(out.s, sizeof out.s, ", ", dt_graph_name(g, n->in[k]));
    }
    if (!out.s[0] && n->n_in > 0) append(out.s, sizeof out.s, "", dt_graph_name(g, n->in[0]));
    return out;
}

/* What a network's file says of parameters: "filters 8, window 3x3"; "features 10". Of thresholds and tables, which
 * are a program's, their shape: "thresholds 15x8" are 15 for each of 8 channels. */
static words size_words(const dt_graph *g, const dt_graph_node *n)
{
    const dt_shape *w = n->n_in > 1 ? dt_graph_shape(g, n->in[1]) : NULL;
    words out = { "" };

    if ((n->kind == DT_OP_CONV2D || n->kind == DT_OP_PSUM) && w->ndim == 4) {
        snprintf(out.s, sizeof out.s, "filters %lld, window %lldx%lld", (long long)w->dim[0], (long long)w->dim[1],
                 (long long)w->dim[2]);
    }
    if (n->kind == DT_OP_LINEAR) snprintf(out.s, sizeof out.s, "features %lld", (long long)w->dim[0]);
    if (n->kind == DT_OP_THRESHOLD) snprintf(out.s, sizeof out.s, "thresholds %.64s", dims_words(w->dim, w->ndim).s);
    if (n->kind == DT_OP_TABLE) snprintf(out.s, sizeof out.s, "table %.64s", dims_words(w->dim, w->ndim).s);
    return out;
}

/* What a constant is to the node that it stands beside: "slope" for "features.4.act_quant.slope". NULL: it stands
 * beside another. */
static const char *part_of(const dt_graph_value *constant, const char *node)
{
    const size_t bytes = strlen(node);
    const char *dot = strrchr(constant->name, '.');

    return dot == constant->name + bytes && strncmp(constant->name, node, bytes) == 0 ? dot + 1 : NULL;
}

/* The constants that stand beside a node, with their shapes: "slope of 8, offset of 8". */
static void append_constants(const dt_graph *g, const dt_graph_node *n, words *to)
{
    char text[192];

    for (int i = 0; i < g->n_values; i++) {
        const dt_graph_value *v = g->value[i];
        const char *part = v->source == DT_SOURCE_CONSTANT ? part_of(v, dt_graph_name(g, n->out)) : NULL;
        if (!part) continue;
        const words shape = dims_words(v->facts.shape.dim, v->facts.shape.ndim);
        snprintf(text, sizeof text, "%.64s of %.64s", part, shape.s);
        append(to->s, sizeof to->s, ", ", text);
    }
}

static int is_default(const dt_op *op, const dt_field *f, const cJSON *item)
{
    static const char zeros[4096];
    const void *params = op->defaults ? op->defaults : zeros;

    if (!op->defaults && op->params_bytes > sizeof zeros) return 0;
    cJSON *usual = dt_graph_attribute(f, params);
    const int same = cJSON_Compare(usual, item, 1);
    cJSON_Delete(usual);
    return same;
}

/* "filters 8, window 3x3, pad 1": what is not as it is when nobody says anything. */
static words attribute_words(const dt_graph *g, const dt_graph_node *n)
{
    const dt_op *op = dt_ops[n->kind];
    words out = size_words(g, n);
    char value[128], text[192];

    for (int i = 0; i < op->n_fields; i++) {
        cJSON *item = dt_graph_attribute(&op->fields[i], n->params);
        if (!is_default(op, &op->fields[i], item)) {
            const char *word = cJSON_GetStringValue(item);
            snprintf(text, sizeof text, "%s %s", op->fields[i].name,
                     word ? word : dt_json_text(item, value, sizeof value));
            append(out.s, sizeof out.s, ", ", text);
        }
        cJSON_Delete(item);
    }
    append_constants(g, n, &out);
    return out;
}

static void fill_row(const dt_graph *g, const dt_graph_node *n, row *out)
{
    const words cells[N_COLUMNS - 2] = { shape_words(g, n->out), value_words(g, n->out), input_words(g, n),
                                         attribute_words(g, n) };

    snprintf(out->cell[0], CELL_BYTES, "%s", dt_graph_name(g, n->out));
    snprintf(out->cell[1], CELL_BYTES, "%s", dt_ops[n->kind]->name);
    for (int c = 2; c < N_COLUMNS; c++) memcpy(out->cell[c], cells[c - 2].s, CELL_BYTES);
}

/* The last column is not padded, so that no line ends in blanks. */
static void print_row(FILE *to, const row *r, const int *width)
{
    int last = N_COLUMNS - 1;

    while (last > 0 && !r->cell[last][0]) last--;
    for (int c = 0; c < last; c++) fprintf(to, "%-*s  ", width[c], r->cell[c]);
    fprintf(to, "%s\n", r->cell[last]);
}

static dt_status print_table(const dt_graph *g, FILE *to)
{
    row *rows = calloc((size_t)g->n_nodes + 1, sizeof *rows);
    int width[N_COLUMNS] = { 0 };

    DT_CHECK(rows, DT_ERR_MEMORY, "no memory for the %d lines of %s", g->n_nodes, g->name);
    for (int c = 0; c < N_COLUMNS; c++) snprintf(rows[0].cell[c], CELL_BYTES, "%s", headings[c]);
    for (int i = 0; i < g->n_nodes; i++) fill_row(g, &g->node[i], &rows[i + 1]);
    for (int i = 0; i <= g->n_nodes; i++) {
        for (int c = 0; c < N_COLUMNS; c++) {
            const int n = (int)strlen(rows[i].cell[c]);
            if (n > width[c]) width[c] = n;
        }
    }
    for (int i = 0; i <= g->n_nodes; i++) print_row(to, &rows[i], width);
    free(rows);
    return DT_OK;
}

/* ---- a network's file */

/* One element a line. */
static void print_list(FILE *to, const cJSON *list)
{
    const cJSON *item;

    fprintf(to, "[");
    cJSON_ArrayForEach(item, list)
    {
        char *text = cJSON_PrintUnformatted(item);
        fprintf(to, "%s\n    %s", item == list->child ? "" : ",", text ? text : "null");
        cJSON_free(text);
    }
    fprintf(to, "%s]", list->child ? "\n  " : "");
}

static dt_status print_file(const dt_graph *g, FILE *to)
{
    cJSON *object = cJSON_CreateObject();
    const cJSON *item;

    dt_status status = dt_graph_to_json(g, object);
    fprintf(to, "{");
    cJSON_ArrayForEach(item, object)
    {
        const int has_lines = cJSON_IsArray(item) && !cJSON_IsNumber(item->child);
        fprintf(to, "%s\n  \"%s\": ", item == object->child ? "" : ",", item->string);
        if (has_lines) {
            print_list(to, item);
            continue;
        }
        char *text = cJSON_PrintUnformatted(item);
        fprintf(to, "%s", text ? text : "null");
        cJSON_free(text);
    }
    fprintf(to, "\n}\n");
    if (status == DT_OK && dt_json_lost()) /* a value stands there as null */
        status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the JSON of %s", g->name);
    cJSON_Delete(object);
    return status;
}

/* ---- a drawing */

/* In the quotes of the language dot. */
static void print_quoted(FILE *to, const char *text)
{
    for (; *text; text++) fprintf(to, "%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
}

static void print_box(FILE *to, const dt_graph *g, int value, const char *line, const char *style)
{
    fprintf(to, "  \"");
    print_quoted(to, dt_graph_name(g, value));
    fprintf(to, "\" [label = \"");
    print_quoted(to, dt_graph_name(g, value));
    fprintf(to, "\\n");
    print_quoted(to, line);
    fprintf(to, "\\n%s, %s\"%s];\n", shape_words(g, value).s, value_words(g, value).s, style);
}

static void print_arrows(FILE *to, const dt_graph *g, const dt_graph_node *n)
{
    for (int k = 0; k < n->n_in; k++) {
        if (g->value[n->in[k]]->source == DT_SOURCE_PARAM) continue;
        fprintf(to, "  \"");
        print_quoted(to, dt_graph_name(g, n->in[k]));
        fprintf(to, "\" -> \"");
        print_quoted(to, dt_graph_name(g, n->out));
        fprintf(to, "\";\n");
    }
}

static void print_dot(const dt_graph *g, FILE *to)
{
    char line[2 * CELL_BYTES];

    fprintf(to, "digraph \"");
    print_quoted(to, g->name);
    fprintf(to, "\" {\n  node [shape = box, fontname = \"Helvetica\", fontsize = 10];\n");
    for (int i = 0; i < g->n_values; i++) {
        if (g->value[i]->source == DT_SOURCE_GIVEN) print_box(to, g, i, "given", ", shape = ellipse");
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const words attributes = attribute_words(g, n);
        snprintf(line, sizeof line, "%s%s%s", dt_ops[n->kind]->name, attributes.s[0] ? ": " : "", attributes.s);
        print_box(to, g, n->out, line, g->value[n->out]->facts.constant ? ", style = dashed" : "");
        print_arrows(to, g, n);
    }
    fprintf(to, "}\n");
}

dt_status dt_graph_print(const dt_graph *g, dt_graph_form form, char **out)
{
    dt_status status = DT_OK;
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);

    DT_CHECK(to, DT_ERR_MEMORY, "no memory for the text of %s", g->name);
    switch (form) {
    case DT_GRAPH_TABLE: status = print_table(g, to); break;
    case DT_GRAPH_FILE: status = print_file(g, to); break;
    case DT_GRAPH_DOT: print_dot(g, to); break;
    }
    const int lost = fclose(to) != 0;
    if (status == DT_OK && lost) status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %s", g->name);
    if (status != DT_OK) {
        free(text);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = text;
    return DT_OK;
}
