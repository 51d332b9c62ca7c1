/*
 * codes.c - how a program's integers come onto the grid: codes that are stored, and the image's through a table.
 *
 *   codes:        out = codes, each within low..high of params, with the scale that is given
 *   pixel_table:  x[n,h,w,c] = table[pixel][c] of image order[first + n], where first is the step's
 *
 * A model's parameters are f32, and so the codes are held in f32; that they are integers is the caller's to see to.
 *
 * Shapes: codes K,..; scale 1 or K; out as codes.
 *         images u8 n,H,W,C; order i32; table f32 256,C; scale 1; x N,H,W,C, where N is params.batch.
 * CUDA: cuda/codes.cu.  Tests: tests/test_codes.c.
 */
#include "../core/op.h"

#include <assert.h>
#include <string.h>

enum { IMAGES, ORDER, TABLE, SCALE };

enum { PIXEL_VALUES = 256 };

static dt_status check_range(const dt_node *node, int low, int high)
{
    DT_CHECK(low <= high, DT_ERR_ARGUMENT, "%s: %s: the range of the codes is %d..%d", node->name,
             dt_ops[node->kind]->name, low, high);
    return DT_OK;
}

static dt_status codes_infer(dt_node *node)
{
    const dt_codes_params *p = node->params;
    const dt_tensor *codes = node->in[0];
    const int64_t n_scale = dt_count(&node->in[1]->shape), filters = codes->shape.dim[0];
    assert(codes->type == DT_F32 && node->in[1]->type == DT_F32);

    DT_TRY(check_range(node, p->low, p->high));
    DT_CHECK(n_scale == 1 || n_scale == filters, DT_ERR_SHAPE, "%s: codes: %lld scales for %lld filters; 1 or one each",
             node->name, (long long)n_scale, (long long)filters);
    DT_CHECK(codes->n_scale == 0, DT_ERR_UNSUPPORTED, "%s: codes: they are a grid tensor already, with its own scale",
             node->name);
    node->out->shape = codes->shape;
    node->out->n_scale = (int)n_scale;
    node->out->qmin = p->low;
    node->out->qmax = p->high;
    return DT_OK;
}

static dt_status pixel_table_infer(dt_node *node)
{
    const dt_pixel_table_params *p = node->params;
    const dt_shape *images = &node->in[IMAGES]->shape, *table = &node->in[TABLE]->shape;
    const int64_t n_order = dt_count(&node->in[ORDER]->shape), n_scale = dt_count(&node->in[SCALE]->shape);
    char text_images[64], text_table[64];

    DT_CHECK(node->in[IMAGES]->type == DT_U8 && node->in[ORDER]->type == DT_I32, DT_ERR_ARGUMENT,
             "%s: pixel_table: needs images of u8 and an order of i32", node->name);
    DT_CHECK(images->ndim == 4 && table->ndim == 2 && table->dim[0] == PIXEL_VALUES && table->dim[1] == images->dim[3],
             DT_ERR_SHAPE, "%s: pixel_table: images are %s, the table is %s; needed are n,H,W,C and 256,C", node->name,
             dt_shape_text(images, text_images, sizeof text_images),
             dt_shape_text(table, text_table, sizeof text_table));
    DT_CHECK(n_scale == 1, DT_ERR_SHAPE, "%s: pixel_table: takes one scale, got %lld", node->name, (long long)n_scale);
    DT_CHECK(p->batch >= 1 && p->batch <= n_order, DT_ERR_ARGUMENT,
             "%s: pixel_table: batch is %d, the order holds %lld images", node->name, p->batch, (long long)n_order);
    DT_TRY(check_range(node, p->low, p->high));
    node->out->shape = *images;
    node->out->shape.dim[0] = p->batch;
    node->out->n_scale = 1;
    node->out->qmin = p->low;
    node->out->qmax = p->high;
    return DT_OK;
}

const dt_op dt_op_codes = {
    .name = "codes",
    .min_in = 2,
    .max_in = 2,
    .params_bytes = sizeof(dt_codes_params),
    .no_grad = 1,
    .infer = codes_infer,
};

const dt_op dt_op_pixel_table = {
    .name = "pixel_table",
    .min_in = 4,
    .max_in = 4,
    .params_bytes = sizeof(dt_pixel_table_params),
    .no_grad = 1,
    .infer = pixel_table_infer,
};

static dt_status codes_forward(const dt_node *node, const dt_exec *ex)
{
    (void)ex;

    memcpy(node->out->data, node->in[0]->data, dt_tensor_bytes(node->out));
    memcpy(node->out->scale, node->in[1]->data, (size_t)node->out->n_scale * sizeof(float));
    return DT_OK;
}

static dt_status pixel_table_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_pixel_table_params *p = node->params;
    const int64_t *dim = node->in[IMAGES]->shape.dim;
    const int64_t pixels = dim[1] * dim[2], channels = dim[3];
    const uint8_t *images = node->in[IMAGES]->data;
    const float *table = node->in[TABLE]->data;
    const int64_t first = ex->step->in.first;
    const int32_t *order = (const int32_t *)node->in[ORDER]->data + first;
    float *x = node->out->data;
    assert(first >= 0 && first + p->batch <= dt_count(&node->in[ORDER]->shape));

#pragma omp parallel for
    for (int n = 0; n < p->batch; n++) {
        assert(order[n] >= 0 && order[n] < dim[0]);
        const uint8_t *image = images + order[n] * pixels * channels;
        float *to = x + n * pixels * channels;
        for (int64_t i = 0; i < pixels; i++) {
            for (int64_t c = 0; c < channels; c++) to[i * channels + c] = table[image[i * channels + c] * channels + c];
        }
    }
    node->out->scale[0] = *(const float *)node->in[SCALE]->data;
    return DT_OK;
}

const dt_kernel dt_cpu_codes = { .forward = codes_forward };
const dt_kernel dt_cpu_pixel_table = { .forward = pixel_table_forward };
