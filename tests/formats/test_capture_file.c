/*
 * test_capture_file.c - captured integers written to a file and read back.
 */
#include "../support/temp_files.h"

#include "../../formats/safetensors.h"

#include <math.h>

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

/* ---- reading ---- */

/* Every field has a value of its own: 2 images of 2 maps, 3x2 inputs of 2 channels, 2 filters of 2x1, stride 2, pad 1.
 */
typedef struct {
    dt_capture capture;
    float qx[48], qw[8], psum[32], sw[2], input_float[48], next_input[6];
} whole_capture;

static void fill(whole_capture *t)
{
    memset(t, 0, sizeof *t);
    t->capture = (dt_capture){ .n = 2,
                               .maps = 2,
                               .height = 3,
                               .width = 2,
                               .channels = 2,
                               .out_height = 2,
                               .out_width = 2,
                               .filters = 2,
                               .kernel_height = 2,
                               .kernel_width = 1,
                               .stride = 2,
                               .pad = 1,
                               .x_low = -8,
                               .x_high = 7,
                               .w_low = -3,
                               .w_high = 3,
                               .qx = t->qx,
                               .qw = t->qw,
                               .psum = t->psum,
                               .sx = 0.5f,
                               .sw = t->sw,
                               .n_sw = 2,
                               .input_float = t->input_float,
                               .next_layer = "next",
                               .next_maps = 1,
                               .next_height = 1,
                               .next_width = 1,
                               .next_channels = 3,
                               .next_input = t->next_input };
    for (int i = 0; i < 48; i++) t->qx[i] = (float)(i % 16 - 8);
    for (int i = 0; i < 48; i++) t->input_float[i] = 0.3f * (float)i;
    for (int i = 0; i < 8; i++) t->qw[i] = (float)(i % 7 - 3);
    for (int i = 0; i < 32; i++) t->psum[i] = (float)(i * i - 100);
    for (int i = 0; i < 6; i++) t->next_input[i] = 1.0f / (float)(i + 1);
    t->sw[0] = 0.25f;
    t->sw[1] = 0.125f;
}

static void expect_equal(const dt_capture *a, const dt_capture *b)
{
    const size_t n_x = 48 * sizeof(float), n_y = 32 * sizeof(float);

    cr_assert(a->n == b->n && a->maps == b->maps && a->height == b->height && a->width == b->width);
    cr_assert(a->channels == b->channels && a->filters == b->filters && a->stride == b->stride && a->pad == b->pad);
    cr_assert(a->out_height == b->out_height && a->out_width == b->out_width && a->n_sw == b->n_sw && a->sx == b->sx);
    cr_assert(a->kernel_height == b->kernel_height && a->kernel_width == b->kernel_width);
    cr_assert(a->x_low == b->x_low && a->x_high == b->x_high && a->w_low == b->w_low && a->w_high == b->w_high);
    cr_assert(memcmp(a->qx, b->qx, n_x) == 0 && memcmp(a->psum, b->psum, n_y) == 0);
    cr_assert(memcmp(a->qw, b->qw, 8 * sizeof(float)) == 0 && memcmp(a->sw, b->sw, 2 * sizeof(float)) == 0);
    const int same_floats = !a->input_float == !b->input_float && !a->next_input == !b->next_input;
    cr_assert(eq(int, same_floats, 1));
    if (a->input_float) cr_assert(memcmp(a->input_float, b->input_float, n_x) == 0);
    cr_assert(eq(str, (char *)a->next_layer, (char *)b->next_layer));
    if (!a->next_input) return;
    cr_assert(a->next_maps == b->next_maps && a->next_channels == b->next_channels && a->next_height == b->next_height);
    cr_assert(memcmp(a->next_input, b->next_input, 6 * sizeof(float)) == 0);
}

Test(capture_file, is_read_back)
{
    whole_capture t;
    dt_capture *back;
    const char *path = temp_path("whole.safetensors");

    fill(&t);
    for (int alone = 0; alone < 2; alone++) {
        if (alone) t.capture.input_float = t.capture.next_input = NULL;
        if (alone) t.capture.next_layer[0] = '\0';
        cr_assert(eq(int, dt_capture_save(&t.capture, "features.27", path), DT_OK), "%s", dt_last_error());
        cr_assert(eq(int, dt_capture_load(path, &back), DT_OK), "%s", dt_last_error());
        cr_assert(eq(str, (char *)back->layer, "features.27"));
        expect_equal(back, &t.capture);
        dt_capture_destroy(back);
    }
}

/* One change of the capture before it is saved, and what the reader says of it. */
static void damage(whole_capture *t, int which)
{
    dt_capture *c = &t->capture;

    switch (which) {
    case 0: t->qx[5] = 8.0f; break;
    case 1: t->qw[3] = -4.0f; break;
    case 2: c->out_width = 1; break;
    case 3: c->pad = 0; break;
    case 4: c->stride = 0; break;
    case 5: t->sw[1] = INFINITY; break;
    case 6: c->sx = NAN; break;
    case 7: t->input_float[2] = NAN; break;
    case 8: c->x_low = 1; break;
    case 9: c->kernel_height = 9, c->filters = 1, c->channels = 1; break;
    default: break;
    }
}

static const char *const said[] = {
    "input[5] is 8, expected -8..7",
    "weight[3] is -4, expected -3..3",
    "psum is 4x2x1x2, input and weight give 4x2x2x2",
    "input and weight give 4x1x1x2",
    "metadata 'stride' is '0', expected a whole number of 1..",
    "weight_scale[1] is inf, expected a number",
    "input_scale is nan, expected a number",
    "input_float[2] is nan, expected a number",
    "metadata 'input_low' is '1', expected a whole number of ",
    "a window of 9x1 does not fit an input of 3x2 padded by 1",
};

Test(capture_file, what_does_not_fit_is_refused)
{
    const char *path = temp_path("damaged.safetensors");

    for (int i = 0; i < (int)(sizeof said / sizeof said[0]); i++) {
        whole_capture t;
        dt_capture *back = NULL;
        fill(&t);
        damage(&t, i);
        cr_assert(eq(int, dt_capture_save(&t.capture, "l", path), DT_OK), "%d: %s", i, dt_last_error());
        cr_assert(eq(int, dt_capture_load(path, &back), DT_ERR_FORMAT), "%d: %s", i, said[i]);
        cr_assert(ne(ptr, (void *)strstr(dt_last_error(), said[i]), NULL), "no '%s' in '%s'", said[i], dt_last_error());
        cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "damaged.safetensors"), NULL), "%s", dt_last_error());
        cr_assert(eq(ptr, back, NULL));
    }
}

/* A file of another kind, and one that lacks a tensor. */
Test(capture_file, what_is_no_capture_is_refused)
{
    const char *path = temp_path("other.safetensors");
    dt_safetensors_writer *w;
    dt_capture *back = NULL;

    cr_assert(eq(int, dt_safetensors_writer_create(&w), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_metadata(w, "format", "detent-capture"), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_metadata(w, "version", "7"), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_write(w, path), DT_OK));
    cr_assert(eq(int, dt_capture_load(path, &back), DT_ERR_FORMAT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "version is '7'"), NULL), "%s", dt_last_error());
    dt_safetensors_writer_destroy(w);
    cr_assert(eq(ptr, back, NULL));
}
