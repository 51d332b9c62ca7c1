/*
 * requantize_avx512.h - the products of two integers among those of requantize_lines.c, by AVX-512.
 *
 * A vector holds 16 lanes of 32 bits, and the instruction for signed products of 64 bits takes every second one. The
 * compiler does not find it for vectors of this length, and widens each lane instead, which takes half as long again.
 */
#ifndef DT_REQUANTIZE_AVX512_H
#define DT_REQUANTIZE_AVX512_H

#include "requantize_lines.h"

/* Computes n codes, at most a line, of a product rounded twice or once. Returns the largest of the sums' bits without
 * their sign. */
int32_t dt_requantize_avx512(const dt_requant_line *line, const float *x, int64_t n, float *code);
/* Computes n codes of the near and the far addend; the product is rounded twice or once. A NaN is taken as 0. */
void dt_qadd_avx512(const dt_adder_lanes *lanes, const float *near, const float *far, int64_t n, float *code);

#endif /* DT_REQUANTIZE_AVX512_H */
