/*
 * linear_xent.c - the classifier of a training step: a fully connected layer and the loss behind it, in one operator.
 *
 *   z = x w^T + b (linear.c, summed in order),  loss = softmax_xent(z, labels) (loss.c)
 *
 * It computes what LINEAR and SOFTMAX_XENT compute one after the other, with the same running sums. The logits are not
 * stored. core/tape/fuse.c merges the two to this operator, and GATHER with them: then labels are those of the whole
 * dataset, and order says which of them are the batch's.
 *
 * Shapes: x N,I, or N,.. of I values each; w O,I; b O; labels i32 N; loss 1. Or labels i32 n, order i32 n.
 * aux: p, f32 N,O.
 * CUDA: cuda/linear_xent.cu.  Tests: tests/layers/test_linear_xent.c.
 */
#include "linear.h"
#include "loss.h"

enum { X = DT_LINEAR_X, W = DT_LINEAR_W, B = DT_LINEAR_B, LABELS, ORDER, MOST_IN };

static dt_status linear_xent_infer(dt_node *node)
{
    const dt_softmax_xent_params *p = node->params;
    const dt_tensor *labels = node->in[LABELS];

    DT_TRY(dt_linear_check(node));
    DT_CHECK(
        node->in[X]->n_scale == 0 && node->in[W]->n_scale == 0, DT_ERR_UNSUPPORTED,
        "%s: linear_xent: %s is a grid tensor, and the classifier takes real values; put a batch norm or an average "
        "pool before it",
        node->name, node->in[X]->n_scale ? "x" : "w");
    const dt_linear_size size = dt_linear_size_of(node);
    const int64_t wanted = node->n_in > ORDER ? dt_count(&node->in[ORDER]->shape) : size.batch;
    DT_CHECK(labels->type == DT_I32 && dt_count(&labels->shape) == wanted, DT_ERR_SHAPE,
             "%s: linear_xent: needs a label of i32 for each of %lld images, got %lld", node->name, (long long)wanted,
             (long long)dt_count(&labels->shape));
    DT_TRY(dt_xent_check(node, p->label_smoothing));
    node->out->shape = (dt_shape){ .ndim = 1, .dim = { 1 } };
    node->aux_bytes = (size_t)(size.batch * size.features) * sizeof(float);
    return DT_OK;
}

const dt_op dt_op_linear_xent = {
    .name = "linear_xent",
    .min_in = ORDER,
    .max_in = MOST_IN,
    .params_bytes = sizeof(dt_softmax_xent_params),
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(W) | DT_READS_IN(LABELS) | DT_READS_AUX,
    .infer = linear_xent_infer,
};

static dt_xent_view xent_look(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = node->params;
    const dt_linear_size size = dt_linear_size_of(node);
    const int64_t batch = dt_counted(node, size.batch);
    const int32_t *order = node->n_in > ORDER ? (const int32_t *)node->in[ORDER]->data + ex->step->in.first : NULL;
    return (dt_xent_view){ batch, size.features, node->in[LABELS]->data, p->label_smoothing, dt_step_count(node, batch),
                           order };
}

/* Scratch: dz. */
static dt_status linear_xent_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = node->aux_bytes;
    return DT_OK;
}

static dt_status linear_xent_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_xent_view v = xent_look(node, ex);
    float *loss = node->out->data;

    dt_linear_in_order(node, node->aux);
    *loss = dt_xent_forward(&v, node->aux, node->aux, &ex->step->sum);
    return DT_OK;
}

static dt_status linear_xent_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_xent_view v = xent_look(node, ex);
    float *dz = ex->scratch;

    dt_xent_backward(&v, node->aux, dt_grads(node->out)[0], 1, dz);
    return dt_linear_gradients(node, dz, dz);
}

const dt_kernel dt_cpu_linear_xent = {
    .prepare = linear_xent_prepare,
    .forward = linear_xent_forward,
    .backward = linear_xent_backward,
    .overwrites = 1u << X | 1u << W | 1u << B,
};
