/*
 * bench_step.c - times a network's training step: images/s, milliseconds a step, memory.
 *
 * Checked: the loss must be a number, and fall over the warm-up. A time is that of --together steps (1), which are
 * waited for once; on a GPU training's own loop takes 8 at a time. FLOP/s count 2 operations a multiply-accumulate of
 * the convolutions on the grid, forward plus two backward products a layer (the first layer has no input gradient); a
 * float network has none.
 *
 * --serve lets compare.py time rounds in turn with another program: warmed up, it says so with a line {"ready": true},
 * and times --steps steps for each line that it reads, answering with one object a line, until its input ends.
 */
#include "setup.h"

#include <stdio.h>
#include <sys/resource.h>

typedef struct {
    bench_setup setup;
    int steps, warmup, together, json, serve;
} bench_settings;

enum { OPT_STEPS = 256, OPT_WARMUP, OPT_TOGETHER, OPT_SERVE };
enum {
    MOST_WARMUP = 100,
    MANY_EPOCHS = 1000, /* the learning rate hardly falls */
    N_BATCHES = 16,     /* of the dataset */
    N_IMAGES = 8192     /* at least, so that an epoch's shuffle does not show */
};

static const struct argp_option arguments[] = {
    { "steps", OPT_STEPS, "N", 0, "timed steps (20)", 0 },
    { "warmup", OPT_WARMUP, "N", 0, "steps before them, at least 2 (5)", 0 },
    { "together", OPT_TOGETHER, "N", 0, "of them in a row before the device is waited for (1)", 0 },
    { "json", 'j', NULL, 0, "one JSON object on standard output", 0 },
    { "serve", OPT_SERVE, NULL, 0, "--json again for each line read", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    bench_settings *s = state->input;

    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &s->setup; return 0;
    case OPT_STEPS: s->steps = bench_number(arg, state); return 0;
    case OPT_WARMUP: s->warmup = bench_number(arg, state); return 0;
    case OPT_TOGETHER: s->together = bench_number(arg, state); return 0;
    case 'j': s->json = 1; return 0;
    case OPT_SERVE: s->json = s->serve = 1; return 0;
    case ARGP_KEY_END:
        if (s->steps < 1 || s->warmup < 2) argp_error(state, "--steps is at least 1, --warmup at least 2");
        if (s->together < 1 || s->steps % s->together) argp_error(state, "--together does not divide --steps");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* n steps, waited for: ms of one of them. */
static dt_status steps_once(dt_trainer *t, int n, double *ms)
{
    dt_metrics m;
    const double start = bench_now();
    DT_TRY(dt_trainer_run(t, n));
    DT_TRY(dt_trainer_metrics(t, &m));
    *ms = 1e3 * (bench_now() - start) / n;
    return DT_OK;
}

/* One step and the loss of its batch; metrics are means since the epoch began, *sum their sum before and after. */
static dt_status step_loss(dt_trainer *t, double *sum, double *loss)
{
    const int64_t before = dt_trainer_steps_done(t) % dt_trainer_steps_per_epoch(t);
    dt_metrics m;

    DT_TRY(dt_trainer_step(t));
    DT_TRY(dt_trainer_metrics(t, &m));
    if (before == 0) *sum = 0.0;
    *loss = m.loss * (double)(before + 1) - *sum;
    *sum += *loss;
    return DT_OK;
}

/* At least that many steps, and until the loss has fallen; then as many steps together as will be timed so, from where
 * they divide what is left of the epoch. */
static dt_status warm_up(dt_trainer *t, int steps, int together)
{
    double first = 0.0, last = 0.0, sum = 0.0, unused;

    for (int i = 0; i < steps || (last >= first && i < MOST_WARMUP); i++) {
        DT_TRY(step_loss(t, &sum, &last));
        if (i == 0) first = last;
    }
    DT_CHECK(last < first, DT_ERR_NUMERIC, "the loss did not fall over the warm-up: %g, then %g", first, last);
    while (dt_trainer_steps_done(t) % together != 0) DT_TRY(steps_once(t, 1, &unused));
    return together > 1 ? steps_once(t, together, &unused) : DT_OK;
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

static void print_result(const bench_settings *s, const bench_run *run, bench_summary ms)
{
    const dt_model_config *m = &s->setup.model;
    const double images_per_s = 1e3 * s->setup.batch / ms.median;
    const double gflops = gflop_per_image(run->model) * images_per_s;
    const double device_mib = (double)dt_trainer_bytes(run->trainer) / 1048576.0;

    if (s->json) {
        printf("{\"images_per_s\": %.1f, \"step_ms\": {\"median\": %.3f, \"min\": %.3f}, \"peak_mib\": %.0f, "
               "\"device_mib\": %.0f, \"gflops\": %.1f, ",
               images_per_s, ms.median, ms.least, peak_mib(), device_mib, gflops);
        bench_print_setup(&s->setup, run->ctx);
        printf(", \"steps\": %d, \"together\": %d}\n", s->steps, s->together);
        fflush(stdout);
        return;
    }
    printf("%s choke %d w%da%d, batch %d, %s, %s (%s)\n", m->name, dt_model_option_value(m, "choke"), m->wbits,
           m->abits, s->setup.batch, dt_precision_names[s->setup.options.precision], dt_context_backend(run->ctx),
           dt_context_device(run->ctx));
    printf("%8.1f images/s   step %.2f ms median, %.2f ms minimum of %d   %.0f GFLOP/s\n", images_per_s, ms.median,
           ms.least, s->steps, gflops);
    printf("%8.0f MiB peak of the process, %.0f MiB of tensors\n", peak_mib(), device_mib);
}

/* ms: room for the steps */
static dt_status measure(const bench_settings *s, const bench_run *run, double *ms)
{
    const int n = s->steps / s->together;

    for (int i = 0; i < n; i++) DT_TRY(steps_once(run->trainer, s->together, &ms[i]));
    print_result(s, run, bench_summarise(ms, n));
    return DT_OK;
}

static dt_status serve(const bench_settings *s, const bench_run *run, double *ms)
{
    char line[64];

    printf("{\"ready\": true}\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) DT_TRY(measure(s, run, ms));
    return DT_OK;
}

static dt_status bench(bench_settings *s)
{
    bench_run run = { 0 };
    double *ms = calloc((size_t)s->steps, sizeof *ms);
    dt_status status = ms ? DT_OK : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %d times", s->steps);

    const int batches = N_IMAGES / (N_BATCHES * s->setup.batch) + 1; /* in sixteens: 8 steps at a time fit an epoch */
    const int64_t n_images = (int64_t)batches * N_BATCHES * s->setup.batch;

    if (status == DT_OK) status = bench_run_open(&s->setup, n_images, 0, MANY_EPOCHS, &run);
    if (status == DT_OK) status = warm_up(run.trainer, s->warmup, s->together);
    if (status == DT_OK) status = s->serve ? serve(s, &run, ms) : measure(s, &run, ms);
    bench_run_close(&run);
    free(ms);
    return status;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = { { &bench_setup_argp, 0, NULL, 0 }, { 0 } };
    static const struct argp argp = {
        arguments, parse, NULL, "Times a network's training step.", children, NULL, NULL
    };
    bench_settings s = { .steps = 20, .warmup = 5, .together = 1 };

    if (bench_setup_default(&s.setup) != DT_OK) return 1;
    argp_parse(&argp, argc, argv, 0, NULL, &s);
    if (bench(&s) == DT_OK) return 0;
    fprintf(stderr, "bench_step: %s\n", dt_last_error());
    return 1;
}
