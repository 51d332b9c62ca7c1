/*
 * test_buckets.c - buckets cover all gradients from the end, and each is complete when its last node has run.
 */
#include "../../core/train/buckets.h"
#include "../support/tiny_run.h"

enum { MOST_BUCKETS = 4 };

typedef struct {
    const tiny_run *r;
    dt_bucket bucket[MOST_BUCKETS];
    int n, next;
    float *early; /* gradients as they were when their bucket was complete */
} look;

static dt_status keep_complete(void *user, const dt_node *node)
{
    look *l = user;

    for (; l->next < l->n && l->bucket[l->next].last == node; l->next++) {
        const dt_bucket *b = &l->bucket[l->next];
        DT_TRY(dt_device_read(l->r->ctx, l->early + b->first, l->r->model->dw + b->first,
                              (size_t)b->count * sizeof(float)));
    }
    return DT_OK;
}

/* From the end to the begin, without a gap. */
static void check_cover(const look *l, int room)
{
    int64_t end = l->r->model->n_trained;

    cr_assert(l->n >= 1 && l->n <= room);
    for (int i = 0; i < l->n; i++) {
        const dt_bucket *b = &l->bucket[i];
        cr_assert(b->count > 0 && b->first + b->count == end, "bucket %d of %d", i, l->n);
        cr_assert(i == l->n - 1 || 2 * b->count >= end, "bucket %d has %lld of %lld", i, (long long)b->count,
                  (long long)end);
        end = b->first;
    }
    cr_assert(end == 0);
}

static void check_model(const tiny_options *o, int room)
{
    tiny_run r;
    look l = { .r = &r };

    cr_assert(tiny_open(&r, o));
    dt_step_tape *s = &r.trainer->tape[0];
    l.early = calloc((size_t)r.model->n_trained, sizeof *l.early);
    l.n = dt_buckets_of(s->tape, r.model, l.bucket, room);
    check_cover(&l, room);
    MUST(dt_trainer_step(r.trainer)); /* which sets what a step reads */
    MUST(dt_tape_run(s->tape, DT_PASS_FORWARD, NULL, NULL));
    MUST(dt_tape_run(s->tape, DT_PASS_BACKWARD, keep_complete, &l));
    cr_assert(l.next == l.n, "%d of %d buckets are complete when backward is over", l.next, l.n);
    float *late = host_floats(r.ctx, r.model->dw, r.model->n_trained);
    for (int64_t i = 0; i < r.model->n_trained; i++) {
        cr_assert(late[i] == l.early[i], "gradient %lld was %g when its bucket was complete, and is %g", (long long)i,
                  (double)l.early[i], (double)late[i]);
    }
    free(late);
    free(l.early);
    tiny_close(&r);
}

Test(buckets, are_complete_when_they_say)
{
    tiny_options o = tiny_defaults();

    for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
        o.model.rule = (dt_quant_rule)rule;
        for (int room = 1; room <= MOST_BUCKETS; room++) check_model(&o, room);
    }
    o.train.optim = DT_OPTIM_ADAM; /* no quantizer's backward is left to the update */
    check_model(&o, MOST_BUCKETS);
}
