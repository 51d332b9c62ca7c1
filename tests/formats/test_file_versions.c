/*
 * test_file_versions.c - files of earlier versions, which later ones go on reading; and those of later ones, refused.
 *
 * tests/golden/make_old_files.sh made them with the last build that wrote those versions, and its numbers are here.
 */
#include "../support/fixed_run.h"

#include "../../core/train/model.h"
#include "../../formats/safetensors.h"

#include <inttypes.h>

TestSuite(file_versions, .init = temp_make, .fini = temp_remove, .timeout = 300);

#define OLD_FILES DETENT_TEST_GOLDEN "/files/"

static dt_dataset *synthetic(dt_split split, int64_t limit)
{
    const dt_dataset_options opt = { .name = "synthetic", .split = split, .limit = limit, .seed = 1 };
    dt_dataset *d;

    MUST(dt_dataset_open(&opt, &d));
    return d;
}

/* `detent eval --dataset synthetic --test-size 200` of that build: accuracy 0.185, loss 2.3138044, on every engine. */
static void expect_old_numbers(dt_model *m)
{
    dt_dataset *d = synthetic(DT_SPLIT_TEST, 200);
    dt_metrics found;

    MUST(dt_evaluate(m, d, 128, 0.1f, NULL, NULL, &found));
    cr_assert(found.accuracy == 0.185 && fabs(found.loss - 2.3138044) < 1e-6, "accuracy %.9g, loss %.9g",
              found.accuracy, found.loss); /* the sum over the images may be rounded in another order */
    dt_dataset_close(d);
}

Test(file_versions, a_checkpoint_of_version_2_is_opened)
{
    dt_context *ctx = context_of_seed(1);
    dt_train_config train;
    dt_model_info is;
    dt_model *m;

    MUST(dt_checkpoint_open(ctx, OLD_FILES "checkpoint_v2.safetensors", &m));
    dt_model_look(m, &is);
    cr_assert(eq(str, (char *)is.name, "tiny"));
    cr_assert(is.wbits_least == 4 && is.abits_most == 4 && is.height == 32 && is.n_classes == 10);
    cr_assert(eq(str, (char *)dt_model_get_origin(m)->name, "synthetic"));
    expect_old_numbers(m);
    MUST(dt_checkpoint_train_config(OLD_FILES "checkpoint_v2.safetensors", &train));
    cr_assert(train.batch == 64 && train.epochs == 2 && train.lr == 0.05f);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model;
    dt_trainer *trainer;
} old_run;

static old_run open_old_run(void)
{
    old_run r = { .ctx = context_of_seed(1), .data = synthetic(DT_SPLIT_TRAIN, 512) };
    dt_train_config train;
    dt_model_config c;

    MUST(dt_model_config_default("tiny", &c));
    MUST(dt_checkpoint_train_config(OLD_FILES "checkpoint_v2.safetensors", &train));
    MUST(dt_model_create(r.ctx, &c, &r.model));
    MUST(dt_trainer_create(r.model, r.data, &train, &r.trainer));
    return r;
}

static void close_old_run(old_run *r)
{
    dt_trainer_destroy(r->trainer);
    dt_model_destroy(r->model);
    dt_dataset_close(r->data);
    dt_context_destroy(r->ctx);
}

/* Goes on from the old file, and from the same state saved anew: equal bits at the end. */
Test(file_versions, a_run_of_version_2_goes_on)
{
    old_run a = open_old_run(), b = open_old_run();
    char version[16] = "";
    dt_safetensors *f;

    MUST(dt_checkpoint_resume(a.trainer, OLD_FILES "checkpoint_v2.safetensors"));
    cr_assert(eq(i64, dt_trainer_steps_done(a.trainer), 8));
    expect_old_numbers(a.model);
    MUST(dt_checkpoint_save(a.trainer, temp_path("new.safetensors"), NULL));
    MUST(dt_safetensors_open(temp_path("new.safetensors"), &f));
    snprintf(version, sizeof version, "%s", dt_safetensors_metadata(f, "version"));
    cr_assert(eq(str, version, "3"));
    cr_assert(dt_safetensors_metadata(f, "model") == NULL, "the graph says it");
    dt_safetensors_close(f);
    MUST(dt_checkpoint_resume(b.trainer, temp_path("new.safetensors")));
    MUST(dt_trainer_run(a.trainer, 8));
    MUST(dt_trainer_run(b.trainer, 8));
    for (int i = 0; i < dt_model_n_params(a.model); i++) {
        dt_param_info info;
        dt_model_param(a.model, i, &info);
        float *x = malloc(2 * (size_t)info.count * sizeof *x);
        MUST(dt_model_read(a.model, i, x));
        MUST(dt_model_read(b.model, i, x + info.count));
        cr_assert(memcmp(x, x + info.count, (size_t)info.count * sizeof *x) == 0, "%s", info.name);
        free(x);
    }
    close_old_run(&b);
    close_old_run(&a);
}

Test(file_versions, another_network_does_not_go_on_from_version_2)
{
    old_run r = open_old_run();
    dt_train_config train = *dt_trainer_get_config(r.trainer);
    dt_model_config c;
    dt_trainer *t;
    dt_model *m;

    MUST(dt_model_config_default("tiny", &c));
    c.abits = 3;
    MUST(dt_model_create(r.ctx, &c, &m));
    MUST(dt_trainer_create(m, r.data, &train, &t));
    cr_assert(eq(int, (int)dt_checkpoint_resume(t, OLD_FILES "checkpoint_v2.safetensors"), DT_ERR_ARGUMENT));
    cr_assert(says("started with features.4.act_quant.bits = 4, here it is 3"), "%s", dt_last_error());
    dt_trainer_destroy(t);
    dt_model_destroy(m);
    close_old_run(&r);
}

/* ---- fixed-point files ---- */

/* Written for the value i of tensor t: small, of both signs, no two neighbours alike. */
static float value_of(int t, int64_t i)
{
    return (float)((i * 2654435761u + (int64_t)t * 40503) % 2001 - 1000) * 1e-4f;
}

/* The header that the old build wrote, and values by a formula. */
static void write_quantized_v1(const char *name)
{
    FILE *from = fopen(OLD_FILES "quantized_v1.header.json", "rb"), *to = fopen(temp_path(name), "wb");
    static char header[65536];
    const char *end = "\"data_offsets\":[";
    int64_t count = 0, last = 0;
    uint64_t bytes;

    cr_assert(from && to);
    bytes = fread(header, 1, sizeof header - 1, from);
    fclose(from);
    cr_assert(fwrite(&bytes, 1, 8, to) == 8 && fwrite(header, 1, bytes, to) == bytes);
    for (const char *at = strstr(header, end); at; at = strstr(at + 1, end)) {
        cr_assert(sscanf(at + strlen(end), "%*d,%" SCNd64, &last) == 1);
        count = last > count ? last : count;
    }
    for (int64_t i = 0; i < count / 4; i++) {
        const float v = value_of(1, i);
        cr_assert(fwrite(&v, sizeof v, 1, to) == 1);
    }
    cr_assert(fclose(to) == 0);
}

static void expect_values(const dt_model *m, const char *name, const dt_safetensors *f)
{
    const dt_safetensors_tensor *t = dt_safetensors_find(f, name);
    const int i = dt_model_find(m, name);

    cr_assert(t && i >= 0 && t->ndim == 1, "%s", name); /* of one axis: laid out in the file as in the model */
    float *file = malloc((size_t)t->count * sizeof *file), *model = malloc((size_t)t->count * sizeof *model);
    MUST(dt_safetensors_read(f, t, file));
    MUST(dt_model_read(m, i, model));
    cr_assert(memcmp(file, model, (size_t)t->count * sizeof *file) == 0, "%s", name);
    free(file);
    free(model);
}

Test(file_versions, a_fixed_point_file_of_version_1_is_opened)
{
    dt_context *ctx = context_of_seed(1);
    dt_qcaps_formats formats, again_formats;
    dt_safetensors *f;
    dt_model_info is;
    dt_model *m, *again;

    write_quantized_v1("old.safetensors");
    MUST(dt_checkpoint_open(ctx, temp_path("old.safetensors"), &m));
    dt_model_look(m, &is);
    cr_assert(is.caps_dim == 16 && is.routing == 3 && is.has_decoder, "capsules of %d, routed %d times", is.caps_dim,
              is.routing);
    cr_assert(dt_qcaps_look(m, &formats) == 1);
    cr_assert(formats.rounding == DT_ROUND_STOCHASTIC && formats.bits.weight[1] == 3 && formats.bits.routing[2] == 11);
    cr_assert(eq(str, (char *)dt_model_get_origin(m)->name, "fashion-mnist"));
    MUST(dt_safetensors_open(temp_path("old.safetensors"), &f));
    expect_values(m, "conv.conv.bias", f);
    expect_values(m, "decoder.fc3.bias", f);
    dt_safetensors_close(f);

    MUST(dt_model_save(m, temp_path("new.safetensors"), NULL));
    MUST(dt_safetensors_open(temp_path("new.safetensors"), &f));
    cr_assert(strcmp(dt_safetensors_metadata(f, "version"), "2") == 0 && !dt_safetensors_metadata(f, "model"));
    dt_safetensors_close(f);
    MUST(dt_checkpoint_open(ctx, temp_path("new.safetensors"), &again));
    cr_assert(dt_qcaps_look(again, &again_formats) && memcmp(&formats, &again_formats, sizeof formats) == 0);
    dt_model_destroy(again);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- captures ---- */

/* The psum at p, q of filter k of a capture of one image, whose form is stride 1 and one pad on all sides. */
static double plain_psum(const dt_capture *c, int p, int q, int k)
{
    double sum = 0.0;

    for (int i = 0; i < c->kernel_height * c->kernel_width * c->channels; i++) {
        const int h = p + i / c->channels / c->kernel_width - c->conv.pad[0];
        const int w = q + i / c->channels % c->kernel_width - c->conv.pad[0];
        if (h < 0 || h >= c->height || w < 0 || w >= c->width) continue;
        sum += (double)c->qx[(h * c->width + w) * c->channels + i % c->channels] *
               (double)c->qw[k * c->kernel_height * c->kernel_width * c->channels + i];
    }
    return sum;
}

Test(file_versions, a_capture_of_version_1_is_opened)
{
    static const dt_conv_params plain = { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 };
    dt_capture *c, *again;

    MUST(dt_capture_load(OLD_FILES "capture_v1.safetensors", &c));
    cr_assert(eq(str, c->layer, "features.8"));
    cr_assert(eq(str, c->next_layer, "classifier"));
    cr_assert(memcmp(&c->conv, &plain, sizeof plain) == 0, "stride %d, pad %d, dilation %d, groups %d",
              c->conv.stride[0], c->conv.pad[0], c->conv.dilation[0], c->conv.groups);
    cr_assert(c->n == 1 && c->maps == 1 && c->height == 8 && c->channels == 8 && c->filters == 16);
    for (int i = 0; i < 8 * 8 * 16; i++) {
        const double sum = plain_psum(c, i / 16 / 8, i / 16 % 8, i % 16);
        cr_assert(sum == (double)c->psum[i], "psum[%d] is %g, its codes' %g", i, (double)c->psum[i], sum);
    }
    MUST(dt_capture_save(c, c->layer, temp_path("new.safetensors")));
    MUST(dt_capture_load(temp_path("new.safetensors"), &again));
    cr_assert(memcmp(&again->conv, &plain, sizeof plain) == 0 &&
              memcmp(again->psum, c->psum, 8 * 8 * 16 * sizeof(float)) == 0);
    dt_capture_destroy(again);
    dt_capture_destroy(c);
}

/* ---- damaged and newer ones ---- */

typedef struct {
    const char *why, *from, *to, *part;
} edit;

static const edit edits[] = {
    { "newer", "\"version\":\"2\"", "\"version\":\"4\"",
      "version is 4, and this detent reads versions up to 3; a newer detent reads it" },
    { "older", "\"version\":\"2\"", "\"version\":\"1\"", "version is 1, and this detent reads versions from 2 on" },
    { "no such version", "\"version\":\"2\"", "\"version\":\"b\"",
      "version is 'b', expected a whole number from 1 on" },
    { "version 3 without a graph", "\"version\":\"2\"", "\"version\":\"3\"", "has no metadata 'graph'" },
    { "unknown network", "\\\"tiny\\\"", "\\\"tinx\\\"", "model.name is \"tinx\"" },
    { "unknown field", "\\\"wbits\\\"", "\\\"wbitz\\\"", "model.wbitz is not a field" },
    { "an image that it does not take", "\\\"height\\\":32", "\\\"height\\\":99", "tiny takes images of 8x8 to 64x64" },
    { "another network's option", "\\\"choke\\\":0", "\\\"choke\\\":8", "tiny has no option choke, which was to be 8" },
    { "another network's word", "\\\"decoder\\\":\\\"none\\\"", "\\\"decoder\\\":  \\\"fc\\\"",
      "tiny has no option decoder, which was to be 1" },
    { "model is not JSON", "{\\\"name\\\"", "(\\\"name\\\"", "metadata 'model' is not JSON" },
};

static void write_edited(const edit *e)
{
    static uint8_t content[65536];
    FILE *file = fopen(OLD_FILES "checkpoint_v2.safetensors", "rb");

    cr_assert(file != NULL);
    const size_t bytes = fread(content, 1, sizeof content, file);
    fclose(file);
    uint8_t *at = memmem(content, bytes, e->from, strlen(e->from));
    cr_assert(at && strlen(e->from) == strlen(e->to), "%s", e->why);
    memcpy(at, e->to, strlen(e->to));
    temp_write("edited.safetensors", content, bytes);
}

Test(file_versions, what_cannot_be_read_is_refused_by_version_and_field)
{
    dt_context *ctx = context_of_seed(1);
    old_run r = open_old_run();

    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        dt_model *m = NULL;
        write_edited(&edits[i]);
        cr_assert(dt_checkpoint_open(ctx, temp_path("edited.safetensors"), &m) != DT_OK && !m, "%s", edits[i].why);
        cr_assert(says(edits[i].part) && says("edited.safetensors: "), "%s: %s", edits[i].why, dt_last_error());
        cr_assert(dt_checkpoint_resume(r.trainer, temp_path("edited.safetensors")) != DT_OK, "%s", edits[i].why);
        cr_assert(says(edits[i].part), "%s: %s", edits[i].why, dt_last_error());
    }
    close_old_run(&r);
    dt_context_destroy(ctx);
}
