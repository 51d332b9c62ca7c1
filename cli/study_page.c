/*
 * study_page.c - the accuracies of a study as one HTML page with charts of what quantization costs: a line for each
 * column of the tables, a point for each scheme. See study.h.
 */
#include "debug.h"
#include "study.h"
#include "svg_chart.h"

static void write_head(FILE *to)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Quantization "
          "results</title>\n"
          "<style>\n",
          to);
    chart_write_style(to);
    fputs("body{margin:0 auto;max-width:100rem;padding:1rem 1.25rem 3rem;background:var(--page);color:var(--ink);"
          "font:16px/1.45 system-ui,sans-serif}\nh1{font-size:1.4rem}\np{max-width:48rem;color:var(--faint)}\n"
          "</style></head><body>\n<h1>Quantization results</h1>\n<p>Prediction accuracy in points, less that of the "
          "unquantized model. Schemes:",
          to);
    for (int i = 0; i < STUDY_SCHEMES; i++)
        fprintf(to, " %d %s%s", i, study_scheme_names[i], i + 1 < STUDY_SCHEMES ? "," : ".");
    fputs(" study.md has the numbers.</p>\n", to);
}

/* Points against the unquantized model of the same column. */
static void write_chart(FILE *to, const study_accuracy_table *a, int model, int strategy)
{
    double points[STUDY_COLUMNS][STUDY_SCHEMES];
    char title[VALUE_BYTES];
    chart c = { .title = title, .x_title = "scheme", .n_series = STUDY_COLUMNS };

    snprintf(title, sizeof title, "%s, %s", study_model_names[model], study_strategy_names[strategy]);
    for (int column = 0; column < STUDY_COLUMNS; column++) {
        const double *own = a->value[model][strategy][column];
        for (int i = 0; i < STUDY_SCHEMES; i++) points[column][i] = own[i] - own[0];
        c.series[column] = (chart_series){ .y = points[column], .note = study_scheme_names, .n = STUDY_SCHEMES };
    }
    chart_write(to, &c);
}

static void write_page(FILE *to, const void *user)
{
    write_head(to);
    chart_write_legend(to, study_column_names, STUDY_COLUMNS);
    fputs("<div class=\"charts\">\n", to);
    for (int i = 0; i < STUDY_MODELS * STUDY_STRATEGIES; i++)
        write_chart(to, user, i / STUDY_STRATEGIES, i % STUDY_STRATEGIES);
    fputs("</div>\n</body></html>\n", to);
}

dt_status study_write_page(const settings *s, const study_accuracy_table *a)
{
    char path[PATH_BYTES];

    DT_TRY(run_dir_path(s->out, "study.html", path));
    return debug_file_write(path, write_page, a);
}
