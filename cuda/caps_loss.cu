/*
 * caps_loss.cu - CUDA kernels of the margin loss and of the reconstruction loss; see layers/caps/caps_loss.c.
 *
 * Scratch of reconstruction_loss: the sum of squares of each image, in double.
 */
#include "reduce.h"

#include "../layers/caps/caps_loss.h"

/* One block: thread t takes images t, t + DT_BLOCK, ... Writes the mean loss and adds to the step's sums. */
__global__ static void margin_forward_kernel(const float *length, const int32_t *labels, int64_t batch,
                                             int64_t capsules, int64_t step_batch, float *mean, dt_step *step)
{
    const dt_margins margins = dt_margins_of(step->in.hard);
    double loss = 0.0, correct = 0.0;

    for (int64_t n = threadIdx.x; n < batch; n += DT_BLOCK) {
        const float *row = length + n * capsules;
        int64_t best = 0;
        for (int64_t j = 0; j < capsules; j++) {
            loss += dt_margin_loss(margins, (double)row[j], j == labels[n]);
            if (row[j] > row[best]) best = j;
        }
        correct += best == labels[n] ? 1.0 : 0.0;
    }
    loss = dt_block_sum(loss);
    correct = dt_block_sum(correct);
    if (threadIdx.x > 0) return;
    *mean = (float)(loss / (double)step_batch);
    step->sum.loss += loss;
    step->sum.n_correct += (int64_t)correct;
    step->sum.n_images += batch;
}

/* one thread for each length; gives to dlength */
__global__ static void margin_backward_kernel(const float *length, const int32_t *labels, const float *dloss,
                                              int64_t batch, int64_t capsules, int64_t step_batch, const dt_step *step,
                                              float *dlength, int fresh)
{
    const int64_t i = dt_thread();
    if (i >= batch * capsules) return;
    const double g = (double)*dloss / (double)step_batch;
    const int is_label = i % capsules == labels[i / capsules];

    const double slope = dt_margin_slope(dt_margins_of(step->in.hard), (double)length[i], is_label);
    dt_give(&dlength[i], (float)(g * slope), fresh);
}

/* One block for each image: thread t adds pixels t, t + DT_BLOCK, ... */
__global__ static void squares_kernel(const float *y, const float *x, int64_t pixels, double *squares)
{
    const int64_t image = blockIdx.x * pixels;
    double sum = 0.0;

    for (int64_t i = threadIdx.x; i < pixels; i += DT_BLOCK) {
        const double miss = (double)y[image + i] - (double)x[image + i];
        sum += miss * miss;
    }
    sum = dt_block_sum(sum);
    if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}

/* One block: thread t adds images t, t + DT_BLOCK, ... Writes the scaled mean and adds to the step's sums. */
__global__ static void squares_sum_kernel(const double *squares, int64_t batch, int64_t step_batch, double scale,
                                          float *mean, dt_step *step)
{
    double sum = 0.0;

    for (int64_t n = threadIdx.x; n < batch; n += DT_BLOCK) sum += squares[n];
    sum = dt_block_sum(sum);
    if (threadIdx.x > 0) return;
    *mean = (float)(scale * sum / (double)step_batch);
    step->sum.loss += scale * sum;
    step->sum.reconstruction += sum;
}

/* one thread for each value; gives to dy and dx, where they are not NULL. fresh: the node's. */
__global__ static void reconstruction_backward_kernel(const float *y, const float *x, const float *dloss,
                                                      int64_t step_batch, int64_t count, float scale, float *dy,
                                                      float *dx, unsigned fresh)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const float slope = 2.0f * scale * *dloss / (float)step_batch * (y[i] - x[i]);

    if (dy) dt_give(&dy[i], slope, (int)(fresh & 1u));
    if (dx) dt_give(&dx[i], -slope, (int)(fresh & 2u));
}

static dt_status margin_loss_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = dt_counted(node, node->in[0]->shape.dim[0]), capsules = node->in[0]->shape.dim[1];

    DT_LAUNCH(margin_forward_kernel, 1, DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              (const int32_t *)node->in[1]->data, batch, capsules, dt_step_count(node, batch), dt_values(node->out),
              ex->step);
    return DT_OK;
}

static dt_status margin_loss_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = node->in[0]->shape.dim[0], capsules = node->in[0]->shape.dim[1];

    if (!dt_grads(node->in[0])) return DT_OK;
    DT_LAUNCH(margin_backward_kernel, dt_blocks(batch * capsules, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[0]), (const int32_t *)node->in[1]->data, dt_grads(node->out), batch, capsules,
              dt_step_count(node, batch), ex->step, dt_grads(node->in[0]), (int)(node->fresh & 1u));
    return DT_OK;
}

static dt_status reconstruction_loss_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = (size_t)node->in[0]->shape.dim[0] * sizeof(double);
    return DT_OK;
}

static dt_status reconstruction_loss_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_reconstruction_loss_params *p = (const dt_reconstruction_loss_params *)node->params;
    const int64_t rows = node->in[0]->shape.dim[0], pixels = dt_count(&node->in[0]->shape) / rows;
    const int64_t batch = dt_counted(node, rows);
    double *squares = (double *)ex->scratch;

    DT_LAUNCH(squares_kernel, (unsigned)batch, DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->in[1]), pixels, squares);
    DT_LAUNCH(squares_sum_kernel, 1, DT_BLOCK, 0, dt_stream_of(ex), squares, batch, dt_step_count(node, batch),
              (double)p->scale, dt_values(node->out), ex->step);
    return DT_OK;
}

static dt_status reconstruction_loss_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_reconstruction_loss_params *p = (const dt_reconstruction_loss_params *)node->params;
    const dt_tensor *y = node->in[0], *x = node->in[1];
    const int64_t count = dt_count(&y->shape);

    DT_LAUNCH(reconstruction_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(y),
              dt_values(x), dt_grads(node->out), dt_step_count(node, y->shape.dim[0]), count, p->scale, dt_grads(y),
              dt_grads(x), node->fresh);
    return DT_OK;
}

const dt_kernel dt_cuda_margin_loss = { NULL, margin_loss_forward, margin_loss_backward, NULL, 1u };
const dt_kernel dt_cuda_reconstruction_loss = { reconstruction_loss_prepare, reconstruction_loss_forward,
                                                reconstruction_loss_backward, NULL, 3u };
