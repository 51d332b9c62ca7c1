/*
 * test_labels.c - networks that read reals and tell labels: training, evaluation, prediction, and what does not fit.
 *
 * The oracle is one linear layer in double: its scores of normalised reals, and loss and accuracies of these scores.
 */
#include "../support/tiny_run.h"

#include "../../core/rng.h"
#include "../../formats/safetensors.h"
#include "../../models/build.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

enum { N = 50, HEIGHT = 4, WIDTH = 3, EACH = HEIGHT * WIDTH, LABELS = 5 };

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model;
    float x[N * EACH];
    int32_t y[N * LABELS];
} rig;

/* A linear layer on reals, with `scores` outputs and that loss. */
static dt_graph *make_graph(int scores, dt_loss loss)
{
    const dt_shape image = { 4, { 1, HEIGHT, WIDTH, 1 } };
    dt_builder b = { .status = DT_OK };

    MUST(dt_graph_create("one_layer", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    const int flat = dt_build_node(&b, DT_OP_FLATTEN, "flat", NULL, &b.graph->image, 1);
    b.graph->scores = dt_build_classifier(&b, "labels", flat, scores);
    MUST(b.status);
    b.graph->loss = loss;
    return b.graph;
}

/* Label l of a sample is there if value l is above the mean of all: what one layer can learn. */
static void open_rig(rig *r, const char *backend, int scores, dt_loss loss)
{
    dt_options o;

    dt_options_default(&o);
    o.backend = backend;
    o.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&o, &r->ctx));
    MUST(dt_model_open(r->ctx, make_graph(scores, loss), &r->model));
    for (int i = 0; i < N * EACH; i++) {
        r->x[i] = 40.0f + 9.0f * (2.0f * dt_uniform(dt_random(7, DT_STREAM_SYNTHETIC, 0, (uint64_t)i).v[0]) - 1.0f);
    }
    for (int i = 0; i < N * LABELS; i++) r->y[i] = r->x[i / LABELS * EACH + i % LABELS] > 40.0f;
}

static void take_data(rig *r, int multi_label, int n_classes)
{
    const dt_images images = { .name = "sensors",
                               .reals = r->x,
                               .labels = r->y,
                               .multi_label = multi_label,
                               .n = N,
                               .height = HEIGHT,
                               .width = WIDTH,
                               .channels = 1,
                               .n_classes = n_classes };
    MUST(dt_dataset_from_memory(&images, &r->data));
}

static void close_rig(rig *r)
{
    dt_dataset_close(r->data);
    dt_model_destroy(r->model);
    dt_context_destroy(r->ctx);
}

static dt_train_config plain_training(void)
{
    dt_train_config c;

    dt_train_config_default(NULL, &c);
    c.batch = 16;
    c.epochs = 12;
    c.lr = 0.5f;
    c.weight_decay = 0.0f;
    c.label_smoothing = 0.0f;
    c.crop_pad = 0;
    c.flip_share = 0.0f;
    return c;
}

/* Scores in double, by the layer's parameters. */
static void oracle_scores(const rig *r, int scores, double *out)
{
    const dt_data_origin *o = dt_model_get_origin(r->model);
    float *w = host_param(r->model, dt_model_find(r->model, "labels.weight"), NULL);
    float *b = host_param(r->model, dt_model_find(r->model, "labels.bias"), NULL);

    cr_assert(o->is_real == 1 && o->std[0] > 3.0f && o->std[0] < 9.0f && fabsf(o->mean[0] - 40.0f) < 2.0f);
    for (int n = 0; n < N; n++) {
        for (int s = 0; s < scores; s++) {
            double sum = (double)b[s];
            for (int i = 0; i < EACH; i++) {
                sum += (double)w[s * EACH + i] * ((double)r->x[n * EACH + i] - (double)o->mean[0]) / (double)o->std[0];
            }
            out[n * scores + s] = sum;
        }
    }
    free(w);
    free(b);
}

static void train(rig *r, dt_metrics *last)
{
    const dt_train_config c = plain_training();
    dt_trainer *t = NULL;

    MUST(dt_trainer_create(r->model, r->data, &c, &t));
    MUST(dt_trainer_run(t, c.epochs * dt_trainer_steps_per_epoch(t)));
    MUST(dt_trainer_metrics(t, last));
    dt_trainer_destroy(t);
}

Test(labels, are_learned_and_counted)
{
    static const char *const backends[] = { "cpu", "cuda" };
    for (int b = 0; b < 2; b++) {
        rig r = { 0 };
        dt_metrics trained, m;
        double expected[N * LABELS], loss = 0.0;
        float scores[N * LABELS], predicted[N * LABELS];
        int right = 0, exact = 0;
        dt_context *there = NULL;
        dt_options o;
        dt_options_default(&o);
        o.backend = backends[b];
        if (dt_context_create(&o, &there) != DT_OK) continue;
        dt_context_destroy(there);
        open_rig(&r, backends[b], LABELS, DT_LOSS_BINARY);
        take_data(&r, 1, LABELS);
        train(&r, &trained);
        cr_assert(trained.accuracy > 0.8, "%s: %g of the labels were learned", backends[b], trained.accuracy);

        MUST(dt_evaluate(r.model, r.data, 17, 0.0f, NULL, &(dt_outputs){ NULL, scores }, &m));
        oracle_scores(&r, LABELS, expected);
        for (int n = 0; n < N; n++) {
            int all = 1;
            for (int i = n * LABELS; i < (n + 1) * LABELS; i++) {
                cr_assert(fabs((double)scores[i] - expected[i]) < 1e-4 * (1.0 + fabs(expected[i])),
                          "%s: score %d is %g, "
                          "expected %g",
                          backends[b], i, (double)scores[i], expected[i]);
                const double p = 1.0 / (1.0 + exp(-expected[i]));
                const int is_right = (p > 0.5) == (r.y[i] == 1);
                right += is_right;
                all &= is_right;
                loss -= log(r.y[i] ? p : 1.0 - p);
            }
            exact += all;
        }
        cr_assert(m.accuracy == (double)right / (N * LABELS) && m.exact == (double)exact / N && m.images == N,
                  "%s: %g and %g, expected %d and %d of %d", backends[b], m.accuracy, m.exact, right, exact, N);
        cr_assert(fabs(m.loss - loss / (N * LABELS)) < 1e-5, "%s: loss %g, expected %g", backends[b], m.loss,
                  loss / (N * LABELS));
        cr_assert(exact > 0 && exact < N, "all or none are right: the counts tell no tale");
        MUST(dt_predict(r.model, &(dt_prediction){ .dataset = r.data, .first = 3, .n = 9 }, predicted));
        cr_assert(memcmp(predicted, scores + 3 * LABELS, 9 * LABELS * sizeof(float)) == 0);
        close_rig(&r);
    }
}

Test(labels, one_score_tells_two_classes)
{
    rig r = { 0 };
    dt_metrics m;
    double expected[N];
    int right = 0;

    open_rig(&r, "cpu", 1, DT_LOSS_BINARY);
    for (int n = 0; n < N; n++) r.y[n] = r.x[n * EACH] > 40.0f;
    take_data(&r, 0, 2);
    train(&r, &m);
    MUST(dt_evaluate(r.model, r.data, 17, 0.0f, NULL, NULL, &m));
    oracle_scores(&r, 1, expected);
    for (int n = 0; n < N; n++) right += (expected[n] > 0.0) == (r.y[n] == 1);
    cr_assert(m.accuracy == (double)right / N && m.exact == m.accuracy && m.accuracy > 0.8, "%g", m.accuracy);
    close_rig(&r);
}

/* What dt_trainer_create says of data that a network cannot take. */
static void expect_misfit(int scores, dt_loss loss, int multi_label, int n_classes, const char *part)
{
    const dt_train_config c = plain_training();
    dt_trainer *t = NULL;
    rig r = { 0 };

    open_rig(&r, "cpu", scores, loss);
    memset(r.y, 0, sizeof r.y);
    take_data(&r, multi_label, n_classes);
    cr_assert(dt_trainer_create(r.model, r.data, &c, &t) == DT_ERR_SHAPE, "%s", part);
    cr_assert(strstr(dt_last_error(), part), "no '%s' in '%s'", part, dt_last_error());
    close_rig(&r);
}

Test(labels, misfits_are_refused)
{
    expect_misfit(5, DT_LOSS_CROSS_ENTROPY, 1, 5,
                  "an image of the dataset has several labels, and one_layer tells classes");
    expect_misfit(5, DT_LOSS_BINARY, 0, 5, "one_layer has 5 labels");
    expect_misfit(5, DT_LOSS_BINARY, 1, 4, "the dataset 4 labels");
    expect_misfit(1, DT_LOSS_BINARY, 0, 3, "the dataset 3 classes");
}

Test(labels, reals_are_not_augmented)
{
    dt_train_config c = plain_training();
    dt_trainer *t = NULL;
    rig r = { 0 };

    open_rig(&r, "cpu", LABELS, DT_LOSS_BINARY);
    take_data(&r, 1, LABELS);
    c.crop_pad = 4;
    cr_assert(dt_trainer_create(r.model, r.data, &c, &t) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "crop 4, shift 0, rotation 0 and flip 0 are for images of 8 bits"), "%s",
              dt_last_error());
    close_rig(&r);
}

Test(labels, a_network_of_reals_takes_no_pixels)
{
    static const uint8_t pixels[EACH] = { 0 };
    const dt_images bytes = { .name = "bytes",
                              .images = pixels,
                              .multi_label = 1,
                              .n = 1,
                              .height = HEIGHT,
                              .width = WIDTH,
                              .channels = 1,
                              .n_classes = LABELS };
    dt_dataset *d = NULL;
    dt_metrics m;
    float scores[LABELS];
    rig r = { 0 };

    open_rig(&r, "cpu", LABELS, DT_LOSS_BINARY);
    take_data(&r, 1, LABELS);
    train(&r, &m);
    MUST(dt_dataset_from_memory(&bytes, &d));
    cr_assert(dt_evaluate(r.model, d, 1, 0.0f, NULL, NULL, &m) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "was trained on reals (sensors), and the images of bytes are pixels"), "%s",
              dt_last_error());
    cr_assert(dt_predict(r.model, &(dt_prediction){ .pixels = pixels, .n = 1 }, scores) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "was trained on reals (sensors), and got pixels"), "%s", dt_last_error());
    dt_dataset_close(d);
    close_rig(&r);
}

/* ---- files ---- */

static char folder[64], names[2][96];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/detent-labels-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    snprintf(names[0], sizeof names[0], "%s/in.safetensors", folder);
    snprintf(names[1], sizeof names[1], "%s/out.safetensors", folder);
}

static void remove_folder(void)
{
    for (int i = 0; i < 2; i++) remove(names[i]);
    rmdir(folder);
}

TestSuite(labels_files, .init = make_folder, .fini = remove_folder);

/* Stopped in the middle of an epoch: the counts of labels go on where they were, and so does what the data were. */
Test(labels_files, a_run_goes_on_with_its_counts)
{
    const dt_train_config c = plain_training();
    dt_trainer *t = NULL, *again = NULL;
    dt_metrics whole, resumed;
    rig r = { 0 }, other = { 0 };

    open_rig(&r, "cpu", LABELS, DT_LOSS_BINARY);
    take_data(&r, 1, LABELS);
    MUST(dt_trainer_create(r.model, r.data, &c, &t));
    MUST(dt_trainer_run(t, 6));
    MUST(dt_checkpoint_save(t, names[0], NULL));
    open_rig(&other, "cpu", LABELS, DT_LOSS_BINARY);
    take_data(&other, 1, LABELS);
    MUST(dt_trainer_create(other.model, other.data, &c, &again));
    MUST(dt_checkpoint_resume(again, names[0]));
    MUST(dt_trainer_run(t, 1));
    MUST(dt_trainer_run(again, 1));
    MUST(dt_trainer_metrics(t, &whole));
    MUST(dt_trainer_metrics(again, &resumed));
    cr_assert(memcmp(&whole, &resumed, sizeof whole) == 0, "%g, %g and %g, %g", whole.accuracy, whole.exact,
              resumed.accuracy, resumed.exact);
    cr_assert(whole.images == 48 && whole.exact < whole.accuracy);
    dt_trainer_destroy(t);
    dt_trainer_destroy(again);
    close_rig(&r);
    close_rig(&other);
}

/* A file's reals are normalised as the dataset's are: equal bits. */
Test(labels_files, reals_of_a_file_are_as_the_dataset_has_them)
{
    const int64_t dim[4] = { N, HEIGHT, WIDTH, 1 };
    float expected[N * LABELS], scores[N * LABELS];
    dt_safetensors_writer *w = NULL;
    dt_safetensors *f = NULL;
    dt_metrics m;
    rig r = { 0 };

    open_rig(&r, "cpu", LABELS, DT_LOSS_BINARY);
    take_data(&r, 1, LABELS);
    train(&r, &m);
    MUST(dt_predict(r.model, &(dt_prediction){ .dataset = r.data, .n = N }, expected));
    MUST(dt_safetensors_writer_create(&w));
    MUST(dt_safetensors_writer_add(w, "x", DT_SAFETENSORS_F32, 4, dim, r.x));
    MUST(dt_safetensors_writer_write(w, names[0]));
    dt_safetensors_writer_destroy(w);
    MUST(dt_predict_file(r.model, names[0], NULL, NULL, NULL, names[1]));
    MUST(dt_safetensors_open(names[1], &f));
    MUST(dt_safetensors_read(f, dt_safetensors_find(f, "scores"), scores));
    cr_assert(memcmp(scores, expected, sizeof scores) == 0);
    dt_safetensors_close(f);
    close_rig(&r);
}
