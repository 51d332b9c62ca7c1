/*
 * test_program_v1.c - program files of version 1: they give what they gave to the build that wrote them, as files of
 *                     today they are read again, and damaged ones are refused.
 *
 * The files are golden/files/program_v1.safetensors, of a trained network, and two of the fuzzer's corpus, which have a
 * layer of every kind. golden/make_old_files.sh and make_program_v1_golden.sh say how they were made.
 */
#include "../support/program_damage.h"

#define GOLDEN      DETENT_TEST_GOLDEN "/files/program_v1.safetensors"
#define THRESHOLDS  DETENT_TEST_GOLDEN "/../fuzz/corpus/program/version-1-thresholds"
#define MULTIPLIERS DETENT_TEST_GOLDEN "/../fuzz/corpus/program/version-1-multipliers"

TestSuite(program_v1, .init = temp_make, .fini = temp_remove);

enum { SIDE = 32, PIXELS = SIDE * SIDE * 3, CLASSES = 10, IMAGES = 4 };

static dt_program *load(const char *path)
{
    dt_program *p = NULL;

    cr_assert(eq(int, dt_program_load(path, &p), DT_OK), "%s", dt_last_error());
    return p;
}

static void expect_golden_scores(const dt_program *p)
{
    FILE *file = fopen(DETENT_TEST_GOLDEN "/program_v1_scores.txt", "r");

    cr_assert(ne(ptr, file, NULL));
    for (int n = 0; n < IMAGES; n++) {
        uint8_t image[PIXELS];
        float scores[CLASSES];
        for (int i = 0; i < PIXELS; i++) image[i] = (uint8_t)(i / (n + 1) * (2 * n + 1) + 50 * n);
        cr_assert(eq(int, dt_program_run(p, image, scores), DT_OK));
        for (int o = 0; o < CLASSES; o++) {
            double wanted = NAN;
            cr_assert(eq(int, fscanf(file, "%la", &wanted), 1));
            cr_assert(wanted == (double)scores[o], "image %d, score %d is %a, expected %a", n, o, (double)scores[o],
                      wanted);
        }
    }
    fclose(file);
}

Test(program_v1, gives_the_scores_that_it_gave)
{
    dt_program *p = load(GOLDEN);
    dt_program_info info;

    expect_golden_scores(p);
    dt_program_describe(p, &info);
    cr_assert(info.height == SIDE && info.n_classes == CLASSES && info.n_layers == 11);
    cr_assert(eq(str, info.origin.name, "synthetic"));
    dt_program_destroy(p);
}

Test(program_v1, is_saved_as_a_file_of_today)
{
    static const char *const paths[] = { GOLDEN, THRESHOLDS, MULTIPLIERS };
    dt_safetensors *f;

    for (int i = 0; i < 3; i++) {
        dt_program *p = load(paths[i]);
        cr_assert(eq(int, dt_program_save(p, temp_path("new.safetensors")), DT_OK), "%s", dt_last_error());
        dt_program_destroy(p);
        p = load(temp_path("new.safetensors"));
        cr_assert(eq(int, dt_safetensors_open(temp_path("new.safetensors"), &f), DT_OK));
        cr_assert(eq(str, (char *)dt_safetensors_metadata(f, "version"), "2"));
        dt_safetensors_close(f);
        if (i == 0) expect_golden_scores(p);
        dt_program_destroy(p);
    }
}

static dt_safetensors *open_good(const char *path)
{
    dt_safetensors *f = NULL;

    cr_assert(eq(int, dt_safetensors_open(path, &f), DT_OK), "%s", dt_last_error());
    return f;
}

/* ---- damages ---- */

/* What one test changes in a good file. */
typedef struct {
    const char *why;
    int layer;         /* whose field; -1: the program's */
    const char *field; /* NULL: none */
    const char *value; /* JSON; NULL: the field is left out */
    const char *parts[3];
} field_damage;

/* The program's JSON in a good file; for cJSON_Delete. */
static cJSON *read_json(const dt_safetensors *f)
{
    cJSON *json = cJSON_Parse(dt_safetensors_metadata(f, "program"));

    cr_assert(ne(ptr, json, NULL));
    return json;
}

/* Copies the good file with other metadata; skip: a tensor that is left out; extra: one that is added. */
static void write_v1(const dt_safetensors *f, const char *format, const char *version, const char *json,
                     const char *skip, const char *extra)
{
    dt_safetensors_writer *w;
    void *data[128];
    const int n = dt_safetensors_count(f);
    const int64_t one = 1;

    cr_assert(n <= 128);
    cr_assert(eq(int, dt_safetensors_writer_create(&w), DT_OK));
    if (format) cr_assert(eq(int, dt_safetensors_writer_metadata(w, "format", format), DT_OK));
    if (version) cr_assert(eq(int, dt_safetensors_writer_metadata(w, "version", version), DT_OK));
    if (json) cr_assert(eq(int, dt_safetensors_writer_metadata(w, "program", json), DT_OK));
    for (int i = 0; i < n; i++) {
        const dt_safetensors_tensor *t = dt_safetensors_at(f, i);
        data[i] = malloc((size_t)(t->end - t->begin) + 1);
        cr_assert(eq(int, dt_safetensors_read(f, t, data[i]), DT_OK));
        if (skip && strcmp(t->name, skip) == 0) continue;
        cr_assert(eq(int, dt_safetensors_writer_add(w, t->name, t->type, t->ndim, t->dim, data[i]), DT_OK));
    }
    if (extra) cr_assert(eq(int, dt_safetensors_writer_add(w, extra, DT_SAFETENSORS_U8, 1, &one, "x"), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_write(w, temp_path("bad.safetensors")), DT_OK), "%s", dt_last_error());
    dt_safetensors_writer_destroy(w);
    for (int i = 0; i < n; i++) free(data[i]);
}

/* Layers of program_case.h: 0 conv, 1 threshold, 2 maxpool, 4 affine, 6 quantize, 9 add, 16 avgpool, 17 linear. */
static const field_damage field_damages[] = {
    { "no model", -1, "model", NULL, { "program: model is missing" } },
    { "a model of 64 bytes",
      -1,
      "model",
      "\"0123456789012345678901234567890123456789012345678901234567890123\"",
      { "model is", "up to 63 printable" } },
    { "a control character", -1, "model", "\"a\\u0007\"", { "model is", "printable ASCII" } },
    { "a word for a number", -1, "height", "\"9\"", { "height is \"9\"", "a whole number of 1..65536" } },
    { "half a pixel", -1, "width", "7.5", { "width is 7.5", "a whole number" } },
    { "five channels", -1, "channels", "5", { "channels is 5", "1..4" } },
    { "another height", -1, "height", "8", { "features.0", "height is 9", "8" } },
    { "a table of other channels", -1, "channels", "1", { "'image.table' is I16 [256][3], expected I16 [256][1]" } },
    { "a range without the table's codes", -1, "high", "3", { "4", "-4..3" } },
    { "no scale", -1, "scale", "0", { "scale is 0", "1e-30" } },
    { "an endless scale", -1, "scale", "1e999", { "scale is" } },
    { "a field too many", -1, "color", "1", { "program: color is not a field" } },
    { "layers are no list", -1, "layers", "{}", { "program: layers is not a list" } },
    { "no layers", -1, "layers", "[]", { "0 layers, expected 1..4096" } },
    { "a layer that is no object", -1, "layers", "[3]", { "layer 0 '' is not a JSON object" } },

    { "a kind of tomorrow", 0, "kind", "\"softmax\"", { "layer 0 'features.0': kind is \"softmax\"", "one of conv" } },
    { "a kind that has other fields", 0, "kind", "\"relu\"", { ": window_height does not belong there" } },
    { "values of another kind", 1, "value", "\"real\"", { ": low does not belong there" } },
    { "no kind", 3, "kind", NULL, { "layer 3 'features.3': kind is missing" } },
    { "no name", 3, "name", NULL, { "layer 3 '': name is missing" } },
    { "another name", 3, "name", "\"features.x\"", { "tensor 'features.x.weight' is missing" } },
    { "a name twice",
      3,
      "name",
      "\"features.0\"",
      { "'features.0.weight' is I8 [5][3][3][3], expected I8 [9][3][3][5]" } },
    { "itself", 3, "in", "[3]", { "layer 3 'features.3': in is 3", "-1..2" } },
    { "before the image", 0, "in", "[-2]", { "in is -2", "-1..-1" } },
    { "two inputs", 3, "in", "[2,2]", { "in has 2 layers, expected 1" } },
    { "one addend", 9, "in", "[5]", { "in has 1 layers, expected 2" } },
    { "no inputs", 3, "in", NULL, { "layer 3 'features.3': in is not a list" } },
    { "psums instead of codes", 3, "in", "[0]", { "features." } },
    { "a filter more", 0, "channels", "6", { "'features.0.weight' is I8 [5][3][3][3], expected I8 [6][3][3][3]" } },
    { "a window that is not there", 0, "window_height", NULL, { "window_height is missing" } },
    { "another window", 0, "window_width", "2", { "expected I8 [5][3][2][3]" } },
    { "no stride", 0, "stride", "0", { "stride is 0", "1..65536" } },
    { "another stride", 0, "stride", "2", { "features.0", "height is 9, expected 5" } },
    { "another pad", 0, "pad", "0", { "features.0", "height is 9, expected 7" } },
    { "weights beyond their bits", 0, "weight_bound", "3", { "features.0", "-756, expected -324" } },
    { "psums that the codes do not allow", 0, "high", "755", { "high is 755, expected 756" } },
    { "not a number of 32 bits", 0, "high", "2147483648", { "high is 2147483648" } },
    { "scales of some filters",
      3,
      "n_weight_scale",
      "2",
      { "'features.3.weight_scale' is F32 [9], expected F32 [2]" } },
    { "a step too few", 1, "high", "2", { "'features.3.threshold' is I32 [3][5], expected I32 [2][5]" } },
    { "no codes at all", 1, "high", "-2147483647", { "'features.3.threshold'", "expected I32 [-2147483647][5]" } },
    { "a multiplier that is not there", 1, "requant_bits", "12", { "'features.3.requant.multiplier' is missing" } },
    { "a pool that adds codes", 2, "high", "4", { "features.2", "high is 4, expected 3" } },
    { "a pool of another scale", 2, "scale", "0.5", { "features.2", "scale is 0.5, expected 0.37" } },
    { "a pool with a pad", 2, "pad", "1", { ": pad does not belong there" } },
    { "a rule of tomorrow", 6, "rule", "\"nf4\"", { "rule is \"nf4\"", "one of ece284" } },
    { "bits that are not the codes'", 6, "bits", "5", { "features.6", "high is 15, expected 31" } },
    { "a clip that is not the scale's", 6, "alpha", "2", { "features.6", "scale is" } },
    { "no clip", 6, "alpha", "-1", { "alpha is -1" } },
    { "scores in two places", 17, "height", "2", { "classifier", "height is 2, expected 1" } },
    { "a class more", 17, "channels", "6", { "'classifier.matrix' is F32 [5][16], expected F32 [6][16]" } },
};

static void damage_field(const dt_safetensors *f, const field_damage *d)
{
    cJSON *json = read_json(f);
    cJSON *layers = cJSON_GetObjectItemCaseSensitive(json, "layers");
    cJSON *object = d->layer < 0 ? json : cJSON_GetArrayItem(layers, d->layer);

    cJSON_DeleteItemFromObjectCaseSensitive(object, d->field);
    if (d->value) cJSON_AddItemToObject(object, d->field, cJSON_CreateRaw(d->value));
    char *text = cJSON_PrintUnformatted(json);
    write_v1(f, "detent-program", "1", text, NULL, NULL);
    expect_load_refused(d->why, d->parts, 3);
    cJSON_free(text);
    cJSON_Delete(json);
}

Test(program_v1, refuses_every_damaged_field)
{
    dt_safetensors *f;

    f = open_good(THRESHOLDS);
    for (size_t i = 0; i < sizeof field_damages / sizeof field_damages[0]; i++) damage_field(f, &field_damages[i]);
    dt_safetensors_close(f);
}

/* Every field of every layer, left out and repeated. */
Test(program_v1, refuses_fields_that_are_missing_or_repeated)
{
    dt_safetensors *f;

    f = open_good(MULTIPLIERS);
    cJSON *good = read_json(f);
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(good, "layers"), *layer, *item;
    int i = 0;
    cJSON_ArrayForEach(layer, layers)
    {
        cJSON_ArrayForEach(item, layer)
        {
            const field_damage gone = { item->string, i, item->string, NULL, { item->string } };
            cJSON *twice = cJSON_Duplicate(good, 1);
            cJSON *object = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(twice, "layers"), i);
            const char *const parts[] = { item->string, "stands there twice" };

            damage_field(f, &gone);
            cJSON_AddItemToObject(object, item->string, cJSON_Duplicate(item, 1));
            char *text = cJSON_PrintUnformatted(twice);
            write_v1(f, "detent-program", "1", text, NULL, NULL);
            expect_load_refused("a field twice", parts, 2);
            cJSON_free(text);
            cJSON_Delete(twice);
        }
        i++;
    }
    cJSON_Delete(good);
    dt_safetensors_close(f);
}

Test(program_v1, refuses_other_formats_and_tensors)
{
    dt_safetensors *f;

    f = open_good(MULTIPLIERS);
    const char *json = dt_safetensors_metadata(f, "program");

    write_v1(f, NULL, "1", json, NULL, NULL);
    expect_load_refused("no format", (const char *[]){ "no metadata 'format'" }, 1);
    write_v1(f, "detent-checkpoint", "1", json, NULL, NULL);
    expect_load_refused("a checkpoint", (const char *[]){ "'detent-checkpoint', expected 'detent-program'" }, 1);
    write_v1(f, "detent-program", "1", NULL, NULL, NULL);
    expect_load_refused("no program", (const char *[]){ "no metadata 'program'" }, 1);
    write_v1(f, "detent-program", "1", "{\"model\":", NULL, NULL);
    expect_load_refused("half a program", (const char *[]){ "metadata 'program' is not JSON" }, 1);
    write_v1(f, "detent-program", "1", "[]", NULL, NULL);
    expect_load_refused("a list", (const char *[]){ "program is not a JSON object" }, 1);
    write_v1(f, "detent-program", "1", json, NULL, "features.0.bias");
    expect_load_refused("a tensor too many", (const char *[]){ "'features.0.bias' belongs to no layer" }, 1);
    for (int i = 0; i < dt_safetensors_count(f); i++) {
        const char *name = dt_safetensors_at(f, i)->name;
        write_v1(f, "detent-program", "1", json, name, NULL);
        expect_load_refused(name, (const char *[]){ name, "is missing" }, 2);
    }
    dt_safetensors_close(f);
}

/* One element of a tensor, written over where it lies in the file. */
typedef struct {
    const char *why, *tensor;
    int64_t element;
    const void *bytes;
    size_t n_bytes;
    const char *parts[2];
} data_damage;

static const data_damage data_damages[] = {
    { "a code beyond the range", "image.table", 9, &(int16_t){ 5 }, 2, { "image", "5" } },
    { "a weight beyond its bits", "features.0.weight", 26, &(int8_t){ 8 }, 1, { "features.0", "weight is 8" } },
    { "an even bound with a plus", "features.3.weight", 0, &(int8_t){ 8 }, 1, { "weight is 8", "-8..7" } },
    { "a scale of 0", "features.0.weight_scale", 0, &(float){ 0 }, 4, { "weight_scale[0] is 0" } },
    { "a sign of 0", "features.3.sign", 1, &(int8_t){ 0 }, 1, { "sign is 0" } },
    { "steps that descend",
      "features.3.threshold",
      5,
      &(int32_t){ -2147483647 - 1 },
      4,
      { "features.3", "threshold" } },
    { "a step beyond the psums", "features.3.threshold", 10, &(int32_t){ 757 }, 4, { "threshold is 757" } },
    { "a line that is none", "features.3.line.slope", 0, &(float){ NAN }, 4, { "slope[0] is nan" } },
    { "a multiplier of more bits", "features.3.requant.multiplier", 0, &(int32_t){ 2048 }, 4, { "2048" } },
    { "a multiplier that steps elsewhere", "features.3.requant.offset", 0, &(int64_t){ 1 << 20 }, 8, { "features.3" } },
    { "a shift of 63", "features.12.requant.shift", 2, &(int32_t){ 63 }, 4, { "shift is 63" } },
    { "an endless slope", "features.4.slope", 8, &(float){ INFINITY }, 4, { "features.4", "slope[8] is inf" } },
    { "an offset that is none", "features.7.offset", 3, &(float){ NAN }, 4, { "offset[3] is nan" } },
    { "a matrix of NaN", "classifier.matrix", 79, &(float){ NAN }, 4, { "classifier", "matrix[79] is nan" } },
    { "a bias of infinity", "classifier.bias", 4, &(float){ -INFINITY }, 4, { "bias[4] is -inf" } },
};

Test(program_v1, refuses_damaged_arrays)
{
    size_t bytes;
    dt_safetensors *f;

    f = open_good(MULTIPLIERS);
    char *text = read_whole(MULTIPLIERS, &bytes);
    uint64_t header = 0;
    memcpy(&header, text, sizeof header);
    for (size_t i = 0; i < sizeof data_damages / sizeof data_damages[0]; i++) {
        const data_damage *d = &data_damages[i];
        const dt_safetensors_tensor *t = dt_safetensors_find(f, d->tensor);
        char kept[8];

        cr_assert(t && d->element < t->count, "%s", d->tensor);
        char *at = text + 8 + header + t->begin + d->element * (int64_t)d->n_bytes;
        memcpy(kept, at, d->n_bytes);
        memcpy(at, d->bytes, d->n_bytes);
        temp_write("bad.safetensors", text, bytes);
        memcpy(at, kept, d->n_bytes);
        expect_load_refused(d->why, d->parts, 2);
    }
    free(text);
    dt_safetensors_close(f);
}

Test(program_v1, refuses_every_length_but_the_whole)
{
    size_t bytes;

    char *text = read_whole(THRESHOLDS, &bytes);
    for (size_t cut = 0; cut < bytes; cut += 1 + cut / 37) {
        temp_write("bad.safetensors", text, cut);
        expect_load_refused("cut short", NULL, 0);
    }
    temp_write("bad.safetensors", text, bytes - 1);
    expect_load_refused("a byte short", NULL, 0);
    free(text);
}
