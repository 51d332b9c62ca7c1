/*
 * cpu_level.c - see cpu_level.h.  Tests: tests/core/test_cpu_level.c, tests/cpu_levels.c, tests/old_cpu.c.
 */
#include "cpu_level.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const names[DT_CPU_LEVELS] = { "scalar", "avx2", "avx512", "amx" };

/* Found once. `wanted` is the environment's word, a copy that is never freed, or NULL. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static dt_cpu_level best, now;
static const char *wanted;

#if defined(__x86_64__)

/* Linux lets a process use the tiles' 8 KiB of registers once it has asked (Documentation/arch/x86/xstate.rst). */
static int tiles_are_granted(void)
{
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return 0;
#endif
}

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* Leaf 7 of CPUID: clang before 15 has no names for these. */
static int has_tiles(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, ALL = AMX_BF16 | AMX_TILE | AMX_INT8 };
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & ALL) == ALL;
}

static int has_amx(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
           has_tiles() && tiles_are_granted();
}

static dt_cpu_level find_best(void)
{
    if (has_amx()) return DT_CPU_AMX;
    if (has_avx512()) return DT_CPU_AVX512;
    return __builtin_cpu_supports("avx2") ? DT_CPU_AVX2 : DT_CPU_SCALAR;
}

static int supports_vnni(void)
{
    return __builtin_cpu_supports("avx512vnni") != 0;
}

static int supports_bf16(void)
{
    return __builtin_cpu_supports("avx512bf16") != 0;
}

#else

static dt_cpu_level find_best(void)
{
    return DT_CPU_SCALAR;
}

static int supports_vnni(void)
{
    return 0;
}

static int supports_bf16(void)
{
    return 0;
}

#endif

/* Returns the level of a name, or DT_CPU_LEVELS. */
static dt_cpu_level level_of(const char *name)
{
    for (int i = 0; i < DT_CPU_LEVELS; i++) {
        if (strcmp(name, names[i]) == 0) return (dt_cpu_level)i;
    }
    return DT_CPU_LEVELS;
}

static void find(void)
{
    const char *word = getenv("DETENT_CPU");

    best = now = find_best();
    if (!word || !*word) return;
    wanted = strdup(word);
    if (level_of(word) < best) now = level_of(word);
}

dt_cpu_level dt_cpu_level_now(void)
{
    pthread_once(&once, find);
    return now;
}

dt_cpu_level dt_cpu_level_best(void)
{
    pthread_once(&once, find);
    return best;
}

const char *dt_cpu_level_name(dt_cpu_level level)
{
    return names[level];
}

dt_status dt_cpu_level_check(void)
{
    pthread_once(&once, find);
    if (!wanted) return DT_OK;
    DT_CHECK(level_of(wanted) < DT_CPU_LEVELS, DT_ERR_ARGUMENT,
             "DETENT_CPU is '%s', which is no level; there are scalar, avx2, avx512 and amx", wanted);
    DT_CHECK(
        level_of(wanted) <= best, DT_ERR_UNSUPPORTED,
        "DETENT_CPU is '%s', but the highest level of this CPU is '%s'; set it to that or a lower one, or unset it",
        wanted, names[best]);
    return DT_OK;
}

int dt_cpu_has_vnni(void)
{
    return dt_cpu_level_now() >= DT_CPU_AVX512 && supports_vnni();
}

int dt_cpu_has_bf16(void)
{
    return dt_cpu_level_now() >= DT_CPU_AVX512 && supports_bf16();
}
