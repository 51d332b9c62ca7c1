/*
 * program.h - a trained network as integers: a graph of what hardware computes, whose parameters have their data.
 *
 * A value is one of three: codes (small integers), psums (integers of up to 32 bits), or reals in f32. The image is
 * 8-bit pixels, which a table turns into codes. A convolution makes psums of codes, and so do sums of codes that share
 * a scale; thresholds make codes of psums; the rest is max-pool and concatenation of codes and, at the end (and where
 * the model sums reals), a few operators on reals.
 *
 *   TABLE      pixels -> codes  code = table[pixel][c]
 *   CODES      the weights of one CONV2D, with their range and, for people, their scale
 *   CONV2D     codes -> psums   psum[p,q,k] = sum over r,s,c of x[p*stride+r-pad, q*stride+s-pad, c] * w[k,r,s,c]
 *   THRESHOLD  psums -> codes   code = low + number of t with sign[c] * psum >= threshold[t][c]
 *   AFFINE     psums -> reals   y = slope[c] * (float)psum + offset[c], the product rounded to f32 before the sum
 *   RELU       reals -> reals   min(max(x, 0), most)
 *   CLIP       reals -> reals   min(max(x, low), high)
 *   MAXPOOL    codes or reals, unchanged kind;  a window that does not fit is dropped
 *   AVGPOOL    codes -> psums   the sum over the window;  its scale is the codes' / (window * window)
 *              reals -> reals   (sum over the window, row by row, in f32) / (window * window)
 *   ADD        codes -> psums   in[0] + in[1], of one scale: both read one parameter
 *              reals -> reals   in[0] + in[1]
 *   CONCAT     codes            one after the other along an axis, of one scale
 *   ACT_QUANT  reals -> codes   dt_act_code of grid.h
 *   FLATTEN    reals, in the order h, w, c
 *   LINEAR     reals -> scores  y[o] = (float)(bias[o] + sum of x[i] * w[o][i]), in double, i ascending
 *
 * The last node gives the scores: LINEAR, or FLATTEN of reals. A linear layer on the grid is a CONV2D whose window is
 * the map.
 *
 * Why thresholds: batch norm, ReLU and the next quantizer are, for one channel, a step function of the psum that never
 * turns back. Its steps are found by bisecting evaluation's own f32 arithmetic, so that a negative gamma, a dead
 * channel or a tie comes out as in training. A threshold that no psum reaches is INT32_MAX, one that all pass
 * INT32_MIN. Beside the network a THRESHOLD has constants, by its name: the line that its quantizer steps along, and
 * the multiplier form, if it has one.
 *
 * Made by lower.c, run by reference.c (plain loops), by program_model.c (on a tape, any backend) and by the C that
 * formats/program_c/program_c.c writes; stored by formats/program_file.c.  Format: docs/PROGRAM_FORMAT.md.
 */
#ifndef DT_QUANT_PROGRAM_H
#define DT_QUANT_PROGRAM_H

#include "../../core/graph/graph.h"

enum { DT_CODE_MAX = 255 /* of activations; the image's may be 16-bit */ };

enum { DT_REQUANT_BITS_MIN = 8, DT_REQUANT_BITS_MAX = 31, DT_REQUANT_SHIFT_MAX = 62 };
#define DT_REQUANT_OFFSET_MAX ((int64_t)1 << 61) /* so that no sum leaves 64 bits */

struct dt_program {
    dt_data_origin origin; /* its normalisation is in the table; here for people */
    dt_graph *graph;       /* owned; called "vgg16 choke 16 w4a2" */
};

/* Inputs of nodes that are parameters. */
enum {
    DT_TABLE_CODES = 1, /* I16 [256][C] */
    DT_TABLE_SCALE,     /* F32 [1], of the codes */

    DT_CODES_WEIGHT = 0, /* I8 [K][R][S][C] */
    DT_CODES_SCALE,      /* F32 [1] or [K] */

    DT_THRESHOLD_STEPS = 1, /* I32 [levels][C], ascending for each channel */
    DT_THRESHOLD_SIGN,      /* I8 [C]: 1, or -1 where the code falls as the psum grows */
    DT_THRESHOLD_SCALE,     /* F32 [1], of the codes */

    DT_AFFINE_SLOPE = 1, /* F32 [C] */
    DT_AFFINE_OFFSET,    /* F32 [C] */

    DT_QUANT_ALPHA = 1, /* F32 [1] */

    DT_LINEAR_MATRIX = 1, /* F32 [O][I] */
    DT_LINEAR_BIAS        /* F32 [O] */
};

typedef enum { DT_VALUE_CODE, DT_VALUE_PSUM, DT_VALUE_REAL } dt_value_kind;

/* What one image has of a value. Flat ones are 1 x 1 x C. */
typedef struct {
    dt_value_kind kind;
    int height, width, channels;
    int low, high; /* of codes and psums; of reals 0 */
} dt_value;

/* Of what a node makes, or of the pixels. */
dt_value dt_program_value(const dt_program *p, int value);
int64_t dt_value_count(const dt_value *v); /* height * width * channels */
/* Real value of one code, or of 1 in a sum of codes. value: of any node that gives some, but a convolution. */
float dt_program_scale(const dt_program *p, int value);
/* The codes of the image, which the TABLE makes. */
dt_value dt_program_image(const dt_program *p);
int dt_program_n_scores(const dt_program *p);

/* Data of the parameter that is input k of n: see the list above for its type. */
const void *dt_program_data(const dt_program *p, const dt_graph_node *n, int k);
/* The node that holds a convolution's weights. */
const dt_graph_node *dt_program_weights(const dt_program *p, const dt_graph_node *conv);

/* Parts of the names of a THRESHOLD's constants: "features.4.act_quant" and ".slope". */
#define DT_LINE_SLOPE          ".slope"             /* F32 [C] */
#define DT_LINE_OFFSET         ".offset"            /* F32 [C] */
#define DT_REQUANT_BITS        ".multiplier_bits"   /* I32 [1] */
#define DT_REQUANT_MULTIPLIER  ".multiplier"        /* I32 [C] */
#define DT_REQUANT_OFFSET      ".multiplier_offset" /* I64 [C] */
#define DT_REQUANT_SHIFT       ".multiplier_shift"  /* I32 [C] */
#define DT_THRESHOLD_CONSTANTS 6

/* The value that is such a constant of the node that makes `threshold`; -1: it has none. */
int dt_program_constant(const dt_program *p, int threshold, const char *part);
const void *dt_program_constant_data(const dt_program *p, int threshold, const char *part); /* NULL: none */

/* Multiplier form of one THRESHOLD: code = clamp((psum * multiplier[c] + offset[c]) >> shift[c], low, high), the shift
 * arithmetic, offset with the half that rounds. */
typedef struct {
    int bits;                  /* of a multiplier, two's complement */
    int low, high;             /* of the codes */
    const int32_t *multiplier; /* [C]; NULL: there is no such form */
    const int64_t *offset;     /* [C] +-DT_REQUANT_OFFSET_MAX */
    const int32_t *shift;      /* [C] 0..62 */
} dt_requant;

dt_requant dt_program_requant(const dt_program *p, const dt_graph_node *threshold);
/* Code of a psum by the multiplier of channel c. */
int dt_requant_code(const dt_requant *r, int c, int64_t psum);

/* 1: the node computes something of an image, by itself: all but TABLE, CODES, FLATTEN. */
int dt_program_is_layer(const dt_graph_node *n);

/* 1: programs have nodes of that kind. */
int dt_program_has_kind(dt_op_kind kind);
/* Every node reads what it may, all data are there and in range: what a loader must check before anything runs.
 * DT_ERR_FORMAT names node, field and values. */
DT_MUST_CHECK dt_status dt_program_check(const dt_program *p);

/* Called after each node of a run, TABLE and FLATTEN among them, with its values: int32_t of codes and psums, else
 * float. */
typedef void (*dt_program_hook)(void *user, const dt_program *p, const dt_graph_node *n, const void *values);
/* dt_program_run with a look at every node; hook may be NULL. */
DT_MUST_CHECK dt_status dt_program_trace(const dt_program *p, const uint8_t *image, dt_program_hook hook, void *user,
                                         float *scores);

#endif /* DT_QUANT_PROGRAM_H */
