/*
 * test_intrinsics.cc - the shim's arithmetic against definitions in double and in wider integers.
 */
#include <cmath>

#include "check.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"

/* a fixed sequence of bits; the constants are of Numerical Recipes */
static uint32_t next_bits()
{
    static uint32_t state = 1;

    state = state * 1664525u + 1013904223u;
    return state ^ state >> 15;
}

Test(intrinsics, dp4a_adds_four_products)
{
    check_equal(__dp4a(static_cast<int>(0x80808080u), static_cast<int>(0x80808080u), -5), 4 * 16384 - 5);
    check_equal(__dp4a(0xffffffffu, 0xffffffffu, 1u), 4u * 65025 + 1);
    for (int i = 0; i < 1000; i++) {
        const uint32_t a = next_bits(), b = next_bits();
        int8_t as[4], bs[4];
        int sum = i;
        memcpy(as, &a, 4);
        memcpy(bs, &b, 4);
        for (int k = 0; k < 4; k++) sum += as[k] * bs[k];
        check_equal(__dp4a(static_cast<int>(a), static_cast<int>(b), i), sum, "%08x . %08x", a, b);
    }
}

Test(intrinsics, conversions_round_half_to_even_and_clamp)
{
    static const struct {
        float x;
        int nearest, toward_zero;
        unsigned to_unsigned;
    } cases[] = {
        { 0.5f, 0, 0, 0 },
        { 1.5f, 2, 1, 2 },
        { 2.5f, 2, 2, 2 },
        { -0.5f, 0, 0, 0 },
        { -1.5f, -2, -1, 0 },
        { 2147483520.0f, 2147483520, 2147483520, 2147483520u },
        { 2147483648.0f, INT32_MAX, INT32_MAX, 2147483648u },
        { -3e9f, INT32_MIN, INT32_MIN, 0 },
        { 5e9f, INT32_MAX, INT32_MAX, UINT32_MAX },
        { NAN, 0, 0, 0 },
    };

    for (const auto &c : cases) {
        check_equal(__float2int_rn(c.x), c.nearest, "%g", static_cast<double>(c.x));
        check_equal(__float2int_rz(c.x), c.toward_zero, "%g", static_cast<double>(c.x));
        check_equal(__float2uint_rn(c.x), c.to_unsigned, "%g", static_cast<double>(c.x));
    }
}

Test(intrinsics, bits_and_extremes)
{
    check_equal(__umulhi(0xdeadbeefu, 0xcafebabeu), 0xb092ab7bu);
    check_equal(__popc(0xf0f0u), 8);
    check_equal(__clz(0), 32);
    check_equal(__clz(1), 31);
    check_equal(__ffs(0x50), 5);
    check_equal(max(NAN, 1.0f), 1.0f);
    check_equal(min(-1, 1), -1);
    check_equal(__saturatef(NAN), 0.0f);
    check_equal(__float_as_uint(-2.0f), 0xc0000000u);
}

/* value of a half with the given bits, for finite ones; the definition, not the code under test */
static double half_value(unsigned bits)
{
    const int exponent = static_cast<int>(bits >> 10 & 31), fraction = static_cast<int>(bits & 0x3ff);
    const double magnitude = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);

    return bits & 0x8000 ? -magnitude : magnitude;
}

Test(intrinsics, every_half_has_its_value)
{
    for (unsigned bits = 0; bits < 65536; bits++) {
        const float x = __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
        if ((bits & 0x7c00) != 0x7c00) {
            check_equal(static_cast<double>(x), half_value(bits), "half %04x", bits);
        } else {
            cr_assert(bits & 0x3ff ? std::isnan(x) : std::isinf(x), "half %04x", bits);
        }
        if (!std::isnan(x)) check_equal(__half_as_ushort(__float2half_rn(x)), bits);
    }
}

/* Between two neighbours of a 16-bit format: the middle goes to the even one, its sides to the nearer. */
static void check_rounding(unsigned bits, double low, double high, unsigned (*convert)(float))
{
    const float middle = static_cast<float>((low + high) / 2);

    check_equal(convert(middle), bits + bits % 2, "middle above %04x", bits);
    check_equal(convert(nextafterf(middle, 0.0f)), bits, "below the middle above %04x", bits);
    check_equal(convert(nextafterf(middle, INFINITY)), bits + 1, "above the middle above %04x", bits);
}

Test(intrinsics, halves_round_half_to_even)
{
    const auto convert = [](float x) -> unsigned { return __half_as_ushort(__float2half_rn(x)); };

    for (unsigned bits = 0; bits < 0x7bff; bits++) {
        check_rounding(bits, half_value(bits), half_value(bits + 1), convert);
    }
    check_equal(convert(65519.996f), 0x7bff);
    check_equal(convert(65520.0f), 0x7c00);
    check_equal(convert(-1e9f), 0xfc00);
    check_equal(convert(-NAN), 0x7fff);
    check_equal(convert(-0.0f), 0x8000);
}

Test(intrinsics, bfloat16_rounds_half_to_even)
{
    const auto convert = [](float x) -> unsigned { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); };
    const auto value = [](unsigned bits) {
        return static_cast<double>(__bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(bits))));
    };

    check_equal(value(0x3f80), 1.0);
    check_equal(value(0xc049), -3.140625);
    for (unsigned bits = 0; bits < 0x7f7f; bits++) check_rounding(bits, value(bits), value(bits + 1), convert);
    check_equal(convert(3.4e38f), 0x7f80);
    check_equal(convert(-NAN), 0x7fff);
}
