/*
 * onnx_export_real.c - what each node of a network of reals becomes in a file. A CONV2D waits for the BIAS that alone
 *                      reads it: a Conv of a file adds one. See onnx_export.h.
 */
#include "onnx_export.h"
#include "onnx.h"

enum { X, W, LINEAR_BIAS };
enum { NORM_INPUTS = 5 };

/* The only reader of a value, if it is a BIAS; else NULL. */
static const dt_graph_node *bias_behind(const dt_graph *g, int value)
{
    if (dt_graph_n_readers(g, value) != 1 || value == g->scores) return NULL;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind == DT_OP_BIAS && g->node[i].in[X] == value) return &g->node[i];
    }
    return NULL;
}

/* Adds a parameter, unless it is there: its numbers in the form N,C,H,W where they are filters. */
static dt_status put_param(dt_onnx_export *e, const dt_graph_node *n, int value, dt_onnx_name *name)
{
    const dt_graph_value *v = e->g->value[value];

    DT_ONNX_EXPECT(v->data && v->data_type == DT_F32, e, n,
                   "reads %s, which has no f32 data; take a snapshot of the trained model", v->name);
    *name = dt_onnx_name_of(e, value, "");
    if (e->has[value] & DT_ONNX_IS_THERE) return DT_OK;
    dt_onnx_put_filters(e, name->s, DT_ONNX_FLOAT, &v->facts.shape, v->data);
    dt_onnx_note(e, value, 0);
    return DT_OK;
}

/* The name of what node n makes, which is noted. */
static dt_onnx_name made(dt_onnx_export *e, const dt_graph_node *n, int is_flat)
{
    dt_onnx_note(e, n->out, is_flat);
    return dt_onnx_name_of(e, n->out, "");
}

static dt_status add_conv_and_bias(dt_onnx_export *e, const dt_graph_node *conv, const dt_graph_node *bias)
{
    dt_onnx_name in[3];

    in[0] = dt_onnx_reals_of(e, conv->in[X], 0);
    DT_TRY(put_param(e, conv, conv->in[W], &in[1]));
    if (bias) DT_TRY(put_param(e, bias, bias->in[1], &in[2]));
    const dt_onnx_name out = made(e, bias ? bias : conv, 0);
    dt_onnx_put_conv(e, conv, dt_graph_shape(e->g, conv->in[W]), in, bias ? 3 : 2, out.s);
    return DT_OK;
}

static dt_status add_conv(dt_onnx_export *e, const dt_graph_node *n)
{
    return bias_behind(e->g, n->out) ? DT_OK : add_conv_and_bias(e, n, NULL);
}

static dt_status add_bias(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_graph_node *conv = dt_graph_maker(e->g, n->in[X]);
    const int is_flat = dt_onnx_is_flat(e, n->in[X]);
    const dt_graph_value *b = e->g->value[n->in[1]];

    if (conv && conv->kind == DT_OP_CONV2D && bias_behind(e->g, conv->out) == n) return add_conv_and_bias(e, conv, n);
    DT_ONNX_EXPECT(b->data && b->data_type == DT_F32, e, n, "reads %s, which has no f32 data", b->name);
    const dt_onnx_name in[] = { dt_onnx_reals_of(e, n->in[X], is_flat), dt_onnx_name_of(e, n->in[1], "") };
    const dt_onnx_new_tensor t = {
        in[1].s, DT_ONNX_FLOAT, is_flat ? 1 : 3, { dt_count(&b->facts.shape), 1, 1 }, b->data
    };
    dt_onnx_put_tensor(&e->w, &t);
    const dt_onnx_name out = made(e, n, is_flat);
    dt_onnx_put_plain(e, "Add", in, 2, out.s);
    return DT_OK;
}

static dt_status add_linear(dt_onnx_export *e, const dt_graph_node *n)
{
    const int n_in = n->n_in > LINEAR_BIAS ? 3 : 2;
    dt_onnx_name in[3];

    in[0] = dt_onnx_reals_of(e, n->in[X], 1);
    for (int k = 1; k < n_in; k++) DT_TRY(put_param(e, n, n->in[k], &in[k]));
    const dt_onnx_name out = made(e, n, 1);
    dt_onnx_put_gemm(e, in, n_in, out.s);
    return DT_OK;
}

static dt_status add_norm(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_batchnorm_params *p = n->params;
    const int is_flat = dt_onnx_is_flat(e, n->in[X]);
    dt_onnx_name in[NORM_INPUTS];

    in[X] = dt_onnx_reals_of(e, n->in[X], is_flat);
    for (int k = 1; k < NORM_INPUTS; k++) DT_TRY(put_param(e, n, n->in[k], &in[k]));
    const dt_onnx_name out = made(e, n, is_flat);
    const dt_onnx_new_node norm = { .op = "BatchNormalization",
                                    .in = { in[0].s, in[1].s, in[2].s, in[3].s, in[4].s },
                                    .n_in = NORM_INPUTS,
                                    .out = out.s,
                                    .attribute = { { .name = "epsilon", .is_real = 1, .real = p->epsilon } },
                                    .n_attributes = 1 };
    dt_onnx_put_node(&e->w, &norm);
    return DT_OK;
}

/* An operator number by number: all operands take the form of the first. */
static dt_status add_each(dt_onnx_export *e, const dt_graph_node *n)
{
    static const char *const ops[DT_OP_COUNT] = { [DT_OP_ADD] = "Add",
                                                  [DT_OP_MUL] = "Mul",
                                                  [DT_OP_RELU] = "Relu",
                                                  [DT_OP_SIGMOID] = "Sigmoid",
                                                  [DT_OP_IDENTITY] = "Identity" };
    const int is_flat = dt_onnx_is_flat(e, n->in[X]);
    dt_onnx_name in[DT_MAX_IN];

    for (int k = 0; k < n->n_in; k++) in[k] = dt_onnx_reals_of(e, n->in[k], is_flat);
    const dt_onnx_name out = made(e, n, is_flat);
    dt_onnx_put_plain(e, ops[n->kind], in, n->n_in, out.s);
    return DT_OK;
}

static dt_status add_clip_of(dt_onnx_export *e, const dt_graph_node *n, float low, float high)
{
    const int is_flat = dt_onnx_is_flat(e, n->in[X]);
    const dt_onnx_name in[] = { dt_onnx_reals_of(e, n->in[X], is_flat), dt_onnx_real_constant(e, n->out, ".least", low),
                                dt_onnx_real_constant(e, n->out, ".most", high) };
    const dt_onnx_name out = made(e, n, is_flat);

    dt_onnx_put_plain(e, "Clip", in, 3, out.s);
    return DT_OK;
}

static dt_status add_clip(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_clip_params *p = n->params;

    return add_clip_of(e, n, p->low, p->high);
}

static dt_status add_relu(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_relu_params *p = n->params;

    return p->most > 0.0f ? add_clip_of(e, n, 0.0f, p->most) : add_each(e, n);
}

static dt_status add_pool(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_onnx_name in = dt_onnx_reals_of(e, n->in[X], 0), out = made(e, n, 0);

    dt_onnx_put_pool(e, n, &in, out.s);
    return DT_OK;
}

/* The values of a softmax are channels, in either form. */
static dt_status add_softmax(dt_onnx_export *e, const dt_graph_node *n)
{
    const int is_flat = dt_onnx_is_flat(e, n->in[X]);
    const dt_onnx_name in = dt_onnx_reals_of(e, n->in[X], is_flat), out = made(e, n, is_flat);

    dt_onnx_put_softmax(e, &in, out.s);
    return DT_OK;
}

static dt_status add_flatten(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_onnx_name out = made(e, n, 1);

    dt_onnx_put_flatten(e, n->in[X], out.s);
    return DT_OK;
}

static dt_status add_concat(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_onnx_name out = made(e, n, dt_graph_shape(e->g, n->out)->ndim == 2);

    dt_onnx_put_concat(e, n, out.s);
    return DT_OK;
}

static dt_status (*const reals[DT_OP_COUNT])(dt_onnx_export *e, const dt_graph_node *n) = {
    [DT_OP_CONV2D] = add_conv,     [DT_OP_BIAS] = add_bias,     [DT_OP_LINEAR] = add_linear,
    [DT_OP_BATCHNORM] = add_norm,  [DT_OP_RELU] = add_relu,     [DT_OP_CLIP] = add_clip,
    [DT_OP_MAXPOOL] = add_pool,    [DT_OP_AVGPOOL] = add_pool,  [DT_OP_ADD] = add_each,
    [DT_OP_MUL] = add_each,        [DT_OP_SIGMOID] = add_each,  [DT_OP_SOFTMAX] = add_softmax,
    [DT_OP_FLATTEN] = add_flatten, [DT_OP_IDENTITY] = add_each, [DT_OP_CONCAT] = add_concat,
};

dt_status dt_onnx_export_real(dt_onnx_export *e, const dt_graph_node *n)
{
    DT_ONNX_EXPECT(reals[n->kind], e, n, "%s", "a file of reals has no such operator");
    DT_TRY(reals[n->kind](e, n));
    return DT_OK;
}
