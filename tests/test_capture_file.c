/*
 * test_capture_file.c - captured integers written to a file and read back.
 */
#include "temp_files.h"

#include "../formats/safetensors.h"

TestSuite(capture_file, .init = temp_make, .fini = temp_remove);

Test(capture_file, holds_the_integers)
{
    float qx[12] = { 0, 1, 2, 3, 4, 5, 6, 7, -8, 9, 10, 15 }, qw[6] = { -7, 0, 7, 1, 2, -3 };
    float psum[4] = { 16777216.0f, -5, 0, 1 }, sw[1] = { 0.25f };
    const dt_capture c = { .n = 1,
                           .maps = 2,
                           .height = 1,
                           .width = 2,
                           .channels = 3,
                           .out_height = 1,
                           .out_width = 1,
                           .filters = 2,
                           .kernel_height = 1,
                           .kernel_width = 1,
                           .stride = 2,
                           .pad = 1,
                           .qx = qx,
                           .qw = qw,
                           .psum = psum,
                           .sx = 0.5f,
                           .sw = sw,
                           .n_sw = 1,
                           .origin = { "mnist", 600, "0123456789abcdef", { 0.5f }, { 0.25f } } };
    static const char *const metadata[][2] = {
        { "format", "detent-capture" },
        { "layer", "features.27" },
        { "maps", "2" },
        { "stride", "2" },
        { "pad", "1" },
        { "input_layout", "NHWC" },
        { "weight_layout", "KRSC" },
        { "data", "{\"name\":\"mnist\",\"images\":600,\"fingerprint\":\"0123456789abcdef\",\"mean\":[0.5,0,0,0],"
                  "\"std\":[0.25,0,0,0]}" },
    };
    dt_safetensors *f;
    int32_t back[12];
    float scale;

    cr_assert(eq(int, dt_capture_save(&c, "features.27", temp_path("cap.safetensors")), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_safetensors_open(temp_path("cap.safetensors"), &f), DT_OK));
    for (size_t i = 0; i < sizeof metadata / sizeof metadata[0]; i++) {
        cr_assert(eq(str, (char *)dt_safetensors_metadata(f, metadata[i][0]), (char *)metadata[i][1]));
    }
    const dt_safetensors_tensor *input = dt_safetensors_find(f, "input"), *p = dt_safetensors_find(f, "psum");
    cr_assert(eq(int, (int)input->type, DT_SAFETENSORS_I32));
    cr_assert(eq(int, memcmp(input->dim, (int64_t[]){ 2, 1, 2, 3 }, sizeof(int64_t[4])), 0));
    cr_assert(eq(int, dt_safetensors_read(f, input, back), DT_OK));
    for (int i = 0; i < 12; i++) cr_assert(eq(int, back[i], (int)qx[i]));
    cr_assert(eq(int, memcmp(p->dim, (int64_t[]){ 2, 1, 1, 2 }, sizeof(int64_t[4])), 0));
    cr_assert(eq(int, dt_safetensors_read(f, p, back), DT_OK));
    for (int i = 0; i < 4; i++) cr_assert(eq(int, back[i], (int)psum[i]));
    cr_assert(eq(int, dt_safetensors_read(f, dt_safetensors_find(f, "input_scale"), &scale), DT_OK));
    cr_assert(eq(flt, scale, 0.5f));
    dt_safetensors_close(f);

    psum[2] = 0.5f;
    cr_assert(eq(int, dt_capture_save(&c, "features.27", temp_path("cap.safetensors")), DT_ERR_NUMERIC));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "psum[2] is 0.5, expected an integer"), NULL));
}
