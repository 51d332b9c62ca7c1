/*
 * class_report.c - the confusion matrix and the ranks of the true classes, of which top-k accuracy is made.
 *
 *   rank of an image = how many classes have a larger score than its own, or an equal one and a smaller index
 *
 * Interface: include/detent/evaluate.h.  Tests: tests/cli/test_class_report.c.
 */
#include "detent/detent.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* Counts one image. */
static void report_add(dt_class_report *r, const float *score, int32_t label)
{
    int rank = 0, largest = 0;

    for (int c = 0; c < r->n_classes; c++) {
        rank += score[c] > score[label] || (score[c] == score[label] && c < label);
        if (score[c] > score[largest]) largest = c;
    }
    r->ranked[rank]++;
    r->confusion[label * r->n_classes + largest]++;
    r->n++;
}

static dt_status report_fill(dt_class_report *r, const float *scores, const int32_t *labels, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float *score = scores + i * r->n_classes;

        DT_CHECK(labels[i] >= 0 && labels[i] < r->n_classes, DT_ERR_ARGUMENT,
                 "label %d of image %lld, but there are scores of %d classes", labels[i], (long long)i, r->n_classes);
        for (int c = 0; c < r->n_classes; c++) {
            DT_CHECK(!isnan(score[c]), DT_ERR_NUMERIC, "the score of class %d for image %lld is not a number", c,
                     (long long)i);
        }
        report_add(r, score, labels[i]);
    }
    return DT_OK;
}

dt_status dt_class_report_create(const float *scores, const int32_t *labels, int64_t n, int n_classes,
                                 dt_class_report **out)
{
    DT_CHECK(n_classes >= 1 && n >= 0, DT_ERR_ARGUMENT, "%lld images of %d classes", (long long)n, n_classes);
    const size_t classes = (size_t)n_classes;
    dt_class_report *r = calloc(1, sizeof *r);

    if (r)
        *r = (dt_class_report){ n_classes, 0, calloc(classes * classes, sizeof(int64_t)),
                                calloc(classes, sizeof(int64_t)) };
    dt_status status = r && r->confusion && r->ranked ? report_fill(r, scores, labels, n)
                                                      : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__,
                                                                 "no memory to tell %d classes apart", n_classes);
    if (status != DT_OK) {
        dt_class_report_destroy(r);
        return status;
    }
    *out = r;
    return DT_OK;
}

void dt_class_report_destroy(dt_class_report *r)
{
    if (!r) return;
    free(r->ranked);
    free(r->confusion);
    free(r);
}

double dt_class_report_top(const dt_class_report *r, int k)
{
    int64_t n = 0;

    assert(k >= 1);
    for (int i = 0; i < k && i < r->n_classes; i++) n += r->ranked[i];
    return r->n > 0 ? (double)n / (double)r->n : 0.0;
}
