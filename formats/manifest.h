/*
 * manifest.h - manifest.json of a folder of vectors: the layer, the array, and every file with its place in them.
 *
 *   { "format": "detent-vectors", "version": 1 or 2, "layer": "features.27", "layout": "course",
 *     "data": what the network was trained on (origin_json.h), if that is known,
 *     "array": { "rows", "cols", "psum_bits", "simd" },
 *     "geometry": { "H", "W", "C", "K", "R", "S", "stride", "pad", and in version 2 "dilation", "groups"; "P", "Q" },
 *     "activation": { "bits", "signed", "scale" },  real value = scale * code
 *     "weight": { "bits", "signed", "scale": [one, or one a filter] },
 *     "psum": { "bits", "overflows": psums in the files that the bits did not hold },
 *     "files": [ { "name", "role", "about", "header_lines", "lines", "lanes", "bits", "signed", "order", "in_tile",
 *                  "out_tile", "tap", "bytes", "sha256" }, .. ],
 *     "sha256": of the fields above, as JSON without blanks }
 *
 * Version 1 is of convolutions with one stride, one pad, no dilation and one group. All others have version 2, where
 * stride and dilation (of rows, of columns) and pad (at top, left, bottom, right) are one number or, where theirs
 * differ, a list: as in a network's file. accel/vectors/vectors.h says how groups lie in tiles.
 *
 * Tiles and tap are -1 where a file is not of one. Fields and files are those that accel/vectors/vector_files.c derives
 * from layer and array: a manifest that says anything else is refused. Tests: tests/formats/test_vector_folder.c.
 */
#ifndef DT_MANIFEST_H
#define DT_MANIFEST_H

#include "../accel/vectors/vectors.h"

/* bytes and sha256 of every file are set. *text is the caller's, freed with free. */
DT_MUST_CHECK dt_status dt_manifest_write(const dt_vectors *v, char **text);

/* text need not end with NUL. file: for messages. DT_ERR_FORMAT names it, the field, its value and what it must be.
 * The vectors have no texts. */
DT_MUST_CHECK dt_status dt_manifest_parse(const char *text, size_t bytes, const char *file, dt_vectors **out);

#endif /* DT_MANIFEST_H */
