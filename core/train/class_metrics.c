/*
 * class_metrics.c - accuracy, macro averages, balanced accuracy and Cohen's kappa of a confusion matrix.
 *
 * With C[i][j] images of class i that were predicted as j, row_i and col_j the sums, and n all of them:
 *   precision_i = C_ii / col_i, recall_i = C_ii / row_i, f1_i = 2 C_ii / (row_i + col_i)
 *   kappa = (p_o - p_e) / (1 - p_e), p_o = sum C_ii / n, p_e = sum row_i col_i / n^2
 *
 * Source: scikit-learn's definitions, with zero_division=0. Interface: include/detent/metrics.h.
 * Tests: tests/core/test_metrics.c.
 */
#include "detent/detent.h"

#include <assert.h>
#include <math.h>

static int64_t row_sum(const dt_class_report *r, int i)
{
    int64_t n = 0;

    for (int j = 0; j < r->n_classes; j++) n += r->confusion[i * r->n_classes + j];
    return n;
}

static int64_t column_sum(const dt_class_report *r, int j)
{
    int64_t n = 0;

    for (int i = 0; i < r->n_classes; i++) n += r->confusion[i * r->n_classes + j];
    return n;
}

static double quotient(double of, double by)
{
    return by > 0.0 ? of / by : 0.0;
}

dt_class_score dt_class_report_score(const dt_class_report *r, int c)
{
    assert(c >= 0 && c < r->n_classes);
    const int64_t own = row_sum(r, c), predicted = column_sum(r, c);
    const double both = (double)r->confusion[c * r->n_classes + c];

    return (dt_class_score){ own, quotient(both, (double)predicted), quotient(both, (double)own),
                             quotient(2.0 * both, (double)(own + predicted)) };
}

/* The share of right predictions beyond those that chance gives, by the classes' frequencies alone. */
static double kappa(const dt_class_report *r)
{
    double right = 0.0, by_chance = 0.0;
    const double n = (double)r->n;

    for (int c = 0; c < r->n_classes; c++) {
        right += (double)r->confusion[c * r->n_classes + c];
        by_chance += (double)row_sum(r, c) * (double)column_sum(r, c);
    }
    return by_chance == n * n ? NAN : (right * n - by_chance) / (n * n - by_chance);
}

int dt_class_metrics(const dt_class_report *r, dt_metric rows[DT_METRICS_MOST])
{
    double right = 0.0, precision = 0.0, recall = 0.0, f1 = 0.0;
    int n_seen = 0, n_own = 0;

    for (int c = 0; c < r->n_classes; c++) {
        const dt_class_score s = dt_class_report_score(r, c);
        right += (double)r->confusion[c * r->n_classes + c];
        precision += s.precision;
        recall += s.recall;
        f1 += s.f1;
        n_own += s.support > 0;
        n_seen += s.support > 0 || column_sum(r, c) > 0;
    }
    const dt_metric all[] = {
        { "accuracy", quotient(right, (double)r->n) },    { "macro_precision", quotient(precision, n_seen) },
        { "macro_recall", quotient(recall, n_seen) },     { "macro_f1", quotient(f1, n_seen) },
        { "balanced_accuracy", quotient(recall, n_own) }, { "cohen_kappa", kappa(r) }
    };
    const int n = (int)(sizeof all / sizeof all[0]);
    for (int i = 0; i < n; i++) rows[i] = all[i];
    return n;
}
