/*
 * score_check.c - see score_check.h.
 *
 * Tests: tests/accel/test_verify.c.
 */
#include "score_check.h"

#include "../../core/half.h"

#include <assert.h>
#include <stdlib.h>

static void compare(const float *expected, const float *found, int64_t n, int64_t classes, dt_oracle_result *r)
{
    for (int64_t i = 0; i < n; i++) {
        if (dt_float_bits(found[i]) == dt_float_bits(expected[i]) || r->n_wrong++ > 0) continue;
        r->first = (dt_mismatch){ .what = "program score, f32 bits",
                                  .image = i / classes,
                                  .channel = (int)(i % classes),
                                  .tile = -1,
                                  .tap = -1,
                                  .expected = dt_float_bits(expected[i]),
                                  .found = dt_float_bits(found[i]) };
    }
    r->n_checked += n;
}

dt_status dt_score_check_batch(dt_context *ctx, const dt_tensor *model, const dt_tensor *program,
                               dt_oracle_result *result)
{
    const int64_t n = dt_count(&program->shape);
    float *expected, *found;

    assert(dt_count(&model->shape) == n);
    *result = (dt_oracle_result){ 0 };
    DT_TRY(dt_device_floats(ctx, model->data, n, &expected));
    const dt_status status = dt_device_floats(ctx, program->data, n, &found);
    if (status == DT_OK) {
        compare(expected, found, n, program->shape.dim[1], result);
        free(found);
    }
    free(expected);
    return status;
}
