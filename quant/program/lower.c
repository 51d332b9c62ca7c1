/*
 * lower.c - from a trained model to its program: each node of its graph becomes nodes of the program's.
 *
 * The model is not run. The codes of its weights come from the operators that make them, on a tape. Scales of
 * activations come from grid.h and those of psums from multiplication, as the kernels compute them. lowering.h has the
 * idea, lower_sums.c the sums, and lower_values.c the thresholds. A node that has no form in a program is refused by
 * name. Tests: tests/quant/test_lower.c, tests/quant/test_lower_refused.c.
 */
#include "lowering.h"
#include "norm_line.h"

#include "../../core/conv_params.h"
#include "../../core/arith/scale_grid.h"
#include "../../core/grid_facts.h"
#include "../../core/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dt_held *dt_lowering_hold(const dt_lowering *w, const dt_graph_node *n, dt_holds holds, dt_held *from)
{
    dt_held *h = &w->held[n->out];

    *h = (dt_held){ .holds = holds, .node = n, .from = from, .value = -1, .psum = -1, .reals = -1 };
    return h;
}

dt_status dt_lowering_input(const dt_lowering *w, const dt_graph_node *n, int k, dt_held **out)
{
    dt_held *h = &w->held[n->in[k]];

    DT_CHECK(h->holds != DT_HOLDS_NOTHING, DT_ERR_UNSUPPORTED, "%s: %s reads %s, which has no place in a program",
             dt_lowering_name(w, n), dt_ops[n->kind]->name, dt_graph_name(w->from, n->in[k]));
    *out = h;
    return DT_OK;
}

/* 1: of what a layer gave. */
static int has_values(dt_held *x)
{
    const dt_holds base = dt_held_base(x)->holds;

    return base == DT_HOLDS_LINE || base == DT_HOLDS_CODES || base == DT_HOLDS_REALS || base == DT_HOLDS_CONCAT;
}

static dt_status find_param(const dt_lowering *w, const dt_graph_node *n, int k, const dt_tensor **out)
{
    const dt_tensor *t = w->tensor[n->in[k]];

    DT_CHECK(t, DT_ERR_UNSUPPORTED, "%s: %s reads %s as a parameter, and that is computed", dt_lowering_name(w, n),
             dt_ops[n->kind]->name, dt_graph_name(w->from, n->in[k]));
    *out = t;
    return DT_OK;
}

dt_status dt_lowering_param(const dt_lowering *w, const dt_graph_node *n, int k, float **out)
{
    const dt_tensor *t = NULL;

    DT_TRY(find_param(w, n, k, &t));
    return dt_device_floats(w->ctx, t->data, dt_count(&t->shape), out);
}

/* The parameter that gives codes their scale; 0 for those of the image, whose scale nobody shares. */
static int shared_scale(const dt_program *p, int codes)
{
    const int param = dt_program_scale_param(p, codes);
    const dt_graph_node *image = &p->graph->node[0];

    return param == image->in[DT_TABLE_SCALE] ? 0 : param;
}

/* As dt_quantizer.shared, by the model's quantizers before n. */
static int find_shared(const dt_lowering *w, const dt_graph_node *n)
{
    for (int i = 0; i < n->out; i++) {
        const dt_graph_node *other = dt_graph_maker(w->from, i);
        if (!other || other->kind != n->kind || w->held[i].holds != DT_HOLDS_CODES) continue;
        if (!dt_share_scale(dt_lowering_facts(w, i), dt_lowering_facts(w, n->out))) continue;
        const int shared = shared_scale(w->program, w->held[i].value);
        if (shared > 0) return shared;
    }
    return 0;
}

float dt_quantizer_code(const dt_quantizer *q, float v)
{
    const dt_act_quant_params *p = q->node->params;

    if (q->node->kind == DT_OP_SCALE_QUANT) return dt_scale_code(v, q->scale, q->node->params);
    return dt_act_code(v, q->alpha, &q->grid, p->unclamped, p->rule);
}

int dt_quantizer_is_unclamped(const dt_quantizer *q)
{
    return q->node->kind == DT_OP_ACT_QUANT && ((const dt_act_quant_params *)q->node->params)->unclamped;
}

/* What differs between the two kinds of quantizer. alpha has been read. */
static void set_grid(dt_quantizer *q)
{
    if (q->node->kind == DT_OP_ACT_QUANT) {
        const dt_act_quant_params *p = q->node->params;
        const int high = dt_act_high(p->bits, p->is_signed);
        q->grid = (dt_grid){ p->is_signed ? -high : 0, high, 0.0f };
        q->scale = dt_grid_scale(q->alpha, high, p->rule);
    } else {
        const dt_scale_quant_params *p = q->node->params;
        q->grid = (dt_grid){ p->low, p->high, 0.0f };
        q->scale = q->alpha;
    }
}

static dt_status quantizer_read(const dt_lowering *w, const dt_graph_node *n, dt_quantizer *q)
{
    const char *name = dt_lowering_name(w, n);
    const dt_tensor *alpha = NULL;

    snprintf(q->name, sizeof q->name, "%.*s", dt_layer_name_bytes(name), name);
    q->node = n;
    DT_TRY(find_param(w, n, 1, &alpha));
    DT_CHECK(dt_count(&alpha->shape) == 1, DT_ERR_UNSUPPORTED,
             "%s: codes of %lld scales, one for each channel; a program's codes have one", name,
             (long long)dt_count(&alpha->shape));
    DT_TRY(dt_device_read(w->ctx, &q->alpha, alpha->data, sizeof q->alpha));
    DT_CHECK(q->alpha > 0.0f && isfinite(q->alpha), DT_ERR_NUMERIC, "%s: the clip is %g, not above 0", name,
             (double)q->alpha);
    set_grid(q);
    q->shared = find_shared(w, n);
    return DT_OK;
}

static dt_status lower_act_quant(dt_lowering *w, const dt_graph_node *n)
{
    dt_held *x = NULL;
    dt_quantizer q;
    int codes;

    DT_TRY(dt_lowering_input(w, n, 0, &x));
    DT_TRY(quantizer_read(w, n, &q));
    DT_CHECK(dt_held_is_of_image(x) || has_values(x), DT_ERR_UNSUPPORTED,
             "%s: quantizes %s, which is neither the image nor what a layer gave", dt_lowering_name(w, n),
             dt_held_name(w, x));
    DT_CHECK(dt_held_is_of_image(x) || !dt_quantizer_is_unclamped(&q), DT_ERR_UNSUPPORTED,
             "%s: only the image's quantizer may be unclamped", dt_lowering_name(w, n));
    if (dt_held_is_of_image(x))
        DT_TRY(dt_lower_image(w, x, &q, &codes));
    else
        DT_TRY(dt_held_codes(w, x, &q, &codes));
    dt_lowering_hold(w, n, DT_HOLDS_CODES, NULL)->value = codes;
    return DT_OK;
}

/* Its layer reads the codes of weights; what is computed is quantized here. */
static dt_status lower_scale_quant(dt_lowering *w, const dt_graph_node *n)
{
    return w->from->value[n->in[0]]->source == DT_SOURCE_PARAM ? DT_OK : lower_act_quant(w, n);
}

/* n floats as the integers that they are, within low..high of facts. */
static dt_status narrow(const char *name, const dt_tensor *facts, const float *code, int64_t n, int8_t *to)
{
    for (int64_t i = 0; i < n; i++) {
        DT_CHECK(code[i] >= (float)facts->qmin && code[i] <= (float)facts->qmax, DT_ERR_NUMERIC,
                 "%s: a weight has the code %g; the model has diverged", name, (double)code[i]);
        to[i] = (int8_t)code[i];
    }
    return DT_OK;
}

dt_status dt_lowering_weights(const dt_lowering *w, const dt_graph_node *n, dt_program_conv *c)
{
    const dt_tensor *facts = dt_lowering_facts(w, n->in[1]), *t = w->tensor[n->in[1]];
    const int64_t count = dt_count(&facts->shape);
    float *code = NULL;

    DT_CHECK(t, DT_ERR_UNSUPPORTED, "%s: its weights %s come from no quantizer of weights", c->name,
             dt_graph_name(w->from, n->in[1]));
    DT_CHECK(facts->qmin >= INT8_MIN && facts->qmax <= INT8_MAX, DT_ERR_UNSUPPORTED,
             "%s: its weights have codes of %lld..%lld; a program has at most 8 bits of weights", c->name,
             (long long)facts->qmin, (long long)facts->qmax);
    c->shape = facts->shape;
    c->range = (dt_codes_params){ (int)facts->qmin, (int)facts->qmax, 0 };
    c->n_scale = facts->n_scale;
    DT_TRY(dt_device_floats(w->ctx, t->scale, c->n_scale, &c->scale));
    dt_status status = dt_device_floats(w->ctx, t->data, count, &code);
    if (status == DT_OK) {
        c->weight = malloc((size_t)count);
        status = c->weight ? narrow(c->name, facts, code, count, c->weight)
                           : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the weights of %s", c->name);
    }
    free(code);
    if (status != DT_OK) {
        free(c->weight);
        free(c->scale);
        return dt_forward(status, __FILE__, __LINE__);
    }
    return DT_OK;
}

dt_status dt_lowering_line(dt_lowering *w, const dt_graph_node *n, int psum, dt_held **out)
{
    const size_t channels = (size_t)dt_program_value(w->program, psum).channels;
    dt_held *h = dt_lowering_hold(w, n, DT_HOLDS_LINE, NULL);

    h->psum = psum;
    h->slope = malloc(channels * sizeof *h->slope);
    h->offset = malloc(channels * sizeof *h->offset);
    DT_CHECK(h->slope && h->offset, DT_ERR_MEMORY, "no memory for the line of %s", dt_lowering_name(w, n));
    *out = h;
    return DT_OK;
}

/* The scale is as the layer's kernel multiplies it. */
dt_status dt_lowering_psums(dt_lowering *w, const dt_graph_node *n, int x, int psum)
{
    const dt_program *p = w->program;
    const dt_graph_node *weights = dt_program_weights(p, dt_graph_maker(p->graph, psum));
    const float sx = dt_program_scale(p, x), *sw = dt_program_data(p, weights, DT_CODES_SCALE);
    const int n_scale = dt_lowering_facts(w, n->out)->n_scale;
    dt_held *h = NULL;

    DT_TRY(dt_lowering_line(w, n, psum, &h));
    h->is_psum = 1;
    for (int c = 0; c < dt_program_value(p, psum).channels; c++) {
        h->slope[c] = sx * sw[n_scale == 1 ? 0 : c];
        h->offset[c] = 0.0f;
    }
    return DT_OK;
}

dt_status dt_lowering_codes(const dt_lowering *w, const dt_graph_node *n, dt_held **out)
{
    DT_CHECK(dt_lowering_facts(w, n->out)->n_scale > 0, DT_ERR_UNSUPPORTED,
             "%s is not quantized, so it has no integers; train the model with wbits and abits of 2 to 8, or "
             "quantize it by 'detent quantize'",
             dt_lowering_name(w, n));
    DT_TRY(dt_lowering_input(w, n, 0, out));
    while ((*out)->holds == DT_HOLDS_SAME) *out = (*out)->from;
    DT_CHECK((*out)->holds == DT_HOLDS_CODES, DT_ERR_UNSUPPORTED, "%s: reads psums, not codes; quantize them before it",
             dt_lowering_name(w, n));
    return DT_OK;
}

static dt_status lower_conv(dt_lowering *w, const dt_graph_node *n)
{
    dt_program_conv c = { .name = dt_lowering_name(w, n), .conv = *(const dt_conv_params *)n->params };
    dt_held *x = NULL;
    int psum;

    DT_TRY(dt_lowering_codes(w, n, &x));
    DT_TRY(dt_lowering_weights(w, n, &c));
    DT_TRY(dt_program_add_conv(w->program->graph, &c, x->value, &psum));
    return dt_lowering_psums(w, n, x->value, psum);
}

/* A convolution whose window is the map: its weights lie as the linear layer's do. */
static dt_status lower_integer_linear(dt_lowering *w, const dt_graph_node *n)
{
    dt_program_conv c = { .name = dt_lowering_name(w, n), .conv = dt_conv_square(1, 0) };
    dt_held *x = NULL;
    int psum;

    DT_TRY(dt_lowering_codes(w, n, &x));
    DT_TRY(dt_lowering_weights(w, n, &c));
    const dt_value map = dt_program_value(w->program, x->value);
    c.shape = (dt_shape){ 4, { c.shape.dim[0], map.height, map.width, map.channels } };
    DT_TRY(dt_program_add_conv(w->program->graph, &c, x->value, &psum));
    return dt_lowering_psums(w, n, x->value, psum);
}

/* The psums on their line, with the bias for its offset. */
static dt_status lower_bias(dt_lowering *w, const dt_graph_node *n)
{
    const int channels = (int)dt_channels(&dt_lowering_facts(w, n->out)->shape);
    dt_held *x = NULL, *line = NULL;
    float *bias = NULL;

    DT_TRY(dt_lowering_input(w, n, 0, &x));
    while (x->holds == DT_HOLDS_SAME) x = x->from;
    DT_CHECK(x->holds == DT_HOLDS_LINE && x->is_psum && channels == dt_program_value(w->program, x->psum).channels,
             DT_ERR_UNSUPPORTED, "%s: a bias must follow its layer", dt_lowering_name(w, n));
    DT_TRY(dt_lowering_line(w, n, x->psum, &line));
    DT_TRY(dt_lowering_param(w, n, 1, &bias));
    memcpy(line->slope, x->slope, (size_t)channels * sizeof *line->slope);
    memcpy(line->offset, bias, (size_t)channels * sizeof *line->offset);
    free(bias);
    return DT_OK;
}

/* 1 if x is a line that more has been done to, so that a second line must wait for a quantizer: a bias, or a ReLU. */
static int is_done_line(dt_held *x)
{
    dt_held *h = x;

    while (h->holds == DT_HOLDS_SAME || h->holds == DT_HOLDS_RELU) h = h->from;
    return h->holds == DT_HOLDS_LINE && (h != x || !h->is_psum);
}

/* The line of psums that the operator is: its factor has their scale in it. */
static dt_status lower_affine(dt_lowering *w, const dt_graph_node *n)
{
    const int channels = (int)dt_channels(&dt_lowering_facts(w, n->out)->shape);
    dt_held *x = NULL, *line = NULL;
    int psum;

    DT_TRY(dt_lowering_input(w, n, 0, &x));
    if (dt_held_is_of_image(x)) return dt_lower_image_line(w, n, x);
    while (x->holds == DT_HOLDS_SAME) x = x->from;
    if (dt_lowering_facts(w, n->in[0])->n_scale == 0 && is_done_line(x)) {
        line = dt_lowering_hold(w, n, DT_HOLDS_NORM, x);
        DT_TRY(dt_lowering_param(w, n, 1, &line->slope));
        return dt_lowering_param(w, n, 2, &line->offset);
    }
    DT_CHECK(dt_lowering_facts(w, n->in[0])->n_scale > 0, DT_ERR_UNSUPPORTED,
             "%s: a factor for each channel of %s, which is real; a program has factors behind integers alone",
             dt_lowering_name(w, n), dt_held_name(w, x));
    DT_CHECK(x->holds == DT_HOLDS_CODES || (x->holds == DT_HOLDS_LINE && x->is_psum), DT_ERR_UNSUPPORTED,
             "%s: a factor for each channel must follow codes, or its convolution or linear layer",
             dt_lowering_name(w, n));
    DT_TRY(dt_held_psum(w, x, &psum));
    DT_CHECK(channels == dt_program_value(w->program, psum).channels, DT_ERR_UNSUPPORTED,
             "%s: %d factors for %d channels", dt_lowering_name(w, n), channels,
             dt_program_value(w->program, psum).channels);
    line = dt_lowering_hold(w, n, DT_HOLDS_LINE, NULL);
    line->psum = psum;
    DT_TRY(dt_lowering_param(w, n, 1, &line->slope));
    DT_TRY(dt_lowering_param(w, n, 2, &line->offset));
    return DT_OK;
}

/* The line of a batch norm of values with the slopes that are in line->slope. */
static dt_status fill_norm(const dt_lowering *w, const dt_graph_node *n, const dt_held *line)
{
    const int channels = (int)dt_channels(&dt_lowering_facts(w, n->out)->shape);
    dt_norm_line norm = { .name = dt_lowering_name(w, n), .params = n->params, .channels = channels };
    dt_status status = DT_OK;

    for (int k = 0; k < DT_NORM_PARTS && status == DT_OK; k++) status = dt_lowering_param(w, n, k + 1, &norm.part[k]);
    if (status == DT_OK) status = dt_norm_line_of(&norm, line->slope, line->offset);
    for (int k = 0; k < DT_NORM_PARTS; k++) free(norm.part[k]);
    return status;
}

/* Of a line that is none of psums alone: it waits for its quantizer. */
static dt_status lower_second_norm(dt_lowering *w, const dt_graph_node *n, dt_held *x)
{
    const size_t channels = (size_t)dt_channels(&dt_lowering_facts(w, n->out)->shape);
    dt_held *h = dt_lowering_hold(w, n, DT_HOLDS_NORM, x);

    h->slope = malloc(channels * sizeof *h->slope);
    h->offset = malloc(channels * sizeof *h->offset);
    DT_CHECK(h->slope && h->offset, DT_ERR_MEMORY, "no memory for the line of %s", dt_lowering_name(w, n));
    for (size_t c = 0; c < channels; c++) h->slope[c] = 1.0f;
    return fill_norm(w, n, h);
}

static dt_status lower_batchnorm(dt_lowering *w, const dt_graph_node *n)
{
    const int channels = (int)dt_channels(&dt_lowering_facts(w, n->out)->shape);
    dt_held *x = NULL, *line = NULL;

    DT_TRY(dt_lowering_input(w, n, 0, &x));
    while (x->holds == DT_HOLDS_SAME) x = x->from;
    if (is_done_line(x)) return lower_second_norm(w, n, x);
    DT_CHECK(x->holds == DT_HOLDS_LINE && x->is_psum && channels == dt_program_value(w->program, x->psum).channels,
             DT_ERR_UNSUPPORTED, "%s: a batch norm must follow its convolution", dt_lowering_name(w, n));
    DT_TRY(dt_lowering_line(w, n, x->psum, &line));
    memcpy(line->slope, x->slope, (size_t)channels * sizeof *line->slope);
    return fill_norm(w, n, line);
}

static dt_status lower_through(dt_lowering *w, const dt_graph_node *n, dt_holds holds)
{
    dt_held *x = NULL;

    DT_TRY(dt_lowering_input(w, n, 0, &x));
    DT_CHECK(has_values(x) || (dt_held_is_of_image(x) && holds != DT_HOLDS_MAXPOOL), DT_ERR_UNSUPPORTED,
             "%s: %s of %s, which no layer gave", dt_lowering_name(w, n), dt_ops[n->kind]->name, dt_held_name(w, x));
    dt_lowering_hold(w, n, holds, x);
    return DT_OK;
}

/* Of what was quantized before: codes. Of anything else it waits for its quantizer. */
static dt_status lower_maxpool(dt_lowering *w, const dt_graph_node *n)
{
    dt_held *x = NULL;
    int codes;

    DT_TRY(dt_lowering_input(w, n, 0, &x));
    while (x->holds == DT_HOLDS_SAME) x = x->from;
    if (x->holds != DT_HOLDS_CODES) return lower_through(w, n, DT_HOLDS_MAXPOOL);
    DT_TRY(dt_lowering_add_pool(w, n, x->value, &codes));
    dt_lowering_hold(w, n, DT_HOLDS_CODES, NULL)->value = codes;
    return DT_OK;
}

/* The same of what is joined. */
static dt_status lower_concat(dt_lowering *w, const dt_graph_node *n)
{
    int codes[DT_MAX_IN];
    dt_held *x = NULL;

    for (int k = 0; k < n->n_in; k++) {
        DT_TRY(dt_lowering_input(w, n, k, &x));
        DT_CHECK(has_values(x), DT_ERR_UNSUPPORTED, "%s: reads %s, which no layer gave", dt_lowering_name(w, n),
                 dt_held_name(w, x));
        codes[k] = x->value;
    }
    dt_lowering_hold(w, n, DT_HOLDS_CONCAT, NULL);
    if (dt_lowering_facts(w, n->out)->n_scale == 0 || x->holds == DT_HOLDS_TRANSPOSE) return DT_OK;
    DT_CHECK(x->holds == DT_HOLDS_CODES, DT_ERR_UNSUPPORTED, "%s: joins psums, not codes; quantize what it gives",
             dt_lowering_name(w, n));
    return dt_program_add_concat(w->program->graph, dt_lowering_name(w, n), dt_program_concat_axis(w->from, n), codes,
                                 n->n_in, &dt_lowering_hold(w, n, DT_HOLDS_CODES, NULL)->value);
}

static dt_status lower_linear(dt_lowering *w, const dt_graph_node *n)
{
    dt_program_reals r = { .name = dt_lowering_name(w, n), .n = (int)dt_lowering_facts(w, n->out)->shape.dim[1] };
    dt_graph *g = w->program->graph;
    dt_held *x = NULL;
    int from;

    if (dt_lowering_facts(w, n->out)->n_scale > 0) return lower_integer_linear(w, n);
    DT_TRY(dt_lowering_input(w, n, 0, &x));
    DT_TRY(dt_held_reals(w, x, &from));
    DT_TRY(dt_lowering_param(w, n, 1, &r.factor));
    dt_status status = DT_OK;
    if (n->n_in > 2)
        status = dt_lowering_param(w, n, 2, &r.offset);
    else
        r.offset = calloc((size_t)r.n, sizeof *r.offset);
    if (status != DT_OK) {
        free(r.factor);
        return dt_forward(status, __FILE__, __LINE__);
    }
    DT_TRY(dt_program_add_linear(g, &r, from, &g->scores));
    dt_lowering_hold(w, n, DT_HOLDS_SCORES, NULL);
    return DT_OK;
}

dt_status dt_lower_node(dt_lowering *w, const dt_graph_node *n)
{
    switch (n->kind) {
    case DT_OP_ACT_QUANT: return lower_act_quant(w, n);
    case DT_OP_SCALE_QUANT: return lower_scale_quant(w, n);
    case DT_OP_CONV2D: return lower_conv(w, n);
    case DT_OP_AFFINE: return lower_affine(w, n);
    case DT_OP_BATCHNORM: return lower_batchnorm(w, n);
    case DT_OP_BIAS: return lower_bias(w, n);
    case DT_OP_IDENTITY:
    case DT_OP_DEQUANTIZE:
    case DT_OP_FLATTEN: return lower_through(w, n, DT_HOLDS_SAME);
    case DT_OP_CLIP: return lower_through(w, n, DT_HOLDS_CLIP);
    case DT_OP_RELU: return lower_through(w, n, DT_HOLDS_RELU);
    case DT_OP_MAXPOOL: return lower_maxpool(w, n);
    case DT_OP_TRANSPOSE: return lower_through(w, n, DT_HOLDS_TRANSPOSE);
    case DT_OP_CAPS_VOTES: return dt_lower_votes(w, n);
    case DT_OP_ROUTE_INT: return dt_lower_route(w, n);
    case DT_OP_CLASS_INT: return dt_lower_class(w, n);
    case DT_OP_AVGPOOL: return dt_lower_avgpool(w, n);
    case DT_OP_ADD: return dt_lower_add(w, n);
    case DT_OP_CONCAT: return lower_concat(w, n);
    case DT_OP_LINEAR: return lower_linear(w, n);
    case DT_OP_WEIGHT_QUANT: return DT_OK; /* its convolution reads the codes */
    default:
        return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                        "%s: %s has no form in a program, which holds convolutions, linear layers, batch norms, "
                        "biases, ReLUs, clips, pools, sums, concatenations, and capsules that are routed by integers",
                        dt_lowering_name(w, n), dt_ops[n->kind]->name);
    }
}
