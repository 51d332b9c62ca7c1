/*
 * test_metrics.c - metrics of classes and of labels against scikit-learn's (golden/metrics.txt); against the
 * scikit-learn that is installed, on 1,000 drawn cases of each kind; what is refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../support/temp_files.h"

enum { MOST_IMAGES = 64, MOST_CLASSES = 12, EXIT_NO_SKLEARN = 77 };

typedef struct {
    int is_multi, n, classes;
    int32_t truth[MOST_IMAGES * MOST_CLASSES], predicted[MOST_IMAGES * MOST_CLASSES];
} metric_case;

static int n_numbers(const metric_case *c)
{
    return c->is_multi ? c->n * c->classes : c->n;
}

/* Scores whose largest is the prediction; of labels, scores on both sides of 0.5, and 0.5 itself, which counts. */
static int measured(const metric_case *c, dt_metric rows[DT_METRICS_MOST])
{
    static float scores[MOST_IMAGES * MOST_CLASSES];
    dt_class_report *of_classes;
    dt_label_report *of_labels;
    int n;

    for (int i = 0; i < c->n * c->classes; i++) {
        const int label = i % c->classes;
        if (c->is_multi)
            scores[i] = c->predicted[i] ? (label % 2 ? 0.5f : 0.9f) : 0.25f;
        else
            scores[i] = label == c->predicted[i / c->classes] ? 1.0f : -1.0f;
    }
    if (c->is_multi) {
        cr_assert(dt_label_report_create(scores, c->truth, c->n, c->classes, 0.5f, &of_labels) == DT_OK);
        n = dt_label_metrics(of_labels, rows);
        dt_label_report_destroy(of_labels);
        return n;
    }
    cr_assert(dt_class_report_create(scores, c->truth, c->n, c->classes, &of_classes) == DT_OK);
    n = dt_class_metrics(of_classes, rows);
    dt_class_report_destroy(of_classes);
    return n;
}

static void read_numbers(FILE *file, int32_t *to, int n)
{
    for (int i = 0; i < n; i++) cr_assert(fscanf(file, "%d", &to[i]) == 1);
}

/* Quotients of whole numbers and their means: other orders of the same sums differ in the last digits. */
static void check_golden(FILE *file, const metric_case *c, int number)
{
    dt_metric rows[DT_METRICS_MOST];
    const int n = measured(c, rows);

    cr_assert(n == (c->is_multi ? 11 : 6));
    for (int i = 0; i < n; i++) {
        double golden;
        cr_assert(fscanf(file, "%lf", &golden) == 1);
        cr_assert(isnan(golden) ? isnan(rows[i].value) : fabs(rows[i].value - golden) < 1e-14,
                  "case %d: %s is %.17g, golden %.17g", number, rows[i].name, rows[i].value, golden);
    }
}

Test(metrics, equal_scikit_learn)
{
    FILE *file = fopen(DETENT_TEST_GOLDEN "/metrics.txt", "r");
    static metric_case c;
    char word[8] = "";
    int n_cases = 0;

    cr_assert(file != NULL, "golden/metrics.txt cannot be opened");
    cr_assert(fscanf(file, "#%*[^\n]") == 0);
    while (fscanf(file, "%7s", word) == 1 && strcmp(word, "end") != 0) {
        c.is_multi = strcmp(word, "multi") == 0;
        cr_assert(fscanf(file, "%d %d", &c.n, &c.classes) == 2);
        cr_assert(c.n <= MOST_IMAGES && c.classes <= MOST_CLASSES);
        read_numbers(file, c.truth, n_numbers(&c));
        read_numbers(file, c.predicted, n_numbers(&c));
        check_golden(file, &c, ++n_cases);
    }
    cr_assert(strcmp(word, "end") == 0 && n_cases == 28, "%d cases, then '%s'", n_cases, word);
    fclose(file);
}

/* ---- beside scikit-learn ---- */

static uint32_t drawn(uint32_t below)
{
    static uint64_t state = 20240229;

    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

/* Few classes that truth and predictions have, of many that they may have; rarely one alone. */
static void draw(metric_case *c, int is_multi)
{
    c->is_multi = is_multi;
    c->n = 1 + (int)drawn(MOST_IMAGES);
    c->classes = 2 + (int)drawn(MOST_CLASSES - 1);
    const uint32_t of_truth = 1 + drawn((uint32_t)c->classes), of_predicted = 1 + drawn((uint32_t)c->classes);
    const uint32_t share = drawn(11); /* of the labels that are there, in tenths */
    for (int i = 0; i < n_numbers(c); i++) {
        c->truth[i] = is_multi ? drawn(10) < share : (int32_t)drawn(of_truth);
        c->predicted[i] = is_multi ? drawn(10) < share : (int32_t)drawn(of_predicted);
        if (drawn(2)) c->predicted[i] = c->truth[i];
    }
}

static void write_case(FILE *file, const metric_case *c)
{
    dt_metric rows[DT_METRICS_MOST];
    const int n = measured(c, rows);

    fprintf(file, "%s %d %d\n", c->is_multi ? "multi" : "single", c->n, c->classes);
    for (int i = 0; i < n_numbers(c); i++) fprintf(file, "%d ", c->truth[i]);
    for (int i = 0; i < n_numbers(c); i++) fprintf(file, "%d ", c->predicted[i]);
    for (int i = 0; i < n; i++) fprintf(file, "%.17g ", rows[i].value);
    fprintf(file, "\n");
}

Test(metrics, of_a_thousand_cases_equal_the_installed_scikit_learn)
{
    const char *python = getenv("DETENT_PYTHON");
    static metric_case c;
    char command[3 * TEMP_PATH_BYTES], said[4096] = "";

    temp_make();
    FILE *file = fopen(temp_path("cases.txt"), "w");
    cr_assert(file != NULL);
    for (int i = 0; i < 2000; i++) {
        draw(&c, i >= 1000);
        write_case(file, &c);
    }
    cr_assert(fputs("end\n", file) >= 0 && fclose(file) == 0);
    snprintf(command, sizeof command, "'%s' %s/make_metrics_golden.py --check %s 2>&1", python ? python : "python3",
             DETENT_TEST_GOLDEN, temp_path("cases.txt"));
    FILE *pipe = popen(command, "r");
    cr_assert(pipe != NULL);
    const size_t n = fread(said, 1, sizeof said - 1, pipe);
    const int status = pclose(pipe), code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    said[n] = '\0';
    temp_remove();
    if (code == EXIT_NO_SKLEARN || code == 127)
        cr_skip("no scikit-learn to compare with; DETENT_PYTHON names a Python that has it");
    cr_assert(code == 0 && strstr(said, "2000 cases, 0 differ") != NULL, "%s", said);
}

/* ---- counts, and what is refused ---- */

Test(metrics, of_each_class_and_label)
{
    const float scores[] = { 0.9f, 0.1f, 0.2f, 0.8f, 0.7f, 0.6f };
    const int32_t classes[] = { 0, 0, 1 }, labels[] = { 1, 0, 1, 1, 1, 1 };
    dt_class_report *of_classes;
    dt_label_report *of_labels;

    cr_assert(dt_class_report_create(scores, classes, 3, 2, &of_classes) == DT_OK);
    const dt_class_score first = dt_class_report_score(of_classes, 0), second = dt_class_report_score(of_classes, 1);
    cr_assert(first.support == 2 && first.precision == 0.5 && first.recall == 0.5 && first.f1 == 0.5);
    cr_assert(second.support == 1 && second.precision == 0.0 && second.recall == 0.0 && second.f1 == 0.0);
    dt_class_report_destroy(of_classes);

    cr_assert(dt_label_report_create(scores, labels, 3, 2, 0.5f, &of_labels) == DT_OK);
    cr_assert(of_labels->n == 3 && of_labels->n_exact == 2);
    cr_assert(of_labels->both[0] == 2 && of_labels->wrong[0] == 0 && of_labels->missed[0] == 1);
    const dt_class_score label = dt_label_report_score(of_labels, 0);
    cr_assert(label.support == 3 && label.precision == 1.0 && label.recall == 2.0 / 3.0 && label.f1 == 0.8);
    dt_label_report_destroy(of_labels);
}

Test(metrics, of_no_images_are_zero)
{
    dt_metric rows[DT_METRICS_MOST];
    dt_class_report *of_classes;
    dt_label_report *of_labels;

    cr_assert(dt_class_report_create(NULL, NULL, 0, 3, &of_classes) == DT_OK);
    for (int i = 0, n = dt_class_metrics(of_classes, rows); i < n; i++) {
        const int is_kappa = strcmp(rows[i].name, "cohen_kappa") == 0;
        cr_assert(is_kappa ? isnan(rows[i].value) : rows[i].value == 0.0, "%s is %g", rows[i].name, rows[i].value);
    }
    dt_class_report_destroy(of_classes);
    cr_assert(dt_label_report_create(NULL, NULL, 0, 3, 0.5f, &of_labels) == DT_OK);
    for (int i = 0, n = dt_label_metrics(of_labels, rows); i < n; i++) cr_assert(rows[i].value == 0.0);
    dt_label_report_destroy(of_labels);
}

Test(metrics, refuse_what_is_no_score_and_no_label)
{
    const float scores[] = { 0.0f, NAN };
    const int32_t labels[] = { 0, 1 }, wrong[] = { 0, 2 };
    dt_label_report *r = NULL;

    cr_assert(dt_label_report_create(scores, labels, 1, 2, 0.5f, &r) == DT_ERR_NUMERIC);
    cr_assert(strstr(dt_last_error(), "the score of label 1 for image 0 is not a number") != NULL, "%s",
              dt_last_error());
    cr_assert(dt_label_report_create(scores, wrong, 1, 2, 0.5f, &r) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "label 1 of image 0 is 2, allowed are 0 and 1") != NULL, "%s", dt_last_error());
    cr_assert(dt_label_report_create(scores, labels, 1, 0, 0.5f, &r) == DT_ERR_ARGUMENT);
    cr_assert(dt_label_report_create(scores, labels, 1, 2, NAN, &r) == DT_ERR_ARGUMENT && r == NULL);
    dt_label_report_destroy(NULL);
}
