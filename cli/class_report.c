/*
 * class_report.c - the part of `detent eval` that reports metrics of classes and of labels, and which classes were
 * taken for which.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int64_t class_images(const dt_class_report *r, int class)
{
    int64_t n = 0;

    for (int j = 0; j < r->n_classes; j++) n += r->confusion[class * r->n_classes + j];
    return n;
}

/* Share of a class's images that were taken for it; 0 of none. */
static double class_accuracy(const dt_class_report *r, int class)
{
    const int64_t n = class_images(r, class);

    return n > 0 ? (double)r->confusion[class * r->n_classes + class] / (double)n : 0.0;
}

void print_top_k(const dt_class_report *r, int k)
{
    if (k < r->n_classes) printf("top-%-6d %.2f %%\n", k, 100.0 * dt_class_report_top(r, k));
}

void print_confusion(const dt_class_report *r)
{
    printf("\nimages of each class, and how many were taken for which class\n");
    printf("%5s %8s %9s ", "class", "images", "accuracy");
    for (int j = 0; j < r->n_classes; j++) printf(" %6d", j);
    for (int i = 0; i < r->n_classes; i++) {
        printf("\n%5d %8s %7.2f %% ", i, text_count(class_images(r, i)).s, 100.0 * class_accuracy(r, i));
        for (int j = 0; j < r->n_classes; j++) printf(" %6lld", (long long)r->confusion[i * r->n_classes + j]);
    }
    printf("\n");
}

/* "macro precision" */
static short_text spaced(const char *name)
{
    short_text out;

    snprintf(out.s, sizeof out.s, "%s", name);
    for (char *at = out.s; (at = strchr(at, '_'));) *at = ' ';
    return out;
}

/* A line for each metric. */
static void print_metrics(const dt_metric *row, int n)
{
    printf("\n");
    for (int i = 0; i < n; i++) {
        if (isnan(row[i].value))
            printf("%-18s undefined: all images have one class, and are predicted as that\n", spaced(row[i].name).s);
        else
            printf("%-18s %.4f\n", spaced(row[i].name).s, row[i].value);
    }
}

/* A line of a class or a label. */
static void print_score(int at, const dt_class_score *s)
{
    printf("%5d %8s %9.4f %9.4f %9.4f\n", at, text_count(s->support).s, s->precision, s->recall, s->f1);
}

static void print_score_head(const char *what)
{
    printf("\n%5s %8s %9s %9s %9s\n", what, "images", "precision", "recall", "F1");
}

void print_class_metrics(const dt_class_report *r)
{
    dt_metric rows[DT_METRICS_MOST];

    print_metrics(rows, dt_class_metrics(r, rows));
    print_score_head("class");
    for (int c = 0; c < r->n_classes; c++) {
        const dt_class_score s = dt_class_report_score(r, c);
        print_score(c, &s);
    }
}

void print_label_metrics(const dt_label_report *r)
{
    dt_metric rows[DT_METRICS_MOST];

    print_metrics(rows, dt_label_metrics(r, rows));
    print_score_head("label");
    for (int l = 0; l < r->n_labels; l++) {
        const dt_class_score s = dt_label_report_score(r, l);
        print_score(l, &s);
    }
}

/* As the object "metrics"; what is not defined is null. */
static void add_metrics(cJSON *to, const dt_metric *row, int n)
{
    cJSON *metrics = cJSON_AddObjectToObject(to, "metrics");

    for (int i = 0; i < n; i++) cJSON_AddNumberToObject(metrics, row[i].name, row[i].value);
}

void add_class_report(cJSON *to, const dt_class_report *r, int k)
{
    cJSON *top = cJSON_AddObjectToObject(to, "top_k");
    cJSON *classes = cJSON_AddArrayToObject(to, "classes");
    cJSON *confusion = cJSON_AddArrayToObject(to, "confusion");
    dt_metric rows[DT_METRICS_MOST];

    add_metrics(to, rows, dt_class_metrics(r, rows));
    cJSON_AddNumberToObject(top, "k", k);
    cJSON_AddNumberToObject(top, "accuracy", dt_class_report_top(r, k));
    for (int i = 0; i < r->n_classes; i++) {
        cJSON *one = cJSON_CreateObject(), *row = cJSON_CreateArray();
        const dt_class_score score = dt_class_report_score(r, i);

        cJSON_AddNumberToObject(one, "class", i);
        cJSON_AddNumberToObject(one, "images", (double)class_images(r, i));
        cJSON_AddNumberToObject(one, "accuracy", class_accuracy(r, i));
        cJSON_AddNumberToObject(one, "precision", score.precision);
        cJSON_AddNumberToObject(one, "recall", score.recall);
        cJSON_AddNumberToObject(one, "f1", score.f1);
        cJSON_AddItemToArray(classes, one);
        for (int j = 0; j < r->n_classes; j++) {
            cJSON_AddItemToArray(row, cJSON_CreateNumber((double)r->confusion[i * r->n_classes + j]));
        }
        cJSON_AddItemToArray(confusion, row);
    }
}

void add_label_report(cJSON *to, const dt_label_report *r)
{
    cJSON *labels = cJSON_AddArrayToObject(to, "labels");
    dt_metric rows[DT_METRICS_MOST];

    add_metrics(to, rows, dt_label_metrics(r, rows));
    for (int l = 0; l < r->n_labels; l++) {
        const dt_class_score s = dt_label_report_score(r, l);
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "images", (double)s.support);
        cJSON_AddNumberToObject(one, "precision", s.precision);
        cJSON_AddNumberToObject(one, "recall", s.recall);
        cJSON_AddNumberToObject(one, "f1", s.f1);
        cJSON_AddItemToArray(labels, one);
    }
}
