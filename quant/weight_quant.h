/*
 * weight_quant.h - the layers that one call of the weight quantizer takes, as sets and pieces (core/train/optim.h), for
 *                  CPU and CUDA. weight_quant.c has the mathematics.
 *
 * Sets and pieces are numbered through all layers of a group, so that threads and blocks go over them regardless of
 * layers. A group is passed to kernels by value.
 */
#ifndef DT_WEIGHT_QUANT_H
#define DT_WEIGHT_QUANT_H

#include "../core/train/optim.h"
#include "../core/arith/grid.h"

enum {
    DT_WEIGHT_LAYERS = 24, /* layers of a group; a kernel has at most 32,764 bytes of parameters */
    DT_WEIGHT_LANES = 256  /* accumulators of a sum, as many as the threads of a block */
};

/* The statistics of one set; aux holds those of all sets. */
typedef struct {
    float mean, deviation; /* the deviation is infinite for a set without spread: dt_weight_stats_of */
} dt_weight_stats;

/* The scale of a layer's psums, one for each set: to[i] = unit * (scale of x * scale of set i). */
typedef struct {
    float *to;          /* NULL: the layer writes it itself */
    const float *alpha; /* of x */
    int high;
    dt_quant_rule rule;
    float unit; /* a power of two */
} dt_psum_scale;

/* One layer: n_sets sets of `count` weights, each cut into `pieces` pieces. */
typedef struct {
    float *w, *alpha;
    float *dw, *dalpha; /* NULL: no gradient is wanted */
    const void *g;      /* gradient with respect to the real value of the codes, of g_type */
    void *code;         /* of `type` */
    void *real;         /* scale * code, of `type`; NULL: not wanted */
    float *scale;
    dt_weight_stats *stats; /* [n_sets] */
    double *sums;           /* [2][n_sets][pieces] of w and of w^2 */
    double *dshare;         /* [n_sets][pieces] shares of dalpha; may be the memory of sums */
    const float *turns;     /* dt_tensor.turns of w */
    int64_t count;
    int channels, stored; /* in code, real and a g in F16, `channels` values have the room of `stored` */
    int n_sets, pieces;
    int first_piece, first_set; /* numbers in the group */
    int has_sums;               /* 1: sums are those of w, or the rule needs none */
    unsigned fresh;             /* the node's */
    dt_dtype type;
    dt_quant_rule rule;
    dt_grid grid;
    dt_psum_scale psum;   /* CUDA writes it */
    const float *g_scale; /* of a g in F16: dt_tensor.grad_scale and grad_unit */
    float g_unit;
    dt_dtype g_type;
} dt_weight_layer;

typedef struct {
    int n, n_pieces, n_sets;
    int has_sums; /* 1: all layers have it */
    dt_weight_layer layer[DT_WEIGHT_LAYERS];
} dt_weight_group;

/* A piece: weights first .. first + n - 1 of layer[layer]. */
typedef struct {
    int layer, set;
    int part; /* number of the piece in its layer, which is its index in sums and dshare */
    int n;
    int64_t first;
} dt_weight_piece;

/* Makes a group of the first of n nodes, at most DT_WEIGHT_LAYERS, and returns how many it took. It uses scratch from
 * *scratch on, and moves *scratch behind what it used. scratch NULL: nobody reads the layers' sums and shares. */
int dt_weight_group_of(const dt_node *const *node, int n, char **scratch, dt_weight_group *out);

/* Returns the factors of a weight from its x. A frozen weight is its code times the step, so that its own gradient is
 * 0, and that of the step is the code. */
static inline DT_HD dt_grid_slope dt_weight_slope_of(float x, const dt_grid *grid, dt_quant_rule rule, int is_frozen)
{
    const dt_grid_slope frozen = { 0.0f, dt_weight_code(x, grid, rule) * grid->step_factor };

    return is_frozen ? frozen : dt_weight_slope(x, grid, rule);
}

/* Returns 1 if weight i of a layer is frozen. */
static inline DT_HD int dt_weight_is_frozen(const dt_weight_layer *l, int64_t i)
{
    return l->turns && l->turns[i] > 1.0f;
}

/* Follows the code of parameter i, a weight w with the step alpha, behind an update. Returns what the weight becomes,
 * which is w unless it is frozen. */
static inline DT_HD float dt_weight_freeze(const dt_update_freeze *f, int64_t i, float w, float alpha,
                                           const dt_grid *grid)
{
    const float code = dt_weight_code(dt_weight_unit(w, 0.0f, 1.0f, alpha, DT_RULE_LSQ), grid, DT_RULE_LSQ);
    const float before = rintf(f->last[i]), way = 4.0f * (f->last[i] - before), turns = f->turns[i];
    const float m = f->momentum, now = code > before ? 1.0f : code < before ? -1.0f : 0.0f;

    if (turns > 1.0f) return f->mean[i] * alpha;
    f->last[i] = turns < 0.0f ? code : code + 0.25f * (now != 0.0f ? now : way);
    if (turns < 0.0f) {
        f->turns[i] = 0.0f;
        f->mean[i] = code;
        return w;
    }
    const float next = (1.0f - m) * turns + m * (now * way < 0.0f ? 1.0f : 0.0f), mean = f->mean[i];
    const int freezes = next > f->threshold;
    f->turns[i] = freezes ? DT_FROZEN : next;
    f->mean[i] = freezes ? rintf(mean) : (1.0f - m) * mean + m * code;
    return freezes ? f->mean[i] * alpha : w;
}

/* How gradients of weights differ from the straight-through rule. Both are 0 where they do not. */
typedef struct {
    float ewgs;   /* as in dt_train_config */
    float dampen; /* likewise; only the update, which has the gradient of the whole step, applies it */
} dt_weight_pull;

/* Returns the gradient of a weight, from its x (dt_weight_unit) and the gradient g of its code. */
static inline DT_HD float dt_weight_pulled(float x, float slope, float g, float deviation, float scale,
                                           const dt_grid *grid, dt_quant_rule rule, dt_weight_pull pull)
{
    const float steps = rule == DT_RULE_LSQ ? x : x * (float)grid->high;
    const float off = (steps - dt_weight_code(x, grid, rule)) * scale; /* from the value of the code */
    const float pulled = slope * (g * dt_ewgs_factor(steps, g, pull.ewgs));
    const int inside = rule == DT_RULE_LSQ ? slope != 0.0f : fabsf(x) <= 1.0f; /* what is clipped is left alone */

    return (pull.dampen != 0.0f && inside ? pulled + pull.dampen * off : pulled) / deviation;
}

/* Up to DT_WEIGHT_LANES weights of a set, and the gradients of their codes, which are multiplied by `unscale`. */
typedef struct {
    const float *w, *g;
    int n, set;
    float unscale;
    dt_weight_pull pull;
} dt_weight_run;

/* Computes the gradients of weights from those of their codes, and writes them to d. It adds the share that weight i
 * has of dalpha to lane[i]. */
void dt_weight_gradient(const dt_weight_layer *l, const dt_weight_run *r, float *d, double *lane);

/* Returns dalpha of a set: the sum of its pieces' shares. */
float dt_weight_dalpha(const dt_weight_layer *l, int set);

/* Returns the sum of n doubles: value i goes to accumulator i mod DT_WEIGHT_LANES, and then one half of them is added
 * to the other until one is left. The GPU's blocks have the same order (cuda/reduce.h), and so the same bits. */
double dt_weight_sum(const double *v, int n);

/* Returns the place of a layer's code number i. */
static inline DT_HD int64_t dt_weight_place(const dt_weight_layer *l, int64_t i)
{
    return l->stored == l->channels ? i : i / l->channels * l->stored + i % l->channels;
}

/* Returns piece number p of a group. */
static inline DT_HD dt_weight_piece dt_weight_piece_at(const dt_weight_group *g, int p)
{
    dt_weight_piece piece = { 0, 0, 0, 0, 0 };

    while (piece.layer + 1 < g->n && g->layer[piece.layer + 1].first_piece <= p) piece.layer++;
    const int64_t count = g->layer[piece.layer].count;
    const int pieces = g->layer[piece.layer].pieces;
    piece.part = p - g->layer[piece.layer].first_piece;
    piece.set = piece.part / pieces;
    const int64_t in_set = (int64_t)(piece.part % pieces) * DT_PIECE;
    piece.first = piece.set * count + in_set;
    piece.n = count - in_set < DT_PIECE ? (int)(count - in_set) : DT_PIECE;
    return piece;
}

/* Returns the layer of set number s of a group. */
static inline DT_HD int dt_weight_layer_of_set(const dt_weight_group *g, int s)
{
    int layer = 0;

    while (layer + 1 < g->n && g->layer[layer + 1].first_set <= s) layer++;
    return layer;
}

/* A set has no spread if its deviation is at most 2^-22 of its mean, which is 4 units of f32's last place, or below
 * 2^-126, f32's least normal number. The rounding of the sums leaves a set of equal weights a variance of at most 2^-46
 * of their square. */
#define DT_WEIGHT_LEAST_SPREAD    0x1p-22
#define DT_WEIGHT_LEAST_DEVIATION 0x1p-126

/* Returns the statistics of n weights from the sum of w and the sum of w^2. The squares are not those of w - mean, so
 * that the optimiser can sum them before the mean is known. That costs digits where the mean is far above the
 * deviation, but fewer than w - mean does in f32. The deviation of a set without spread is infinite, so that all its
 * codes and gradients are 0. That of a set with a NaN is a NaN. */
static inline DT_HD dt_weight_stats dt_weight_stats_of(double sum, double square, int64_t n)
{
    const double mean = sum / (double)n, variance = (square - sum * mean) / (double)(n - 1);
    const double relative = DT_WEIGHT_LEAST_SPREAD * mean, least = DT_WEIGHT_LEAST_DEVIATION;
    const int is_flat = variance <= relative * relative || variance < least * least;
    const dt_weight_stats s = { (float)mean, is_flat ? INFINITY : (float)sqrt(variance) };
    return s;
}

#endif /* DT_WEIGHT_QUANT_H */
