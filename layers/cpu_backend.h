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

/* conv/onednn.c: overwrites entries of the table of kernels; isa is for people: "avx512_core_bf16". */
DT_MUST_CHECK dt_status dt_onednn_install(const dt_kernel **table, const char **isa);
/* conv/conv_onednn.c: how a convolution stores its tensors. */
dt_storage dt_onednn_conv_storage(const dt_node *node, const dt_exec *ex);

#endif /* DT_CPU_BACKEND_H */
