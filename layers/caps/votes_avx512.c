/*
 * votes_avx512.c - see votes_avx512.h.  Tests: tests/layers/test_caps_votes.c.
 */
#include "votes_avx512.h"

#include "../../core/cpu_level.h"

#include <assert.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define ALWAYS static inline __attribute__((always_inline)) DT_TARGET_AVX512

enum { LANES = 16, TERMS = DT_VOTES_TERMS, IMAGES = DT_VOTES_IMAGES };

int dt_votes_avx512_fit(int64_t terms, int64_t columns)
{
    return terms == TERMS && columns % LANES == 0 && dt_cpu_level_now() >= DT_CPU_AVX512;
}

ALWAYS void vote(const float *x, const float *w, int64_t columns, int far, float *to)
{
    __m512 factor[TERMS];

#pragma GCC unroll 8
    for (int a = 0; a < TERMS; a++) factor[a] = _mm512_set1_ps(x[a]);
    for (int64_t c = 0; c < columns; c += LANES) {
        __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 8
        for (int a = 0; a < TERMS; a++) {
            sum = _mm512_add_ps(sum, _mm512_mul_ps(factor[a], _mm512_loadu_ps(w + a * columns + c)));
        }
        if (far)
            _mm512_stream_ps(to + c, sum);
        else
            _mm512_storeu_ps(to + c, sum);
    }
}

DT_TARGET_AVX512 void dt_vote_avx512(const float *x, const float *w, int64_t columns, int far, float *to)
{
    if (far && (uintptr_t)to % sizeof(__m512) == 0)
        vote(x, w, columns, 1, to);
    else
        vote(x, w, columns, 0, to);
}

void dt_votes_avx512_done(void)
{
    _mm_sfence();
}

/* n images; n is a constant wherever this is inlined */
ALWAYS void add_dw(const dt_vote_images *images, int n, const dt_vote_weights *weights)
{
    const int64_t columns = weights->columns;
    float factor[IMAGES][TERMS];

    for (int k = 0; k < n; k++) {
        for (int a = 0; a < TERMS; a++) factor[k][a] = images->x_scale * images->x[k * images->x_next + a];
    }
    for (int64_t c = 0; c < columns; c += LANES) {
        __m512 dvotes[IMAGES];
#pragma GCC unroll 4
        for (int k = 0; k < n; k++) dvotes[k] = _mm512_loadu_ps(images->dvotes + k * images->votes_next + c);
#pragma GCC unroll 8
        for (int a = 0; a < TERMS; a++) {
            __m512 sum = _mm512_loadu_ps(weights->dw + a * columns + c);
#pragma GCC unroll 4
            for (int k = 0; k < n; k++) {
                sum = _mm512_add_ps(sum, _mm512_mul_ps(_mm512_set1_ps(factor[k][a]), dvotes[k]));
            }
            _mm512_storeu_ps(weights->dw + a * columns + c, sum);
        }
    }
}

/* The sum of the lanes of each of 8 vectors, by halves. */
ALWAYS __m256 sums_of_lanes(const __m512 *p)
{
    const __m512i place = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512 half[4], quarter[2];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(p[2 * i], p[2 * i + 1], 0x44),
                                _mm512_shuffle_f32x4(p[2 * i], p[2 * i + 1], 0xEE));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        quarter[i] = _mm512_add_ps(_mm512_shuffle_f32x4(half[2 * i], half[2 * i + 1], 0x88),
                                   _mm512_shuffle_f32x4(half[2 * i], half[2 * i + 1], 0xDD));
    }
    const __m512 pair =
        _mm512_add_ps(_mm512_shuffle_ps(quarter[0], quarter[1], 0x44), _mm512_shuffle_ps(quarter[0], quarter[1], 0xEE));
    const __m512 one = _mm512_add_ps(_mm512_shuffle_ps(pair, pair, 0x88), _mm512_shuffle_ps(pair, pair, 0xDD));
    return _mm512_castps512_ps256(_mm512_permutexvar_ps(place, one));
}

ALWAYS void give_dx(const dt_vote_images *images, int k, const dt_vote_weights *weights)
{
    const float *dvotes = images->dvotes + k * images->votes_next;
    float *dx = images->dx + k * images->x_next;
    __m512 sum[TERMS];

#pragma GCC unroll 8
    for (int a = 0; a < TERMS; a++) sum[a] = _mm512_setzero_ps();
    for (int64_t c = 0; c < weights->columns; c += LANES) {
        const __m512 d = _mm512_loadu_ps(dvotes + c);
#pragma GCC unroll 8
        for (int a = 0; a < TERMS; a++) {
            sum[a] = _mm512_add_ps(sum[a], _mm512_mul_ps(d, _mm512_loadu_ps(weights->w + a * weights->columns + c)));
        }
    }
    const __m256 slope = _mm256_mul_ps(_mm256_set1_ps(weights->scale), sums_of_lanes(sum));
    _mm256_storeu_ps(dx, images->fresh ? slope : _mm256_add_ps(_mm256_loadu_ps(dx), slope));
}

DT_TARGET_AVX512 void dt_vote_gradients_avx512(const dt_vote_images *images, const dt_vote_weights *weights)
{
    const int n = images->n;
    assert(n >= 1 && n <= IMAGES && weights->terms == TERMS);

    if (weights->dw && n == IMAGES) add_dw(images, IMAGES, weights);
    if (weights->dw && n < IMAGES) add_dw(images, n, weights);
    for (int k = 0; images->dx && k < n; k++) give_dx(images, k, weights);
}

#else

int dt_votes_avx512_fit(int64_t terms, int64_t columns)
{
    (void)terms;
    (void)columns;
    return 0;
}

void dt_vote_avx512(const float *x, const float *w, int64_t columns, int far, float *vote)
{
    (void)x;
    (void)w;
    (void)columns;
    (void)far;
    (void)vote;
    assert(0); /* it does not fit */
}

void dt_votes_avx512_done(void)
{
}

void dt_vote_gradients_avx512(const dt_vote_images *images, const dt_vote_weights *weights)
{
    (void)images;
    (void)weights;
    assert(0);
}

#endif
