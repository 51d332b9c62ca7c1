/*
 * onnx_export.h - writes a network of reals as an ONNX file, and a program in QDQ form.
 *
 * Maps are N,C,H,W in a file, so filters are turned, and a Transpose stands before the Flatten of a map of several
 * cells. What follows such a Flatten keeps its weights. Values and parameters keep their names.
 *
 * A program whose codes are made by thresholds is written with the scale 1: convolutions read integers, whose sums f32
 * holds, and behind each stands one factor and one sum for each channel, whose nearest integer is the code. Whether
 * that is so for every psum is looked at while the file is written.
 *
 * In QDQ form the codes of a value NAME under a profile are int8 and lie between a QuantizeLinear, which makes them,
 * and DequantizeLinears, which give their reals, NAME.real, to who reads them; NAME.scale and NAME.zero_point are its
 * grid. Weights are int8 with a scale for each filter, biases int32 in units of the sums. What an engine computes so is
 * the profile `onnx` (core/arith/requantize.h), whatever the program's own is.
 *
 * Interface: dt_model_write_onnx in include/detent/quantize.h, dt_program_write_onnx in include/detent/array.h.
 *
 *   onnx_export.c       the whole                  onnx_build.c          forms, constants, windows
 *   onnx_export_real.c  one node of reals          onnx_export_codes.c   one node under a profile
 *   onnx_export_exact.c one node of thresholds     onnx_export_lines.c   lines for thresholds
 *   onnx_mark.c         the marks of codes
 *   onnx_writer.c       the file's bytes
 *
 * Tests: tests/formats/test_onnx_export.c.
 */
#ifndef DT_ONNX_EXPORT_H
#define DT_ONNX_EXPORT_H

#include "../../quant/program/program.h"
#include "onnx_writer.h"

enum { DT_ONNX_NAME_BYTES = DT_NAME_MAX + 48 };

/* The name of a value or a constant of the file. */
typedef struct {
    char s[DT_ONNX_NAME_BYTES];
} dt_onnx_name;

/* What there is in the file of a value or a parameter of the graph. */
enum { DT_ONNX_IS_THERE = 1, DT_ONNX_IS_FLAT = 2, DT_ONNX_HAS_REAL = 4, DT_ONNX_HAS_OTHER = 8, DT_ONNX_HAS_LINE = 16 };

/* An export that is under way. */
typedef struct {
    const dt_program *p; /* NULL: of reals */
    dt_onnx_style style; /* how codes are marked */
    int is_exact;        /* 1: a program whose codes are made by thresholds */
    const dt_graph *g;
    dt_onnx_writer w;
    unsigned char *has; /* [n_values] flags */
} dt_onnx_export;

/* Raises a failure that names a node. */
#define DT_ONNX_EXPECT(cond, e, n, fmt, ...)                                                                      \
    DT_CHECK(cond, DT_ERR_UNSUPPORTED, "%s (%s): " fmt, dt_graph_name((e)->g, (n)->out), dt_ops[(n)->kind]->name, \
             __VA_ARGS__)

/* Adds what a node makes of reals; of codes, under a profile; and of a program whose codes are made by thresholds. */
DT_MUST_CHECK dt_status dt_onnx_export_real(dt_onnx_export *e, const dt_graph_node *n);
DT_MUST_CHECK dt_status dt_onnx_export_code(dt_onnx_export *e, const dt_graph_node *n);
DT_MUST_CHECK dt_status dt_onnx_export_exact(dt_onnx_export *e, const dt_graph_node *n);

/* ---- onnx_export_lines.c ---- */

/* A quantizer with the scale 1 as a file computes it, which shall give the codes of thresholds. Codes are code + zero..
 */
typedef struct {
    const int32_t *step; /* [levels][stride] code low + l + 1 from step[l] on, of sign * psum */
    int64_t stride;
    int levels, low, sign;
    int64_t psum_low, psum_high;
    double cells; /* the file has psum / cells, which it has divided in f32 */
} dt_onnx_steps;

/* Finds a line, y = factor * (psum / cells) + sum in f32, whose nearest integers are the codes for each psum; begins
 * with those that are given. Returns 0 if there is none. */
int dt_onnx_find_line(const dt_onnx_steps *s, float *factor, float *sum);
/* n values in ascending order and their codes, which never fall; a file limits codes to low..high. */
typedef struct {
    const float *value;
    const int *code;
    int n, low, high;
} dt_onnx_values;

/* The same for such codes. */
int dt_onnx_find_line_of_values(const dt_onnx_values *v, float *factor, float *sum);

/* ---- onnx_build.c ---- */

/* Returns a name with a part behind it. */
dt_onnx_name dt_onnx_join(const char *name, const char *part);
/* Returns NAME of a value, and `part`. */
dt_onnx_name dt_onnx_name_of(const dt_onnx_export *e, int value, const char *part);
/* Adds a node that makes a value under its own name, from n_in names. */
void dt_onnx_put_plain(dt_onnx_export *e, const char *op, const dt_onnx_name *in, int n_in, const char *out);
/* Notes that a value is there, flat or as a map. */
void dt_onnx_note(dt_onnx_export *e, int value, int is_flat);
int dt_onnx_is_flat(const dt_onnx_export *e, int value);
/* Returns the name of a value's reals, flat (N,C) or as a map (N,C,H,W), and adds what makes them of what there is. */
dt_onnx_name dt_onnx_reals_of(dt_onnx_export *e, int value, int is_flat);
/* Adds QuantizeLinear of reals to the codes of a value; zero is its zero point. */
void dt_onnx_quantize(dt_onnx_export *e, const dt_onnx_name *from, int value, int is_flat);

/* ---- onnx_mark.c ---- */

/* The codes low..high of the scale 1, which a file marks as those of a number of bits. */
typedef struct {
    int low, high;
} dt_onnx_codes;

/* Adds the nodes that make reals NAME, integers of f32, of the reals `in`. Only qonnx and qcdq limit to all ranges by
 * themselves. */
void dt_onnx_mark(dt_onnx_export *e, const dt_onnx_name *in, const char *name, dt_onnx_codes codes);
/* Adds filters K,R,S,C as a constant NAME, and what gives their reals, whose name is returned. */
dt_onnx_name dt_onnx_mark_filters(dt_onnx_export *e, const char *name, const dt_shape *shape, const int8_t *data,
                                  dt_onnx_codes codes);

/* Adds a constant of one number. */
dt_onnx_name dt_onnx_real_constant(dt_onnx_export *e, int value, const char *part, float number);
/* Adds filters K,R,S,C as K,C,R,S, or a matrix as it is, if there is memory for it. */
void dt_onnx_put_filters(dt_onnx_export *e, const char *name, int type, const dt_shape *shape, const void *data);

/* Attributes of a window; the numbers are here as long as the node needs them. */
typedef struct {
    int64_t kernel[2], stride[2], pad[4], dilation[2];
} dt_onnx_window;
/* Adds Conv of a CONV2D whose filters, K,R,S,C/groups, have the name in[1]. */
void dt_onnx_put_conv(dt_onnx_export *e, const dt_graph_node *conv, const dt_shape *filters, const dt_onnx_name *in,
                      int n_in, const char *out);
/* Adds Gemm of a matrix O,I, and Softmax over the channels, which have axis 1 in either form. */
void dt_onnx_put_gemm(dt_onnx_export *e, const dt_onnx_name *in, int n_in, const char *out);
void dt_onnx_put_softmax(dt_onnx_export *e, const dt_onnx_name *in, const char *out);
/* Adds what makes a value's reals flat, N,C, under a name. */
void dt_onnx_put_flatten(dt_onnx_export *e, int value, const char *out);
/* Adds Concat of the reals that a CONCAT reads. */
void dt_onnx_put_concat(dt_onnx_export *e, const dt_graph_node *n, const char *out);
/* Adds the pool of a MAXPOOL, an AVGPOOL or a QAVGPOOL. */
void dt_onnx_put_pool(dt_onnx_export *e, const dt_graph_node *pool, const dt_onnx_name *in, const char *out);

#endif /* DT_ONNX_EXPORT_H */
