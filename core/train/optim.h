/*
 * optim.h - what the optimiser's kernels share on all backends: the SGD formula, the rule of the loss scale, and the
 *           choice of the parameters that are updated from dw. The others are updated from the gradient of their codes.
 *
 * The weights of a WEIGHT_QUANT node form sets, one for each alpha, and each set is cut into pieces of DT_PIECE
 * weights, of which the last may be shorter. A sum over a set is the sum of its pieces' sums. Therefore the update,
 * which works on one piece at a time, can leave the sums by which the next step's quantizer standardises the weights.
 */
#ifndef DT_OPTIM_H
#define DT_OPTIM_H

#include "../backend.h"
#include "../half.h" /* dt_float_bits */

enum {
    DT_PIECE = 4096,         /* parameters of a piece, which one thread sums and updates */
    DT_SCALE_INTERVAL = 2000 /* steps without overflow after which the loss scale doubles */
};
#define DT_SCALE_MAX 0x1p24f

/* The settings of one range of parameters in one step. Adam has its moments' factors in dt_update. */
typedef struct {
    float momentum, lr, weight_decay, floor;
    float unscale; /* 1 / loss scale; exact, because the scale is a power of two */
    int sparse;    /* 1: values that are 0 stay 0 */
} dt_sgd;

/* Returns the settings of range r in this step; the learning rate is the step's times the range's factor. */
static inline DT_HD dt_sgd dt_sgd_of(const dt_update *u, const dt_update_range *r, const dt_step *step)
{
    const dt_sgd s = {
        u->momentum, step->in.lr * r->lr_factor, r->weight_decay, r->floor, u->scaled ? 1.0f / step->scale.value : 1.0f,
        r->sparse
    };
    return s;
}

/* Returns what a parameter w becomes whose update is `next`: not below the floor, and 0 where it is a pruned 0. */
static inline DT_HD float dt_updated(const dt_sgd *s, float w, float next)
{
    const float limited = next < s->floor ? s->floor : next;
    return s->sparse && w == 0.0f ? w : limited;
}

/* Updates one parameter: m = momentum * m + (g + weight_decay * w), w = max(w - lr * m, floor). g is the gradient,
 * already divided by the loss scale. */
static inline DT_HD void dt_sgd_step(const dt_sgd *s, float g, float *m, float *w)
{
    const float next_m = s->momentum * *m + (g + s->weight_decay * *w);
    const float next = *w - s->lr * next_m;

    *m = next_m;
    *w = dt_updated(s, *w, next);
}

/* Returns 0 for NaN and for an infinity, else 1. */
static inline DT_HD int dt_is_finite(float x)
{
    return (dt_float_bits(x) & 0x7f800000u) != 0x7f800000u;
}

/* Adapts the loss scale after a step. An overflow halves it, though not below 1. DT_SCALE_INTERVAL steps in a row
 * without one double it, up to DT_SCALE_MAX. */
static inline DT_HD void dt_scale_next(dt_loss_scale *s, int overflow)
{
    s->clean = overflow ? 0 : s->clean + 1;
    s->overflow = 0;
    if (overflow) {
        s->skipped++;
        s->value = s->value > 2.0f ? s->value / 2.0f : 1.0f;
    } else if (s->clean == DT_SCALE_INTERVAL) {
        s->clean = 0;
        s->value = s->value < DT_SCALE_MAX ? s->value * 2.0f : DT_SCALE_MAX;
    }
}

/* Returns the number of pieces in each set of a WEIGHT_QUANT node's weights. */
static inline int dt_weight_pieces(const dt_node *quantizer)
{
    const int64_t count = dt_count(&quantizer->in[0]->shape) / dt_count(&quantizer->in[1]->shape);
    return (int)((count + DT_PIECE - 1) / DT_PIECE);
}

/* Returns the bytes of in[0]->sums: doubles [2][sets][pieces], first the sums of w, then those of w^2. */
static inline size_t dt_weight_sums_bytes(const dt_node *quantizer)
{
    return 2 * (size_t)dt_count(&quantizer->in[1]->shape) * (size_t)dt_weight_pieces(quantizer) * sizeof(double);
}

/* DT_ERR_ARGUMENT if backward of quantizers is deferred to u and u is not SGD, if a quantizer's weights are not among
 * u's parameters, or if ex->scratch is too small for their sums. */
DT_MUST_CHECK dt_status dt_update_check(const dt_update *u, const dt_exec *ex);

/* Returns 1 if this rank updates parameter i. */
int dt_update_is_mine(const dt_update *u, int64_t i);

/* Finds the parameters, from *at on, that this rank updates from dw. It writes at most `room` runs of them to run, each
 * with the settings of its range, moves *at behind what it has seen, and returns the number of runs; 0: no more. */
int dt_update_runs(const dt_update *u, int64_t *at, dt_update_range *run, int room);

/* Returns the range in which a trained parameter lies, which has its settings. */
const dt_update_range *dt_update_range_of(const dt_update *u, const dt_tensor *param);

/* Sets has_sums of the quantizers' weights that keep sums. Call it when an update has ended. */
void dt_update_done(const dt_update *u);

#endif /* DT_OPTIM_H */
