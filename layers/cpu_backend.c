/*
 * cpu_backend.c - the host as a device: plain memory, OpenMP kernels, and no capture.
 *
 * The kernels of layers/, quant/ and accel/ fill the table. That of the convolution chooses among several
 * (conv/conv_choice.c).
 */
#include "cpu_backend.h"

#include "../core/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define XX(upper, lower, stem) extern const dt_op dt_op_##lower;
DT_OP_MAP(XX)
#undef XX
#define XX(upper, lower, stem) extern const dt_kernel dt_cpu_##lower;
DT_OP_MAP(XX)
#undef XX

#define XX(upper, lower, stem) [DT_OP_##upper] = &dt_op_##lower,
const dt_op *const dt_ops[DT_OP_COUNT] = { DT_OP_MAP(XX) };
#undef XX

#define XX(upper, lower, stem) [DT_OP_##upper] = &dt_cpu_##lower,
static const dt_kernel *const cpu_kernels[DT_OP_COUNT] = { DT_OP_MAP(XX) };
#undef XX

static dt_status cpu_open(const dt_options *opt, void **device, char *text, size_t text_bytes)
{
    const char *kernels;
    const int threads = dt_threads_now(); /* the context's */
    (void)opt;
    DT_TRY(dt_cpu_conv_open(&kernels));
    snprintf(text, text_bytes, "%d thread%s, %s", threads, threads == 1 ? "" : "s", kernels);
    *device = calloc(1, sizeof(dt_cpu_device));
    DT_CHECK(*device, DT_ERR_MEMORY, "no memory for a device");
    return DT_OK;
}

static void cpu_close(void *device)
{
    free(device);
}

/* Large memory lies in pages of 2 MiB where Linux has them: a step walks through hundreds of MiB, and to look up pages
 * of 4 KiB would take as long as to fetch what is in them. */
enum { LARGE_PAGE = 1 << 21, LARGE = 2 * LARGE_PAGE };

static dt_status cpu_alloc(void *device, size_t bytes, void **out)
{
    (void)device;
    const size_t unit = bytes >= LARGE ? LARGE_PAGE : DT_CACHE_LINE, rounded = dt_round_up(bytes, unit);
    void *p = aligned_alloc(unit, rounded ? rounded : unit);
    DT_CHECK(p, DT_ERR_MEMORY, "%zu bytes of memory are not to be had; a smaller batch needs less", bytes);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (unit == LARGE_PAGE) (void)madvise(p, rounded, MADV_HUGEPAGE); /* advice alone: small pages do as well */
#endif
    *out = p;
    return DT_OK;
}

static void cpu_free(void *device, void *p)
{
    (void)device;
    free(p);
}

static dt_status cpu_copy(void *device, void *dst, const void *src, size_t bytes)
{
    (void)device;
    if (bytes) memcpy(dst, src, bytes);
    return DT_OK;
}

/* Large activations are cleared by all threads: one core does not fill the memory bus. */
static dt_status cpu_zero(void *device, void *dst, size_t bytes)
{
    const size_t piece = (size_t)1 << 20;
    const int64_t n_pieces = (int64_t)((bytes + piece - 1) / piece);
    (void)device;

#pragma omp parallel for if (n_pieces > 1)
    for (int64_t i = 0; i < n_pieces; i++) {
        const size_t at = (size_t)i * piece;
        memset((char *)dst + at, 0, bytes - at < piece ? bytes - at : piece);
    }
    return DT_OK;
}

static dt_status cpu_add(void *device, float *sum, const float *v, int64_t count)
{
    (void)device;
#pragma omp parallel for if (count > 1 << 16)
    for (int64_t i = 0; i < count; i++) sum[i] += v[i];
    return DT_OK;
}

static dt_status cpu_follow(void *device, float *mean, const float *v, int64_t count, const dt_step *step)
{
    const float share = step->in.ema_share;
    (void)device;
#pragma omp parallel for if (count > 1 << 16)
    for (int64_t i = 0; i < count; i++) mean[i] += share * (v[i] - mean[i]);
    return DT_OK;
}

static void *cpu_stream(void *device)
{
    (void)device;
    return NULL;
}

static const dt_kernel *const *cpu_kernel_table(void)
{
    return cpu_kernels;
}

const dt_backend dt_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .write = cpu_copy,
    .read = cpu_copy,
    .zero = cpu_zero,
    .copy = cpu_copy,
    .add = cpu_add,
    .follow = cpu_follow,
    .update = dt_cpu_update,
    .stream = cpu_stream,
    .storage = dt_cpu_conv_storage,
    .kernels = cpu_kernel_table,
    .comm_open = dt_cpu_comm_open,
    .all_reduce = dt_cpu_all_reduce,
    .sum_shares = dt_cpu_sum_shares,
    .spread_shares = dt_cpu_spread_shares,
    .all_reduce_join = dt_cpu_all_reduce_join,
    .pack_sums = dt_cpu_pack_sums,
    .unpack_sums = dt_cpu_unpack_sums,
};
