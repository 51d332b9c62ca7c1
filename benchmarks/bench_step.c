/*
 * bench_step.c - times a network's training step: images/s, milliseconds a step, memory.
 *
 * Checked: the loss must be a number, and fall over the warm-up. Each step is timed by itself and waited for. FLOP/s
 * count 2 operations a multiply-accumulate of the convolutions on the grid, forward plus two backward products a layer
 * (the first layer has no input gradient); a float network has none.
 */
#include "../core/detent.h"
#include "bench.h"

#include <stdio.h>
#include <sys/resource.h>

typedef struct {
    dt_model_config model;
    dt_options options;
    const char *dataset;
    int size; /* 0: as in the files */
    int batch, steps, warmup, json;
} bench_settings;

enum {
    OPT_DATASET = 256,
    OPT_SIZE,
    OPT_DECODER,
    OPT_CHOKE,
    OPT_SKIP_BLOCK,
    OPT_WBITS,
    OPT_ABITS,
    OPT_INPUT_BITS,
    OPT_QUANT_RULE,
    OPT_PER_CHANNEL,
    OPT_STEPS,
    OPT_WARMUP,
    OPT_THREADS,
    OPT_PRECISION,
    OPT_NO_GRAPH
};

static const struct argp_option arguments[] = {
    { "model", 'm', "NAME", 0, "network with its own defaults, before other options (vgg16 choke 16 w4a2)", 0 },
    { "dataset", OPT_DATASET, "NAME", 0, "where the images are from (synthetic)", 0 },
    { "size", OPT_SIZE, "N", 0, "resizes them to NxN, 0: not (0)", 0 },
    { "decoder", OPT_DECODER, "NAME", 0, "none, fc, conv28 or conv64, of capsule networks (the network's)", 0 },
    { "choke", OPT_CHOKE, "N", 0, "channels of the chokepoint, 0: none (16)", 0 },
    { "skip-block", OPT_SKIP_BLOCK, NULL, 0, "the skip block", 0 },
    { "wbits", OPT_WBITS, "BITS", 0, "weight bits 2..8, 32: float (4)", 0 },
    { "abits", OPT_ABITS, "BITS", 0, "activation bits 2..8, 32: float (2)", 0 },
    { "input-bits", OPT_INPUT_BITS, "BITS", 0, "image bits 2..8, signed, 0: as any activation (8)", 0 },
    { "quant-rule", OPT_QUANT_RULE, "RULE", 0, "ece284, apot, scream, pact or lsq (ece284)", 0 },
    { "per-channel", OPT_PER_CHANNEL, NULL, 0, "a weight clip for each filter", 0 },
    { "batch", 'b', "N", 0, "images a step (128)", 0 },
    { "steps", OPT_STEPS, "N", 0, "timed steps (20)", 0 },
    { "warmup", OPT_WARMUP, "N", 0, "steps before them, at least 2 (5)", 0 },
    { "device", 'd', "NAME", 0, "auto, cpu or cuda (auto)", 0 },
    { "threads", OPT_THREADS, "N", 0, "CPU threads, 0: all (0)", 0 },
    { "precision", OPT_PRECISION, "NAME", 0, "f32 or mixed (mixed)", 0 },
    { "no-graph", OPT_NO_GRAPH, NULL, 0, "launch every kernel from the host", 0 },
    { "json", 'j', NULL, 0, "one JSON object on standard output", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    bench_settings *s = state->input;

    switch (key) {
    case 'm':
        if (dt_model_config_default(arg, &s->model) != DT_OK) argp_error(state, "%s", dt_last_error());
        return 0;
    case OPT_DATASET: s->dataset = arg; return 0;
    case OPT_SIZE: s->size = bench_number(arg, state); return 0;
    case OPT_DECODER: s->model.decoder = (dt_decoder)bench_word(arg, dt_decoder_names, state); return 0;
    case OPT_CHOKE: s->model.choke = bench_number(arg, state); return 0;
    case OPT_SKIP_BLOCK: s->model.skip_block = 1; return 0;
    case OPT_WBITS: s->model.wbits = bench_number(arg, state); return 0;
    case OPT_ABITS: s->model.abits = bench_number(arg, state); return 0;
    case OPT_INPUT_BITS: s->model.input_bits = bench_number(arg, state); return 0;
    case OPT_QUANT_RULE: s->model.rule = (dt_quant_rule)bench_word(arg, dt_quant_rule_names, state); return 0;
    case OPT_PER_CHANNEL: s->model.per_channel = 1; return 0;
    case 'b': s->batch = bench_number(arg, state); return 0;
    case OPT_STEPS: s->steps = bench_number(arg, state); return 0;
    case OPT_WARMUP: s->warmup = bench_number(arg, state); return 0;
    case 'd': s->options.backend = arg; return 0;
    case OPT_THREADS: s->options.threads = bench_number(arg, state); return 0;
    case OPT_PRECISION: s->options.precision = (dt_precision)bench_word(arg, dt_precision_names, state); return 0;
    case OPT_NO_GRAPH: s->options.no_graph = 1; return 0;
    case 'j': s->json = 1; return 0;
    case ARGP_KEY_END:
        if (s->steps < 1 || s->warmup < 2) argp_error(state, "--steps is at least 1, --warmup at least 2");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* One step, waited for; the mean loss since the epoch began */
static dt_status step_once(dt_trainer *t, double *ms, double *loss)
{
    dt_metrics m;
    const double start = bench_now();
    DT_TRY(dt_trainer_step(t));
    DT_TRY(dt_trainer_metrics(t, &m));
    *ms = 1e3 * (bench_now() - start);
    *loss = m.loss;
    return DT_OK;
}

/* ms: room for the steps */
static dt_status measure(dt_trainer *t, const bench_settings *s, double *ms, bench_summary *out)
{
    double first = 0.0, last = 0.0, unused;

    for (int i = 0; i < s->warmup; i++) {
        DT_TRY(step_once(t, &unused, &last));
        if (i == 0) first = last;
    }
    DT_CHECK(last < first, DT_ERR_NUMERIC, "the mean loss did not fall over the warm-up: %g, then %g", first, last);
    for (int i = 0; i < s->steps; i++) DT_TRY(step_once(t, &ms[i], &last));
    *out = bench_summarise(ms, s->steps);
    return DT_OK;
}

static double gflop_per_image(const dt_model *m)
{
    double macs = 0.0;
    for (int i = 0; i < dt_model_n_layers(m); i++) {
        dt_layer_info layer;
        dt_model_layer(m, i, &layer);
        macs += (double)layer.macs * (i == 0 ? 2.0 : 3.0);
    }
    return 2e-9 * macs;
}

static double peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024.0;
}

static void print_result(const bench_settings *s, dt_context *ctx, dt_model *m, dt_trainer *t, bench_summary ms)
{
    const double images_per_s = 1e3 * s->batch / ms.median;
    const double gflops = gflop_per_image(m) * images_per_s, device_mib = (double)dt_trainer_bytes(t) / 1048576.0;
    const char *precision = dt_precision_names[s->options.precision];

    if (s->json) {
        printf(
            "{\"images_per_s\": %.1f, \"step_ms\": {\"median\": %.3f, \"min\": %.3f}, \"peak_mib\": %.0f, "
            "\"device_mib\": %.0f, \"gflops\": %.1f, \"backend\": \"%s\", \"device\": \"%s\", \"precision\": \"%s\", "
            "\"model\": \"%s\", \"choke\": %d, \"wbits\": %d, \"abits\": %d, \"batch\": %d, \"steps\": %d}\n",
            images_per_s, ms.median, ms.least, peak_mib(), device_mib, gflops, dt_context_backend(ctx),
            dt_context_device(ctx), precision, s->model.name, s->model.choke, s->model.wbits, s->model.abits, s->batch,
            s->steps);
        return;
    }
    printf("%s choke %d w%da%d, batch %d, %s, %s (%s)\n", s->model.name, s->model.choke, s->model.wbits, s->model.abits,
           s->batch, precision, dt_context_backend(ctx), dt_context_device(ctx));
    printf("%8.1f images/s   step %.2f ms median, %.2f ms minimum of %d   %.0f GFLOP/s\n", images_per_s, ms.median,
           ms.least, s->steps, gflops);
    printf("%8.0f MiB peak of the process, %.0f MiB of tensors\n", peak_mib(), device_mib);
}

/* Sets the model's images to those of the dataset. */
static dt_status open_images(bench_settings *s, dt_dataset **out)
{
    const dt_dataset_options images = { .name = s->dataset,
                                        .limit = 8 * (int64_t)s->batch,
                                        .seed = 1,
                                        .height = s->size,
                                        .width = s->size,
                                        .resize = s->size > 0 };
    dt_dataset_view view;

    DT_TRY(dt_dataset_open(&images, out));
    dt_dataset_look(*out, &view);
    s->model.height = view.height;
    s->model.width = view.width;
    s->model.channels = view.channels;
    s->model.n_classes = view.n_classes;
    return DT_OK;
}

static dt_status run(bench_settings *s)
{
    dt_train_config train;
    dt_context *ctx = NULL;
    dt_dataset *data = NULL;
    dt_model *model = NULL;
    dt_trainer *trainer = NULL;
    bench_summary summary = { 0 };
    double *ms = calloc((size_t)s->steps, sizeof *ms);

    dt_train_config_default(s->model.name, &train);
    train.batch = s->batch;
    dt_status status = ms ? dt_context_create(&s->options, &ctx) : DT_ERR_MEMORY;
    if (status == DT_OK) status = open_images(s, &data);
    if (status == DT_OK) status = dt_model_create(ctx, &s->model, &model);
    if (status == DT_OK) status = dt_trainer_create(model, data, &train, &trainer);
    if (status == DT_OK) status = measure(trainer, s, ms, &summary);
    if (status == DT_OK) print_result(s, ctx, model, trainer, summary);
    dt_trainer_destroy(trainer);
    dt_model_destroy(model);
    dt_dataset_close(data);
    dt_context_destroy(ctx);
    free(ms);
    return status;
}

int main(int argc, char **argv)
{
    static const struct argp argp = { arguments, parse, NULL, "Times a network's training step.", NULL, NULL, NULL };
    bench_settings s = { .dataset = "synthetic", .batch = 128, .steps = 20, .warmup = 5 };

    dt_options_default(&s.options);
    if (dt_model_config_default("vgg16", &s.model) != DT_OK) return 1;
    s.model.choke = 16;
    s.model.abits = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &s);
    if (run(&s) == DT_OK) return 0;
    fprintf(stderr, "bench_step: %s\n", dt_last_error());
    return 1;
}
