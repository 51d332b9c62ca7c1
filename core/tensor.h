/*
 * tensor.h - a shape, a pointer to data, and for grid tensors a scale.
 *
 * Every tensor is contiguous and row-major. A *grid tensor* holds integers; its real value is scale * data. A gradient
 * is always with respect to the real value.
 */
#ifndef DT_TENSOR_H
#define DT_TENSOR_H

#include "detent/detent.h"

#define DT_MAX_DIMS 6 /* convolutional routing votes: N, H, W, caps in, caps out, dim */

/* The type of a tensor's elements. On a device tensors are F32, but for datasets (U8, I32) and for those to which
 * core/tape/types.c gives narrower types. I64 is for data in host memory alone; I16 is for such data, and for codes on
 * the CPU. */
typedef enum { DT_F32, DT_I32, DT_U8, DT_I8, DT_BF16, DT_F16, DT_I16, DT_I64 } dt_dtype;

typedef struct {
    int ndim;
    int64_t dim[DT_MAX_DIMS];
} dt_shape;

typedef struct {
    dt_dtype type;
    dt_shape shape;
    int padded;         /* channels of data, and of a grad in F16, with those of 0 behind the shape's; 0: the shape's */
    void *data;         /* device memory; that of a tape's own tensors is set when the tape runs */
    void *grad;         /* [count] device memory; NULL where no gradient is needed */
    dt_dtype grad_type; /* type of grad: F32, but for those that core/tape/types.c stores in 16 bits */
    int wants_grad;     /* 1: a trained parameter, or computed from one through operators that have a gradient */
    int constant;       /* 1: a parameter, or computed from parameters alone, so that evaluation computes it once */
    int n_scale;        /* 0: data is the real value; 1: a grid tensor with one scale; else one scale a channel */
    float *scale;       /* [n_scale] > 0, device memory; an output that stays on the grid shares its input's */
    /* The parameter from which the one scale of codes follows, and the form in which it does. Two tensors that have
     * both in common have equal scales. scale_of NULL: nothing is known. */
    const void *scale_of;
    int scale_form;
    int64_t qmin, qmax; /* range of a grid tensor's integers */
    int64_t sum_most;   /* of weight codes: the largest sum of |code| over a filter; 0: not known */
    double *sums;       /* of a weight: the sums by which its quantizer standardises it, device memory; the optimiser
                           keeps them up to date (core/train/optim.h). NULL: each forward computes them */
    int has_sums;       /* 1: sums are those of data; whoever changes data but the optimiser sets this to 0 */
    const float *turns; /* [count] of a weight that may freeze: how often its code turns, dt_update_freeze; else NULL */
    /* Of weight codes, in training: the layer that alone reads them, if the scale of its psums follows from parameters.
     * Whoever makes the codes then writes that scale (core/tape/types.c). Else NULL. */
    const struct dt_node *layer;
    /* Of weight codes that backward reads as real values: scale * code in `type`, which their maker writes beside the
     * codes, in memory of the tape. Else wants_real is 0 and real is NULL. */
    void *real;
    int wants_real;
    /* Of weight codes whose grad_type is F16: the gradient is grad * grad_unit * grad_scale[0], in this order. */
    float grad_unit;         /* a power of two */
    const float *grad_scale; /* in device memory */
    const char *name;        /* for messages; owned by the model, the graph or the tape */
} dt_tensor;

/* Returns the number of elements of n dimensions; 1 of none. */
static inline int64_t dt_count_of(const int64_t *dim, int n)
{
    int64_t count = 1;
    for (int i = 0; i < n; i++) count *= dim[i];
    return count;
}

/* Returns the number of elements. */
static inline int64_t dt_count(const dt_shape *s)
{
    return dt_count_of(s->dim, s->ndim);
}

/* Returns the bytes of one element. */
static inline size_t dt_type_bytes(dt_dtype type)
{
    const int is_half = type == DT_BF16 || type == DT_F16 || type == DT_I16;
    return type == DT_U8 || type == DT_I8 ? 1 : is_half ? 2 : type == DT_I64 ? 8 : 4;
}

/* Returns the length of t's last axis in memory. */
static inline int64_t dt_stored_channels(const dt_tensor *t)
{
    return t->padded ? t->padded : t->shape.dim[t->shape.ndim - 1];
}

/* Returns the number of elements in memory. */
static inline int64_t dt_stored_count(const dt_tensor *t)
{
    const int64_t n = dt_count(&t->shape);
    return t->padded ? n / t->shape.dim[t->shape.ndim - 1] * t->padded : n;
}

/* Returns the bytes of t's data. */
static inline size_t dt_tensor_bytes(const dt_tensor *t)
{
    return (size_t)dt_stored_count(t) * dt_type_bytes(t->type);
}

/* Returns the bytes of t's gradient. */
static inline size_t dt_grad_bytes(const dt_tensor *t)
{
    const int64_t n = t->grad_type == DT_F16 ? dt_stored_count(t) : dt_count(&t->shape);
    return (size_t)n * dt_type_bytes(t->grad_type);
}

/* Returns t's gradient, whose type must be F32. */
static inline float *dt_grads(const dt_tensor *t)
{
    return (float *)t->grad;
}

static inline int dt_same_shape(const dt_shape *a, const dt_shape *b)
{
    if (a->ndim != b->ndim) return 0;
    for (int i = 0; i < a->ndim; i++) {
        if (a->dim[i] != b->dim[i]) return 0;
    }
    return 1;
}

/* Returns the largest magnitude that a grid tensor's integers may have. */
static inline int64_t dt_code_bound(const dt_tensor *t)
{
    return t->qmax > -t->qmin ? t->qmax : -t->qmin;
}

/* Writes a shape such as "128x32x32x3" to text, of `bytes` bytes, and returns text. */
const char *dt_shape_text(const dt_shape *s, char *text, size_t bytes);

#endif /* DT_TENSOR_H */
