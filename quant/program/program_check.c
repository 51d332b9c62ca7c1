/*
 * program_check.c - checks that a program may run: each node reads what it may, and all data are there and in range.
 *
 * program_check_codes.c has the checks of nodes that compute under a profile, and program_check_fields.c those of
 * single fields. The file that a program came from is not trusted, because what runs afterwards (reference.c, a tape,
 * generated C) indexes and converts without checks. Whether shapes fit each other has been checked when the nodes were
 * added to the graph. Within the ranges here, sums stay in 32 bits and sizes in 64. Tests: tests/quant/test_program.c.
 */
#include "../../core/arith/grid.h"
#include "program_checks.h"

#include "../../core/conv_params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 4096, MAX_CHANNELS = 65536, MAX_NODES = 16384, MAX_PAD = 64 };

/* ---- the kinds of nodes ---- */

/* What the first node reads, whose sizes are the image's. */
static dt_status check_image(const dt_checked_node *v)
{
    DT_CHECK(v->n->in[0] == v->g->image, DT_ERR_FORMAT, "%s (%s): reads %s, expected the image", v->name, v->kind,
             dt_graph_name(v->g, v->n->in[0]));
    DT_TRY(dt_check_within(v, "height", v->y.height, 1, MAX_SIDE));
    DT_TRY(dt_check_within(v, "width", v->y.width, 1, MAX_SIDE));
    return dt_check_within(v, "channels", v->y.channels, 1,
                           v->n->kind == DT_OP_TABLE ? DT_MOST_PIXEL_CHANNELS : MAX_CHANNELS);
}

static dt_status check_table(const dt_checked_node *v)
{
    const dt_table_params *p = v->n->params;
    const int64_t *size = dt_graph_shape(v->g, v->n->in[DT_TABLE_CODES])->dim;

    if (v->g->value[v->n->in[0]]->facts.type != DT_U8) return dt_check_code_table(v);
    DT_TRY(check_image(v));
    DT_TRY(dt_check_equals(v, "rows of the table", size[0], 256));
    DT_TRY(dt_check_equals(v, "columns of the table", size[1], v->y.channels));
    DT_TRY(dt_check_equals(v, "first", p->first, 0));
    DT_TRY(dt_check_within(v, "low", p->low, INT16_MIN, 0));
    DT_TRY(dt_check_within(v, "high", p->high, 0, INT16_MAX));
    DT_TRY(dt_check_param_numbers(v, DT_TABLE_SCALE, "scale", 0.0f));
    DT_TRY(dt_check_param(v, DT_TABLE_CODES, "table", DT_I16));
    const int16_t *table = dt_program_data(v->p, v->n, DT_TABLE_CODES);
    for (int i = 0; i < 256 * v->y.channels; i++) DT_TRY(dt_check_within(v, "code", table[i], p->low, p->high));
    return DT_OK;
}

static dt_status check_codes(const dt_checked_node *v)
{
    const dt_codes_params *p = v->n->params;
    const int64_t n = dt_count(dt_graph_shape(v->g, v->n->out));

    if (dt_is_matrix(v->g, v->n->out)) return dt_check_matrix(v);
    DT_TRY(dt_check_within(v, "low", p->low, INT8_MIN, 0));
    DT_TRY(dt_check_within(v, "high", p->high, 0, INT8_MAX));
    DT_TRY(dt_check_shared_param(v, DT_CODES_SCALE, "weight_scale", DT_F32)); /* a REQUANTIZE reads it too */
    DT_TRY(dt_check_numbers(v, v->n->in[DT_CODES_SCALE], "weight_scale", 0.0f));
    DT_TRY(dt_check_param(v, DT_CODES_WEIGHT, "weight", DT_I8));
    const int8_t *weight = dt_program_data(v->p, v->n, DT_CODES_WEIGHT);
    for (int64_t i = 0; i < n; i++) DT_TRY(dt_check_within(v, "weight", weight[i], p->low, p->high));
    if (p->most > 0) {
        const dt_shape *shape = dt_graph_shape(v->g, v->n->in[DT_CODES_WEIGHT]);
        DT_TRY(dt_check_equals(v, "most", p->most, dt_program_sum_most(weight, shape)));
    }
    return DT_OK;
}

static dt_status check_conv(const dt_checked_node *v)
{
    const dt_conv_params *p = v->n->params;
    const dt_graph_node *weights = dt_graph_maker(v->g, v->n->in[1]);
    const int64_t *filter = dt_graph_shape(v->g, v->n->in[1])->dim; /* K, R, S, C / groups */

    DT_CHECK(weights && weights->kind == DT_OP_CODES && v->read[v->n->in[1]] == 1, DT_ERR_FORMAT,
             "%s (%s): its weights are %s, expected codes of its own", v->name, v->kind,
             dt_graph_name(v->g, v->n->in[1]));
    DT_TRY(dt_check_within(v, "channels", v->y.channels, 1, MAX_CHANNELS));
    for (int i = 0; i < 4; i++) DT_TRY(dt_check_within(v, "pad", p->pad[i], 0, MAX_PAD));
    for (int i = 0; i < 2; i++) {
        DT_TRY(dt_check_within(v, "stride", p->stride[i], 1, MAX_SIDE));
        DT_TRY(dt_check_within(v, "dilation", p->dilation[i], 1, MAX_SIDE));
    }
    DT_TRY(dt_check_within(v, "groups", p->groups, 1, v->x.channels));
    DT_TRY(dt_check_equals(v, "channels of a filter", filter[3], v->x.channels / p->groups));
    DT_TRY(dt_check_equals(v, "height", v->y.height, dt_conv_out_size(p, 0, v->x.height, filter[1])));
    DT_TRY(dt_check_equals(v, "width", v->y.width, dt_conv_out_size(p, 1, v->x.width, filter[2])));
    return dt_check_within(v, "largest psum", v->g->value[v->n->out]->facts.qmax, 0, INT32_MAX - 1);
}

/* Each channel's ascend; INT32_MIN for those that every psum passes, then psums, then INT32_MAX for the others. */
static dt_status check_steps(const dt_checked_node *v)
{
    const int32_t *step = dt_program_data(v->p, v->n, DT_THRESHOLD_STEPS);
    const int8_t *sign = dt_program_data(v->p, v->n, DT_THRESHOLD_SIGN);
    const int64_t channels = v->y.channels;

    for (int64_t c = 0; c < channels; c++) {
        if (sign[c] != 1) DT_TRY(dt_check_equals(v, "sign", sign[c], -1));
    }
    for (int64_t i = 0; i < (v->y.high - v->y.low) * channels; i++) {
        const int is_turned = sign[i % channels] < 0;
        const int64_t low = is_turned ? -(int64_t)v->x.high : v->x.low,
                      high = is_turned ? -(int64_t)v->x.low : v->x.high;
        if (step[i] != INT32_MIN && step[i] != INT32_MAX)
            DT_TRY(dt_check_within(v, "threshold", step[i], low + 1, high));
        if (i >= channels) DT_TRY(dt_check_within(v, "threshold", step[i], step[i - channels], INT32_MAX));
    }
    return DT_OK;
}

/* The psums next to a threshold get its codes, so all psums between two get theirs. */
static dt_status multiplier_steps_here(const dt_checked_node *v, const dt_requant *r, int c, int level)
{
    const int32_t *step = dt_program_data(v->p, v->n, DT_THRESHOLD_STEPS);
    const int8_t *signs = dt_program_data(v->p, v->n, DT_THRESHOLD_SIGN);
    const int32_t t = step[(int64_t)level * v->y.channels + c];
    const int64_t sign = signs[c];
    const int64_t low = sign > 0 ? v->x.low : -(int64_t)v->x.high, high = sign > 0 ? v->x.high : -(int64_t)v->x.low;
    const int64_t below = t == INT32_MIN ? low - 1 : t == INT32_MAX ? high : t - 1;
    const int agree_below = below < low || dt_requant_code(r, c, sign * below) <= r->low + level;
    const int agree_above = below >= high || dt_requant_code(r, c, sign * (below + 1)) > r->low + level;

    DT_CHECK(agree_below && agree_above, DT_ERR_FORMAT,
             "%s (%s): threshold %d of channel %d is %d, which is not where its multiplier steps", v->name, v->kind,
             level, c, t);
    return DT_OK;
}

static dt_status check_requant(const dt_checked_node *v)
{
    const dt_requant r = dt_program_requant(v->p, v->n);

    DT_TRY(dt_check_within(v, "bits of the multiplier", r.bits, DT_REQUANT_BITS_MIN, DT_REQUANT_BITS_MAX));
    const int64_t most = ((int64_t)1 << (r.bits - 1)) - 1;
    for (int c = 0; c < v->y.channels; c++) {
        DT_TRY(dt_check_within(v, "multiplier", r.multiplier[c], -most, most));
        DT_TRY(dt_check_within(v, "multiplier's offset", r.offset[c], -DT_REQUANT_OFFSET_MAX, DT_REQUANT_OFFSET_MAX));
        DT_TRY(dt_check_within(v, "multiplier's shift", r.shift[c], 0, DT_REQUANT_SHIFT_MAX));
        for (int level = 0; level < r.high - r.low; level++) DT_TRY(multiplier_steps_here(v, &r, c, level));
    }
    return DT_OK;
}

/* What may stand beside a THRESHOLD: a line always, the multiplier form whole or not at all. */
static const struct {
    const char *part, *field;
    dt_dtype type;
    int multiplies, one; /* one: of a single number, else one a channel */
} constants[DT_THRESHOLD_CONSTANTS] = {
    { DT_LINE_SLOPE, "slope", DT_F32, 0, 0 },
    { DT_LINE_OFFSET, "offset", DT_F32, 0, 0 },
    { DT_REQUANT_BITS, "bits of the multiplier", DT_I32, 1, 1 },
    { DT_REQUANT_MULTIPLIER, "multiplier", DT_I32, 1, 0 },
    { DT_REQUANT_OFFSET, "multiplier's offset", DT_I64, 1, 0 },
    { DT_REQUANT_SHIFT, "multiplier's shift", DT_I32, 1, 0 },
};

static dt_status check_constant(const dt_checked_node *v, int i, int value)
{
    DT_CHECK(value >= 0, DT_ERR_FORMAT, "%s (%s): there is no %s", v->name, v->kind, constants[i].field);
    DT_TRY(dt_check_data(v, value, constants[i].field, constants[i].type));
    DT_TRY(dt_check_equals(v, constants[i].field, dt_count(dt_graph_shape(v->g, value)),
                           constants[i].one ? 1 : v->y.channels));
    if (constants[i].type != DT_F32) return DT_OK;
    return dt_check_numbers(v, value, constants[i].field, -INFINITY);
}

static dt_status check_constants(const dt_checked_node *v)
{
    int value[DT_THRESHOLD_CONSTANTS], multiplies = 0;

    for (int i = 0; i < DT_THRESHOLD_CONSTANTS; i++) {
        value[i] = dt_program_constant(v->p, v->n->out, constants[i].part);
        multiplies |= constants[i].multiplies && value[i] >= 0;
    }
    for (int i = 0; i < DT_THRESHOLD_CONSTANTS; i++) {
        if (multiplies || !constants[i].multiplies) DT_TRY(check_constant(v, i, value[i]));
    }
    return multiplies ? check_requant(v) : DT_OK;
}

static dt_status check_threshold(const dt_checked_node *v)
{
    const dt_threshold_params *p = v->n->params;

    DT_TRY(dt_check_within(v, "low", p->low, -DT_CODE_MAX, 0));
    DT_TRY(dt_check_within(v, "high", v->y.high, p->low < 0 ? 0 : 1, DT_CODE_MAX));
    DT_TRY(dt_check_scale(v, DT_THRESHOLD_SCALE));
    DT_TRY(dt_check_param(v, DT_THRESHOLD_SIGN, "sign", DT_I8));
    DT_TRY(dt_check_param(v, DT_THRESHOLD_STEPS, "threshold", DT_I32));
    DT_TRY(check_steps(v));
    return check_constants(v);
}

static dt_status check_affine(const dt_checked_node *v)
{
    DT_TRY(dt_check_param_numbers(v, DT_AFFINE_SLOPE, "slope", -INFINITY));
    return dt_check_param_numbers(v, DT_AFFINE_OFFSET, "offset", -INFINITY);
}

static dt_status check_nothing(const dt_checked_node *v)
{
    (void)v;
    return DT_OK;
}

static dt_status check_relu(const dt_checked_node *v)
{
    const float most = ((const dt_relu_params *)v->n->params)->most;

    DT_CHECK(v->x.kind == DT_VALUE_REAL || most == 0.0f, DT_ERR_FORMAT,
             "%s (%s): most is %g; a relu of codes has no upper limit, 0", v->name, v->kind, (double)most);
    return DT_OK;
}

static dt_status check_pool(const dt_checked_node *v)
{
    const dt_pool_params *p = v->n->params;

    DT_TRY(dt_check_within(v, "rows of the window", p->window[0], 1, v->x.height + p->pad[0] + p->pad[2]));
    DT_TRY(dt_check_within(v, "columns of the window", p->window[1], 1, v->x.width + p->pad[1] + p->pad[3]));
    for (int i = 0; i < 2; i++) DT_TRY(dt_check_within(v, "stride", p->stride[i], 1, MAX_SIDE));
    for (int i = 0; i < 4; i++) DT_TRY(dt_check_within(v, "pad", p->pad[i], 0, p->window[i % 2] - 1));
    return dt_check_within(v, "count_include_pad", p->count_include_pad, 0, 1);
}

/* Its params begin with a pool's. */
static dt_status check_average(const dt_checked_node *v)
{
    DT_TRY(check_pool(v));
    return dt_check_qavgpool(v);
}

/* Reals become codes at the beginning alone. */
static dt_status check_quantize_image(const dt_checked_node *v)
{
    DT_TRY(check_image(v));
    return dt_check_quantize(v);
}

/* Sums and rows of integers are of one scale, else they would not be integers. */
static dt_status check_joined(const dt_checked_node *v)
{
    const int on_grid = v->g->value[v->n->out]->facts.n_scale > 0;

    for (int k = 1; k < v->n->n_in; k++) {
        const dt_value x = dt_program_value(v->p, v->n->in[k]);
        DT_CHECK(x.kind == v->x.kind && on_grid == (x.kind == DT_VALUE_CODE), DT_ERR_FORMAT,
                 "%s (%s): reads %s and %s, which are not both codes of one scale, nor both reals", v->name, v->kind,
                 dt_graph_name(v->g, v->n->in[0]), dt_graph_name(v->g, v->n->in[k]));
    }
    return DT_OK;
}

static dt_status check_quantize(const dt_checked_node *v)
{
    const dt_act_quant_params *p = v->n->params;

    DT_TRY(dt_check_within(v, "bits", p->bits, 2, 8));
    DT_TRY(dt_check_within(v, "is_signed", p->is_signed, 0, 1));
    DT_TRY(dt_check_equals(v, "unclamped", p->unclamped, 0));
    DT_TRY(dt_check_within(v, "rule", (int64_t)p->rule, DT_RULE_ECE284, DT_RULE_LSQ));
    DT_TRY(dt_check_shared_param(v, DT_QUANT_ALPHA, "alpha", DT_F32));
    DT_TRY(dt_check_numbers(v, v->n->in[DT_QUANT_ALPHA], "alpha", 0.0f));
    const float scale = dt_program_scale(v->p, v->n->out);
    DT_CHECK(isfinite(scale) && scale > 0.0f, DT_ERR_FORMAT, "%s (%s): scale is %g, expected a number above 0", v->name,
             v->kind, (double)scale);
    return DT_OK;
}

static dt_status check_linear(const dt_checked_node *v)
{
    const dt_linear_params *p = v->n->params;

    DT_TRY(dt_check_equals(v, "in_order", p->in_order, 1));
    DT_TRY(dt_check_within(v, "channels", v->y.channels, 1, MAX_CHANNELS));
    DT_TRY(dt_check_equals(v, "inputs", v->n->n_in, 3));
    DT_TRY(dt_check_param_numbers(v, DT_LINEAR_MATRIX, "matrix", -INFINITY));
    return dt_check_param_numbers(v, DT_LINEAR_BIAS, "bias", -INFINITY);
}

enum { KINDS_CODE = 1 << DT_VALUE_CODE, KINDS_PSUM = 1 << DT_VALUE_PSUM, KINDS_REAL = 1 << DT_VALUE_REAL };

/* n_in: inputs that nodes make, the most where there may be fewer; reads: of what kinds they are. A kind without check
 * is not of programs. */
static const struct {
    int n_in, reads;
    dt_status (*check)(const dt_checked_node *v);
} kinds[DT_OP_COUNT] = {
    [DT_OP_TABLE] = { 1, KINDS_CODE, check_table },
    [DT_OP_QUANTIZE] = { 1, KINDS_REAL, check_quantize_image },
    [DT_OP_REQUANTIZE] = { 1, KINDS_CODE | KINDS_PSUM, dt_check_requantize },
    [DT_OP_QADD] = { 2, KINDS_CODE, dt_check_qbinary },
    [DT_OP_QMUL] = { 2, KINDS_CODE, dt_check_qbinary },
    [DT_OP_QMATMUL] = { 2, KINDS_CODE, dt_check_qmatmul },
    [DT_OP_TRANSPOSE] = { 1, KINDS_CODE, dt_check_transpose },
    [DT_OP_QAVGPOOL] = { 1, KINDS_CODE, check_average },
    [DT_OP_QSOFTMAX] = { 1, KINDS_CODE, dt_check_qsoftmax },
    [DT_OP_DEQUANTIZE] = { 1, KINDS_CODE, check_nothing },
    [DT_OP_CODES] = { 0, 0, check_codes },
    [DT_OP_CONV2D] = { 1, KINDS_CODE, check_conv },
    [DT_OP_THRESHOLD] = { 1, KINDS_PSUM, check_threshold },
    [DT_OP_AFFINE] = { 1, KINDS_PSUM, check_affine },
    [DT_OP_RELU] = { 1, KINDS_CODE | KINDS_REAL, check_relu },
    [DT_OP_CLIP] = { 1, KINDS_REAL, check_nothing },
    [DT_OP_MAXPOOL] = { 1, KINDS_CODE | KINDS_REAL, check_pool },
    [DT_OP_AVGPOOL] = { 1, KINDS_CODE | KINDS_REAL, check_pool },
    [DT_OP_ADD] = { 2, KINDS_CODE | KINDS_REAL, check_joined },
    [DT_OP_CONCAT] = { DT_MAX_IN, KINDS_CODE, check_joined },
    [DT_OP_ACT_QUANT] = { 1, KINDS_REAL, check_quantize },
    [DT_OP_FLATTEN] = { 1, KINDS_REAL, check_nothing },
    [DT_OP_LINEAR] = { 1, KINDS_REAL, check_linear },
    [DT_OP_CAPS_VOTES] = { 1, KINDS_CODE, dt_check_votes },
    [DT_OP_ROUTE_INT] = { 1, KINDS_CODE | KINDS_PSUM, dt_check_route },
    [DT_OP_CLASS_INT] = { 1, KINDS_CODE, check_nothing },
};

int dt_program_has_kind(dt_op_kind kind)
{
    return kinds[kind].check != NULL;
}

/* ---- the whole ---- */

static dt_status check_input(const dt_checked_node *v, int k)
{
    static const char *const words[] = { "codes", "psums", "reals" };
    const dt_graph_node *maker = dt_graph_maker(v->g, v->n->in[k]);
    const int is_first = v->n == v->g->node;

    if (is_first) return DT_OK; /* it reads the image */
    const dt_value x = dt_program_value(v->p, v->n->in[k]);
    const int flat = maker && maker->kind == DT_OP_FLATTEN;

    const int is_constant = maker && maker->kind == DT_OP_CODES && v->n->kind != DT_OP_QMATMUL;

    DT_CHECK(maker && !is_constant && (kinds[v->n->kind].reads >> x.kind & 1) && flat == (v->n->kind == DT_OP_LINEAR),
             DT_ERR_FORMAT, "%s (%s): reads %s, which are %s%s", v->name, v->kind, dt_graph_name(v->g, v->n->in[k]),
             flat ? "flat " : "", maker ? words[x.kind] : "not computed");
    return DT_OK;
}

static int gives_scores(const dt_graph_node *n, const char *read)
{
    return n->kind == DT_OP_LINEAR || (n->kind == DT_OP_FLATTEN && read[n->out] == 0);
}

/* 1 if the node is one that only the image has: pixels' table, or a quantizer of reals. */
static int reads_image(const dt_graph *g, const dt_graph_node *n)
{
    return n->kind == DT_OP_QUANTIZE || (n->kind == DT_OP_TABLE && g->value[n->in[0]]->facts.type == DT_U8);
}

/* 1 if a node of the kind may see an image as several maps: votes of capsules, from their convolution on. */
static int takes_maps(dt_op_kind kind)
{
    return kind == DT_OP_TRANSPOSE || kind == DT_OP_CONV2D || kind == DT_OP_THRESHOLD || kind == DT_OP_ROUTE_INT ||
           kind == DT_OP_CODES;
}

static dt_status check_node(const dt_program *p, int i, const char *read)
{
    const dt_graph *g = p->graph;
    const dt_graph_node *n = &g->node[i];
    dt_checked_node v = {
        .p = p, .g = g, .n = n, .name = dt_graph_name(g, n->out), .kind = dt_ops[n->kind]->name, .read = read
    };
    const int is_last = i == g->n_nodes - 1;

    DT_CHECK(kinds[n->kind].check, DT_ERR_FORMAT, "%s (%s): a program has no such nodes", v.name, v.kind);
    DT_CHECK(reads_image(g, n) == (i == 0), DT_ERR_FORMAT,
             "%s (%s): the first node is the table or the quantizer of the image, and no other; this is node %d",
             v.name, v.kind, i);
    DT_CHECK(gives_scores(n, read) == is_last, DT_ERR_FORMAT,
             "%s (%s): the last node, and no other, is linear, or a flatten that nobody reads; this is node %d of %d",
             v.name, v.kind, i, g->n_nodes);
    for (int k = 0; k < kinds[n->kind].n_in && k < n->n_in; k++) DT_TRY(check_input(&v, k));
    v.x = dt_program_value(p, n->in[0]);
    v.y = dt_program_value(p, n->out);
    if (!takes_maps(n->kind)) DT_TRY(dt_check_equals(&v, "maps of an image that it reads", v.x.maps, 1));
    return kinds[n->kind].check(&v);
}

/* 1 if the name is that of a node of the kind and the part. */
static int is_beside(const dt_program *p, const char *name, const char *part, dt_op_kind kind)
{
    const size_t bytes = strlen(name), end = strlen(part);
    char node[DT_NAME_MAX + 1];

    if (bytes <= end || strcmp(name + bytes - end, part) != 0) return 0;
    snprintf(node, sizeof node, "%.*s", (int)(bytes - end), name);
    const int of = dt_graph_find(p->graph, node);
    return of >= 0 && dt_graph_maker(p->graph, of) && dt_graph_maker(p->graph, of)->kind == kind;
}

/* The node beside which the constant stands: its name is the node's and one of the parts. */
static int constant_has_node(const dt_program *p, int value)
{
    const char *name = dt_graph_name(p->graph, value);

    for (int i = 0; i < DT_THRESHOLD_CONSTANTS; i++) {
        if (is_beside(p, name, constants[i].part, DT_OP_THRESHOLD)) return 1;
    }
    return is_beside(p, name, DT_ROUTE_INT_OFFSET, DT_OP_ROUTE_INT);
}

/* Nothing stands in the graph that no node reads. */
static dt_status check_values(const dt_program *p, const char *read)
{
    const dt_graph *g = p->graph;

    for (int i = 0; i < g->n_values; i++) {
        const int is_constant = g->value[i]->source == DT_SOURCE_CONSTANT;
        DT_CHECK(is_constant ? constant_has_node(p, i) : read[i] || i == g->scores, DT_ERR_FORMAT,
                 "%s belongs to no node", dt_graph_name(g, i));
    }
    return DT_OK;
}

static dt_status check_marks(const dt_graph *g)
{
    const int reads_reals = g->node[0].kind == DT_OP_QUANTIZE;

    DT_CHECK(g->image >= 0 && g->value[g->image]->source == DT_SOURCE_GIVEN &&
                 g->value[g->image]->facts.type == (reads_reals ? DT_F32 : DT_U8),
             DT_ERR_FORMAT, "a program's image is %s", reads_reals ? "reals" : "pixels of bytes");
    DT_CHECK(g->scores == g->node[g->n_nodes - 1].out, DT_ERR_FORMAT, "the scores of a program are %s, its last node",
             dt_graph_name(g, g->node[g->n_nodes - 1].out));
    DT_CHECK(g->labels < 0 && g->capsules < 0 && g->masked < 0 && g->reconstruction < 0 &&
                 (g->loss != DT_LOSS_MARGIN || dt_graph_has(g, DT_OP_CLASS_INT)) && (reads_reals || !g->unit_pixels),
             DT_ERR_FORMAT, "a program has scores alone: no labels or capsules, and the margin loss is of lengths");
    return DT_OK;
}

static dt_status check_all(const dt_program *p, const char *read)
{
    DT_TRY(check_marks(p->graph));
    for (int i = 0; i < p->graph->n_nodes; i++) DT_TRY(check_node(p, i, read));
    return check_values(p, read);
}

dt_status dt_program_check(const dt_program *p)
{
    const dt_graph *g = p->graph;

    DT_CHECK(g && g->n_nodes >= 1 && g->n_nodes <= MAX_NODES, DT_ERR_FORMAT, "a program of %d nodes, allowed are 1..%d",
             g ? g->n_nodes : 0, MAX_NODES);
    char *read = calloc((size_t)g->n_values + 1, 1);
    DT_CHECK(read, DT_ERR_MEMORY, "no memory to check the %d values of a program", g->n_values);
    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->node[i].n_in; k++) {
            char *of = &read[g->node[i].in[k]];
            *of = (char)(*of < 2 ? *of + 1 : 2);
        }
    }
    const dt_status status = check_all(p, read);
    free(read);
    return status;
}
