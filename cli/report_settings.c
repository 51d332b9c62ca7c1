/*
 * report_settings.c - the part of `detent report` that tells in which settings runs differ, and which they share. See
 *                     report.h.
 *
 * Settings are the options in config.json, but for those that say where a run's files are.
 */
#include "report.h"
#include "svg_chart.h"

#include <math.h>
#include <string.h>

static const cJSON *options_of(const shown_run *r)
{
    return cJSON_GetObjectItemCaseSensitive(r->config, "options");
}

static int says_where(const char *name)
{
    return strcmp(name, "data") == 0 || strcmp(name, "init") == 0;
}

static int is_equal(const shown_runs *all, const char *name)
{
    const cJSON *first = cJSON_GetObjectItemCaseSensitive(options_of(&all->run[0]), name);

    for (int i = 1; i < all->n; i++) {
        const cJSON *other = cJSON_GetObjectItemCaseSensitive(options_of(&all->run[i]), name);
        if (first != other && !(first && other && cJSON_Compare(first, other, 1))) return 0;
    }
    return 1;
}

static void write_value(FILE *to, const cJSON *item)
{
    if (!item || cJSON_IsNull(item)) {
        fputs("\xe2\x80\x93", to);
    } else if (cJSON_IsString(item)) {
        html_text(to, item->valuestring);
    } else if (cJSON_IsBool(item)) {
        fputs(cJSON_IsTrue(item) ? "yes" : "no", to);
    } else if (item->valuedouble == floor(item->valuedouble) && fabs(item->valuedouble) < 1e15) {
        fprintf(to, "%.0f", item->valuedouble); /* 100, not 1e+02 */
    } else {
        fputs(text_double(item->valuedouble).s, to);
    }
}

static void write_row(FILE *to, const shown_runs *all, const char *name, int n)
{
    fputs("<tr><th scope=\"row\"><code>--", to);
    html_text(to, name);
    fputs("</code></th>", to);
    for (int i = 0; i < n; i++) {
        fputs("<td>", to);
        write_value(to, cJSON_GetObjectItemCaseSensitive(options_of(&all->run[i]), name));
        fputs("</td>", to);
    }
    fputs("</tr>\n", to);
}

/* Options that a run of an older detent lacks are those of the newest. */
static const cJSON *longest_options(const shown_runs *all)
{
    const cJSON *most = options_of(&all->run[0]);

    for (int i = 1; i < all->n; i++) {
        if (cJSON_GetArraySize(options_of(&all->run[i])) > cJSON_GetArraySize(most)) most = options_of(&all->run[i]);
    }
    return most;
}

static int count_rows(const shown_runs *all, int equal)
{
    const cJSON *option;
    int n = 0;

    cJSON_ArrayForEach(option, longest_options(all))
    {
        n += (says_where(option->string) ? 0 : 1) && is_equal(all, option->string) == equal;
    }
    return n;
}

static void write_rows(FILE *to, const shown_runs *all, int equal)
{
    const cJSON *option;

    fputs("<tbody>\n", to);
    cJSON_ArrayForEach(option, longest_options(all))
    {
        if (says_where(option->string) || is_equal(all, option->string) != equal) continue;
        write_row(to, all, option->string, equal ? 1 : all->n);
    }
    fputs("</tbody>", to);
}

static void write_different(FILE *to, const shown_runs *all)
{
    report_table_begin(to, "Settings in which the runs differ");
    fputs("<thead><tr><th scope=\"col\">option of detent train</th>", to);
    for (int i = 0; i < all->n; i++) {
        fputs("<th scope=\"col\">", to);
        html_text(to, all->run[i].dir);
        fputs("</th>", to);
    }
    fputs("</tr></thead>\n", to);
    write_rows(to, all, 0);
    report_table_end(to);
}

void report_write_settings(FILE *to, const shown_runs *all)
{
    const int n_equal = count_rows(all, 1);

    if (all->n > 1) {
        fputs("<h3 id=\"settings\">Settings</h3>\n", to);
        if (count_rows(all, 0) > 0)
            write_different(to, all);
        else
            fputs("<p>The runs have equal settings.</p>\n", to);
    }
    fprintf(to, "<details><summary>%s %d settings</summary>\n", all->n > 1 ? "The other" : "Its", n_equal);
    report_table_begin(to, all->n > 1 ? "Settings that the runs share" : "Settings of the run");
    fputs("<thead><tr><th scope=\"col\">option of detent train</th><th scope=\"col\">value</th></tr></thead>\n", to);
    write_rows(to, all, 1);
    report_table_end(to);
    fputs("</details>\n", to);
}
