/*
 * test_half_types.c - which real values and gradients of networks of reals lie in memory as BF16 when their tape is
 *                     fused for training in mixed precision on CUDA.
 */
#include "../../core/tape/fuse.h"
#include "../../core/train/model.h"

#include <criterion/criterion.h>
#include <string.h>

enum { BATCH = 2 };

/* A network recorded for training, or for evaluation, and fused; never compiled. */
typedef struct {
    dt_context *ctx;
    dt_model *model;
    dt_tape *tape;
    dt_tensor images, labels, order;
} fused;

static void must(dt_status status)
{
    cr_assert(status == DT_OK, "%s", dt_last_error());
}

static void fused_open(fused *f, const char *network, const char *backend, dt_precision precision, int training)
{
    dt_model_config config;
    dt_options opt;
    dt_tensor *scores, *loss;

    must(dt_model_config_default(network, &config));
    config.wbits = config.abits = DT_BITS_FLOAT;
    *f = (fused){ .images = { .type = DT_U8, .shape = { 4, { BATCH, config.height, config.width, config.channels } } },
                  .labels = { .type = DT_I32, .shape = { 1, { BATCH } } },
                  .order = { .type = DT_I32, .shape = { 1, { BATCH } } } };
    dt_options_default(&opt);
    opt.backend = backend;
    opt.precision = precision;
    const dt_status opened = dt_context_create(&opt, &f->ctx);
    if (opened == DT_ERR_UNSUPPORTED) cr_skip_test("there is no GPU; test_half_types_simt runs on the CPU");
    must(opened);
    must(dt_model_create(f->ctx, &config, &f->model));
    const dt_record_spec spec = { .images = &f->images,
                                  .labels = &f->labels,
                                  .order = &f->order,
                                  .batch = BATCH,
                                  .training = training,
                                  .std = { 1.0f, 1.0f, 1.0f, 1.0f } };
    must(dt_model_tape(f->model, &spec, &f->tape));
    must(dt_model_record(f->model, f->tape, &spec, &scores, &loss));
    must(dt_tape_fuse(f->tape, training));
}

static void fused_close(fused *f)
{
    dt_tape_destroy(f->tape);
    dt_model_destroy(f->model);
    dt_context_destroy(f->ctx);
}

static const dt_tensor *out_of(const fused *f, dt_op_kind kind, const char *name)
{
    for (int i = 0; i < dt_tape_n_nodes(f->tape); i++) {
        const dt_node *node = dt_tape_node(f->tape, i);
        if (node->kind == kind && strcmp(node->name, name) == 0) return node->out;
    }
    cr_assert_fail("there is no %s of %s", dt_ops[kind]->name, name);
    return NULL;
}

typedef struct {
    const char *why;
    dt_op_kind kind;
    const char *name;
    dt_dtype type, grad_type;
} expected;

static void check(const fused *f, const expected *row)
{
    const dt_tensor *t = out_of(f, row->kind, row->name);

    cr_expect(t->type == row->type && t->grad_type == row->grad_type, "%s: %s has type %d, its gradient %d", row->why,
              row->name, (int)t->type, (int)t->grad_type);
}

Test(half_types, deepcaps)
{
    static const expected rows[] = {
        { "a convolution sums in f32", DT_OP_CONV2D, "block1.l1.conv", DT_F32, DT_BF16 },
        { "batch norm reads f32", DT_OP_BIAS_RELU, "conv1.relu", DT_F32, DT_F32 },
        { "conv1's output has one reader", DT_OP_BATCHNORM, "conv1.batchnorm", DT_BF16, DT_F32 },
        { "two convolutions read it", DT_OP_BIAS_SQUASH, "block1.l1.squash", DT_BF16, DT_F32 },
        { "the sum reads it", DT_OP_BIAS_SQUASH, "block1.l3.squash", DT_BF16, DT_F32 },
        { "a convolution reads the sum", DT_OP_ADD, "block1", DT_BF16, DT_F32 },
        { "the list of capsules reads it too", DT_OP_ADD, "block3", DT_F32, DT_F32 },
        { "3-D routing splits it too", DT_OP_BIAS_SQUASH, "block4.l1.squash", DT_F32, DT_F32 },
        { "votes of 3-D routing", DT_OP_BIAS, "block4.l_skip.conv.biased", DT_BF16, DT_BF16 },
        { "what votes", DT_OP_CONV2D, "block4.l_skip.conv", DT_F32, DT_BF16 },
        { "votes of class capsules", DT_OP_CAPS_VOTES, "capsLayer.dot", DT_BF16, DT_BF16 },
    };
    fused f;

    fused_open(&f, "deepcaps", "cuda", DT_PRECISION_MIXED, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) check(&f, &rows[i]);
    fused_close(&f);
}

Test(half_types, shallowcaps)
{
    static const expected rows[] = {
        { "a convolution reads it", DT_OP_BIAS_RELU, "conv.relu", DT_BF16, DT_F32 },
        { "votes of primary capsules are sums of a convolution", DT_OP_CONV2D, "primary.conv3d", DT_F32, DT_BF16 },
        { "votes of class capsules", DT_OP_CAPS_VOTES, "digit.dot", DT_BF16, DT_BF16 },
    };
    fused f;

    fused_open(&f, "shallowcaps", "cuda", DT_PRECISION_MIXED, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) check(&f, &rows[i]);
    fused_close(&f);
}

/* Batch norm, ReLU and pool are one node, of the last of their names. */
Test(half_types, vgg16_of_reals)
{
    static const expected rows[] = {
        { "an image of 3 channels has to be copied", DT_OP_CONV2D, "features.0", DT_F32, DT_BF16 },
        { "the next convolution reads it", DT_OP_NORM_QUANT, "features.2", DT_BF16, DT_F32 },
        { "sums are f32, and batch norm gives their gradient", DT_OP_CONV2D, "features.3", DT_F32, DT_BF16 },
        { "pooled", DT_OP_NORM_QUANT, "features.6", DT_BF16, DT_F32 },
    };
    fused f;

    fused_open(&f, "vgg16", "cuda", DT_PRECISION_MIXED, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) check(&f, &rows[i]);
    fused_close(&f);
}

/* 1: some tensor of the tape is BF16 */
static int has_halves(const fused *f)
{
    for (int i = 0; i < dt_tape_n_nodes(f->tape); i++) {
        const dt_tensor *t = dt_tape_node(f->tape, i)->out;
        if (t->type == DT_BF16 || t->grad_type == DT_BF16) return 1;
    }
    return 0;
}

Test(half_types, only_training_in_mixed_precision_has_them)
{
    static const struct {
        const char *backend;
        dt_precision precision;
        int training, has;
    } rows[] = {
        { "cuda", DT_PRECISION_MIXED, 1, 1 },
        { "cuda", DT_PRECISION_MIXED, 0, 0 },
        { "cuda", DT_PRECISION_F32, 1, 0 },
        { "cpu", DT_PRECISION_MIXED, 1, 0 },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fused f;
        fused_open(&f, "deepcaps", rows[i].backend, rows[i].precision, rows[i].training);
        cr_expect_eq(has_halves(&f), rows[i].has, "%s, precision %d, training %d", rows[i].backend,
                     (int)rows[i].precision, rows[i].training);
        fused_close(&f);
    }
}
