/*
 * test_origin.c - what a network was trained on goes with it into every file, and its normalisation with it.
 *
 * Another data set is made of the synthetic one: other name, files, mean and std, equal pixels.
 */
#include "../support/checkpoint_run.h"

#include "../../datasets/dataset.h"
#include "../../formats/origin_json.h"
#include "../../quant/program/program.h"

TestSuite(origin, .init = temp_make, .fini = temp_remove);

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

enum { EVALUATED = 60 };

static dt_dataset *open_data(dt_dataset_options opt)
{
    dt_dataset *d;

    opt.name = "synthetic";
    MUST(dt_dataset_open(&opt, &d));
    return d;
}

static dt_dataset *open_other(void)
{
    dt_dataset *d = open_data((dt_dataset_options){ .limit = N_IMAGES, .seed = 1 });

    d->name = "other";
    snprintf(d->fingerprint, sizeof d->fingerprint, "0123456789abcdef");
    for (int c = 0; c < d->channels; c++) d->mean[c] = 0.1f * (float)(c + 1), d->std[c] = 0.5f;
    return d;
}

static void expect_origin(const char *why, const dt_data_origin *got, const dt_data_origin *expected)
{
    cr_assert(eq(str, (char *)got->name, (char *)expected->name), "%s", why);
    cr_assert(eq(int, got->n_images, expected->n_images), "%s", why);
    cr_assert(eq(str, (char *)got->fingerprint, (char *)expected->fingerprint), "%s", why);
    cr_assert(eq(int, memcmp(got->mean, expected->mean, sizeof got->mean), 0), "%s", why);
    cr_assert(eq(int, memcmp(got->std, expected->std, sizeof got->std), 0), "%s", why);
}

static double loss_on(dt_model *m, const dt_dataset *d)
{
    dt_metrics out;

    MUST(dt_evaluate(m, d, EVALUATED, 0.0f, NULL, NULL, &out));
    return out.loss;
}

static run trained_run(void)
{
    const setup s = default_setup();
    run r = open_run(&s);

    train_steps(&r, 4);
    save(&r, "a.safetensors");
    return r;
}

/* ---- the fingerprint ---- */

static void fingerprint_of(dt_dataset_options opt, char *out)
{
    dt_dataset *d = open_data(opt);
    dt_dataset_view v;

    dt_dataset_look(d, &v);
    cr_assert(eq(str, (char *)v.name, "synthetic"));
    cr_assert(eq(sz, strspn(v.fingerprint, "0123456789abcdef"), DT_FINGERPRINT_BYTES - 1));
    memcpy(out, v.fingerprint, DT_FINGERPRINT_BYTES);
    dt_dataset_close(d);
}

static const struct {
    const char *why;
    dt_dataset_options opt;
    int equal;
} fingerprint_rows[] = {
    { "a subset", { .seed = 1, .limit = 50 }, 1 },
    { "padded", { .seed = 1, .height = 40, .width = 36 }, 1 },
    { "resized", { .seed = 1, .height = 16, .width = 16, .resize = 1 }, 1 },
    { "images held out", { .seed = 1, .held_out = 100 }, 1 },
    { "those held out", { .seed = 1, .held_out = 100, .split = DT_SPLIT_VALIDATION }, 1 },
    { "the test files", { .seed = 1, .split = DT_SPLIT_TEST }, 0 },
    { "other images", { .seed = 2 }, 0 },
};

Test(origin, fingerprint_is_of_the_files)
{
    char all[DT_FINGERPRINT_BYTES], one[DT_FINGERPRINT_BYTES];

    fingerprint_of((dt_dataset_options){ .seed = 1 }, all);
    for (size_t i = 0; i < sizeof fingerprint_rows / sizeof fingerprint_rows[0]; i++) {
        fingerprint_of(fingerprint_rows[i].opt, one);
        cr_assert(eq(int, strcmp(all, one) == 0, fingerprint_rows[i].equal), "%s: %s and %s", fingerprint_rows[i].why,
                  all, one);
    }
}

/* By zlib's crc32 over the bytes that were written: 784 a pixel row after row, then the labels. */
Test(origin, fingerprint_is_equal_for_a_file_and_its_gz_and_as_documented)
{
    enum { N = 3, IMAGE_BYTES = N * IDX_SIDE * IDX_SIDE };
    static const int label[N] = { 7, 0, 9 };
    uint8_t images[IDX_IMAGES_HEADER + IMAGE_BYTES], labels[IDX_LABELS_HEADER + N];
    char expected[DT_FINGERPRINT_BYTES];
    const dt_dataset_options opt = { .name = "mnist", .dir = temp_folder };

    idx_pair_bytes(N, label, images, labels);
    snprintf(expected, sizeof expected, "%08lx%08lx", crc32(0, images + IDX_IMAGES_HEADER, IMAGE_BYTES),
             crc32(0, labels + IDX_LABELS_HEADER, N));
    for (int gz = 0; gz < 2; gz++) {
        dt_dataset *d;
        dt_dataset_view v;

        (gz ? temp_write_gz : temp_write)(gz ? "train-images-idx3-ubyte.gz" : "train-images-idx3-ubyte", images,
                                          sizeof images);
        (gz ? temp_write_gz : temp_write)(gz ? "train-labels-idx1-ubyte.gz" : "train-labels-idx1-ubyte", labels,
                                          sizeof labels);
        MUST(dt_dataset_open(&opt, &d));
        dt_dataset_look(d, &v);
        cr_assert(eq(str, (char *)v.fingerprint, (char *)expected), "gz %d", gz);
        dt_dataset_close(d);
        remove(temp_path("train-images-idx3-ubyte"));
        remove(temp_path("train-labels-idx1-ubyte"));
    }
}

/* ---- in models and files ---- */

Test(origin, of_a_new_model_is_unknown_and_of_a_trained_one_its_dataset)
{
    const setup s = default_setup();
    run r = open_run(&s);
    dt_dataset_view v;
    dt_model *m;

    MUST(dt_model_create(r.ctx, &s.model, &m));
    cr_assert(eq(str, (char *)dt_model_get_origin(m)->name, ""));
    dt_dataset_look(r.data, &v);
    dt_data_origin expected = { .name = "synthetic", .n_images = N_IMAGES };
    memcpy(expected.fingerprint, v.fingerprint, sizeof expected.fingerprint);
    memcpy(expected.mean, v.mean, sizeof expected.mean);
    memcpy(expected.std, v.std, sizeof expected.std);
    expect_origin("trained", dt_model_get_origin(r.model), &expected);
    dt_model_destroy(m);
    close_run(&r);
}

Test(origin, goes_with_the_checkpoint_and_not_with_parts_of_it)
{
    const setup s = default_setup();
    run r = trained_run();
    dt_model *opened, *loaded, *part;
    int n;

    MUST(dt_checkpoint_open(r.ctx, temp_path("a.safetensors"), &opened));
    expect_origin("opened", dt_model_get_origin(opened), dt_model_get_origin(r.model));
    MUST(dt_model_create(r.ctx, &s.model, &loaded));
    MUST(dt_checkpoint_load(loaded, temp_path("a.safetensors")));
    expect_origin("loaded", dt_model_get_origin(loaded), dt_model_get_origin(r.model));
    MUST(dt_model_create(r.ctx, &s.model, &part));
    MUST(dt_checkpoint_load_partial(part, temp_path("a.safetensors"), NULL, NULL, &n));
    cr_assert(eq(str, (char *)dt_model_get_origin(part)->name, ""));
    dt_model_destroy(part);
    dt_model_destroy(loaded);
    dt_model_destroy(opened);
    close_run(&r);
}

Test(origin, images_of_another_dataset_are_normalised_as_those_of_training)
{
    const setup s = default_setup();
    run r = trained_run();
    dt_dataset *other = open_other();
    dt_model *m;
    int n;

    MUST(dt_checkpoint_open(r.ctx, temp_path("a.safetensors"), &m));
    cr_assert(eq(dbl, loss_on(m, other), loss_on(m, r.data)));
    dt_model_destroy(m);

    MUST(dt_model_create(r.ctx, &s.model, &m)); /* unknown: by the dataset's own */
    MUST(dt_checkpoint_load_partial(m, temp_path("a.safetensors"), NULL, NULL, &n));
    cr_assert(eq(dbl, loss_on(m, r.data), loss_on(r.model, r.data)));
    cr_assert(ne(dbl, loss_on(m, other), loss_on(m, r.data)));
    dt_model_destroy(m);
    dt_dataset_close(other);
    close_run(&r);
}

Test(origin, capture_and_verification_normalise_as_training_did)
{
    run r = trained_run();
    dt_dataset *other = open_other();
    dt_verify_report *report;
    dt_capture *a, *b;
    dt_array array;

    MUST(dt_capture_layer(r.model, r.data, 0, 3, "features.0", &a));
    MUST(dt_capture_layer(r.model, other, 0, 3, "features.0", &b));
    cr_assert(eq(int, memcmp(a->qx, b->qx, 3u * 32 * 32 * 3 * sizeof *a->qx), 0));
    expect_origin("capture", &a->origin, dt_model_get_origin(r.model));
    dt_capture_destroy(a);
    dt_capture_destroy(b);
    dt_array_default(&array);
    MUST(dt_verify(r.model, other, 0, 3, NULL, &array, NULL, &report));
    cr_assert(eq(i64, report->mismatches, 0)); /* the program's codes are those of the model's normalisation */
    dt_verify_report_destroy(report);
    dt_dataset_close(other);
    close_run(&r);
}

Test(origin, the_next_training_gives_its_own)
{
    const setup s = default_setup();
    run r = trained_run();
    dt_dataset *other = open_other();
    dt_trainer *t;
    dt_model *m;

    MUST(dt_checkpoint_open(r.ctx, temp_path("a.safetensors"), &m));
    MUST(dt_trainer_create(m, other, &s.train, &t));
    cr_assert(eq(str, (char *)dt_model_get_origin(m)->name, "other"));
    MUST(dt_checkpoint_load(m, temp_path("a.safetensors"))); /* parameters for a training that is open */
    MUST(dt_trainer_step(t));
    cr_assert(eq(str, (char *)dt_model_get_origin(m)->name, "other"));
    cr_assert(eq(flt, dt_model_get_origin(m)->mean[1], 0.2f));
    dt_trainer_destroy(t);
    dt_model_destroy(m);
    dt_dataset_close(other);
    close_run(&r);
}

/* ---- files of versions that did not tell, and damaged ones ---- */

static const edit without = { "without it", "\"data\":\"{", "\"dato\":\"{", DT_OK, NULL };

Test(origin, a_file_without_it_opens_as_unknown_and_is_resumed)
{
    run r = trained_run();
    dt_model *m;

    write_edited("a.safetensors", "old.safetensors", &without);
    MUST(dt_checkpoint_open(r.ctx, temp_path("old.safetensors"), &m));
    cr_assert(eq(str, (char *)dt_model_get_origin(m)->name, ""));
    MUST(dt_checkpoint_resume(r.trainer, temp_path("old.safetensors")));
    cr_assert(eq(str, (char *)dt_model_get_origin(r.model)->name, "synthetic"));
    dt_model_destroy(m);
    close_run(&r);
}

static const edit damages[] = {
    { "no JSON", "\"data\":\"{", "\"data\":\"(", DT_ERR_FORMAT, "metadata 'data' is not JSON" },
    { "unknown field", "\\\"images\\\"", "\\\"imagez\\\"", DT_ERR_FORMAT, "data.imagez is not a field" },
    { "images are text", "\\\"images\\\":100", "\\\"images\\\":nul", DT_ERR_FORMAT, "is not JSON" },
    { "no name", "\\\"synthetic\\\"", "\\\"\\\"         ", DT_ERR_FORMAT, "data.name is empty" },
    { "three means", "[0.5,0.5,0.5,0]", "[0.5,0.5,  0.5]", DT_ERR_FORMAT, "data.mean is [0.5,0.5,0.5]" },
    { "no deviation", "[0.25,0.25,", "[0.25,0.00,", DT_ERR_FORMAT, "data.std[1] is 0, expected more than 0" },
};

Test(origin, a_damaged_one_is_refused)
{
    run r = trained_run();
    dt_model *m = NULL;

    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        write_edited("a.safetensors", "bad.safetensors", &damages[i]);
        cr_assert(eq(int, (int)dt_checkpoint_open(r.ctx, temp_path("bad.safetensors"), &m), (int)damages[i].status),
                  "%s", damages[i].why);
        cr_assert(eq(ptr, m, NULL), "%s", damages[i].why);
        expect_message(damages[i].why, damages[i].part);
        expect_message(damages[i].why, "bad.safetensors");
    }
    close_run(&r);
}

/* ---- resuming ---- */

static void rename_data(dt_dataset *d)
{
    d->name = "other";
}

static void change_files(dt_dataset *d)
{
    snprintf(d->fingerprint, sizeof d->fingerprint, "0123456789abcdef");
}

static void change_mean(dt_dataset *d)
{
    d->mean[1] = 0.75f;
}

static void change_std(dt_dataset *d)
{
    d->std[2] = 0.125f;
}

static const struct {
    void (*change)(dt_dataset *d);
    const char *parts[3];
} other_data[] = {
    { rename_data, { "on the dataset synthetic, here it is other", "resume with the dataset it started with", NULL } },
    { change_files, { "here they are 0123456789abcdef; resume with the files it started with", "--data", NULL } },
    { change_mean, { "data.mean[1] = 0.5, here it is 0.75; resume", NULL } },
    { change_std, { "data.std[2] = 0.25, here it is 0.125; resume", NULL } },
};

Test(origin, resume_on_other_data_is_refused_with_both_values)
{
    const setup s = default_setup();
    run r = trained_run();

    for (size_t i = 0; i < sizeof other_data / sizeof other_data[0]; i++) {
        dt_dataset *d = open_data((dt_dataset_options){ .limit = N_IMAGES, .seed = 1 });
        dt_trainer *t;
        dt_model *m;

        other_data[i].change(d);
        MUST(dt_model_create(r.ctx, &s.model, &m));
        MUST(dt_trainer_create(m, d, &s.train, &t));
        cr_assert(eq(int, (int)dt_checkpoint_resume(t, temp_path("a.safetensors")), (int)DT_ERR_ARGUMENT));
        for (const char *const *part = other_data[i].parts; *part; part++) expect_message("resume", *part);
        cr_assert(eq(i64, dt_trainer_steps_done(t), 0));
        dt_trainer_destroy(t);
        dt_model_destroy(m);
        dt_dataset_close(d);
    }
    close_run(&r);
}

/* ---- programs ---- */

static void expect_same_table(const dt_program *a, const dt_program *b)
{
    const dt_graph_node *ta = &a->graph->node[0], *tb = &b->graph->node[0];
    const size_t bytes = 256 * (size_t)dt_program_image(a).channels * sizeof(int16_t);

    cr_assert(
        eq(int, memcmp(dt_program_data(a, ta, DT_TABLE_CODES), dt_program_data(b, tb, DT_TABLE_CODES), bytes), 0));
    cr_assert(eq(flt, dt_program_scale(a, ta->out), dt_program_scale(b, tb->out)));
}

Test(origin, a_program_is_lowered_without_images_and_keeps_it_in_its_file)
{
    run r = trained_run();
    dt_program *alone, *with, *again;
    dt_dataset *other = open_other();
    dt_program_info info;
    dt_model *m;

    MUST(dt_program_lower(r.model, NULL, &alone));
    MUST(dt_program_lower(r.model, other, &with));
    expect_same_table(alone, with);
    MUST(dt_program_save(alone, temp_path("p.safetensors")));
    MUST(dt_program_load(temp_path("p.safetensors"), &again));
    expect_same_table(alone, again);
    dt_program_describe(again, &info);
    expect_origin("loaded", &info.origin, dt_model_get_origin(r.model));
    MUST(dt_program_model(r.ctx, again, NULL, &m));
    expect_origin("its model", dt_model_get_origin(m), dt_model_get_origin(r.model));
    write_edited("p.safetensors", "old.safetensors", &without);
    dt_program_destroy(again);
    MUST(dt_program_load(temp_path("old.safetensors"), &again));
    cr_assert(eq(str, (char *)again->origin.name, ""));
    dt_model_destroy(m);
    dt_program_destroy(again);
    dt_program_destroy(with);
    dt_program_destroy(alone);
    dt_dataset_close(other);
    close_run(&r);
}

Test(origin, without_it_a_program_takes_the_datasets_or_is_refused)
{
    run r = trained_run();
    dt_dataset *other = open_other();
    dt_program *p = NULL;
    dt_model *m;

    write_edited("a.safetensors", "old.safetensors", &without);
    MUST(dt_checkpoint_open(r.ctx, temp_path("old.safetensors"), &m));
    cr_assert(eq(int, (int)dt_program_lower(m, NULL, &p), (int)DT_ERR_ARGUMENT));
    cr_assert(eq(ptr, p, NULL));
    expect_message("no dataset", "nothing says what the network was trained on; its program needs a dataset");
    MUST(dt_program_lower(m, other, &p));
    const dt_data_origin expected = { .name = "other", .mean = { 0.1f, 0.2f, 0.3f }, .std = { 0.5f, 0.5f, 0.5f } };
    dt_data_origin normalisation = p->origin;
    for (int c = 0; c < 3; c++) cr_assert(epsilon_eq(flt, normalisation.mean[c], expected.mean[c], 1e-6f));
    memcpy(normalisation.mean, expected.mean, sizeof normalisation.mean); /* 0.1f * 3 is not 0.3f */
    expect_origin("of the dataset", &normalisation, &expected);
    dt_program_destroy(p);
    dt_model_destroy(m);
    dt_dataset_close(other);
    close_run(&r);
}

Test(origin, the_c_names_it)
{
    run r = trained_run();
    dt_program *p;
    size_t bytes;

    MUST(dt_program_lower(r.model, NULL, &p));
    MUST(dt_program_write_c(p, temp_folder, "net"));
    char *text = (char *)read_file("net.c", &bytes);
    cr_assert(memmem(text, bytes, "as those of synthetic, files ", 29) != NULL);
    cr_assert(memmem(text, bytes, p->origin.fingerprint, DT_FINGERPRINT_BYTES - 1) != NULL);
    cr_assert(memmem(text, bytes, "mean 0.5 0.5 0.5, std 0.25 0.25 0.25.", 37) != NULL);
    free(text);
    dt_program_destroy(p);
    close_run(&r);
}

/* An origin of many channels has as many numbers in its file, and comes back with equal bits. */
Test(origin, many_channels_are_kept)
{
    dt_data_origin o = { .name = "many", .is_real = 1 }, back;
    cJSON *object = cJSON_CreateObject();

    for (int c = 0; c < DT_MOST_CHANNELS; c++) o.mean[c] = 1.0f / (float)(c + 3), o.std[c] = 0.1f + (float)c;
    MUST(dt_origin_to_json(&o, object));
    cr_assert(eq(int, cJSON_GetArraySize(cJSON_GetObjectItem(object, "std")), DT_MOST_CHANNELS));
    MUST(dt_origin_from_json(object, "many.json", &back));
    expect_origin("of 64 channels", &back, &o);
    cJSON_Delete(object);
    for (int c = 12; c < DT_MOST_CHANNELS; c++) o.mean[c] = o.std[c] = 0.0f;
    object = cJSON_CreateObject();
    MUST(dt_origin_to_json(&o, object));
    cr_assert(eq(int, cJSON_GetArraySize(cJSON_GetObjectItem(object, "mean")), 12), "numbers of channels alone");
    MUST(dt_origin_from_json(object, "many.json", &back));
    expect_origin("of 12 channels", &back, &o);
    cJSON_Delete(object);
}
