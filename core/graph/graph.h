/*
 * graph.h - a network as data: values, and the operators that make them.
 *
 * A graph says what a network computes. It holds no device memory and runs nothing; dt_graph_record puts it on a tape,
 * which does. A pass reads one graph and makes another: quant/insert.c puts quantizers into a network, and
 * quant/qcaps/insert_fixed.c fixed-point formats.
 *
 * A value is given from outside (the image, the labels), or it is a parameter, or a constant, or a node makes it. A
 * node is an operator of core/op_list.h with its params of core/op_params.h. It reads values of earlier nodes alone, so
 * that nodes can run in their order.
 *
 * Parameters may have data. The network is then finished, as an integer program is (quant/program/program.h). Constants
 * are data that belong to the network but that no node reads.
 */
#ifndef DT_GRAPH_H
#define DT_GRAPH_H

#include "../op.h"
#include "../tape/tape.h"

/* Facts are those of this many images, because batch norm refuses one value for each channel. */
enum { DT_FACTS_BATCH = 2 };

/* The most elements of a value, for DT_FACTS_BATCH images. The limit keeps every product of sizes and ranges within 64
 * bits. */
enum { DT_VALUE_MOST = INT32_MAX };

/* Where a value comes from. */
typedef enum { DT_SOURCE_GIVEN, DT_SOURCE_PARAM, DT_SOURCE_CONSTANT, DT_SOURCE_NODE } dt_value_source;

/* The first values of a parameter without data. */
typedef enum {
    DT_INIT_CONSTANT, /* init_value */
    DT_INIT_UNIFORM,  /* uniform in -init_value .. init_value */
    DT_INIT_ENDS      /* -init_value and init_value in turn: ranges */
} dt_init;

/* The values that a parameter may have. core/train/model_values.c checks them. */
typedef enum { DT_VALUES_FINITE, DT_VALUES_POSITIVE, DT_VALUES_NOT_NEGATIVE, DT_VALUES_ANY } dt_param_values;

typedef struct {
    dt_shape shape;
    dt_param_group group;
    dt_param_values values;
    dt_init init;
    float init_value;
    float floor;   /* the optimiser keeps values >= this */
    int sparse;    /* 1: the optimiser leaves values that are 0 at 0, so that the zeros are a mask */
    dt_dtype type; /* on a device: F32, or I32 for integers that f32 may not hold, which are state */
} dt_param_spec;

typedef struct {
    char *name; /* unique in the graph */
    dt_value_source source;
    dt_tensor facts;     /* type, shape, grid facts; data and grad are NULL */
    int node;            /* index of the node that makes it; -1: no node does */
    dt_param_spec param; /* set for PARAM alone */
    void *data;          /* of a PARAM or CONSTANT: its numbers in host memory, owned; NULL: it has none */
    dt_dtype data_type;  /* type of data; facts.type is that on a device */
    float own_scale;     /* never read: its address stands for the scale of a grid tensor that has its own */
} dt_graph_value;

typedef struct {
    dt_op_kind kind;
    void *params;            /* the operator's struct of op_params.h, owned; NULL where it has none */
    int in[DT_MAX_IN], n_in; /* indices of the values that it reads */
    int out;                 /* index of the value that it makes; that value's name is the node's too */
} dt_graph_node;

/* What training minimises. */
typedef enum {
    DT_LOSS_CROSS_ENTROPY, /* of softmax(scores) */
    DT_LOSS_MARGIN,        /* margin loss of scores that are lengths of capsules, plus the reconstruction's error */
    DT_LOSS_BINARY         /* binary cross-entropy of sigmoid(score): each score is a label of its own */
} dt_loss;

/* Anyone may read the members. The functions below write the upper half, and the builder of a graph the lower half. */
struct dt_graph {
    dt_graph_value **value;
    int n_values, values_room;
    dt_graph_node *node;
    int n_nodes, nodes_room;

    char *name; /* the network's, such as "vgg16" */
    /* Each of the next six is the index of a value; -1: the network has no such value. */
    int image;          /* N,H,W,C: f32, or u8 where the network reads the pixels themselves */
    int labels;         /* i32 N, which a decoder reads */
    int scores;         /* N,classes; the largest is the prediction */
    int capsules;       /* N,(classes dim): the class capsules, whose lengths are the scores */
    int masked;         /* N,dim: the capsule of the label, which a decoder reads */
    int reconstruction; /* N,H,W,C or N,(H W C): the image that a decoder makes */
    dt_loss loss;
    int unit_pixels; /* 1: the network reads pixels in 0..1, not normalised by a data set's mean and deviation */
};

/* Makes an empty graph; dt_graph_destroy frees it. DT_ERR_ARGUMENT: the name is longer than DT_NAME_MAX. */
DT_MUST_CHECK dt_status dt_graph_create(const char *name, dt_graph **out);

/* Adds a value that is given from outside. shape is that of one image, so that its first axis counts the image's rows,
 * mostly 1. *out is the value's index, as in the functions below. */
DT_MUST_CHECK dt_status dt_graph_give(dt_graph *g, const char *name, dt_dtype type, const dt_shape *shape, int *out);

/* Adds a parameter. If the graph has a parameter of that name, *out is that one. DT_ERR_SHAPE: a value of that name is
 * no parameter, or has another shape. In a model, parameters lie in the order of these calls. */
DT_MUST_CHECK dt_status dt_graph_param(dt_graph *g, const char *name, const dt_param_spec *spec, int *out);

/* The same for a parameter with data, as dt_graph_set_data takes it. It is taken over even if this fails; NULL stands
 * for a malloc that failed. */
DT_MUST_CHECK dt_status dt_graph_param_with(dt_graph *g, const char *name, const dt_param_spec *spec, dt_dtype type,
                                            void *data, int *out);

/* Adds a constant. dt_graph_set_data gives it its numbers and their type. */
DT_MUST_CHECK dt_status dt_graph_constant(dt_graph *g, const char *name, const dt_shape *shape, int *out);

/* Gives data to a PARAM or CONSTANT: as many numbers of `type` as its shape has elements. The graph takes over data,
 * which must come from malloc, and frees what was there. A model that is opened starts with the data of its parameters:
 * integers become floats, and the least and the largest number of I32 become infinities. */
void dt_graph_set_data(dt_graph *g, int value, dt_dtype type, void *data);
/* Returns the bytes of a value's data, or 0 if it has none. */
size_t dt_graph_data_bytes(const dt_graph *g, int value);

/* Adds a node, and the value that it makes under the same name. params is copied; NULL stands for all zeros. Inputs
 * that do not fit the operator are refused with the error of its infer. */
DT_MUST_CHECK dt_status dt_graph_add(dt_graph *g, dt_op_kind kind, const char *name, const void *params, const int *in,
                                     int n_in, int *out);

/* Index of the value of that name, or -1 if there is none. */
int dt_graph_find(const dt_graph *g, const char *name);
const char *dt_graph_name(const dt_graph *g, int value);
/* Returns the value's shape for DT_FACTS_BATCH images. */
const dt_shape *dt_graph_shape(const dt_graph *g, int value);
/* Returns the node that makes the value, or NULL if no node does. */
const dt_graph_node *dt_graph_maker(const dt_graph *g, int value);
/* Returns 1 if a node is of that kind. */
int dt_graph_has(const dt_graph *g, dt_op_kind kind);
/* Returns how often nodes read the value; a node that reads it twice counts twice. */
int dt_graph_n_readers(const dt_graph *g, int value);
/* Returns the number of elements that an activation has for one image. */
int64_t dt_graph_count(const dt_graph *g, int value);
/* Returns the number of rows along an activation's first axis for one image. It is above 1 where a layer sees one image
 * as several maps. */
int dt_graph_rows(const dt_graph *g, int value);

/* Returns how many of its inputs a node reads, the first ones: in training all of them. */
int dt_graph_n_read(const dt_graph_node *n, int training);
/* Marks in needed, [n_values], the values that those marked already are made of in training, directly or through
 * others; if training is 0, in evaluation. known is NULL, or has a tensor or NULL for each value; a value that has a
 * tensor needs no other. */
void dt_graph_mark_needed(const dt_graph *g, dt_tensor *const *known, int training, char *needed);

/* Records the nodes that the wanted values, wanted[0..n-1], need, in the graph's order. tensor has one pointer for each
 * value, NULL where it is not known yet. The caller has set those of given values and parameters that are needed, and
 * may have set others, whose nodes are then not recorded. Each recorded value is put into tensor. */
DT_MUST_CHECK dt_status dt_graph_record(const dt_graph *g, dt_tape *tape, const int *wanted, int n, dt_tensor **tensor);

#endif /* DT_GRAPH_H */
