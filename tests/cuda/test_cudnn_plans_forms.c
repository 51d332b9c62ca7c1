/*
 * test_cudnn_plans_forms.c - convolutions that no network of ours has get deterministic cuDNN plans, every field of a
 * form finds its own plan, and the types of a convolution's values follow its sizes and its precision.
 */
#include "../../core/conv_params.h"

#include <criterion/criterion.h>

#ifdef DETENT_HAVE_CUDA

#include "../support/cudnn_described.h"

#include <stdio.h>
#include <string.h>

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

Test(cudnn_plans_forms, forms_of_no_network)
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
Test(cudnn_plans_forms, a_plan_is_found_by_every_field_of_its_form)
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
Test(cudnn_plans_forms, odd_filters_stay_f32)
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
Test(cudnn_plans_forms, wide_psums)
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

/* Real values are f32 wherever they are compared or used. Where mixed precision trains on them they are bf16, or TF32
 * where 33 filters do not fit cuDNN's 16-bit engines. */
Test(cudnn_plans_forms, reals_have_fewer_bits_to_train_in_mixed_precision_alone)
{
    for (int i = 0; i < 8; i++) {
        const int mixed = i & 1, training = i >> 1 & 1, filters = i >> 2 ? 33 : 32;
        dt_tensor x = { .shape = { 4, { 2, 7, 7, 16 } } }, w = { .shape = { 4, { filters, 3, 3, 16 } } };
        dt_tensor y = { .shape = { 4, { 2, 7, 7, filters } } };
        const dt_conv_params params = dt_conv_square(1, 1);
        const dt_node node = {
            .kind = DT_OP_CONV2D, .name = "real", .params = &params, .in = { &x, &w }, .n_in = 2, .out = &y
        };
        const dt_exec ex = { .precision = mixed ? DT_PRECISION_MIXED : DT_PRECISION_F32, .training = training };
        const int is_half = mixed && training && filters == 32;
        dt_conv_problem p;

        cr_assert(dt_conv_problem_of(&node, DT_CONV_FORWARD, &ex, &p) == DT_OK);
        cr_expect(p.operand == (is_half ? DT_BF16 : DT_F32) && p.result == DT_F32);
        cr_expect(p.keep_f32 == !(mixed && training));
        const dt_storage s = dt_conv_storage(&node, &ex);
        cr_expect(s.x == p.operand && s.y_grad == p.operand && s.y == DT_F32 && s.x_grad == DT_F32);
    }
}

/* cuDNN counts elements in 32 bits: the first layer of VGG16 has 2^31 outputs at 32,768 images. */
Test(cudnn_plans_forms, more_values_than_cudnn_counts)
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

Test(cudnn_plans_forms, all)
{
    cr_skip_test("built without cuDNN");
}

#endif
