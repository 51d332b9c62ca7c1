/*
 * word_gemm.h - products of matrices of 32-bit words, each two bf16 or four bytes, by the CPU's dot-product
 *               instructions (AVX512-BF16, AVX512-VNNI).
 *
 *   c[i][j] = start[j] + sum over k of dot(a[i][k], b[k][j])
 *
 * dot is of two bf16 pairs, added in f32 (the order of the sum is fixed: the pairs in order of k); or of four u8 by
 * four s8, added in int32. One thread; a kernel that has much to do runs several products side by side.
 */
#ifndef DT_WORD_GEMM_H
#define DT_WORD_GEMM_H

#include <stdint.h>

enum { DT_WORD_COLUMNS = 16 }; /* n is a multiple of this, one vector */

typedef struct {
    int64_t m, n, k;   /* k in words */
    const uint32_t *a; /* word (i, k) is at a[i * a_row + k * a_step] */
    int64_t a_row, a_step;
    const uint32_t *b; /* word (k, j) is at b[k * b_row + j] */
    int64_t b_row;
    void *c; /* f32 or int32, row i at c + i * c_row */
    int64_t c_row;
    const void *start; /* [n] of c's type, or NULL: 0, or what c holds where add is 1 */
    int add;
} dt_word_gemm;

/* 1: this CPU has the instructions, and this build the code. */
int dt_word_gemm_has_bf16(void);
int dt_word_gemm_has_int8(void);

void dt_word_gemm_bf16(const dt_word_gemm *g); /* c: f32 */
void dt_word_gemm_u8s8(const dt_word_gemm *g); /* a: u8, b: s8, c: int32 */

#endif /* DT_WORD_GEMM_H */
