/*
 * cpu_backend.h - the parts of the CPU's backend that lie in files of their own.
 */
#ifndef DT_CPU_BACKEND_H
#define DT_CPU_BACKEND_H

#include "../core/backend.h"

/* cpu_update.c: one optimiser update. */
DT_MUST_CHECK dt_status dt_cpu_update(const dt_update *u, const dt_exec *ex);
/* quant/weight_update.c: the quantizers' part of it. */
DT_MUST_CHECK dt_status dt_cpu_update_quantized(const dt_update *u, const dt_exec *ex);

/* conv/conv_choice.c: makes ready what the kernels share, each time a context opens; text says to people what they use,
 * "oneDNN with bf16 and int8". */
DT_MUST_CHECK dt_status dt_cpu_conv_open(const char **text);
/* conv/conv_choice.c: how a convolution stores its tensors. */
dt_storage dt_cpu_conv_storage(const dt_node *node, const dt_exec *ex);

#endif /* DT_CPU_BACKEND_H */
