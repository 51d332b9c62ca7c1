/*
 * range_quant.c - activations to the integer codes of an affine grid, whose range is a parameter.
 *
 * The formulas and their sources are in core/arith/range.h. x may itself be a grid tensor, and then v = scale * x, of
 * the channel. Codes are q - zero, so that code 0 is the value 0, and nobody else needs the zero point.
 *
 * Who changes the range, {min, max}, in training:
 *   fixed    nobody
 *   average  forward, before it quantizes: end = end - (end - batch's end) * (1 - decay), where the batch's range is
 *            widened to hold 0. In evaluation the range stays as it is.
 *   learned  the optimiser, by the gradient
 * Where one range serves several quantizers, at most one of them may be of the kind `average`: the first, which then
 * reads what the others quantize too, so that its batch's range holds the values of all. It does nothing else with
 * those. The range of a batch with a NaN is NaN, and so is each of its codes.
 *
 * Shapes: x any, channels last; range 2; up to 4 others that count, any; codes as x, scale 1.  aux: the grid of the
 * step, because another quantizer may move a shared range before backward runs. CUDA: cuda/range_quant.cu.  Tests:
 * tests/quant/test_range_quant.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"
#include "../core/arith/range.h"
#include "code_types.h"

enum { X, RANGE, OTHERS };

/* Elements that one thread takes at a time; sums go piece by piece, in order. */
enum { PIECE = 4096 };

static dt_status range_quant_infer(dt_node *node)
{
    const dt_range_quant_params *p = node->params;
    const dt_tensor *x = node->in[X], *range = node->in[RANGE];

    DT_CHECK(p->bits >= 2 && p->bits <= 16, DT_ERR_ARGUMENT, "%s: range_quant: codes of %d bits, allowed are 2..16",
             node->name, p->bits);
    DT_CHECK(dt_count(&range->shape) == 2, DT_ERR_SHAPE, "%s: range_quant takes a range of 2 numbers, got %lld",
             node->name, (long long)dt_count(&range->shape));
    DT_CHECK(range->n_scale == 0, DT_ERR_UNSUPPORTED, "%s: range_quant: the range is a grid tensor; it must be real",
             node->name);
    DT_CHECK(p->decay >= 0.0f && p->decay <= 1.0f, DT_ERR_ARGUMENT, "%s: range_quant: decay is %g, allowed are 0..1",
             node->name, (double)p->decay);
    DT_CHECK(node->n_in == OTHERS || p->update == DT_RANGE_AVERAGE, DT_ERR_ARGUMENT,
             "%s: range_quant: %d other values are to count, which only an average takes", node->name,
             node->n_in - OTHERS);
    node->out->type = DT_F32;
    node->out->shape = x->shape;
    node->out->qmax = dt_range_levels(p->bits);
    node->out->qmin = p->is_positive ? 0 : -node->out->qmax;
    dt_scale_follows(node->out, range, 2 * p->bits + (p->is_positive != 0));
    node->aux_bytes = sizeof(dt_range_grid);
    return DT_OK;
}

static const dt_field range_quant_fields[] = {
    { DT_MEMBER(dt_range_quant_params, bits), DT_INT(2, 16) },
    { DT_MEMBER(dt_range_quant_params, is_positive), DT_INT(0, 1) },
    { DT_MEMBER(dt_range_quant_params, update), DT_FIELD_WORD, 0, DT_RANGE_FIXED, dt_range_update_names, 0 },
    { DT_MEMBER(dt_range_quant_params, decay), DT_FLOAT(0, 1) },
};

static const dt_range_quant_params range_quant_defaults = { .bits = 8, .decay = 0.999f };

const dt_op dt_op_range_quant = {
    .name = "range_quant",
    .min_in = OTHERS,
    .max_in = DT_MAX_IN,
    DT_OP_PARAMS(dt_range_quant_params, range_quant_fields),
    .defaults = &range_quant_defaults,
    .backward_reads = DT_READS_IN(X) | DT_READS_AUX,
    .infer = range_quant_infer,
};

static int64_t pieces_of(const dt_tensor *t)
{
    return (dt_count(&t->shape) + PIECE - 1) / PIECE;
}

/* Scratch: two numbers for each piece, its least and largest value, or its shares of dmin and dmax. */
static dt_status range_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    int64_t pieces = pieces_of(node->in[X]);
    (void)ex;

    for (int k = OTHERS; k < node->n_in; k++) {
        if (pieces_of(node->in[k]) > pieces) pieces = pieces_of(node->in[k]);
    }
    *scratch_bytes = (size_t)pieces * 2 * sizeof(double);
    return DT_OK;
}

/* Writes the ends of a piece, 0 among its values: end[0] <= 0 <= end[1], or both NaN where a value is. */
static void find_ends(const float *v, int64_t n, double *end)
{
    float min = 0.0f, max = 0.0f, nan = 0.0f;

    for (int64_t i = 0; i < n; i++) {
        min = v[i] < min ? v[i] : min;
        max = v[i] > max ? v[i] : max;
        nan = v[i] != v[i] ? v[i] : nan;
    }
    end[0] = (double)(min + nan);
    end[1] = (double)(max + nan);
}

/* Widens ends, which hold 0, to the values of t. */
static void widen(const dt_tensor *t, double *end, float ends[2])
{
    const int64_t n = dt_count(&t->shape), pieces = pieces_of(t);
    int has_nan = isnan(ends[0]);

#pragma omp parallel for
    for (int64_t j = 0; j < pieces; j++) {
        const int64_t at = j * PIECE, count = n - at < PIECE ? n - at : PIECE;
        float v[PIECE];
        dt_real_values(t, at, count, v);
        find_ends(v, count, end + 2 * j);
    }
    for (int64_t j = 0; j < pieces; j++) {
        const float min = (float)end[2 * j], max = (float)end[2 * j + 1];
        has_nan |= isnan(min) != 0;
        if (min < ends[0]) ends[0] = min;
        if (max > ends[1]) ends[1] = max;
    }
    if (has_nan) ends[0] = ends[1] = NAN;
}

static void move_range(const dt_node *node, double *scratch)
{
    const float decay = ((const dt_range_quant_params *)node->params)->decay;
    float *range = node->in[RANGE]->data, ends[2] = { 0.0f, 0.0f };

    widen(node->in[X], scratch, ends);
    for (int k = OTHERS; k < node->n_in; k++) widen(node->in[k], scratch, ends);
    for (int k = 0; k < 2; k++) range[k] = dt_range_move(range[k], ends[k], decay);
}

static dt_status range_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_range_quant_params *p = node->params;
    const int64_t n = dt_count(&node->out->shape), pieces = pieces_of(node->out);
    const float *range = node->in[RANGE]->data;

    if (p->update == DT_RANGE_AVERAGE && node->purpose.training) move_range(node, ex->scratch);
    const dt_range_grid grid = dt_range_grid_of(range[0], range[1], p->bits, p->is_positive);
#pragma omp parallel for
    for (int64_t j = 0; j < pieces; j++) {
        const int64_t at = j * PIECE, count = n - at < PIECE ? n - at : PIECE;
        float v[PIECE], room[PIECE], *code = dt_codes_room(node->out, at, room);
        dt_real_values(node->in[X], at, count, v);
        for (int64_t i = 0; i < count; i++) code[i] = dt_range_code(v[i], &grid);
        dt_codes_narrow(node->out, at, count, code);
    }
    node->out->scale[0] = grid.scale;
    *(dt_range_grid *)node->aux = grid;
    return DT_OK;
}

/* Of one piece: dx, unless it is NULL, and the shares of dmin and dmax. */
static void piece_backward(const dt_node *node, int64_t at, int64_t n, double share[2])
{
    const dt_range_grid grid = *(const dt_range_grid *)node->aux;
    const float *g = dt_grads(node->out) + at;
    float *dx = dt_grads(node->in[X]), v[PIECE];
    const int fresh = node->fresh & 1u << X;

    share[0] = share[1] = 0.0;
    dt_real_values(node->in[X], at, n, v);
    for (int64_t i = 0; i < n; i++) {
        const int side = dt_range_side(v[i], &grid);
        const float d = side == 0 ? g[i] : 0.0f;
        if (side != 0) share[side > 0] += (double)g[i];
        if (dx) dx[at + i] = fresh ? d : dx[at + i] + d;
    }
}

/* Of a range that begins at 0 whatever min is, min has no gradient. */
static dt_status range_quant_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_range_quant_params *p = node->params;
    const int64_t n = dt_count(&node->out->shape), pieces = pieces_of(node->out);
    float *drange = dt_grads(node->in[RANGE]);
    double *share = ex->scratch, sum[2] = { 0.0, 0.0 };

#pragma omp parallel for
    for (int64_t j = 0; j < pieces; j++) {
        const int64_t at = j * PIECE;
        piece_backward(node, at, n - at < PIECE ? n - at : PIECE, share + 2 * j);
    }
    if (!drange) return DT_OK;
    for (int64_t j = 0; j < pieces; j++) {
        sum[0] += share[2 * j];
        sum[1] += share[2 * j + 1];
    }
    if (p->is_positive) sum[0] = 0.0;
    if (p->update != DT_RANGE_LEARNED) sum[0] = sum[1] = 0.0;
    for (int k = 0; k < 2; k++) drange[k] = (float)sum[k] + (node->fresh & 1u << RANGE ? 0.0f : drange[k]);
    return DT_OK;
}

const dt_kernel dt_cpu_range_quant = { .prepare = range_quant_prepare,
                                       .forward = range_quant_forward,
                                       .backward = range_quant_backward,
                                       .overwrites = 1u << X | 1u << RANGE,
                                       .narrow = DT_READS_OUT };
