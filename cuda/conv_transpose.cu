/*
 * conv_transpose.cu - CUDA kernels of the transposed convolution; see layers/conv/conv_transpose.c.
 *
 * Each thread gathers the values that it writes. Decoders are small beside the network that they follow, so these
 * kernels are plain. Neighbouring threads read neighbouring values; for that dx needs the filters transposed.
 *
 * The scratch of backward is [slices][K][R S C] parts of dw in double, then the filters as [R S C][K].
 */
#include "kernel.h"

extern "C" {
#include "../layers/conv/conv.h"
}

enum { X, W };
enum { MAX_SLICES = 64 };

/* Of the convolution that this is the transpose of: its x is our y. */
static dt_conv_shape transposed_shape(const dt_node *node)
{
    const dt_conv_transpose_params *p = (const dt_conv_transpose_params *)node->params;
    const int64_t *x = node->in[X]->shape.dim, *w = node->in[W]->shape.dim, *y = node->out->shape.dim;
    const dt_conv_params conv = dt_conv_square(p->stride, p->pad);

    return dt_conv_shape_from(y, w, x, &conv);
}

/* rows of x, over all images, that are summed side by side */
static int64_t n_slices(const dt_conv_shape *s)
{
    return s->N * s->P < MAX_SLICES ? s->N * s->P : (int64_t)MAX_SLICES;
}

/* sum of a[i] * b[i * step], i = 0, 1, ...: of one tap, so that sums over many taps are a tree */
__device__ static float dot(const float *a, const float *b, int64_t step, int64_t count)
{
    float sum = 0.0f;

    for (int64_t i = 0; i < count; i++) sum += a[i] * b[i * step];
    return sum;
}

/* One thread for each element of y. Of an axis, every stride-th tap meets a position of x, from the last one down. */
__global__ static void conv_transpose_forward_kernel(const float *x, const float *w, float *y, dt_conv_shape s)
{
    const int64_t i = dt_thread();
    if (i >= s.N * s.H * s.W * s.C) return;
    const int64_t c = i % s.C, left = i / s.C % s.W + s.pad[1];
    const int64_t up = i / s.C / s.W % s.H + s.pad[0], n = i / s.C / s.W / s.H;
    float sum = 0.0f;

    for (int64_t r = up % s.stride[0], p = up / s.stride[0]; r < s.R && p >= 0; r += s.stride[0], p--) {
        for (int64_t t = left % s.stride[1], q = left / s.stride[1]; t < s.S && q >= 0; t += s.stride[1], q--) {
            if (p >= s.P || q >= s.Q) continue;
            sum += dot(x + ((n * s.P + p) * s.Q + q) * s.K, w + (r * s.S + t) * s.C + c, s.terms, s.K);
        }
    }
    y[i] = sum;
}

/* One thread for each weight: w [K][R S C] -> turned [R S C][K]. */
__global__ static void turn_filters_kernel(const float *w, float *turned, int64_t filters, int64_t terms)
{
    const int64_t i = dt_thread();

    if (i < filters * terms) turned[i] = w[i % filters * terms + i / filters];
}

/* One thread for each element of x; gives to dx. */
__global__ static void conv_transpose_dx_kernel(const float *dy, const float *turned, float *dx, int fresh,
                                                dt_conv_shape s)
{
    const int64_t i = dt_thread();
    if (i >= s.N * s.P * s.Q * s.K) return;
    const int64_t k = i % s.K, left = i / s.K % s.Q * s.stride[1] - s.pad[1];
    const int64_t up = i / s.K / s.Q % s.P * s.stride[0] - s.pad[0], n = i / s.K / s.Q / s.P;
    float sum = 0.0f;

    for (int64_t h = up > 0 ? up : 0; h < up + s.R && h < s.H; h++) {
        for (int64_t v = left > 0 ? left : 0; v < left + s.S && v < s.W; v++) {
            const int64_t tap = (h - up) * s.S + v - left;
            sum += dot(dy + ((n * s.H + h) * s.W + v) * s.C, turned + tap * s.C * s.K + k, s.K, s.C);
        }
    }
    dt_give(&dx[i], sum, fresh);
}

/* Grid: x weights / DT_BLOCK, y slices. One thread for each weight: its sum over every gridDim.y-th row of x. */
__global__ static void conv_transpose_dw_kernel(const float *x, const float *dy, double *part, dt_conv_shape s)
{
    const int64_t i = dt_thread();
    if (i >= s.K * s.terms) return;
    const int64_t k = i / s.terms, c = i % s.C;
    const int64_t down = i / s.C / s.S % s.R - s.pad[0], right = i / s.C % s.S - s.pad[1];
    double sum = 0.0;

    for (int64_t row = blockIdx.y; row < s.N * s.P; row += gridDim.y) {
        const int64_t h = row % s.P * s.stride[0] + down;
        if (h < 0 || h >= s.H) continue;
        const float *dy_row = dy + (row / s.P * s.H + h) * s.W * s.C + c;
        float row_sum = 0.0f;
        for (int64_t q = 0; q < s.Q; q++) {
            const int64_t v = q * s.stride[1] + right;
            if (v >= 0 && v < s.W) row_sum += x[(row * s.Q + q) * s.K + k] * dy_row[v * s.C];
        }
        sum += (double)row_sum;
    }
    part[blockIdx.y * s.K * s.terms + i] = sum;
}

/* One thread for each weight; gives the sum of the slices' parts, in order, to dw. */
__global__ static void add_slices_kernel(const double *part, int64_t slices, float *dw, int fresh, int64_t count)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    double sum = 0.0;

    for (int64_t k = 0; k < slices; k++) sum += part[k * count + i];
    dt_give(&dw[i], (float)sum, fresh);
}

static dt_status conv_transpose_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_conv_shape s = transposed_shape(node);
    const int64_t weights = s.K * s.terms;

    *scratch_bytes = ex->training ? (size_t)weights * (sizeof(float) + (size_t)n_slices(&s) * sizeof(double)) : 0;
    return DT_OK;
}

static dt_status conv_transpose_forward(const dt_node *node, const dt_exec *ex)
{
    DT_LAUNCH(conv_transpose_forward_kernel, dt_blocks(dt_count(&node->out->shape), DT_BLOCK), DT_BLOCK, 0,
              dt_stream_of(ex), dt_values(node->in[X]), dt_values(node->in[W]), dt_values(node->out),
              transposed_shape(node));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status backward_x(const dt_node *node, const dt_conv_shape *s, float *turned, cudaStream_t stream)
{
    const dt_tensor *x = node->in[X];

    DT_LAUNCH(turn_filters_kernel, dt_blocks(s->K * s->terms, DT_BLOCK), DT_BLOCK, 0, stream, dt_values(node->in[W]),
              turned, s->K, s->terms);
    DT_CUDA_LAUNCHED();
    DT_LAUNCH(conv_transpose_dx_kernel, dt_blocks(dt_count(&x->shape), DT_BLOCK), DT_BLOCK, 0, stream,
              dt_grads(node->out), turned, dt_grads(x), (int)(node->fresh & 1u << X), *s);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status backward_w(const dt_node *node, const dt_conv_shape *s, double *part, cudaStream_t stream)
{
    const int64_t weights = s->K * s->terms, slices = n_slices(s);
    const dim3 grid(dt_blocks(weights, DT_BLOCK), (unsigned)slices);

    DT_LAUNCH(conv_transpose_dw_kernel, grid, DT_BLOCK, 0, stream, dt_values(node->in[X]), dt_grads(node->out), part,
              *s);
    DT_CUDA_LAUNCHED();
    DT_LAUNCH(add_slices_kernel, dt_blocks(weights, DT_BLOCK), DT_BLOCK, 0, stream, part, slices, dt_grads(node->in[W]),
              (int)(node->fresh & 1u << W), weights);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status conv_transpose_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = transposed_shape(node);
    double *part = (double *)ex->scratch;
    float *turned = (float *)(part + n_slices(&s) * s.K * s.terms);

    if (dt_grads(node->in[X])) DT_TRY(backward_x(node, &s, turned, dt_stream_of(ex)));
    if (dt_grads(node->in[W])) DT_TRY(backward_w(node, &s, part, dt_stream_of(ex)));
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_conv_transpose;
const dt_kernel dt_cuda_conv_transpose = { conv_transpose_prepare, conv_transpose_forward, conv_transpose_backward,
                                           NULL, 1u << X | 1u << W };
