/*
 * eval.c - `detent eval`: loss and accuracy of a checkpoint on a test set: as it was trained, as its integer program,
 *          or as a given array would run that program.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* One pass over the test set. */
typedef struct {
    dt_metrics metrics;
    float label_smoothing; /* in the loss */
    double seconds;
    int n_scores, is_binary;  /* of the network */
    dt_outputs outputs;       /* owned */
    dt_class_report *classes; /* owned; NULL: the network tells no classes, but labels */
    dt_label_report *labels;  /* owned; of a network of labels */
    dt_array_report *layers;  /* [n_layers] where an array computes, owned; else NULL */
    int n_layers;
} measurement;

/* A second engine whose predictions are to be the same. */
typedef struct {
    const char *name; /* NULL: none */
    measurement measured;
    int64_t n_differ; /* predictions */
} comparison;

static void measurement_release(measurement *a)
{
    free(a->layers);
    dt_label_report_destroy(a->labels);
    dt_class_report_destroy(a->classes);
    free(a->outputs.scores);
    free(a->outputs.predictions);
}

/* The loss has out's label smoothing; out's layers, if it has any, get their reports. */
static dt_status measure(const settings *s, dt_model *m, const dt_dataset *d, const char *what, measurement *out)
{
    dt_outputs *o = &out->outputs;
    dt_dataset_view v;
    dt_model_info is;
    progress bar;
    dt_status status;

    dt_dataset_look(d, &v);
    dt_model_look(m, &is);
    o->predictions = malloc((size_t)v.n * sizeof *o->predictions);
    o->scores = malloc((size_t)v.n * (size_t)is.n_classes * sizeof *o->scores);
    DT_CHECK(o->predictions && o->scores, DT_ERR_MEMORY, "no memory for the predictions of %lld images",
             (long long)v.n);
    progress_begin(&bar, 0);
    progress_task task = { .bar = &bar, .what = what, .begin = clock_seconds() };
    const dt_progress tick = { .tick = progress_tick, .user = &task };
    if (out->layers)
        status = dt_array_evaluate(m, d, s->train.batch, out->label_smoothing, &tick, o, &out->metrics, out->layers);
    else
        status = dt_evaluate(m, d, s->train.batch, out->label_smoothing, &tick, o, &out->metrics);
    out->seconds = clock_seconds() - task.begin;
    out->n_scores = is.n_classes;
    out->is_binary = is.is_binary;
    progress_wipe(&bar);
    DT_TRY(status);
    if (!is.is_binary) return dt_class_report_create(o->scores, v.labels, v.n, is.n_classes, &out->classes);
    return dt_label_report_create(o->scores, v.labels, v.n, is.n_classes, nextafterf(0.0f, 1.0f), &out->labels);
}

/* Labels are said where their scores are above 0. */
static int labels_differ(const float *a, const float *b, int n)
{
    for (int i = 0; i < n; i++) {
        if ((a[i] > 0.0f) != (b[i] > 0.0f)) return 1;
    }
    return 0;
}

/* Images of which another class, or other labels, are said. */
static void count_differences(const measurement *a, comparison *with)
{
    const dt_outputs *x = &a->outputs, *y = &with->measured.outputs;

    with->n_differ = 0;
    for (int64_t i = 0; i < a->metrics.images; i++) {
        const int64_t at = i * a->n_scores;
        with->n_differ += a->is_binary ? labels_differ(x->scores + at, y->scores + at, a->n_scores)
                                       : x->predictions[i] != y->predictions[i];
    }
}

static dt_status print_evaluation_json(const settings *s, const session *o, const dt_model *m, const measurement *a,
                                       const comparison *with)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "checkpoint", s->checkpoint);
    cJSON_AddStringToObject(out, "dataset", session_dataset(s, m));
    cJSON_AddStringToObject(out, "engine", session_engine_word(s, o));
    if (session_profile(o)) cJSON_AddStringToObject(out, "profile", session_profile(o));
    cJSON_AddStringToObject(out, "device", dt_context_backend(o->ctx));
    add_fallback(out, o->ctx);
    cJSON_AddNumberToObject(out, "images", (double)a->metrics.images);
    cJSON_AddNumberToObject(out, "accuracy", a->metrics.accuracy);
    if (a->is_binary) cJSON_AddNumberToObject(out, "exact", a->metrics.exact);
    cJSON_AddNumberToObject(out, "loss", a->metrics.loss);
    cJSON_AddRawToObject(out, "label_smoothing", text_float(a->label_smoothing).s);
    cJSON_AddNumberToObject(out, "images_per_s", (double)a->metrics.images / a->seconds);
    cJSON_AddNumberToObject(out, "seconds", a->seconds);
    if (a->classes) add_class_report(out, a->classes, s->top_k);
    if (a->labels) add_label_report(out, a->labels);
    if (with->name) {
        cJSON *other = cJSON_AddObjectToObject(out, "compared");
        cJSON_AddStringToObject(other, "engine", with->name);
        cJSON_AddNumberToObject(other, "accuracy", with->measured.metrics.accuracy);
        cJSON_AddNumberToObject(other, "predictions_that_differ", (double)with->n_differ);
    }
    if (a->layers) {
        cJSON *array = cJSON_AddArrayToObject(out, "layers");
        for (int i = 0; i < a->n_layers; i++) cJSON_AddItemToArray(array, array_report_json(&a->layers[i]));
    }
    return print_json(out);
}

static short_text kib(int64_t bytes)
{
    return text_count((bytes + 512) / 1024);
}

static void print_layers(const settings *s, const measurement *a)
{
    dt_array_report sum = { 0 };

    printf("array      %dx%d, %d-bit psums, %s, %s; cycles, MACs and SRAM traffic are of one image\n", s->array.rows,
           s->array.cols, s->array.psum_bits, dt_overflow_names[s->array.overflow],
           dt_dataflow_names[s->array.dataflow]);
    printf("%-20s %9s %9s %5s %14s %6s %12s %11s %6s %9s %9s\n", "layer", "min", "max", "bits", "overflows", "zeros",
           "MACs", "cycles", "busy", "KiB read", "written");
    for (int i = 0; i < a->n_layers; i++) {
        const dt_array_report *l = &a->layers[i];
        printf("%-20s %9s %9s %5d %14s %5.1f%% %12s %11s %5.1f%% %9s %9s\n", l->name, text_count(l->min).s,
               text_count(l->max).s, l->bits, text_count(l->n_overflows).s, 100.0 * l->zero_share,
               text_count(l->macs).s, text_count(l->cycles).s, 100.0 * l->utilisation, kib(l->sram_reads).s,
               kib(l->sram_writes).s);
        sum.macs += l->macs;
        sum.cycles += l->cycles;
        sum.sram_reads += l->sram_reads;
        sum.sram_writes += l->sram_writes;
    }
    printf("%-20s %60s %11s %6s %9s %9s\n", "all", text_count(sum.macs).s, text_count(sum.cycles).s, "",
           kib(sum.sram_reads).s, kib(sum.sram_writes).s);
}

static void print_evaluation(const settings *s, const session *o, const dt_model *m, const measurement *a,
                             const comparison *with)
{
    const double images_per_s = (double)a->metrics.images / a->seconds;

    printf("model      %s\n", text_network(o->model ? o->model : m).s);
    printf("data       %s: %s test images\n", session_dataset(s, m), text_count(a->metrics.images).s);
    printf("device     %s: %s, engine %s\n", dt_context_backend(o->ctx), dt_context_device(o->ctx),
           session_engine(s, o).s);
    print_fallback(o->ctx);
    printf("accuracy   %.2f %%", 100.0 * a->metrics.accuracy);
    if (a->is_binary && a->n_scores > 1)
        printf(" of all labels; all labels of %.2f %% of the images", 100.0 * a->metrics.exact);
    printf("\n");
    if (with->name) {
        printf("%-10s %.2f %%; %s predictions differ\n", with->name, 100.0 * with->measured.metrics.accuracy,
               text_count(with->n_differ).s);
    }
    if (a->classes) print_top_k(a->classes, s->top_k);
    printf("loss       %.4f", a->metrics.loss);
    if (a->label_smoothing > 0.0f) {
        printf(", with the training's label smoothing of %s", text_float(a->label_smoothing).s);
    }
    printf("\n");
    printf("speed      %s images/s, %.2f s\n", text_count((int64_t)(images_per_s + 0.5)).s, a->seconds);
    if (s->metrics && a->classes) print_class_metrics(a->classes);
    if (s->metrics && a->labels) print_label_metrics(a->labels);
    if ((s->confusion || s->metrics) && a->classes) print_confusion(a->classes);
}

/* What is evaluated, and beside what: the program beside the model it was lowered from, the array beside exact sums. */
static dt_status open_engines(const settings *s, session *o, dt_model **main_model, dt_model **other, comparison *with)
{
    dt_qcaps_formats formats;
    int is_program;

    DT_TRY(session_wants_program(s, &is_program));
    if (!is_program) {
        DT_TRY(session_open_checkpoint(s, o));
        DT_TRY(session_open_images(s, o->model, DT_SPLIT_TEST, &o->test_set));
        return DT_OK;
    }
    DT_TRY(session_open_program(s, o));
    DT_TRY(dt_program_model(o->ctx, o->program, s->engine == ENGINE_ARRAY ? &s->array : NULL, main_model));
    if (!o->test_set) DT_TRY(session_open_images(s, *main_model, DT_SPLIT_TEST, &o->test_set));
    if (s->engine == ENGINE_ARRAY) {
        with->name = "exact";
        return dt_program_model(o->ctx, o->program, NULL, other);
    }
    if (o->model) with->name = dt_qcaps_look(o->model, &formats) ? "fixed point" : "grid";
    return DT_OK;
}

/* Room for a report of each layer, where an array computes. */
static dt_status make_reports(const settings *s, const dt_model *m, measurement *out)
{
    if (s->engine != ENGINE_ARRAY) return DT_OK;
    out->n_layers = dt_model_n_layers(m);
    out->layers = calloc((size_t)out->n_layers, sizeof *out->layers);
    DT_CHECK(out->layers, DT_ERR_MEMORY, "no memory for the reports of %d layers", out->n_layers);
    return DT_OK;
}

/* Of the training, so that the loss is the one of metrics.jsonl; 0 for files that do not tell of one, and for capsule
 * networks, whose loss has none. */
static dt_status find_label_smoothing(const settings *s, const session *o, float *out)
{
    dt_train_config trained;
    dt_qcaps_formats formats;
    dt_model_info is;

    *out = 0.0f;
    if (!o->model || dt_qcaps_look(o->model, &formats) || !dt_checkpoint_has_run(s->checkpoint)) return DT_OK;
    DT_TRY(dt_checkpoint_train_config(s->checkpoint, &trained));
    dt_model_look(o->model, &is);
    if (is.caps_dim == 0) *out = trained.label_smoothing;
    return DT_OK;
}

static dt_status evaluate(const settings *s, session *o, dt_model **main_model, dt_model **other)
{
    measurement a = { 0 };
    comparison with = { 0 };

    dt_status status = open_engines(s, o, main_model, other, &with);
    dt_model *const m = *main_model ? *main_model : o->model, *const reference = *other ? *other : o->model;
    if (status == DT_OK) status = make_reports(s, m, &a);
    interrupt_install();
    if (status == DT_OK) status = find_label_smoothing(s, o, &a.label_smoothing);
    if (status == DT_OK) status = measure(s, m, o->test_set, "evaluating", &a);
    if (status == DT_OK && with.name) {
        with.measured.label_smoothing = a.label_smoothing;
        status = measure(s, reference, o->test_set, with.name, &with.measured);
        if (status == DT_OK) count_differences(&a, &with);
    }
    if (status == DT_OK && s->json) {
        status = print_evaluation_json(s, o, m, &a, &with);
    } else if (status == DT_OK) {
        print_evaluation(s, o, m, &a, &with);
        if (a.layers) print_layers(s, &a);
    }
    measurement_release(&a);
    measurement_release(&with.measured);
    return status;
}

dt_status eval_run(const settings *s, int *exit_code)
{
    session o = { 0 };
    dt_model *main_model = NULL, *other = NULL;

    DT_TRY(need_option("checkpoint", s->checkpoint));
    const dt_status status = evaluate(s, &o, &main_model, &other);
    dt_model_destroy(other);
    dt_model_destroy(main_model);
    session_close(&o);
    *exit_code = EXIT_GOOD;
    return status;
}
