/*
 * pack.h - loads and stores neighbouring values of a tensor together, of any type.
 *
 * N is 1, 4 or 8. Packs of 4 and 8 values start at a multiple of N, so that loads of up to 16 bytes are aligned. If
 * type is a constant, the compiler removes the switch over it. dt_value_load, _store and _give take one value.
 */
#ifndef DT_PACK_H
#define DT_PACK_H

#include "kernel.h"

#include "../core/half.h"

/* Stands before loops over the values of a pack. Their indices must be constants, or the pack would lie in local
 * memory. */
#ifdef __CUDACC__
#define DT_UNROLL _Pragma("unroll")
#else
#define DT_UNROLL
#endif

/* Stands before a loop of which each round waits for one load. */
#ifdef __CUDACC__
#define DT_UNROLL_LOADS _Pragma("unroll 8")
#else
#define DT_UNROLL_LOADS
#endif

/* N values as they are stored, the first in the lowest bits. A pack of zeros is N times the value 0. */
template <int N> struct dt_pack {
    unsigned word[N];
};

/* Returns a pack of zeros. */
template <int N> __device__ static inline dt_pack<N> dt_pack_zero()
{
    dt_pack<N> p;
    DT_UNROLL
    for (int i = 0; i < N; i++) p.word[i] = 0;
    return p;
}

/* Returns the bytes of one value; it is dt_type_bytes for kernels. */
__device__ static inline int dt_one_bytes(dt_dtype type)
{
    return type == DT_U8 || type == DT_I8 ? 1 : type == DT_BF16 || type == DT_F16 ? 2 : 4;
}

/* Returns element i as it is stored. */
__device__ static inline unsigned dt_one_load(const void *from, dt_dtype type, int64_t i)
{
    switch (dt_one_bytes(type)) {
    case 1: return ((const uint8_t *)from)[i];
    case 2: return ((const uint16_t *)from)[i];
    }
    return ((const unsigned *)from)[i];
}

/* Stores element i. */
__device__ static inline void dt_one_store(void *to, dt_dtype type, int64_t i, unsigned word)
{
    switch (dt_one_bytes(type)) {
    case 1: ((uint8_t *)to)[i] = (uint8_t)word; break;
    case 2: ((uint16_t *)to)[i] = (uint16_t)word; break;
    default: ((unsigned *)to)[i] = word;
    }
}

/* Returns elements first .. first + N - 1 of `from`. */
template <int N> __device__ static inline dt_pack<N> dt_pack_load(const void *from, dt_dtype type, int64_t first)
{
    dt_pack<N> p = dt_pack_zero<N>();
    const int words = N * dt_one_bytes(type) / 4;
    const char *at = (const char *)from + first * dt_one_bytes(type);

    if (N == 1) {
        p.word[0] = dt_one_load(from, type, first);
    } else if (words == 1) {
        p.word[0] = *(const unsigned *)at;
    } else if (words == 2) {
        const uint2 w = *(const uint2 *)at;
        p.word[0] = w.x;
        p.word[1 % N] = w.y;
    } else {
        DT_UNROLL
        for (int i = 0; i + 3 < N; i += 4) {
            if (i >= words) break;
            const uint4 w = ((const uint4 *)at)[i / 4];
            p.word[i] = w.x;
            p.word[i + 1] = w.y;
            p.word[i + 2] = w.z;
            p.word[i + 3] = w.w;
        }
    }
    return p;
}

/* Stores a pack as elements first .. first + N - 1 of `to`. */
template <int N> __device__ static inline void dt_pack_store(void *to, dt_dtype type, int64_t first, dt_pack<N> p)
{
    const int words = N * dt_one_bytes(type) / 4;
    char *at = (char *)to + first * dt_one_bytes(type);

    if (N == 1) {
        dt_one_store(to, type, first, p.word[0]);
    } else if (words == 1) {
        *(unsigned *)at = p.word[0];
    } else if (words == 2) {
        *(uint2 *)at = make_uint2(p.word[0], p.word[1 % N]);
    } else {
        DT_UNROLL
        for (int i = 0; i + 3 < N; i += 4) {
            if (i < words) ((uint4 *)at)[i / 4] = make_uint4(p.word[i], p.word[i + 1], p.word[i + 2], p.word[i + 3]);
        }
    }
}

/* Returns value i of a pack of F32, BF16 or F16. i must be a constant. */
template <int N> __device__ static inline float dt_pack_value(const dt_pack<N> &p, dt_dtype type, int i)
{
    const unsigned half = p.word[i / 2] >> 16 * (i % 2) & 0xffffu;

    if (type == DT_F16) return dt_from_fp16((uint16_t)half);
    if (type == DT_BF16) return dt_from_bf16((uint16_t)half);
    return dt_float_of_bits(p.word[i]);
}

/* Sets value[0..N-1] to the values of a pack of F32, BF16 or F16. */
template <int N> __device__ static inline void dt_pack_values(const dt_pack<N> &p, dt_dtype type, float *value)
{
    switch (type) {
    case DT_F16:
        DT_UNROLL
        for (int i = 0; i < N; i++) value[i] = dt_pack_value(p, DT_F16, i);
        break;
    case DT_BF16:
        DT_UNROLL
        for (int i = 0; i < N; i++) value[i] = dt_pack_value(p, DT_BF16, i);
        break;
    default:
        DT_UNROLL
        for (int i = 0; i < N; i++) value[i] = dt_pack_value(p, DT_F32, i);
    }
}

/* Returns a pack of N values that are rounded to F32, BF16 or F16. */
template <int N> __device__ static inline dt_pack<N> dt_pack_of(const float *value, dt_dtype type)
{
    dt_pack<N> p = dt_pack_zero<N>();

    switch (type) {
    case DT_F16:
        DT_UNROLL
        for (int i = 0; i < N; i++) p.word[i / 2] |= (unsigned)dt_to_fp16(value[i]) << 16 * (i % 2);
        break;
    case DT_BF16:
        DT_UNROLL
        for (int i = 0; i < N; i++) p.word[i / 2] |= (unsigned)dt_to_bf16(value[i]) << 16 * (i % 2);
        break;
    default:
        DT_UNROLL
        for (int i = 0; i < N; i++) p.word[i] = dt_float_bits(value[i]);
    }
    return p;
}

/* Returns a pack of N codes. type may also be U8 or I8, if the codes fit. */
template <int N> __device__ static inline dt_pack<N> dt_pack_of_codes(const float *code, dt_dtype type)
{
    if (type != DT_U8 && type != DT_I8) return dt_pack_of<N>(code, type);
    dt_pack<N> p = dt_pack_zero<N>();
    DT_UNROLL
    for (int i = 0; i < N; i++) p.word[i / 4] |= ((unsigned)(int)code[i] & 0xffu) << 8 * (i % 4);
    return p;
}

/* Returns value i of a tensor of F32, BF16 or F16. */
__device__ static inline float dt_value_load(const void *from, dt_dtype type, int64_t i)
{
    return dt_pack_value(dt_pack_load<1>(from, type, i), type, 0);
}

/* Stores value i of a tensor of F32, BF16 or F16, rounded half to even. */
__device__ static inline void dt_value_store(void *to, dt_dtype type, int64_t i, float value)
{
    dt_pack_store(to, type, i, dt_pack_of<1>(&value, type));
}

/* Adds value to element i of a gradient, or overwrites it where it is fresh. */
__device__ static inline void dt_value_give(void *to, dt_dtype type, int64_t i, float value, int fresh)
{
    dt_value_store(to, type, i, fresh ? value : dt_value_load(to, type, i) + value);
}

#endif /* DT_PACK_H */
