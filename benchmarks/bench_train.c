/*
 * bench_train.c - times a whole run as `detent train` does it: epochs of steps, each with an evaluation of the test
 *                 images and a checkpoint.
 *
 * Start is everything before the first step: device, data, parameters, plans. The first epoch has what is done once (a
 * GPU's kernels are loaded, its steps captured); the later ones are what a long run is made of. Loss and accuracy are
 * printed, so that it shows that something was learnt; on synthetic images they mean no more than that. Where there are
 * fewer images than --images, they are repeated.
 */
#include "setup.h"

#include <stdio.h>
#include <unistd.h>

enum { MOST_EPOCHS = 1000 };

typedef struct {
    bench_setup setup;
    int images, test_images, epochs, json;
} bench_settings;

enum { OPT_IMAGES = 256, OPT_TEST };

static const struct argp_option arguments[] = {
    { "images", OPT_IMAGES, "N", 0, "training images (4096)", 0 },
    { "test-images", OPT_TEST, "N", 0, "test images, 0: no evaluation (1024)", 0 },
    { "epochs", 'e', "N", 0, "epochs (2)", 0 },
    { "json", 'j', NULL, 0, "one JSON object on standard output", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    bench_settings *s = state->input;

    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &s->setup; return 0;
    case OPT_IMAGES: s->images = bench_number(arg, state); return 0;
    case OPT_TEST: s->test_images = bench_number(arg, state); return 0;
    case 'e': s->epochs = bench_number(arg, state); return 0;
    case 'j': s->json = 1; return 0;
    case ARGP_KEY_END:
        if (s->images < 1) argp_error(state, "--images is at least 1");
        if (s->epochs < 1 || s->epochs > MOST_EPOCHS) argp_error(state, "--epochs is 1..%d", MOST_EPOCHS);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Seconds. */
typedef struct {
    double steps, evaluation, checkpoint;
} epoch_times;

typedef struct {
    epoch_times epoch[MOST_EPOCHS], sum;
    double start;
    dt_metrics train, test; /* of the last epoch */
} results;

static double total(const epoch_times *t)
{
    return t->steps + t->evaluation + t->checkpoint;
}

static dt_status run_epoch(const bench_settings *s, const bench_run *run, const char *path, epoch_times *t,
                           results *out)
{
    const double begin = bench_now();
    DT_TRY(dt_trainer_run(run->trainer, dt_trainer_steps_per_epoch(run->trainer)));
    DT_TRY(dt_trainer_metrics(run->trainer, &out->train));
    const double trained = bench_now();
    if (run->test) DT_TRY(dt_evaluate(run->model, run->test, s->setup.batch, 0.0f, NULL, NULL, &out->test));
    const double evaluated = bench_now();
    DT_TRY(dt_checkpoint_save(run->trainer, path, NULL));
    *t = (epoch_times){ trained - begin, evaluated - trained, bench_now() - evaluated };
    return DT_OK;
}

static dt_status run_epochs(const bench_settings *s, const bench_run *run, results *out)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];

    snprintf(path, sizeof path, "%s/bench_train-%ld.safetensors", folder ? folder : "/tmp", (long)getpid());
    for (int e = 0; e < s->epochs; e++) {
        const dt_status status = run_epoch(s, run, path, &out->epoch[e], out);
        unlink(path);
        DT_TRY(status);
        out->sum.steps += out->epoch[e].steps;
        out->sum.evaluation += out->epoch[e].evaluation;
        out->sum.checkpoint += out->epoch[e].checkpoint;
    }
    return DT_OK;
}

static void print_json(const bench_settings *s, const bench_run *run, const results *r)
{
    printf("{");
    bench_print_setup(&s->setup, run->ctx);
    printf(", \"dataset\": \"%s\", \"images\": %d, \"test_images\": %d, \"epochs\": %d, \"start_s\": %.3f, "
           "\"total_s\": %.3f, \"steps_s\": %.3f, \"evaluation_s\": %.3f, \"checkpoint_s\": %.3f, "
           "\"images_per_s\": %.1f, \"loss\": %.4f, \"accuracy\": %.4f, \"test_accuracy\": %.4f, \"epoch_s\": [",
           s->setup.dataset, s->images, s->test_images, s->epochs, r->start, total(&r->sum), r->sum.steps,
           r->sum.evaluation, r->sum.checkpoint, (double)s->images * s->epochs / total(&r->sum), r->train.loss,
           r->train.accuracy, r->test.accuracy);
    for (int e = 0; e < s->epochs; e++) printf("%s%.4f", e ? ", " : "", r->epoch[e].steps);
    printf("]}\n");
}

static void print_table(const bench_settings *s, const bench_run *run, const results *r)
{
    const double sum = total(&r->sum);

    printf("%s, %d images of %s, batch %d, %d epochs, %s (%s)\n", s->setup.model.name, s->images, s->setup.dataset,
           s->setup.batch, s->epochs, dt_context_backend(run->ctx), dt_context_device(run->ctx));
    printf("start %.2f s; then %.2f s, %.0f images/s: steps %.1f %%, evaluation %.1f %%, checkpoints %.1f %%\n",
           r->start, sum, (double)s->images * s->epochs / sum, 100.0 * r->sum.steps / sum,
           100.0 * r->sum.evaluation / sum, 100.0 * r->sum.checkpoint / sum);
    printf("last epoch: steps %.2f s; loss %.4f, accuracy %.4f, of the test images %.4f\n",
           r->epoch[s->epochs - 1].steps, r->train.loss, r->train.accuracy, r->test.accuracy);
}

static dt_status bench(bench_settings *s)
{
    static results r;
    bench_run run = { 0 };
    const double begin = bench_now();

    dt_status status = bench_run_open(&s->setup, s->images, s->test_images, s->epochs, &run);
    r.start = bench_now() - begin;
    if (status == DT_OK) status = run_epochs(s, &run, &r);
    if (status == DT_OK && s->json) print_json(s, &run, &r);
    if (status == DT_OK && !s->json) print_table(s, &run, &r);
    bench_run_close(&run);
    return status;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = { { &bench_setup_argp, 0, NULL, 0 }, { 0 } };
    static const struct argp argp = { arguments, parse, NULL, "Times training with evaluation and checkpoints.",
                                      children,  NULL,  NULL };
    bench_settings s = { .images = 4096, .test_images = 1024, .epochs = 2 };

    if (bench_setup_default(&s.setup) != DT_OK) return 1;
    argp_parse(&argp, argc, argv, 0, NULL, &s);
    if (bench(&s) == DT_OK) return 0;
    fprintf(stderr, "bench_train: %s\n", dt_last_error());
    return 1;
}
