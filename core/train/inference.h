/*
 * inference.h - runs a model over images of a dataset, a batch at a time, in the dataset's order.
 */
#ifndef DT_INFERENCE_H
#define DT_INFERENCE_H

#include "model.h"

typedef struct dt_inference dt_inference;

/* A batch that has just run: images first .. first + n - 1 of the dataset. */
typedef struct {
    const dt_tensor *logits; /* [n][classes] the scores, in device memory */
    int64_t first, n;
} dt_batch;

/* Which images run, and what else their tape holds. */
typedef struct {
    int64_t first, count; /* images first .. first + count - 1 */
    int batch;            /* images of a batch, >= 1; hooks see a last batch of those that are left */
    float label_smoothing;
    int watched;     /* 1: node hooks will look at single nodes, so that the tape is not fused */
    dt_tensor *rows; /* this and start as in dt_record_spec */
    int start;
    /* Records further nodes behind the network; tensor holds the network's values. NULL: there are none. */
    dt_status (*beside)(void *user, dt_tape *tape, const dt_record_spec *spec, dt_tensor *const *tensor);
    void *user;
} dt_inference_options;

/* Copies the images of opt to the device and compiles the tape. v is not read after this call; opt->rows and m are, and
 * m is held. DT_ERR_SHAPE: the images do not fit the model. DT_ERR_RANGE: the dataset does not have all of them. */
DT_MUST_CHECK dt_status dt_inference_create(dt_model *m, const dt_dataset_view *v, const dt_inference_options *opt,
                                            dt_inference **out);
void dt_inference_destroy(dt_inference *inf);
/* Returns the tape of a batch. */
const dt_tape *dt_inference_tape(const dt_inference *inf);

/* Runs all images, with the parameters as they are now; it may be called again and again. node_hook is called after
 * each node, batch_hook after each batch; either may be NULL. *sum is over all images. The running sums of a trainer in
 * the same context stay as they were. */
DT_MUST_CHECK dt_status dt_inference_run(dt_inference *inf, dt_node_hook node_hook,
                                         dt_status (*batch_hook)(void *user, const dt_batch *b), void *user,
                                         dt_step_sum *sum);

/* How dt_evaluate_by evaluates: what dt_evaluate takes, and a hook. */
typedef struct {
    int batch;
    float label_smoothing;
    const dt_progress *progress; /* may be NULL */
    const dt_outputs *outputs;   /* may be NULL */
    dt_node_hook hook;           /* is called after each node; NULL: none */
    void *user;
    dt_tensor *rows; /* this and start as in dt_record_spec */
    int start;
} dt_evaluation;

/* Evaluates as dt_evaluate does, but calls a hook for each node, and does not check the parameters' values. */
DT_MUST_CHECK dt_status dt_evaluate_by(dt_model *m, const dt_dataset *d, const dt_evaluation *how, dt_metrics *out);

/* Predicts as dt_predict does, but images of a dataset: the first what->n of v. Pixels are normalised as in evaluation,
 * by m's origin, or by v's mean and std where the origin is unknown. If what->normalised is set, those images take the
 * place of v's, whose pixels are then not looked at; what->pixels is not read. scores, [n][n_classes], may be NULL.
 * DT_ERR_NUMERIC: a parameter has a value that it must not have. */
DT_MUST_CHECK dt_status dt_predict_view(dt_model *m, const dt_dataset_view *v, const dt_prediction *what,
                                        float *scores);

/* Divides the sums by the number of images; all means are 0 where that is 0. */
dt_metrics dt_metrics_of(const dt_step_sum *sum);

/* A dataset in device memory: images u8 or f32 [n,H,W,C], labels i32 [n] or [n,L], and room for the indices of images
 * in the order in which they are taken, i32 [n_order]. */
typedef struct {
    dt_tensor images, labels, order;
} dt_device_data;

/* Allocates all three and copies images and labels. The caller writes the order. If it fails, the caller still calls
 * dt_device_data_destroy. */
DT_MUST_CHECK dt_status dt_device_data_create(dt_context *ctx, const dt_dataset_view *v, int64_t n_order,
                                              dt_device_data *out);
void dt_device_data_destroy(dt_context *ctx, dt_device_data *data);

/* DT_ERR_SHAPE if the images' size or channels are not the model's, or if the dataset has more classes than the model.
 * DT_ERR_ARGUMENT if it has no images. */
DT_MUST_CHECK dt_status dt_model_check_data(const dt_model *m, const dt_dataset_view *v);

#endif /* DT_INFERENCE_H */
