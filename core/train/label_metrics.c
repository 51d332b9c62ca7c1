/*
 * label_metrics.c - metrics of images that may have several labels: counts of each label, and their quotients.
 *
 *   precision = both / (both + wrong), recall = both / (both + missed), f1 = 2 both / (2 both + wrong + missed),
 *   jaccard = both / (both + wrong + missed);  hamming loss = (wrong + missed) / (images * labels)
 *
 * Source: scikit-learn's definitions, with zero_division=0. Interface: include/detent/metrics.h.
 * Tests: tests/core/test_metrics.c.
 */
#include "detent/detent.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* Counts of a label, or their sums over all labels. */
typedef struct {
    double both, wrong, missed;
} counts;

typedef struct {
    double precision, recall, f1, jaccard;
} quotients;

static dt_status add_image(dt_label_report *r, const float *score, const int32_t *label, float threshold)
{
    int exact = 1;

    for (int k = 0; k < r->n_labels; k++) {
        DT_CHECK(label[k] == 0 || label[k] == 1, DT_ERR_ARGUMENT, "label %d of image %lld is %d, allowed are 0 and 1",
                 k, (long long)r->n, label[k]);
        DT_CHECK(!isnan(score[k]), DT_ERR_NUMERIC, "the score of label %d for image %lld is not a number", k,
                 (long long)r->n);
        const int is_predicted = score[k] >= threshold, is_true = label[k];
        r->both[k] += is_predicted && is_true;
        r->wrong[k] += is_predicted && !is_true;
        r->missed[k] += !is_predicted && is_true;
        exact = exact && is_predicted == is_true;
    }
    r->n_exact += exact;
    r->n++;
    return DT_OK;
}

static dt_status report_fill(dt_label_report *r, const float *scores, const int32_t *labels, int64_t n, float threshold)
{
    for (int64_t i = 0; i < n; i++) {
        DT_TRY(add_image(r, scores + i * r->n_labels, labels + i * r->n_labels, threshold));
    }
    return DT_OK;
}

dt_status dt_label_report_create(const float *scores, const int32_t *labels, int64_t n, int n_labels, float threshold,
                                 dt_label_report **out)
{
    DT_CHECK(n_labels >= 1 && n >= 0, DT_ERR_ARGUMENT, "%lld images of %d labels", (long long)n, n_labels);
    DT_CHECK(!isnan(threshold), DT_ERR_ARGUMENT, "the threshold of the scores of %d labels is not a number", n_labels);
    dt_label_report *r = calloc(1, sizeof *r);

    if (r) {
        r->n_labels = n_labels;
        r->both = calloc((size_t)n_labels, sizeof *r->both);
        r->wrong = calloc((size_t)n_labels, sizeof *r->wrong);
        r->missed = calloc((size_t)n_labels, sizeof *r->missed);
    }
    dt_status status = r && r->both && r->wrong && r->missed
                           ? report_fill(r, scores, labels, n, threshold)
                           : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to count %d labels", n_labels);
    if (status != DT_OK) {
        dt_label_report_destroy(r);
        return status;
    }
    *out = r;
    return DT_OK;
}

void dt_label_report_destroy(dt_label_report *r)
{
    if (!r) return;
    free(r->both);
    free(r->wrong);
    free(r->missed);
    free(r);
}

static double quotient(double of, double by)
{
    return by > 0.0 ? of / by : 0.0;
}

static quotients quotients_of(const counts *c)
{
    return (quotients){ quotient(c->both, c->both + c->wrong), quotient(c->both, c->both + c->missed),
                        quotient(2.0 * c->both, 2.0 * c->both + c->wrong + c->missed),
                        quotient(c->both, c->both + c->wrong + c->missed) };
}

static counts counts_of(const dt_label_report *r, int label)
{
    return (counts){ (double)r->both[label], (double)r->wrong[label], (double)r->missed[label] };
}

dt_class_score dt_label_report_score(const dt_label_report *r, int label)
{
    assert(label >= 0 && label < r->n_labels);
    const counts c = counts_of(r, label);
    const quotients q = quotients_of(&c);

    return (dt_class_score){ r->both[label] + r->missed[label], q.precision, q.recall, q.f1 };
}

int dt_label_metrics(const dt_label_report *r, dt_metric rows[DT_METRICS_MOST])
{
    const double labels = r->n_labels, cells = (double)r->n * labels;
    counts sum = { 0 };
    quotients macro = { 0 };

    for (int k = 0; k < r->n_labels; k++) {
        const counts c = counts_of(r, k);
        const quotients q = quotients_of(&c);
        sum.both += c.both;
        sum.wrong += c.wrong;
        sum.missed += c.missed;
        macro.precision += q.precision / labels;
        macro.recall += q.recall / labels;
        macro.f1 += q.f1 / labels;
        macro.jaccard += q.jaccard / labels;
    }
    const quotients micro = quotients_of(&sum);
    const double loss = sum.wrong + sum.missed;
    const dt_metric all[] = { { "binary_accuracy", quotient(cells - loss, cells) },
                              { "hamming_loss", quotient(loss, cells) },
                              { "exact_match", quotient((double)r->n_exact, (double)r->n) },
                              { "macro_precision", macro.precision },
                              { "macro_recall", macro.recall },
                              { "macro_f1", macro.f1 },
                              { "macro_jaccard", macro.jaccard },
                              { "micro_precision", micro.precision },
                              { "micro_recall", micro.recall },
                              { "micro_f1", micro.f1 },
                              { "micro_jaccard", micro.jaccard } };
    const int n = (int)(sizeof all / sizeof all[0]);
    for (int i = 0; i < n; i++) rows[i] = all[i];
    return n;
}
