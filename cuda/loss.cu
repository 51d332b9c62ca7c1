/*
 * loss.cu - CUDA kernels of softmax with cross entropy; see layers/loss.c.
 *
 * Scratch: one image_loss for each image.
 */
#include "reduce.h"

typedef struct {
    double loss;
    int64_t is_correct;
} image_loss;

/* One thread for each image: its probabilities and its loss. In double, as on the CPU: N times O is small. */
__global__ static void xent_rows_kernel(const float *z, const int32_t *labels, int64_t batch, int64_t classes,
                                        float smoothing, float *probability, image_loss *out)
{
    const int64_t n = dt_thread();
    if (n >= batch) return;
    const float *row = z + n * classes;
    int64_t best = 0;
    double sum_exp = 0.0, sum_z = 0.0;

    for (int64_t o = 1; o < classes; o++) {
        if (row[o] > row[best]) best = o;
    }
    const double top = (double)row[best], s = (double)smoothing;
    for (int64_t o = 0; o < classes; o++) {
        sum_exp += exp((double)row[o] - top);
        sum_z += (double)row[o] - top;
    }
    for (int64_t o = 0; o < classes; o++) probability[n * classes + o] = (float)(exp((double)row[o] - top) / sum_exp);
    const double z_target = (1.0 - s) * ((double)row[labels[n]] - top) + s / (double)classes * sum_z;
    out[n].loss = log(sum_exp) - z_target;
    out[n].is_correct = best == labels[n];
}

/* One block: thread t adds images t, t + DT_BLOCK, ... Writes the mean loss and adds to the step's sums. */
__global__ static void xent_sum_kernel(const image_loss *image, int64_t batch, float *mean, dt_step *step)
{
    double loss = 0.0, correct = 0.0;

    for (int64_t n = threadIdx.x; n < batch; n += DT_BLOCK) {
        loss += image[n].loss;
        correct += (double)image[n].is_correct;
    }
    loss = dt_block_sum(loss);
    correct = dt_block_sum(correct);
    if (threadIdx.x > 0) return;
    *mean = (float)(loss / (double)batch);
    step->sum.loss += loss;
    step->sum.n_correct += (int64_t)correct;
    step->sum.n_images += batch;
}

/* one thread for each logit; adds into dz */
__global__ static void xent_backward_kernel(const float *probability, const int32_t *labels, const float *dloss,
                                            int64_t batch, int64_t classes, float smoothing, float *dz)
{
    const int64_t i = dt_thread();
    if (i >= batch * classes) return;
    const float g = *dloss / (float)batch;
    const float off = smoothing / (float)classes, on = 1.0f - smoothing + off;
    const float target = i % classes == labels[i / classes] ? on : off;

    dz[i] += g * (probability[i] - target);
}

static dt_status softmax_xent_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = (size_t)node->in[0]->shape.dim[0] * sizeof(image_loss);
    return DT_OK;
}

static dt_status softmax_xent_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = (const dt_softmax_xent_params *)node->params;
    const int64_t batch = node->in[0]->shape.dim[0], classes = node->in[0]->shape.dim[1];
    image_loss *image = (image_loss *)ex->scratch;

    DT_LAUNCH(xent_rows_kernel, dt_blocks(batch, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              (const int32_t *)node->in[1]->data, batch, classes, p->label_smoothing, (float *)node->aux, image);
    DT_CUDA_LAUNCHED();
    DT_LAUNCH(xent_sum_kernel, 1, DT_BLOCK, 0, dt_stream_of(ex), image, batch, dt_values(node->out), ex->step);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status softmax_xent_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = (const dt_softmax_xent_params *)node->params;
    const int64_t batch = node->in[0]->shape.dim[0], classes = node->in[0]->shape.dim[1];

    if (!dt_grads(node->in[0])) return DT_OK;
    DT_LAUNCH(xent_backward_kernel, dt_blocks(batch * classes, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              (const float *)node->aux, (const int32_t *)node->in[1]->data, dt_grads(node->out), batch, classes,
              p->label_smoothing, dt_grads(node->in[0]));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_softmax_xent;
const dt_kernel dt_cuda_softmax_xent = { softmax_xent_prepare, softmax_xent_forward, softmax_xent_backward, NULL, 0 };
