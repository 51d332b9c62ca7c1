/*
 * inspect_sensitivity.c - `detent inspect --sensitivity`: the scores' error if one layer alone is quantized, if all
 * layers but it are, and what an estimate of second order says.
 */
#include "debug.h"
#include "svg_chart.h"

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

static short_text rise_text(double rise)
{
    short_text out = { "" };

    if (!isnan(rise)) snprintf(out.s, sizeof out.s, "%.3g", rise);
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
        "of reals.\nRise: what rounding the layer's weights adds to the loss, by an estimate of second order\n\n");
    printf("%-*s %-17s %-6s %9s %27s %28s\n", width, "", "", "", "", "this layer alone", "all but this layer");
    printf("%-*s %-17s %-6s %9s %8s %8s %9s  %8s %8s %9s\n", width, "layer", "operator", "bits", "rise", "SNR dB",
           "accuracy", "changed", "SNR dB", "accuracy", "changed");
    for (int i = 0; i < r->n; i++) {
        const dt_sensitivity_row *row = &r->row[i];
        printf("%-*s %-17s %-6s %9s", width, row->name, row->op, bits_text(row).s, rise_text(row->rise).s);
        print_error(r, &row->alone);
        printf(" ");
        print_error(r, &row->without);
        printf("\n");
    }
    printf("%-*s %-17s %-6s %9s", width, "all", "", "", "");
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
        if (!isnan(r->row[i].rise)) cJSON_AddNumberToObject(one, "rise", r->row[i].rise);
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
                "without_changed,rise\n");
    for (int i = 0; i < r->n; i++) {
        fprintf(to, "%s,%s,%d,%d", r->row[i].name, r->row[i].op, r->row[i].wbits, r->row[i].abits);
        write_error(to, r, &r->row[i].alone);
        write_error(to, r, &r->row[i].without);
        fprintf(to, ",%s\n", isnan(r->row[i].rise) ? "" : text_double(r->row[i].rise).s);
    }
}

/* ---- the page of charts ---- */

enum { CHARTS = 3 };

typedef struct {
    const dt_sensitivity *r;
    const char *title;
    double *y[CHARTS]; /* [n] each, owned: SNR alone, SNR without, rise */
    const char **note; /* [n] names of the layers, owned */
} sensitivity_page;

static void write_charts(FILE *to, const void *user)
{
    static const char *const titles[CHARTS] = { "SNR of the scores in dB if this layer alone is quantized",
                                                "SNR in dB if all layers but this one are",
                                                "rise of the loss by rounding its weights, estimated" };
    const sensitivity_page *p = user;

    debug_page_head(to, p->title);
    fputs("<p>A layer that loses much alone, or gains much when it is left real, needs more bits. Points tell their "
          "layer under the pointer.</p>\n<div class=\"charts\">\n",
          to);
    for (int i = 0; i < CHARTS; i++) {
        const chart c = { .title = titles[i],
                          .x_title = "layer",
                          .series = { { p->y[i], p->note, p->r->n } },
                          .n_series = 1,
                          .has_log_scale = i == CHARTS - 1 };
        chart_write(to, &c);
    }
    fputs("</div>\n</body></html>\n", to);
}

static dt_status write_page(const settings *s, const dt_sensitivity *r)
{
    const size_t n = (size_t)r->n + 1;
    sensitivity_page p = { .r = r, .title = s->checkpoint, .note = malloc(n * sizeof *p.note) };
    int has_memory = p.note != NULL;
    dt_status status = DT_OK;

    for (int i = 0; i < CHARTS; i++) has_memory &= (p.y[i] = malloc(n * sizeof *p.y[i])) != NULL;
    for (int i = 0; has_memory && i < r->n; i++) {
        p.y[0][i] = r->row[i].alone.snr;
        p.y[1][i] = r->row[i].without.snr;
        p.y[2][i] = r->row[i].rise;
        p.note[i] = r->row[i].name;
    }
    if (has_memory)
        status = debug_file_write(s->html, write_charts, &p);
    else
        status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the page of %d layers", r->n);
    for (int i = 0; i < CHARTS; i++) free(p.y[i]);
    free(p.note);
    return status;
}

static dt_status report(const settings *s, const dt_model *m, const dt_sensitivity *r)
{
    if (s->csv) DT_TRY(debug_file_write(s->csv, write_csv, r)); /* whoever reads the table may close the pipe */
    if (s->html) DT_TRY(write_page(s, r));
    if (s->json) return print_rows_json(s, r);
    print_rows(s, m, r);
    if (s->csv) printf("\n%s: %d layers\n", s->csv, r->n);
    if (s->html) printf("\n%s: charts of %d layers\n", s->html, r->n);
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
