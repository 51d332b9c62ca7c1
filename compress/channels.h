/*
 * channels.h - which channels of a network's values belong together, so that they can only be removed together.
 *
 * A layer (CONV2D of one group, LINEAR) makes a new channel for each filter. Other operators hand channels on: those
 * that work on single values keep them, a depthwise convolution makes a channel of each, FLATTEN repeats them, and ADD
 * joins the two channels that it adds into one. What an operator does that is not known here is not known of channels
 * either: such channels are fixed, and so are those of the image and of the scores.
 */
#ifndef DT_CHANNELS_H
#define DT_CHANNELS_H

#include "../core/graph/graph.h"

typedef struct {
    int n;       /* channels */
    int *joined; /* [n] a channel that it is one with, or itself; dt_channel_of follows them */
    char *fixed; /* [n] of a channel that is joined to itself: 1: it cannot be removed */
    int **of;    /* [graph's n_values] channels of a value's last axis; NULL: a parameter, or a value without any */
    int n_values, room;
} dt_channel_map;

/* Finds the channels of all values. dt_channel_map_free releases them, also if it fails. */
DT_MUST_CHECK dt_status dt_channel_map_make(const dt_graph *g, dt_channel_map *out);
void dt_channel_map_free(dt_channel_map *c);

/* Returns the channel that stands for all that are joined with this one. */
int dt_channel_of(const dt_channel_map *c, int channel);

/* Returns 1 if the node makes channels of its own, each by one filter. */
int dt_makes_channels(const dt_graph *g, const dt_graph_node *n);
/* Returns 1 if the node is a convolution that reads a single channel for each filter. */
int dt_is_depthwise(const dt_graph *g, const dt_graph_node *n);

/* The axes of a parameter that channels are along: of the first axis, and of the last. NULL: they are not along it. Of
 * a linear layer that reads maps, the channels of the map repeat: channel i of n is last[i % n_last]. */
typedef struct {
    const int *first, *last;
    int n_last;
} dt_channel_axes;

/* The axes of what node n reads as its input k. */
dt_channel_axes dt_channel_axes_of(const dt_graph *g, const dt_channel_map *c, const dt_graph_node *n, int k);

#endif /* DT_CHANNELS_H */
