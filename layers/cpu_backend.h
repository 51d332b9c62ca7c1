/*
 * cpu_backend.h - the parts of the CPU's backend that are in files of their own.
 */
#ifndef DT_CPU_BACKEND_H
#define DT_CPU_BACKEND_H

#include "../core/backend.h"

/* Does one optimiser update. In cpu_update.c. */
DT_MUST_CHECK dt_status dt_cpu_update(const dt_update *u, const dt_exec *ex);
/* Updates the weights and alphas of u's quantizers alone. In quant/weight_update.c. */
DT_MUST_CHECK dt_status dt_cpu_update_quantized(const dt_update *u, const dt_exec *ex);
/* Follows the codes of the weights that may freeze, and holds the frozen ones. In quant/weight_freeze.c. */
void dt_cpu_freeze(const dt_update *u);

/* Prepares what the convolution kernels share, each time a context opens. *text tells people what they use, such as
 * "oneDNN with bf16 and int8". In conv/conv_choice.c. */
DT_MUST_CHECK dt_status dt_cpu_conv_open(const char **text);
/* Returns the types in which a convolution exchanges its tensors. In conv/conv_choice.c. */
dt_storage dt_cpu_conv_storage(const dt_node *node, const dt_exec *ex);

/* ---- several ranks (cpu_comm.c) ---- */

/* The CPU's state: the ranks that it computes with. */
typedef struct {
    dt_dist *dist; /* borrowed; NULL: it is alone */
} dt_cpu_device;

/* The functions of dt_backend for several ranks. */
DT_MUST_CHECK dt_status dt_cpu_comm_open(void *device, dt_dist *dist, char *text, size_t text_bytes);
DT_MUST_CHECK dt_status dt_cpu_all_reduce(void *device, void *data, int64_t count, dt_sum_type type);
DT_MUST_CHECK dt_status dt_cpu_sum_shares(void *device, float *data, const int64_t *at);
DT_MUST_CHECK dt_status dt_cpu_spread_shares(void *device, const char *what, float *data, const int64_t *at);
DT_MUST_CHECK dt_status dt_cpu_all_reduce_join(void *device);
DT_MUST_CHECK dt_status dt_cpu_pack_sums(void *device, const dt_step_sum *sum, const float *state, int64_t n,
                                         double *room);
DT_MUST_CHECK dt_status dt_cpu_unpack_sums(void *device, const double *room, int ranks, dt_step_sum *sum, float *state,
                                           int64_t n);
/* Replaces the sums v[0..n-1] of a node's batch statistics by those of all ranks, where its purpose says that the
 * statistics are of several; else it does nothing. */
DT_MUST_CHECK dt_status dt_cpu_norm_sums(const dt_node *node, const dt_exec *ex, double *v, int64_t n);

#endif /* DT_CPU_BACKEND_H */
