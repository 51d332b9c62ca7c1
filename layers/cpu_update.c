/*
 * cpu_update.c - SGD with momentum and Adam, over all parameters in one pass.
 *
 *   g = dw / loss scale + weight_decay * w
 *   SGD:   m = momentum * m + g;  w -= lr * m
 *   Adam:  m1 = beta1 * m1 + (1 - beta1) * g;  m2 = beta2 * m2 + (1 - beta2) * g^2
 *          w -= lr * (m1 * correct1) / (sqrt(m2 * correct2) + epsilon),  correctN = 1 / (1 - betaN^t)
 *   then  w = max(w, floor), but a 0 of a sparse parameter stays 0
 *
 * lr is the step's learning rate times the range's factor. If a scaled gradient is not finite, the step changes nothing
 * but the loss scale.
 *
 * Sources: PyTorch's torch.optim.SGD (dampening 0, no Nesterov); Kingma, Ba, "Adam", 2015, algorithm 1, with the decay
 * added to the gradient. step.h has that of the loss scale.  CUDA: cuda/optim.cu.  Tests: tests/core/test_optim.c.
 */
#include "cpu_backend.h"

#include "../core/train/optim.h"

#include <math.h>

enum { RUNS = 64 }; /* taken at a time */

static void sgd_piece(const dt_update *u, const dt_sgd *s, int64_t first, int64_t end)
{
    float *w = u->w, *m = u->m1;
    const float *dw = u->dw;
    const dt_sgd sgd = *s;

    for (int64_t i = first; i < end; i++) dt_sgd_step(&sgd, dw[i] * sgd.unscale, &m[i], &w[i]);
}

/* What a loop reads lies in locals, and its arrays do not overlap, so that the compiler makes vectors. */
static void adam_piece(const dt_update *u, const dt_sgd *s, const dt_step_in *in, int64_t first, int64_t end)
{
    const dt_sgd sgd = *s;
    const float beta1 = u->beta1, beta2 = u->beta2, epsilon = u->epsilon;
    const float correct1 = in->adam_correct1, correct2 = in->adam_correct2;
    const float *restrict dw = u->dw;
    float *restrict w = u->w, *restrict m1 = u->m1, *restrict m2 = u->m2;

    for (int64_t i = first; i < end; i++) {
        const float g = dw[i] * sgd.unscale + sgd.weight_decay * w[i];
        const float next1 = beta1 * m1[i] + (1.0f - beta1) * g, next2 = beta2 * m2[i] + (1.0f - beta2) * (g * g);
        const float move = sgd.lr * (next1 * correct1) / (sqrtf(next2 * correct2) + epsilon);
        m1[i] = next1;
        m2[i] = next2;
        w[i] = dt_updated(&sgd, w[i], w[i] - move);
    }
}

static void update_run(const dt_update *u, const dt_update_range *r, const dt_step *step)
{
    const dt_sgd s = dt_sgd_of(u, r, step);
    const int64_t n_pieces = (r->count + DT_PIECE - 1) / DT_PIECE;

#pragma omp parallel for if (n_pieces > 1)
    for (int64_t p = 0; p < n_pieces; p++) {
        const int64_t first = r->first + p * DT_PIECE;
        const int64_t end = p + 1 < n_pieces ? first + DT_PIECE : r->first + r->count;
        if (u->kind == DT_OPTIM_SGD)
            sgd_piece(u, &s, first, end);
        else
            adam_piece(u, &s, &step->in, first, end);
    }
}

static int overflows(const float *g, int64_t n)
{
    int bad = 0;
#pragma omp parallel for reduction(| : bad) if (n > DT_PIECE)
    for (int64_t i = 0; i < n; i++) bad |= !dt_is_finite(g[i]);
    return bad;
}

static int update_overflows(const dt_update *u)
{
    dt_update_range run[RUNS];
    int bad = 0;

    for (int i = 0; i < u->n_quantizers; i++) {
        const dt_tensor *codes = u->quantizer[i]->out;
        bad |= overflows(dt_grads(codes), dt_count(&codes->shape));
    }
    for (int64_t at = 0; at < u->count;) {
        const int n = dt_update_runs(u, &at, run, RUNS);
        for (int i = 0; i < n; i++) bad |= overflows(u->dw + run[i].first, run[i].count);
    }
    return bad;
}

static dt_status update_all(const dt_update *u, const dt_exec *ex)
{
    dt_update_range run[RUNS];

    for (int64_t at = 0; at < u->count;) {
        const int n = dt_update_runs(u, &at, run, RUNS);
        for (int i = 0; i < n; i++) update_run(u, &run[i], ex->step);
    }
    return dt_cpu_update_quantized(u, ex);
}

/* Each rank has the sums of its own gradients alone, and all ranks have to skip a step or none. */
static dt_status find_overflow(const dt_update *u, const dt_exec *ex, int *out)
{
    const dt_cpu_device *cpu = ex->device;

    *out = u->scaled && update_overflows(u);
    return u->scaled && u->shares ? dt_dist_any(cpu->dist, "overflow", out) : DT_OK;
}

static dt_status spread(const dt_update *u, const dt_exec *ex)
{
    const dt_update_shares *s = u->shares;

    for (int b = 0; s && b < s->n_buckets; b++)
        DT_TRY(dt_cpu_spread_shares(ex->device, "parameters", u->w, s->at + b * (s->ranks + 1)));
    return DT_OK;
}

dt_status dt_cpu_update(const dt_update *u, const dt_exec *ex)
{
    int overflow;

    DT_TRY(dt_update_check(u, ex));
    DT_TRY(find_overflow(u, ex, &overflow));
    if (!overflow) DT_TRY(update_all(u, ex));
    if (!overflow) DT_TRY(spread(u, ex));
    if (!overflow) dt_cpu_freeze(u);
    if (u->scaled) dt_scale_next(&ex->step->scale, overflow);
    dt_update_done(u);
    return DT_OK;
}
