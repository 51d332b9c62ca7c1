/*
 * context.h - where things run: device, threads, precision, seed.
 */
#ifndef DT_PUBLIC_CONTEXT_H
#define DT_PUBLIC_CONTEXT_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* f32: everything in f32. mixed: convolutions take 16-bit operands in backward (accumulating in f32); forward
 * psums are integers and exact either way, so evaluation gives equal bits in both. */
typedef enum { DT_PRECISION_F32, DT_PRECISION_MIXED } dt_precision;

typedef struct {
    const char *backend; /* "cpu", "cuda", or "auto": cuda if a device answers, else cpu */
    int device;          /* ordinal of the GPU */
    int threads;         /* OpenMP threads for this context's work; 0: as many as its creator's regions would get */
    dt_precision precision;
    uint64_t seed; /* every random number is a function of this, its purpose and its index */
    int no_graph;  /* 1: run eagerly, for debugging; results are the same bits */
} dt_options;

DT_API void dt_options_default(dt_options *out);
DT_API DT_MUST_CHECK dt_status dt_context_create(const dt_options *opt, dt_context **out);
DT_API void dt_context_destroy(dt_context *ctx);
DT_API const char *dt_context_backend(const dt_context *ctx); /* "cpu" or "cuda" */
DT_API const char *dt_context_device(const dt_context *ctx);  /* for people: "2 threads, avx512_core_bf16" */
/* Why "auto" did not take the GPU that the machine has; "" if it did, if there is none, or if "auto" was not asked. */
DT_API const char *dt_context_fallback(const dt_context *ctx);

/* Words of the enumerations above, in their order, NULL at the end. */
DT_API extern const char *const dt_precision_names[3];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_CONTEXT_H */
