/*
 * augment.c - takes a batch out of the dataset: images, which it changes at random and normalises; their labels; or
 *             rows of values that were computed from them before.
 *
 *   augment: x = (pixel / 255 - mean[c]) / std[c] of image order[first + n], where first is the step's. pixel is of the
 *            image after, in this order,
 *              - a turn about its middle by U(-rotation, rotation) degrees and a shift, along each axis by
 *                round(U(-shift, shift)) pixels, as one map: an output pixel shows the input pixel that its centre
 *                falls into (nearest; torchvision's RandomAffine);
 *              - a crop of H x W out of it with crop_pad pixels more on each side (torchvision's RandomCrop);
 *              - left and right exchanged with probability flip_share; or, alternating, of that share of the images in
 *                even epochs, and of the others in odd ones;
 *              - pixel / 255 times U(1 - brightness, 1 + brightness), at most 1, and x times
 *                U(1 - contrast, 1 + contrast);
 *              - x = 0, the mean colour, in a square of cutout x cutout pixels whose middle is a pixel of the image.
 *            Pixels from outside of an image are 0, before normalising. Images of reals are not changed, but normalised
 *            alone: x = (value - mean[c]) / std[c]. With params.has_quant x is the codes that
 *            ACT_QUANT with a fixed alpha would give (quant/act_quant.c); core/tape/fuse.c merges the two.
 *   gather:  y = labels[order[first + n]]
 *   rows:    x = rows[order[first + n]]
 *
 * Shapes: images u8 n,H,W,C with C <= 4 or f32 with C <= 64; order i32; alpha 1; x f32 N,H,W,C, codes also u8, i8 or
 * f16; labels i32 n or n,L; y i32 N or N,L; rows f32 or u8 n,.., x N,.. of their type. N is params.batch. Draws:
 * augment.h.  CUDA: cuda/augment.cu. Tests: tests/layers/test_augment.c, tests/layers/test_augment_values.c.
 *
 * Sources: DeVries, Taylor, "Improved regularization of convolutional neural networks with cutout", 2017; Jordan, "94%
 * on CIFAR-10 in 3.29 seconds on a single GPU", 2024, section 3.5 (alternating).
 */
#include "augment.h"

#include "../core/grid_facts.h"
#include "../core/op.h"

#include <assert.h>
#include <string.h>

enum { IMAGES, ORDER, ALPHA };

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
    DT_CHECK(p->cutout >= 0, DT_ERR_ARGUMENT, "%s: augment: cutout is %d, must not be negative", name, p->cutout);
    DT_CHECK(p->brightness >= 0.0f && p->brightness <= 1.0f && p->contrast >= 0.0f && p->contrast <= 1.0f,
             DT_ERR_ARGUMENT, "%s: augment: brightness is %g and contrast %g, allowed are 0..1", name,
             (double)p->brightness, (double)p->contrast);
    return DT_OK;
}

/* What moves pixels has no meaning for the axes of other data. */
static dt_status reals_check(const char *name, const dt_augment_params *p)
{
    DT_CHECK(
        p->crop_pad == 0 && p->shift == 0 && p->rotation == 0.0f && p->flip_share == 0.0f, DT_ERR_UNSUPPORTED,
        "%s: crop %d, shift %d, rotation %g and flip %g are for images of 8 bits, and these are reals, whose axes may "
        "be time or sensors; set all four to 0",
        name, p->crop_pad, p->shift, (double)p->rotation, (double)p->flip_share);
    DT_CHECK(
        p->cutout == 0 && p->brightness == 0.0f && p->contrast == 0.0f, DT_ERR_UNSUPPORTED,
        "%s: cutout %d, brightness %g and contrast %g are for images of 8 bits, and these are reals; set all three "
        "to 0",
        name, p->cutout, (double)p->brightness, (double)p->contrast);
    return DT_OK;
}

static dt_status quant_check(const dt_node *node)
{
    const dt_augment_params *p = node->params;

    DT_CHECK(node->n_in == (p->has_quant ? 3 : 2), DT_ERR_ARGUMENT, "%s: augment takes %d inputs, got %d", node->name,
             p->has_quant ? 3 : 2, node->n_in);
    if (!p->has_quant) return DT_OK;
    DT_CHECK(p->quant.bits >= 2 && p->quant.bits <= 8, DT_ERR_ARGUMENT,
             "%s: augment: codes of %d bits, allowed are 2..8", node->name, p->quant.bits);
    DT_CHECK(dt_count(&node->in[ALPHA]->shape) == 1, DT_ERR_SHAPE, "%s: augment takes one alpha, got %lld", node->name,
             (long long)dt_count(&node->in[ALPHA]->shape));
    return DT_OK;
}

static dt_status augment_infer(dt_node *node)
{
    const dt_augment_params *p = node->params;
    const dt_shape *images = &node->in[0]->shape;
    char text[64];

    const int is_real = node->in[IMAGES]->type == DT_F32;
    const int most_channels = is_real ? DT_MOST_CHANNELS : DT_MOST_PIXEL_CHANNELS;
    DT_CHECK(images->ndim == 4 && images->dim[3] <= most_channels, DT_ERR_SHAPE,
             "%s: augment: images are %s, needed are the axes n,H,W,C with C up to %d", node->name,
             dt_shape_text(images, text, sizeof text), most_channels);
    DT_TRY(batch_check(node, is_real ? DT_F32 : DT_U8, "images of u8 or f32", p->batch));
    DT_TRY(ranges_check(node->name, p));
    if (is_real) DT_TRY(reals_check(node->name, p));
    DT_TRY(quant_check(node));
    for (int64_t c = 0; c < images->dim[3]; c++) {
        DT_CHECK(p->std[c] > 0.0f, DT_ERR_ARGUMENT, "%s: augment: std[%lld] is %g, must be above 0", node->name,
                 (long long)c, (double)p->std[c]);
    }
    node->out->shape = *images;
    node->out->shape.dim[0] = p->batch;
    node->out->type = DT_F32;
    if (!p->has_quant) return DT_OK;
    node->out->qmin = dt_act_low(p->quant.bits, p->quant.is_signed, p->quant.unclamped);
    node->out->qmax = dt_act_high(p->quant.bits, p->quant.is_signed);
    dt_scale_follows(node->out, node->in[ALPHA], dt_clip_form((int)node->out->qmax, p->quant.rule));
    return DT_OK;
}

static dt_status gather_infer(dt_node *node)
{
    const dt_gather_params *p = node->params;

    DT_TRY(batch_check(node, DT_I32, "labels of i32", p->batch));
    node->out->type = DT_I32;
    node->out->shape = node->in[0]->shape;
    node->out->shape.dim[0] = p->batch;
    return DT_OK;
}

static dt_status rows_infer(dt_node *node)
{
    const dt_rows_params *p = node->params;
    const dt_dtype type = node->in[0]->type == DT_U8 ? DT_U8 : DT_F32;

    DT_TRY(batch_check(node, type, "rows of f32 or u8", p->batch));
    dt_stay_on_grid(node->out, node->in[0]);
    node->out->shape = node->in[0]->shape;
    node->out->shape.dim[0] = p->batch;
    return DT_OK;
}

const dt_op dt_op_augment = {
    .name = "augment",
    .min_in = 2,
    .max_in = 3,
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
    float value[256][DT_MOST_PIXEL_CHANNELS];
} pixel_table;

static void table_fill(const dt_augment_params *p, const float *alpha, int channels, const dt_augment_view *view,
                       pixel_table *table)
{
    for (int pixel = 0; pixel < 256; pixel++) {
        for (int c = 0; c < channels; c++) {
            const float value = dt_augment_coloured((uint8_t)pixel, p->mean[c], p->std[c], view);
            table->value[pixel][c] = dt_augment_stored(value, p, alpha);
        }
    }
}

/* What one image becomes, and by which table. */
typedef struct {
    const dt_augment_params *params;
    dt_augment_view view;
    const pixel_table *table;
    float cut; /* the stored value of the mean colour */
} image_view;

/* image, and x from element `at` on: [height][width][channels] */
static void augment_image(const uint8_t *image, const int64_t *dim, const image_view *v, const dt_tensor *x, int64_t at)
{
    const pixel_table *table = v->table;
    static const uint8_t outside[DT_MOST_PIXEL_CHANNELS] = { 0 };
    const int height = (int)dim[1], width = (int)dim[2], channels = (int)dim[3];

    for (int h = 0; h < height; h++) {
        for (int w = 0; w < width; w++, at += channels) {
            const int source = dt_augment_source(&v->view, h, w, height, width);
            const int is_cut = dt_augment_is_cut(&v->view, v->params, h, w);
            const uint8_t *pixel = source >= 0 ? image + (int64_t)source * channels : outside;
            for (int c = 0; c < channels; c++) {
                dt_augment_put(x->data, x->type, at + c, is_cut ? v->cut : table->value[pixel[c]][c]);
            }
        }
    }
}

static void augment_reals(const dt_node *node, const int32_t *order, const float *alpha)
{
    const dt_augment_params *p = node->params;
    const int64_t *dim = node->in[IMAGES]->shape.dim;
    const int64_t image_count = dim[1] * dim[2] * dim[3];
    const float *images = node->in[IMAGES]->data;
    const dt_tensor *x = node->out;

#pragma omp parallel for
    for (int n = 0; n < p->batch; n++) {
        const float *image = images + order[n] * image_count;
        assert(order[n] >= 0 && order[n] < dim[0]);
        for (int64_t i = 0; i < image_count; i++) {
            const float value = dt_augment_real(image[i], p->mean[i % dim[3]], p->std[i % dim[3]]);
            dt_augment_put(x->data, x->type, n * image_count + i, dt_augment_stored(value, p, alpha));
        }
    }
}

static dt_status augment_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_augment_params *p = node->params;
    const int64_t *dim = node->in[IMAGES]->shape.dim;
    const int64_t image_count = dim[1] * dim[2] * dim[3];
    const uint8_t *images = node->in[IMAGES]->data;
    const float *alpha = p->has_quant ? node->in[ALPHA]->data : NULL;
    const dt_step_in in = ex->step->in;
    const int32_t *order = (const int32_t *)node->in[ORDER]->data + in.first;
    const dt_augment_view plain = { .brightness = 1.0f, .contrast = 1.0f };
    const int recolours = p->brightness > 0.0f || p->contrast > 0.0f;
    const float cut = dt_augment_stored(0.0f, p, alpha);
    pixel_table table;
    assert(in.first >= 0 && in.first + p->batch <= dt_count(&node->in[ORDER]->shape));

    if (p->has_quant) node->out->scale[0] = dt_grid_scale(*alpha, (int)node->out->qmax, p->quant.rule);
    if (node->in[IMAGES]->type == DT_F32) {
        augment_reals(node, order, alpha);
        return DT_OK;
    }
    table_fill(p, alpha, (int)dim[3], &plain, &table);
#pragma omp parallel for
    for (int n = 0; n < p->batch; n++) {
        assert(order[n] >= 0 && order[n] < dim[0]);
        pixel_table own;
        const image_view view = { p, dt_augment_draw(in.seed, in.epoch, order[n], p, (int)dim[1], (int)dim[2]),
                                  recolours ? &own : &table, cut };
        if (recolours) table_fill(p, alpha, (int)dim[3], &view.view, &own);
        augment_image(images + order[n] * image_count, dim, &view, node->out, n * image_count);
    }
    return DT_OK;
}

static dt_status gather_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_gather_params *p = node->params;
    const int32_t *labels = node->in[0]->data;
    const int64_t first = ex->step->in.first;
    const int32_t *order = (const int32_t *)node->in[1]->data + first;
    const int64_t each = dt_count(&node->out->shape) / p->batch;
    int32_t *y = node->out->data;
    assert(first >= 0 && first + p->batch <= dt_count(&node->in[1]->shape));

    for (int n = 0; n < p->batch; n++) {
        for (int64_t l = 0; l < each; l++) y[n * each + l] = labels[order[n] * each + l];
    }
    return DT_OK;
}

static dt_status rows_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->out->shape;
    const int64_t first = ex->step->in.first, batch = shape->dim[0], count = dt_count(shape) / batch;
    const size_t row_bytes = (size_t)count * dt_type_bytes(node->out->type);
    const char *rows = node->in[0]->data;
    const int32_t *order = (const int32_t *)node->in[1]->data + first;
    char *x = node->out->data;
    assert(first >= 0 && first + batch <= dt_count(&node->in[1]->shape));

#pragma omp parallel for
    for (int64_t n = 0; n < batch; n++) {
        assert(order[n] >= 0 && order[n] < node->in[0]->shape.dim[0]);
        memcpy(x + (size_t)n * row_bytes, rows + (size_t)order[n] * row_bytes, row_bytes);
    }
    return DT_OK;
}

const dt_kernel dt_cpu_augment = { .forward = augment_forward };
const dt_kernel dt_cpu_gather = { .forward = gather_forward };
const dt_kernel dt_cpu_rows = { .forward = rows_forward };
