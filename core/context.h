/*
 * context.h - inside dt_context: the device, and the two blocks of device memory that all tapes share.
 */
#ifndef DT_CONTEXT_H
#define DT_CONTEXT_H

#include "backend.h"
#include "threads.h"

struct dt_context {
    int holders; /* calls of dt_context_destroy until it is freed: its maker's, and one of each model */
    const dt_backend *backend;
    void *device;
    dt_options opt;
    dt_dist *dist;      /* borrowed; NULL: this process is alone */
    int threads;        /* for the work of this context, >= 1 */
    char text[128];     /* what dt_context_device returns */
    char links[256];    /* what dt_context_links returns */
    char fallback[256]; /* what dt_context_fallback returns */
    void *workspace;    /* activations and their gradients; all tapes share it, because one runs at a time */
    size_t workspace_bytes;
    void *scratch; /* of the kernel that runs */
    size_t scratch_bytes;
    int generation;        /* counts the moves of workspace and scratch; after one, a tape sets its pointers anew */
    dt_step *step;         /* in device memory */
    size_t bytes;          /* device memory allocated now through dt_device_alloc */
    int64_t n_allocations; /* calls of dt_device_alloc so far; a step makes none */
};

/* Adds a holder of ctx. Each holder calls dt_context_destroy once, and the last call frees the context. */
void dt_context_hold(dt_context *ctx);

/* Returns what ctx's kernels get: its device, stream, scratch, step and precision. */
dt_exec dt_context_exec(const dt_context *ctx);

/* Lets the parallel regions that follow ask for the context's number of threads. Call it before a context's kernels are
 * prepared or run, and give the result to dt_context_leave. */
static inline int dt_context_enter(const dt_context *ctx)
{
    return dt_threads_use(ctx->threads);
}

/* Restores the number of threads that dt_context_enter returned. */
static inline void dt_context_leave(int before)
{
    dt_threads_use(before);
}

/* Allocates device memory, and counts it in ctx->bytes. It is not cleared. */
DT_MUST_CHECK dt_status dt_device_alloc(dt_context *ctx, size_t bytes, void **out);
/* Frees such memory. bytes is the size that it was allocated with. p may be NULL. */
void dt_device_free(dt_context *ctx, void *p, size_t bytes);
DT_MUST_CHECK dt_status dt_device_write(dt_context *ctx, void *dst, const void *host, size_t bytes);
DT_MUST_CHECK dt_status dt_device_read(dt_context *ctx, void *host, const void *src, size_t bytes);
DT_MUST_CHECK dt_status dt_device_zero(dt_context *ctx, void *dst, size_t bytes);

/* Copies n floats from the device to host memory that it allocates. The caller frees *out. */
DT_MUST_CHECK dt_status dt_device_floats(dt_context *ctx, const void *src, int64_t n, float **out);
/* Writes the real values of t, an F32 tensor with its channels last, to to[0..dt_count-1]: scale * code of a grid
 * tensor, else its data. */
DT_MUST_CHECK dt_status dt_device_real(dt_context *ctx, const dt_tensor *t, float *to);

/* Runs one optimiser update on the device. */
DT_MUST_CHECK dt_status dt_context_update(dt_context *ctx, const dt_update *u);

/* Makes workspace and scratch at least that large. A block that has to grow moves and loses its contents, and
 * generation is counted up. */
DT_MUST_CHECK dt_status dt_context_reserve(dt_context *ctx, size_t workspace_bytes, size_t scratch_bytes);

#endif /* DT_CONTEXT_H */
