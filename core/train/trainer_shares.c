/*
 * trainer_shares.c - an update that ranks share: each sums, updates and gives away a share of the parameters.
 *
 * A bucket of gradients is cut at n s / ranks, as the sum over ranks cuts it, so that the sums have the bits of a sum
 * that all ranks have. A cut within a piece of a quantizer's weights moves to where the piece begins, because a piece
 * is updated as a whole (optim.h). Parameters are whole on all ranks after each step. The optimiser's moments are not:
 * a rank has those of its own shares, until dt_trainer_gather.
 *
 * Only backends that cannot sum beside their kernels share the update: others would have to wait for the parameters.
 * Tests: tests/core/test_ranks_shares.c.
 */
#include "optim.h"
#include "trainer.h"

#include <stdlib.h>

/* Where the piece of weights begins that holds parameter i; i itself if no quantizer has it. */
static int64_t piece_begin(const dt_update *u, int64_t i)
{
    for (int q = 0; q < u->n_quantizers; q++) {
        const dt_tensor *w = u->quantizer[q]->in[0];
        const int64_t at = i - ((const float *)w->data - u->w), n = dt_count(&w->shape);
        if (at >= 0 && at < n) return i - at % (n / dt_count(&u->quantizer[q]->in[1]->shape)) % DT_PIECE;
    }
    return i;
}

static void cut_bucket(const dt_update *u, const dt_bucket *b, int ranks, int64_t *at)
{
    for (int s = 0; s <= ranks; s++) {
        const int64_t even = b->first + b->count * s / ranks;
        at[s] = s == 0 || s == ranks ? even : piece_begin(u, even);
    }
}

static size_t room_bytes(const dt_update_shares *s)
{
    return 3 * (size_t)s->n_pieces * sizeof *s->room;
}

static dt_status make_shares(dt_trainer *t, const dt_step_tape *s)
{
    const dt_update *u = &s->update;
    dt_context *ctx = t->model->ctx;
    const int ranks = dt_dist_size(ctx->dist), row = ranks + 1;
    int n_pieces = 0;

    for (int q = 0; q < u->n_quantizers; q++)
        n_pieces += dt_weight_pieces(u->quantizer[q]) * (int)dt_count(&u->quantizer[q]->in[1]->shape);
    t->share_at = malloc((size_t)(s->n_buckets * row) * sizeof *t->share_at);
    DT_CHECK(t->share_at, DT_ERR_MEMORY, "no memory for the shares of %d ranks", ranks);
    for (int b = 0; b < s->n_buckets; b++) cut_bucket(u, &s->bucket[b], ranks, t->share_at + b * row);
    t->shares = (dt_update_shares){ .n_buckets = s->n_buckets,
                                    .ranks = ranks,
                                    .mine = dt_dist_share(ctx->dist),
                                    .at = t->share_at,
                                    .n_pieces = n_pieces };
    if (n_pieces > 0) DT_TRY(dt_device_alloc(ctx, room_bytes(&t->shares), (void **)&t->shares.room));
    return DT_OK;
}

/* Buckets and pieces depend on the parameters alone, and so all tapes have the same shares. */
dt_status dt_trainer_share(dt_trainer *t, dt_step_tape *s)
{
    const dt_context *ctx = t->model->ctx;

    if (!ctx->dist || !ctx->backend->sum_shares) return DT_OK;
    if (!t->share_at) DT_TRY(make_shares(t, s));
    s->update.shares = &t->shares;
    return DT_OK;
}

void dt_trainer_unshare(dt_trainer *t)
{
    dt_device_free(t->model->ctx, t->shares.room, room_bytes(&t->shares));
    free(t->share_at);
}

static dt_status spread(dt_trainer *t, float *v)
{
    const dt_context *ctx = t->model->ctx;
    const dt_update_shares *s = &t->shares;

    for (int b = 0; b < s->n_buckets; b++)
        DT_TRY(ctx->backend->spread_shares(ctx->device, "moments", v, s->at + b * (s->ranks + 1)));
    return DT_OK;
}

dt_status dt_trainer_gather(dt_trainer *t)
{
    if (!t->is_apart) return DT_OK;
    DT_TRY(spread(t, t->m1));
    if (t->m2) DT_TRY(spread(t, t->m2));
    t->is_apart = 0;
    return DT_OK;
}
