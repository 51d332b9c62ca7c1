/*
 * conv_lines.h - widens stored values to f32: whole tensors, and rows of a map, which become lines with room for
 *                padding.
 *
 * A line is [column][wide]. In it each channel stands `multiple` times side by side. Widening leaves the floats behind
 * the last channel as they are, and also the columns before and after the row's own.
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

/* Widens a row to a line, whose first column lies at `line`. */
void dt_widen_row(const dt_row_source *row, int64_t wide, float *line);

/* Returns n values as f32: where they lie if they are F32, else their copy in room, which has dt_wide_bytes. */
const float *dt_widened(const void *from, dt_dtype type, int64_t n, float *room);
/* Returns the bytes of room that dt_widened needs; 0 for F32. */
size_t dt_wide_bytes(dt_dtype type, int64_t n);

/* Sets real, [K][terms], to what filters on a grid stand for: their codes, F32 or I8, times scale[k] or the one scale.
 */
void dt_real_filters(const dt_tensor *w, int64_t K, int64_t terms, float *real);

/* The lines of n rows of an image. Row i has the place i mod n, so that any n neighbouring rows fit together. */
typedef struct {
    dt_row_source row;  /* row 0 of the image */
    int64_t n_rows, n;  /* rows of the image; lines of the ring */
    int64_t front;      /* columns of a line before the row's own */
    int64_t wide, step; /* floats of a column; floats of a line */
    float *line;        /* [n][step] */
    int64_t *held;      /* [n] the row whose line is there; -1: none */
} dt_line_ring;

/* Empties the ring, for the next image. */
void dt_line_ring_start(const dt_line_ring *ring);

/* Returns the line of a row, which is widened unless the ring holds it; NULL if the row lies outside of the map. */
const float *dt_line_ring_row(const dt_line_ring *ring, int64_t row);

#endif /* DT_CONV_LINES_H */
