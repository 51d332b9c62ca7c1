/*
 * compress.h - smaller networks of trained ones: pruned, or factorised into layers of low rank.
 */
#ifndef DT_PUBLIC_COMPRESS_H
#define DT_PUBLIC_COMPRESS_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is pruned. */
typedef enum {
    DT_PRUNE_FILTERS, /* whole filters, so that layers and those that read them shrink */
    DT_PRUNE_WEIGHTS  /* single weights, which become 0; training then leaves them at 0 */
} dt_prune_kind;

/* What is compared, and what a share is of. */
typedef enum {
    DT_PRUNE_EACH_LAYER, /* the least of each layer; the share is of each layer's filters, or weights */
    DT_PRUNE_GLOBAL      /* the least of all layers together */
} dt_prune_scope;

/* The words of the enumerations above, in the order of their constants, NULL at the end. */
DT_API extern const char *const dt_prune_kind_names[3];
DT_API extern const char *const dt_prune_scope_names[3];

/* How a network is pruned. */
typedef struct {
    dt_prune_kind kind;
    dt_prune_scope scope;
    float share;              /* of filters or weights, 0 < share < 1; not read where group_of is not 0 */
    int of_parameters;        /* FILTERS: 1: `share` of the network's parameters goes, or a little more */
    int group_keep, group_of; /* WEIGHTS: of each group_of weights that lie side by side along the input channels, the
                                 group_keep largest stay; group_of 0: as many as `share` says */
    const char *const *whole; /* [n_whole] patterns (fnmatch) of layers that are not pruned */
    int n_whole;
} dt_pruning;

/* Prunes a network of reals, or for WEIGHTS one with affine or LSQ quantizers too. m stays as it is; *out has its
 * origin.
 *
 * FILTERS: the filters of convolutions and the features of linear layers with the least L1 norm. What reads them
 * shrinks too: filters lose channels; batch norms and biases lose values. Filters whose results are added fall
 * together, by the sum of their norms; a depthwise convolution follows what it reads. Image, scores and what operators
 * read that are not known here stay. With GLOBAL norms are divided by their layer's mean. Each layer keeps a filter at
 * least. WEIGHTS: the weights of convolutions and linear layers with the least magnitude. The parameter is then sparse
 * (docs/NETWORK_FORMAT.md).
 * DT_ERR_ARGUMENT: nothing would be pruned, or a member is out of its range; DT_ERR_UNSUPPORTED: m computes on
 * integers. */
DT_API DT_MUST_CHECK dt_status dt_prune(dt_model *m, const dt_pruning *how, dt_model **out);

enum { DT_CORES_MOST = 8 };

/* How a layer is factorised. */
typedef struct {
    const char *layer; /* a name, or a pattern (fnmatch) */
    /* [n_ranks] The most that the ranks may be. A convolution has one. A linear layer has one between each two cores,
     * of which there are n_ranks + 1. */
    int rank[DT_CORES_MOST], n_ranks;
    /* [n_factors] of a linear layer: factors of its inputs and of its features, one of each a core; n_factors 0: as
     * equal ones as there are */
    int in[DT_CORES_MOST], out[DT_CORES_MOST], n_factors;
} dt_layer_ranks;

/* Factorises layers of a network of reals, after its batch norms are folded; the last of `layers` that fits counts. The
 * result is a network of ordinary layers. m stays as it is; *out has its origin.
 *
 * A linear layer becomes a tensor train: LAYER.core1, LAYER.core2, .. are convolutions of 1x1, each along one factor of
 * the inputs, which a transpose brings to the last axis. Its bias is that of LAYER.scale, a convolution of one channel
 * a filter that begins with ones, unless the last core makes all features.
 * A convolution of one group becomes two: LAYER.core1 has `rank` filters of its window, LAYER.core2 is one of 1x1.
 * DT_ERR_ARGUMENT: a pattern fits no layer, or factors do not multiply to the layer's sizes; DT_ERR_UNSUPPORTED: m
 * computes on integers, or the layer has groups. */
DT_API DT_MUST_CHECK dt_status dt_factorize(dt_model *m, const dt_layer_ranks *layers, int n, dt_model **out);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_COMPRESS_H */
