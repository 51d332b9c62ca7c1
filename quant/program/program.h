/*
 * program.h - a trained network as integers: a graph of what hardware computes, whose parameters have their data.
 *
 * A value is of one of three kinds: codes (small integers), psums (integers of up to 32 bits), or reals in f32. The
 * image is 8-bit pixels, which a table turns into codes, or reals, which a QUANTIZE does; a table also makes codes of
 * codes. Convolutions make psums of codes, and so do sums of codes that
 * share a scale. Thresholds make codes of psums. Besides there are max-pools and concatenations of codes, and, at the
 * end and where the model sums reals, a few operators on reals.
 *
 *   TABLE      pixels -> codes  code = table[pixel][c]
 *   CODES      the weights of one CONV2D, with their range and their scale
 *   CONV2D     codes -> psums   psum[p,q,k] = sum over r,s,c of x * w[k,r,s,c], with the x that layers/conv/conv.c has
 *   THRESHOLD  psums -> codes   code = low + number of t with sign[c] * psum >= threshold[t][c]
 *   AFFINE     psums -> reals   y = slope[c] * (float)psum + offset[c], the product rounded to f32 before the sum
 *   RELU       reals -> reals   min(max(x, 0), most)
 *   CLIP       reals -> reals   min(max(x, low), high)
 *   MAXPOOL    codes -> codes, or reals -> reals;  a window that does not fit is left out
 *   AVGPOOL    codes -> psums   the sum over the window;  its scale is the codes' / (window * window)
 *              reals -> reals   (sum over the window, row by row, in f32) / (window * window)
 *   ADD        codes -> psums   in[0] + in[1], which share a scale: their nodes read the same parameter
 *              reals -> reals   in[0] + in[1]
 *   CONCAT     codes -> codes   one after the other along an axis; they share a scale
 *   ACT_QUANT  reals -> codes   dt_act_code of grid.h
 *   QUANTIZE   reals -> codes, and from here on under a profile of core/arith/requantize.h
 *   REQUANTIZE codes or psums -> codes
 *   QADD, QMUL, QMATMUL, QAVGPOOL, QSOFTMAX   codes -> codes;  a QMATMUL may read CODES, a matrix of 16 bits
 *   TRANSPOSE  codes -> codes
 *   CAPS_VOTES codes -> psums   the votes of input capsule i for all output capsules: x[i,:] times its matrix
 *   ROUTE_INT  psums or codes -> codes   routing of votes by the integers of core/arith/capsules.h
 *   CLASS_INT  codes -> codes   lengths of the class capsules, in steps of 2^-24
 *   DEQUANTIZE codes -> reals
 *   FLATTEN    reals, in the order h, w, c
 *   LINEAR     reals -> scores  y[o] = (float)(bias[o] + sum of x[i] * w[o][i]), in double, i ascending
 *
 * The last node gives the scores: LINEAR, or FLATTEN of reals. A linear layer on the grid is a CONV2D whose window is
 * the map.
 *
 * Thresholds stand for batch norm, ReLU and the next quantizer, which for one channel are a monotonic step function of
 * the psum. Its steps are found by bisecting evaluation's own f32 arithmetic, so that a negative gamma, a dead channel
 * or a tie comes out as in evaluation. A threshold that no psum reaches is INT32_MAX, and one that every psum reaches
 * is INT32_MIN. A THRESHOLD also has constants of the graph under its name: the line that its quantizer steps along,
 * and its multiplier form, if it has one.
 *
 * lower.c makes programs. reference.c runs them by plain loops, program_model.c on a tape and any backend, and the C
 * that formats/program_c/program_c.c writes runs them too. formats/program_file.c stores them; the format is described
 * in docs/PROGRAM_FORMAT.md.
 */
#ifndef DT_QUANT_PROGRAM_H
#define DT_QUANT_PROGRAM_H

#include "../../core/graph/graph.h"
#include "../../core/train/model.h"
#include "../requantize.h"

enum { DT_CODE_MAX = 255 /* of activations; the image's may be 16-bit */ };

enum { DT_REQUANT_BITS_MIN = 8, DT_REQUANT_BITS_MAX = 31, DT_REQUANT_SHIFT_MAX = 62 };
#define DT_REQUANT_OFFSET_MAX ((int64_t)1 << 61) /* small enough that no sum leaves 64 bits */

struct dt_program {
    dt_data_origin origin; /* for people; the table has its normalisation in it */
    dt_graph *graph;       /* owned; its name is such as "vgg16 choke 16 w4a2" */
};

/* Indices of the inputs that are parameters, for each kind of node. */
enum {
    DT_TABLE_CODES = 1, /* I16 [256][C] */
    DT_TABLE_SCALE,     /* F32 [1], of the codes */

    DT_CODES_WEIGHT = 0, /* I8 [K][R][S][C/groups] */
    DT_CODES_SCALE,      /* F32 [1] or [K] */

    DT_THRESHOLD_STEPS = 1, /* I32 [levels][C], ascending for each channel */
    DT_THRESHOLD_SIGN,      /* I8 [C]: 1, or -1 where the code falls as the psum grows */
    DT_THRESHOLD_SCALE,     /* F32 [1], of the codes */

    DT_AFFINE_SLOPE = 1, /* F32 [C] */
    DT_AFFINE_OFFSET,    /* F32 [C] */

    DT_QUANT_ALPHA = 1, /* F32 [1] */

    DT_ROUTE_INT_BIAS = 1, /* F32 [C] */

    DT_LINEAR_MATRIX = 1, /* F32 [O][I] */
    DT_LINEAR_BIAS        /* F32 [O] */
};

typedef enum { DT_VALUE_CODE, DT_VALUE_PSUM, DT_VALUE_REAL } dt_value_kind;

/* Kind, size and range of a value, for one image. Flat values are 1 x 1 x C, lists of capsules I x 1 x A. */
typedef struct {
    dt_value_kind kind;
    int maps; /* of one image, that follow each other; mostly 1 */
    int height, width, channels;
    int low, high; /* range of codes and psums; 0 for reals */
} dt_value;

/* Describes a value of the program: that of a node, or the pixels. */
dt_value dt_program_value(const dt_program *p, int value);
/* Returns maps * height * width * channels. */
int64_t dt_value_count(const dt_value *v);
/* Returns the parameter that codes, or sums of codes, have their scale from. It is not for psums of a convolution. */
int dt_program_scale_param(const dt_program *p, int value);
/* Returns the scale of codes, or of psums that are sums of codes. It is not for psums of a convolution. */
float dt_program_scale(const dt_program *p, int value);
/* Returns 1 if an engine stores the codes `value` of a program's graph: it computes them under a profile. */
int dt_codes_are_stored(const dt_graph *g, int value);
/* Returns the zero point of such codes: engines store code + zero. */
int dt_codes_zero(const dt_graph *g, int value);
/* Returns the profile of a node that computes under one, else NULL. */
dt_profile *dt_node_profile(const dt_graph_node *n);
/* Describes the codes of the image, which the TABLE makes. */
dt_value dt_program_image(const dt_program *p);
int dt_program_n_scores(const dt_program *p);

/* Returns the data of the parameter that is input k of n. The list above has its type. */
const void *dt_program_data(const dt_program *p, const dt_graph_node *n, int k);
/* Returns the CODES node of a convolution. */
const dt_graph_node *dt_program_weights(const dt_program *p, const dt_graph_node *conv);

/* The ends of the names of a THRESHOLD's constants. The THRESHOLD's own name, "features.4.act_quant", stands before. */
#define DT_LINE_SLOPE          ".slope"             /* F32 [C] */
#define DT_LINE_OFFSET         ".offset"            /* F32 [C] */
#define DT_REQUANT_BITS        ".multiplier_bits"   /* I32 [1] */
#define DT_REQUANT_MULTIPLIER  ".multiplier"        /* I32 [C] */
#define DT_REQUANT_OFFSET      ".multiplier_offset" /* I64 [C] */
#define DT_REQUANT_SHIFT       ".multiplier_shift"  /* I32 [C] */
#define DT_THRESHOLD_CONSTANTS 6

/* The constant of a ROUTE_INT: what its bias becomes for each iteration, with the half that rounds. */
#define DT_ROUTE_INT_OFFSET ".offset" /* I64 [R][C] */

/* Returns the index of a constant of the THRESHOLD that makes the value `threshold`, or -1 if it has none. */
int dt_program_constant(const dt_program *p, int threshold, const char *part);
/* Returns the data of such a constant, or NULL if there is none. */
const void *dt_program_constant_data(const dt_program *p, int threshold, const char *part);

/* The multiplier form of a THRESHOLD: code = clamp((psum * multiplier[c] + offset[c]) >> shift[c], low, high). The
 * shift is arithmetic, and offset contains the half that rounds. */
typedef struct {
    int bits;                  /* of a multiplier, two's complement */
    int low, high;             /* range of the codes */
    const int32_t *multiplier; /* [C]; NULL: there is no such form */
    const int64_t *offset;     /* [C] magnitude at most DT_REQUANT_OFFSET_MAX */
    const int32_t *shift;      /* [C] 0..62 */
} dt_requant;

/* Returns the multiplier form of a THRESHOLD. */
dt_requant dt_program_requant(const dt_program *p, const dt_graph_node *threshold);
/* Returns the code that the multiplier form gives a psum of channel c. */
int dt_requant_code(const dt_requant *r, int c, int64_t psum);

/* Returns 1 if programs may have nodes of that kind. */
int dt_program_has_kind(dt_op_kind kind);
/* Checks that each node reads what it may, and that all data are there and in range. A loader must call it before
 * anything runs. DT_ERR_FORMAT names node, field and values. */
DT_MUST_CHECK dt_status dt_program_check(const dt_program *p);

/* A function that is called after each node of a run, TABLE and FLATTEN included, with the node's values: int32_t for
 * codes and psums, float for reals. */
typedef void (*dt_program_hook)(void *user, const dt_program *p, const dt_graph_node *n, const void *values);
/* Runs one node of a program, not CODES. values has the memory of each value of the graph that the node reads, and of
 * the one that it makes, as in dt_program_hook; pixels are int32_t. */
void dt_program_run_node(const dt_program *p, const dt_graph_node *n, void *const *values);

/* One image, [height][width][channels]: pixels, which a program of reals normalises by its origin; or reals, which only
 * a program of reals takes. The other pointer is NULL. */
typedef struct {
    const uint8_t *pixels;
    const float *reals;
} dt_program_input;

/* Returns 1 if the program's images are pixels, and it knows what they stand for: by its table, or as a program of
 * reals whose origin is known or whose graph reads pixels in 0..1. */
int dt_program_takes_pixels(const dt_program *p);
/* Returns the real that a pixel of a channel stands for in a program of reals which takes pixels. */
float dt_program_pixel(const dt_program *p, uint8_t pixel, int channel);

/* Runs one image as dt_program_run does, and calls hook, unless it is NULL, after each node. */
DT_MUST_CHECK dt_status dt_program_trace(const dt_program *p, dt_program_input image, dt_program_hook hook, void *user,
                                         float *scores);

/* The sizes of a ROUTE_INT, for one image. */
typedef struct {
    int64_t inputs, types, capsules, span, dim; /* as in layers/caps/caps_route.h */
} dt_route_int_sizes;

/* Every value of a routing: acc, s, v [R][capsules][dim] and a, b, c [R-1][inputs][capsules], a being the agreements
 * with v of an iteration, b the logits after it, and c the couplings of the next one. v of the last iteration is not
 * set where the node gives s. */
typedef struct {
    int32_t *acc, *s, *v, *a, *b, *c;
} dt_route_int_trace;

dt_route_int_sizes dt_program_route_sizes(const dt_program *p, const dt_graph_node *n);
/* Returns how many numbers a trace has. */
int64_t dt_route_int_trace_count(const dt_route_int_params *p, const dt_route_int_sizes *z);
/* Returns a trace whose values lie in room, one after the other. */
dt_route_int_trace dt_route_int_trace_in(const dt_route_int_params *p, const dt_route_int_sizes *z, int32_t *room);
/* Runs a ROUTE_INT of a program on the votes [inputs][capsules][dim] of one image by plain loops. */
void dt_program_route(const dt_program *p, const dt_graph_node *n, const int32_t *votes, const dt_route_int_trace *t);

/* Makes *out the model that dt_program_lower lowers of m: m itself, which is then held once more; where batch norms
 * train folded, the network that evaluation computes; where Q-CapsNets has quantized it, that network on integers.
 * dt_model_destroy frees either. */
DT_MUST_CHECK dt_status dt_program_source(dt_model *m, dt_model **out);

#endif /* DT_QUANT_PROGRAM_H */
