/*
 * oracle.h - the psums of one image by the definition, one product after another, to judge what others have computed.
 *
 * Sums of the grid are taken in 64-bit integers; those of the array are fitted after each addition, in the order of
 * psum.h, or once where they wrap. It shares no code with the engine, the layers or the cycle model.
 *
 * It judges a block of outputs at a time, as the engine gives them (dt_psum_taps), so that tap psums are never stored
 * for a whole image. Whoever gives it blocks counts what was judged.
 */
#ifndef DT_ACCEL_ORACLE_H
#define DT_ACCEL_ORACLE_H

#include "../psum/psum.h"

/* A layer on an array. */
typedef struct {
    dt_array array; /* simd is 1 or 2 */
    dt_psum_shape shape;
    int16_t *w;    /* codes, as oracle.c has them */
    int32_t *cell; /* [taps][cells]: where the codes begin that a tap sees at a position */
    int64_t cells; /* positions, and some behind them */
} dt_oracle;

/* Reads the weight codes w, [filters][window height][window width][a group's channels]. Close it even after a failure.
 */
DT_MUST_CHECK dt_status dt_oracle_open(dt_oracle *o, const dt_array *array, const dt_psum_shape *s, const float *w);
void dt_oracle_close(dt_oracle *o);

/* Returns the number of codes of an image with the zeros that a case has behind them. */
int64_t dt_oracle_n_codes(const dt_psum_shape *s);
/* Copies the codes of an image, [height][width][channels], with those zeros. */
void dt_oracle_read_codes(const dt_psum_shape *s, const float *x, int16_t *to);

/* What is judged: one image. */
typedef struct {
    const dt_oracle *o;
    const int16_t *x;    /* of dt_oracle_read_codes */
    const float *grid;   /* psums of the grid's forward [out height][out width][filters] */
    const int32_t *psum; /* the array's */
    int32_t *expected;   /* filled: what the array must hold, as psum */
    int64_t *exact;      /* filled: sums in 64 bits, as psum */
} dt_oracle_case;

typedef struct {
    int64_t n_checked, n_wrong;
    dt_mismatch first; /* if n_wrong > 0: row, col, channel, tile, tap, what, values */
} dt_oracle_result;

/* Judges the psums, and weight stationary the tap psums, of a block, and adds to r, which is zeroed before the image's
 * first one. */
void dt_oracle_judge(const dt_oracle_case *c, const dt_psum_taps *block, dt_oracle_result *r);

/* Returns how many values all blocks of an image have. */
int64_t dt_oracle_n_values(const dt_oracle *o);

#endif /* DT_ACCEL_ORACLE_H */
