/*
 * conv_lines.h - stored values as f32: whole tensors, and rows of a map as lines with room for padding.
 *
 * A line is [column][wide]. A channel stands `multiple` times side by side; what follows the last, up to `wide`, and
 * the columns before and after the row's own are left as they are.
 */
#ifndef DT_CONV_LINES_H
#define DT_CONV_LINES_H

#include "../../core/tensor.h"

/* A row of `columns` x `channels` values of F32, BF16, U8 or I8, from value `first` on. */
typedef struct {
    const void *from;
    dt_dtype type;
    int64_t first, columns, channels, multiple;
} dt_row_source;

void dt_widen_row(const dt_row_source *row, int64_t wide, float *line);

/* n values of such a type: where they lie if they are F32, else their copy in `room`, of dt_wide_bytes. */
const float *dt_widened(const void *from, dt_dtype type, int64_t n, float *room);
size_t dt_wide_bytes(dt_dtype type, int64_t n);

/* Lines of an image's rows, in ascending order of use: any n that neighbour each other are kept. */
typedef struct {
    dt_row_source row; /* row 0 */
    int64_t n_rows, n;
    int64_t front;      /* columns before a row's own */
    int64_t wide, step; /* floats of a column, and of a line */
    float *line;
    int64_t *held; /* [n] the row whose line is there */
} dt_line_ring;

/* Begins an image: no line is there. */
void dt_line_ring_start(const dt_line_ring *ring);

/* NULL: outside the map. */
const float *dt_line_ring_row(const dt_line_ring *ring, int64_t row);

#endif /* DT_CONV_LINES_H */
