/*
 * codes.h - one look into a TABLE, for CPU and CUDA. codes.c has the mathematics.
 */
#ifndef DT_CODES_H
#define DT_CODES_H

#include <math.h>

#include "../core/grid_facts.h"
#include "../core/op.h"

typedef struct {
    const uint8_t *bytes; /* x as pixels, or NULL */
    const float *codes;   /* x as codes, or NULL */
    const float *table;   /* [rows][columns] */
    int64_t channels, columns;
    int first; /* x of row 0 */
} dt_table_view;

/* Returns the view of a node. */
static inline dt_table_view dt_table_look(const dt_node *node)
{
    const int is_bytes = node->in[0]->type == DT_U8;
    const dt_table_view v = { is_bytes ? (const uint8_t *)node->in[0]->data : NULL,
                              is_bytes ? NULL : (const float *)node->in[0]->data,
                              (const float *)node->in[1]->data,
                              dt_channels(&node->out->shape),
                              dt_channels(&node->in[1]->shape),
                              ((const dt_table_params *)node->params)->first };
    return v;
}

/* Returns element i of the output. The table has a row for every code that x may hold; a NaN stays one. */
static inline DT_HD float dt_table_value(const dt_table_view *v, int64_t i)
{
    if (v->codes && isnan(v->codes[i])) return NAN;
    const int64_t x = v->bytes ? (int64_t)v->bytes[i] : (int64_t)v->codes[i];

    return v->table[(x - v->first) * v->columns + (v->columns == 1 ? 0 : i % v->channels)];
}

#endif /* DT_CODES_H */
