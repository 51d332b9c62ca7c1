/*
 * select_quant.h - takes affine quantizers out of a network: all of them, for the network of reals that it came from,
 * or all but some, to see what these alone cost.
 */
#ifndef DT_SELECT_QUANT_H
#define DT_SELECT_QUANT_H

#include "../core/graph/graph.h"

/* Makes a copy of g, which insert_range.c or a file of such a network has made, that computes on reals. Behind each
 * RANGE_QUANT and MAX_QUANT that stays there is a DEQUANTIZE, NAME.real; the others are left out. keep: [n_nodes of g],
 * 1: the node stays; NULL: none does. DT_ERR_UNSUPPORTED: g has a quantizer of another kind, which the message names.
 */
DT_MUST_CHECK dt_status dt_quant_select(const dt_graph *g, const char *keep, dt_graph **out);

#endif /* DT_SELECT_QUANT_H */
