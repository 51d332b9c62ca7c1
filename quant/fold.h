/*
 * fold.h - batch norm folded into the layer before it, as a pass: what quantization after training begins with.
 */
#ifndef DT_FOLD_H
#define DT_FOLD_H

#include "../core/graph/graph.h"

/* What the pass does with the batch norms of a graph. */
typedef struct {
    int n_folded, n_stay;
    char stay[256]; /* those that stay, each with its reason: "bn2 (behind add), bn3 (behind relu)"; cut to fit */
} dt_fold_report;

/* Makes a copy of g in which each BATCHNORM behind a CONV2D or a LINEAR is part of that layer. A BIAS may stand between
 * the two. In evaluation the copy computes what g does, but for rounding: with inv = gamma / sqrt(var + epsilon) in
 * double,
 *
 *   w'[k,..] = inv[k] w[k,..],  b'[k] = inv[k] (b[k] - mean[k]) + beta[k],  each rounded to f32 once, half to even.
 *
 * A CONV2D keeps its name and that of its filters. The BIAS behind it keeps its name and that of its parameter, or it
 * is new and called LAYER.biased, with LAYER.bias, as those of models/build.h. A LINEAR takes b' as its own bias, which
 * is called as it was, or LAYER.bias. Values and parameters that nothing reads any more are left out.
 *
 * A batch norm stays where something else makes its input, where the layer, the bias or the filters have another
 * reader, or where the network is asked for the layer's own value. The parameters of what is folded need f32 data:
 * dt_model_snapshot in core/train/model.h gives them. DT_ERR_ARGUMENT: they have none, or the name of a new value is
 * taken. */
DT_MUST_CHECK dt_status dt_graph_fold(const dt_graph *g, dt_graph **out);

/* Writes to *out what dt_graph_fold does with g. The parameters need no data. */
void dt_graph_fold_look(const dt_graph *g, dt_fold_report *out);

#endif /* DT_FOLD_H */
