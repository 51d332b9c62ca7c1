/*
 * sigmoid_xent.cu - CUDA kernels of sigmoid with binary cross entropy; see layers/sigmoid_xent.c.
 */
#include "reduce.h"

#include "../layers/sigmoid_xent.h"

/* One block: thread t takes images t, t + DT_BLOCK, ... Writes the part of the step's mean loss and adds to the step's
 * sums. */
__global__ static void sigmoid_xent_forward_kernel(const float *z, const int32_t *label, int64_t batch, int64_t labels,
                                                   int64_t step_count, float smoothing, float *mean, dt_step *step)
{
    double loss = 0.0, right = 0.0, exact = 0.0;

    for (int64_t n = threadIdx.x; n < batch; n += DT_BLOCK) {
        int64_t n_right = 0;
        for (int64_t i = n * labels; i < (n + 1) * labels; i++) {
            loss += dt_sigmoid_xent_loss((double)z[i], dt_sigmoid_xent_target(label[i], smoothing));
            n_right += dt_sigmoid_xent_right(z[i], label[i]);
        }
        right += (double)n_right;
        exact += n_right == labels ? 1.0 : 0.0;
    }
    loss = dt_block_sum(loss);
    right = dt_block_sum(right);
    exact = dt_block_sum(exact);
    if (threadIdx.x > 0) return;
    *mean = (float)(loss / (double)step_count);
    step->sum.loss += loss / (double)labels;
    step->sum.n_correct += (int64_t)right;
    step->sum.n_exact += (int64_t)exact;
    step->sum.n_images += batch;
    step->sum.n_labels += batch * labels;
}

/* one thread for each score; gives to dz */
__global__ static void sigmoid_xent_backward_kernel(const float *z, const int32_t *label, const float *dloss,
                                                    int64_t count, int64_t step_count, float smoothing, float *dz,
                                                    int fresh)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const double g = (double)*dloss / (double)step_count;

    const double slope = dt_sigmoid_xent_slope((double)z[i], dt_sigmoid_xent_target(label[i], smoothing));
    dt_give(&dz[i], (float)(g * slope), fresh);
}

static dt_status sigmoid_xent_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = (const dt_softmax_xent_params *)node->params;
    const int64_t batch = dt_counted(node, node->in[0]->shape.dim[0]), labels = node->in[0]->shape.dim[1];

    DT_LAUNCH(sigmoid_xent_forward_kernel, 1, DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              (const int32_t *)node->in[1]->data, batch, labels, dt_step_count(node, batch * labels),
              p->label_smoothing, dt_values(node->out), ex->step);
    return DT_OK;
}

static dt_status sigmoid_xent_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = (const dt_softmax_xent_params *)node->params;
    const int64_t count = dt_count(&node->in[0]->shape);

    if (!dt_grads(node->in[0])) return DT_OK;
    DT_LAUNCH(sigmoid_xent_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[0]), (const int32_t *)node->in[1]->data, dt_grads(node->out), count,
              dt_step_count(node, count), p->label_smoothing, dt_grads(node->in[0]), (int)(node->fresh & 1u));
    return DT_OK;
}

const dt_kernel dt_cuda_sigmoid_xent = { NULL, sigmoid_xent_forward, sigmoid_xent_backward, NULL, 1u };
