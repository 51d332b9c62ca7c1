/*
 * make_corpus.c - makes corpus/: small valid files of each format, from which a fuzzer starts. Run it when a format
 *                 changes: ninja -C build make_corpus && build/make_corpus tests/fuzz/corpus
 */
#include "../support/program_case.h"

#include "../support/onnx_nets.h"
#include "../support/tflite_nets.h"

#include <unistd.h>

#include "../../formats/safetensors.h"

enum { PATH_BYTES = 4096 };

static const char *in(const char *root, const char *name)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static dt_status make_safetensors(const char *root)
{
    const int64_t shape[] = { 2, 1 }, none[] = { 0, 7 };
    const float values[] = { 1.5f, -2.0f };
    dt_safetensors_writer *w;

    DT_TRY(dt_safetensors_writer_create(&w));
    DT_TRY(dt_safetensors_writer_write(w, in(root, "safetensors/empty")));
    DT_TRY(dt_safetensors_writer_metadata(w, "format", "a \"quoted\" text\n"));
    DT_TRY(dt_safetensors_writer_add(w, "features.27.weight", DT_SAFETENSORS_F32, 2, shape, values));
    DT_TRY(dt_safetensors_writer_add(w, "scalar", DT_SAFETENSORS_I64, 0, NULL, values));
    DT_TRY(dt_safetensors_writer_add(w, "nothing", DT_SAFETENSORS_BF16, 2, none, NULL));
    DT_TRY(dt_safetensors_writer_add(w, "bytes", DT_SAFETENSORS_U8, 1, shape, values));
    DT_TRY(dt_safetensors_writer_write(w, in(root, "safetensors/four")));
    dt_safetensors_writer_destroy(w);
    return DT_OK;
}

static dt_status make_program(const char *root, const char *name, const program_case *spec)
{
    dt_program *p = program_case_make(spec);

    DT_TRY(dt_program_save(p, in(root, name)));
    dt_program_destroy(p);
    return DT_OK;
}

/* The smallest program that there is, so that mutations are quick. */
static dt_status make_smallest(const char *root)
{
    const program_case spec = { .seed = 3 };
    program_maker m = program_case_begin(&spec, "m");
    const program_window one = { .filters = 2, .rows = 1, .columns = 1, .stride = 1, .bound = 1, .scales = 1 };

    int x = program_case_table(&m, 2, 2, 1, 1);
    x = program_case_conv(&m, "c", x, &one);
    x = program_case_affine(&m, "a", x);
    dt_program *p = program_case_linear(&m, "l", x, 2);
    DT_TRY(dt_program_save(p, in(root, "program/smallest")));
    dt_program_destroy(p);
    return DT_OK;
}

static dt_status make_manifest(const char *root, dt_layout layout, int groups, const char *name)
{
    float qx[2 * 3 * 8] = { 0 }, qw[8 * 3 * 3 * 8] = { 0 }, sw = 0.125f;
    dt_array array;
    const dt_capture c = { .n = 1,
                           .maps = 1,
                           .height = 2,
                           .width = 3,
                           .channels = 8,
                           .out_height = 2,
                           .out_width = 3,
                           .filters = 8,
                           .kernel_height = 3,
                           .kernel_width = 3,
                           .conv = { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, groups },
                           .x_high = 3,
                           .w_low = -7,
                           .w_high = 7,
                           .qx = qx,
                           .qw = qw,
                           .sx = 0.5f,
                           .sw = &sw,
                           .n_sw = 1 };
    const dt_vector_style style = { layout, DT_HEADER_OF_LAYOUT };
    char folder[PATH_BYTES], text[PATH_BYTES];

    for (int i = 0; i < 2 * 3 * 8; i++) qx[i] = (float)(i % 4);
    for (int i = 0; i < 8 * 9 * 8; i++) qw[i] = (float)(i % 15 - 7);
    dt_array_default(&array);
    snprintf(folder, sizeof folder, "/tmp/corpus-%ld", (long)getpid());
    DT_TRY(dt_vectors_save(&c, "features.27", &array, &style, folder, NULL));
    snprintf(text, sizeof text, "cp '%.200s/manifest.json' '%.1000s' && rm -r '%.200s'", folder, in(root, name),
             folder);
    return system(text) == 0 ? DT_OK : dt_raise(DT_ERR_IO, __FILE__, __LINE__, "%s", text);
}

/* 2 images of one pixel of 2 channels. */
static dt_status make_capture(const char *root, int groups, const char *name)
{
    float qx[4] = { 0, 1, 2, 3 }, qw[2] = { -1, 1 }, psum[4] = { 1, 1, 1, 1 }, sw = 0.125f, real[4] = { 0.5f, 1.0f };
    const dt_capture c = { .n = 2,
                           .maps = 1,
                           .height = 1,
                           .width = 1,
                           .channels = 2,
                           .out_height = 1,
                           .out_width = 1,
                           .filters = groups,
                           .kernel_height = 1,
                           .kernel_width = 1,
                           .conv = { { 1, 2 }, { 0, 0, 0, groups - 1 }, { 1, 1 }, groups },
                           .x_high = 3,
                           .w_low = -1,
                           .w_high = 1,
                           .qx = qx,
                           .qw = qw,
                           .psum = psum,
                           .sx = 0.5f,
                           .sw = &sw,
                           .n_sw = 1,
                           .input_float = real,
                           .next_layer = "b",
                           .next_maps = 1,
                           .next_height = 1,
                           .next_width = 1,
                           .next_channels = 1,
                           .next_input = real };

    return dt_capture_save(&c, "a", in(root, name));
}

/* The description is taken over. */
static dt_status make_tflite(const char *root, const char *name, dt_tflite *m)
{
    const dt_status s = dt_tflite_write(m, in(root, name));

    dt_tflite_destroy(m);
    DT_TRY(s);
    return DT_OK;
}

static dt_status make_onnx(const char *root, const char *name, const onnx_bytes file)
{
    return dt_file_replace(in(root, name), (const char *)file.data, file.n);
}

static dt_status make_all(const char *root)
{
    DT_TRY(make_safetensors(root));
    DT_TRY(make_smallest(root));
    DT_TRY(make_program(root, "program/thresholds", &(program_case){ .seed = 1, .image_low = -4 }));
    DT_TRY(
        make_program(root, "program/multipliers", &(program_case){ .seed = 2, .multipliers = 1, .rule = DT_RULE_LSQ }));
    DT_TRY(make_capture(root, 1, "capture/one"));
    DT_TRY(make_capture(root, 2, "capture/grouped"));
    DT_TRY(make_tflite(root, "tflite/all-operators", tflite_case_all_ops()));
    DT_TRY(make_tflite(root, "tflite/float", tflite_nets_float()));
    DT_TRY(make_tflite(root, "tflite/dynamic", tflite_nets_dynamic()));
    DT_TRY(make_tflite(root, "tflite/matrix", tflite_nets_matrix()));
    DT_TRY(make_tflite(root, "tflite/int8", tflite_nets_int8(DT_TFLITE_UINT8)));
    DT_TRY(make_onnx(root, "onnx/reals", onnx_nets_float()));
    DT_TRY(make_onnx(root, "onnx/shapes", onnx_nets_shapes()));
    DT_TRY(make_onnx(root, "onnx/functions", onnx_nets_functions()));
    DT_TRY(make_onnx(root, "onnx/outside", onnx_nets_outside()));
    DT_TRY(make_onnx(root, "onnx/codes", onnx_nets_integer()));
    DT_TRY(make_onnx(root, "onnx/qoperator", onnx_nets_qoperator()));
    DT_TRY(make_manifest(root, DT_LAYOUT_COURSE, 1, "manifest/course"));
    DT_TRY(make_manifest(root, DT_LAYOUT_COURSE, 8, "manifest/grouped"));
    DT_TRY(make_manifest(root, DT_LAYOUT_OUTPUT_STATIONARY, 1, "manifest/output-stationary"));
    return DT_OK;
}

int main(int n_arguments, char **argument)
{
    if (n_arguments == 2 && make_all(argument[1]) == DT_OK) return 0;
    fprintf(stderr, "%s\n", n_arguments == 2 ? dt_last_error() : "make_corpus FOLDER");
    return 1;
}
