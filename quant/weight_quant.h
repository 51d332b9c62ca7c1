/*
 * weight_quant.h - the layers that one call of the weight quantizer takes, cut into pieces, for CPU and CUDA; the
 *                  mathematics is in weight_quant.c.
 *
 * Pieces and sets are numbered through all layers of a group: threads and blocks go over them, whatever layer they
 * belong to. A group is passed to kernels by value.
 */
#ifndef DT_WEIGHT_QUANT_H
#define DT_WEIGHT_QUANT_H

#include "../core/train/optim.h"
#include "../core/arith/grid.h"

enum {
    DT_WEIGHT_LAYERS = 24, /* of a group: 4 KiB of a kernel's parameters */
    DT_WEIGHT_LANES = 256  /* accumulators of a sum: the threads of a block */
};

/* aux: of each set */
typedef struct {
    float mean, deviation; /* deviation: infinite without spread, see dt_weight_stats_of */
} dt_weight_stats;

/* w seen as n_sets sets of `count` weights, each set as pieces. */
typedef struct {
    float *w, *alpha;
    float *dw, *dalpha; /* NULL: not wanted */
    const float *g;     /* gradient of the codes' real value */
    void *code;         /* of `type` */
    float *scale;
    dt_weight_stats *stats;
    double *sums;   /* [2][n_sets][pieces], of w and of w^2 */
    double *dshare; /* [n_sets][pieces], of dalpha; may lie where sums do */
    int64_t count;
    int n_sets, pieces;
    int first_piece, first_set; /* numbers within the group */
    int has_sums;               /* 1: sums are those of w, or not needed */
    unsigned fresh;             /* the node's */
    dt_dtype type;
    dt_quant_rule rule;
    dt_grid grid;
} dt_weight_layer;

typedef struct {
    int n, n_pieces, n_sets;
    int has_sums; /* 1: of all layers */
    dt_weight_layer layer[DT_WEIGHT_LAYERS];
} dt_weight_group;

/* Where piece number p of a group is: `n` weights of layer[layer] from `first` on. */
typedef struct {
    int layer, set;
    int part; /* number of the piece in its layer: its place in sums and dshare */
    int n;
    int64_t first;
} dt_weight_piece;

/* The first of the nodes, at most DT_WEIGHT_LAYERS; how many. *scratch is room for all, and moves on. */
int dt_weight_group_of(const dt_node *const *node, int n, char **scratch, dt_weight_group *out);

/* Up to DT_WEIGHT_LANES weights of a set, and the gradients of their codes, which are multiplied by `unscale`. */
typedef struct {
    const float *w, *g;
    int n;
    float unscale;
} dt_weight_run;

/* d[i]: the gradient of w[i] from that of its code; lane[i] += its share of dalpha. */
void dt_weight_gradient(const dt_weight_layer *l, int set, const dt_weight_run *r, float *d, double *lane);

/* From the shares of its pieces. */
float dt_weight_dalpha(const dt_weight_layer *l, int set);

/* Sum over n doubles on LANES accumulators that are then folded by halves: the order of the GPU's blocks
 * (cuda/reduce.h), so that both find the same bits. */
double dt_weight_sum(const double *v, int n);

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

/* The layer of set number s of a group. */
static inline DT_HD int dt_weight_layer_of_set(const dt_weight_group *g, int s)
{
    int layer = 0;

    while (layer + 1 < g->n && g->layer[layer + 1].first_set <= s) layer++;
    return layer;
}

/* A set whose deviation is less has no spread: 2^-22 of the mean are 4 units of f32's last place, 2^-126 is f32's least
 * normal number. The rounding of the sums leaves a constant set a variance of at most 2^-46 of its square. */
#define DT_WEIGHT_LEAST_SPREAD    0x1p-22
#define DT_WEIGHT_LEAST_DEVIATION 0x1p-126

/* Of n weights from their sums in double. Squares are not taken about the mean, so that the optimiser can sum them
 * before it is known: that costs digits where the mean is far above the deviation, but fewer than w - mean in f32 does.
 * The deviation of a set without spread is infinite, by which all codes and gradients are 0; that of a set with a
 * weight that is no number is none either. */
static inline DT_HD dt_weight_stats dt_weight_stats_of(double sum, double square, int64_t n)
{
    const double mean = sum / (double)n, variance = (square - sum * mean) / (double)(n - 1);
    const double relative = DT_WEIGHT_LEAST_SPREAD * mean, least = DT_WEIGHT_LEAST_DEVIATION;
    const int is_flat = variance <= relative * relative || variance < least * least;
    const dt_weight_stats s = { (float)mean, is_flat ? INFINITY : (float)sqrt(variance) };
    return s;
}

#endif /* DT_WEIGHT_QUANT_H */
