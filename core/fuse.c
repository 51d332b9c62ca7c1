/*
 * fuse.c - see fuse.h.
 */
#include "fuse.h"

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

static chain_part part_of(const dt_node *node)
{
    const dt_pool_params *pool = node->params;

    switch (node->kind) {
    case DT_OP_BATCHNORM: return PART_NORM;
    case DT_OP_RELU: return PART_RELU;
    case DT_OP_MAXPOOL: return pool->kernel == pool->stride ? PART_POOL : PART_NONE;
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
    case PART_RELU: c->params.has_relu = 1; break;
    case PART_POOL: c->params.pool = ((const dt_pool_params *)node->params)->kernel; break;
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

/* The fused quantizer that makes t for this node alone, or NULL. */
static dt_tensor *made_by(const dt_tape *tape, dt_tensor *t, dt_op_kind kind, int reader)
{
    const int maker = dt_tape_maker(tape, t);
    const int is_codes = t->n_scale > 0;

    if (maker < 0 || !is_codes || dt_tape_node(tape, maker)->kind != kind) return NULL;
    return dt_tape_reader(tape, t) == reader ? t : NULL;
}

/* What is exchanged with nodes that understand it gets the backend's types. */
static void choose_types(const dt_tape *tape, int i, const dt_exec *ex)
{
    const dt_node *conv = dt_tape_node(tape, i);
    const dt_storage s = dt_tape_context(tape)->backend->storage(conv, ex);
    dt_tensor *x = made_by(tape, conv->in[0], DT_OP_NORM_QUANT, i);
    dt_tensor *w = made_by(tape, conv->in[1], DT_OP_WEIGHT_QUANT, i);
    const int reader = dt_tape_reader(tape, conv->out);

    if (x) x->type = s.x;
    if (x) x->grad_type = s.x_grad;
    if (w) w->type = s.w;
    if (reader < 0 || dt_tape_node(tape, reader)->kind != DT_OP_NORM_QUANT) return;
    conv->out->type = s.y;
    conv->out->grad_type = s.y_grad;
}

dt_status dt_tape_fuse(dt_tape *tape, int training)
{
    dt_context *ctx = dt_tape_context(tape);
    dt_exec ex = dt_context_exec(ctx);

    ex.training = training;
    // M DT_TRY(merge_chains(tape));
    gather_weights(tape);
    for (int i = 0; ctx->backend->storage && i < dt_tape_n_nodes(tape); i++) {
        if (dt_tape_node(tape, i)->kind == DT_OP_CONV2D) choose_types(tape, i, &ex);
    }
    return DT_OK;
}
