/*
 * fold_train.h - batch norms folded while a network trains, as a pass; and the network that comes of it, as another.
 */
#ifndef DT_FOLD_TRAIN_H
#define DT_FOLD_TRAIN_H

#include "../core/graph/graph.h"
#include "../core/train/model.h"

/* Makes a copy of g in which each BATCHNORM behind a CONV2D or a LINEAR is part of that layer. A BIAS may stand between
 * the two, and the layer's weights may pass a quantizer: what it quantizes is folded weights then. Of LAYER, whose
 * batch norm is NORM, become
 *
 *   LAYER.raw     the layer with its real weights and, where it read codes, with their real values (LAYER.dequantize);
 *                 LAYER.raw_biased, where it had a BIAS
 *   NORM.stats    BATCH_STATS of that: statistics of the batch, which move the running ones
 *   NORM.running  EMA: the running statistics, after they have moved
 *   LAYER.folded  FOLD_WEIGHT, by NORM.running (EMA) or NORM.stats (BATCH)
 *   LAYER         the layer with the folded weights
 *   NORM          FOLD_BIAS, which corrects sums from NORM.running to NORM.stats (EMA), and adds the folded bias
 *
 * Parameters are those of g under their names. Evaluation reads neither LAYER.raw nor what only that reads. freeze is
 * dt_batch_stats_params.freeze. mode must not be DT_FOLD_NONE.
 *
 * DT_ERR_ARGUMENT: a WEIGHT_QUANT standardises weights, as all rules but LSQ do; g has no batch norm that could be
 * folded, and the message says what it has; or a name is taken. */
DT_MUST_CHECK dt_status dt_graph_fold_train(const dt_graph *g, dt_fold_mode mode, int freeze, dt_graph **out);

/* Returns 1 if dt_graph_fold_train has made the graph. */
int dt_graph_is_folding(const dt_graph *g);

/* Makes the network that evaluation computes of one that dt_graph_fold_train has made: LAYER with the folded weights,
 * as a parameter, and a BIAS NORM with the folded bias, under the names of the weights and of beta. Both are folded by
 * the running statistics, in f32 as the operators compute them, so that scores have the same bits. The parameters of
 * what is folded need f32 data: dt_model_snapshot gives them. Other networks are copied. */
DT_MUST_CHECK dt_status dt_graph_settle(const dt_graph *g, dt_graph **out);

/* Makes *out a model of that network, with m's present values; or m itself, which is then held once more, where nothing
 * is folded. dt_model_destroy frees either. */
DT_MUST_CHECK dt_status dt_model_settle(dt_model *m, dt_model **out);

#endif /* DT_FOLD_TRAIN_H */
