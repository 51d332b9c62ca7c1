/*
 * onnx_quant.c - quantizers in a graph of reals: QONNX's Quant, IntQuant and BipolarQuant, and QuantizeLinear, Clip and
 *                DequantizeLinear behind each other. Interface: onnx_layers.h.
 *
 *   of what is computed   SCALE_QUANT
 *   of constants          the constant remembers its quantizer; a layer gets a SCALE_QUANT behind its weights, and
 *                         whoever else reads the constant gets rounded numbers
 *
 * A constant int8 behind a DequantizeLinear is made real once, and its quantizer gives back the codes: real / scale is
 * within 2^-23 of the code.
 *
 * Source: QONNX, arXiv 2206.07527, and the operators' definitions in the package qonnx 1.0.
 * Trunc: onnx_trunc.c.  Tests: tests/formats/test_onnx_quant.c.
 */
#include "onnx_quant.h"

#include "../../core/arith/scale_grid.h"
#include "onnx_codes.h"
#include "onnx_fold.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUANT_MOST_BITS = 16 };

/* ---- reading ---- */

dt_status dt_onnx_number_of(const dt_onnx_import *imp, const dt_onnx_node *n, int k, double *out)
{
    const dt_onnx_place *p = dt_onnx_in(imp, n, k);
    void *one;

    DT_ONNX_CHECK(p && p->kind == DT_ONNX_CONSTANT && !p->has_grid && dt_onnx_count(&imp->m->tensor[p->tensor]) == 1,
                  DT_ERR_UNSUPPORTED, imp, n, "input %d is %s; needed is one constant number", k,
                  !p                            ? "missing"
                  : p->kind == DT_ONNX_CONSTANT ? "several numbers"
                                                : "computed");
    const dt_onnx_tensor *t = &imp->m->tensor[p->tensor];
    DT_TRY(dt_onnx_numbers_of(imp, t, &one));
    *out = t->type == DT_ONNX_FLOAT ? (double)*(const float *)one : (double)dt_onnx_integer_at(one, t->type, 0);
    free(one);
    return DT_OK;
}

dt_status dt_onnx_whole_number(const dt_onnx_import *imp, const dt_onnx_node *n, int k, int most, int *out)
{
    double v = 0.0;

    DT_TRY(dt_onnx_number_of(imp, n, k, &v));
    DT_ONNX_CHECK(v == rint(v) && fabs(v) <= most, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is %g; understood are integers of at most %d", k, v, most);
    *out = (int)v;
    return DT_OK;
}

dt_status dt_onnx_rounding(const dt_onnx_import *imp, const dt_onnx_node *n, const char *otherwise,
                           dt_code_rounding *out)
{
    static const struct {
        const char *word;
        dt_code_rounding is;
    } words[] = {
        { "ROUND", DT_TO_HALF_EVEN }, { "HALF_EVEN", DT_TO_HALF_EVEN },
        { "HALF_UP", DT_TO_HALF_UP }, { "HALF_DOWN", DT_TO_HALF_DOWN },
        { "CEIL", DT_TO_CEIL },       { "FLOOR", DT_TO_FLOOR },
        { "UP", DT_TO_UP },           { "DOWN", DT_TO_DOWN },
    };
    const char *mode = dt_onnx_string(n, "rounding_mode", otherwise);

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(mode, words[i].word) != 0) continue;
        *out = words[i].is;
        return DT_OK;
    }
    DT_ONNX_CHECK(0, DT_ERR_UNSUPPORTED, imp, n,
                  "rounding_mode is '%.40s'; understood are ROUND, HALF_UP, HALF_DOWN, CEIL, FLOOR, UP and DOWN", mode);
}

dt_status dt_onnx_set_bits(const dt_onnx_import *imp, const dt_onnx_node *n, int bits, int64_t is_signed,
                           int64_t narrow, dt_scale_quant_params *p)
{
    DT_ONNX_CHECK(bits >= 1 && bits <= QUANT_MOST_BITS, DT_ERR_UNSUPPORTED, imp, n, "%d bits; understood are 1 to %d",
                  bits, QUANT_MOST_BITS);
    p->low = (is_signed ? -(1 << (bits - 1)) + (narrow != 0) : 0) - p->zero;
    p->high = (is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1 - (narrow != 0)) - p->zero;
    DT_ONNX_CHECK(p->low <= 0 && p->high >= 0 && p->low < p->high, DT_ERR_UNSUPPORTED, imp, n,
                  "its codes are %d to %d around the zero point; 0 must be among them, and another", p->low, p->high);
    return DT_OK;
}

/* Sets scale, n and axis of q to input 1: one number, or one for each element of a dimension of input 0. */
static dt_status read_scales(const dt_onnx_import *imp, const dt_onnx_node *n, dt_onnx_quantizer *q)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0), *s = dt_onnx_in(imp, n, 1);

    DT_ONNX_CHECK(x && s && s->kind == DT_ONNX_CONSTANT && s->n_dims <= x->n_dims + (s->n_dims == 1),
                  DT_ERR_UNSUPPORTED, imp, n,
                  "the scale, input %d, is %s; understood are constants of no more dimensions than input 0", 1,
                  !s                            ? "missing"
                  : s->kind == DT_ONNX_CONSTANT ? "larger"
                                                : "computed");
    q->n = dt_onnx_count(&imp->m->tensor[s->tensor]);
    q->name = n->in[1];
    q->axis = 0;
    for (int k = 0; q->n > 1 && k < s->n_dims; k++) {
        if (s->dim[k] > 1) q->axis = x->n_dims - s->n_dims + k;
    }
    DT_ONNX_CHECK(q->n == 1 || (q->n > 1 && q->n == x->dim[q->axis]), DT_ERR_UNSUPPORTED, imp, n,
                  "%" PRId64 " scales; understood are one, and one for each element of a dimension", q->n);
    DT_TRY(dt_onnx_reals(imp, n, 1, q->n, &q->scale));
    for (int64_t i = 0; i < q->n; i++) {
        const float scale = q->scale[i];
        if (isfinite(scale) && scale > 0.0f) continue;
        free(q->scale);
        DT_ONNX_CHECK(0, DT_ERR_FORMAT, imp, n, "scale %" PRId64 " is %g; needed is a number above 0", i,
                      (double)scale);
    }
    return DT_OK;
}

/* Keeps a quantizer, and takes over its scales. Its index is the last. */
static dt_status keep(dt_onnx_import *imp, const dt_onnx_quantizer *q)
{
    const dt_status s = dt_onnx_grow(imp->m->path, (void **)&imp->quant, imp->n_quants, sizeof *imp->quant,
                                     DT_ONNX_MAX_NODES, "quantizers");
    if (s != DT_OK) {
        free(q->scale);
        return dt_forward(s, __FILE__, __LINE__);
    }
    imp->quant[imp->n_quants++] = *q;
    return DT_OK;
}

/* ---- constants ---- */

void dt_onnx_round(const dt_onnx_import *imp, const dt_onnx_place *p, float *numbers)
{
    const dt_onnx_quantizer *q = p->quant >= 0 ? &imp->quant[p->quant] : NULL;

    if (!q) return;
    const int64_t inner = dt_count_of(p->dim + q->axis + 1, p->n_dims - q->axis - 1);
    const int64_t count = dt_count_of(p->dim, p->n_dims);
    for (int64_t i = 0; i < count; i++) {
        const float scale = q->scale[q->n > 1 ? i / inner % q->n : 0];
        numbers[i] = scale * dt_scale_code(numbers[i], scale, &q->grid);
    }
}

dt_status dt_onnx_move_quantizer(dt_onnx_import *imp, const dt_onnx_node *n, const int *axis_of)
{
    const int from = dt_onnx_in(imp, n, 0)->quant;
    dt_onnx_place *p = &imp->place[n->out[0]];

    if (from < 0) return DT_OK;
    dt_onnx_quantizer q = imp->quant[from];
    DT_ONNX_CHECK(axis_of || q.n == 1, DT_ERR_UNSUPPORTED, imp, n,
                  "other dimensions of a constant with %" PRId64 " scales; understood is one scale", q.n);
    q.scale = malloc((size_t)q.n * sizeof *q.scale);
    DT_CHECK(q.scale, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " scales", imp->m->path, q.n);
    memcpy(q.scale, imp->quant[from].scale, (size_t)q.n * sizeof *q.scale);
    for (int k = 0; q.n > 1 && k < p->n_dims; k++) {
        if (axis_of[k] == imp->quant[from].axis) q.axis = k;
    }
    DT_TRY(keep(imp, &q));
    p->quant = imp->n_quants - 1;
    p->name = dt_onnx_in(imp, n, 0)->name;
    return DT_OK;
}

/* ---- nodes ---- */

/* The parameter that holds the scales of a quantizer: equal ones share it. */
static dt_status add_scale(dt_onnx_import *imp, const dt_onnx_quantizer *q, const char *name, int *scale)
{
    const size_t bytes = (size_t)q->n * sizeof *q->scale;
    const dt_shape shape = { 1, { q->n } };

    for (int i = 0; i < imp->n_scales; i++) {
        *scale = imp->scale[i];
        if (dt_count(dt_graph_shape(imp->graph, *scale)) != q->n) continue;
        if (memcmp(imp->graph->value[*scale]->data, q->scale, bytes) == 0) return DT_OK;
    }
    DT_TRY(dt_onnx_grow(imp->m->path, (void **)&imp->scale, imp->n_scales, sizeof *imp->scale, DT_ONNX_MAX_NODES,
                        "scales"));
    float *copy = malloc(bytes);
    if (copy) memcpy(copy, q->scale, bytes);
    dt_onnx_param p = { imp->m->value[q->name].name, name, ".scale", dt_onnx_state(&shape), DT_F32, copy };
    p.spec.values = DT_VALUES_POSITIVE;
    DT_TRY(dt_onnx_add_param(imp, &p, scale));
    imp->scale[imp->n_scales++] = *scale;
    return DT_OK;
}

/* Takes the limits of a CLIP, of which x is made, into the range of the codes where they are whole codes: a file whose
 * codes have 8 bits says so that it uses fewer. */
static void take_limits(const dt_graph *g, int x, const dt_onnx_quantizer *q, dt_scale_quant_params *p)
{
    const dt_graph_node *n = dt_graph_maker(g, x);
    const dt_clip_params *clip = n && n->kind == DT_OP_CLIP ? n->params : NULL;
    const dt_relu_params *relu = n && n->kind == DT_OP_RELU ? n->params : NULL;

    if (q->n != 1 || (!clip && !relu)) return;
    const float low = clip ? clip->low / q->scale[0] : 0.0f,
                high = clip ? clip->high / q->scale[0] : relu->most / q->scale[0];
    if (low == rintf(low) && low > (float)p->low && low <= 0.0f) p->low = (int)low;
    if (high == rintf(high) && high < (float)p->high && high > 0.0f) p->high = (int)high;
}

/* Adds a SCALE_QUANT of *value, or finds the one that is there. */
static dt_status add_node(dt_onnx_import *imp, const dt_onnx_quantizer *q, int filters, const char *name,
                          const char *part, int *value)
{
    const dt_graph *g = imp->graph;
    dt_scale_quant_params params = q->grid;
    int in[2] = { *value };

    params.filters = filters;
    if (!filters) take_limits(g, *value, q, &params);
    DT_TRY(add_scale(imp, q, name, &in[1]));
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind != DT_OP_SCALE_QUANT || n->in[0] != in[0] || n->in[1] != in[1]) continue;
        if (memcmp(n->params, &params, sizeof params) != 0) continue;
        *value = n->out;
        return DT_OK;
    }
    return dt_onnx_node_add(imp, DT_OP_SCALE_QUANT, name, part, &params, in, 2, value);
}

dt_status dt_onnx_dequantize(dt_onnx_import *imp, int *value)
{
    const dt_dequantize_params last = { 0 };
    const dt_graph *g = imp->graph;
    char name[DT_ONNX_NAME];

    if (g->value[*value]->facts.n_scale == 0) return DT_OK;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind != DT_OP_DEQUANTIZE || g->node[i].in[0] != *value) continue;
        *value = g->node[i].out;
        return DT_OK;
    }
    snprintf(name, sizeof name, "%.*s", DT_ONNX_NAME - 1, dt_graph_name(g, *value));
    return dt_onnx_node_add(imp, DT_OP_DEQUANTIZE, name, ".real", &last, value, 1, value);
}

dt_status dt_onnx_quantize_weights(dt_onnx_import *imp, const dt_onnx_node *n, int k, int axis, const char *name, int x,
                                   int *w)
{
    const int quant = dt_onnx_in(imp, n, k)->quant;
    const dt_dequantize_params real = { .filters = 1 };

    if (quant < 0) return DT_OK;
    const dt_onnx_quantizer *q = &imp->quant[quant];
    DT_ONNX_CHECK(q->n == 1 || q->axis == axis, DT_ERR_UNSUPPORTED, imp, n,
                  "the scales of its weights lie along dimension %d; understood is %d, that of the filters", q->axis,
                  axis);
    DT_TRY(add_node(imp, q, 1, name, ".weight_quant", w));
    if (imp->graph->value[x]->facts.n_scale > 0) return DT_OK;
    return dt_onnx_node_add(imp, DT_OP_DEQUANTIZE, name, ".weight_real", &real, w, 1, w);
}

dt_status dt_onnx_quantize_place(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_quantizer *q,
                                 const dt_onnx_place *x)
{
    dt_onnx_place p = *x;
    char name[DT_ONNX_NAME];

    if (p.view >= 0) DT_TRY(dt_onnx_make_view(imp, &p, &p.value));
    p.view = -1;
    DT_ONNX_CHECK(q->n == 1 || q->axis == 1, DT_ERR_UNSUPPORTED, imp, n,
                  "%" PRId64 " scales along dimension %d; understood are one, and one for each channel", q->n, q->axis);
    DT_ONNX_CHECK(q->n == 1 || p.layout == DT_ONNX_MAP || p.n_dims == 2, DT_ERR_UNSUPPORTED, imp, n,
                  "%" PRId64 " scales of numbers that are no map; understood is one", q->n);
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(add_node(imp, q, 0, name, "", &p.value));
    p.kind = DT_ONNX_COMPUTED;
    p.low = -INFINITY; /* the quantizer has the limits of codes */
    p.high = INFINITY;
    return dt_onnx_set(imp, n, &p);
}

dt_status dt_onnx_quantize_input(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_quantizer *q)
{
    return dt_onnx_quantize_place(imp, n, q, dt_onnx_in(imp, n, 0));
}

/* Quantizes input 0: a node, or a constant that remembers it. Takes the scales over. */
static dt_status apply(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_quantizer *q)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);

    DT_TRY(keep(imp, q));
    if (x->kind != DT_ONNX_CONSTANT) return dt_onnx_quantize_input(imp, n, &imp->quant[imp->n_quants - 1]);
    dt_onnx_place p = *x;
    DT_ONNX_CHECK(p.quant < 0 && !p.has_grid && imp->m->tensor[p.tensor].type == DT_ONNX_FLOAT, DT_ERR_UNSUPPORTED, imp,
                  n, "input %d is codes already, or no reals", 0);
    p.quant = imp->n_quants - 1;
    imp->place[n->out[0]] = p;
    return DT_OK;
}

/* ---- QONNX ---- */

static dt_status add_quant(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int64_t is_signed, narrow;
    dt_onnx_quantizer q;
    int bits;

    q.grid = (dt_scale_quant_params){ 0 };
    DT_TRY(dt_onnx_int(imp, n, "signed", 1, &is_signed));
    DT_TRY(dt_onnx_int(imp, n, "narrow", 0, &narrow));
    DT_TRY(dt_onnx_rounding(imp, n, "ROUND", &q.grid.rounding));
    DT_TRY(dt_onnx_whole_number(imp, n, 2, UINT16_MAX, &q.grid.zero));
    DT_TRY(dt_onnx_whole_number(imp, n, 3, QUANT_MOST_BITS, &bits));
    DT_TRY(dt_onnx_set_bits(imp, n, bits, is_signed, narrow, &q.grid));
    DT_TRY(read_scales(imp, n, &q));
    return apply(imp, n, &q);
}

static dt_status add_bipolar(dt_onnx_import *imp, const dt_onnx_node *n)
{
    dt_onnx_quantizer q = { .grid = { .low = -1, .high = 1, .rounding = DT_TO_SIGN } };

    DT_TRY(read_scales(imp, n, &q));
    return apply(imp, n, &q);
}

dt_onnx_layer dt_onnx_quant_layer(const dt_onnx_node *n)
{
    static const dt_onnx_row rows[] = {
        { "Quant", add_quant },
        { "IntQuant", add_quant },
        { "BipolarQuant", add_bipolar },
        { "Trunc", dt_onnx_add_trunc },
    };

    for (size_t k = 0; dt_onnx_is_quant_domain(n->domain) && k < sizeof rows / sizeof rows[0]; k++) {
        if (dt_onnx_is_op(n, rows[k].op)) return rows[k].add;
    }
    return NULL;
}

/* ---- QuantizeLinear, Clip, DequantizeLinear ---- */

int dt_onnx_is_codes(const dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);

    if (!x || !imp->has_quantizers) return 0;
    if (x->kind != DT_ONNX_CONSTANT) return x->kind == DT_ONNX_CODES;
    return imp->m->tensor[x->tensor].type == DT_ONNX_INT8 || imp->m->tensor[x->tensor].type == DT_ONNX_UINT8;
}

/* The codes of a grid of 8 bits; low and high are limits of what the file stores. */
static dt_status set_codes(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_grid *g, float low,
                           float high, dt_scale_quant_params *p)
{
    const int is_unsigned = g->type == DT_ONNX_UINT8, least = is_unsigned ? 0 : INT8_MIN;

    DT_TRY(dt_onnx_check_type(imp, n, g->type, 0));
    *p = (dt_scale_quant_params){ least, least + DT_ONNX_LEVELS - 1, g->offset, DT_TO_HALF_EVEN, 0 };
    if (low > (float)p->low) p->low = (int)low;
    if (high < (float)p->high) p->high = (int)high;
    p->low -= p->zero;
    p->high -= p->zero;
    DT_ONNX_CHECK(p->low <= 0 && p->high >= 0 && p->low < p->high, DT_ERR_UNSUPPORTED, imp, n,
                  "its codes are %d to %d around the zero point; 0 must be among them, and another", p->low, p->high);
    return DT_OK;
}

static dt_status add_quantize(dt_onnx_import *imp, const dt_onnx_node *n)
{
    dt_onnx_grid g;

    DT_ONNX_CHECK(dt_onnx_in(imp, n, 0), DT_ERR_FORMAT, imp, n, "input %d is missing", 0);
    dt_onnx_place p = *dt_onnx_in(imp, n, 0);
    if (p.kind == DT_ONNX_CONSTANT) return dt_onnx_add_quantizer(imp, n);
    DT_ONNX_CHECK(p.kind == DT_ONNX_COMPUTED, DT_ERR_UNSUPPORTED, imp, n, "input %d is codes; needed are reals", 0);
    DT_TRY(dt_onnx_read_grid(imp, n, 0, &g));
    p.kind = DT_ONNX_CODES;
    p.grid = g;
    return dt_onnx_set(imp, n, &p);
}

static dt_status add_limits(dt_onnx_import *imp, const dt_onnx_node *n)
{
    dt_onnx_place p = *dt_onnx_in(imp, n, 0);
    int limit;

    for (int k = 1; k <= 2; k++) {
        if (!dt_onnx_in(imp, n, k)) continue;
        DT_TRY(dt_onnx_whole_number(imp, n, k, UINT8_MAX, &limit));
        if (k == 1 && (float)limit > p.low) p.low = (float)limit;
        if (k == 2 && (float)limit < p.high) p.high = (float)limit;
    }
    imp->place[n->out[0]] = p;
    return DT_OK;
}

/* Constant codes without a zero point are of the fewest bits that hold them all. A file of codes of 8 bits cannot say
 * it. */
static void take_fewest_bits(const float *reals, int64_t count, const dt_onnx_quantizer *q, int64_t inner,
                             dt_scale_quant_params *p)
{
    float most = 1.0f;

    for (int64_t i = 0; i < count; i++) most = fmaxf(most, fabsf(rintf(reals[i] / q->scale[i / inner % q->n])));
    for (int high = 1; p->zero == 0 && high < p->high && -high > p->low; high = 2 * high + 1) {
        if ((float)high < most) continue;
        p->low = -high;
        p->high = high;
    }
}

/* The reals of constant codes, which remember their grid unless they are a bias of int32. */
static dt_status dequantize_constant(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_grid *g)
{
    const dt_onnx_place codes = *dt_onnx_in(imp, n, 0);
    const dt_onnx_tensor *t = &imp->m->tensor[codes.tensor];
    dt_onnx_quantizer q = { .n = g->n, .axis = g->axis, .name = g->name };
    const int type = t->type;
    float *reals = NULL;
    void *to;

    imp->place[n->in[0]].has_grid = 1; /* as dt_onnx_raw makes such numbers real */
    imp->place[n->in[0]].grid = *g;
    const dt_status s = dt_onnx_raw(imp, n, 0, dt_onnx_count(t), &reals);
    imp->place[n->in[0]] = codes;
    DT_TRY(s);
    const int64_t count = dt_onnx_count(&imp->m->tensor[codes.tensor]);
    imp->fold_room += count * (int64_t)sizeof *reals; /* as many numbers as the file has */
    const dt_status made = dt_onnx_make(imp, n, DT_ONNX_FLOAT, codes.n_dims, codes.dim, &to);
    if (made == DT_OK) memcpy(to, reals, (size_t)count * sizeof *reals);
    free(reals);
    DT_TRY(made);
    dt_onnx_place *p = &imp->place[n->out[0]];
    p->name = codes.name;
    if (type == DT_ONNX_INT32) return DT_OK;
    DT_TRY(set_codes(imp, n, g, codes.low, codes.high, &q.grid));
    DT_TRY(dt_onnx_reals(imp, n, 1, g->n, &q.scale));
    const int64_t inner = dt_count_of(codes.dim + g->axis + 1, codes.n_dims - g->axis - 1);
    take_fewest_bits(to, count, &q, g->n > 1 ? inner : count + 1, &q.grid);
    DT_TRY(keep(imp, &q));
    p->quant = imp->n_quants - 1;
    return DT_OK;
}

static dt_status add_dequantize(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    dt_onnx_quantizer q;
    dt_onnx_grid g;

    DT_ONNX_CHECK(x, DT_ERR_FORMAT, imp, n, "input %d is missing", 0);
    const int is_constant = x->kind == DT_ONNX_CONSTANT;
    DT_ONNX_CHECK(is_constant || x->kind == DT_ONNX_CODES, DT_ERR_FORMAT, imp, n, "input %d is reals; needed are codes",
                  0);
    DT_TRY(dt_onnx_read_grid(imp, n, is_constant ? imp->m->tensor[x->tensor].type : x->grid.type, &g));
    if (is_constant) return dequantize_constant(imp, n, &g);
    DT_ONNX_CHECK(dt_onnx_same_grid(&g, &x->grid), DT_ERR_UNSUPPORTED, imp, n,
                  "scale %g and zero point %d of codes that were made with %g and %d; understood are equal ones",
                  (double)g.step, g.offset, (double)x->grid.step, x->grid.offset);
    q = (dt_onnx_quantizer){ .n = g.n, .axis = g.axis, .name = g.name };
    DT_TRY(set_codes(imp, n, &g, x->low, x->high, &q.grid));
    DT_TRY(dt_onnx_reals(imp, n, 1, g.n, &q.scale));
    DT_TRY(keep(imp, &q));
    return dt_onnx_quantize_input(imp, n, &imp->quant[imp->n_quants - 1]);
}

dt_status dt_onnx_add_real_quantizer(dt_onnx_import *imp, const dt_onnx_node *n)
{
    if (dt_onnx_is_op(n, "QuantizeLinear")) return add_quantize(imp, n);
    return dt_onnx_is_op(n, "Clip") ? add_limits(imp, n) : add_dequantize(imp, n);
}
