/*
 * setup.c - see setup.h.
 */
#include "setup.h"

#include "../datasets/dataset.h"

#include <stdio.h>

enum {
    OPT_DATASET = 256,
    OPT_DATA,
    OPT_SIZE,
    OPT_DECODER,
    OPT_CHOKE,
    OPT_SKIP_BLOCK,
    OPT_WBITS,
    OPT_ABITS,
    OPT_INPUT_BITS,
    OPT_QUANT_RULE,
    OPT_PER_CHANNEL,
    OPT_THREADS,
    OPT_PRECISION,
    OPT_NO_GRAPH
};

static const struct argp_option arguments[] = {
    { "model", 'm', "NAME", 0, "network with its own defaults, before other options (vgg16 choke 16 w4a2)", 1 },
    { "dataset", OPT_DATASET, "NAME", 0, "where the images are from (synthetic)", 1 },
    { "data", OPT_DATA, "DIR", 0, "folder of its files (its default folders)", 1 },
    { "size", OPT_SIZE, "N", 0, "resizes them to NxN, 0: not (0)", 1 },
    { "decoder", OPT_DECODER, "NAME", 0, "none, fc, conv28 or conv64, of capsule networks (the network's)", 1 },
    { "choke", OPT_CHOKE, "N", 0, "channels of the chokepoint, 0: none (16)", 1 },
    { "skip-block", OPT_SKIP_BLOCK, NULL, 0, "the skip block", 1 },
    { "wbits", OPT_WBITS, "BITS", 0, "weight bits 2..8, 32: float (4)", 1 },
    { "abits", OPT_ABITS, "BITS", 0, "activation bits 2..8, 32: float (2)", 1 },
    { "input-bits", OPT_INPUT_BITS, "BITS", 0, "image bits 2..8, signed, 0: as any activation (8)", 1 },
    { "quant-rule", OPT_QUANT_RULE, "RULE", 0, "ece284, apot, scream, pact, lsq or affine (ece284)", 1 },
    { "per-channel", OPT_PER_CHANNEL, NULL, 0, "a weight clip for each filter", 1 },
    { "batch", 'b', "N", 0, "images a step (128)", 1 },
    { "device", 'd', "NAME", 0, "auto, cpu or cuda (auto)", 1 },
    { "threads", OPT_THREADS, "N", 0, "CPU threads, 0: all (0)", 1 },
    { "precision", OPT_PRECISION, "NAME", 0, "f32 or mixed (mixed)", 1 },
    { "no-graph", OPT_NO_GRAPH, NULL, 0, "launch every kernel from the host", 1 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    bench_setup *s = state->input;

    switch (key) {
    case 'm':
        if (dt_model_config_default(arg, &s->model) != DT_OK) argp_error(state, "%s", dt_last_error());
        return 0;
    case OPT_DATASET: s->dataset = arg; return 0;
    case OPT_DATA: s->data_dir = arg; return 0;
    case OPT_SIZE: s->size = bench_number(arg, state); return 0;
    case OPT_DECODER: bench_option(&s->model, "decoder", bench_word(arg, dt_decoder_names, state), state); return 0;
    case OPT_CHOKE: bench_option(&s->model, "choke", bench_number(arg, state), state); return 0;
    case OPT_SKIP_BLOCK: bench_option(&s->model, "skip-block", 1, state); return 0;
    case OPT_WBITS: s->model.wbits = bench_number(arg, state); return 0;
    case OPT_ABITS: s->model.abits = bench_number(arg, state); return 0;
    case OPT_INPUT_BITS: s->model.input_bits = bench_number(arg, state); return 0;
    case OPT_QUANT_RULE: s->model.rule = (dt_quant_rule)bench_word(arg, dt_quant_rule_names, state); return 0;
    case OPT_PER_CHANNEL: s->model.per_channel = 1; return 0;
    case 'b': s->batch = bench_number(arg, state); return 0;
    case 'd': s->options.backend = arg; return 0;
    case OPT_THREADS: s->options.threads = bench_number(arg, state); return 0;
    case OPT_PRECISION: s->options.precision = (dt_precision)bench_word(arg, dt_precision_names, state); return 0;
    case OPT_NO_GRAPH: s->options.no_graph = 1; return 0;
    case ARGP_KEY_END:
        if (s->batch < 1) argp_error(state, "--batch is at least 1");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp bench_setup_argp = { arguments, parse, NULL, NULL, NULL, NULL, NULL };

dt_status bench_setup_default(bench_setup *out)
{
    *out = (bench_setup){ .dataset = "synthetic", .batch = 128 };
    dt_options_default(&out->options);
    DT_TRY(dt_model_config_default("vgg16", &out->model));
    DT_TRY(dt_model_option(&out->model, "choke", 16));
    out->model.abits = 2;
    return DT_OK;
}

/* The first n images, or all of them again and again: no time depends on what they show. */
static dt_status make_count(dt_dataset *d, int64_t n)
{
    const size_t image_bytes = (size_t)d->height * (size_t)d->width * (size_t)d->channels;
    const int64_t had = d->n;

    if (n > had) {
        uint8_t *images = realloc(d->images, (size_t)n * image_bytes);
        if (images) d->images = images;
        int32_t *labels = realloc(d->labels, (size_t)n * sizeof *labels);
        if (labels) d->labels = labels;
        DT_CHECK(images && labels, DT_ERR_MEMORY, "no memory for %lld images", (long long)n);
    }
    for (int64_t i = had; i < n; i++) {
        memcpy(d->images + (size_t)i * image_bytes, d->images + (size_t)(i - had) * image_bytes, image_bytes);
        d->labels[i] = d->labels[i - had];
    }
    d->n = n;
    return DT_OK;
}

/* *out is to be closed even if it fails. */
static dt_status open_images(const bench_setup *s, dt_split split, int64_t n, dt_dataset **out)
{
    const dt_dataset_options images = { .name = s->dataset,
                                        .dir = s->data_dir,
                                        .split = split,
                                        .seed = 1,
                                        .height = s->size,
                                        .width = s->size,
                                        .resize = s->size > 0 };
    DT_TRY(dt_dataset_open(&images, out));
    return make_count(*out, n);
}

static void fit_model(const dt_dataset *d, dt_model_config *model)
{
    dt_dataset_view view;

    dt_dataset_look(d, &view);
    model->height = view.height;
    model->width = view.width;
    model->channels = view.channels;
    model->n_classes = view.n_classes;
}

dt_status bench_run_open(bench_setup *s, int64_t n_images, int64_t n_test, int epochs, bench_run *out)
{
    dt_train_config train;

    *out = (bench_run){ 0 };
    dt_train_config_default(s->model.name, &train);
    train.batch = s->batch;
    train.epochs = epochs;
    DT_TRY(dt_context_create(&s->options, &out->ctx));
    DT_TRY(open_images(s, DT_SPLIT_TRAIN, n_images, &out->data));
    if (n_test > 0) DT_TRY(open_images(s, DT_SPLIT_TEST, n_test, &out->test));
    fit_model(out->data, &s->model);
    DT_TRY(dt_model_create(out->ctx, &s->model, &out->model));
    DT_TRY(dt_trainer_create(out->model, out->data, &train, &out->trainer));
    return dt_trainer_calibrate(out->trainer);
}

void bench_run_close(bench_run *run)
{
    dt_trainer_destroy(run->trainer);
    dt_model_destroy(run->model);
    dt_dataset_close(run->test);
    dt_dataset_close(run->data);
    dt_context_destroy(run->ctx);
}

void bench_print_setup(const bench_setup *s, const dt_context *ctx)
{
    printf("\"backend\": \"%s\", \"device\": \"%s\", \"precision\": \"%s\", \"model\": \"%s\", \"choke\": %d, "
           "\"wbits\": %d, \"abits\": %d, \"batch\": %d",
           dt_context_backend(ctx), dt_context_device(ctx), dt_precision_names[s->options.precision], s->model.name,
           dt_model_option_value(&s->model, "choke"), s->model.wbits, s->model.abits, s->batch);
}
