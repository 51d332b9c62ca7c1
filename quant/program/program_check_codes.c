/*
 * program_check_codes.c - checks the nodes that make codes under a profile: see program_check.c.
 *
 * Their scales must be those of what they read: the multipliers are computed from them.
 * Tests: tests/quant/test_program_codes.c.
 */
#include "program_checks.h"

/* Input k, a scale, is the parameter from which the codes `value` have theirs. */
static dt_status is_scale_of(const dt_checked_node *v, int k, int value)
{
    const int own = dt_program_scale_param(v->p, value);

    DT_CHECK(v->n->in[k] == own, DT_ERR_FORMAT, "%s (%s): its scale of %s is %s, expected %s", v->name, v->kind,
             dt_graph_name(v->g, value), dt_graph_name(v->g, v->n->in[k]), dt_graph_name(v->g, own));
    return dt_check_scale(v, k);
}

/* Codes of at most 16 bits, with 0 among them. */
static dt_status has_range(const dt_checked_node *v, int low, int high)
{
    DT_TRY(dt_check_within(v, "low", low, -UINT16_MAX, 0));
    return dt_check_within(v, "high", high, 0, (int64_t)UINT16_MAX + low);
}

/* Shifts and products stay in 64 bits if a step of what is read is at most 2^20 steps of the codes. */
static dt_status is_ratio(const dt_checked_node *v, double steps)
{
    DT_CHECK(steps <= 1048576.0, DT_ERR_FORMAT,
             "%s (%s): a step of what it reads is %g steps of its codes, at most 2^20", v->name, v->kind, steps);
    return DT_OK;
}

static double scale_at(const dt_checked_node *v, int k)
{
    return (double)*(const float *)dt_program_data(v->p, v->n, k);
}

dt_status dt_check_quantize(const dt_checked_node *v)
{
    const dt_quantize_params *p = v->n->params;

    DT_TRY(has_range(v, p->low, p->high));
    if (p->cast != DT_CAST_ROUND) {
        DT_TRY(dt_check_equals(v, "low", p->low, INT8_MIN - p->zero));
        DT_TRY(dt_check_equals(v, "high", p->high, INT8_MAX - p->zero));
    }
    return dt_check_scale(v, DT_QUANTIZE_SCALE);
}

/* A bias of 32 bits, small enough that no sum leaves them. */
static dt_status check_bias(const dt_checked_node *v)
{
    DT_TRY(dt_check_param(v, DT_REQUANT_BIAS, "bias", DT_I32));
    DT_TRY(dt_check_equals(v, "type of the bias", v->g->value[v->n->in[DT_REQUANT_BIAS]]->param.type, DT_I32));
    const int32_t *bias = dt_program_data(v->p, v->n, DT_REQUANT_BIAS);
    for (int c = 0; c < v->y.channels; c++) {
        DT_TRY(dt_check_within(v, "bias", bias[c], (int64_t)INT32_MIN - v->x.low, (int64_t)INT32_MAX - v->x.high));
    }
    return DT_OK;
}

/* Of a convolution's psums: the scales of its codes and of its weights. */
static dt_status check_conv_scales(const dt_checked_node *v, const dt_graph_node *conv)
{
    const dt_graph_node *weights = dt_program_weights(v->p, conv);
    const dt_requantize_params *p = v->n->params;

    DT_TRY(dt_check_within(v, "kind of sum", p->of, DT_REQUANT_CONV, DT_REQUANT_MATMUL_SHIFTED));
    DT_TRY(dt_check_within(v, "inputs", v->n->n_in, DT_REQUANT_SCALE_W + 1, DT_REQUANT_BIAS + 1));
    DT_TRY(is_scale_of(v, DT_REQUANT_SCALE_X, conv->in[0]));
    DT_CHECK(v->n->in[DT_REQUANT_SCALE_W] == weights->in[DT_CODES_SCALE], DT_ERR_FORMAT,
             "%s (%s): its scale of the weights is %s, expected %s", v->name, v->kind,
             dt_graph_name(v->g, v->n->in[DT_REQUANT_SCALE_W]), dt_graph_name(v->g, weights->in[DT_CODES_SCALE]));
    const float *scale_w = dt_program_data(v->p, v->n, DT_REQUANT_SCALE_W);
    const int64_t n_w = dt_count(dt_graph_shape(v->g, v->n->in[DT_REQUANT_SCALE_W]));
    for (int64_t c = 0; c < n_w; c++) {
        DT_TRY(is_ratio(v, scale_at(v, DT_REQUANT_SCALE_X) * (double)scale_w[c] / scale_at(v, DT_REQUANT_SCALE_Y)));
    }
    return v->n->n_in > DT_REQUANT_BIAS ? check_bias(v) : DT_OK;
}

dt_status dt_check_requantize(const dt_checked_node *v)
{
    const dt_requantize_params *p = v->n->params;
    const dt_graph_node *maker = dt_graph_maker(v->g, v->n->in[0]);
    const int is_mean = maker->kind == DT_OP_AVGPOOL;

    DT_TRY(has_range(v, p->low, p->high));
    DT_TRY(dt_check_within(v, "profile", p->profile, 0, DT_PROFILE_ONNX)); /* of `exact` it would be a THRESHOLD */
    DT_TRY(dt_check_scale(v, DT_REQUANT_SCALE_Y));
    if (maker->kind == DT_OP_CONV2D) return check_conv_scales(v, maker);
    DT_CHECK(maker->kind != DT_OP_ADD, DT_ERR_FORMAT, "%s (%s): reads the sum %s; qadd adds codes under a profile",
             v->name, v->kind, dt_graph_name(v->g, v->n->in[0]));
    DT_TRY(dt_check_equals(v, "kind of sum", p->of, is_mean ? DT_REQUANT_MEAN : DT_REQUANT_CODES));
    DT_TRY(dt_check_equals(v, "inputs", v->n->n_in, DT_REQUANT_SCALE_W));
    if (is_mean) {
        const int *window = ((const dt_pool_params *)maker->params)->window;
        DT_TRY(dt_check_equals(v, "count", p->count, window[0] * window[1]));
    }
    DT_TRY(is_scale_of(v, DT_REQUANT_SCALE_X, v->n->in[0]));
    return is_ratio(v, scale_at(v, DT_REQUANT_SCALE_X) / scale_at(v, DT_REQUANT_SCALE_Y));
}

dt_status dt_check_qbinary(const dt_checked_node *v)
{
    const dt_qbinary_params *p = v->n->params;

    DT_TRY(has_range(v, p->low, p->high));
    DT_TRY(is_scale_of(v, DT_QBINARY_SCALE_A, v->n->in[DT_QBINARY_A]));
    DT_TRY(is_scale_of(v, DT_QBINARY_SCALE_B, v->n->in[DT_QBINARY_B]));
    DT_TRY(dt_check_scale(v, DT_QBINARY_SCALE_Y));
    const double a = scale_at(v, DT_QBINARY_SCALE_A), b = scale_at(v, DT_QBINARY_SCALE_B);
    const double y = scale_at(v, DT_QBINARY_SCALE_Y);
    if (v->n->kind == DT_OP_QMUL) return is_ratio(v, a * b / y);
    DT_TRY(is_ratio(v, a / y));
    return is_ratio(v, b / y);
}

int dt_is_matrix(const dt_graph *g, int value)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == DT_OP_QMATMUL && (n->in[DT_QBINARY_A] == value || n->in[DT_QBINARY_B] == value)) return 1;
    }
    return 0;
}

dt_status dt_check_matrix(const dt_checked_node *v)
{
    const dt_codes_params *p = v->n->params;
    const dt_shape *shape = dt_graph_shape(v->g, v->n->out);

    DT_TRY(dt_check_within(v, "low", p->low, -UINT8_MAX, 0));
    DT_TRY(dt_check_within(v, "high", p->high, 0, UINT8_MAX + p->low));
    DT_TRY(dt_check_equals(v, "most", p->most, 0));
    DT_TRY(dt_check_equals(v, "axes of the matrix", shape->ndim, 4));
    DT_TRY(dt_check_equals(v, "images of the matrix", shape->dim[0], 1));
    DT_TRY(dt_check_equals(v, "scales of the matrix", dt_count(dt_graph_shape(v->g, v->n->in[DT_CODES_SCALE])), 1));
    DT_TRY(dt_check_scale(v, DT_CODES_SCALE));
    DT_TRY(dt_check_param(v, DT_CODES_WEIGHT, "weight", DT_I16));
    const int16_t *code = dt_program_data(v->p, v->n, DT_CODES_WEIGHT);
    for (int64_t i = 0; i < dt_count(shape); i++) DT_TRY(dt_check_within(v, "weight", code[i], p->low, p->high));
    return DT_OK;
}

/* A value of a program is a map, one for each image. */
static dt_status is_map(const dt_checked_node *v)
{
    DT_TRY(dt_check_equals(v, "axes", dt_graph_shape(v->g, v->n->out)->ndim, 4));
    return dt_check_equals(v, "maps of an image", dt_graph_rows(v->g, v->n->out), 1);
}

/* A list of capsules has three axes. */
dt_status dt_check_transpose(const dt_checked_node *v)
{
    return dt_check_within(v, "axes", dt_graph_shape(v->g, v->n->out)->ndim, 3, 4);
}

/* At least one operand is computed. The other may be a matrix of the network's own. */
dt_status dt_check_qmatmul(const dt_checked_node *v)
{
    const dt_qmatmul_params *p = v->n->params;
    const dt_graph_node *a = dt_graph_maker(v->g, v->n->in[DT_QBINARY_A]);
    const dt_graph_node *b = dt_graph_maker(v->g, v->n->in[DT_QBINARY_B]);

    DT_CHECK(a->kind != DT_OP_CODES || b->kind != DT_OP_CODES, DT_ERR_FORMAT,
             "%s (%s): reads %s and %s, which are both constant", v->name, v->kind, dt_graph_name(v->g, a->out),
             dt_graph_name(v->g, b->out));
    DT_TRY(is_map(v));
    DT_TRY(has_range(v, p->low, p->high));
    DT_TRY(is_scale_of(v, DT_QBINARY_SCALE_A, a->out));
    DT_TRY(is_scale_of(v, DT_QBINARY_SCALE_B, b->out));
    DT_TRY(dt_check_scale(v, DT_QBINARY_SCALE_Y));
    return is_ratio(v, scale_at(v, DT_QBINARY_SCALE_A) * scale_at(v, DT_QBINARY_SCALE_B) /
                           scale_at(v, DT_QBINARY_SCALE_Y));
}

dt_status dt_check_qavgpool(const dt_checked_node *v)
{
    const dt_qavgpool_params *p = v->n->params;

    DT_TRY(has_range(v, p->low, p->high));
    DT_TRY(dt_check_within(v, "profile", p->profile, 0, DT_PROFILE_ONNX));
    DT_TRY(dt_check_equals(v, "count_include_pad", p->pool.count_include_pad, 0));
    return dt_check_within(v, "zero", p->zero, INT16_MIN, INT16_MAX);
}

dt_status dt_check_qsoftmax(const dt_checked_node *v)
{
    const dt_qsoftmax_params *p = v->n->params;

    DT_CHECK(isfinite(p->beta) && p->beta > 0.0f, DT_ERR_FORMAT, "%s (%s): beta is %g, expected a number above 0",
             v->name, v->kind, (double)p->beta);
    DT_TRY(is_scale_of(v, DT_QSOFTMAX_SCALE_X, v->n->in[0]));
    return dt_check_scale(v, DT_QSOFTMAX_SCALE_Y);
}

dt_status dt_check_code_table(const dt_checked_node *v)
{
    const dt_table_params *p = v->n->params;

    DT_TRY(has_range(v, p->low, p->high));
    DT_TRY(dt_check_scale(v, DT_TABLE_SCALE));
    DT_TRY(dt_check_param(v, DT_TABLE_CODES, "table", DT_I16));
    const int16_t *table = dt_program_data(v->p, v->n, DT_TABLE_CODES);
    const int64_t n = dt_count(dt_graph_shape(v->g, v->n->in[DT_TABLE_CODES]));
    for (int64_t i = 0; i < n; i++) DT_TRY(dt_check_within(v, "code", table[i], p->low, p->high));
    return DT_OK;
}
