/*
 * trainer_parts.c - a step whose images are shared: by ranks, and by the parts that a rank computes one after the
 * other.
 *
 *   Of S = ranks x accumulate parts of a step of n images, part k has the images [n k / S, n (k + 1) / S).
 *   Rank r computes the parts r, r + ranks, r + 2 ranks, ...: what all ranks compute at once lies side by side.
 *
 * Every part divides by the images of the whole step, so gradients of parts are summed and nothing is scaled: the step
 * is the one that a single rank takes, but for the order of the sums. The same sums go to all ranks, and each makes the
 * same update of them. Running sums and running statistics are brought together in each step, so that they are equal on
 * all ranks wherever a run is stopped, saved or measured: sums in the order of ranks, statistics as their mean.
 *
 * Tests: tests/core/test_ranks.c, tests/core/test_buckets.c.
 */
#include "buckets.h"
#include "trainer.h"

#include "../half.h" /* dt_float_bits */

#include <stdlib.h>
#include <string.h>

static int n_parts(const dt_context *ctx, int accumulate)
{
    return dt_dist_size(ctx->dist) * accumulate;
}

dt_status dt_parts_check(const dt_context *ctx, const dt_train_config *cfg, int64_t n)
{
    const int accumulate = cfg->accumulate > 1 ? cfg->accumulate : 1, ranks = dt_dist_size(ctx->dist);
    const int parts = n_parts(ctx, accumulate), rest = (int)(n % cfg->batch);

    DT_CHECK(accumulate == 1 || ctx->backend->add, DT_ERR_UNSUPPORTED,
             "device %s does not accumulate yet; use --device cpu, or leave --accumulate out", ctx->backend->name);
    DT_CHECK(cfg->batch % parts == 0, DT_ERR_ARGUMENT,
             "batch is %d, the images of a step of all %d ranks, each in %d parts; it must be a multiple of %d",
             cfg->batch, ranks, accumulate, parts);
    DT_CHECK(rest == 0 || rest >= parts, DT_ERR_ARGUMENT,
             "of %lld images in batches of %d the last batch has %d, and each of %d parts needs one; choose another "
             "batch, or fewer parts",
             (long long)n, cfg->batch, rest, parts);
    return DT_OK;
}

int dt_trainer_is_whole(const dt_trainer *t)
{
    return n_parts(t->model->ctx, t->accumulate) == 1;
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
    const dt_context *ctx;
    float *dw;
    dt_bucket bucket[DT_COMM_SLOTS];
    int n, next; /* the first that is not under way */
} reduction;

static dt_status reduce_next(reduction *r)
{
    const dt_bucket *b = &r->bucket[r->next];

    return r->ctx->backend->all_reduce(r->ctx->device, r->dw + b->first, b->count, DT_F32, r->next++);
}

static dt_status reduce_complete(void *user, const dt_node *node)
{
    reduction *r = user;

    while (r->next < r->n && r->bucket[r->next].last == node) DT_TRY(reduce_next(r));
    return DT_OK;
}

/* What a rank adds to the running sums in a step, and its running statistics behind it. */
static size_t shared_bytes(const dt_trainer *t)
{
    return sizeof(dt_step_sum) + (size_t)t->model->n_state * sizeof(float);
}

static void add_sum(dt_step_sum *sum, const dt_step_sum *more)
{
    sum->loss += more->loss;
    sum->reconstruction += more->reconstruction;
    sum->n_correct += more->n_correct;
    sum->n_images += more->n_images;
    sum->n_labels += more->n_labels;
    sum->n_exact += more->n_exact;
}

/* The mean of equal values is that value: n of them are summed in double, exactly. */
static void average_state(const unsigned char *all, size_t stride, int ranks, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (int r = 0; r < ranks; r++) {
            float v;
            memcpy(&v, all + (size_t)r * stride + sizeof(dt_step_sum) + (size_t)i * sizeof v, sizeof v);
            sum += (double)v;
        }
        out[i] = (float)(sum / ranks);
    }
}

/* mine is [shared_bytes], and all [ranks][shared_bytes]. */
static dt_status share_by(dt_trainer *t, const dt_step_sum *before, unsigned char *mine, unsigned char *all)
{
    dt_model *m = t->model;
    dt_context *ctx = m->ctx;
    const size_t bytes = shared_bytes(t), state_bytes = (size_t)m->n_state * sizeof(float);
    const int ranks = dt_dist_size(ctx->dist);
    dt_step_sum sum = *before, more;

    DT_TRY(dt_device_read(ctx, mine, &ctx->step->sum, sizeof sum));
    DT_TRY(dt_device_read(ctx, mine + sizeof sum, m->state, state_bytes));
    DT_TRY(dt_dist_gather(ctx->dist, "running sums", mine, bytes, all));
    for (int r = 0; r < ranks; r++) {
        memcpy(&more, all + (size_t)r * bytes, sizeof more);
        add_sum(&sum, &more);
    }
    average_state(all, bytes, ranks, m->n_state, (float *)(void *)(mine + sizeof sum));
    DT_TRY(dt_device_write(ctx, &ctx->step->sum, &sum, sizeof sum));
    return dt_device_write(ctx, m->state, mine + sizeof sum, state_bytes);
}

static dt_status share_sums(dt_trainer *t, const dt_step_sum *before)
{
    const size_t bytes = shared_bytes(t), ranks = (size_t)dt_dist_size(t->model->ctx->dist);
    unsigned char *room = malloc((ranks + 1) * bytes);

    DT_CHECK(room, DT_ERR_MEMORY, "no memory for the running statistics of %zu ranks", ranks);
    const dt_status status = share_by(t, before, room, room + bytes);
    free(room);
    return status;
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

/* Gradients of one part are summed over ranks while its backward runs. */
static dt_status run_part(dt_trainer *t, const dt_step_in *in, const dt_part *part, reduction *r)
{
    dt_context *ctx = t->model->ctx;
    dt_step_tape *s = dt_trainer_tape(t, part);
    dt_step_in of_part = *in;

    of_part.first += part->first;
    DT_TRY(dt_device_write(ctx, &ctx->step->in, &of_part, sizeof of_part));
    DT_TRY(dt_tape_run(s->tape, DT_PASS_FORWARD, NULL, NULL));
    return dt_tape_run(s->tape, DT_PASS_BACKWARD, r->n > 0 && t->accumulate == 1 ? reduce_complete : NULL, r);
}

dt_status dt_trainer_run_parts(dt_trainer *t, const dt_step_in *in)
{
    dt_model *m = t->model;
    dt_context *ctx = m->ctx;
    const int step_images = dt_trainer_step_images(t, t->step);
    reduction r = { .ctx = ctx, .dw = m->dw };
    dt_part part = { 0 };
    dt_step_sum before;

    if (ctx->dist) {
        part = dt_trainer_part(t, step_images, 0);
        r.n = dt_buckets_of(dt_trainer_tape(t, &part)->tape, m, r.bucket, DT_COMM_SLOTS);
        DT_TRY(dt_device_read(ctx, &before, &ctx->step->sum, sizeof before));
        DT_TRY(dt_device_zero(ctx, &ctx->step->sum, sizeof before));
    }
    for (int i = 0; i < t->accumulate; i++) {
        part = dt_trainer_part(t, step_images, i);
        DT_TRY(run_part(t, in, &part, &r));
        DT_TRY(add_part(t, i));
    }
    while (r.next < r.n) DT_TRY(reduce_next(&r));
    if (ctx->dist) DT_TRY(ctx->backend->all_reduce_join(ctx->device));
    if (ctx->dist) DT_TRY(share_sums(t, &before));
    return dt_context_update(ctx, &dt_trainer_tape(t, &part)->update);
}

/* ---- the same begin, and the same end ---- */

/* FNV-1a over the bits. Source: Fowler, Noll, Vo, draft-eastlake-fnv. */
static dt_status hash_floats(dt_context *ctx, const float *v, int64_t n, uint64_t *hash)
{
    float *host;

    DT_TRY(dt_device_floats(ctx, v, n, &host));
    for (int64_t i = 0; i < n; i++) *hash = (*hash ^ dt_float_bits(host[i])) * 0x100000001b3u;
    free(host);
    return DT_OK;
}

dt_status dt_trainer_agree(dt_trainer *t)
{
    const dt_model *m = t->model;
    dt_dist *dist = m->ctx->dist;
    uint64_t mine = 0xcbf29ce484222325u;

    if (!dist) return DT_OK;
    DT_TRY(hash_floats(m->ctx, m->w, m->n_trained, &mine));
    DT_TRY(hash_floats(m->ctx, m->state, m->n_state, &mine));
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
    DT_TRY(broadcast_floats(ctx, "parameters", m->w, m->n_trained));
    DT_TRY(broadcast_floats(ctx, "running statistics", m->state, m->n_state));
    DT_TRY(broadcast_floats(ctx, "moments", t->m1, m->n_trained));
    if (t->m2) DT_TRY(broadcast_floats(ctx, "moments", t->m2, m->n_trained));
    DT_TRY(dt_trainer_state(t, &state));
    DT_TRY(dt_dist_broadcast(ctx->dist, "position", &state, sizeof state));
    DT_TRY(dt_dist_broadcast(ctx->dist, "position", &t->step, sizeof t->step));
    return dt_trainer_seek(t, t->step, &state);
}
