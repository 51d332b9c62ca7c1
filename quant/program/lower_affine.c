/*
 * lower_affine.c - from a model with affine quantizers (quant/insert_range.h) to a program that computes under a
 * profile.
 *
 * A value of the model holds codes, or what a RANGE_QUANT will make codes of: a layer's sums with their bias and
 * limits, the sum or product of two codes, an average, a softmax, a sigmoid. The quantizer adds the one node that an
 * inference engine has for all of it; under the profile exact, lower_affine_exact.c says which. Scales, zero points,
 * weight codes and biases are TensorFlow Lite's: core/arith/range.h.
 *
 *   image                      QUANTIZE          ADD, MUL              QADD, QMUL
 *   CONV2D, LINEAR [, BIAS]    CODES, CONV2D,    AVGPOOL               AVGPOOL, REQUANTIZE where its range is its own
 *     [, RELU or CLIP]           REQUANTIZE                            (MEAN), else QAVGPOOL
 *   MAXPOOL, CONCAT, RELU and  as they are       SOFTMAX, SIGMOID      QSOFTMAX, TABLE
 *     TRANSPOSE of codes
 *   codes of another range     REQUANTIZE        the scores            DEQUANTIZE
 *
 * But for the profile exact, a batch norm must have been folded, because engines quantize folded weights.  Tests:
 * tests/quant/test_post_training.c.
 */
#include "lower_affine.h"

#include "../../core/conv_params.h"
#include "../../core/context.h"

#include <stdlib.h>
#include <string.h>

static const char *name_of(const dt_affine_lowering *w, const dt_graph_node *n)
{
    return dt_graph_name(w->from, n->out);
}

/* Says what node n makes: what its first input holds, which the caller changes. */
static dt_affine_held *hold(dt_affine_lowering *w, const dt_graph_node *n)
{
    w->held[n->out] = w->held[n->in[0]];
    return &w->held[n->out];
}

/* Input k of n, which must be codes. */
static dt_status codes_of(const dt_affine_lowering *w, const dt_graph_node *n, int k, const dt_affine_held **out)
{
    const dt_affine_held *x = &w->held[n->in[k]];

    DT_CHECK(x->holds == DT_AFFINE_CODES && !x->is_limited, DT_ERR_UNSUPPORTED,
             "%s: %s reads %s, which an engine has not as codes; a quantizer must stand between", name_of(w, n),
             dt_ops[n->kind]->name, dt_graph_name(w->from, n->in[k]));
    *out = x;
    return DT_OK;
}

dt_status dt_affine_floats(const dt_affine_lowering *w, int value, float **out)
{
    const dt_tensor *t = w->tensor[value];

    DT_CHECK(t, DT_ERR_UNSUPPORTED, "%s is read as a parameter, and it is computed", dt_graph_name(w->from, value));
    return dt_device_floats(w->ctx, t->data, dt_count(&t->shape), out);
}

/* ---- layers ---- */

/* The codes of the weights and their scales, which the tape has computed. */
static dt_status read_weights(const dt_affine_lowering *w, const dt_graph_node *n, dt_program_conv *c)
{
    const dt_graph_value *codes = w->from->value[n->in[1]];
    const dt_tensor *t = w->tensor[n->in[1]];
    const int64_t count = dt_count(&codes->facts.shape);
    float *code = NULL;

    DT_CHECK(t && codes->facts.n_scale > 0, DT_ERR_UNSUPPORTED, "%s: its weights %s are not quantized", c->name,
             codes->name);
    DT_CHECK(codes->facts.qmax <= INT8_MAX, DT_ERR_UNSUPPORTED,
             "%s: its weights have codes up to %lld; a program has at most 8 bits of weights: quantize with --wbits 8",
             c->name, (long long)codes->facts.qmax);
    c->shape = codes->facts.shape;
    c->range = (dt_codes_params){ (int)codes->facts.qmin, (int)codes->facts.qmax, 0 };
    c->n_scale = codes->facts.n_scale;
    DT_TRY(dt_device_floats(w->ctx, t->data, count, &code));
    c->weight = malloc((size_t)count);
    dt_status status = c->weight
                           ? dt_device_floats(w->ctx, t->scale, c->n_scale, &c->scale)
                           : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the weights of %s", c->name);
    for (int64_t i = 0; status == DT_OK && i < count; i++) c->weight[i] = (int8_t)code[i];
    free(code);
    if (status == DT_OK) c->range.most = dt_program_sum_most(c->weight, &c->shape);
    if (status != DT_OK) free(c->weight);
    return status;
}

/* The sums wait for their bias, their limits and their quantizer. LINEAR: its window is the map. */
static dt_status lower_layer(dt_affine_lowering *w, const dt_graph_node *n)
{
    const int is_linear = n->kind == DT_OP_LINEAR;
    dt_program_conv c = { .name = name_of(w, n),
                          .conv = is_linear ? dt_conv_square(1, 0) : *(const dt_conv_params *)n->params };
    const dt_affine_held *x = NULL;
    int sum;

    DT_TRY(codes_of(w, n, 0, &x));
    const int codes = x->value;
    DT_TRY(read_weights(w, n, &c));
    if (is_linear) {
        const dt_value map = dt_program_value(w->program, codes);
        c.shape = (dt_shape){ 4, { c.shape.dim[0], map.height, map.width, map.channels } };
    }
    DT_TRY(dt_program_add_conv(w->program->graph, &c, codes, &sum));
    *hold(w, n) = (dt_affine_held){
        .holds = DT_AFFINE_SUM, .node = n, .value = sum, .bias = -1, .low = -INFINITY, .high = INFINITY
    };
    return DT_OK;
}

static dt_status lower_bias(dt_affine_lowering *w, const dt_graph_node *n)
{
    dt_affine_held *h = hold(w, n);

    DT_CHECK(h->holds == DT_AFFINE_SUM && h->bias < 0 && !h->norm && !h->is_limited, DT_ERR_UNSUPPORTED,
             "%s: a bias must follow its layer", name_of(w, n));
    h->bias = n->in[1];
    return DT_OK;
}

/* Engines compute with folded weights. Evaluation takes the batch norm of the sums: a line, which thresholds hold. */
static dt_status lower_batchnorm(dt_affine_lowering *w, const dt_graph_node *n)
{
    dt_affine_held *h = hold(w, n);

    DT_CHECK(w->profile == DT_PROFILE_EXACT, DT_ERR_UNSUPPORTED,
             "%s: a batch norm of its own; engines compute with folded weights, which 'detent quantize' makes; the "
             "profile exact has it in its thresholds",
             name_of(w, n));
    DT_CHECK(h->holds == DT_AFFINE_SUM && h->bias < 0 && !h->norm && !h->is_limited, DT_ERR_UNSUPPORTED,
             "%s: a batch norm must follow its convolution", name_of(w, n));
    h->norm = n;
    return DT_OK;
}

/* A ReLU of codes, without an upper limit, gives codes. Any other, and a clip, waits for its quantizer. */
static dt_status lower_limits(dt_affine_lowering *w, const dt_graph_node *n)
{
    dt_affine_held *h = hold(w, n);
    float low = 0.0f, high = INFINITY;

    if (h->holds == DT_AFFINE_CODES && !h->is_limited && w->from->value[n->out]->facts.n_scale > 0) {
        const int codes = h->value;
        return dt_program_add_plain(w->program->graph, DT_OP_RELU, name_of(w, n), n->params, &codes, &h->value);
    }
    DT_CHECK(h->holds != DT_AFFINE_NOTHING && h->holds != DT_AFFINE_REALS, DT_ERR_UNSUPPORTED,
             "%s: %s of reals, which an engine of integers has not", name_of(w, n), dt_ops[n->kind]->name);
    if (n->kind == DT_OP_CLIP) {
        low = ((const dt_clip_params *)n->params)->low;
        high = ((const dt_clip_params *)n->params)->high;
    } else if (((const dt_relu_params *)n->params)->most > 0.0f) {
        high = ((const dt_relu_params *)n->params)->most;
    }
    if (!h->is_limited) h->low = -INFINITY, h->high = INFINITY;
    h->low = low > h->low ? low : h->low;
    h->high = high < h->high ? high : h->high;
    h->is_limited = 1;
    return DT_OK;
}

/* ---- what waits, and what stays codes ---- */

static dt_status lower_waiting(dt_affine_lowering *w, const dt_graph_node *n, dt_affine_holds holds)
{
    const dt_affine_held *x[2] = { NULL };

    for (int k = 0; k < n->n_in; k++) DT_TRY(codes_of(w, n, k, &x[k]));
    *hold(w, n) = (dt_affine_held){ .holds = holds,
                                    .node = n,
                                    .value = x[0]->value,
                                    .other = n->n_in > 1 ? x[1]->value : -1,
                                    .range = x[0]->range,
                                    .bias = -1 };
    return DT_OK;
}

static dt_pool_params pool_of(const dt_affine_lowering *w, const dt_graph_node *n)
{
    const int64_t *x = dt_graph_shape(w->from, n->in[0])->dim;
    dt_pool_params p = *(const dt_pool_params *)n->params;

    for (int axis = 0; axis < 2; axis++) {
        if (((const dt_pool_params *)n->params)->window[0] == 0) {
            p.window[axis] = (int)x[1 + axis];
            p.stride[axis] = 1;
        }
    }
    return p;
}

static dt_status lower_maxpool(dt_affine_lowering *w, const dt_graph_node *n)
{
    const dt_pool_params p = pool_of(w, n);
    const dt_affine_held *x = NULL;

    DT_TRY(codes_of(w, n, 0, &x));
    return dt_program_add_plain(w->program->graph, DT_OP_MAXPOOL, name_of(w, n), &p, &x->value, &hold(w, n)->value);
}

static dt_status lower_concat(dt_affine_lowering *w, const dt_graph_node *n)
{
    const int axis = dt_program_concat_axis(w->from, n);
    int codes[DT_MAX_IN];
    const dt_affine_held *x = NULL;

    for (int k = 0; k < n->n_in; k++) {
        DT_TRY(codes_of(w, n, k, &x));
        codes[k] = x->value;
    }
    return dt_program_add_concat(w->program->graph, name_of(w, n), axis, codes, n->n_in, &hold(w, n)->value);
}

/* Every value of a program is a map: what comes before the last two axes are its rows. */
static dt_status lower_transpose(dt_affine_lowering *w, const dt_graph_node *n)
{
    const dt_transpose_params *turn = n->params;
    const dt_shape *y = dt_graph_shape(w->from, n->out);
    const int64_t channels = y->dim[y->ndim - 1], columns = y->ndim > 2 ? y->dim[y->ndim - 2] : 1;
    const int64_t rows = dt_graph_count(w->from, n->out) / columns / channels;
    const dt_transpose_params p = { turn->rows, turn->columns, 4, { 0, rows, columns, channels } };
    const dt_affine_held *x = NULL;

    DT_TRY(codes_of(w, n, 0, &x));
    return dt_program_add_plain(w->program->graph, DT_OP_TRANSPOSE, name_of(w, n), &p, &x->value, &hold(w, n)->value);
}

static dt_status lower_same(dt_affine_lowering *w, const dt_graph_node *n)
{
    DT_CHECK(hold(w, n)->holds != DT_AFFINE_NOTHING, DT_ERR_UNSUPPORTED, "%s: %s reads %s, which has no codes",
             name_of(w, n), dt_ops[n->kind]->name, dt_graph_name(w->from, n->in[0]));
    return DT_OK;
}

dt_status dt_lower_affine_node(dt_affine_lowering *w, const dt_graph_node *n)
{
    switch (n->kind) {
    case DT_OP_MAX_QUANT: return DT_OK; /* its layer reads the codes */
    case DT_OP_RANGE_QUANT: return dt_lower_range_quant(w, n);
    case DT_OP_CONV2D:
    case DT_OP_LINEAR: return lower_layer(w, n);
    case DT_OP_BIAS: return lower_bias(w, n);
    case DT_OP_RELU:
    case DT_OP_CLIP: return lower_limits(w, n);
    case DT_OP_ADD: return lower_waiting(w, n, DT_AFFINE_ADD);
    case DT_OP_MUL: return lower_waiting(w, n, DT_AFFINE_MUL);
    case DT_OP_AVGPOOL: return lower_waiting(w, n, DT_AFFINE_AVERAGE);
    case DT_OP_SOFTMAX: return lower_waiting(w, n, DT_AFFINE_SOFTMAX);
    case DT_OP_SIGMOID: return lower_waiting(w, n, DT_AFFINE_SIGMOID);
    case DT_OP_MAXPOOL: return lower_maxpool(w, n);
    case DT_OP_CONCAT: return lower_concat(w, n);
    case DT_OP_TRANSPOSE: return lower_transpose(w, n);
    case DT_OP_DEQUANTIZE:
    case DT_OP_IDENTITY:
    case DT_OP_FLATTEN: return lower_same(w, n);
    case DT_OP_BATCHNORM: return lower_batchnorm(w, n);
    default:
        return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__, "%s: %s has no form in a program of codes",
                        name_of(w, n), dt_ops[n->kind]->name);
    }
}

dt_status dt_lower_affine_end(dt_affine_lowering *w)
{
    const dt_affine_held *h = &w->held[w->from->scores];
    dt_graph *g = w->program->graph;
    int reals;

    DT_CHECK(h->holds == DT_AFFINE_CODES && !h->is_limited, DT_ERR_UNSUPPORTED,
             "the scores %s are no codes; a layer that stays real has no place in a program of codes",
             dt_graph_name(w->from, w->from->scores));
    DT_TRY(dt_program_add_plain(g, DT_OP_DEQUANTIZE, dt_graph_name(w->from, w->from->scores), NULL, &h->value, &reals));
    return dt_program_add_scores(g, reals);
}
