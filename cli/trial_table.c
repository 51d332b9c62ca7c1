/*
 * trial_table.c - the table of trials that grows while a search runs: a line for each, with what it reached.
 */
#include "trials.h"

#include <math.h>
#include <stdio.h>

void trial_table_head(const trial_table *t)
{
    printf("%-4s %5s ", "step", "trial");
    for (int i = 0; i < t->n_texts; i++) printf(" %-*s", t->text[i].width, t->text[i].name);
    printf(" %9s %*s", "accuracy", t->size.width, t->size.name);
    if (t->has_score) printf(" %8s", "score");
    printf(" %8s\n", "seconds");
}

void trial_table_line(const trial_table *t, const trial_row *row, const char *const *texts, const char *size,
                      int is_best)
{
    printf("%-4s %5d ", row->step, row->trial);
    for (int i = 0; i < t->n_texts; i++) printf(" %-*s", t->text[i].width, texts[i]);
    if (isnan(row->accuracy))
        printf(" %9s", "failed");
    else
        printf(" %7.2f %%", row->accuracy);
    printf(" %*s", t->size.width, size);
    if (t->has_score) printf(" %8.5f", row->score);
    printf(" %8.1f%s\n", row->seconds, is_best ? "  best so far" : "");
}
