/*
 * wrong_images.h - the images of which a network is most sure, and wrong.
 */
#ifndef DT_CLI_WRONG_IMAGES_H
#define DT_CLI_WRONG_IMAGES_H

#include <stdint.h>

typedef struct {
    int64_t image;
    int label, taken;  /* its class, and that for which it was taken */
    double confidence; /* 0..1 */
} wrong_image;

/* What the images are judged by. */
typedef struct {
    const float *scores;   /* [n][n_classes] */
    const int32_t *labels; /* [n] */
    int64_t n;
    int n_classes;
    int are_lengths; /* 1: the confidence is the largest score, of capsules; 0: its share in a softmax of the scores */
} judged_images;

/* Sets *out to up to `most` images of which another class than their own has the largest score, the most confident
 * first, and returns how many these are. */
int wrong_images_find(const judged_images *j, int most, wrong_image *out);

#endif /* DT_CLI_WRONG_IMAGES_H */
