/*
 * predict.h - scores of images that are in no data set.
 */
#ifndef DT_PUBLIC_PREDICT_H
#define DT_PUBLIC_PREDICT_H

#include "evaluate.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A value of the network for one batch of images. */
typedef struct {
    const char *name; /* of the value, such as "features.27" */
    int64_t first;    /* index of the batch's first image */
    int ndim;
    int64_t dim[6];      /* the first axis: images of the batch, times the maps of an image where it has several */
    const float *values; /* integers where the value is on the grid */
    int n_scale;         /* 0: values are real; 1: real = scale * integer; else there is a scale for each channel */
    const float *scale;  /* [n_scale] */
} dt_value_batch;

/* Images of a batch, unless dt_prediction.batch says otherwise. */
enum { DT_PREDICT_BATCH = 128 };

/* The images to predict. One of the first three is set, and the others are NULL. */
typedef struct {
    const dt_dataset *dataset; /* images first .. first + n - 1 of it, normalised as in dt_evaluate */
    const uint8_t *pixels;   /* [n][height][width][channels] of the network's size; normalised by the model's origin */
    const float *normalised; /* the same shape, normalised already */
    int64_t first;           /* of dataset; else 0 */
    int64_t n;
    int batch; /* images of a batch; 0: DT_PREDICT_BATCH */
    /* Is called for each value of each batch, in the order of the network. May be NULL. */
    dt_status (*look)(void *user, const dt_value_batch *value);
    /* Returns 1 if look is to be called for the value of that name. NULL: look is called for all. */
    int (*wants)(void *user, const char *name);
    void *user;
    const dt_progress *progress; /* NULL: none */
    /* Names of values that the scores do not need, and that are computed for look all the same, behind the scores.
     * DT_ERR_ARGUMENT: the network has no such value. */
    const char *const *beside; /* [n_beside] */
    int n_beside;
} dt_prediction;

/* Writes the scores of the images to scores, [n][n_classes]: logits, or lengths of class capsules. scores may be NULL,
 * for a caller who only looks. m may be a program's model, which takes pixels alone. DT_ERR_ARGUMENT: pixels are given,
 * and nothing says how m normalises them. DT_ERR_RANGE: the dataset does not have all of the images. */
DT_API DT_MUST_CHECK dt_status dt_predict(dt_model *m, const dt_prediction *what, float *scores);

/* Predicts the images of a safetensors file, and writes a safetensors file. It reads the tensor `name`, U8 pixels or
 * normalised F32, [N][H][W][C]; of a network that was trained on reals, F32 as its data set has them, not normalised.
 * name may be NULL if there is no other. It writes the tensor `scores`, F32 [N][classes],
 * and the value that `layer` names, or all values if layer is "all", or none if it is NULL. A value is F32 under its
 * own name; on the grid it is I32, and its scale is F32 under NAME.scale. Of a program that computes under a profile,
 * `codes` holds the integers of the scores as engines store them, I8 with their zero point. */
DT_API DT_MUST_CHECK dt_status dt_predict_file(dt_model *m, const char *inputs, const char *name, const char *layer,
                                               const dt_progress *progress, const char *out);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_PREDICT_H */
