/*
 * lowered.h - for tests: a model with awkward parameters, as if it had been trained, and its program.
 */
#ifndef LOWERED_H
#define LOWERED_H

#include "../../core/conv_params.h"
#include "../../core/train/inference.h"
#include "../../core/rng.h"
#include "../../datasets/dataset.h"
#include "../../formats/network_file.h"
#include "../../models/build.h"
#include "../../quant/program/program.h"
#include "tiny_run.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model;
    dt_program *program;
} lowered;

static inline float lowered_uniform(uint64_t seed, uint64_t i, float low, float high)
{
    return low + (high - low) * dt_uniform(dt_random(seed, DT_STREAM_INIT, 0, i).v[0]);
}

static inline int lowered_ends_with(const char *name, const char *part)
{
    const size_t n = strlen(name), n_part = strlen(part);
    return n > n_part && strcmp(name + n - n_part, part) == 0;
}

/* Batch norms whose gamma is negative in a third of the channels and 0 in every seventh, with statistics of the size
 * that the psums have; clips off their first values. */
static inline void lowered_disturb(dt_model *m, uint64_t seed)
{
    float terms = 1.0f; /* of the convolution before */
    for (int i = 0; i < dt_model_n_params(m); i++) {
        dt_param_info p;
        dt_model_param(m, i, &p);
        float *v = host_param(m, i, NULL);
        if (p.ndim == 4) terms = (float)(p.dim[1] * p.dim[2] * p.dim[3]);
        for (int64_t k = 0; k < p.count; k++) {
            const float u = lowered_uniform(seed + (uint64_t)i, (uint64_t)k, 0.0f, 1.0f);
            if (lowered_ends_with(p.name, "act_alpha") && p.group == DT_GROUP_ALPHA) v[k] *= 0.3f + 0.5f * u;
            if (lowered_ends_with(p.name, "wgt_alpha")) v[k] *= 0.7f + 0.4f * u;
            if (lowered_ends_with(p.name, "running_mean")) v[k] = sqrtf(terms) * (u - 0.5f);
            if (lowered_ends_with(p.name, "running_var")) v[k] = terms * (0.2f + 2.0f * u);
            if (p.ndim != 1) continue;
            if (lowered_ends_with(p.name, ".bias")) v[k] = 2.0f * u - 1.0f;
            if (lowered_ends_with(p.name, ".weight")) v[k] = k % 7 == 6 ? 0.0f : (k % 3 == 1 ? -1.0f : 1.0f) * 3.0f * u;
        }
        MUST(dt_model_write(m, i, v));
        free(v);
    }
}

static inline dt_context *lowered_context(const char *backend)
{
    dt_options o;
    dt_context *ctx = NULL;
    dt_options_default(&o);
    o.backend = backend;
    const dt_status opened = dt_context_create(&o, &ctx);
    cr_assert(opened == DT_OK || (opened == DT_ERR_UNSUPPORTED && strcmp(backend, "cpu") != 0), "%s", dt_last_error());
    return ctx;
}

/* Synthetic images of the size of c; each channel is normalised in its own way. */
static inline dt_dataset *lowered_images(const dt_model_config *c, int64_t images)
{
    const dt_dataset_options options = { .name = "synthetic",
                                         .split = DT_SPLIT_TEST,
                                         .limit = images,
                                         .seed = 5,
                                         .height = c->height,
                                         .width = c->width,
                                         .channels = c->channels };
    dt_dataset *d;
    MUST(dt_dataset_open(&options, &d));
    for (int i = 0; i < d->channels; i++) {
        d->mean[i] = 0.4f + 0.1f * (float)i;
        d->std[i] = 0.3f - 0.05f * (float)i;
    }
    return d;
}

/* A disturbed model of c on the CPU, with images; not lowered yet. */
static inline lowered lowered_model(const dt_model_config *c, int64_t images)
{
    lowered r = { .ctx = lowered_context("cpu"), .data = lowered_images(c, images) };
    MUST(dt_model_create(r.ctx, c, &r.model));
    lowered_disturb(r.model, 77);
    return r;
}

static inline lowered lowered_open(const dt_model_config *c, int64_t images)
{
    lowered r = lowered_model(c, images);
    MUST(dt_program_lower(r.model, r.data, &r.program));
    return r;
}

static inline void lowered_close(lowered *r)
{
    dt_program_destroy(r->program);
    dt_model_destroy(r->model);
    dt_dataset_close(r->data);
    cr_assert(r->ctx->bytes == r->ctx->workspace_bytes + r->ctx->scratch_bytes + sizeof(dt_step),
              "%zu bytes of device memory are still held", r->ctx->bytes);
    dt_context_destroy(r->ctx);
}

static inline dt_model_config lowered_config(const char *name, int wbits, int abits)
{
    dt_model_config c;
    MUST(dt_model_config_default(name, &c));
    c.wbits = wbits;
    c.abits = abits;
    return c;
}

typedef struct {
    dt_context *ctx;
    float *logits;
} lowered_reader;

static inline dt_status lowered_read_batch(void *user, const dt_batch *b)
{
    const lowered_reader *r = user;
    float *to = r->logits + b->first * b->logits->shape.dim[1];
    return dt_device_read(r->ctx, to, b->logits->data, dt_tensor_bytes(b->logits));
}

/* [n][classes] of the first n images; the caller frees them. */
static inline float *lowered_logits(dt_model *m, const dt_dataset *d, int64_t n)
{
    lowered_reader r = { m->ctx, malloc((size_t)(n * dt_graph_count(m->graph, m->graph->scores)) * sizeof(float)) };
    dt_inference *inf;
    dt_step_sum sum;
    const dt_inference_options opt = { .count = n, .batch = 3, .watched = 1 };
    dt_dataset_view v;
    dt_dataset_look(d, &v);
    MUST(dt_inference_create(m, &v, &opt, &inf));
    MUST(dt_inference_run(inf, NULL, lowered_read_batch, &r, &sum));
    dt_inference_destroy(inf);
    return r.logits;
}

static inline const dt_graph_node *lowered_node(const dt_program *p, dt_op_kind kind, const char *name)
{
    const int value = dt_graph_find(p->graph, name);
    const dt_graph_node *n = value < 0 ? NULL : dt_graph_maker(p->graph, value);

    cr_assert(n && n->kind == kind, "the program has no %s %s", dt_ops[kind]->name, name);
    return n;
}

/* Data of a value by its name, "features.4.weight", to be looked at or damaged. */
static inline void *lowered_data(const dt_program *p, const char *name)
{
    const int value = dt_graph_find(p->graph, name);

    cr_assert(value >= 0 && p->graph->value[value]->data, "the program has no %s", name);
    return p->graph->value[value]->data;
}

/* A THRESHOLD with what it holds. */
typedef struct {
    const char *name;
    dt_value x, y;
    int32_t *step;
    int8_t *sign;
    const float *slope, *offset;
    float scale;
    dt_requant requant;
} lowered_steps;

/* layer: whose codes it gives, "features.8" */
static inline lowered_steps lowered_threshold(const dt_program *p, const char *layer)
{
    char name[96];
    snprintf(name, sizeof name, "%s.act_quant", layer);
    const dt_graph_node *n = lowered_node(p, DT_OP_THRESHOLD, name);

    return (lowered_steps){ dt_graph_name(p->graph, n->out),
                            dt_program_value(p, n->in[0]),
                            dt_program_value(p, n->out),
                            p->graph->value[n->in[DT_THRESHOLD_STEPS]]->data,
                            p->graph->value[n->in[DT_THRESHOLD_SIGN]]->data,
                            dt_program_constant_data(p, n->out, DT_LINE_SLOPE),
                            dt_program_constant_data(p, n->out, DT_LINE_OFFSET),
                            dt_program_scale(p, n->out),
                            dt_program_requant(p, n) };
}

static inline dt_tensor *lowered_param(const lowered *r, const char *layer, const char *part)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    const int i = dt_model_find(r->model, name);
    cr_assert(i >= 0, "no parameter %s", name);
    return &r->model->param[i]->tensor;
}

/* The first value of a parameter. */
static inline void lowered_write(const lowered *r, const char *layer, const char *part, float value)
{
    MUST(dt_device_write(r->ctx, lowered_param(r, layer, part)->data, &value, sizeof value));
}

/* A model of what a builder adds to an image of c's size. */
static inline dt_model *lowered_built(dt_context *ctx, const dt_model_config *c, void (*build)(dt_builder *b))
{
    const dt_shape image = { 4, { 1, c->height, c->width, c->channels } };
    dt_builder b = { .config = c };
    dt_model *m;

    MUST(dt_graph_create(c->name, &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    build(&b);
    MUST(b.status);
    MUST(dt_model_open(ctx, b.graph, &m));
    return m;
}

/* ... with the quantizers that c asks for. */
static inline dt_model *lowered_quantized(dt_context *ctx, const dt_model_config *c, void (*build)(dt_builder *b))
{
    dt_model *plain = lowered_built(ctx, c, build), *m;
    dt_graph *g;

    MUST(dt_network_quantize(plain->graph, c, &g));
    MUST(dt_model_open(ctx, g, &m));
    dt_model_destroy(plain);
    return m;
}

/* Model, reference and program's model give the same scores. */
static inline void lowered_check_scores(const lowered *r, int64_t images)
{
    const int classes = (int)dt_graph_count(r->model->graph, r->model->graph->scores);
    float *want = lowered_logits(r->model, r->data, images), *scores = malloc((size_t)classes * sizeof *scores);
    dt_dataset_view v;
    dt_model *m;

    dt_dataset_look(r->data, &v);
    MUST(dt_program_model(r->ctx, r->program, NULL, &m));
    float *got = lowered_logits(m, r->data, images);
    for (int64_t n = 0; n < images; n++) {
        MUST(dt_program_run(r->program, v.images + n * v.height * v.width * v.channels, scores));
        for (int o = 0; o < classes; o++) {
            cr_assert(scores[o] == want[n * classes + o] && got[n * classes + o] == scores[o],
                      "image %lld, score %d: reference %.9g, tape %.9g, model %.9g", (long long)n, o, (double)scores[o],
                      (double)got[n * classes + o], (double)want[n * classes + o]);
        }
    }
    dt_model_destroy(m);
    free(got);
    free(scores);
    free(want);
}

/* A convolution with quantizers; is_signed: of x, with 4 bits; else the image's, of 8. */
static inline int quantized_conv(dt_builder *b, const char *name, int x, int is_image, const dt_conv_spec *spec)
{
    const dt_act_quant_params act = { .bits = is_image ? 8 : 4, .is_signed = 1, .rule = DT_RULE_ECE284 };
    const dt_weight_quant_params weight = { .bits = 4, .rule = DT_RULE_ECE284 };
    const dt_conv_params conv = dt_conv_square(spec->stride, spec->pad);
    const dt_shape one = { 1, { 1 } };
    const dt_shape filters = { 4, { spec->filters, spec->kernel, spec->kernel, dt_build_shape(b, x).dim[3] } };
    char part[96];
    int quant[2] = { x }, codes[2], operands[2];

    snprintf(part, sizeof part, "%s.act_alpha", name);
    quant[1] = dt_build_param(b, part, &one, (dt_start){ .value = 3.0f });
    snprintf(part, sizeof part, "%s.wgt_alpha", name);
    codes[1] = dt_build_param(b, part, &one, (dt_start){ .value = 3.0f });
    snprintf(part, sizeof part, "%s.weight", name);
    codes[0] = dt_build_param(b, part, &filters, (dt_start){ .bound = 1.0f / 3.0f });
    snprintf(part, sizeof part, "%s.act_quant", name);
    operands[0] = dt_build_node(b, DT_OP_ACT_QUANT, part, &act, quant, 2);
    snprintf(part, sizeof part, "%s.weight_quant", name);
    operands[1] = dt_build_node(b, DT_OP_WEIGHT_QUANT, part, &weight, codes, 2);
    return dt_build_node(b, DT_OP_CONV2D, name, &conv, operands, 2);
}

#endif /* LOWERED_H */
