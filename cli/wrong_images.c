/*
 * wrong_images.c - see wrong_images.h.
 *
 * Tests: tests/cli/test_cli_report.sh.
 */
#include "wrong_images.h"

#include <math.h>

/* The first of equal scores, as in predictions. */
static int largest_of(const float *score, int n)
{
    int at = 0;

    for (int c = 1; c < n; c++) {
        if (score[c] > score[at]) at = c;
    }
    return at;
}

static double confidence_of(const judged_images *j, const float *score, int taken)
{
    double sum = 0.0;

    if (j->are_lengths) return (double)score[taken];
    for (int c = 0; c < j->n_classes; c++) sum += exp((double)score[c] - (double)score[taken]);
    return 1.0 / sum;
}

/* Puts one where it belongs among the n that are there, of which the last may fall out. Returns how many there are
 * then. */
static int insert(const wrong_image *one, int n, int most, wrong_image *out)
{
    int at = n;

    while (at > 0 && out[at - 1].confidence < one->confidence) at--;
    if (at >= most) return n;
    const int n_then = n < most ? n + 1 : most;
    for (int i = n_then - 1; i > at; i--) out[i] = out[i - 1];
    out[at] = *one;
    return n_then;
}

int wrong_images_find(const judged_images *j, int most, wrong_image *out)
{
    int n = 0;

    for (int64_t i = 0; i < j->n; i++) {
        const float *score = j->scores + i * j->n_classes;
        const int taken = largest_of(score, j->n_classes);
        if (taken == j->labels[i]) continue;
        const wrong_image one = { i, j->labels[i], taken, confidence_of(j, score, taken) };
        n = insert(&one, n, most, out);
    }
    return n;
}
