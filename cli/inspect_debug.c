/*
 * inspect_debug.c - `detent inspect --debug-quant`: the error of each layer of a quantized network; and `--compare`,
 * the same of several networks, layer by layer.
 *
 * What is quantized is a program: a file's, or that of a checkpoint, under the profile fp32-rne if no other is given,
 * which TensorFlow's debugger runs. The network of reals is --with's; a checkpoint has its own.
 */
#include "debug.h"
#include "svg_chart.h"

#include <stdlib.h>
#include <string.h>

/* Networks and images of one debugging. */
typedef struct {
    session o;
    dt_model *given; /* --with's, as its file has it */
    dt_model *real;
    chosen_images images;
} debugging;

static void debugging_close(debugging *d)
{
    images_close(&d->images);
    dt_model_destroy(d->real);
    dt_model_destroy(d->given);
    session_close(&d->o);
}

/* Other engines' programs get the profile of TensorFlow's debugger; one of thresholds has none. */
static dt_status open_program(const settings *s, session *o)
{
    settings named = *s;
    int is_program;

    DT_TRY(session_holds_program(s, &is_program));
    if (!is_program) {
        DT_TRY(session_open_checkpoint(s, o));
        if (s->profile < 0 && dt_quantized_count(o->model) > 0) named.profile = DT_PROFILE_FP32_RNE;
        return session_open_program(&named, o);
    }
    DT_TRY(session_open_program(s, o));
    const int own = dt_program_profile(o->program);
    if (s->profile < 0 && own >= 0 && own != DT_PROFILE_EXACT)
        DT_TRY(dt_program_use_profile(o->program, DT_PROFILE_FP32_RNE));
    return DT_OK;
}

/* Batch norms of --with's network are folded, as in the network that was quantized. */
static dt_status open_real(const settings *s, debugging *d)
{
    const dt_quantization folded = { .scheme = DT_SCHEME_FLOAT };

    if (!s->with) {
        DT_CHECK(d->o.model, DT_ERR_ARGUMENT,
                 "%s has integers alone; --with FILE names the network of reals that they were made of", s->checkpoint);
        return dt_quantized_real(d->o.model, &d->real);
    }
    DT_TRY(dt_checkpoint_open(d->o.ctx, s->with, &d->given));
    if (dt_quantized_count(d->given) > 0) return dt_quantized_real(d->given, &d->real);
    return dt_quantize(d->given, &folded, &d->real);
}

static dt_status run(const settings *s, debugging *d, dt_debug_report **out)
{
    progress bar;

    DT_TRY(open_program(s, &d->o));
    DT_TRY(open_real(s, d));
    DT_TRY(images_open(s, d->real, s->images, &d->images));
    interrupt_install();
    progress_begin(&bar, 0);
    progress_task task = { .bar = &bar, .what = "debugging", .begin = clock_seconds() };
    const dt_progress tick = { .tick = progress_tick, .user = &task };
    dt_prediction how = { .progress = &tick };
    images_give(&d->images, d->real, 0, d->images.n, &how);
    const dt_status status = dt_program_debug(d->o.program, d->real, (dt_debug_mode)s->debug_mode, &how, out);
    progress_wipe(&bar);
    return status;
}

/* ---- what is printed ---- */

static int widest(const debug_table *t)
{
    int width = 5;

    for (int i = 0; i < t->n; i++)
        width = (int)strlen(t->layer[i].name) > width ? (int)strlen(t->layer[i].name) : width;
    return width;
}

static void print_table(const debug_table *t)
{
    const int width = widest(t);

    printf("%5s %-17s %-*s %9s %11s %11s %13s %11s %11s %11s %5s %10s\n", "layer", "operator", width, "value",
           "elements", "stddev", "mean error", "|error| up to", "mean sq.", "range", "scale", "zero", "rmse/scale");
    for (int i = 0; i < t->n; i++) {
        const debug_layer *l = &t->layer[i];
        const double *x = l->number;
        printf("%5d %-17s %-*s %9s %11.4g %11.4g %13.4g %11.4g %11.6g %11.6g %5.0f %10.3f\n", i, l->op, width, l->name,
               text_count((int64_t)x[DEBUG_ELEMENTS]).s, x[DEBUG_STDDEV], x[DEBUG_MEAN], x[DEBUG_MAX], x[DEBUG_MSE],
               x[DEBUG_RANGE], x[DEBUG_SCALE], x[DEBUG_ZERO], x[DEBUG_RMSE]);
    }
}

static void print_head(const settings *s, const debugging *d)
{
    dt_program_info is;

    dt_program_describe(d->o.program, &is);
    printf("integers   %s: %s%s%s\n", s->checkpoint, is.name, session_profile(&d->o) ? ", " : "",
           session_profile(&d->o) ? session_profile(&d->o) : "");
    printf("reals      %s: %s\n", s->with ? s->with : s->checkpoint, text_network(d->real).s);
    printf("images     %s; each layer of reals reads %s\n\n", text_count(d->images.n).s,
           s->debug_mode == DT_DEBUG_LAYER ? "the codes that the layer of integers reads"
                                           : "what the network of reals has computed");
}

static cJSON *layers_json(const debug_table *t)
{
    cJSON *out = cJSON_CreateArray();

    for (int i = 0; i < t->n; i++) {
        const debug_layer *l = &t->layer[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "op_name", l->op);
        cJSON_AddNumberToObject(one, "tensor_idx", l->index);
        cJSON_AddStringToObject(one, "tensor_name", l->name);
        for (int k = 0; k < DEBUG_NUMBERS; k++) cJSON_AddNumberToObject(one, debug_number_names[k], l->number[k]);
        cJSON_AddItemToArray(out, one);
    }
    return out;
}

static dt_status print_json_of(const settings *s, const debugging *d, const debug_table *t)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "checkpoint", s->checkpoint);
    cJSON_AddStringToObject(out, "with", s->with ? s->with : s->checkpoint);
    if (session_profile(&d->o)) cJSON_AddStringToObject(out, "profile", session_profile(&d->o));
    cJSON_AddStringToObject(out, "mode", dt_debug_mode_names[s->debug_mode]);
    cJSON_AddNumberToObject(out, "images", (double)d->images.n);
    cJSON_AddItemToObject(out, "layers", layers_json(t));
    return print_json(out);
}

/* Files come first: whoever reads the table may close the pipe. */
static dt_status write_files(const settings *s, const debug_table *t, int n)
{
    if (s->csv) DT_TRY(debug_table_write(t, s->csv));
    if (s->html) DT_TRY(debug_page_write(t, n, "Quantization error by layer", s->html));
    return DT_OK;
}

static void print_files(const settings *s, const debug_table *t, int n)
{
    if (s->csv) printf("\n%s: %d layers\n", s->csv, t->n);
    if (s->html) printf("\n%s: nine charts, of %d network%s\n", s->html, n, n == 1 ? "" : "s");
}

static dt_status report(const settings *s, const debugging *d, debug_table *t)
{
    t->label = s->checkpoint;
    DT_TRY(write_files(s, t, 1));
    if (s->json) return print_json_of(s, d, t);
    print_head(s, d);
    print_table(t);
    print_files(s, t, 1);
    return DT_OK;
}

dt_status inspect_debug(const settings *s)
{
    debugging d = { 0 };
    debug_table t = { 0 };
    dt_debug_report *r = NULL;

    DT_TRY(need_option("checkpoint", s->checkpoint));
    dt_status status = run(s, &d, &r);
    if (status == DT_OK) status = debug_table_of(r, &t);
    if (status == DT_OK) status = report(s, &d, &t);
    debug_table_free(&t);
    dt_debug_report_destroy(r);
    debugging_close(&d);
    return status;
}

/* ---- several networks ---- */

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* A table in CSV, or a quantized network, which runs. */
static dt_status open_table(const settings *s, const char *path, debug_table *out)
{
    settings named = *s;
    debugging d = { 0 };
    dt_debug_report *r = NULL;

    out->label = named.checkpoint = path;
    if (ends_with(path, ".csv")) return debug_table_read(path, out);
    dt_status status = run(&named, &d, &r);
    if (status == DT_OK) status = debug_table_of(r, out);
    dt_debug_report_destroy(r);
    debugging_close(&d);
    return status;
}

static void print_tables(const debug_table *t, int n)
{
    int most = 0;

    for (int k = 0; k < n; k++) most = t[k].n > most ? t[k].n : most;
    for (int k = 0; k < n; k++) printf("%c  %s: %d layers\n", 'A' + k, t[k].label, t[k].n);
    printf("\nrmse/scale\n%5s", "layer");
    for (int k = 0; k < n; k++) printf(" %-17s %10c", "operator", 'A' + k);
    printf("\n");
    for (int i = 0; i < most; i++) {
        printf("%5d", i);
        for (int k = 0; k < n; k++) {
            if (i < t[k].n)
                printf(" %-17s %10.3f", t[k].layer[i].op, t[k].layer[i].number[DEBUG_RMSE]);
            else
                printf(" %-17s %10s", "", "");
        }
        printf("\n");
    }
}

static dt_status print_tables_json(const debug_table *t, int n)
{
    cJSON *out = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(out, "networks");

    for (int k = 0; k < n; k++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", t[k].label);
        cJSON_AddItemToObject(one, "layers", layers_json(&t[k]));
        cJSON_AddItemToArray(list, one);
    }
    return print_json(out);
}

static const char *without_folder(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* 1 if the labels begin with the same text of so many bytes. */
static int begin_equally(const debug_table *t, int n, size_t bytes)
{
    for (int k = 1; k < n; k++) {
        if (strncmp(t[k].label, t[0].label, bytes) != 0) return 0;
    }
    return 1;
}

static void leave_out_common_folders(debug_table *t, int n)
{
    const char *const first = t[0].label;
    size_t common = 0;

    for (const char *slash = strchr(first, '/'); slash; slash = strchr(slash + 1, '/')) {
        const size_t bytes = (size_t)(slash - first) + 1;
        if (begin_equally(t, n, bytes)) common = bytes;
    }
    for (int k = 0; k < n; k++) t[k].label += common;
}

/* Names without their folders, if these still differ, else without those that all have. */
static void shorten_labels(debug_table *t, int n)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) {
            if (strcmp(without_folder(t[i].label), without_folder(t[k].label)) != 0) continue;
            leave_out_common_folders(t, n);
            return;
        }
    }
    for (int i = 0; i < n; i++) t[i].label = without_folder(t[i].label);
}

static dt_status report_all(const settings *s, debug_table *t, int n)
{
    shorten_labels(t, n);
    DT_TRY(write_files(s, t, n));
    if (s->json) return print_tables_json(t, n);
    print_tables(t, n);
    print_files(s, t, n);
    return DT_OK;
}

static dt_status compare(const settings *s, char *paths)
{
    debug_table t[CHART_SERIES_MOST] = { 0 };
    char *rest = NULL;
    dt_status status = DT_OK;
    int n = 0;

    for (char *path = strtok_r(paths, ",", &rest); status == DT_OK && path; path = strtok_r(NULL, ",", &rest)) {
        if (n == CHART_SERIES_MOST)
            status =
                dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "--compare %s: more than %d networks", s->compare, n);
        else
            status = open_table(s, path, &t[n++]);
    }
    if (status == DT_OK) status = report_all(s, t, n);
    for (int k = 0; k < n; k++) debug_table_free(&t[k]);
    return status;
}

dt_status inspect_compare(const settings *s)
{
    char *paths = strdup(s->compare);

    DT_CHECK(paths, DT_ERR_MEMORY, "no memory for --compare %s", s->compare);
    const dt_status status = compare(s, paths);
    free(paths);
    return status;
}
