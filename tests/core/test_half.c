/*
 * test_half.c - 16-bit floats: every fp16 and bf16 goes there and back; rounding at ties and at the edges.
 *
 * The oracle of rounding is a search among the neighbours, in double.
 */
#include "../../core/half.h"

#include <criterion/criterion.h>

Test(half, every_fp16_survives)
{
    for (uint32_t x = 0; x <= 0xffff; x++) {
        const float value = dt_from_fp16((uint16_t)x);
        if (isnan(value)) continue;
        cr_assert_eq(dt_to_fp16(value), x, "0x%04x is %g and comes back as 0x%04x", x, (double)value,
                     dt_to_fp16(value));
    }
    cr_assert(isnan(dt_from_fp16(dt_to_fp16(NAN))));
}

Test(half, every_bf16_survives)
{
    for (uint32_t x = 0; x <= 0xffff; x++) {
        const float value = dt_from_bf16((uint16_t)x);
        if (isnan(value)) continue;
        cr_assert_eq(dt_to_bf16(value), x, "0x%04x comes back as 0x%04x", x, dt_to_bf16(value));
    }
    cr_assert(isnan(dt_from_bf16(dt_to_bf16(NAN))));
}

/* Between neighbours x and x + 1 of one sign: a quarter rounds down, three quarters up, the half to the even one. */
static void check_between(uint16_t x, float (*from)(uint16_t), uint16_t (*to)(float))
{
    const double low = (double)from(x), high = (double)from((uint16_t)(x + 1)), gap = high - low;

    cr_assert_eq(to((float)(low + 0.25 * gap)), x);
    cr_assert_eq(to((float)(low + 0.75 * gap)), x + 1);
    cr_assert_eq(to((float)(low + 0.5 * gap)), x + (x & 1), "the middle of 0x%04x", x);
}

Test(half, rounds_half_to_even)
{
    for (uint16_t x = 0; x < 0x7bff; x++) check_between(x, dt_from_fp16, dt_to_fp16);
    for (uint16_t x = 0x0080; x < 0x7f7f; x++) check_between(x, dt_from_bf16, dt_to_bf16);
}

Test(half, edges_of_fp16)
{
    cr_assert_eq(dt_from_fp16(dt_to_fp16(2048.0f)), 2048.0f);
    cr_assert_eq(dt_from_fp16(dt_to_fp16(2049.0f)), 2048.0f, "the first integer that fp16 does not hold");
    cr_assert_eq(dt_from_fp16(dt_to_fp16(65519.0f)), 65504.0f);
    cr_assert(isinf(dt_from_fp16(dt_to_fp16(65520.0f))));
    cr_assert_eq(dt_to_fp16(-0.0f), 0x8000);
    cr_assert_eq(dt_from_fp16(1), 0x1p-24f);
}
