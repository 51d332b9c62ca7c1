/*
 * model.h - a network with its parameters: the graph, and the memory of what is trained.
 */
#ifndef DT_MODEL_H
#define DT_MODEL_H

#include "../graph/graph.h"

/* A parameter of the graph with its memory. */
typedef struct {
    const char *name; /* owned by the graph */
    int value;        /* index of the graph's value */
    dt_param_group group;
    dt_param_values values;
    float floor;   /* the optimiser keeps values >= this */
    int64_t first; /* index of its first float in dt_model.w, or of a parameter of the group STATE in dt_model.state */
    dt_tensor tensor;
} dt_param;

/* What a model is recorded for: batches of `batch` images of a dataset in device memory. */
typedef struct {
    dt_tensor *images; /* u8 or f32 [n,H,W,C] */
    dt_tensor *labels; /* i32 [n], or [n,L] of a network of labels */
    dt_tensor *order;  /* i32 [n], indices of images */
    int batch;
    int training;
    int step_images, norm_images; /* as in dt_purpose */
    int crop_pad, shift;          /* these and the next two as in dt_train_config */
    float rotation, flip_share;
    dt_flip_kind flip_kind; /* these and the next two as in dt_train_config */
    int cutout;
    float brightness, contrast;
    float mean[DT_MOST_CHANNELS], std[DT_MOST_CHANNELS]; /* one for each channel, for pixels in 0..1, or for reals */
    float label_smoothing;
    float ewgs;                 /* as in dt_purpose */
    float regularization_scale; /* factor on the decoder's loss, in training */
    dt_tensor *teacher;         /* f32 [n][classes] a teacher's scores; NULL: the labels alone teach */
    int teacher_of_batch;       /* 1: of the images of the batch, [batch][classes]; 0: of all images */
    float teacher_share, teacher_temperature;
    /* NULL: the network begins with its image. Else it begins in its middle: rows, f32 [n,..] in device memory, holds
     * the value of the graph with index `start` for each image, and the nodes before it are not recorded. */
    dt_tensor *rows;
    int start;
} dt_record_spec;

/* The parameters that are trained lie in one block, w, in the graph's order. Those of the group STATE (running
 * statistics) lie in another, state. */
struct dt_model {
    int holders;     /* calls of dt_model_destroy until the model is freed: its maker's, and one of each trainer */
    dt_context *ctx; /* held */
    dt_graph *graph; /* owned */
    dt_data_origin origin;
    void *attached; /* what a pass has to tell of the model (quant/qcaps/fixed_formats.h); owned; NULL: nothing */
    void (*attached_destroy)(void *attached);
    dt_param **param; /* [n_params] */
    int n_params;
    float *w, *dw; /* [n_trained] parameters and gradients, device memory */
    float *state;  /* [n_state], device memory */
    int64_t n_trained, n_state;
    dt_layer_info *layer; /* [n_layers], one for each convolution and linear layer on the grid */
    int n_layers;
};

/* Makes a model of a graph: lays out the parameters in memory and initialises them. It takes over the graph, even if it
 * fails. */
DT_MUST_CHECK dt_status dt_model_open(dt_context *ctx, dt_graph *graph, dt_model **out);

/* Fills out as dt_model_look would for a model of g. */
void dt_graph_look(const dt_graph *g, dt_model_info *out);
/* Writes to text what dt_model_describe would for a model of g. */
void dt_graph_describe(const dt_graph *g, char text[DT_MODEL_TEXT_BYTES]);

/* Replaces m's graph by another that has the same parameters in the same order. The model takes over the new graph and
 * destroys its own. */
void dt_model_replace_graph(dt_model *m, dt_graph *graph);

/* Makes a copy of m's graph whose parameters have the values that m's have now, as f32 data: a finished network, which
 * passes that compute on parameters take (quant/fold.h). A model that is opened with the copy computes what m does. The
 * caller destroys *out. */
DT_MUST_CHECK dt_status dt_model_snapshot(dt_model *m, dt_graph **out);

/* Adds a holder of m. Each holder calls dt_model_destroy once, and the last call frees the model. */
void dt_model_hold(dt_model *m);

/* Returns the origin that m has after training on v. */
dt_data_origin dt_model_origin_of(const dt_model *m, const dt_dataset_view *v);

/* Sets spec's mean and std to those of m's origin, or to v's where the origin is unknown. */
void dt_model_normalise(const dt_model *m, const dt_dataset_view *v, dt_record_spec *spec);

/* Index of the parameter of that name, or -1 if there is none. */
int dt_model_find(const dt_model *m, const char *name);
/* Index of the convolution on the grid of that name, or -1 if there is none. */
int dt_model_find_layer(const dt_model *m, const char *name);

/* Texts that stand before and after a message about a bad value, such as "FILE: " and "; take an earlier one". Each may
 * be NULL. */
typedef struct {
    const char *before, *after;
} dt_values_words;

/* Checks the parameters, as they are on the device, against the values that each may have. DT_ERR_NUMERIC names the
 * parameter, the first bad value and its index in a file, where filters are K,C,R,S. words may be NULL. */
DT_MUST_CHECK dt_status dt_model_check_values(const dt_model *m, const dt_values_words *words);
/* Checks v[0..n-1], in host memory, the same way. The index in the message is that of v. */
DT_MUST_CHECK dt_status dt_values_check(const char *name, dt_param_values values, const float *v, int64_t n,
                                        const dt_values_words *words);

/* Makes an array with one tensor for each value of m's graph. Those of the parameters are set, the others are NULL. The
 * caller frees the array. */
DT_MUST_CHECK dt_status dt_model_tensors(dt_model *m, dt_tensor ***out);

/* Makes an empty tape with spec's batch and training. */
DT_MUST_CHECK dt_status dt_model_tape(const dt_model *m, const dt_record_spec *spec, dt_tape **out);

/* Records the network, and in training its decoder if it has one. tensor, which dt_model_tensors made, receives each
 * recorded value. It receives the labels only where a decoder reads them. */
DT_MUST_CHECK dt_status dt_model_record_network(dt_model *m, dt_tape *tape, const dt_record_spec *spec,
                                                dt_tensor **tensor);

/* Records the loss of the values that dt_model_record_network has put into tensor. */
DT_MUST_CHECK dt_status dt_model_record_loss(dt_model *m, dt_tape *tape, const dt_record_spec *spec,
                                             dt_tensor *const *tensor, dt_tensor *labels, dt_tensor **loss);

/* Records the network, its labels and its loss; tensor is as for dt_model_record_network. */
DT_MUST_CHECK dt_status dt_model_record_into(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **tensor,
                                             dt_tensor **loss);
/* Records the same, for a caller who wants no value but the scores, [N][classes], and the loss. */
DT_MUST_CHECK dt_status dt_model_record(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **scores,
                                        dt_tensor **loss);

#endif /* DT_MODEL_H */
