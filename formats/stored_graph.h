/*
 * stored_graph.h - the network in the metadata of detent's own files. They hold its graph; files of earlier versions
 *                  hold the configuration of a built-in network.
 *
 * Used by: checkpoint.c, fixed_file.c, fixed_codes.c.  Tests: tests/formats/test_file_versions.c,
 * tests/formats/test_checkpoint_resume.c.
 */
#ifndef DT_STORED_GRAPH_H
#define DT_STORED_GRAPH_H

#include "../core/graph/graph.h"
#include "metadata.h"

/* Adds the metadata `graph`. */
DT_MUST_CHECK dt_status dt_graph_store(dt_safetensors_writer *w, const dt_graph *g);
/* Makes a graph of the metadata `graph`. */
DT_MUST_CHECK dt_status dt_graph_stored(const dt_safetensors *f, const char *path, dt_graph **out);

/* Makes a graph of the metadata `model`; if quantize is 1, with the quantizers that the configuration asks for. */
DT_MUST_CHECK dt_status dt_graph_of_stored_config(const dt_safetensors *f, const char *path, int quantize,
                                                  dt_graph **out);

/* Reads the network of a run's checkpoint, with its quantizers. In checkpoint.c. */
DT_MUST_CHECK dt_status dt_checkpoint_graph(const char *path, dt_graph **out);

/* DT_ERR_ARGUMENT if a run of the network `saved` may not go on with `here`; it names the first node and attribute that
 * differ, and both values. The initial values of parameters are not compared. */
DT_MUST_CHECK dt_status dt_graph_match(const dt_graph *saved, const dt_graph *here, const char *path);

#endif /* DT_STORED_GRAPH_H */
