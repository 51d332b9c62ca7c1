/*
 * tensor_cores.h (SIMT shim) - models of what cuda/mma.h writes in PTX, built from shuffles: every lane fetches the
 * rows and columns of its own results from the lanes that hold them.
 */
#ifndef SIMT_TENSOR_CORES_H
#define SIMT_TENSOR_CORES_H

#include "simt.h"

/* the sum of four products of bytes, A signed or not as its type says, B signed */
template <class A> static inline int32_t simt_dot(uint32_t a, uint32_t b)
{
    int32_t sum = 0;
    for (int shift = 0; shift < 32; shift += 8) sum += static_cast<A>(a >> shift) * static_cast<int8_t>(b >> shift);
    return sum;
}

template <class A> static inline void simt_mma(int32_t c[4], const uint32_t a[2], uint32_t b)
{
    const unsigned group = simt::lane() / 4, quad = simt::lane() % 4;
    const uint64_t rows = static_cast<uint64_t>(a[1]) << 32 | a[0];

    for (unsigned k = 0; k < 4; k++) { /* columns 4 k ... 4 k + 3 of A */
        const uint64_t row = simt::shuffle(0xffffffffu, rows, 4 * group + k);
        for (unsigned column = 0; column < 2; column++) {
            const uint32_t four = simt::shuffle(0xffffffffu, b, 4 * (2 * quad + column) + k);
            c[column] += simt_dot<A>(static_cast<uint32_t>(row), four);
            c[2 + column] += simt_dot<A>(static_cast<uint32_t>(row >> 32), four);
        }
    }
}

static inline void dt_mma_u8(int32_t c[4], const uint32_t a[2], uint32_t b)
{
    simt_mma<uint8_t>(c, a, b);
}

static inline void dt_mma_s8(int32_t c[4], const uint32_t a[2], uint32_t b)
{
    simt_mma<int8_t>(c, a, b);
}

#endif /* SIMT_TENSOR_CORES_H */
