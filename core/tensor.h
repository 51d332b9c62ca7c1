/*
 * tensor.h - a shape, a pointer, and, for tensors on the integer grid, a scale.
 *
 * Tensors are contiguous and row-major, always. A *grid tensor* holds integers; its real value is scale * data.
 * Whatever the tensor holds, a gradient is with respect to the real value.
 */
#ifndef DT_TENSOR_H
#define DT_TENSOR_H

#include "detent/detent.h"

#define DT_MAX_DIMS 6 /* convolutional routing votes: N, H, W, caps in, caps out, dim */

/* Tensors are F32, but for datasets (U8, I32) and for what core/tape/fuse.c stores in fewer bytes. I16 and I64 are for
 * data on the host alone. */
typedef enum { DT_F32, DT_I32, DT_U8, DT_I8, DT_BF16, DT_F16, DT_I16, DT_I64 } dt_dtype;

typedef struct {
    int ndim;
    int64_t dim[DT_MAX_DIMS];
} dt_shape;

typedef struct {
    dt_dtype type;
    dt_shape shape;
    void *data;         /* memory of the context's backend; of a tape's tensors: bound when the tape runs */
    void *grad;         /* [count], or NULL when nothing upstream is trained */
    dt_dtype grad_type; /* of grad: F32, but for what core/tape/fuse.c stores in 16 bits */
    int wants_grad;
    int constant;       /* 1: a parameter, or computed from parameters alone; evaluation computes it once */
    int n_scale;        /* 0: data is the real value; 1: one scale; else one for each index of the channel axis */
    float *scale;       /* [n_scale], > 0; shared by the tensors whose op leaves it as it is (ReLU, max-pool) */
    /* Of codes with one scale: the parameter that it follows from, and how. Tensors that agree in both have equal scales,
     * whoever made them. NULL: nothing is known. */
    const void *scale_of;
    int scale_form;
    int64_t qmin, qmax; /* grid tensors: every code lies in [qmin, qmax] */
    double *sums;       /* of a weight: the sums by which its quantizer standardises it, which the optimiser keeps up to
                           date (core/train/optim.h); NULL: each forward takes them anew */
    int has_sums;       /* 1: they are those of data; who changes data otherwise sets 0 */
    const char *name;   /* for messages; owned by the model or the tape */
} dt_tensor;

static inline int64_t dt_count(const dt_shape *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->ndim; i++) n *= s->dim[i];
    return n;
}

static inline size_t dt_type_bytes(dt_dtype type)
{
    const int is_half = type == DT_BF16 || type == DT_F16 || type == DT_I16;
    return type == DT_U8 || type == DT_I8 ? 1 : is_half ? 2 : type == DT_I64 ? 8 : 4;
}

static inline size_t dt_tensor_bytes(const dt_tensor *t)
{
    return (size_t)dt_count(&t->shape) * dt_type_bytes(t->type);
}

static inline size_t dt_grad_bytes(const dt_tensor *t)
{
    return (size_t)dt_count(&t->shape) * dt_type_bytes(t->grad_type);
}

/* of a tensor whose gradient is f32 */
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

/* largest magnitude of a grid tensor's codes */
static inline int64_t dt_code_bound(const dt_tensor *t)
{
    return t->qmax > -t->qmin ? t->qmax : -t->qmin;
}

/* "128x32x32x3" into text, which it returns */
const char *dt_shape_text(const dt_shape *s, char *text, size_t bytes);

#endif /* DT_TENSOR_H */
