/*
 * build.h - the pieces of which networks are built. Each adds nodes to a graph, and parameters under PyTorch's names.
 *
 * A piece takes and returns indices of the graph's values. The first piece that fails leaves its status in the builder.
 * After that, pieces do nothing and return -1, so that a network can be written down without a check behind every line.
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
    float bound; /* filters start uniform in -bound .. bound; 0: PyTorch's bound, 1 / sqrt(fan in) */
} dt_conv_spec;

/* The first values of a parameter that is not a filter: uniform in -bound .. bound, or `value` if bound is 0. */
typedef struct {
    float bound, value;
} dt_start;

typedef struct {
    float epsilon, momentum; /* as in dt_batchnorm_params */
} dt_norm_spec;

/* Adds a node of any kind, and returns the value that it makes, as the pieces below do. */
int dt_build_node(dt_builder *b, dt_op_kind op, const char *name, const void *params, const int *in, int n_in);

/* Adds a node with one input and no parameters: RELU, IDENTITY, FLATTEN or SIGMOID. */
int dt_build_apply(dt_builder *b, dt_op_kind op, const char *name, int x);

/* Adds a parameter of the group WEIGHT. */
int dt_build_param(dt_builder *b, const char *name, const dt_shape *shape, dt_start start);

/* Adds a CONV2D with the filters name.weight, K,R,S,C. */
int dt_build_conv(dt_builder *b, const char *name, int x, const dt_conv_spec *spec);

/* Adds a BIAS, called name.biased, with the parameter name.bias, which has a value for each channel of x. */
int dt_build_bias(dt_builder *b, const char *name, int x, dt_start start);

/* Adds a BIAS, called `name`, with the parameter name.bias, which starts at 0. */
int dt_build_bias_named(dt_builder *b, const char *name, int x);

/* Adds a BATCHNORM with name.weight, name.bias, name.running_mean and name.running_var. If spec is NULL, epsilon is
 * 1e-5 and momentum 0.1, as in PyTorch. */
int dt_build_batchnorm(dt_builder *b, const char *name, int x, const dt_norm_spec *spec);

/* Adds a LINEAR with name.weight and name.bias that sums in order, so that scores have equal bits everywhere. */
int dt_build_classifier(dt_builder *b, const char *name, int x, int n_out);
/* Adds a LINEAR with name.weight and name.bias that sums by a GEMM. */
int dt_build_linear(dt_builder *b, const char *name, int x, int n_out);

/* Adds a MAXPOOL or AVGPOOL with square windows of side `size` that lie side by side. */
int dt_build_pool(dt_builder *b, dt_op_kind op, const char *name, int x, int size);

/* Returns the shape of x for DT_FACTS_BATCH images. After a failure all its axes are 1. */
dt_shape dt_build_shape(const dt_builder *b, int x);

#endif /* DT_BUILD_H */
