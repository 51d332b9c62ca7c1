/*
 * compare_profiles.c - `detent compare --profiles`: a network of integers under the arithmetic of every engine, and how
 *                      many of its output codes and predictions differ between each two.
 */
#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_PROFILES = DT_PROFILE_ONNX + 1, CELL = 12 };

typedef struct {
    float *scores[N_PROFILES]; /* [n][n_classes], owned; of one scale: codes differ where they do */
    int32_t *classes[N_PROFILES];
    int64_t hits[N_PROFILES];
} runs;

static dt_status run_all(subject *a, const compared_images *images, runs *r)
{
    compare_progress p;

    compare_progress_begin(&p, N_PROFILES * images->n);
    for (int i = 0; i < N_PROFILES; i++) {
        dt_prediction how = { 0 };
        DT_TRY(dt_program_use_profile(a->o.program, (dt_profile)i));
        DT_TRY(subject_use_program(a));
        DT_TRY(subject_allocate(a, images));
        dt_status status = subject_run(a, images, 0, images->n, &how, &p);
        if (status == DT_OK) subject_judge(a, images);
        r->scores[i] = a->scores;
        r->classes[i] = a->classes;
        r->hits[i] = a->hits;
        a->scores = NULL;
        a->classes = NULL;
        DT_TRY(status);
    }
    return DT_OK;
}

static int64_t codes_that_differ(const runs *r, const compared_images *images, int i, int k)
{
    int64_t n = 0;

    for (int64_t j = 0; j < images->n * images->n_classes; j++) n += r->scores[i][j] != r->scores[k][j];
    return n;
}

static int64_t predictions_that_differ(const runs *r, const compared_images *images, int i, int k)
{
    int64_t n = 0;

    for (int64_t j = 0; j < images->n; j++) n += r->classes[i][j] != r->classes[k][j];
    return n;
}

typedef int64_t (*counter)(const runs *r, const compared_images *images, int i, int k);

static void print_matrix(const runs *r, const compared_images *images, counter count)
{
    printf("%-*s", CELL, "");
    for (int i = 0; i < N_PROFILES; i++) printf(" %*s", CELL, dt_profile_names[i]);
    printf("\n");
    for (int i = 0; i < N_PROFILES; i++) {
        printf("%-*s", CELL, dt_profile_names[i]);
        for (int k = 0; k < N_PROFILES; k++) printf(" %*s", CELL, i == k ? "-" : text_count(count(r, images, i, k)).s);
        printf("\n");
    }
}

static void print_runs(const subject *a, const runs *r, const compared_images *images)
{
    printf("%s: %s, on %s images\n", a->path, text_network(a->model).s, text_count(images->n).s);
    printf("output codes that differ, of %s\n", text_count(images->n * images->n_classes).s);
    print_matrix(r, images, codes_that_differ);
    printf("predictions that differ, of %s\n", text_count(images->n).s);
    print_matrix(r, images, predictions_that_differ);
    if (!images->labels) return;
    printf("%-*s", CELL, "right, %");
    for (int i = 0; i < N_PROFILES; i++) printf(" %*.2f", CELL, 100.0 * (double)r->hits[i] / (double)images->n);
    printf("\n");
}

static void add_matrix(cJSON *to, const char *name, const runs *r, const compared_images *images, counter count)
{
    cJSON *rows = cJSON_AddArrayToObject(to, name);

    for (int i = 0; i < N_PROFILES; i++) {
        cJSON *row = cJSON_CreateArray();
        for (int k = 0; k < N_PROFILES; k++) {
            cJSON_AddItemToArray(row, cJSON_CreateNumber((double)count(r, images, i, k)));
        }
        cJSON_AddItemToArray(rows, row);
    }
}

static dt_status print_runs_json(const subject *a, const runs *r, const compared_images *images)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "checkpoint", a->path);
    cJSON_AddNumberToObject(out, "images", (double)images->n);
    cJSON_AddNumberToObject(out, "codes", (double)(images->n * images->n_classes));
    cJSON_AddItemToObject(out, "profiles", cJSON_CreateStringArray(dt_profile_names, N_PROFILES));
    add_matrix(out, "codes_that_differ", r, images, codes_that_differ);
    add_matrix(out, "predictions_that_differ", r, images, predictions_that_differ);
    if (images->labels) {
        cJSON *right = cJSON_AddArrayToObject(out, "right");
        for (int i = 0; i < N_PROFILES; i++) cJSON_AddItemToArray(right, cJSON_CreateNumber((double)r->hits[i]));
    }
    return print_json(out);
}

dt_status compare_profiles(const settings *s, subject *a, const compared_images *images)
{
    runs r = { 0 };

    dt_status status = run_all(a, images, &r);
    if (status == DT_OK && s->json)
        status = print_runs_json(a, &r, images);
    else if (status == DT_OK)
        print_runs(a, &r, images);
    for (int i = 0; i < N_PROFILES; i++) {
        free(r.scores[i]);
        free(r.classes[i]);
    }
    return status;
}
