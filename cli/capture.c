/*
 * capture.c - `detent capture`: a layer's integers to a file, and their comparison with the integer oracle.
 *
 * The oracle is the sum of qx*qw in int64, computed by plain loops. A mismatch is exit code 3.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { IMAGES_AT_ONCE = 64 }; /* of a check without --out: bounds the memory */

typedef struct {
    int64_t first, count;
} image_range;

typedef struct {
    int64_t psums, mismatches;
} check_result;

static dt_status parse_range(const char *index, int64_t n_images, image_range *out)
{
    int64_t a, b;
    char rest;

    DT_CHECK(sscanf(index, "%" SCNd64 ":%" SCNd64 "%c", &a, &b, &rest) == 2 && a >= 0 && a < b && b <= n_images,
             DT_ERR_ARGUMENT, "--index %s: expected A:B with 0 <= A < B <= %" PRId64 ", the images of this test set",
             index, n_images);
    *out = (image_range){ a, b - a };
    return DT_OK;
}

static dt_status find_layer(const dt_model *m, const char *name)
{
    const int n = dt_model_n_layers(m);
    char names[VALUE_BYTES * 8] = "";
    dt_layer_info info;

    for (int i = 0; i < n; i++) {
        dt_model_layer(m, i, &info);
        if (strcmp(info.name, name) == 0) return DT_OK;
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, " %s", info.name);
    }
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "--layer %s: no quantized convolution; there are%s, or all",
                    name, names);
}

static dt_status check_layer(const session *o, const image_range *range, const char *layer, check_result *out)
{
    int64_t left = range->count;

    *out = (check_result){ 0 };
    while (left > 0) {
        const int64_t n = left < IMAGES_AT_ONCE ? left : IMAGES_AT_ONCE;
        dt_capture *c;
        check_result part;

        DT_CHECK(!interrupt_requested(), DT_ERR_INTERRUPTED, "%s: check stopped", layer);
        DT_TRY(dt_capture_layer(o->model, o->test_set, range->first + range->count - left, n, layer, &c));
        const dt_status status = dt_capture_check(c, &part.psums, &part.mismatches);
        dt_capture_destroy(c);
        DT_TRY(status);
        out->psums += part.psums;
        out->mismatches += part.mismatches;
        left -= n;
    }
    return DT_OK;
}

static cJSON *result_json(const char *layer, const check_result *r)
{
    cJSON *out = cJSON_CreateObject();
    cJSON_AddStringToObject(out, "layer", layer);
    cJSON_AddNumberToObject(out, "psums", (double)r->psums);
    cJSON_AddNumberToObject(out, "mismatches", (double)r->mismatches);
    return out;
}

static dt_status check_all(const settings *s, const session *o, const image_range *range, int *exit_code)
{
    const int n = dt_model_n_layers(o->model);
    cJSON *layers = s->json ? cJSON_CreateArray() : NULL;
    check_result sum = { 0 }, one;
    dt_layer_info info;

    if (!s->json) printf("%-16s %16s %12s\n", "layer", "psums", "mismatches");
    for (int i = 0; i < n; i++) {
        dt_model_layer(o->model, i, &info);
        DT_TRY(check_layer(o, range, info.name, &one));
        if (s->json)
            cJSON_AddItemToArray(layers, result_json(info.name, &one));
        else
            printf("%-16s %16s %12s\n", info.name, text_count(one.psums).s, text_count(one.mismatches).s);
        sum.psums += one.psums;
        sum.mismatches += one.mismatches;
    }
    *exit_code = sum.mismatches > 0 ? EXIT_MISMATCH : EXIT_GOOD;
    if (s->json) return print_json(layers);
    printf("%-16s %16s %12s\n", "all", text_count(sum.psums).s, text_count(sum.mismatches).s);
    return DT_OK;
}

static dt_status save_layer(const settings *s, const session *o, const image_range *range)
{
    dt_capture *c;

    DT_TRY(dt_capture_layer(o->model, o->test_set, range->first, range->count, s->layer, &c));
    const dt_status status = dt_capture_save(c, s->layer, s->out);
    if (status == DT_OK && !s->json) {
        printf("%s: %s images, codes %dx%dx%d, psums %dx%dx%d, to %s\n", s->layer, text_count(c->n).s, c->height,
               c->width, c->channels, c->out_height, c->out_width, c->filters, s->out);
    }
    dt_capture_destroy(c);
    return status;
}

static dt_status capture_one(const settings *s, const session *o, const image_range *range, int *exit_code)
{
    check_result result;

    DT_TRY(find_layer(o->model, s->layer));
    if (s->out) DT_TRY(save_layer(s, o, range));
    if (!s->check) return DT_OK;
    DT_TRY(check_layer(o, range, s->layer, &result));
    if (result.mismatches > 0) *exit_code = EXIT_MISMATCH;
    if (s->json) return print_json(result_json(s->layer, &result));
    printf("%s: %s psums, %s mismatches with the integer oracle (sums of qx*qw in int64)\n", s->layer,
           text_count(result.psums).s, text_count(result.mismatches).s);
    return DT_OK;
}

static dt_status capture(const settings *s, session *o, int *exit_code)
{
    const int all = strcmp(s->layer, "all") == 0;
    dt_dataset_view view;
    image_range range;

    DT_CHECK(s->check || s->out, DT_ERR_ARGUMENT, "--out FILE or --check is needed, else there is nothing to do");
    DT_CHECK(!all || (s->check && !s->out), DT_ERR_ARGUMENT, "--layer all goes with --check and without --out");
    DT_TRY(session_open_checkpoint(s, o, NULL));
    DT_TRY(session_open_dataset(s, dt_model_get_config(o->model), DT_SPLIT_TEST, &o->test_set));
    dt_dataset_look(o->test_set, &view);
    DT_TRY(parse_range(s->index, view.n, &range));
    interrupt_install();
    return all ? check_all(s, o, &range, exit_code) : capture_one(s, o, &range, exit_code);
}

dt_status capture_run(const settings *s, int *exit_code)
{
    session o = { 0 };

    DT_TRY(need_option("checkpoint", s->checkpoint));
    DT_TRY(need_option("layer", s->layer));
    *exit_code = EXIT_GOOD;
    const dt_status status = capture(s, &o, exit_code);
    session_close(&o);
    return status;
}
