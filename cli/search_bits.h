/*
 * search_bits.h - `detent search --method bits`: search_file.c reads what is searched, search_space.c prints it,
 *                 search_trial.c makes the command lines of trials, search_bits.c runs them.
 *
 *   { "options": { "dataset": "fashion-mnist", "epochs": 20, "quant-rule": "lsq" },     of detent train, for all trials
 *     "kernel": [2, 4, 8], "bias": [16, 31], "activation": [2, 4, 8],                   candidates
 *     "limit": { "conv": [8, 31, 8], "stage1.*": [[2, 4], [16], 4], "default": 8 },
 *     "layer_indexes": [2, 4, 6],
 *     "goal": { "type": "bits", "delta_p": 5, "delta_n": 5, "rate": 2, "stress": 1, "ref_bits": 16 },
 *     "filters": [50, 100, 200], "filters_of": "layer", "filters_whole": ["stem"],
 *     "learning_rates": 5, "transfer_weights": true,
 *     "blocks": ["stage1.*", "stage2.*"], "block_order": "sequential" }
 *
 * docs/SEARCH.md describes it.
 */
#ifndef DT_CLI_SEARCH_BITS_H
#define DT_CLI_SEARCH_BITS_H

#include "jobs.h"
#include "trials.h"

enum { SEARCH_LIMITS = 64, SEARCH_ROWS = 512, SEARCH_BLOCKS = 32, SEARCH_NAMES = 64 };

/* What a search's file says. Texts point into `file`. */
typedef struct {
    cJSON *file;          /* owned; an empty object if there is no file */
    const cJSON *options; /* of detent train; NULL: none */
    dt_search_what what;  /* whose arrays are those below */
    dt_search_limit limit[SEARCH_LIMITS];
    int row[SEARCH_ROWS];
    const char *whole[SEARCH_NAMES];
    dt_search_goal goal;
    const char *block[SEARCH_BLOCKS]; /* [n_blocks] patterns of rows' names that are searched one after another */
    int n_blocks, blocks_by_cost;
    int transfer; /* 1: trials begin with the values of the network of reals */
} search_plan;

/* Reads --space, or sets the defaults without it. search_plan_free frees what is in it. */
DT_MUST_CHECK dt_status search_plan_read(const settings *s, search_plan *out);
void search_plan_free(search_plan *p);

/* Prints limits, choices and the table of the reference's sizes, as QKeras prints them. */
void search_print_space(const search_plan *p, const dt_search_space *space);
/* The same as JSON. */
DT_MUST_CHECK dt_status search_print_space_json(const search_plan *p, const dt_search_space *space);
/* Prints the bits of a configuration, a line for each row that has any, with their size beside the reference's. */
void search_print_network(const search_plan *p, const dt_search_space *space, const int *configuration);
/* "4,4,8": the values of one role's choices; real ones are "-". */
void search_format_role(const dt_search_space *space, const int *configuration, dt_choice_role role, char *text,
                        size_t bytes);

/* A run of `detent train` on the network of a configuration. */
typedef struct {
    const settings *s;
    const search_plan *p;
    const dt_search_space *space;
    const dt_graph *network; /* of reals */
    const char *dataset;     /* "" if nothing names one */
    double reference;        /* size */
} trial_maker;

/* Writes bits.json, and network.json if it is needed, into dir, and makes the command line. */
DT_MUST_CHECK dt_status search_trial_line(const trial_maker *m, const int *configuration, int epochs, const char *dir,
                                          job_line *line);
/* Computes the size of a configuration, with the filters that it has. */
DT_MUST_CHECK dt_status search_trial_size(const trial_maker *m, const int *configuration, dt_search_size *out);

/* Does `detent search --method bits`. */
DT_MUST_CHECK dt_status search_bits_run(const settings *s, int *exit_code);
/* Sets order, [n_choices], to the choices of the layers that lose least when they alone are quantized, first; for the
 * greedy way. It reads the order from DIR/sensitivity.json if that is there, else writes it. */
DT_MUST_CHECK dt_status search_order(const settings *s, session *o, const dt_search_space *space, int *order);

#endif /* DT_CLI_SEARCH_BITS_H */
