/*
 * backend.h - what a device must be able to do: manage memory, run one optimiser update, capture a step, and supply a
 *             kernel for each operator. The tape and the trainer use a device through this table alone.
 */
#ifndef DT_BACKEND_H
#define DT_BACKEND_H

#include "op.h"

/* Parameters that lie side by side and share their settings: parameters first .. first + count - 1. */
typedef struct {
    int64_t first, count;
    float lr_factor; /* multiplies dt_step_in.lr */
    float weight_decay;
    float floor; /* the update keeps values >= this, so that clip alphas stay positive; -INFINITY: no floor */
    int sparse;  /* 1: values that are 0 stay 0 */
} dt_update_range;

/* How ranks share an update: this one has the sums of gradients of its own shares alone, updates these parameters, and
 * gives them to the others. Bucket b is cut at at[b * (ranks + 1)] .. at[b * (ranks + 1) + ranks], in parameters; a
 * piece of weights (core/train/optim.h) is never cut. */
typedef struct {
    int n_buckets, ranks;
    int mine;          /* the share of this rank, dt_dist_share */
    const int64_t *at; /* [n_buckets][ranks + 1], in host memory */
    double *room;      /* [n_pieces][3] in device memory, for what ranks tell of the pieces that they have updated */
    int n_pieces;      /* of all quantizers */
} dt_update_shares;

/* Weights that freeze where their code goes back and forth; quant/weight_freeze.c has the rule. turns, mean and last
 * are device memory, in the order of the parameters. */
typedef struct {
    float threshold, momentum; /* dt_train_config.freeze and freeze_momentum */
    float *turns; /* [count] how often the code turns, 0..1; -1: no code was seen; DT_FROZEN: the weight is frozen */
    float *mean;  /* [count] mean of the codes, and of a frozen weight its code */
    float *last;  /* [count] the last code + d / 4, where d is the sign of its last change, or 0 before the first one */
    const dt_node *const *quantizer; /* [n_quantizers] WEIGHT_QUANT nodes of the rule LSQ, whose weights may freeze */
    int n_quantizers;
} dt_update_freeze;

#define DT_FROZEN 2.0f /* above every frequency */

/* One optimiser update of all parameters. layers/cpu_update.c has the formulas. w, dw, m1 and m2 are device memory;
 * everything else is host memory. */
typedef struct {
    dt_optim_kind kind;
    float momentum, beta1, beta2, epsilon;
    float *w;                     /* [count] parameters */
    const float *dw;              /* [count] gradients */
    float *m1;                    /* [count] momentum, or Adam's first moment */
    float *m2;                    /* [count] Adam's second moment; NULL for SGD */
    const dt_update_range *range; /* [n_ranges]; together they cover 0 .. count - 1, in ascending order */
    int n_ranges;
    int64_t count;
    /* [n_quantizers] The WEIGHT_QUANT nodes whose backward is deferred to this update (SGD only). dw does not hold the
     * gradients of their weights and alphas: the update computes these from the gradient of the codes, by the
     * straight-through rule (core/arith/grid.h). No other node reads these weights and alphas. Where a weight keeps
     * sums (dt_tensor.sums), the update leaves those of the new weight there. It works in ex->scratch, of which the
     * prepare of these nodes has asked for enough. */
    const dt_node *const *quantizer;
    int n_quantizers;
    dt_update_freeze freeze;        /* no quantizers: no weight freezes */
    const dt_update_shares *shares; /* NULL: this rank makes the whole update */
    int scaled; /* 1: gradients are step->scale.value times too large, and the update adapts that factor; 0: they are
                   not */
} dt_update;

/* The types of the tensors that a convolution exchanges with the fused nodes before and behind it. */
typedef struct {
    dt_dtype x;      /* codes of the input */
    dt_dtype y;      /* psums; F16 holds psum / DT_PSUM_F16_UNIT, and y's scale is DT_PSUM_F16_UNIT times larger */
    dt_dtype w;      /* codes of the filters */
    dt_dtype x_grad; /* gradient with respect to the real value of x */
    dt_dtype y_grad; /* gradient with respect to the real value of y */
    dt_dtype w_grad; /* gradient with respect to the real value of w; F16 holds it divided by x's scale and by w_unit */
    float w_unit;    /* a power of two */
    int padded; /* channels that x and w have where their makers can add some of 0, in type w; 0: none are needed */
    int w_real; /* 1: backward to x reads w as real values of type w (dt_tensor.real) */
} dt_storage;

/* A psum of F16 is stored in units of 8; the largest that fits is 8 * 65,504. */
enum { DT_PSUM_F16_UNIT = 8 };

/* The most bytes that one peek may read. */
enum { DT_PEEK_BYTES = 64 };

/* The types of a sum over ranks. */
typedef enum { DT_SUM_F32, DT_SUM_F64 } dt_sum_type;

/* The functions of one kind of device. A device does what it is told in the order of the calls. */
typedef struct {
    const char *name;
    /* Opens the device that opt names and describes it in text. *device is the backend's own state. DT_ERR_UNSUPPORTED:
     * there is no such device, or it cannot be used. */
    dt_status (*open)(const dt_options *opt, void **device, char *text, size_t text_bytes);
    void (*close)(void *device);
    /* Returns 1 if the machine has such a device, usable or not. If it has one and open failed, the user is told why.
     * NULL for the CPU. */
    int (*present)(void);
    /* Returns how many such devices can be used. NULL for the CPU. */
    int (*count)(void);
    dt_status (*alloc)(void *device, size_t bytes, void **out); /* aligned to at least 64 bytes; not cleared */
    void (*free)(void *device, void *p);
    /* Copies to the device. It may return before the copy is done, but by then it has read all of host. */
    dt_status (*write)(void *device, void *dst, const void *host, size_t bytes);
    /* Copies to the host, and waits until the copy is done. */
    dt_status (*read)(void *device, void *host, const void *src, size_t bytes);
    dt_status (*zero)(void *device, void *dst, size_t bytes);
    /* Begins a read of at most DT_PEEK_BYTES that does not wait. It is ordered behind everything launched before. Only
     * one may be under way. NULL, as peek_end is, where read need not wait. */
    dt_status (*peek_begin)(void *device, const void *src, size_t bytes);
    /* Ends such a read, without waiting: if the data has arrived, it writes host and sets *ready to 1; else it sets
     * *ready to 0 and may be called again. */
    dt_status (*peek_end)(void *device, void *host, size_t bytes, int *ready);
    dt_status (*copy)(void *device, void *dst, const void *src, size_t bytes); /* both in device memory */
    /* Adds v[0..count-1] to sum, both in device memory. */
    dt_status (*add)(void *device, float *sum, const float *v, int64_t count);
    /* mean[i] += step->in.ema_share * (v[i] - mean[i]) for 0..count-1; all in device memory. */
    dt_status (*follow)(void *device, float *mean, const float *v, int64_t count, const dt_step *step);
    /* Updates all parameters. If gradients are scaled and one of them is not finite, only the loss scale changes. */
    dt_status (*update)(const dt_update *u, const dt_exec *ex);
    void *(*stream)(void *device); /* dt_exec.stream of this device's kernels */
    /* Returns the types in which a CONV2D node exchanges its tensors. Where this is NULL, all are F32. */
    dt_storage (*storage)(const dt_node *conv, const dt_exec *ex);
    /* From here to capture_end, what is launched is recorded and not run. This and the next three are NULL where a step
     * cannot be captured; the trainer then launches each step itself. */
    dt_status (*capture_begin)(void *device);
    /* Ends the recording. *graph is what replay runs, and graph_free frees. */
    dt_status (*capture_end)(void *device, void **graph);
    dt_status (*replay)(void *device, void *graph);
    void (*graph_free)(void *device, void *graph);
    /* Connects the device with the other ranks, and describes the links in text. */
    dt_status (*comm_open)(void *device, dt_dist *dist, char *text, size_t text_bytes);
    /* Sums data over all ranks, in place, once all that was launched before has run. It may run beside what is launched
     * next. All ranks call it in the same order. */
    dt_status (*all_reduce)(void *device, void *data, int64_t count, dt_sum_type type);
    /* Sums over all ranks as all_reduce does, but this rank gets the sums of its share alone; at says where shares of
     * data begin (dt_dist_sum_shares). The update must then know them. NULL, as spread_shares is, where each rank makes
     * the whole update. */
    dt_status (*sum_shares)(void *device, float *data, const int64_t *at);
    /* Gives all ranks the shares that each has of data. */
    dt_status (*spread_shares)(void *device, const char *what, float *data, const int64_t *at);
    /* What is launched next sees all these sums. */
    dt_status (*all_reduce_join)(void *device);
    /* Writes sum and state[0..n-1] to room, [DT_STEP_SUMS + n] doubles that all_reduce can sum; all in device memory.
     */
    dt_status (*pack_sums)(void *device, const dt_step_sum *sum, const float *state, int64_t n, double *room);
    /* Takes the sum from there, and for state the mean over so many ranks. */
    dt_status (*unpack_sums)(void *device, const double *room, int ranks, dt_step_sum *sum, float *state, int64_t n);
    /* Measures how many operations a second the device does at most in products of matrices, of f32 or of 16-bit
     * values; a product and a sum are two operations. It takes up to half a second. NULL where no such number is shown.
     */
    dt_status (*peak)(void *device, dt_precision precision, double *out);
    /* Returns the table of kernels, [DT_OP_COUNT]. An entry is NULL where the device has no kernel for the operator. */
    const dt_kernel *const *(*kernels)(void);
} dt_backend;

extern const dt_backend dt_backend_cpu;
extern const dt_backend dt_backend_cuda; /* exists only in a build with CUDA */

#endif /* DT_BACKEND_H */
