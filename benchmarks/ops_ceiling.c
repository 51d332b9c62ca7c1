/*
 * ops_ceiling.c - what this machine can do, measured: bandwidth by size, and operations a second; see ops.h.
 *
 *   copy        all threads copy a slice each (memcpy); on a device, its own copy. Bytes read and bytes written count.
 *   read        all threads sum a slice each; CPU only
 *   f32         chains of multiply-adds in registers, all threads; on a device, cuBLASLt's product of f32 matrices
 *   16-bit      layers/gemm/word_gemm.h on operands that stay in the first cache; on a device, cuDNN's 1x1
 *   int8        convolution of fp16, as large as a matrix product of 8,192. Values are random: zeros would take less
 *               power.
 *
 * The build allows this file, and no other, to fuse a product with a sum.
 */
#include "../core/half.h"
#include "../core/rng.h"
#include "../layers/gemm/word_gemm.h"
#include "ops.h"

#ifdef _OPENMP
#include <omp.h>
#endif

enum { ROUNDS = 7, MIB = 1 << 20 };

/* ---- memory ---- */

typedef struct {
    dt_context *ctx;
    char *arena; /* device; copies go from its first half to its second */
    size_t bytes;
} traffic;

enum { PIECE = 1 << 16 }; /* bytes: a thread's share is a run of these */

static void copy_on_cpu(const traffic *t)
{
    const size_t half = t->bytes / 2;
    char *to = t->arena + half;

#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < half; at += PIECE) memcpy(to + at, t->arena + at, half - at < PIECE ? half - at : PIECE);
}

static uint64_t read_on_cpu(const traffic *t)
{
    const int64_t n = (int64_t)(t->bytes / sizeof(uint64_t));
    const uint64_t *word = (const uint64_t *)(const void *)t->arena;
    uint64_t sum = 0;

#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += word[i];
    return sum;
}

static dt_status copy_call(void *user)
{
    const traffic *t = user;
    const size_t half = t->bytes / 2;

    if (t->ctx->backend != &dt_backend_cpu)
        return t->ctx->backend->copy(t->ctx->device, t->arena + half, t->arena, half);
    copy_on_cpu(t);
    return DT_OK;
}

/* What is computed for its time alone goes here, or the compiler would leave it out. */
static volatile double unread;

static dt_status read_call(void *user)
{
    unread = (double)read_on_cpu(user);
    return DT_OK;
}

/* Bytes/ms, the best of the rounds; each moves about as much as the largest size. */
static dt_status rate_of(traffic *t, dt_status (*call)(void *user), double *out)
{
    const int n = (int)(64.0 * MIB / (double)t->bytes) + 1;
    double ms[ROUNDS];

    DT_TRY(ops_time_calls(t->ctx, call, t, n, ROUNDS, ms));
    *out = (double)t->bytes / bench_summarise(ms, ROUNDS).least;
    return DT_OK;
}

static dt_status measure_memory(dt_context *ctx, ops_ceilings *out)
{
    const int on_cpu = ctx->backend == &dt_backend_cpu;
    const size_t most = (size_t)MIB << 2 * (OPS_SIZES - 1); /* 1, 4, .. 1,024 MiB */
    traffic t = { .ctx = ctx };
    dt_status status = DT_OK;

    DT_TRY(dt_device_alloc(ctx, most, (void **)&t.arena));
    status = dt_device_zero(ctx, t.arena, most);
    for (int i = 0; status == DT_OK && i < OPS_SIZES; i++) {
        t.bytes = (size_t)MIB << 2 * i;
        out->bytes[i] = (double)t.bytes;
        status = rate_of(&t, copy_call, &out->copy[i]);
        if (status == DT_OK && on_cpu) status = rate_of(&t, read_call, &out->read[i]);
    }
    dt_device_free(ctx, t.arena, most);
    return status;
}

/* ---- operations of a CPU ---- */

#ifdef __AVX512F__
enum { VECTOR = 64 };
#else
enum { VECTOR = 32 };
#endif
typedef float lanes __attribute__((vector_size(VECTOR)));

enum { CHAINS = 12, TURNS = 200000 };

static double fma_chains(void)
{
    lanes sum[CHAINS], factor, more;

    for (int k = 0; k < (int)(VECTOR / sizeof(float)); k++) {
        factor[k] = 0.999f + 1e-5f * (float)k;
        more[k] = 1e-3f;
    }
    for (int c = 0; c < CHAINS; c++) sum[c] = more * (float)c;
    for (int i = 0; i < TURNS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) sum[c] = sum[c] * factor + more;
    }
    for (int c = 1; c < CHAINS; c++) sum[0] += sum[c];
    return (double)sum[0][0];
}

enum { GEMM_M = 96, GEMM_N = 64, GEMM_K = 32, PRODUCTS = 2000 };

/* 2,000 products of 96 x 32 by 32 x 64 words, 44 KiB in all: whole blocks of registers and of tiles */
static double word_products(int is_int8)
{
    uint32_t a[GEMM_M * GEMM_K], b[GEMM_K * GEMM_N], c[GEMM_M * GEMM_N] = { 0 };
    const dt_word_gemm g = { .m = GEMM_M,
                             .n = GEMM_N,
                             .k = GEMM_K,
                             .a = a,
                             .a_row = GEMM_K,
                             .a_step = 1,
                             .b = b,
                             .b_row = GEMM_N,
                             .c = c,
                             .c_row = GEMM_N };

    for (int i = 0; i < GEMM_M * GEMM_K + GEMM_K * GEMM_N; i++) {
        const uint32_t bytes = dt_random(1, DT_STREAM_SYNTHETIC, 0, (uint64_t)i).v[0];
        const uint32_t halves = dt_to_bf16(2.0f * dt_uniform(bytes) - 1.0f) * 0x10001u;
        *(i < GEMM_M * GEMM_K ? &a[i] : &b[i - GEMM_M * GEMM_K]) = is_int8 ? bytes : halves;
    }
    for (int i = 0; i < PRODUCTS; i++) {
        if (is_int8)
            dt_word_gemm_u8s8(&g);
        else
            dt_word_gemm_bf16(&g);
    }
    return (double)c[0];
}

/* Operations/ms over all threads, the best of the rounds. */
static double cpu_peak(ops_unit unit)
{
    const double words = (double)PRODUCTS * GEMM_M * GEMM_N * GEMM_K;
    const double flop =
        unit == OPS_F32 ? 2.0 * TURNS * CHAINS * VECTOR / sizeof(float) : (unit == OPS_INT8 ? 8.0 : 4.0) * words;
    double ms[ROUNDS];
    int threads = 1;

    for (int i = 0; i < ROUNDS; i++) {
        double sum = 0.0;
        const double begin = bench_now();
#pragma omp parallel reduction(+ : sum)
        {
#ifdef _OPENMP
            if (omp_get_thread_num() == 0) threads = omp_get_num_threads();
#endif
            sum += unit == OPS_F32 ? fma_chains() : word_products(unit == OPS_INT8);
        }
        ms[i] = 1e3 * (bench_now() - begin);
        unread = sum;
    }
    return threads * flop / bench_summarise(ms, ROUNDS).least;
}

static dt_status measure_cpu_peaks(ops_ceilings *out)
{
    out->peak[OPS_F32] = cpu_peak(OPS_F32);
    if (dt_word_gemm_has_bf16()) out->peak[OPS_HALF] = cpu_peak(OPS_HALF);
    if (dt_word_gemm_has_int8()) out->peak[OPS_INT8] = cpu_peak(OPS_INT8);
    return DT_OK;
}

/* ---- operations of a device ---- */

static dt_status measure_device_peaks(dt_context *ctx, ops_ceilings *out)
{
    for (int is_half = 0; is_half < 2; is_half++) {
        double per_second;
        DT_TRY(ctx->backend->peak(ctx->device, is_half ? DT_PRECISION_MIXED : DT_PRECISION_F32, &per_second));
        out->peak[is_half ? OPS_HALF : OPS_F32] = 1e-3 * per_second; /* operations/ms */
    }
    return DT_OK;
}

static dt_status measure_peaks(dt_context *ctx, ops_ceilings *out)
{
    return ctx->backend->peak ? measure_device_peaks(ctx, out) : measure_cpu_peaks(out);
}

static dt_status measure_launch(dt_context *ctx, ops_ceilings *out)
{
    traffic t = { .ctx = ctx, .bytes = 512 };
    double ms[ROUNDS];

    if (ctx->backend == &dt_backend_cpu) return DT_OK;
    DT_TRY(dt_device_alloc(ctx, t.bytes, (void **)&t.arena));
    const dt_status status = ops_time_calls(ctx, copy_call, &t, 200, ROUNDS, ms);
    dt_device_free(ctx, t.arena, t.bytes);
    DT_TRY(status);
    out->launch_ms = bench_summarise(ms, ROUNDS).least;
    return DT_OK;
}

dt_status ops_ceilings_measure(dt_context *ctx, ops_ceilings *out)
{
    const int before = dt_context_enter(ctx);
    dt_status status;

    *out = (ops_ceilings){ 0 };
    status = measure_memory(ctx, out);
    if (status == DT_OK) status = measure_peaks(ctx, out);
    if (status == DT_OK) status = measure_launch(ctx, out);
    dt_context_leave(before);
    return status;
}

/* ---- use ---- */

static double faster(const ops_ceilings *c, int i)
{
    return c->copy[i] > c->read[i] ? c->copy[i] : c->read[i];
}

/* For that many bytes, in bytes/ms. Between two sizes: on the straight line over the logarithm of bytes. */
static double bandwidth(const ops_ceilings *c, double bytes)
{
    int i = 0;

    if (bytes <= c->bytes[0]) return faster(c, 0);
    while (i < OPS_SIZES - 2 && bytes > c->bytes[i + 1]) i++;
    if (bytes >= c->bytes[OPS_SIZES - 1]) return faster(c, OPS_SIZES - 1);
    const double share = log(bytes / c->bytes[i]) / log(c->bytes[i + 1] / c->bytes[i]);
    return (1.0 - share) * faster(c, i) + share * faster(c, i + 1);
}

double ops_ceiling_ms(const ops_ceilings *c, const ops_cost *cost, int *is_memory)
{
    const double moved = cost->bytes / bandwidth(c, cost->bytes);
    const double computed = c->peak[cost->unit] > 0.0 ? cost->flop / c->peak[cost->unit] : 0.0;

    *is_memory = moved >= computed;
    return *is_memory ? moved : computed;
}
