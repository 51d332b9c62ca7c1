/*
 * layer_check.h - one convolution or linear layer under verification: its codes and psums of a batch on the host, the
 *                 engine and the oracle over them, and what the float layer says.
 */
#ifndef DT_LAYER_CHECK_H
#define DT_LAYER_CHECK_H

#include "../../core/context.h"
#include "../../core/tape/tape.h"
#include "oracle.h"

/* Returns 1 if the array computes nodes of the kind, in a program. */
static inline int dt_is_on_array(dt_op_kind kind)
{
    return kind == DT_OP_CONV2D || kind == DT_OP_CAPS_VOTES;
}

/* Makes of operand[2], which are x and w of such a node, what its array reads, with the convolution that it computes.
 */
DT_MUST_CHECK dt_status dt_layer_operands(dt_tape *tape, const dt_node *node, dt_conv_params *conv,
                                          dt_tensor **operand);

typedef struct {
    const char *name;
    dt_psum_shape shape; /* as the array computes it */
    dt_psum_layer on_array;
    float *qx, *psum;  /* of the last batch: codes, psums of the grid */
    int32_t *expected; /* of the last batch: psums of the array */
    float *qw, *sw;    /* [K][R][S][C], [n_sw] */
    float sx;
    int n_sw;
    dt_oracle oracle;
    float *wr;    /* real [blocks of DT_PSUM_LANES filters of a group][tap][C][DT_PSUM_LANES]; 0 behind the filters */
    void *packed; /* for the engine */
    dt_psum_stats stats;            /* of all batches, as the errors */
    double error_float, error_next; /* sums over psums */
} dt_layer_check;

/* node: a CONV2D, LINEAR or CAPS_VOTES on the grid that has run, for batches of at most `batch` maps. l is zeroed but
 * for name and shape. Close it even after a failure. */
DT_MUST_CHECK dt_status dt_layer_check_open(dt_layer_check *l, dt_context *ctx, const dt_array *array,
                                            const dt_node *node, int batch);
void dt_layer_check_close(dt_layer_check *l);

/* The batch that node has just computed; result: one an image. */
DT_MUST_CHECK dt_status dt_layer_check_batch(dt_layer_check *l, dt_context *ctx, const dt_node *node,
                                             dt_oracle_result *result);

#endif /* DT_LAYER_CHECK_H */
