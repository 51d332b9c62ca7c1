/*
 * quantize.c - `detent quantize`: a trained network of reals becomes one of integers, or of integer weights, without
 *              training; and a table of what became of each value, or of each layer.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static dt_status read_images(const settings *s, const dt_model *m, dt_quantization *what)
{
    char path[PATH_BYTES];
    const char *name;

    session_split_inputs(s->calibrate, path, &name);
    return dt_calibration_images_read(m, path, name, what);
}

/* Images to calibrate on: a file's, or the first of the training set that are not held out. */
static dt_status open_images(const settings *s, session *o, dt_quantization *what)
{
    settings some = *s;
    dt_dataset_view view;

    if (s->calibrate) return read_images(s, o->model, what);
    some.train_size = s->calibrate_images;
    some.val_size = what->rescue ? s->held_out : 0;
    DT_TRY(session_open_images(&some, o->model, DT_SPLIT_TRAIN, &o->train_set));
    dt_dataset_look(o->train_set, &view);
    what->dataset = o->train_set;
    what->n = view.n;
    return DT_OK;
}

static void print_table(const settings *s, const dt_quantized_value *row, int n)
{
    FILE *const to = report_stream(s->out);

    fprintf(to, "%-28s %12s %12s %12s %6s %12s %9s %7s\n", "value", "min", "max", "scale", "zero", "codes", "clipped",
            "SNR dB");
    for (int i = 0; i < n; i++) {
        char codes[VALUE_BYTES];
        snprintf(codes, sizeof codes, "%d..%d", row[i].low, row[i].high);
        fprintf(to, "%-28s %12.6g %12.6g %12.6g %6d %12s %8.3f%% %7.1f\n", row[i].name, (double)row[i].min,
                (double)row[i].max, (double)row[i].scale, row[i].zero, codes, 100.0 * row[i].clipped, row[i].snr);
    }
}

static dt_status print_table_json(const dt_quantized_value *row, int n)
{
    cJSON *out = cJSON_CreateObject(), *values = cJSON_AddArrayToObject(out, "values");

    for (int i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", row[i].name);
        cJSON_AddNumberToObject(one, "min", (double)row[i].min);
        cJSON_AddNumberToObject(one, "max", (double)row[i].max);
        cJSON_AddNumberToObject(one, "scale", (double)row[i].scale);
        cJSON_AddNumberToObject(one, "zero", row[i].zero);
        cJSON_AddNumberToObject(one, "low", row[i].low);
        cJSON_AddNumberToObject(one, "high", row[i].high);
        cJSON_AddNumberToObject(one, "clipped", row[i].clipped);
        cJSON_AddNumberToObject(one, "snr", row[i].snr);
        cJSON_AddItemToArray(values, one);
    }
    return print_json(out);
}

/* ---- schemes drq, float and qkeras ---- */

typedef struct {
    char s[VALUE_BYTES];
} type_text;

/* "int4", or "float". */
static type_text type_of(const dt_layer_weights *row)
{
    type_text text;

    snprintf(text.s, sizeof text.s, row->bits ? "int%d" : "float", row->bits);
    return text;
}

static void print_layers(const settings *s, const dt_layer_weights *row, int n)
{
    FILE *const to = report_stream(s->out);

    fprintf(to, "%-28s %12s %8s %12s %12s\n", "layer", "elements", "weights", "least scale", "scale");
    for (int i = 0; i < n; i++) {
        fprintf(to, "%-28s %12s %8s", row[i].name, text_count(row[i].n_weights).s, type_of(&row[i]).s);
        if (row[i].bits) fprintf(to, " %12.6g %12.6g", (double)row[i].least_scale, (double)row[i].scale);
        fprintf(to, "\n");
    }
}

static dt_status print_layers_json(const dt_layer_weights *row, int n)
{
    cJSON *out = cJSON_CreateObject(), *layers = cJSON_AddArrayToObject(out, "layers");

    for (int i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", row[i].name);
        cJSON_AddNumberToObject(one, "elements", (double)row[i].n_weights);
        cJSON_AddStringToObject(one, "weights", type_of(&row[i]).s);
        if (row[i].bits) {
            cJSON_AddNumberToObject(one, "least_scale", (double)row[i].least_scale);
            cJSON_AddNumberToObject(one, "scale", (double)row[i].scale);
        }
        cJSON_AddItemToArray(layers, one);
    }
    return print_json(out);
}

static dt_status report_layers(const settings *s, const dt_model *quantized)
{
    const int n = dt_layer_count(quantized);
    dt_layer_weights *row = calloc((size_t)n + 1, sizeof *row);
    dt_status status;

    DT_CHECK(row, DT_ERR_MEMORY, "no memory for a table of %d layers", n);
    status = dt_layer_look(quantized, row);
    if (status == DT_OK && s->json)
        status = print_layers_json(row, n);
    else if (status == DT_OK)
        print_layers(s, row, n);
    free(row);
    return status;
}

static int is_full(const dt_quantization *what)
{
    return what->scheme != DT_SCHEME_DRQ && what->scheme != DT_SCHEME_FLOAT && what->scheme != DT_SCHEME_QKERAS;
}

static dt_status report(const settings *s, const session *o, dt_model *quantized, const dt_quantization *what)
{
    const int n = dt_quantized_count(quantized);
    dt_quantized_value *row = calloc((size_t)n + 1, sizeof *row);
    dt_status status = DT_OK;

    DT_CHECK(row, DT_ERR_MEMORY, "no memory for a table of %d values", n);
    if (what->n > 0) status = dt_quantized_look(o->model, quantized, what, row);
    if (status == DT_OK && what->n > 0 && s->json)
        status = print_table_json(row, n);
    else if (status == DT_OK && what->n > 0)
        print_table(s, row, n);
    free(row);
    return status;
}

/* The last line. */
static void print_end(const settings *s, const dt_model *quantized, const dt_quantization *what)
{
    FILE *const to = report_stream(s->out);

    fprintf(to, "%s: %s", s->out, text_network(quantized).s);
    if (is_full(what)) {
        fprintf(to, ", %d values, calibrated on %s images by %s", dt_quantized_count(quantized), text_count(what->n).s,
                dt_observer_names[what->observer]);
    }
    fprintf(to, "\n");
}

/* ---- passes ---- */

/* How a quantized network does, for people. */
static short_text text_score(const dt_rescue_score *r)
{
    short_text t;

    snprintf(t.s, sizeof t.s, "%6.2f %%  loss %.4f  SNR %5.1f dB", 100.0 * r->accuracy, r->loss, r->snr);
    return t;
}

static void print_pass(void *user, const dt_rescue_result *r)
{
    const settings *s = user;
    FILE *const to = report_stream(s->out);
    char did[VALUE_BYTES];

    if (s->quiet || s->json) return;
    if (r->pass == DT_RESCUE_EQUALIZE)
        snprintf(did, sizeof did, "%d pairs of layers, %d limits taken away", r->n_changed, r->n_clips);
    else if (r->pass == DT_RESCUE_ADAROUND)
        snprintf(did, sizeof did, "%d of %d layers; their errors %.4g -> %.4g", r->n_changed, r->n_layers,
                 r->error_before, r->error_after);
    else
        snprintf(did, sizeof did, "%d of %d layers", r->n_changed, r->n_layers);
    fprintf(to, "%-16s  %s  %s: %s\n", dt_rescue_names[r->pass], text_score(&r->after).s, r->kept ? "kept" : "left out",
            did);
}

/* Sets *bits to the passes of a list. */
static dt_status read_passes(const char *text, unsigned *bits)
{
    for (const char *at = text; *at;) {
        const size_t length = strcspn(at, ",");
        int pass = 0;
        while (pass < DT_RESCUE_PASSES &&
               (strlen(dt_rescue_names[pass]) != length || strncmp(dt_rescue_names[pass], at, length) != 0)) {
            pass++;
        }
        DT_CHECK(pass < DT_RESCUE_PASSES, DT_ERR_ARGUMENT,
                 "--passes: '%.*s' is no pass; there are equalize, correct-bias, adaround and reestimate-norms",
                 (int)length, at);
        *bits |= 1u << pass;
        at += length + (at[length] == ',');
    }
    return DT_OK;
}

static dt_status choose_passes(const settings *s, session *o, dt_rescue *how)
{
    how->only_what_helps = s->rescue;
    how->rounding_steps = s->rounding_steps;
    how->tell = print_pass;
    how->user = (void *)(uintptr_t)s;
    if (s->passes) DT_TRY(read_passes(s->passes, &how->passes));
    if (!how->passes) how->passes = (1u << DT_RESCUE_PASSES) - 1;
    settings held = *s;
    held.val_size = s->held_out;
    DT_TRY(session_open_images(&held, o->model, DT_SPLIT_VALIDATION, &o->val_set));
    how->held_out = o->val_set;
    return DT_OK;
}

/* The network of reals and the quantized one on the images that are held out, before any pass. */
static void print_rescue(const settings *s, const dt_rescue_score *real, const dt_rescue_score *first,
                         const dt_rescue_result *r, int n)
{
    FILE *const to = report_stream(s->out);
    const dt_rescue_score *last = first;

    if (s->quiet || s->json) return;
    for (int i = 0; i < n; i++) last = r[i].kept ? &r[i].after : last;
    fprintf(to, "held out: %s images; reals %.2f %%, loss %.4f; quantized %.2f %%, loss %.4f; now %.2f %%, loss %.4f\n",
            text_count(s->held_out).s, 100.0 * real->accuracy, real->loss, 100.0 * first->accuracy, first->loss,
            100.0 * last->accuracy, last->loss);
}

/* ---- all schemes ---- */

static dt_status quantize_by_passes(const settings *s, session *o, dt_quantization *what, dt_model **out)
{
    dt_rescue_result result[DT_RESCUE_PASSES];
    dt_rescue_score real, first;
    dt_rescue how = { .result = result, .real = &real, .first = &first };
    int n = 0;

    DT_CHECK(is_full(what), DT_ERR_ARGUMENT, "passes are made for the scheme full; here it is %s",
             dt_scheme_names[what->scheme]);
    DT_TRY(choose_passes(s, o, &how));
    what->rescue = &how;
    dt_status status = open_images(s, o, what);
    if (status == DT_OK) status = dt_quantize(o->model, what, out);
    what->rescue = NULL;
    DT_TRY(status);
    for (int pass = 0; pass < DT_RESCUE_PASSES; pass++) n += (how.passes & 1u << pass) != 0;
    print_rescue(s, &real, &first, result, n);
    return DT_OK;
}

static dt_status quantize_model(const settings *s, session *o, dt_quantization *what, dt_model **out)
{
    if (s->rescue || s->passes) return quantize_by_passes(s, o, what, out);
    if (is_full(what)) DT_TRY(open_images(s, o, what));
    return dt_quantize(o->model, what, out);
}

static dt_status quantize_and_save(const settings *s, session *o, dt_quantization *what)
{
    dt_model *quantized = NULL;
    dt_status status = DT_OK;

    DT_TRY(quantize_model(s, o, what, &quantized));
    if (is_full(what))
        status = report(s, o, quantized, what);
    else
        status = report_layers(s, quantized);
    if (status == DT_OK) status = dt_model_save(quantized, s->out, NULL);
    if (status == DT_OK && !s->json) print_end(s, quantized, what);
    dt_model_destroy(quantized);
    return status;
}

dt_status quantize_run(const settings *s, int *exit_code)
{
    dt_quantization what = s->quantize;
    session o = { 0 };

    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    dt_status status = session_open_checkpoint(s, &o);
    if (status == DT_OK) status = quantize_and_save(s, &o, &what);
    if (s->calibrate) dt_calibration_images_free(&what);
    session_close(&o);
    return status;
}
