/*
 * model.h - a model: a network with its parameters.
 */
#ifndef DT_PUBLIC_MODEL_H
#define DT_PUBLIC_MODEL_H

#include "dataset.h"
#include "network.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a model is, according to its network. */
typedef struct {
    const char *name; /* the network's, such as "vgg16 choke 16"; owned by the model */
    int height, width, channels, n_classes;
    int wbits_least, wbits_most; /* bits of the layers that are quantized; DT_BITS_FLOAT: no layer is */
    int abits_least, abits_most; /* the same for activations, without the image */
    int n_float;                 /* convolutions and votes that compute on reals */
    dt_quant_rule rule;          /* of the weights' quantizers */
    int caps_dim;                /* values of a class capsule; 0: it is no capsule network */
    int routing;                 /* iterations of routing that make the class capsules; 0: none */
    int has_decoder;             /* 1: a decoder reconstructs the image in training */
    int n_folded_norms;          /* batch norms that train folded into their layers */
    int n_norms;                 /* batch norms of their own */
    int unit_pixels;             /* 1: its image is pixels / 255, whatever mean and deviation a data set has */
    int is_binary;  /* 1: each score is a label of its own, which an image has where it is above 0; 0: a class */
    int is_resized; /* 1: it takes images that are resized to its size; 0: padded ones */
} dt_model_info;

enum { DT_MODEL_TEXT_BYTES = 320 };

/* The group of a parameter, which decides its learning rate and weight decay. STATE is not trained (running statistics,
 * fixed clips). */
typedef enum { DT_GROUP_WEIGHT, DT_GROUP_ALPHA, DT_GROUP_STATE } dt_param_group;

typedef struct {
    const char *name; /* as in a checkpoint, such as "features.27.weight" */
    dt_param_group group;
    int ndim;
    int64_t dim[4]; /* [ndim]; filters are K,R,S,C */
    int64_t count;  /* values, the product of dim */
} dt_param_info;

/* A convolution or linear layer on the grid, as `detent inspect` prints it. */
typedef struct {
    const char *name;   /* such as "features.27" */
    int wbits, abits;   /* bits of its weight codes and of its activation codes */
    int64_t terms;      /* products in one psum: R * S * C / groups */
    int64_t psum_bound; /* largest |psum| that the codes allow: terms * max|qx| * max|qw| */
    int psum_bits;      /* two's complement bits that hold +-psum_bound */
    int exact_f32;      /* 1: psum_bound < 2^24, so that f32 sums are exact in any order */
    int64_t macs;       /* multiplications for one image, over all of its maps */
    int maps; /* maps of an image that the filters convolve: 1, but in DeepCaps' routed skip one for each type */
    int height, width; /* of one map of the output; 1 of a linear layer */
    int filters;       /* features of a linear layer */
} dt_layer_info;

/* What a layer costs for one image. A real value has 32 bits, and so has an output, as a psum or a real. */
typedef struct {
    const char *name;
    int64_t macs; /* products */
    int64_t n_weights, n_outputs;
    int wbits, abits; /* of a weight and of a value that the layer reads: the fewest that tell the codes apart */
} dt_layer_cost;

/* Makes a model of a network that is known by name, or is in a file (cfg->name). Its parameters are initialised from
 * the context's seed. DT_ERR_ARGUMENT: a member of cfg is out of its range, or means nothing for this network. */
DT_API DT_MUST_CHECK dt_status dt_model_create(dt_context *ctx, const dt_model_config *cfg, dt_model **out);
/* Makes a model of a graph, which stays the caller's. Of `bits`, the members that choose quantizers are read. Its sizes
 * are 0, or equal the graph's. */
DT_API DT_MUST_CHECK dt_status dt_model_create_of(dt_context *ctx, const dt_graph *graph, const dt_model_config *bits,
                                                  dt_model **out);
DT_API void dt_model_destroy(dt_model *m);
DT_API void dt_model_look(const dt_model *m, dt_model_info *out);
/* Writes a description to text: "vgg16 choke 16 w4a2"; "resnet8 w4-8a4, 1 float" where layers differ; "tiny float".
 * That of a program's model is its network's name, which has the bits. */
DT_API void dt_model_describe(const dt_model *m, char text[DT_MODEL_TEXT_BYTES]);
/* Returns the model's network, with its quantizers. The model owns it. */
DT_API const dt_graph *dt_model_graph(const dt_model *m);
/* Sets the mean image of a network that has one (dt_model_config.centre_image) to that of d's images. It does nothing
 * to others. DT_ERR_SHAPE: the images have another size. */
DT_API DT_MUST_CHECK dt_status dt_model_centre(dt_model *m, const dt_dataset *d);
/* Returns what the model was trained on, or what the file says that it was read from. A new model's is unknown. */
DT_API const dt_data_origin *dt_model_get_origin(const dt_model *m);
DT_API int dt_model_n_params(const dt_model *m);
/* Describes parameter i, 0 <= i < dt_model_n_params. */
DT_API void dt_model_param(const dt_model *m, int i, dt_param_info *out);
/* Returns the number of values in the group WEIGHT. */
DT_API int64_t dt_model_count(const dt_model *m);
/* Copies the values of parameter i to host. DT_ERR_RANGE: there is no parameter i. */
DT_API DT_MUST_CHECK dt_status dt_model_read(const dt_model *m, int i, float *host);
/* Copies host to the values of parameter i. DT_ERR_RANGE: there is no parameter i. */
DT_API DT_MUST_CHECK dt_status dt_model_write(dt_model *m, int i, const float *host);
/* Returns the number of convolutions on the grid. */
DT_API int dt_model_n_layers(const dt_model *m);
/* Describes convolution i, 0 <= i < dt_model_n_layers. */
DT_API void dt_model_layer(const dt_model *m, int i, dt_layer_info *out);
/* Tells the cost of each layer that the scores need, real ones too: convolutions, linear layers, votes of capsules and
 * products of matrices. The caller frees *out, [*n], by free; the names are m's. */
DT_API DT_MUST_CHECK dt_status dt_model_cost(const dt_model *m, dt_layer_cost **out, int *n);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_MODEL_H */
