/*
 * op_params.h - the parameters of every operator, plain data that a tape can copy. Those of a network's operators are
 *               constants of the network; what a tape is for, its nodes know (dt_purpose in op.h).
 */
#ifndef DT_OP_PARAMS_H
#define DT_OP_PARAMS_H

#include "detent/detent.h"

typedef struct {
    int bits;      /* 2..8 */
    int is_signed; /* 1: codes -(2^(bits-1)-1)..2^(bits-1)-1; 0: 0..2^bits-1 */
    int unclamped; /* 1: no lower clip, as the notebook's quantizer of the image; codes may be negative */
    dt_quant_rule rule;
} dt_act_quant_params;

typedef struct {
    int batch;
    int crop_pad;     /* zero pixels added on each side before the random crop back to H x W; 0: no crop */
    int shift;        /* moved by round(U(-shift, shift)) pixels along both axes */
    float rotation;   /* turned by U(-rotation, rotation) degrees, 0..45 */
    float flip_share; /* probability of being mirrored */
    float mean[4];    /* of a channel, for pixels in 0..1 */
    float std[4];
    int has_quant; /* 1: out is codes, of quant with a fixed alpha */
    dt_act_quant_params quant;
} dt_augment_params;

typedef struct {
    int batch;
} dt_gather_params;

/* dt_conv_params is public, a capture has one: include/detent/capture.h. conv_params.h has its usual form. */

typedef struct {
    float epsilon;  /* added to the variance of the real values */
    float momentum; /* running = (1 - momentum) * running + momentum * batch */
} dt_batchnorm_params;

typedef struct {
    float most; /* upper limit: 6 for ReLU6; 0: none */
} dt_relu_params;

typedef struct {
    float low, high; /* low < high */
} dt_clip_params;

/* A window that does not fit into the padded map is dropped, as in PyTorch. */
typedef struct {
    int window[2];         /* rows, columns; both 0: the whole map */
    int stride[2];         /* rows, columns; not read where the window is the whole map */
    int pad[4];            /* cells added at the top, left, bottom, right; each below the window's side */
    int count_include_pad; /* AVGPOOL: 1: the divisor counts padded cells too; 0: cells of the map alone */
} dt_pool_params;

/* Square windows that lie side by side. */
static inline dt_pool_params dt_pool_square(int size)
{
    const dt_pool_params params = { { size, size }, { size, size }, { 0, 0, 0, 0 }, 0 };
    return params;
}

typedef struct {
    int in_order; /* 1: y is summed in double, feature by feature, so that it has equal bits everywhere; 0: a GEMM */
} dt_linear_params;

typedef struct {
    float label_smoothing; /* target = (1 - s) * onehot + s / classes */
} dt_softmax_xent_params;  /* LINEAR_XENT's too */

typedef struct {
    int bits; /* 2..8 */
    dt_quant_rule rule;
} dt_weight_quant_params;

/* Batch norm, ReLU, max-pool, activation quantizer, in this order, each if it is there. */
typedef struct {
    int has_norm, has_relu, has_quant;
    float relu_most; /* of the ReLU, as dt_relu_params.most; above 0 only if x is real or there is a norm */
    int pool;        /* window and stride of the max-pool; 0: none */
    dt_batchnorm_params norm;
    dt_act_quant_params quant;
} dt_norm_quant_params;

typedef struct {
    int low, high; /* range of the codes */
} dt_codes_params;

typedef struct {
    int low, high; /* range of the table's codes */
} dt_table_params;

typedef struct {
    int low; /* the first code; there is one more than thresholds a channel */
} dt_threshold_params;

typedef struct {
    dt_conv_params conv; /* first: what reads a convolution's sizes reads these */
    dt_array array;
} dt_psum_params;

/* x is seen as N, rows, columns, inner, where N is its first axis; y is N, columns, rows, inner, and gets `shape`,
 * whose product is x's. So N,(H W),(caps),D becomes N,(caps),(H W),D. A first axis of 0 is as long as that needs. */
typedef struct {
    int64_t rows, columns;
    int ndim;
    int64_t dim[6];
} dt_transpose_params;

typedef struct {
    int axis; /* along which the inputs follow each other: 1..ndim-1 */
} dt_concat_params;

typedef struct {
    int stride, pad; /* of the convolution that this is the transpose of */
    int output_pad;  /* rows and columns added at the bottom and right: H = (P - 1) * stride - 2 pad + R + output_pad */
} dt_conv_transpose_params;

/* SQUASH, CAPS_LENGTH, CAPS_MASK: C is capsules of `dim` values each. */
typedef struct {
    int dim;
} dt_caps_params;

/* A fixed-point format and how values are brought into it; core/arith/fixed_point.h has the arithmetic. */
typedef struct {
    int bits; /* word length, two's complement, 1..32; published: fractional bits, 0 or more; < 0: values stay as they
                 are */
    dt_rounding rounding;
    float scale;     /* largest magnitude, > 0: codes are in steps of scale / 2^(bits-1). published: not read */
    int published;   /* 1: the published code's arithmetic: step 2^-bits, nothing is clamped */
    int is_weight;   /* published only: weights are rounded by other formulas than activations */
    uint32_t tensor; /* STOCHASTIC: number of the tensor, so that no two share their draws */
} dt_fixed_format;

typedef struct {
    dt_fixed_format format;
    int codes;   /* 1: out is a grid tensor of codes (format: not published, not logarithmic); 0: out is real */
    int observe; /* 1: out = x; calibration looks at it */
} dt_fixed_point_params;

enum { DT_MAX_ROUTING = 4 }; /* iterations */

/* Of one iteration: coupling, weighted sum (before squash), output capsule, logit after its update. */
typedef struct {
    dt_fixed_format c, s, v, b;
} dt_route_format;

typedef struct {
    int iterations; /* 1..DT_MAX_ROUTING */
    int inputs;     /* I: input capsules (types) whose votes lie one after another along the first axis */
    int dim;        /* D: values of an output capsule */
    int joint;      /* softmax over 1: all capsules of the output map; 0: those at one position */
    int observe; /* 1: aux tells the largest magnitudes of the run, layers/caps/caps_route.h; calibration reads them */
    int fixed;   /* 1: round by format[]; then nothing flows back */
    dt_route_format format[DT_MAX_ROUTING];
} dt_caps_route_params;

typedef struct {
    float scale; /* factor on the loss: --regularization-scale */
} dt_reconstruction_loss_params;

typedef struct {
    int batch;
} dt_rows_params;

#endif /* DT_OP_PARAMS_H */
