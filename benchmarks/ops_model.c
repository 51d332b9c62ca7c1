/*
 * ops_model.c - the fewest bytes and operations of a node; see ops.h.
 *
 *   forward    reads every input, writes the output and aux
 *   backward   reads the output's gradient and what dt_op.backward_reads names; writes the gradient of every input that
 *              wants one
 *   update     SGD reads w, dw, momentum, writes w and momentum; Adam has a second moment
 *
 * Operations are those of convolutions, linear layers and votes: one product forward, one for each gradient backward.
 */
#include "../layers/conv/conv.h"
#include "../layers/gemm/word_gemm.h"
#include "ops.h"

const char *const ops_pass_names[OPS_PASSES + 1] = { "forward", "backward", "update", NULL };
const char *const ops_unit_names[OPS_UNITS + 1] = { "f32", "16-bit", "int8", NULL };

/* Cells inside the map that taps meet, over the output's positions along an axis. */
static double taps_inside(const dt_conv_shape *s, int axis)
{
    const int64_t size = axis == 0 ? s->H : s->W, outputs = axis == 0 ? s->P : s->Q, taps = axis == 0 ? s->R : s->S;
    double n = 0.0;

    for (int64_t p = 0; p < outputs; p++) {
        for (int64_t tap = 0; tap < taps; tap++) {
            const int64_t at = p * s->stride[axis] + tap * s->dilation[axis] - s->pad[axis];
            n += at >= 0 && at < size;
        }
    }
    return n;
}

static double conv_flop(const dt_conv_shape *s)
{
    return 2.0 * (double)(s->N * s->C / s->groups * s->K) * taps_inside(s, 0) * taps_inside(s, 1);
}

/* x N,P,Q,K; w K,R,S,C -> y N,H,W,C: the products of the convolution that it is the transpose of */
static double conv_transpose_flop(const dt_node *node)
{
    const dt_conv_transpose_params *p = node->params;
    const dt_conv_params conv = dt_conv_square(p->stride, p->pad);
    const int64_t *x = node->in[0]->shape.dim, *w = node->in[1]->shape.dim, *y = node->out->shape.dim;
    const dt_conv_shape s = dt_conv_shape_from(y, w, x, &conv);

    return conv_flop(&s);
}

/* Of one product. */
static double product_flop(const dt_node *node)
{
    dt_conv_shape s;

    switch (node->kind) {
    case DT_OP_CONV2D: s = dt_conv_shape_of(node); return conv_flop(&s);
    case DT_OP_CONV_TRANSPOSE: return conv_transpose_flop(node);
    case DT_OP_LINEAR: /* x N,I; w O,I */
    case DT_OP_LINEAR_XENT: return 2.0 * (double)(dt_count(&node->in[0]->shape) * node->in[1]->shape.dim[0]);
    case DT_OP_CAPS_VOTES: /* x N,I,A; w I,A,C */
        return 2.0 * (double)(node->in[0]->shape.dim[0] * dt_count(&node->in[1]->shape));
    default: return 0.0;
    }
}

static int is_cpu(const dt_context *ctx)
{
    return ctx->backend == &dt_backend_cpu;
}

/* The fastest type that the precision allows. */
static ops_unit unit_of(const dt_node *node, ops_pass pass, const dt_context *ctx)
{
    const int on_grid = node->n_in > 1 && node->in[0]->n_scale > 0 && node->in[1]->n_scale > 0;
    const int mixed = ctx->opt.precision == DT_PRECISION_MIXED;

    if (node->kind != DT_OP_CONV2D) return OPS_F32;
    if (pass == OPS_FORWARD && on_grid && is_cpu(ctx)) return dt_word_gemm_has_int8() ? OPS_INT8 : OPS_F32;
    if (pass == OPS_FORWARD && on_grid) return OPS_HALF;
    if (!mixed || (is_cpu(ctx) && !dt_word_gemm_has_bf16())) return OPS_F32;
    return OPS_HALF;
}

/* Of a LINEAR_XENT that reads the dataset's labels, those of the batch do not count. */
static double forward_bytes(const dt_node *node)
{
    const int n = node->kind == DT_OP_LINEAR_XENT ? 3 : node->n_in, real = node->out->wants_real ? 2 : 1;
    double bytes = (double)(dt_tensor_bytes(node->out) * (size_t)real + node->aux_bytes);
    for (int k = 0; k < n; k++) bytes += (double)dt_tensor_bytes(node->in[k]);
    return bytes;
}

static double backward_bytes(const dt_node *node)
{
    const unsigned reads = dt_ops[node->kind]->backward_reads;
    double bytes = (double)dt_grad_bytes(node->out);

    if (reads & DT_READS_OUT) bytes += (double)dt_tensor_bytes(node->out);
    if (reads & DT_READS_AUX) bytes += (double)node->aux_bytes;
    for (int k = 0; k < node->n_in; k++) {
        if (reads & DT_READS_IN(k)) bytes += (double)dt_tensor_bytes(node->in[k]);
        if (node->in[k]->grad) bytes += (double)dt_grad_bytes(node->in[k]);
    }
    return bytes;
}

/* AUGMENT and GATHER read a batch of the dataset, not all of it. */
static double gathered_bytes(const dt_node *node)
{
    const dt_tensor *data = node->in[0];
    const double share = (double)node->out->shape.dim[0] / (double)data->shape.dim[0];
    return (double)dt_tensor_bytes(node->out) + share * (double)dt_tensor_bytes(data);
}

ops_cost ops_cost_of(const dt_node *node, ops_pass pass, const dt_context *ctx)
{
    ops_cost c = { .unit = unit_of(node, pass, ctx) };
    int products = 1;

    if (pass == OPS_FORWARD) {
        const int gathers = node->kind == DT_OP_AUGMENT || node->kind == DT_OP_GATHER;
        c.bytes = gathers ? gathered_bytes(node) : forward_bytes(node);
    } else {
        c.bytes = backward_bytes(node);
        products = (node->in[0]->grad != NULL) + (node->n_in > 1 && node->in[1]->grad != NULL);
    }
    c.flop = products * product_flop(node);
    return c;
}

ops_cost ops_cost_of_update(const dt_update *u)
{
    const double arrays = u->kind == DT_OPTIM_ADAM ? 7.0 : 5.0;
    double bytes = arrays * sizeof(float) * (double)u->count;

    for (int i = 0; i < u->n_quantizers; i++) { /* whose gradients may be narrower */
        const dt_tensor *codes = u->quantizer[i]->out;
        bytes += (double)dt_grad_bytes(codes) - (double)sizeof(float) * (double)dt_count(&codes->shape);
    }
    return (ops_cost){ .bytes = bytes };
}

void ops_cost_add(ops_cost *sum, ops_cost more)
{
    sum->bytes += more.bytes;
    sum->flop += more.flop;
    if (more.flop > 0.0) sum->unit = more.unit;
}
