/*
 * test_predict.c - images of one's own: a dataset of them in memory, and scores of them by model, program and file,
 * which are evaluation's bit for bit.
 */
#include "../support/lowered.h"
#include "../support/temp_files.h"

#include "../../formats/safetensors.h"
#include "../../layers/augment.h"

enum { IMAGES = 133, SIDE = 32, CLASSES = 10, PIXELS = SIDE * SIDE * 3 }; /* more than a batch of predictions */

static uint8_t pixels[IMAGES * PIXELS];
static int32_t labels[IMAGES];

static void make_images(void)
{
    for (int i = 0; i < IMAGES * PIXELS; i++) {
        pixels[i] = (uint8_t)(dt_random(9, DT_STREAM_INIT, 0, (uint64_t)i).v[0] % 256);
    }
    for (int i = 0; i < IMAGES; i++) labels[i] = i % CLASSES;
}

static dt_images own_images(void)
{
    return (dt_images){ .name = "mine",
                        .images = pixels,
                        .labels = labels,
                        .n = IMAGES,
                        .height = SIDE,
                        .width = SIDE,
                        .channels = 3,
                        .n_classes = CLASSES };
}

/* A model of tiny that was trained for a step on them. */
typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model;
} own;

static own own_open(int wbits)
{
    const dt_images images = own_images();
    dt_model_config c = lowered_config("tiny", wbits, wbits);
    dt_train_config train;
    dt_trainer *t;
    own o = { .ctx = lowered_context("cpu") };

    make_images();
    MUST(dt_dataset_from_memory(&images, &o.data));
    MUST(dt_model_create(o.ctx, &c, &o.model));
    dt_train_config_default("tiny", &train);
    MUST(dt_trainer_create(o.model, o.data, &train, &t));
    MUST(dt_trainer_run(t, 1));
    dt_trainer_destroy(t);
    return o;
}

static void own_close(own *o)
{
    dt_model_destroy(o->model);
    dt_dataset_close(o->data);
    dt_context_destroy(o->ctx);
}

static void same(const float *a, const float *b, const char *what)
{
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        cr_assert(a[i] == b[i], "%s: score %d of image %d is %.9g, expected %.9g", what, i % CLASSES, i / CLASSES,
                  (double)a[i], (double)b[i]);
    }
}

static void evaluated(const own *o, float *scores)
{
    dt_metrics m;

    MUST(dt_evaluate(o->model, o->data, 32, 0.0f, NULL, &(dt_outputs){ .scores = scores }, &m));
}

Test(predict, a_dataset_of_ones_own_measures_its_normalisation)
{
    dt_images images = own_images();
    dt_dataset_view v;
    dt_dataset *d;
    double sum = 0.0, squares = 0.0;

    make_images();
    MUST(dt_dataset_from_memory(&images, &d));
    dt_dataset_look(d, &v);
    cr_assert(v.n == IMAGES && strcmp(v.name, "mine") == 0 && v.n_classes == CLASSES && strlen(v.fingerprint) == 16);
    cr_assert(v.images != pixels && memcmp(v.images, pixels, sizeof pixels) == 0 && v.labels[13] == 3);
    for (int i = 1; i < IMAGES * PIXELS; i += 3) sum += pixels[i] / 255.0;
    const double n = IMAGES * PIXELS / 3, mean = sum / n;
    for (int i = 1; i < IMAGES * PIXELS; i += 3) squares += (pixels[i] / 255.0 - mean) * (pixels[i] / 255.0 - mean);
    cr_assert(fabs((double)v.mean[1] - mean) < 1e-6 && fabs((double)v.std[1] - sqrt(squares / n)) < 1e-6);
    dt_dataset_close(d);
    images.mean[0] = 0.25f;
    images.std[0] = 0.5f;
    images.labels = NULL;
    MUST(dt_dataset_from_memory(&images, &d));
    dt_dataset_look(d, &v);
    cr_assert(v.mean[0] == 0.25f && v.std[0] == 0.5f && v.mean[1] > 0.4f && v.labels[13] == 0);
    dt_dataset_close(d);
}

Test(predict, wrong_images_are_refused)
{
    const dt_images good = own_images();
    dt_dataset *d = NULL;

#define REFUSED(change, text)                                                                             \
    do {                                                                                                  \
        dt_images bad = good;                                                                             \
        bad.change;                                                                                       \
        const dt_status s = dt_dataset_from_memory(&bad, &d);                                             \
        cr_assert(s == DT_ERR_ARGUMENT && !d && strstr(dt_last_error(), text) != NULL, "%s: %s", #change, \
                  dt_last_error());                                                                       \
    } while (0)
    make_images();
    REFUSED(name = NULL, "images need a name of 1 to 255 characters");
    char long_name[DT_DATASET_NAME_BYTES + 1] = { 0 };
    memset(long_name, 'n', DT_DATASET_NAME_BYTES);
    REFUSED(name = long_name, "images need a name");
    REFUSED(n = 0, "mine: 0 images, expected 1 to");
    REFUSED(images = NULL, "mine: images are pixels or reals, and got neither");
    REFUSED(channels = 5, "images of 32x32x5");
    REFUSED(n_classes = 3, "mine: label 3 is 3, expected 0..2");
    REFUSED(std[1] = -1.0f, "std[1] is -1");
    REFUSED(mean[2] = NAN, "mean[2] is nan");
}

/* dt_augment_value is what normalises pixels in the network, of the same f32 operations. */
static float *normalised_images(const own *o)
{
    const dt_data_origin *origin = dt_model_get_origin(o->model);
    float *x = malloc(sizeof pixels * sizeof *x);

    for (int i = 0; i < IMAGES * PIXELS; i++) {
        x[i] = dt_augment_value(pixels[i], origin->mean[i % 3], origin->std[i % 3]);
    }
    return x;
}

Test(predict, scores_are_those_of_an_evaluation)
{
    static float want[IMAGES * CLASSES], got[IMAGES * CLASSES];
    const int bits[] = { 4, DT_BITS_FLOAT };

    for (int i = 0; i < 2; i++) {
        own o = own_open(bits[i]);
        float *x = normalised_images(&o);
        evaluated(&o, want);
        MUST(dt_predict(o.model, &(dt_prediction){ .pixels = pixels, .n = IMAGES }, got));
        same(got, want, "pixels");
        MUST(dt_predict(o.model, &(dt_prediction){ .pixels = pixels, .n = IMAGES, .batch = 7 }, got));
        same(got, want, "pixels, 7 at once");
        MUST(dt_predict(o.model, &(dt_prediction){ .normalised = x, .n = IMAGES }, got));
        same(got, want, "normalised");
        MUST(dt_predict(o.model, &(dt_prediction){ .dataset = o.data, .n = 100 }, got));
        MUST(dt_predict(o.model, &(dt_prediction){ .dataset = o.data, .first = 100, .n = IMAGES - 100 },
                        got + 100 * CLASSES));
        same(got, want, "a dataset, in two parts");
        const dt_status s =
            dt_predict(o.model, &(dt_prediction){ .dataset = o.data, .first = 100, .n = IMAGES - 99 }, got);
        cr_assert(s == DT_ERR_RANGE && strstr(dt_last_error(), "images 100 to 134 of a dataset of 133"), "%s",
                  dt_last_error());
        cr_assert(dt_predict(o.model, &(dt_prediction){ .pixels = pixels, .normalised = x, .n = 1 }, got) ==
                  DT_ERR_ARGUMENT);
        free(x);
        own_close(&o);
    }
}

Test(predict, a_program_gives_its_models_scores)
{
    static float want[IMAGES * CLASSES], got[IMAGES * CLASSES];
    own o = own_open(4);
    dt_program *p;
    dt_model *m;

    evaluated(&o, want);
    MUST(dt_program_lower(o.model, NULL, &p));
    MUST(dt_program_model(o.ctx, p, NULL, &m));
    MUST(dt_predict(m, &(dt_prediction){ .pixels = pixels, .n = IMAGES }, got));
    same(got, want, "program");
    cr_assert(dt_predict(m, &(dt_prediction){ .normalised = want, .n = 1 }, got) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "is an integer program, which reads pixels by a table") != NULL, "%s",
              dt_last_error());
    dt_model_destroy(m);
    dt_program_destroy(p);
    own_close(&o);
}

/* ---- values inside ---- */

typedef struct {
    const char *name;
    const dt_capture *capture;
    int64_t n_seen;
} psum_watch;

static dt_status watch_psums(void *user, const dt_value_batch *v)
{
    psum_watch *w = user;

    if (strcmp(v->name, w->name) != 0) return DT_OK;
    const int64_t row = v->dim[1] * v->dim[2] * v->dim[3];
    cr_assert(v->ndim == 4 && v->n_scale == 1 && v->first == w->n_seen);
    cr_assert(memcmp(v->values, w->capture->psum + v->first * row, (size_t)(v->dim[0] * row) * sizeof(float)) == 0);
    w->n_seen += v->dim[0];
    return DT_OK;
}

Test(predict, values_inside_are_those_of_a_capture)
{
    static float scores[IMAGES * CLASSES];
    own o = own_open(4);
    dt_capture *c;

    MUST(dt_capture_layer(o.model, o.data, 0, IMAGES, "features.4", &c));
    psum_watch w = { "features.4", c, 0 };
    MUST(dt_predict(o.model, &(dt_prediction){ .pixels = pixels, .n = IMAGES, .look = watch_psums, .user = &w },
                    scores));
    cr_assert(w.n_seen == IMAGES);
    dt_capture_destroy(c);
    own_close(&o);
}

/* ---- files ---- */

static void write_images(const char *name, dt_safetensors_type type, const void *data)
{
    const int64_t dim[4] = { IMAGES, SIDE, SIDE, 3 };
    dt_safetensors_writer *w;

    MUST(dt_safetensors_writer_create(&w));
    MUST(dt_safetensors_writer_add(w, "x", type, 4, dim, data));
    MUST(dt_safetensors_writer_write(w, temp_path(name)));
    dt_safetensors_writer_destroy(w);
}

static void check_output(const own *o, const float *want)
{
    static float got[IMAGES * CLASSES];
    const int64_t psums[4] = { IMAGES, 16, 16, 8 };
    dt_safetensors *f;
    dt_capture *c;

    MUST(dt_safetensors_open(temp_path("out.safetensors"), &f));
    MUST(dt_safetensors_read(f, dt_safetensors_find(f, "scores"), got));
    same(got, want, "file");
    const dt_safetensors_tensor *t = dt_safetensors_find(f, "features.4");
    cr_assert(t != NULL && t->type == DT_SAFETENSORS_I32 && dt_safetensors_has_shape(t, 4, psums));
    cr_assert(dt_safetensors_find(f, "features.4.scale") != NULL && dt_safetensors_find(f, "features.5") != NULL);
    int32_t *codes = malloc((size_t)(t->end - t->begin));
    MUST(dt_safetensors_read(f, t, codes));
    MUST(dt_capture_layer(o->model, o->data, 0, IMAGES, "features.4", &c));
    for (int64_t i = 0; i < t->count; i++) cr_assert(c->psum[i] == (float)codes[i], "psum %lld", (long long)i);
    dt_capture_destroy(c);
    free(codes);
    dt_safetensors_close(f);
}

Test(predict, files_hold_scores_and_codes)
{
    static float want[IMAGES * CLASSES];
    char in[2 * TEMP_PATH_BYTES], out[2 * TEMP_PATH_BYTES];

    temp_make();
    own o = own_open(4);
    float *x = normalised_images(&o);
    evaluated(&o, want);
    write_images("u8.safetensors", DT_SAFETENSORS_U8, pixels);
    write_images("f32.safetensors", DT_SAFETENSORS_F32, x);
    snprintf(out, sizeof out, "%s", temp_path("out.safetensors"));
    snprintf(in, sizeof in, "%s", temp_path("u8.safetensors"));
    MUST(dt_predict_file(o.model, in, NULL, "all", NULL, out));
    check_output(&o, want);
    snprintf(in, sizeof in, "%s", temp_path("f32.safetensors"));
    MUST(dt_predict_file(o.model, in, "x", "all", NULL, out));
    check_output(&o, want);
    cr_assert(dt_predict_file(o.model, in, "y", NULL, NULL, out) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "has no tensor 'y'") != NULL, "%s", dt_last_error());
    cr_assert(dt_predict_file(o.model, in, NULL, "conv9", NULL, out) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "the network has no value 'conv9'") != NULL, "%s", dt_last_error());
    cr_assert(dt_predict_file(o.model, temp_path("none"), NULL, NULL, NULL, in) == DT_ERR_IO);
    free(x);
    own_close(&o);
    temp_remove();
}
