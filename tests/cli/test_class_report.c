/*
 * test_class_report.c - confusion matrix and top-k accuracy against scikit-learn's (golden/class_report.txt), and ties.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detent/detent.h"

/* As golden/make_class_report_golden.py computes them. */
static uint32_t hashed(uint32_t k)
{
    uint32_t h = k * 0x9E3779B1u;
    h ^= h >> 15;
    return (h * 0x85EBCA77u) >> 8;
}

static void make_case(int n, int classes, float *scores, int32_t *labels)
{
    for (int i = 0; i < n; i++) {
        labels[i] = (int32_t)(hashed((uint32_t)(7919 * i + 3)) % (uint32_t)classes);
        for (int c = 0; c < classes; c++) {
            scores[i * classes + c] = (float)hashed((uint32_t)(i * classes + c)) + (c == labels[i] ? 4194304.0f : 0.0f);
        }
    }
}

static void check_case(FILE *file, int n, int classes)
{
    float *scores = malloc((size_t)(n * classes) * sizeof *scores);
    int32_t *labels = malloc((size_t)n * sizeof *labels);
    dt_class_report *r;
    make_case(n, classes, scores, labels);
    cr_assert(dt_class_report_create(scores, labels, n, classes, &r) == DT_OK, "%s", dt_last_error());
    cr_assert(r->n == n && r->n_classes == classes);
    for (int i = 0; i < classes * classes; i++) {
        long long golden;
        cr_assert(fscanf(file, "%lld", &golden) == 1);
        cr_assert(r->confusion[i] == golden, "%d classes: confusion[%d][%d] is %lld, golden %lld", classes, i / classes,
                  i % classes, (long long)r->confusion[i], golden);
    }
    for (int k = 1; k <= classes; k++) {
        double golden;
        cr_assert(fscanf(file, "%lf", &golden) == 1);
        /* both are a quotient of the same whole numbers */
        cr_assert(dt_class_report_top(r, k) == golden, "%d classes: top-%d is %.17g, golden %.17g", classes, k,
                  dt_class_report_top(r, k), golden);
    }
    dt_class_report_destroy(r);
    free(labels);
    free(scores);
}

Test(class_report, equals_scikit_learn)
{
    FILE *file = fopen(DETENT_TEST_GOLDEN "/class_report.txt", "r");
    char word[8];
    int n, classes, n_cases = 0;
    cr_assert(file != NULL, "golden/class_report.txt cannot be opened");
    cr_assert(fscanf(file, "#%*[^\n]") == 0);
    while (fscanf(file, "%7s", word) == 1 && strcmp(word, "case") == 0) {
        cr_assert(fscanf(file, "%d %d", &n, &classes) == 2);
        check_case(file, n, classes);
        n_cases++;
    }
    cr_assert(strcmp(word, "end") == 0 && n_cases == 4, "%d cases, then '%s'", n_cases, word);
    fclose(file);
}

Test(class_report, equal_scores_rank_in_the_order_of_their_classes)
{
    const float scores[] = { 1.0f, 1.0f, 1.0f, 2.0f, 3.0f, 3.0f };
    const int32_t labels[] = { 2, 2 };
    dt_class_report *r;
    cr_assert(dt_class_report_create(scores, labels, 2, 3, &r) == DT_OK);
    cr_assert(r->ranked[0] == 0 && r->ranked[1] == 1 && r->ranked[2] == 1);
    cr_assert(r->confusion[2 * 3 + 0] == 1 && r->confusion[2 * 3 + 1] == 1);
    dt_class_report_destroy(r);
}

Test(class_report, refuses_what_is_no_score_and_no_class)
{
    const float scores[] = { 0.0f, NAN };
    const int32_t label = 0, wrong = 2;
    dt_class_report *r = NULL;
    cr_assert(dt_class_report_create(scores, &label, 1, 2, &r) == DT_ERR_NUMERIC);
    cr_assert(strstr(dt_last_error(), "class 1 for image 0 is not a number"), "%s", dt_last_error());
    cr_assert(dt_class_report_create(scores, &wrong, 1, 2, &r) == DT_ERR_ARGUMENT && r == NULL);
    dt_class_report_destroy(NULL);
}

Test(class_report, is_empty_of_no_images)
{
    dt_class_report *r;
    cr_assert(dt_class_report_create(NULL, NULL, 0, 2, &r) == DT_OK);
    cr_assert(r->n == 0 && dt_class_report_top(r, 1) == 0.0);
    dt_class_report_destroy(r);
}
