/*
 * report.c - `detent report --study`: runs the study's matrix by the program's own commands, and writes its tables.
 */
#include "study.h"

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

dt_status report_run(const settings *s, int *exit_code)
{
    int lock = -1;
    study_plan p;

    DT_CHECK(s->study, DT_ERR_ARGUMENT, "what is to be reported? There is --study");
    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    DT_TRY(run_dir_create(s->out));
    DT_TRY(run_dir_lock(s->out, &lock));
    dt_status status = study_plan_make(s, &p);
    if (status == DT_OK) status = run_study(s, &p);
    if (status == DT_OK && !s->quiet) study_tell_cost(&p);
    study_plan_free(&p);
    if (status == DT_OK && !s->quiet)
        printf("%s: study.md, study.csv, study.html, and a page of layers for each network\n", s->out);
    return status;
}
