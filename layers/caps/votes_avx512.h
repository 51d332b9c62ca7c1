/*
 * votes_avx512.h - inside caps_votes: votes of capsules of 8 values, and their gradients, by AVX-512. caps_votes.c has
 *                  the mathematics, and plain loops that give the same bits.
 */
#ifndef DT_VOTES_AVX512_H
#define DT_VOTES_AVX512_H

#include <stdint.h>

enum { DT_VOTES_TERMS = 8, DT_VOTES_IMAGES = 4 };

/* One input capsule in n images, n <= DT_VOTES_IMAGES: [terms] or [columns] values that lie `next` apart. */
typedef struct {
    const float *x;
    float *dx; /* NULL: not wanted */
    const float *dvotes;
    int64_t x_next, votes_next;
    int n, fresh; /* fresh: dx is overwritten */
    float x_scale;
} dt_vote_images;

/* The weights of that capsule: [terms][columns]. */
typedef struct {
    const float *w;
    float *dw; /* NULL: not wanted; else added to */
    float scale;
    int64_t terms, columns;
} dt_vote_weights;

/* Returns 1 if the functions below take these sizes, on this CPU at its level. */
int dt_votes_avx512_fit(int64_t terms, int64_t columns);
/* vote = sum over a of x[a] * w[a], a in order. far: it is stored past the caches. */
void dt_vote_avx512(const float *x, const float *w, int64_t columns, int far, float *vote);
/* To be called by a thread that has stored past the caches, before others may read that. */
void dt_votes_avx512_done(void);
/* dx of the images, and what they add to dw. */
void dt_vote_gradients_avx512(const dt_vote_images *images, const dt_vote_weights *weights);

#endif /* DT_VOTES_AVX512_H */
