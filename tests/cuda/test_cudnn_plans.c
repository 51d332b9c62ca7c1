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
#include "../../cuda/cudnn/conv_problem.h"
#include "../../cuda/cudnn/cudnn_plan.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What cuDNN wants to know of a device and what differs between architectures: a large GPU of each. */
typedef struct {
    int capability, multiprocessors, shared_bytes, threads;
    long long l2_bytes;
} device_facts;

static const device_facts devices[] = {
    { 80, 108, 166912, 2048, 41943040 },   /* A100 */
    { 90, 132, 232448, 2048, 52428800 },   /* H100 */
    { 100, 148, 232448, 2048, 132644864 }, /* B200 */
    { 120, 170, 101376, 1536, 100663296 }, /* RTX 5090 */
};

enum { N_DEVICES = sizeof devices / sizeof *devices, JSON_BYTES = 1024, BATCH = 128 };

static void device_json(const device_facts *f, char *json)
{
    snprintf(json, JSON_BYTES,
             "{\"deviceName\":\"described\",\"cudaDeviceId\":0,\"deviceVer\":%d,\"driverVer\":13000,\"isTccDriver\":0,"
             "\"l2CacheSize\":%lld,\"maxCtasPerSM\":32,\"maxRegistersPerSM\":65536,\"maxSharedMemoryPerBlock\":49152,"
             "\"maxSharedMemoryPerBlockOptin\":%d,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":%d,"
             "\"memClockRateKHz\":2619000,\"multiProcessorCount\":%d,\"pciDeviceId\":0,\"regsPerBlock\":65536,"
             "\"reservedSharedMemoryPerBlock\":1024,\"smClockRateKHz\":1980000,\"supportCoopLaunch\":1,"
             "\"totalGlobalMem\":32000000000,\"warpSize\":32,\"maxBlockSize\":[1024,1024,64],"
             "\"maxGridSize\":[2147483647,65535,65535]}",
             10 * f->capability, f->l2_bytes, f->shared_bytes, f->threads, f->multiprocessors);
}

/* The driver, or the toolkit's stub of it under the driver's name. Returns 0 if neither is here. */
static int load_driver(void)
{
    const char *root = getenv("CUDA_HOME");
    char stub[512];

    if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL)) return 1;
    snprintf(stub, sizeof stub, "%s/lib64/stubs/libcuda.so", root ? root : "/usr/local/cuda");
    return dlopen(stub, RTLD_NOW | RTLD_GLOBAL) != NULL;
}

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

/* How the tensors around a convolution are stored, and in which precision it is asked for. */
typedef enum { IN_F32, MIXED_ALONE, MIXED_FUSED, N_FORMS } form;

/* How training asks for it. */
static dt_exec exec_of(form f)
{
    return (dt_exec){ .precision = f == IN_F32 ? DT_PRECISION_F32 : DT_PRECISION_MIXED, .training = 1 };
}

static const char *const form_names[N_FORMS] = { "f32", "mixed", "mixed, stored in 16 bits" };

/* How many plans were asked for, and how many of those compile a kernel. */
typedef struct {
    int asked, compiled;
} plan_count;

/* What fuse.c would do between fused nodes. */
static void store_as(const dt_node *node, form f)
{
    const dt_exec ex = exec_of(f);
    const dt_storage s = dt_conv_storage(node, &ex);

    node->out->type = f == MIXED_FUSED ? s.y : DT_F32;
    node->out->grad_type = f == MIXED_FUSED ? s.y_grad : DT_F32;
}

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
    else if (f != IN_F32 && !forward)
        operand = DT_BF16;
    if (f == MIXED_FUSED && codes && fits) result = DT_F16;
    const int shift = result != DT_F16 ? 0 : forward ? 3 : p->pass == DT_CONV_BACKWARD_FILTER ? wide : 0;
    cr_assert(p->operand == operand && p->result == result && p->shift == shift,
              "%s: %s: operands %d, result %d / 2^%d", node->name, form_names[f], (int)p->operand, (int)p->result,
              p->shift);
}

/* The notes of the engine that was chosen keep to cudnn_plan.c's rules. TF32 has no note of its own: its engines carry
 * that of tensor cores. */
static void check_engine(const char *name, const dt_conv_plan *plan)
{
    enum { MOST = 32 };
    static const cudnnBackendNumericalNote_t refused[] = {
        CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC,
        CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
        CUDNN_NUMERICAL_NOTE_FFT,
        CUDNN_NUMERICAL_NOTE_WINOGRAD,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13,
    };
    const int is_strict = plan->problem.operand == DT_F32 && plan->problem.keep_f32;
    cudnnBackendNumericalNote_t note[MOST];
    dt_descriptor engine = NULL;
    int64_t n = 0;

    cr_assert(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == CUDNN_STATUS_SUCCESS);
    cr_assert(cudnnBackendGetAttribute(plan->config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n,
                                       &engine) == CUDNN_STATUS_SUCCESS);
    cr_assert(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, MOST, &n,
                                       note) == CUDNN_STATUS_SUCCESS);
    for (int64_t i = 0; i < n; i++) {
        cr_expect(!is_strict || note[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE, "%s: engine %s computes in TF32", name,
                  plan->engine);
        for (size_t j = 0; j < sizeof refused / sizeof *refused; j++) {
            cr_expect(note[i] != refused[j], "%s: engine %s has note %d", name, plan->engine, (int)note[i]);
        }
    }
    (void)cudnnBackendDestroyDescriptor(engine);
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

/* ---- strides, pads, dilations and groups that no network of ours has ---- */

typedef struct {
    const char *why;
    int size, channels, filters, window;
    dt_conv_params params;
} form_row;

static const form_row rows[] = {
    { "a pad of its own on each side", 32, 32, 32, 3, { { 1, 1 }, { 1, 0, 2, 1 }, { 1, 1 }, 1 } },
    { "stride 2, pads at the end alone", 32, 32, 32, 3, { { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 }, 1 } },
    { "strides 2,1", 32, 32, 32, 3, { { 2, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 } },
    { "dilation 2", 32, 32, 32, 3, { { 1, 1 }, { 2, 2, 2, 2 }, { 2, 2 }, 1 } },
    { "dilation and a stride", 32, 32, 32, 3, { { 2, 2 }, { 2, 2, 2, 2 }, { 2, 2 }, 1 } },
    { "2 groups", 32, 64, 64, 3, { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 2 } },
    { "32 groups of 4", 28, 128, 128, 3, { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 32 } },
    { "4 groups of 3", 32, 12, 16, 3, { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 4 } },
    { "depthwise", 112, 32, 32, 3, { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 32 } },
    { "depthwise, stride 2", 112, 64, 64, 3, { { 2, 2 }, { 1, 1, 1, 1 }, { 1, 1 }, 64 } },
    { "depthwise, stride 2, pads at the end alone", 112, 64, 64, 3, { { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 }, 64 } },
    { "depthwise, 5x5", 14, 96, 96, 5, { { 1, 1 }, { 2, 2, 2, 2 }, { 1, 1 }, 96 } },
    { "depthwise, dilation 2", 14, 32, 32, 3, { { 1, 1 }, { 2, 2, 2, 2 }, { 2, 2 }, 32 } },
    { "depthwise, odd channels", 14, 33, 33, 3, { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 33 } },
    { "depth multiplier 2", 16, 32, 64, 3, { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 32 } },
};

/* The row's convolution of w4a4 codes. */
typedef struct {
    dt_tensor x, w, y;
    float scale[1];
    dt_node node;
} row_node;

static void make_node(const form_row *row, row_node *n)
{
    const int64_t each = row->channels / row->params.groups;

    *n = (row_node){ .x = { .shape = { 4, { BATCH, row->size, row->size, row->channels } }, .qmax = 15 },
                     .w = { .shape = { 4, { row->filters, row->window, row->window, each } }, .qmin = -7, .qmax = 7 },
                     .scale = { 1.0f } };
    n->x.n_scale = n->w.n_scale = 1;
    n->x.scale = n->w.scale = n->scale;
    n->node = (dt_node){ .kind = DT_OP_CONV2D, .name = row->why, .params = &row->params, .n_in = 2, .out = &n->y };
    n->node.in[0] = &n->x;
    n->node.in[1] = &n->w;
    cr_assert(dt_ops[DT_OP_CONV2D]->infer(&n->node) == DT_OK, "%s", dt_last_error());
}

/* In 16 bits, channels that need no padding; and for an f32 dy, cuDNN has bf16 engines for these. */
static dt_dtype wanted_operand(const form_row *row, form f, dt_conv_pass pass)
{
    const dt_conv_params *p = &row->params;
    const int is_whole = row->filters % 8 == 0 && (p->groups == 1 || row->channels % 8 == 0);
    const int has_bf16 = p->groups == 1 && (p->dilation[0] == 1 || p->stride[0] == 1);

    if (f == IN_F32 || !is_whole) return DT_F32;
    if (f == MIXED_FUSED || pass == DT_CONV_FORWARD) return DT_F16;
    return has_bf16 ? DT_BF16 : DT_F32;
}

static void plan_row(dt_cudnn *cudnn, const device_facts *d, const form_row *row, form f)
{
    row_node n;

    make_node(row, &n);
    store_as(&n.node, f);
    for (int i = 0; i < DT_CONV_PASSES; i++) {
        const dt_exec ex = exec_of(f);
        const dt_conv_plan *plan = NULL;
        dt_conv_problem p;
        cr_assert(dt_conv_problem_of(&n.node, (dt_conv_pass)i, &ex, &p) == DT_OK, "%s", dt_last_error());
        cr_assert(p.operand == wanted_operand(row, f, (dt_conv_pass)i), "%s: %s, pass %d: operands %d", row->why,
                  form_names[f], i, (int)p.operand);
        cr_assert(dt_conv_plan_get(cudnn, &p, &plan) == DT_OK, "sm_%d: %s: %s", d->capability, row->why,
                  dt_last_error());
        check_engine(row->why, plan);
        fprintf(stderr, "sm_%d, %s, %s, pass %d: engine %s%s\n", d->capability, row->why, form_names[f], i,
                dt_conv_plan_engine(plan), dt_conv_plan_is_compiled(plan) ? ", compiled" : "");
    }
}

Test(cudnn_plans, forms_of_no_network)
{
    if (!load_driver()) cr_skip_test("there is neither libcuda nor the toolkit's stub of it; set CUDA_HOME");
    for (int d = 0; d < N_DEVICES; d++) {
        char json[JSON_BYTES];
        dt_cudnn *cudnn = NULL;
        device_json(&devices[d], json);
        const dt_status described = dt_cudnn_describe(json, &cudnn);
        if (described == DT_ERR_UNSUPPORTED) cr_skip_test("%s", dt_last_error());
        cr_assert(described == DT_OK, "%s", dt_last_error());
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            for (int f = 0; f < N_FORMS; f++) plan_row(cudnn, &devices[d], &rows[i], (form)f);
        }
        dt_cudnn_close(cudnn);
    }
}

/* Forms that differ in one field have plans of their own; equal ones share theirs. */
Test(cudnn_plans, a_plan_is_found_by_every_field_of_its_form)
{
    static const dt_conv_params forms[] = {
        { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 }, { { 2, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 },
        { { 1, 2 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 }, { { 1, 1 }, { 2, 1, 1, 1 }, { 1, 1 }, 1 },
        { { 1, 1 }, { 1, 2, 1, 1 }, { 1, 1 }, 1 }, { { 1, 1 }, { 1, 1, 2, 1 }, { 1, 1 }, 1 },
        { { 1, 1 }, { 1, 1, 1, 2 }, { 1, 1 }, 1 }, { { 1, 1 }, { 1, 1, 1, 1 }, { 2, 1 }, 1 },
        { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 2 }, 1 }, { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 2 },
    };
    enum { N = sizeof forms / sizeof forms[0] };
    const dt_conv_plan *plan[N] = { NULL }, *again;
    char json[JSON_BYTES], text[N][384];
    dt_cudnn *cudnn = NULL;

    if (!load_driver()) cr_skip_test("there is neither libcuda nor the toolkit's stub of it; set CUDA_HOME");
    device_json(&devices[0], json);
    const dt_status described = dt_cudnn_describe(json, &cudnn);
    if (described == DT_ERR_UNSUPPORTED) cr_skip_test("%s", dt_last_error());
    cr_assert(described == DT_OK, "%s", dt_last_error());
    for (int i = 0; i < N; i++) {
        const dt_conv_problem p = { .operand = DT_F32,
                                    .result = DT_F32,
                                    .keep_f32 = 1,
                                    .n = 2,
                                    .h = 8,
                                    .w = 8,
                                    .c = 8,
                                    .k = 8,
                                    .r = 3,
                                    .s = 3,
                                    .form = forms[i] };
        cr_assert(dt_conv_plan_get(cudnn, &p, &plan[i]) == DT_OK, "form %d: %s", i, dt_last_error());
        cr_assert(dt_conv_plan_get(cudnn, &p, &again) == DT_OK && again == plan[i]);
        dt_conv_problem_text(&p, text[i], sizeof text[i]);
        for (int j = 0; j < i; j++) {
            cr_expect(plan[i] != plan[j], "forms %d and %d have one plan", i, j);
            cr_expect_str_neq(text[i], text[j], "forms %d and %d have one key", i, j);
        }
    }
    /* choices were kept under these words before there were other forms */
    cr_expect_str_eq(text[0], "forward, f32 -> f32 / 2^0, x 2x8x8x8, w 8x3x3x8, stride 1, pad 1");
    cr_expect_str_eq(text[N - 1], "forward, f32 -> f32 / 2^0, x 2x8x8x8, w 8x3x3x4, strides 1,1, pads 1,1,1,1, "
                                  "dilations 1,1, groups 2");
    dt_cudnn_close(cudnn);
}

/* One filter cannot be read 16 bytes at a time, and what has no plan in bf16 is asked for in f32. */
Test(cudnn_plans, odd_filters_stay_f32)
{
    dt_tensor x = { .shape = { 4, { 2, 7, 7, 3 } }, .n_scale = 1, .qmin = 0, .qmax = 15 };
    dt_tensor w = { .shape = { 4, { 33, 3, 3, 3 } }, .n_scale = 1, .qmin = -7, .qmax = 7 };
    dt_tensor y = { .shape = { 4, { 2, 7, 7, 33 } }, .n_scale = 1, .qmin = -2835, .qmax = 2835 };
    const dt_conv_params params = dt_conv_square(1, 1);
    const dt_node node = {
        .kind = DT_OP_CONV2D, .name = "odd", .params = &params, .in = { &x, &w }, .n_in = 2, .out = &y
    };
    const dt_exec ex = exec_of(MIXED_ALONE);
    dt_conv_problem p;

    cr_assert(dt_conv_problem_of(&node, DT_CONV_FORWARD, &ex, &p) == DT_OK);
    cr_expect(p.operand == DT_F32 && p.c == 3 && !p.keep_f32);
    cr_assert(dt_conv_problem_of(&node, DT_CONV_BACKWARD_DATA, &ex, &p) == DT_OK);
    cr_expect(p.operand == DT_F32 && p.c == 3 && p.keep_f32);
}

/* Psums at and above 2^24 are summed in int32 if the codes are bytes, else refused. */
Test(cudnn_plans, wide_psums)
{
    dt_tensor x = { .shape = { 4, { 2, 7, 7, 256 } }, .n_scale = 1, .qmin = 0, .qmax = 127 };
    dt_tensor w = { .shape = { 4, { 16, 3, 3, 256 } }, .n_scale = 1, .qmin = -127, .qmax = 127 };
    dt_tensor y = { .shape = { 4, { 2, 7, 7, 16 } }, .n_scale = 1, .qmin = -37161216, .qmax = 37161216 };
    const dt_conv_params params = dt_conv_square(1, 1);
    const dt_node node = {
        .kind = DT_OP_CONV2D, .name = "wide", .params = &params, .in = { &x, &w }, .n_in = 2, .out = &y
    };
    const dt_exec ex = exec_of(IN_F32);
    dt_conv_problem p;

    cr_assert(dt_conv_problem_of(&node, DT_CONV_FORWARD, &ex, &p) == DT_OK);
    cr_expect(p.operand == DT_I8);
    x.qmax = 255;
    cr_expect_eq(dt_conv_problem_of(&node, DT_CONV_FORWARD, &ex, &p), DT_ERR_UNSUPPORTED);
}

/* Real values are in f32 wherever they are compared or used, and may be in TF32 where mixed precision trains on them.
 */
Test(cudnn_plans, reals_take_tf32_to_train_in_mixed_precision_alone)
{
    dt_tensor x = { .shape = { 4, { 2, 7, 7, 16 } } }, w = { .shape = { 4, { 32, 3, 3, 16 } } };
    dt_tensor y = { .shape = { 4, { 2, 7, 7, 32 } } };
    const dt_conv_params params = dt_conv_square(1, 1);
    const dt_node node = {
        .kind = DT_OP_CONV2D, .name = "real", .params = &params, .in = { &x, &w }, .n_in = 2, .out = &y
    };

    for (int mixed = 0; mixed < 2; mixed++) {
        for (int training = 0; training < 2; training++) {
            const dt_exec ex = { .precision = mixed ? DT_PRECISION_MIXED : DT_PRECISION_F32, .training = training };
            dt_conv_problem p;
            cr_assert(dt_conv_problem_of(&node, DT_CONV_FORWARD, &ex, &p) == DT_OK);
            cr_expect(p.operand == DT_F32 && p.keep_f32 == !(mixed && training));
        }
    }
}

/* cuDNN counts elements in 32 bits: the first layer of VGG16 has 2^31 outputs at 32,768 images. */
Test(cudnn_plans, more_values_than_cudnn_counts)
{
    dt_tensor x = { .shape = { 4, { 32767, 32, 32, 3 } }, .n_scale = 1, .qmin = 0, .qmax = 127 };
    dt_tensor w = { .shape = { 4, { 64, 3, 3, 3 } }, .n_scale = 1, .qmin = -7, .qmax = 7 };
    dt_tensor y = { .shape = { 4, { 32767, 32, 32, 64 } }, .n_scale = 1, .qmin = -24003, .qmax = 24003 };
    const dt_conv_params params = dt_conv_square(1, 1);
    const dt_node node = {
        .kind = DT_OP_CONV2D, .name = "c1", .params = &params, .in = { &x, &w }, .n_in = 2, .out = &y
    };
    const dt_exec ex = exec_of(MIXED_ALONE);
    dt_conv_problem p;

    cr_expect_eq(dt_conv_problem_of(&node, DT_CONV_FORWARD, &ex, &p), DT_OK);
    x.shape.dim[0] = y.shape.dim[0] = 32768;
    cr_expect_eq(dt_conv_problem_of(&node, DT_CONV_FORWARD, &ex, &p), DT_ERR_SHAPE);
    cr_expect(strstr(dt_last_error(), "32768 images of 32x32x64 have 2147483648 values"), "%s", dt_last_error());
}

#else

Test(cudnn_plans, all)
{
    cr_skip_test("built without cuDNN");
}

#endif
