/*
 * search_blocks.c - searches one block of a network after another.
 *
 * Of a block the choices are open, those of earlier blocks are the best of the block before, and those of later ones
 * stay real. So there are as many trials as blocks have together, not as many as their product.
 *
 * Source: QKeras, AutoQKerasScheduler.
 */
#include "search_work.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_BLOCK_TRIALS = 10 };

/* The row to which a choice belongs first. */
static const dt_search_row *row_of(const dt_search_space *space, int choice)
{
    for (int i = 0; i < space->n_rows; i++) {
        const dt_search_row *r = &space->row[i];
        for (int role = 0; role < DT_CHOICE_BITS; role++) {
            if (r->choice[role] == choice) return r;
        }
        if (r->filters == choice) return r;
    }
    return NULL;
}

/* Index of the block whose pattern fits the choice's row, or the last one. Quantizers belong to their layer's or
 * value's name, because patterns fit what stands before their suffix, too. */
static int block_of(const search_work *w, int choice)
{
    const dt_search_row *row = row_of(w->space, choice);
    char name[DT_NAME_MAX + 32];

    for (int b = 0; row && b < w->p.n_blocks; b++) {
        snprintf(name, sizeof name, "%s", row->name);
        if (fnmatch(w->p.block[b], name, 0) == 0) return b;
        char *const dot = strrchr(name, '.');
        if (dot && row->n[DT_CHOICE_KERNEL] == 0) *dot = '\0';
        if (fnmatch(w->p.block[b], name, 0) == 0) return b;
    }
    return w->p.n_blocks - 1;
}

static double block_cost(const search_work *w, int block)
{
    double *rows = malloc(((size_t)w->space->n_rows + 1) * sizeof *rows), sum = 0.0;
    dt_search_size size;

    if (!rows) return 0.0;
    dt_search_size_of(w->space, &w->p.goal, NULL, &size, rows);
    for (int c = 0; c < w->space->n_choices; c++) {
        const dt_search_row *row = row_of(w->space, c);
        if (row && block_of(w, c) == block && row->choice[DT_CHOICE_BIAS] != c) sum += rows[row - w->space->row];
    }
    free(rows);
    return sum;
}

/* By cost, the dearest block comes first. */
void search_sort_blocks(search_work *w)
{
    for (int i = 0; w->p.blocks_by_cost && i < w->p.n_blocks; i++) {
        int dearest = i;
        for (int k = i + 1; k < w->p.n_blocks; k++) {
            if (block_cost(w, k) > block_cost(w, dearest)) dearest = k;
        }
        const char *name = w->p.block[dearest];
        for (int k = dearest; k > i; k--) w->p.block[k] = w->p.block[k - 1];
        w->p.block[i] = name;
    }
}

static int block_trials(const search_work *w, int block)
{
    double sum = 0.0;

    for (int b = 0; b < w->p.n_blocks; b++) sum += block_cost(w, b);
    const int n = sum > 0.0 ? (int)(w->s->max_trials * block_cost(w, block) / sum) : 0;
    return n > LEAST_BLOCK_TRIALS ? n : LEAST_BLOCK_TRIALS;
}

/* Freezes what block `block` leaves alone: what came before is the best so far. */
static void freeze(search_work *w, int block)
{
    const trial_row *best = block > 0 ? trial_log_best(&w->log, w->first, w->n_taken) : NULL;

    for (int c = 0; c < w->space->n_choices; c++) {
        const int of = block < 0 ? block : block_of(w, c);
        const int is_before = of < block && best;
        w->frozen[c] = of == block ? DT_SEARCH_OPEN
                       : is_before ? w->trial[best->trial - 1].configuration[c]
                                   : DT_SEARCH_REAL;
    }
}

/* Trial k of a search that was stopped: it is chosen once more, and must be the one that was logged. */
static dt_status replay_trial(search_work *w, int k)
{
    const trial_row *row = &w->log.row[k];
    int value[DT_SEARCH_CHOICES];

    DT_TRY(search_choose(w, k));
    if (w->is_exhausted) return DT_OK;
    search_fill_values(w, w->trial[k].configuration, value);
    DT_CHECK(memcmp(value, row->value, (size_t)w->log.n_values * sizeof *value) == 0, DT_ERR_FORMAT,
             "trial %d of the log is not the one that this search chooses", k + 1);
    w->trial[k].is_over = 1;
    w->n_taken = k + 1;
    if (!w->s->json) search_print_row(w, row, row == trial_log_best(&w->log, w->first, w->n_taken));
    return DT_OK;
}

static dt_status run_block(search_work *w, int block, int n_trials)
{
    freeze(w, block);
    w->block = block;
    w->first = w->end;
    w->end = w->first + n_trials;
    w->is_exhausted = 0;
    w->n_chosen = w->first; /* a block that lost patience may have chosen more */
    for (int k = w->first; k < w->log.n && k < w->end; k++) {
        if (w->is_exhausted || search_out_of_patience(w)) break;
        DT_TRY(replay_trial(w, k));
    }
    DT_TRY(search_run_trials(w));
    w->end = w->n_taken;
    return DT_OK;
}

dt_status search_run_blocks(search_work *w)
{
    if (w->p.n_blocks == 0) return run_block(w, -1, w->s->max_trials);
    for (int b = 0; b < w->p.n_blocks; b++) {
        if (!w->s->json) printf("block %d of %d: %s\n", b + 1, w->p.n_blocks, w->p.block[b]);
        DT_TRY(run_block(w, b, block_trials(w, b)));
    }
    return DT_OK;
}

int search_most_trials(const search_work *w)
{
    int n = 0;

    for (int b = 0; b < w->p.n_blocks; b++) n += block_trials(w, b);
    return n > 0 ? n : w->s->max_trials;
}
