/*
 * test_cudnn_plans.c - every convolution of every network has a deterministic cuDNN plan, on GPUs that need not be
 * here.
 *
 * cuDNN makes plans for a described device (conv problems come from the networks themselves, recorded on the CPU).
 * Engines that compile a kernel are checked as far as they go without a driver: cuDNN says that they support the
 * graph. It asks libcuda for that, and is content with the toolkit's stub of it.
 *
 * What cuDNN 9.19 likes best here. Compiled at run time is every fp16 or bf16 convolution with an f32 result (forward
 * by engines 7 and 9, backward by 1, 2 and 9); ready made are all in f32, and nearly all from fp16 to fp16:
 *
 *   f16 -> f16      sm_80                  sm_90        sm_100      sm_120
 *   forward         45, 47, 22             62, 47       73, 47      45, 47, 23
 *   backward to x   57, 22                 67, 57       79, 40, 22  57, 22, 23
 *   backward to w   9, 10, 39, 49          65, 39, 49   71, 10      9, 10, 33
 *
 * The exceptions: backward to w of a layer of 8 or 16 channels on both sides, on sm_90 and sm_120 (engine 19).
 *
 * Several groups have deterministic engines for every pass in f32 and from fp16 to fp16, and forward from fp16 to f32;
 * of depthwise layers some are ready made (57, 61, 62), and some compile a kernel (5, 6, 8, 16). None goes from bf16
 * to f32, nor does backward to x of dilation with a stride.
 */
#include "../../core/conv_params.h"
#include "../../core/train/model.h"

#include <criterion/criterion.h>

#ifdef DETENT_HAVE_CUDA

#include "../support/choose.h"
#include "../support/cudnn_described.h"

#include <stdio.h>

/* A network recorded for training, never compiled: only shapes and grid facts are looked at. */
typedef struct {
    dt_context *ctx;
    dt_model *model;
    dt_tape *tape;
    dt_tensor images, labels, order;
} recorded;

static void record(const dt_model_config *config, recorded *r)
{
    dt_options opt;
    dt_tensor *logits, *loss;

    dt_options_default(&opt);
    opt.backend = "cpu";
    *r = (recorded){ .images = { .type = DT_U8,
                                 .shape = { 4, { BATCH, config->height, config->width, config->channels } } },
                     .labels = { .type = DT_I32, .shape = { 1, { BATCH } } },
                     .order = { .type = DT_I32, .shape = { 1, { BATCH } } } };
    cr_assert(dt_context_create(&opt, &r->ctx) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_model_create(r->ctx, config, &r->model) == DT_OK, "%s", dt_last_error());
    const dt_record_spec spec = { .images = &r->images,
                                  .labels = &r->labels,
                                  .order = &r->order,
                                  .batch = BATCH,
                                  .training = 1,
                                  .std = { 1.0f, 1.0f, 1.0f, 1.0f } };
    cr_assert(dt_model_tape(r->model, &spec, &r->tape) == DT_OK);
    cr_assert(dt_model_record(r->model, r->tape, &spec, &logits, &loss) == DT_OK, "%s", dt_last_error());
}

static void forget(recorded *r)
{
    dt_tape_destroy(r->tape);
    dt_model_destroy(r->model);
    dt_context_destroy(r->ctx);
}

/* How many plans were asked for, and how many of those compile a kernel. */
typedef struct {
    int asked, compiled;
} plan_count;

static void check_problem(const dt_node *node, form f, const dt_conv_problem *p)
{
    const int forward = p->pass == DT_CONV_FORWARD, codes = node->out->n_scale > 0;
    /* images have wide codes, of MNIST 8 bits without a sign; other layers of codes have 4 bits */
    const int64_t most = node->in[0]->n_scale > 0 ? node->in[0]->qmax : 0;
    const int wide = most == 127 ? 5 : most == 255 ? 6 : 0;
    const int fits = !forward || node->out->qmax <= 524032; /* 8 * 65,504 */
    dt_dtype operand = DT_F32, result = DT_F32;

    if (f != IN_F32 && codes && (forward || f == MIXED_FUSED))
        operand = DT_F16;
    else if (f != IN_F32 && (!forward || !codes))
        operand = DT_BF16;
    if (f == MIXED_FUSED && codes && fits) result = DT_F16;
    const int shift = result != DT_F16 ? 0 : forward ? 3 : p->pass == DT_CONV_BACKWARD_FILTER ? wide : 0;
    cr_assert(p->operand == operand && p->result == result && p->shift == shift,
              "%s: %s: operands %d, result %d / 2^%d", node->name, form_names[f], (int)p->operand, (int)p->result,
              p->shift);
}

static void plan_node(dt_cudnn *cudnn, const device_facts *d, const dt_node *node, form f, plan_count *count)
{
    const dt_exec ex = exec_of(f);

    for (int i = 0; i < DT_CONV_PASSES; i++) {
        const dt_conv_plan *plan = NULL;
        dt_conv_problem problem;

        store_as(node, f);
        cr_assert(dt_conv_problem_of(node, (dt_conv_pass)i, &ex, &problem) == DT_OK, "%s", dt_last_error());
        check_problem(node, f, &problem);
        cr_assert(dt_conv_plan_get(cudnn, &problem, &plan) == DT_OK, "sm_%d: %s: %s", d->capability, node->name,
                  dt_last_error());
        check_engine(node->name, plan);
        count->asked++;
        count->compiled += dt_conv_plan_is_compiled(plan);
    }
}

/* Decoders' transposed convolutions are f32 in every form. */
static void plan_transpose(dt_cudnn *cudnn, const device_facts *d, const dt_node *node, form f)
{
    const dt_exec ex = exec_of(f);

    for (int i = 0; i < DT_CONV_PASSES; i++) {
        const dt_conv_plan *plan = NULL;
        dt_conv_problem p;

        cr_assert(dt_conv_transpose_problem_of(node, (dt_conv_pass)i, &ex, &p) == DT_OK, "%s", dt_last_error());
        cr_assert(p.operand == DT_F32 && p.result == DT_F32 && p.keep_f32 == (f == IN_F32), "%s: %s", node->name,
                  form_names[f]);
        cr_assert(dt_conv_rows_out(&p) == node->in[0]->shape.dim[1] && p.h == node->out->shape.dim[1],
                  "%s: x is the convolution's y, and y its x", node->name);
        cr_assert(dt_conv_plan_get(cudnn, &p, &plan) == DT_OK, "sm_%d: %s: %s", d->capability, node->name,
                  dt_last_error());
        check_engine(node->name, plan);
    }
}

static void plan_network(const device_facts *f, const dt_model_config *config, int n_convs)
{
    char json[JSON_BYTES];
    dt_cudnn *cudnn = NULL;
    plan_count count[N_FORMS] = { { 0, 0 } };
    recorded r;

    device_json(f, json);
    const dt_status described = dt_cudnn_describe(json, &cudnn);
    if (described == DT_ERR_UNSUPPORTED) cr_skip_test("%s", dt_last_error());
    cr_assert(described == DT_OK, "%s", dt_last_error());
    record(config, &r);
    for (int i = 0; i < dt_tape_n_nodes(r.tape); i++) {
        const dt_node *node = dt_tape_node(r.tape, i);
        for (int k = 0; k < N_FORMS && node->kind == DT_OP_CONV2D; k++) {
            plan_node(cudnn, f, node, (form)k, &count[k]);
        }
        for (int k = 0; k < N_FORMS && node->kind == DT_OP_CONV_TRANSPOSE; k++) plan_transpose(cudnn, f, node, (form)k);
    }
    for (int k = 0; k < N_FORMS; k++) {
        cr_expect_eq(count[k].asked, n_convs * DT_CONV_PASSES);
        fprintf(stderr, "sm_%d, %s %dx%d choke %d%s, %s: %d plans, %d of them compiled at run time\n", f->capability,
                config->name, config->height, config->width, dt_model_option_value(config, "choke"),
                dt_model_option_value(config, "skip-block") ? ", skip block" : "", form_names[k], count[k].asked,
                count[k].compiled);
    }
    forget(&r);
    dt_cudnn_close(cudnn);
}

static void plan_on_all(const dt_model_config *config, int n_convs)
{
    if (!load_driver()) cr_skip_test("there is neither libcuda nor the toolkit's stub of it; set CUDA_HOME");
    for (int i = 0; i < N_DEVICES; i++) plan_network(&devices[i], config, n_convs);
}

static dt_model_config config_of(const char *name)
{
    dt_model_config c;
    cr_assert(dt_model_config_default(name, &c) == DT_OK);
    return c;
}

static void plan_vgg16(int choke, int skip_block, int n_convs)
{
    dt_model_config c = config_of("vgg16");
    choose(&c, "choke", choke);
    choose(&c, "skip-block", skip_block);
    plan_on_all(&c, n_convs);
}

Test(cudnn_plans, plain)
{
    plan_vgg16(0, 0, 13);
}

Test(cudnn_plans, chokepoint_8)
{
    plan_vgg16(8, 0, 13);
}

Test(cudnn_plans, chokepoint_16)
{
    plan_vgg16(16, 0, 13);
}

/* features[20], four around the chokepoint's pool, the projection beside them */
Test(cudnn_plans, skip_block)
{
    plan_vgg16(8, 1, 14);
}

Test(cudnn_plans, shallowcaps)
{
    const dt_model_config c = config_of("shallowcaps");
    plan_on_all(&c, 2);
}

Test(cudnn_plans, shallowcaps_w4a4)
{
    dt_model_config c = config_of("shallowcaps");
    c.wbits = c.abits = 4;
    plan_on_all(&c, 2);
}

Test(cudnn_plans, deepcaps_28)
{
    const dt_model_config c = config_of("deepcaps");
    plan_on_all(&c, 17);
}

Test(cudnn_plans, deepcaps_64)
{
    dt_model_config c = config_of("deepcaps");
    c.height = c.width = 64;
    c.channels = 3;
    choose(&c, "decoder", DT_DECODER_CONV64);
    plan_on_all(&c, 17);
}

#else

Test(cudnn_plans, all)
{
    cr_skip_test("built without cuDNN");
}

#endif
