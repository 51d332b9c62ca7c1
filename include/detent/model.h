/*
 * model.h - a network with its parameters: made, looked at, read and written.
 */
#ifndef DT_PUBLIC_MODEL_H
#define DT_PUBLIC_MODEL_H

#include "dataset.h"
#include "network.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a model is, as its network says, wherever that came from. */
typedef struct {
    const char *name; /* of the network: "vgg16 choke 16"; the model's */
    int height, width, channels, n_classes;
    int wbits_least, wbits_most; /* of the layers that are quantized; DT_BITS_FLOAT: none is */
    int abits_least, abits_most; /* the image's not counted */
    int n_float;                 /* convolutions and votes that compute on reals */
    dt_quant_rule rule;          /* of the weights' quantizers */
    int caps_dim;                /* values of a class capsule; 0: no capsule network */
    int routing;                 /* iterations that make the class capsules; 0: none */
    int has_decoder;             /* 1: makes the image again in training */
    int is_resized;              /* 1: takes images that are resized to its size; 0: padded */
} dt_model_info;

enum { DT_MODEL_TEXT_BYTES = 320 };

/* Which learning rate and weight decay a parameter gets. STATE is not trained (running statistics, fixed clips). */
typedef enum { DT_GROUP_WEIGHT, DT_GROUP_ALPHA, DT_GROUP_STATE } dt_param_group;

typedef struct {
    const char *name; /* as in the checkpoint: "features.27.weight" */
    dt_param_group group;
    int ndim;
    int64_t dim[4]; /* filters K,R,S,C */
    int64_t count;
} dt_param_info;

/* One convolution or linear layer on the integer grid, as `detent inspect` prints it. */
typedef struct {
    const char *name; /* "features.27" */
    int wbits, abits;
    int64_t terms;      /* K: products in one psum = C*R*S */
    int64_t psum_bound; /* largest |psum| that the codes allow: terms * max|qx| * max|qw| */
    int psum_bits;      /* two's complement bits that hold +-psum_bound */
    int exact_f32;      /* psum_bound < 2^24: any f32 summation order gives the integer */
    int64_t macs;       /* per image, all of its maps */
    int maps;           /* feature maps an image that the filters convolve: 1; DeepCaps' routed skip: a map a type */
    int height, width;  /* of the output, one map's; 1 of a linear layer */
    int filters;        /* features of a linear layer */
} dt_layer_info;

DT_API DT_MUST_CHECK dt_status dt_model_create(dt_context *ctx, const dt_model_config *cfg, dt_model **out);
/* A model of a network that one has: of bits, the two bits, input_bits, per_channel and rule are read; its sizes may be
 * 0 or the network's. graph stays the caller's. */
DT_API DT_MUST_CHECK dt_status dt_model_create_of(dt_context *ctx, const dt_graph *graph, const dt_model_config *bits,
                                                  dt_model **out);
DT_API void dt_model_destroy(dt_model *m);
DT_API void dt_model_look(const dt_model *m, dt_model_info *out);
/* "vgg16 choke 16 w4a2"; where layers differ "resnet8 w4-8a4, 1 float"; "tiny float". A program has its model's. */
DT_API void dt_model_describe(const dt_model *m, char text[DT_MODEL_TEXT_BYTES]);
DT_API const dt_graph *dt_model_graph(const dt_model *m); /* with its quantizers; the model's */
/* Of its training or its file; unknown in a new model. */
DT_API const dt_data_origin *dt_model_get_origin(const dt_model *m);
DT_API int dt_model_n_params(const dt_model *m);
DT_API void dt_model_param(const dt_model *m, int i, dt_param_info *out); /* 0 <= i < n_params */
DT_API int64_t dt_model_count(const dt_model *m);                         /* trained values, clips not counted */
DT_API DT_MUST_CHECK dt_status dt_model_read(const dt_model *m, int i, float *host);
DT_API DT_MUST_CHECK dt_status dt_model_write(dt_model *m, int i, const float *host);
DT_API int dt_model_n_layers(const dt_model *m);
DT_API void dt_model_layer(const dt_model *m, int i, dt_layer_info *out);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_MODEL_H */
