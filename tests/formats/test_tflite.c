/*
 * test_tflite.c - TensorFlow Lite files: one of another writer; every operator written and read; truncation at every
 * length and damage of every byte; what is refused, and by which words. With DETENT_PTQ_ORACLE, a folder of converted
 * networks, its files are read, written, and read again.
 */
#include "../support/temp_files.h"

#include "../support/tflite_case.h"
#include "../support/tflite_same.h"

#include "../../formats/tflite/flatbuffer.h"

#include <glob.h>
#include <math.h>

TestSuite(tflite, .init = temp_make, .fini = temp_remove);

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

/* ---- helpers ---- */

static unsigned char *load(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file != NULL, "%s", path);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = malloc(*bytes);
    cr_assert(data && fread(data, 1, *bytes, file) == *bytes);
    fclose(file);
    return data;
}

static void expect_words(const char *why, dt_status got, dt_status expected, const char *part)
{
    cr_assert(eq(int, (int)got, (int)expected), "%s: %s", why, got == DT_OK ? "accepted" : dt_last_error());
    cr_assert(strstr(dt_last_error(), part) != NULL, "%s: no '%s' in '%s'", why, part, dt_last_error());
}

/* Writes m, and returns the file's bytes. */
static unsigned char *written(const dt_tflite *m, size_t *bytes)
{
    MUST(dt_tflite_write(m, temp_path("written.tflite")));
    return load(temp_path("written.tflite"), bytes);
}

/* ---- files ---- */

/* small.tflite is described in make_small_tflite.py, which wrote it with a library of its own. */
Test(tflite, a_file_of_another_writer)
{
    static const struct {
        const char *name;
        dt_tflite_type type;
        int dim[5], any_batch, n_scales;
        float scale;
        int zero;
    } expected[] = {
        { "image", DT_TFLITE_INT8, { 1, 3, 2, 1 }, 1, 1, 0.5f, -3 },
        { "filter", DT_TFLITE_INT8, { 2, 1, 1, 1 }, 0, 2, 0.25f, 0 },
        { "bias", DT_TFLITE_INT32, { 2 }, 0, 2, 0.125f, 0 },
        { "sums", DT_TFLITE_INT8, { 1, 2, 2, 2 }, 0, 1, 0.0625f, -128 },
        { "flat", DT_TFLITE_INT8, { 1, 8 }, 0, 1, 0.0625f, -128 },
        { "scores", DT_TFLITE_INT8, { 1, 8 }, 0, 1, 0.00390625f, -128 },
    };
    dt_tflite *m = NULL;

    MUST(dt_tflite_read(DETENT_TEST_GOLDEN "/small.tflite", &m));
    cr_assert(eq(int, m->n_tensors, 6));
    for (int i = 0; i < 6; i++) {
        const dt_tflite_tensor *t = &m->tensor[i];
        cr_assert(eq(str, t->name, (char *)expected[i].name));
        for (int k = 0; k < 5; k++) cr_assert(eq(int, k < t->n_dims ? t->dim[k] : 0, expected[i].dim[k]));
        cr_assert(t->type == expected[i].type && t->any_batch == expected[i].any_batch, "%s", t->name);
        cr_assert(t->n_scales == expected[i].n_scales && t->scale[0] == expected[i].scale, "%s", t->name);
        cr_assert(eq(int, t->zero[0], expected[i].zero), "%s", t->name);
        cr_assert(eq(int, t->data != NULL, i == 1 || i == 2), "%s", t->name);
    }
    cr_assert(eq(flt, m->tensor[1].scale[1], 0.125f));
    cr_assert(memcmp(m->tensor[1].data, (int8_t[]){ 127, -127 }, 2) == 0);
    cr_assert(memcmp(m->tensor[2].data, (int32_t[]){ 70000, -5 }, 8) == 0);
    const dt_tflite_operator *o = m->op;
    cr_assert(m->n_ops == 3 && o[0].code == DT_TFLITE_CONV_2D && o[1].code == DT_TFLITE_RESHAPE &&
              o[2].code == DT_TFLITE_SOFTMAX);
    cr_assert(o[0].version == 3 && o[0].n_in == 3 && o[0].in[0] == 0 && o[0].in[2] == 2 && o[0].out == 3);
    cr_assert(o[0].options.padding == DT_TFLITE_VALID && o[0].options.stride[0] == 2 && o[0].options.stride[1] == 1 &&
              o[0].options.dilation[0] == 1 && o[0].options.fused == DT_TFLITE_FUSED_RELU6);
    cr_assert(o[1].options.n_shape == 2 && o[1].options.shape[0] == 1 && o[1].options.shape[1] == 8);
    cr_assert(eq(flt, o[2].options.beta, 1.0f));
    cr_assert(m->n_in == 1 && m->in[0] == 0 && m->n_out == 1 && m->out[0] == 5);
    cr_assert(eq(str, m->description, (char *)"by another writer"));
    dt_tflite_destroy(m);
}

Test(tflite, every_operator_is_written_and_read)
{
    dt_tflite *m = tflite_case_all_ops(), *again = NULL;
    size_t first, second;
    unsigned char *a = written(m, &first);

    MUST(dt_tflite_read(temp_path("written.tflite"), &again));
    expect_equal("all operators", m, again);
    unsigned char *b = written(again, &second);
    cr_assert(first == second && memcmp(a, b, first) == 0, "equal descriptions give equal bytes");
    free(a);
    free(b);
    dt_tflite_destroy(m);
    dt_tflite_destroy(again);
    dt_tflite_destroy(NULL);
}

/* In what the writer makes, so that other readers may map it: strings end in a NUL, data are aligned. */
Test(tflite, data_lie_at_multiples_of_16)
{
    dt_tflite *m = tflite_case_begin("aligned");
    const int in = tflite_case_tensor(m, "in", DT_TFLITE_INT8, (int[]){ 16, 0 });
    const int out = tflite_case_tensor(m, "out", DT_TFLITE_INT8, (int[]){ 16, 0 });
    const int w = tflite_case_tensor(m, "w", DT_TFLITE_INT8, (int[]){ 16, 0 });
    size_t bytes;

    tflite_case_data(m, w, "0123456789abcdef");
    tflite_case_op(m, DT_TFLITE_ADD, 1, (int[]){ in, w }, 2, out);
    m->in[m->n_in++] = in;
    m->out[m->n_out++] = out;
    unsigned char *data = written(m, &bytes), *at = memmem(data, bytes, "0123456789abcdef", 16);
    cr_assert(at != NULL);
    cr_assert(eq(sz, (size_t)(at - data) % 16, 0));
    cr_assert(memmem(data, bytes, "\007\0\0\0aligned", 12) != NULL);
    free(data);
    dt_tflite_destroy(m);
}

/* ---- damage ---- */

/* A file that ends early, in memory of just that size. */
static void truncate_everywhere(const unsigned char *data, size_t bytes)
{
    dt_tflite *const untouched = (dt_tflite *)temp_folder;

    for (size_t n = 0; n < bytes; n++) {
        unsigned char *part = malloc(n + (n == 0));
        dt_tflite *m = untouched;
        memcpy(part, data, n);
        const dt_status s = dt_tflite_read_bytes("part", part, n, &m);
        cr_assert(eq(int, (int)s, (int)DT_ERR_FORMAT), "%zu of %zu bytes: %s", n, bytes,
                  s == DT_OK ? "read" : dt_last_error());
        cr_assert(eq(ptr, m, untouched));
        cr_assert(strncmp(dt_last_error(), "part: ", 6) == 0, "%s", dt_last_error());
        free(part);
    }
}

/* Each byte takes some other values, each of which is refused, or read and then written. */
static int damage_everywhere(const unsigned char *data, size_t bytes)
{
    static const unsigned char change[] = { 0x01, 0x04, 0x7f, 0x80, 0xff };
    unsigned char *copy = malloc(bytes);
    int n_read = 0;

    memcpy(copy, data, bytes);
    for (size_t i = 0; i < bytes; i++) {
        for (size_t k = 0; k < sizeof change; k++) {
            dt_tflite *m = NULL;
            copy[i] = data[i] ^ change[k];
            const dt_status s = dt_tflite_read_bytes("damaged", copy, bytes, &m);
            cr_assert(s == DT_OK || s == DT_ERR_FORMAT || s == DT_ERR_UNSUPPORTED, "byte %zu: %s", i, dt_last_error());
            n_read += s == DT_OK;
            if (s == DT_OK) MUST(dt_tflite_check(m, "damaged", DT_ERR_ARGUMENT));
            dt_tflite_destroy(m);
        }
        copy[i] = data[i];
    }
    free(copy);
    return n_read;
}

Test(tflite, a_truncated_file_is_refused)
{
    dt_tflite *m = tflite_case_all_ops();
    size_t bytes;
    unsigned char *data = written(m, &bytes);

    truncate_everywhere(data, bytes);
    free(data);
    dt_tflite_destroy(m);
    data = load(DETENT_TEST_GOLDEN "/small.tflite", &bytes);
    truncate_everywhere(data, bytes - 8); /* the last bytes are the end of a table that has its defaults there */
    free(data);
}

Test(tflite, damaged_bytes_are_refused_or_read)
{
    dt_tflite *m = tflite_case_all_ops();
    size_t bytes;
    unsigned char *data = written(m, &bytes);
    int n = damage_everywhere(data, bytes);

    cr_assert(n > 0 && n < (int)bytes * 5, "%d were read", n);
    free(data);
    dt_tflite_destroy(m);
    data = load(DETENT_TEST_GOLDEN "/small.tflite", &bytes);
    n = damage_everywhere(data, bytes);
    cr_assert(n > 0 && n < (int)bytes * 5, "%d were read", n);
    free(data);
}

/* 4,000 tensors, all of whose names are the same 4,000 characters: a file of 100 KB that stands for 16 MB. */
Test(tflite, a_small_file_cannot_stand_for_a_large_one)
{
    enum { N = 4000 };
    static const dt_flatbuffer_field version = { .slot = 0, .type = DT_FLATBUFFER_U32 };
    static const dt_flatbuffer_field graphs = { .slot = 2, .type = DT_FLATBUFFER_OFFSET };
    static const dt_flatbuffer_field buffers = { .slot = 4, .type = DT_FLATBUFFER_OFFSET };
    static const dt_flatbuffer_field tensors = { .slot = 0, .type = DT_FLATBUFFER_OFFSET };
    static const dt_flatbuffer_field name = { .slot = 3, .type = DT_FLATBUFFER_OFFSET };
    dt_flatbuffer_writer w = { 0 };
    dt_flatbuffer_member model[] = { { &version, 3, 0 }, { &graphs, 0, 0 }, { &buffers, 0, 0 } };
    dt_flatbuffer_member graph[] = { { &tensors, 0, 0 } };
    static size_t at[N];
    char *text = calloc(N + 1, 1);
    dt_tflite *m = NULL;

    memset(text, 'x', N);
    dt_flatbuffer_put_table(&w, dt_flatbuffer_begin(&w, "TFL3"), model, 3);
    dt_flatbuffer_put_table(&w, dt_flatbuffer_put_offsets(&w, model[1].at, 1), graph, 1);
    dt_flatbuffer_put_table(&w, dt_flatbuffer_put_offsets(&w, model[2].at, 1), NULL, 0);
    const size_t first = dt_flatbuffer_put_offsets(&w, graph[0].at, N);
    for (int i = 0; i < N; i++) {
        dt_flatbuffer_member tensor[] = { { &name, 0, 0 } };
        dt_flatbuffer_put_table(&w, first + 4 * (size_t)i, tensor, 1);
        at[i] = tensor[0].at;
    }
    dt_flatbuffer_put_string(&w, at[0], text);
    const size_t string = w.bytes - N - 1 - 4;
    for (int i = 1; i < N; i++) {
        const size_t distance = string - at[i];
        for (int k = 0; k < 4; k++) w.data[at[i] + (size_t)k] = (unsigned char)(distance >> (8 * k));
    }
    cr_assert(lt(sz, w.bytes, 150000));
    expect_words("shared names", dt_tflite_read_bytes("shared", w.data, w.bytes, &m), DT_ERR_FORMAT,
                 "name: the file refers to more than 16 times its");
    free(w.data);
    free(text);
}

/* ---- what is refused ---- */

/* One convolution, image -> scores. */
static dt_tflite *one_conv(void)
{
    dt_tflite *m = tflite_case_begin("one");
    const int image = tflite_case_tensor(m, "image", DT_TFLITE_INT8, (int[]){ TFLITE_CASE_FREE, 2, 2, 1, 0 });
    const int w = tflite_case_tensor(m, "w", DT_TFLITE_INT8, (int[]){ 2, 1, 1, 1, 0 });
    const int y = tflite_case_tensor(m, "y", DT_TFLITE_INT8, (int[]){ TFLITE_CASE_FREE, 2, 2, 2, 0 });

    tflite_case_scale(m, image, 1, 0, (float[]){ 0.5f }, (int32_t[]){ -1 });
    tflite_case_scale(m, w, 2, 0, (float[]){ 0.5f, 0.25f }, NULL);
    tflite_case_data(m, w, (int8_t[]){ 3, -3 });
    tflite_case_scale(m, y, 1, 0, (float[]){ 0.5f }, (int32_t[]){ 127 });
    dt_tflite_operator *o = tflite_case_op(m, DT_TFLITE_CONV_2D, 777, (int[]){ image, w, -1 }, 3, y);
    o->options.stride[1] = 65 + 256;
    o->options.stride[0] = o->options.dilation[0] = o->options.dilation[1] = 1;
    m->in[m->n_in++] = image;
    m->out[m->n_out++] = y;
    return m;
}

static void bad_index(dt_tflite *m)
{
    m->op[0].in[0] = 3;
}
static void bad_output(dt_tflite *m)
{
    m->out[0] = -1;
}
static void no_output(dt_tflite *m)
{
    m->n_out = 0;
}
static void missing_input(dt_tflite *m)
{
    m->op[0].in[1] = -1;
}
static void no_inputs(dt_tflite *m)
{
    m->op[0].n_in = 1;
}
static void itself(dt_tflite *m)
{
    m->op[0].in[0] = 2;
}
static void constant_made(dt_tflite *m)
{
    m->op[0].out = 1;
}
static void scales(dt_tflite *m)
{
    m->tensor[1].dim[0] = 1, m->tensor[1].dim[1] = 2;
}
static void infinite(dt_tflite *m)
{
    m->tensor[0].scale[0] = INFINITY;
}
static void nothing(dt_tflite *m)
{
    m->tensor[0].scale[0] = 0;
}
static void zero_point(dt_tflite *m)
{
    m->tensor[2].zero[0] = 128;
}
static void dimension(dt_tflite *m)
{
    m->tensor[0].dim[1] = 0;
}
static void elements(dt_tflite *m)
{
    m->tensor[0].dim[1] = m->tensor[0].dim[2] = 1 << 16;
}
static void data(dt_tflite *m)
{
    m->tensor[1].bytes = 1;
}
static void version(dt_tflite *m)
{
    m->op[0].version = 0;
}
static void axis(dt_tflite *m)
{
    m->tensor[1].axis = 4;
}

Test(tflite, a_description_that_breaks_a_rule_is_not_written)
{
    static const struct {
        const char *why;
        void (*damage)(dt_tflite *m);
        const char *words;
    } cases[] = {
        { "an input past the tensors", bad_index, "[0] is tensor 3, the file has tensors 0..2" },
        { "an output before them", bad_output, "outputs[0] is tensor -1, the file has tensors 0..2" },
        { "no output", no_output, "1 inputs and 0 outputs" },
        { "no filter", missing_input, "[1] is tensor -1" },
        { "too few inputs", no_inputs, "inputs: 1 of them, CONV_2D takes 2..3" },
        { "reads its own output", itself, "inputs[0] is tensor 2, which nothing makes before operator 0" },
        { "makes a constant", constant_made, "makes tensor 1, which is constant already" },
        { "scales that fit no dimension", scales, "2 scales for dimension 0, whose size is 1" },
        { "an infinite scale", infinite, "tensors[0].scale[0] is inf" },
        { "a scale of 0", nothing, "tensors[0].scale[0] is 0" },
        { "a zero point beyond the codes", zero_point, "zero_point[0] is 128, codes of INT8 are -128..127" },
        { "an empty dimension", dimension, "tensors[0].shape[1] is 0" },
        { "too many elements", elements, "more than 2147483647 elements" },
        { "data of another size", data, "1 bytes of data, 2 elements of INT8 have 2" },
        { "version 0", version, "version is 0" },
        { "an axis beyond the dimensions", axis, "quantized_dimension is 4, the tensor has 4 dimensions" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_tflite *m = one_conv();
        cases[i].damage(m);
        expect_words(cases[i].why, dt_tflite_write(m, temp_path("refused")), DT_ERR_ARGUMENT, cases[i].words);
        dt_tflite_destroy(m);
    }
}

/* Finds the bytes of `from` in the file, and puts those of `to` there. */
static void replace(unsigned char *data, size_t bytes, const void *from, const void *to, size_t n)
{
    unsigned char *at = memmem(data, bytes, from, n);

    cr_assert(at != NULL, "the file has no such bytes");
    memcpy(at, to, n);
}

Test(tflite, what_is_not_understood_is_named)
{
    /* fields of 4 bytes come first: of a code, version and code */
    static const struct {
        const char *why;
        unsigned char from[8], to[8];
        size_t n;
        dt_status status;
        const char *words;
    } cases[] = {
        { "an operator",
          { 9, 3, 0, 0, 3, 0, 0, 0 },
          { 9, 3, 0, 0, 117, 0, 0, 0 },
          8,
          DT_ERR_UNSUPPORTED,
          "HARD_SWISH (117)" },
        { "a custom operator",
          { 9, 3, 0, 0, 3, 0, 0, 0 },
          { 9, 3, 0, 0, 32, 0, 0, 0 },
          8,
          DT_ERR_UNSUPPORTED,
          "operators[0]: CUSTOM (32)" },
        { "a newer operator",
          { 9, 3, 0, 0, 3, 0, 0, 0 },
          { 9, 3, 0, 0, 3, 9, 0, 0 },
          8,
          DT_ERR_UNSUPPORTED,
          "a newer operator (2307)" },
        { "the schema's version",
          { 3, 0, 0, 0 },
          { 4, 0, 0, 0 },
          4,
          DT_ERR_FORMAT,
          "Model.version is 4, what is understood is 3..3" },
        { "the format", "TFL3", "TFL2", 4, DT_ERR_FORMAT, "no file of format TFL3" },
        { "a stride of 0",
          { 65, 1, 0, 0 },
          { 0 },
          4,
          DT_ERR_FORMAT,
          "operators[0].builtin_options.stride_w is 0, what is understood is 1..32767" },
    };
    dt_tflite *m = one_conv(), *out = NULL;
    size_t bytes;
    unsigned char *whole = written(m, &bytes), *copy = malloc(bytes);

    MUST(dt_tflite_read_bytes("whole", whole, bytes, &out));
    expect_equal("whole", m, out);
    dt_tflite_destroy(out);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memcpy(copy, whole, bytes);
        replace(copy, bytes, cases[i].from, cases[i].to, cases[i].n);
        expect_words(cases[i].why, dt_tflite_read_bytes("file", copy, bytes, &out), cases[i].status, cases[i].words);
    }
    m->op[0].code = (dt_tflite_code)117;
    expect_words("written", dt_tflite_write(m, temp_path("refused")), DT_ERR_UNSUPPORTED,
                 "HARD_SWISH is not understood");
    m->op[0].code = DT_TFLITE_CONV_2D;
    m->tensor[0].type = (dt_tflite_type)17;
    expect_words("written", dt_tflite_write(m, temp_path("refused")), DT_ERR_UNSUPPORTED, "INT4 is not understood");
    cr_assert(eq(int, (int)dt_tflite_read(temp_path("none"), &out), (int)DT_ERR_IO));
    free(whole);
    free(copy);
    dt_tflite_destroy(m);
}

/* ---- converted networks ---- */

TestSuite(tflite_oracle);

Test(tflite_oracle, files_of_the_converter_are_read_written_and_read_again)
{
    const char *folder = getenv("DETENT_PTQ_ORACLE");
    char pattern[TEMP_PATH_BYTES];
    glob_t found;

    if (!folder) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    snprintf(pattern, sizeof pattern, "%s/tflite/*.tflite", folder);
    cr_assert(glob(pattern, 0, NULL, &found) == 0, "there is no %s", pattern);
    temp_make();
    for (size_t i = 0; i < found.gl_pathc; i++) {
        dt_tflite *m = NULL, *again = NULL;
        MUST(dt_tflite_read(found.gl_pathv[i], &m));
        MUST(dt_tflite_write(m, temp_path("again.tflite")));
        MUST(dt_tflite_read(temp_path("again.tflite"), &again));
        expect_equal(found.gl_pathv[i], m, again);
        dt_tflite_destroy(m);
        dt_tflite_destroy(again);
    }
    globfree(&found);
    temp_remove();
}
