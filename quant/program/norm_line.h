/*
 * norm_line.h - the line that a batch norm makes of psums, with the arithmetic of evaluation (layers/batchnorm.h).
 */
#ifndef DT_NORM_LINE_H
#define DT_NORM_LINE_H

#include "../../core/graph/graph.h"

/* In the order of the node's inputs behind x: gamma, beta, mean, variance. */
enum { DT_NORM_PARTS = 4 };

/* A batch norm and its parameters, [channels] each. */
typedef struct {
    const char *name;
    const dt_batchnorm_params *params;
    float *part[DT_NORM_PARTS]; /* the caller's */
    int channels;
} dt_norm_line;

/* Sets slope[c] and offset[c] of y = slope * psum + offset, for all channels. slope[c] is the psum's scale before.
 * DT_ERR_NUMERIC: one of them is no finite number. */
DT_MUST_CHECK dt_status dt_norm_line_of(const dt_norm_line *n, float *slope, float *offset);

#endif /* DT_NORM_LINE_H */
