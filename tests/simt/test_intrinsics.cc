/*
 * test_intrinsics.cc - the shim's arithmetic against definitions in double and in wider integers, and its tensor cores
 * against a plain product.
 */
#include <cmath>

#include "../support/draws.h"

#include "../../cuda/launch.h"
#include "../../cuda/mma.h"
#include "check.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"

static uint32_t next_bits()
{
    static draws all = { 1, 0 };
    return draw_bits(&all);
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

/* Operands of a product on tensor cores, as matrices. */
struct matrices {
    uint8_t a[16][16], b[16][8]; /* b, and a of dt_mma_s8, are read as signed */
    int32_t c[16][8];
};

/* One warp. Byte i of a and b, and value i of c, lie where the tables of the PTX ISA say, element by element. */
template <bool is_signed> static __global__ void product_kernel(matrices *m)
{
    const unsigned group = threadIdx.x >> 2, in_group = threadIdx.x % 4;
    uint8_t a_bytes[8], b_bytes[4];
    uint32_t a[2], b;
    int32_t c[4];

    for (unsigned i = 0; i < 8; i++) a_bytes[i] = m->a[i < 4 ? group : group + 8][in_group * 4 + (i & 3)];
    for (unsigned i = 0; i < 4; i++) b_bytes[i] = m->b[in_group * 4 + i][group];
    for (unsigned i = 0; i < 4; i++) c[i] = m->c[i < 2 ? group : group + 8][in_group * 2 + (i & 1)];
    memcpy(a, a_bytes, sizeof a);
    memcpy(&b, b_bytes, sizeof b);
    if (is_signed)
        dt_mma_s8(c, a, b);
    else
        dt_mma_u8(c, a, b);
    for (unsigned i = 0; i < 4; i++) m->c[i < 2 ? group : group + 8][in_group * 2 + (i & 1)] = c[i];
}

static void check_product(bool is_signed)
{
    matrices m, got;

    for (auto &row : m.a) {
        for (uint8_t &value : row) value = static_cast<uint8_t>(next_bits());
    }
    for (auto &row : m.b) {
        for (uint8_t &value : row) value = static_cast<uint8_t>(next_bits());
    }
    for (auto &row : m.c) {
        for (int32_t &value : row) value = static_cast<int32_t>(next_bits() >> 8);
    }
    got = m;
    if (is_signed)
        DT_START(product_kernel<true>, 1, 32, 0, 0, &got);
    else
        DT_START(product_kernel<false>, 1, 32, 0, 0, &got);
    check_equal(cudaGetLastError(), cudaSuccess);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 8; j++) {
            int sum = m.c[i][j];
            for (int k = 0; k < 16; k++) {
                sum += (is_signed ? static_cast<int8_t>(m.a[i][k]) : m.a[i][k]) * static_cast<int8_t>(m.b[k][j]);
            }
            check_equal(got.c[i][j], sum, "signed %d: C[%d][%d]", is_signed, i, j);
        }
    }
}

Test(intrinsics, a_warp_multiplies_matrices_of_bytes)
{
    for (int i = 0; i < 20; i++) check_product(i % 2);
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
