/*
 * test_fixed_file.c - quantized capsule networks as files: saved and opened with equal bits, and damaged in every
 * field.
 *
 * Damages are made in the JSON of a good file; that the JSON library and the safetensors writer are right is
 * test_safetensors.c's.
 */
#include "../support/fixed_run.h"

#include "../../core/train/model.h"
#include "../../formats/safetensors.h"

enum { TEXT_BYTES = 65536 };

TestSuite(fixed_file, .init = temp_make, .fini = temp_remove, .timeout = 600);

static void *read_whole(const char *name, size_t *bytes)
{
    FILE *file = fopen(temp_path(name), "rb");

    cr_assert(file != NULL, "%s", name);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    void *all = malloc(*bytes);
    cr_assert(fread(all, 1, *bytes, file) == *bytes);
    fclose(file);
    return all;
}

static void expect_same_params(const dt_model *a, const dt_model *b)
{
    cr_assert(eq(int, dt_model_n_params(a), dt_model_n_params(b)));
    for (int i = 0; i < dt_model_n_params(a); i++) {
        int64_t n, n_b;
        float *x = host_param(a, i, &n), *y = host_param(b, i, &n_b);
        cr_assert(n == n_b && memcmp(x, y, (size_t)n * sizeof *x) == 0, "%s", a->param[i]->name);
        free(x);
        free(y);
    }
}

static void expect_same_formats(const dt_model *a, const dt_model *b)
{
    dt_qcaps_formats f = { 0 }, g = { 0 };

    cr_assert(dt_qcaps_look(a, &f) && dt_qcaps_look(b, &g));
    cr_assert(memcmp(&f, &g, sizeof f) == 0);
    for (int i = 0; i < f.n_tensors; i++) {
        dt_qcaps_tensor t, u;
        dt_qcaps_look_at(a, i, &t);
        dt_qcaps_look_at(b, i, &u);
        cr_assert(strcmp(t.name, u.name) == 0 && t.layer == u.layer && t.is_weight == u.is_weight, "%s", t.name);
        cr_assert(t.bits == u.bits && t.scale == u.scale && t.step == u.step, "%s", t.name);
    }
}

static void expect_same_results(const fixture *f, dt_model *other)
{
    int32_t p[N_IMAGES], q[N_IMAGES];
    dt_metrics a, b;

    MUST(dt_evaluate(f->model, f->data, IMAGES_BATCH, 0.0f, NULL, &(dt_outputs){ .predictions = p }, &a));
    MUST(dt_evaluate(other, f->data, IMAGES_BATCH, 0.0f, NULL, &(dt_outputs){ .predictions = q }, &b));
    cr_assert(a.loss == b.loss && a.accuracy == b.accuracy, "loss %.17g and %.17g", a.loss, b.loss);
    cr_assert(memcmp(p, q, sizeof p) == 0);
}

static void expect_round_trip(dt_rounding rounding, int published)
{
    fixture f = open_fixture(rounding, published, &some_bits);
    size_t bytes, bytes_again;
    dt_model *m;

    f.model->origin = (dt_data_origin){ "mnist", 600, "0123456789abcdef", { 0 }, { 1, 1, 1 }, 0 };
    MUST(dt_model_save(f.model, temp_path("a.safetensors"), NULL));
    MUST(dt_checkpoint_open(f.ctx, temp_path("a.safetensors"), &m));
    const dt_data_origin *o = dt_model_get_origin(m);
    cr_assert(strcmp(o->name, "mnist") == 0 && o->n_images == 600 && o->std[2] == 1.0f && o->std[3] == 0.0f);
    cr_assert(strcmp(o->fingerprint, "0123456789abcdef") == 0);
    expect_same_params(f.model, m);
    expect_same_formats(f.model, m);
    expect_same_results(&f, m);
    MUST(dt_model_save(m, temp_path("b.safetensors"), NULL));
    void *file = read_whole("a.safetensors", &bytes), *again = read_whole("b.safetensors", &bytes_again);
    cr_assert(bytes == bytes_again && memcmp(file, again, bytes) == 0);
    free(file);
    free(again);
    dt_model_destroy(m);
    close_fixture(&f);
}

Test(fixed_file, nearest_comes_back)
{
    expect_round_trip(DT_ROUND_NEAREST, 0);
}

Test(fixed_file, stochastic_comes_back_with_its_draws)
{
    expect_round_trip(DT_ROUND_STOCHASTIC, 0);
}

Test(fixed_file, logarithmic_comes_back)
{
    expect_round_trip(DT_ROUND_LOGARITHMIC, 0);
}

Test(fixed_file, published_comes_back)
{
    expect_round_trip(DT_ROUND_TRUNCATION, 1);
}

Test(fixed_file, extra_and_parameters_are_there_for_others)
{
    fixture f = open_fixture(DT_ROUND_NEAREST, 0, &some_bits);
    const dt_model_config config = small_config();
    char format[64], *extra;
    dt_context *other = context_of_seed(6);
    dt_model *m;
    int n_loaded;

    MUST(dt_model_save(f.model, temp_path("a.safetensors"), "{\"accuracy\": 1}"));
    MUST(dt_file_format(temp_path("a.safetensors"), format, sizeof format));
    cr_assert(eq(str, format, "detent-quantized"));
    MUST(dt_checkpoint_extra(temp_path("a.safetensors"), &extra));
    cr_assert(eq(str, extra, "{\"accuracy\": 1}"));
    free(extra);
    MUST(dt_model_create(other, &config, &m));
    MUST(dt_checkpoint_load_partial(m, temp_path("a.safetensors"), NULL, NULL, &n_loaded));
    cr_assert(eq(int, n_loaded, dt_model_n_params(m)));
    expect_same_params(f.model, m);
    dt_model_destroy(m);
    dt_context_destroy(other);
    close_fixture(&f);
}

Test(fixed_file, a_trained_model_is_opened_too)
{
    tiny_options o = tiny_defaults();
    tiny_run r;
    dt_model *m, *none = NULL;

    cr_assert(tiny_open(&r, &o));
    tiny_steps(&r, 2);
    MUST(dt_checkpoint_save(r.trainer, temp_path("run.safetensors"), NULL));
    MUST(dt_checkpoint_open(r.ctx, temp_path("run.safetensors"), &m));
    expect_same_params(r.model, m);
    dt_model_destroy(m);
    MUST(dt_model_save(r.model, temp_path("alone.safetensors"), NULL)); /* a checkpoint without a run */
    cr_assert(eq(int, dt_checkpoint_has_run(temp_path("alone.safetensors")), 0));
    cr_assert(eq(int, dt_checkpoint_has_run(temp_path("run.safetensors")), 1));
    MUST(dt_checkpoint_open(r.ctx, temp_path("alone.safetensors"), &m));
    expect_same_params(r.model, m);
    dt_model_destroy(m);
    cr_assert(eq(int, (int)dt_model_save_codes(r.model, temp_path("x")), DT_ERR_UNSUPPORTED));
    cr_assert(eq(int, (int)dt_checkpoint_open(r.ctx, temp_path("none.safetensors"), &none), DT_ERR_IO));
    cr_assert(eq(ptr, none, NULL));
    tiny_close(&r);
}

/* ---- damaged files ---- */

/* In the text under `key`, `from` becomes `to`; part: of the message. from NULL: the whole text becomes to; to NULL
 * too: the key is left out. */
typedef struct {
    const char *why, *key, *from, *to, *part;
} edit;

#define TIMES_20(text) \
    text text text text text text text text text text text text text text text text text text text text

static const edit edits[] = {
    { "no format", "format", NULL, NULL, "has tensors but no settings of a network" },
    { "a program", "format", NULL, "detent-program", "expected 'detent-checkpoint' or 'detent-quantized'; a program" },
    { "codes", "format", NULL, "detent-fixed-point", "expected 'detent-checkpoint' or 'detent-quantized'" },
    { "a run's", "format", NULL, "detent-checkpoint", "" },
    { "of the future", "version", NULL, "3",
      "version is 3, and this detent reads versions up to 2; a newer detent reads it" },
    { "no version", "version", NULL, NULL, "has no metadata 'version'" },
    { "version 0", "version", NULL, "0", "version is '0', expected a whole number from 1 on" },
    { "no graph", "graph", NULL, NULL, "has no metadata 'graph'" },
    { "no JSON", "graph", NULL, "{", "metadata 'graph' is not JSON" },
    { "a list", "graph", NULL, "[]", "format is '', expected 'detent-network'" },
    { "an unknown operator", "graph", "\"relu\"", "\"rely\"", "there is no operator 'rely'" },
    { "no capsules", "graph", "\"capsules\":\"digit\"", "\"loss\":\"margin\"", "shallowcaps has no capsules" },
    { "more routing", "graph", "\"iterations\":3", "\"iterations\":4", "digit.c4 has no fixed-point format" },
    { "no formats", "formats", NULL, NULL, "has no metadata 'formats'" },
    { "no JSON", "formats", NULL, "nothing", "metadata 'formats' is not JSON" },
    { "a number", "formats", NULL, "1", "formats is not a JSON object" },
    { "an unknown rounding", "formats", "round_to_nearest", "nearest", "rounding is \"nearest\", expected one of" },
    { "published twice", "formats", "\"published\":0", "\"published\":2", "published is 2" },
    { "no bits", "formats", "\"weight\":[6,5,4,0,0,0,0,0],", "", "formats: weight is missing" },
    { "bits of seven layers", "formats", "[6,5,4,0,0,0,0,0]", "[6,5,4,0,0,0,0]", "weight is [6,5,4,0,0,0,0]" },
    { "too many bits", "formats", "[6,5,4,", "[33,5,4,", "weight is [33,5,4,0,0,0,0,0], expected a list of whole" },
    { "less than no bits", "formats", "[0,7,6,", "[-1,7,6,", "routing is [-1,7,6" },
    { "half a bit", "formats", "[9,8,7,", "[9,8.5,7,", "activation is [9,8.5,7" },
    { "no bits for what is rounded", "formats", "[6,5,4,", "[6,0,4,",
      "'primary.conv3d.weight', of layer 1, has 0 bits" },
    { "no bits for routing", "formats", "[0,7,6,", "[0,7,0,", "'digit.s1', of layer 2, has 0 bits, expected 1..32" },
    { "an unknown field", "formats", "\"published\":0", "\"published\":0,\"a\":1", "formats: a is not a field" },
    { "a field twice", "formats", "\"published\":0", "\"published\":0,\"published\":0", "stands there twice" },
    { "tensors are no list", "formats", "\"tensors\":[", "\"tensors\":3,\"b\":[", "formats: b is not a field" },
    { "no tensor", "formats", NULL,
      "{\"rounding\":\"stochastic\",\"published\":0,\"weight\":[1,1,1,1,1,1,1,1],\"activation\":[1,1,1,1,1,1,1,1],"
      "\"routing\":[1,1,1,1,1,1,1,1],\"tensors\":[]}",
      "formats of 0 tensors, expected 1..1024" },
    { "a tensor that is none", "formats", "\"tensors\":[", "\"tensors\":[7,", "tensor 0 '' is not a JSON object" },
    { "no name", "formats", "\"name\":\"image\",", "", "tensor 0 '': name is missing" },
    { "another name", "formats", "\"image\"", "\"imago\"", "image has no fixed-point format" },
    { "a name of 320 bytes", "formats", "\"image\"", "\"" TIMES_20("imageimageimagei") "\"", "name is \"imageimage" },
    { "a layer too many", "formats", "\"conv.conv.weight\",\"layer\":0", "\"conv.conv.weight\",\"layer\":8",
      "'conv.conv.weight': layer is 8, expected a whole number of 0..7" },
    { "another layer", "formats", "\"conv.conv.weight\",\"layer\":0", "\"conv.conv.weight\",\"layer\":1",
      "conv.conv.weight is of layer 0" },
    { "an unknown kind", "formats", "\"routing\",\"scale\"", "\"bias\",\"scale\"", "kind is \"bias\"" },
    { "another kind", "formats", "\"kind\":\"routing\"", "\"kind\":\"inner\"", "primary.s1 is of layer 1 and kind 3" },
    { "no scale", "formats", "\"scale\":", "\"scala\":", "scala is not a field" },
    { "a scale of 0", "formats", "\"scale\":0.", "\"scale\":1e-99", "'image': scale is 0, expected a number of" },
    { "a negative scale", "formats", "\"scale\":", "\"scale\":-", "'image': scale is -" },
    { "an infinite scale", "formats", "\"scale\":0.", "\"scale\":9e99", "'image': scale is" },
    { "a scale of words", "formats", "\"scale\":", "\"scale\":\"1\",\"x\":", "x is not a field" },
    { "a tensor twice", "formats", "\"name\":\"conv.conv.weight\"", "\"name\":\"image\"",
      "'image' stands there twice" },
    { "a tensor that is not there", "formats", "\"digit.votes\"", "\"digit.voters\"",
      "digit.votes has no fixed-point" },
    { "weights that the network has not", "formats", "\"tensors\":[",
      "\"tensors\":[{\"name\":\"more\",\"layer\":0,\"kind\":\"weight\",\"scale\":1},",
      "has a format for the weights 'more', which shallowcaps does not have" },
    { "no parameters", "version", NULL, "2", "has no tensor 'conv.conv.weight', which the model needs" },
};

/* text with the first `from` replaced */
static void replace(const char *why, const char *text, const char *from, const char *to, char out[TEXT_BYTES])
{
    const char *at = from ? strstr(text, from) : text;

    cr_assert(at != NULL, "%s: no %s in %s", why, from, text);
    const int used = snprintf(out, TEXT_BYTES, "%.*s%s%s", (int)(at - text), text, to, from ? at + strlen(from) : "");
    cr_assert(used < TEXT_BYTES);
}

/* The metadata of good.safetensors with the edit, and no tensors. */
static void write_edited(const edit *e)
{
    static const char *const keys[] = { "format", "version", "graph", "formats" };
    static char text[TEXT_BYTES];
    dt_safetensors_writer *w;
    dt_safetensors *f;

    MUST(dt_safetensors_open(temp_path("good.safetensors"), &f));
    MUST(dt_safetensors_writer_create(&w));
    for (int i = 0; i < 4; i++) {
        const char *good = dt_safetensors_metadata(f, keys[i]);
        const int edited = strcmp(keys[i], e->key) == 0;
        if (edited && !e->to) continue;
        if (edited) replace(e->why, good, e->from, e->to, text);
        MUST(dt_safetensors_writer_metadata(w, keys[i], edited ? text : good));
    }
    MUST(dt_safetensors_writer_write(w, temp_path("bad.safetensors")));
    dt_safetensors_writer_destroy(w);
    dt_safetensors_close(f);
}

Test(fixed_file, damage_is_refused_by_name)
{
    fixture f = open_fixture(DT_ROUND_NEAREST, 0, &some_bits);
    dt_model *const untouched = f.model;

    MUST(dt_model_save(f.model, temp_path("good.safetensors"), NULL));
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        dt_model *m = untouched;
        write_edited(&edits[i]);
        const dt_status s = dt_checkpoint_open(f.ctx, temp_path("bad.safetensors"), &m);
        cr_assert(s != DT_OK, "%s: opened", edits[i].why);
        cr_assert(m == untouched, "%s: out was written", edits[i].why);
        cr_assert(says(edits[i].part) && says("bad.safetensors: "), "%s: no '%s' in '%s'", edits[i].why, edits[i].part,
                  dt_last_error());
    }
    close_fixture(&f);
}

Test(fixed_file, a_file_cut_short_is_refused)
{
    fixture f = open_fixture(DT_ROUND_NEAREST, 0, &some_bits);
    size_t bytes;
    dt_model *m = NULL;

    MUST(dt_model_save(f.model, temp_path("good.safetensors"), NULL));
    uint8_t *file = read_whole("good.safetensors", &bytes);
    const size_t lengths[] = { 0, 7, 100, 4000, bytes / 2, bytes - 1 };
    for (int i = 0; i < 6; i++) {
        temp_write("cut.safetensors", file, lengths[i]);
        const dt_status s = dt_checkpoint_open(f.ctx, temp_path("cut.safetensors"), &m);
        cr_assert(s == DT_ERR_FORMAT && m == NULL, "%zu bytes: %s", lengths[i], dt_last_error());
        cr_assert(says("cut.safetensors: "), "%s", dt_last_error());
    }
    free(file);
    close_fixture(&f);
}
