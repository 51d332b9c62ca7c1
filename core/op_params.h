/*
 * op_params.h - the parameters of every operator: plain data, which a graph or a tape copies. They are constants of the
 *               network. What a tape is for is not among them: its nodes have it (dt_purpose in op.h).
 */
#ifndef DT_OP_PARAMS_H
#define DT_OP_PARAMS_H

#include "detent/detent.h"

typedef struct {
    int bits;      /* 2..8 */
    int is_signed; /* 1: codes -(2^(bits-1)-1)..2^(bits-1)-1; 0: 0..2^bits-1 */
    int unclamped; /* 1: there is no lower clip, as in the notebook's quantizer of the image; codes may be negative */
    dt_quant_rule rule;
} dt_act_quant_params;

typedef struct {
    int batch;        /* images */
    int crop_pad;     /* zero pixels added on each side before a random crop back to H x W; 0: no crop */
    int shift;        /* an image moves by round(U(-shift, shift)) pixels along each axis; 0: it does not */
    float rotation;   /* an image turns by U(-rotation, rotation) degrees, 0..45; 0: it does not */
    float flip_share; /* probability that an image is mirrored, 0..1 */
    dt_flip_kind flip_kind;
    int cutout;                   /* side of the square that becomes the mean colour; 0: none */
    float brightness, contrast;   /* as in dt_train_config */
    float mean[DT_MOST_CHANNELS]; /* of each channel, for pixels in 0..1, or for reals */
    float std[DT_MOST_CHANNELS];  /* of each channel, > 0 */
    int has_quant;                /* 1: out is codes of the quantizer `quant`, whose alpha is the third input */
    dt_act_quant_params quant;
} dt_augment_params;

typedef struct {
    int batch;
} dt_gather_params;

/* dt_conv_params stands in include/detent/capture.h, because a capture has one. conv_params.h has its square form. */

typedef struct {
    float epsilon;  /* added to the variance of the real values */
    float momentum; /* running = (1 - momentum) * running + momentum * batch */
} dt_batchnorm_params;

/* BATCH_STATS */
typedef struct {
    float momentum; /* running = (1 - momentum) * running + momentum * batch */
    int freeze;     /* steps of training after which the running statistics stay, and are taken; 0: they never do */
} dt_batch_stats_params;

typedef struct {
    float epsilon; /* added to the variance */
} dt_fold_weight_params;

typedef struct {
    float epsilon; /* added to the variance */
    int corrects;  /* 1: x is of weights that were folded by other statistics, which are the fifth input */
} dt_fold_bias_params;

typedef struct {
    float most; /* upper limit: 6 for ReLU6; 0: none */
} dt_relu_params;

typedef struct {
    float low, high; /* low < high */
} dt_clip_params;

/* Windows that do not fit wholly into the padded map are left out, as in PyTorch. */
typedef struct {
    int window[2];         /* rows, columns; both 0: the whole map */
    int stride[2];         /* rows, columns; not used where the window is the whole map */
    int pad[4];            /* cells added at the top, left, bottom, right; each below the window's side */
    int count_include_pad; /* AVGPOOL: 1: the divisor counts padded cells too; 0: it counts cells of the map alone */
} dt_pool_params;

/* Returns a pool with square windows that lie side by side. */
static inline dt_pool_params dt_pool_square(int size)
{
    const dt_pool_params params = { { size, size }, { size, size }, { 0, 0, 0, 0 }, 0 };
    return params;
}

typedef struct {
    int in_order; /* 1: y is summed in double, feature by feature, so that it has equal bits everywhere; 0: a GEMM */
} dt_linear_params;

typedef struct {
    float label_smoothing;     /* target = (1 - s) * onehot + s / classes */
    float teacher_share;       /* where a third input has a teacher's logits: its share of the loss, 0..1 */
    float teacher_temperature; /* > 0 */
} dt_softmax_xent_params;      /* LINEAR_XENT's too, and SIGMOID_XENT's, whose target is (1 - s) * label + s / 2 */

typedef struct {
    int bits; /* 2..8 */
    dt_quant_rule rule;
} dt_weight_quant_params;

typedef struct {
    int bits;               /* 2..16 */
    int is_positive;        /* 1: x is not below 0, and codes are 0..2^bits-1; 0: they lie in +-(2^bits-1) */
    dt_range_update update; /* who changes the range in training */
    float decay;            /* AVERAGE: the share of the range that stays at each step */
} dt_range_quant_params;

typedef struct {
    int bits; /* 2..16; codes lie in +-(2^(bits-1)-1) */
} dt_max_quant_params;

/* How SCALE_QUANT makes an integer of a number: core/arith/scale_grid.h. */
typedef enum {
    DT_TO_HALF_EVEN, /* to the nearest, half to even */
    DT_TO_HALF_UP,   /* to the nearest, half away from 0 */
    DT_TO_HALF_DOWN, /* to the nearest, half towards 0 */
    DT_TO_CEIL,
    DT_TO_FLOOR,
    DT_TO_UP,   /* away from 0 */
    DT_TO_DOWN, /* towards 0 */
    DT_TO_SIGN  /* 1 from 0 on, else -1 */
} dt_code_rounding;

/* SCALE_QUANT */
typedef struct {
    int low, high; /* range of the codes, which are less the zero point; SIGN: -1 and 1 */
    int zero;      /* the zero point as a file has it, -65535..65535 */
    dt_code_rounding rounding;
    int filters; /* 1: x is filters K,.., and its scales are those of the first axis; 0: they are those of the last */
} dt_scale_quant_params;

/* FEATUREMAP_QUANT */
typedef struct {
    int bits; /* 2..16; codes lie in +-(2^(bits-1)-1) */
} dt_featuremap_quant_params;

/* CENTRE: y = x * factor / divisor - mean */
typedef struct {
    float factor, divisor; /* above 0 */
} dt_centre_params;

/* Batch norm, ReLU, max-pool and activation quantizer, in this order; each may be missing. */
typedef struct {
    int has_norm, has_relu, has_quant;
    float relu_most; /* the ReLU's dt_relu_params.most; 0 where x is on the grid and there is no batch norm */
    int pool;        /* side and stride of the max-pool's windows; 0: there is none */
    dt_batchnorm_params norm;
    dt_act_quant_params quant;
} dt_norm_quant_params;

typedef struct {
    int low, high; /* range of the codes */
    int most;      /* the largest sum of |code| over a filter, by which psums are bounded; 0: not known */
} dt_codes_params;

/* DEQUANTIZE */
typedef struct {
    int filters; /* 1: x is filters K,.., and its scales are those of the first axis; 0: they are those of the last */
} dt_dequantize_params;

typedef struct {
    int low, high; /* range of the table's codes */
    int first;     /* x that row 0 of the table is for; 0 for pixels */
} dt_table_params;

typedef struct {
    int low; /* the first code; a channel has one code more than thresholds */
} dt_threshold_params;

typedef struct {
    dt_conv_params conv; /* the first member, so that what takes a CONV2D's params takes these too */
    dt_array array;
} dt_psum_params;

/* The kinds of sum that REQUANTIZE takes: engines compute their multipliers, and round, in different ways. */
typedef enum {
    DT_REQUANT_CONV,
    DT_REQUANT_LINEAR,
    DT_REQUANT_MATMUL,         /* of activations by activations or constants, whose zero point is 0 */
    DT_REQUANT_MATMUL_SHIFTED, /* ... is not 0 */
    DT_REQUANT_MUL,            /* a product of two codes */
    DT_REQUANT_MEAN,           /* a sum over the map, which is divided by `count` */
    DT_REQUANT_CODES           /* codes of another scale */
} dt_requant_of;

/* QUANTIZE: real values to codes. */
typedef struct {
    dt_profile profile;
    int low, high;      /* range of the codes */
    int zero;           /* files and engines store code + zero: the zero point, -128..127 of 8 bits */
    dt_image_cast cast; /* ROUND, unless the codes are those of 8 bits */
} dt_quantize_params;

typedef struct {
    dt_profile profile;
    dt_requant_of of;
    int low, high; /* range of the codes; a ReLU raises low to 0 */
    int count;     /* MEAN: cells that are summed; else 1 */
    int zero;      /* the zero point */
} dt_requantize_params;

/* QADD, QMUL */
typedef struct {
    dt_profile profile;
    int low, high;
    int subtract; /* QADD: 1: a - b */
    int zero;     /* the zero point */
} dt_qbinary_params;

/* QMATMUL */
typedef struct {
    dt_profile profile;
    int low, high;
    int zero;                     /* the zero point */
    int shifted;                  /* 1: the zero point of b is not 0, for which some engines round otherwise */
    int transpose_a, transpose_b; /* 1: the last two axes of that operand are exchanged */
} dt_qmatmul_params;

/* QAVGPOOL */
typedef struct {
    dt_pool_params pool; /* the first member; its divisor counts cells of the map alone */
    dt_profile profile;
    int low, high;
    int zero; /* the zero point */
} dt_qavgpool_params;

/* QSOFTMAX */
typedef struct {
    dt_profile profile;
    float beta; /* factor on the logits, > 0 */
} dt_qsoftmax_params;

/* x is seen as N, rows, columns, inner, where N is its first axis. y is N, columns, rows, inner, seen in the shape
 * `dim`, which has as many elements. So N,(H W),(caps),D becomes N,(caps),(H W),D. If dim[0] is 0, it is as large as
 * the number of elements demands. */
typedef struct {
    int64_t rows, columns;
    int ndim;
    int64_t dim[6];
} dt_transpose_params;

typedef struct {
    int axis; /* 1..ndim-1; the inputs follow each other along it */
} dt_concat_params;

typedef struct {
    int stride, pad; /* of the convolution whose transpose this is */
    int output_pad;  /* rows and columns added at the bottom and right: H = (P - 1) * stride - 2 pad + R + output_pad */
} dt_conv_transpose_params;

/* SQUASH, BIAS_SQUASH, CAPS_LENGTH, CAPS_MASK: the C values of the last axis are capsules of `dim` values each. */
typedef struct {
    int dim;
} dt_caps_params;

/* A fixed-point format, and how values are rounded to it; core/arith/fixed_point.h has the arithmetic. */
typedef struct {
    int bits; /* word length, sign included, 1..32; published: fractional bits, >= 0; < 0: values are not rounded */
    dt_rounding rounding;
    float scale;     /* largest magnitude, > 0; codes are in steps of scale / 2^(bits-1). published: not used */
    int published;   /* 1: the published code's arithmetic, with the step 2^-bits and no clamping */
    int is_weight;   /* used if published: 1: weights; 0: activations, which have other formulas */
    uint32_t tensor; /* STOCHASTIC: number of the tensor, so that no two tensors share their draws */
} dt_fixed_format;

typedef struct {
    dt_fixed_format format;
    int codes;   /* 1: out is a grid tensor of codes, which a published or logarithmic format has not; 0: out is real */
    int observe; /* 1: out = x, for calibration to look at */
} dt_fixed_point_params;

enum { DT_MAX_ROUTING = 4 }; /* iterations of routing */

/* The formats of one iteration: c of the couplings, s of the weighted sums before squash, v of the output capsules, b
 * of the logits after their update. */
typedef struct {
    dt_fixed_format c, s, v, b;
} dt_route_format;

typedef struct {
    int iterations; /* 1..DT_MAX_ROUTING */
    int inputs;  /* I: input capsules (types); an image's votes of all of them follow each other along the first axis */
    int dim;     /* D: values of an output capsule */
    int joint;   /* 1: the softmax spans all capsules of the output map; 0: it spans those at one position */
    int observe; /* 1: aux receives the run's largest magnitudes for calibration: layers/caps/caps_route.h */
    int fixed;   /* 1: values are rounded to format[iteration], and no gradient flows back */
    dt_route_format format[DT_MAX_ROUTING];
} dt_caps_route_params;

/* ROUTE_INT: routing by the integers of core/arith/capsules.h. Each list has a number an iteration, 0 behind the last
 * one; b and c are of the logits and couplings that an iteration leaves for the next. */
typedef struct {
    int iterations, inputs, dim, joint; /* as of CAPS_ROUTE */
    int whole;                          /* 1: the first couplings are 1; 0: 1 divided by the capsules of a softmax */
    int gives_s;                        /* 1: out is s of the last iteration, which is not squashed; 0: v */
    int s_bits[DT_MAX_ROUTING], s_frac[DT_MAX_ROUTING]; /* bits of a code, sign included, and fraction bits */
    int v_bits[DT_MAX_ROUTING], v_frac[DT_MAX_ROUTING];
    int b_bits[DT_MAX_ROUTING], b_frac[DT_MAX_ROUTING]; /* in units of log2 */
    int c_bits[DT_MAX_ROUTING], c_frac[DT_MAX_ROUTING]; /* without sign */
    /* Multipliers and shifts of sums and of agreements. All 0: they follow from the votes' scale, as in training. */
    int acc_mul[DT_MAX_ROUTING], acc_shift[DT_MAX_ROUTING];
    int agree_mul[DT_MAX_ROUTING], agree_shift[DT_MAX_ROUTING];
} dt_route_int_params;

/* CLASS_INT */
typedef struct {
    int dim;    /* values of a capsule */
    int s_frac; /* fraction bits of the codes */
} dt_class_int_params;

typedef struct {
    float scale; /* factor on the loss: --regularization-scale */
} dt_reconstruction_loss_params;

typedef struct {
    int batch;
} dt_rows_params;

#endif /* DT_OP_PARAMS_H */
