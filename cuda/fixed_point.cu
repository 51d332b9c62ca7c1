/*
 * fixed_point.cu - CUDA kernel that rounds values to a fixed-point format; see quant/fixed_point.c, and
 *                  core/arith/fixed_point.h for the arithmetic.
 */
#include "kernel.h"

#include "../core/grid_facts.h"
#include "../core/arith/fixed_point.h"

/* One thread for each element; the first also writes the scale of the codes. image: values of one, 0 for a
 * parameter. */
__global__ static void fixed_point_kernel(const float *x, const float *x_scale, int n_scale, const dt_step *step,
                                          dt_fixed_format f, int codes, int64_t image, int64_t count, float *out,
                                          float *scale)
{
    const int64_t i = dt_thread();

    if (codes && i == 0) *scale = dt_fixed_step(&f);
    if (i >= count) return;
    const float v = dt_scale_at(x_scale, n_scale, 0) * x[i];
    const float u = dt_fixed_draw(&f, step->in.seed, (uint64_t)(step->in.first * image + i));
    out[i] = codes ? dt_fixed_code(&f, v, u) : dt_fixed_value(&f, v, u);
}

static dt_status fixed_point_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)scratch_bytes;
    DT_CHECK(!ex->training || !node->in[0]->wants_grad, DT_ERR_UNSUPPORTED,
             "%s: a network in fixed-point formats is evaluated, not trained; train it before it is quantized",
             node->name);
    return DT_OK;
}

static dt_status fixed_point_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_fixed_point_params *p = (const dt_fixed_point_params *)node->params;
    const dt_tensor *x = node->in[0], *out = node->out;
    const int64_t count = dt_count(&x->shape), image = node->purpose.images ? count / node->purpose.images : 0;
    dt_fixed_format f = p->format;

    if (p->observe) f.bits = -1;
    DT_LAUNCH(fixed_point_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), x->scale,
              x->n_scale, ex->step, f, p->codes, image, count, dt_values(out), out->scale);
    return DT_OK;
}

const dt_kernel dt_cuda_fixed_point = { fixed_point_prepare, fixed_point_forward, NULL, NULL, 0 };
