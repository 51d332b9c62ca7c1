/*
 * augment.cu - CUDA kernels that take a batch from the dataset; what they compute is in layers/augment.c.
 */
#include "kernel.h"

#include "../layers/augment.h"

/* Sets the channels of 0 of a pixel, whose first channel is x[at]. */
__device__ static void add_channels(void *x, dt_dtype type, int64_t at, int channels, int stored)
{
    for (int c = channels; c < stored; c++) dt_augment_put(x, type, at + c, 0.0f);
}

/* One thread for each pixel of the batch; each draws its image's view again, which is cheaper than sharing it. The
 * first also writes the scale, where there is a quantizer. images: n,H,W,C; x: N,H,W, and `stored` channels. */
__global__ static void augment_kernel(const uint8_t *images, const int32_t *order, const dt_step *step,
                                      const float *alpha, void *x, dt_dtype type, float *scale,
                                      const __grid_constant__ dt_augment_params p, int height, int width, int channels,
                                      int stored)
{
    const int64_t pixel = dt_thread(), image_pixels = (int64_t)height * width;
    if (pixel >= p.batch * image_pixels) return;
    if (pixel == 0 && p.has_quant) {
        *scale = dt_grid_scale(*alpha, dt_act_high(p.quant.bits, p.quant.is_signed), p.quant.rule);
    }
    const int64_t n = pixel / image_pixels;
    const int in_image = (int)(pixel % image_pixels);

    const int64_t index = order[step->in.first + n];
    const dt_augment_view view = dt_augment_draw(step->in.seed, step->in.epoch, index, &p, height, width);
    const int source = dt_augment_source(&view, in_image / width, in_image % width, height, width);
    const int is_cut = dt_augment_is_cut(&view, &p, in_image / width, in_image % width);
    for (int c = 0; c < DT_MOST_PIXEL_CHANNELS; c++) { /* unrolled, so that p stays where launches put it */
        if (c >= channels) break;
        const uint8_t value = source >= 0 ? images[(index * image_pixels + source) * channels + c] : 0;
        const float real = is_cut ? 0.0f : dt_augment_coloured(value, p.mean[c], p.std[c], &view);
        dt_augment_put(x, type, pixel * stored + c, dt_augment_stored(real, &p, alpha));
    }
    add_channels(x, type, pixel * stored, channels, stored);
}

/* One thread for each value of a batch of reals, which stay where they are; the first also writes the scale. p stays
 * where launches put it, so that a thread may look up its channel. */
__global__ static void augment_reals_kernel(const float *images, const int32_t *order, const dt_step *step,
                                            const float *alpha, void *x, dt_dtype type, float *scale,
                                            const __grid_constant__ dt_augment_params p, int64_t image_count,
                                            int channels, int stored)
{
    const int64_t i = dt_thread();
    if (i >= p.batch * image_count) return;
    if (i == 0 && p.has_quant) {
        *scale = dt_grid_scale(*alpha, dt_act_high(p.quant.bits, p.quant.is_signed), p.quant.rule);
    }
    const int64_t index = order[step->in.first + i / image_count];
    const float value = images[index * image_count + i % image_count];
    const int c = (int)(i % channels);
    const int64_t at = i / channels * stored;

    dt_augment_put(x, type, at + c, dt_augment_stored(dt_augment_real(value, p.mean[c], p.std[c]), &p, alpha));
    if (c == 0) add_channels(x, type, at, channels, stored);
}

static dt_status augment_reals(const dt_node *node, const dt_exec *ex, const float *alpha)
{
    const dt_augment_params *p = (const dt_augment_params *)node->params;
    const int64_t *dim = node->out->shape.dim, image_count = dim[1] * dim[2] * dim[3];

    DT_LAUNCH(augment_reals_kernel, dt_blocks(dim[0] * image_count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              (const float *)node->in[0]->data, (const int32_t *)node->in[1]->data, ex->step, alpha, node->out->data,
              node->out->type, node->out->scale, *p, image_count, (int)dim[3], (int)dt_stored_channels(node->out));
    return DT_OK;
}

static dt_status augment_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_augment_params *p = (const dt_augment_params *)node->params;
    const int64_t *dim = node->out->shape.dim;
    const float *alpha = p->has_quant ? dt_values(node->in[2]) : NULL;

    if (node->in[0]->type == DT_F32) return augment_reals(node, ex, alpha);
    DT_LAUNCH(augment_kernel, dt_blocks(dim[0] * dim[1] * dim[2], DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              (const uint8_t *)node->in[0]->data, (const int32_t *)node->in[1]->data, ex->step, alpha, node->out->data,
              node->out->type, node->out->scale, *p, (int)dim[1], (int)dim[2], (int)dim[3],
              (int)dt_stored_channels(node->out));
    return DT_OK;
}

const dt_kernel dt_cuda_augment = { NULL, augment_forward, NULL, NULL, 0 };

/* one thread for each label of the batch; an image has `each` of them */
__global__ static void gather_kernel(const int32_t *labels, const int32_t *order, const dt_step *step, int32_t *y,
                                     int64_t count, int64_t each)
{
    const int64_t i = dt_thread();

    if (i < count) y[i] = labels[order[step->in.first + i / each] * each + i % each];
}

static dt_status gather_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_gather_params *p = (const dt_gather_params *)node->params;

    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(gather_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              (const int32_t *)node->in[0]->data, (const int32_t *)node->in[1]->data, ex->step,
              (int32_t *)node->out->data, count, count / p->batch);
    return DT_OK;
}

const dt_kernel dt_cuda_gather = { NULL, gather_forward, NULL, NULL, 0 };

/* one thread for each value of the batch; a row has `count` of them */
template <class T>
__global__ static void rows_kernel(const T *rows, const int32_t *order, const dt_step *step, T *x, int64_t batch,
                                   int64_t count)
{
    const int64_t i = dt_thread();

    if (i < batch * count) x[i] = rows[order[step->in.first + i / count] * count + i % count];
}

template <class T> static dt_status rows_of(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->out->shape;
    const int64_t batch = shape->dim[0], count = dt_count(shape) / batch;

    DT_LAUNCH(rows_kernel<T>, dt_blocks(batch * count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              (const T *)node->in[0]->data, (const int32_t *)node->in[1]->data, ex->step, (T *)node->out->data, batch,
              count);
    return DT_OK;
}

static dt_status rows_forward(const dt_node *node, const dt_exec *ex)
{
    return node->out->type == DT_U8 ? rows_of<uint8_t>(node, ex) : rows_of<float>(node, ex);
}

const dt_kernel dt_cuda_rows = { NULL, rows_forward, NULL, NULL, 0 };
