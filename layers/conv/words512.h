/*
 * words512.h - vectors of 16 words on a CPU with AVX-512: pairs of bf16, and transposing. Winograd's kernels and those
 * by tiles share it.
 */
#ifndef DT_WORDS512_H
#define DT_WORDS512_H

#include <immintrin.h>

#define DT_WORDS512(target_) static inline __attribute__((always_inline, target(target_)))

/* Returns words of two bf16, of which the lower one is that of `low`. */
DT_WORDS512("avx512f,avx512bw,avx512vl,avx512bf16") __m512i dt_words_of_pairs(__m512 low, __m512 high)
{
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, both);
}

/* Transposes 16x16 words: within blocks of 4x4, then the blocks, which are 128 bits each, among themselves. */
DT_WORDS512("avx512f,avx512bw,avx512vl") void dt_words_transpose(__m512i r[16])
{
    __m512i t[16];

#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        /* blocks 0 1 0 1 and 2 3 2 3 of two rows each */
        const __m512i low_a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x44);
        const __m512i high_a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xee);
        const __m512i low_b = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x44);
        const __m512i high_b = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xee);
        t[i] = _mm512_shuffle_i32x4(low_a, low_b, 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(low_a, low_b, 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(high_a, high_b, 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(high_a, high_b, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

#endif /* DT_WORDS512_H */
