/*
 * loss.c - softmax and cross entropy with label smoothing, and the count of right answers.
 *
 *   p = softmax(z),  target = (1 - s) * onehot(label) + s / O,  loss = mean over images of -sum target * log p
 *   dz = dloss / N * (p - target)
 *
 * Forward also adds to the step's sums: the loss summed over images, how many labels are the largest logit (of equal
 * logits the first counts, as in PyTorch), and N. Labels are trusted: datasets have checked their range.
 *
 * Source: Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7.
 * Shapes: z N,O; labels i32 N; loss 1.  aux: p, f32 N,O.  CUDA: cuda/loss.cu.  Tests: tests/test_loss.c.
 */
#include "../core/op.h"

#include <assert.h>
#include <math.h>

static dt_status softmax_xent_infer(dt_node *node)
{
    const dt_softmax_xent_params *p = node->params;
    const dt_tensor *z = node->in[0], *labels = node->in[1];
    char text_z[64], text_labels[64];

    DT_CHECK(z->shape.ndim == 2 && dt_count(&labels->shape) == z->shape.dim[0], DT_ERR_SHAPE,
             "%s: softmax_xent: logits are %s, labels are %s; needed are N,O and N", node->name,
             dt_shape_text(&z->shape, text_z, sizeof text_z),
             dt_shape_text(&labels->shape, text_labels, sizeof text_labels));
    DT_CHECK(z->type == DT_F32 && z->n_scale == 0 && labels->type == DT_I32, DT_ERR_ARGUMENT,
             "%s: softmax_xent: logits must be real f32 values and labels i32", node->name);
    DT_CHECK(p->label_smoothing >= 0.0f && p->label_smoothing < 1.0f, DT_ERR_ARGUMENT,
             "%s: softmax_xent: label_smoothing is %g, allowed are 0 to below 1", node->name,
             (double)p->label_smoothing);
    node->out->shape = (dt_shape){ .ndim = 1, .dim = { 1 } };
    node->aux_bytes = dt_tensor_bytes(z);
    return DT_OK;
}

const dt_op dt_op_softmax_xent = {
    .name = "softmax_xent",
    .min_in = 2,
    .max_in = 2,
    .params_bytes = sizeof(dt_softmax_xent_params),
    .backward_reads = DT_READS_IN(1) | DT_READS_AUX,
    .infer = softmax_xent_infer,
};

static int64_t first_largest(const float *z, int64_t classes)
{
    int64_t best = 0;
    for (int64_t o = 1; o < classes; o++) {
        if (z[o] > z[best]) best = o;
    }
    return best;
}

/* One image: fills probability[classes], returns the loss. In double: N times O is small. */
static double xent_row(const float *z, int64_t classes, int64_t label, double smoothing, float *probability)
{
    const double top = (double)z[first_largest(z, classes)];
    double sum_exp = 0.0, sum_z = 0.0;

    for (int64_t o = 0; o < classes; o++) {
        sum_exp += exp((double)z[o] - top);
        sum_z += (double)z[o] - top;
    }
    for (int64_t o = 0; o < classes; o++) probability[o] = (float)(exp((double)z[o] - top) / sum_exp);
    const double z_target = (1.0 - smoothing) * ((double)z[label] - top) + smoothing / (double)classes * sum_z;
    return log(sum_exp) - z_target; /* the targets sum to 1 */
}

static dt_status softmax_xent_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = node->params;
    const int64_t batch = node->in[0]->shape.dim[0], classes = node->in[0]->shape.dim[1];
    const float *z = node->in[0]->data;
    const int32_t *labels = node->in[1]->data;
    float *probability = node->aux, *loss = node->out->data;
    dt_step_sum *sum = &ex->step->sum;
    double total = 0.0;

    for (int64_t n = 0; n < batch; n++) {
        const float *row = z + n * classes;
        assert(labels[n] >= 0 && labels[n] < classes);
        total += xent_row(row, classes, labels[n], (double)p->label_smoothing, probability + n * classes);
        sum->n_correct += first_largest(row, classes) == labels[n];
    }
    sum->loss += total;
    sum->n_images += batch;
    *loss = (float)(total / (double)batch);
    return DT_OK;
}

static dt_status softmax_xent_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = node->params;
    const int64_t batch = node->in[0]->shape.dim[0], classes = node->in[0]->shape.dim[1];
    const float *probability = node->aux;
    const int32_t *labels = node->in[1]->data;
    const float g = dt_grads(node->out)[0] / (float)batch;
    const float off = p->label_smoothing / (float)classes, on = 1.0f - p->label_smoothing + off;
    float *dz = node->in[0]->grad;
    (void)ex;
    if (!dz) return DT_OK;

    for (int64_t n = 0; n < batch; n++) {
        for (int64_t o = 0; o < classes; o++) {
            const float target = o == labels[n] ? on : off;
            dz[n * classes + o] += g * (probability[n * classes + o] - target);
        }
    }
    return DT_OK;
}

const dt_kernel dt_cpu_softmax_xent = { .forward = softmax_xent_forward, .backward = softmax_xent_backward };
