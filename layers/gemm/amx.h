/*
 * amx.h - the tile instructions (AMX) as macros, from which kernels are written.
 *
 * There are eight tiles of 16 rows of 64 bytes; t, c, a and b are their numbers, which must be literals. A row of an
 * operand `a` is 16 words along k. Row k of an operand `b` is a word for each of 16 columns.
 *
 *   c[i][j] += sum over k of dot(a[i][k], b[k][j])
 *
 * dot is that of word_gemm.h. Bytes are summed in int32, exactly. Of bf16 a tile sums its 16 products of each half by
 * itself, beginning at 0, adds the two sums, and adds that to c. Every sum is rounded half to even, and denormals are
 * 0, operands and results alike.
 *
 * The state belongs to the thread. dt_amx_take comes before the first of these on each thread, dt_amx_release after
 * the last. Between them, a switch of threads saves 8 KiB.
 *
 * A test may define DETENT_AMX_MODEL to the name of a header that defines the same macros in plain C
 * (tests/support/amx_tiles.h), and include a kernel's source, which then runs on any CPU with AVX-512.
 *
 * Source: Intel, "Architecture Instruction Set Extensions", 319433, chapter 3; the order of bf16 sums was measured.
 */
#ifndef DT_AMX_H
#define DT_AMX_H

enum { DT_AMX_ROWS = 16, DT_AMX_ROW_BYTES = 64, DT_AMX_BYTES = 1024, DT_AMX_WORDS = 256 };

#ifdef DETENT_AMX_MODEL

#include DETENT_AMX_MODEL

#else

#include <stdint.h>

#define DT_AMX_CODE \
    __attribute__((target("amx-tile,amx-int8,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")))

/* The operand of LDTILECFG. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} dt_amx_shape;

/* Gives the calling thread all tiles, each of 16 rows of 64 bytes. */
static inline DT_AMX_CODE void dt_amx_take(void)
{
    dt_amx_shape s = { .palette = 1 };

    for (int t = 0; t < 8; t++) {
        s.row_bytes[t] = DT_AMX_ROW_BYTES;
        s.rows[t] = DT_AMX_ROWS;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(s));
}

static inline DT_AMX_CODE void dt_amx_release(void)
{
    __asm__ volatile("tilerelease");
}

/* Rows begin `bytes` apart. The clobber keeps the compiler from moving stores of plain C past a load. */
#define DT_AMX_LOAD(t, at, bytes) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(at), "r"((int64_t)(bytes)) : "memory")
#define DT_AMX_STORE(t, at, bytes) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(at), "r"((int64_t)(bytes)) : "memory")
#define DT_AMX_ZERO(t) __asm__ volatile("tilezero %%tmm" #t ::)

#define DT_AMX_U8S8(c, a, b) __asm__ volatile("tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)
#define DT_AMX_S8S8(c, a, b) __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)
#define DT_AMX_BF16(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)

#endif

#endif /* DT_AMX_H */
