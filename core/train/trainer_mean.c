/*
 * trainer_mean.c - the exponential mean of the parameters, and the network that it makes.
 *
 *   mean += share * (w - mean) after each step t = 0, 1, ..., with share = 1 - min(ema, (1 + t) / (10 + t))
 *
 * It is launched behind the update, on the device, so that a captured step has it too. The network of the mean has
 * other weights than those by which batch norms have gathered their statistics. So these are gathered anew, by forward
 * passes of training that change no parameter: the integers of the weights stay, and with the usual momentum of 0.1
 * 50 batches leave 0.5 % of the old statistics.
 *
 * Sources: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992; Nagel et al., "Overcoming
 * oscillations in quantization-aware training", ICML 2022, section 4 (statistics anew).
 * Tests: tests/core/test_trainer_mean.c.
 */
#include "trainer.h"

#include <stdlib.h>
#include <string.h>

static size_t trained_bytes(const dt_trainer *t)
{
    return (size_t)t->model->n_trained * sizeof(float);
}

static size_t state_bytes(const dt_trainer *t)
{
    return (size_t)t->model->n_state * sizeof(float);
}

/* Statistics that make codes: while they move, the integers do not stay. */
static dt_status check_network(const dt_model *m)
{
    dt_model_info is;

    dt_model_look(m, &is);
    DT_CHECK(is.n_folded_norms == 0, DT_ERR_UNSUPPORTED,
             "ema: %s has folded batch norms, whose statistics make the weights' codes; train without fold_bn",
             m->graph->name);
    for (int i = 0; i < m->n_params; i++) {
        DT_CHECK(m->param[i]->group != DT_GROUP_STATE ||
                     m->graph->value[m->param[i]->value]->param.init != DT_INIT_ENDS,
                 DT_ERR_UNSUPPORTED, "ema: the range %s follows the batches; train with ranges that are learned",
                 m->param[i]->name);
    }
    return DT_OK;
}

dt_status dt_trainer_mean_open(dt_trainer *t)
{
    dt_model *m = t->model;

    if (t->config.ema == 0.0f) return DT_OK;
    DT_TRY(check_network(m));
    DT_TRY(dt_device_alloc(m->ctx, trained_bytes(t), (void **)&t->mean));
    return m->ctx->backend->copy(m->ctx->device, t->mean, m->w, trained_bytes(t));
}

void dt_trainer_mean_close(dt_trainer *t)
{
    dt_device_free(t->model->ctx, t->mean, trained_bytes(t));
    free(t->set_aside);
}

/* Weights were changed from outside: the next step takes their sums anew. */
static void forget_sums(dt_model *m)
{
    for (int i = 0; i < m->n_params; i++) m->param[i]->tensor.has_sums = 0;
}

/* Forward passes of training, of the epoch's batches from the first on; the position and the running sums stay. */
static dt_status gather_statistics(dt_trainer *t, int batches)
{
    dt_context *ctx = t->model->ctx;
    const int64_t here = t->step, per_epoch = dt_trainer_steps_per_epoch(t);
    const int64_t first = here / per_epoch * per_epoch;
    dt_step before;

    DT_TRY(dt_trainer_state(t, &before));
    dt_status status = DT_OK;
    for (int64_t i = 0; status == DT_OK && i < batches; i++) {
        t->step = first + i % per_epoch;
        status = dt_trainer_queue(t, 1);
        if (status == DT_OK) status = dt_trainer_launch_forward(t, dt_trainer_step_images(t, t->step), 0);
    }
    t->step = here;
    DT_TRY(status);
    return dt_device_write(ctx, ctx->step, &before, sizeof before);
}

dt_status dt_trainer_begin_mean(dt_trainer *t, int batches)
{
    dt_model *m = t->model;
    dt_context *ctx = m->ctx;

    DT_CHECK(t->mean, DT_ERR_ARGUMENT, "this trainer keeps no mean of its parameters; ema is 0");
    DT_CHECK(!t->set_aside, DT_ERR_ARGUMENT, "the mean is in the model already");
    DT_CHECK(batches >= 0, DT_ERR_ARGUMENT, "statistics of %d batches", batches);
    float *aside = malloc(trained_bytes(t) + state_bytes(t));
    DT_CHECK(aside, DT_ERR_MEMORY, "no memory to set %lld parameters aside", (long long)m->n_trained);
    dt_status status = dt_device_read(ctx, aside, m->w, trained_bytes(t));
    if (status == DT_OK) status = dt_device_read(ctx, aside + m->n_trained, m->state, state_bytes(t));
    if (status != DT_OK) {
        free(aside);
        return status;
    }
    t->set_aside = aside;
    forget_sums(m);
    DT_TRY(ctx->backend->copy(ctx->device, m->w, t->mean, trained_bytes(t)));
    return m->n_state > 0 ? gather_statistics(t, batches) : DT_OK;
}

dt_status dt_trainer_end_mean(dt_trainer *t)
{
    dt_model *m = t->model;
    const float *aside = t->set_aside;

    DT_CHECK(aside, DT_ERR_ARGUMENT, "the parameters of training are in the model already");
    forget_sums(m);
    DT_TRY(dt_device_write(m->ctx, m->w, aside, trained_bytes(t)));
    DT_TRY(dt_device_write(m->ctx, m->state, aside + m->n_trained, state_bytes(t)));
    free(t->set_aside);
    t->set_aside = NULL;
    return DT_OK;
}
