/*
 * fixed_run.h - a small capsule network that Q-CapsNets has quantized, for tests of its files: shallowcaps for images
 * of 17x17, which have one position of primary capsules.
 */
#ifndef FIXED_RUN_H
#define FIXED_RUN_H

/* clang-format off */
#include "tiny_run.h" /* before Criterion's newer macros, which temp_files.h brings */
#include "temp_files.h"
/* clang-format on */

enum { N_IMAGES = 7, IMAGES_BATCH = 4 };

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model; /* quantized */
} fixture;

/* Of the three layers, no two alike. */
static const dt_qcaps_bits some_bits = { .weight = { 6, 5, 4 }, .activation = { 9, 8, 7 }, .routing = { 0, 7, 6 } };

static inline int says(const char *part)
{
    return strstr(dt_last_error(), part) != NULL;
}

static inline dt_context *context_of_seed(uint64_t seed)
{
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = "cpu";
    opt.precision = DT_PRECISION_F32;
    opt.seed = seed;
    MUST(dt_context_create(&opt, &ctx));
    return ctx;
}

static inline dt_model_config small_config(void)
{
    dt_model_config c;

    MUST(dt_model_config_default("shallowcaps", &c));
    c.height = c.width = 17;
    c.channels = 3;
    return c;
}

static inline fixture open_fixture(dt_rounding rounding, int published, const dt_qcaps_bits *bits)
{
    const dt_dataset_options data = { .name = "synthetic",
                                      .split = DT_SPLIT_TEST,
                                      .limit = N_IMAGES,
                                      .seed = 1,
                                      .height = 17,
                                      .width = 17,
                                      .resize = 1 };
    const dt_model_config config = small_config();
    dt_qcaps_options opt;
    dt_model *m;
    fixture f = { .ctx = context_of_seed(5) };

    dt_qcaps_options_default(&opt);
    opt.rounding = rounding;
    opt.published = published;
    opt.batch = IMAGES_BATCH;
    MUST(dt_dataset_open(&data, &f.data));
    MUST(dt_model_create(f.ctx, &config, &m));
    MUST(dt_qcaps_quantize(m, f.data, &opt, bits, &f.model));
    dt_model_destroy(m);
    return f;
}

static inline void close_fixture(fixture *f)
{
    dt_model_destroy(f->model);
    dt_dataset_close(f->data);
    dt_context_destroy(f->ctx);
}

#endif /* FIXED_RUN_H */
