/*
 * sigmoid_xent.c - sigmoid and binary cross entropy: the loss of networks whose scores are labels of their own, of
 *                  which an image may have several or none; with one score, of networks that tell two classes apart.
 *
 *   loss = mean over the step's images and labels of -(t log p + (1 - t) log(1 - p)),  p = 1 / (1 + exp(-z))
 *        = mean of max(z, 0) - z t + log(1 + exp(-|z|))
 *   t = (1 - s) label + s / 2,  dz = dloss / (N O) * (p - t)
 *
 * Forward also adds to the running sums: to loss, summed over images, an image's mean over its labels; the labels that
 * were told right (z > 0 where the label is 1), the number of labels, the images all of whose labels were right, and N;
 * all of the images that count (dt_purpose). Sums are in double. Labels are not checked, because datasets have checked
 * that they are 0 or 1.
 *
 * Source: the second form of the loss is the usual one, as in the documentation of PyTorch's BCEWithLogitsLoss.
 * Shapes: z N,O; labels i32 N,O, or N where O is 1; loss 1.  One score: sigmoid_xent.h.  CUDA: cuda/sigmoid_xent.cu.
 * Tests: tests/layers/test_sigmoid_xent.c.
 */
#include "sigmoid_xent.h"

#include "loss.h"

#include <assert.h>

static dt_status sigmoid_xent_infer(dt_node *node)
{
    const dt_softmax_xent_params *p = node->params;
    const dt_tensor *z = node->in[0], *labels = node->in[1];
    char text_z[64], text_labels[64];

    DT_CHECK(z->shape.ndim == 2 && labels->shape.dim[0] == z->shape.dim[0] &&
                 dt_count(&labels->shape) == dt_count(&z->shape),
             DT_ERR_SHAPE, "%s: sigmoid_xent: scores are %s, labels are %s; needed are N,O both", node->name,
             dt_shape_text(&z->shape, text_z, sizeof text_z),
             dt_shape_text(&labels->shape, text_labels, sizeof text_labels));
    DT_CHECK(z->type == DT_F32 && z->n_scale == 0 && labels->type == DT_I32, DT_ERR_ARGUMENT,
             "%s: sigmoid_xent: scores must be real f32 values and labels i32", node->name);
    DT_TRY(dt_xent_check(node, p->label_smoothing));
    node->out->shape = (dt_shape){ .ndim = 1, .dim = { 1 } };
    return DT_OK;
}

const dt_op dt_op_sigmoid_xent = {
    .name = "sigmoid_xent",
    .min_in = 2,
    .max_in = 2,
    .params_bytes = sizeof(dt_softmax_xent_params),
    .backward_reads = DT_READS_IN(0) | DT_READS_IN(1),
    .infer = sigmoid_xent_infer,
};

static dt_status sigmoid_xent_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = node->params;
    const int64_t batch = dt_counted(node, node->in[0]->shape.dim[0]), labels = node->in[0]->shape.dim[1];
    const float *z = node->in[0]->data;
    const int32_t *label = node->in[1]->data;
    dt_step_sum *sum = &ex->step->sum;
    float *loss = node->out->data;
    double total = 0.0;

    for (int64_t n = 0; n < batch; n++, z += labels, label += labels) {
        int64_t n_right = 0;
        for (int64_t o = 0; o < labels; o++) {
            assert(label[o] == 0 || label[o] == 1);
            total += dt_sigmoid_xent_loss((double)z[o], dt_sigmoid_xent_target(label[o], p->label_smoothing));
            n_right += dt_sigmoid_xent_right(z[o], label[o]);
        }
        sum->n_correct += n_right;
        sum->n_exact += n_right == labels;
    }
    sum->loss += total / (double)labels;
    sum->n_images += batch;
    sum->n_labels += batch * labels;
    *loss = (float)(total / (double)dt_step_count(node, batch * labels));
    return DT_OK;
}

static dt_status sigmoid_xent_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = node->params;
    const int64_t count = dt_count(&node->in[0]->shape);
    const float *z = node->in[0]->data;
    const int32_t *label = node->in[1]->data;
    const double g = (double)dt_grads(node->out)[0] / (double)dt_step_count(node, count);
    const int fresh = (int)(node->fresh & 1u);
    float *dz = node->in[0]->grad;
    (void)ex;
    if (!dz) return DT_OK;

    for (int64_t i = 0; i < count; i++) {
        const double target = dt_sigmoid_xent_target(label[i], p->label_smoothing);
        const float slope = (float)(g * dt_sigmoid_xent_slope((double)z[i], target));
        dz[i] = fresh ? slope : dz[i] + slope;
    }
    return DT_OK;
}

const dt_kernel dt_cpu_sigmoid_xent = {
    .forward = sigmoid_xent_forward,
    .backward = sigmoid_xent_backward,
    .overwrites = 1u,
};
