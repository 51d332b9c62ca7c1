/*
 * graph_words.h - the words and marks of a network's file, for its writer and its reader.
 */
#ifndef DT_GRAPH_WORDS_H
#define DT_GRAPH_WORDS_H

#include "../core/graph/graph.h"

enum { DT_NETWORK_VERSION = 1 };

static const char *const group_words[] = { "weight", "alpha", "state", NULL };
static const char *const values_words[] = { "finite", "positive", "not-negative", "any", NULL };
static const char *const init_words[] = { "constant", "uniform", "ends", NULL };
static const char *const type_words[] = { "f32", "i32", NULL };
static const char *const loss_words[] = { "cross-entropy", "margin", "binary-cross-entropy", NULL };
static const char *const pixels_words[] = { "normalised", "unit", "bytes", NULL };

enum { NORMALISED, UNIT, BYTES };

/* The marks, which are fields that name a value of the graph. */
static const struct {
    const char *name;
    size_t offset;
} marks[] = { { "scores", offsetof(dt_graph, scores) },
              { "capsules", offsetof(dt_graph, capsules) },
              { "masked", offsetof(dt_graph, masked) },
              { "reconstruction", offsetof(dt_graph, reconstruction) } };

enum { N_MARKS = DT_LENGTH(marks) };

/* Returns mark i of a graph, the index of a value. */
static int *mark_at(dt_graph *g, int i)
{
    return (int *)(void *)((char *)g + marks[i].offset);
}

#endif /* DT_GRAPH_WORDS_H */
