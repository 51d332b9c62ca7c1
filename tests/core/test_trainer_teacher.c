/*
 * test_trainer_teacher.c - a network that teaches, by scores that are given or by looking at each batch, on the CPU, on
 * CUDA, and where steps are captured.
 */
#include "../support/tiny_run.h"

#include "../../core/train/dataset_view.h"

#include <math.h>

static const char *const backends[] = { "cpu", "cuda" };

/* ---- scores that are given ---- */

static float *some_scores(const tiny_run *r)
{
    const int64_t n = r->trainer->n_images * 10;
    float *scores = malloc((size_t)n * sizeof *scores);

    for (int64_t i = 0; i < n; i++) scores[i] = 3.0f * sinf(0.7f * (float)i);
    return scores;
}

static int open_taught(tiny_run *r, const tiny_options *o)
{
    if (!tiny_open(r, o)) return 0;
    float *scores = some_scores(r);
    MUST(dt_trainer_teach(r->trainer, scores));
    free(scores);
    return 1;
}

Test(trainer_teacher, takes_part_in_each_step)
{
    for (int b = 0; b < 2; b++) {
        tiny_options o = tiny_defaults(), eager, alone;
        tiny_run x, y, z;
        o.context.backend = backends[b];
        o.train.teacher_share = 0.7f;
        o.train.teacher_temperature = 2.0f;
        eager = alone = o;
        eager.context.no_graph = 1;
        alone.train.teacher_share = 0.0f;
        if (!open_taught(&x, &o)) continue;
        cr_assert(open_taught(&y, &eager) && tiny_open(&z, &alone));
        cr_assert(dt_trainer_teach(z.trainer, NULL) == DT_ERR_ARGUMENT, "a trainer without a teacher's share");
        MUST(dt_trainer_run(x.trainer, 12));
        MUST(dt_trainer_run(y.trainer, 12));
        MUST(dt_trainer_run(z.trainer, 12));
        tiny_same_params(&x, &y, "captured and eager");
        float *taught = host_floats(x.ctx, x.model->w, x.model->n_trained);
        float *by_labels = host_floats(z.ctx, z.model->w, z.model->n_trained);
        cr_assert(memcmp(taught, by_labels, (size_t)x.model->n_trained * sizeof *taught) != 0, "%s", backends[b]);
        free(taught);
        free(by_labels);
        tiny_close(&x);
        tiny_close(&y);
        tiny_close(&z);
    }
}

Test(trainer_teacher, that_has_not_taught_is_missed)
{
    tiny_options o = tiny_defaults();
    tiny_run r;

    o.train.teacher_share = 0.5f;
    cr_assert(tiny_open(&r, &o));
    cr_assert(dt_trainer_step(r.trainer) == DT_ERR_ARGUMENT &&
              strstr(dt_last_error(), "there is no teacher (dt_trainer_teach)"));
    tiny_close(&r);
}

/* ---- a teacher that looks at each batch ---- */

/* All images are mirrored, always: what such a teacher sees are the images of a data set that is mirrored. */
static tiny_options of_mirrored(const char *backend, dt_teacher_sees sees)
{
    tiny_options o = tiny_defaults();

    o.context.backend = backend;
    o.train.teacher_share = 0.7f;
    o.train.teacher_sees = sees;
    o.train.flip_share = 1.0f;
    o.train.crop_pad = 0;
    return o;
}

/* A network of reals, or of codes, which normalises images in a way of its own. */
static dt_model *a_teacher(dt_context *ctx, int bits)
{
    dt_model_config config;
    dt_model *m;

    MUST(dt_model_config_default("tiny", &config));
    config.wbits = config.abits = bits;
    MUST(dt_model_create(ctx, &config, &m));
    strcpy(m->origin.name, "another");
    for (int c = 0; c < 3; c++) {
        m->origin.mean[c] = 0.3f + 0.1f * (float)c;
        m->origin.std[c] = 0.4f;
    }
    return m;
}

static void mirror(dt_dataset *d)
{
    const int64_t rows = d->n * d->height;

    for (int64_t y = 0; y < rows; y++) {
        uint8_t *row = d->images + y * d->width * d->channels;
        for (int left = 0, right = d->width - 1; left < right; left++, right--) {
            for (int c = 0; c < d->channels; c++) {
                const uint8_t kept = row[left * d->channels + c];
                row[left * d->channels + c] = row[right * d->channels + c];
                row[right * d->channels + c] = kept;
            }
        }
    }
}

/* The scores that a teacher gives for the mirrored images, by an evaluation of them. */
static void teach_mirrored(tiny_run *r, int bits)
{
    float *scores = malloc((size_t)r->trainer->n_images * 10 * sizeof *scores);
    const dt_outputs outputs = { .scores = scores };
    dt_model *teacher = a_teacher(r->ctx, bits);
    dt_metrics found;

    mirror(r->data);
    MUST(dt_evaluate(teacher, r->data, 16, 0.0f, NULL, &outputs, &found));
    mirror(r->data);
    MUST(dt_trainer_teach(r->trainer, scores));
    dt_model_destroy(teacher);
    free(scores);
}

static void teach_batches(tiny_run *r, int bits)
{
    dt_model *teacher = a_teacher(r->ctx, bits);

    MUST(dt_trainer_teach_by(r->trainer, teacher));
    dt_model_destroy(teacher);
}

/* A report computes a step's gradients beside the run. */
static void look_at(tiny_run *r)
{
    dt_quant_report report[64];

    cr_assert(dt_trainer_n_quantizers(r->trainer) <= 64);
    MUST(dt_trainer_report(r->trainer, report));
}

/* Steps of an epoch are two of 32 images and one of 16, also in two parts, captured where that is possible, and once
 * watched. */
static void compare_teachers(const char *backend, int accumulate, int bits)
{
    tiny_options o = of_mirrored(backend, DT_TEACHER_AUGMENTED), given = of_mirrored(backend, DT_TEACHER_ORIGINALS);
    tiny_run x, y;

    o.train.accumulate = given.train.accumulate = accumulate;
    given.context.no_graph = 1;
    if (!tiny_open(&x, &o)) return;
    cr_assert(tiny_open(&y, &given));
    teach_batches(&x, bits);
    teach_mirrored(&y, bits);
    MUST(dt_trainer_run(x.trainer, 4));
    look_at(&x);
    MUST(dt_trainer_run(x.trainer, 8));
    MUST(dt_trainer_run(y.trainer, 12));
    tiny_same_params(&x, &y, backend);
    tiny_close(&x);
    tiny_close(&y);
}

Test(trainer_teacher, sees_what_the_network_sees)
{
    for (int b = 0; b < 2; b++) {
        for (int accumulate = 1; accumulate <= 2; accumulate++) {
            compare_teachers(backends[b], accumulate, DT_BITS_FLOAT);
            compare_teachers(backends[b], accumulate, 4);
        }
    }
}

/* As many images in a step as the longer graph of a device needs. */
Test(trainer_teacher, looks_at_batches_of_captured_steps)
{
    tiny_options graph = of_mirrored("cuda", DT_TEACHER_AUGMENTED), eager;
    tiny_run x, y;

    graph.images = 160;
    graph.train.batch = 8;
    graph.train.crop_pad = 2;
    eager = graph;
    eager.context.no_graph = 1;
    if (!tiny_open(&x, &graph)) cr_skip("no CUDA here: %s", dt_last_error());
    cr_assert(tiny_open(&y, &eager));
    teach_batches(&x, 4);
    teach_batches(&y, 4);
    MUST(dt_trainer_run(x.trainer, 24));
    MUST(dt_trainer_run(y.trainer, 24));
    tiny_same_params(&x, &y, "captured and eager");
    tiny_close(&x);
    tiny_close(&y);
}

static void refused(dt_status got, dt_status want, const char *text)
{
    cr_assert(got == want && strstr(dt_last_error(), text), "expected '%s', got %s: %s", text, dt_status_name(got),
              dt_last_error());
}

Test(trainer_teacher, that_does_not_fit_is_refused)
{
    const tiny_options augmented = of_mirrored("cpu", DT_TEACHER_AUGMENTED);
    const tiny_options originals = of_mirrored("cpu", DT_TEACHER_ORIGINALS), alone = tiny_defaults();
    dt_model_config classes;
    dt_model *teacher, *other;
    tiny_run x, y, z;

    cr_assert(tiny_open(&x, &augmented) && tiny_open(&y, &originals) && tiny_open(&z, &alone));
    teacher = a_teacher(x.ctx, DT_BITS_FLOAT);
    MUST(dt_model_config_default("tiny", &classes));
    classes.n_classes = 12;
    MUST(dt_model_create(x.ctx, &classes, &other));
    refused(dt_trainer_step(x.trainer), DT_ERR_ARGUMENT, "there is no teacher (dt_trainer_teach_by)");
    refused(dt_trainer_teach(x.trainer, NULL), DT_ERR_ARGUMENT, "give the teacher itself");
    refused(dt_trainer_teach_by(x.trainer, other), DT_ERR_SHAPE,
            "has 12 classes, and the network that is trained has 10");
    refused(dt_trainer_teach_by(y.trainer, teacher), DT_ERR_ARGUMENT, "teacher_sees is originals");
    refused(dt_trainer_teach_by(z.trainer, teacher), DT_ERR_ARGUMENT, "teacher_share is 0");
    MUST(dt_trainer_teach_by(x.trainer, teacher));
    refused(dt_trainer_teach_by(x.trainer, teacher), DT_ERR_ARGUMENT, "takes one teacher");
    dt_model_destroy(teacher);
    dt_model_destroy(other);
    tiny_close(&x);
    tiny_close(&y);
    tiny_close(&z);
}

Test(trainer_teacher, of_another_context_is_refused)
{
    const tiny_options o = of_mirrored("cpu", DT_TEACHER_AUGMENTED);
    tiny_run x, y;

    cr_assert(tiny_open(&x, &o) && tiny_open(&y, &o));
    dt_model *teacher = a_teacher(y.ctx, DT_BITS_FLOAT);
    refused(dt_trainer_teach_by(x.trainer, teacher), DT_ERR_ARGUMENT, "another context");
    dt_model_destroy(teacher);
    tiny_close(&x);
    tiny_close(&y);
}
