/*
 * test_qcaps_integers.c - what Q-CapsNets has quantized as integer programs: nothing real is left, formats are those of
 * the table, the program computes what the network on integers does, and that is near to the network in fixed point.
 */
#include "../../layers/caps/route_int.h"
#include "../../quant/qcaps/fixed_formats.h"
#include "../../quant/qcaps/insert_integers.h"
#include "../../quant/qcaps/qcaps.h"
#include "../support/caps_network.h"

enum { SIDE = 20, IMAGES = 60, BATCH = 20 };

static dt_qcaps_options options_of(dt_rounding rounding, int published)
{
    dt_qcaps_options o;

    dt_qcaps_options_default(&o);
    o.rounding = rounding;
    o.published = published;
    o.batch = BATCH;
    return o;
}

/* A network in fixed point with its data; source: of real values. */
typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *source, *fixed;
} net;

static void quantize(net *n, int bits, dt_rounding rounding, int published)
{
    const dt_qcaps_options o = options_of(rounding, published);
    dt_qcaps_shape shape;

    MUST(dt_qcaps_describe(n->source, &shape));
    const dt_qcaps_bits all = dt_qcaps_uniform(&shape, bits);
    MUST(dt_qcaps_quantize(n->source, n->data, &o, &all, &n->fixed));
}

static void net_close(net *n)
{
    dt_model_destroy(n->fixed);
    dt_model_destroy(n->source);
    dt_dataset_close(n->data);
    cr_assert(n->ctx->bytes == n->ctx->workspace_bytes + n->ctx->scratch_bytes + sizeof(dt_step),
              "%zu bytes of device memory are still held", n->ctx->bytes);
    dt_context_destroy(n->ctx);
}

/* shallowcaps, a little trained. */
static net shallow(int steps)
{
    dt_train_config t;
    dt_model_config c;
    dt_trainer *trainer;

    MUST(dt_model_config_default("shallowcaps", &c));
    c.height = c.width = SIDE;
    c.channels = 3;
    choose(&c, "decoder", DT_DECODER_NONE);
    const dt_dataset_options data = { .name = "synthetic",
                                      .split = DT_SPLIT_TEST,
                                      .limit = IMAGES,
                                      .seed = 1,
                                      .height = SIDE,
                                      .width = SIDE,
                                      .resize = 1 };
    net n = { .ctx = lowered_context("cpu") };
    MUST(dt_dataset_open(&data, &n.data));
    MUST(dt_model_create(n.ctx, &c, &n.source));
    dt_train_config_default("shallowcaps", &t);
    t.batch = BATCH;
    t.shift = 0;
    MUST(dt_trainer_create(n.source, n.data, &t, &trainer));
    for (int i = 0; i < steps; i++) MUST(dt_trainer_step(trainer));
    dt_trainer_destroy(trainer);
    return n;
}

/* Sums, lists, a batch norm and 3-D routing. */
static net small(void)
{
    const dt_model_config c = caps_config();
    net n = { .ctx = lowered_context("cpu"), .data = lowered_images(&c, IMAGES) };

    n.source = lowered_built(n.ctx, &c, caps_build);
    caps_fill(n.source, 8);
    return n;
}

/* Model on integers, program on a tape, reference: the same lengths. */
static void equal_scores(net *n, const char *what, int images)
{
    lowered r = { .ctx = n->ctx, .data = n->data };

    MUST(dt_program_lower(n->fixed, n->data, &r.program));
    MUST(dt_program_source(n->fixed, &r.model));
    cr_assert(r.model != n->fixed, "%s", what);
    lowered_check_scores(&r, images);
    dt_program_destroy(r.program);
    dt_model_destroy(r.model);
}

/* Images for which the network of reals and that on integers predict other classes. */
static int other_predictions(net *n, int images)
{
    const int64_t classes = dt_graph_count(n->fixed->graph, n->fixed->graph->scores);
    dt_model *grid;
    int differ = 0;

    MUST(dt_program_source(n->fixed, &grid));
    float *a = lowered_logits(n->source, n->data, images), *b = lowered_logits(grid, n->data, images);
    for (int64_t k = 0; k < images; k++) {
        int best[2] = { 0, 0 };
        for (int j = 1; j < classes; j++) {
            if (a[k * classes + j] > a[k * classes + best[0]]) best[0] = j;
            if (b[k * classes + j] > b[k * classes + best[1]]) best[1] = j;
        }
        differ += best[0] != best[1];
    }
    free(a);
    free(b);
    dt_model_destroy(grid);
    return differ;
}

Test(qcaps_integers, program_is_grid_for_shallowcaps)
{
    static const struct {
        dt_rounding rounding;
        int bits, published, most_differ;
        const char *why;
    } cases[] = { { DT_ROUND_NEAREST, 8, 0, 3, "the paper's formats" },
                  { DT_ROUND_NEAREST, 5, 0, IMAGES / 3, "few bits" },
                  { DT_ROUND_TRUNCATION, 8, 0, IMAGES / 3, "rounded down" },
                  { DT_ROUND_NEAREST, 6, 1, IMAGES / 3, "the published formats" } };
    net n = shallow(16);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        quantize(&n, cases[i].bits, cases[i].rounding, cases[i].published);
        equal_scores(&n, cases[i].why, 7);
        const int differ = other_predictions(&n, IMAGES);
        cr_log_info("%s: %d of %d predictions differ\n", cases[i].why, differ, IMAGES);
        cr_expect(differ <= cases[i].most_differ, "%s: %d of %d predictions differ", cases[i].why, differ, IMAGES);
        dt_model_destroy(n.fixed);
        n.fixed = NULL;
    }
    net_close(&n);
}

/* Every psum, vote and value of routing. */
static void verified(net *n, const char *what)
{
    const dt_array array = { .rows = 8, .cols = 8, .psum_bits = 24 };
    dt_verify_report *report;

    MUST(dt_verify(n->fixed, n->data, 0, 5, NULL, &array, NULL, &report));
    cr_assert(report->mismatches == 0 && report->n_layers == 10, "%s: %lld mismatches in %d layers, first %s of %s",
              what, (long long)report->mismatches, report->n_layers, report->first.what, report->first.layer);
    dt_verify_report_destroy(report);
}

Test(qcaps_integers, program_is_grid_for_sums_lists_and_joint_routing)
{
    for (int published = 0; published < 2; published++) {
        net n = small();
        quantize(&n, published ? 4 : 7, DT_ROUND_NEAREST, published);
        equal_scores(&n, published ? "published" : "paper", 12);
        verified(&n, published ? "published" : "paper");
        net_close(&n);
    }
}

/* Integers, or what a quantizer takes a bias, a ReLU or a batch norm of. */
Test(qcaps_integers, nothing_real_is_left)
{
    net n = small();
    dt_model *grid;

    quantize(&n, 7, DT_ROUND_NEAREST, 0);
    MUST(dt_program_source(n.fixed, &grid));
    const dt_graph *g = grid->graph;
    char *needed = calloc((size_t)g->n_values, 1);
    needed[g->scores] = 1;
    dt_graph_mark_needed(g, NULL, 0, needed);
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *node = &g->node[i];
        if (!needed[node->out] || g->value[node->out]->facts.n_scale > 0) continue;
        const int waits = node->kind == DT_OP_BIAS || node->kind == DT_OP_RELU || node->kind == DT_OP_BATCHNORM;
        cr_assert(waits || node->out == g->scores, "%s is real", dt_graph_name(g, node->out));
    }
    free(needed);
    dt_model_destroy(grid);
    net_close(&n);
}

static const dt_graph_node *node_of(const dt_graph *g, const char *name)
{
    const int value = dt_graph_find(g, name);
    cr_assert(value >= 0 && dt_graph_maker(g, value), "there is no node %s", name);
    return dt_graph_maker(g, value);
}

static float value_of(const dt_model *m, const char *name)
{
    float x;
    const int i = dt_model_find(m, name);

    cr_assert(i >= 0, "there is no %s", name);
    MUST(dt_model_read(m, i, &x));
    return x;
}

static dt_qcaps_tensor tensor_of(const dt_model *m, const char *name)
{
    dt_qcaps_tensor t;
    const int i = dt_fixed_find(dt_fixed_formats_of(m), name);

    cr_assert(i >= 0, "there is no format of %s", name);
    dt_qcaps_look_at(m, i, &t);
    return t;
}

/* Steps of what layers read are the formats'; those inside of routing are the nearest powers of two, in as many bits.
 */
Test(qcaps_integers, formats_are_those_of_the_search)
{
    net n = shallow(8);
    dt_model *grid;

    quantize(&n, 6, DT_ROUND_NEAREST, 0);
    MUST(dt_program_source(n.fixed, &grid));
    const dt_graph *g = grid->graph;
    const dt_route_int_params *digit = node_of(g, "digit")->params;
    const dt_scale_quant_params *votes = node_of(g, "digit.votes.act_quant")->params,
                                *conv = node_of(g, "primary.conv3d.act_quant")->params;

    cr_assert(votes->low == -32 && votes->high == 31 && votes->rounding == DT_TO_HALF_EVEN);
    cr_assert(conv->low == 0 && conv->high == 31, "codes of a ReLU are not below 0");
    cr_assert(value_of(grid, "digit.votes.act_quant.step") == tensor_of(n.fixed, "digit.votes").step);
    cr_assert(value_of(grid, "primary.conv3d.weight_quant.step") == tensor_of(n.fixed, "primary.conv3d.weight").step);
    cr_assert(value_of(grid, "digit.act_quant.step") == tensor_of(n.fixed, "primary.v1").step);
    for (int r = 0; r < 3; r++) {
        char name[16];
        snprintf(name, sizeof name, "digit.s%d", r + 1);
        const float step = ldexpf(1.0f, -digit->s_frac[r]), of = tensor_of(n.fixed, name).step;
        cr_assert(digit->s_bits[r] == 6, "%s has %d bits", name, digit->s_bits[r]);
        cr_assert(step > 0.7f * of && step < 1.42f * of, "%s: step %g for %g", name, (double)step, (double)of);
        if (r == 2) continue;
        cr_assert(digit->v_bits[r] == 6 && digit->b_bits[r] == 6 && digit->c_bits[r] == 5, "iteration %d", r);
        snprintf(name, sizeof name, "digit.b%d", r + 1);
        const float b_step = ldexpf(1.0f, -digit->b_frac[r]), b_of = 1.442695f * tensor_of(n.fixed, name).step;
        cr_assert(b_step > 0.99f * b_of && b_step < 2.0f * b_of, "%s: step %g for %g", name, (double)b_step,
                  (double)b_of);
    }
    /* 1/10 is the largest coupling that was seen, so its code is the last one. */
    const float coupling = tensor_of(n.fixed, "digit.c1").step * 31.0f;
    const float want = tensor_of(n.fixed, "digit.votes").step * coupling * ldexpf(1.0f, digit->s_frac[0]);
    const double is = ldexp(digit->acc_mul[0], -digit->acc_shift[0]);
    cr_assert(fabs(is / (double)want - 1.0) < 1e-4, "the first ratio is %g, expected %g", is, (double)want);
    dt_model_destroy(grid);
    net_close(&n);
}

/* Formats without integers, and bits that a program has no room for. */
Test(qcaps_integers, refusals)
{
    static const dt_rounding none[] = { DT_ROUND_STOCHASTIC, DT_ROUND_LOGARITHMIC };
    dt_program *p;

    for (int k = 0; k < 2; k++) {
        net n = small();
        quantize(&n, 6, none[k], 0);
        cr_assert(dt_program_possible(n.fixed) == DT_ERR_UNSUPPORTED);
        cr_assert(dt_program_lower(n.fixed, n.data, &p) == DT_ERR_UNSUPPORTED);
        cr_assert(strstr(dt_last_error(), dt_rounding_names[none[k]]) != NULL, "%s", dt_last_error());
        net_close(&n);
    }
    net n = small();
    quantize(&n, 10, DT_ROUND_NEAREST, 0);
    MUST(dt_program_possible(n.fixed));
    cr_assert(dt_program_lower(n.fixed, n.data, &p) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "codes of 10 bits") != NULL, "%s", dt_last_error());
    net_close(&n);
}
