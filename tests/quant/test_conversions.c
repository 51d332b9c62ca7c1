/*
 * test_conversions.c - networks of one to three operators, each for one rule of TensorFlow Lite's converter: scales,
 * zero points, codes and biases of the whole path from reals to a program, beside what the converter made.
 *
 * The converter's results are micro.json of the folder that DETENT_PTQ_ORACLE names.
 */
#include "../../core/context.h"
#include "../../core/train/model.h"
#include "../../quant/post_training.h"
#include "../../quant/program/program.h"
#include "../support/golden_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPS = 3 };

/* An operator of the converter's graph: the layer that has its weights, or NULL, and the value that it makes. */
typedef struct {
    const char *layer, *value;
} converted;

typedef struct {
    const char *name;
    const char *image; /* of the network as JSON */
    int classes;
    const char *nodes;
    converted op[MAX_OPS];
} conversion;

#define LINEAR_3                                               \
    "[1, 1, 4]", 3,                                            \
        "[\"flat\", \"flatten\", \"image\"],"                  \
        "[\"fc\", \"linear\", \"flat\", { \"features\": 3 }]", \
    {                                                          \
        {                                                      \
            "fc", "fc"                                         \
        }                                                      \
    }

static const conversion cases[] = {
    { "sym_range", LINEAR_3 },
    { "sym_range2", LINEAR_3 },
    { "half_zp", LINEAR_3 },
    { "negative", LINEAR_3 },
    { "positive", LINEAR_3 },
    { "tiny_channel", LINEAR_3 },
    { "zero_channel", LINEAR_3 },
    { "big_bias", LINEAR_3 },
    { "const_range",
      "[1, 1, 4]",
      3,
      "[\"flat\", \"flatten\", \"image\"], [\"fc\", \"linear\", \"flat\", { \"features\": 3 }], [\"fc.relu\", "
      "\"relu\", \"fc\"]",
      { { "fc", "fc.relu" } } },
    { "relu_alone",
      "[1, 1, 4]",
      4,
      "[\"flat\", \"flatten\", \"image\"], [\"a\", \"linear\", \"flat\", { \"features\": 4 }], [\"a.relu\", \"relu\", "
      "\"a\"],"
      "[\"b\", \"linear\", \"flat\", { \"features\": 4 }], [\"sum\", \"add\", [\"a.relu\", \"b\"]]",
      { { "a", "a.relu" }, { "b", "b" }, { NULL, "sum" } } },
    { "big_bias_conv",
      "[4, 4, 2]",
      27,
      "[\"c\", \"conv\", \"image\", { \"filters\": 3, \"window\": 2 }], [\"c.biased\", \"bias\", \"c\"],"
      "[\"flat\", \"flatten\", \"c.biased\"]",
      { { "c", "c.biased" } } },
    { "two_users",
      "[4, 4, 2]",
      48,
      "[\"a\", \"conv\", \"image\", { \"filters\": 3, \"window\": 1 }], [\"a.biased\", \"bias\", \"a\"],"
      "[\"b\", \"conv\", \"image\", { \"filters\": 3, \"window\": 1 }], [\"b.biased\", \"bias\", \"b\"],"
      "[\"sum\", \"add\", [\"a.biased\", \"b.biased\"]], [\"flat\", \"flatten\", \"sum\"]",
      { { "a", "a.biased" }, { "b", "b.biased" }, { NULL, "sum" } } },
    { "mean_all",
      "[4, 4, 2]",
      2,
      "[\"mean\", \"avgpool\", \"image\"], [\"flat\", \"flatten\", \"mean\"]",
      { { NULL, "mean" } } },
    { "pool_first",
      "[4, 4, 2]",
      8,
      "[\"most\", \"maxpool\", \"image\", { \"window\": 2 }], [\"flat\", \"flatten\", \"most\"]",
      { { NULL, NULL } } },
    { "avg_relu",
      "[4, 4, 2]",
      8,
      "[\"mean\", \"avgpool\", \"image\", { \"window\": 2 }], [\"mean.relu\", \"relu\", \"mean\"], [\"flat\", "
      "\"flatten\", "
      "\"mean.relu\"]",
      { { NULL, NULL } } },
};

static void must(const conversion *c, dt_status status)
{
    cr_assert_eq(status, DT_OK, "%s: %s", c->name, dt_last_error());
}

/* ---- the network of reals ---- */

static const cJSON *input_of(const cJSON *op, int k)
{
    return cJSON_GetArrayItem(cJSON_GetObjectItem(op, "inputs"), k);
}

/* Gives a parameter the converter's data, or zeros where it has none. */
static void write_param(const conversion *c, dt_model *m, const char *layer, const char *part, const cJSON *tensor)
{
    const cJSON *number = cJSON_GetObjectItem(tensor, "data");
    char name[64];

    snprintf(name, sizeof name, "%s.%s", layer, part);
    const int p = dt_model_find(m, name);
    cr_assert(p >= 0, "%s: there is no %s", c->name, name);
    const int64_t n = dt_count(&m->param[p]->tensor.shape);
    float *v = calloc((size_t)n, sizeof *v);
    cr_assert(!number || cJSON_GetArraySize(number) == n, "%s: %s has %lld elements", c->name, name, (long long)n);
    number = number ? number->child : NULL;
    for (int64_t i = 0; number && i < n; i++, number = number->next) v[i] = (float)number->valuedouble;
    must(c, dt_model_write(m, p, v));
    free(v);
}

static dt_model *make_model(const conversion *c, dt_context *ctx, const cJSON *ops)
{
    char path[] = "/tmp/detent_network_XXXXXX.json", text[1024];
    dt_model_config config;
    dt_model *m;

    const int n = snprintf(text, sizeof text,
                           "{ \"format\": \"detent-network\", \"image\": %s, \"classes\": %d, \"nodes\": [%s] }",
                           c->image, c->classes, c->nodes);
    cr_assert(mkstemps(path, 5) >= 0);
    must(c, dt_file_replace(path, text, (size_t)n));
    must(c, dt_model_config_default(path, &config));
    config.wbits = config.abits = DT_BITS_FLOAT;
    must(c, dt_model_create(ctx, &config, &m));
    remove(path);
    for (int k = 0; k < cJSON_GetArraySize(ops); k++) {
        const cJSON *op = cJSON_GetArrayItem(ops, k);
        if (!c->op[k].layer) continue;
        const int is_biased = strstr(c->op[k].value, ".biased") != NULL;
        write_param(c, m, c->op[k].layer, "weight", input_of(op, 1));
        write_param(c, m, is_biased ? c->op[k].value : c->op[k].layer, "bias", input_of(op, 2));
    }
    return m;
}

/* ---- quantized with the converter's ranges ---- */

static void know(const conversion *c, const dt_graph *g, const char *name, const cJSON *tensor, char *has,
                 dt_range *range)
{
    const int value = dt_graph_find(g, name);

    cr_assert(value >= 0, "%s: there is no %s", c->name, name);
    range[value] = (dt_range){ (float)cJSON_GetObjectItem(tensor, "min")->valuedouble,
                               (float)cJSON_GetObjectItem(tensor, "max")->valuedouble };
    has[value] = 1;
}

static dt_program *make_program(const conversion *c, dt_model *m, const cJSON *ops)
{
    const dt_quantization what = { .n = 0 };
    dt_model *folded, *q;
    dt_program *p;

    must(c, dt_post_training_fold(m, &folded));
    const dt_graph *g = folded->graph;
    char *has = calloc((size_t)g->n_values, 1);
    dt_range *range = calloc((size_t)g->n_values, sizeof *range);
    know(c, g, "image", input_of(ops->child, 0), has, range);
    for (int k = 0; k < cJSON_GetArraySize(ops); k++) {
        const cJSON *made = cJSON_GetObjectItem(cJSON_GetArrayItem(ops, k), "output");
        if (c->op[k].value) know(c, g, c->op[k].value, made, has, range);
    }
    must(c, dt_post_training_quantize(folded, &what, &(dt_known_ranges){ has, range }, &q));
    must(c, dt_program_lower(q, NULL, &p));
    free(has);
    free(range);
    dt_model_destroy(q);
    dt_model_destroy(folded);
    return p;
}

/* ---- the program beside the converter's ---- */

static const void *data_of(const conversion *c, const dt_program *p, const char *name, const char *part)
{
    char text[80];

    snprintf(text, sizeof text, "%s%s", name, part);
    const int value = dt_graph_find(p->graph, text);
    cr_assert(value >= 0, "%s: there is no %s", c->name, text);
    return p->graph->value[value]->data;
}

static int zero_of(const conversion *c, const dt_program *p, const char *name)
{
    char text[80];

    snprintf(text, sizeof text, "%s.act_quant", name);
    const dt_graph_node *n = dt_graph_maker(p->graph, dt_graph_find(p->graph, text));
    cr_assert(n, "%s: there is no %s", c->name, text);
    switch (n->kind) {
    case DT_OP_QUANTIZE: return ((const dt_quantize_params *)n->params)->zero;
    case DT_OP_QADD: return ((const dt_qbinary_params *)n->params)->zero;
    case DT_OP_QAVGPOOL: return ((const dt_qavgpool_params *)n->params)->zero;
    default: return ((const dt_requantize_params *)n->params)->zero;
    }
}

static void check_value(const conversion *c, const dt_program *p, const char *name, const cJSON *tensor)
{
    const float want = (float)cJSON_GetObjectItem(tensor, "scale")->child->valuedouble;
    const int zero = cJSON_GetObjectItem(tensor, "zero_point")->child->valueint;
    const float scale = *(const float *)data_of(c, p, name, ".act_scale");

    cr_assert(scale == want && zero_of(c, p, name) == zero, "%s: %s: scale %.9g, zero %d; the converter has %.9g, %d",
              c->name, name, (double)scale, zero_of(c, p, name), (double)want, zero);
}

static void check_layer(const conversion *c, const dt_program *p, const char *layer, const cJSON *op)
{
    const cJSON *weight = input_of(op, 1), *bias = input_of(op, 2), *one;
    const int8_t *code = data_of(c, p, layer, ".weight");
    const float *scale = data_of(c, p, layer, ".weight_scale");
    int i = 0;

    cJSON_ArrayForEach(one, cJSON_GetObjectItem(weight, "data"))
    {
        cr_assert_eq(code[i], one->valueint, "%s: %s: code %d is %d, not %d", c->name, layer, i, code[i],
                     one->valueint);
        i++;
    }
    i = 0;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(weight, "scale"))
    {
        cr_assert_eq(scale[i], (float)one->valuedouble, "%s: %s: scale %d is %.9g, not %.9g", c->name, layer, i,
                     (double)scale[i], one->valuedouble);
        i++;
    }
    if (!cJSON_IsObject(bias)) return;
    const int32_t *b = data_of(c, p, layer, ".bias");
    i = 0;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(bias, "data"))
    {
        cr_assert_eq(b[i], one->valueint, "%s: %s: bias %d is %d, not %d", c->name, layer, i, b[i], one->valueint);
        i++;
    }
}

static void check(const conversion *c, dt_context *ctx, const cJSON *golden)
{
    const cJSON *plain = cJSON_GetObjectItem(golden, "float"), *integer = cJSON_GetObjectItem(golden, "int8");

    cr_assert(plain && integer, "micro.json has no %s", c->name);
    dt_model *m = make_model(c, ctx, plain);
    dt_program *p = make_program(c, m, plain);
    check_value(c, p, "image", input_of(integer->child, 0));
    for (int k = 0; k < cJSON_GetArraySize(integer); k++) {
        const cJSON *op = cJSON_GetArrayItem(integer, k);
        if (c->op[k].layer) check_layer(c, p, c->op[k].layer, op);
        if (c->op[k].value) check_value(c, p, c->op[k].value, cJSON_GetObjectItem(op, "output"));
    }
    dt_program_destroy(p);
    dt_model_destroy(m);
}

Test(conversions, are_the_converters)
{
    cJSON *micro = golden_json("micro");
    dt_options opt;
    dt_context *ctx;

    if (!micro) cr_skip("DETENT_PTQ_ORACLE names no folder with TensorFlow Lite's results");
    dt_options_default(&opt);
    opt.backend = "cpu";
    cr_assert_eq(dt_context_create(&opt, &ctx), DT_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check(&cases[i], ctx, cJSON_GetObjectItem(micro, cases[i].name));
    }
    dt_context_destroy(ctx);
    cJSON_Delete(micro);
}
