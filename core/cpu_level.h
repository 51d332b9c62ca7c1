/*
 * cpu_level.h - which of this CPU's instructions kernels use. Whatever chooses by the CPU asks here.
 *
 * A level has the instructions of those below. The level is the CPU's highest, or a lower one that the environment
 * variable DETENT_CPU names (scalar, avx2, avx512, amx). It is found once and holds for the process.
 */
#ifndef DT_CPU_LEVEL_H
#define DT_CPU_LEVEL_H

#include "detent/status.h"

typedef enum {
    DT_CPU_SCALAR, /* what the compiler was told that the CPU has */
    DT_CPU_AVX2,
    DT_CPU_AVX512, /* F, BW, DQ, VL; kernels ask for VNNI and BF16 by themselves */
    DT_CPU_AMX,    /* tiles of bytes and of bf16, which Linux has granted; VNNI and BF16 too */
    DT_CPU_LEVELS
} dt_cpu_level;

/* A function with it has the instructions of DT_CPU_AVX512, and vectors of 64 bytes where the compiler makes them of
 * loops; clang has no such wish, and would drop the whole list for it. */
#if defined(__clang__)
#define DT_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#else
#define DT_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif

/* Returns the level that kernels use. Where DETENT_CPU is wrong, it is the CPU's highest: dt_cpu_level_check reports.
 */
dt_cpu_level dt_cpu_level_now(void);
/* Returns the highest level of this CPU. */
dt_cpu_level dt_cpu_level_best(void);
/* Returns a level's name. */
const char *dt_cpu_level_name(dt_cpu_level level);
/* Fails if DETENT_CPU names no level, or one that this CPU does not have. */
DT_MUST_CHECK dt_status dt_cpu_level_check(void);

/* Return 1 if the level has AVX-512 and the CPU these instructions of it: products of bytes, products of bf16. */
int dt_cpu_has_vnni(void);
int dt_cpu_has_bf16(void);

#endif /* DT_CPU_LEVEL_H */
