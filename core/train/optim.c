/*
 * optim.c - finds the parameters that an update changes, and their settings, for all devices.
 *
 * layers/cpu_update.c has the formulas, and quant/weight_update.c those for weights whose quantizer's backward is
 * deferred to the update.  CUDA: cuda/optim.cu.  Tests: tests/core/test_optim.c.
 */
#include "optim.h"

dt_status dt_update_check(const dt_update *u, const dt_exec *ex)
{
    size_t scratch_bytes = 0;

    DT_CHECK(u->n_quantizers == 0 || u->kind == DT_OPTIM_SGD, DT_ERR_ARGUMENT,
             "%d weight quantizers are left to the update, which only SGD can do; run their backward", u->n_quantizers);
    for (int i = 0; i < u->n_quantizers; i++) {
        const dt_tensor *w = u->quantizer[i]->in[0];
        const int64_t at = (const float *)w->data - u->w;
        DT_CHECK(at >= 0 && at + dt_count(&w->shape) <= u->count, DT_ERR_ARGUMENT,
                 "%s: its weights are not among the %lld parameters of the update", u->quantizer[i]->name,
                 (long long)u->count);
        scratch_bytes += dt_round_up(dt_weight_sums_bytes(u->quantizer[i]), DT_ALIGN);
    }
    DT_CHECK(scratch_bytes <= ex->scratch_bytes, DT_ERR_ARGUMENT,
             "%d weight quantizers need %zu bytes of scratch, there are %zu", u->n_quantizers, scratch_bytes,
             ex->scratch_bytes);
    return DT_OK;
}

/* The range that holds parameter i: ranges cover [0, count) in order. */
static const dt_update_range *range_at(const dt_update *u, int64_t i)
{
    const dt_update_range *r = u->range;
    while (i >= r->first + r->count) r++;
    return r;
}

const dt_update_range *dt_update_range_of(const dt_update *u, const dt_tensor *param)
{
    return range_at(u, (const float *)param->data - u->w);
}

/* The first parameter from i on that belongs to a quantizer, or count; *end: the one behind those of its tensor. */
static int64_t next_quantized(const dt_update *u, int64_t i, int64_t *end)
{
    int64_t first = u->count;

    *end = u->count;
    for (int q = 0; q < 2 * u->n_quantizers; q++) {
        const dt_tensor *t = u->quantizer[q / 2]->in[q % 2];
        const int64_t at = (const float *)t->data - u->w, behind = at + dt_count(&t->shape);
        const int64_t from = at > i ? at : i;
        if (!t->wants_grad || behind <= i || from >= first) continue;
        first = from;
        *end = behind;
    }
    return first;
}

/* The first parameter from i on that this rank updates, or count; *end: the one behind its share. */
static int64_t next_own(const dt_update *u, int64_t i, int64_t *end)
{
    const dt_update_shares *s = u->shares;
    int64_t first = s ? u->count : i;

    *end = u->count;
    for (int b = 0; s && b < s->n_buckets; b++) {
        const int64_t *at = s->at + b * (s->ranks + 1) + s->mine;
        const int64_t from = at[0] > i ? at[0] : i;
        if (from >= at[1] || from >= first) continue;
        first = from;
        *end = at[1];
    }
    return first;
}

int dt_update_is_mine(const dt_update *u, int64_t i)
{
    int64_t end;

    return next_own(u, i, &end) == i;
}

int dt_update_runs(const dt_update *u, int64_t *at, dt_update_range *run, int room)
{
    int n = 0;

    while (n < room && *at < u->count) {
        int64_t behind, own_end;
        const int64_t own = next_own(u, *at, &own_end);
        *at = own;
        if (own == u->count) return n;
        const dt_update_range *r = range_at(u, own);
        const int64_t quantized = next_quantized(u, own, &behind), range_end = r->first + r->count;
        const int64_t end = range_end < own_end ? range_end : own_end;
        if (quantized > *at) {
            run[n] = *r;
            run[n].first = *at;
            behind = quantized < end ? quantized : end;
            run[n++].count = behind - *at;
        }
        *at = behind;
    }
    return n;
}

void dt_update_done(const dt_update *u)
{
    for (int i = 0; i < u->n_quantizers; i++) u->quantizer[i]->in[0]->has_sums = u->quantizer[i]->in[0]->sums != NULL;
}
