/*
 * augment.c - takes a batch out of the dataset: images, changed at random and normalised; their labels; rows of values
 *             computed from them before.
 *
 *   augment: x = (pixel / 255 - mean[c]) / std[c] of image order[first + n], where first is the step's. pixel is of the
 *            image after, in this order,
 *              - a turn about its middle by U(-rotation, rotation) degrees and a shift, along each axis by
 *                round(U(-shift, shift)) pixels, as one map: an output pixel shows the input pixel that its centre
 *                falls into (nearest; torchvision's RandomAffine);
 *              - a crop of H x W out of it with crop_pad pixels more on each side (torchvision's RandomCrop);
 *              - left and right exchanged with probability flip_share.
 *            What comes from outside of an image is 0, before normalising.
 *   gather:  y = labels[order[first + n]]
 *   rows:    x = rows[order[first + n]]
 *
 * Shapes: images u8 n,H,W,C with C <= 4; order i32; x f32 N,H,W,C; labels i32 n; y i32 N; rows f32 n,.., x f32 N,...
 * N is params.batch.
 * Draws: augment.h.  CUDA: cuda/augment.cu.  Tests: tests/test_augment.c.
 */
#include "augment.h"

#include "../core/grid_facts.h"
#include "../core/op.h"

#include <assert.h>
#include <string.h>

enum { MAX_CHANNELS = 4 };

/* in[0] is the dataset's images, labels or rows, in[1] its order. */
static dt_status batch_check(const dt_node *node, dt_dtype type, const char *needed, int batch)
{
    const int64_t n_order = dt_count(&node->in[1]->shape);

    DT_CHECK(node->in[0]->type == type && node->in[1]->type == DT_I32, DT_ERR_ARGUMENT,
             "%s: needs %s and an order of i32", node->name, needed);
    DT_CHECK(batch >= 1 && batch <= n_order, DT_ERR_ARGUMENT, "%s: batch is %d, the order holds %lld images",
             node->name, batch, (long long)n_order);
    return DT_OK;
}

static dt_status ranges_check(const char *name, const dt_augment_params *p)
{
    DT_CHECK(p->crop_pad >= 0, DT_ERR_ARGUMENT, "%s: augment: crop_pad is %d, must not be negative", name, p->crop_pad);
    DT_CHECK(p->shift >= 0 && p->shift <= DT_AUGMENT_MAX_SHIFT, DT_ERR_ARGUMENT,
             "%s: augment: shift is %d, allowed are 0..%d", name, p->shift, DT_AUGMENT_MAX_SHIFT);
    DT_CHECK(p->rotation >= 0.0f && p->rotation <= DT_AUGMENT_MAX_ROTATION, DT_ERR_ARGUMENT,
             "%s: augment: rotation is %g, allowed are 0..%d degrees", name, (double)p->rotation,
             DT_AUGMENT_MAX_ROTATION);
    DT_CHECK(p->flip_share >= 0.0f && p->flip_share <= 1.0f, DT_ERR_ARGUMENT,
             "%s: augment: flip_share is %g, allowed are 0..1", name, (double)p->flip_share);
    return DT_OK;
}

static dt_status augment_infer(dt_node *node)
{
    const dt_augment_params *p = node->params;
    const dt_shape *images = &node->in[0]->shape;
    char text[64];

    DT_CHECK(images->ndim == 4 && images->dim[3] <= MAX_CHANNELS, DT_ERR_SHAPE,
             "%s: augment: images are %s, needed are the axes n,H,W,C with C up to %d", node->name,
             dt_shape_text(images, text, sizeof text), MAX_CHANNELS);
    DT_TRY(batch_check(node, DT_U8, "images of u8", p->batch));
    DT_TRY(ranges_check(node->name, p));
    for (int64_t c = 0; c < images->dim[3]; c++) {
        DT_CHECK(p->std[c] > 0.0f, DT_ERR_ARGUMENT, "%s: augment: std[%lld] is %g, must be above 0", node->name,
                 (long long)c, (double)p->std[c]);
    }
    node->out->shape = *images;
    node->out->shape.dim[0] = p->batch;
    return DT_OK;
}

static dt_status gather_infer(dt_node *node)
{
    const dt_gather_params *p = node->params;

    DT_TRY(batch_check(node, DT_I32, "labels of i32", p->batch));
    node->out->type = DT_I32;
    node->out->shape = (dt_shape){ .ndim = 1, .dim = { p->batch } };
    return DT_OK;
}

static dt_status rows_infer(dt_node *node)
{
    const dt_rows_params *p = node->params;

    DT_TRY(batch_check(node, DT_F32, "rows of f32", p->batch));
    dt_stay_on_grid(node->out, node->in[0]);
    node->out->shape = node->in[0]->shape;
    node->out->shape.dim[0] = p->batch;
    return DT_OK;
}

const dt_op dt_op_augment = {
    .name = "augment",
    .min_in = 2,
    .max_in = 2,
    .params_bytes = sizeof(dt_augment_params),
    .no_grad = 1,
    .infer = augment_infer,
};

const dt_op dt_op_gather = {
    .name = "gather",
    .min_in = 2,
    .max_in = 2,
    .params_bytes = sizeof(dt_gather_params),
    .no_grad = 1,
    .infer = gather_infer,
};

const dt_op dt_op_rows = {
    .name = "rows",
    .min_in = 2,
    .max_in = 2,
    .params_bytes = sizeof(dt_rows_params),
    .no_grad = 1,
    .infer = rows_infer,
};

/* A pixel has 256 values, so what it becomes is looked up. */
typedef struct {
    float value[256][MAX_CHANNELS];
} pixel_table;

static void table_fill(const dt_augment_params *p, int channels, pixel_table *table)
{
    for (int pixel = 0; pixel < 256; pixel++) {
        for (int c = 0; c < channels; c++) {
            table->value[pixel][c] = dt_augment_value((uint8_t)pixel, p->mean[c], p->std[c]);
        }
    }
}

/* image and x: [height][width][channels] */
static void augment_image(const uint8_t *image, const int64_t *dim, const dt_augment_view *view,
                          const pixel_table *table, float *x)
{
    static const uint8_t outside[MAX_CHANNELS] = { 0 };
    const int height = (int)dim[1], width = (int)dim[2], channels = (int)dim[3];

    for (int h = 0; h < height; h++) {
        for (int w = 0; w < width; w++, x += channels) {
            const int source = dt_augment_source(view, h, w, height, width);
            const uint8_t *pixel = source >= 0 ? image + (int64_t)source * channels : outside;
            for (int c = 0; c < channels; c++) x[c] = table->value[pixel[c]][c];
        }
    }
}

static dt_status augment_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_augment_params *p = node->params;
    const int64_t *dim = node->in[0]->shape.dim;
    const int64_t image_count = dim[1] * dim[2] * dim[3];
    const uint8_t *images = node->in[0]->data;
    const dt_step_in in = ex->step->in;
    const int32_t *order = (const int32_t *)node->in[1]->data + in.first;
    float *x = node->out->data;
    pixel_table table;
    assert(in.first >= 0 && in.first + p->batch <= dt_count(&node->in[1]->shape));

    table_fill(p, (int)dim[3], &table);
#pragma omp parallel for
    for (int n = 0; n < p->batch; n++) {
        assert(order[n] >= 0 && order[n] < dim[0]);
        const dt_augment_view view = dt_augment_draw(in.seed, in.epoch, order[n], p);
        augment_image(images + order[n] * image_count, dim, &view, &table, x + n * image_count);
    }
    return DT_OK;
}

static dt_status gather_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_gather_params *p = node->params;
    const int32_t *labels = node->in[0]->data;
    const int64_t first = ex->step->in.first;
    const int32_t *order = (const int32_t *)node->in[1]->data + first;
    int32_t *y = node->out->data;
    assert(first >= 0 && first + p->batch <= dt_count(&node->in[1]->shape));

    for (int n = 0; n < p->batch; n++) y[n] = labels[order[n]];
    return DT_OK;
}

static dt_status rows_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->out->shape;
    const int64_t first = ex->step->in.first, batch = shape->dim[0], count = dt_count(shape) / batch;
    const float *rows = node->in[0]->data;
    const int32_t *order = (const int32_t *)node->in[1]->data + first;
    float *x = node->out->data;
    assert(first >= 0 && first + batch <= dt_count(&node->in[1]->shape));

#pragma omp parallel for
    for (int64_t n = 0; n < batch; n++) {
        assert(order[n] >= 0 && order[n] < node->in[0]->shape.dim[0]);
        memcpy(x + n * count, rows + order[n] * count, (size_t)count * sizeof *x);
    }
    return DT_OK;
}

const dt_kernel dt_cpu_augment = { .forward = augment_forward };
const dt_kernel dt_cpu_gather = { .forward = gather_forward };
const dt_kernel dt_cpu_rows = { .forward = rows_forward };
