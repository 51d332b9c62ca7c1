/*
 * oracle.h - the psums of one image by the definition, one product after another, to judge what others have computed.
 *
 * Sums of the grid are taken in 64-bit integers; those of the array are fitted after each addition, in the order of
 * psum.h, or once where they wrap. It shares no code with the engine, the layers or the cycle model.
 */
#ifndef DT_ACCEL_ORACLE_H
#define DT_ACCEL_ORACLE_H

#include "../psum/psum.h"

/* What is judged: one layer on one image. Arrays hold one image. */
typedef struct {
    const dt_array *array; /* simd is 1 or 2 */
    const dt_psum_shape *shape;
    const float *x;      /* codes [height][width][channels] */
    const int32_t *w;    /* codes [tap][channel of the filter's group][filter] */
    const float *grid;   /* psums of the grid's forward [out height][out width][filters] */
    const int32_t *psum; /* the array's */
    const int32_t *taps; /* the array's [in tile][tap][out height][out width][filters]; NULL output stationary */
    int32_t *expected;   /* filled: what the array must hold, as psum */
    int64_t *exact;      /* filled: sums in 64 bits, as psum */
    int64_t *work;       /* room for filters */
} dt_oracle_case;

typedef struct {
    int64_t n_checked, n_wrong;
    dt_mismatch first; /* if n_wrong > 0: row, col, channel, tile, tap, what, values */
} dt_oracle_result;

void dt_oracle_check(const dt_oracle_case *c, dt_oracle_result *out);

#endif /* DT_ACCEL_ORACLE_H */
