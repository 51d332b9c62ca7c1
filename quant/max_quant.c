/*
 * max_quant.c - filters, or biases, to integer codes, as TensorFlow Lite does it: the largest magnitude has the largest
 * code.
 *
 * The formulas and their source are in core/arith/range.h. The least scale is 0 where nothing asks for more; a bias
 * that needs more than 32 bits of the psum's scale makes it larger. Gradients pass: no weight is ever clipped. A filter
 * with a weight that is no number has the scale NaN, and so has each of its codes.
 *
 * Shapes: w K,..; least scale 1 or K, >= 0; codes as w, scale as least.
 * CUDA: cuda/max_quant.cu.  Tests: tests/quant/test_max_quant.c.
 */
#include "../core/op.h"
#include "../core/arith/range.h"
#include "../layers/pass.h"

enum { W, LEAST, N_IN };

static dt_status max_quant_infer(dt_node *node)
{
    const dt_max_quant_params *p = node->params;
    const dt_tensor *w = node->in[W];
    const int64_t n_scale = dt_count(&node->in[LEAST]->shape), filters = w->shape.dim[0];

    DT_CHECK(p->bits >= 2 && p->bits <= 16, DT_ERR_ARGUMENT, "%s: max_quant: weights of %d bits, allowed are 2..16",
             node->name, p->bits);
    DT_CHECK(w->n_scale == 0, DT_ERR_SHAPE, "%s: max_quant wants real values", node->name);
    DT_CHECK(n_scale == 1 || n_scale == filters, DT_ERR_SHAPE,
             "%s: max_quant: %lld least scales for %lld filters; 1 or one a filter", node->name, (long long)n_scale,
             (long long)filters);
    node->out->type = DT_F32;
    node->out->shape = w->shape;
    node->out->n_scale = (int)n_scale;
    node->out->qmax = dt_weight_high(p->bits);
    node->out->qmin = -node->out->qmax;
    return DT_OK;
}

static const dt_field max_quant_fields[] = { { DT_MEMBER(dt_max_quant_params, bits), DT_INT(2, 16) } };

static const dt_max_quant_params max_quant_defaults = { .bits = 8 };

const dt_op dt_op_max_quant = {
    .name = "max_quant",
    .min_in = N_IN,
    .max_in = N_IN,
    DT_OP_PARAMS(dt_max_quant_params, max_quant_fields),
    .defaults = &max_quant_defaults,
    .infer = max_quant_infer,
};

/* Filter k, or all of them where there is one scale. */
static void quantize_set(const dt_node *node, int64_t k)
{
    const int64_t n = dt_count(&node->out->shape) / node->out->n_scale;
    const float *w = (const float *)node->in[W]->data + k * n, least = ((const float *)node->in[LEAST]->data)[k];
    const int high = (int)node->out->qmax;
    float *code = (float *)node->out->data + k * n, magnitude = 0.0f;

    for (int64_t i = 0; i < n; i++) magnitude = dt_max_magnitude(magnitude, w[i]);
    const double step = dt_max_step(magnitude, high, least);
    for (int64_t i = 0; i < n; i++) code[i] = dt_max_code(w[i], step, high);
    node->out->scale[k] = (float)step;
}

static dt_status max_quant_forward(const dt_node *node, const dt_exec *ex)
{
    (void)ex;

#pragma omp parallel for
    for (int64_t k = 0; k < node->out->n_scale; k++) quantize_set(node, k);
    return DT_OK;
}

const dt_kernel dt_cpu_max_quant = { .forward = max_quant_forward,
                                     .backward = dt_pass_backward,
                                     .overwrites = 1u << W };
