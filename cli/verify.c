/*
 * verify.c - `detent verify`: every psum three ways (the model's forward, the array, sums in 64-bit integers), or a
 *            folder of exported vectors against itself. A mismatch is exit code 3, with the first one located.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void add_mismatch(cJSON *to, const dt_mismatch *m)
{
    cJSON *first = cJSON_AddObjectToObject(to, "first_mismatch");

    cJSON_AddStringToObject(first, "what", m->what);
    cJSON_AddStringToObject(first, "layer", m->layer);
    cJSON_AddNumberToObject(first, "image", (double)m->image);
    cJSON_AddNumberToObject(first, "row", m->row);
    cJSON_AddNumberToObject(first, "col", m->col);
    cJSON_AddNumberToObject(first, "channel", m->channel);
    cJSON_AddNumberToObject(first, "tile", m->tile);
    cJSON_AddNumberToObject(first, "tap", m->tap);
    cJSON_AddNumberToObject(first, "expected", (double)m->expected);
    cJSON_AddNumberToObject(first, "found", (double)m->found);
}

static dt_status print_report_json(const dt_verify_report *r)
{
    cJSON *out = cJSON_CreateObject(), *layers = cJSON_AddArrayToObject(out, "layers");

    for (int i = 0; i < r->n_layers; i++) {
        const dt_verify_layer *l = &r->layer[i];
        cJSON *one = array_report_json(&l->array);
        cJSON_AddNumberToObject(one, "checked", (double)l->n_checked);
        cJSON_AddNumberToObject(one, "mismatches", (double)l->mismatches);
        cJSON_AddNumberToObject(one, "mae_float", l->mae_float);
        cJSON_AddNumberToObject(one, "mae_next", l->mae_next);
        cJSON_AddItemToArray(layers, one);
    }
    cJSON_AddNumberToObject(out, "mismatches", (double)r->mismatches);
    if (r->mismatches > 0) add_mismatch(out, &r->first);
    return print_json(out);
}

static void print_mismatch(const dt_mismatch *m)
{
    printf("first mismatch: %s of %s, image %" PRId64 ", channel %d, row %d, col %d", m->what, m->layer, m->image,
           m->channel, m->row, m->col);
    if (m->tile >= 0) printf(", input tile %d, tap %d", m->tile, m->tap);
    printf(": expected %" PRId64 ", found %" PRId64 "\n", m->expected, m->found);
}

static void print_report(const settings *s, const dt_verify_report *r)
{
    int64_t checked = 0, psums = 0, cycles = 0;

    printf("array %dx%d, %d-bit psums, %s, %s\n", s->array.rows, s->array.cols, s->array.psum_bits,
           dt_overflow_names[s->array.overflow], dt_dataflow_names[s->array.dataflow]);
    printf("%-22s %14s %16s %10s %9s %9s %5s %10s %12s %6s\n", "layer", "psums", "values checked", "mismatches",
           "MAE float", "MAE next", "bits", "overflows", "cycles/image", "busy");
    for (int i = 0; i < r->n_layers; i++) {
        const dt_verify_layer *l = &r->layer[i];
        const dt_array_report *a = &l->array;
        printf("%-22s %14s %16s %10s %9.2e %9.2e %5d %10s %12s %5.1f%%\n", a->name, text_count(a->n_psums).s,
               text_count(l->n_checked).s, text_count(l->mismatches).s, l->mae_float, l->mae_next, a->bits,
               text_count(a->n_overflows).s, text_count(a->cycles).s, 100.0 * a->utilisation);
        checked += l->n_checked;
        psums += a->n_psums;
        cycles += a->cycles;
    }
    printf("%-22s %14s %16s %10s %36s %12s\n", "all", text_count(psums).s, text_count(checked).s,
           text_count(r->mismatches).s, "", text_count(cycles).s);
    if (r->mismatches > 0) print_mismatch(&r->first);
}

static dt_status verify_model(const settings *s, session *o, int *exit_code)
{
    const int all = !s->layer || strcmp(s->layer, "all") == 0;
    dt_verify_report *report;
    dt_dataset_view view;
    progress bar;

    DT_TRY(session_open_checkpoint(s, o));
    DT_TRY(session_open_images(s, o->model, DT_SPLIT_TEST, &o->test_set));
    if (!all) DT_TRY(session_find_layer(o, s->layer, 1));
    dt_dataset_look(o->test_set, &view);
    interrupt_install();
    progress_begin(&bar, 0);
    progress_task task = { .bar = &bar, .what = "verifying", .begin = clock_seconds() };
    const dt_progress tick = { progress_tick, &task };
    const dt_status status = dt_verify(o->model, o->test_set, 0, s->images < view.n ? s->images : view.n,
                                       all ? NULL : s->layer, &s->array, &tick, &report);
    progress_wipe(&bar);
    DT_TRY(status);
    *exit_code = report->mismatches > 0 ? EXIT_MISMATCH : EXIT_GOOD;
    dt_status printed = DT_OK;
    if (s->json)
        printed = print_report_json(report);
    else
        print_report(s, report);
    dt_verify_report_destroy(report);
    return printed;
}

static dt_status verify_vectors(const settings *s, int *exit_code)
{
    int64_t psums, mismatches;

    DT_TRY(dt_vectors_check(s->vectors, &psums, &mismatches));
    *exit_code = mismatches > 0 ? EXIT_MISMATCH : EXIT_GOOD;
    if (s->json) {
        cJSON *out = cJSON_CreateObject();
        cJSON_AddStringToObject(out, "vectors", s->vectors);
        cJSON_AddNumberToObject(out, "psums", (double)psums);
        cJSON_AddNumberToObject(out, "mismatches", (double)mismatches);
        return print_json(out);
    }
    printf("%s: every file is as its manifest says; %s psums, %s differ from those of the activations and weights\n",
           s->vectors, text_count(psums).s, text_count(mismatches).s);
    return DT_OK;
}

dt_status verify_run(const settings *s, int *exit_code)
{
    session o = { 0 };

    DT_CHECK(!s->vectors || !s->checkpoint, DT_ERR_ARGUMENT, "--vectors and --checkpoint: one of them, please");
    if (s->vectors) return verify_vectors(s, exit_code);
    const dt_status status = verify_model(s, &o, exit_code);
    session_close(&o);
    return status;
}
