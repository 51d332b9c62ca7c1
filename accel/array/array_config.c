/*
 * array_config.c - the options of the integer array: defaults and ranges. They are described in include/detent/array.h.
 *
 * Tests: tests/accel/test_array_config.c.
 */
#include "detent/detent.h"

enum { MOST_ROWS = 256, FEWEST_BITS = 8, MOST_BITS = 32, MOST_SIMD = 2 };

void dt_array_default(dt_array *out)
{
    *out = (dt_array){ .rows = 8, .cols = 8, .psum_bits = 16 };
}

static dt_status check_range(const char *field, int value, int low, int high)
{
    DT_CHECK(value >= low && value <= high, DT_ERR_ARGUMENT, "array: %s is %d, allowed are %d to %d", field, value, low,
             high);
    return DT_OK;
}

dt_status dt_array_check(const dt_array *a)
{
    DT_TRY(check_range("rows", a->rows, 1, MOST_ROWS));
    DT_TRY(check_range("cols", a->cols, 1, MOST_ROWS));
    DT_TRY(check_range("psum_bits", a->psum_bits, FEWEST_BITS, MOST_BITS));
    DT_TRY(check_range("overflow", (int)a->overflow, DT_OVERFLOW_WRAP, DT_OVERFLOW_SATURATE));
    DT_TRY(check_range("dataflow", (int)a->dataflow, DT_DATAFLOW_WS, DT_DATAFLOW_OS));
    return check_range("simd", a->simd, 0, MOST_SIMD);
}
