/*
 * amx_model.h - the kernels by tiles (AMX) on a model of the tile instructions: the same sources as the library's,
 *               compiled with amx_tiles.h, for any CPU with AVX-512 and its bf16. `model_x` is `dt_amx_x`.
 */
#ifndef AMX_MODEL_H
#define AMX_MODEL_H

#include "../../core/op.h"
#include "../../layers/gemm/word_gemm.h"

/* Returns 1 if this CPU runs what is around the tiles' instructions. */
static inline int amx_model_runs(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16");
#else
    return 0;
#endif
}

void model_word_gemm_bf16(const dt_word_gemm *g);
void model_word_gemm_u8s8(const dt_word_gemm *g);

#define MODEL_DIRECTION(name)                                                           \
    const char *model_##name##_refuses(const dt_node *node, const dt_exec *ex);         \
    size_t model_##name##_scratch(const dt_node *node, const dt_exec *ex, int threads); \
    void model_##name(const dt_node *node, const dt_exec *ex, int threads);
MODEL_DIRECTION(forward)
MODEL_DIRECTION(backward_x)
MODEL_DIRECTION(backward_w)
#undef MODEL_DIRECTION

#endif /* AMX_MODEL_H */
