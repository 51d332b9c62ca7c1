/*
 * caps_loss.c - the two terms of a capsule network's loss: the margins of the capsules' lengths, and the distance of a
 *               decoder's image from the image.
 *
 *   margin_loss:         mean over images of max(0, m+ - y)^2 of the labelled length y
 *                        + lambda * the sum of max(0, y - m-)^2 of the others
 *                        m+ 0.9, m- 0.1, lambda 0.5; in hard training (dt_step_in.hard) 0.95, 0.05, 0.8
 *   reconstruction_loss: scale * mean over images of the sum over all pixels and channels of (y - x)^2
 *                        dy = 2 scale / N * (y - x); where the image wants a gradient, dx = -dy
 *
 * Forward also adds to the running sums. margin_loss adds the loss summed over images, the number of images whose label
 * has the longest capsule (of equal lengths the first counts), and N. reconstruction_loss adds the scaled sum to loss,
 * and the sum itself to reconstruction. The images are those that count (dt_purpose). All sums are in double. Labels
 * are not checked, because datasets have checked their range.
 *
 * Source: Sabour, Frosst, Hinton, "Dynamic routing between capsules", NIPS 2017, eq. 4 and section 4.1. Hard margins
 * and the sum, where the paper has a scaled-down one: the code published with Q-CapsNets (Marchisio et al., DAC 2020).
 * Shapes: lengths N,J; labels i32 N. y and x N,... with equally many values an image. Each loss: 1.
 * Margins: caps_loss.h.  CUDA: cuda/caps_loss.cu.  Tests: tests/layers/test_caps_loss.c.
 */
#include "caps_loss.h"

#include "../../core/op.h"

#include <assert.h>

static dt_status margin_loss_infer(dt_node *node)
{
    const dt_tensor *lengths = node->in[0], *labels = node->in[1];
    char text_lengths[64], text_labels[64];

    DT_CHECK(lengths->shape.ndim == 2 && dt_count(&labels->shape) == lengths->shape.dim[0], DT_ERR_SHAPE,
             "%s: margin_loss: lengths are %s, labels are %s; needed are N,J and N", node->name,
             dt_shape_text(&lengths->shape, text_lengths, sizeof text_lengths),
             dt_shape_text(&labels->shape, text_labels, sizeof text_labels));
    DT_CHECK(lengths->type == DT_F32 && lengths->n_scale == 0 && labels->type == DT_I32, DT_ERR_ARGUMENT,
             "%s: margin_loss: lengths must be real f32 values and labels i32", node->name);
    node->out->shape = (dt_shape){ .ndim = 1, .dim = { 1 } };
    return DT_OK;
}

static dt_status reconstruction_loss_infer(dt_node *node)
{
    const dt_reconstruction_loss_params *p = node->params;
    const dt_tensor *y = node->in[0], *x = node->in[1];
    char text_y[64], text_x[64];

    DT_CHECK(y->shape.dim[0] == x->shape.dim[0] && dt_count(&y->shape) == dt_count(&x->shape), DT_ERR_SHAPE,
             "%s: reconstruction_loss: y is %s, x is %s; needed are as many images with as many values each",
             node->name, dt_shape_text(&y->shape, text_y, sizeof text_y),
             dt_shape_text(&x->shape, text_x, sizeof text_x));
    DT_CHECK(y->type == DT_F32 && x->type == DT_F32 && y->n_scale == 0 && x->n_scale == 0, DT_ERR_ARGUMENT,
             "%s: reconstruction_loss: y and x must be real f32 values", node->name);
    DT_CHECK(p->scale >= 0.0f, DT_ERR_ARGUMENT, "%s: reconstruction_loss: scale is %g, must not be negative",
             node->name, (double)p->scale);
    node->out->shape = (dt_shape){ .ndim = 1, .dim = { 1 } };
    return DT_OK;
}

const dt_op dt_op_margin_loss = {
    .name = "margin_loss",
    .min_in = 2,
    .max_in = 2,
    .backward_reads = DT_READS_IN(0) | DT_READS_IN(1),
    .infer = margin_loss_infer,
};

const dt_op dt_op_reconstruction_loss = {
    .name = "reconstruction_loss",
    .min_in = 2,
    .max_in = 2,
    .params_bytes = sizeof(dt_reconstruction_loss_params),
    .backward_reads = DT_READS_IN(0) | DT_READS_IN(1),
    .infer = reconstruction_loss_infer,
};

static int64_t first_longest(const float *length, int64_t capsules)
{
    int64_t best = 0;
    for (int64_t j = 1; j < capsules; j++) {
        if (length[j] > length[best]) best = j;
    }
    return best;
}

static dt_status margin_loss_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = dt_counted(node, node->in[0]->shape.dim[0]), capsules = node->in[0]->shape.dim[1];
    const float *length = node->in[0]->data;
    const int32_t *labels = node->in[1]->data;
    const dt_margins margins = dt_margins_of(ex->step->in.hard);
    dt_step_sum *sum = &ex->step->sum;
    float *loss = node->out->data;
    double total = 0.0;

    for (int64_t n = 0; n < batch; n++) {
        const float *row = length + n * capsules;
        assert(labels[n] >= 0 && labels[n] < capsules);
        for (int64_t j = 0; j < capsules; j++) total += dt_margin_loss(margins, (double)row[j], j == labels[n]);
        sum->n_correct += first_longest(row, capsules) == labels[n];
    }
    sum->loss += total;
    sum->n_images += batch;
    *loss = (float)(total / (double)dt_step_count(node, batch));
    return DT_OK;
}

static dt_status margin_loss_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = node->in[0]->shape.dim[0], capsules = node->in[0]->shape.dim[1];
    const float *length = node->in[0]->data;
    const int32_t *labels = node->in[1]->data;
    const dt_margins margins = dt_margins_of(ex->step->in.hard);
    const double g = (double)dt_grads(node->out)[0] / (double)dt_step_count(node, batch);
    const int fresh = (int)(node->fresh & 1u);
    float *dlength = node->in[0]->grad;
    if (!dlength) return DT_OK;

    for (int64_t i = 0; i < batch * capsules; i++) {
        const int is_label = i % capsules == labels[i / capsules];
        const float slope = (float)(g * dt_margin_slope(margins, (double)length[i], is_label));
        dlength[i] = fresh ? slope : dlength[i] + slope;
    }
    return DT_OK;
}

/* Scratch: the sum of squares of each image. */
static dt_status reconstruction_loss_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = (size_t)node->in[0]->shape.dim[0] * sizeof(double);
    return DT_OK;
}

static double squared_distance(const float *y, const float *x, int64_t count)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        const double miss = (double)y[i] - (double)x[i];
        sum += miss * miss;
    }
    return sum;
}

static dt_status reconstruction_loss_forward(const dt_node *node, const dt_exec *ex)
{
    const double scale = (double)((const dt_reconstruction_loss_params *)node->params)->scale;
    const int64_t rows = node->in[0]->shape.dim[0], pixels = dt_count(&node->in[0]->shape) / rows;
    const int64_t batch = dt_counted(node, rows);
    const float *y = node->in[0]->data, *x = node->in[1]->data;
    float *loss = node->out->data;
    double *squares = ex->scratch, total = 0.0;

#pragma omp parallel for
    for (int64_t n = 0; n < batch; n++) squares[n] = squared_distance(y + n * pixels, x + n * pixels, pixels);
    for (int64_t n = 0; n < batch; n++) total += squares[n];
    ex->step->sum.loss += scale * total;
    ex->step->sum.reconstruction += total;
    *loss = (float)(scale * total / (double)dt_step_count(node, batch));
    return DT_OK;
}

static dt_status reconstruction_loss_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_reconstruction_loss_params *p = node->params;
    const int64_t count = dt_count(&node->in[0]->shape);
    const float *y = node->in[0]->data, *x = node->in[1]->data;
    const float g = 2.0f * p->scale * dt_grads(node->out)[0] / (float)dt_step_count(node, node->in[0]->shape.dim[0]);
    const int fresh_y = (int)(node->fresh & 1u), fresh_x = (int)(node->fresh & 2u);
    float *dy = node->in[0]->grad, *dx = node->in[1]->grad;
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) {
        const float slope = g * (y[i] - x[i]);
        if (dy) dy[i] = fresh_y ? slope : dy[i] + slope;
        if (dx) dx[i] = fresh_x ? -slope : dx[i] - slope;
    }
    return DT_OK;
}

const dt_kernel dt_cpu_margin_loss = {
    .forward = margin_loss_forward,
    .backward = margin_loss_backward,
    .overwrites = 1u,
};
const dt_kernel dt_cpu_reconstruction_loss = {
    .prepare = reconstruction_loss_prepare,
    .forward = reconstruction_loss_forward,
    .backward = reconstruction_loss_backward,
    .overwrites = 3u,
};
