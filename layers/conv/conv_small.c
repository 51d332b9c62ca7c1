/*
 * conv_small.c - the filter gradient of a convolution on a map so small that most taps fall outside it.
 *
 * A tap (r, s) connects output positions with input positions. Each such pair is one product over the batch:
 *   dw[., r, s, .] += scale * sum over n of dy[n, out, .]^T x[n, in, .]
 * On a 2x2 map with a 3x3 kernel and pad 1 there are 16 pairs, where a convolution counts 36. Taps are independent, so
 * threads take whole taps, and the sums are f32 in a fixed order.
 *
 * The mathematics is in conv.c.  Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c.
 */
#include "conv_kernels.h"
#include "conv_lines.h"
#include "../gemm/gemm.h"

/* Output positions along an axis whose tap falls inside the map. */
static int64_t inside(const dt_conv_shape *s, int axis, int64_t tap)
{
    const int64_t out = axis == 0 ? s->P : s->Q, in = axis == 0 ? s->H : s->W;
    int64_t n = 0;

    for (int64_t p = 0; p < out; p++) {
        const int64_t at = dt_conv_reach(s, axis, p, tap);
        n += at >= 0 && at < in;
    }
    return n;
}

/* More than half of the taps lie outside the map. */
static const char *small_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    const dt_conv_shape shape = dt_conv_shape_of(node), *s = &shape;
    int64_t rows = 0, columns = 0;
    (void)ex;

    if (direction != DT_CONV_DW) return "dw alone";
    if (s->groups > 1) return "groups";
    for (int64_t r = 0; r < s->R; r++) rows += inside(s, 0, r);
    for (int64_t t = 0; t < s->S; t++) columns += inside(s, 1, t);
    if (s->P * s->Q > 16) return "not a small map";
    return 2 * rows * columns < s->P * s->R * s->Q * s->S ? NULL : "half of its taps are inside";
}

/* All pairs of one tap; beta applies to the first of them. */
static dt_status small_tap(const dt_conv_shape *s, const float *x, const float *dy, int64_t tap, float scale,
                           float beta, float *dw)
{
    for (int64_t out = 0; out < s->P * s->Q; out++) {
        const int64_t h = dt_conv_reach(s, 0, out / s->Q, tap / s->S);
        const int64_t v = dt_conv_reach(s, 1, out % s->Q, tap % s->S);
        if (h < 0 || h >= s->H || v < 0 || v >= s->W) continue;
        const dt_matrix a = { dy + out * s->K, s->P * s->Q * s->K, 1 };
        const dt_matrix b = { x + (h * s->W + v) * s->C, s->H * s->W * s->C, 0 };
        DT_TRY(dt_gemm(s->K, s->C, s->N, scale, a, b, beta, dw + tap * s->C, s->terms));
        beta = 1.0f;
    }
    return DT_OK;
}

static int tap_is_used(const dt_conv_shape *s, int64_t tap)
{
    return inside(s, 0, tap / s->S) > 0 && inside(s, 1, tap % s->S) > 0;
}

static void clear_tap(const dt_conv_shape *s, int64_t tap, float *dw)
{
    for (int64_t k = 0; k < s->K; k++) {
        for (int64_t c = 0; c < s->C; c++) dw[k * s->terms + tap * s->C + c] = 0.0f;
    }
}

/* Room of the f32 copies of x and dy. */
static dt_status small_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    const dt_tensor *x = node->in[0], *y = node->out;
    (void)ex;

    share->scratch_bytes =
        dt_wide_bytes(x->type, dt_count(&x->shape)) + dt_wide_bytes(y->grad_type, dt_count(&y->shape));
    return DT_OK;
}

static dt_status small_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *y = node->out;
    const int fresh = (node->fresh & 2u) != 0;
    const float scale = x->n_scale ? x->scale[0] : 1.0f;
    float *dw = node->in[1]->grad, *room = ex->scratch;
    const float *codes = dt_widened(x->data, x->type, dt_count(&x->shape), room);
    dt_status worst = DT_OK;
    (void)share, (void)directions;

    room += dt_wide_bytes(x->type, dt_count(&x->shape)) / sizeof(float);
    const float *dy = dt_widened(y->grad, y->grad_type, dt_count(&y->shape), room);
#pragma omp parallel for schedule(dynamic)
    for (int64_t tap = 0; tap < s.R * s.S; tap++) {
        dt_status status = DT_OK;
        if (tap_is_used(&s, tap)) {
            status = small_tap(&s, codes, dy, tap, scale, fresh ? 0.0f : 1.0f, dw);
        } else if (fresh) {
            clear_tap(&s, tap, dw);
        }
        if (status != DT_OK) {
#pragma omp atomic write
            worst = status;
        }
    }
    DT_CHECK(worst == DT_OK, worst, "%s: conv: a matrix product failed", node->name);
    return DT_OK;
}

const dt_conv_kernel dt_conv_small = {
    .name = "small",
    .refuses = small_refuses,
    .prepare = small_prepare,
    .run = small_run,
};
