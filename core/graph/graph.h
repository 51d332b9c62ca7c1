/*
 * graph.h - a network as data: values, and the operators that make them.
 *
 * A graph says what a network computes; it holds no memory of a device and runs nothing. dt_graph_record puts it on a
 * tape, which does. Passes read one graph and make another: quant/insert.c puts quantizers into a network, quant/qcaps/
 * fixed-point formats.
 *
 * A value is given from outside (the image, the labels), or a parameter, or made by a node. A node is an operator of
 * core/op_list.h with its params of core/op_params.h. Nodes stand in an order in which they can run.
 *
 * Parameters may have data: the network is then finished, as an integer program is (quant/program/program.h). Constants
 * are data beside the network, which no node reads.
 */
#ifndef DT_GRAPH_H
#define DT_GRAPH_H

#include "../op.h"
#include "../tape/tape.h"

/* Facts are those of this many images, because batch norm refuses a single value a channel. */
enum { DT_FACTS_BATCH = 2 };

/* Values of more elements, for DT_FACTS_BATCH images, are refused, so that no product of sizes and ranges leaves 64
 * bits. */
enum { DT_VALUE_MOST = INT32_MAX };

typedef enum { DT_SOURCE_GIVEN, DT_SOURCE_PARAM, DT_SOURCE_CONSTANT, DT_SOURCE_NODE } dt_value_source;

typedef enum {
    DT_INIT_CONSTANT, /* init_value */
    DT_INIT_UNIFORM   /* uniform in +-init_value */
} dt_init;

/* What a parameter's values may be: core/train/model_values.c. */
typedef enum { DT_VALUES_FINITE, DT_VALUES_POSITIVE, DT_VALUES_NOT_NEGATIVE, DT_VALUES_ANY } dt_param_values;

typedef struct {
    dt_shape shape;
    dt_param_group group;
    dt_param_values values;
    dt_init init;
    float init_value;
    float floor; /* the optimiser keeps values >= this */
} dt_param_spec;

typedef struct {
    char *name; /* no other value of the graph has it */
    dt_value_source source;
    dt_tensor facts;     /* all but memory: data and grad are NULL */
    int node;            /* NODE: which one makes it; else -1 */
    dt_param_spec param; /* PARAM */
    void *data;          /* PARAM, CONSTANT: in host memory, owned; or NULL */
    dt_dtype data_type;  /* of data; facts have the one on a device */
    float own_scale;     /* its address stands for the scale of a grid tensor that shares no other's */
} dt_graph_value;

typedef struct {
    dt_op_kind kind;
    void *params; /* of the operator; NULL where it has none */
    int in[DT_MAX_IN], n_in;
    int out; /* the value that it makes, whose name is the node's */
} dt_graph_node;

/* What training minimises. */
typedef enum {
    DT_LOSS_CROSS_ENTROPY, /* of softmax(scores) */
    DT_LOSS_MARGIN /* of scores that are lengths of class capsules; with a reconstruction its squared error too */
} dt_loss;

/* Members are read freely, and written by the functions below; the lower half by whoever builds the graph. */
struct dt_graph {
    dt_graph_value **value;
    int n_values, values_room;
    dt_graph_node *node;
    int n_nodes, nodes_room;

    char *name;         /* of the network: "vgg16" */
    int image;          /* N,H,W,C: f32, or u8 where the network reads pixels as they are; -1: not there yet */
    int labels;         /* i32 N, which the decoder of a capsule network reads; -1: none */
    int scores;         /* N,classes */
    int capsules;       /* N,(classes dim), whose lengths the scores are; -1: no capsule network */
    int masked;         /* N,dim: the capsule of the label, which the decoder reads; -1: no decoder */
    int reconstruction; /* N,H,W,C or N,(H W C): the image that the decoder makes; -1: no decoder */
    dt_loss loss;
    int unit_pixels; /* 1: pixels are 0..1, not normalised by a data set's mean and deviation */
};

/* DT_ERR_ARGUMENT if the name is longer than DT_NAME_MAX. */
DT_MUST_CHECK dt_status dt_graph_create(const char *name, dt_graph **out);

/* A value from outside. shape is that of one image and begins with 1, the number of its rows. */
DT_MUST_CHECK dt_status dt_graph_give(dt_graph *g, const char *name, dt_dtype type, const dt_shape *shape, int *out);

/* A parameter; the same again if the graph has one of that name. DT_ERR_SHAPE if that has another shape. Parameters lie
 * in a model in the order of these calls. */
DT_MUST_CHECK dt_status dt_graph_param(dt_graph *g, const char *name, const dt_param_spec *spec, int *out);

/* Numbers that belong to the network and that no node reads; of which type, their data say. */
DT_MUST_CHECK dt_status dt_graph_constant(dt_graph *g, const char *name, const dt_shape *shape, int *out);

/* data, which free() will free, becomes the value's: a PARAM's or CONSTANT's, as many of type as its shape says. Those
 * of a PARAM are its first values when a model is opened: integers as floats, the limits of I32 as infinities. */
void dt_graph_set_data(dt_graph *g, int value, dt_dtype type, void *data);
size_t dt_graph_data_bytes(const dt_graph *g, int value); /* 0: it has none */

/* A node, and the value that it makes, both of that name. params is copied; NULL stands for all zeros, or none. The
 * operator's infer refuses inputs that do not fit. */
DT_MUST_CHECK dt_status dt_graph_add(dt_graph *g, dt_op_kind kind, const char *name, const void *params, const int *in,
                                     int n_in, int *out);

/* Index of the value of that name, or -1. */
int dt_graph_find(const dt_graph *g, const char *name);
const char *dt_graph_name(const dt_graph *g, int value);
/* The value's shape for DT_FACTS_BATCH images. */
const dt_shape *dt_graph_shape(const dt_graph *g, int value);
/* The node that makes the value, or NULL. */
const dt_graph_node *dt_graph_maker(const dt_graph *g, int value);
/* How many inputs of nodes the value is. */
int dt_graph_n_readers(const dt_graph *g, int value);
/* Values of one image in an activation; rows that one image takes of its first axis: 1, or more where a layer sees an
 * image as several. */
int64_t dt_graph_count(const dt_graph *g, int value);
int dt_graph_rows(const dt_graph *g, int value);

/* Marks, in needed [n_values], what the marked values are made of. known NULL, or a tensor for each value: those that
 * have one need nothing. */
void dt_graph_mark_needed(const dt_graph *g, dt_tensor *const *known, char *needed);

/* Records the nodes that the n wanted values need, in the graph's order. tensor has a place for each value: the caller
 * has filled those that are given, and the parameters, and may fill others, which are then taken as they are; the
 * values recorded are put into theirs. */
DT_MUST_CHECK dt_status dt_graph_record(const dt_graph *g, dt_tape *tape, const int *wanted, int n, dt_tensor **tensor);

#endif /* DT_GRAPH_H */
