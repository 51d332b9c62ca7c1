/*
 * model.h - named parameters, and the function that records a network on a tape.
 *
 * The network is written once, as its record function. Run on a throwaway tape while the model is open, it
 * declares the parameters; afterwards the same calls find them by name.
 */
#ifndef DT_MODEL_H
#define DT_MODEL_H

#include "tape.h"

typedef enum {
    DT_INIT_CONSTANT, /* init_value */
    DT_INIT_UNIFORM   /* uniform in +-init_value */
} dt_init;

/* What a parameter's values may be: model_values.c. */
typedef enum { DT_VALUES_FINITE, DT_VALUES_POSITIVE, DT_VALUES_NOT_NEGATIVE, DT_VALUES_ANY } dt_param_values;

typedef struct {
    char name[96];
    dt_param_group group;
    dt_param_values values;
    dt_init init;
    float init_value;
    float floor;   /* the optimiser keeps values >= this */
    int64_t first; /* offset in the block of its group's kind: trained or state */
    dt_tensor tensor;
} dt_param;

/* What a tape is recorded for: batches of `batch` images of a dataset. */
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
} dt_record_spec;

/* How a model's tape is recorded: a network of models/, or a program. */
typedef struct {
    /* *logits: [N][classes], or what record_loss takes. */
    dt_status (*record)(dt_model *m, dt_tape *tape, dt_tensor *x, int training, dt_tensor **logits);
    /* NULL: logits are record's, and the loss is SOFTMAX_XENT. y: record's; x: the image. The largest of logits, [N]
     * [classes], is the prediction. */
    dt_status (*record_loss)(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor *x, dt_tensor *y,
                             dt_tensor *labels, dt_tensor **logits, dt_tensor **loss);
    int unit_pixels; /* 1: pixels are 0..1, without the dataset's mean and deviation */
    /* NULL: AUGMENT */
    dt_status (*record_image)(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **x);
    void *network; /* what record reads beside the configuration; or NULL */
    /* Called in the end, even if opening fails. NULL: the network is borrowed. */
    void (*network_destroy)(void *network);
} dt_recording;

/* Parameters with a gradient lie in one block, w, in the order declared; state (running statistics) in another. */
struct dt_model {
    int holders;     /* its maker, and every trainer of it */
    dt_context *ctx; /* held */
    dt_model_config config;
    dt_data_origin origin;
    dt_recording recording;
    dt_param **param;
    int n_params, params_room;
    int open;      /* 1 while record may declare parameters */
    float *w, *dw; /* device, [n_trained] */
    float *state;  /* device, [n_state] */
    int64_t n_trained, n_state;
    dt_layer_info *layer; /* of every grid convolution */
    int n_layers;
};

/* What a record function asks for. */
typedef struct {
    dt_shape shape;
    dt_param_group group;
    dt_param_values values;
    dt_init init;
    float init_value;
    float floor;
} dt_param_spec;

/* The parameter of that name: declared now if the model is open, else found; DT_ERR_SHAPE if spec disagrees. */
DT_MUST_CHECK dt_status dt_model_declare(dt_model *m, const char *name, const dt_param_spec *spec, dt_tensor **out);

/* Declares, lays out and initialises the parameters. cfg->name outlives the model. */
DT_MUST_CHECK dt_status dt_model_open(dt_context *ctx, const dt_model_config *cfg, const dt_recording *recording,
                                      dt_model **out);

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

/* Records what the network reads of a batch: normalised pixels, or a program's codes. */
DT_MUST_CHECK dt_status dt_model_record_image(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **x);

/* Records the image, the network and the loss. */
DT_MUST_CHECK dt_status dt_model_record(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **logits,
                                        dt_tensor **loss);

/* models/: the table of networks. */
typedef struct {
    const char *name;
    void (*defaults)(dt_model_config *out);
    dt_status (*check)(const dt_model_config *cfg); /* names the option, its value and the range */
    dt_status (*record)(dt_model *m, dt_tape *tape, dt_tensor *x, int training, dt_tensor **logits);
    /* As dt_recording's. */
    dt_status (*record_loss)(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor *x, dt_tensor *y,
                             dt_tensor *labels, dt_tensor **logits, dt_tensor **loss);
    int unit_pixels;
    int resizes; /* 1: images of another size are resized; 0: padded */
    /* v N,caps_dim -> images N,H,W,C, or a shape of that count. NULL: no decoder. */
    dt_status (*record_decoder)(dt_model *m, dt_tape *tape, dt_tensor *v, dt_tensor **image);
    void (*train_defaults)(dt_train_config *c); /* changes the general defaults; NULL: none */
    void (*for_input)(dt_model_config *model);  /* height and width are set; or NULL */
    void (*for_dataset)(const char *dataset, dt_model_config *model, dt_train_config *train); /* or NULL */
} dt_network;

const dt_network *dt_network_find(const char *name); /* NULL if unknown */
const char *dt_network_names(void);                  /* "vgg16, tiny, .." */

#endif /* DT_MODEL_H */
