/*
 * conv_depthwise.c - convolutions with one channel in each group: filter k reads channel k / multiple, where multiple
 *                    is K / C.
 *
 * No sum goes over channels, so a matrix product has no use. Each filter is a lane of a vector, and a row of results is
 * a sum of rows, each times one tap. Rows are first widened to f32 lines [column][wide] (conv_lines.h). wide is K
 * rounded up to whole vectors, a channel stands once for each of its filters, and padding is zeros. A ring keeps as
 * many lines as a window spans, so that every row is widened once.
 *
 *   y row p    sum over r, s of  x line (p stride + r dilation - pad) from column s on * w[r,s]
 *   dx row h   sum over r, s of  dy line ((h + pad - r dilation) / stride), where that is whole, * real w[r,s]
 *   dw[r,s]    sum over rows and columns of  x line * dy line, then * sx
 *
 * Everything is f32, in which sums of codes are exact below 2^24. The images are cut into parts that depend on their
 * number alone. dw is summed over a row, then over the rows of an image, then over the images of a part, and the parts
 * are summed in order and in double. So results do not depend on the number of threads.
 *
 * The mathematics is in conv.c.
 * Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c, tests/layers/test_conv_types.c.
 */
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("prefer-vector-width=512") /* half as many instructions */
#endif

#include "conv_kernels.h"
#include "conv_lines.h"

#include "../../core/align.h"
#include "../../core/half.h"
#include "../../core/arith/grid.h"
#include "../../core/threads.h"

#include <assert.h>
#include <string.h>

enum {
    LANES = 16,
    MOST_TAPS = 64,
    OUTPUTS = 4, /* results side by side, which share the loads of a tap */
    TAPS = 5,    /* of dw side by side: enough sums that none waits for the one before */
    MOST_PARTS = 32
};

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* lanes in memory */

typedef struct {
    const dt_node *node;
    dt_conv_shape s;
    int64_t multiple, wide, taps;
    int64_t n_lines;  /* of a ring */
    int64_t columns;  /* of a line, zeros included */
    int64_t dy_front; /* zeros before a line of dy */
    int64_t n_parts;  /* of the images */
} depthwise;

/* A thread's; floats, in whole vectors. */
typedef struct {
    float *ring, *result, *dy, *dw;
    int64_t *held;
} rooms;

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static depthwise sizes_of(const dt_node *node)
{
    depthwise d = { .node = node, .s = dt_conv_shape_of(node) };
    const dt_conv_shape *s = &d.s;
    const int64_t rows = s->dilation[0] * (s->R - 1) + 1, reach = s->dilation[1] * (s->S - 1);
    const int64_t last_q = (s->W - 1 + s->pad[1]) / s->stride[1]; /* that a tap of dx may ask for */

    d.multiple = s->K / s->C;
    d.wide = (int64_t)dt_round_up((size_t)s->K, LANES);
    d.taps = s->R * s->S;
    d.n_lines = rows < most(s->H, s->P) ? rows : most(s->H, s->P);
    d.dy_front = reach;
    d.columns = most((s->Q - 1) * s->stride[1] + reach + 1, s->W + s->pad[1]);
    d.columns = most(d.columns, reach + most(s->Q, last_q + 1));
    d.n_parts = s->N < MOST_PARTS ? s->N : MOST_PARTS;
    return d;
}

/* y of codes where f32 holds every psum. */
static const char *depthwise_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const int is_exact = node->out->n_scale == 0 || node->out->qmax < DT_F32_EXACT;
    (void)ex;

    if (s.groups == 1 || s.groups != s.C) return "not one channel a group";
    if (s.R * s.S > MOST_TAPS) return "large window";
    return direction == DT_CONV_Y && !is_exact ? "psums past 2^24" : NULL;
}

static int64_t line_floats(const depthwise *d)
{
    return d->columns * d->wide;
}

static int64_t held_floats(const depthwise *d)
{
    return (int64_t)dt_round_up((size_t)(2 * d->n_lines), LANES);
}

static int64_t room_floats(const depthwise *d)
{
    return (d->n_lines + 2) * line_floats(d) + d->taps * d->wide + held_floats(d);
}

static rooms rooms_of(const depthwise *d, float *at)
{
    rooms r = { .ring = at };

    r.result = r.ring + d->n_lines * line_floats(d);
    r.dy = r.result + line_floats(d);
    r.dw = r.dy + line_floats(d);
    r.held = (int64_t *)(void *)(r.dw + d->taps * d->wide);
    return r;
}

/* [filters, taps x wide][dw of each part, taps x wide][room of each thread] */
static dt_status depthwise_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    const depthwise d = sizes_of(node);
    const int64_t floats = (1 + d.n_parts) * d.taps * d.wide + share->threads * room_floats(&d);
    (void)ex;

    share->scratch_bytes = (size_t)floats * sizeof(float);
    return DT_OK;
}

/* ---- lines ---- */

static dt_line_ring ring_of(const depthwise *d, const rooms *r, dt_row_source row, int64_t n_rows, int64_t front)
{
    const dt_line_ring lines = { row, n_rows, d->n_lines, front, d->wide, line_floats(d), r->ring, r->held };

    dt_line_ring_start(&lines);
    return lines;
}

static dt_row_source x_row(const depthwise *d, int64_t image)
{
    const dt_conv_shape *s = &d->s;
    const dt_tensor *x = d->node->in[0];

    return (dt_row_source){ x->data, x->type, image * s->H * s->W * s->C, s->W, s->C, d->multiple };
}

static dt_row_source dy_row(const depthwise *d, int64_t image)
{
    const dt_conv_shape *s = &d->s;
    const dt_tensor *y = d->node->out;

    return (dt_row_source){ y->grad, y->grad_type, image * s->P * s->Q * s->K, s->Q, s->K, 1 };
}

/* filters [taps][wide]: codes, or real values */
static void turn_filters(const depthwise *d, int to_real, float *filters)
{
    const dt_tensor *w = d->node->in[1];
    const int8_t *narrow = w->data;
    const float *wide = w->data;

    memset(filters, 0, (size_t)(d->taps * d->wide) * sizeof *filters);
    for (int64_t k = 0; k < d->s.K; k++) {
        const float scale = to_real && w->n_scale ? w->scale[w->n_scale > 1 ? k : 0] : 1.0f;
        for (int64_t tap = 0; tap < d->taps; tap++) {
            filters[tap * d->wide + k] =
                scale * (w->type == DT_I8 ? (float)narrow[k * d->taps + tap] : wide[k * d->taps + tap]);
        }
    }
}

/* ---- sums of lines ---- */

/* Taps that meet the map, of one row of results. */
typedef struct {
    const float *line[MOST_TAPS], *filter[MOST_TAPS];
    int64_t tap[MOST_TAPS];
    int n;
} meeting;

static void meet(meeting *m, const float *line, const float *filter, int64_t tap)
{
    m->line[m->n] = line;
    m->filter[m->n] = filter;
    m->tap[m->n++] = tap;
}

/* Distances, in floats, between results next to each other, and between what they read. */
typedef struct {
    int64_t n, from, to;
} steps;

/* to[i] = sum over the taps of line[i] * filter, of the vector of channels from k on */
static void sum_taps(const meeting *m, int64_t k, steps step, float *to)
{
    int64_t i = 0;

    for (; i + OUTPUTS <= step.n; i += OUTPUTS) {
        lanes sum[OUTPUTS] = { { 0.0f } };
        for (int j = 0; j < m->n; j++) {
            const float *from = m->line[j] + k + i * step.from;
            const lanes filter = *(const loose *)(m->filter[j] + k);
#pragma GCC unroll 4
            for (int o = 0; o < OUTPUTS; o++) sum[o] += *(const loose *)(from + o * step.from) * filter;
        }
#pragma GCC unroll 4
        for (int o = 0; o < OUTPUTS; o++) *(loose *)(to + (i + o) * step.to + k) = sum[o];
    }
    for (; i < step.n; i++) {
        lanes sum = { 0.0f };
        for (int j = 0; j < m->n; j++) {
            sum += *(const loose *)(m->line[j] + k + i * step.from) * *(const loose *)(m->filter[j] + k);
        }
        *(loose *)(to + i * step.to + k) = sum;
    }
}

/* to[tap] += sum over i of line[i] * dy[i], of TAPS taps of m from j on, and of the vector of channels from k on.
 * Taps beyond the last repeat it, and are dropped. */
static void dot_taps(const meeting *m, int j, int64_t k, steps step, const float *dy, float *to)
{
    const float *from[TAPS];
    lanes sum[TAPS] = { { 0.0f } };

    for (int t = 0; t < TAPS; t++) from[t] = m->line[j + t < m->n ? j + t : m->n - 1] + k;
    for (int64_t i = 0; i < step.n; i++) {
        const lanes g = *(const loose *)(dy + i * step.to + k);
#pragma GCC unroll 5
        for (int t = 0; t < TAPS; t++) sum[t] += *(const loose *)(from[t] + i * step.from) * g;
    }
    for (int t = 0; t < TAPS && j + t < m->n; t++) *(loose *)(to + m->tap[j + t] * step.to + k) += sum[t];
}

/* ---- forward ---- */

/* Taps of row p of y, whose lines are x's. */
static void meet_x(const depthwise *d, const dt_line_ring *x, int64_t p, const float *filters, meeting *m)
{
    const dt_conv_shape *s = &d->s;

    m->n = 0;
    for (int64_t tap = 0; tap < d->taps; tap++) {
        const float *line = dt_line_ring_row(x, dt_conv_reach(s, 0, p, tap / s->S));
        if (line) meet(m, line + tap % s->S * s->dilation[1] * d->wide, filters + tap * d->wide, tap);
    }
}

static void forward_image(const depthwise *d, int64_t image, const float *filters, const rooms *r)
{
    const dt_conv_shape *s = &d->s;
    const int in_place = s->K == d->wide;
    const dt_line_ring x = ring_of(d, r, x_row(d, image), s->H, s->pad[1]);
    const steps step = { s->Q, s->stride[1] * d->wide, d->wide };
    float *y = (float *)d->node->out->data + image * s->P * s->Q * s->K;

    for (int64_t p = 0; p < s->P; p++, y += s->Q * s->K) {
        float *to = in_place ? y : r->result;
        meeting m;
        meet_x(d, &x, p, filters, &m);
        for (int64_t k = 0; k < d->wide; k += LANES) sum_taps(&m, k, step, to);
        if (in_place) continue;
        for (int64_t q = 0; q < s->Q; q++) memcpy(y + q * s->K, to + q * d->wide, (size_t)s->K * sizeof *y);
    }
}

/* ---- backward ---- */

/* Taps of row h of dx, at columns v, v + stride, ...; lines are dy's. */
static void meet_dy(const depthwise *d, const dt_line_ring *dy, const int64_t at[2], const float *filters, meeting *m)
{
    const dt_conv_shape *s = &d->s;

    m->n = 0;
    for (int64_t tap = 0; tap < d->taps; tap++) {
        const int64_t up = at[0] - dt_conv_reach(s, 0, 0, tap / s->S);
        const int64_t left = at[1] - dt_conv_reach(s, 1, 0, tap % s->S);
        if (up % s->stride[0] != 0 || left % s->stride[1] != 0) continue;
        const float *line = dt_line_ring_row(dy, up / s->stride[0]);
        if (line) meet(m, line + (left / s->stride[1] + d->dy_front) * d->wide, filters + tap * d->wide, tap);
    }
}

/* The sums of a channel's filters, which stand side by side, to the front of the line. */
static void fold(const depthwise *d, float *sums)
{
    for (int64_t v = 0; v < d->s.W; v++, sums += d->wide) {
        for (int64_t c = 0; c < d->s.C; c++) {
            float sum = sums[c * d->multiple];
            for (int64_t j = 1; j < d->multiple; j++) sum += sums[c * d->multiple + j];
            sums[c] = sum;
        }
    }
}

static void give_values(const float *restrict from, int64_t n, float *restrict to, int add)
{
    if (!add) {
        memcpy(to, from, (size_t)n * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
}

static void give_halves(const float *restrict from, int64_t n, uint16_t *restrict to)
{
    for (int64_t i = 0; i < n; i++) to[i] = dt_to_bf16(from[i]);
}

/* A row of dx from its sums, [W][wide]; first: of its values. */
static void give_dx(const depthwise *d, const float *sums, int64_t first)
{
    const dt_tensor *x = d->node->in[0];
    const int is_whole = d->s.C == d->wide, add = !(d->node->fresh & 1u);
    const int64_t pieces = is_whole ? 1 : d->s.W, n = is_whole ? d->s.W * d->s.C : d->s.C;
    assert(!add || x->grad_type == DT_F32);

    for (int64_t i = 0; i < pieces; i++, sums += d->wide, first += n) {
        if (x->grad_type == DT_BF16)
            give_halves(sums, n, (uint16_t *)x->grad + first);
        else
            give_values(sums, n, dt_grads(x) + first, add);
    }
}

static void backward_x_image(const depthwise *d, int64_t image, const float *filters, const rooms *r)
{
    const dt_conv_shape *s = &d->s;
    const dt_line_ring dy = ring_of(d, r, dy_row(d, image), s->P, d->dy_front);

    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t v = 0; v < s->W && v < s->stride[1]; v++) {
            const steps step = { (s->W - v + s->stride[1] - 1) / s->stride[1], d->wide, s->stride[1] * d->wide };
            meeting m;
            meet_dy(d, &dy, (const int64_t[2]){ h, v }, filters, &m);
            for (int64_t k = 0; k < d->wide; k += LANES) sum_taps(&m, k, step, r->result + v * d->wide);
        }
        if (d->multiple > 1) fold(d, r->result);
        give_dx(d, r->result, (image * s->H + h) * s->W * s->C);
    }
}

/* Adds to dw [taps][wide]. */
static void backward_w_image(const depthwise *d, int64_t image, const rooms *r, float *dw)
{
    const dt_conv_shape *s = &d->s;
    const dt_line_ring x = ring_of(d, r, x_row(d, image), s->H, s->pad[1]);
    const steps step = { s->Q, s->stride[1] * d->wide, d->wide };
    dt_row_source dy = dy_row(d, image);

    memset(r->dw, 0, (size_t)(d->taps * d->wide) * sizeof *r->dw);
    for (int64_t p = 0; p < s->P; p++, dy.first += s->Q * s->K) {
        meeting m;
        meet_x(d, &x, p, r->dw, &m); /* filters are not read */
        dt_widen_row(&dy, d->wide, r->dy);
        for (int64_t k = 0; k < d->wide; k += LANES) {
            for (int j = 0; j < m.n; j += TAPS) dot_taps(&m, j, k, step, r->dy, r->dw);
        }
    }
    for (int64_t i = 0; i < d->taps * d->wide; i++) dw[i] += r->dw[i];
}

static void give_dw(const depthwise *d, const float *parts)
{
    const dt_tensor *x = d->node->in[0], *w = d->node->in[1];
    const double scale = x->n_scale ? (double)x->scale[0] : 1.0;
    const int add = !(d->node->fresh & 2u);
    const int64_t count = d->taps * d->wide;

    for (int64_t i = 0; i < d->s.K * d->taps; i++) {
        const int64_t at = i % d->taps * d->wide + i / d->taps;
        double sum = 0.0;
        for (int64_t part = 0; part < d->n_parts; part++) sum += (double)parts[part * count + at];
        dt_grads(w)[i] = (float)(scale * sum) + (add ? dt_grads(w)[i] : 0.0f);
    }
}

/* ---- parts of the images ---- */

typedef struct {
    float *filters, *parts, *rooms;
} regions;

static regions regions_of(const depthwise *d, void *scratch)
{
    regions r = { .filters = scratch };

    r.parts = r.filters + d->taps * d->wide;
    r.rooms = r.parts + d->n_parts * d->taps * d->wide;
    return r;
}

/* y, or dx and dw, of the part's images. */
static void run_part(const depthwise *d, int64_t part, unsigned directions, const regions *at)
{
    float *floats = at->rooms + dt_thread_number() * room_floats(d), *dw = at->parts + part * d->taps * d->wide;
    const rooms r = rooms_of(d, floats);
    const size_t ring_bytes = (size_t)(d->n_lines * line_floats(d)) * sizeof(float);
    const int64_t first = d->s.N * part / d->n_parts, end = d->s.N * (part + 1) / d->n_parts;

    memset(floats, 0, ring_bytes);
    for (int64_t n = first; n < end && directions & DT_CONV_Y; n++) forward_image(d, n, at->filters, &r);
    for (int64_t n = first; n < end && directions & DT_CONV_DX; n++) backward_x_image(d, n, at->filters, &r);
    if (!(directions & DT_CONV_DW)) return;
    memset(floats, 0, ring_bytes); /* x has zeros at other places than dy */
    memset(r.dy, 0, (size_t)line_floats(d) * sizeof(float));
    memset(dw, 0, (size_t)(d->taps * d->wide) * sizeof *dw);
    for (int64_t n = first; n < end; n++) backward_w_image(d, n, &r, dw);
}

static void run_parts(const depthwise *d, unsigned directions, const regions *at, int threads)
{
    turn_filters(d, !(directions & DT_CONV_Y), at->filters);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t part = 0; part < d->n_parts; part++) run_part(d, part, directions, at);
}

static dt_status depthwise_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    const depthwise d = sizes_of(node);
    const regions at = regions_of(&d, ex->scratch);
    assert(node->out->type == DT_F32);

    if (directions & DT_CONV_Y) run_parts(&d, DT_CONV_Y, &at, share->threads);
    if (directions & (DT_CONV_DX | DT_CONV_DW)) run_parts(&d, directions & ~(unsigned)DT_CONV_Y, &at, share->threads);
    if (directions & DT_CONV_DW) give_dw(&d, at.parts);
    return DT_OK;
}

const dt_conv_kernel dt_conv_depthwise = {
    .name = "depthwise",
    .refuses = depthwise_refuses,
    .prepare = depthwise_prepare,
    .run = depthwise_run,
};
