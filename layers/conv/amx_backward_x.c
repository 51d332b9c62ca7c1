/*
 * amx_backward_x.c - dx of a convolution by tiles, bf16 with f32 sums.
 *
 * dx is a convolution of dy with the window turned by 180 degrees, whose padding is the rest of the window:
 *   dx(h, w, c) = sum over (r, s) and k of dy(h + r - (R-1-above), w + s - (S-1-before), k) w(k, R-1-r, S-1-s, c)
 * With a stride, rows of dx that are a stride apart read the same taps, each stride-th of the window, and are such a
 * convolution by themselves; columns too. So there is one product for each phase of rows and columns.
 *
 * The product is amx_map.c's. dy is rounded to bf16 if it is f32. Codes of filters are exact in bf16 up to 256; their
 * scale is multiplied at the end if it is one, else before they are rounded.
 *
 * Mathematics: conv.c.  Tests: tests/layers/test_amx.c.
 */
#include "amx_map.h"

#if defined(__x86_64__)

#include "amx_lanes.h"

#include <assert.h>

/* The product of one phase. */
typedef struct {
    dt_amx_map m;
    int64_t window[2], first[2], stride[2]; /* the whole window; its taps are each stride-th, from `first` on */
} turned;

static int is_empty(const turned *t)
{
    return t->m.P == 0 || t->m.Q == 0;
}

/* Of the rows, or columns, phase, phase + stride, .. of dx. */
typedef struct {
    int64_t results, first, taps,
        before; /* such rows; the first tap that they read; taps; padding of the turned window */
} turned_axis;

static turned_axis axis_of(const dt_conv_shape *s, int axis, int64_t phase)
{
    const int64_t stride = s->stride[axis], reach = phase + s->pad[axis], size = axis == 0 ? s->H : s->W;
    const int64_t window = axis == 0 ? s->R : s->S, first = reach % stride;
    const int64_t taps = first < window ? dt_amx_ceiling(window - first, stride) : 0;

    return (turned_axis){ phase < size ? dt_amx_ceiling(size - phase, stride) : 0, first, taps,
                          taps - 1 - reach / stride };
}

/* Phases are numbered along a row of dx first. */
static turned turned_of(const dt_node *node, int64_t phase)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const turned_axis rows = axis_of(&s, 0, phase / s.stride[1]), columns = axis_of(&s, 1, phase % s.stride[1]);
    const int has_taps = rows.taps > 0 && columns.taps > 0; /* else dx is 0 */
    turned t = { .m = { .kind = DT_AMX_HALF,
                        .parts = 1,
                        .N = s.N,
                        .H = s.P,
                        .W = s.Q,
                        .channels = s.K,
                        .P = rows.results,
                        .Q = columns.results,
                        .n = s.C,
                        .R = has_taps ? rows.taps : 0,
                        .S = has_taps ? columns.taps : 1,
                        .above = rows.before,
                        .before = columns.before,
                        .stride = { 1, 1 },
                        .every = { s.stride[0], s.stride[1] },
                        .from = { phase / s.stride[1], phase % s.stride[1] },
                        .whole = { s.H, s.W } },
                 .window = { s.R, s.S },
                 .first = { rows.first, columns.first },
                 .stride = { s.stride[0], s.stride[1] } };

    if (!is_empty(&t)) dt_amx_map_plan(&t.m);
    return t;
}

static int64_t phases_of(const dt_node *node)
{
    const dt_conv_shape s = dt_conv_shape_of(node);

    return s.stride[0] * s.stride[1];
}

const char *dt_amx_backward_x_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);

    return ex->precision != DT_PRECISION_MIXED ? "backward is f32" : dt_amx_conv_shape_refuses(&s);
}

size_t dt_amx_backward_x_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    size_t most = 0;
    (void)ex;

    for (int64_t phase = 0; phase < phases_of(node); phase++) {
        const dt_amx_map m = turned_of(node, phase).m;
        const size_t bytes = m.filters_bytes + (size_t)threads * m.room_bytes;
        if (bytes > most) most = bytes;
    }
    return most;
}

/* A value of a row of the turned window: a filter's, of one of its taps. */
typedef struct {
    int64_t from; /* its first channel, in w; -1 behind the row's last */
    float scale;
} turned_value;

/* at: along a tap, whose number counts the slabs too. */
static inline turned_value turned_value_of(const turned *t, const dt_tensor *w, int64_t tap, int64_t at)
{
    const dt_amx_map *m = &t->m;
    const int64_t slab = tap / (m->R * m->across), joined = m->across < m->S ? at / m->channels : 0;
    const int64_t k = slab * m->slab + at - joined * m->channels;
    const int64_t r = tap / m->across % m->R, s = tap % m->across + joined;
    const int64_t row = t->first[0] + t->stride[0] * (m->R - 1 - r),
                  column = t->first[1] + t->stride[1] * (m->S - 1 - s);

    if (at >= m->tap || k >= m->channels) return (turned_value){ -1, 0.0f };
    return (turned_value){ ((k * t->window[0] + row) * t->window[1] + column) * m->n,
                           w->n_scale > 1 ? w->scale[k] : 1.0f };
}

/* Its channels c .. c + 15 */
DT_AMX_INLINE __m512 turned_lanes(const dt_tensor *w, const turned_value *v, int64_t c, int64_t n, dt_dtype type)
{
    if (v->from < 0) return _mm512_setzero_ps();
    return _mm512_mul_ps(_mm512_set1_ps(v->scale), dt_amx_floats(w->data, v->from + c, type, dt_amx_mask16(n - c)));
}

/* One step of a tap, of two panels, which share their cache lines of w. */
DT_AMX_INLINE void turned_step(const turned *t, const dt_tensor *w, int64_t tap, int64_t step, int64_t panel,
                               char *filters, dt_dtype type)
{
    const dt_amx_map *m = &t->m;
    const int64_t bytes = dt_amx_panel_bytes(m), end = dt_amx_least(m->n, (panel + 2) * DT_AMX_PANEL);

    for (int64_t row = 0; row < DT_AMX_ROWS; row++) {
        const turned_value low = turned_value_of(t, w, tap, step * 32 + 2 * row),
                           high = turned_value_of(t, w, tap, step * 32 + 2 * row + 1);
        char *to = filters + (tap * m->steps + step) * DT_AMX_PANEL_STEP + row * DT_AMX_ROW_BYTES;
        for (int64_t c = panel * DT_AMX_PANEL; c < end; c += DT_AMX_LANES) {
            _mm512_store_si512(
                to + c / DT_AMX_PANEL * bytes + c % DT_AMX_PANEL / DT_AMX_LANES * DT_AMX_BYTES,
                dt_words_of_pairs(turned_lanes(w, &low, c, m->n, type), turned_lanes(w, &high, c, m->n, type)));
        }
    }
}

static DT_AMX_CODE void turned_panels(const turned *t, const dt_tensor *w, int64_t panel, char *filters)
{
    const dt_amx_map *m = &t->m;

    for (int64_t i = 0; i < m->n_slabs * m->R * m->across * m->steps; i++) {
        if (w->type == DT_I8)
            turned_step(t, w, i / m->steps, i % m->steps, panel, filters, DT_I8);
        else
            turned_step(t, w, i / m->steps, i % m->steps, panel, filters, DT_F32);
    }
}

void dt_amx_backward_x(const dt_node *node, const dt_exec *ex, int threads)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    char *filters = ex->scratch;
    const dt_amx_product p = { .from = y->grad,
                               .type = y->grad_type,
                               .filters = filters,
                               .to = x->grad,
                               .to_type = x->grad_type,
                               .scale = w->n_scale == 1 ? w->scale[0] : 1.0f,
                               .add = !(node->fresh & 1u) };

    assert(x->grad_type == DT_F32 || (x->grad_type == DT_BF16 && !p.add));
    for (int64_t phase = 0; phase < phases_of(node); phase++) {
        const turned t = turned_of(node, phase);
        if (is_empty(&t)) continue;
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t panel = 0; panel < t.m.n_panels; panel += 2) turned_panels(&t, w, panel, filters);
        dt_amx_map_run(&t.m, &p, filters + t.m.filters_bytes, threads);
    }
}

#endif /* else amx_conv.c */
