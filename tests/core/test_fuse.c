/*
 * test_fuse.c - which nodes are merged. What they compute: test_fuse_values.c.
 */
#include "../../core/tape/fuse.h"
#include "../support/tiny_run.h"

static dt_context *ctx;
static dt_tape *tape;

static void fuse_open(void)
{
    dt_options opt;
    dt_options_default(&opt);
    opt.backend = "cpu";
    MUST(dt_context_create(&opt, &ctx));
    MUST(dt_tape_create(ctx, NULL, &tape));
}

static void fuse_close(void)
{
    dt_tape_destroy(tape);
    dt_context_destroy(ctx);
}

TestSuite(fuse, .init = fuse_open, .fini = fuse_close);

static float block[4096];

static dt_tensor outside(int ndim, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (dt_tensor){ .shape = { ndim, { a, b, c, d } }, .data = block };
}

static dt_tensor *relu(dt_tensor *x)
{
    dt_tensor *y;
    MUST(dt_tape_apply(tape, DT_OP_RELU, "relu", NULL, &x, 1, &y));
    return y;
}

static dt_tensor *relu6(dt_tensor *x)
{
    const dt_relu_params six = { .most = 6.0f };
    dt_tensor *y;
    MUST(dt_tape_apply(tape, DT_OP_RELU, "relu6", &six, &x, 1, &y));
    return y;
}

static dt_tensor *pool_by(dt_tensor *x, const dt_pool_params *p)
{
    dt_tensor *y;
    MUST(dt_tape_apply(tape, DT_OP_MAXPOOL, "pool", p, &x, 1, &y));
    return y;
}

static dt_tensor *pool(dt_tensor *x, int kernel, int stride)
{
    const dt_pool_params p = { .window = { kernel, kernel }, .stride = { stride, stride } };
    return pool_by(x, &p);
}

static dt_tensor *quantize(dt_tensor *x, dt_tensor *alpha)
{
    const dt_act_quant_params p = { .bits = 4, .rule = DT_RULE_ECE284 };
    dt_tensor *const in[] = { x, alpha };
    dt_tensor *y;
    MUST(dt_tape_apply(tape, DT_OP_ACT_QUANT, "quant", &p, in, 2, &y));
    return y;
}

static const dt_norm_quant_params *fused(int node)
{
    cr_assert(dt_tape_node(tape, node)->kind == DT_OP_NORM_QUANT, "node %d is %s", node,
              dt_ops[dt_tape_node(tape, node)->kind]->name);
    return dt_tape_node(tape, node)->params;
}

Test(fuse, a_chain_becomes_one_node)
{
    dt_tensor x = outside(4, 2, 4, 4, 8), alpha = outside(1, 1, 0, 0, 0);
    dt_tensor *codes = quantize(pool(relu(&x), 2, 2), &alpha);
    MUST(dt_tape_fuse(tape, 0));
    cr_assert(dt_tape_n_nodes(tape) == 1);
    const dt_norm_quant_params *p = fused(0);
    cr_assert(!p->has_norm && p->has_relu && p->pool == 2 && p->has_quant && p->quant.bits == 4);
    const dt_node *node = dt_tape_node(tape, 0);
    cr_assert(node->n_in == 2 && node->in[0] == &x && node->in[1] == &alpha && node->out == codes);
}

Test(fuse, a_relu_brings_its_upper_limit)
{
    dt_tensor x = outside(4, 2, 4, 4, 8), alpha = outside(1, 1, 0, 0, 0);
    quantize(pool(relu6(&x), 2, 2), &alpha);
    MUST(dt_tape_fuse(tape, 0));
    cr_assert(dt_tape_n_nodes(tape) == 1 && fused(0)->has_relu && fused(0)->relu_most == 6.0f);
}

/* its result is real, and the chain would have codes until the quantizer */
Test(fuse, a_limited_relu_of_psums_is_left)
{
    dt_tensor x = outside(4, 2, 4, 4, 8), alpha = outside(1, 1, 0, 0, 0);
    float scale = 0.5f;
    x.n_scale = 1;
    x.scale = &scale;
    quantize(pool(relu6(&x), 2, 2), &alpha);
    MUST(dt_tape_fuse(tape, 0));
    cr_assert(dt_tape_n_nodes(tape) == 2 && dt_tape_node(tape, 0)->kind == DT_OP_RELU);
    cr_assert(!fused(1)->has_relu && fused(1)->pool == 2 && fused(1)->has_quant);
}

Test(fuse, windows_that_are_no_tiles_are_left)
{
    const dt_pool_params others[] = {
        { .window = { 2, 3 }, .stride = { 2, 3 } },
        { .window = { 2, 2 }, .stride = { 2, 1 } },
        { .window = { 2, 2 }, .stride = { 2, 2 }, .pad = { 0, 0, 0, 1 } },
        { .window = { 0, 0 } },
    };
    dt_tensor x = outside(4, 2, 4, 4, 8);
    for (int i = 0; i < 4; i++) relu(pool_by(relu(&x), &others[i]));
    MUST(dt_tape_fuse(tape, 0));
    cr_assert(dt_tape_n_nodes(tape) == 12, "%d nodes", dt_tape_n_nodes(tape));
}

Test(fuse, one_part_alone_is_left)
{
    dt_tensor x = outside(4, 2, 4, 4, 8);
    relu(&x);
    MUST(dt_tape_fuse(tape, 0));
    cr_assert(dt_tape_n_nodes(tape) == 1 && dt_tape_node(tape, 0)->kind == DT_OP_RELU);
}

Test(fuse, what_is_read_twice_ends_a_chain)
{
    dt_tensor x = outside(4, 2, 4, 4, 8);
    dt_tensor *shared = pool(relu(&x), 2, 2), *in[] = { shared, relu(shared) }, *sum;
    MUST(dt_tape_apply(tape, DT_OP_ADD, "sum", NULL, in, 2, &sum));
    MUST(dt_tape_fuse(tape, 0));
    cr_assert(dt_tape_n_nodes(tape) == 3 && dt_tape_node(tape, 1)->kind == DT_OP_RELU);
    cr_assert(fused(0)->has_relu && fused(0)->pool == 2 && !fused(0)->has_quant);
}

Test(fuse, what_is_kept_ends_a_chain)
{
    dt_tensor x = outside(4, 2, 4, 4, 8), alpha = outside(1, 1, 0, 0, 0);
    dt_tensor *seen = pool(relu(&x), 2, 2);
    quantize(seen, &alpha);
    dt_tape_keep(tape, seen);
    MUST(dt_tape_fuse(tape, 0));
    cr_assert(dt_tape_n_nodes(tape) == 2 && dt_tape_node(tape, 1)->kind == DT_OP_ACT_QUANT);
}

Test(fuse, overlapping_windows_and_another_order_are_left)
{
    dt_tensor x = outside(4, 2, 5, 5, 8);
    relu(pool(pool(&x, 3, 1), 2, 2)); /* a pool before the ReLU begins a new chain */
    MUST(dt_tape_fuse(tape, 0));
    cr_assert(dt_tape_n_nodes(tape) == 3);
}

Test(fuse, quantizers_of_weights_stand_in_front)
{
    const dt_weight_quant_params p = { .bits = 4, .rule = DT_RULE_ECE284 };
    dt_tensor x = outside(4, 2, 4, 4, 8), w = outside(2, 8, 8, 0, 0), alpha = outside(1, 1, 0, 0, 0), *qw, *made;
    dt_tensor *const in[] = { &w, &alpha };
    relu(&x);
    MUST(dt_tape_apply(tape, DT_OP_WEIGHT_QUANT, "a", &p, in, 2, &qw));
    made = relu(&w); /* weights that are computed stay behind what computes them */
    dt_tensor *const computed[] = { made, &alpha };
    MUST(dt_tape_apply(tape, DT_OP_WEIGHT_QUANT, "b", &p, computed, 2, &qw));
    MUST(dt_tape_apply(tape, DT_OP_WEIGHT_QUANT, "c", &p, in, 2, &qw));
    MUST(dt_tape_fuse(tape, 0));
    const char order[] = { dt_tape_node(tape, 0)->name[0], dt_tape_node(tape, 1)->name[0],
                           dt_tape_node(tape, 4)->name[0], '\0' };
    cr_assert(strcmp(order, "acb") == 0, "%s", order);
}

/* ---- the two ends ---- */

static dt_tensor *image(dt_tensor *images, dt_tensor *order)
{
    const dt_augment_params p = { .batch = 2, .std = { 1.0f, 1.0f, 1.0f } };
    dt_tensor *const in[] = { images, order };
    dt_tensor *x;
    images->type = DT_U8;
    order->type = DT_I32;
    MUST(dt_tape_apply(tape, DT_OP_AUGMENT, "image", &p, in, 2, &x));
    return x;
}

Test(fuse, an_image_of_fixed_clip_becomes_codes)
{
    dt_tensor images = outside(4, 5, 4, 4, 3), order = outside(1, 5, 0, 0, 0), alpha = outside(1, 1, 0, 0, 0);
    dt_tensor *codes = quantize(image(&images, &order), &alpha);
    relu(codes);
    MUST(dt_tape_fuse(tape, 1));
    const dt_node *node = dt_tape_node(tape, 0);
    const dt_augment_params *p = node->params;
    cr_assert(dt_tape_n_nodes(tape) == 2 && node->kind == DT_OP_AUGMENT && node->out == codes);
    cr_assert(node->n_in == 3 && node->in[0] == &images && node->in[1] == &order && node->in[2] == &alpha);
    cr_assert(p->batch == 2 && p->has_quant && p->quant.bits == 4 && codes->n_scale == 1 && codes->qmax == 15);
}

Test(fuse, an_image_whose_clip_is_trained_is_left_in_training)
{
    dt_tensor images = outside(4, 5, 4, 4, 3), order = outside(1, 5, 0, 0, 0), alpha = outside(1, 1, 0, 0, 0);
    alpha.wants_grad = 1;
    quantize(image(&images, &order), &alpha);
    MUST(dt_tape_fuse(tape, 1));
    cr_assert(dt_tape_n_nodes(tape) == 2);
    MUST(dt_tape_fuse(tape, 0));
    cr_assert(dt_tape_n_nodes(tape) == 1);
}

Test(fuse, an_image_that_is_read_twice_is_left)
{
    dt_tensor images = outside(4, 5, 4, 4, 3), order = outside(1, 5, 0, 0, 0), alpha = outside(1, 1, 0, 0, 0);
    dt_tensor *x = image(&images, &order);
    quantize(x, &alpha);
    relu(x);
    MUST(dt_tape_fuse(tape, 1));
    cr_assert(dt_tape_n_nodes(tape) == 3);
}

Test(fuse, a_relu_takes_its_bias_in)
{
    const dt_relu_params six = { 6.0f };
    dt_tensor x = outside(2, 3, 8, 0, 0), b = outside(1, 8, 0, 0, 0), *biased, *y;
    MUST(dt_tape_apply(tape, DT_OP_BIAS, "biased", NULL, (dt_tensor *[]){ &x, &b }, 2, &biased));
    MUST(dt_tape_apply(tape, DT_OP_RELU, "relu", &six, &biased, 1, &y));
    MUST(dt_tape_fuse(tape, 1));
    const dt_node *node = dt_tape_node(tape, 0);
    cr_assert(dt_tape_n_nodes(tape) == 1 && node->kind == DT_OP_BIAS_RELU && node->out == y);
    cr_assert(node->n_in == 2 && node->in[0] == &x && node->in[1] == &b);
    cr_assert(((const dt_relu_params *)node->params)->most == 6.0f);
}

static dt_tensor *squash_of(dt_tensor *x, dt_tensor *b, dt_tensor **biased)
{
    const dt_caps_params of_4 = { 4 };
    dt_tensor *v;
    MUST(dt_tape_apply(tape, DT_OP_BIAS, "biased", NULL, (dt_tensor *[]){ x, b }, 2, biased));
    MUST(dt_tape_apply(tape, DT_OP_SQUASH, "squash", &of_4, biased, 1, &v));
    return v;
}

Test(fuse, a_squash_takes_its_bias_in)
{
    dt_tensor x = outside(2, 3, 8, 0, 0), b = outside(1, 8, 0, 0, 0), *biased, *v = squash_of(&x, &b, &biased);
    MUST(dt_tape_fuse(tape, 1));
    const dt_node *node = dt_tape_node(tape, 0);
    cr_assert(dt_tape_n_nodes(tape) == 1 && node->kind == DT_OP_BIAS_SQUASH && node->out == v);
    cr_assert(node->n_in == 2 && node->in[0] == &x && node->in[1] == &b);
    cr_assert(((const dt_caps_params *)node->params)->dim == 4);
}

Test(fuse, a_bias_that_is_kept_or_read_twice_is_left)
{
    for (int why = 0; why < 2; why++) {
        dt_tensor x = outside(2, 3, 8, 0, 0), b = outside(1, 8, 0, 0, 0), *biased;
        const int before = dt_tape_n_nodes(tape);
        squash_of(&x, &b, &biased);
        if (why == 0) dt_tape_keep(tape, biased);
        if (why == 1) relu(biased);
        MUST(dt_tape_fuse(tape, 1));
        cr_assert(dt_tape_n_nodes(tape) == before + 2 + why);
    }
}

/* What a classifier stands on and leads to. */
typedef struct {
    dt_tensor x, w, b, labels;
    dt_tensor *logits, *loss;
} head;

/* average pool of `window` cells along each axis, flatten, linear, loss */
static void record_head(head *h, int window, int in_order)
{
    const dt_pool_params pool_params = dt_pool_square(window);
    const dt_linear_params linear = { .in_order = in_order };
    const dt_softmax_xent_params xent = { .label_smoothing = 0.1f };
    dt_tensor *x, *const labels = &h->labels;

    *h = (head){ .x = outside(4, 2, window, window, 8),
                 .w = outside(2, 3, 8, 0, 0),
                 .b = outside(1, 3, 0, 0, 0),
                 .labels = outside(1, 2, 0, 0, 0) };
    h->labels.type = DT_I32;
    MUST(dt_tape_apply(tape, DT_OP_AVGPOOL, "pool", &pool_params, (dt_tensor *[]){ &h->x }, 1, &x));
    MUST(dt_tape_apply(tape, DT_OP_FLATTEN, "flatten", NULL, &x, 1, &x));
    MUST(dt_tape_apply(tape, DT_OP_LINEAR, "linear", &linear, (dt_tensor *[]){ x, &h->w, &h->b }, 3, &h->logits));
    MUST(dt_tape_apply(tape, DT_OP_SOFTMAX_XENT, "loss", &xent, (dt_tensor *[]){ h->logits, labels }, 2, &h->loss));
}

Test(fuse, a_classifier_takes_its_loss_in_and_reads_what_stands_before_reshapes)
{
    head h;
    record_head(&h, 1, 1);
    MUST(dt_tape_fuse(tape, 1));
    const dt_node *node = dt_tape_node(tape, 0);
    const dt_softmax_xent_params *p = node->params;
    cr_assert(dt_tape_n_nodes(tape) == 1 && node->kind == DT_OP_LINEAR_XENT && node->out == h.loss);
    cr_assert(node->n_in == 4 && node->in[0] == &h.x && node->in[1] == &h.w && node->in[2] == &h.b &&
              node->in[3] == &h.labels && p->label_smoothing == 0.1f);
}

/* A head whose labels are gathered, `each` of them for an image; returns how many nodes are left of its four. */
static int nodes_of_gathered_head(head *h, dt_tensor *order, int each)
{
    const dt_gather_params gather = { .batch = 2 };
    const dt_linear_params linear = { .in_order = 1 };
    dt_tensor *labels;

    *h = (head){ .x = outside(2, 2, 8, 0, 0),
                 .w = outside(2, 3, 8, 0, 0),
                 .b = outside(1, 3, 0, 0, 0),
                 .labels = outside(2, 9, each, 0, 0) };
    *order = outside(1, 9, 0, 0, 0);
    h->labels.type = order->type = DT_I32;
    if (each == 1) h->labels.shape.ndim = 1;
    MUST(dt_tape_apply(tape, DT_OP_LINEAR, "linear", &linear, (dt_tensor *[]){ &h->x, &h->w, &h->b }, 3, &h->logits));
    MUST(dt_tape_apply(tape, DT_OP_GATHER, "labels", &gather, (dt_tensor *[]){ &h->labels, order }, 2, &labels));
    if (each > 1)
        MUST(dt_tape_apply(tape, DT_OP_SIGMOID_XENT, "loss", NULL, (dt_tensor *[]){ h->logits, labels }, 2, &h->loss));
    else
        MUST(dt_tape_apply(tape, DT_OP_SOFTMAX_XENT, "loss", NULL, (dt_tensor *[]){ h->logits, labels }, 2, &h->loss));
    MUST(dt_tape_fuse(tape, 1));
    return dt_tape_n_nodes(tape);
}

Test(fuse, the_loss_reads_the_labels_of_the_dataset)
{
    dt_tensor order;
    head h;
    cr_assert(nodes_of_gathered_head(&h, &order, 1) == 1);
    const dt_node *node = dt_tape_node(tape, 0);
    cr_assert(node->kind == DT_OP_LINEAR_XENT && node->n_in == 5 && node->in[3] == &h.labels && node->in[4] == &order &&
              node->out == h.loss);
}

Test(fuse, several_labels_of_an_image_are_gathered)
{
    dt_tensor order;
    head h;
    cr_assert(nodes_of_gathered_head(&h, &order, 3) == 3);
}

Test(fuse, a_linear_layer_of_codes_reads_what_stands_before_reshapes_too)
{
    dt_tensor x = outside(4, 2, 2, 2, 8), w = outside(2, 3, 32, 0, 0), alpha = outside(1, 1, 0, 0, 0);
    const dt_weight_quant_params bits = { .bits = 4, .rule = DT_RULE_LSQ };
    const dt_linear_params linear = { 0 };
    dt_tensor *codes = quantize(&x, &alpha), *in[2], *psums;
    MUST(dt_tape_apply(tape, DT_OP_FLATTEN, "flatten", NULL, &codes, 1, &in[0]));
    MUST(dt_tape_apply(tape, DT_OP_WEIGHT_QUANT, "w", &bits, (dt_tensor *[]){ &w, &alpha }, 2, &in[1]));
    MUST(dt_tape_apply(tape, DT_OP_LINEAR, "linear", &linear, in, 2, &psums));
    const int64_t most = psums->qmax;
    float *const scale = psums->scale;
    MUST(dt_tape_fuse(tape, 0));
    const dt_node *node = dt_tape_node(tape, 2);
    cr_assert(dt_tape_n_nodes(tape) == 3 && node->kind == DT_OP_LINEAR && node->in[0] == codes && node->out == psums);
    cr_assert(psums->n_scale == 1 && psums->scale == scale && psums->qmax == most && most == 32 * 15 * 8);
}

Test(fuse, an_average_of_four_cells_stays)
{
    head h;
    record_head(&h, 2, 1);
    MUST(dt_tape_fuse(tape, 1));
    cr_assert(dt_tape_n_nodes(tape) == 2 && dt_tape_node(tape, 0)->kind == DT_OP_AVGPOOL);
}

Test(fuse, logits_stay_in_evaluation_where_they_are_kept_and_where_they_are_a_product)
{
    for (int why = 0; why < 3; why++) {
        head h;
        record_head(&h, 1, why != 2);
        if (why == 1) dt_tape_keep(tape, h.logits);
        MUST(dt_tape_fuse(tape, why > 0));
        const dt_node *node = dt_tape_node(tape, 0);
        cr_assert(dt_tape_n_nodes(tape) == 2 && node->kind == DT_OP_LINEAR && node->out == h.logits &&
                      node->in[0] == &h.x,
                  "case %d", why);
        fuse_close();
        fuse_open();
    }
}
