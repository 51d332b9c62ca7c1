/*
 * debug.h - what the files of `detent inspect --debug-quant`, `--sensitivity` and `--compare` share.
 *
 *   inspect_debug.c         opens program, network of reals and images, and prints
 *   debug_table.c           a network's layers as a table, from the library or a CSV file, and to one
 *   debug_page.c            tables of up to six networks as a page of charts
 *   inspect_sensitivity.c   the cost of each layer
 */
#ifndef DT_CLI_DEBUG_H
#define DT_CLI_DEBUG_H

#include "cli.h"

/* The numbers of a layer. All but RANGE and RMSE are columns of TensorFlow's debugger, whose guide adds those two. */
typedef enum {
    DEBUG_ELEMENTS,
    DEBUG_STDDEV,
    DEBUG_MEAN,
    DEBUG_MAX,
    DEBUG_MSE,
    DEBUG_RANGE,
    DEBUG_SCALE,
    DEBUG_ZERO,
    DEBUG_RMSE, /* sqrt(mean_squared_error) / scale; 1 / sqrt(12) where errors are those of rounding alone */
    DEBUG_NUMBERS
} debug_number;

/* The columns' names in files, by debug_number. */
extern const char *const debug_number_names[DEBUG_NUMBERS];

typedef struct {
    char *op, *name; /* owned */
    int index;
    double number[DEBUG_NUMBERS];
} debug_layer;

typedef struct {
    const char *label;  /* of the network */
    debug_layer *layer; /* [n], owned */
    int n;
} debug_table;

/* A function that writes a file's contents. */
typedef void (*debug_content)(FILE *to, const void *user);

/* Writes a file whole. In debug_table.c. */
DT_MUST_CHECK dt_status debug_file_write(const char *path, debug_content content, const void *user);

/* Makes a table of a report. */
DT_MUST_CHECK dt_status debug_table_of(const dt_debug_report *r, debug_table *out);
/* Reads one that debug_table_write has written, or TensorFlow's debugger. */
DT_MUST_CHECK dt_status debug_table_read(const char *path, debug_table *out);
DT_MUST_CHECK dt_status debug_table_write(const debug_table *t, const char *path);
void debug_table_free(debug_table *t);

/* Writes the head of such a page, up to its title. */
void debug_page_head(FILE *to, const char *title);
/* Writes the page of nine charts and the table of layers. n is 1 to CHART_SERIES_MOST. */
DT_MUST_CHECK dt_status debug_page_write(const debug_table *t, int n, const char *title, const char *path);

/* Does `detent inspect --debug-quant`, `--compare` and `--sensitivity`. */
DT_MUST_CHECK dt_status inspect_debug(const settings *s);
DT_MUST_CHECK dt_status inspect_compare(const settings *s);
DT_MUST_CHECK dt_status inspect_sensitivity(const settings *s);
/* Does `detent inspect --tensors` and --diff. In inspect_tensors.c. */
DT_MUST_CHECK dt_status inspect_tensors(const settings *s);

#endif /* DT_CLI_DEBUG_H */
