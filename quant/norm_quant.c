/*
 * norm_quant.c - batch norm, ReLU, max-pool and activation quantizer in one operator, each if it is there.
 *
 *   z = a q + b (batch norm),  v = max(z, 0) (ReLU),  u = max of v over the window,  code = act_quant(u)
 *
 * The formulas are those of layers/batchnorm.c, layers/activation.c, layers/pool.c and quant/act_quant.c.
 */
#include "norm_quant.h"

#include "../core/op.h"

/* An unclamped quantizer may give codes below 0: the bound that act_quant.c states. */
enum { UNCLAMPED_LOW = -32767 };

static dt_status check_norm(const dt_node *node)
{
    static const char *const names[] = { "x", "gamma", "beta", "mean", "var" };
    const dt_norm_quant_params *p = node->params;
    const dt_shape *x = &node->in[DT_NQ_X]->shape;
    char text[64];

    for (int k = DT_NQ_GAMMA; k <= DT_NQ_VAR; k++) {
        DT_CHECK(dt_count(&node->in[k]->shape) == dt_channels(x), DT_ERR_SHAPE,
                 "%s: norm_quant: %s has %lld values, x has %lld channels", node->name, names[k],
                 (long long)dt_count(&node->in[k]->shape), (long long)dt_channels(x));
    }
    DT_CHECK(!p->norm.training || dt_rows(x) > 1, DT_ERR_SHAPE,
             "%s: norm_quant: x is %s, and one value a channel has no variance; train with a larger batch", node->name,
             dt_shape_text(x, text, sizeof text));
    DT_CHECK(p->norm.epsilon > 0.0f, DT_ERR_ARGUMENT, "%s: norm_quant: epsilon is %g, must be above 0", node->name,
             (double)p->norm.epsilon);
    return DT_OK;
}

static dt_status check_pool(const dt_node *node)
{
    const dt_norm_quant_params *p = node->params;
    const dt_shape *x = &node->in[DT_NQ_X]->shape;
    char text[64];

    DT_CHECK(p->pool >= 0, DT_ERR_ARGUMENT, "%s: norm_quant: a pooling window of %d, must be 0 (none) or more",
             node->name, p->pool);
    if (p->pool == 0) return DT_OK;
    DT_CHECK(x->ndim == 4, DT_ERR_SHAPE, "%s: norm_quant: x is %s, and pooling needs the axes N,H,W,C", node->name,
             dt_shape_text(x, text, sizeof text));
    DT_CHECK(p->pool <= x->dim[1] && p->pool <= x->dim[2], DT_ERR_SHAPE,
             "%s: norm_quant: a window of %dx%d does not fit into x, which is %s", node->name, p->pool, p->pool,
             dt_shape_text(x, text, sizeof text));
    return DT_OK;
}

static dt_status check_quant(const dt_node *node)
{
    const dt_norm_quant_params *p = node->params;
    const dt_shape *alpha = &node->in[dt_norm_quant_alpha(p)]->shape;

    DT_CHECK(p->quant.bits >= 2 && p->quant.bits <= 8, DT_ERR_ARGUMENT,
             "%s: norm_quant: activations of %d bits, allowed are 2..8", node->name, p->quant.bits);
    DT_CHECK(dt_count(alpha) == 1, DT_ERR_SHAPE, "%s: norm_quant takes one alpha, got %lld", node->name,
             (long long)dt_count(alpha));
    return DT_OK;
}

/* Codes of the quantizer, real values after a norm, else x's grid. */
static void set_grid(const dt_norm_quant_params *p, const dt_tensor *x, dt_tensor *out)
{
    if (p->has_quant) {
        out->type = DT_F32;
        out->n_scale = 1;
        out->qmax = dt_act_high(p->quant.bits, p->quant.is_signed);
        out->qmin = p->quant.unclamped ? UNCLAMPED_LOW : p->quant.is_signed ? -out->qmax : 0;
    } else if (!p->has_norm) {
        dt_stay_on_grid(out, x);
        if (p->has_relu && out->qmin < 0) out->qmin = 0;
        if (p->has_relu && out->qmax < 0) out->qmax = 0;
    }
}

static dt_status norm_quant_infer(dt_node *node)
{
    const dt_norm_quant_params *p = node->params;
    const dt_tensor *x = node->in[DT_NQ_X];
    const int n_in = 1 + (p->has_norm ? DT_NQ_NORM_INPUTS : 0) + (p->has_quant ? 1 : 0);

    DT_CHECK(node->n_in == n_in, DT_ERR_ARGUMENT,
             "%s: norm_quant: %d inputs, with%s norm and with%s quantizer it takes %d", node->name, node->n_in,
             p->has_norm ? "" : "out", p->has_quant ? "" : "out", n_in);
    if (p->has_norm) DT_TRY(check_norm(node));
    DT_TRY(check_pool(node));
    if (p->has_quant) DT_TRY(check_quant(node));
    node->out->shape = x->shape;
    if (p->pool) node->out->shape.dim[1] = x->shape.dim[1] / p->pool;
    if (p->pool) node->out->shape.dim[2] = x->shape.dim[2] / p->pool;
    set_grid(p, x, node->out);
    if (p->has_norm) node->aux_bytes = (size_t)(2 * dt_channels(&x->shape)) * sizeof(float);
    return DT_OK;
}

const dt_op dt_op_norm_quant = {
    .name = "norm_quant",
    .min_in = 1,
    .max_in = 2 + DT_NQ_NORM_INPUTS,
    .params_bytes = sizeof(dt_norm_quant_params),
    .backward_reads = DT_READS_IN(DT_NQ_X) | DT_READS_IN(DT_NQ_GAMMA) | DT_READS_IN(DT_NQ_BETA) | DT_READS_AUX,
    .infer = norm_quant_infer,
};

const dt_kernel dt_cpu_norm_quant = { .forward = NULL };
