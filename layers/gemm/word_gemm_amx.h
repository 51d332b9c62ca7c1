/*
 * word_gemm_amx.h - the products of word_gemm.h by the tiles of a CPU with AMX.
 *
 * A bf16 product is summed in the order of amx.h, 16 words at a time, and so has other bits than the AVX-512 one.
 */
#ifndef DT_WORD_GEMM_AMX_H
#define DT_WORD_GEMM_AMX_H

#include "word_gemm.h"

void dt_word_gemm_amx_bf16(const dt_word_gemm *g);
void dt_word_gemm_amx_u8s8(const dt_word_gemm *g);

#endif /* DT_WORD_GEMM_AMX_H */
