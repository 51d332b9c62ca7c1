/*
 * word_gemm.h - products of matrices of 32-bit words by the CPU's dot-product instructions (AVX512-BF16, AVX512-VNNI),
 * or by its tiles (AMX) where its level has them. A word is two bf16 or four bytes.
 *
 *   c[i][j] = start[j] + sum over k of dot(a[i][k], b[k][j])
 *
 * dot multiplies the two bf16 of one word by those of the other and adds in f32, in the order of k, or by tiles in the
 * order of amx.h; or it multiplies four u8 by four s8 and adds in int32. A product runs on the calling thread alone. A
 * kernel with much work runs several products side by side.
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
    void *c; /* f32 or int32; row i begins at element i * c_row */
    int64_t c_row;
    const void *start; /* [n] of c's type; NULL: sums start at 0, or at what c holds if add is 1 */
    int add;
} dt_word_gemm;

/* Returns 1 if this CPU has the instructions for bf16, and this build the code. */
int dt_word_gemm_has_bf16(void);
/* Returns 1 if this CPU has the instructions for bytes, and this build the code. */
int dt_word_gemm_has_int8(void);

/* Computes a product of bf16 words. c is f32. */
void dt_word_gemm_bf16(const dt_word_gemm *g);
/* Computes a product of words of u8, a, and s8, b. c is int32. */
void dt_word_gemm_u8s8(const dt_word_gemm *g);

#endif /* DT_WORD_GEMM_H */
