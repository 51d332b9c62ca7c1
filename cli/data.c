/*
 * data.c - `detent data`: the known datasets, where their files are, or what is missing and how to get it; the kinds of
 *          datasets that are named by a file; or by data_set.c what one dataset holds.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    int found;
    char text[PATH_BYTES]; /* the folder, or why it is not found */
} split_state;

static void look_for(const settings *s, const char *name, dt_split split, split_state *out)
{
    const dt_status status = dt_dataset_find(name, s->data_dir, split, out->text, sizeof out->text);

    out->found = status == DT_OK;
    if (!out->found) snprintf(out->text, sizeof out->text, "%s", dt_last_error());
}

static void print_dataset(const settings *s, const dt_dataset_info *info)
{
    split_state train, test;

    look_for(s, info->name, DT_SPLIT_TRAIN, &train);
    look_for(s, info->name, DT_SPLIT_TEST, &test);
    printf("%s: %s\n", info->name, info->about);
    if (info->files[0] == '\0') {
        printf("  needs no files\n");
        return;
    }
    if (strcmp(train.text, test.text) == 0) {
        printf("  %s %s\n", train.found ? "found in" : "missing:", train.text);
    } else {
        printf("  train %s %s\n", train.found ? "found in" : "missing:", train.text);
        printf("  test %s %s\n", test.found ? "found in" : "missing:", test.text);
    }
    if (!train.found || !test.found) printf("  files: %s\n", info->files);
}

static void add_split(cJSON *object, const char *label, const split_state *state)
{
    cJSON *split = cJSON_AddObjectToObject(object, label);

    cJSON_AddBoolToObject(split, "found", state->found);
    cJSON_AddStringToObject(split, state->found ? "folder" : "missing", state->text);
}

static cJSON *dataset_json(const settings *s, const dt_dataset_info *info)
{
    cJSON *object = cJSON_CreateObject();
    split_state train, test;

    look_for(s, info->name, DT_SPLIT_TRAIN, &train);
    look_for(s, info->name, DT_SPLIT_TEST, &test);
    cJSON_AddStringToObject(object, "name", info->name);
    cJSON_AddStringToObject(object, "about", info->about);
    cJSON_AddStringToObject(object, "files", info->files);
    cJSON_AddStringToObject(object, "where", info->where);
    cJSON_AddStringToObject(object, "get", info->get);
    add_split(object, "train", &train);
    add_split(object, "test", &test);
    return object;
}

/* The kinds that are named by a file or folder. */
static void print_kinds(void)
{
    dt_dataset_kind_info kind;

    for (int i = 0; i < dt_dataset_kinds(i, &kind); i++) {
        printf("%s:%s: %s\n  options: %s\n", kind.kind, kind.of, kind.about, kind.options);
    }
}

static void add_kinds(cJSON *all)
{
    dt_dataset_kind_info kind;

    for (int i = 0; i < dt_dataset_kinds(i, &kind); i++) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "kind", kind.kind);
        cJSON_AddStringToObject(object, "of", kind.of);
        cJSON_AddStringToObject(object, "about", kind.about);
        cJSON_AddStringToObject(object, "options", kind.options);
        cJSON_AddItemToArray(all, object);
    }
}

dt_status data_run(const settings *s, int *exit_code)
{
    const dt_dataset_info *infos;
    const int n = dt_dataset_known(&infos);

    *exit_code = EXIT_GOOD;
    if (s->dataset) return data_describe(s);
    cJSON *all = s->json ? cJSON_CreateArray() : NULL;
    for (int i = 0; i < n; i++) {
        if (s->json)
            cJSON_AddItemToArray(all, dataset_json(s, &infos[i]));
        else
            print_dataset(s, &infos[i]);
    }
    if (!s->json) {
        print_kinds();
        return DT_OK;
    }
    add_kinds(all);
    return print_json(all);
}
