/*
 * ranges_file.h - ranges of a network's values as a file, so that they need not be observed again, or come from
 *                 another tool.
 *
 *   { "image": [-2.1, 2.6], "stem.relu": [0, 4.5], .. }
 *
 * Each range is the least and the largest real value of the value of that name. Numbers are read to the nearest float,
 * and written with the fewest decimals that give the float again.
 */
#ifndef DT_RANGES_FILE_H
#define DT_RANGES_FILE_H

#include "../quant/calibrate.h"

/* Reads a file into range, [n_values of g], and sets has[i] to 1 for each value that the file has, else to 0; range[i]
 * is then {0, 0}. DT_ERR_FORMAT names the file, the value and what it has: a name that no image and no node of g has,
 * or that stands twice; something else than two numbers; a number that no finite float holds; min above max. Nothing is
 * written if it fails. */
DT_MUST_CHECK dt_status dt_ranges_file_read(const char *path, const dt_graph *g, char *has, dt_range *range);

/* Makes the file, or replaces it whole, with the ranges of the values that has[i] is 1 for, in g's order.
 * DT_ERR_ARGUMENT: a range is one that the reader refuses, as MAX_ABS may give. */
DT_MUST_CHECK dt_status dt_ranges_file_write(const char *path, const dt_graph *g, const char *has,
                                             const dt_range *range);

#endif /* DT_RANGES_FILE_H */
