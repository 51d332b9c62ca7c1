/*
 * optim.h - what the optimiser's kernels share on all backends: the formula of an element, the rule of the loss scale,
 *           and which parameters are updated from dw and which from the gradient of their codes.
 *
 * A quantized weight is seen as sets, of one alpha each, and a set as pieces. Sums over a set are sums over its pieces,
 * then over those; so the update, which has a piece in hand, can leave what the next step's quantizer needs.
 */
#ifndef DT_OPTIM_H
#define DT_OPTIM_H

#include "../backend.h"
#include "../half.h" /* dt_float_bits */

enum {
    DT_PIECE = 4096,         /* parameters that are summed, and updated, together */
    DT_SCALE_INTERVAL = 2000 /* steps without overflow after which the loss scale doubles */
};
#define DT_SCALE_MAX 0x1p24f

/* What one step does to a run of parameters. */
typedef struct {
    float momentum, lr, weight_decay, floor;
    float unscale; /* 1 / loss scale: a power of two, so exact */
} dt_sgd;

static inline DT_HD dt_sgd dt_sgd_of(const dt_update *u, const dt_update_range *r, const dt_step *step)
{
    const dt_sgd s = { u->momentum, step->in.lr * r->lr_factor, r->weight_decay, r->floor,
                       u->scaled ? 1.0f / step->scale.value : 1.0f };
    return s;
}

/* g: the gradient, unscaled */
static inline DT_HD void dt_sgd_step(const dt_sgd *s, float g, float *m, float *w)
{
    const float next_m = s->momentum * *m + (g + s->weight_decay * *w);
    const float next = *w - s->lr * next_m;

    *m = next_m;
    *w = next < s->floor ? s->floor : next;
}

static inline DT_HD int dt_is_finite(float x)
{
    return (dt_float_bits(x) & 0x7f800000u) != 0x7f800000u;
}

/* The loss scale after a step. */
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

/* Pieces of each set of a WEIGHT_QUANT's weights. */
static inline int dt_weight_pieces(const dt_node *quantizer)
{
    const int64_t count = dt_count(&quantizer->in[0]->shape) / dt_count(&quantizer->in[1]->shape);
    return (int)((count + DT_PIECE - 1) / DT_PIECE);
}

/* Size of in[0]->sums: [2][sets][pieces], sums of w and of w^2. */
static inline size_t dt_weight_sums_bytes(const dt_node *quantizer)
{
    return 2 * (size_t)dt_count(&quantizer->in[1]->shape) * (size_t)dt_weight_pieces(quantizer) * sizeof(double);
}

/* Refuses what update cannot do. */
DT_MUST_CHECK dt_status dt_update_check(const dt_update *u, const dt_exec *ex);

/* At most `room` runs of parameters from *at on that are updated from dw; *at moves behind the last. 0: no more. */
int dt_update_runs(const dt_update *u, int64_t *at, dt_update_range *run, int room);

/* The settings of a trained parameter. */
const dt_update_range *dt_update_range_of(const dt_update *u, const dt_tensor *param);

/* Notes that the weights of u's quantizers have their sums. */
void dt_update_done(const dt_update *u);

#endif /* DT_OPTIM_H */
