/*
 * amx_backward_x.c - dx of a convolution by tiles, bf16 with f32 sums.
 *
 * dx is a convolution of dy with the window turned by 180 degrees, whose padding is the rest of the window:
 *   dx(h, w, c) = sum over (r, s) and k of dy(h + r - (R - 1 - above), w + s - (S - 1 - before), k) w(k, R-1-r, S-1-s, c)
 * The product is amx_map.c's. dy is rounded to bf16 if it is f32. Codes of filters are exact in bf16 up to 256; their
 * scale is multiplied at the end if it is one, else before they are rounded.
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

int dt_amx_backward_x_fits(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *w = node->in[1];

    return ex->precision == DT_PRECISION_MIXED && dt_amx_conv_shape_fits(&s) &&
           (w->type == DT_F32 || w->type == DT_I8);
}

size_t dt_amx_backward_x_scratch(const dt_node *node, int threads)
{
    const dt_amx_map m = backward_x_map(node);

    return m.filters_bytes + (size_t)threads * m.room_bytes;
}

/* Channels c .. c + 15 of the value `at` of a row of the turned window: a filter's, of one of its taps. */
DT_AMX_INLINE __m512 turned_values(const dt_amx_map *m, const dt_tensor *w, int64_t tap, int64_t at, int64_t c)
{
    const int64_t K = m->channels, k = at % K, r = tap / m->across, s = tap % m->across + at / K;
    const int64_t from = ((k * m->R + m->R - 1 - r) * m->S + m->S - 1 - s) * m->n + c;

    if (at >= m->tap || c >= m->n) return _mm512_setzero_ps();
    const float scale = w->n_scale > 1 ? w->scale[k] : 1.0f;
    return _mm512_mul_ps(_mm512_set1_ps(scale), dt_amx_floats(w->data, from, w->type, dt_amx_mask16(m->n - c)));
}

static DT_AMX_CODE void turned_panel(const dt_amx_map *m, const dt_tensor *w, int64_t panel, char *to)
{
    for (int64_t tap = 0; tap < m->R * m->across; tap++) {
        for (int64_t step = 0; step < m->steps; step++, to += DT_AMX_PANEL_STEP) {
            for (int64_t i = 0; i < 2 * DT_AMX_ROWS; i++) {
                const int64_t half = i / DT_AMX_ROWS, row = i % DT_AMX_ROWS, at = step * 32 + 2 * row;
                const int64_t c = panel * DT_AMX_PANEL + half * DT_AMX_LANES;
                _mm512_store_si512(to + i * DT_AMX_ROW_BYTES, dt_amx_pairs(turned_values(m, w, tap, at, c),
                                                                           turned_values(m, w, tap, at + 1, c)));
            }
        }
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
    for (int64_t panel = 0; panel < m.n_panels; panel++) {
        turned_panel(&m, w, panel, filters + panel * (int64_t)(m.filters_bytes / (size_t)m.n_panels));
    }
    dt_amx_map_run(&m, &p, filters + m.filters_bytes, threads);
}

#endif /* else amx_conv.c */
