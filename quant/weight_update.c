/*
 * weight_update.c - backward of the weight quantizers and SGD in one pass over memory, on the CPU.
 *
 * For each weight it computes the gradient from that of its code (grid.h), the update of layers/cpu_update.c, and the
 * sums by which the next forward standardises. Alphas are updated when all weights have used the old ones. The
 * expressions are those of backward and of the plain update, and so the bits are the same.
 *
 * It reads what the quantizer's forward has left in aux.  CUDA: cuda/optim.cu.  Tests: tests/core/test_optim.c.
 */
#include "weight_quant.h"

#include "../layers/cpu_backend.h"

enum { LANES = DT_WEIGHT_LANES };

typedef struct {
    dt_weight_group group;
    dt_sgd weight[DT_WEIGHT_LAYERS], alpha[DT_WEIGHT_LAYERS];
    float *m[DT_WEIGHT_LAYERS], *m_alpha[DT_WEIGHT_LAYERS]; /* momentum; of alpha NULL: it is not trained */
    dt_weight_pull pull;
} update_group;

static void update_piece(const update_group *u, const dt_weight_piece *p)
{
    const dt_weight_layer *l = &u->group.layer[p->layer];
    const dt_sgd sgd = u->weight[p->layer];
    const float *g = (const float *)l->g + p->first;
    float *w = l->w + p->first, *m = u->m[p->layer] + p->first, d[LANES];
    double share[LANES] = { 0.0 }, sum[LANES] = { 0.0 }, square[LANES] = { 0.0 };

    for (int first = 0; first < p->n; first += LANES) {
        const int n = p->n - first < LANES ? p->n - first : LANES;
        const dt_weight_run run = { w + first, g + first, n, p->set, sgd.unscale, u->pull };
        dt_weight_gradient(l, &run, d, share);
        for (int i = 0; i < n; i++) {
            dt_sgd_step(&sgd, d[i], &m[first + i], &w[first + i]);
            const double next = (double)w[first + i];
            sum[i] += next;
            square[i] += next * next;
        }
    }
    l->sums[p->part] = dt_weight_sum(sum, LANES);
    l->sums[l->n_sets * l->pieces + p->part] = dt_weight_sum(square, LANES);
    l->dshare[p->part] = dt_weight_sum(share, LANES); /* last: where nobody keeps sums, they share their room */
}

static int64_t place_of(const dt_update *u, const dt_weight_layer *l, const dt_weight_piece *p)
{
    return l->w - u->w + p->first;
}

/* Of the shares that update_piece leaves. They are told to the other ranks as sums, to which all but one add 0. */
static void tell_piece(const dt_weight_layer *l, const dt_weight_piece *p, int is_mine, double *room)
{
    room[0] = is_mine ? l->sums[p->part] : 0.0;
    room[1] = is_mine ? l->sums[l->n_sets * l->pieces + p->part] : 0.0;
    room[2] = is_mine ? l->dshare[p->part] : 0.0;
}

static void hear_piece(const dt_weight_layer *l, const dt_weight_piece *p, const double *room)
{
    l->sums[p->part] = room[0];
    l->sums[l->n_sets * l->pieces + p->part] = room[1];
    l->dshare[p->part] = room[2];
}

static void update_alphas(const update_group *u, int layer)
{
    const dt_weight_layer *l = &u->group.layer[layer];

    for (int k = 0; u->m_alpha[layer] && k < l->n_sets; k++) {
        dt_sgd_step(&u->alpha[layer], dt_weight_dalpha(l, k), &u->m_alpha[layer][k], &l->alpha[k]);
    }
}

/* Of the update's quantizers from `first` on; returns how many. */
static int group_from(const dt_update *u, int first, const dt_step *step, char **scratch, update_group *out)
{
    const int n = dt_weight_group_of(u->quantizer + first, u->n_quantizers - first, scratch, &out->group);

    for (int i = 0; i < n; i++) {
        const dt_tensor *w = u->quantizer[first + i]->in[0], *alpha = u->quantizer[first + i]->in[1];
        out->weight[i] = dt_sgd_of(u, dt_update_range_of(u, w), step);
        out->m[i] = u->m1 + ((float *)w->data - u->w);
        out->m_alpha[i] = NULL;
        if (!alpha->wants_grad) continue;
        out->alpha[i] = dt_sgd_of(u, dt_update_range_of(u, alpha), step);
        out->m_alpha[i] = u->m1 + ((float *)alpha->data - u->w);
    }
    return n;
}

/* A rank's own pieces lie side by side: threads take them in small turns, so that each has some. */
static void update_pieces(const dt_update *u, const update_group *g)
{
#pragma omp parallel for schedule(dynamic, 4)
    for (int i = 0; i < g->group.n_pieces; i++) {
        const dt_weight_piece p = dt_weight_piece_at(&g->group, i);
        const dt_weight_layer *l = &g->group.layer[p.layer];
        const int is_mine = dt_update_is_mine(u, place_of(u, l, &p));
        if (is_mine) update_piece(g, &p);
        if (u->shares) tell_piece(l, &p, is_mine, u->shares->room + 3 * (ptrdiff_t)i);
    }
}

/* Each rank needs the sums of all weights: for alphas, and for the next step's statistics. */
static dt_status share_sums(const dt_update *u, const dt_exec *ex, const dt_weight_group *g)
{
    const dt_cpu_device *cpu = ex->device;

    if (!u->shares) return DT_OK;
    DT_TRY(dt_dist_sum(cpu->dist, "sums of weights", u->shares->room, 3 * (int64_t)g->n_pieces));
    for (int i = 0; i < g->n_pieces; i++) {
        const dt_weight_piece p = dt_weight_piece_at(g, i);
        hear_piece(&g->layer[p.layer], &p, u->shares->room + 3 * (ptrdiff_t)i);
    }
    return DT_OK;
}

dt_status dt_cpu_update_quantized(const dt_update *u, const dt_exec *ex)
{
    char *scratch = ex->scratch;
    update_group g;

    g.pull = (dt_weight_pull){ ex->step->in.ewgs, ex->step->in.dampen };
    for (int first = 0; first < u->n_quantizers;) {
        first += group_from(u, first, ex->step, &scratch, &g);
        update_pieces(u, &g);
        DT_TRY(share_sums(u, ex, &g.group));
        for (int i = 0; i < g.group.n; i++) update_alphas(&g, i);
    }
    return DT_OK;
}
