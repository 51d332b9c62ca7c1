/*
 * setup.h - what the benchmarks of training share: their options, and the model, data and trainer that these describe.
 */
#ifndef DT_BENCH_SETUP_H
#define DT_BENCH_SETUP_H

#include "detent/detent.h"
#include "bench.h"

typedef struct {
    dt_model_config model;
    dt_options options;
    const char *dataset;
    const char *data_dir; /* folder of its files; NULL: its default folders */
    int size;             /* images are resized to size x size; 0: as in the files */
    int batch;
} bench_setup;

extern const struct argp bench_setup_argp; /* a child of each program's argp; its input is a bench_setup */

/* Sets VGG16 with a chokepoint of 16 channels, w4a2, batches of 128, and synthetic images. */
DT_MUST_CHECK dt_status bench_setup_default(bench_setup *out);

typedef struct {
    dt_context *ctx;
    dt_dataset *data, *test;
    dt_model *model;
    dt_trainer *trainer;
} bench_run;

/* Opens everything that s describes. n_test 0: there are no test images. If the data set has fewer images than asked
 * for, they are repeated. It sets the size of the model's images to that of the data set's. Close *out even if this
 * fails. */
DT_MUST_CHECK dt_status bench_run_open(bench_setup *s, int64_t n_images, int64_t n_test, int epochs, bench_run *out);
void bench_run_close(bench_run *run);

/* Prints the fields of a JSON object that say what ran: "backend": .., "model": .., "batch": 128 */
void bench_print_setup(const bench_setup *s, const dt_context *ctx);

#endif /* DT_BENCH_SETUP_H */
