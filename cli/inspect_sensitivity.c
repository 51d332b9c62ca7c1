/*
 * inspect_sensitivity.c - `detent inspect --sensitivity`: the scores' error if one layer alone is quantized, and if all
 *                         layers but it are.
 */
#include "debug.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* "41.3", or "exact" where no score differs. */
static short_text snr_text(double snr)
{
    short_text out;

    snprintf(out.s, sizeof out.s, isinf(snr) ? "exact" : "%.1f", snr);
    return out;
}

/* Change of the accuracy in points of a percent; "" where it is not known. */
static short_text change_text(const dt_sensitivity *r, const dt_score_error *e)
{
    short_text out = { "" };

    if (e->right >= 0)
        snprintf(out.s, sizeof out.s, "%+.2f", 100.0 * (double)(e->right - r->real.right) / (double)r->images);
    return out;
}

static short_text bits_text(const dt_sensitivity_row *row)
{
    short_text out;
    char w[16] = "", a[16] = "";

    if (row->wbits) snprintf(w, sizeof w, "w%d", row->wbits);
    if (row->abits) snprintf(a, sizeof a, "a%d", row->abits);
    snprintf(out.s, sizeof out.s, "%s%s", w, a);
    return out;
}

static int widest(const dt_sensitivity *r)
{
    int width = 5;

    for (int i = 0; i < r->n; i++) width = (int)strlen(r->row[i].name) > width ? (int)strlen(r->row[i].name) : width;
    return width;
}

static void print_error(const dt_sensitivity *r, const dt_score_error *e)
{
    printf(" %8s %8s %9s", snr_text(e->snr).s, change_text(r, e).s, text_count(e->changed).s);
}

static void print_rows(const settings *s, const dt_model *m, const dt_sensitivity *r)
{
    const int width = widest(r);

    printf("%s: %s, on %s images", s->checkpoint, text_network(m).s, text_count(r->images).s);
    if (r->real.right >= 0) printf("; of reals %.2f %% are right", 100.0 * (double)r->real.right / (double)r->images);
    printf(
        "\nSNR in dB of the scores, change of the accuracy in points, predictions that are others: against the network "
        "of reals\n\n");
    printf("%-*s %-17s %-6s %27s %28s\n", width, "", "", "", "this layer alone", "all but this layer");
    printf("%-*s %-17s %-6s %8s %8s %9s  %8s %8s %9s\n", width, "layer", "operator", "bits", "SNR dB", "accuracy",
           "changed", "SNR dB", "accuracy", "changed");
    for (int i = 0; i < r->n; i++) {
        const dt_sensitivity_row *row = &r->row[i];
        printf("%-*s %-17s %-6s", width, row->name, row->op, bits_text(row).s);
        print_error(r, &row->alone);
        printf(" ");
        print_error(r, &row->without);
        printf("\n");
    }
    printf("%-*s %-17s %-6s", width, "all", "", "");
    print_error(r, &r->all);
    printf("\n");
}

static void add_error(cJSON *to, const char *name, const dt_sensitivity *r, const dt_score_error *e)
{
    cJSON *one = cJSON_AddObjectToObject(to, name);

    cJSON_AddNumberToObject(one, "snr_db", e->snr); /* null where it is infinite */
    cJSON_AddNumberToObject(one, "predictions_that_differ", (double)e->changed);
    if (e->right >= 0) cJSON_AddNumberToObject(one, "accuracy", (double)e->right / (double)r->images);
}

static dt_status print_rows_json(const settings *s, const dt_sensitivity *r)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "checkpoint", s->checkpoint);
    cJSON_AddNumberToObject(out, "images", (double)r->images);
    add_error(out, "real", r, &r->real);
    add_error(out, "all", r, &r->all);
    cJSON *list = cJSON_AddArrayToObject(out, "layers");
    for (int i = 0; i < r->n; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", r->row[i].name);
        cJSON_AddStringToObject(one, "op_name", r->row[i].op);
        cJSON_AddNumberToObject(one, "wbits", r->row[i].wbits);
        cJSON_AddNumberToObject(one, "abits", r->row[i].abits);
        add_error(one, "alone", r, &r->row[i].alone);
        add_error(one, "without", r, &r->row[i].without);
        cJSON_AddItemToArray(list, one);
    }
    return print_json(out);
}

/* Accuracies in percent, "" where classes are unknown. */
static void write_error(FILE *to, const dt_sensitivity *r, const dt_score_error *e)
{
    fprintf(to, ",%.9g,", e->snr);
    if (e->right >= 0) fprintf(to, "%.9g", 100.0 * (double)e->right / (double)r->images);
    fprintf(to, ",%lld", (long long)e->changed);
}

static void write_csv(FILE *to, const void *user)
{
    const dt_sensitivity *r = user;

    fprintf(to, "layer,op_name,wbits,abits,alone_snr_db,alone_accuracy,alone_changed,without_snr_db,without_accuracy,"
                "without_changed\n");
    for (int i = 0; i < r->n; i++) {
        fprintf(to, "%s,%s,%d,%d", r->row[i].name, r->row[i].op, r->row[i].wbits, r->row[i].abits);
        write_error(to, r, &r->row[i].alone);
        write_error(to, r, &r->row[i].without);
        fprintf(to, "\n");
    }
}

static dt_status report(const settings *s, const dt_model *m, const dt_sensitivity *r)
{
    if (s->csv) DT_TRY(debug_file_write(s->csv, write_csv, r)); /* whoever reads the table may close the pipe */
    if (s->json) return print_rows_json(s, r);
    print_rows(s, m, r);
    if (s->csv) printf("\n%s: %d layers\n", s->csv, r->n);
    return DT_OK;
}

static dt_status run(const settings *s, session *o, chosen_images *images)
{
    dt_sensitivity *r = NULL;
    progress bar;

    DT_TRY(session_open_checkpoint(s, o));
    DT_TRY(images_open(s, o->model, s->images, images));
    interrupt_install();
    progress_begin(&bar, 0);
    progress_task task = { .bar = &bar, .what = "sensitivity", .begin = clock_seconds() };
    const dt_progress tick = { .tick = progress_tick, .user = &task };
    dt_prediction how = { .progress = &tick };
    images_give(images, o->model, 0, images->n, &how);
    dt_status status = dt_quantized_sensitivity(o->model, &how, images->labels, &r);
    progress_wipe(&bar);
    if (status == DT_OK) status = report(s, o->model, r);
    dt_sensitivity_destroy(r);
    return status;
}

dt_status inspect_sensitivity(const settings *s)
{
    session o = { 0 };
    chosen_images images = { 0 };
    int is_program;

    DT_TRY(session_holds_program(s, &is_program));
    DT_CHECK(!is_program, DT_ERR_UNSUPPORTED,
             "%s has integers alone, whose quantizers cannot be taken out; give the checkpoint of 'detent quantize'",
             s->checkpoint);
    const dt_status status = run(s, &o, &images);
    images_close(&images);
    session_close(&o);
    return status;
}
