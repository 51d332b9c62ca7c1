/*
 * report.c - `detent report`: a page about runs of training; or with --study, which runs a study's matrix by the
 *            program's own commands, its tables.
 */
#include "report.h"
#include "study.h"
#include "svg_chart.h"

#include <stdlib.h>
#include <string.h>

/* The range that the image of one network is given: study_plan.c. */
static dt_status write_wide_range(const settings *s)
{
    static const char range[] = "{ \"image\": [-150, 150] }\n";
    char path[PATH_BYTES];

    DT_TRY(run_dir_path(s->out, "wide.json", path));
    return dt_file_replace(path, range, strlen(range));
}

static dt_status run_study(const settings *s, study_plan *p)
{
    study_accuracy_table accuracies;

    DT_TRY(study_write_commands(s, p));
    DT_TRY(write_wide_range(s));
    DT_TRY(study_run(s, p));
    DT_TRY(study_write_tables(s, &accuracies));
    return study_write_page(s, &accuracies);
}

static dt_status report_study(const settings *s)
{
    int lock = -1;
    study_plan p;

    DT_CHECK(s->n_runs == 0, DT_ERR_ARGUMENT, "--study takes no run, and here is %s; leave one of them out", s->run[0]);
    DT_TRY(need_option("out", s->out));
    DT_TRY(dt_folder_make(s->out));
    DT_TRY(run_dir_lock(s->out, 1, &lock));
    dt_status status = study_plan_make(s, &p);
    if (status == DT_OK) status = run_study(s, &p);
    if (status == DT_OK && !s->quiet) study_tell_cost(&p);
    study_plan_free(&p);
    if (status == DT_OK && !s->quiet)
        printf("%s: study.md, study.csv, study.html, and a page of layers for each network\n", s->out);
    return status;
}

static dt_status open_runs(const settings *s, shown_runs *all)
{
    for (int i = 0; i < s->n_runs; i++) {
        all->n++; /* it is released whatever comes */
        DT_TRY(shown_run_open(s, s->run[i], &all->run[i]));
        all->run[i].look = i % CHART_SERIES_MOST;
    }
    return DT_OK;
}

static dt_status report_runs(const settings *s)
{
    shown_runs all = { calloc((size_t)s->n_runs, sizeof *all.run), 0 };
    char path[PATH_BYTES];

    DT_CHECK(all.run, DT_ERR_MEMORY, "no memory for %d runs", s->n_runs);
    interrupt_install();
    dt_status status = s->out ? DT_OK : run_dir_path(s->run[0], "report.html", path);
    if (status == DT_OK) status = open_runs(s, &all);
    if (status == DT_OK) status = report_page_write(&all, s->out ? s->out : path);
    for (int i = 0; i < all.n; i++) shown_run_free(&all.run[i]);
    free(all.run);
    DT_TRY(status);
    puts(s->out ? s->out : path);
    return DT_OK;
}

dt_status report_run(const settings *s, int *exit_code)
{
    *exit_code = EXIT_GOOD;
    if (s->study) return report_study(s);
    DT_CHECK(s->n_runs > 0, DT_ERR_ARGUMENT, "what is to be reported? Name directories of runs, or --study");
    return report_runs(s);
}
