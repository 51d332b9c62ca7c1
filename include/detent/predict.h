/*
 * predict.h - scores of images that stand in no data set.
 */
#ifndef DT_PUBLIC_PREDICT_H
#define DT_PUBLIC_PREDICT_H

#include "evaluate.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a value of the network was for a batch of images: images first, first + 1, .. */
typedef struct {
    const char *name; /* of the value: "features.27" */
    int64_t first;
    int ndim;
    int64_t dim[6];      /* the first axis: images, or a multiple where the network sees an image as several */
    const float *values; /* codes where the value is on the grid */
    int n_scale;         /* 0: real values; else value = scale * code, of one scale or one a channel */
    const float *scale;  /* [n_scale] */
} dt_value_batch;

enum { DT_PREDICT_BATCH = 128 };

/* What to predict. Images of the network's size, [n][height][width][channels]: pixels, which are normalised as those
 * that it was trained on; or normalised already. */
typedef struct {
    const uint8_t *pixels;
    const float *normalised;
    int64_t n;
    int batch; /* images at once; 0: DT_PREDICT_BATCH */
    /* Called for each value of each batch, in the order of the network; NULL: nobody looks. */
    dt_status (*look)(void *user, const dt_value_batch *value);
    void *user;
    const dt_progress *progress; /* or NULL */
} dt_prediction;

/* scores: [n][classes], as dt_outputs'. Of a program's model, too. */
DT_API DT_MUST_CHECK dt_status dt_predict(dt_model *m, const dt_prediction *what, float *scores);

/* The same from file to file: the tensor `name` (NULL: the only one) of a safetensors file, U8 or F32 [N][H][W][C]; to
 * the tensors `scores` F32 [N][classes] and, for each value that layer names (NULL: none, "all": all), one of its name:
 * F32, or I32 with NAME.scale. */
DT_API DT_MUST_CHECK dt_status dt_predict_file(dt_model *m, const char *inputs, const char *name, const char *layer,
                                               const dt_progress *progress, const char *out);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_PREDICT_H */
