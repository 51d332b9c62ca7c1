/*
 * fuse.c - see fuse.h.
 */
#include "fuse.h"

#include "types.h"

#include <string.h>

/* The parts of a NORM_QUANT, in the order in which they may follow each other. */
typedef enum { PART_NONE, PART_NORM, PART_RELU, PART_POOL, PART_QUANT } chain_part;

enum { MAX_CHAIN = 8 };

typedef struct {
    int at[MAX_CHAIN]; /* nodes, identities among them */
    int n;
    dt_norm_quant_params params;
    dt_tensor *in[DT_MAX_IN];
    int n_in;
} chain;

/* The side of square windows that lie side by side, without padding; 0: the pool has others. */
static int tile_side(const dt_pool_params *p)
{
    const int side = p->window[0];
    const int same = p->window[1] == side && p->stride[0] == side && p->stride[1] == side;
    return same && !(p->pad[0] || p->pad[1] || p->pad[2] || p->pad[3]) ? side : 0;
}

/* A ReLU whose upper limit is real and its input is not: no part of a chain, which has the scale later. */
static int limits_psums(const dt_node *relu)
{
    const dt_relu_params *p = relu->params;
    return p->most > 0.0f && relu->in[0]->n_scale > 0;
}

static chain_part part_of(const dt_node *node)
{
    switch (node->kind) {
    case DT_OP_BATCHNORM: return PART_NORM;
    case DT_OP_RELU: return limits_psums(node) ? PART_NONE : PART_RELU;
    case DT_OP_MAXPOOL: return tile_side(node->params) > 0 ? PART_POOL : PART_NONE;
    case DT_OP_ACT_QUANT: return PART_QUANT;
    default: return PART_NONE;
    }
}

static void chain_add(chain *c, const dt_node *node, chain_part part)
{
    switch (part) {
    case PART_NORM:
        c->params.has_norm = 1;
        c->params.norm = *(const dt_batchnorm_params *)node->params;
        break;
    case PART_RELU:
        c->params.has_relu = 1;
        c->params.relu_most = ((const dt_relu_params *)node->params)->most;
        break;
    case PART_POOL: c->params.pool = tile_side(node->params); break;
    case PART_QUANT:
        c->params.has_quant = 1;
        c->params.quant = *(const dt_act_quant_params *)node->params;
        break;
    case PART_NONE: return; /* an identity */
    }
    for (int k = 1; k < node->n_in; k++) c->in[c->n_in++] = node->in[k];
}

/* The longest chain that begins with node i; an identity may stand between parts. */
static chain chain_from(const dt_tape *tape, int i)
{
    chain c = { .n_in = 1, .in = { dt_tape_node(tape, i)->in[0] } };
    chain_part last = PART_NONE;

    while (i >= 0 && c.n < MAX_CHAIN) {
        const dt_node *node = dt_tape_node(tape, i);
        const chain_part part = part_of(node);
        const dt_tensor *x = c.n == 0 ? c.in[0] : dt_tape_node(tape, c.at[c.n - 1])->out;
        if (node->in[0] != x || (part == PART_NONE ? node->kind != DT_OP_IDENTITY : part <= last)) break;
        chain_add(&c, node, part);
        c.at[c.n++] = i;
        if (part != PART_NONE) last = part;
        i = dt_tape_reader(tape, node->out);
    }
    return c;
}

static dt_status merge_chains(dt_tape *tape)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const chain c = chain_from(tape, i);
        const int parts = c.params.has_norm + c.params.has_relu + (c.params.pool > 0) + c.params.has_quant;
        if (parts < 2) continue;
        DT_TRY(dt_tape_merge(tape, c.at, c.n, DT_OP_NORM_QUANT, &c.params, c.in, c.n_in));
    }
    return DT_OK;
}

/* The image's quantizer, where its clip is not trained: nothing flows back through an AUGMENT. */
static dt_status merge_image(dt_tape *tape, int training)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *image = dt_tape_node(tape, i);
        const int reader = image->kind == DT_OP_AUGMENT ? dt_tape_reader(tape, image->out) : -1;
        const dt_node *quant = reader >= 0 ? dt_tape_node(tape, reader) : NULL;
        if (!quant || quant->kind != DT_OP_ACT_QUANT || quant->in[0] != image->out) continue;
        if (training && quant->in[1]->wants_grad) continue;
        dt_augment_params params = *(const dt_augment_params *)image->params;
        params.has_quant = 1;
        params.quant = *(const dt_act_quant_params *)quant->params;
        dt_tensor *const in[] = { image->in[0], image->in[1], quant->in[1] };
        DT_TRY(dt_tape_merge(tape, (int[]){ i, reader }, 2, DT_OP_AUGMENT, &params, in, 3));
    }
    return DT_OK;
}

/* out has the values of in[0], in their order. */
static int only_reshapes(const dt_node *node)
{
    if (node->kind == DT_OP_FLATTEN) return 1;
    return node->kind == DT_OP_AVGPOOL && tile_side(node->params) == 1 && node->in[0]->n_scale == 0;
}

/* LINEAR reads what stands before such nodes. */
static dt_status merge_reshapes(dt_tape *tape)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *linear = dt_tape_node(tape, i);
        if (linear->kind != DT_OP_LINEAR) continue;
        dt_tensor *in[DT_MAX_IN];
        memcpy(in, linear->in, sizeof in);
        const int maker = dt_tape_maker(tape, in[0]);
        if (maker < 0 || dt_tape_reader(tape, in[0]) != i || !only_reshapes(dt_tape_node(tape, maker))) continue;
        in[0] = dt_tape_node(tape, maker)->in[0];
        DT_TRY(dt_tape_merge(tape, (int[]){ maker, i }, 2, DT_OP_LINEAR, linear->params, in, linear->n_in));
        i -= 2; /* there may be another before it */
    }
    return DT_OK;
}

/* The classifier with its loss, if nobody looks at the logits. */
static dt_status merge_loss(dt_tape *tape)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *linear = dt_tape_node(tape, i);
        const dt_linear_params *p = linear->params;
        if (linear->kind != DT_OP_LINEAR || !p->in_order || linear->n_in != 3) continue;
        const int reader = dt_tape_reader(tape, linear->out);
        const dt_node *loss = reader >= 0 ? dt_tape_node(tape, reader) : NULL;
        if (!loss || loss->kind != DT_OP_SOFTMAX_XENT || loss->n_in != 2) continue;
        dt_tensor *const in[] = { linear->in[0], linear->in[1], linear->in[2], loss->in[1] };
        DT_TRY(dt_tape_merge(tape, (int[]){ i, reader }, 2, DT_OP_LINEAR_XENT, loss->params, in, 4));
    }
    return DT_OK;
}

/* The operator that a bias and the only node that reads it become; DT_OP_COUNT: they stay. */
static dt_op_kind behind_bias(dt_op_kind kind)
{
    switch (kind) {
    case DT_OP_SQUASH: return DT_OP_BIAS_SQUASH;
    case DT_OP_RELU: return DT_OP_BIAS_RELU;
    default: return DT_OP_COUNT;
    }
}

/* A bias and the squash or ReLU that alone reads it. */
static dt_status merge_biases(dt_tape *tape)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *bias = dt_tape_node(tape, i);
        const int at = bias->kind == DT_OP_BIAS ? dt_tape_reader(tape, bias->out) : -1;
        const dt_node *reader = at >= 0 ? dt_tape_node(tape, at) : NULL;
        const dt_op_kind both = reader ? behind_bias(reader->kind) : DT_OP_COUNT;
        if (both == DT_OP_COUNT) continue;
        dt_tensor *const in[] = { bias->in[0], bias->in[1] };
        DT_TRY(dt_tape_merge(tape, (int[]){ i, at }, 2, both, reader->params, in, 2));
    }
    return DT_OK;
}

/* That loss reads the labels where the dataset has them, if there is one for each image. */
static dt_status merge_labels(dt_tape *tape)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *loss = dt_tape_node(tape, i);
        const int maker = loss->kind == DT_OP_LINEAR_XENT ? dt_tape_maker(tape, loss->in[3]) : -1;
        const dt_node *labels = maker >= 0 ? dt_tape_node(tape, maker) : NULL;
        if (!labels || labels->kind != DT_OP_GATHER || dt_tape_reader(tape, labels->out) != i) continue;
        if (dt_count(&labels->in[0]->shape) != dt_count(&labels->in[1]->shape)) continue;
        dt_tensor *const in[] = { loss->in[0], loss->in[1], loss->in[2], labels->in[0], labels->in[1] };
        return dt_tape_merge(tape, (int[]){ maker, i }, 2, DT_OP_LINEAR_XENT, loss->params, in, 5);
    }
    return DT_OK;
}

static void gather_weights(dt_tape *tape)
{
    int front = 0;

    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *node = dt_tape_node(tape, i);
        if (node->kind != DT_OP_WEIGHT_QUANT) continue;
        if (dt_tape_maker(tape, node->in[0]) >= 0 || dt_tape_maker(tape, node->in[1]) >= 0) continue;
        dt_tape_to_front(tape, i, front++);
    }
}

dt_status dt_tape_fuse(dt_tape *tape, int training)
{
    dt_exec ex = dt_context_exec(dt_tape_context(tape));

    ex.training = training;
    DT_TRY(merge_chains(tape));
    DT_TRY(merge_image(tape, training));
    DT_TRY(merge_reshapes(tape));
    DT_TRY(merge_biases(tape));
    if (training) DT_TRY(merge_loss(tape));
    if (training) DT_TRY(merge_labels(tape));
    gather_weights(tape);
    dt_tape_choose_types(tape, &ex);
    return DT_OK;
}
