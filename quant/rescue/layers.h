/*
 * layers.h - the layers of a network with folded batch norms, as the passes of rescue.c see them: what each computes,
 *            in reals and in the quantized network, and what its batch norm was.
 */
#ifndef DT_RESCUE_LAYERS_H
#define DT_RESCUE_LAYERS_H

#include "../post_training.h"

/* What a batch norm did to the outputs of a layer: (y - mean) inv + beta. Arrays are [filters]. */
typedef struct {
    double *gamma, *beta, *inv; /* owned; inv = gamma / sqrt(variance + epsilon); NULL: the layer had no norm */
    double epsilon;
} dt_rescue_norm;

/* A CONV2D or a LINEAR of the folded network. */
typedef struct {
    const dt_graph_node *node;
    int weight, bias;     /* values of the graph: parameters; bias -1: there is none */
    int out;              /* what the layer gives, with its bias */
    int64_t filters, row; /* weights of a filter */
    dt_rescue_norm norm;
} dt_rescue_layer;

typedef struct {
    dt_rescue_layer *layer; /* [n], in the graph's order; those that the scores need */
    int n;
} dt_rescue_layers;

/* Finds the layers of `folded`, which stays as long as *out, and the norms that dt_graph_fold has folded of `unfolded`.
 * dt_rescue_layers_free releases *out, also if it fails. */
DT_MUST_CHECK dt_status dt_rescue_layers_find(const dt_graph *unfolded, const dt_graph *folded, dt_rescue_layers *out);
void dt_rescue_layers_free(dt_rescue_layers *l);

/* A copy, whose nodes are those of another graph of the same nodes and values. */
DT_MUST_CHECK dt_status dt_rescue_layers_copy(const dt_rescue_layers *from, const dt_graph *g, dt_rescue_layers *out);

/* The same layer in the quantized network. */
typedef struct {
    const dt_graph_node *node;
    int out;                    /* value that the layer gives, with its bias: real where it has a bias, else sums */
    int weight, bias;           /* parameters of the model; bias -1: none */
    int codes;                  /* value that the layer reads */
    const dt_graph_node *quant; /* MAX_QUANT of the weights; NULL: they are no codes */
} dt_rescue_quantized;

/* DT_ERR_ARGUMENT: the quantized network has no such layer. */
DT_MUST_CHECK dt_status dt_rescue_quantized_of(const dt_model *folded, const dt_rescue_layer *l,
                                               const dt_model *quantized, dt_rescue_quantized *out);

/* Reads a parameter into new memory, which the caller frees. */
DT_MUST_CHECK dt_status dt_rescue_read(const dt_model *m, int param, float **out);

/* Runs m on the calibration images of `what`, and calls look for each batch of one value. */
DT_MUST_CHECK dt_status dt_rescue_look(dt_model *m, const dt_quantization *what, int value,
                                       dt_status (*look)(void *user, const dt_value_batch *v), void *user);

/* Mean and variance over the images of each channel of a value. */
typedef struct {
    double *mean, *variance; /* [channels], the caller's */
} dt_rescue_moments;

/* Writes the moments of m's value on the calibration images. */
DT_MUST_CHECK dt_status dt_rescue_moments_of(dt_model *m, const dt_quantization *what, int value,
                                             const dt_rescue_moments *out);

#endif /* DT_RESCUE_LAYERS_H */
