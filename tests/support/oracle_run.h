/*
 * oracle_run.h - the verdict of accel/verify/oracle.c on one image whose tap psums are stored as a whole.
 */
#ifndef ORACLE_RUN_H
#define ORACLE_RUN_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../../accel/verify/oracle.h"

/* One layer on one image; arrays as dt_psum_image has them. */
typedef struct {
    const dt_array *array;
    const dt_psum_shape *shape;
    const float *x, *w, *grid;
    const int32_t *psum, *taps; /* taps: [in tiles][taps][positions][filters]; NULL output stationary */
    int32_t *expected;
    int64_t *exact;
} oracle_run;

/* The tap psums of a block, out of those of the image. */
static inline void oracle_run_block(const oracle_run *run, const dt_psum_taps *b, int passes, int32_t *to)
{
    const dt_psum_shape *s = run->shape;

    for (int64_t i = 0; i < (int64_t)passes * b->n_positions; i++) {
        const int64_t pass = i / b->n_positions, at = b->first_position + i % b->n_positions;
        const int32_t *from = run->taps + (pass * s->out_height * s->out_width + at) * s->filters + b->first_filter;
        memset(to + i * DT_PSUM_LANES, 0x55, DT_PSUM_LANES * sizeof *to);
        memcpy(to + i * DT_PSUM_LANES, from, (size_t)b->n_filters * sizeof *to);
    }
}

/* All blocks, as the engine makes them. */
static inline dt_oracle_result oracle_run_judge(const oracle_run *run)
{
    const dt_psum_shape *s = run->shape;
    const int filters = s->filters / s->conv.groups, outputs = s->out_height * s->out_width;
    int16_t *x = malloc((size_t)dt_oracle_n_codes(s) * sizeof *x);
    dt_oracle_result r = { 0 };
    dt_oracle o;

    cr_assert(dt_oracle_open(&o, run->array, s, run->w) == DT_OK && x);
    const int passes = (int)(dt_oracle_n_values(&o) / ((int64_t)outputs * s->filters)) - 2;
    int32_t *taps = calloc((size_t)(passes + 1) * DT_PSUM_POSITIONS * DT_PSUM_LANES, sizeof *taps);
    const dt_oracle_case c = { &o, x, run->grid, run->psum, run->expected, run->exact };
    dt_oracle_read_codes(s, run->x, x);
    for (int k = 0; k < s->filters;) {
        const int left = filters - k % filters, n_filters = left < DT_PSUM_LANES ? left : DT_PSUM_LANES;
        for (int p = 0; p < outputs; p += DT_PSUM_POSITIONS) {
            const int n = outputs - p < DT_PSUM_POSITIONS ? outputs - p : DT_PSUM_POSITIONS;
            const dt_psum_taps b = { k, n_filters, p, n, run->taps ? taps : NULL };
            if (run->taps) oracle_run_block(run, &b, passes, taps);
            dt_oracle_judge(&c, &b, &r);
        }
        k += n_filters;
    }
    dt_oracle_close(&o);
    free(taps);
    free(x);
    return r;
}

#endif /* ORACLE_RUN_H */
