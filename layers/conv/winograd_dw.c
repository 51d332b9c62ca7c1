/*
 * winograd_dw.c - see winograd_dw.h.  Tests: tests/layers/test_winograd_backward.c, tests/layers/test_winograd4.c.
 */
#include "winograd_dw.h"

#include "../../core/threads.h"

#include <assert.h>
#include <string.h>

enum { AT_ONCE = 16 };    /* values summed at a time; C is a multiple */
enum { ITEMS = 16 };      /* to share among threads, about */
enum { LINE_WORDS = 16 }; /* of a cache line */

static dt_dw_plan plan_of(const dt_dw_kernel *k, const dt_node *node)
{
    dt_dw_plan b = { .node = node, .s = dt_conv_shape_of(node) };

    b.map = dt_tile_map_of(&b.s, k->side);
    b.filters = dt_tile_least(b.s.K, k->filters);
    b.channels = dt_tile_least(b.s.C, k->channels);
    b.n_filter_blocks = dt_tile_ceiling(b.s.K, b.filters);
    b.n_channel_blocks = dt_tile_ceiling(b.s.C, b.channels);
    b.n_parts = dt_tile_least(dt_tile_ceiling(b.map.count, k->part),
                              dt_tile_ceiling(ITEMS, b.n_filter_blocks * b.n_channel_blocks));
    b.part = dt_tile_ceiling(dt_tile_ceiling(b.map.count, b.n_parts), k->step) * k->step;
    b.n_parts = dt_tile_ceiling(b.map.count, b.part);
    b.x_words = k->chunk / k->step * b.channels + LINE_WORDS;
    b.dy_words = k->chunk / k->step * b.filters + LINE_WORDS;
    b.sums_words = b.filters * b.channels + LINE_WORDS;
    b.zeros_bytes = (size_t)(b.filters > b.channels ? b.filters : b.channels) * sizeof(float);
    b.room_bytes = b.zeros_bytes + (size_t)((b.x_words + b.dy_words + b.sums_words) * k->points) * sizeof(float);
    return b;
}

/* What an item has to do. */
static dt_dw_span span_of(const dt_dw_plan *b, int64_t item)
{
    const int64_t part = item % b->n_parts, block = item / b->n_parts;
    dt_dw_span a = { .k = block / b->n_channel_blocks * b->filters,
                     .c = block % b->n_channel_blocks * b->channels,
                     .tile = part * b->part };

    a.filters = dt_tile_least(b->filters, b->s.K - a.k);
    a.channels = dt_tile_least(b->channels, b->s.C - a.c);
    a.end = dt_tile_least(a.tile + b->part, b->map.count);
    return a;
}

/* Where parts are kept until all are there; not needed of one. */
static size_t parts_bytes(const dt_dw_plan *b)
{
    return b->n_parts > 1 ? (size_t)(b->n_parts * b->s.K * 9 * b->s.C) * sizeof(float) : 0;
}

size_t dt_dw_scratch(const dt_dw_kernel *kernel, const dt_node *node, int threads)
{
    const dt_dw_plan b = plan_of(kernel, node);

    return parts_bytes(&b) + b.room_bytes * (size_t)threads;
}

/* One part is the whole; of several each lies behind the last. */
static dt_dw_target target_of(const dt_dw_plan *b, int64_t item, const dt_dw_target *whole, float *parts)
{
    const dt_dw_target part = { parts + item % b->n_parts * b->s.K * 9 * b->s.C, 1.0f, 0 };
    return b->n_parts > 1 ? part : *whole;
}

static void sum_parts(const dt_dw_plan *b, const float *parts, const dt_dw_target *whole, int threads)
{
    const int64_t count = b->s.K * 9 * b->s.C;
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

static void run_item(const dt_dw_kernel *k, const dt_dw_plan *b, const dt_dw_span *a, const dt_dw_target *to,
                     char *scratch)
{
    uint32_t *const x = (uint32_t *)(void *)(scratch + b->zeros_bytes), *const dy = x + k->points * b->x_words;
    const dt_dw_room room = { scratch, x, dy, (float *)(void *)(dy + k->points * b->dy_words) };

    memset(room.zeros, 0, b->zeros_bytes);
    for (int64_t tile = a->tile; tile < a->end; tile += k->chunk) {
        const int64_t end = dt_tile_least(tile + k->chunk, a->end);
        k->x(b, a, tile, end, &room);
        k->dy(b, a, tile, end, &room);
        k->multiply(b, a, tile, end, &room);
    }
    k->give(b, a, room.sums, to);
}

void dt_dw_run(const dt_dw_kernel *kernel, const dt_node *node, void *scratch, int threads)
{
    const dt_dw_plan b = plan_of(kernel, node);
    const dt_tensor *x = node->in[0];
    const dt_dw_target whole = { dt_grads(node->in[1]), x->n_scale ? x->scale[0] : 1.0f, !(node->fresh & 2u) };
    char *rooms = (char *)scratch + parts_bytes(&b);
    assert(node->in[1]->grad_type == DT_F32);

#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < b.n_filter_blocks * b.n_channel_blocks * b.n_parts; i++) {
        const dt_dw_span span = span_of(&b, i);
        const dt_dw_target to = target_of(&b, i, &whole, scratch);
        run_item(kernel, &b, &span, &to, rooms + (size_t)dt_thread_number() * b.room_bytes);
    }
    if (b.n_parts > 1) sum_parts(&b, scratch, &whole, threads);
}
