/*
 * amx_backward_x.c - dx of a convolution by tiles, bf16 with f32 sums.
 *
 * dx is a convolution of dy with the window turned by 180 degrees, whose padding is the rest of the window:
 *   dx(h, w, c) = sum over (r, s) and k of dy(h + r - (R - 1 - above), w + s - (S - 1 - before), k) w(k, R-1-r, S-1-s,
 * c) The product is amx_map.c's. dy is rounded to bf16 if it is f32. Codes of filters are exact in bf16 up to 256;
 * their scale is multiplied at the end if it is one, else before they are rounded.
 *
 * Mathematics: conv.c.  Tests: tests/layers/test_amx.c.
 */
#include "amx_map.h"

#if defined(__x86_64__)

#include "amx_lanes.h"

#include <assert.h>

static dt_amx_map backward_x_map(const dt_node *node)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    dt_amx_map m = { .kind = DT_AMX_HALF,
                     .N = s.N,
                     .H = s.P,
                     .W = s.Q,
                     .channels = s.K,
                     .P = s.H,
                     .Q = s.W,
                     .n = s.C,
                     .R = s.R,
                     .S = s.S,
                     .above = s.R - 1 - s.pad[0],
                     .before = s.S - 1 - s.pad[1] };

    dt_amx_map_plan(&m);
    return m;
}

const char *dt_amx_backward_x_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);

    return ex->precision != DT_PRECISION_MIXED ? "backward is f32" : dt_amx_conv_shape_refuses(&s);
}

size_t dt_amx_backward_x_scratch(const dt_node *node, int threads)
{
    const dt_amx_map m = backward_x_map(node);

    return m.filters_bytes + (size_t)threads * m.room_bytes;
}

/* A value of a row of the turned window: a filter's, of one of its taps. */
typedef struct {
    int64_t from; /* its first channel, in w; -1 behind the row's last */
    float scale;
} turned_value;

static inline turned_value turned_value_of(const dt_amx_map *m, const dt_tensor *w, int64_t tap, int64_t at)
{
    const int64_t K = m->channels, joined = m->across < m->S ? at / K : 0, k = at - joined * K;
    const int64_t r = tap / m->across, s = tap % m->across + joined;

    if (at >= m->tap) return (turned_value){ -1, 0.0f };
    return (turned_value){ ((k * m->R + m->R - 1 - r) * m->S + m->S - 1 - s) * m->n,
                           w->n_scale > 1 ? w->scale[k] : 1.0f };
}

/* Its channels c .. c + 15 */
DT_AMX_INLINE __m512 turned_lanes(const dt_tensor *w, const turned_value *v, int64_t c, int64_t n, dt_dtype type)
{
    if (v->from < 0) return _mm512_setzero_ps();
    return _mm512_mul_ps(_mm512_set1_ps(v->scale), dt_amx_floats(w->data, v->from + c, type, dt_amx_mask16(n - c)));
}

/* One step of a tap, of two panels, which share their cache lines of w. */
DT_AMX_INLINE void turned_step(const dt_amx_map *m, const dt_tensor *w, int64_t tap, int64_t step, int64_t panel,
                               char *filters, dt_dtype type)
{
    const int64_t bytes = dt_amx_panel_bytes(m), end = dt_amx_least(m->n, (panel + 2) * DT_AMX_PANEL);

    for (int64_t row = 0; row < DT_AMX_ROWS; row++) {
        const turned_value low = turned_value_of(m, w, tap, step * 32 + 2 * row),
                           high = turned_value_of(m, w, tap, step * 32 + 2 * row + 1);
        char *to = filters + (tap * m->steps + step) * DT_AMX_PANEL_STEP + row * DT_AMX_ROW_BYTES;
        for (int64_t c = panel * DT_AMX_PANEL; c < end; c += DT_AMX_LANES) {
            _mm512_store_si512(
                to + c / DT_AMX_PANEL * bytes + c % DT_AMX_PANEL / DT_AMX_LANES * DT_AMX_BYTES,
                dt_words_of_pairs(turned_lanes(w, &low, c, m->n, type), turned_lanes(w, &high, c, m->n, type)));
        }
    }
}

static DT_AMX_CODE void turned_panels(const dt_amx_map *m, const dt_tensor *w, int64_t panel, char *filters)
{
    for (int64_t i = 0; i < m->R * m->across * m->steps; i++) {
        if (w->type == DT_I8)
            turned_step(m, w, i / m->steps, i % m->steps, panel, filters, DT_I8);
        else
            turned_step(m, w, i / m->steps, i % m->steps, panel, filters, DT_F32);
    }
}

void dt_amx_backward_x(const dt_node *node, void *scratch, int threads)
{
    const dt_amx_map m = backward_x_map(node);
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    char *filters = scratch;
    const dt_amx_product p = { .from = y->grad,
                               .type = y->grad_type,
                               .filters = filters,
                               .to = x->grad,
                               .to_type = x->grad_type,
                               .scale = w->n_scale == 1 ? w->scale[0] : 1.0f,
                               .add = !(node->fresh & 1u) };

    assert(x->grad_type == DT_F32 || (x->grad_type == DT_BF16 && !p.add));
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t panel = 0; panel < m.n_panels; panel += 2) turned_panels(&m, w, panel, filters);
    dt_amx_map_run(&m, &p, filters + m.filters_bytes, threads);
}

#endif /* else amx_conv.c */
