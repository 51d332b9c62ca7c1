/*
 * network.h - networks as data: the choices that a user has, and networks in files.
 */
#ifndef DT_PUBLIC_NETWORK_H
#define DT_PUBLIC_NETWORK_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the gradient treats values at and outside a quantizer's clip; core/arith/grid.h has the formulas. */
typedef enum {
    DT_RULE_ECE284, /* the gradient of a value outside the clip is 0; alpha learns from those values alone */
    DT_RULE_APOT,   /* alpha learns from the rounding errors inside too; weights outside keep their gradient */
    DT_RULE_SCREAM, /* as APOT, but the gradient of a weight outside is 0 */
    DT_RULE_PACT,   /* activations: v = alpha counts as outside; weights: as ECE284 */
    DT_RULE_LSQ,    /* the trained parameter is the step between codes, in place of a clip */
    DT_RULE_AFFINE, /* TensorFlow Lite's: activations have a range in place of a clip, and weights neither; of whole
                       networks, not of a single quantizer */
    DT_RULE_QKERAS  /* the QKeras-Mod notebook's in training: each image has a grid of its own; of whole networks too */
} dt_quant_rule;

/* How the batch norms behind layers train. NONE: as nodes of their own. The other two fold them into the layer's
 * weights and bias, which are then quantized; the layer is computed a second time by its real weights, for the
 * statistics. EMA folds weights by the running statistics, and corrects their sums to the batch's. BATCH folds by the
 * batch's. Source: QKeras, QConv2DBatchnorm. */
typedef enum { DT_FOLD_NONE, DT_FOLD_EMA, DT_FOLD_BATCH } dt_fold_mode;

/* What changes the range of an affine quantizer in training: the gradient, a moving average of what batches hold, or
 * nothing. */
typedef enum { DT_RANGE_LEARNED, DT_RANGE_AVERAGE, DT_RANGE_FIXED } dt_range_update;

/* What the first weights of convolutions and linear layers are drawn by. DEFAULT: as PyTorch draws them. KEEP: where no
 * batch norm follows, such that a signal keeps its size. */
typedef enum { DT_START_WEIGHTS_DEFAULT, DT_START_WEIGHTS_KEEP } dt_start_weights;

/* The form of a capsule network's decoder. FC has three linear layers and makes images of any size. CONV28 and CONV64
 * have transposed convolutions and make images of that side. */
typedef enum { DT_DECODER_NONE, DT_DECODER_FC, DT_DECODER_CONV28, DT_DECODER_CONV64 } dt_decoder;

/* As wbits or abits: there is no quantizer. */
enum { DT_BITS_FLOAT = 32 };

/* Bits for the layers that have a name. `layer` may be a pattern with * and ?. */
typedef struct {
    const char *layer;
    int wbits, abits; /* 2..8, or both DT_BITS_FLOAT, so that the layer computes on reals */
    int bbits;        /* of the bias, for DT_RULE_QKERAS: 2..32, of which those above 16 stay real; 0: it is real */
} dt_layer_bits;

enum { DT_NETWORK_OPTIONS = 8 }; /* the most that a network has */

/* An option that a built-in network has beside its sizes and bits, as its builder declares it. */
typedef struct {
    const char *name;         /* as on the command line: "caps-dim" */
    const char *unit;         /* stands for its value in the help: "N"; NULL: it is a flag, 0 or 1 */
    int min, max;             /* the range of its value */
    int value;                /* the default */
    const char *const *words; /* of the values 0..max, with NULL at the end; NULL: the values are numbers */
    int of_training;          /* 1: a trained network computes the same whatever it is */
    const char *label;        /* for other values than the default in the name of the network: "choke"; NULL: none */
    const char *about;        /* its text in the help */
} dt_network_option;

/* The configuration of a model: its network and its quantizers. */
typedef struct {
    const char *name; /* a known network, such as "vgg16"; or a network's file: a path with a '/' or with ".json" at its
                         end, or a checkpoint, with ".safetensors" there */
    int height, width, channels, n_classes; /* of a file's network: 0, or equal to what the file says */
    int option[DT_NETWORK_OPTIONS]; /* of that network, in its builder's order: dt_model_option sets one by its name */
    int wbits;                      /* 2..8, with DT_RULE_QKERAS 2..16, or DT_BITS_FLOAT */
    int abits;                      /* likewise */
    int input_bits;  /* of the image: 2..8, signed and with a fixed clip; 0: it is quantized as other activations are */
    int per_channel; /* 1: each filter has a clip; 0: each layer has one */
    dt_quant_rule rule;
    int first_last_bits;     /* of weights and activations of the first and the last quantized layer; 0: as others */
    int sum_bits;            /* of the inputs of adds and average pools, 2..8; 0: they are real */
    int quantize_classifier; /* 1: the linear layer that makes the scores has bits as others; 0: it is real */
    const dt_layer_bits *layer_bits; /* [n_layer_bits] overrides all bits above; the last that fits a layer counts */
    int n_layer_bits;
    /* DT_RULE_AFFINE: what changes the ranges of activations. Each value has a quantizer then, of wbits or abits; of
     * the members above, input_bits, sum_bits and quantize_classifier mean nothing, first_last_bits must be 0, and
     * layer_bits may make layers real. */
    dt_range_update ranges;
    dt_fold_mode fold_bn;
    int bn_freeze;    /* fold_bn: steps of training after which the running statistics stay, and are taken; 0: never */
    int centre_image; /* 1: pixels become pixel / 256 less the mean image, a parameter that dt_model_centre sets; 0:
                         they are normalised by a mean and a deviation of each channel */
    dt_start_weights start_weights;
} dt_model_config;

/* Sets the configuration of a known network or of a network's file. A file's network gets its own sizes, and 4 bits, or
 * DT_BITS_FLOAT where it has quantizers already; out->name is then `name` itself, which the caller keeps. */
DT_API DT_MUST_CHECK dt_status dt_model_config_default(const char *name, dt_model_config *out);
/* Sets an option of the network of c. DT_ERR_ARGUMENT names the option, its value and the range, or else the options
 * that the network has. A network from a file has none. */
DT_API DT_MUST_CHECK dt_status dt_model_option(dt_model_config *c, const char *name, int value);
/* Returns the value of an option; 0 if the network has no such option. */
DT_API int dt_model_option_value(const dt_model_config *c, const char *name);
/* Gives c the default options of the network c->name. It is for a caller that has set the name by hand. */
DT_API void dt_model_options_default(dt_model_config *c);
/* Sets *out to the options of a built-in network, in the order of dt_model_config.option, and returns how many there
 * are: 0 of a network from a file. */
DT_API int dt_network_options(const char *network, const dt_network_option **out);
/* Returns the name of built-in network i, or NULL behind the last. */
DT_API const char *dt_network_name(int i);
/* Returns 1 if a built-in capsule network has that name. */
DT_API int dt_network_has_capsules(const char *network);
/* Returns 1 if the network of that name is trained on images that are resized to its size; 0 if on padded ones, or if
 * the name is not known. */
DT_API int dt_model_resizes(const char *network);
/* Returns 1 if the name is the path of a network's file, which is JSON or a checkpoint. */
DT_API int dt_network_is_file(const char *name);
/* Returns 1 if the name is that of a checkpoint: it ends in ".safetensors". */
DT_API int dt_network_is_checkpoint(const char *name);
/* Reads a network from a JSON file (docs/NETWORK_FORMAT.md), or that of a checkpoint without its values. DT_ERR_FORMAT
 * names file, node and attribute. */
DT_API DT_MUST_CHECK dt_status dt_graph_load(const char *path, dt_graph **out);
DT_API void dt_graph_destroy(dt_graph *g);
/* A form of text for a graph. TABLE is for people and has a line for each node. FILE is a network's file, which
 * dt_graph_load reads. DOT is a drawing for Graphviz. */
typedef enum { DT_GRAPH_TABLE, DT_GRAPH_FILE, DT_GRAPH_DOT } dt_graph_form;
/* Makes the text of a graph. The caller frees *out. */
DT_API DT_MUST_CHECK dt_status dt_graph_print(const dt_graph *g, dt_graph_form form, char **out);

/* The words of the enumerations above, in the order of their constants, NULL at the end. */
DT_API extern const char *const dt_quant_rule_names[8];
DT_API extern const char *const dt_range_update_names[4];
DT_API extern const char *const dt_decoder_names[5];
DT_API extern const char *const dt_fold_mode_names[4];
DT_API extern const char *const dt_start_weights_names[3];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_NETWORK_H */
