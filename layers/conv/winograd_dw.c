/*
 * winograd_dw.c - see winograd_dw.h.  Tests: tests/layers/test_winograd_backward.c, tests/layers/test_winograd4.c.
 */
#include "winograd_dw.h"

#include "../../core/threads.h"

#include <assert.h>
#include <string.h>

enum { AT_ONCE = 16 }; /* values summed at a time; C is a multiple */

dt_dw_blocks dt_dw_blocks_of(const dt_conv_shape *s, int64_t tiles, int64_t filters, int64_t channels, int64_t part,
                             int64_t step, int64_t items)
{
    dt_dw_blocks b = { .K = s->K, .C = s->C, .tiles = tiles };

    b.filters = dt_tile_least(b.K, filters);
    b.channels = dt_tile_least(b.C, channels);
    b.n_filter_blocks = dt_tile_ceiling(b.K, b.filters);
    b.n_channel_blocks = dt_tile_ceiling(b.C, b.channels);
    b.n_parts =
        dt_tile_least(dt_tile_ceiling(tiles, part), dt_tile_ceiling(items, b.n_filter_blocks * b.n_channel_blocks));
    b.part = dt_tile_ceiling(dt_tile_ceiling(tiles, b.n_parts), step) * step;
    b.n_parts = dt_tile_ceiling(tiles, b.part);
    return b;
}

/* What an item has to do. */
static dt_dw_span span_of(const dt_dw_blocks *b, int64_t item)
{
    const int64_t part = item % b->n_parts, block = item / b->n_parts;
    dt_dw_span a = { .k = block / b->n_channel_blocks * b->filters,
                     .c = block % b->n_channel_blocks * b->channels,
                     .tile = part * b->part };

    a.filters = dt_tile_least(b->filters, b->K - a.k);
    a.channels = dt_tile_least(b->channels, b->C - a.c);
    a.end = dt_tile_least(a.tile + b->part, b->tiles);
    return a;
}

/* Where parts are kept until all are there; not needed of one. */
static size_t parts_bytes(const dt_dw_blocks *b)
{
    return b->n_parts > 1 ? (size_t)(b->n_parts * b->K * 9 * b->C) * sizeof(float) : 0;
}

size_t dt_dw_scratch(const dt_dw_blocks *b, size_t room_bytes, int threads)
{
    return parts_bytes(b) + room_bytes * (size_t)threads;
}

/* One part is the whole; of several each lies behind the last. */
static dt_dw_target target_of(const dt_dw_blocks *b, int64_t item, const dt_dw_target *whole, float *parts)
{
    const dt_dw_target part = { parts + item % b->n_parts * b->K * 9 * b->C, 1.0f, 0 };
    return b->n_parts > 1 ? part : *whole;
}

static void sum_parts(const dt_dw_blocks *b, const float *parts, const dt_dw_target *whole, int threads)
{
    const int64_t count = b->K * 9 * b->C;
    const float scale = whole->scale;
    const int add = whole->add;
    float *dw = whole->dw;
    (void)threads; /* of OpenMP, which may be missing */

#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i += AT_ONCE) {
        float sum[AT_ONCE];
        memcpy(sum, parts + i, sizeof sum);
        for (int64_t p = 1; p < b->n_parts; p++) {
            for (int l = 0; l < AT_ONCE; l++) sum[l] += parts[p * count + i + l];
        }
        for (int l = 0; l < AT_ONCE; l++) dw[i + l] = add ? dw[i + l] + scale * sum[l] : scale * sum[l];
    }
}

void dt_dw_run(const dt_dw_blocks *b, const dt_node *node, dt_dw_item *item, const void *user, size_t room_bytes,
               void *scratch, int threads)
{
    const dt_tensor *x = node->in[0];
    const dt_dw_target whole = { dt_grads(node->in[1]), x->n_scale ? x->scale[0] : 1.0f, !(node->fresh & 2u) };
    char *rooms = (char *)scratch + parts_bytes(b);
    assert(node->in[1]->grad_type == DT_F32);

#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < b->n_filter_blocks * b->n_channel_blocks * b->n_parts; i++) {
        const dt_dw_span span = span_of(b, i);
        const dt_dw_target to = target_of(b, i, &whole, scratch);
        item(user, &span, &to, rooms + (size_t)dt_thread_number() * room_bytes);
    }
    if (b->n_parts > 1) sum_parts(b, scratch, &whole, threads);
}
