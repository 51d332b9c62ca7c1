/*
 * conv_lines.c - see conv_lines.h.
 * Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c, tests/layers/test_conv_types.c.
 */
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("prefer-vector-width=512") /* half as many instructions */
#endif

#include "conv_lines.h"

#include "../../core/align.h"
#include "../../core/half.h"

#define INLINE static inline __attribute__((always_inline)) /* so that a type that callers pass is a constant */

INLINE float value_of(const void *from, dt_dtype type, int64_t i)
{
    switch (type) {
    case DT_U8: return (float)((const uint8_t *)from)[i];
    case DT_I8: return (float)((const int8_t *)from)[i];
    case DT_BF16: return dt_from_bf16(((const uint16_t *)from)[i]);
    default: return ((const float *)from)[i];
    }
}

INLINE void widen_typed(const dt_row_source *row, dt_dtype type, int64_t wide, float *restrict line)
{
    const int is_whole = row->channels == wide;
    const int64_t pieces = is_whole ? 1 : row->columns, n = is_whole ? row->columns * wide : row->channels;
    const void *from = row->from;

    for (int64_t i = 0; i < pieces; i++, line += wide) {
        const int64_t first = row->first + i * n;
        for (int64_t c = 0; c < n && row->multiple == 1; c++) line[c] = value_of(from, type, first + c);
        for (int64_t c = 0; c < n && row->multiple > 1; c++) {
            const float value = value_of(from, type, first + c);
            for (int64_t j = 0; j < row->multiple; j++) line[c * row->multiple + j] = value;
        }
    }
}

void dt_widen_row(const dt_row_source *row, int64_t wide, float *line)
{
    switch (row->type) {
    case DT_U8: widen_typed(row, DT_U8, wide, line); break;
    case DT_I8: widen_typed(row, DT_I8, wide, line); break;
    case DT_BF16: widen_typed(row, DT_BF16, wide, line); break;
    default: widen_typed(row, DT_F32, wide, line); break;
    }
}

size_t dt_wide_bytes(dt_dtype type, int64_t n)
{
    return type == DT_F32 ? 0 : dt_round_up((size_t)n * sizeof(float), DT_CACHE_LINE);
}

const float *dt_widened(const void *from, dt_dtype type, int64_t n, float *room)
{
    const int64_t block = 4096;

    if (type == DT_F32) return from;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < n; first += block) {
        const int64_t columns = n - first < block ? n - first : block;
        dt_widen_row(&(dt_row_source){ from, type, first, columns, 1, 1 }, 1, room + first);
    }
    return room;
}

void dt_line_ring_start(const dt_line_ring *ring)
{
    for (int64_t i = 0; i < ring->n; i++) ring->held[i] = -1;
}

const float *dt_line_ring_row(const dt_line_ring *ring, int64_t row)
{
    if (row < 0 || row >= ring->n_rows) return NULL;
    const int64_t slot = row % ring->n;
    float *line = ring->line + slot * ring->step;

    if (ring->held[slot] != row) {
        dt_row_source from = ring->row;
        from.first += row * from.columns * from.channels;
        dt_widen_row(&from, ring->wide, line + ring->front * ring->wide);
        ring->held[slot] = row;
    }
    return line;
}

void dt_real_filters(const dt_tensor *w, int64_t K, int64_t terms, float *real)
{
    const float *wide = w->data;
    const int8_t *narrow = w->data;
#pragma omp parallel for
    for (int64_t k = 0; k < K; k++) {
        const float scale = w->scale[w->n_scale > 1 ? k : 0];
        const int64_t end = (k + 1) * terms;
        if (w->type == DT_I8) {
            for (int64_t i = k * terms; i < end; i++) real[i] = scale * (float)narrow[i];
        } else {
            for (int64_t i = k * terms; i < end; i++) real[i] = scale * wide[i];
        }
    }
}
