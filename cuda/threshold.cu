/*
 * threshold.cu - CUDA kernel that makes codes of psums by comparison; see layers/threshold.c.
 */
#include "kernel.h"

#include "../core/grid_facts.h"

enum { PSUM, THRESHOLD, SIGN, SCALE };

/* One node's thresholds [levels][channels], signs [channels] and scale. */
typedef struct {
    const float *threshold, *sign, *scale;
    int64_t levels, channels;
    int low;
} threshold_view;

/* One thread for each psum; the first also writes the scale. As thresholds ascend, those passed are found by halving:
 * all before `passed` are passed, none from `end` on. */
__global__ static void threshold_kernel(const float *psum, threshold_view v, float *code, float *scale, int64_t count)
{
    const int64_t i = dt_thread();
    if (i == 0) *scale = *v.scale;
    if (i >= count) return;
    const int64_t c = i % v.channels;
    const float x = v.sign[c] * psum[i];
    int64_t passed = 0, end = v.levels;

    while (passed < end) {
        const int64_t middle = (passed + end) / 2;
        if (x >= v.threshold[middle * v.channels + c])
            passed = middle + 1;
        else
            end = middle;
    }
    code[i] = (float)(v.low + passed);
}

static dt_status threshold_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_threshold_params *p = (const dt_threshold_params *)node->params;
    const int64_t count = dt_count(&node->out->shape);
    const threshold_view v = { dt_values(node->in[THRESHOLD]), dt_values(node->in[SIGN]),
                               dt_values(node->in[SCALE]),     node->in[THRESHOLD]->shape.dim[0],
                               dt_channels(&node->out->shape), p->low };

    DT_LAUNCH(threshold_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[PSUM]), v,
              dt_values(node->out), node->out->scale, count);
    return DT_OK;
}

const dt_kernel dt_cuda_threshold = { NULL, threshold_forward, NULL, NULL, 0 };
