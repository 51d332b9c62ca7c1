/*
 * test_weight_layer.c - what CUDA's weight quantizer does for the one layer that reads its codes: channels of 0 behind
 *                       them, real filters beside them, the scale of the layer's psums; and a gradient of the codes
 *                       in fp16, as cuDNN leaves it, gives what the same gradient in f32 gives.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/context.h"
#include "../../core/grid_facts.h"
#include "../../core/half.h"
#include "../support/host_copy.h"

enum { MOST_BUFFERS = 16, MOST = 33 * 9 * 16 };
#define CLIP       2.5f
#define GRAD_SCALE 0.3f
#define GRAD_UNIT  4.0f

/* An image's filters; filters of several pieces, with a clip each; as many channels as there are; LSQ. */
static const struct {
    dt_shape shape;
    int alphas;
    dt_weight_quant_params params;
    dt_quant_rule x_rule;
} cases[] = { { { 4, { 33, 3, 3, 3 } }, 1, { 4, DT_RULE_ECE284 }, DT_RULE_PACT },
              { { 4, { 2, 1, 300, 7 } }, 2, { 8, DT_RULE_SCREAM }, DT_RULE_ECE284 },
              { { 4, { 16, 3, 3, 16 } }, 16, { 4, DT_RULE_APOT }, DT_RULE_LSQ },
              { { 4, { 5, 1, 1, 9 } }, 1, { 3, DT_RULE_LSQ }, DT_RULE_LSQ } };
enum { CASES = sizeof cases / sizeof cases[0] };

/* The quantizer and the layer behind it. */
typedef struct {
    dt_context *ctx;
    const dt_kernel *kernel;
    dt_exec ex;
    int64_t count;
    dt_tensor w, alpha, code, clip, x, y;
    dt_node node, conv;
    struct {
        void *p;
        size_t bytes;
    } buffer[MOST_BUFFERS];
    int n_buffers;
} layer;

static void must(dt_status status)
{
    cr_assert(status == DT_OK, "%s", dt_last_error());
}

/* Device memory that holds `host`, or NaNs of any type where that is NULL. */
static void *room(layer *l, const void *host, size_t bytes)
{
    void *p, *nans = malloc(bytes);

    memset(nans, 0xff, bytes);
    must(dt_device_alloc(l->ctx, bytes, &p));
    must(dt_device_write(l->ctx, p, host ? host : nans, bytes));
    free(nans);
    l->buffer[l->n_buffers].p = p;
    l->buffer[l->n_buffers++].bytes = bytes;
    return p;
}

static void make_inputs(layer *l, int i)
{
    float w[MOST], alpha[MOST];

    l->count = dt_count(&cases[i].shape);
    for (int64_t k = 0; k < l->count; k++) w[k] = 0.1f * cosf(0.37f * (float)k) + 0.01f;
    for (int k = 0; k < cases[i].alphas; k++)
        alpha[k] = (cases[i].params.rule == DT_RULE_LSQ ? 0.06f : 1.2f) + 0.01f * (float)k;
    const size_t w_bytes = (size_t)l->count * sizeof *w, alpha_bytes = (size_t)cases[i].alphas * sizeof *alpha;
    l->w = (dt_tensor){ .shape = cases[i].shape, .wants_grad = 1, .data = room(l, w, w_bytes) };
    l->alpha = (dt_tensor){ .shape = { 1, { cases[i].alphas } }, .wants_grad = 1, .data = room(l, alpha, alpha_bytes) };
    l->w.grad = room(l, NULL, w_bytes);
    l->alpha.grad = room(l, NULL, alpha_bytes);
}

/* Psums in fp16 of codes of 2 bits. */
static void make_layer(layer *l, int i)
{
    const float clip = CLIP;

    l->clip = (dt_tensor){ .shape = { 1, { 1 } }, .data = room(l, &clip, sizeof clip) };
    l->x = (dt_tensor){ .qmax = 3 };
    dt_scale_follows(&l->x, &l->clip, dt_clip_form(3, cases[i].x_rule));
    l->y = (dt_tensor){ .type = DT_F16, .n_scale = cases[i].alphas };
    l->y.scale = room(l, NULL, (size_t)cases[i].alphas * sizeof(float));
    l->conv = (dt_node){ .kind = DT_OP_CONV2D, .in = { &l->x, &l->code }, .n_in = 2, .out = &l->y };
}

static void make_codes(layer *l, int i)
{
    const int64_t channels = cases[i].shape.dim[3];

    must(dt_ops[DT_OP_WEIGHT_QUANT]->infer(&l->node));
    l->code.type = DT_F16;
    l->code.padded = (int)((channels + 7) / 8 * 8);
    l->code.data = room(l, NULL, dt_tensor_bytes(&l->code));
    l->code.real = room(l, NULL, dt_tensor_bytes(&l->code));
    l->code.wants_real = 1;
    l->code.layer = &l->conv;
    l->code.scale = room(l, NULL, (size_t)cases[i].alphas * sizeof(float));
    l->node.aux = room(l, NULL, l->node.aux_bytes);
}

static void layer_open(layer *l, int i)
{
    dt_options opt;
    size_t scratch_bytes = 0;

    *l = (layer){ .n_buffers = 0 };
    dt_options_default(&opt);
    opt.backend = "cuda";
    if (dt_context_create(&opt, &l->ctx) == DT_ERR_UNSUPPORTED) cr_skip("no CUDA here: %s", dt_last_error());
    make_inputs(l, i);
    make_layer(l, i);
    l->node = (dt_node){ .kind = DT_OP_WEIGHT_QUANT,
                         .name = "w",
                         .params = &cases[i].params,
                         .in = { &l->w, &l->alpha },
                         .n_in = 2,
                         .out = &l->code,
                         .fresh = 3 };
    make_codes(l, i);
    l->kernel = l->ctx->backend->kernels()[DT_OP_WEIGHT_QUANT];
    l->ex = dt_context_exec(l->ctx);
    must(l->kernel->prepare(&l->node, &l->ex, &scratch_bytes));
    must(dt_context_reserve(l->ctx, 0, scratch_bytes));
    l->ex = dt_context_exec(l->ctx);
    must(l->kernel->forward(&l->node, &l->ex));
}

static void layer_close(layer *l)
{
    for (int i = 0; i < l->n_buffers; i++) dt_device_free(l->ctx, l->buffer[i].p, l->buffer[i].bytes);
    dt_context_destroy(l->ctx);
}

static uint16_t *halves_of(const layer *l, const void *src)
{
    const size_t bytes = dt_tensor_bytes(&l->code);
    uint16_t *h = malloc(bytes);

    must(dt_device_read(l->ctx, h, src, bytes));
    return h;
}

static void check_filters(const layer *l, int i)
{
    const int64_t channels = cases[i].shape.dim[3], stored = l->code.padded;
    uint16_t *code = halves_of(l, l->code.data), *real = halves_of(l, l->code.real);
    float *scale = host_floats(l->ctx, l->code.scale, cases[i].alphas);

    for (int64_t k = 0; k < dt_stored_count(&l->code); k++) {
        const float q = dt_from_fp16(code[k]), s = scale[k / (dt_stored_count(&l->code) / cases[i].alphas)];
        const int is_added = k % stored >= channels;
        cr_assert(is_added ? code[k] == 0 && real[k] == 0 : q == rintf(q) && real[k] == dt_to_fp16(q * s),
                  "case %d: [%lld] is code %g, real %g", i, (long long)k, (double)q, (double)dt_from_fp16(real[k]));
    }
    free(scale);
    free(real);
    free(code);
}

static void check_psum_scale(const layer *l, int i)
{
    float *of_w = host_floats(l->ctx, l->code.scale, cases[i].alphas);
    float *of_y = host_floats(l->ctx, l->y.scale, cases[i].alphas);
    const float of_x = cases[i].x_rule == DT_RULE_LSQ ? CLIP : CLIP / 3.0f;

    for (int k = 0; k < cases[i].alphas; k++)
        cr_assert(of_y[k] == 8.0f * (of_x * of_w[k]), "case %d: the scale of psums %d is %g", i, k, (double)of_y[k]);
    free(of_y);
    free(of_w);
}

Test(weight_layer, gets_filters_that_are_real_and_whole_and_its_scale)
{
    static layer l;
    for (int i = 0; i < CASES; i++) {
        layer_open(&l, i);
        check_filters(&l, i);
        check_psum_scale(&l, i);
        layer_close(&l);
    }
}

/* Gradients of the codes: in fp16, with NaNs in the added channels, and what they stand for in f32. */
static void make_gradients(const layer *l, uint16_t *half, float *whole)
{
    const int64_t channels = l->code.shape.dim[3];

    memset(half, 0xff, dt_tensor_bytes(&l->code));
    for (int64_t k = 0; k < l->count; k++) {
        const uint16_t h = dt_to_fp16(0.2f * sinf((float)(k % 977)));
        half[k / channels * l->code.padded + k % channels] = h;
        whole[k] = dt_from_fp16(h) * GRAD_UNIT * GRAD_SCALE;
    }
}

/* Writes dw, and dalpha behind it, to out. */
static void backward(layer *l, dt_dtype type, const void *grad, size_t bytes, int i, float *out)
{
    const float scale = GRAD_SCALE;

    l->code.grad_type = type;
    l->code.grad = room(l, grad, bytes);
    l->code.grad_unit = GRAD_UNIT;
    l->code.grad_scale = room(l, &scale, sizeof scale);
    must(l->kernel->backward(&l->node, &l->ex));
    must(dt_device_read(l->ctx, out, l->w.grad, (size_t)l->count * sizeof *out));
    must(dt_device_read(l->ctx, out + l->count, l->alpha.grad, (size_t)cases[i].alphas * sizeof *out));
}

Test(weight_layer, gradients_in_fp16_are_those_in_f32)
{
    static layer l;
    static uint16_t half[2 * MOST];
    static float whole[MOST], by_half[2 * MOST], by_whole[2 * MOST];

    for (int i = 0; i < CASES; i++) {
        layer_open(&l, i);
        make_gradients(&l, half, whole);
        backward(&l, DT_F16, half, dt_tensor_bytes(&l.code), i, by_half);
        backward(&l, DT_F32, whole, (size_t)l.count * sizeof *whole, i, by_whole);
        for (int64_t k = 0; k < l.count + cases[i].alphas; k++)
            cr_assert(by_half[k] == by_whole[k], "case %d: [%lld] is %g and %g", i, (long long)k, (double)by_half[k],
                      (double)by_whole[k]);
        layer_close(&l);
    }
}
