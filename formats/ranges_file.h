/*
 * ranges_file.h - ranges of a network's values from a file, so that they need not be observed.
 *
 *   { "image": [-2.1, 2.6], "stem.relu": [0, 4.5], .. }
 *
 * Each range is the least and the largest real value of the value of that name. Numbers are read to the nearest float.
 */
#ifndef DT_RANGES_FILE_H
#define DT_RANGES_FILE_H

#include "../quant/calibrate.h"

/* Reads a file into range, [n_values of g], and sets has[i] to 1 for each value that the file has, else to 0; range[i]
 * is then {0, 0}. DT_ERR_FORMAT names the file, the value and what it has: a name that no image and no node of g has,
 * or that stands twice; something else than two numbers; a number that no finite float holds; min above max. Nothing is
 * written if it fails. */
DT_MUST_CHECK dt_status dt_ranges_file_read(const char *path, const dt_graph *g, char *has, dt_range *range);

#endif /* DT_RANGES_FILE_H */
