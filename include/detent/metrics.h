/*
 * metrics.h - numbers that say how good predictions are: of images of one class each, and of images with several
 * labels.
 */
#ifndef DT_PUBLIC_METRICS_H
#define DT_PUBLIC_METRICS_H

#include "evaluate.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One metric. NaN stands for one that is not defined. */
typedef struct {
    const char *name; /* lower case, words joined by '_', such as "macro_precision" */
    double value;
} dt_metric;

enum { DT_METRICS_MOST = 16 };

/* How well one class, or one label, was found. Each quotient is 0 where its divisor is 0. */
typedef struct {
    int64_t support; /* images that have it */
    double precision, recall, f1;
} dt_class_score;

/* Returns the score of a class. */
DT_API dt_class_score dt_class_report_score(const dt_class_report *r, int c);

/* Sets the first of rows to accuracy, macro_precision, macro_recall, macro_f1, balanced_accuracy and cohen_kappa, and
 * returns how many these are. Macro means the mean over the classes that are some image's own or predicted class, and
 * balanced the mean over those that are some image's own. Kappa is NaN where all images have one class and are
 * predicted as that. Of no images the others are 0. */
DT_API int dt_class_metrics(const dt_class_report *r, dt_metric rows[DT_METRICS_MOST]);

/* Predictions of images that may have several labels, or none. */
typedef struct {
    int n_labels;
    int64_t n;       /* images */
    int64_t n_exact; /* images of which every label was predicted right */
    int64_t *both;   /* [n_labels] images that have the label, and for which it was predicted */
    int64_t *wrong;  /* [n_labels] images that do not have it, and for which it was predicted */
    int64_t *missed; /* [n_labels] images that have it, and for which it was not predicted */
} dt_label_report;

/* Makes a report of scores and true labels, [n][n_labels]. A label is predicted where its score is at least threshold;
 * a true label is 0 or 1. DT_ERR_NUMERIC: a score is NaN. DT_ERR_ARGUMENT: a true label is something else. */
DT_API DT_MUST_CHECK dt_status dt_label_report_create(const float *scores, const int32_t *labels, int64_t n,
                                                      int n_labels, float threshold, dt_label_report **out);
DT_API void dt_label_report_destroy(dt_label_report *r);
/* Returns the score of a label. */
DT_API dt_class_score dt_label_report_score(const dt_label_report *r, int label);

/* Sets the first of rows to binary_accuracy, hamming_loss, exact_match, macro_ and micro_ precision, recall, f1 and
 * jaccard, and returns how many these are. Macro means the mean over all labels, micro the quotient of the sums over
 * them. Of no images all are 0. */
DT_API int dt_label_metrics(const dt_label_report *r, dt_metric rows[DT_METRICS_MOST]);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_METRICS_H */
