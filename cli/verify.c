/*
 * verify.c - `detent verify`: compares every psum three ways (the model's forward, the array, sums in 64-bit integers),
 *            or checks a folder of exported vectors against itself. A mismatch gives exit code 3. The last line is one
 *            sentence with the verdict and the place of the first mismatch.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MORE_BYTES = DT_NAME_MAX + 256, SENTENCE_BYTES = MORE_BYTES + 256 };

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

/* "grid psum of features.27, image 3, channel 2, row 1, col 0: expected 5, found 4" */
static void describe_mismatch(const dt_mismatch *m, char *text, size_t bytes)
{
    char tap[VALUE_BYTES] = "";

    if (m->tile >= 0) snprintf(tap, sizeof tap, ", input tile %d, tap %d", m->tile, m->tap);
    snprintf(text, bytes,
             "%s of %s, image %" PRId64 ", channel %d, row %d, col %d%s: expected %" PRId64 ", found %" PRId64, m->what,
             m->layer, m->image, m->channel, m->row, m->col, tap, m->expected, m->found);
}

/* How a check ends, in one sentence; more is what a success adds, or which value is the first that differs. */
static void conclude(int64_t n, int64_t n_differ, const char *more, char *sentence)
{
    snprintf(sentence, SENTENCE_BYTES, "%s: %s of %s values differ; %s%s", n_differ > 0 ? "failed" : "verified",
             text_count(n_differ).s, text_count(n).s, n_differ > 0 ? "the first is " : "", more);
}

static void conclude_model(const dt_verify_report *r, char *sentence)
{
    const dt_verify_layer *worst = &r->layer[0];
    char more[MORE_BYTES];

    for (int i = 1; i < r->n_layers; i++) {
        if (r->layer[i].mae_float > worst->mae_float) worst = &r->layer[i];
    }
    if (r->mismatches > 0)
        describe_mismatch(&r->first, more, sizeof more);
    else
        snprintf(more, sizeof more, "the largest MAE against the float convolution is %.2e, of %s", worst->mae_float,
                 worst->array.name);
    conclude(r->n_checked, r->mismatches, more, sentence);
}

static dt_status print_report_json(const dt_verify_report *r, const char *sentence)
{
    cJSON *out = cJSON_CreateObject(), *layers = cJSON_AddArrayToObject(out, "layers");

    for (int i = 0; i < r->n_layers; i++) {
        const dt_verify_layer *l = &r->layer[i];
        cJSON *one = array_report_json(&l->array);
        cJSON_AddNumberToObject(one, "checked", (double)l->n_checked);
        cJSON_AddNumberToObject(one, "mismatches", (double)l->mismatches);
        cJSON_AddBoolToObject(one, "on_array", l->on_array);
        if (l->on_array) {
            cJSON_AddNumberToObject(one, "mae_float", l->mae_float);
            cJSON_AddNumberToObject(one, "mae_next", l->mae_next);
        }
        if (l->is_routing) {
            cJSON_AddNumberToObject(one, "mean_error", l->mean_error);
            cJSON_AddNumberToObject(one, "largest_error", l->largest_error);
            cJSON_AddNumberToObject(one, "largest_coupling_error", l->largest_coupling_error);
            cJSON_AddNumberToObject(one, "class_error", l->class_error);
        }
        cJSON_AddItemToArray(layers, one);
    }
    cJSON_AddNumberToObject(out, "checked", (double)r->n_checked);
    cJSON_AddNumberToObject(out, "mismatches", (double)r->mismatches);
    if (r->mismatches > 0) add_mismatch(out, &r->first);
    cJSON_AddStringToObject(out, "verdict", sentence);
    return print_json(out);
}

/* Nothing for networks without capsules. */
static void print_routings(const dt_verify_report *r)
{
    int n = 0;

    for (int i = 0; i < r->n_layers; i++) {
        const dt_verify_layer *l = &r->layer[i];
        if (!l->is_routing) continue;
        if (n++ == 0)
            printf("%-22s %14s %16s %16s %13s\n", "against real routing", "mean of v", "largest of v", "largest of c",
                   "classes");
        printf("%-22s %14.2e %16.2e %16.2e %12.2f%%\n", l->array.name, l->mean_error, l->largest_error,
               l->largest_coupling_error, 100.0 * l->class_error);
    }
}

static void print_report(const settings *s, const dt_verify_report *r, const char *sentence)
{
    int64_t checked = 0, mismatches = 0, psums = 0, cycles = 0;

    printf("array %dx%d, %d-bit psums, %s, %s\n", s->array.rows, s->array.cols, s->array.psum_bits,
           dt_overflow_names[s->array.overflow], dt_dataflow_names[s->array.dataflow]);
    printf("%-22s %14s %16s %10s %9s %9s %5s %10s %12s %6s\n", "layer", "psums", "values checked", "mismatches",
           "MAE float", "MAE next", "bits", "overflows", "cycles/image", "busy");
    for (int i = 0; i < r->n_layers; i++) {
        const dt_verify_layer *l = &r->layer[i];
        const dt_array_report *a = &l->array;
        printf("%-22s %14s %16s %10s", a->name, text_count(a->n_psums).s, text_count(l->n_checked).s,
               text_count(l->mismatches).s);
        if (l->on_array)
            printf(" %9.2e %9.2e %5d %10s %12s %5.1f%%\n", l->mae_float, l->mae_next, a->bits,
                   text_count(a->n_overflows).s, text_count(a->cycles).s, 100.0 * a->utilisation);
        else
            printf(" %9s %9s %5d\n", "-", "-", a->bits);
        checked += l->n_checked;
        mismatches += l->mismatches;
        psums += a->n_psums;
        cycles += a->cycles;
    }
    printf("%-22s %14s %16s %10s\n", "scores", "", text_count(r->n_checked - checked).s,
           text_count(r->mismatches - mismatches).s);
    printf("%-22s %14s %16s %10s %36s %12s\n", "all", text_count(psums).s, text_count(r->n_checked).s,
           text_count(r->mismatches).s, "", text_count(cycles).s);
    print_routings(r);
    puts(sentence);
}

static dt_status open_images(const settings *s, session *o)
{
    dt_model *m;

    if (o->test_set) return DT_OK;
    if (o->model) return session_open_images(s, o->model, DT_SPLIT_TEST, &o->test_set);
    DT_TRY(dt_program_model(o->ctx, o->program, NULL, &m));
    const dt_status status = session_open_images(s, m, DT_SPLIT_TEST, &o->test_set);
    dt_model_destroy(m);
    return status;
}

/* A model with its program, or a program alone: a file of one, or one that computes under the profile of an engine. */
static dt_status open_verified(const settings *s, session *o)
{
    const int all = !s->layer || strcmp(s->layer, "all") == 0;
    int is_program;

    DT_TRY(session_holds_program(s, &is_program));
    if (!is_program) {
        DT_TRY(session_open_checkpoint(s, o));
        DT_TRY(session_need_program(s, o));
        if (dt_quantized_count(o->model) == 0 || s->profile == DT_PROFILE_EXACT) {
            if (!all) DT_TRY(session_find_layer(o, s->layer, 1));
            return open_images(s, o);
        }
        session_close(o);
    }
    DT_TRY(session_open_program(s, o));
    return open_images(s, o);
}

static dt_status verify_model(const settings *s, session *o, int *exit_code)
{
    const int all = !s->layer || strcmp(s->layer, "all") == 0;
    dt_verify_report *report;
    dt_dataset_view view;
    progress bar;

    DT_TRY(open_verified(s, o));
    dt_dataset_look(o->test_set, &view);
    interrupt_install();
    progress_begin(&bar, 0);
    progress_task task = { .bar = &bar, .what = "verifying", .begin = clock_seconds() };
    const dt_progress tick = { .tick = progress_tick, .user = &task };
    const int64_t images = s->images < view.n ? s->images : view.n;
    const dt_verification alone = { o->test_set, 0, images, all ? NULL : s->layer, &s->array, &tick };
    const dt_status status = o->program
                                 ? dt_verify_program(o->ctx, o->program, &alone, &report)
                                 : dt_verify(o->model, o->test_set, 0, images, alone.layer, &s->array, &tick, &report);
    progress_wipe(&bar);
    DT_TRY(status);
    *exit_code = report->mismatches > 0 ? EXIT_MISMATCH : EXIT_GOOD;
    char sentence[SENTENCE_BYTES];
    conclude_model(report, sentence);
    dt_status printed = DT_OK;
    if (s->json)
        printed = print_report_json(report, sentence);
    else
        print_report(s, report, sentence);
    dt_verify_report_destroy(report);
    return printed;
}

static void conclude_vectors(const dt_vectors_report *r, char *sentence)
{
    char more[MORE_BYTES];

    if (r->n_mismatches > 0)
        snprintf(more, sizeof more, "%s, line %d, lane %d: expected %" PRId64 ", found %" PRId64, r->file, r->line,
                 r->lane, r->expected, r->found);
    else
        snprintf(more, sizeof more, "every psum is that of the activations and weights");
    conclude(r->n_psums, r->n_mismatches, more, sentence);
}

static dt_status verify_vectors(const settings *s, int *exit_code)
{
    char sentence[SENTENCE_BYTES];
    dt_vectors_report r;

    DT_TRY(dt_vectors_check(s->vectors, &r));
    *exit_code = r.n_mismatches > 0 ? EXIT_MISMATCH : EXIT_GOOD;
    conclude_vectors(&r, sentence);
    if (s->json) {
        cJSON *out = cJSON_CreateObject();
        cJSON_AddStringToObject(out, "vectors", s->vectors);
        cJSON_AddNumberToObject(out, "psums", (double)r.n_psums);
        cJSON_AddNumberToObject(out, "mismatches", (double)r.n_mismatches);
        cJSON_AddStringToObject(out, "verdict", sentence);
        return print_json(out);
    }
    printf("%s: every file is as its manifest says\n%s\n", s->vectors, sentence);
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
