/*
 * requantize_lines.h - REQUANTIZE and QADD on the CPU, many codes at a time, by vectors where the CPU has them.
 *
 * The arithmetic is that of core/arith/requantize.h, bit for bit. A `_fits` says whether vectors give it; where they do
 * not, the caller takes the definition, one code after another. No file of a real network needs that.
 */
#ifndef DT_REQUANTIZE_LINES_H
#define DT_REQUANTIZE_LINES_H

#include "../core/arith/requantize_lanes.h"
#include "qbinary.h"

/* The constants of a line of sums: the channels', one after another, repeated so that vectors are full where channels
 * are few. */
typedef struct {
    dt_product product;
    int32_t low, high;
    float scale_y;
    int64_t n; /* sums of a line, a multiple of the channels */
    double *exact;
    float *factor;
    int32_t *multiplier, *left, *right, *half, *below, *bias;
} dt_requant_line;

/* Returns the bytes of the constants of a line. */
size_t dt_requant_line_bytes(int64_t channels);

/* Makes the line of a view whose channels are set; room has dt_requant_line_bytes. Returns 1 if vectors give the
 * definition's codes. */
int dt_requant_line_make(const dt_requant_view *v, void *room, dt_requant_line *out);

/* Computes n codes; x[0] is a sum of channel 0. A sum of 2^24 or more becomes a NaN, and so does a NaN. Returns 1 if
 * there was one of 2^24 or more. */
int dt_requantize_line(const dt_requant_line *line, const float *x, int64_t n, float *code);

/* Returns 1 if vectors give the definition's sums of codes up to the magnitude `most`. */
int dt_qadd_line_fits(const dt_adder *adder, int64_t most);
/* Computes codes first .. first + n - 1 of a node. */
void dt_qadd_line(const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n);

/* An adder for lanes. Where integers are multiplied, `near` is the addend of the larger scale, whose multiplier is 1/2,
 * and `far` is the other. */
typedef struct {
    dt_product product;
    int is_swapped;                                            /* 1: near is b */
    int32_t far_multiplier, y_multiplier, near_sign, far_sign; /* a sign is 0 or -1 */
    dt_lane_shift far_shift, y_shift;
    int32_t a, b, half, shift; /* F32 */
    int32_t low, high;
    float scale_a, scale_b, scale_y;
} dt_adder_lanes;

/* The CPU's levels; a higher one has the instructions of those below. The functions above take the highest. */
typedef enum { DT_LINES_PLAIN, DT_LINES_AVX2, DT_LINES_AVX512, DT_LINES_LEVELS } dt_lines_level;
/* Returns the highest level of this CPU. */
dt_lines_level dt_lines_best(void);
/* The same functions at a level up to dt_lines_best. For tests. */
int dt_requantize_line_at(dt_lines_level level, const dt_requant_line *line, const float *x, int64_t n, float *code);
void dt_qadd_line_at(dt_lines_level level, const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n);

#endif /* DT_REQUANTIZE_LINES_H */
