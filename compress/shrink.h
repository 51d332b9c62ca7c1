/*
 * shrink.h - a pass that removes channels: the network without them, with smaller parameters.
 */
#ifndef DT_SHRINK_H
#define DT_SHRINK_H

#include "channels.h"

/* Makes a copy of g without the channels c whose removed[dt_channel_of(c)] is 1. Parameters lose the values of those
 * channels and keep the others, whose data they have. Names stay. */
DT_MUST_CHECK dt_status dt_graph_shrink(const dt_graph *g, const dt_channel_map *c, const char *removed,
                                        dt_graph **out);

/* Returns how many values the trained parameters of that copy have. */
int64_t dt_shrunk_count(const dt_graph *g, const dt_channel_map *c, const char *removed);

#endif /* DT_SHRINK_H */
