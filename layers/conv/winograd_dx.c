/*
 * winograd_dx.c - see winograd_dx.h.  Tests: tests/layers/test_winograd_backward.c, tests/layers/test_winograd4.c.
 */
#include "winograd_dx.h"

#include "../../core/threads.h"

#include <string.h>

enum { LEAST_COLUMNS = 64, LEAST_CHUNK = 24, MOST_RANGES = 32 };
enum { ROWS = 6 };        /* of tiles that both products take at a time; a chunk is a multiple */
enum { LINE_WORDS = 16 }; /* of a cache line */

static dt_dx_plan plan_of(const dt_dx_kernel *k, const dt_node *node)
{
    dt_dx_plan b = { .node = node, .s = dt_conv_shape_of(node) };
    const int64_t K = b.s.K, fitting = k->filter_bytes / k->value_bytes / K / LEAST_COLUMNS * LEAST_COLUMNS;

    b.map = dt_tile_map_of(&b.s, k->side);
    b.columns = dt_tile_least(b.s.C, fitting > LEAST_COLUMNS ? fitting : LEAST_COLUMNS);
    b.n_blocks = dt_tile_ceiling(b.s.C, b.columns);
    b.chunk = k->chunk_bytes / k->points / (k->value_bytes * K + 4 * b.columns) / ROWS * ROWS;
    if (b.chunk < LEAST_CHUNK) b.chunk = LEAST_CHUNK;
    b.n_ranges = dt_tile_least(dt_tile_ceiling(b.map.count, k->item_tiles), MOST_RANGES);
    b.range = dt_tile_ceiling(b.map.count, b.n_ranges);
    b.v_words = b.chunk * K * k->value_bytes / 4 + LINE_WORDS;
    b.u_words = K * b.columns * k->value_bytes / 4 + LINE_WORDS;
    b.m_words = b.chunk * b.columns + LINE_WORDS;
    b.zeros_bytes = (size_t)K * sizeof(float);
    b.room_bytes = b.zeros_bytes + (size_t)((b.v_words + b.u_words + b.m_words) * k->points) * sizeof(float);
    return b;
}

size_t dt_dx_scratch(const dt_dx_kernel *kernel, const dt_node *node, int threads)
{
    return plan_of(kernel, node).room_bytes * (size_t)threads;
}

void dt_dx_places(const dt_dx_plan *b, int64_t tile, int64_t first, char **place)
{
    const dt_tile_map *m = &b->map;
    const dt_tensor *x = b->node->in[0];
    const int64_t n = tile / (m->down * m->across), at = tile - n * m->down * m->across;
    const int64_t h = at / m->across * m->side, w = at % m->across * m->side;

    for (int64_t i = 0; i < m->side * m->side; i++) {
        const int64_t hi = h + i / m->side, wi = w + i % m->side;
        const int64_t value = ((n * m->H + hi) * m->W + wi) * b->s.C + first;
        const int inside = hi < m->H && wi < m->W;
        place[i] = inside ? (char *)x->grad + value * (int64_t)dt_type_bytes(x->grad_type) : NULL;
    }
}

static void run_item(const dt_dx_kernel *k, const dt_dx_plan *b, int64_t item, char *scratch)
{
    uint32_t *const V = (uint32_t *)(void *)(scratch + b->zeros_bytes), *const U = V + k->points * b->v_words;
    const dt_dx_room room = { scratch, V, U, (float *)(void *)(U + k->points * b->u_words) };
    const int64_t from = item / b->n_ranges * b->columns, columns = dt_tile_least(b->columns, b->s.C - from);
    const int64_t first = item % b->n_ranges * b->range, end = dt_tile_least(first + b->range, b->map.count);

    memset(room.zeros, 0, b->zeros_bytes);
    k->filters(b, from, columns, room.U);
    for (int64_t t = first; t < end; t += b->chunk) {
        const int64_t n = dt_tile_least(b->chunk, end - t);
        k->tiles(b, t, n, &room);
        k->multiply(b, n, columns, t + n, dt_tile_least(t + n + b->chunk, end), &room);
        k->give(b, t, n, from, columns, room.M);
    }
}

void dt_dx_run(const dt_dx_kernel *kernel, const dt_node *node, void *scratch, int threads)
{
    const dt_dx_plan b = plan_of(kernel, node);
    (void)threads; /* of OpenMP, which may be missing */

#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t item = 0; item < b.n_blocks * b.n_ranges; item++) {
        run_item(kernel, &b, item, (char *)scratch + (size_t)dt_thread_number() * b.room_bytes);
    }
}
