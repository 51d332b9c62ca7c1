/*
 * place.c - greedy placement by size.
 *
 * Source: Pisarchyk, Lee, "Efficient memory management for deep neural net inference", 2020, section 5.2 (greedy by
 * size for offset calculation).  Tests: tests/core/test_place.c.
 */
#include "place.h"

#include "../align.h"

#include <stdlib.h>

static int larger_first(const void *a, const void *b)
{
    const dt_buffer *x = *(dt_buffer *const *)a, *y = *(dt_buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y; /* a fixed order, so that equal tapes place alike */
}

static int by_offset(const void *a, const void *b)
{
    const dt_buffer *x = *(dt_buffer *const *)a, *y = *(dt_buffer *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x < y ? -1 : x > y;
}

static size_t aligned(size_t bytes)
{
    return dt_round_up(bytes, DT_ALIGN);
}

/* placed: n buffers in order of offset; those not alive with b do not count */
static size_t lowest_gap(dt_buffer *const *placed, int n, const dt_buffer *b)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        const dt_buffer *p = placed[i];
        if (p->first > b->last || p->last < b->first) continue;
        if (p->offset >= at + aligned(b->bytes)) break;
        if (p->offset + aligned(p->bytes) > at) at = p->offset + aligned(p->bytes);
    }
    return at;
}

dt_status dt_place_buffers(dt_buffer *buffer, int n, size_t *total)
{
    dt_buffer **order = malloc((size_t)(n > 0 ? n : 1) * sizeof *order);
    size_t end = 0;

    DT_CHECK(order, DT_ERR_MEMORY, "no memory to place %d buffers", n);
    for (int i = 0; i < n; i++) order[i] = &buffer[i];
    qsort(order, (size_t)n, sizeof *order, larger_first);
    for (int i = 0; i < n; i++) {
        dt_buffer *b = order[i];
        b->offset = lowest_gap(order, i, b);
        if (b->offset + aligned(b->bytes) > end) end = b->offset + aligned(b->bytes);
        qsort(order, (size_t)i + 1, sizeof *order, by_offset);
    }
    free(order);
    *total = end;
    return DT_OK;
}
