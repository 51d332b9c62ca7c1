/*
 * network.h - networks as data: what a user chooses of one, and networks in files.
 */
#ifndef DT_PUBLIC_NETWORK_H
#define DT_PUBLIC_NETWORK_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a quantizer's gradient treats its clip; core/arith/grid.h has the formulas. */
typedef enum {
    DT_RULE_ECE284, /* straight-through, masked outside the clip; alpha learns from clipped values only */
    DT_RULE_APOT,   /* alpha also learns from the rounding error inside; weights' gradient is not masked */
    DT_RULE_SCREAM, /* as APOT, but masked */
    DT_RULE_PACT,   /* activations: edge at v >= alpha; weights as ECE284 */
    DT_RULE_LSQ     /* a learned step in place of a clip */
} dt_quant_rule;

/* FC: three linear layers, for images of any size. CONV28, CONV64: transposed convolutions, for images of that size. */
typedef enum { DT_DECODER_NONE, DT_DECODER_FC, DT_DECODER_CONV28, DT_DECODER_CONV64 } dt_decoder;

enum { DT_BITS_FLOAT = 32 }; /* wbits or abits of this: no quantizer */

/* Bits of the layers whose name `layer` is, or fits as a pattern with * and ?. */
typedef struct {
    const char *layer;
    int wbits, abits; /* 2..8, or both DT_BITS_FLOAT: the layer computes on reals */
} dt_layer_bits;

typedef struct {
    const char *name; /* "vgg16"; or a network's file: a path, with a '/' in it or ".json" at its end */
    int height, width, channels, n_classes; /* of a file's network 0 too: as the file says, and nothing else */
    int choke;                              /* channels of the chokepoint, 0: none */
    int skip_block;  /* 1: the skip block at features[20] (its chokepoint has `choke` channels) */
    int wbits;       /* 2..8 or DT_BITS_FLOAT */
    int abits;       /* 2..8 or DT_BITS_FLOAT */
    int input_bits;  /* of the image: 2..8 signed and fixed, or 0: quantized like any activation */
    int per_channel; /* 1: a clip for each filter, else one for the layer */
    dt_quant_rule rule;
    int first_last_bits;     /* of weights and activations of the first and the last layer that has any; 0: as others */
    int sum_bits;            /* of what adds and average pools sum: 2..8; 0: they sum reals */
    int quantize_classifier; /* 1: the linear layer that makes the scores has bits as others; 0: it is real */
    const dt_layer_bits *layer_bits; /* [n_layer_bits] before all of these; of several that fit, the last */
    int n_layer_bits;
    /* Capsule networks only. */
    int caps_dim;       /* values of a class capsule */
    int routing;        /* iterations of dynamic routing, 1..4 */
    int paper_primary;  /* shallowcaps: primary capsules are squash(s + b), as in the paper, not squash(s / 32 + b) */
    dt_decoder decoder; /* reconstructs the image in training */
} dt_model_config;

/* Of a network's file, 4 bits and its own sizes; float where it has quantizers already. out->name is then the caller's
 * text. */
DT_API DT_MUST_CHECK dt_status dt_model_config_default(const char *name, dt_model_config *out);
/* 1: a network of that name is trained on images that are resized to its size; 0: on padded ones, or unknown. */
DT_API int dt_model_resizes(const char *network);
/* 1 if the name is the path of a network's file. */
DT_API int dt_network_is_file(const char *name);
/* The network of a JSON file, of real values: docs/NETWORK_FORMAT.md. DT_ERR_FORMAT names file, node and attribute. */
DT_API DT_MUST_CHECK dt_status dt_graph_load(const char *path, dt_graph **out);
DT_API void dt_graph_destroy(dt_graph *g);
/* TABLE: a line a node, for people. FILE: the network's file, which dt_graph_load reads. DOT: for Graphviz. */
typedef enum { DT_GRAPH_TABLE, DT_GRAPH_FILE, DT_GRAPH_DOT } dt_graph_form;
/* The caller frees *out. */
DT_API DT_MUST_CHECK dt_status dt_graph_print(const dt_graph *g, dt_graph_form form, char **out);

/* Words of the enumerations above, in their order, NULL at the end. */
DT_API extern const char *const dt_quant_rule_names[6];
DT_API extern const char *const dt_decoder_names[5];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_NETWORK_H */
