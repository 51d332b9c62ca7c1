/*
 * class_int.cu - CUDA kernels of the lengths of class capsules as integers; see layers/caps/class_int.c.
 */
#include "kernel.h"

extern "C" {
#include "../layers/caps/class_int.h"
}

/* one thread for each image */
__global__ static void class_int_forward_kernel(const float *s, int64_t classes, dt_class_int_params p, float *y,
                                                float *scale, int64_t images)
{
    const int64_t n = dt_thread();

    if (n == 0) *scale = DT_LENGTH_STEP;
    if (n < images) dt_class_lengths(s + n * classes * p.dim, classes, &p, y + n * classes);
}

/* one thread for each capsule; gives to ds */
__global__ static void class_int_backward_kernel(const float *s, const float *dy, dt_class_int_params p, float *ds,
                                                 int fresh, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dt_class_length_backward(s + i * p.dim, dy[i], &p, fresh, ds + i * p.dim);
}

static dt_status class_int_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_class_int_params *p = (const dt_class_int_params *)node->params;
    const int64_t *y = node->out->shape.dim;

    DT_LAUNCH(class_int_forward_kernel, dt_blocks(y[0], DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[0]), y[1], *p, dt_values(node->out), node->out->scale, y[0]);
    return DT_OK;
}

static dt_status class_int_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_class_int_params *p = (const dt_class_int_params *)node->params;
    const int64_t count = dt_count(&node->out->shape);
    if (!node->in[0]->grad) return DT_OK;

    DT_LAUNCH(class_int_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[0]), dt_grads(node->out), *p, dt_grads(node->in[0]), (int)(node->fresh & 1u), count);
    return DT_OK;
}

const dt_kernel dt_cuda_class_int = { NULL, class_int_forward, class_int_backward, NULL, 1u };
