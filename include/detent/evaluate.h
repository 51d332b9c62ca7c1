/*
 * evaluate.h - accuracy and loss over a data set, and the confusion of its classes.
 */
#ifndef DT_PUBLIC_EVALUATE_H
#define DT_PUBLIC_EVALUATE_H

#include "dataset.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double loss;           /* mean over images */
    double reconstruction; /* mean over images of an image's sum of squared errors; 0 where no decoder ran */
    /* Share of the images that were predicted right, 0..1; of a network of labels (dt_model_info.is_binary) the share
     * of all labels of all images that were told right: binary accuracy. */
    double accuracy;
    double exact;   /* share of the images all of whose labels were told right; of a network of classes the accuracy */
    int64_t images; /* number of images */
} dt_metrics;

/* Functions of the caller that long work calls. */
typedef struct {
    /* Is called after each batch. A result other than 0 stops the work with DT_ERR_INTERRUPTED. May be NULL. */
    int (*tick)(void *user, int64_t done, int64_t total);
    void *user;
    /* Evaluations call it after every watch_every batches, with the metrics of the images so far. Each call waits for
     * the device. May be NULL. */
    dt_status (*watch)(void *user, const dt_metrics *so_far);
    int64_t watch_every;
} dt_progress;

/* What an evaluation keeps of each of the dataset's n images. A member may be NULL. */
typedef struct {
    int32_t *predictions; /* [n] class, or label, with the largest score; the first of equal ones */
    float *scores; /* [n][n_classes of the model] logits, or lengths of class capsules; a label is said above 0 */
} dt_outputs;

/* Runs all images of d through m. They are normalised by the mean and std of m's origin, or by d's where the origin is
 * unknown; so in all functions that run a model on a dataset. progress and outputs may be NULL. DT_ERR_NUMERIC: a
 * parameter has a value that it must not have, or the loss is not finite. */
DT_API DT_MUST_CHECK dt_status dt_evaluate(dt_model *m, const dt_dataset *d, int batch, float label_smoothing,
                                           const dt_progress *progress, const dt_outputs *outputs, dt_metrics *out);

/* An evaluation that is made again and again, as after each epoch of a run. */
typedef struct dt_evaluator dt_evaluator;

/* Prepares what dt_evaluate would prepare for m and d: the images of d in device memory, and m as it computes them. d
 * is not read after this call, and m is held. What m was trained on, and the ranks that share the images, are those of
 * now. */
DT_API DT_MUST_CHECK dt_status dt_evaluator_create(dt_model *m, const dt_dataset *d, int batch, float label_smoothing,
                                                   dt_evaluator **out);
/* Evaluates the model with the parameters that it has now, and has the bits of dt_evaluate. progress may be NULL. */
DT_API DT_MUST_CHECK dt_status dt_evaluator_run(dt_evaluator *e, const dt_progress *progress, dt_metrics *out);
DT_API void dt_evaluator_destroy(dt_evaluator *e);

/* How well the classes were told apart. */
typedef struct {
    int n_classes;
    int64_t n;          /* images */
    int64_t *confusion; /* [n_classes][n_classes] number of images of class i (row) that were predicted as j (column) */
    int64_t *ranked;    /* [n_classes] ranked[r] images have their own class at rank r; rank 0 is the largest score */
} dt_class_report;

/* Makes a report of scores, [n][n_classes], and the true classes labels, [n]. Of equal scores that of the first class
 * counts as the largest, as in predictions. DT_ERR_NUMERIC: a score is NaN. */
DT_API DT_MUST_CHECK dt_status dt_class_report_create(const float *scores, const int32_t *labels, int64_t n,
                                                      int n_classes, dt_class_report **out);
DT_API void dt_class_report_destroy(dt_class_report *r);
/* Returns the top-k accuracy: the share of the images whose own class is among the k largest scores, 0..1; k >= 1. */
DT_API double dt_class_report_top(const dt_class_report *r, int k);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_EVALUATE_H */
