/*
 * loss.c - softmax and cross entropy with label smoothing, and the count of right answers.
 *
 *   p = softmax(z),  target = (1 - s) * onehot(label) + s / O,  loss = mean over images of -sum target * log p
 *   dz = dloss / N * (p - target)
 *
 * With a teacher's logits u as a third input, a share q of the loss and a temperature T:
 *   loss = mean of (1 - q) * (that loss) + q * T^2 * sum t * (log t - log r),  t = softmax(u / T), r = softmax(z / T)
 *   dz = dloss / N * ((1 - q) * (p - target) + q * T * (r - t)),  which forward leaves in aux in place of p
 *
 * Forward also adds to the running sums: the loss summed over images, the number of images whose label has the largest
 * logit (of equal logits the first counts, as in PyTorch), and N; all of the images that count (dt_purpose). Labels are
 * not checked, because datasets have checked their range.
 *
 * Sources: Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7; Hinton, Vinyals, Dean,
 * "Distilling the knowledge in a neural network", 2015, section 2.
 * Shapes: z and u N,O; labels i32 N; loss 1.  aux: p, f32 N,O.  CUDA: cuda/loss.cu.  Tests: tests/layers/test_loss.c.
 */
#include "loss.h"

#include <assert.h>

dt_status dt_xent_check(const dt_node *node, float smoothing)
{
    DT_CHECK(smoothing >= 0.0f && smoothing < 1.0f, DT_ERR_ARGUMENT,
             "%s: %s: label_smoothing is %g, allowed are 0 to below 1", node->name, dt_ops[node->kind]->name,
             (double)smoothing);
    return DT_OK;
}

static dt_status teacher_check(const dt_node *node)
{
    const dt_softmax_xent_params *p = node->params;
    const dt_tensor *z = node->in[0], *u = node->n_in > 2 ? node->in[2] : NULL;
    char text_z[64], text_u[64];

    if (!u) return DT_OK;
    DT_CHECK(dt_same_shape(&u->shape, &z->shape) && u->type == DT_F32 && u->n_scale == 0, DT_ERR_SHAPE,
             "%s: softmax_xent: a teacher's logits are %s, and those of the network are %s; both are real f32 values",
             node->name, dt_shape_text(&u->shape, text_u, sizeof text_u),
             dt_shape_text(&z->shape, text_z, sizeof text_z));
    DT_CHECK(p->teacher_share >= 0.0f && p->teacher_share <= 1.0f && p->teacher_temperature > 0.0f, DT_ERR_ARGUMENT,
             "%s: softmax_xent: teacher_share is %g and teacher_temperature %g, allowed are 0..1 and above 0",
             node->name, (double)p->teacher_share, (double)p->teacher_temperature);
    return DT_OK;
}

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
    DT_TRY(dt_xent_check(node, p->label_smoothing));
    DT_TRY(teacher_check(node));
    node->out->shape = (dt_shape){ .ndim = 1, .dim = { 1 } };
    node->aux_bytes = dt_tensor_bytes(z);
    return DT_OK;
}

const dt_op dt_op_softmax_xent = {
    .name = "softmax_xent",
    .min_in = 2,
    .max_in = 3,
    .params_bytes = sizeof(dt_softmax_xent_params),
    .backward_reads = DT_READS_IN(1) | DT_READS_AUX,
    .infer = softmax_xent_infer,
};

float dt_xent_forward(const dt_xent_view *v, const float *z, float *p, dt_step_sum *sum)
{
    double total = 0.0;

    for (int64_t n = 0; n < v->batch; n++) {
        const int64_t at = n * v->classes;
        const int32_t label = dt_xent_label(v, n);
        assert(label >= 0 && label < v->classes);
        const dt_xent_image image = dt_xent_row(z + at, v->classes, label, v->smoothing, p + at);
        total += image.loss;
        sum->n_correct += image.is_correct;
    }
    sum->loss += total;
    sum->n_images += v->batch;
    return (float)(total / (double)v->step);
}

void dt_xent_backward(const dt_xent_view *v, const float *p, float dloss, int fresh, float *dz)
{
    const float g = dloss / (float)v->step;

    for (int64_t i = 0; i < v->batch * v->classes; i++) {
        const int is_label = i % v->classes == dt_xent_label(v, i / v->classes);
        const float slope = dt_xent_slope(g, p[i], is_label, v->classes, v->smoothing);
        dz[i] = fresh ? slope : dz[i] + slope;
    }
}

static dt_xent_view xent_look(const dt_node *node)
{
    const dt_softmax_xent_params *p = node->params;
    const int64_t *z = node->in[0]->shape.dim;
    const int64_t batch = dt_counted(node, z[0]);
    return (dt_xent_view){ batch, z[1], node->in[1]->data, p->label_smoothing, dt_step_count(node, batch), NULL };
}

/* The loss with a teacher; aux becomes dz of a loss whose gradient is N. */
static float taught_forward(const dt_node *node, const dt_xent_view *v, dt_step_sum *sum)
{
    const dt_xent_teacher teacher = dt_xent_teacher_of(node->params);
    const float *z = node->in[0]->data, *u = node->in[2]->data;
    float *slope = node->aux;
    double total = 0.0;

    for (int64_t n = 0; n < v->batch; n++) {
        const int64_t at = n * v->classes;
        const dt_xent_image image =
            dt_xent_taught_row(z + at, u + at, v->classes, v->labels[n], v->smoothing, &teacher, slope + at);
        total += image.loss;
        sum->n_correct += image.is_correct;
    }
    sum->loss += total;
    sum->n_images += v->batch;
    return (float)(total / (double)v->step);
}

static dt_status softmax_xent_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_xent_view v = xent_look(node);
    float *loss = node->out->data;

    if (node->n_in > 2) {
        *loss = taught_forward(node, &v, &ex->step->sum);
        return DT_OK;
    }
    *loss = dt_xent_forward(&v, node->in[0]->data, node->aux, &ex->step->sum);
    return DT_OK;
}

static dt_status softmax_xent_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_xent_view v = xent_look(node);
    float *dz = node->in[0]->grad;
    const float g = dt_grads(node->out)[0] / (float)v.step;
    (void)ex;

    if (node->n_in > 2) {
        const float *slope = node->aux;
        for (int64_t i = 0; dz && i < v.batch * v.classes; i++) {
            dz[i] = node->fresh & 1u ? g * slope[i] : dz[i] + g * slope[i];
        }
        return DT_OK;
    }
    if (dz) dt_xent_backward(&v, node->aux, dt_grads(node->out)[0], (int)(node->fresh & 1u), dz);
    return DT_OK;
}

const dt_kernel dt_cpu_softmax_xent = {
    .forward = softmax_xent_forward,
    .backward = softmax_xent_backward,
    .overwrites = 1u,
};
