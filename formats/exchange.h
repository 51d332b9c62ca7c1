/*
 * exchange.h - files of other frameworks wherever checkpoints and programs are taken: TensorFlow Lite and ONNX. A
 *              network of reals is a model, one of integers a program.
 *
 * Used by: fixed_file.c, program_file.c, metadata.c.  Tests: tests/formats/test_tflite_program.c, test_onnx_oracle.c.
 */
#ifndef DT_EXCHANGE_H
#define DT_EXCHANGE_H

#include "../quant/program/program.h"

/* The network of a file. */
typedef struct {
    dt_graph *graph;
    int is_integer;        /* 1: a program's graph; 0: one of reals, or of reals and quantizers */
    dt_data_origin origin; /* what the file says of its images; without a name: nothing */
} dt_exchange_network;

/* Returns 1 if the file can be read, and is one of another framework that is understood. */
int dt_exchange_is_file(const char *path);
/* Writes its format: "tflite" or "onnx", and with "-integer" behind it if it computes on integers. */
DT_MUST_CHECK dt_status dt_exchange_format(const char *path, char *text, size_t bytes);
/* Makes a model of a file of reals. DT_ERR_UNSUPPORTED: it computes on integers. */
DT_MUST_CHECK dt_status dt_exchange_model(dt_context *ctx, const char *path, dt_model **out);
/* Makes the graph of a file that can be trained, with the file's values: a network of integers in an ONNX file gets its
 * quantizers. A softmax or a sigmoid that makes the scores is left out, because the loss has it.
 * DT_ERR_UNSUPPORTED: it computes on integers in a way that has no such form. */
DT_MUST_CHECK dt_status dt_exchange_graph(const char *path, dt_graph **out);
/* Gives parameters of a model the values of those that have their names and shapes in a file, as
 * dt_checkpoint_load_partial does. */
DT_MUST_CHECK dt_status dt_exchange_load_partial(dt_model *m, const char *path,
                                                 void (*skipped)(void *user, const char *name, const char *why),
                                                 void *user, int *n_loaded);
/* Makes a program of a file of integers, whose profile is litert-ref or onnx. DT_ERR_UNSUPPORTED: it computes on
 * reals. */
DT_MUST_CHECK dt_status dt_exchange_program(const char *path, dt_program **out);

#endif /* DT_EXCHANGE_H */
