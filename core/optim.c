/*
 * optim.c - SGD with momentum and Adam, over all parameters in one pass.
 *
 *   g = dw / loss scale + weight_decay * w
 *   SGD:   m = momentum * m + g;  w -= lr * m
 *   Adam:  m1 = beta1 * m1 + (1 - beta1) * g;  m2 = beta2 * m2 + (1 - beta2) * g^2
 *          w -= lr * (m1 * correct1) / (sqrt(m2 * correct2) + epsilon),  correctN = 1 / (1 - betaN^t)
 *   then w = max(w, floor), where lr is the step's times the range's factor. If a scaled gradient is not finite, the
 *   step changes nothing but the loss scale.
 *
 * Weights whose quantizer's backward is left to the update: quant/weight_update.c.
 * Sources: PyTorch's torch.optim.SGD (dampening 0, no Nesterov); Kingma, Ba, "Adam", 2015, algorithm 1, with the decay
 * added to the gradient; of the loss scale: step.h.  CUDA: cuda/optim.cu.  Tests: tests/test_optim.c.
 */
#include "optim.h"

#include <math.h>

enum { RUNS = 64 }; /* taken at a time */

/* ---- which parameters ---- */

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

/* The first parameter from i on that belongs to a quantizer, or count; *end: the one behind. */
static int64_t next_quantized(const dt_update *u, int64_t i, int64_t *end)
{
    int64_t first = u->count;

    *end = u->count;
    for (int q = 0; q < 2 * u->n_quantizers; q++) {
        const dt_tensor *t = u->quantizer[q / 2]->in[q % 2];
        const int64_t at = (const float *)t->data - u->w;
        if (!t->wants_grad || at < i || at >= first) continue;
        first = at;
        *end = at + dt_count(&t->shape);
    }
    return first;
}

int dt_update_runs(const dt_update *u, int64_t *at, dt_update_range *run, int room)
{
    int n = 0;

    while (n < room && *at < u->count) {
        int64_t behind;
        const dt_update_range *r = range_at(u, *at);
        const int64_t quantized = next_quantized(u, *at, &behind), end = r->first + r->count;
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

/* ---- the formulas ---- */

static void sgd_piece(const dt_update *u, const dt_sgd *s, int64_t first, int64_t end)
{
    float *w = u->w, *m = u->m1;
    const float *dw = u->dw;
    const dt_sgd sgd = *s;

    for (int64_t i = first; i < end; i++) dt_sgd_step(&sgd, dw[i] * sgd.unscale, &m[i], &w[i]);
}

static void adam_piece(const dt_update *u, const dt_sgd *s, const dt_step_in *in, int64_t first, int64_t end)
{
    float *w = u->w, *m1 = u->m1, *m2 = u->m2;
    const float *dw = u->dw;

    for (int64_t i = first; i < end; i++) {
        const float g = dw[i] * s->unscale + s->weight_decay * w[i];
        m1[i] = u->beta1 * m1[i] + (1.0f - u->beta1) * g;
        m2[i] = u->beta2 * m2[i] + (1.0f - u->beta2) * (g * g);
        const float move = s->lr * (m1[i] * in->adam_correct1) / (sqrtf(m2[i] * in->adam_correct2) + u->epsilon);
        const float next = w[i] - move;
        w[i] = next < s->floor ? s->floor : next;
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

dt_status dt_cpu_update(const dt_update *u, const dt_exec *ex)
{
    DT_TRY(dt_update_check(u, ex));
    const int overflow = u->scaled && update_overflows(u);

    if (!overflow) DT_TRY(update_all(u, ex));
    if (u->scaled) dt_scale_next(&ex->step->scale, overflow);
    dt_update_done(u);
    return DT_OK;
}
