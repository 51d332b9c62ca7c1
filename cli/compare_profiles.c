/*
 * compare_profiles.c - `detent compare --profiles`: a network of integers under the arithmetic of every engine, and how
 *                      many of its output codes and predictions differ between each two. The profile exact is among
 *                      them where a model is there to make its program of.
 */
#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_PROFILES = DT_PROFILE_EXACT + 1, CELL = 12 };

typedef struct {
    float *scores[N_PROFILES]; /* [n][n_classes], owned; of one scale: codes differ where they do */
    int32_t *classes[N_PROFILES];
    int64_t hits[N_PROFILES];
    int n;                          /* profiles that have run: the first n */
    char left_out[VALUE_BYTES * 8]; /* why the last has not; "": it has */
} runs;

/* A program of a file has the profiles of engines. */
static dt_status use_profile(subject *a, dt_profile profile)
{
    if (!a->o.model) return dt_program_use_profile(a->o.program, profile);
    dt_program_destroy(a->o.program);
    a->o.program = NULL;
    return dt_program_lower_under(a->o.model, NULL, profile, &a->o.program);
}

static dt_status run_one(subject *a, const chosen_images *images, int i, runs *r, compare_progress *p)
{
    const dt_prediction how = { 0 };

    DT_TRY(subject_use_program(a));
    DT_TRY(subject_allocate(a, images));
    const dt_status status = subject_run(a, images, 0, images->n, &how, p);
    if (status == DT_OK) subject_judge(a, images);
    r->scores[i] = a->scores;
    r->classes[i] = a->classes;
    r->hits[i] = a->hits;
    r->n = i + 1;
    a->scores = NULL;
    a->classes = NULL;
    return status;
}

static dt_status run_all(subject *a, const chosen_images *images, runs *r)
{
    compare_progress p;

    compare_progress_begin(&p, N_PROFILES * images->n);
    for (int i = 0; i < N_PROFILES; i++) {
        const dt_status status = use_profile(a, (dt_profile)i);
        if (i == DT_PROFILE_EXACT && status == DT_ERR_UNSUPPORTED) {
            snprintf(r->left_out, sizeof r->left_out, "%s", dt_last_error());
            return DT_OK;
        }
        DT_TRY(status);
        DT_TRY(run_one(a, images, i, r, &p));
    }
    return DT_OK;
}

static int64_t codes_that_differ(const runs *r, const chosen_images *images, int i, int k)
{
    int64_t n = 0;

    for (int64_t j = 0; j < images->n * images->n_classes; j++) n += r->scores[i][j] != r->scores[k][j];
    return n;
}

static int64_t predictions_that_differ(const runs *r, const chosen_images *images, int i, int k)
{
    int64_t n = 0;

    for (int64_t j = 0; j < images->n; j++) n += r->classes[i][j] != r->classes[k][j];
    return n;
}

typedef int64_t (*counter)(const runs *r, const chosen_images *images, int i, int k);

static void print_matrix(const runs *r, const chosen_images *images, counter count)
{
    printf("%-*s", CELL, "");
    for (int i = 0; i < r->n; i++) printf(" %*s", CELL, dt_profile_names[i]);
    printf("\n");
    for (int i = 0; i < r->n; i++) {
        printf("%-*s", CELL, dt_profile_names[i]);
        for (int k = 0; k < r->n; k++) printf(" %*s", CELL, i == k ? "-" : text_count(count(r, images, i, k)).s);
        printf("\n");
    }
}

static void print_runs(const subject *a, const runs *r, const chosen_images *images)
{
    printf("%s: %s, on %s images\n", a->path, text_network(a->model).s, text_count(images->n).s);
    printf("output codes that differ, of %s\n", text_count(images->n * images->n_classes).s);
    print_matrix(r, images, codes_that_differ);
    printf("predictions that differ, of %s\n", text_count(images->n).s);
    print_matrix(r, images, predictions_that_differ);
    if (r->left_out[0]) printf("without %s: %s\n", dt_profile_names[DT_PROFILE_EXACT], r->left_out);
    if (!images->labels) return;
    printf("%-*s", CELL, "right, %");
    for (int i = 0; i < r->n; i++) printf(" %*.2f", CELL, 100.0 * (double)r->hits[i] / (double)images->n);
    printf("\n");
}

static void add_matrix(cJSON *to, const char *name, const runs *r, const chosen_images *images, counter count)
{
    cJSON *rows = cJSON_AddArrayToObject(to, name);

    for (int i = 0; i < r->n; i++) {
        cJSON *row = cJSON_CreateArray();
        for (int k = 0; k < r->n; k++) {
            cJSON_AddItemToArray(row, cJSON_CreateNumber((double)count(r, images, i, k)));
        }
        cJSON_AddItemToArray(rows, row);
    }
}

static dt_status print_runs_json(const subject *a, const runs *r, const chosen_images *images)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "checkpoint", a->path);
    cJSON_AddNumberToObject(out, "images", (double)images->n);
    cJSON_AddNumberToObject(out, "codes", (double)(images->n * images->n_classes));
    cJSON_AddItemToObject(out, "profiles", cJSON_CreateStringArray(dt_profile_names, r->n));
    add_matrix(out, "codes_that_differ", r, images, codes_that_differ);
    add_matrix(out, "predictions_that_differ", r, images, predictions_that_differ);
    if (images->labels) {
        cJSON *right = cJSON_AddArrayToObject(out, "right");
        for (int i = 0; i < r->n; i++) cJSON_AddItemToArray(right, cJSON_CreateNumber((double)r->hits[i]));
    }
    return print_json(out);
}

dt_status compare_profiles(const settings *s, subject *a, const chosen_images *images)
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
