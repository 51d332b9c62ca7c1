/*
 * capture.c - the integers of one convolution on real images.
 */
#include "inference.h"

#include <stdlib.h>
#include <string.h>

enum { CAPTURE_BATCH = 128 };

typedef struct {
    dt_model *model;
    const char *layer;
    dt_capture *capture;
    int64_t done; /* maps */
} capture_run;

static dt_status capture_allocate(dt_capture *c, const dt_node *node)
{
    const dt_conv_params *p = node->params;
    const int64_t *x = node->in[0]->shape.dim, *w = node->in[1]->shape.dim, *y = node->out->shape.dim;
    const int64_t n_maps = c->n * c->maps;

    c->height = (int)x[1];
    c->width = (int)x[2];
    c->channels = (int)x[3];
    c->filters = (int)w[0];
    c->kernel_height = (int)w[1];
    c->kernel_width = (int)w[2];
    c->out_height = (int)y[1];
    c->out_width = (int)y[2];
    c->stride = p->stride;
    c->pad = p->pad;
    c->x_low = (int)node->in[0]->qmin;
    c->x_high = (int)node->in[0]->qmax;
    c->w_low = (int)node->in[1]->qmin;
    c->w_high = (int)node->in[1]->qmax;
    c->n_sw = node->in[1]->n_scale;
    c->qx = malloc((size_t)(n_maps * x[1] * x[2] * x[3]) * sizeof(float));
    c->qw = malloc(dt_tensor_bytes(node->in[1]));
    c->psum = malloc((size_t)(n_maps * y[1] * y[2] * y[3]) * sizeof(float));
    c->sw = malloc((size_t)c->n_sw * sizeof(float));
    DT_CHECK(c->qx && c->qw && c->psum && c->sw, DT_ERR_MEMORY, "no memory to capture %lld images of %s; take fewer",
             (long long)c->n, node->name);
    return DT_OK;
}

static dt_status capture_node(void *user, const dt_node *node)
{
    capture_run *run = user;
    dt_capture *c = run->capture;
    dt_context *ctx = run->model->ctx;

    if (node->kind != DT_OP_CONV2D && node->kind != DT_OP_PSUM) return DT_OK;
    if (strcmp(node->name, run->layer) != 0) return DT_OK;
    DT_CHECK(node->out->n_scale > 0, DT_ERR_ARGUMENT, "%s is not quantized: it has no integers to capture", node->name);
    c->maps = run->model->layer[dt_model_find_layer(run->model, node->name)].maps;
    if (!c->qx) DT_TRY(capture_allocate(c, node));
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    const int64_t n = x->shape.dim[0];
    float *qx = c->qx + run->done * dt_count(&x->shape) / n, *psum = c->psum + run->done * dt_count(&y->shape) / n;

    DT_TRY(dt_device_read(ctx, qx, x->data, dt_tensor_bytes(x)));
    DT_TRY(dt_device_read(ctx, psum, y->data, dt_tensor_bytes(y)));
    DT_TRY(dt_device_read(ctx, c->qw, w->data, dt_tensor_bytes(w)));
    DT_TRY(dt_device_read(ctx, &c->sx, x->scale, sizeof c->sx));
    DT_TRY(dt_device_read(ctx, c->sw, w->scale, (size_t)c->n_sw * sizeof(float)));
    run->done += n;
    return DT_OK;
}

dt_status dt_capture_layer(dt_model *m, const dt_dataset *d, int64_t first, int64_t count, const char *layer,
                           dt_capture **out)
{
    dt_inference *inf;
    dt_step_sum sum;

    DT_TRY(dt_model_check_values(m, NULL));
    DT_TRY(dt_inference_create(m, d, first, count, CAPTURE_BATCH, 0.0f, 1, &inf));
    capture_run run = { m, layer, calloc(1, sizeof(dt_capture)), 0 };
    dt_status status = DT_ERR_MEMORY;
    if (run.capture) {
        run.capture->n = count;
        run.capture->maps = 1; /* until the layer says otherwise */
        run.capture->origin = m->origin;
        status = dt_inference_run(inf, capture_node, NULL, &run, &sum);
    }
    if (status == DT_OK && run.done != count * run.capture->maps) {
        status = dt_raise(DT_ERR_RANGE, __FILE__, __LINE__,
                          "the model has no convolution '%s'; detent inspect lists them", layer);
    }
    dt_inference_destroy(inf);
    if (status != DT_OK) {
        dt_capture_destroy(run.capture);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = run.capture;
    return DT_OK;
}

void dt_capture_destroy(dt_capture *c)
{
    if (!c) return;
    free(c->qx);
    free(c->qw);
    free(c->psum);
    free(c->sw);
    free(c);
}
