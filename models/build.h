/*
 * build.h - the pieces that networks are built from: each adds its nodes to a graph, and its parameters under PyTorch's
 *           names.
 *
 * A piece takes and returns values of the graph. The first one that fails leaves its status in the builder; after that,
 * pieces do nothing and return -1, so that a network can be written down without a check behind every line.
 */
#ifndef DT_BUILD_H
#define DT_BUILD_H

#include "../core/train/model.h"

typedef struct {
    dt_graph *graph;
    const dt_model_config *config;
    dt_status status;
} dt_builder;

typedef struct {
    int filters, kernel, stride, pad;
    float bound; /* filters begin uniform within +-bound; 0: PyTorch's 1/sqrt(fan in) */
} dt_conv_spec;

/* How a parameter that is not a filter begins: uniform within +-bound, or where that is 0, at value. */
typedef struct {
    float bound, value;
} dt_start;

typedef struct {
    float epsilon, momentum; /* as dt_batchnorm_params */
} dt_norm_spec;

/* A node of any kind. */
int dt_build_node(dt_builder *b, dt_op_kind op, const char *name, const void *params, const int *in, int n_in);

/* One input and no parameters: RELU, IDENTITY, FLATTEN, SIGMOID. */
int dt_build_apply(dt_builder *b, dt_op_kind op, const char *name, int x);

int dt_build_param(dt_builder *b, const char *name, const dt_shape *shape, dt_start start);

/* name.weight: filters K,R,S,C */
int dt_build_conv(dt_builder *b, const char *name, int x, const dt_conv_spec *spec);

/* name.bias, of as many values as x has channels: real y = x + bias. The node is called name.biased. */
int dt_build_bias(dt_builder *b, const char *name, int x, dt_start start);

/* The same with a node called `name`, and a bias of zeros: name.bias. */
int dt_build_bias_named(dt_builder *b, const char *name, int x);

/* name.weight, name.bias, name.running_mean, name.running_var. spec NULL: PyTorch's, 1e-5 and 0.1 */
int dt_build_batchnorm(dt_builder *b, const char *name, int x, const dt_norm_spec *spec);

/* name.weight, name.bias. A classifier sums in order, so that scores have equal bits everywhere; a linear layer by
 * GEMM. */
int dt_build_classifier(dt_builder *b, const char *name, int x, int n_out);
int dt_build_linear(dt_builder *b, const char *name, int x, int n_out);

/* MAXPOOL or AVGPOOL, with a square window and no padding; the stride is the window. */
int dt_build_pool(dt_builder *b, dt_op_kind op, const char *name, int x, int size);

/* The shape of x, for DT_FACTS_BATCH images; after a failure one of ones. */
dt_shape dt_build_shape(const dt_builder *b, int x);

#endif /* DT_BUILD_H */
