/*
 * loss.cu - CUDA kernels of softmax with cross entropy; see layers/loss.c.
 *
 * Scratch: one dt_xent_image for each image.
 */
#include "loss.h"

#include "reduce.h"

/* one thread for each image: its probabilities and its loss */
__global__ static void xent_rows_kernel(const float *z, const int32_t *labels, int64_t batch, int64_t classes,
                                        float smoothing, float *p, dt_xent_image *out)
{
    const int64_t n = dt_thread();

    if (n < batch) out[n] = dt_xent_row(z + n * classes, classes, labels[n], smoothing, p + n * classes);
}

/* one thread for each image: the loss with a teacher, and dz of a loss whose gradient is 1 */
__global__ static void taught_rows_kernel(const float *z, const float *u, const int32_t *labels, int64_t batch,
                                          int64_t classes, float smoothing, dt_xent_teacher teacher, float *slope,
                                          dt_xent_image *out)
{
    const int64_t n = dt_thread(), at = n * classes;

    if (n < batch) {
        out[n] = dt_xent_taught_row(z + at, u + at, classes, labels[n], smoothing, &teacher, slope + at);
    }
}

/* one thread for each logit; gives to dz */
__global__ static void taught_backward_kernel(const float *slope, const float *dloss, int64_t count, int64_t step_batch,
                                              float *dz, int fresh)
{
    const int64_t i = dt_thread();

    if (i < count) dt_give(&dz[i], *dloss / (float)step_batch * slope[i], fresh);
}

/* One block: thread t adds images t, t + DT_BLOCK, ... Writes the mean loss and adds to the step's sums. */
__global__ static void xent_sum_kernel(const dt_xent_image *image, int64_t batch, int64_t step_batch, float *mean,
                                       dt_step *step)
{
    double loss = 0.0, correct = 0.0;

    for (int64_t n = threadIdx.x; n < batch; n += DT_BLOCK) {
        loss += image[n].loss;
        correct += (double)image[n].is_correct;
    }
    loss = dt_block_sum(loss);
    correct = dt_block_sum(correct);
    if (threadIdx.x > 0) return;
    *mean = (float)(loss / (double)step_batch);
    step->sum.loss += loss;
    step->sum.n_correct += (int64_t)correct;
    step->sum.n_images += batch;
}

dt_status dt_cuda_xent_sum(const dt_xent_image *image, int64_t batch, int64_t step_batch, float *mean,
                           const dt_exec *ex)
{
    DT_LAUNCH(xent_sum_kernel, 1, DT_BLOCK, 0, dt_stream_of(ex), image, batch, step_batch, mean, ex->step);
    return DT_OK;
}

/* one thread for each logit; gives to dz */
__global__ static void xent_backward_kernel(const float *p, const int32_t *labels, const float *dloss, int64_t batch,
                                            int64_t step_batch, int64_t classes, float smoothing, float *dz, int fresh)
{
    const int64_t i = dt_thread();
    if (i >= batch * classes) return;
    const int is_label = i % classes == labels[i / classes];

    dt_give(&dz[i], dt_xent_slope(*dloss / (float)step_batch, p[i], is_label, classes, smoothing), fresh);
}

static dt_status softmax_xent_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = (size_t)node->in[0]->shape.dim[0] * sizeof(dt_xent_image);
    return DT_OK;
}

static dt_status softmax_xent_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = (const dt_softmax_xent_params *)node->params;
    const int64_t batch = dt_counted(node, node->in[0]->shape.dim[0]), classes = node->in[0]->shape.dim[1];
    dt_xent_image *image = (dt_xent_image *)ex->scratch;

    if (node->n_in > 2) {
        DT_LAUNCH(taught_rows_kernel, dt_blocks(batch, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
                  dt_values(node->in[2]), (const int32_t *)node->in[1]->data, batch, classes, p->label_smoothing,
                  dt_xent_teacher_of(p), (float *)node->aux, image);
        return dt_cuda_xent_sum(image, batch, dt_step_count(node, batch), dt_values(node->out), ex);
    }
    DT_LAUNCH(xent_rows_kernel, dt_blocks(batch, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              (const int32_t *)node->in[1]->data, batch, classes, p->label_smoothing, (float *)node->aux, image);
    return dt_cuda_xent_sum(image, batch, dt_step_count(node, batch), dt_values(node->out), ex);
}

static dt_status softmax_xent_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = (const dt_softmax_xent_params *)node->params;
    const int64_t batch = node->in[0]->shape.dim[0], classes = node->in[0]->shape.dim[1];

    if (!dt_grads(node->in[0])) return DT_OK;
    if (node->n_in > 2) {
        DT_LAUNCH(taught_backward_kernel, dt_blocks(batch * classes, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
                  (const float *)node->aux, dt_grads(node->out), batch * classes, dt_step_count(node, batch),
                  dt_grads(node->in[0]), (int)(node->fresh & 1u));
        return DT_OK;
    }
    DT_LAUNCH(xent_backward_kernel, dt_blocks(batch * classes, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              (const float *)node->aux, (const int32_t *)node->in[1]->data, dt_grads(node->out), batch,
              dt_step_count(node, batch), classes, p->label_smoothing, dt_grads(node->in[0]), (int)(node->fresh & 1u));
    return DT_OK;
}

const dt_kernel dt_cuda_softmax_xent = { softmax_xent_prepare, softmax_xent_forward, softmax_xent_backward, NULL, 1u };
