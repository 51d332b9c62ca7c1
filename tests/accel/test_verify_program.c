/*
 * test_verify_program.c - programs verified by themselves: nothing differs, and a node whose kernel is wrong is found.
 */
#include "../support/matmul_program.h"

#include "../../core/backend.h"
#include "../../core/context.h"

enum { IMAGES = 35 };

static dt_context *context(void)
{
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = "cpu";
    engine_must(dt_context_create(&opt, &ctx));
    return ctx;
}

/* Images of pixels for the engine program, which then normalises them. */
static dt_dataset *images(void)
{
    static uint8_t pixels[IMAGES * ENGINE_HEIGHT * ENGINE_WIDTH * ENGINE_CHANNELS];
    const dt_images of = { .name = "engine",
                           .images = pixels,
                           .n = IMAGES,
                           .height = ENGINE_HEIGHT,
                           .width = ENGINE_WIDTH,
                           .channels = ENGINE_CHANNELS,
                           .n_classes = ENGINE_CLASSES,
                           .mean = { 0.5f, 0.4f, 0.3f },
                           .std = { 0.3f, 0.2f, 0.1f } };
    dt_dataset *d;

    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)engine_draw((uint32_t)i, 256);
    engine_must(dt_dataset_from_memory(&of, &d));
    return d;
}

static dt_verify_report *verify(dt_context *ctx, const dt_program *p, const dt_dataset *d, const char *layer)
{
    dt_verify_report *r;
    dt_array array;

    dt_array_default(&array);
    array.psum_bits = 24;
    engine_must(dt_verify_program(ctx, p, &(dt_verification){ d, 0, IMAGES, layer, &array, NULL }, &r));
    return r;
}

Test(verify_program, nothing_differs_under_any_profile)
{
    dt_context *ctx = context();
    dt_dataset *d = images();

    for (int profile = 0; profile <= DT_PROFILE_ONNX; profile++) {
        dt_program *p = engine_program((dt_profile)profile);
        dt_verify_report *r = verify(ctx, p, d, NULL);
        cr_assert(r->mismatches == 0, "%s: %s", dt_profile_names[profile], r->first.layer);
        cr_assert_eq(r->n_layers, 15, "%d lines", r->n_layers);
        cr_assert_str_eq(r->layer[1].array.name, "first");
        /* 35 images: codes, psums of grid and array, tap psums */
        cr_assert_eq(r->layer[0].n_checked, IMAGES * 90);
        cr_assert_geq(r->layer[1].n_checked, IMAGES * 3 * 150);
        dt_verify_report_destroy(r);
        dt_program_destroy(p);
    }
    dt_dataset_close(d);
    dt_context_destroy(ctx);
}

Test(verify_program, one_value_alone)
{
    dt_context *ctx = context();
    dt_dataset *d = images();
    dt_program *p = engine_program(DT_PROFILE_LITERT_REF);
    dt_verify_report *r = verify(ctx, p, d, "sum");

    cr_assert(r->n_layers == 1 && r->mismatches == 0);
    cr_assert_eq(r->n_checked, IMAGES * 3 * 2 * 5);
    dt_verify_report_destroy(r);
    dt_program_destroy(p);
    dt_dataset_close(d);
    dt_context_destroy(ctx);
}

/* Constants have one image, and the values of a batch several. */
Test(verify_program, products_of_matrices)
{
    static uint8_t pixels[IMAGES * MATMUL_IMAGE];
    const dt_images of = { .name = "matmul",
                           .images = pixels,
                           .n = IMAGES,
                           .height = 2,
                           .width = 3,
                           .channels = 4,
                           .n_classes = MATMUL_CLASSES,
                           .std = { 0.3f, 0.2f, 0.1f, 0.4f } };
    dt_context *ctx = context();
    dt_dataset *d;

    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)engine_draw((uint32_t)i, 256);
    engine_must(dt_dataset_from_memory(&of, &d));
    for (int profile = 0; profile <= DT_PROFILE_ONNX; profile++) {
        dt_program *p = matmul_program((dt_profile)profile);
        dt_verify_report *r = verify(ctx, p, d, NULL);
        cr_assert(r->mismatches == 0, "%s: %s", dt_profile_names[profile], r->first.layer);
        cr_assert_eq(r->n_layers, 9, "%d lines", r->n_layers);
        dt_verify_report_destroy(r);
        dt_program_destroy(p);
    }
    dt_dataset_close(d);
    dt_context_destroy(ctx);
}

/* ---- broken kernels ---- */

static dt_op_kind broken_op;
static const dt_kernel *broken_table[DT_OP_COUNT];
static dt_kernel wrong_kernel;

/* One code too many, in the last image of each batch. */
static dt_status wrong_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_status status = dt_backend_cpu.kernels()[broken_op]->forward(node, ex);

    ((float *)node->out->data)[dt_count(&node->out->shape) - 1] += 1.0f;
    return status;
}

static const dt_kernel *const *broken_kernels(void)
{
    return broken_table;
}

static void break_kernel(dt_op_kind kind, dt_backend *out)
{
    broken_op = kind;
    memcpy(broken_table, dt_backend_cpu.kernels(), sizeof broken_table);
    wrong_kernel = *broken_table[kind];
    wrong_kernel.forward = wrong_forward;
    broken_table[kind] = &wrong_kernel;
    *out = dt_backend_cpu;
    out->kernels = broken_kernels;
}

Test(verify_program, a_wrong_kernel_is_found)
{
    static const struct {
        dt_op_kind kind;
        const char *layer;
    } rows[] = { { DT_OP_REQUANTIZE, "first" },     { DT_OP_QADD, "sum" },      { DT_OP_QMUL, "product" },
                 { DT_OP_QAVGPOOL, "average" },     { DT_OP_TABLE, "sigmoid" }, { DT_OP_QSOFTMAX, "softmax" },
                 { DT_OP_QUANTIZE, "image.codes" }, { DT_OP_AVGPOOL, "mean" },  { DT_OP_MAXPOOL, "pool" } };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dt_context *ctx = context();
        dt_dataset *d = images();
        dt_program *p = engine_program(DT_PROFILE_FP32_RNE);
        const dt_backend *good = ctx->backend;
        dt_backend backend;
        break_kernel(rows[i].kind, &backend);
        ctx->backend = &backend;
        dt_verify_report *r = verify(ctx, p, d, NULL);
        cr_assert(r->mismatches > 0, "%s", rows[i].layer);
        cr_assert_str_eq(r->first.layer, rows[i].layer);
        cr_assert_eq(r->first.image, 31, "%s: image %lld", rows[i].layer, (long long)r->first.image);
        cr_assert_eq(r->first.found - r->first.expected, 1);
        dt_verify_report_destroy(r);
        dt_program_destroy(p);
        ctx->backend = good;
        dt_dataset_close(d);
        dt_context_destroy(ctx);
    }
}
