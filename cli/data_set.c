/*
 * data_set.c - `detent data --dataset NAME`: what the training and the test samples of one dataset are.
 */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>

enum { PARTS = 2 };

static const dt_split splits[PARTS] = { DT_SPLIT_TRAIN, DT_SPLIT_TEST };
static const char *const part_names[PARTS] = { "train", "test" };

/* Both parts, and how many samples of each have a class or a label. */
typedef struct {
    dt_dataset *set[PARTS];
    dt_dataset_view v[PARTS];
    int64_t *count[PARTS]; /* [n_classes]; owned */
} described;

static dt_status count_labels(const dt_dataset_view *v, int64_t **out)
{
    const int64_t each = v->multi_label ? v->n_classes : 1;
    int64_t *count = calloc((size_t)v->n_classes, sizeof *count);

    DT_CHECK(count, DT_ERR_MEMORY, "no memory to count %d classes", v->n_classes);
    for (int64_t i = 0; i < v->n * each; i++) {
        if (v->multi_label)
            count[i % each] += v->labels[i];
        else
            count[v->labels[i]]++;
    }
    *out = count;
    return DT_OK;
}

static dt_status describe(const settings *s, described *d)
{
    for (int p = 0; p < PARTS; p++) {
        const dt_dataset_options opt = { .name = s->dataset, .dir = s->data_dir, .split = splits[p], .seed = s->seed };
        DT_TRY(dt_dataset_open(&opt, &d->set[p]));
        dt_dataset_look(d->set[p], &d->v[p]);
        DT_TRY(count_labels(&d->v[p], &d->count[p]));
    }
    return DT_OK;
}

static const char *class_name(const dt_dataset_view *v, int c)
{
    return v->class_names ? v->class_names[c] : "";
}

static void print_all(const settings *s, const described *d)
{
    const dt_dataset_view *train = &d->v[0];

    printf("%s: %s of %dx%dx%d, %d %s\n", s->dataset, train->reals ? "reals" : "pixels", train->height, train->width,
           train->channels, train->n_classes, train->multi_label ? "labels, of which a sample has several" : "classes");
    for (int p = 0; p < PARTS; p++) {
        printf("%-6s %8s samples, checksums %s; mean", part_names[p], text_count(d->v[p].n).s, d->v[p].fingerprint);
        for (int c = 0; c < train->channels; c++) printf(" %.6g", (double)d->v[p].mean[c]);
        printf(", deviation");
        for (int c = 0; c < train->channels; c++) printf(" %.6g", (double)d->v[p].std[c]);
        printf("\n");
    }
    printf("%-6s %8s %8s\n", train->multi_label ? "label" : "class", "train", "test");
    for (int c = 0; c < train->n_classes; c++) {
        printf("%-6d %8s %8s", c, text_count(d->count[0][c]).s, text_count(d->count[1][c]).s);
        if (class_name(train, c)[0]) printf("  %s", class_name(train, c));
        printf("\n");
    }
}

static cJSON *part_json(const dt_dataset_view *v, const int64_t *count)
{
    cJSON *part = cJSON_CreateObject();

    cJSON_AddNumberToObject(part, "samples", (double)v->n);
    cJSON_AddStringToObject(part, "fingerprint", v->fingerprint);
    cJSON *mean = cJSON_AddArrayToObject(part, "mean"), *std = cJSON_AddArrayToObject(part, "std");
    for (int c = 0; c < v->channels; c++) {
        cJSON_AddItemToArray(mean, cJSON_CreateNumber((double)v->mean[c]));
        cJSON_AddItemToArray(std, cJSON_CreateNumber((double)v->std[c]));
    }
    cJSON *counts = cJSON_AddArrayToObject(part, "counts");
    for (int c = 0; c < v->n_classes; c++) cJSON_AddItemToArray(counts, cJSON_CreateNumber((double)count[c]));
    return part;
}

static dt_status print_all_json(const settings *s, const described *d)
{
    const dt_dataset_view *train = &d->v[0];
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "name", s->dataset);
    cJSON_AddStringToObject(out, "values", train->reals ? "reals" : "pixels");
    cJSON_AddNumberToObject(out, "height", train->height);
    cJSON_AddNumberToObject(out, "width", train->width);
    cJSON_AddNumberToObject(out, "channels", train->channels);
    cJSON_AddBoolToObject(out, "multi_label", train->multi_label);
    cJSON *names = cJSON_AddArrayToObject(out, train->multi_label ? "labels" : "classes");
    for (int c = 0; c < train->n_classes; c++) {
        const char *name = class_name(train, c);
        cJSON_AddItemToArray(names, name[0] ? cJSON_CreateString(name) : cJSON_CreateNumber(c));
    }
    for (int p = 0; p < PARTS; p++) cJSON_AddItemToObject(out, part_names[p], part_json(&d->v[p], d->count[p]));
    return print_json(out);
}

dt_status data_describe(const settings *s)
{
    described d = { .set = { NULL } };

    dt_status status = describe(s, &d);
    if (status == DT_OK && s->json)
        status = print_all_json(s, &d);
    else if (status == DT_OK)
        print_all(s, &d);
    for (int p = 0; p < PARTS; p++) {
        free(d.count[p]);
        dt_dataset_close(d.set[p]);
    }
    return status;
}
