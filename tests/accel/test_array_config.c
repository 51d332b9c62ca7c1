/*
 * test_array_config.c - the array's defaults, and the refusal of each field that is out of its range.
 */
#include "detent/detent.h"

#include <criterion/criterion.h>
#include <string.h>

#define WS   DT_DATAFLOW_WS
#define WRAP DT_OVERFLOW_WRAP

static void refused_array(dt_array array, const char *text)
{
    cr_assert(dt_array_check(&array) == DT_ERR_ARGUMENT && strstr(dt_last_error(), text), "%s, expected '%s' in it",
              dt_last_error(), text);
}

Test(array_config, arrays_out_of_range_are_refused)
{
    dt_array array;
    dt_array_default(&array);
    cr_assert(dt_array_check(&array) == DT_OK, "%s", dt_last_error());
    refused_array((dt_array){ 0, 8, 16, WRAP, WS, 0 }, "rows is 0, allowed are 1 to 256");
    refused_array((dt_array){ 8, 257, 16, WRAP, WS, 0 }, "cols is 257");
    refused_array((dt_array){ 8, 8, 64, WRAP, WS, 0 }, "psum_bits is 64, allowed are 8 to 32");
    refused_array((dt_array){ 8, 8, 16, (dt_overflow)2, WS, 0 }, "overflow is 2");
    refused_array((dt_array){ 8, 8, 16, WRAP, (dt_dataflow)2, 0 }, "dataflow is 2");
    refused_array((dt_array){ 8, 8, 16, WRAP, WS, 3 }, "simd is 3, allowed are 0 to 2");
}
