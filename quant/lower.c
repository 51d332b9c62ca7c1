/*
 * lower.c - from a trained model to its program: one image is evaluated, and each node that ran becomes layers.
 *
 * lowering.h has the idea, lower_values.c the thresholds. A node that a program has no layer for is refused by name.
 * Tests: tests/test_lower.c.
 */
#include "fixed_formats.h"
#include "lowering.h"

#include "../core/conv_params.h"
#include "../core/grid_facts.h"
#include "../core/inference.h"
#include "../core/names.h"
#include "../layers/augment.h"
#include "../layers/batchnorm.h"
#include "../layers/pool.h"

#include <stdio.h>
#include <stdlib.h>

static dt_status source_add(dt_lowering *w, const dt_node *node, dt_source_kind kind, dt_source *from, int layer,
                            dt_source **out)
{
    dt_source *s = calloc(1, sizeof *s);

    DT_CHECK(s, DT_ERR_MEMORY, "no memory to lower %s", node->name);
    *s = (dt_source){ .next = w->sources,
                      .tensor = node->out,
                      .node = node,
                      .kind = kind,
                      .from = from,
                      .layer = layer,
                      .reals = kind == DT_SOURCE_REALS ? layer : -1 };
    w->sources = s;
    if (out) *out = s;
    return DT_OK;
}

static dt_status source_find(const dt_lowering *w, const dt_node *node, int k, dt_source **out)
{
    dt_source *s = w->sources;
    while (s && s->tensor != node->in[k]) s = s->next;
    DT_CHECK(s, DT_ERR_UNSUPPORTED, "%s: %s reads %s, which has no place in a program", node->name,
             dt_ops[node->kind]->name, node->in[k]->name);
    *out = s;
    return DT_OK;
}

static void sources_destroy(dt_source *s)
{
    while (s) {
        dt_source *next = s->next;
        free(s->slope);
        free(s->offset);
        free(s);
        s = next;
    }
}

static dt_status read_tensor(const dt_lowering *w, const dt_tensor *t, float **out)
{
    return dt_lowering_read(w, t->data, dt_count(&t->shape), out);
}

static dt_status quantizer_read(const dt_lowering *w, const dt_node *node, dt_quantizer *q)
{
    const dt_act_quant_params *p = node->params;
    const int high = dt_act_high(p->bits, p->is_signed);

    snprintf(q->name, sizeof q->name, "%.*s", dt_layer_name_bytes(node->name), node->name);
    q->params = *p;
    q->grid = (dt_grid){ p->is_signed ? -high : 0, high, 0.0f };
    DT_TRY(dt_device_read(w->ctx, &q->alpha, node->in[1]->data, sizeof q->alpha));
    DT_TRY(dt_device_read(w->ctx, &q->scale, node->out->scale, sizeof q->scale));
    DT_CHECK(q->alpha > 0.0f && isfinite(q->alpha), DT_ERR_NUMERIC, "%s: the clip is %g, not above 0", node->name,
             (double)q->alpha);
    return DT_OK;
}

/* The code of each of 256 pixels. An unclamped quantizer has no lowest code but the table's. */
static dt_status fill_table(dt_lowering *w, const dt_source *image, const dt_quantizer *q)
{
    const dt_augment_params *norm = image->node->params;
    dt_program *p = w->program;

    DT_CHECK(!p->table, DT_ERR_UNSUPPORTED, "%s: a second quantizer reads the image, and a program has one table",
             q->name);
    p->table = malloc(256 * (size_t)p->channels * sizeof *p->table);
    DT_CHECK(p->table, DT_ERR_MEMORY, "no memory for the table of the image");
    p->low = q->params.unclamped ? 0 : q->grid.low;
    p->high = q->grid.high;
    p->scale = q->scale;
    for (int i = 0; i < 256 * p->channels; i++) {
        const int c = i % p->channels;
        const float v = dt_augment_value((uint8_t)(i / p->channels), norm->mean[c], norm->std[c]);
        const float code = dt_act_code(v, q->alpha, &q->grid, q->params.unclamped, q->params.rule);
        DT_CHECK(code >= (float)INT16_MIN && code <= (float)INT16_MAX, DT_ERR_NUMERIC,
                 "%s: a pixel has the code %g, beyond 16 bits; the clip %g is too small", q->name, (double)code,
                 (double)q->alpha);
        p->table[i] = (int16_t)code;
        if (p->low > p->table[i]) p->low = p->table[i];
    }
    return DT_OK;
}

static dt_status lower_act_quant(dt_lowering *w, const dt_node *node)
{
    dt_source *x = NULL;
    dt_quantizer q;

    DT_TRY(source_find(w, node, 0, &x));
    DT_TRY(quantizer_read(w, node, &q));
    if (x->kind == DT_SOURCE_IMAGE) {
        DT_TRY(fill_table(w, x, &q));
        return source_add(w, node, DT_SOURCE_CODES, NULL, DT_FROM_IMAGE, NULL);
    }
    const dt_source_kind base = dt_source_base(x)->kind;
    DT_CHECK(base == DT_SOURCE_LINE || base == DT_SOURCE_REALS, DT_ERR_UNSUPPORTED,
             "%s: quantizes %s, which is neither the image nor what a convolution gave", node->name, x->node->name);
    DT_CHECK(!q.params.unclamped, DT_ERR_UNSUPPORTED, "%s: only the image's quantizer may be unclamped", node->name);
    DT_TRY(dt_source_codes(w, x, &q));
    return source_add(w, node, DT_SOURCE_CODES, NULL, dt_lowering_last(w), NULL);
}

static dt_status copy_weights(const dt_lowering *w, const dt_tensor *codes, dt_layer *l)
{
    const int64_t n = dt_count(&codes->shape);
    float *code;
    int64_t i = 0;

    l->weight = malloc((size_t)n);
    DT_CHECK(l->weight, DT_ERR_MEMORY, "no memory for the weights of %s", l->name);
    DT_TRY(read_tensor(w, codes, &code));
    for (; i < n && code[i] >= (float)codes->qmin && code[i] <= (float)codes->qmax; i++) {
        l->weight[i] = (int8_t)code[i];
    }
    const double outside = i < n ? (double)code[i] : 0.0;
    free(code);
    DT_CHECK(i == n, DT_ERR_NUMERIC, "%s: a weight has the code %g; the model has diverged", l->name, outside);
    return DT_OK;
}

/* The source of a line; its arrays are filled by the caller. */
static dt_status line_add(dt_lowering *w, const dt_node *node, int layer, dt_source **out)
{
    const size_t channels = (size_t)w->program->layer[layer].channels;
    dt_source *s = NULL;

    DT_TRY(source_add(w, node, DT_SOURCE_LINE, NULL, layer, &s));
    s->slope = malloc(channels * sizeof *s->slope);
    s->offset = malloc(channels * sizeof *s->offset);
    DT_CHECK(s->slope && s->offset, DT_ERR_MEMORY, "no memory for the line of %s", node->name);
    *out = s;
    return DT_OK;
}

/* The psum's own line: its scale, and nothing added. */
static dt_status psum_line(dt_lowering *w, const dt_node *node, int layer)
{
    const int n_scale = node->out->n_scale;
    float *scale;
    dt_source *s = NULL;

    DT_TRY(line_add(w, node, layer, &s));
    s->is_psum = 1;
    DT_TRY(dt_lowering_read(w, node->out->scale, n_scale, &scale));
    for (int64_t c = 0; c < dt_channels(&node->out->shape); c++) {
        s->slope[c] = dt_scale_at(scale, n_scale, c);
        s->offset[c] = 0.0f;
    }
    free(scale);
    return DT_OK;
}

static dt_status lower_conv(dt_lowering *w, const dt_node *node)
{
    const dt_conv_params *p = node->params;
    const int64_t *filters = node->in[1]->shape.dim, *y = node->out->shape.dim;
    dt_source *x = NULL;
    dt_layer *l;

    DT_CHECK(node->out->n_scale > 0, DT_ERR_UNSUPPORTED,
             "%s is not quantized, so it has no integers; train the model with wbits and abits of 2 to 8", node->name);
    DT_TRY(source_find(w, node, 0, &x));
    DT_CHECK(x->kind == DT_SOURCE_CODES, DT_ERR_UNSUPPORTED, "%s: reads psums, not codes; quantize them before it",
             node->name);
    DT_TRY(dt_conv_check_square(node->name, "a program", p));
    DT_TRY(dt_lowering_add(w, DT_LAYER_CONV, node->name, x->layer, &l));
    const int64_t most = l->high > -l->low ? l->high : -l->low;
    l->value = DT_VALUE_PSUM;
    l->window_height = (int)filters[1];
    l->window_width = (int)filters[2];
    l->stride = p->stride[0];
    l->pad = p->pad[0];
    l->height = (int)y[1];
    l->width = (int)y[2];
    l->channels = (int)y[3];
    l->weight_bound = (int)dt_code_bound(node->in[1]);
    const int64_t bound = filters[1] * filters[2] * filters[3] * most * l->weight_bound;
    DT_CHECK(bound < INT32_MAX, DT_ERR_NUMERIC, "%s: psums may reach %lld, beyond 32 bits; use fewer bits", node->name,
             (long long)bound);
    l->high = (int)bound;
    l->low = -l->high;
    l->scale = 0.0f;
    l->n_weight_scale = node->in[1]->n_scale;
    DT_TRY(dt_lowering_read(w, node->in[1]->scale, l->n_weight_scale, &l->weight_scale));
    DT_TRY(copy_weights(w, node->in[1], l));
    return psum_line(w, node, dt_lowering_last(w));
}

/* Parameters in the order of the node's inputs: gamma, beta, mean, variance. */
static dt_status fold_batchnorm(const dt_node *node, const dt_source *psum, float *const part[4], dt_source *line)
{
    const dt_batchnorm_params *p = node->params;

    for (int64_t c = 0; c < dt_channels(&node->out->shape); c++) {
        const float inv = dt_batchnorm_inv(part[3][c], p->epsilon);
        const dt_batchnorm_line fold = dt_batchnorm_fold(part[0][c], part[1][c], part[2][c], inv, psum->slope[c]);
        DT_CHECK(isfinite(fold.a) && isfinite(fold.b), DT_ERR_NUMERIC,
                 "%s: channel %lld is %g * psum + %g; the model has diverged", node->name, (long long)c, (double)fold.a,
                 (double)fold.b);
        line->slope[c] = fold.a;
        line->offset[c] = fold.b;
    }
    return DT_OK;
}

static dt_status lower_batchnorm(dt_lowering *w, const dt_node *node)
{
    dt_source *x = NULL, *line = NULL;
    float *part[4] = { NULL };
    dt_status status = DT_OK;

    DT_TRY(source_find(w, node, 0, &x));
    while (x->kind == DT_SOURCE_SAME) x = x->from;
    DT_CHECK(x->kind == DT_SOURCE_LINE && x->is_psum &&
                 dt_channels(&node->out->shape) == w->program->layer[x->layer].channels,
             DT_ERR_UNSUPPORTED, "%s: a batch norm must follow its convolution", node->name);
    DT_TRY(line_add(w, node, x->layer, &line));
    for (int k = 0; k < 4 && status == DT_OK; k++) status = read_tensor(w, node->in[k + 1], &part[k]);
    if (status == DT_OK) status = fold_batchnorm(node, x, part, line);
    for (int k = 0; k < 4; k++) free(part[k]);
    return status;
}

static dt_status lower_through(dt_lowering *w, const dt_node *node, dt_source_kind kind)
{
    dt_source *x = NULL;

    DT_TRY(source_find(w, node, 0, &x));
    const dt_source_kind base = dt_source_base(x)->kind;
    DT_CHECK(base == DT_SOURCE_LINE || base == DT_SOURCE_REALS, DT_ERR_UNSUPPORTED,
             "%s: %s of %s, which no convolution gave", node->name, dt_ops[node->kind]->name, x->node->name);
    return source_add(w, node, kind, x, -1, NULL);
}

static dt_status lower_relu(dt_lowering *w, const dt_node *node)
{
    const dt_relu_params *p = node->params;

    DT_CHECK(p->most == 0.0f, DT_ERR_UNSUPPORTED, "%s: a ReLU with an upper limit of %g; a program's have none",
             node->name, (double)p->most);
    return lower_through(w, node, DT_SOURCE_RELU);
}

static dt_status lower_avgpool(dt_lowering *w, const dt_node *node)
{
    const dt_pool_view v = dt_pool_look(node);
    dt_source *x = NULL;
    int from;

    /* evaluation sums such psums before it scales them, in another order of roundings */
    DT_CHECK(node->in[0]->n_scale == 0 || v.window[0] * v.window[1] == 1, DT_ERR_UNSUPPORTED,
             "%s: an average of psums that no batch norm scaled; put one before it", node->name);
    DT_TRY(source_find(w, node, 0, &x));
    DT_TRY(dt_source_reals(w, x, &from));
    DT_TRY(dt_lowering_add_pool(w, node, DT_LAYER_AVGPOOL, from));
    return source_add(w, node, DT_SOURCE_REALS, NULL, dt_lowering_last(w), NULL);
}

static dt_status lower_add(dt_lowering *w, const dt_node *node)
{
    dt_source *x[2] = { NULL };
    int from[2];
    dt_layer *l;

    for (int k = 0; k < 2; k++) {
        DT_TRY(source_find(w, node, k, &x[k]));
        DT_TRY(dt_source_reals(w, x[k], &from[k]));
    }
    DT_TRY(dt_lowering_add(w, DT_LAYER_ADD, node->name, from[0], &l));
    l->in[1] = from[1];
    return source_add(w, node, DT_SOURCE_REALS, NULL, dt_lowering_last(w), NULL);
}

static dt_status lower_linear(dt_lowering *w, const dt_node *node)
{
    dt_source *x = NULL;
    int from;
    dt_layer *l;

    DT_CHECK(node->in[1]->n_scale == 0, DT_ERR_UNSUPPORTED, "%s: a linear layer of codes; a program's has real weights",
             node->name);
    DT_TRY(source_find(w, node, 0, &x));
    DT_TRY(dt_source_reals(w, x, &from));
    DT_TRY(dt_lowering_add(w, DT_LAYER_LINEAR, node->name, from, &l));
    l->height = l->width = 1;
    l->channels = (int)node->out->shape.dim[1];
    DT_TRY(read_tensor(w, node->in[1], &l->matrix));
    if (node->n_in > 2) {
        DT_TRY(read_tensor(w, node->in[2], &l->bias));
    } else {
        l->bias = calloc((size_t)l->channels, sizeof *l->bias);
        DT_CHECK(l->bias, DT_ERR_MEMORY, "no memory for the bias of %s", node->name);
    }
    return source_add(w, node, DT_SOURCE_SCORES, NULL, dt_lowering_last(w), NULL);
}

static dt_status lower_node(void *user, const dt_node *node)
{
    dt_lowering *w = user;

    switch (node->kind) {
    case DT_OP_AUGMENT: return source_add(w, node, DT_SOURCE_IMAGE, NULL, DT_FROM_IMAGE, NULL);
    case DT_OP_ACT_QUANT: return lower_act_quant(w, node);
    case DT_OP_CONV2D: return lower_conv(w, node);
    case DT_OP_BATCHNORM: return lower_batchnorm(w, node);
    case DT_OP_IDENTITY:
    case DT_OP_FLATTEN: return lower_through(w, node, DT_SOURCE_SAME);
    case DT_OP_RELU: return lower_relu(w, node);
    case DT_OP_MAXPOOL: return lower_through(w, node, DT_SOURCE_MAXPOOL);
    case DT_OP_AVGPOOL: return lower_avgpool(w, node);
    case DT_OP_ADD: return lower_add(w, node);
    case DT_OP_LINEAR: return lower_linear(w, node);
    case DT_OP_WEIGHT_QUANT: /* its convolution reads the codes */
    case DT_OP_GATHER:
    case DT_OP_SOFTMAX_XENT: return DT_OK;
    default:
        return dt_raise(
            DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
            "%s: %s has no form in a program, which holds convolutions, batch norms, ReLUs, pools, sums and "
            "a linear classifier",
            node->name, dt_ops[node->kind]->name);
    }
}

/* "vgg16 w4a2 choke 16" */
static void model_text(const dt_model_config *c, char *text, size_t bytes)
{
    char choke[24] = "";
    if (c->choke) snprintf(choke, sizeof choke, " choke %d", c->choke);
    snprintf(text, bytes, "%s w%da%d%s%s", c->name, c->wbits, c->abits, choke, c->skip_block ? " skip block" : "");
}

static dt_status program_create(const dt_model_config *c, dt_program **out)
{
    dt_program *p = calloc(1, sizeof *p);

    DT_CHECK(p, DT_ERR_MEMORY, "no memory for a program");
    model_text(c, p->model, sizeof p->model);
    p->height = c->height;
    p->width = c->width;
    p->channels = c->channels;
    *out = p;
    return DT_OK;
}

/* Every node was taken; the whole must end as programs do. */
static dt_status check_end(const dt_program *p, const char *name)
{
    const dt_layer *last = p->n_layers > 0 ? &p->layer[p->n_layers - 1] : NULL;

    DT_CHECK(last && last->kind == DT_LAYER_LINEAR, DT_ERR_UNSUPPORTED,
             "%s ends in %s, and a program ends in a linear layer; add a classifier", name,
             last ? last->name : "its image");
    return dt_program_check(p);
}

/* Of an unknown one, what d's normalisation says. */
static dt_data_origin program_origin(const dt_model *m, const dt_dataset *d)
{
    dt_data_origin origin = m->origin;
    dt_dataset_view v;

    if (origin.name[0]) return origin;
    dt_dataset_look(d, &v);
    origin = dt_model_origin_of(m, &v);
    origin.n_images = 0;
    origin.fingerprint[0] = '\0';
    return origin;
}

/* Of one image. A black one will do: layers and constants do not depend on it. */
static dt_status open_inference(dt_model *m, const dt_dataset *d, dt_inference **out)
{
    const dt_model_config *c = &m->config;
    const dt_inference_options opt = { .count = 1, .batch = 1, .watched = 1 };
    const int32_t label = 0;
    dt_dataset_view given;

    if (d) {
        dt_dataset_look(d, &given);
        return dt_inference_create(m, &given, &opt, out);
    }
    uint8_t *black = calloc((size_t)c->height * (size_t)c->width, (size_t)c->channels);
    DT_CHECK(black, DT_ERR_MEMORY, "no memory for an image of %dx%dx%d", c->height, c->width, c->channels);
    const dt_dataset_view v = { .images = black,
                                .labels = &label,
                                .n = 1,
                                .height = c->height,
                                .width = c->width,
                                .channels = c->channels,
                                .n_classes = c->n_classes };
    const dt_status s = dt_inference_create(m, &v, &opt, out);
    free(black);
    return s;
}

dt_status dt_program_possible(const dt_model *m)
{
    const dt_model_config *c = &m->config;
    const char *instead = "'detent search' gives it fixed-point formats, which 'detent export --to fixed-point' writes";
    char name[sizeof((dt_program *)0)->model];

    if (c->caps_dim == 0) return DT_OK;
    model_text(c, name, sizeof name);
    if (c->wbits == DT_BITS_FLOAT) snprintf(name, sizeof name, "%s float", c->name);
    if (c->wbits != DT_BITS_FLOAT) instead = "'detent capture' writes the codes and psums of each of its convolutions";
    if (dt_fixed_formats_of(m)) {
        snprintf(name, sizeof name, "%s in fixed point", c->name);
        instead = "'detent export --to fixed-point' writes its codes and formats";
    }
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "%s has no integer program yet: its capsules are routed by real numbers; %s", name, instead);
}

dt_status dt_program_lower(dt_model *m, const dt_dataset *d, dt_program **out)
{
    dt_lowering w = { .ctx = m->ctx };
    dt_inference *inf;
    dt_step_sum sum;

    DT_CHECK(d || m->origin.name[0], DT_ERR_ARGUMENT,
             "%s: nothing says what the network was trained on; its program needs a dataset, whose mean and std "
             "normalise its images",
             m->config.name);
    DT_TRY(dt_program_possible(m));
    DT_TRY(dt_model_check_values(m, NULL));
    DT_TRY(program_create(&m->config, &w.program));
    w.program->origin = program_origin(m, d);
    dt_status status = open_inference(m, d, &inf);
    if (status == DT_OK) {
        status = dt_inference_run(inf, lower_node, NULL, &w, &sum);
        dt_inference_destroy(inf);
    }
    if (status == DT_OK) status = check_end(w.program, m->config.name);
    sources_destroy(w.sources);
    if (status != DT_OK) {
        dt_program_destroy(w.program);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = w.program;
    return DT_OK;
}
