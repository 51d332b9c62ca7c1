/*
 * context.h - inside dt_context: the device, and the two blocks of device memory that all tapes share.
 */
#ifndef DT_CONTEXT_H
#define DT_CONTEXT_H

#include "backend.h"
#include "threads.h"

struct dt_context {
    int holders; /* its maker, and every model of it */
    const dt_backend *backend;
    void *device;
    dt_options opt;
    int threads;        /* >= 1, for the work of this context */
    char text[128];     /* dt_context_device */
    char fallback[256]; /* dt_context_fallback */
    void *workspace;    /* activations and their gradients; tapes run in turn and share it */
    size_t workspace_bytes;
    void *scratch; /* one kernel's */
    size_t scratch_bytes;
    int generation;        /* counts moves of workspace or scratch; a tape rebinds when it lags */
    dt_step *step;         /* device */
    size_t bytes;          /* device memory allocated through dt_device_alloc */
    int64_t n_allocations; /* calls of it so far; a step makes none */
};

/* Somebody else needs ctx too, and will call dt_context_destroy: the last call frees it. */
void dt_context_hold(dt_context *ctx);

dt_exec dt_context_exec(const dt_context *ctx);

/* From enter, which returns what leave takes, parallel regions ask for the context's threads; the caller's own setting
 * is back after leave. Around whatever runs a context's kernels, or prepares them. */
static inline int dt_context_enter(const dt_context *ctx)
{
    return dt_threads_use(ctx->threads);
}

static inline void dt_context_leave(int before)
{
    dt_threads_use(before);
}

/* Device memory that is counted in ctx->bytes; free with the same size. */
DT_MUST_CHECK dt_status dt_device_alloc(dt_context *ctx, size_t bytes, void **out);
void dt_device_free(dt_context *ctx, void *p, size_t bytes);
DT_MUST_CHECK dt_status dt_device_write(dt_context *ctx, void *dst, const void *host, size_t bytes);
DT_MUST_CHECK dt_status dt_device_read(dt_context *ctx, void *host, const void *src, size_t bytes);
DT_MUST_CHECK dt_status dt_device_zero(dt_context *ctx, void *dst, size_t bytes);

/* n floats of device memory, in memory of the host that the caller frees. */
DT_MUST_CHECK dt_status dt_device_floats(dt_context *ctx, const void *src, int64_t n, float **out);
/* The real values of t, an F32 tensor with its channels last: scale * code where it is on the grid. to: [dt_count]. */
DT_MUST_CHECK dt_status dt_device_real(dt_context *ctx, const dt_tensor *t, float *to);

DT_MUST_CHECK dt_status dt_context_update(dt_context *ctx, const dt_update *u);

/* Grow the shared blocks to at least this; their contents are lost and generation moves when they do. */
DT_MUST_CHECK dt_status dt_context_reserve(dt_context *ctx, size_t workspace_bytes, size_t scratch_bytes);

#endif /* DT_CONTEXT_H */
