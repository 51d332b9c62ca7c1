/*
 * oscillate.c - counts the weights that go back and forth between two codes, which few bits and a straight-through
 *               gradient bring about: the weight stands at the border of two codes, and each code drives it to the
 * other.
 *
 * A weight oscillates if, within some steps, its code goes one way and then the other. The steps are taken for this
 * alone, from the begin of the last epoch on, where the learning rate is not yet that of the run's end; then everything
 * is put back. Codes are those of the weights after each step, computed on the host. Their mean and deviation are sums
 * in another order than the quantizer's, so that a weight within a rounding of a border may count otherwise.
 *
 * Source: Nagel et al., "Overcoming oscillations in quantization-aware training", ICML 2022, section 2.
 * Tests: tests/core/test_oscillate.c.
 */
#include "../arith/grid.h"
#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FREEZE = 4, STATE = 5, BLOCKS = 6 };

/* What a step changes, in host memory. */
typedef struct {
    float *block[BLOCKS]; /* w, m1, m2, mean, freeze, state; NULL where there is none */
    dt_step step;
    int64_t position;
} kept;

static size_t block_bytes(const dt_trainer *t, int i)
{
    const int64_t n = t->model->n_trained;

    return (size_t)(i == STATE ? t->model->n_state : i == FREEZE ? DT_FREEZE_STATES * n : n) * sizeof(float);
}

static float *block_at(const dt_trainer *t, int i)
{
    float *const all[BLOCKS] = { t->model->w, t->m1, t->m2, t->mean, t->freeze, t->model->state };

    return block_bytes(t, i) > 0 ? all[i] : NULL;
}

static dt_status keep(const dt_trainer *t, kept *k)
{
    DT_TRY(dt_trainer_state(t, &k->step));
    k->position = t->step;
    for (int i = 0; i < BLOCKS; i++) {
        if (!block_at(t, i)) continue;
        k->block[i] = malloc(block_bytes(t, i));
        DT_CHECK(k->block[i], DT_ERR_MEMORY, "no memory to keep %zu bytes of the run", block_bytes(t, i));
        DT_TRY(dt_device_read(t->model->ctx, k->block[i], block_at(t, i), block_bytes(t, i)));
    }
    return DT_OK;
}

static dt_status put_back(dt_trainer *t, const kept *k)
{
    dt_model *m = t->model;

    for (int i = 0; i < BLOCKS; i++) {
        if (k->block[i]) DT_TRY(dt_device_write(m->ctx, block_at(t, i), k->block[i], block_bytes(t, i)));
    }
    for (int i = 0; i < m->n_params; i++) m->param[i]->tensor.has_sums = 0;
    t->step = k->position;
    return dt_device_write(m->ctx, m->ctx->step, &k->step, sizeof k->step);
}

static const dt_node *weight_quantizer(const dt_trainer *t, int i)
{
    const dt_tape *tape = t->tape[0].tape;

    for (int k = 0; k < dt_tape_n_nodes(tape); k++) {
        const dt_node *node = dt_tape_node(tape, k);
        if (node->kind == DT_OP_WEIGHT_QUANT && i-- == 0) return node;
    }
    return NULL;
}

int dt_trainer_n_weight_quantizers(const dt_trainer *t)
{
    int n = 0;

    while (weight_quantizer(t, n)) n++;
    return n;
}

/* One layer: its weights, their codes after the step before, and which way each went last. */
typedef struct {
    const dt_node *node;
    float *w, *alpha;
    int8_t *code, *way, *returns; /* way: -1, 0 or 1; returns: 1: the code went one way and came back */
    int64_t n, n_sets;
    int has_code;
    int n_used; /* codes that occurred at the first look */
} layer;

static dt_status layer_open(layer *l, const dt_node *node)
{
    l->node = node;
    l->n = dt_count(&node->in[0]->shape);
    l->n_sets = dt_count(&node->in[1]->shape);
    l->w = malloc((size_t)l->n * sizeof *l->w);
    l->alpha = malloc((size_t)l->n_sets * sizeof *l->alpha);
    l->code = calloc((size_t)l->n, 1);
    l->way = calloc((size_t)l->n, 1);
    l->returns = calloc((size_t)l->n, 1);
    DT_CHECK(l->w && l->alpha && l->code && l->way && l->returns, DT_ERR_MEMORY, "%s: no memory to look at its codes",
             node->name);
    return DT_OK;
}

static void layer_close(layer *l)
{
    free(l->w);
    free(l->alpha);
    free(l->code);
    free(l->way);
    free(l->returns);
}

static void note_code(layer *l, int64_t i, int8_t code)
{
    const int8_t way = code > l->code[i] ? 1 : code < l->code[i] ? -1 : 0;

    if (l->has_code && way != 0) {
        if (l->way[i] == -way) l->returns[i] = 1;
        l->way[i] = way;
    }
    l->code[i] = code;
}

/* The codes of set k. Weights without spread have the deviation 0, and the codes 0. */
static void look_at_set(layer *l, int64_t k)
{
    const dt_quant_rule rule = ((const dt_weight_quant_params *)l->node->params)->rule;
    const dt_grid grid = { (int)l->node->out->qmin, (int)l->node->out->qmax, 0.0f };
    const int64_t count = l->n / l->n_sets, first = k * count;
    double sum = 0.0, square = 0.0;

    for (int64_t i = first; i < first + count; i++) {
        sum += (double)l->w[i];
        square += (double)l->w[i] * (double)l->w[i];
    }
    const double mean = sum / (double)count, variance = (square - sum * mean) / (double)(count - 1);
    const float deviation = variance > 0.0 ? (float)sqrt(variance) : INFINITY;
    for (int64_t i = first; i < first + count; i++) {
        const float x = dt_weight_unit(l->w[i], (float)mean, deviation, l->alpha[k], rule);
        note_code(l, i, (int8_t)dt_weight_code(x, &grid, rule));
    }
}

static int count_used(const layer *l)
{
    char is_used[UINT8_MAX + 1] = { 0 };
    int n = 0;

    for (int64_t i = 0; i < l->n; i++) is_used[l->code[i] - INT8_MIN] = 1;
    for (int i = 0; i <= UINT8_MAX; i++) n += is_used[i];
    return n;
}

static dt_status look(dt_context *ctx, layer *l)
{
    DT_TRY(dt_device_read(ctx, l->w, l->node->in[0]->data, (size_t)l->n * sizeof *l->w));
    DT_TRY(dt_device_read(ctx, l->alpha, l->node->in[1]->data, (size_t)l->n_sets * sizeof *l->alpha));
    for (int64_t k = 0; k < l->n_sets; k++) look_at_set(l, k);
    if (!l->has_code) l->n_used = count_used(l);
    l->has_code = 1;
    return DT_OK;
}

static dt_status take_steps(dt_trainer *t, int steps, layer *all, int n)
{
    const int64_t per_epoch = dt_trainer_steps_per_epoch(t);
    const int epoch = dt_trainer_epoch(t);

    t->step = epoch > 0 ? (epoch - 1) * per_epoch : 0;
    for (int i = 0; i < n; i++) DT_TRY(look(t->model->ctx, &all[i]));
    for (int k = 0; k < steps; k++) {
        DT_TRY(dt_trainer_run(t, 1));
        for (int i = 0; i < n; i++) DT_TRY(look(t->model->ctx, &all[i]));
    }
    return DT_OK;
}

static dt_status report(const dt_trainer *t, const layer *l, dt_oscillation_report *out)
{
    const char *name = l->node->name, *end = strstr(name, ".weight_quant"); /* the node's name in the graph */
    const int bytes = end ? (int)(end - name) : (int)strlen(name);

    *out = (dt_oscillation_report){ .n_weights = l->n,
                                    .n_codes = (int)l->node->out->qmax - (int)l->node->out->qmin + 1,
                                    .n_codes_used = l->n_used };
    snprintf(out->name, sizeof out->name, "%.*s", bytes < DT_NAME_MAX ? bytes : DT_NAME_MAX, name);
    for (int64_t i = 0; i < l->n; i++) out->n_oscillating += l->returns[i];
    return dt_trainer_count_frozen(t, l->node, &out->n_frozen);
}

dt_status dt_trainer_oscillations(dt_trainer *t, int steps, dt_oscillation_report *out)
{
    const int n = dt_trainer_n_weight_quantizers(t);
    kept k = { .position = 0 };

    DT_CHECK(steps >= 1, DT_ERR_ARGUMENT, "oscillations within %d steps", steps);
    layer *all = calloc((size_t)n + 1, sizeof *all);
    DT_CHECK(all, DT_ERR_MEMORY, "no memory to look at %d layers", n);
    dt_status status = keep(t, &k);
    for (int i = 0; status == DT_OK && i < n; i++) status = layer_open(&all[i], weight_quantizer(t, i));
    if (status == DT_OK) {
        status = take_steps(t, steps, all, n);
        const dt_status back = put_back(t, &k);
        if (status == DT_OK) status = back;
    }
    for (int i = 0; status == DT_OK && i < n; i++) status = report(t, &all[i], &out[i]);
    for (int i = 0; i < n; i++) layer_close(&all[i]);
    for (int i = 0; i < BLOCKS; i++) free(k.block[i]);
    free(all);
    return status;
}
