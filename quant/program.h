/*
 * program.h - a trained network as integers: the layers that hardware computes, in order.
 *
 * A value between layers is one of three: codes (small integers), psums (integers of up to 32 bits), or real f32.
 * The image is 8-bit pixels, which a table turns into codes. A convolution makes psums of codes; thresholds make codes
 * of psums; the rest is max-pool on codes and, at the end (and in a skip block), a few layers on real values.
 *
 *   CONV       codes -> psums   psum[p,q,k] = sum over r,s,c of x[p*stride+r-pad, q*stride+s-pad, c] * w[k,r,s,c]
 *   THRESHOLD  psums -> codes   code = low + number of t with sign[c] * psum >= threshold[t][c]
 *   AFFINE     psums -> reals   y = slope[c] * (float)psum + offset[c], the product rounded to f32 before the sum
 *   RELU       reals -> reals   max(x, 0)
 *   MAXPOOL    codes or reals, unchanged kind;  a window that does not fit is dropped
 *   AVGPOOL    reals -> reals   (sum over the window, row by row, in f32) / (window * window)
 *   ADD        reals -> reals   in[0] + in[1]
 *   QUANTIZE   reals -> codes   dt_act_code of grid.h
 *   LINEAR     reals -> scores  y[o] = (float)(bias[o] + sum of x[i] * w[o][i]), in double, i ascending (h, w, c)
 *
 * Why thresholds: batch norm, ReLU and the next quantizer are, for one channel, a step function of the psum that never
 * turns back. Its steps are found by bisecting evaluation's own f32 arithmetic, so that a negative gamma, a dead
 * channel or a tie comes out as in training. A threshold that no psum reaches is INT32_MAX, one that all pass
 * INT32_MIN.
 *
 * Made by lower.c, run by reference.c (plain loops), by program_model.c (on a tape, any backend) and by the C that
 * formats/program_c.c writes; stored by formats/program_file.c.  Format: docs/PROGRAM_FORMAT.md.
 */
#ifndef DT_QUANT_PROGRAM_H
#define DT_QUANT_PROGRAM_H

#include "detent/detent.h"

/* clang-format off */
#define DT_LAYER_MAP(XX)     \
    XX(CONV,      conv)      \
    XX(THRESHOLD, threshold) \
    XX(AFFINE,    affine)    \
    XX(RELU,      relu)      \
    XX(MAXPOOL,   maxpool)   \
    XX(AVGPOOL,   avgpool)   \
    XX(ADD,       add)       \
    XX(QUANTIZE,  quantize)  \
    XX(LINEAR,    linear)
/* clang-format on */

typedef enum {
#define XX(upper, lower) DT_LAYER_##upper,
    DT_LAYER_MAP(XX)
#undef XX
        DT_LAYER_COUNT
} dt_layer_kind;

typedef enum { DT_VALUE_CODE, DT_VALUE_PSUM, DT_VALUE_REAL } dt_value_kind;

enum { DT_FROM_IMAGE = -1, DT_CODE_MAX = 255 /* of activations; the image's may be 16-bit */ };

enum { DT_REQUANT_BITS_MIN = 8, DT_REQUANT_BITS_MAX = 31, DT_REQUANT_SHIFT_MAX = 62 };
#define DT_REQUANT_OFFSET_MAX ((int64_t)1 << 61) /* so that no sum leaves 64 bits */

/* Multiplier form of one THRESHOLD layer: code = clamp((psum * multiplier[c] + offset[c]) >> shift[c], low, high), the
 * shift arithmetic, offset with the half that rounds. All NULL where there is none. */
typedef struct {
    int bits;            /* of a multiplier, two's complement */
    int32_t *multiplier; /* [C] */
    int64_t *offset;     /* [C] +-DT_REQUANT_OFFSET_MAX */
    int32_t *shift;      /* [C] 0..62 */
} dt_requant;

typedef struct {
    dt_layer_kind kind;
    char name[64]; /* as in the model: "features.27"; a THRESHOLD or QUANTIZE has its convolution's, "features.30" */
    int in[2];     /* earlier layers, or DT_FROM_IMAGE; in[1] of ADD only */
    dt_value_kind value;
    int height, width, channels; /* of the output; scores are 1 x 1 x classes */
    int low, high;               /* of codes; of psums: -bound, bound */
    float scale;                 /* codes: real value = scale * code */

    int window_height, window_width, stride, pad; /* CONV, MAXPOOL, AVGPOOL (square, pad 0) */
    int8_t *weight;                               /* CONV [K][R][S][C] */
    float *weight_scale;                          /* CONV [n_weight_scale]: one, or one a filter */
    int n_weight_scale;
    int weight_bound; /* CONV: largest magnitude that its bits allow; dt_layer_weight_high has the other end */

    int8_t *sign;       /* THRESHOLD [C]: 1, or -1 where the code falls as the psum grows */
    int32_t *threshold; /* THRESHOLD [high - low][C], ascending in t for each channel */
    dt_requant requant;

    float *slope, *offset; /* AFFINE [C]; THRESHOLD [C]: the line that its quantizer steps along */

    float alpha; /* QUANTIZE, with bits and rule */
    int bits;
    dt_quant_rule rule;

    float *matrix, *bias; /* LINEAR [O][I], [O] */
} dt_layer;

struct dt_program {
    char model[64];              /* "vgg16 w4a2 choke 16", for people */
    dt_data_origin origin;       /* its normalisation is in the table; here for people */
    int height, width, channels; /* of the image */
    int16_t *table;              /* [256][channels]: code of a pixel */
    int low, high;               /* of those codes */
    float scale;                 /* of those codes */
    int n_layers;
    dt_layer *layer; /* the last one's values are the scores */
};

/* What flows between two layers. */
typedef struct {
    dt_value_kind kind;
    int height, width, channels, low, high;
    float scale;
} dt_value;

/* What layer i reads as its input k, which is an earlier layer's output or the image's codes. */
dt_value dt_layer_input(const dt_program *p, int i, int k);
/* Weight codes lie in [-weight_bound, this]: LSQ's bound is even, 2^(b-1), and does not occur with a plus. */
int dt_layer_weight_high(const dt_layer *l);
/* Code of a psum by the multiplier of channel c. */
int dt_requant_code(const dt_layer *l, int c, int64_t psum);

const char *dt_layer_kind_name(dt_layer_kind kind); /* "conv" */
/* Every layer fits what it reads, every array is there and in range: what a loader must check before anything runs.
 * DT_ERR_FORMAT names layer, field and values. */
DT_MUST_CHECK dt_status dt_program_check(const dt_program *p);
int64_t dt_layer_count(const dt_layer *l); /* of its output: height * width * channels */

/* Called after each layer of a run with its values: int32_t of codes and psums, else float. */
typedef void (*dt_layer_hook)(void *user, const dt_program *p, int layer, const void *values);
/* dt_program_run with a look at every layer; hook may be NULL. */
DT_MUST_CHECK dt_status dt_program_trace(const dt_program *p, const uint8_t *image, dt_layer_hook hook, void *user,
                                         float *scores);

#endif /* DT_QUANT_PROGRAM_H */
