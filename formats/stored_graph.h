/*
 * stored_graph.h - the network in the metadata of detent's own files: as its graph, or in files of earlier versions as
 *                  the configuration of a built-in network.
 *
 * Used by: checkpoint.c, fixed_file.c, fixed_codes.c.  Tests: tests/formats/test_file_versions.c,
 * tests/formats/test_checkpoint_resume.c.
 */
#ifndef DT_STORED_GRAPH_H
#define DT_STORED_GRAPH_H

#include "../core/graph/graph.h"
#include "metadata.h"

/* Metadata 'graph', which dt_graph_stored reads. */
DT_MUST_CHECK dt_status dt_graph_store(dt_safetensors_writer *w, const dt_graph *g);
DT_MUST_CHECK dt_status dt_graph_stored(const dt_safetensors *f, const char *path, dt_graph **out);

/* From metadata 'model': with quantizers where it has bits, or as it is. */
DT_MUST_CHECK dt_status dt_graph_of_stored_config(const dt_safetensors *f, const char *path, int quantize,
                                                  dt_graph **out);

/* The network of a run's checkpoint, with its quantizers (checkpoint.c). */
DT_MUST_CHECK dt_status dt_checkpoint_graph(const char *path, dt_graph **out);

/* A run of `saved` may go on as `here`: DT_ERR_ARGUMENT names the first node and attribute that differ, and both
 * values. How parameters begin is not looked at. */
DT_MUST_CHECK dt_status dt_graph_match(const dt_graph *saved, const dt_graph *here, const char *path);

#endif /* DT_STORED_GRAPH_H */
