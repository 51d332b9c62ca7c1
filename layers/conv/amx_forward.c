/*
 * amx_forward.c - a convolution by tiles. Psums are u8 or s8 codes times s8 filters, summed in int32, and so exact.
 * Real values are sums of bf16 (amx_map.h).
 *
 * The product is amx_map.c's; here filters are made into tiles.  Mathematics: conv.c.  Tests: tests/layers/test_amx.c.
 */
#include "amx_map.h"

#if defined(__x86_64__)

#include "amx_lanes.h"

static dt_amx_map forward_map(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const int is_real = node->out->n_scale == 0,
              is_rough = node->purpose.training && ex->precision == DT_PRECISION_MIXED;
    dt_amx_map m = { .kind = is_real                 ? DT_AMX_HALF
                             : node->in[0]->qmin < 0 ? DT_AMX_S8
                                                     : DT_AMX_U8,
                     .parts = !is_real   ? 1
                              : is_rough ? 2
                                         : 3,
                     .N = s.N,
                     .H = s.H,
                     .W = s.W,
                     .channels = s.C,
                     .P = s.P,
                     .Q = s.Q,
                     .n = s.K,
                     .R = s.R,
                     .S = s.S,
                     .above = s.pad[0],
                     .before = s.pad[1],
                     .stride = { s.stride[0], s.stride[1] },
                     .every = { 1, 1 },
                     .whole = { s.P, s.Q } };

    dt_amx_map_plan(&m);
    return m;
}

const char *dt_amx_forward_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    (void)ex;

    if (dt_amx_conv_shape_refuses(&s)) return dt_amx_conv_shape_refuses(&s);
    if (y->type != DT_F32) return "y is not f32";
    if (y->n_scale == 0) return x->type == DT_F32 && w->type == DT_F32 ? NULL : "real values that are not f32";
    if (x->qmin < -128 || x->qmax > (x->qmin < 0 ? 127 : 255)) return "codes of x fit no byte";
    if (w->qmin < -128 || w->qmax > 127) return "codes of w fit no byte";
    return y->qmax <= INT32_MAX ? NULL : "psums past 2^31";
}

size_t dt_amx_forward_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    const dt_amx_map m = forward_map(node, ex);

    return m.filters_bytes + (size_t)threads * m.room_bytes;
}

/* Values at .. at + n - 1, n <= 64, as bytes; 0 behind them. */
DT_AMX_INLINE __m512i code_bytes(const dt_tensor *w, int64_t at, int64_t n)
{
    char bytes[64] = { 0 };

    if (w->type == DT_I8) return _mm512_maskz_loadu_epi8(dt_amx_mask64(n), (const char *)w->data + at);
    for (int64_t i = 0; i < n; i += 16) {
        const __m512 codes = dt_amx_floats(w->data, at + i, DT_F32, dt_amx_mask16(n - i));
        _mm_storeu_si128((__m128i *)(void *)(bytes + i), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(codes)));
    }
    return _mm512_loadu_si512(bytes);
}

/* Part 0, 1 or 2 of the values at .. at + n - 1, n <= 32, as bf16; 0 behind them. */
DT_AMX_INLINE __m512i half_bytes(const dt_tensor *w, int64_t at, int64_t n, int64_t part)
{
    __m512 low = dt_amx_floats(w->data, at, DT_F32, dt_amx_mask16(n)),
           high = n > 16 ? dt_amx_floats(w->data, at + 16, DT_F32, dt_amx_mask16(n - 16)) : _mm512_setzero_ps();

    for (; part > 0; part--) {
        low = dt_amx_rest(low);
        high = dt_amx_rest(high);
    }
    return (__m512i)_mm512_cvtne2ps_pbh(dt_amx_holdable(high), dt_amx_holdable(low));
}

/* What a tile of filters holds: 64 bytes of each of 16, along a tap. */
typedef struct {
    int64_t k, at, n, part; /* the first filter; values `at` .. at + n - 1 of each; which part of them */
} filter_tile;

static DT_AMX_CODE void make_tile(const dt_amx_map *m, const dt_tensor *w, const filter_tile *t, char *to)
{
    const int64_t terms = m->R * m->S * m->channels;
    __m512i word[DT_AMX_LANES];

    for (int f = 0; f < DT_AMX_LANES; f++) {
        const int64_t at = (t->k + f) * terms + t->at;
        if (t->k + f >= m->n)
            word[f] = _mm512_setzero_si512();
        else
            word[f] = m->kind == DT_AMX_HALF ? half_bytes(w, at, t->n, t->part) : code_bytes(w, at, t->n);
    }
    dt_words_transpose(word);
    for (int f = 0; f < DT_AMX_LANES; f++) _mm512_store_si512(to + f * DT_AMX_ROW_BYTES, word[f]);
}

/* One tap of a slab of a panel, all its parts. */
static DT_AMX_CODE void make_tap(const dt_amx_map *m, const dt_tensor *w, int64_t panel, int64_t slab, int64_t tap,
                                 char *to)
{
    const int64_t step_values = m->kind == DT_AMX_HALF ? DT_AMX_ROW_BYTES / 2 : DT_AMX_ROW_BYTES;
    const int64_t first = m->n_slabs == 1 ? tap * m->tap : tap * m->channels + slab * m->slab;
    const int64_t values = m->n_slabs == 1 ? m->tap : dt_amx_least(m->tap, m->channels - slab * m->slab);

    for (int64_t i = 0; i < m->parts * m->steps; i++, to += DT_AMX_PANEL_STEP) {
        const int64_t done = i % m->steps * step_values;
        filter_tile t = { panel * DT_AMX_PANEL, first + done, dt_amx_least(step_values, values - done), i / m->steps };
        make_tile(m, w, &t, to);
        t.k += DT_AMX_LANES;
        make_tile(m, w, &t, to + DT_AMX_BYTES);
    }
}

static DT_AMX_CODE void make_panel(const dt_amx_map *m, const dt_tensor *w, int64_t panel, char *to)
{
    const int64_t taps = m->R * m->across;

    for (int64_t i = 0; i < m->n_slabs * taps; i++, to += dt_amx_tap_bytes(m))
        make_tap(m, w, panel, i / taps, i % taps, to);
}

void dt_amx_forward(const dt_node *node, const dt_exec *ex, int threads)
{
    const dt_amx_map m = forward_map(node, ex);
    const dt_tensor *x = node->in[0];
    char *filters = ex->scratch;
    const dt_amx_product p = {
        .from = x->data, .type = x->type, .filters = filters, .to = node->out->data, .to_type = DT_F32, .scale = 1.0f
    };

#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t panel = 0; panel < m.n_panels; panel++) {
        make_panel(&m, node->in[1], panel, filters + panel * dt_amx_panel_bytes(&m));
    }
    dt_amx_map_run(&m, &p, filters + m.filters_bytes, threads);
}

#endif /* else amx_conv.c */
