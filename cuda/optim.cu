/*
 * optim.cu - one optimiser update of all parameters; the formulas are in layers/cpu_update.c, and in
 *            quant/weight_update.c for weights whose quantizer's backward is part of it.
 *
 * A batch is as many layers and runs of parameters as a launch takes by value; most networks are one batch. There are
 * three launches: if gradients are scaled, a check for overflow; then all parameters, with a block for each piece; then
 * the alphas. Where weights freeze (quant/weight_freeze.c), another one follows.
 */
#include "reduce.h"
#include "weight_gradient.h"

extern "C" {
#include "cuda_device.h"
}

static_assert((int)DT_BLOCK == (int)DT_WEIGHT_LANES, "the CPU sums on as many accumulators as a block has threads");

enum { RUNS = 64 }; /* of a batch */

typedef struct {
    dt_update update; /* its pointers to the host are not read */
    dt_weight_group group;
    float *m[DT_WEIGHT_LAYERS], *m_alpha[DT_WEIGHT_LAYERS]; /* momentum; of alpha NULL: it is not trained */
    dt_update_range weight[DT_WEIGHT_LAYERS], alpha[DT_WEIGHT_LAYERS];
    dt_update_range run[RUNS]; /* parameters whose gradient is in dw */
    int end[RUNS];             /* number of blocks up to the end of run i, behind those of the group */
    int n_runs;
    int n_blocks; /* of group and runs */
} update_batch;

/* The block's part of a run. */
typedef struct {
    int run;
    int64_t first, end;
} run_piece;

__device__ static run_piece run_piece_of(const update_batch *b, int block)
{
    run_piece p = { 0, 0, 0 };

    while (b->end[p.run] <= block) p.run++;
    const int start = p.run > 0 ? b->end[p.run - 1] : 0;
    const int64_t run_end = b->run[p.run].first + b->run[p.run].count;
    p.first = b->run[p.run].first + (int64_t)(block - start) * DT_PIECE;
    p.end = p.first + DT_PIECE < run_end ? p.first + DT_PIECE : run_end;
    return p;
}

/* A block for each piece of the batch: notes gradients that are not finite. */
__global__ static void check_kernel(const __grid_constant__ update_batch b, dt_step *step)
{
    const int block = (int)blockIdx.x - b.group.n_pieces;
    int bad = 0;

    if (block < 0) {
        const dt_weight_piece p = dt_weight_piece_at(&b.group, (int)blockIdx.x);
        const dt_weight_layer *l = &b.group.layer[p.layer];
        for (int i = threadIdx.x; i < p.n; i += DT_BLOCK) bad |= !dt_is_finite(dt_weight_gradient_at(l, p.first + i));
    } else {
        const run_piece p = run_piece_of(&b, block);
        for (int64_t i = p.first + threadIdx.x; i < p.end; i += DT_BLOCK) bad |= !dt_is_finite(b.update.dw[i]);
    }
    if (bad) step->scale.overflow = 1; /* whoever writes, writes this */
}

/* Weights of a quantizer, a block's piece of them; leaves their sums and the piece's share of dalpha. */
__device__ static void update_weights(const update_batch *b, const dt_step *step)
{
    const dt_weight_piece p = dt_weight_piece_at(&b->group, (int)blockIdx.x);
    const dt_weight_layer *l = &b->group.layer[p.layer];
    const dt_sgd sgd = dt_sgd_of(&b->update, &b->weight[p.layer], step);
    const dt_weight_stats st = l->stats[p.set];
    const float alpha = l->alpha[p.set], scale = dt_grid_scale(alpha, l->grid.high, l->rule);
    const dt_weight_pull pull = { step->in.ewgs, step->in.dampen };
    float *to_w = l->w + p.first, *to_m = b->m[p.layer] + p.first;
    double share = 0.0, sum = 0.0, square = 0.0;

    for (int first = threadIdx.x; first < p.n; first += DT_AT_ONCE * DT_BLOCK) {
        float w[DT_AT_ONCE], m[DT_AT_ONCE], g[DT_AT_ONCE];
        dt_load_some(w, to_w, first, p.n);
        dt_load_some(m, to_m, first, p.n);
        dt_load_gradients(g, l, &p, first);
        for (int k = 0; k < DT_AT_ONCE; k++) {
            const int i = first + k * DT_BLOCK;
            if (i >= p.n) continue;
            const float gk = g[k] * sgd.unscale, x = dt_weight_unit(w[k], st.mean, st.deviation, alpha, l->rule);
            const int is_frozen = dt_weight_is_frozen(l, p.first + i);
            const dt_grid_slope slope = dt_weight_slope_of(x, &l->grid, l->rule, is_frozen);
            const float d = dt_weight_pulled(x, slope.value, gk, st.deviation, scale, &l->grid, l->rule, pull);
            dt_sgd_step(&sgd, d, &m[k], &w[k]);
            to_w[i] = w[k];
            to_m[i] = m[k];
            share += (double)(slope.alpha * gk);
            sum += (double)w[k];
            square += (double)w[k] * (double)w[k];
        }
    }
    sum = dt_block_sum(sum);
    square = dt_block_sum(square);
    share = dt_block_sum(share);
    if (threadIdx.x > 0) return;
    l->sums[p.part] = sum;
    l->sums[l->n_sets * l->pieces + p.part] = square;
    l->dshare[p.part] = share; /* last: where nobody keeps sums, they share their room */
}

/* A block for each piece of the batch. */
__global__ static void sgd_kernel(const __grid_constant__ update_batch b, const dt_step *step)
{
    const int block = (int)blockIdx.x - b.group.n_pieces;

    if (step->scale.overflow) return;
    if (block < 0) {
        update_weights(&b, step);
        return;
    }
    const run_piece p = run_piece_of(&b, block);
    const dt_sgd sgd = dt_sgd_of(&b.update, &b.run[p.run], step);
    for (int64_t i = p.first + threadIdx.x; i < p.end; i += DT_BLOCK) {
        dt_sgd_step(&sgd, b.update.dw[i] * sgd.unscale, &b.update.m1[i], &b.update.w[i]);
    }
}

/* a block for each set of the batch */
__global__ static void alpha_kernel(const __grid_constant__ update_batch b, const dt_step *step)
{
    const int layer = dt_weight_layer_of_set(&b.group, (int)blockIdx.x);
    const dt_weight_layer *l = &b.group.layer[layer];
    const int set = (int)blockIdx.x - l->first_set;
    const double *share = l->dshare + set * l->pieces;
    double dalpha = 0.0;

    if (step->scale.overflow || !b.m_alpha[layer]) return;
    for (int i = threadIdx.x; i < l->pieces; i += DT_BLOCK) dalpha += share[i];
    dalpha = dt_block_sum(dalpha);
    if (threadIdx.x > 0) return;
    const dt_sgd sgd = dt_sgd_of(&b.update, &b.alpha[layer], step);
    dt_sgd_step(&sgd, (float)dalpha, &b.m_alpha[layer][set], &l->alpha[set]);
}

/* A block for each piece of the batch's group, whose weights may freeze; alphas are updated already. */
__global__ static void freeze_kernel(const __grid_constant__ update_batch b, const dt_step *step)
{
    const dt_weight_piece p = dt_weight_piece_at(&b.group, (int)blockIdx.x);
    const dt_weight_layer *l = &b.group.layer[p.layer];
    const int64_t first = l->w - b.update.w + p.first;
    const float alpha = l->alpha[p.set];

    if (step->scale.overflow) return;
    for (int i = threadIdx.x; i < p.n; i += DT_BLOCK) {
        float *w = l->w + p.first + i;
        *w = dt_weight_freeze(&b.update.freeze, first + i, *w, alpha, &l->grid);
    }
}

/* a block for each piece of the batch, which has no group */
__global__ static void adam_kernel(const __grid_constant__ update_batch b, const dt_step *step)
{
    const dt_update *u = &b.update;
    const run_piece p = run_piece_of(&b, (int)blockIdx.x);
    const dt_sgd s = dt_sgd_of(u, &b.run[p.run], step);

    if (step->scale.overflow) return;
    for (int64_t i = p.first + threadIdx.x; i < p.end; i += DT_BLOCK) {
        const float w = u->w[i];
        const float g = u->dw[i] * s.unscale + s.weight_decay * w;
        const float m1 = u->beta1 * u->m1[i] + (1.0f - u->beta1) * g;
        const float m2 = u->beta2 * u->m2[i] + (1.0f - u->beta2) * (g * g);
        const float move = s.lr * (m1 * step->in.adam_correct1) / (sqrtf(m2 * step->in.adam_correct2) + u->epsilon);
        u->m1[i] = m1;
        u->m2[i] = m2;
        u->w[i] = dt_updated(&s, w, w - move);
    }
}

/* one thread */
__global__ static void scale_kernel(dt_step *step)
{
    dt_scale_next(&step->scale, step->scale.overflow);
}

/* ---- host ---- */

typedef dt_status (*batch_launch)(const update_batch *b, const dt_exec *ex);

static void batch_layer(update_batch *b, const dt_update *u, const dt_node *node, int i)
{
    const dt_tensor *w = node->in[0], *alpha = node->in[1];

    b->weight[i] = *dt_update_range_of(u, w);
    b->m[i] = u->m1 + (dt_values(w) - u->w);
    b->m_alpha[i] = NULL;
    if (!alpha->wants_grad) return;
    b->alpha[i] = *dt_update_range_of(u, alpha);
    b->m_alpha[i] = u->m1 + (dt_values(alpha) - u->w);
}

/* Launches for all parameters, a batch at a time. */
static dt_status each_batch(const dt_update *u, const dt_exec *ex, batch_launch launch)
{
    char *scratch = (char *)ex->scratch;
    int64_t at = 0;
    int first = 0;
    update_batch b;

    b.update = *u;
    while (first < u->n_quantizers || at < u->count) {
        const int n = dt_weight_group_of(u->quantizer + first, u->n_quantizers - first, &scratch, &b.group);
        for (int i = 0; i < n; i++) batch_layer(&b, u, u->quantizer[first + i], i);
        first += n;
        b.n_runs = dt_update_runs(u, &at, b.run, RUNS);
        int blocks = 0;
        for (int i = 0; i < b.n_runs; i++) b.end[i] = blocks += (int)((b.run[i].count + DT_PIECE - 1) / DT_PIECE);
        b.n_blocks = b.group.n_pieces + blocks;
        if (b.n_blocks > 0) DT_TRY(launch(&b, ex));
    }
    return DT_OK;
}

static dt_status check(const update_batch *b, const dt_exec *ex)
{
    DT_LAUNCH(check_kernel, (unsigned)b->n_blocks, DT_BLOCK, 0, dt_stream_of(ex), *b, ex->step);
    return DT_OK;
}

static dt_status sgd(const update_batch *b, const dt_exec *ex)
{
    DT_LAUNCH(sgd_kernel, (unsigned)b->n_blocks, DT_BLOCK, 0, dt_stream_of(ex), *b, ex->step);
    if (b->group.n == 0) return DT_OK;
    DT_LAUNCH(alpha_kernel, (unsigned)b->group.n_sets, DT_BLOCK, 0, dt_stream_of(ex), *b, ex->step);
    return DT_OK;
}

static dt_status adam(const update_batch *b, const dt_exec *ex)
{
    DT_LAUNCH(adam_kernel, (unsigned)b->n_blocks, DT_BLOCK, 0, dt_stream_of(ex), *b, ex->step);
    return DT_OK;
}

/* Launches for the weights that may freeze. */
static dt_status freeze(const dt_update *u, const dt_exec *ex)
{
    const dt_update_freeze *f = &u->freeze;
    update_batch b;

    b.update = *u;
    for (int first = 0; first < f->n_quantizers;) {
        first += dt_weight_group_of(f->quantizer + first, f->n_quantizers - first, NULL, &b.group);
        DT_LAUNCH(freeze_kernel, (unsigned)b.group.n_pieces, DT_BLOCK, 0, dt_stream_of(ex), b, ex->step);
    }
    return DT_OK;
}

extern "C" dt_status dt_cuda_update(const dt_update *u, const dt_exec *ex)
{
    DT_TRY(dt_update_check(u, ex));
    if (u->scaled) DT_TRY(each_batch(u, ex, check));
    DT_TRY(each_batch(u, ex, u->kind == DT_OPTIM_SGD ? sgd : adam));
    DT_TRY(freeze(u, ex));
    dt_update_done(u);
    if (!u->scaled) return DT_OK;
    DT_LAUNCH(scale_kernel, 1, 1, 0, dt_stream_of(ex), ex->step);
    return DT_OK;
}
