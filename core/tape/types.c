/*
 * types.c - see types.h.
 */
#include "types.h"

#include "../grid_facts.h"

static const dt_backend *backend_of(const dt_tape *tape)
{
    return dt_tape_context(tape)->backend;
}

/* t, if it is codes that a node makes for this reader alone which can store them in any type; else NULL. */
static dt_tensor *codes_for(const dt_tape *tape, dt_tensor *t, int reader)
{
    const int maker = t->n_scale > 0 ? dt_tape_maker(tape, t) : -1;
    const dt_op_kind kind = maker >= 0 ? dt_tape_node(tape, maker)->kind : DT_OP_COUNT;
    const int can = kind == DT_OP_NORM_QUANT || kind == DT_OP_AUGMENT || kind == DT_OP_WEIGHT_QUANT;

    return can && dt_tape_reader(tape, t) == reader ? t : NULL;
}

/* 1: t is the output of a node of that kind */
static int is_made_by(const dt_tape *tape, const dt_tensor *t, dt_op_kind kind)
{
    const int maker = dt_tape_maker(tape, t);

    return maker >= 0 && dt_tape_node(tape, maker)->kind == kind;
}

/* 1: the scale of t follows from a clip that no node computes */
static int has_clip(const dt_tape *tape, const dt_tensor *t)
{
    return t->n_scale == 1 && t->scale_form >= DT_CLIP_FORM && dt_tape_maker(tape, t->scale_of) < 0;
}

/* The maker of w, the weight codes of node i alone, writes the scale of its psums where it can know that of x. */
static void let_write_scale(const dt_tape *tape, int i, dt_tensor *w)
{
    const dt_node *conv = dt_tape_node(tape, i);

    if (is_made_by(tape, w, DT_OP_WEIGHT_QUANT) && has_clip(tape, conv->in[0])) w->layer = conv;
}

/* What is exchanged with nodes that understand it gets the backend's types. */
static void choose_types(const dt_tape *tape, int i, const dt_exec *ex)
{
    const dt_node *conv = dt_tape_node(tape, i);
    const dt_storage s = backend_of(tape)->storage(conv, ex);
    dt_tensor *x = codes_for(tape, conv->in[0], i);
    dt_tensor *w = codes_for(tape, conv->in[1], i);
    const int reader = dt_tape_reader(tape, conv->out);

    if (x) x->type = s.x;
    if (x) x->grad_type = s.x_grad;
    if (w) w->type = s.w;
    if (w && ex->training) let_write_scale(tape, i, w);
    if (reader < 0 || dt_tape_node(tape, reader)->kind != DT_OP_NORM_QUANT) return;
    conv->out->type = s.y;
    conv->out->grad_type = s.y_grad;
    if (x && s.padded && is_made_by(tape, x, DT_OP_AUGMENT)) {
        x->type = s.w;
        x->padded = s.padded;
    }
    if (!w || !is_made_by(tape, w, DT_OP_WEIGHT_QUANT)) return;
    w->padded = s.padded;
    w->grad_type = s.w_grad;
    w->grad_unit = s.w_unit;
    w->grad_scale = conv->in[0]->scale;
    w->wants_real = s.w_real && conv->in[0]->wants_grad;
}

/* 1: node i can read its input k as codes of that type */
static int reads_as(const dt_tape *tape, int i, int k, dt_dtype type, const dt_exec *ex)
{
    const dt_node *node = dt_tape_node(tape, i);
    const dt_backend *backend = backend_of(tape);
    const dt_kernel *kernel = backend->kernels()[node->kind];

    if (!kernel || !(kernel->narrow & DT_READS_IN(k))) return 0;
    return node->kind != DT_OP_CONV2D || (backend->storage && backend->storage(node, ex).x == type);
}

/* The narrowest type of a node's codes that all of their readers can read; F32 if there is none. */
static dt_dtype narrowest(const dt_tape *tape, const dt_tensor *t, const dt_exec *ex)
{
    const dt_dtype type = dt_codes_type(t);

    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *node = dt_tape_node(tape, i);
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k] == t && !reads_as(tape, i, k, type, ex)) return DT_F32;
        }
    }
    return type;
}

/* Codes that operators exchange in evaluation lie in the fewest bytes. */
static void narrow_codes(const dt_tape *tape, const dt_exec *ex)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *node = dt_tape_node(tape, i);
        const dt_kernel *kernel = backend_of(tape)->kernels()[node->kind];
        if (!kernel || !(kernel->narrow & DT_READS_OUT) || dt_tape_keeps(tape, node->out)) continue;
        node->out->type = narrowest(tape, node->out, ex);
    }
}

/* 1: the real values of t, input k of node i, may be BF16 for it */
static int reads_halves(const dt_tape *tape, int i, int k, const dt_exec *ex)
{
    const dt_node *node = dt_tape_node(tape, i);
    const dt_kernel *kernel = backend_of(tape)->kernels()[node->kind];

    if (!kernel || !(kernel->half_values & DT_READS_IN(k))) return 0;
    return node->kind != DT_OP_CONV2D || backend_of(tape)->storage(node, ex).x == DT_BF16;
}

/* 1: node i makes real values, which each reader can take in BF16 */
static int gives_halves(const dt_tape *tape, int i, const dt_exec *ex)
{
    const dt_node *node = dt_tape_node(tape, i);
    const dt_kernel *kernel = backend_of(tape)->kernels()[node->kind];
    int readers = 0;

    if (!kernel || !(kernel->half_values & DT_READS_OUT)) return 0;
    if (node->out->n_scale > 0 || dt_tape_keeps(tape, node->out)) return 0;
    for (int r = i + 1; r < dt_tape_n_nodes(tape); r++) {
        for (int k = 0; k < dt_tape_node(tape, r)->n_in; k++) {
            if (dt_tape_node(tape, r)->in[k] != node->out) continue;
            if (!reads_halves(tape, r, k, ex)) return 0;
            readers++;
        }
    }
    return readers > 0;
}

/* 1: the gradient of node i's real output may be BF16: one reader gives all of it, and both kernels can. A second would
 * add to what was rounded. */
static int takes_half_gradient(const dt_tape *tape, int i, const dt_exec *ex)
{
    const dt_node *node = dt_tape_node(tape, i);
    const int r = dt_tape_reader(tape, node->out);
    const dt_kernel *const *kernels = backend_of(tape)->kernels();

    if (r < 0 || node->out->n_scale > 0 || !kernels[node->kind] || !kernels[dt_tape_node(tape, r)->kind]) return 0;
    if (!(kernels[node->kind]->half_grads & DT_READS_OUT)) return 0;
    if (node->kind == DT_OP_CONV2D && backend_of(tape)->storage(node, ex).y_grad != DT_BF16) return 0;
    for (int k = 0; k < dt_tape_node(tape, r)->n_in; k++) {
        if (dt_tape_node(tape, r)->in[k] != node->out) continue;
        if (!(kernels[dt_tape_node(tape, r)->kind]->half_grads & DT_READS_IN(k))) return 0;
    }
    return 1;
}

/* Real values, and gradients of real values, that kernels exchange in training in mixed precision. */
static void halve_reals(const dt_tape *tape, const dt_exec *ex)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        dt_tensor *out = dt_tape_node(tape, i)->out;
        if (out->type == DT_F32 && gives_halves(tape, i, ex)) out->type = DT_BF16;
        if (out->grad_type == DT_F32 && takes_half_gradient(tape, i, ex)) out->grad_type = DT_BF16;
    }
}

void dt_tape_choose_types(dt_tape *tape, const dt_exec *ex)
{
    const int mixed = ex->precision == DT_PRECISION_MIXED;

    for (int i = 0; backend_of(tape)->storage && i < dt_tape_n_nodes(tape); i++) {
        if (dt_tape_node(tape, i)->kind == DT_OP_CONV2D) choose_types(tape, i, ex);
    }
    if (!ex->training) narrow_codes(tape, ex);
    if (ex->training && mixed && backend_of(tape)->storage) halve_reals(tape, ex);
}
