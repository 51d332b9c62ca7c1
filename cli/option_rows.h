/*
 * option_rows.h - what the tables of options share: settings.c and settings_train.c.
 */
#ifndef DT_CLI_OPTION_ROWS_H
#define DT_CLI_OPTION_ROWS_H

#include "cli.h"

#define AT(field)    offsetof(settings, field)
#define TRAIN_OPTION .commands = FOR_TRAIN, .group = 3, .memory = FIXED
#define RUN_OPTION   .commands = FOR_TRAIN, .group = 4
#define FLAG         .kind = KIND_FLAG, .flag_value = 1
#define MAX_COUNT    1e9

/* The rows of `detent train` that say how to train, and where to. */
extern const option_row train_rows[];
extern const int n_train_rows;

#endif /* DT_CLI_OPTION_ROWS_H */
