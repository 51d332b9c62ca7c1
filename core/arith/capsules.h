/*
 * capsules.h - the exact integer arithmetic of capsules, which CPU and CUDA share: squash, the softmax of couplings,
 * the sums and agreements of routing, and lengths.
 *
 * The real value of a code is code * 2^-frac, that of a vote code * scale. There is one rounding, half up:
 * dt_shift_half_up(x, k) = (x + 2^(k-1)) >> k. A ratio r > 0 is (mul, shift) with mul / 2^shift near r.
 *
 *   sum        s = clamp((acc * mul + offset) >> shift), acc = sum over inputs of c * u
 *              offset = rint(bias * 2^(s_frac + shift)) + 2^(shift - 1)
 *   squash     q = sum of s^2;  v = clamp(s * gain >> ..), the gain sqrt(Q) / (1 + Q) from a table, by interpolation
 *   agreement  a = sum over values of u * v;  b = clamp((b * keep + a * mul) >> shift), b in units of log2
 *   softmax    e = 2^-(max(b) - b) from a table;  c = e / sum of e by one division a row
 *   length     Q / (1 + Q) = q / (q + 4^s_frac)
 *
 * The squash table has 8 segments in each octave of Q from 2^-6 to 2^12: entry i is 2^16 sqrt(t) / (1 + t), rounded
 * half up, at t = 2^(i div 8 - 6) (1 + i mod 8 / 8). Outside, the gain halves for each factor of 4 in Q, to both sides.
 * The length of v is within 0.0018 of the real one before its last rounding. Entry i of the other table is 2^15 2^(-i /
 * 32), rounded.
 *
 * Ranges: codes of up to 16 bits, q below 2^36, acc and a below 2^31, mul below 2^15, rows of up to 512 couplings.
 * Sources: Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules", NIPS 2017, for what is approximated.
 * Operators: layers/caps/route_int.c, layers/caps/class_int.c.  Tests: tests/core/test_capsules.c.
 */
#ifndef DT_ARITH_CAPSULES_H
#define DT_ARITH_CAPSULES_H

#include "../rng.h" /* DT_HD */
#include "../declared.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum {
    DT_SQUASH_LOW = -6, /* the table's octaves of Q: 2^-6 up to 2^12 */
    DT_SQUASH_HIGH = 12,
    DT_SQUASH_SEGMENT = 3, /* log2 of the segments of an octave */
    DT_SQUASH_PLACE = 8,   /* bits of the place in a segment */
    DT_SQUASH_ONE = 16,    /* fraction bits of an entry */
    DT_SQUASH_ENTRIES = ((DT_SQUASH_HIGH - DT_SQUASH_LOW) << DT_SQUASH_SEGMENT) + 1,
    DT_EXP_BITS = 5, /* log2 of the entries of the table of 2^-x */
    DT_EXP_ONE = 15, /* fraction bits of an entry */
    DT_EXP_ENTRIES = 1 << DT_EXP_BITS,
    DT_LENGTH_BITS = 24,        /* fraction bits of a length, which f32 holds */
    DT_CAPS_SHIFT_MAX = 36,     /* of a ratio that is made from a scale, so that offsets stay below 2^54 */
    DT_CAPS_SPAN_MAX = 512,     /* capsules of a softmax */
    DT_CAPS_BIAS_MAX = 1 << 17, /* steps of s; s itself has up to 2^15 */
    DT_CAPS_KEEP_MAX = 46       /* shift of a logit that is kept, so that 16 bits of it stay below 2^62 */
};

typedef struct {
    int32_t squash[DT_SQUASH_ENTRIES], exp[DT_EXP_ENTRIES]; /* of 32 bits, as vectors hold them */
} dt_caps_tables;

/* clang-format off */
#define DT_SQUASH_TABLE \
    8066, 8539, 8983, 9404, 9803, 10184, 10549, 10898, 11234, 11871, 12466, 13025, 13554, 14055, 14531, \
    14986, 15420, 16236, 16990, 17692, 18346, 18960, 19537, 20081, 20596, 21546, 22405, 23185, 23897, 24550, \
    25150, 25703, 26214, 27126, 27913, 28595, 29187, 29704, 30155, 30549, 30894, 31457, 31884, 32201, 32432, \
    32592, 32695, 32751, 32768, 32711, 32565, 32357, 32106, 31826, 31526, 31214, 30894, 30247, 29606, 28981, \
    28378, 27799, 27246, 26718, 26214, 25277, 24424, 23645, 22933, 22278, 21674, 21115, 20596, 19661, 18840, \
    18113, 17463, 16878, 16348, 15864, 15420, 14634, 13956, 13365, 12842, 12377, 11958, 11579, 11234, 10627, \
    10109, 9660, 9266, 8917, 8604, 8322, 8066, 7618, 7237, 6908, 6620, 6365, 6138, 5933, 5748, 5424, 5149, \
    4912, 4705, 4522, 4359, 4213, 4080, 3848, 3652, 3483, 3336, 3205, 3089, 2985, 2891, 2726, 2586, 2466, \
    2362, 2269, 2187, 2113, 2046, 1929, 1830, 1745, 1671, 1606, 1547, 1495, 1447, 1365, 1295, 1235, 1182, \
    1136, 1094, 1057, 1024
#define DT_EXP_TABLE \
    32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386, 25821, 25268, 24726, 24196, \
    23678, 23170, 22674, 22188, 21713, 21247, 20792, 20347, 19911, 19484, 19066, 18658, 18258, 17867, 17484, \
    17109, 16743
/* clang-format on */

/* The tables in host memory; in layers/caps/route_int.c. */
extern const dt_caps_tables dt_caps_table;

/* A ratio of integers: mul / 2^shift. */
typedef struct {
    int mul, shift;
} dt_ratio;

/* Returns x / 2^k, rounded half up; k >= 0. */
static inline DT_HD int64_t dt_shift_half_up(int64_t x, int k)
{
    dt_declared(k, 0, 62, "capsules", "shift");
    return (x + ((int64_t)1 << k >> 1)) >> k;
}

/* Returns x within the range of two's complement of so many bits. */
static inline DT_HD int64_t dt_clamp_bits(int64_t x, int bits)
{
    const int64_t most = ((int64_t)1 << (bits - 1)) - 1;
    return x < -most - 1 ? -most - 1 : x > most ? most : x;
}

/* Returns the number of the highest bit of x >= 1. */
static inline DT_HD int dt_log2_floor(uint64_t x)
{
#ifdef __CUDA_ARCH__
    return 63 - __clzll((long long)x);
#else
    return 63 - __builtin_clzll(x);
#endif
}

/* ---- squash ---- */

/* sqrt(Q) / (1 + Q) is near gain / 2^(16 + shift). */
typedef struct {
    int gain, shift;
} dt_squash_gain;

/* Returns the gain of a capsule whose codes, of s_frac fraction bits, have the sum of squares q. */
static inline DT_HD dt_squash_gain dt_squash_gain_of(const int32_t *table, uint64_t q, int s_frac)
{
    const int bits = DT_SQUASH_SEGMENT + DT_SQUASH_PLACE, z = dt_log2_floor(q | 1);
    dt_squash_gain g = { 0, 0 };
    int e = z - 2 * s_frac; /* Q lies in 2^e .. 2^(e+1) */

    dt_declared((int64_t)q, 0, ((int64_t)1 << 36) - 1, "squash", "sum of squares");
    if (q == 0) return g;
    if (e < DT_SQUASH_LOW) {
        g.shift = (DT_SQUASH_LOW - e + 1) >> 1;
        e += 2 * g.shift;
    } else if (e >= DT_SQUASH_HIGH) {
        g.shift = (e - DT_SQUASH_HIGH + 2) >> 1;
        e -= 2 * g.shift;
    }
    const int x = (int)(z >= bits ? q >> (z - bits) : q << (bits - z)); /* 1.mmm ffffffff, cut */
    const int i = ((e - DT_SQUASH_LOW) << DT_SQUASH_SEGMENT) + (x >> DT_SQUASH_PLACE & ((1 << DT_SQUASH_SEGMENT) - 1));
    dt_declared(i, 0, DT_SQUASH_ENTRIES - 2, "squash", "entry");
    const int place = x & ((1 << DT_SQUASH_PLACE) - 1), low = table[i], high = table[i + 1];
    g.gain = low + (int)dt_shift_half_up((int64_t)(high - low) * place, DT_SQUASH_PLACE);
    return g;
}

/* Formats of a squash. square and out make up for steps that are no powers of two: square is (step of s * 2^s_frac)^2,
 * out is step of s / step of v * 2^(s_frac - v_frac). Where the steps are powers of two, both are 1 / 2^0. */
typedef struct {
    int s_frac, v_bits, v_frac; /* s_frac + 16 >= v_frac */
    dt_ratio square, out;
} dt_squash_format;

/* Returns the code of v for the code s of a capsule with that gain. */
static inline DT_HD int dt_squash_code(const dt_squash_format *f, dt_squash_gain g, int s)
{
    const int shift = f->s_frac + DT_SQUASH_ONE - f->v_frac + g.shift + f->out.shift;
    const int64_t product = (int64_t)s * g.gain * f->out.mul;

    return shift > 62 ? 0 : (int)dt_clamp_bits(dt_shift_half_up(product, shift), f->v_bits);
}

/* Returns q by the real steps of s: see dt_squash_format.square. */
static inline DT_HD uint64_t dt_caps_square_by_step(uint64_t q, dt_ratio square)
{
    return (uint64_t)dt_shift_half_up((int64_t)q * square.mul, square.shift);
}

/* ---- the softmax of couplings ---- */

/* Returns 2^15 * 2^(-t * ratio / 32), rounded, for t = max(b) - b >= 0; from 17 octaves on it is 0. */
static inline DT_HD uint32_t dt_exp_code(const int32_t *table, int64_t t, dt_ratio ratio)
{
    const int64_t y = dt_shift_half_up(t * ratio.mul, ratio.shift), octaves = y >> DT_EXP_BITS;

    return (uint32_t)dt_shift_half_up(table[y & (DT_EXP_ENTRIES - 1)], octaves > 17 ? 17 : (int)octaves);
}

/* Returns the ratio for logits in units of log2 with b_frac fraction bits. */
static inline DT_HD dt_ratio dt_exp_ratio(int b_frac)
{
    const int up = DT_EXP_BITS - b_frac;
    const dt_ratio ratio = { up > 0 ? 1 << up : 1, up > 0 ? 0 : -up };
    return ratio;
}

/* What divides a row: e * factor / 2^(z + 16) is e / sum. */
typedef struct {
    uint32_t factor; /* 2^15 < factor <= 2^16 */
    int z;
} dt_softmax_divisor;

/* Returns the divisor of a row whose dt_exp_codes have that sum. numerator: 2^31, or less where the step of a coupling
 * is no power of two. */
static inline DT_HD dt_softmax_divisor dt_softmax_divisor_of(uint32_t sum, uint32_t numerator)
{
    const int z = dt_log2_floor(sum);
    const dt_softmax_divisor d = { numerator / (sum >> (z - DT_EXP_ONE)), z };
    return d;
}

/* Returns the coupling's code of c_bits bits, without sign, and c_frac fraction bits. */
static inline DT_HD int dt_coupling_code(dt_softmax_divisor d, uint32_t e, int c_bits, int c_frac)
{
    const int64_t c = dt_shift_half_up((int64_t)e * d.factor, d.z + 16 - c_frac), most = ((int64_t)1 << c_bits) - 1;
    return (int)(c < most ? c : most);
}

/* ---- sums and agreements ---- */

/* Returns the ratio that is nearest to scale * 2^up, for scale > 0. mul has 15 bits, and fewer where shift would pass
 * DT_CAPS_SHIFT_MAX: what is rounded off then is at most 2^-37, and so changes no product with a sum below 2^31 by more
 * than 2^-6 of a step. Of a ratio of 2^15 or more shift is 0, and the ratio too small; what is multiplied by it is then
 * at its limit. */
static inline DT_HD dt_ratio dt_ratio_of(float scale, int up)
{
    uint32_t bits;
    dt_ratio ratio;

    memcpy(&bits, &scale, sizeof bits);
    const int exponent = (int)(bits >> 23) - 127;
    int64_t mul = dt_shift_half_up((int64_t)(bits & 0x7fffff) | 0x800000, 9);
    int shift = 14 - exponent - up;
    if (mul == 1 << 15) {
        mul >>= 1;
        shift--;
    }
    const int less = shift - DT_CAPS_SHIFT_MAX;
    if (less > 0) mul = less > 15 ? 0 : dt_shift_half_up(mul, less);
    ratio.mul = (int)dt_declared(mul, 0, (1 << 15) - 1, "capsules", "multiplier of a ratio");
    ratio.shift = less > 0 ? DT_CAPS_SHIFT_MAX : shift < 0 ? 0 : shift;
    return ratio;
}

/* Returns 1 if a bias is within DT_CAPS_BIAS_MAX steps of s. */
static inline DT_HD int dt_caps_bias_fits(float bias, int s_frac)
{
    const double steps = (double)bias * (double)(1 << s_frac);
    return steps >= -(double)DT_CAPS_BIAS_MAX && steps <= (double)DT_CAPS_BIAS_MAX;
}

/* Returns the offset of a sum, with the half that rounds. A bias that does not fit counts as the largest that does; no
 * program has one. */
static inline DT_HD int64_t dt_caps_offset(float bias, int s_frac, int shift)
{
    const double most = DT_CAPS_BIAS_MAX, steps = (double)bias * (double)(1 << s_frac);
    const double within = steps < -most ? -most : steps > most ? most : steps;

    return (int64_t)rint(within * (double)((int64_t)1 << shift)) + (shift > 0 ? (int64_t)1 << (shift - 1) : 0);
}

/* Returns the code of s. */
static inline DT_HD int dt_caps_sum_code(int64_t acc, dt_ratio ratio, int64_t offset, int s_bits)
{
    dt_declared_bits(acc, 32, "routing", "sum of votes");
    return (int)dt_clamp_bits((acc * ratio.mul + offset) >> ratio.shift, s_bits);
}

/* Returns the code of a logit after an agreement; keep is what its code before is multiplied by. */
static inline DT_HD int dt_caps_logit_code(int64_t b, int64_t keep, int64_t a, dt_ratio agree, int b_bits)
{
    dt_declared_bits(a, 32, "routing", "agreement");
    return (int)dt_clamp_bits(dt_shift_half_up(b * keep + a * agree.mul, agree.shift), b_bits);
}

/* Returns the length Q / (1 + Q) with `bits` fraction bits, rounded down. */
static inline DT_HD uint32_t dt_caps_length_code(uint64_t q, int s_frac, int bits)
{
    return (uint32_t)((q << bits) / (q + ((uint64_t)1 << (2 * s_frac))));
}

#endif /* DT_ARITH_CAPSULES_H */
