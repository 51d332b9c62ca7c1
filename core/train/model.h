/*
 * model.h - a network with its parameters: the graph, and the memory of what is trained.
 */
#ifndef DT_MODEL_H
#define DT_MODEL_H

#include "../graph/graph.h"

/* A parameter of the graph in memory. */
typedef struct {
    const char *name; /* the graph's */
    int value;        /* of the graph */
    dt_param_group group;
    dt_param_values values;
    float floor;   /* the optimiser keeps values >= this */
    int64_t first; /* offset in the block of its group's kind: trained or state */
    dt_tensor tensor;
} dt_param;

/* What a model is recorded on: batches of `batch` images of a dataset. */
typedef struct {
    dt_tensor *images; /* u8 [n,H,W,C], device */
    dt_tensor *labels; /* i32 [n], device */
    dt_tensor *order;  /* i32 [n], device */
    int batch;
    int training;
    int crop_pad, shift; /* as dt_train_config's */
    float rotation, flip_share;
    float mean[4], std[4];
    float label_smoothing;
    float regularization_scale; /* of the decoder's loss, in training */
    /* Where rows is not NULL the network begins in its middle: the value `start` of its graph is taken from rows, f32
     * n,.., device, and what comes before is not recorded. */
    dt_tensor *rows;
    int start;
} dt_record_spec;

/* Parameters with a gradient lie in one block, w, in the graph's order; state (running statistics) in another. */
struct dt_model {
    int holders;     /* its maker, and every trainer of it */
    dt_context *ctx; /* held */
    dt_graph *graph; /* owned; name, sizes, bits are asked of it: dt_model_look */
    dt_data_origin origin;
    void *attached; /* what a pass knows of the model: quant/qcaps/fixed_formats.h; or NULL */
    void (*attached_destroy)(void *attached);
    dt_param **param;
    int n_params;
    float *w, *dw; /* device, [n_trained] */
    float *state;  /* device, [n_state] */
    int64_t n_trained, n_state;
    dt_layer_info *layer; /* of every convolution and linear layer on the grid */
    int n_layers;
};

/* Lays out and initialises the parameters. The graph is the model's from now on, even if this fails. */
DT_MUST_CHECK dt_status dt_model_open(dt_context *ctx, dt_graph *graph, dt_model **out);

/* What dt_model_look and dt_model_describe tell of a model of g. */
void dt_graph_look(const dt_graph *g, dt_model_info *out);
void dt_graph_describe(const dt_graph *g, char text[DT_MODEL_TEXT_BYTES]);

/* Another graph of the same parameters, in the same order, takes the place of m's. */
void dt_model_replace_graph(dt_model *m, dt_graph *graph);

/* Somebody else needs m too, and will call dt_model_destroy: the last call frees it. */
void dt_model_hold(dt_model *m);

/* What training on v makes of the origin. */
dt_data_origin dt_model_origin_of(const dt_model *m, const dt_dataset_view *v);

/* The mean and std by which m's images are normalised: its origin's, or where that is unknown v's. */
void dt_model_normalise(const dt_model *m, const dt_dataset_view *v, dt_record_spec *spec);

/* Index of a parameter, or -1. */
int dt_model_find(const dt_model *m, const char *name);
/* Index of a convolution on the grid, or -1. */
int dt_model_find_layer(const dt_model *m, const char *name);

/* Words around the message about a bad value: "FILE: ", "; take an earlier one". NULL: none. */
typedef struct {
    const char *before, *after;
} dt_values_words;

/* DT_ERR_NUMERIC names the first value that its parameter must not have, and its index in files (filters K,C,R,S): of
 * all parameters, as they are on the device; of n values on the host. words may be NULL. */
DT_MUST_CHECK dt_status dt_model_check_values(const dt_model *m, const dt_values_words *words);
DT_MUST_CHECK dt_status dt_values_check(const char *name, dt_param_values values, const float *v, int64_t n,
                                        const dt_values_words *words);

/* A place for each value of m's graph, in which the parameters stand; the caller frees it. */
DT_MUST_CHECK dt_status dt_model_tensors(dt_model *m, dt_tensor ***out);

/* A tape for what spec says. */
DT_MUST_CHECK dt_status dt_model_tape(const dt_model *m, const dt_record_spec *spec, dt_tape **out);

/* Records the images of a batch, as the network reads them: normalised, or as u8 pixels. */
DT_MUST_CHECK dt_status dt_model_record_image(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **x);

/* Records the network, and in training its decoder, into tensor, a place for each value of the graph: dt_model_tensors.
 * The labels are given only if it reads them. */
DT_MUST_CHECK dt_status dt_model_record_network(dt_model *m, dt_tape *tape, const dt_record_spec *spec,
                                                dt_tensor **tensor);

/* Records the loss of what the network gave. */
DT_MUST_CHECK dt_status dt_model_record_loss(dt_model *m, dt_tape *tape, const dt_record_spec *spec,
                                             dt_tensor *const *tensor, dt_tensor *labels, dt_tensor **loss);

/* Records the network and its loss. The largest of the scores, [N][classes], is the prediction. */
DT_MUST_CHECK dt_status dt_model_record_into(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **tensor,
                                             dt_tensor **loss);
/* The same, where scores and loss are all that is wanted. */
DT_MUST_CHECK dt_status dt_model_record(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **scores,
                                        dt_tensor **loss);

#endif /* DT_MODEL_H */
