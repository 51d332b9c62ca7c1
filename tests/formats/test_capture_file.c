/*
 * test_capture_file.c - captured integers written to a file and read back.
 */
#include "../support/temp_files.h"

#include "../../core/conv_params.h"
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
                           .conv = DT_CONV_SQUARE(2, 1),
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
        { "version", "2" },
        { "stride", "2" },
        { "pad", "1" },
        { "dilation", "1" },
        { "groups", "1" },
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

/* 2 images of 2 maps, 5x4 inputs of 4 channels, 2 filters of 2x3 in 2 groups; every side has a value of its own. */
enum { N_X = 4 * 5 * 4 * 4, N_W = 2 * 2 * 3 * 2, N_Y = 4 * 3 * 5 * 2 };
typedef struct {
    dt_capture capture;
    float qx[N_X], qw[N_W], psum[N_Y], sw[2], input_float[N_X], next_input[6];
} whole_capture;

static void fill(whole_capture *t)
{
    memset(t, 0, sizeof *t);
    t->capture = (dt_capture){ .n = 2,
                               .maps = 2,
                               .height = 5,
                               .width = 4,
                               .channels = 4,
                               .out_height = 3,
                               .out_width = 5,
                               .filters = 2,
                               .kernel_height = 2,
                               .kernel_width = 3,
                               .conv = { { 2, 1 }, { 1, 0, 2, 3 }, { 3, 1 }, 2 },
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
    for (int i = 0; i < N_X; i++) t->qx[i] = (float)(i % 16 - 8);
    for (int i = 0; i < N_X; i++) t->input_float[i] = 0.3f * (float)i;
    for (int i = 0; i < N_W; i++) t->qw[i] = (float)(i % 7 - 3);
    for (int i = 0; i < N_Y; i++) t->psum[i] = (float)(i * i - 100);
    for (int i = 0; i < 6; i++) t->next_input[i] = 1.0f / (float)(i + 1);
    t->sw[0] = 0.25f;
    t->sw[1] = 0.125f;
}

static void expect_equal(const dt_capture *a, const dt_capture *b)
{
    const size_t x_bytes = N_X * sizeof(float), y_bytes = N_Y * sizeof(float);

    cr_assert(a->n == b->n && a->maps == b->maps && a->height == b->height && a->width == b->width);
    cr_assert(a->channels == b->channels && a->filters == b->filters);
    cr_assert(memcmp(&a->conv, &b->conv, sizeof a->conv) == 0, "the forms differ");
    cr_assert(a->out_height == b->out_height && a->out_width == b->out_width && a->n_sw == b->n_sw && a->sx == b->sx);
    cr_assert(a->kernel_height == b->kernel_height && a->kernel_width == b->kernel_width);
    cr_assert(a->x_low == b->x_low && a->x_high == b->x_high && a->w_low == b->w_low && a->w_high == b->w_high);
    cr_assert(memcmp(a->qx, b->qx, x_bytes) == 0 && memcmp(a->psum, b->psum, y_bytes) == 0);
    cr_assert(memcmp(a->qw, b->qw, N_W * sizeof(float)) == 0 && memcmp(a->sw, b->sw, 2 * sizeof(float)) == 0);
    const int same_floats = !a->input_float == !b->input_float && !a->next_input == !b->next_input;
    cr_assert(eq(int, same_floats, 1));
    if (a->input_float) cr_assert(memcmp(a->input_float, b->input_float, x_bytes) == 0);
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
    case 3: c->conv.pad[3] = 0; break;
    case 4: c->conv.stride[1] = 0; break;
    case 5: t->sw[1] = INFINITY; break;
    case 6: c->sx = NAN; break;
    case 7: t->input_float[2] = NAN; break;
    case 8: c->x_low = 1; break;
    case 9: c->conv.dilation[0] = 8; break;
    case 10: c->conv.pad[2] = -1; break;
    default: break;
    }
}

static const char *const said[] = {
    "input[5] is 8, expected -8..7",
    "weight[3] is -4, expected -3..3",
    "psum is 4x3x1x2, input and weight give 4x3x5x2",
    "input and weight give 4x3x2x2",
    "metadata stride is [2,0], expected a list of whole numbers of 1..",
    "weight_scale[1] is inf, expected a number",
    "input_scale is nan, expected a number",
    "input_float[2] is nan, expected a number",
    "metadata 'input_low' is '1', expected a whole number of ",
    "a window that spans 9x3 does not fit a padded input of 8x7",
    "metadata pad is [1,0,-1,3], expected a list of whole numbers of 0..",
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

/* Of the header, at the same length. */
static const struct {
    const char *why, *from, *to, *said;
} edits[] = {
    { "newer", "\"version\":\"2\"", "\"version\":\"3\"",
      "version is 3, and this detent reads versions up to 2; a newer detent reads it" },
    { "no version", "\"version\":\"2\"", "\"version\":\"x\"", "version is 'x', expected a whole number from 1 on" },
    { "filters that groups do not divide", "\"groups\":\"2\"", "\"groups\":\"4\"",
      "4 groups of 4 channels and 2 filters; they must divide both" },
    { "channels that they do not divide", "\"groups\":\"2\"", "\"groups\":\"3\"", "3 groups of 4 channels" },
    { "one group", "\"groups\":\"2\"", "\"groups\":\"1\"", "weight has 2 channels, input 4 in 1 groups" },
    { "no group", "\"groups\":\"2\"", "\"groups\":\"0\"", "metadata groups is 0, expected a whole number of 1.." },
    { "not told", "\"groups\"", "\"gruops\"", "has no metadata 'groups'" },
    { "no list", "\"[2,1]\"", "\"[2,1 \"", "metadata 'stride' is not JSON" },
    { "too few", "\"[3,1]\"", "\"[333]\"", "metadata dilation is [333], expected a list of whole numbers" },
};

Test(capture_file, a_form_that_does_not_fit_is_refused)
{
    static char content[1 << 16];
    whole_capture t;

    fill(&t);
    cr_assert(eq(int, dt_capture_save(&t.capture, "l", temp_path("good.safetensors")), DT_OK));
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        FILE *file = fopen(temp_path("good.safetensors"), "rb");
        const size_t bytes = fread(content, 1, sizeof content, file);
        dt_capture *back = NULL;
        fclose(file);
        char *at = memmem(content, bytes, edits[i].from, strlen(edits[i].from));
        cr_assert(at && strlen(edits[i].from) == strlen(edits[i].to), "%s", edits[i].why);
        memcpy(at, edits[i].to, strlen(edits[i].to));
        temp_write("edited.safetensors", content, bytes);
        cr_assert(eq(int, dt_capture_load(temp_path("edited.safetensors"), &back), DT_ERR_FORMAT), "%s", edits[i].why);
        cr_assert(ne(ptr, (void *)strstr(dt_last_error(), edits[i].said), NULL), "no '%s' in '%s'", edits[i].said,
                  dt_last_error());
        cr_assert(eq(ptr, back, NULL));
    }
}

Test(capture_file, a_capture_without_groups_is_no_capture)
{
    whole_capture t;

    fill(&t);
    t.capture.conv.groups = 0;
    cr_assert(eq(int, dt_capture_save(&t.capture, "l", temp_path("no.safetensors")), DT_ERR_ARGUMENT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "0 groups of 4 channels"), NULL), "%s", dt_last_error());
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
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "version is 7, and this detent reads versions up to 2"), NULL),
              "%s", dt_last_error());
    dt_safetensors_writer_destroy(w);
    cr_assert(eq(ptr, back, NULL));
}
