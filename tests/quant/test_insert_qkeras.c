/*
 * test_insert_qkeras.c - where the QKeras-Mod notebook's quantizers of training stand, that training runs through them,
 * and that the network of reals comes back.
 */
#include <stdio.h>

#include "../support/range_networks.h"
#include "../../quant/insert_qkeras.h"
#include "../../quant/post_training.h"
#include "detent/predict.h"

enum { IMAGES = 9, CLASSES = 10 };

/* The notebook's network: a pool, two convolutions, a dense layer. */
static const char notebook[] =
    "{ \"format\": \"detent-network\", \"name\": \"notebook\", \"image\": [16, 16, 3], \"classes\": 10, \"nodes\": ["
    "[\"pool\", \"maxpool\", \"image\", { \"window\": 2 }],"
    "[\"conv2d_0\", \"conv\", \"pool\", { \"filters\": 2, \"window\": 3 }],"
    "[\"relu_0\", \"relu\", \"conv2d_0\"],"
    "[\"conv2d_1\", \"conv\", \"relu_0\", { \"filters\": 3, \"window\": 3, \"stride\": 2, \"pad\": 1 }],"
    "[\"relu_1\", \"relu\", \"conv2d_1\"],"
    "[\"flatten\", \"flatten\", \"relu_1\"],"
    "[\"dense\", \"linear\", \"flatten\", { \"features\": 10 }] ] }";

static const dt_qkeras_choice notebook_bits = { .wbits = 8, .abits = 8, .per_channel = 1 };

static dt_graph *with_quantizers(const char *text, const dt_qkeras_choice *choice)
{
    dt_graph *g = graph_of(text), *out;

    MUST(dt_quant_insert_qkeras(g, choice, &out));
    dt_graph_destroy(g);
    return out;
}

static int count_of(const dt_graph *g, dt_op_kind kind)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) n += g->node[i].kind == kind;
    return n;
}

static const dt_graph_node *node_of(const dt_graph *g, const char *name)
{
    const int value = dt_graph_find(g, name);
    cr_assert(value >= 0 && dt_graph_maker(g, value), "there is no %s", name);
    return dt_graph_maker(g, value);
}

/* Before each kernel, and behind the last layer: four, as in the notebook. */
Test(insert_qkeras, quantizers_stand_where_the_notebook_has_them)
{
    static const char *const quantized[] = { "pool", "relu_0", "relu_1", "dense" };
    dt_graph *g = with_quantizers(notebook, &notebook_bits);
    cr_assert(count_of(g, DT_OP_FEATUREMAP_QUANT) == 4 && count_of(g, DT_OP_MAX_QUANT) == 3);
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.quant", quantized[i]);
        const dt_graph_node *n = node_of(g, name);
        cr_assert(n->kind == DT_OP_FEATUREMAP_QUANT && n->in[0] == dt_graph_find(g, quantized[i]), "%s", name);
        cr_assert(((const dt_featuremap_quant_params *)n->params)->bits == 8);
    }
    cr_assert(g->scores == dt_graph_find(g, "dense.quant"));
    cr_assert(dt_graph_maker(g, node_of(g, "dense")->in[0])->kind == DT_OP_FLATTEN);
    cr_assert(g->value[dt_graph_find(g, "conv2d_1.weight_quant")]->facts.n_scale == 3, "one for each filter");
    cr_assert(g->value[dt_graph_find(g, "dense.weight_quant")]->facts.n_scale == 1, "one for the layer");
    dt_graph_destroy(g);
}

/* Both addends have one; what two readers share is quantized once; a layer that stays real reads the real value. */
Test(insert_qkeras, residual_networks_have_them_too)
{
    static const dt_layer_bits real = { "b", DT_BITS_FLOAT, DT_BITS_FLOAT, 0 };
    const dt_qkeras_choice some = { .wbits = 4, .abits = 16, .layer_bits = &real, .n_layer_bits = 1 };
    dt_graph *g = with_quantizers(residual, &some);
    cr_assert(dt_graph_maker(g, node_of(g, "join")->in[0])->kind == DT_OP_FEATUREMAP_QUANT);
    cr_assert(node_of(g, "join")->in[1] == node_of(g, "a")->in[0], "pool has one quantizer");
    cr_assert(node_of(g, "b")->in[0] == dt_graph_find(g, "a.act") && dt_graph_find(g, "b.weight_quant") < 0);
    cr_assert(g->value[dt_graph_find(g, "a.weight_quant")]->facts.n_scale == 1);
    dt_graph_destroy(g);
}

static int act_bits(const dt_graph *g, const char *name)
{
    return ((const dt_featuremap_quant_params *)node_of(g, name)->params)->bits;
}

static int weight_bits(const dt_graph *g, const char *name)
{
    return ((const dt_max_quant_params *)node_of(g, name)->params)->bits;
}

/* A layer has its weights' and its input's bits, through a flatten too; the name of a quantizer says more. */
Test(insert_qkeras, layers_have_bits_of_their_own)
{
    static const dt_layer_bits own[] = { { "conv2d_*", 4, 16, 0 }, { "dense", 2, 3, 0 }, { "pool.quant", 2, 5, 0 } };
    const dt_qkeras_choice choice = { .wbits = 8, .abits = 7, .layer_bits = own, .n_layer_bits = 3 };
    dt_graph *g = with_quantizers(notebook, &choice);
    cr_assert(weight_bits(g, "conv2d_0.weight_quant") == 4 && weight_bits(g, "conv2d_1.weight_quant") == 4);
    cr_assert(weight_bits(g, "dense.weight_quant") == 2);
    cr_assert(act_bits(g, "pool.quant") == 5 && act_bits(g, "relu_0.quant") == 16);
    cr_assert(act_bits(g, "relu_1.quant") == 3, "what dense reads through the flatten has %d bits",
              act_bits(g, "relu_1.quant"));
    cr_assert(act_bits(g, "dense.quant") == 7, "the scores");
    dt_graph_destroy(g);
}

/* A convolution with a bias behind it, one with a batch norm, and a dense layer whose bias is its own. */
static const char biased[] =
    "{ \"format\": \"detent-network\", \"name\": \"biased\", \"image\": [16, 16, 3], \"classes\": 10, \"nodes\": ["
    "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3 }],"
    "[\"a.biased\", \"bias\", \"a\"],"
    "[\"b\", \"conv\", \"a.biased\", { \"filters\": 3, \"window\": 3 }],"
    "[\"b.bn\", \"batchnorm\", \"b\"],"
    "[\"flatten\", \"flatten\", \"b.bn\"],"
    "[\"dense\", \"linear\", \"flatten\", { \"features\": 10 }] ] }";

static void check_bias(const dt_graph *g, const char *layer, int bits, int reader, int k)
{
    char name[64];

    snprintf(name, sizeof name, "%s.bias_quant", layer);
    const dt_graph_node *quant = node_of(g, name), *real = dt_graph_maker(g, g->node[reader].in[k]);
    cr_assert(quant->kind == DT_OP_MAX_QUANT && weight_bits(g, name) == bits);
    cr_assert(g->value[quant->out]->facts.n_scale == 1 && g->value[quant->in[0]]->source == DT_SOURCE_PARAM);
    cr_assert(real->kind == DT_OP_DEQUANTIZE && real->in[0] == quant->out, "%s reads another bias", layer);
}

Test(insert_qkeras, biases_have_bits_where_their_layer_says_so)
{
    static const dt_layer_bits own[] = { { "*", 8, 8, 5 }, { "dense", 8, 8, 16 } }, many = { "*", 8, 8, 17 };
    static const dt_layer_bits real = { "a", DT_BITS_FLOAT, DT_BITS_FLOAT, 8 };
    dt_qkeras_choice choice = { .wbits = 8, .abits = 8, .layer_bits = own, .n_layer_bits = 2 };
    dt_graph *g = with_quantizers(biased, &choice), *back;
    cr_assert(count_of(g, DT_OP_MAX_QUANT) == 3 + 2, "three layers, two of which have a bias");
    check_bias(g, "a", 5, (int)(node_of(g, "a.biased") - g->node), 1);
    check_bias(g, "dense", 16, (int)(node_of(g, "dense") - g->node), 2);
    MUST(dt_quant_remove_qkeras(g, &back));
    cr_assert(count_of(back, DT_OP_MAX_QUANT) == 0 && count_of(back, DT_OP_DEQUANTIZE) == 0);
    cr_assert(back->value[node_of(back, "a.biased")->in[1]]->source == DT_SOURCE_PARAM, "the bias does not come back");
    dt_graph_destroy(back);
    dt_graph_destroy(g);

    for (int i = 0; i < 2; i++) {
        choice.layer_bits = i ? &real : &many;
        choice.n_layer_bits = 1;
        g = with_quantizers(biased, &choice);
        cr_assert(count_of(g, DT_OP_MAX_QUANT) == (i ? 2 : 3), "%s", i ? "of a real layer" : "17 bits are as real");
        dt_graph_destroy(g);
    }
}

Test(insert_qkeras, the_real_network_comes_back)
{
    dt_graph *plain = graph_of(residual), *g = with_quantizers(residual, &notebook_bits), *back;
    MUST(dt_quant_remove_qkeras(g, &back));
    cr_assert(back->n_nodes == plain->n_nodes, "%d nodes, expected %d", back->n_nodes, plain->n_nodes);
    for (int i = 0; i < back->n_nodes; i++) {
        const dt_graph_node *a = &plain->node[i], *b = &back->node[i];
        cr_assert(a->kind == b->kind && strcmp(dt_graph_name(plain, a->out), dt_graph_name(back, b->out)) == 0);
        for (int k = 0; k < a->n_in; k++) {
            cr_assert(strcmp(dt_graph_name(plain, a->in[k]), dt_graph_name(back, b->in[k])) == 0, "%s",
                      dt_graph_name(back, b->out));
        }
    }
    cr_assert(strcmp(dt_graph_name(back, back->scores), "classifier") == 0);
    dt_graph_destroy(back);
    dt_graph_destroy(g);
    dt_graph_destroy(plain);
}

/* It learns, and what was learned is near the real network's scores. */
Test(insert_qkeras, networks_train_and_are_quantized)
{
    const dt_dataset_options data = {
        .name = "synthetic", .split = DT_SPLIT_TRAIN, .limit = 80, .seed = 1, .height = 16, .width = 16, .resize = 1
    };
    const dt_model_config config = { .wbits = 8, .abits = 8, .per_channel = 1, .rule = DT_RULE_QKERAS };
    float was[IMAGES * CLASSES], is[IMAGES * CLASSES];
    tiny_options o = tiny_defaults();
    dt_graph *g = graph_of(residual);
    dt_metrics first, last;
    tiny_run r = { 0 };
    dt_model *real;
    dt_model_info info;
    o.train.crop_pad = 0;
    o.train.flip_share = 0.0f;
    o.train.lr = 0.1f;
    MUST(dt_context_create(&o.context, &r.ctx));
    MUST(dt_dataset_open(&data, &r.data));
    MUST(dt_model_create_of(r.ctx, g, &config, &r.model));
    MUST(dt_trainer_create(r.model, r.data, &o.train, &r.trainer));
    dt_model_look(r.model, &info);
    cr_assert(info.rule == DT_RULE_QKERAS && info.wbits_most == 8 && info.abits_least == 8 && info.n_float == 0);
    tiny_steps(&r, 3);
    MUST(dt_trainer_metrics(r.trainer, &first));
    tiny_steps(&r, 21);
    MUST(dt_trainer_metrics(r.trainer, &last));
    cr_assert(last.loss < first.loss, "the loss was %g and is %g", first.loss, last.loss);
    MUST(dt_post_training_fold(r.model, &real));
    MUST(dt_predict(r.model, &(dt_prediction){ .dataset = r.data, .n = IMAGES }, was));
    MUST(dt_predict(real, &(dt_prediction){ .dataset = r.data, .n = IMAGES }, is));
    int n_same = 0;
    for (int k = 0; k < IMAGES * CLASSES; k++) {
        cr_assert(was[k] - is[k] < 0.3f && is[k] - was[k] < 0.3f, "score %d is %g, was %g", k, (double)is[k],
                  (double)was[k]);
        n_same += was[k] == is[k];
    }
    cr_assert(n_same < IMAGES * CLASSES, "nothing was quantized");
    dt_model_destroy(real);
    dt_graph_destroy(g);
    tiny_close(&r);
}

Test(insert_qkeras, misfits_are_refused)
{
    const dt_qkeras_choice wide = { .wbits = 17, .abits = 8 };
    static const dt_layer_bits unknown = { "nobody", 4, 4, 0 }, odd = { "dense", 4, 17, 0 };
    static const dt_layer_bits narrow = { "dense", 4, 4, 1 };
    const dt_qkeras_choice bias = { .wbits = 8, .abits = 8, .layer_bits = &narrow, .n_layer_bits = 1 };
    const dt_qkeras_choice none = { .wbits = 8, .abits = 8, .layer_bits = &unknown, .n_layer_bits = 1 };
    const dt_qkeras_choice beyond = { .wbits = 8, .abits = 8, .layer_bits = &odd, .n_layer_bits = 1 };
    dt_graph *g = graph_of(notebook), *out = NULL;
    cr_assert(dt_quant_insert_qkeras(g, &wide, &out) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "w17a8, allowed are 2..16") != NULL, "%s", dt_last_error());
    cr_assert(dt_quant_insert_qkeras(g, &none, &out) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "no layer 'nobody'") != NULL, "%s", dt_last_error());
    cr_assert(dt_quant_insert_qkeras(g, &beyond, &out) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "w4a17 for 'dense'") != NULL, "%s", dt_last_error());
    cr_assert(dt_quant_insert_qkeras(g, &bias, &out) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "a bias of 1 bits for 'dense', allowed are 2..32") != NULL, "%s",
              dt_last_error());
    cr_assert(out == NULL);
    dt_graph_destroy(g);
}
