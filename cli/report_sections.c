/*
 * report_sections.c - the parts of a run on the page of `detent report`: how it was trained, its clips, the integers of
 *                     its layers, and what an array makes of them. See report.h.
 */
#include "report.h"
#include "svg_chart.h"

#include <math.h>
#include <string.h>

enum { NOTE_BYTES = 256 };

/* ---- training ---- */

static const char *split_of(const shown_run *r)
{
    return r->metrics.has_val ? "validation" : "test";
}

static void write_pair(FILE *to, const shown_run *r, int is_accuracy)
{
    const run_metrics *m = &r->metrics;
    char text[VALUE_BYTES];
    chart c = { .title = is_accuracy ? "Accuracy, %" : "Loss",
                .x_title = "epoch",
                .n_series = 2,
                .is_open = is_accuracy,
                .first = 1,
                .unit = is_accuracy ? " %" : NULL };

    c.series[0] = (chart_series){ .y = m->column[is_accuracy ? COLUMN_TRAIN_ACCURACY : COLUMN_TRAIN_LOSS],
                                  .n = m->n,
                                  .name = "train" };
    c.series[1] = (chart_series){ .y = m->column[is_accuracy ? COLUMN_EVAL_ACCURACY : COLUMN_EVAL_LOSS],
                                  .n = m->n,
                                  .name = split_of(r) };
    if (is_accuracy && m->best_epoch > 0) {
        snprintf(text, sizeof text, "best %.2f %%, epoch %d", m->best_accuracy, m->best_epoch);
        c.mark[c.n_marks++] = (chart_mark){ m->best_accuracy, text, 1 };
    }
    chart_write(to, &c);
}

static void write_rate(FILE *to, const shown_run *r)
{
    chart c = { .title = "Learning rate", .x_title = "epoch", .n_series = 1, .first = 1 };

    c.series[0] = (chart_series){
        .y = r->metrics.column[COLUMN_RATE], .n = r->metrics.n, .name = "learning rate", .look = CHART_SERIES_MOST - 1
    };
    chart_write(to, &c);
}

/* The first of n values that is there, or the last, with step -1. */
static double there(const double *value, int n, int step)
{
    int i = step > 0 ? 0 : n - 1;

    while (i + step >= 0 && i + step < n && isnan(value[i])) i += step;
    return value[i];
}

static void write_clip_row(FILE *to, const clip_course *c, int n)
{
    fputs("<tr><th scope=\"row\">", to);
    html_text(to, c->name);
    fputs("</th><td class=\"graphic\">", to);
    spark_write(to, c->value, n, c->name);
    fprintf(to, "</td><td>%.5g</td><td>%.5g</td></tr>\n", there(c->value, n, 1), there(c->value, n, -1));
}

static int is_of_weights(const clip_course *c)
{
    return strstr(c->name, ".weight_quant.") != NULL;
}

static int count_courses(const run_metrics *m, int of_weights)
{
    int n = 0;

    for (int i = 0; i < m->n_clips; i++) n += is_of_weights(&m->clip[i]) == of_weights;
    return n;
}

static void write_clip_courses(FILE *to, const run_metrics *m, int of_weights)
{
    if (count_courses(m, of_weights) == 0) return;
    report_table_begin(to, of_weights ? "Clips of weights over the epochs" : "Clips of activations over the epochs");
    fputs(
        "<thead><tr><th scope=\"col\">parameter</th><th scope=\"col\" class=\"graphic\">course, each on<br>a scale of "
        "its own</th><th scope=\"col\">first</th><th scope=\"col\">last</th></tr></thead><tbody>\n",
        to);
    for (int i = 0; i < m->n_clips; i++) {
        if (is_of_weights(&m->clip[i]) == of_weights) write_clip_row(to, &m->clip[i], m->n);
    }
    fputs("</tbody>", to);
    report_table_end(to);
}

/* Of a run whose metrics have no clips. */
static void write_clips_at_end(FILE *to, const shown_run *r)
{
    const cJSON *clip;

    report_table_begin(to, "Clips that are trained, as the network has them; metrics.jsonl has no course of them");
    fputs("<thead><tr><th scope=\"col\">parameter</th><th scope=\"col\">value</th></tr></thead><tbody>\n", to);
    cJSON_ArrayForEach(clip, r->clips)
    {
        const cJSON *low = cJSON_IsArray(clip) ? cJSON_GetArrayItem(clip, 0) : clip;
        const cJSON *high = cJSON_IsArray(clip) ? cJSON_GetArrayItem(clip, 1) : NULL;
        fputs("<tr><th scope=\"row\">", to);
        html_text(to, clip->string);
        fprintf(to, "</th><td>%s%s%s</td></tr>\n", low->valuestring, high ? " to " : "", high ? high->valuestring : "");
    }
    fputs("</tbody>", to);
    report_table_end(to);
}

static void write_clips(FILE *to, const shown_run *r)
{
    if (!r->clips && r->metrics.n_clips == 0) {
        report_absent(to, "Clips", "no quantizer of the network has a clip that is trained");
        return;
    }
    fputs(
        "<p>The largest magnitude that a quantizer keeps; with the rule lsq the step between codes. Of several filters "
        "it is their mean.</p>\n<div class=\"pair\">\n",
        to);
    write_clip_courses(to, &r->metrics, 0);
    write_clip_courses(to, &r->metrics, 1);
    if (r->metrics.n_clips == 0) write_clips_at_end(to, r);
    fputs("</div>\n", to);
}

void report_write_training(FILE *to, const shown_run *r, int at)
{
    const char *const names[] = { "train", split_of(r) };

    report_heading(to, at, "training", "Training");
    if (r->metrics.n == 0) {
        report_absent(to, "Curves", "the run has no metrics.jsonl, or no epoch has ended");
    } else {
        chart_write_legend(to, names, 2);
        fputs("<div class=\"charts\">\n", to);
        write_pair(to, r, 0);
        write_pair(to, r, 1);
        write_rate(to, r);
        fputs("</div>\n", to);
    }
    report_heading(to, at, "clips", "Clips");
    write_clips(to, r);
}

/* ---- codes ---- */

static void note_codes(const histogram *h, int bits, char note[NOTE_BYTES])
{
    const double zero = h->n > 0 ? 100.0 * (double)histogram_at(h, 0) / (double)h->n : 0.0;

    const int n = snprintf(note, NOTE_BYTES, "%d bits, %s codes, ", bits, text_count(h->n).s);

    if (h->width > 1)
        snprintf(note + n, NOTE_BYTES - (size_t)n, "%lld in each bar", (long long)h->width);
    else
        snprintf(note + n, NOTE_BYTES - (size_t)n, "%.1f\xc2\xa0%% zero", zero);
}

static void write_code_figures(FILE *to, const shown_run *r, int of_weights)
{
    char note[NOTE_BYTES];

    fputs("<div class=\"grids\">\n", to);
    for (int i = 0; i < r->codes.n; i++) {
        const layer_codes *l = &r->codes.layer[i];
        const histogram *h = of_weights ? &l->weights : &l->inputs;
        note_codes(h, of_weights ? l->wbits : l->abits, note);
        codes_write(to, l->name, note, h, of_weights ? 0 : 2);
    }
    fputs("</div>\n", to);
}

void report_write_codes(FILE *to, const shown_run *r, int at)
{
    report_heading(to, at, "codes", "Weights on their integer grid");
    if (r->no_codes[0]) {
        report_absent(to, "Codes", r->no_codes);
        return;
    }
    fputs("<p>A bar for each code that the bits allow; its height is the share of the layer's weights.</p>\n", to);
    write_code_figures(to, r, 1);
    report_heading(to, at, "activations", "Activation codes");
    if (r->no_data[0]) {
        report_absent(to, "Activation codes", r->no_data);
        return;
    }
    fprintf(to, "<p>The codes that each layer reads, of %s test images of %s.</p>\n",
            text_count(r->codes.layer[0].images).s, r->data_name);
    write_code_figures(to, r, 0);
}

/* ---- psums ---- */

static const dt_array_report *array_of(const shown_run *r, const char *layer)
{
    for (int i = 0; i < r->n_on_array; i++) {
        if (strcmp(r->on_array[i].name, layer) == 0) return &r->on_array[i];
    }
    return NULL;
}

/* The bits of the widest bound, and of the register. */
static range_axis axis_of(const shown_run *r)
{
    range_axis a = { 4, r->array.psum_bits };

    for (int i = 0; i < r->codes.n; i++) {
        if (r->codes.layer[i].psum_bits > a.bits) a.bits = r->codes.layer[i].psum_bits;
    }
    if (a.register_bits > a.bits) a.bits = a.register_bits;
    return a;
}

static void write_psum_row(FILE *to, const shown_run *r, const layer_codes *l, const range_axis *axis)
{
    const dt_array_report *a = r->array_images > 0 ? array_of(r, l->name) : NULL;
    const int64_t low = a ? a->min : l->psum_min, high = a ? a->max : l->psum_max;
    const int known = l->images > 0;

    fputs("<tr><th scope=\"row\">", to);
    html_text(to, l->name);
    fputs("</th><td class=\"graphic\">", to);
    range_write(to, axis, known ? low : 1, known ? high : 0, l->psum_bound);
    fputs("</td>", to);
    if (known) {
        report_count_cell(to, low);
        report_count_cell(to, high);
    }
    if (a) {
        report_count_cell(to, a->bits);
        report_count_cell(to, a->n_overflows);
    }
    fputs("<td>\xc2\xb1", to);
    fputs(text_count(l->psum_bound).s, to);
    fprintf(to, "</td><td>%d</td></tr>\n", l->psum_bits);
}

static void write_psum_head(FILE *to, const shown_run *r, const range_axis *axis)
{
    char caption[NOTE_BYTES];

    snprintf(caption, sizeof caption,
             "%s of each layer beside the register of %d bits (dashed) and the largest that its "
             "codes allow (grey); the axis is logarithmic, in bits of two's complement",
             r->array_images > 0 ? "Psums, psums of taps and running sums" : "Psums", r->array.psum_bits);
    report_table_begin(to, caption);
    fputs("<thead><tr><th scope=\"col\">layer</th><th scope=\"col\" class=\"graphic\"><span class=\"low\">range, "
          "bits</span>",
          to);
    range_axis_write(to, axis);
    fputs("</th>", to);
    if (!r->no_data[0]) fputs("<th scope=\"col\">least</th><th scope=\"col\">largest</th>", to);
    if (r->array_images > 0) fputs("<th scope=\"col\">bits needed</th><th scope=\"col\">overflows</th>", to);
    fputs("<th scope=\"col\">bound</th><th scope=\"col\">its bits</th></tr></thead><tbody>\n", to);
}

void report_write_psums(FILE *to, const shown_run *r, int at)
{
    const range_axis axis = axis_of(r);

    report_heading(to, at, "psums", "Partial sums");
    if (r->no_codes[0]) {
        report_absent(to, "Partial sums", r->no_codes);
        return;
    }
    if (r->no_data[0])
        report_absent(to, "The ranges that psums reach are", r->no_data);
    else
        fprintf(to, "<p>Of %s test images of %s.</p>\n", text_count(r->codes.layer[0].images).s, r->data_name);
    write_psum_head(to, r, &axis);
    for (int i = 0; i < r->codes.n; i++) write_psum_row(to, r, &r->codes.layer[i], &axis);
    fputs("</tbody>", to);
    report_table_end(to);
}

/* ---- the array ---- */

static void write_kib_cell(FILE *to, int64_t bytes)
{
    report_count_cell(to, (bytes + 512) / 1024);
}

typedef struct {
    int64_t most; /* cycles of the longest layer */
    dt_array_report all;
} array_sum;

static array_sum sum_of(const shown_run *r)
{
    array_sum s = { 1, { 0 } };

    for (int i = 0; i < r->n_on_array; i++) {
        const dt_array_report *l = &r->on_array[i];
        if (l->cycles > s.most) s.most = l->cycles;
        s.all.cycles += l->cycles;
        s.all.macs += l->macs;
        s.all.sram_reads += l->sram_reads;
        s.all.sram_writes += l->sram_writes;
    }
    return s;
}

static void write_array_row(FILE *to, const shown_run *r, const dt_array_report *l, const array_sum *s)
{
    fputs("<tr><th scope=\"row\">", to);
    html_text(to, l->name);
    fputs("</th><td class=\"graphic\">", to);
    bar_write(to, (double)l->cycles / (double)s->most, l->utilisation);
    fputs("</td>", to);
    report_count_cell(to, l->cycles);
    fprintf(to, "<td>%.1f %%</td><td>%.1f %%</td>", 100.0 * (double)l->cycles / (double)s->all.cycles,
            100.0 * l->utilisation);
    report_count_cell(to, l->macs);
    write_kib_cell(to, l->sram_reads);
    write_kib_cell(to, l->sram_writes);
    if (r->array_images > 0) fprintf(to, "<td>%.1f %%</td>", 100.0 * l->zero_share);
    fputs("</tr>\n", to);
}

static void write_array_table(FILE *to, const shown_run *r)
{
    const array_sum s = sum_of(r);
    char caption[NOTE_BYTES];

    snprintf(caption, sizeof caption,
             "Cycles of one image on an array of %dx%d, %s stationary, by layer; the part of a "
             "bar in full colour is that in which the processing elements multiply",
             r->array.rows, r->array.cols, r->array.dataflow == DT_DATAFLOW_WS ? "weight" : "output");
    report_table_begin(to, caption);
    fprintf(to,
            "<thead><tr><th scope=\"col\">layer</th><th scope=\"col\" class=\"graphic\">cycles, busy and idle</th><th "
            "scope=\"col\">cycles</th><th scope=\"col\">of all</th><th scope=\"col\">busy</th><th "
            "scope=\"col\">MACs</th><th "
            "scope=\"col\">KiB read</th><th scope=\"col\">KiB written</th>%s</tr></thead><tbody>\n",
            r->array_images > 0 ? "<th scope=\"col\">codes that are 0</th>" : "");
    for (int i = 0; i < r->n_on_array; i++) write_array_row(to, r, &r->on_array[i], &s);
    fputs("</tbody><tfoot><tr><th scope=\"row\">all</th><td></td>", to);
    report_count_cell(to, s.all.cycles);
    fputs("<td>100.0 %</td><td></td>", to);
    report_count_cell(to, s.all.macs);
    write_kib_cell(to, s.all.sram_reads);
    write_kib_cell(to, s.all.sram_writes);
    fputs(r->array_images > 0 ? "<td></td></tr></tfoot>" : "</tr></tfoot>", to);
    report_table_end(to);
}

void report_write_array(FILE *to, const shown_run *r, int at)
{
    report_heading(to, at, "array", "On the array");
    if (r->no_array[0])
        report_absent(to, "The array", r->no_array);
    else if (r->n_on_array == 0)
        report_absent(to, "The array", "the program has no layer that runs on one");
    else
        write_array_table(to, r);
}
