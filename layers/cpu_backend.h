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

/* Prepares what the convolution kernels share, each time a context opens. *text tells people what they use, such as
 * "oneDNN with bf16 and int8". In conv/conv_choice.c. */
DT_MUST_CHECK dt_status dt_cpu_conv_open(const char **text);
/* Returns the types in which a convolution exchanges its tensors. In conv/conv_choice.c. */
dt_storage dt_cpu_conv_storage(const dt_node *node, const dt_exec *ex);

#endif /* DT_CPU_BACKEND_H */
