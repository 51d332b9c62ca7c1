/*
 * trainer_parts.c - a step whose images are shared: by ranks, and by the parts that a rank computes one after the
 * other.
 *
 *   Of S = ranks x accumulate parts of a step of n images, part k has the images [n k / S, n (k + 1) / S).
 *   Rank r computes the parts r, r + ranks, r + 2 ranks, ...: what all ranks compute at once lies side by side.
 *
 * Every part divides by the images of the whole step, so gradients of parts are summed and nothing is scaled: the step
 * is the one that a single rank takes, but for the order of the sums. The same sums go to all ranks, and each makes the
 * same update of them; or each rank gets and updates a share (trainer_shares.c). Running sums and running statistics
 * are brought together in each step, so that they are equal on all ranks wherever a run is stopped, saved or measured:
 * statistics as their mean. All of it is launched on the device, so that a step can be captured.
 *
 * Tests: tests/core/test_ranks.c, tests/core/test_ranks_cuda.c, tests/core/test_buckets.c.
 */
#include "trainer.h"

#include "../half.h" /* dt_float_bits */

#include <stdlib.h>

dt_status dt_parts_check(const dt_context *ctx, const dt_train_config *cfg, int64_t n)
{
    const int accumulate = cfg->accumulate > 1 ? cfg->accumulate : 1, ranks = dt_dist_size(ctx->dist);
    const int parts = ranks * accumulate, rest = (int)(n % cfg->batch);

    DT_CHECK(cfg->batch % parts == 0, DT_ERR_ARGUMENT,
             "batch is %d, the images of a step of all %d ranks, each in %d parts; it must be a multiple of %d",
             cfg->batch, ranks, accumulate, parts);
    DT_CHECK(rest == 0 || rest >= parts, DT_ERR_ARGUMENT,
             "of %lld images in batches of %d the last batch has %d, and each of %d parts needs one; choose another "
             "batch, or fewer parts",
             (long long)n, cfg->batch, rest, parts);
    return DT_OK;
}

dt_part dt_trainer_part(const dt_trainer *t, int step_images, int i)
{
    const dt_dist *dist = t->model->ctx->dist;
    const int64_t n = step_images, ranks = dt_dist_size(dist), parts = ranks * t->accumulate;
    const int64_t k = i * ranks + dt_dist_rank(dist);
    const int64_t first = n * k / parts, images = n * (k + 1) / parts - first;
    const int64_t together = n * (i + 1) / t->accumulate - n * i / t->accumulate; /* of all ranks, at once */

    return (dt_part){ .first = first,
                      .images = (int)images,
                      .step_images = step_images,
                      .norm_images = t->config.sync_bn ? (int)together : (int)images };
}

dt_part dt_trainer_whole(const dt_trainer *t)
{
    return (dt_part){ .images = dt_trainer_step_images(t, t->step) / t->accumulate };
}

dt_step_tape *dt_trainer_tape(dt_trainer *t, const dt_part *part)
{
    for (int i = 0; i < t->n_tapes; i++) {
        const dt_part *p = &t->tape[i].part;
        if (p->images == part->images && p->step_images == part->step_images && p->norm_images == part->norm_images)
            return &t->tape[i];
    }
    return NULL;
}

/* ---- sums over ranks ---- */

typedef struct {
    const dt_trainer *t;
    const dt_step_tape *s;
    int next; /* the first bucket that is not under way */
} reduction;

static dt_status reduce_next(reduction *r)
{
    const dt_context *ctx = r->t->model->ctx;
    const dt_update_shares *shares = r->s->update.shares;
    const int i = r->next++;
    const dt_bucket *b = &r->s->bucket[i];

    if (shares) return ctx->backend->sum_shares(ctx->device, r->t->model->dw, shares->at + i * (shares->ranks + 1));
    return ctx->backend->all_reduce(ctx->device, r->t->model->dw + b->first, b->count, DT_SUM_F32);
}

static dt_status reduce_complete(void *user, const dt_node *node)
{
    reduction *r = user;

    while (r->next < r->s->n_buckets && r->s->bucket[r->next].last == node) DT_TRY(reduce_next(r));
    return DT_OK;
}

/* Rank 0 has the running sums of all ranks and of all steps before; the others have those of this step. */
static dt_status begin_sums(dt_trainer *t)
{
    dt_context *ctx = t->model->ctx;

    return dt_dist_rank(ctx->dist) > 0 ? dt_device_zero(ctx, &ctx->step->sum, sizeof ctx->step->sum) : DT_OK;
}

/* Running sums and statistics are final when the last part's forward has run: they are summed beside its backward. */
static dt_status reduce_sums(dt_trainer *t)
{
    const dt_model *m = t->model;
    const dt_context *ctx = m->ctx;

    DT_TRY(ctx->backend->pack_sums(ctx->device, &ctx->step->sum, m->state, m->n_state, t->shared));
    return ctx->backend->all_reduce(ctx->device, t->shared, DT_STEP_SUMS + m->n_state, DT_SUM_F64);
}

static dt_status end_sums(dt_trainer *t)
{
    const dt_model *m = t->model;
    const dt_context *ctx = m->ctx;

    DT_TRY(ctx->backend->all_reduce_join(ctx->device));
    return ctx->backend->unpack_sums(ctx->device, t->shared, dt_dist_size(ctx->dist), &ctx->step->sum, m->state,
                                     m->n_state);
}

/* ---- the step ---- */

/* Part i leaves its gradients in dw; after the last one dw holds those of all parts. */
static dt_status add_part(dt_trainer *t, int i)
{
    dt_model *m = t->model;
    dt_context *ctx = m->ctx;
    const size_t bytes = (size_t)m->n_trained * sizeof(float);

    if (t->accumulate == 1) return DT_OK;
    if (i == 0) return ctx->backend->copy(ctx->device, t->part_sum, m->dw, bytes);
    const int is_last = i == t->accumulate - 1;
    const int before = dt_context_enter(ctx);
    const dt_status status =
        ctx->backend->add(ctx->device, is_last ? m->dw : t->part_sum, is_last ? t->part_sum : m->dw, m->n_trained);
    dt_context_leave(before);
    return status;
}

/* Gradients of one part are summed over ranks while its backward runs; those of several when all are added. Where the
 * update is shared, nothing runs beside a sum: there all sums are taken when backward has ended, because each one waits
 * for the slowest rank. */
static dt_status launch_part(dt_trainer *t, const dt_step_in *in, const dt_step_tape *s, int i, reduction *r)
{
    dt_context *ctx = t->model->ctx;
    const int is_only = t->accumulate == 1, beside = ctx->dist && !s->update.shares;

    DT_TRY(ctx->backend->copy(ctx->device, &ctx->step->in, in, sizeof *in));
    DT_TRY(dt_trainer_lesson_give(t, &s->lesson));
    DT_TRY(dt_tape_run(s->tape, DT_PASS_FORWARD, NULL, NULL));
    if (beside && i == t->accumulate - 1) DT_TRY(reduce_sums(t));
    DT_TRY(dt_tape_run(s->tape, DT_PASS_BACKWARD, beside && is_only ? reduce_complete : NULL, r));
    return add_part(t, i);
}

/* A teacher is not asked: the losses of these passes go nowhere. */
dt_status dt_trainer_launch_forward(dt_trainer *t, int step_images, int i)
{
    dt_context *ctx = t->model->ctx;

    DT_TRY(begin_sums(t));
    for (int k = 0; k < t->accumulate; k++) {
        const dt_part part = dt_trainer_part(t, step_images, k);
        const dt_step_tape *s = dt_trainer_tape(t, &part);
        DT_TRY(ctx->backend->copy(ctx->device, &ctx->step->in, &t->queue[i * t->accumulate + k], sizeof ctx->step->in));
        DT_TRY(dt_tape_run(s->tape, DT_PASS_FORWARD, NULL, NULL));
    }
    if (!ctx->dist) return DT_OK;
    DT_TRY(reduce_sums(t));
    return end_sums(t);
}

/* The mean follows the parameters where one is kept. */
static dt_status update(dt_trainer *t, const dt_update *u)
{
    const dt_model *m = t->model;
    dt_context *ctx = m->ctx;

    DT_TRY(dt_context_update(ctx, u));
    t->is_apart = u->shares && u->shares->ranks > 1;
    if (!t->mean) return DT_OK;
    const int before = dt_context_enter(ctx);
    const dt_status status = ctx->backend->follow(ctx->device, t->mean, m->w, m->n_trained, ctx->step);
    dt_context_leave(before);
    return status;
}

dt_status dt_trainer_launch_step(dt_trainer *t, int step_images, int i)
{
    dt_context *ctx = t->model->ctx;
    dt_part part = dt_trainer_part(t, step_images, 0);
    const dt_step_tape *s = dt_trainer_tape(t, &part);
    reduction r = { .t = t, .s = s };

    DT_TRY(begin_sums(t));
    for (int k = 0; k < t->accumulate; k++) {
        part = dt_trainer_part(t, step_images, k);
        s = dt_trainer_tape(t, &part);
        DT_TRY(launch_part(t, &t->queue[i * t->accumulate + k], s, k, &r));
    }
    if (s->update.shares) DT_TRY(reduce_sums(t));
    while (r.next < r.s->n_buckets) DT_TRY(reduce_next(&r));
    if (ctx->dist) DT_TRY(end_sums(t));
    return update(t, &s->update);
}

/* ---- the same begin, and the same end ---- */

enum { LANES = 8, BLOCK = 1 << 16 }; /* hashes side by side, because one waits for its product; values read at once */

/* FNV-1a over the bits, of value i in lane i mod LANES. Source: Fowler, Noll, Vo, draft-eastlake-fnv. */
static void hash_block(const float *v, int64_t n, uint64_t lane[LANES])
{
    for (int64_t i = 0; i < n; i += LANES) {
        const int count = n - i < LANES ? (int)(n - i) : LANES;
        for (int k = 0; k < count; k++) lane[k] = (lane[k] ^ dt_float_bits(v[i + k])) * 0x100000001b3u;
    }
}

static dt_status hash_floats(dt_context *ctx, const float *v, int64_t n, uint64_t lane[LANES])
{
    float *block = malloc(BLOCK * sizeof *block);
    dt_status status = DT_OK;

    DT_CHECK(block, DT_ERR_MEMORY, "no memory to compare ranks");
    for (int64_t i = 0; status == DT_OK && i < n; i += BLOCK) {
        const int64_t count = n - i < BLOCK ? n - i : BLOCK;
        status = dt_device_read(ctx, block, v + i, (size_t)count * sizeof *block);
        if (status == DT_OK) hash_block(block, count, lane);
    }
    free(block);
    return status;
}

static dt_status hash_parameters(const dt_model *m, uint64_t *out)
{
    uint64_t lane[LANES], hash = 0xcbf29ce484222325u;

    for (int k = 0; k < LANES; k++) lane[k] = hash;
    DT_TRY(hash_floats(m->ctx, m->w, m->n_trained, lane));
    DT_TRY(hash_floats(m->ctx, m->state, m->n_state, lane));
    for (int k = 0; k < LANES; k++) hash = (hash ^ lane[k]) * 0x100000001b3u;
    *out = hash;
    return DT_OK;
}

dt_status dt_trainer_agree(dt_trainer *t)
{
    const dt_model *m = t->model;
    dt_dist *dist = m->ctx->dist;
    uint64_t mine;

    if (!dist) return DT_OK;
    DT_TRY(hash_parameters(m, &mine));
    uint64_t *all = calloc((size_t)dt_dist_size(dist), sizeof *all);
    DT_CHECK(all, DT_ERR_MEMORY, "no memory to compare ranks");
    const dt_status status = dt_dist_gather(dist, "comparing parameters", &mine, sizeof mine, all);
    int odd = 0;
    for (int i = 1; status == DT_OK && i < dt_dist_size(dist) && odd == 0; i++) odd = all[i] == all[0] ? 0 : i;
    const uint64_t first = all[0], other = all[odd];
    free(all);
    DT_TRY(status);
    DT_CHECK(
        odd == 0, DT_ERR_COMM,
        "after step %lld rank %d has other parameters than rank 0 (hashes %016llx and %016llx); one of them computes "
        "differently, as other CPUs or libraries do",
        (long long)t->step, odd, (unsigned long long)other, (unsigned long long)first);
    return DT_OK;
}

static dt_status broadcast_floats(dt_context *ctx, const char *what, float *v, int64_t n)
{
    float *host;

    DT_TRY(dt_device_floats(ctx, v, n, &host));
    dt_status status = dt_dist_broadcast(ctx->dist, what, host, (size_t)n * sizeof *host);
    if (status == DT_OK) status = dt_device_write(ctx, v, host, (size_t)n * sizeof *host);
    free(host);
    return status;
}

dt_status dt_trainer_broadcast(dt_trainer *t)
{
    dt_model *m = t->model;
    dt_context *ctx = m->ctx;
    dt_step state;

    if (!ctx->dist) return DT_OK;
    DT_TRY(dt_trainer_gather(t));
    DT_TRY(broadcast_floats(ctx, "parameters", m->w, m->n_trained));
    DT_TRY(broadcast_floats(ctx, "running statistics", m->state, m->n_state));
    DT_TRY(broadcast_floats(ctx, "moments", t->m1, m->n_trained));
    if (t->m2) DT_TRY(broadcast_floats(ctx, "moments", t->m2, m->n_trained));
    if (t->freeze)
        DT_TRY(broadcast_floats(ctx, "state of weights that freeze", t->freeze, DT_FREEZE_STATES * m->n_trained));
    if (t->mean) DT_TRY(broadcast_floats(ctx, "mean of the parameters", t->mean, m->n_trained));
    DT_TRY(dt_trainer_state(t, &state));
    DT_TRY(dt_dist_broadcast(ctx->dist, "position", &state, sizeof state));
    DT_TRY(dt_dist_broadcast(ctx->dist, "position", &t->step, sizeof t->step));
    return dt_trainer_seek(t, t->step, &state);
}
