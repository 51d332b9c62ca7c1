/*
 * qsoftmax.c - softmax from codes to codes 0..255 over the last axis; core/arith/qsoftmax.h has the arithmetic.
 *
 * Shapes: x ..,C; scales 1; code as x.  CUDA: cuda/qsoftmax.cu.  Tests: tests/quant/test_qsoftmax.c.
 */
#include "requantize.h"

#include "../core/arith/qsoftmax.h"

#include <assert.h>

static dt_status qsoftmax_infer(dt_node *node)
{
    const dt_qsoftmax_params *p = node->params;
    const dt_tensor *x = node->in[0];
    assert(x->type == DT_F32);

    DT_CHECK(x->n_scale == 1 && dt_count(&node->in[DT_QSOFTMAX_SCALE_X]->shape) == 1, DT_ERR_UNSUPPORTED,
             "%s: qsoftmax: takes codes of one scale, and x has %d scales", node->name, x->n_scale);
    DT_CHECK(p->beta > 0.0f && isfinite(p->beta), DT_ERR_ARGUMENT, "%s: qsoftmax: beta is %g, must be above 0",
             node->name, (double)p->beta);
    node->out->shape = x->shape;
    return dt_requant_out(node, 0, 255, DT_QSOFTMAX_SCALE_Y);
}

static const dt_field qsoftmax_fields[] = {
    { DT_MEMBER(dt_qsoftmax_params, profile), DT_FIELD_WORD, 0, DT_PROFILE_EXACT, dt_profile_names, 0 },
    { DT_MEMBER(dt_qsoftmax_params, beta), DT_FLOAT(0, 1e6) },
};

static const dt_qsoftmax_params qsoftmax_defaults = { .beta = 1.0f };

const dt_op dt_op_qsoftmax = {
    .name = "qsoftmax",
    .min_in = 3,
    .max_in = 3,
    DT_OP_PARAMS(dt_qsoftmax_params, qsoftmax_fields),
    .defaults = &qsoftmax_defaults,
    .no_grad = 1,
    .infer = qsoftmax_infer,
};

static dt_status qsoftmax_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_qsoftmax_params p = *(const dt_qsoftmax_params *)node->params;
    const int64_t rows = dt_rows(&node->out->shape), channels = dt_channels(&node->out->shape);
    const float scale_x = *(const float *)node->in[DT_QSOFTMAX_SCALE_X]->data,
                scale_y = *(const float *)node->in[DT_QSOFTMAX_SCALE_Y]->data;
    const float *x = node->in[0]->data;
    float *code = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        dt_qsoftmax_row(p.profile, p.beta, scale_x, scale_y, x + r * channels, channels, code + r * channels);
    }
    node->out->scale[0] = scale_y;
    return DT_OK;
}

const dt_kernel dt_cpu_qsoftmax = { .forward = qsoftmax_forward };
