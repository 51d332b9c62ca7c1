/*
 * report.h - what the public reports of the array are filled from: a layer's tiling, and its stats.
 */
#ifndef DT_ACCEL_REPORT_H
#define DT_ACCEL_REPORT_H

#include "../psum/psum.h"

/* Everything that follows from sizes alone: name (borrowed), costs for one image; the rest is 0. */
dt_array_report dt_array_report_of(const char *name, const dt_array *array, const dt_psum_shape *shape);

/* What was seen over `images` images. */
void dt_array_report_fill(dt_array_report *r, const dt_psum_stats *stats, int64_t images);

/* Makes the costs of one map those of an image with so many. */
void dt_array_report_repeat(dt_array_report *r, int maps);

#endif /* DT_ACCEL_REPORT_H */
