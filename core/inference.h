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

/* Images first .. first + count - 1 of d, at most `batch` at a time. Nothing of d is needed after this call. watched: 1
 * if node hooks will look at the network's nodes, so that none may be fused with another. */
DT_MUST_CHECK dt_status dt_inference_create(dt_model *m, const dt_dataset *d, int64_t first, int64_t count, int batch,
                                            float label_smoothing, int watched, dt_inference **out);
/* The same of images that stand in no dataset. */
DT_MUST_CHECK dt_status dt_inference_create_of(dt_model *m, const dt_dataset_view *v, int64_t first, int64_t count,
                                               int batch, float label_smoothing, int watched, dt_inference **out);
void dt_inference_destroy(dt_inference *inf);
/* The tape of a full batch; that of the last one has the same nodes. */
const dt_tape *dt_inference_tape(const dt_inference *inf);

/* node_hook sees every node after it ran, batch_hook every batch; either may be NULL. *sum: over all images. The
 * trainer's running sums are left as they were. */
DT_MUST_CHECK dt_status dt_inference_run(dt_inference *inf, dt_node_hook node_hook,
                                         dt_status (*batch_hook)(void *user, const dt_batch *b), void *user,
                                         dt_step_sum *sum);

/* dt_evaluate with a look at every node, and none at the parameters' values; node_hook may be NULL. */
DT_MUST_CHECK dt_status dt_evaluate_watched(dt_model *m, const dt_dataset *d, int batch, float label_smoothing,
                                            const dt_progress *progress, dt_node_hook node_hook, void *user,
                                            const dt_outputs *outputs, dt_metrics *out);

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
