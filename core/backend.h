/*
 * backend.h - what a device must be able to do: memory, one optimiser update, capture of a step, and a kernel for
 *             each operator. The tape and the trainer know nothing else of it.
 */
#ifndef DT_BACKEND_H
#define DT_BACKEND_H

#include "op.h"

/* A run of parameters that share their settings. */
typedef struct {
    int64_t first, count;
    float lr_factor; /* on dt_step_in.lr */
    float weight_decay;
    float floor; /* values are kept >= this (clip alphas stay positive); -INFINITY: no floor */
} dt_update_range;

/* One optimiser update of all parameters; see layers/cpu_update.c for the formulas. All pointers are device memory. */
typedef struct {
    dt_optim_kind kind;
    float momentum, beta1, beta2, epsilon;
    float *w;
    const float *dw;
    float *m1;                    /* momentum, or Adam's first moment */
    float *m2;                    /* Adam's second moment; NULL for SGD */
    const dt_update_range *range; /* cover [0, count) in order */
    int n_ranges;
    int64_t count;
    /* WEIGHT_QUANT nodes whose backward is part of the update (SGD only): the gradients of such a weight and its alpha
     * follow from that of the codes by the straight-through rule, and dw does not hold them. Both are read by that node
     * alone. Sums that the weight has (tensor.h) become those of the new weight. Scratch: that of the nodes. */
    const dt_node *const *quantizer;
    int n_quantizers;
    int scaled; /* 1: gradients are step->scale.value times too large, which is kept up to date here */
} dt_update;

/* What a convolution and the fused nodes before and behind it exchange. */
typedef struct {
    dt_dtype x;      /* its input's codes */
    dt_dtype y;      /* psums; F16 holds psum / DT_PSUM_F16_UNIT, and the scale is as many times larger */
    dt_dtype w;      /* codes of its filters */
    dt_dtype x_grad; /* both are with respect to the real values, as ever */
    dt_dtype y_grad;
} dt_storage;

enum { DT_PSUM_F16_UNIT = 8 }; /* largest psum in F16: 8 * 65,504 */

enum { DT_PEEK_BYTES = 64 };

typedef struct {
    const char *name;
    /* DT_ERR_UNSUPPORTED if there is no such device. *device is the backend's own state. */
    dt_status (*open)(const dt_options *opt, void **device, char *text, size_t text_bytes);
    void (*close)(void *device);
    /* Whether the machine has such a device at all, usable or not: if so, people want to know why open failed. */
    int (*present)(void);
    dt_status (*alloc)(void *device, size_t bytes, void **out); /* aligned to 64 bytes at least; not cleared */
    void (*free)(void *device, void *p);
    /* Ordered after everything launched before. write may return before the copy is done, but has read host. */
    dt_status (*write)(void *device, void *dst, const void *host, size_t bytes);
    dt_status (*read)(void *device, void *host, const void *src, size_t bytes); /* waits */
    dt_status (*zero)(void *device, void *dst, size_t bytes);
    /* A read in two halves, one at a time, of at most DT_PEEK_BYTES: begin orders it behind everything launched before,
     * end sets *ready to whether it is done, and then writes host. Neither waits. NULL where read does not wait. */
    dt_status (*peek_begin)(void *device, const void *src, size_t bytes);
    dt_status (*peek_end)(void *device, void *host, size_t bytes, int *ready);
    dt_status (*copy)(void *device, void *dst, const void *src, size_t bytes); /* both in device memory */
    dt_status (*update)(const dt_update *u, const dt_exec *ex);
    void *(*stream)(void *device);
    /* How a CONV2D node stores its tensors; all F32 where it is NULL. */
    dt_storage (*storage)(const dt_node *conv, const dt_exec *ex);
    /* All NULL where a step cannot be captured: the trainer then runs eagerly. */
    dt_status (*capture_begin)(void *device);
    dt_status (*capture_end)(void *device, void **graph);
    dt_status (*replay)(void *device, void *graph);
    void (*graph_free)(void *device, void *graph);
    const dt_kernel *const *(*kernels)(void); /* [DT_OP_COUNT]; an entry may be NULL */
} dt_backend;

extern const dt_backend dt_backend_cpu;
extern const dt_backend dt_backend_cuda; /* built with CUDA only */

#endif /* DT_BACKEND_H */
