/*
 * conv_small.c - the gradients of a convolution on a map so small that most taps fall outside it.
 *
 * A tap (r, s) connects output positions with input positions. Each such pair is one product over the batch:
 *   dw[., r, s, .] += scale * sum over n of dy[n, out, .]^T x[n, in, .]
 *   dx[n, in, .]   += sum over k of dy[n, out, k] w[k, r, s, .]
 * On a 2x2 map with a 3x3 kernel and pad 1 there are 16 pairs, where a convolution counts 36. For dw, threads take
 * whole taps; for dx, whole input positions of some images. The sums are f32 in a fixed order.
 *
 * The mathematics is in conv.c.  Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c.
 */
#include "conv_kernels.h"
#include "conv_lines.h"
#include "../gemm/gemm.h"

enum { IMAGES = 64, LINE = 16 }; /* images of a product for dx; floats of a cache line */

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

    if (direction == DT_CONV_Y) return "backward alone";
    if (direction == DT_CONV_DX && dt_conv_is_mixed(ex)) return "dx in bf16";
    if (s->groups > 1) return "groups";
    for (int64_t r = 0; r < s->R; r++) rows += inside(s, 0, r);
    for (int64_t t = 0; t < s->S; t++) columns += inside(s, 1, t);
    if (s->P * s->Q > 16) return "not a small map";
    return 2 * rows * columns < s->P * s->R * s->Q * s->S ? NULL : "half of its taps are inside";
}

/* A tensor in f32, [position][N][row]: the rows of one position are those of all images. */
typedef struct {
    const float *at;
    int64_t row; /* floats */
} by_position;

/* What the products read. w: [K][terms], real */
typedef struct {
    by_position x, dy;
    const float *w;
} operands;

/* The matrix of a position, from image `first` on. */
static dt_matrix matrix_of(const by_position *t, const dt_conv_shape *s, int64_t position, int64_t first,
                           int transposed)
{
    const dt_matrix m = { t->at + (position * s->N + first) * t->row, t->row, transposed };
    return m;
}

/* All pairs of one tap; beta applies to the first of them. */
static dt_status small_tap(const dt_conv_shape *s, const operands *o, int64_t tap, float scale, float beta, float *dw)
{
    for (int64_t out = 0; out < s->P * s->Q; out++) {
        const int64_t h = dt_conv_reach(s, 0, out / s->Q, tap / s->S);
        const int64_t v = dt_conv_reach(s, 1, out % s->Q, tap % s->S);
        if (h < 0 || h >= s->H || v < 0 || v >= s->W) continue;
        DT_TRY(dt_gemm(s->K, s->C, s->N, scale, matrix_of(&o->dy, s, out, 0, 1),
                       matrix_of(&o->x, s, h * s->W + v, 0, 0), beta, dw + tap * s->C, s->terms));
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

/* Floats from a row to the next: an odd number of cache lines, so that rows do not fall into the same cache sets. */
static int64_t row_of(int64_t channels)
{
    return ((channels + LINE - 1) / LINE | 1) * LINE;
}

static size_t bytes_of(int64_t positions, int64_t N, int64_t channels)
{
    return (size_t)(positions * N * row_of(channels)) * sizeof(float);
}

/* Room of the copies of x and dy, and of the real values of filters on a grid. */
static dt_status small_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *w = node->in[1];
    (void)ex;

    share->scratch_bytes = bytes_of(s.H * s.W, s.N, s.C) + bytes_of(s.P * s.Q, s.N, s.K);
    if (w->n_scale) share->scratch_bytes += (size_t)(s.K * s.terms) * sizeof(float);
    return DT_OK;
}

/* Copies [N][positions][channels] to room. */
static by_position copied(const void *from, dt_dtype type, int64_t N, int64_t positions, int64_t channels, float *room)
{
    const by_position to = { room, row_of(channels) };

#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < positions * N; i++) {
        const dt_row_source row = { .from = from,
                                    .type = type,
                                    .first = (i % N * positions + i / N) * channels,
                                    .columns = 1,
                                    .channels = channels,
                                    .multiple = 1 };
        dt_widen_row(&row, channels, room + i * to.row);
    }
    return to;
}

static operands operands_of(const dt_node *node, const dt_conv_shape *s, unsigned directions, float *room)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    operands o = { .dy = copied(y->grad, y->grad_type, s->N, s->P * s->Q, s->K, room), .w = w->data };

    room += bytes_of(s->P * s->Q, s->N, s->K) / sizeof(float);
    if (directions & DT_CONV_DW) o.x = copied(x->data, x->type, s->N, s->H * s->W, s->C, room);
    if (!(directions & DT_CONV_DX) || !w->n_scale) return o;
    room += bytes_of(s->H * s->W, s->N, s->C) / sizeof(float);
    dt_real_filters(w, s->K, s->terms, room);
    o.w = room;
    return o;
}

static dt_status small_dw(const dt_node *node, const dt_conv_shape *s, const operands *o)
{
    const dt_tensor *x = node->in[0];
    const int fresh = (node->fresh & 2u) != 0;
    const float scale = x->n_scale ? x->scale[0] : 1.0f;
    float *dw = node->in[1]->grad;
    dt_status worst = DT_OK;

#pragma omp parallel for schedule(dynamic)
    for (int64_t tap = 0; tap < s->R * s->S; tap++) {
        dt_status status = DT_OK;
        if (tap_is_used(s, tap)) {
            status = small_tap(s, o, tap, scale, fresh ? 0.0f : 1.0f, dw);
        } else if (fresh) {
            clear_tap(s, tap, dw);
        }
        if (status != DT_OK) {
#pragma omp atomic write
            worst = status;
        }
    }
    return worst;
}

/* All pairs of one input position, of images first .. first + n - 1; beta applies to the first of them. */
static dt_status small_position(const dt_conv_shape *s, const operands *o, int64_t at, int64_t first, int64_t n,
                                float beta, float *dx)
{
    const int64_t to = (first * s->H * s->W + at) * s->C;

    for (int64_t pair = 0; pair < s->P * s->Q * s->R * s->S; pair++) {
        const int64_t out = pair / (s->R * s->S), tap = pair % (s->R * s->S);
        const int64_t h = dt_conv_reach(s, 0, out / s->Q, tap / s->S);
        const int64_t v = dt_conv_reach(s, 1, out % s->Q, tap % s->S);
        if (h != at / s->W || v != at % s->W) continue;
        const dt_matrix w = { o->w + tap * s->C, s->terms, 0 };
        DT_TRY(dt_gemm(n, s->C, s->K, 1.0f, matrix_of(&o->dy, s, out, first, 0), w, beta, dx + to, s->H * s->W * s->C));
        beta = 1.0f;
    }
    return DT_OK;
}

static dt_status small_dx(const dt_node *node, const dt_conv_shape *s, const operands *o)
{
    const int64_t blocks = (s->N + IMAGES - 1) / IMAGES;
    const float beta = node->fresh & 1u ? 0.0f : 1.0f;
    dt_status worst = DT_OK;

#pragma omp parallel for schedule(dynamic)
    for (int64_t item = 0; item < s->H * s->W * blocks; item++) {
        const int64_t first = item % blocks * IMAGES, left = s->N - first;
        const dt_status status =
            small_position(s, o, item / blocks, first, left < IMAGES ? left : IMAGES, beta, node->in[0]->grad);
        if (status != DT_OK) {
#pragma omp atomic write
            worst = status;
        }
    }
    return worst;
}

static dt_status small_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const operands o = operands_of(node, &s, directions, ex->scratch);
    dt_status status = DT_OK;
    (void)share;

    if (directions & DT_CONV_DX) status = small_dx(node, &s, &o);
    if (directions & DT_CONV_DW && status == DT_OK) status = small_dw(node, &s, &o);
    DT_CHECK(status == DT_OK, status, "%s: conv: a matrix product failed", node->name);
    return DT_OK;
}

const dt_conv_kernel dt_conv_small = {
    .name = "small",
    .refuses = small_refuses,
    .prepare = small_prepare,
    .run = small_run,
};
