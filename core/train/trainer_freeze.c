/*
 * trainer_freeze.c - the state of the weights that may freeze: where it lies, which weights have it, and how many are
 *                    frozen.
 *
 * quant/weight_freeze.c has the rule, and the update follows it on the device, so that a captured step has it too.
 * Checkpoints hold the state. Tests: tests/core/test_trainer_freeze.c.
 */
#include "../names.h"
#include "trainer.h"

#include <stdlib.h>

static size_t state_bytes(const dt_trainer *t)
{
    return (size_t)(DT_FREEZE_STATES * t->model->n_trained) * sizeof(float);
}

static dt_status check_network(const dt_model *m)
{
    dt_model_info is;

    dt_model_look(m, &is);
    DT_CHECK(is.wbits_most < DT_BITS_FLOAT, DT_ERR_UNSUPPORTED,
             "freeze: the weights of %s are real and have no codes to keep; train with bits for weights",
             m->graph->name);
    DT_CHECK(
        is.rule == DT_RULE_LSQ, DT_ERR_UNSUPPORTED,
        "freeze: by the rule %s a code depends on all weights of its layer, so that none keeps its own; train with "
        "the rule lsq",
        dt_quant_rule_names[is.rule]);
    DT_CHECK(is.n_folded_norms == 0, DT_ERR_UNSUPPORTED,
             "freeze: %s has folded batch norms, whose statistics move the weights' codes; train without fold_bn",
             m->graph->name);
    return DT_OK;
}

/* No code was seen yet. */
static dt_status first_state(dt_trainer *t)
{
    const int64_t n = t->model->n_trained;
    float *turns = malloc((size_t)n * sizeof *turns);

    DT_CHECK(turns, DT_ERR_MEMORY, "no memory for the turns of %lld weights", (long long)n);
    for (int64_t i = 0; i < n; i++) turns[i] = -1.0f;
    dt_status status = dt_device_zero(t->model->ctx, t->freeze, state_bytes(t));
    if (status == DT_OK) status = dt_device_write(t->model->ctx, t->freeze, turns, (size_t)n * sizeof *turns);
    free(turns);
    return status;
}

dt_status dt_trainer_freeze_open(dt_trainer *t)
{
    const int64_t n = t->model->n_trained;

    if (t->config.freeze == 0.0f) return DT_OK;
    DT_TRY(check_network(t->model));
    DT_TRY(dt_device_alloc(t->model->ctx, state_bytes(t), (void **)&t->freeze));
    DT_TRY(first_state(t));
    t->update.freeze = (dt_update_freeze){ .threshold = t->config.freeze,
                                           .momentum = t->config.freeze_momentum,
                                           .turns = t->freeze,
                                           .mean = t->freeze + n,
                                           .last = t->freeze + 2 * n };
    return DT_OK;
}

void dt_trainer_freeze_close(dt_trainer *t)
{
    if (!t->freeze) return;
    dt_device_free(t->model->ctx, t->freeze, state_bytes(t));
    for (int i = 0; i < t->model->n_params; i++) t->model->param[i]->tensor.turns = NULL;
}

/* A quantizer's weights lie among the parameters: check_network has refused those that are computed. */
static const float *turns_of(const dt_trainer *t, const dt_node *quantizer)
{
    return t->freeze + ((const float *)quantizer->in[0]->data - t->model->w);
}

dt_status dt_trainer_freeze_tape(const dt_trainer *t, dt_step_tape *s)
{
    const int n = dt_tape_n_nodes(s->tape);

    if (!t->freeze) return DT_OK;
    s->freezing = malloc((size_t)n * sizeof *s->freezing);
    DT_CHECK(s->freezing, DT_ERR_MEMORY, "no memory for the quantizers of weights that freeze");
    s->update.freeze.quantizer = s->freezing;
    for (int i = 0; i < n; i++) {
        const dt_node *node = dt_tape_node(s->tape, i);
        if (node->kind != DT_OP_WEIGHT_QUANT) continue;
        s->freezing[s->update.freeze.n_quantizers++] = node;
        node->in[0]->turns = turns_of(t, node);
    }
    return DT_OK;
}

dt_status dt_trainer_count_frozen(const dt_trainer *t, const dt_node *quantizer, int64_t *out)
{
    const int64_t n = dt_count(&quantizer->in[0]->shape);
    float *turns;

    *out = 0;
    if (!t->freeze) return DT_OK;
    DT_TRY(dt_device_floats(t->model->ctx, turns_of(t, quantizer), n, &turns));
    for (int64_t i = 0; i < n; i++) *out += turns[i] > 1.0f;
    free(turns);
    return DT_OK;
}
