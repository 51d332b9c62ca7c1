/*
 * report_page.c - the page of `detent report`: its head, what compares runs, and the sections of each. See report.h.
 *
 * It reads without a script; with one, a menu shows the sections of a single run.
 * Tests: tests/cli/test_cli_report.sh.
 */
#include "debug.h"
#include "report.h"
#include "svg_chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- style ---- */

static const char style[] =
    ":root{--panel:#f4f6f8;--s0-text:#005a96;--own:0,100,168;--other:194,74,0}\n"
    "@media(prefers-color-scheme:dark){:root{--panel:#1d2127;--s0-text:#8ccbff;--own:107,188,255;--other:255,154,92}}\n"
    "*{box-sizing:border-box}\n"
    "html{scroll-padding-top:3.5rem}\n"
    "body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,sans-serif;"
    "font-variant-numeric:tabular-nums}\n"
    "header,main,footer{max-width:80rem;margin:0 auto;padding:0 1.25rem}\n"
    "h1{font-size:1.5rem;margin:1.25rem 0 .1rem;letter-spacing:-.01em}\n"
    "h2{font-size:1.2rem;margin:2.75rem 0 .75rem;padding-top:.75rem;border-top:2px solid var(--ink);"
    "overflow-wrap:anywhere}\n"
    "h3{font-size:1rem;margin:1.9rem 0 .5rem}\n"
    "p{max-width:48rem;margin:.25rem 0 .75rem;color:var(--faint)}\n"
    "a{color:var(--s0-text)}\na:focus-visible,.wide:focus-visible,select:focus-visible,summary:focus-visible{"
    "outline:3px solid var(--s0);outline-offset:2px}\n"
    ".skip{position:absolute;left:-99rem}\n.skip:focus{left:1rem;top:.5rem;background:var(--page);padding:.5rem;"
    "z-index:2}\n"
    "nav{position:sticky;top:0;z-index:1;background:var(--page);border-bottom:1px solid var(--grid);"
    "max-width:80rem;margin:0 auto;padding:.5rem 1.25rem;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;"
    "align-items:baseline}\n"
    "nav ul{display:flex;gap:.25rem 1.25rem;list-style:none;margin:0;padding:0;overflow-x:auto;white-space:nowrap}\n"
    "nav p{margin:0}\nselect{font:inherit;color:inherit;background:var(--panel);border:1px solid var(--faint);"
    "border-radius:3px;max-width:60vw}\n"
    "@media(max-width:40rem){nav{position:static}html{scroll-padding-top:0}}\n"
    ".wide{overflow-x:auto;margin:.5rem 0 1rem}\n"
    "table{border-collapse:collapse}\ncaption{text-align:left;color:var(--faint);padding:0 0 .4rem;max-width:48rem}\n"
    "th,td{padding:.16rem 0 .16rem 1.1rem;text-align:right;white-space:nowrap;vertical-align:middle}\n"
    "th:first-child,td:first-child{padding-left:0;text-align:left}\n"
    "thead th{color:var(--faint);font-weight:500;vertical-align:bottom;border-bottom:1px solid var(--faint)}\n"
    "tbody tr,tfoot tr{border-bottom:1px solid var(--grid)}\ntbody th,tfoot th{font-weight:500}\n"
    "tbody.group th[scope=rowgroup]{color:var(--faint);padding-top:.9rem;font-weight:600}\n"
    "tfoot td,tfoot th{font-weight:600;border-top:1px solid var(--faint)}\n"
    "th.graphic,td.graphic{text-align:left;padding-right:.2rem}\ntd.text{text-align:left}\n"
    "th[scope=row],thead th:first-child,th span.held,caption{position:sticky;left:0;background:var(--page)}\n"
    "th[scope=row],thead th:first-child{padding-right:.5rem;z-index:1}\n"
    "@media(max-width:40rem){caption{max-width:calc(100vw - 2.5rem)}"
    "th[scope=row],thead th:first-child{min-width:7.5rem;max-width:8.5rem;white-space:normal;overflow-wrap:anywhere}td "
    ".low{white-space:normal}}\n"
    ".charts{grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr))}\n"
    ".charts.four{grid-template-columns:repeat(auto-fill,minmax(min(100%,18rem),1fr))}\n"
    "@media(min-width:40rem){.charts svg text{font-size:17px}.charts.four svg text{font-size:20px}}\n"
    ".pair{display:flex;flex-wrap:wrap;gap:0 3rem}.pair .wide{margin-bottom:0}\n"
    "td.gap,th.gap{padding-right:.9rem}\n"
    ".key{display:inline-block;width:.7em;height:.7em;border-radius:2px;margin-right:.45em}\n"
    ".low{display:block;font-weight:400;color:var(--faint);font-size:.87em}\n"
    "svg.spark{width:7.5rem;height:1.6rem}\nsvg.range{width:20rem;height:1.25rem}\n"
    "thead svg.range{height:1.9rem}\nthead svg.range text{font-size:13px}\n"
    ".spark polyline{stroke:var(--s0);stroke-width:1.6}\n.spark circle{fill:var(--s0)}\n"
    ".f0{fill:var(--s0)}.f1{fill:var(--s1)}.f2{fill:var(--s2)}.f3{fill:var(--s3)}.f4{fill:var(--s4)}.f5{fill:var(--s5)}"
    "\n.bound,.idle{fill:var(--grid)}\n.base{stroke:var(--faint)}\n.cut{stroke:var(--page);stroke-width:3}\n"
    "svg .name{fill:var(--ink)}\n"
    ".grids{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem 1.5rem}\n"
    ".codes figcaption{font-weight:500;margin:0}\n.codes small{color:var(--faint);display:block}\n"
    ".codes svg text{font-size:12px}\n"
    "@media(max-width:40rem){.grids{grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.75rem 1rem}"
    ".codes svg text{font-size:17px}svg.range{width:12rem}thead svg.range text{font-size:19px}}\n"
    "th.class{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left;padding:.6rem .3rem .2rem}\n"
    "td.c{padding:.16rem .45rem;min-width:2.7rem;background:rgba(var(--other),calc(var(--a)/100))}\n"
    "td.own{background:rgba(var(--own),calc(var(--a)/100));font-weight:600}\n"
    "td.none{color:var(--faint)}\n"
    ".gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:1rem;list-style:none;"
    "padding:0;margin:.5rem 0}\n"
    ".gallery figcaption{font-weight:400;font-size:.9em;line-height:1.35}\n"
    ".gallery img{width:7rem;height:7rem;object-fit:contain;image-rendering:pixelated;background:var(--panel)}\n"
    ".sheet{max-width:100%;image-rendering:pixelated}\n"
    "details{margin:.5rem 0}\nsummary{cursor:pointer;color:var(--s0-text)}\n"
    "footer{color:var(--faint);margin-top:3rem;padding-bottom:2rem}\n"
    "@media print{nav{display:none}h2{break-before:page}}\n";

/* ---- helpers of all parts ---- */

void report_heading(FILE *to, int at, const char *word, const char *title)
{
    fprintf(to, "<h3 id=\"run-%d-%s\">", at, word);
    html_text(to, title);
    fputs("</h3>\n", to);
}

void report_absent(FILE *to, const char *what, const char *why)
{
    fputs("<p class=\"absent\">", to);
    html_text(to, what);
    fputs(" left out: ", to);
    html_text(to, why);
    fputs(".</p>\n", to);
}

void report_table_begin(FILE *to, const char *caption)
{
    fputs("<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"", to);
    html_text(to, caption);
    fputs("\"><table><caption>", to);
    html_text(to, caption);
    fputs("</caption>\n", to);
}

void report_table_end(FILE *to)
{
    fputs("</table></div>\n", to);
}

static void write_count(FILE *to, int64_t n)
{
    fprintf(to, "%s%s", n < 0 ? "\xe2\x88\x92" : "", text_count(n).s + (n < 0));
}

void report_count_cell(FILE *to, int64_t n)
{
    fputs("<td>", to);
    write_count(to, n);
    fputs("</td>", to);
}

/* ---- runs side by side ---- */

/* A row of the table of runs: writes the cell of one. */
typedef void (*run_cell)(FILE *to, const shown_run *r);

static void write_percent(FILE *to, double percent)
{
    if (isnan(percent))
        fputs("\xe2\x80\x93", to);
    else
        fprintf(to, "%.2f %%", percent);
}

static void cell_best(FILE *to, const shown_run *r)
{
    write_percent(to, r->metrics.best_accuracy);
    if (r->metrics.best_epoch > 0)
        fprintf(to, "<span class=\"low\">%s, epoch %d</span>", r->metrics.has_val ? "validation" : "test",
                r->metrics.best_epoch);
}

static void cell_last(FILE *to, const shown_run *r)
{
    const run_metrics *m = &r->metrics;
    double last = NAN;

    for (int i = 0; i < m->n; i++) {
        if (!isnan(m->column[COLUMN_EVAL_ACCURACY][i])) last = m->column[COLUMN_EVAL_ACCURACY][i];
    }
    write_percent(to, last);
    if (m->n > 0) fprintf(to, "<span class=\"low\">of %d epochs</span>", m->n);
}

static void cell_found(FILE *to, const shown_run *r)
{
    const int known = r->classes || r->labels;

    write_percent(to, known ? 100.0 * r->found.accuracy : r->metrics.best_test_accuracy);
    if (known) fprintf(to, "<span class=\"low\">%s images of %s</span>", text_count(r->found.images).s, r->data_name);
}

static double mean_of(const double *value, int n)
{
    double sum = 0.0;
    int n_there = 0;

    for (int i = 0; i < n; i++) {
        if (isnan(value[i])) continue;
        sum += value[i];
        n_there++;
    }
    return n_there > 0 ? sum / n_there : NAN;
}

static void cell_speed(FILE *to, const shown_run *r)
{
    const double mean = mean_of(r->metrics.column[COLUMN_IMAGES_PER_S], r->metrics.n);

    if (isnan(mean))
        fputs("\xe2\x80\x93", to);
    else
        write_count(to, (int64_t)(mean + 0.5));
}

static void cell_network(FILE *to, const shown_run *r)
{
    html_text(to, r->network.s);
}

static void cell_parameters(FILE *to, const shown_run *r)
{
    write_count(to, r->n_parameters);
}

static void cell_weight_bits(FILE *to, const shown_run *r)
{
    write_count(to, r->cost.w_bits);
    fprintf(to, "<span class=\"low\">%s bytes, %.2f bits a weight</span>", text_count((r->cost.w_bits + 7) / 8).s,
            (double)r->cost.w_bits / (double)r->cost.w_values);
}

static void cell_macs(FILE *to, const shown_run *r)
{
    write_count(to, r->cost.macs);
}

static void cell_bops(FILE *to, const shown_run *r)
{
    write_count(to, r->cost.bops);
}

static void cell_cycles(FILE *to, const shown_run *r)
{
    int64_t cycles = 0;

    for (int i = 0; i < r->n_on_array; i++) cycles += r->on_array[i].cycles;
    if (r->n_on_array == 0)
        fputs("\xe2\x80\x93", to);
    else
        write_count(to, cycles);
}

static void cell_psum_bits(FILE *to, const shown_run *r)
{
    int bits = 0;

    for (int i = 0; i < r->n_on_array; i++) bits = r->on_array[i].bits > bits ? r->on_array[i].bits : bits;
    if (r->array_images == 0)
        fputs("\xe2\x80\x93", to);
    else
        fprintf(to, "%d<span class=\"low\">of %d-bit registers</span>", bits, r->array.psum_bits);
}

static const struct {
    const char *group, *name; /* group: before the first row of one */
    run_cell write;
} run_rows[] = {
    { "Reached", "best accuracy", cell_best },
    { NULL, "last accuracy", cell_last },
    { NULL, "the network shown, on the test set", cell_found },
    { NULL, "training, images/s", cell_speed },
    { "Size, of one image", "network", cell_network },
    { NULL, "parameters", cell_parameters },
    { NULL, "weights, bits", cell_weight_bits },
    { NULL, "products (MACs)", cell_macs },
    { NULL, "bit operations (BOPs)", cell_bops },
    { "On the array, of one image", "cycles", cell_cycles },
    { NULL, "most bits that psums need", cell_psum_bits },
};
enum { N_RUN_ROWS = sizeof run_rows / sizeof run_rows[0] };

static void write_run_name(FILE *to, const shown_run *r, int at, int has_link)
{
    fprintf(to, "<span class=\"key\" style=\"background:var(--s%d)\"></span>", r->look);
    if (has_link) fprintf(to, "<a href=\"#run-%d\">", at);
    html_text(to, r->dir);
    if (has_link) fputs("</a>", to);
}

static void write_runs_table(FILE *to, const shown_runs *all)
{
    report_table_begin(to, "The runs, with the accuracy that they reached and what their networks cost");
    fputs("<thead><tr><th scope=\"col\">quantity</th>", to);
    for (int i = 0; i < all->n; i++) {
        fputs("<th scope=\"col\">", to);
        write_run_name(to, &all->run[i], i + 1, 1);
        fputs("</th>", to);
    }
    fputs("</tr></thead>\n", to);
    for (int row = 0; row < N_RUN_ROWS; row++) {
        if (run_rows[row].group)
            fprintf(to,
                    "%s<tbody class=\"group\"><tr><th scope=\"rowgroup\" colspan=\"%d\"><span "
                    "class=\"held\">%s</span></th></tr>\n",
                    row > 0 ? "</tbody>" : "", all->n + 1, run_rows[row].group);
        fprintf(to, "<tr><th scope=\"row\">%s</th>", run_rows[row].name);
        for (int i = 0; i < all->n; i++) {
            fputs("<td>", to);
            run_rows[row].write(to, &all->run[i]);
            fputs("</td>", to);
        }
        fputs("</tr>\n", to);
    }
    fputs("</tbody>", to);
    report_table_end(to);
}

/* ---- charts over runs ---- */

static double accuracy_of(const shown_run *r)
{
    return r->classes || r->labels ? 100.0 * r->found.accuracy : r->metrics.best_accuracy;
}

/* by_bops: against bit operations, else against the bits of all weights. */
static void write_bits_plot(FILE *to, const shown_runs *all, plot_point *point, int by_bops)
{
    for (int i = 0; i < all->n; i++) {
        const shown_run *r = &all->run[i];
        point[i] = (plot_point){ by_bops ? (double)r->cost.bops / 1e9 : (double)r->cost.w_bits / 8192.0, accuracy_of(r),
                                 r->dir, r->look };
    }
    const plot p = { by_bops ? "Accuracy against BOPs" : "Accuracy against weights",
                     by_bops ? "10\xe2\x81\xb9 BOPs an image" : "weights, KiB", "accuracy, %", point, all->n };
    plot_write(to, &p);
}

static void write_bits_plots(FILE *to, const shown_runs *all)
{
    plot_point point[REPORT_RUNS_MOST];

    write_bits_plot(to, all, point, 0);
    write_bits_plot(to, all, point, 1);
}

/* Of n runs from first on. */
static void write_course(FILE *to, const shown_runs *all, int first, int n, metrics_column column)
{
    const int is_accuracy = column == COLUMN_EVAL_ACCURACY;
    chart c = { .title = is_accuracy ? "Accuracy, %" : "Loss",
                .x_title = "epoch",
                .n_series = n,
                .is_open = is_accuracy,
                .first = 1,
                .unit = is_accuracy ? " %" : NULL };

    for (int i = 0; i < n; i++) {
        const shown_run *r = &all->run[first + i];
        c.series[i] = (chart_series){ .y = r->metrics.column[column], .n = r->metrics.n, .name = r->dir };
    }
    chart_write(to, &c);
}

static void write_courses(FILE *to, const shown_runs *all)
{
    const char *names[CHART_SERIES_MOST];

    for (int first = 0; first < all->n; first += CHART_SERIES_MOST) {
        const int n = all->n - first < CHART_SERIES_MOST ? all->n - first : CHART_SERIES_MOST;
        for (int i = 0; i < n; i++) names[i] = all->run[first + i].dir;
        chart_write_legend(to, names, n);
        fputs("<div class=\"charts four\">\n", to);
        write_course(to, all, first, n, COLUMN_EVAL_ACCURACY);
        write_course(to, all, first, n, COLUMN_EVAL_LOSS);
        if (first == 0) write_bits_plots(to, all);
        fputs("</div>\n", to);
    }
}

static void write_comparison(FILE *to, const shown_runs *all)
{
    fputs("<section id=\"runs\" aria-labelledby=\"runs-title\"><h2 id=\"runs-title\">Runs</h2>\n", to);
    write_runs_table(to, all);
    report_write_settings(to, all);
    if (all->n > 1) {
        fputs(
            "<h3 id=\"courses\">Courses, and accuracy against bits</h3>\n<p>Courses are those on the images that "
            "choose "
            "the best network: test images, or validation images held out. Bits are those of the network shown.</p>\n",
            to);
        write_courses(to, all);
    }
    fputs("</section>\n", to);
}

/* ---- the page ---- */

static void write_menu(FILE *to, const shown_runs *all)
{
    fputs("<p id=\"choice\" hidden><label for=\"shown\">Show</label> <select id=\"shown\"><option value=\"\">all "
          "runs</option>",
          to);
    for (int i = 0; i < all->n; i++) {
        fprintf(to, "<option value=\"run-%d\">", i + 1);
        html_text(to, all->run[i].dir);
        fputs("</option>", to);
    }
    fputs("</select></p>\n", to);
}

static void write_head(FILE *to, const shown_runs *all)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>detent report: ",
          to);
    html_text(to, all->run[0].dir);
    if (all->n > 1) fprintf(to, " and %d more", all->n - 1);
    fputs("</title>\n<style>\n", to);
    chart_write_style(to);
    fputs(style, to);
    fprintf(to,
            "</style></head><body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n"
            "<header><h1>detent report</h1>\n<p>%d %s of networks that compute on integers; made by detent " DT_VERSION
            "</p></header>\n<nav aria-label=\"Parts of the page\"><ul><li><a href=\"#runs\">Runs</a></li>",
            all->n, all->n == 1 ? "run" : "runs");
    for (int i = 0; i < all->n; i++) {
        fprintf(to, "<li><a href=\"#run-%d\">", i + 1);
        html_text(to, all->run[i].dir);
        fputs("</a></li>", to);
    }
    fputs("</ul>\n", to);
    if (all->n > 1) write_menu(to, all);
    fputs("</nav>\n<main id=\"main\">\n", to);
}

/* The links of a run's parts. */
static void write_parts(FILE *to, int at)
{
    static const struct {
        const char *word, *title;
    } parts[] = { { "training", "training" },
                  { "codes", "codes" },
                  { "psums", "psums" },
                  { "array", "array" },
                  { "classes", "classes" },
                  { "wrong", "mistakes" },
                  { "reconstructions", "reconstructions" } };

    fputs("<p>", to);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        fprintf(to, "%s<a href=\"#run-%d-%s\">%s</a>", i ? " \xc2\xb7 " : "", at, parts[i].word, parts[i].title);
    fputs("</p>\n", to);
}

static void write_run(FILE *to, const shown_run *r, int at)
{
    fprintf(to, "<section class=\"run\" id=\"run-%d\" aria-labelledby=\"run-%d-title\"><h2 id=\"run-%d-title\">", at,
            at, at);
    write_run_name(to, r, at, 0);
    fputs("<span class=\"low\">", to);
    html_text(to, r->network.s);
    fputs("; the network of ", to);
    html_text(to, r->file);
    fputs("</span></h2>\n", to);
    write_parts(to, at);
    report_write_training(to, r, at);
    report_write_codes(to, r, at);
    report_write_psums(to, r, at);
    report_write_array(to, r, at);
    report_write_images(to, r, at);
    fputs("</section>\n", to);
}

/* A choice hides the other runs; a link to a part of a hidden one shows all again. */
static const char script[] = "<script>\n"
                             "const menu=document.getElementById('shown');\n"
                             "const show=()=>{for(const s of document.querySelectorAll('section.run'))"
                             "s.hidden=menu.value!==''&&s.id!==menu.value};\n"
                             "document.getElementById('choice').hidden=false;\n"
                             "menu.addEventListener('change',show);\n"
                             "for(const a of document.querySelectorAll('a[href^=\"#run-\"]'))"
                             "a.addEventListener('click',()=>{menu.value='';show()});\n"
                             "</script>\n";

static void write_page(FILE *to, const void *user)
{
    const shown_runs *all = user;

    write_head(to, all);
    write_comparison(to, all);
    for (int i = 0; i < all->n; i++) write_run(to, &all->run[i], i + 1);
    fputs("</main>\n<footer>This page has all of its parts in it. Numbers of psums, cycles and classes are those of "
          "<code>detent eval</code> and <code>detent verify</code>.</footer>\n",
          to);
    if (all->n > 1) fputs(script, to);
    fputs("</body></html>\n", to);
}

dt_status report_page_write(const shown_runs *all, const char *path)
{
    return debug_file_write(path, write_page, all);
}
