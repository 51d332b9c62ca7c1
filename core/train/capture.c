/*
 * capture.c - the integers of one convolution, linear layer or votes on real images, the floats that its quantizer
 * read, and those that the next layer reads.
 *
 * A tensor is read after the node that wants it has run: then it is still there.
 * Tests: tests/cli/test_capture.c.
 */
#include "../conv_params.h"
#include "../grid_facts.h"
#include "../names.h"
#include "../votes_params.h"
#include "inference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPTURE_BATCH = 128 };

typedef struct {
    dt_model *model;
    const char *layer;
    dt_capture *capture;
    const dt_node *quantizer; /* of the layer's input; NULL: none */
    const dt_node *next;      /* the quantizer, or the layer itself, that reads floats next; NULL: none */
    int64_t done;             /* maps */
    int64_t batch, next_done; /* images of the last batch; rows of next_input */
} capture_run;

static int has_weights(const dt_node *node)
{
    return node->kind == DT_OP_CONV2D || node->kind == DT_OP_PSUM || node->kind == DT_OP_LINEAR ||
           node->kind == DT_OP_CAPS_VOTES;
}

static int is_layer(const dt_node *node, const char *name)
{
    return has_weights(node) && strcmp(node->name, name) == 0;
}

static int makes_codes(const dt_node *node)
{
    return node->kind == DT_OP_ACT_QUANT || node->kind == DT_OP_RANGE_QUANT;
}

/* What reads t, or what becomes of it, as floats and as the only one. */
static const dt_node *find_next(const dt_tape *tape, const dt_tensor *t)
{
    for (int i = dt_tape_reader(tape, t); i >= 0; i = dt_tape_reader(tape, t)) {
        const dt_node *node = dt_tape_node(tape, i);
        if (node->kind == DT_OP_ACT_QUANT) return node;
        if (has_weights(node)) return node->in[0]->n_scale == 0 ? node : NULL;
        t = node->out;
    }
    return NULL;
}

static void find_neighbours(capture_run *run, const dt_tape *tape)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *node = dt_tape_node(tape, i);
        if (!is_layer(node, run->layer)) continue;
        const int maker = dt_tape_maker(tape, node->in[0]);
        const dt_node *before = maker < 0 ? NULL : dt_tape_node(tape, maker);
        run->quantizer = before && makes_codes(before) ? before : NULL;
        run->next = find_next(tape, node->out);
    }
}

/* What the sizes are, of a map. */
static void take_conv_sizes(dt_capture *c, const dt_node *node)
{
    const int64_t *x = node->in[0]->shape.dim, *w = node->in[1]->shape.dim, *y = node->out->shape.dim;

    c->height = (int)x[1];
    c->width = (int)x[2];
    c->channels = (int)x[3];
    c->filters = (int)w[0];
    c->kernel_height = (int)w[1];
    c->kernel_width = (int)w[2];
    c->out_height = (int)y[1];
    c->out_width = (int)y[2];
    c->conv = *(const dt_conv_params *)node->params;
}

/* A linear layer is a convolution of a map of one cell. */
static void take_linear_sizes(dt_capture *c, const dt_node *node)
{
    c->height = c->width = c->kernel_height = c->kernel_width = c->out_height = c->out_width = 1;
    c->filters = (int)node->in[1]->shape.dim[0];
    c->channels = (int)node->in[1]->shape.dim[1];
    c->conv = dt_conv_square(1, 0);
}

/* Votes are a convolution of one cell that has a group for each input capsule. */
static void take_votes_sizes(dt_capture *c, const dt_node *node)
{
    const dt_shape *w = &node->in[1]->shape;

    c->height = c->width = c->kernel_height = c->kernel_width = c->out_height = c->out_width = 1;
    c->channels = (int)(w->dim[0] * w->dim[1]);
    c->filters = (int)(w->dim[0] * w->dim[2]);
    c->conv = dt_votes_conv_of(w).conv;
}

/* The codes of the weights, as filters. */
static dt_status take_weights(const capture_run *run, const dt_tensor *w, int are_votes)
{
    float *matrices = NULL;

    if (!are_votes) return dt_device_read(run->model->ctx, run->capture->qw, w->data, dt_tensor_bytes(w));
    DT_TRY(dt_device_floats(run->model->ctx, w->data, dt_count(&w->shape), &matrices));
    dt_votes_filters(&w->shape, matrices, run->capture->qw);
    free(matrices);
    return DT_OK;
}

static dt_status capture_allocate(dt_capture *c, const dt_node *node)
{
    const int64_t n_maps = c->n * c->maps;

    if (node->kind == DT_OP_LINEAR)
        take_linear_sizes(c, node);
    else if (node->kind == DT_OP_CAPS_VOTES)
        take_votes_sizes(c, node);
    else
        take_conv_sizes(c, node);
    c->x_low = (int)node->in[0]->qmin;
    c->x_high = (int)node->in[0]->qmax;
    c->w_low = (int)node->in[1]->qmin;
    c->w_high = (int)node->in[1]->qmax;
    c->n_sw = node->in[1]->n_scale;
    c->qx = malloc((size_t)(n_maps * c->height * c->width * c->channels) * sizeof(float));
    c->qw = malloc(dt_tensor_bytes(node->in[1]));
    c->psum = malloc((size_t)(n_maps * c->out_height * c->out_width * c->filters) * sizeof(float));
    c->sw = malloc((size_t)c->n_sw * sizeof(float));
    DT_CHECK(c->qx && c->qw && c->psum && c->sw, DT_ERR_MEMORY, "no memory to capture %lld images of %s; take fewer",
             (long long)c->n, node->name);
    return DT_OK;
}

/* Before the layer runs: run->done is where the batch begins. */
static dt_status capture_input(capture_run *run, const dt_tensor *x)
{
    dt_capture *c = run->capture;
    const int64_t row = dt_count(&x->shape) / x->shape.dim[0];

    if (!c->input_float) c->input_float = malloc((size_t)(c->n * c->maps * row) * sizeof(float));
    DT_CHECK(c->input_float, DT_ERR_MEMORY, "no memory to capture the input of %s; take fewer images", run->layer);
    return dt_device_real(run->model->ctx, x, c->input_float + run->done * row);
}

/* After the layer ran: run->batch is known. */
static dt_status capture_next(capture_run *run, const dt_tensor *x)
{
    dt_capture *c = run->capture;
    const int64_t *dim = x->shape.dim, row = dt_count(&x->shape) / dim[0];
    const int is_map = x->shape.ndim == 4;

    if (!c->next_input) {
        c->next_maps = (int)(dim[0] / run->batch);
        c->next_height = is_map ? (int)dim[1] : 1;
        c->next_width = is_map ? (int)dim[2] : 1;
        c->next_channels = is_map ? (int)dim[3] : (int)row;
        snprintf(c->next_layer, sizeof c->next_layer, "%.*s", dt_layer_name_bytes(run->next->name), run->next->name);
        c->next_input = malloc((size_t)(c->n * c->next_maps * row) * sizeof(float));
    }
    DT_CHECK(c->next_input, DT_ERR_MEMORY, "no memory to capture the input of %s; take fewer images", run->next->name);
    DT_TRY(dt_device_real(run->model->ctx, x, c->next_input + run->next_done * row));
    run->next_done += dim[0];
    return DT_OK;
}

static dt_status capture_codes(capture_run *run, const dt_node *node)
{
    dt_capture *c = run->capture;
    dt_context *ctx = run->model->ctx;

    DT_CHECK(node->out->n_scale > 0, DT_ERR_ARGUMENT, "%s is not quantized: it has no integers to capture", node->name);
    if (!c->qx) DT_TRY(capture_allocate(c, node));
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    const int64_t n = x->shape.dim[0];
    float *qx = c->qx + run->done * dt_count(&x->shape) / n, *psum = c->psum + run->done * dt_count(&y->shape) / n;

    DT_TRY(dt_device_read(ctx, qx, x->data, dt_tensor_bytes(x)));
    DT_TRY(dt_device_read(ctx, psum, y->data, dt_tensor_bytes(y)));
    DT_TRY(take_weights(run, w, node->kind == DT_OP_CAPS_VOTES));
    DT_TRY(dt_device_read(ctx, &c->sx, x->scale, sizeof c->sx));
    DT_TRY(dt_device_read(ctx, c->sw, w->scale, (size_t)c->n_sw * sizeof(float)));
    run->done += n;
    run->batch = n / c->maps;
    return DT_OK;
}

static dt_status capture_node(void *user, const dt_node *node)
{
    capture_run *run = user;

    if (node == run->quantizer) DT_TRY(capture_input(run, node->in[0]));
    if (node == run->next) DT_TRY(capture_next(run, node->in[0]));
    return is_layer(node, run->layer) ? capture_codes(run, node) : DT_OK;
}

dt_status dt_capture_layer(dt_model *m, const dt_dataset *d, int64_t first, int64_t count, const char *layer,
                           dt_capture **out)
{
    const dt_inference_options opt = { .first = first, .count = count, .batch = CAPTURE_BATCH, .watched = 1 };
    dt_dataset_view v;
    dt_inference *inf;
    dt_step_sum sum;

    DT_TRY(dt_model_check_values(m, NULL));
    dt_dataset_look(d, &v);
    DT_TRY(dt_inference_create(m, &v, &opt, &inf));
    const int at = dt_model_find_layer(m, layer);
    capture_run run = { .model = m, .layer = layer, .capture = calloc(1, sizeof(dt_capture)) };
    dt_status status =
        run.capture ? DT_OK : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a capture of %s", layer);
    if (status == DT_OK) {
        run.capture->n = count;
        run.capture->maps = at < 0 ? 1 : m->layer[at].maps;
        run.capture->origin = m->origin;
        snprintf(run.capture->layer, sizeof run.capture->layer, "%s", layer);
        find_neighbours(&run, dt_inference_tape(inf));
        status = dt_inference_run(inf, capture_node, NULL, &run, &sum);
    }
    if (status == DT_OK && run.done != count * run.capture->maps) {
        status = dt_raise(DT_ERR_RANGE, __FILE__, __LINE__,
                          "the model has no layer '%s' of integer codes; detent inspect lists them", layer);
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
    free(c->input_float);
    free(c->next_input);
    free(c);
}
