/*
 * tflite_export.h - writes a program as an int8 TensorFlow Lite file, and a network of reals as a float one.
 *
 * It is the inverse of the import (tflite_import.h): the same operators, in the file's form. A program has codes and
 * their range, and the zero point by which a file's stored integers q = code + zero are higher. A range is that of
 * int8, -128 - zero .. 127 - zero, or what a fused RELU or RELU6 leaves of it; other ranges have no form in a file.
 *
 * Each convolution gets a bias, and each constant its scale. Pads that are not those of SAME become a PAD. Tensors are
 * called after the program's values, so that a file that is read again has the same names.
 *
 * Interface: dt_program_write_tflite in include/detent/array.h, dt_model_write_tflite in include/detent/quantize.h.
 *
 *   tflite_export.c          the whole                      tflite_build.c         tensors and operators
 *   tflite_export_layers.c   one layer of a program         tflite_export_maps.c   windows, pads, pools
 *   tflite_export_float.c    one layer of reals             tflite_real.c          its weights
 *
 * Tests: tests/formats/test_tflite_export.c, test_tflite_export_float.c.
 */
#ifndef DT_TFLITE_EXPORT_H
#define DT_TFLITE_EXPORT_H

#include "../../quant/program/program.h"
#include "tflite.h"

/* Makes the description of a program that computes under a profile. DT_ERR_UNSUPPORTED: a node has no form in a file;
 * the message names it. */
DT_MUST_CHECK dt_status dt_tflite_of_program(const dt_program *p, dt_tflite_io io, dt_tflite **out);

/* Makes the description of a network of reals, or with dynamic ranges, whose parameters have data (dt_model_snapshot).
 * Only what the scores need is in it. DT_ERR_UNSUPPORTED: a node has no form in a file; the message names it. */
DT_MUST_CHECK dt_status dt_tflite_of_graph(const dt_graph *g, dt_tflite **out);

#endif /* DT_TFLITE_EXPORT_H */
