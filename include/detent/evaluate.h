/*
 * evaluate.h - accuracy and loss over a data set, and how classes are told apart.
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
    double reconstruction; /* mean over images of the squared error summed over an image; 0 without a decoder */
    double accuracy;       /* 0..1 */
    int64_t images;        /* images that the two numbers above are over */
} dt_metrics;

/* tick is called after each batch of long work; returning non-zero stops it with DT_ERR_INTERRUPTED. watch is called by
 * evaluations after every watch_every batches, with the metrics of the images so far, for which it waits for the
 * device; it may be NULL. */
typedef struct {
    int (*tick)(void *user, int64_t done, int64_t total);
    void *user;
    dt_status (*watch)(void *user, const dt_metrics *so_far);
    int64_t watch_every;
} dt_progress;

/* What an evaluation keeps of each of the dataset's n images; a member may be NULL. */
typedef struct {
    int32_t *predictions; /* [n] class of the largest score, of equal ones the first */
    float *scores;        /* [n][n_classes of the model] logits; lengths of class capsules */
} dt_outputs;

/* Images are normalised by the model's origin, or where that is unknown by d's own mean and std; so in everything below
 * that runs a model. progress and outputs may be NULL. DT_ERR_NUMERIC if a parameter or the loss is no number. */
DT_API DT_MUST_CHECK dt_status dt_evaluate(dt_model *m, const dt_dataset *d, int batch, float label_smoothing,
                                           const dt_progress *progress, const dt_outputs *outputs, dt_metrics *out);

/* How the classes were told apart. */
typedef struct {
    int n_classes;
    int64_t n;          /* images */
    int64_t *confusion; /* [n_classes][n_classes] images of class i (row) whose largest score is class j's (column) */
    int64_t *ranked;    /* [n_classes] images whose own class has the score of that rank; 0: the largest */
} dt_class_report;

/* scores: [n][n_classes]; labels: [n]. Equal scores rank in the order of their classes, as predictions do. A score that
 * is not a number is DT_ERR_NUMERIC. */
DT_API DT_MUST_CHECK dt_status dt_class_report_create(const float *scores, const int32_t *labels, int64_t n,
                                                      int n_classes, dt_class_report **out);
DT_API void dt_class_report_destroy(dt_class_report *r);
/* Share of the images whose own class is among the k largest scores: top-k accuracy, 0..1. */
DT_API double dt_class_report_top(const dt_class_report *r, int k);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_EVALUATE_H */
