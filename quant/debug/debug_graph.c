/*
 * debug_graph.c - see debug_graph.h.
 *
 * The graph begins as a copy of the program's, with equal indices. Codes find their values by names. Then the nodes of
 * the network of reals follow, one after another. An input that has codes is read as their real values (mode LAYER), or
 * as what the network of reals has computed (mode WHOLE); the image is that of its codes in both.
 *
 * Tests: tests/quant/test_debugger.c.
 */
#include "debug_graph.h"

#include "../../core/graph/rewrite.h"
#include "layer_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = DT_NAME_MAX + 32 };

/* What stands in the graph for a value of the network of reals; -1: nothing. */
typedef struct {
    int codes; /* of the program */
    int real;  /* the real values of the codes */
    int own;   /* what its node computes of reals, or the parameter */
} forms;

typedef struct {
    const dt_program *program;
    const dt_graph *from; /* the network of reals */
    dt_debug_mode mode;
    dt_debug_graph *out;
    forms *of;    /* [from->n_values] */
    char *ends;   /* [from->n_values] 1: it has codes */
    char *needed; /* [from->n_values] by the scores */
    int levels;   /* of the codes that an engine stores, which all have as many bits */
} merging;

/* ---- codes find their values ---- */

static int is_codes(const dt_program *p, int value)
{
    const dt_graph_value *v = p->graph->value[value];

    return v->source == DT_SOURCE_NODE && !v->facts.constant && v->facts.n_scale == 1 &&
           dt_program_value(p, value).kind == DT_VALUE_CODE;
}

/* 1 if a node only brings codes to another scale or into another order, which networks of reals need not do. */
static int may_be_alone(const dt_graph_node *n)
{
    return n->kind == DT_OP_TRANSPOSE ||
           (n->kind == DT_OP_REQUANTIZE && ((const dt_requantize_params *)n->params)->of == DT_REQUANT_CODES);
}

/* The value of the network of reals that codes of that name stand for, or -1. */
static int find_value(const merging *m, const char *codes)
{
    static const char *const ends[] = { ".act_quant", ".quant" };
    static const char *const behind[] = { ".relu", ".biased", "" };
    char stem[NAME_BYTES], name[2 * NAME_BYTES];
    size_t bytes = strlen(codes);

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const size_t end = strlen(ends[i]);
        if (bytes > end && strcmp(codes + bytes - end, ends[i]) == 0) bytes -= end;
    }
    snprintf(stem, sizeof stem, "%.*s", (int)bytes, codes);
    for (size_t i = 0; i < sizeof behind / sizeof behind[0]; i++) {
        snprintf(name, sizeof name, "%s%s", stem, behind[i]);
        const int value = dt_graph_find(m->from, name);
        if (value >= 0 && m->needed[value] && m->from->value[value]->source != DT_SOURCE_PARAM) return value;
    }
    return -1;
}

static dt_status take_codes(merging *m, const dt_graph_node *n)
{
    const dt_graph *g = m->program->graph;
    const char *name = dt_graph_name(g, n->out);
    const int value = n->in[0] == g->image ? m->from->image : find_value(m, name);

    if (value < 0 && may_be_alone(n)) return DT_OK;
    DT_CHECK(
        value >= 0, DT_ERR_ARGUMENT,
        "%s has the codes %s, and %s no value of that name; take the network of reals that the integers were made of",
        g->name, name, m->from->name);
    DT_CHECK(dt_graph_count(m->from, value) == dt_graph_count(g, n->out), DT_ERR_SHAPE,
             "%s has %lld numbers in %s, and %lld in %s", name, (long long)dt_graph_count(g, n->out), g->name,
             (long long)dt_graph_count(m->from, value), m->from->name);
    m->of[value].codes = n->out;
    m->ends[value] = 1;
    return DT_OK;
}

/* Steps between the codes that so many bits have as hold these. */
static int levels_of(const dt_graph *g, int value)
{
    const dt_tensor *t = &g->value[value]->facts;
    int levels = 1;

    while (levels < t->qmax - t->qmin) levels = 2 * levels + 1;
    return levels;
}

static dt_status find_codes(merging *m)
{
    const dt_graph *g = m->program->graph;

    for (int i = 0; i < g->n_nodes; i++) {
        const int value = g->node[i].out;
        if (!is_codes(m->program, value)) continue;
        DT_TRY(take_codes(m, &g->node[i]));
        if (dt_codes_are_stored(g, value) && levels_of(g, value) > m->levels) m->levels = levels_of(g, value);
    }
    return DT_OK;
}

/* ---- the network of reals ---- */

static dt_status float_name(const merging *m, int value, const char *end, char name[NAME_BYTES])
{
    const int n = snprintf(name, NAME_BYTES, "float.%s%s", dt_graph_name(m->from, value), end);

    DT_CHECK(n <= DT_NAME_MAX, DT_ERR_ARGUMENT, "%s is longer than the %d bytes of a name", name, DT_NAME_MAX);
    return DT_OK;
}

static dt_status add_param(merging *m, int value)
{
    const dt_graph_value *v = m->from->value[value];
    const size_t bytes = dt_graph_data_bytes(m->from, value);
    char name[NAME_BYTES];
    void *data = malloc(bytes);

    DT_CHECK(data && bytes > 0, DT_ERR_MEMORY, "no memory for the data of %s", v->name);
    memcpy(data, v->data, bytes);
    dt_status status = float_name(m, value, "", name);
    if (status == DT_OK) status = dt_graph_param(m->out->graph, name, &v->param, &m->of[value].own);
    if (status == DT_OK) dt_graph_set_data(m->out->graph, m->of[value].own, v->data_type, data);
    if (status != DT_OK) free(data);
    DT_TRY(status);
    return DT_OK;
}

/* The real values of a value's codes, flat if the value is. */
static dt_status real_of(merging *m, int value, int *out)
{
    dt_graph *to = m->out->graph;
    const dt_shape *wanted = dt_graph_shape(m->from, value);
    forms *f = &m->of[value];
    char name[NAME_BYTES];

    if (f->real < 0) {
        DT_TRY(float_name(m, value, ".codes", name));
        DT_TRY(dt_graph_add(to, DT_OP_DEQUANTIZE, name, NULL, &f->codes, 1, &f->real));
        if (wanted->ndim == 2 && dt_graph_shape(to, f->real)->ndim > 2) {
            DT_TRY(float_name(m, value, ".codes.flat", name));
            DT_TRY(dt_graph_add(to, DT_OP_FLATTEN, name, NULL, &f->real, 1, &f->real));
        }
        DT_CHECK(dt_same_shape(dt_graph_shape(to, f->real), wanted), DT_ERR_UNSUPPORTED,
                 "%s has another shape in %s than in %s", dt_graph_name(m->from, value), m->program->graph->name,
                 m->from->name);
    }
    *out = f->real;
    return DT_OK;
}

static dt_status input_of(merging *m, int value, int *out)
{
    forms *f = &m->of[value];

    if (m->from->value[value]->source == DT_SOURCE_PARAM && f->own < 0) DT_TRY(add_param(m, value));
    if (f->codes >= 0 && (m->mode == DT_DEBUG_LAYER || value == m->from->image)) return real_of(m, value, out);
    DT_CHECK(f->own >= 0, DT_ERR_UNSUPPORTED, "%s: nothing stands for %s beside the program's codes", m->from->name,
             dt_graph_name(m->from, value));
    *out = f->own;
    return DT_OK;
}

static dt_status add_node(merging *m, const dt_graph_node *n)
{
    char name[NAME_BYTES];
    int in[DT_MAX_IN];

    for (int k = 0; k < n->n_in; k++) DT_TRY(input_of(m, n->in[k], &in[k]));
    DT_TRY(float_name(m, n->out, "", name));
    DT_TRY(dt_graph_add(m->out->graph, n->kind, name, n->params, in, n->n_in, &m->of[n->out].own));
    return DT_OK;
}

/* Codes of such a node have the scale of those that it reads, and it has no twin in mode LAYER. */
static int has_same_scale(const merging *m, const dt_graph_node *n)
{
    const int is_pool = n->kind == DT_OP_MAXPOOL || n->kind == DT_OP_AVGPOOL;

    if (m->of[n->in[0]].codes < 0 || m->of[n->out].codes < 0) return 0;
    if (n->kind == DT_OP_FLATTEN || n->kind == DT_OP_TRANSPOSE) return 1;
    return is_pool && dt_program_scale_param(m->program, m->of[n->out].codes) ==
                          dt_program_scale_param(m->program, m->of[n->in[0]].codes);
}

static dt_status add_pair(merging *m, const dt_graph_node *n)
{
    const dt_graph *g = m->program->graph;
    const int codes = m->of[n->out].codes, is_stored = dt_codes_are_stored(g, codes);
    const dt_graph_node *head = dt_layer_head(m->from, m->ends, n->out);
    dt_debug_pair *pair = &m->out->pair[m->out->n++];

    *pair = (dt_debug_pair){ .op = dt_layer_word(m->from, head),
                             .name = strdup(dt_graph_name(m->from, n->out)),
                             .codes = codes,
                             .real = m->of[n->out].own,
                             .zero_point = is_stored ? dt_codes_zero(g, codes) : 0,
                             .levels = is_stored ? m->levels : levels_of(g, codes) };
    DT_CHECK(pair->name, DT_ERR_MEMORY, "no memory for the name of %s", dt_graph_name(m->from, n->out));
    return DT_OK;
}

/* Nothing moves where a map of one cell becomes flat, so that this is no layer. */
static int is_layer(const merging *m, const dt_graph_node *n)
{
    const dt_shape *x = dt_graph_shape(m->from, n->in[0]);

    if (n->kind == DT_OP_IDENTITY || m->of[n->out].codes < 0) return 0;
    return n->kind != DT_OP_FLATTEN || x->dim[x->ndim - 1] != dt_graph_count(m->from, n->in[0]);
}

static dt_status take_node(merging *m, const dt_graph_node *n)
{
    const int is_alias = n->kind == DT_OP_FLATTEN || n->kind == DT_OP_IDENTITY;

    if (is_alias && m->of[n->out].codes < 0) m->of[n->out].codes = m->of[n->in[0]].codes;
    m->ends[n->out] = m->of[n->out].codes >= 0;
    if (m->mode == DT_DEBUG_WHOLE || !has_same_scale(m, n)) DT_TRY(add_node(m, n));
    return is_layer(m, n) ? add_pair(m, n) : DT_OK;
}

/* ---- the whole ---- */

static dt_status merge(merging *m)
{
    const dt_graph *from = m->from;

    for (int i = 0; i < from->n_values; i++) m->of[i] = (forms){ -1, -1, -1 };
    m->needed[from->scores] = 1;
    dt_graph_mark_needed(from, NULL, 0, m->needed);
    DT_TRY(dt_graph_rewrite(m->program->graph, NULL, NULL, &m->out->graph));
    m->out->graph->unit_pixels = from->unit_pixels; /* a .tflite does not say what its pixels are */
    DT_TRY(find_codes(m));
    DT_CHECK(m->of[from->image].codes >= 0, DT_ERR_UNSUPPORTED, "%s makes no codes of its image",
             m->program->graph->name);
    for (int i = 0; i < from->n_nodes; i++) {
        if (m->needed[from->node[i].out]) DT_TRY(take_node(m, &from->node[i]));
    }
    DT_CHECK(m->out->n > 0, DT_ERR_ARGUMENT, "%s and %s have no layer in common", m->program->graph->name, from->name);
    return DT_OK;
}

dt_status dt_debug_graph_make(const dt_program *p, const dt_graph *real, dt_debug_mode mode, dt_debug_graph *out)
{
    const size_t n = (size_t)real->n_values + 1;
    merging m = { .program = p,
                  .from = real,
                  .mode = mode,
                  .out = out,
                  .of = malloc(n * sizeof *m.of),
                  .ends = calloc(n, 1),
                  .needed = calloc(n, 1) };

    *out = (dt_debug_graph){ .pair = calloc((size_t)real->n_nodes + 1, sizeof *out->pair) };
    const dt_status status = m.of && m.ends && m.needed && out->pair
                                 ? merge(&m)
                                 : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__,
                                            "no memory to compare the %d values of %s", real->n_values, real->name);
    free(m.of);
    free(m.ends);
    free(m.needed);
    return status;
}

void dt_debug_graph_destroy(dt_debug_graph *d)
{
    for (int i = 0; i < d->n; i++) free(d->pair[i].name);
    free(d->pair);
    dt_graph_destroy(d->graph);
    *d = (dt_debug_graph){ 0 };
}
