/*
 * onnx_layers.h - what the parts of an ONNX import share: what each value of the file is in the graph, and how its
 *                 numbers lie there.
 *
 * The file has maps as N,C,H,W, and detent as N,H,W,C. Nothing moves numbers unless it must: a value keeps detent's map
 * through operators that only rename its dimensions, such as Flatten, and what reads it in the file's order then gets
 * it by a TRANSPOSE, or moves its weights instead (Gemm).
 */
#ifndef DT_ONNX_LAYERS_H
#define DT_ONNX_LAYERS_H

#include "../../core/graph/graph.h"
#include "onnx.h"

typedef enum {
    DT_ONNX_UNKNOWN,
    DT_ONNX_CONSTANT,
    DT_ONNX_COMPUTED, /* in an integer graph: codes that stand for reals, behind a DequantizeLinear */
    DT_ONNX_CODES     /* integer graph: the file's integers, in front of a DequantizeLinear */
} dt_onnx_kind;

typedef enum {
    DT_ONNX_ROW, /* dimension after dimension, as in the file */
    DT_ONNX_MAP  /* the value is N,H,W,C, and the file's tensor has the numbers of N,C,H,W in this order */
} dt_onnx_layout;

/* The grid of codes: real = scale * (code - zero). */
typedef struct {
    int scale, zero; /* constants; zero -1: all are 0 */
    int type;        /* of the codes */
    int axis;        /* the dimension of the scales, where they are several */
    int name;        /* the value that has the scale */
    int64_t n;       /* scales */
    float step;      /* the first scale */
    int offset;      /* the first zero point */
} dt_onnx_grid;

enum { DT_ONNX_NAME = 160 /* bytes of a name that is made, its end included */ };

/* What a Slice and a Pad behind it leave of a map; a convolution stands for it (onnx_view.c). Axes are C, H, W. */
typedef struct {
    int64_t start[3], step[3], count[3]; /* cells that are taken */
    int64_t before[3], after[3];         /* zeros beside them; beside rows and columns only where all are taken */
    int made;                            /* the value that has it; -1: none yet */
    char name[DT_ONNX_NAME];             /* of the convolution */
} dt_onnx_view;

/* A quantizer of a network that computes on codes and on reals, of what is computed or of a constant. */
typedef struct {
    float *scale; /* [n], owned by the import */
    int64_t n;
    int axis; /* the dimension of the scales, where they are several */
    int name; /* the value that has them */
    dt_scale_quant_params grid;
} dt_onnx_quantizer;

/* A value of the file. */
typedef struct {
    dt_onnx_kind kind;
    int tensor; /* CONSTANT: its index; if has_grid, its codes */
    int name;   /* CONSTANT: the value whose name it has in the file */
    int value;  /* else: the value of the graph */
    dt_onnx_layout layout;
    int n_dims;                    /* of the file's tensor */
    int64_t dim[DT_ONNX_MAX_DIMS]; /* the first is the batch, unless it is a constant */
    int view;                      /* index of the view that it is of `value`; -1: it is `value` */
    int has_grid;
    dt_onnx_grid grid;
    int scale;       /* integer graph: the parameter that holds the scale */
    int quant;       /* index of the quantizer: CONSTANT: its numbers go through it; CODES, graph of reals: they are its
                        codes;       -1: none */
    float low, high; /* integer graph: limits of the reals that no node has yet; infinite: none */
} dt_onnx_place;

/* An import that is under way. */
typedef struct {
    dt_onnx *m;
    dt_graph *graph;
    int is_integer;
    int64_t batch;        /* the file's; 1 where it is free */
    dt_onnx_place *place; /* [n_values] */
    int *n_readers;       /* [n_values] nodes of the network that read it, and 1 for an output */
    int *reader;          /* [n_values] index of one that does */
    char *is_needed;      /* [n_nodes] */
    char *is_done;        /* [n_nodes] 1: a node before it did what it does */
    dt_onnx_view *view;
    int n_views;
    int *scale; /* [n_scales] parameters of the graph that hold scales of codes */
    int n_scales;
    int has_quantizers; /* 1: a graph of reals in which some values are made codes */
    dt_onnx_quantizer *quant;
    int n_quants;
    int64_t fold_room; /* bytes that constants may still be folded into */
} dt_onnx_import;

/* Adds the part of the graph that a node makes. */
typedef dt_status (*dt_onnx_layer)(dt_onnx_import *imp, const dt_onnx_node *n);

typedef struct {
    const char *op;
    dt_onnx_layer add;
} dt_onnx_row;

/* Raises a failure that names file, operator and node. */
#define DT_ONNX_CHECK(cond, status, imp, n, fmt, ...)                                                          \
    DT_CHECK(cond, status, "%s: %.80s '%.80s': " fmt, (imp)->m->path, (n)->op, dt_onnx_node_name((imp)->m, n), \
             __VA_ARGS__)

/* Calls the row of the node's operator. */
DT_MUST_CHECK dt_status dt_onnx_call(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_row *row, size_t n_rows);
DT_MUST_CHECK dt_status dt_onnx_add_float(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_integer(dt_onnx_import *imp, const dt_onnx_node *n);
/* Computes a node whose inputs are all constant, or Shape. In onnx_fold.c. */
DT_MUST_CHECK dt_status dt_onnx_fold(dt_onnx_import *imp, const dt_onnx_node *n);

/* ---- attributes and inputs ---- */

/* Sets *out to an attribute, or to `otherwise` if it is missing. */
DT_MUST_CHECK dt_status dt_onnx_int(const dt_onnx_import *imp, const dt_onnx_node *n, const char *name,
                                    int64_t otherwise, int64_t *out);
DT_MUST_CHECK dt_status dt_onnx_float(const dt_onnx_import *imp, const dt_onnx_node *n, const char *name,
                                      float otherwise, float *out);
/* Sets out[0 .. count - 1], each to `otherwise` if the attribute is missing. low is the least that is allowed. Where
 * input 0 is a map of one row, the attribute has those of columns, and those of rows are `otherwise`. */
DT_MUST_CHECK dt_status dt_onnx_ints(const dt_onnx_import *imp, const dt_onnx_node *n, const char *name, int count,
                                     int low, int otherwise, int *out);
/* Checks that a node of an opset before 7, whose attribute is_test is 0 unless given, is one of evaluation. */
DT_MUST_CHECK dt_status dt_onnx_check_evaluation(const dt_onnx_import *imp, const dt_onnx_node *n);
/* Returns the text of an attribute, or `otherwise`. */
const char *dt_onnx_string(const dt_onnx_node *n, const char *name, const char *otherwise);
/* Sets *axis to an attribute `axis` of a tensor of n_dims dimensions; a negative one counts from the last. */
DT_MUST_CHECK dt_status dt_onnx_axis(const dt_onnx_import *imp, const dt_onnx_node *n, int64_t otherwise, int n_dims,
                                     int *axis);

/* 1 if a tensor of so many dimensions is a map: n,c,h,w, or n,c,w, which is one row. */
static inline int dt_onnx_is_map(int n_dims)
{
    return n_dims == 4 || n_dims == 3;
}
/* Returns the place of input k, or NULL if that is not given. */
const dt_onnx_place *dt_onnx_in(const dt_onnx_import *imp, const dt_onnx_node *n, int k);
/* Sets *x to input k, which must be computed. */
DT_MUST_CHECK dt_status dt_onnx_computed(const dt_onnx_import *imp, const dt_onnx_node *n, int k,
                                         const dt_onnx_place **x);

/* ---- constants: onnx_constant.c ---- */

/* Sets *list to the integers of input k, or of the attribute `name` where older opsets have it; NULL if there is
 * neither. The caller frees it. */
DT_MUST_CHECK dt_status dt_onnx_list(const dt_onnx_import *imp, const dt_onnx_node *n, int k, const char *name,
                                     int64_t **list, int *count);
/* Sets *out to the reals of input k, which is constant, as many as `count`; those of codes are made real. The caller
 * frees it. */
DT_MUST_CHECK dt_status dt_onnx_reals(const dt_onnx_import *imp, const dt_onnx_node *n, int k, int64_t count,
                                      float **out);
/* The same, but numbers that a quantizer is for stay as they are. */
DT_MUST_CHECK dt_status dt_onnx_raw(const dt_onnx_import *imp, const dt_onnx_node *n, int k, int64_t count,
                                    float **out);
/* Sets *out to input k, one number, or to `otherwise` if it is not given. */
DT_MUST_CHECK dt_status dt_onnx_number(const dt_onnx_import *imp, const dt_onnx_node *n, int k, float otherwise,
                                       float *out);
/* Reads a constant's numbers. The caller frees *out. */
DT_MUST_CHECK dt_status dt_onnx_numbers_of(const dt_onnx_import *imp, const dt_onnx_tensor *t, void **out);
/* Sets *out to `channels` reals of the constant input k: one, or one for each channel of the other operand, which has
 * n_dims dimensions. */
DT_MUST_CHECK dt_status dt_onnx_spread(const dt_onnx_import *imp, const dt_onnx_node *n, int k, int n_dims,
                                       int64_t channels, float **out);
/* Returns number i of integers of a type. */
int64_t dt_onnx_integer_at(const void *numbers, int type, int64_t i);
/* Sets dim to O,I,R,S of filters, of which those of one row have no R. */
void dt_onnx_filter_dims(const dt_onnx_place *w, int64_t dim[4]);
/* Moves numbers from O,I,R,S to O,R,S,I. `each` is the bytes of a number. NULL: there is no memory. */
void *dt_onnx_channels_last(const void *from, const int64_t dim[4], size_t each);

/* ---- values: onnx_layers.c ---- */

/* Sets *value to input k as the map N,H,W,C, whole. */
DT_MUST_CHECK dt_status dt_onnx_map(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value);
/* The same, but zeros around it may be left to whoever reads it: pad has them then, top, left, bottom, right. */
DT_MUST_CHECK dt_status dt_onnx_padded_map(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value, int pad[4]);
/* Sets *value to input k in the file's order: N,I of reals, or N,1,1,I of codes. */
DT_MUST_CHECK dt_status dt_onnx_rows(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value);
/* Sets *value to input k as a map, or as rows if it has two dimensions. */
DT_MUST_CHECK dt_status dt_onnx_map_or_rows(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value);
/* Sets *value to the rows of any place. */
DT_MUST_CHECK dt_status dt_onnx_rows_of(dt_onnx_import *imp, const dt_onnx_place *p, int *value);
/* Sets *value to input k as it lies, whole. */
DT_MUST_CHECK dt_status dt_onnx_whole(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value);
/* Adds a FLATTEN of a value unless it has two dimensions. */
DT_MUST_CHECK dt_status dt_onnx_flatten(dt_onnx_import *imp, int value, int *flat);
/* Gives a value the shape of a map by a TRANSPOSE that moves nothing, unless it has it. */
DT_MUST_CHECK dt_status dt_onnx_as_shape(dt_onnx_import *imp, int64_t h, int64_t w, int64_t c, int *value);

/* Makes a value the node's output: a map, or with the layout and the dimensions given. */
DT_MUST_CHECK dt_status dt_onnx_set_map(dt_onnx_import *imp, const dt_onnx_node *n, int value);
DT_MUST_CHECK dt_status dt_onnx_set(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *p);
/* Makes a value of N,I in the file's order the output. */
DT_MUST_CHECK dt_status dt_onnx_set_rows(dt_onnx_import *imp, const dt_onnx_node *n, int value, int64_t features);
/* Makes a value the output as a map, or as rows if n_dims is 2. */
DT_MUST_CHECK dt_status dt_onnx_set_like(dt_onnx_import *imp, const dt_onnx_node *n, int n_dims, int value);
/* Makes a value that lies as a place does the output. */
DT_MUST_CHECK dt_status dt_onnx_set_value(dt_onnx_import *imp, const dt_onnx_node *n, dt_onnx_place p, int value);
/* Makes input 0 the output, with other dimensions, of which there are as many elements. */
DT_MUST_CHECK dt_status dt_onnx_rename(dt_onnx_import *imp, const dt_onnx_node *n, int n_dims, const int64_t *dim);

/* ---- names, nodes, parameters ---- */

/* Makes a name for a node's layer, which no value of the graph has: that of its weights, input k, if they have one
 * that ends in ".weight"; else the node's own. k is -1 where there are none. */
void dt_onnx_name(const dt_onnx_import *imp, const dt_onnx_node *n, int k, char name[DT_ONNX_NAME]);
/* Adds a node of the name NAME and `part` that reads n values. */
DT_MUST_CHECK dt_status dt_onnx_node_add(dt_onnx_import *imp, dt_op_kind kind, const char *name, const char *part,
                                         const void *params, const int *in, int n, int *out);

/* A parameter. It has the file's name for it, `own`; NULL, or where that name says nothing or is taken: NAME and
 * `part`. data comes from malloc. */
typedef struct {
    const char *own, *name, *part;
    dt_param_spec spec;
    dt_dtype type;
    void *data;
} dt_onnx_param;

/* Adds a parameter, and takes over data, even if it fails; NULL stands for a malloc that failed. */
DT_MUST_CHECK dt_status dt_onnx_add_param(dt_onnx_import *imp, const dt_onnx_param *p, int *out);
/* Returns what a parameter of reals that is trained is, or one that is not. */
dt_param_spec dt_onnx_trained(const dt_shape *shape);
dt_param_spec dt_onnx_state(const dt_shape *shape);
/* Returns the file's name of input k; of codes that were made real it is that of the codes. */
const char *dt_onnx_in_name(const dt_onnx_import *imp, const dt_onnx_node *n, int k);

/* ---- quantizers in a graph of reals: onnx_quant.c, onnx_line.c ---- */

/* Returns what adds a Quant, IntQuant, BipolarQuant or Trunc of QONNX; NULL if the node is none of them. */
dt_onnx_layer dt_onnx_quant_layer(const dt_onnx_node *n);
/* Returns 1 if input 0 is codes, between a QuantizeLinear and a DequantizeLinear. */
int dt_onnx_is_codes(const dt_onnx_import *imp, const dt_onnx_node *n);
/* *value becomes its real values, by a DEQUANTIZE, if it is on the grid. */
DT_MUST_CHECK dt_status dt_onnx_dequantize(dt_onnx_import *imp, int *value);
/* Adds a QuantizeLinear or DequantizeLinear of a graph of reals, or the Clip of codes between them. */
DT_MUST_CHECK dt_status dt_onnx_add_real_quantizer(dt_onnx_import *imp, const dt_onnx_node *n);
/* Rounds the numbers of a constant, which has a quantizer, to its grid. */
void dt_onnx_round(const dt_onnx_import *imp, const dt_onnx_place *p, float *numbers);
/* Gives the output, a constant that a node moved, the quantizer of input 0. axis_of[k] is where dimension k was. */
DT_MUST_CHECK dt_status dt_onnx_move_quantizer(dt_onnx_import *imp, const dt_onnx_node *n, const int *axis_of);
/* Puts the quantizer of the weights, input k, behind the parameter *w, if they have one. Their filters lie along
 * dimension `axis` of the file's. A layer that reads reals, x, gets their real values. */
DT_MUST_CHECK dt_status dt_onnx_quantize_weights(dt_onnx_import *imp, const dt_onnx_node *n, int k, int axis,
                                                 const char *name, int x, int *w);
/* y = factor x + sum of `channels` numbers, which it takes over, as an AFFINE behind *value; NULL: there was no memory.
 * is_only: the node is the only reader of *value, whose own line may then change. */
typedef struct {
    int64_t channels;
    float *factor, *sum;
    int is_only;
} dt_onnx_line;

DT_MUST_CHECK dt_status dt_onnx_add_line(dt_onnx_import *imp, const char *name, const dt_onnx_line *line, int *value);
/* The same of codes or sums *value, whose integers x is. */
DT_MUST_CHECK dt_status dt_onnx_add_codes_line(dt_onnx_import *imp, const char *name, const dt_onnx_line *line,
                                               int *value);

/* ---- windows: onnx_window.c ---- */

/* Sets *params to those of a pool that reads the map x. */
DT_MUST_CHECK dt_status dt_onnx_pool(const dt_onnx_import *imp, const dt_onnx_node *n, int x, dt_pool_params *params);
/* Sets *params and *shape, K,R,S,C/groups, to those of a convolution that reads the map x with `pad` zeros around. */
DT_MUST_CHECK dt_status dt_onnx_conv(const dt_onnx_import *imp, const dt_onnx_node *n, int x, const int pad[4],
                                     dt_conv_params *params, dt_shape *shape);
/* Checks that a ReduceMean is over H and W of a map, and sets the output's dimensions. */
DT_MUST_CHECK dt_status dt_onnx_mean(const dt_onnx_import *imp, const dt_onnx_node *n, int *n_dims, int64_t *dim);

/* ---- shapes: onnx_shape.c, onnx_view.c ---- */

/* Operators that make no numbers: Identity, Dropout, Flatten, Reshape, Squeeze, Unsqueeze, Transpose; Slice, Pad. Both
 * kinds of graph have them. Returns NULL if the operator is none of them. */
dt_onnx_layer dt_onnx_shape_layer(const char *op);
DT_MUST_CHECK dt_status dt_onnx_add_slice(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_pad(dt_onnx_import *imp, const dt_onnx_node *n);
/* Sets dim to the new dimensions of a Reshape, Flatten, Squeeze or Unsqueeze of a tensor of those dimensions. */
DT_MUST_CHECK dt_status dt_onnx_new_dims(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *x,
                                         int *n_dims, int64_t *dim);
/* What a Slice takes: of axis k the elements start[k] + i step[k], i < count[k]. */
typedef struct {
    int64_t start[DT_ONNX_MAX_DIMS], step[DT_ONNX_MAX_DIMS], count[DT_ONNX_MAX_DIMS];
} dt_onnx_ranges;

DT_MUST_CHECK dt_status dt_onnx_read_ranges(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *x,
                                            dt_onnx_ranges *r);
/* Reads the order of a Transpose. */
DT_MUST_CHECK dt_status dt_onnx_order(const dt_onnx_import *imp, const dt_onnx_node *n, int n_dims, int *order);
/* Makes the map that is a node's output a view of its rows and columns from[i] .. from[i] + count[i] - 1. */
DT_MUST_CHECK dt_status dt_onnx_crop(dt_onnx_import *imp, const dt_onnx_node *n, const int64_t from[2],
                                     const int64_t count[2]);
/* Sets *value to the map that a place with a view stands for, by a convolution. */
DT_MUST_CHECK dt_status dt_onnx_make_view(dt_onnx_import *imp, const dt_onnx_place *p, int *value);

#endif /* DT_ONNX_LAYERS_H */
