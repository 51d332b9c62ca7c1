/*
 * inference.h - runs a model over images of a dataset, a batch at a time, in the dataset's order.
 */
#ifndef DT_INFERENCE_H
#define DT_INFERENCE_H

#include "model.h"

typedef struct dt_inference dt_inference;

/* One batch that has just run: its images are first .. first + n - 1 of the dataset. */
typedef struct {
    const dt_tensor *logits; /* [n][classes], device */
    int64_t first, n;
} dt_batch;

/* Which images run, and what else their tape holds. */
typedef struct {
    int64_t first, count; /* images first .. first + count - 1 */
    int batch;            /* at most so many at a time */
    float label_smoothing;
    int watched;     /* 1: node hooks will look at the network's nodes, so that none may be fused with another */
    dt_tensor *rows; /* these and start: as dt_record_spec's */
    int start;
    /* Records more beside the network, whose values stand in tensor. NULL: nothing. */
    dt_status (*beside)(void *user, dt_tape *tape, const dt_record_spec *spec, dt_tensor *const *tensor);
    void *user;
} dt_inference_options;

/* Nothing of the images is needed after this call. */
DT_MUST_CHECK dt_status dt_inference_create(dt_model *m, const dt_dataset_view *v, const dt_inference_options *opt,
                                            dt_inference **out);
void dt_inference_destroy(dt_inference *inf);
/* The tape of a full batch; that of the last one has the same nodes. */
const dt_tape *dt_inference_tape(const dt_inference *inf);

/* node_hook sees every node after it ran, batch_hook every batch; either may be NULL. *sum: over all images. The
 * trainer's running sums are left as they were. */
DT_MUST_CHECK dt_status dt_inference_run(dt_inference *inf, dt_node_hook node_hook,
                                         dt_status (*batch_hook)(void *user, const dt_batch *b), void *user,
                                         dt_step_sum *sum);

/* What dt_evaluate takes, and what it does not. */
typedef struct {
    int batch;
    float label_smoothing;
    const dt_progress *progress; /* and outputs: may be NULL */
    const dt_outputs *outputs;
    dt_node_hook hook; /* sees every node; NULL: none */
    void *user;
    dt_tensor *rows; /* as dt_record_spec's */
    int start;
} dt_evaluation;

/* dt_evaluate, but the parameters' values are not looked at. */
DT_MUST_CHECK dt_status dt_evaluate_by(dt_model *m, const dt_dataset *d, const dt_evaluation *how, dt_metrics *out);

/* Means of the sums; 0 of no images. */
dt_metrics dt_metrics_of(const dt_step_sum *sum);

/* A dataset's images, labels and an order of n indices, in device memory. */
typedef struct {
    dt_tensor images, labels, order;
} dt_device_data;

DT_MUST_CHECK dt_status dt_device_data_create(dt_context *ctx, const dt_dataset_view *v, int64_t n_order,
                                              dt_device_data *out);
void dt_device_data_destroy(dt_context *ctx, dt_device_data *data);

/* The images fit the model: size, channels, classes. */
DT_MUST_CHECK dt_status dt_model_check_data(const dt_model *m, const dt_dataset_view *v);

#endif /* DT_INFERENCE_H */
