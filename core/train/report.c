/*
 * report.c - what the activation quantizers do to a batch: how much they clip, and whether their alpha can learn.
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

dt_status dt_trainer_input(dt_context *ctx, const dt_node *node, int k, float **out)
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

/* Counts the codes of a grid that occur in a tensor. */
static dt_status count_codes(dt_context *ctx, const dt_tensor *codes, int *n_codes, int *n_used)
{
    const int64_t n = dt_count(&codes->shape);
    const int low = (int)codes->qmin;
    float *code;

    *n_codes = (int)codes->qmax - low + 1;
    *n_used = 0;
    DT_TRY(dt_device_floats(ctx, codes->data, n, &code));
    char *is_used = calloc((size_t)*n_codes, 1);
    for (int64_t i = 0; is_used && i < n; i++) is_used[(int)code[i] - low] = 1;
    for (int i = 0; is_used && i < *n_codes; i++) *n_used += is_used[i];
    const int has_memory = is_used != NULL;
    free(is_used);
    free(code);
    DT_CHECK(has_memory, DT_ERR_MEMORY, "no memory to count %d codes", *n_codes);
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
    DT_TRY(dt_trainer_input(ctx, node, 0, &x));
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
    return count_codes(ctx, node->out, &r->n_codes, &r->n_codes_used);
}

dt_status dt_trainer_report(dt_trainer *t, dt_quant_report *out)
{
    report_run run = { t, out, calloc((size_t)dt_trainer_n_quantizers(t) + 1, sizeof(dt_tensor *)), 0 };

    DT_CHECK(run.alpha, DT_ERR_MEMORY, "no memory for a report");
    const dt_part part = dt_trainer_part(t, dt_trainer_step_images(t, t->step), 0);
    dt_status status = dt_trainer_observe(t, &part, report_node, &run);
    for (int i = 0; status == DT_OK && i < run.n; i++) {
        float d_alpha = 0.0f;
        if (!out[i].fixed) status = dt_device_read(t->model->ctx, &d_alpha, run.alpha[i]->grad, sizeof d_alpha);
        out[i].d_alpha = (double)d_alpha;
    }
    free(run.alpha);
    return status;
}
