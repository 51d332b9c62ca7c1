/*
 * amx_forward.c - psums of a convolution by tiles: u8 or s8 codes times s8 filters, summed in int32, and so exact.
 *
 * The product is amx_map.c's; here filters are made into tiles.  Mathematics: conv.c.  Tests: tests/layers/test_amx.c.
 */
#include "amx_map.h"

#if defined(__x86_64__)

#include "amx_lanes.h"

static dt_amx_map forward_map(const dt_node *node)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    dt_amx_map m = { .kind = node->in[0]->qmin < 0 ? DT_AMX_S8 : DT_AMX_U8,
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
                     .before = s.pad[1] };

    dt_amx_map_plan(&m);
    return m;
}

const char *dt_amx_forward_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    (void)ex;

    if (dt_amx_conv_shape_refuses(&s)) return dt_amx_conv_shape_refuses(&s);
    if (y->n_scale == 0) return "real values";
    if (y->type != DT_F32) return "psums are not f32";
    if (x->qmin < -128 || x->qmax > (x->qmin < 0 ? 127 : 255)) return "codes of x fit no byte";
    if (w->qmin < -128 || w->qmax > 127) return "codes of w fit no byte";
    return y->qmax <= INT32_MAX ? NULL : "psums past 2^31";
}

size_t dt_amx_forward_scratch(const dt_node *node, int threads)
{
    const dt_amx_map m = forward_map(node);

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

/* A tile of 16 filters from k on: 64 values of each, from `at` of the filter on. */
static DT_AMX_CODE void code_tile(const dt_tensor *w, int64_t K, int64_t terms, int64_t k, int64_t at, int64_t n,
                                  char *to)
{
    __m512i word[DT_AMX_LANES];

    for (int f = 0; f < DT_AMX_LANES; f++) {
        word[f] = k + f < K ? code_bytes(w, (k + f) * terms + at, n) : _mm512_setzero_si512();
    }
    dt_words_transpose(word);
    for (int f = 0; f < DT_AMX_LANES; f++) _mm512_store_si512(to + f * DT_AMX_ROW_BYTES, word[f]);
}

static DT_AMX_CODE void code_panel(const dt_amx_map *m, const dt_tensor *w, int64_t panel, char *to)
{
    const int64_t terms = m->R * m->S * m->channels;

    for (int64_t tap = 0; tap < m->R * m->across; tap++) {
        for (int64_t step = 0; step < m->steps; step++, to += DT_AMX_PANEL_STEP) {
            const int64_t done = step * DT_AMX_ROW_BYTES, n = dt_amx_least(DT_AMX_ROW_BYTES, m->tap - done);
            for (int half = 0; half < 2; half++) {
                code_tile(w, m->n, terms, panel * DT_AMX_PANEL + half * DT_AMX_LANES, tap * m->tap + done, n,
                          to + half * DT_AMX_BYTES);
            }
        }
    }
}

void dt_amx_forward(const dt_node *node, void *scratch, int threads)
{
    const dt_amx_map m = forward_map(node);
    const dt_tensor *x = node->in[0];
    char *filters = scratch;
    const dt_amx_product p = {
        .from = x->data, .type = x->type, .filters = filters, .to = node->out->data, .to_type = DT_F32
    };

#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t panel = 0; panel < m.n_panels; panel++) {
        code_panel(&m, node->in[1], panel, filters + panel * dt_amx_panel_bytes(&m));
    }
    dt_amx_map_run(&m, &p, filters + m.filters_bytes, threads);
}

#endif /* else amx_conv.c */
