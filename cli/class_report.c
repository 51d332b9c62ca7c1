/*
 * class_report.c - the part of `detent eval` that reports which classes were taken for which.
 */
#include "cli.h"

#include <stdio.h>

/* Images of a class. */
static int64_t class_images(const dt_class_report *r, int class)
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

void add_class_report(cJSON *to, const dt_class_report *r, int k)
{
    cJSON *top = cJSON_AddObjectToObject(to, "top_k");
    cJSON *classes = cJSON_AddArrayToObject(to, "classes");
    cJSON *confusion = cJSON_AddArrayToObject(to, "confusion");

    cJSON_AddNumberToObject(top, "k", k);
    cJSON_AddNumberToObject(top, "accuracy", dt_class_report_top(r, k));
    for (int i = 0; i < r->n_classes; i++) {
        cJSON *one = cJSON_CreateObject(), *row = cJSON_CreateArray();

        cJSON_AddNumberToObject(one, "class", i);
        cJSON_AddNumberToObject(one, "images", (double)class_images(r, i));
        cJSON_AddNumberToObject(one, "accuracy", class_accuracy(r, i));
        cJSON_AddItemToArray(classes, one);
        for (int j = 0; j < r->n_classes; j++) {
            cJSON_AddItemToArray(row, cJSON_CreateNumber((double)r->confusion[i * r->n_classes + j]));
        }
        cJSON_AddItemToArray(confusion, row);
    }
}
