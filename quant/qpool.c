/*
 * qpool.c - average pooling from codes to codes of the same scale, as inference engines compute it.
 *
 *   code = limit(round(sum over the window's cells in the map / their number))
 *
 * The engines average stored integers, q = code + zero, and round half away from q = 0: core/arith/requantize.h.
 *
 * Shapes: N,H,W,C -> N,P,Q,C as in layers/pool.c.  CUDA: cuda/qpool.cu.  Tests: tests/quant/test_qpool.c.
 */
#include "qpool.h"

#include <assert.h>

static dt_status qavgpool_infer(dt_node *node)
{
    const dt_qavgpool_params *p = node->params;
    const dt_tensor *x = node->in[0];
    assert(x->type == DT_F32);

    DT_CHECK(x->n_scale == 1, DT_ERR_UNSUPPORTED, "%s: qavgpool: takes codes of one scale, and x has %d scales",
             node->name, x->n_scale);
    DT_CHECK(p->low <= 0 && p->high >= 0 && p->low < p->high, DT_ERR_ARGUMENT,
             "%s: qavgpool: the range of the codes is %d..%d, which must hold 0", node->name, p->low, p->high);
    DT_TRY(dt_pool_infer(node));
    dt_stay_on_grid(node->out, x);
    node->out->qmin = p->low;
    node->out->qmax = p->high;
    return DT_OK;
}

static const dt_field qavgpool_fields[] = {
    { DT_MEMBER_AS("window", dt_qavgpool_params, pool.window), DT_INTS(2, 0, 4096) },
    { DT_MEMBER_AS("stride", dt_qavgpool_params, pool.stride), DT_INTS(2, 1, 4096) },
    { DT_MEMBER_AS("pad", dt_qavgpool_params, pool.pad), DT_INTS(4, 0, 4096) },
    { DT_MEMBER(dt_qavgpool_params, profile), DT_FIELD_WORD, 0, DT_PROFILE_ONNX, dt_profile_names, 0 },
    { DT_MEMBER(dt_qavgpool_params, low), DT_INT(-65535, 0) },
    { DT_MEMBER(dt_qavgpool_params, high), DT_INT(0, 65535) },
    { DT_MEMBER(dt_qavgpool_params, zero), DT_INT(-32768, 32767) },
};

static const dt_qavgpool_params qavgpool_defaults = { .pool = { .stride = { 1, 1 } } };

const dt_op dt_op_qavgpool = {
    .name = "qavgpool",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_qavgpool_params, qavgpool_fields),
    .defaults = &qavgpool_defaults,
    .no_grad = 1,
    .infer = qavgpool_infer,
};

static dt_status qavgpool_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_qavgpool_params p = *(const dt_qavgpool_params *)node->params;
    const dt_pool_view v = dt_pool_look(node);
    const float *x = node->in[0]->data;
    float *code = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < v.batch * v.out_height * v.out_width; i++) {
        for (int64_t c = 0; c < v.channels; c++) code[i * v.channels + c] = dt_qavgpool_value(&v, &p, x, i, c);
    }
    return DT_OK;
}

const dt_kernel dt_cpu_qavgpool = { .forward = qavgpool_forward };
