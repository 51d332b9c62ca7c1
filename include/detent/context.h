/*
 * context.h - where and how things run: device, threads, precision, seed.
 */
#ifndef DT_PUBLIC_CONTEXT_H
#define DT_PUBLIC_CONTEXT_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* f32 computes everything in f32. mixed gives convolutions 16-bit operands in backward, with sums in f32. Where it
 * trains on real values, forward keeps 16 of f32's 24 bits on CPUs with AMX, and 8 on CUDA (bf16). On CUDA, its
 * training also stores psums and real values in 16 bits. Evaluation gives equal bits in both. */
typedef enum { DT_PRECISION_F32, DT_PRECISION_MIXED } dt_precision;

typedef struct {
    const char *backend; /* "cpu", "cuda", or "auto": cuda if a device answers, else cpu */
    int device;          /* ordinal of the GPU */
    int threads; /* OpenMP threads for this context's work, 0..1024; 0: OpenMP's setting in the calling thread */
    dt_precision precision;
    uint64_t seed; /* every random number is a function of this, its purpose and its index */
    int no_graph;  /* 1: steps are launched one kernel at a time, for debugging; results have the same bits */
} dt_options;

/* Sets backend "auto", device 0, threads 0, mixed precision, seed 1, no_graph 0. */
DT_API void dt_options_default(dt_options *out);
/* Opens a device. DT_ERR_ARGUMENT: an option is out of its range. DT_ERR_UNSUPPORTED: there is no such device. */
DT_API DT_MUST_CHECK dt_status dt_context_create(const dt_options *opt, dt_context **out);
DT_API void dt_context_destroy(dt_context *ctx);
/* Returns how many GPUs can be used here; 0 in a build without CUDA. */
DT_API int dt_gpu_count(void);
/* Lets what is made from ctx after this work with the other ranks of dist, which must outlive ctx: trainers take this
 * rank's share of each step, and evaluations its share of the images. All ranks call it, with devices of one kind.
 * DT_ERR_UNSUPPORTED: the device cannot. */
DT_API DT_MUST_CHECK dt_status dt_context_join(dt_context *ctx, dt_dist *dist);
/* Returns "cpu" or "cuda". */
DT_API const char *dt_context_backend(const dt_context *ctx);
/* Returns a description of the device for people, such as "2 threads, avx512_core_bf16". */
DT_API const char *dt_context_device(const dt_context *ctx);
/* Returns a description of the links to the other ranks, such as "TCP"; "" before dt_context_join. */
DT_API const char *dt_context_links(const dt_context *ctx);
/* Returns the reason for which "auto" did not take the GPU that the machine has. It is "" if "auto" took it, if there
 * is no GPU, or if the backend was not "auto". */
DT_API const char *dt_context_fallback(const dt_context *ctx);

/* Measures how many operations a second ctx's GPU does at most in products of matrices, of 16-bit values in mixed
 * precision, else of f32; a product and a sum are two operations. It takes up to half a second. Of a CPU *out is 0. */
DT_API DT_MUST_CHECK dt_status dt_context_peak(dt_context *ctx, double *out);

/* The words of the enumerations above, in the order of their constants, NULL at the end. */
DT_API extern const char *const dt_precision_names[3];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_CONTEXT_H */
