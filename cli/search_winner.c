/*
 * search_winner.c - the end of a mixed-precision search: its tables, and the winner, which is trained with the epochs
 * of the file's options from the values of the network of reals, and verified.
 */
#include "search_work.h"

#include "sweep.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

enum { VERIFY_IMAGES = 100 };

/* Runs one command to its end. */
static dt_status run_alone(search_work *w, const char *what, job_line *line, const char *log_path, int *code)
{
    job_end end;

    w->board.n = 1;
    w->board.asked = 0;
    DT_TRY(jobs_start(&w->board, 0, 0, line, log_path));
    while (!jobs_take_end(&w->board, &end)) {
        if (interrupt_requested()) jobs_ask_to_stop(&w->board);
        jobs_wait();
    }
    DT_CHECK(end.code != EXIT_INTERRUPTED, DT_ERR_INTERRUPTED, "stopped while %s; go on with --resume", what);
    *code = end.code;
    return DT_OK;
}

static dt_status train_winner(search_work *w, const trial_row *best, sweep_run_of *run)
{
    static job_line line;
    char dir[PATH_BYTES], log_path[PATH_BYTES], error[SEARCH_ERROR_BYTES];
    int code;

    DT_TRY(run_dir_path(w->s->out, "winner", dir));
    DT_TRY(search_trial_line(&w->maker, w->trial[best->trial - 1].configuration, 0, dir, &line));
    DT_TRY(run_dir_path(dir, SEARCH_LOG, log_path));
    DT_TRY(run_alone(w, "the winner was trained", &line, log_path, &code));
    if (code != EXIT_GOOD) {
        jobs_last_words(log_path, "it failed", error, sizeof error);
        return dt_raise(DT_ERR_IO, __FILE__, __LINE__, "%s: %s", dir, error);
    }
    return sweep_look(dir, run);
}

/* The winner's integers against its program, the array and 64-bit sums, by `detent verify`. */
static dt_status verify_winner(search_work *w, int *exit_code)
{
    static job_line line;
    char path[PATH_BYTES], log_path[PATH_BYTES], words[SEARCH_ERROR_BYTES];
    int code;

    if (w->p.what.rule == DT_RULE_QKERAS) {
        if (!w->s->json)
            printf("verified   no: quantizers of QKeras-Mod have no program; 'detent quantize' makes one\n");
        return DT_OK;
    }
    DT_TRY(run_dir_path(w->s->out, "winner/best.safetensors", path));
    DT_TRY(run_dir_path(w->s->out, "winner/verify.txt", log_path));
    job_begin(&line, "verify");
    job_word(&line, "--checkpoint=%s", path);
    job_word(&line, "--images=%d", VERIFY_IMAGES);
    if (w->s->data_dir) job_word(&line, "--data=%s", w->s->data_dir);
    job_word(&line, "--threads=%d", w->s->threads);
    unlink(log_path);
    DT_TRY(run_alone(w, "the winner was verified", &line, log_path, &code));
    jobs_last_words(log_path, "nothing was said", words, sizeof words);
    if (!w->s->json) printf("verified   %s\n", words);
    if (code != EXIT_GOOD) *exit_code = code;
    return DT_OK;
}

/* Each width of --uniform, and the best other trial that is no larger. */
static void compare_uniform(const search_work *w)
{
    if (!w->s->uniform) return;
    printf("\n%-10s %14s %10s   %-6s %14s %10s %8s\n", "uniform", "size", "accuracy", "trial", "size", "accuracy",
           "gain");
    for (int k = 0; k < w->n_taken && search_is_uniform(w, k); k++) {
        const trial_row *u = &w->log.row[k], *best = NULL;
        for (int i = 0; i < w->n_taken; i++) {
            const trial_row *row = &w->log.row[i];
            if (row->step[0] == 'u' || isnan(row->accuracy) || row->size > u->size) continue;
            if (!best || row->accuracy > best->accuracy) best = row;
        }
        printf("%-10s %14s %8.2f %%   ", u->step, search_size_text(w, u->size).s, u->accuracy);
        if (best)
            printf("%-6d %14s %8.2f %% %+8.2f\n", best->trial, search_size_text(w, best->size).s, best->accuracy,
                   best->accuracy - u->accuracy);
        else
            printf("no trial is as small\n");
    }
}

static dt_status report_json(const search_work *w, const trial_row *best, const sweep_run_of *run)
{
    cJSON *out = cJSON_CreateObject(), *values = cJSON_AddObjectToObject(out, "winner");

    for (int c = 0; c < w->log.n_values; c++) cJSON_AddNumberToObject(values, w->log.name[c], best->value[c]);
    cJSON_AddNumberToObject(out, "trial", best->trial);
    cJSON_AddNumberToObject(out, "trials", w->n_taken);
    cJSON_AddNumberToObject(out, "score", best->score);
    cJSON_AddNumberToObject(out, "size", best->size);
    cJSON_AddNumberToObject(out, "reference_size", w->maker.reference);
    if (!isnan(run->accuracy)) cJSON_AddNumberToObject(out, "test_accuracy", run->accuracy);
    return print_json(out);
}

dt_status search_finish(search_work *w, int *exit_code)
{
    const trial_row *best = trial_log_best(&w->log, w->first, w->n_taken);
    sweep_run_of run = { 0 };

    DT_TRY(trial_log_write_tables(&w->log));
    DT_CHECK(best, DT_ERR_NUMERIC, "no trial has an accuracy; %s/trials has their logs", w->s->out);
    if (!w->s->json) {
        compare_uniform(w);
        printf("\nbest trial %d: score %.5f; total elapsed time %s\n", best->trial, best->score,
               text_seconds(clock_seconds() - w->begin).s);
        search_print_network(&w->p, w->space, w->trial[best->trial - 1].configuration);
    }
    DT_TRY(train_winner(w, best, &run));
    if (!w->s->json && !isnan(run.accuracy)) {
        printf("winner     %.2f %% on the test set after %d epochs: %s/winner/best.safetensors\n", 100.0 * run.accuracy,
               run.epochs, w->s->out);
    }
    DT_TRY(verify_winner(w, exit_code));
    return w->s->json ? report_json(w, best, &run) : DT_OK;
}
