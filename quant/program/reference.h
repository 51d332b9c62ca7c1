/*
 * reference.h - one node of a program as reference.c and reference_codes.c run it.
 */
#ifndef DT_REFERENCE_H
#define DT_REFERENCE_H

#include "program.h"

/* A node at work: i32 of codes and psums, else f32; the pointer of the other type is NULL. */
typedef struct {
    const dt_program *p;
    const dt_graph_node *n;
    dt_value in, out;
    const int32_t *x;
    const float *u;      /* reals of in[0] */
    void *const *values; /* of every value of the graph that an image has any of */
    int32_t *y;
    float *z;
} dt_reference_node;

/* Returns the data of input k, a parameter. */
static inline const void *dt_reference_data(const dt_reference_node *k, int input)
{
    return dt_program_data(k->p, k->n, input);
}

/* Returns a sum of products, which the program declares to lie in the range of the node's value. In reference.c. */
int32_t dt_reference_sum(const dt_reference_node *k, int64_t sum);

/* Returns the position in x of cell j of the window whose output is value i, or -1 in the padding. In reference.c. */
int64_t dt_reference_pool_cell(const dt_reference_node *k, int64_t i, int j);

/* Each runs a node of the kind of its name. In reference_codes.c. */
void dt_reference_quantize(const dt_reference_node *k);
void dt_reference_requantize(const dt_reference_node *k);
void dt_reference_qadd(const dt_reference_node *k);
void dt_reference_qmul(const dt_reference_node *k);
void dt_reference_qmatmul(const dt_reference_node *k);
void dt_reference_qavgpool(const dt_reference_node *k);
void dt_reference_qsoftmax(const dt_reference_node *k);
void dt_reference_dequantize(const dt_reference_node *k);

/* Each runs a node of the kind of its name. In reference_caps.c. */
void dt_reference_votes(const dt_reference_node *k);
void dt_reference_route(const dt_reference_node *k);
void dt_reference_class(const dt_reference_node *k);

#endif /* DT_REFERENCE_H */
