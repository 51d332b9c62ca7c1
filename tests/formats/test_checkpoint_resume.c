/*
 * test_checkpoint_resume.c - a run that stops and goes on gives equal bits; what does not fit is refused and changes
 *                            nothing.
 */
#include "../support/checkpoint_run.h"

#include <math.h>

TestSuite(checkpoint_resume, .init = temp_make, .fini = temp_remove);

/* Stops in the middle of the second epoch, and goes on into the third. */
static void check_resume(const setup *s, const char *why)
{
    setup elsewhere = *s;
    size_t bytes, bytes_again;

    run a = open_run(s);
    train_steps(&a, 6);
    save(&a, "stop.safetensors");
    state at_stop = state_of(&a);
    train_steps(&a, 4);
    state at_end = state_of(&a);
    cr_assert(ne(int, memcmp(at_stop.values, at_end.values, at_end.bytes), 0), "%s: nothing is trained", why);

    run b = open_run(&elsewhere);
    cr_assert(eq(int, dt_checkpoint_resume(b.trainer, temp_path("stop.safetensors")), DT_OK), "%s: %s", why,
              dt_last_error());
    expect_state(why, &b, &at_stop);
    save(&b, "again.safetensors");
    uint8_t *file = read_file("stop.safetensors", &bytes), *again = read_file("again.safetensors", &bytes_again);
    cr_assert(eq(sz, bytes, bytes_again), "%s", why);
    cr_assert(eq(int, memcmp(file, again, bytes), 0), "%s: the file of a resumed run differs", why);
    train_steps(&b, 4);
    expect_state(why, &b, &at_end);

    close_run(&a);
    close_run(&b);
    free(at_stop.values);
    free(at_end.values);
    free(file);
    free(again);
}

/* The file of a copy that was made before is that of then, while steps change all that it holds. */
static void check_copy(const setup *s, const char *why)
{
    dt_run_copy *copy;
    size_t bytes, bytes_then;

    run r = open_run(s);
    train_steps(&r, 6);
    save(&r, "then.safetensors");
    cr_assert(eq(int, dt_run_copy_create(r.trainer, "{\"a\": 1}", &copy), DT_OK), "%s", dt_last_error());
    train_steps(&r, 1);
    cr_assert(eq(int, dt_run_copy_write(copy, temp_path("copy.safetensors")), DT_OK), "%s", dt_last_error());
    train_steps(&r, 1);
    cr_assert(eq(int, dt_run_copy_write(copy, temp_path("twice.safetensors")), DT_OK), "%s", dt_last_error());
    save(&r, "now.safetensors");
    uint8_t *then = read_file("then.safetensors", &bytes_then);
    static const char *const names[] = { "copy.safetensors", "twice.safetensors" };
    for (int i = 0; i < 2; i++) {
        uint8_t *file = read_file(names[i], &bytes);
        cr_assert(eq(sz, bytes, bytes_then), "%s: %s", why, names[i]);
        cr_assert(eq(int, memcmp(file, then, bytes), 0), "%s: %s is not that of then", why, names[i]);
        free(file);
    }
    uint8_t *now = read_file("now.safetensors", &bytes);
    cr_assert(bytes != bytes_then || memcmp(now, then, bytes) != 0, "%s: steps change nothing", why);
    free(now);
    free(then);
    dt_run_copy_destroy(copy);
    close_run(&r);
}

Test(checkpoint_resume, a_copy_is_written_as_the_run_was)
{
    setup s = default_setup();

    check_copy(&s, "SGD");
    s.train.optim = DT_OPTIM_ADAM;
    s.train.lr = 1e-3f;
    s.train.ema = 0.9f;
    check_copy(&s, "Adam, a mean of the parameters");
}

Test(checkpoint_resume, a_copy_of_a_run_that_has_diverged_is_not_written)
{
    const setup s = default_setup();
    const float bad = NAN, good = 1.0f;
    dt_run_copy *copy;

    run r = open_run(&s);
    train_steps(&r, 2);
    cr_assert(eq(int, dt_device_write(r.ctx, r.trainer->m1, &bad, sizeof bad), DT_OK));
    cr_assert(eq(int, dt_run_copy_create(r.trainer, NULL, &copy), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_device_write(r.ctx, r.trainer->m1, &good, sizeof good), DT_OK));
    cr_assert(eq(int, dt_run_copy_write(copy, temp_path("bad.safetensors")), DT_ERR_NUMERIC));
    cr_assert(strstr(dt_last_error(), "bad.safetensors: not written: after step 2 ") != NULL, "%s", dt_last_error());
    cr_assert(ne(int, access(temp_path("bad.safetensors"), F_OK), 0));
    dt_run_copy_destroy(copy);
    close_run(&r);
}

Test(checkpoint_resume, resume_gives_equal_bits)
{
    setup s = default_setup();

    check_resume(&s, "SGD");
    s.train.optim = DT_OPTIM_ADAM;
    s.train.lr = 1e-3f;
    s.model.rule = DT_RULE_LSQ;
    s.model.per_channel = 1;
    check_resume(&s, "Adam, LSQ, a step for each filter");
    s.model.wbits = s.model.abits = DT_BITS_FLOAT;
    check_resume(&s, "float");
}

/* Each by itself, so that a failure names it. */
Test(checkpoint_resume, resume_gives_equal_bits_with_each_means)
{
    setup s = default_setup();

    s.train.ema = 0.99f;
    check_resume(&s, "a mean of the parameters");
    s = default_setup();
    s.train.schedule = DT_SCHEDULE_ONE_CYCLE;
    s.train.warmup = 1.5f;
    check_resume(&s, "one cycle, warm-up");
    s = default_setup();
    s.train.schedule = DT_SCHEDULE_TRIANGULAR;
    s.train.cutout = 8;
    s.train.flip_kind = DT_FLIP_ALTERNATING;
    s.train.brightness = s.train.contrast = 0.3f;
    check_resume(&s, "triangular, cutout, alternating flip, colours");
    s = default_setup();
    s.train.ewgs = 0.2f;
    s.train.ewgs_activations = 0.1f;
    s.train.dampen = 0.1f;
    s.model.rule = DT_RULE_LSQ;
    check_resume(&s, "scaled gradients, dampening");
    s = default_setup();
    s.train.freeze = 0.08f;
    s.train.freeze_momentum = 0.1f;
    s.train.lr = 0.2f;
    s.model.rule = DT_RULE_LSQ;
    check_resume(&s, "weights that freeze");
    s = default_setup();
    s.train.epochs = 2;
    s.train.extend = 1;
    check_resume(&s, "an extension");
}

/* Up to its planned end a run takes an extension, and then has the bits of one that had it from the begin. */
Test(checkpoint_resume, a_run_may_be_extended_at_its_end)
{
    setup s = default_setup(), longer = s;
    run a = open_run(&s);

    longer.train.extend = 2;
    run b = open_run(&longer), c = open_run(&longer);
    train_steps(&a, 12);
    save(&a, "end.safetensors");
    train_steps(&c, 18);
    state want = state_of(&c);
    cr_assert(eq(int, dt_checkpoint_resume(b.trainer, temp_path("end.safetensors")), DT_OK), "%s", dt_last_error());
    train_steps(&b, 6);
    expect_state("extended", &b, &want);

    save(&b, "within.safetensors");
    longer.train.extend = 3;
    run d = open_run(&longer);
    cr_assert(eq(int, dt_checkpoint_resume(d.trainer, temp_path("within.safetensors")), DT_ERR_ARGUMENT));
    expect_message("another extension within it", "the run is in its extension of 2 epochs from step 12 on");
    free(want.values);
    close_run(&a);
    close_run(&b);
    close_run(&c);
    close_run(&d);
}

/* The CPU needs no scale: both runs are told that their gradients have one. */
Test(checkpoint_resume, the_loss_scale_is_kept)
{
    const setup s = default_setup();
    const dt_loss_scale scale = { .value = 4096.0f, .clean = 17, .skipped = 3 };
    run a = open_run(&s), b = open_run(&s);
    dt_step found;

    train_steps(&a, 2);
    cr_assert(eq(int, dt_device_write(a.ctx, &a.ctx->step->scale, &scale, sizeof scale), DT_OK));
    save(&a, "scaled.safetensors");
    cr_assert(eq(int, dt_checkpoint_resume(b.trainer, temp_path("scaled.safetensors")), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_trainer_state(b.trainer, &found), DT_OK));
    cr_assert(found.scale.value == 1.0f, "a run without a scale takes %g", (double)found.scale.value);

    b.trainer->tape[0].update.scaled = 1;
    cr_assert(eq(int, dt_checkpoint_resume(b.trainer, temp_path("scaled.safetensors")), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_trainer_state(b.trainer, &found), DT_OK));
    cr_assert(found.scale.value == 4096.0f && found.scale.clean == 17 && found.scale.skipped == 3, "%g, %d, %lld",
              (double)found.scale.value, found.scale.clean, (long long)found.scale.skipped);
    close_run(&a);
    close_run(&b);
}

/* tiny has no decoder: the sum is what a network with one would have. */
Test(checkpoint_resume, the_reconstruction_so_far_is_kept)
{
    const setup s = default_setup();
    const edit damaged = { "damaged", "\"reconstruction_sum\":\"0", "\"reconstruction_sum\":\"y", DT_ERR_FORMAT, "" };
    const edit unknown = { "absent", "reconstruction_sum", "reconstruction_som", DT_OK, "" };
    run a = open_run(&s), b = open_run(&s);

    train_steps(&a, 6);
    state fake = state_of(&a);
    fake.sum.reconstruction = 1e9 / 3.0;
    cr_assert(eq(int, dt_trainer_seek(a.trainer, 6, &(dt_step){ .sum = fake.sum }), DT_OK));
    save(&a, "a.safetensors");
    cr_assert(eq(int, dt_checkpoint_resume(b.trainer, temp_path("a.safetensors")), DT_OK), "%s", dt_last_error());
    expect_state("kept", &b, &fake);

    write_edited("a.safetensors", "damaged.safetensors", &damaged);
    cr_assert(eq(int, dt_checkpoint_resume(b.trainer, temp_path("damaged.safetensors")), DT_ERR_FORMAT));
    expect_message("damaged", "metadata 'reconstruction_sum' is 'y");
    expect_state("damaged", &b, &fake);

    write_edited("a.safetensors", "absent.safetensors", &unknown);
    cr_assert(eq(int, dt_checkpoint_resume(b.trainer, temp_path("absent.safetensors")), DT_OK), "%s", dt_last_error());
    fake.sum.reconstruction = 0.0;
    expect_state("absent", &b, &fake);
    free(fake.values);
    close_run(&a);
    close_run(&b);
}

typedef struct {
    const char *why;
    void (*change)(setup *s);
    dt_status status;
    const char *part;
} other_run;

static void change_seed(setup *s)
{
    s->seed = 8;
}
static void change_data(setup *s)
{
    s->n_images = 101;
}
static void change_batch(setup *s)
{
    s->train.batch = 34;
}
static void change_epochs(setup *s)
{
    s->train.epochs = 4;
}
static void change_lr(setup *s)
{
    s->train.lr = 0.02f;
}
static void change_optim(setup *s)
{
    s->train.optim = DT_OPTIM_ADAM;
}
static void change_bits(setup *s)
{
    s->model.wbits = 3;
}
static void change_classes(setup *s)
{
    s->model.n_classes = 11;
}

static const other_run other_runs[] = {
    { "seed", change_seed, DT_ERR_ARGUMENT, "started with seed = 7, here it is 8" },
    { "data", change_data, DT_ERR_ARGUMENT, "started with 100 training images, here there are 101" },
    { "batch", change_batch, DT_ERR_ARGUMENT, "started with train.batch = 33, here it is 34" },
    { "epochs", change_epochs, DT_ERR_ARGUMENT, "started with train.epochs = 3, here it is 4" },
    { "lr", change_lr, DT_ERR_ARGUMENT, "started with train.lr = 0.01, here it is 0.02" },
    { "optimiser", change_optim, DT_ERR_ARGUMENT, "started with train.optim = \"sgd\", here it is \"adam\"" },
    { "bits", change_bits, DT_ERR_ARGUMENT, "started with features.0.weight_quant.bits = 4, here it is 3" },
    { "classes", change_classes, DT_ERR_ARGUMENT, "started with classifier.weight.shape = 10x256, here it is 11x256" },
};

Test(checkpoint_resume, resume_of_another_run_is_refused_and_changes_nothing)
{
    const setup s = default_setup();
    run a = open_run(&s);

    train_steps(&a, 6);
    save(&a, "a.safetensors");
    close_run(&a);
    for (size_t i = 0; i < sizeof other_runs / sizeof other_runs[0]; i++) {
        const other_run *o = &other_runs[i];
        setup other = s;
        o->change(&other);
        run b = open_run(&other);
        train_steps(&b, 1);
        state before = state_of(&b);
        cr_assert(eq(int, (int)dt_checkpoint_resume(b.trainer, temp_path("a.safetensors")), (int)o->status), "%s",
                  o->why);
        expect_message(o->why, o->part);
        expect_message(o->why, "a.safetensors");
        expect_state(o->why, &b, &before);
        free(before.values);
        close_run(&b);
    }
}

static const edit edits[] = {
    { "another format", "detent-checkpoint", "detent-chequebook", DT_ERR_FORMAT, "format is 'detent-chequebook'" },
    { "an earlier version", "\"version\":\"3\"", "\"version\":\"1\"", DT_ERR_FORMAT,
      "version is 1, and this detent reads versions from 2 on" },
    { "no version", "\"version\":\"3\"", "\"version\":\"x\"", DT_ERR_FORMAT,
      "version is 'x', expected a whole number" },
    { "the graph is not JSON", "{\\\"format\\\"", "(\\\"format\\\"", DT_ERR_FORMAT, "metadata 'graph' is not JSON" },
    { "no graph", "\"graph\"", "\"grape\"", DT_ERR_FORMAT, "has no metadata 'graph'" },
    { "unknown attribute", "\\\"stride\\\"", "\\\"strode\\\"", DT_ERR_FORMAT, "features.0 has no attribute 'strode'" },
    { "unknown operator", "\\\"batchnorm\\\"", "\\\"batchnorn\\\"", DT_ERR_FORMAT, "no operator 'batchnorn'" },
    { "another operator", "\\\"maxpool\\\"", "\\\"avgpool\\\"", DT_ERR_ARGUMENT,
      "started with features.3.operator = avgpool, here it is maxpool" },
    { "another input", "[\\\"features.1\\\"]", "[\\\"features.0\\\"]", DT_ERR_ARGUMENT,
      "started with features.2.input 0 = features.0, here it is features.1" },
    { "a graph that does not fit", "[8,3,3,3]", "[3,8,3,3]", DT_ERR_SHAPE,
      "features.1: batchnorm: gamma has 8 values, x has 3 channels" },
    { "no step", "\"step\":\"6\"", "\"stop\":\"6\"", DT_ERR_FORMAT, "no metadata 'step'" },
    { "step is text", "\"step\":\"6\"", "\"step\":\"x\"", DT_ERR_FORMAT, "'step' is 'x', expected a whole number" },
    { "step is empty", "\"step\":\"6\"", "\"step\":\"\" ", DT_ERR_FORMAT, "'step' is '', expected a whole number" },
    { "blank before it", "\"seed\":\"7\"", "\"seed\":\" \"", DT_ERR_FORMAT, "'seed' is ' '" },
    { "loss is text", "\"loss_sum\":\"0", "\"loss_sum\":\"y", DT_ERR_FORMAT, "'loss_sum' is 'y" },
    { "more right than seen", "\"n_images\":\"66\"", "\"n_images\":\"00\"", DT_ERR_FORMAT, "'n_correct' is" },
    { "a tensor renamed", "\"features.0.weight\"", "\"features.5.weight\"", DT_ERR_SHAPE,
      "has no tensor 'features.0.weight'" },
    { "a moment renamed", "\"optimizer.momentum.features.0.weight\"", "\"optimizer.momentum.features.5.weight\"",
      DT_ERR_SHAPE, "has no tensor 'optimizer.momentum.features.0.weight'" },
    { "another type", "\"F32\"", "\"I32\"", DT_ERR_SHAPE, "is I32 in the checkpoint, F32 in the model" },
    { "another shape", "\"shape\":[8,3,3,3]", "\"shape\":[3,8,3,3]", DT_ERR_SHAPE,
      "'features.0.weight' is 3x8x3x3 in the checkpoint, 8x3x3x3 in the model" },
    { "fewer dimensions", "\"shape\":[8,3,3,3]", "\"shape\":[8,3,9]  ", DT_ERR_SHAPE, "is 8x3x9 in the checkpoint" },
    { "damaged", "\"F32\"", "\"X32\"", DT_ERR_FORMAT, "dtype 'X32' is not known" },
};

Test(checkpoint_resume, resume_of_a_damaged_file_is_refused_and_changes_nothing)
{
    const setup s = default_setup();
    run a = open_run(&s), b = open_run(&s);

    train_steps(&a, 6);
    save(&a, "good.safetensors");
    train_steps(&b, 1);
    state before = state_of(&b);
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        write_edited("good.safetensors", "bad.safetensors", &edits[i]);
        const dt_status status = dt_checkpoint_resume(b.trainer, temp_path("bad.safetensors"));
        cr_assert(eq(int, (int)status, (int)edits[i].status), "%s: %s", edits[i].why,
                  status == DT_OK ? "resumed" : dt_last_error());
        expect_message(edits[i].why, edits[i].part);
        expect_message(edits[i].why, "bad.safetensors");
        expect_state(edits[i].why, &b, &before);
    }
    free(before.values);
    close_run(&a);
    close_run(&b);
}

Test(checkpoint_resume, a_step_past_the_end_is_refused)
{
    setup s = default_setup();
    s.train.epochs = 1;
    run r = open_run(&s);
    const edit e = { "past the end", "\"step\":\"4\"", "\"step\":\"5\"", DT_ERR_FORMAT, "" };

    train_steps(&r, 4);
    save(&r, "end.safetensors");
    cr_assert(eq(int, dt_checkpoint_resume(r.trainer, temp_path("end.safetensors")), DT_OK), "%s", dt_last_error());
    write_edited("end.safetensors", "past.safetensors", &e);
    cr_assert(eq(int, dt_checkpoint_resume(r.trainer, temp_path("past.safetensors")), DT_ERR_FORMAT));
    expect_message(e.why, "step is 5, but the run ends at step 4");
    close_run(&r);
}
