/*
 * context.c - opens a device and owns the memory that all tapes of it share.
 */
#include "context.h"

#include "cpu_level.h"
#include "grid_facts.h"
#include "names.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dt_options_default(dt_options *out)
{
    *out = (dt_options){ .backend = "auto", .precision = DT_PRECISION_MIXED, .seed = 1 };
}

static dt_status options_check(const dt_options *opt)
{
    DT_CHECK(opt->backend, DT_ERR_ARGUMENT, "backend is NULL; dt_options_default fills dt_options");
    DT_TRY(dt_check_word("precision", (int)opt->precision, dt_precision_names));
    DT_CHECK(opt->threads >= 0 && opt->threads <= 1024, DT_ERR_ARGUMENT, "threads is %d, allowed are 0..1024",
             opt->threads);
    return DT_OK;
}

static dt_status context_open(dt_context *ctx, const dt_backend *backend)
{
    DT_TRY(backend->open(&ctx->opt, &ctx->device, ctx->text, sizeof ctx->text));
    ctx->backend = backend;
    return DT_OK;
}

static dt_status context_choose(dt_context *ctx)
{
    const char *want = ctx->opt.backend;
    const int automatic = strcmp(want, "auto") == 0;

    DT_CHECK(automatic || strcmp(want, "cpu") == 0 || strcmp(want, "cuda") == 0, DT_ERR_ARGUMENT,
             "device '%s' is not known; there are auto, cpu and cuda", want);
#ifdef DETENT_HAVE_CUDA
    if (automatic && context_open(ctx, &dt_backend_cuda) == DT_OK) return DT_OK;
    if (automatic && dt_backend_cuda.present()) snprintf(ctx->fallback, sizeof ctx->fallback, "%s", dt_last_error());
    if (strcmp(want, "cuda") == 0) return context_open(ctx, &dt_backend_cuda);
#endif
    DT_CHECK(strcmp(want, "cuda") != 0, DT_ERR_UNSUPPORTED,
             "this build has no CUDA; configure with -DDETENT_CUDA=ON, or use --device cpu");
    return context_open(ctx, &dt_backend_cpu);
}

dt_status dt_context_create(const dt_options *opt, dt_context **out)
{
    DT_TRY(options_check(opt));
    DT_TRY(dt_cpu_level_check());
    const dt_step fresh = { .scale = { .value = 1.0f } };
    dt_context *ctx = calloc(1, sizeof *ctx);
    DT_CHECK(ctx, DT_ERR_MEMORY, "no memory for a context");
    ctx->holders = 1;
    ctx->opt = *opt;
    ctx->threads = opt->threads > 0 ? opt->threads : dt_threads_now();

    const int before = dt_context_enter(ctx);
    dt_status status = context_choose(ctx);
    dt_context_leave(before);
    if (status == DT_OK) status = dt_device_alloc(ctx, sizeof *ctx->step, (void **)&ctx->step);
    if (status == DT_OK) status = dt_device_write(ctx, ctx->step, &fresh, sizeof fresh);
    if (status != DT_OK) {
        dt_context_destroy(ctx);
        return status;
    }
    ctx->opt.backend = ctx->backend->name;
    *out = ctx;
    return DT_OK;
}

void dt_context_hold(dt_context *ctx)
{
    ctx->holders++;
}

void dt_context_destroy(dt_context *ctx)
{
    if (!ctx || --ctx->holders > 0) return;
    if (ctx->backend) {
        dt_device_free(ctx, ctx->scratch, ctx->scratch_bytes);
        dt_device_free(ctx, ctx->workspace, ctx->workspace_bytes);
        dt_device_free(ctx, ctx->step, sizeof *ctx->step);
        ctx->backend->close(ctx->device);
    }
    free(ctx);
}

dt_status dt_context_join(dt_context *ctx, dt_dist *dist)
{
    DT_TRY(dt_dist_agree(dist, "device", ctx->backend->name));
    DT_TRY(ctx->backend->comm_open(ctx->device, dist, ctx->links, sizeof ctx->links));
    ctx->dist = dist;
    return DT_OK;
}

int dt_gpu_count(void)
{
#ifdef DETENT_HAVE_CUDA
    return dt_backend_cuda.count();
#else
    return 0;
#endif
}

const char *dt_context_backend(const dt_context *ctx)
{
    return ctx->backend->name;
}

const char *dt_context_device(const dt_context *ctx)
{
    return ctx->text;
}

const char *dt_context_links(const dt_context *ctx)
{
    return ctx->links;
}

dt_status dt_context_peak(dt_context *ctx, double *out)
{
    *out = 0.0;
    return ctx->backend->peak ? ctx->backend->peak(ctx->device, ctx->opt.precision, out) : DT_OK;
}

const char *dt_context_fallback(const dt_context *ctx)
{
    return ctx->fallback;
}

dt_exec dt_context_exec(const dt_context *ctx)
{
    return (dt_exec){ .stream = ctx->backend->stream(ctx->device),
                      .device = ctx->device,
                      .scratch = ctx->scratch,
                      .scratch_bytes = ctx->scratch_bytes,
                      .step = ctx->step,
                      .precision = ctx->opt.precision };
}

dt_status dt_device_alloc(dt_context *ctx, size_t bytes, void **out)
{
    DT_TRY(ctx->backend->alloc(ctx->device, bytes, out));
    ctx->bytes += bytes;
    ctx->n_allocations++;
    return DT_OK;
}

void dt_device_free(dt_context *ctx, void *p, size_t bytes)
{
    if (!p) return;
    ctx->backend->free(ctx->device, p);
    ctx->bytes -= bytes;
}

dt_status dt_device_write(dt_context *ctx, void *dst, const void *host, size_t bytes)
{
    return ctx->backend->write(ctx->device, dst, host, bytes);
}

dt_status dt_device_read(dt_context *ctx, void *host, const void *src, size_t bytes)
{
    return ctx->backend->read(ctx->device, host, src, bytes);
}

dt_status dt_device_zero(dt_context *ctx, void *dst, size_t bytes)
{
    const int before = dt_context_enter(ctx);
    const dt_status status = ctx->backend->zero(ctx->device, dst, bytes);

    dt_context_leave(before);
    return status;
}

dt_status dt_device_floats(dt_context *ctx, const void *src, int64_t n, float **out)
{
    const size_t bytes = (size_t)n * sizeof(float);
    float *host = malloc(bytes ? bytes : 1);

    DT_CHECK(host, DT_ERR_MEMORY, "no memory for a copy of %lld values", (long long)n);
    const dt_status status = dt_device_read(ctx, host, src, bytes);
    if (status != DT_OK) {
        free(host);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = host;
    return DT_OK;
}

dt_status dt_device_real(dt_context *ctx, const dt_tensor *t, float *to)
{
    const int64_t n = dt_count(&t->shape);
    float *scale = NULL;

    assert(t->type == DT_F32);
    DT_TRY(dt_device_read(ctx, to, t->data, dt_tensor_bytes(t)));
    if (t->n_scale == 0) return DT_OK;
    DT_TRY(dt_device_floats(ctx, t->scale, t->n_scale, &scale));
    for (int64_t i = 0; i < n; i++) to[i] *= dt_scale_at(scale, t->n_scale, i % t->n_scale);
    free(scale);
    return DT_OK;
}

dt_status dt_context_update(dt_context *ctx, const dt_update *u)
{
    const dt_exec ex = dt_context_exec(ctx);
    const int before = dt_context_enter(ctx);
    const dt_status status = ctx->backend->update(u, &ex);

    dt_context_leave(before);
    return status;
}

static dt_status block_grow(dt_context *ctx, void **block, size_t *bytes, size_t wanted)
{
    if (wanted <= *bytes) return DT_OK;
    dt_device_free(ctx, *block, *bytes);
    *block = NULL;
    *bytes = 0;
    ctx->generation++;
    DT_TRY(dt_device_alloc(ctx, wanted, block));
    *bytes = wanted;
    return DT_OK;
}

dt_status dt_context_reserve(dt_context *ctx, size_t workspace_bytes, size_t scratch_bytes)
{
    DT_TRY(block_grow(ctx, &ctx->workspace, &ctx->workspace_bytes, workspace_bytes));
    DT_TRY(block_grow(ctx, &ctx->scratch, &ctx->scratch_bytes, scratch_bytes));
    return DT_OK;
}
