/*
 * norm_line.c - see norm_line.h.
 *
 * Tests: tests/quant/test_lower.c, tests/quant/test_lower_exact.c.
 */
#include "norm_line.h"

#include "../../layers/batchnorm.h"

dt_status dt_norm_line_of(const dt_norm_line *n, float *slope, float *offset)
{
    float *const *part = n->part;

    for (int c = 0; c < n->channels; c++) {
        const float inv = dt_batchnorm_inv(part[3][c], n->params->epsilon);
        const dt_batchnorm_line line = dt_batchnorm_fold(part[0][c], part[1][c], part[2][c], inv, slope[c]);
        DT_CHECK(isfinite(line.a) && isfinite(line.b), DT_ERR_NUMERIC,
                 "%s: channel %d is %g * psum + %g; the model has diverged", n->name, c, (double)line.a,
                 (double)line.b);
        slope[c] = line.a;
        offset[c] = line.b;
    }
    return DT_OK;
}
