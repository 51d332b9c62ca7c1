/*
 * test_evaluate.c - what an evaluation keeps of each image agrees with its metrics, whatever the batch; the last batch
 *                   is smaller; an evaluation is kept and made again.
 */
#include "../support/tiny_run.h"

#include <math.h>

enum { N = 80, CLASSES = 10 };

static dt_metrics evaluate(const tiny_run *r, int batch, int32_t *predictions, float *scores)
{
    dt_metrics m;
    MUST(dt_evaluate(r->model, r->data, batch, 0.0f, NULL, &(dt_outputs){ predictions, scores }, &m));
    cr_assert(m.images == N);
    return m;
}

Test(evaluate, scores_predictions_and_accuracy_agree)
{
    const tiny_options o = tiny_defaults();
    int32_t predictions[N];
    float scores[N * CLASSES], again[N * CLASSES];
    dt_class_report *classes;
    dt_dataset_view v;
    int64_t n_correct = 0;
    tiny_run r;
    cr_assert(tiny_open(&r, &o));
    tiny_steps(&r, 6);
    const dt_metrics m = evaluate(&r, 33, predictions, scores);
    evaluate(&r, 7, NULL, again);
    cr_assert(memcmp(scores, again, sizeof scores) == 0, "scores depend on the batch");

    dt_dataset_look(r.data, &v);
    MUST(dt_class_report_create(scores, v.labels, N, CLASSES, &classes));
    for (int i = 0; i < N; i++) {
        const float *score = scores + i * CLASSES;
        for (int c = 0; c < CLASSES; c++) {
            const int beats =
                score[c] > score[predictions[i]] || (score[c] == score[predictions[i]] && c < predictions[i]);
            cr_assert(!beats, "image %d: class %d is predicted, but %d has %g against %g", i, predictions[i], c,
                      (double)score[c], (double)score[predictions[i]]);
        }
        n_correct += predictions[i] == v.labels[i];
    }
    cr_assert(m.accuracy == (double)n_correct / N && m.accuracy == dt_class_report_top(classes, 1));
    cr_assert(n_correct > 0 && n_correct < N, "%lld of %d: a network that tells no tale", (long long)n_correct, N);
    dt_class_report_destroy(classes);
    tiny_close(&r);
}

/* ---- the last batch, which is smaller ---- */

enum { BATCH = 33, MOST_NODES = 64 };

/* What nodes made of the images that counted, in the order in which they ran. */
typedef struct {
    dt_context *ctx;
    int64_t images; /* of the batch at hand */
    int n;
    int64_t rows[MOST_NODES];
    uint64_t hash[MOST_NODES];
} nodes_seen;

static dt_status see_node(void *user, const dt_node *node)
{
    nodes_seen *s = user;
    const size_t bytes = dt_tensor_bytes(node->out);
    unsigned char *values = malloc(bytes);
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    if (node->out->constant || node->out->shape.ndim < 2) { /* weights; the loss, and labels */
        free(values);
        return DT_OK;
    }
    cr_assert(values && s->n < MOST_NODES);
    MUST(dt_device_read(s->ctx, values, node->out->data, bytes));
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ values[i]) * 1099511628211u;
    s->rows[s->n] = node->out->shape.dim[0];
    s->hash[s->n++] = hash;
    free(values);
    return DT_OK;
}

/* Only the nodes of the last batch are of interest. */
static dt_status next_batch(void *user, const dt_batch *b)
{
    nodes_seen *s = user;

    s->images = b->n;
    cr_assert(b->logits->shape.dim[0] == b->n);
    if (b->first + b->n < N) s->n = 0;
    return DT_OK;
}

static dt_step_sum run_images(const tiny_run *r, int64_t first, int64_t count, int batch, nodes_seen *seen)
{
    const dt_inference_options opt = { .first = first, .count = count, .batch = batch, .watched = seen != NULL };
    dt_dataset_view v;
    dt_inference *inf;
    dt_step_sum sum;

    dt_dataset_look(r->data, &v);
    MUST(dt_inference_create(r->model, &v, &opt, &inf));
    MUST(dt_inference_run(inf, seen ? see_node : NULL, seen ? next_batch : NULL, seen, &sum));
    dt_inference_destroy(inf);
    return sum;
}

/* 80 images in batches of 33 are summed as 33, 33 and 14 that each are all the images of a tape. */
static void the_rest_counts_as_it_would_alone(const char *backend, dt_precision precision, const char *why)
{
    static const int part[3] = { 33, 33, 14 };
    tiny_options o = tiny_defaults();
    dt_step_sum want = { 0 };
    tiny_run r;

    o.context.backend = backend;
    o.context.precision = precision;
    if (!tiny_open(&r, &o)) return;
    nodes_seen whole = { .ctx = r.ctx }, alone = { .ctx = r.ctx };
    tiny_steps(&r, 4);
    for (int i = 0, first = 0; i < 3; first += part[i++]) {
        const dt_step_sum sum = run_images(&r, first, part[i], part[i], NULL);
        cr_assert(sum.n_images == part[i], "%s", why);
        want.loss += sum.loss;
        want.n_correct += sum.n_correct;
    }
    for (int watched = 0; watched < 2; watched++) {
        const dt_step_sum sum = run_images(&r, 0, N, BATCH, watched ? &whole : NULL);
        cr_assert(sum.n_images == N && sum.n_correct == want.n_correct && sum.loss == want.loss,
                  "%s: %lld images, %lld right and a loss of %.17g; expected %lld and %.17g", why,
                  (long long)sum.n_images, (long long)sum.n_correct, sum.loss, (long long)want.n_correct, want.loss);
    }
    run_images(&r, 66, 14, 14, &alone);
    cr_assert(whole.images == 14 && whole.n == alone.n && whole.n > 5, "%s: %d nodes, %d alone", why, whole.n, alone.n);
    for (int i = 0; i < whole.n; i++) {
        cr_assert(whole.rows[i] == alone.rows[i] && whole.rows[i] % 14 == 0, "%s: node %d shows %lld rows", why, i,
                  (long long)whole.rows[i]);
        cr_assert(whole.hash[i] == alone.hash[i], "%s: node %d has other values", why, i);
    }
    tiny_close(&r);
}

Test(evaluate, a_smaller_last_batch_counts_its_images_alone)
{
    the_rest_counts_as_it_would_alone("cpu", DT_PRECISION_F32, "CPU, f32");
    the_rest_counts_as_it_would_alone("cpu", DT_PRECISION_MIXED, "CPU, mixed");
    the_rest_counts_as_it_would_alone("cuda", DT_PRECISION_F32, "CUDA, f32");
    the_rest_counts_as_it_would_alone("cuda", DT_PRECISION_MIXED, "CUDA, mixed");
}

/* ---- an evaluation that is kept ---- */

static void is_kept(const char *backend)
{
    tiny_options o = tiny_defaults();
    dt_evaluator *kept;
    dt_metrics found, want;
    double last = 0.0;
    tiny_run r;

    o.context.backend = backend;
    o.context.precision = DT_PRECISION_MIXED;
    if (!tiny_open(&r, &o)) return;
    const size_t bytes = r.ctx->bytes - r.ctx->workspace_bytes - r.ctx->scratch_bytes;
    MUST(dt_evaluator_create(r.model, r.data, 33, 0.1f, &kept));
    cr_assert(r.ctx->bytes - r.ctx->workspace_bytes - r.ctx->scratch_bytes > bytes + N * 32 * 32 * 3);
    for (int i = 0; i < 3; i++) {
        tiny_steps(&r, 2);
        const int64_t n = r.ctx->n_allocations;
        MUST(dt_evaluator_run(kept, NULL, &found)); /* first: what it computes of weights is not there yet */
        cr_assert(r.ctx->n_allocations == n, "%s: an evaluation that is kept allocates", backend);
        MUST(dt_evaluate(r.model, r.data, 33, 0.1f, NULL, NULL, &want));
        cr_assert(found.loss == want.loss && found.accuracy == want.accuracy && found.images == N,
                  "%s, after %d steps: %.17g, and anew %.17g", backend, 2 * i + 2, found.loss, want.loss);
        cr_assert(found.loss != last, "%s: the parameters of before", backend);
        last = found.loss;
    }
    dt_evaluator_destroy(kept);
    cr_assert(r.ctx->bytes - r.ctx->workspace_bytes - r.ctx->scratch_bytes == bytes);
    tiny_close(&r);
}

Test(evaluate, one_that_is_kept_has_the_bits_of_a_new_one)
{
    is_kept("cpu");
    is_kept("cuda");
}

Test(evaluate, one_that_is_kept_refuses_bad_values)
{
    const tiny_options o = tiny_defaults();
    const float bad = NAN;
    dt_evaluator *kept;
    dt_metrics m;
    tiny_run r;

    cr_assert(tiny_open(&r, &o));
    MUST(dt_evaluator_create(r.model, r.data, 33, 0.0f, &kept));
    MUST(dt_evaluator_run(kept, NULL, &m));
    MUST(dt_device_write(r.ctx, r.model->param[0]->tensor.data, &bad, sizeof bad));
    cr_assert(dt_evaluator_run(kept, NULL, &m) == DT_ERR_NUMERIC);
    dt_evaluator_destroy(kept);
    tiny_close(&r);
}
