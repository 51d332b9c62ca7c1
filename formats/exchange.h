/*
 * exchange.h - files of other frameworks wherever checkpoints and programs are taken: TensorFlow Lite and ONNX. A
 *              network of reals is a model, one of integers a program.
 *
 * Used by: fixed_file.c, program_file.c, metadata.c.  Tests: tests/formats/test_tflite_program.c, test_onnx_oracle.c.
 */
#ifndef DT_EXCHANGE_H
#define DT_EXCHANGE_H

#include "../quant/program/program.h"

/* Returns 1 if the file can be read, and is one of another framework that is understood. */
int dt_exchange_is_file(const char *path);
/* Writes its format: "tflite" or "onnx", and with "-integer" behind it if it computes on integers. */
DT_MUST_CHECK dt_status dt_exchange_format(const char *path, char *text, size_t bytes);
/* Makes a model of a file of reals. DT_ERR_UNSUPPORTED: it computes on integers. */
DT_MUST_CHECK dt_status dt_exchange_model(dt_context *ctx, const char *path, dt_model **out);
/* Makes a program of a file of integers, whose profile is litert-ref or onnx. DT_ERR_UNSUPPORTED: it computes on
 * reals. */
DT_MUST_CHECK dt_status dt_exchange_program(const char *path, dt_program **out);

#endif /* DT_EXCHANGE_H */
