/*
 * norm_quant_chain.h - what the kernels of norm_quant.cu get: sizes, values and options of a node.
 */
#ifndef CUDA_NORM_QUANT_CHAIN_H
#define CUDA_NORM_QUANT_CHAIN_H

#include "norm_quant.h"

/* Rows, channels, and the windows of a pool; without one each row is a window. */
static inline void look_at_windows(const dt_norm_quant_params *p, const dt_node *node, dt_nq_chain *s)
{
    const dt_shape *x = &node->in[DT_NQ_X]->shape;
    const int pooled = p->pool > 1;

    s->rows = (int)dt_rows(x);
    s->channels = (int)dt_channels(x);
    s->pool = pooled ? p->pool : 1;
    s->height = pooled ? (int)x->dim[1] : 1;
    s->width = pooled ? (int)x->dim[2] : 1;
    s->out_height = s->height / s->pool;
    s->out_width = s->width / s->pool;
    const int images = s->rows / (s->height * s->width);
    s->windows = images * s->out_height * s->out_width;
    s->corners = images * (int)(dt_blocks(s->height, s->pool) * dt_blocks(s->width, s->pool));
}

/* The batch norm's parameters and statistics, where the chain has one. */
static inline void look_at_norm(const dt_norm_quant_params *p, const dt_node *node, dt_nq_chain *s)
{
    s->has_norm = p->has_norm;
    if (!p->has_norm) return;
    s->training = node->purpose.training;
    s->norm_rows = dt_norm_rows(node, s->rows);
    s->epsilon = p->norm.epsilon;
    s->momentum = p->norm.momentum;
    s->gamma = dt_values(node->in[DT_NQ_GAMMA]);
    s->beta = dt_values(node->in[DT_NQ_BETA]);
    s->running_mean = dt_values(node->in[DT_NQ_MEAN]);
    s->running_var = dt_values(node->in[DT_NQ_VAR]);
    s->mean = (float *)node->aux; /* NULL in prepare */
    if (s->mean) s->inv = s->mean + s->channels;
}

/* Returns all that the kernels of a node get. */
static inline dt_nq_chain look_at_chain(const dt_node *node)
{
    const dt_norm_quant_params *p = (const dt_norm_quant_params *)node->params;
    const dt_tensor *x = node->in[DT_NQ_X];
    dt_nq_chain s = {};

    look_at_windows(p, node, &s);
    look_at_norm(p, node, &s);
    s.x = x->data;
    s.type = x->type;
    s.scale = x->scale;
    s.n_scale = x->n_scale;
    s.has_relu = p->has_relu;
    s.most = dt_norm_quant_limits(p).high;
    if (p->has_quant) {
        s.alpha = dt_values(node->in[dt_norm_quant_alpha(p)]);
        s.grid = dt_norm_quant_grid(&p->quant, dt_step_count(node, dt_count(&node->out->shape)));
        s.unclamped = p->quant.unclamped;
        s.rule = p->quant.rule;
        s.ewgs = node->purpose.ewgs;
    }
    return s;
}

#endif /* CUDA_NORM_QUANT_CHAIN_H */
