/*
 * scale_quant.c - values to the integer codes of a grid whose scale is given.
 *
 * The formulas, the rounding modes and their sources are in core/arith/scale_grid.h. Networks that come from a file of
 * quantizers have it, for weights and for activations. x may itself be a grid tensor, and then v = scale * x, of the
 * channel. The scale is no number that this operator trains.
 *
 * Shapes: x any; scale 1, or one for each index of the first axis (`filters`) or of the last; codes as x, scale as
 * given.  CUDA: cuda/scale_quant.cu.  Tests: tests/quant/test_scale_quant.c.
 */
#include "../core/arith/scale_grid.h"
#include "../core/grid_facts.h"
#include "../core/op.h"
#include "code_types.h"

#include <string.h>

enum { X, SCALE, N_IN };

enum { PIECE = DT_CODE_BLOCK }; /* elements that one thread takes at a time */

static dt_status scale_quant_infer(dt_node *node)
{
    const dt_scale_quant_params *p = node->params;
    const dt_tensor *x = node->in[X], *scale = node->in[SCALE];
    const int64_t n_scale = dt_count(&scale->shape);
    const int64_t sets = p->filters ? x->shape.dim[0] : dt_channels(&x->shape);

    DT_CHECK(p->low <= 0 && p->high >= 0 && p->low < p->high, DT_ERR_ARGUMENT,
             "%s: scale_quant: codes of %d..%d; 0 must be among them, and another", node->name, p->low, p->high);
    DT_CHECK(n_scale == 1 || n_scale == sets, DT_ERR_SHAPE,
             "%s: scale_quant: %lld scales for %lld %s; 1 or one for each", node->name, (long long)n_scale,
             (long long)sets, p->filters ? "filters" : "channels");
    DT_CHECK(scale->n_scale == 0 && (!p->filters || x->n_scale == 0), DT_ERR_UNSUPPORTED,
             "%s: scale_quant: %s is a grid tensor; it must be real", node->name, scale->n_scale ? "the scale" : "x");
    node->out->type = DT_F32;
    node->out->shape = x->shape;
    node->out->qmin = p->low;
    node->out->qmax = p->high;
    node->out->n_scale = (int)n_scale;
    if (n_scale == 1) dt_scale_follows(node->out, scale, 0);
    return DT_OK;
}

static const char *const rounding_names[] = { "half-even", "half-up", "half-down", "ceil", "floor",
                                              "up",        "down",    "sign",      NULL };

static const dt_field scale_quant_fields[] = {
    { DT_MEMBER(dt_scale_quant_params, low), DT_INT(-65535, 0) },
    { DT_MEMBER(dt_scale_quant_params, high), DT_INT(0, 65535) },
    { DT_MEMBER(dt_scale_quant_params, zero), DT_INT(-65535, 65535) },
    { DT_MEMBER(dt_scale_quant_params, rounding), DT_WORD(rounding_names) },
    { DT_MEMBER(dt_scale_quant_params, filters), DT_INT(0, 1) },
};

static const dt_scale_quant_params scale_quant_defaults = { .low = -127, .high = 127 };

const dt_op dt_op_scale_quant = {
    .name = "scale_quant",
    .min_in = N_IN,
    .max_in = N_IN,
    DT_OP_PARAMS(dt_scale_quant_params, scale_quant_fields),
    .defaults = &scale_quant_defaults,
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(SCALE),
    .infer = scale_quant_infer,
};

/* Where the scales of elements lie: element i has scale[i / each % n]. */
typedef struct {
    const float *scale;
    int64_t n, each;
} scale_view;

static scale_view scales_of(const dt_node *node)
{
    const dt_scale_quant_params *p = node->params;
    const dt_shape *shape = &node->out->shape;
    const int64_t n = node->out->n_scale;

    return (scale_view){ node->in[SCALE]->data, n, p->filters ? dt_count(shape) / shape->dim[0] : 1 };
}

static int64_t pieces_of(const dt_node *node)
{
    return (dt_count(&node->out->shape) + PIECE - 1) / PIECE;
}

static void quantize_piece(const dt_node *node, int64_t at, int64_t n)
{
    const dt_scale_quant_params p = *(const dt_scale_quant_params *)node->params;
    const scale_view s = scales_of(node);
    float v[PIECE], room[PIECE], *code = dt_codes_room(node->out, at, room);

    dt_real_values(node->in[X], at, n, v);
    if (s.n == 1)
        for (int64_t i = 0; i < n; i++) code[i] = dt_scale_code(v[i], s.scale[0], &p);
    else
        for (int64_t i = 0; i < n; i++) code[i] = dt_scale_code(v[i], s.scale[(at + i) / s.each % s.n], &p);
    dt_codes_narrow(node->out, at, n, code);
}

static dt_status scale_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t n = dt_count(&node->out->shape), pieces = pieces_of(node);
    (void)ex;

#pragma omp parallel for
    for (int64_t j = 0; j < pieces; j++) quantize_piece(node, j * PIECE, n - j * PIECE < PIECE ? n - j * PIECE : PIECE);
    memcpy(node->out->scale, node->in[SCALE]->data, (size_t)node->out->n_scale * sizeof *node->out->scale);
    return DT_OK;
}

static void piece_backward(const dt_node *node, int64_t at, int64_t n)
{
    const dt_scale_quant_params p = *(const dt_scale_quant_params *)node->params;
    const scale_view s = scales_of(node);
    const float *g = dt_grads(node->out) + at;
    const int fresh = node->fresh & 1u << X;
    float v[PIECE], *dx = dt_grads(node->in[X]) + at;

    dt_real_values(node->in[X], at, n, v);
    for (int64_t i = 0; i < n; i++) {
        const float d = dt_scale_slope(v[i], s.scale[(at + i) / s.each % s.n], &p) * g[i];
        dx[i] = fresh ? d : dx[i] + d;
    }
}

static dt_status scale_quant_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t n = dt_count(&node->out->shape), pieces = dt_grads(node->in[X]) ? pieces_of(node) : 0;
    (void)ex;

#pragma omp parallel for
    for (int64_t j = 0; j < pieces; j++) piece_backward(node, j * PIECE, n - j * PIECE < PIECE ? n - j * PIECE : PIECE);
    return DT_OK;
}

const dt_kernel dt_cpu_scale_quant = {
    .forward = scale_quant_forward, .backward = scale_quant_backward, .overwrites = 1u << X, .narrow = DT_READS_OUT
};
