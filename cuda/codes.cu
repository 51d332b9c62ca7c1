/*
 * codes.cu - CUDA: stored codes, and the image's through a table; what is computed is in layers/codes.c.
 */
#include "kernel.h"

enum { IMAGES, ORDER, TABLE, SCALE };

static dt_status copy_values(void *to, const dt_tensor *from, const dt_exec *ex)
{
    DT_CUDA(cudaMemcpyAsync(to, from->data, dt_tensor_bytes(from), cudaMemcpyDeviceToDevice, dt_stream_of(ex)));
    return DT_OK;
}

static dt_status codes_forward(const dt_node *node, const dt_exec *ex)
{
    DT_TRY(copy_values(node->out->data, node->in[0], ex));
    return copy_values(node->out->scale, node->in[1], ex);
}

extern "C" const dt_kernel dt_cuda_codes;
const dt_kernel dt_cuda_codes = { NULL, codes_forward, NULL, NULL, 0 };

/* One thread for each element of x; the first also writes the scale. table: [256][channels]; image_count: of an image's
 * elements; count: of x's. */
__global__ static void pixel_table_kernel(const uint8_t *images, const int32_t *order, const dt_step *step,
                                          const float *table, const float *given_scale, float *x, float *scale,
                                          int64_t image_count, int64_t channels, int64_t count)
{
    const int64_t i = dt_thread();
    if (i == 0) *scale = *given_scale;
    if (i >= count) return;
    const int64_t image = order[step->in.first + i / image_count];

    x[i] = table[images[image * image_count + i % image_count] * channels + i % channels];
}

static dt_status pixel_table_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t *dim = node->out->shape.dim;
    const int64_t image_count = dim[1] * dim[2] * dim[3], count = dim[0] * image_count;

    DT_LAUNCH(pixel_table_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              (const uint8_t *)node->in[IMAGES]->data, (const int32_t *)node->in[ORDER]->data, ex->step,
              dt_values(node->in[TABLE]), dt_values(node->in[SCALE]), dt_values(node->out), node->out->scale,
              image_count, dim[3], count);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_pixel_table;
const dt_kernel dt_cuda_pixel_table = { NULL, pixel_table_forward, NULL, NULL, 0 };
