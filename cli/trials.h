/*
 * trials.h - what all searches of `detent search` share: the log of their trials, by which a search that was stopped
 * goes on and nothing is measured twice; the table that grows while they run; and the files at the end.
 *
 * The log is PREFIXtrials.jsonl. Its first line says what is searched, and the names of the values of a trial:
 *
 *   {"search":{..},"values":["conv1_kernel_quantizer",..]}
 *   {"trial":1,"step":"","values":[4,..],"accuracy_percent":91.2,"size":8193,"score":0.93,"seconds":12.5}
 */
#ifndef DT_CLI_TRIALS_H
#define DT_CLI_TRIALS_H

#include "cli.h"

enum { STEP_BYTES = 16, TABLE_TEXTS = 4 };

/* A trial, and what came of it. NaN stands for what a search does not have. */
typedef struct {
    int trial;             /* from 1 */
    char step[STEP_BYTES]; /* of the search; "": it has none */
    int *value;            /* [n_values] owned by the log: bits, or another value of a choice */
    double accuracy;       /* % on the images that decide; NaN: the trial failed */
    double size, score, seconds;
} trial_row;

typedef struct {
    char prefix[PATH_BYTES];
    char **name; /* [n_values] owned */
    int n_values;
    trial_row *row; /* [n] trial i + 1; owned */
    int n, room;
} trial_log;

/* Opens the log PREFIXtrials.jsonl. resume: 1: what it holds is read, and must be of this search; 0: it is begun anew.
 * search says what is searched; the caller keeps it. DT_ERR_ARGUMENT names what differs. trial_log_close frees *out. */
DT_MUST_CHECK dt_status trial_log_open(const char *prefix, const cJSON *search, const char *const *name, int n_values,
                                       int resume, trial_log *out);
void trial_log_close(trial_log *l);
/* Adds trial n + 1; its values are copied. It is on the disk when this returns. */
DT_MUST_CHECK dt_status trial_log_add(trial_log *l, const trial_row *row);
/* Returns the first trial with these values, or NULL. */
const trial_row *trial_log_find(const trial_log *l, const int *value);
/* Returns the trial with the largest score among the rows first .. end - 1, or NULL. */
const trial_row *trial_log_best(const trial_log *l, int first, int end);
/* Writes all trials to PREFIXtable.csv and PREFIXtable.json. */
DT_MUST_CHECK dt_status trial_log_write_tables(const trial_log *l);

/* Writes a JSON file whole, and deletes the object. If it is NULL, this returns DT_ERR_MEMORY. */
DT_MUST_CHECK dt_status json_file_write(const char *path, cJSON *object);

/* ---- the table for people: trial_table.c ---- */

typedef struct {
    const char *name;
    int width;
} table_column;

typedef struct {
    table_column text[TABLE_TEXTS]; /* [n_texts] columns of bits */
    int n_texts;
    table_column size; /* its unit */
    int has_score;
} trial_table;

void trial_table_head(const trial_table *t);
/* Prints a line. texts: [n_texts]; size is its text; is_best marks the line. */
void trial_table_line(const trial_table *t, const trial_row *row, const char *const *texts, const char *size,
                      int is_best);

#endif /* DT_CLI_TRIALS_H */
