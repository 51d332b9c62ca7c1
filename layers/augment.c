/*
 * augment.c - takes a batch out of the dataset: images, cropped and mirrored at random and normalised; their labels.
 *
 *   augment: x = (pixel / 255 - mean[c]) / std[c] of image order[first + n], where first is the step's.
 *            The crop is H x W out of the image with crop_pad zero pixels on each side (zero before normalising, as
 *            torchvision's RandomCrop then Normalize), then mirrored left to right with probability 1/2.
 *   gather:  y = labels[order[first + n]]
 *
 * Shapes: images u8 n,H,W,C with C <= 4; order i32; x f32 N,H,W,C; labels i32 n; y i32 N. N is params.batch.
 * Draws: augment.h.  CUDA: cuda/augment.cu.  Tests: tests/test_augment.c.
 */
#include "augment.h"

#include "../core/op.h"

#include <assert.h>

enum { MAX_CHANNELS = 4 };

/* in[0] is the dataset's images or labels, in[1] its order. */
static dt_status batch_check(const dt_node *node, dt_dtype type, int batch)
{
    const int64_t n_order = dt_count(&node->in[1]->shape);

    DT_CHECK(node->in[0]->type == type && node->in[1]->type == DT_I32, DT_ERR_ARGUMENT,
             "%s: needs %s and an order of i32", node->name, type == DT_U8 ? "images of u8" : "labels of i32");
    DT_CHECK(batch >= 1 && batch <= n_order, DT_ERR_ARGUMENT, "%s: batch is %d, the order holds %lld images",
             node->name, batch, (long long)n_order);
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
    DT_TRY(batch_check(node, DT_U8, p->batch));
    DT_CHECK(p->crop_pad >= 0, DT_ERR_ARGUMENT, "%s: augment: crop_pad is %d, must not be negative", node->name,
             p->crop_pad);
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

    DT_TRY(batch_check(node, DT_I32, p->batch));
    node->out->type = DT_I32;
    node->out->shape = (dt_shape){ .ndim = 1, .dim = { p->batch } };
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
static void augment_image(const uint8_t *image, const int64_t *dim, dt_augment_view view, const pixel_table *table,
                          float *x)
{
    static const uint8_t outside[MAX_CHANNELS] = { 0 };
    const int64_t height = dim[1], width = dim[2], channels = dim[3];

    for (int64_t h = 0; h < height; h++) {
        for (int64_t w = 0; w < width; w++) {
            const int64_t row = h + view.top, column = (view.mirror ? width - 1 - w : w) + view.left;
            const int inside = row >= 0 && row < height && column >= 0 && column < width;
            const uint8_t *pixel = inside ? image + (row * width + column) * channels : outside;
            for (int64_t c = 0; c < channels; c++) x[(h * width + w) * channels + c] = table->value[pixel[c]][c];
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
        const dt_augment_view view = dt_augment_draw(in.seed, in.epoch, order[n], p->crop_pad, p->flip);
        augment_image(images + order[n] * image_count, dim, view, &table, x + n * image_count);
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

const dt_kernel dt_cpu_augment = { .forward = augment_forward };
const dt_kernel dt_cpu_gather = { .forward = gather_forward };
