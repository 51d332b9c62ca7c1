/*
 * report.c - what the activation quantizers do to a batch: how much they clip, and whether their alpha can learn. It
 *            also sets the first values of learned steps and of ranges, from the same batch.
 *
 * With the rule ECE284 an alpha learns from clipped values alone. A clip that no value reaches gets no gradient and
 * stays where it is, however coarse its grid is.
 */
#include "../names.h"
#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    dt_trainer *trainer;
    dt_quant_report *report;
    const dt_tensor **alpha; /* of each report */
    int n;
} report_run;

static int is_quantizer(const dt_node *node)
{
    return node->kind == DT_OP_ACT_QUANT;
}

/* on a step's tape, where they are part of other nodes */
static int holds_quantizer(const dt_node *node)
{
    switch (node->kind) {
    case DT_OP_AUGMENT: return ((const dt_augment_params *)node->params)->has_quant;
    case DT_OP_NORM_QUANT: return ((const dt_norm_quant_params *)node->params)->has_quant;
    default: return is_quantizer(node);
    }
}

int dt_trainer_n_quantizers(const dt_trainer *t)
{
    const dt_tape *tape = t->tape[0].tape;
    int n = 0;
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) n += holds_quantizer(dt_tape_node(tape, i));
    return n;
}

/* The real values of a quantizer's input on the host; the caller frees them. */
static dt_status read_input(dt_context *ctx, const dt_node *node, int k, float **out)
{
    const dt_tensor *x = node->in[k];
    float *host = malloc(dt_tensor_bytes(x));

    DT_CHECK(host, DT_ERR_MEMORY, "no memory to look at the input of %s", node->name);
    const dt_status status = dt_device_real(ctx, x, host);
    if (status != DT_OK) {
        free(host);
        return status;
    }
    *out = host;
    return DT_OK;
}

static dt_status report_node(void *user, const dt_node *node)
{
    report_run *run = user;
    dt_context *ctx = run->trainer->model->ctx;
    const dt_act_quant_params *p = node->params;
    float alpha, *x;

    if (!is_quantizer(node)) return DT_OK;
    DT_TRY(dt_device_read(ctx, &alpha, node->in[1]->data, sizeof alpha));
    DT_TRY(read_input(ctx, node, 0, &x));
    const int64_t n = dt_count(&node->in[0]->shape);
    const float clip = p->rule == DT_RULE_LSQ ? alpha * (float)node->out->qmax : alpha;
    int64_t clipped = 0;
    for (int64_t i = 0; i < n; i++) clipped += x[i] > clip || (p->is_signed && x[i] < -clip);
    free(x);
    dt_quant_report *r = &run->report[run->n];
    *r = (dt_quant_report){ .alpha = alpha,
                            .clip_rate = (double)clipped / (double)n,
                            .fixed = node->in[1]->grad == NULL };
    /* the tape that was looked at goes */
    snprintf(r->name, sizeof r->name, "%.*s", dt_layer_name_bytes(node->name), node->name);
    run->alpha[run->n++] = node->in[1];
    return DT_OK;
}

dt_status dt_trainer_report(dt_trainer *t, dt_quant_report *out)
{
    report_run run = { t, out, calloc((size_t)dt_trainer_n_quantizers(t) + 1, sizeof(dt_tensor *)), 0 };

    DT_CHECK(run.alpha, DT_ERR_MEMORY, "no memory for a report");
    dt_status status = dt_trainer_observe(t, report_node, &run);
    for (int i = 0; status == DT_OK && i < run.n; i++) {
        float d_alpha = 0.0f;
        if (!out[i].fixed) status = dt_device_read(t->model->ctx, &d_alpha, run.alpha[i]->grad, sizeof d_alpha);
        out[i].d_alpha = (double)d_alpha;
    }
    free(run.alpha);
    return status;
}

static int has_learned_step(const dt_node *node)
{
    if (node->kind == DT_OP_ACT_QUANT) return ((const dt_act_quant_params *)node->params)->rule == DT_RULE_LSQ;
    if (node->kind == DT_OP_WEIGHT_QUANT) return ((const dt_weight_quant_params *)node->params)->rule == DT_RULE_LSQ;
    return 0;
}

/* s = 2 mean|x| / sqrt(Qp) of the first batch, or of the filters; those of a channel where it has a step of its own.
 * All zero: s stays. Source: Esser et al., "Learned step size quantization", ICLR 2020, section 2.1. */
static dt_status write_steps(dt_context *ctx, const dt_node *node, const float *x)
{
    const int64_t n_steps = dt_count(&node->in[1]->shape), n = dt_count(&node->in[0]->shape) / n_steps;
    float *const steps = node->in[1]->data;

    for (int64_t k = 0; k < n_steps; k++) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) sum += fabs((double)x[k * n + i]);
        const float step = (float)(2.0 * sum / (double)n / sqrt((double)node->out->qmax));
        if (step > 0.0f) DT_TRY(dt_device_write(ctx, steps + k, &step, sizeof step));
    }
    return DT_OK;
}

/* A range, and what values of the first batch are quantized to it. */
typedef struct {
    dt_tensor *range;
    float ends[2]; /* the first is at most 0, and the second at least 0 */
} first_range;

typedef struct {
    dt_trainer *trainer;
    const dt_tensor *last; /* step: quantizers that share one follow each other, and the first decides */
    first_range *range;    /* [n_ranges] those that still have their first values */
    int n_ranges;
} calibration;

/* The place of a node's range in the list; NULL: it has none, or it is not for calibration to set. */
static first_range *range_of(const calibration *c, const dt_node *node)
{
    if (node->kind != DT_OP_RANGE_QUANT) return NULL;
    if (((const dt_range_quant_params *)node->params)->update == DT_RANGE_FIXED) return NULL;
    for (int i = 0; i < c->n_ranges; i++) {
        if (c->range[i].range == node->in[1]) return &c->range[i];
    }
    return NULL;
}

/* Of a range that several quantizers share, the values of all count. */
static dt_status write_range(dt_context *ctx, first_range *f, const dt_node *node)
{
    for (int k = 0; k < node->n_in; k++) {
        float *x;
        if (k == 1) continue; /* the range */
        DT_TRY(read_input(ctx, node, k, &x));
        for (int64_t i = 0; i < dt_count(&node->in[k]->shape); i++) {
            if (x[i] < f->ends[0]) f->ends[0] = x[i];
            if (x[i] > f->ends[1]) f->ends[1] = x[i];
        }
        free(x);
    }
    return dt_device_write(ctx, f->range->data, f->ends, sizeof f->ends);
}

static dt_status calibrate_step(dt_context *ctx, const dt_node *node)
{
    float *x;

    DT_TRY(read_input(ctx, node, 0, &x));
    const dt_status status = write_steps(ctx, node, x);
    free(x);
    return status;
}

/* Then the node runs again, so that later layers see its codes. */
static dt_status calibrate_node(void *user, const dt_node *node)
{
    calibration *c = user;
    dt_context *ctx = c->trainer->model->ctx;
    first_range *range = range_of(c, node);

    if (!range && (!has_learned_step(node) || node->in[1] == c->last)) return DT_OK;
    if (!range) c->last = node->in[1];
    DT_TRY(range ? write_range(ctx, range, node) : calibrate_step(ctx, node));
    const dt_exec ex = dt_context_exec(ctx);
    return ctx->backend->kernels()[node->kind]->forward(node, &ex);
}

/* The parameter that has the range of the scores; -1: they have none. */
static int range_of_scores(const dt_graph *g)
{
    const dt_graph_node *real = dt_graph_maker(g, g->scores);
    const dt_graph_node *quant = real && real->kind == DT_OP_DEQUANTIZE ? dt_graph_maker(g, real->in[0]) : NULL;

    return quant && quant->kind == DT_OP_RANGE_QUANT ? quant->in[1] : -1;
}

/* What was loaded, or given to the network, stays. The scores of an untrained network are small, and a range of them
 * alone would clip those of a trained one: a score that is clipped has no gradient, and two that are clipped are equal.
 * So their range becomes no narrower than its first values. */
static dt_status list_ranges(calibration *c, const dt_model *m)
{
    for (int i = 0; i < m->n_params; i++) {
        const int value = m->param[i]->value;
        const dt_param_spec *spec = &m->graph->value[value]->param;
        float ends[2];
        if (spec->init != DT_INIT_ENDS || dt_count(&spec->shape) != 2) continue;
        DT_TRY(dt_model_read(m, i, ends));
        if (ends[0] != -spec->init_value || ends[1] != spec->init_value) continue;
        first_range *f = &c->range[c->n_ranges++];
        *f = (first_range){ .range = &m->param[i]->tensor };
        if (value == range_of_scores(m->graph)) memcpy(f->ends, ends, sizeof ends);
    }
    return DT_OK;
}

/* Once more, because the observation has put back what is not trained. */
static dt_status keep_ranges(const calibration *c)
{
    dt_context *ctx = c->trainer->model->ctx;

    for (int i = 0; i < c->n_ranges; i++) {
        const first_range *f = &c->range[i];
        const int is_seen = f->ends[0] < 0.0f || f->ends[1] > 0.0f; /* zeros, or nobody's: it stays */
        if (is_seen) DT_TRY(dt_device_write(ctx, f->range->data, f->ends, sizeof f->ends));
    }
    return DT_OK;
}

static dt_status calibrate(calibration *c)
{
    dt_model_info is;

    dt_model_look(c->trainer->model, &is);
    DT_TRY(list_ranges(c, c->trainer->model));
    if (is.rule != DT_RULE_LSQ && c->n_ranges == 0) return DT_OK;
    DT_TRY(dt_trainer_observe(c->trainer, calibrate_node, c));
    return keep_ranges(c);
}

dt_status dt_trainer_calibrate(dt_trainer *t)
{
    calibration c = { .trainer = t };

    DT_CHECK(t->step == 0, DT_ERR_ARGUMENT, "calibration comes before the first step, %lld are done",
             (long long)t->step);
    c.range = calloc((size_t)t->model->n_params + 1, sizeof *c.range);
    DT_CHECK(c.range, DT_ERR_MEMORY, "no memory to calibrate %d parameters", t->model->n_params);
    const dt_status status = calibrate(&c);
    free(c.range);
    DT_TRY(status);
    return DT_OK;
}
