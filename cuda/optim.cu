/*
 * optim.cu - one optimiser update of all parameters in one launch; the formulas are in core/optim.c.
 */
#include "kernel.h"

extern "C" {
#include "cuda_device.h"
}

/* The range that holds element i: ranges cover [0, count) in order. A net has some tens of them. */
__device__ static const dt_update_range *optim_range(const dt_update_range *range, int n, int64_t i)
{
    int low = 0, high = n - 1;

    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (range[middle].first <= i)
            low = middle;
        else
            high = middle - 1;
    }
    return &range[low];
}

/* one thread for each parameter */
__global__ static void sgd_kernel(dt_update u, const dt_step *step)
{
    const int64_t i = dt_thread();
    if (i >= u.count) return;
    const dt_update_range *r = optim_range(u.range_device, u.n_ranges, i);
    const float lr = step->in.lr * r->lr_factor;
    const float w = u.w[i];

    const float m = u.momentum * u.m1[i] + (u.dw[i] + r->weight_decay * w);
    const float next = w - lr * m;
    u.m1[i] = m;
    u.w[i] = next < r->floor ? r->floor : next;
}

/* one thread for each parameter */
__global__ static void adam_kernel(dt_update u, const dt_step *step)
{
    const int64_t i = dt_thread();
    if (i >= u.count) return;
    const dt_update_range *r = optim_range(u.range_device, u.n_ranges, i);
    const float lr = step->in.lr * r->lr_factor;
    const float w = u.w[i];

    const float g = u.dw[i] + r->weight_decay * w;
    const float m1 = u.beta1 * u.m1[i] + (1.0f - u.beta1) * g;
    const float m2 = u.beta2 * u.m2[i] + (1.0f - u.beta2) * (g * g);
    const float next = w - lr * (m1 * step->in.adam_correct1) / (sqrtf(m2 * step->in.adam_correct2) + u.epsilon);
    u.m1[i] = m1;
    u.m2[i] = m2;
    u.w[i] = next < r->floor ? r->floor : next;
}

extern "C" dt_status dt_cuda_update(const dt_update *u, const dt_exec *ex)
{
    const unsigned blocks = dt_blocks(u->count, DT_BLOCK);

    if (u->count == 0) return DT_OK;
    if (u->kind == DT_OPTIM_SGD)
        DT_LAUNCH(sgd_kernel, blocks, DT_BLOCK, 0, dt_stream_of(ex), *u, ex->step);
    else
        DT_LAUNCH(adam_kernel, blocks, DT_BLOCK, 0, dt_stream_of(ex), *u, ex->step);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}
