/*
 * debug_page.c - the layers of up to six quantized networks as one HTML page: nine charts, over which the networks lie,
 *                and a table that says which layer has which index. It needs no network, no script and no other file.
 */
#include "debug.h"
#include "svg_chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Errors of rounding alone are uniform over a step, so that their root mean square is 1 / sqrt(12) of it. TensorFlow's
 * guide looks closer at layers above 0.7. */
#define RMSE_ROUNDING   0.28867513459481287
#define RMSE_SUSPICIOUS 0.7

static const char *const chart_titles[DEBUG_NUMBERS] = { [DEBUG_ELEMENTS] = "num_elements: numbers of an image",
                                                         [DEBUG_STDDEV] = "stddev: standard deviation of the error",
                                                         [DEBUG_MEAN] = "mean_error",
                                                         [DEBUG_MAX] = "max_abs_error: largest error of an image",
                                                         [DEBUG_MSE] = "mean_squared_error",
                                                         [DEBUG_RANGE] = "range: what the codes reach",
                                                         [DEBUG_SCALE] = "scale: size of a step",
                                                         [DEBUG_ZERO] = "zero_point: the integer of real 0",
                                                         [DEBUG_RMSE] = "rmse/scale: error in steps" };

/* What a chart needs of one network beside its numbers. */
typedef struct {
    char **note; /* [n] "CONV_2D stem.relu", owned */
    double *y;   /* [n] of the chart at hand, owned */
} line;

typedef struct {
    const debug_table *table; /* [n] */
    line *lines;              /* [n] */
    int n;
    const char *title;
} page;

static void lines_free(line *l, const debug_table *t, int n)
{
    for (int k = 0; k < n; k++) {
        for (int i = 0; l[k].note && i < t[k].n; i++) free(l[k].note[i]);
        free(l[k].note);
        free(l[k].y);
    }
}

static dt_status make_line(const debug_table *t, line *out)
{
    out->note = calloc((size_t)t->n, sizeof *out->note);
    out->y = malloc((size_t)t->n * sizeof *out->y);
    DT_CHECK(out->note && out->y, DT_ERR_MEMORY, "no memory for the page of %d layers", t->n);
    for (int i = 0; i < t->n; i++) {
        const size_t bytes = strlen(t->layer[i].op) + strlen(t->layer[i].name) + 2;
        out->note[i] = malloc(bytes);
        DT_CHECK(out->note[i], DT_ERR_MEMORY, "no memory for the page of %d layers", t->n);
        snprintf(out->note[i], bytes, "%s %s", t->layer[i].op, t->layer[i].name);
    }
    return DT_OK;
}

static void write_chart(FILE *to, const page *p, debug_number number)
{
    chart c = { .title = chart_titles[number],
                .x_title = "layer",
                .n_series = p->n,
                .has_log_scale = number == DEBUG_ELEMENTS || number == DEBUG_MSE };

    for (int k = 0; k < p->n; k++) {
        for (int i = 0; i < p->table[k].n; i++) p->lines[k].y[i] = p->table[k].layer[i].number[number];
        c.series[k] =
            (chart_series){ .y = p->lines[k].y, .note = (const char *const *)p->lines[k].note, .n = p->table[k].n };
    }
    if (number == DEBUG_RMSE) {
        c.mark[c.n_marks++] = (chart_mark){ .at = RMSE_ROUNDING, .text = "rounding alone" };
        c.mark[c.n_marks++] = (chart_mark){ .at = RMSE_SUSPICIOUS, .text = "look closer" };
    }
    chart_write(to, &c);
}

static int longest(const debug_table *t, int n)
{
    int most = 0;

    for (int k = 0; k < n; k++) most = t[k].n > most ? t[k].n : most;
    return most;
}

/* Rows are layers, and each network has a column. */
static void write_index(FILE *to, const debug_table *t, int n)
{
    fputs("<h2>Layers by index</h2>\n<div class=\"wide\"><table><thead><tr><th scope=\"col\">layer</th>", to);
    for (int k = 0; k < n; k++) {
        fputs("<th scope=\"col\">", to);
        html_text(to, t[k].label);
        fputs("</th>", to);
    }
    fputs("</tr></thead><tbody>\n", to);
    for (int i = 0; i < longest(t, n); i++) {
        fprintf(to, "<tr><th scope=\"row\">%d</th>", i);
        for (int k = 0; k < n; k++) {
            fputs("<td>", to);
            if (i < t[k].n) {
                html_text(to, t[k].layer[i].op);
                fputs(" <small>", to);
                html_text(to, t[k].layer[i].name);
                fputs("</small>", to);
            }
            fputs("</td>", to);
        }
        fputs("</tr>\n", to);
    }
    fputs("</tbody></table></div>\n", to);
}

void debug_page_head(FILE *to, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          to);
    html_text(to, title);
    fputs("</title>\n<style>\n", to);
    chart_write_style(to);
    fputs("body{margin:0 auto;max-width:100rem;padding:1rem 1.25rem 3rem;background:var(--page);color:var(--ink);"
          "font:16px/1.45 system-ui,sans-serif}\nh1{font-size:1.4rem;margin:.5rem "
          "0}\nh2{font-size:1.15rem;margin-top:2rem}\n"
          "p{max-width:48rem;color:var(--faint)}\n.wide{overflow-x:auto}\ntable{border-collapse:collapse}\n"
          "th,td{text-align:left;padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--grid);white-space:nowrap}\n"
          "small{display:inline-block;max-width:16rem;overflow:hidden;text-overflow:ellipsis;vertical-align:bottom;"
          "color:var(--faint)}\n</style></head><body>\n<h1>",
          to);
    html_text(to, title);
    fputs("</h1>\n", to);
}

static void write_page(FILE *to, const void *user)
{
    const page *p = user;
    const char *names[CHART_SERIES_MOST];

    for (int k = 0; k < p->n; k++) names[k] = p->table[k].label;
    debug_page_head(to, p->title);
    fputs("<p>Errors are those of a layer's codes as reals, less the numbers of the network of reals: each is taken of "
          "one "
          "image, and shown as the mean over the images. Points tell layer and value under the pointer.</p>\n",
          to);
    chart_write_legend(to, names, p->n);
    fputs("<div class=\"charts\">\n", to);
    for (int i = 0; i < DEBUG_NUMBERS; i++) write_chart(to, p, (debug_number)i);
    fputs("</div>\n", to);
    write_index(to, p->table, p->n);
    fputs("</body></html>\n", to);
}

dt_status debug_page_write(const debug_table *t, int n, const char *title, const char *path)
{
    line lines[CHART_SERIES_MOST] = { 0 };
    const page p = { t, lines, n, title };
    dt_status status = DT_OK;

    for (int k = 0; status == DT_OK && k < n; k++) status = make_line(&t[k], &lines[k]);
    if (status == DT_OK) status = debug_file_write(path, write_page, &p);
    lines_free(lines, t, n);
    return status;
}
