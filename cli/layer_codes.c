/*
 * layer_codes.c - see layer_codes.h. A layer is captured a few images at a time, so that what is kept of them stays
 *                 small, whatever the size of its maps.
 *
 * Tests: tests/cli/test_cli_codes.sh.
 */
#include "layer_codes.h"

#include <stdlib.h>

/* Images of a capture: at least one, and of large maps few. */
enum { FLOATS_AT_ONCE = 1 << 24, IMAGES_AT_ONCE = 128 };

void network_codes_free(network_codes *c)
{
    free(c->layer);
    *c = (network_codes){ 0 };
}

dt_status blank_image_open(const dt_model *m, dt_dataset **out)
{
    const dt_data_origin *trained_on = dt_model_get_origin(m);
    dt_model_info is;

    dt_model_look(m, &is);
    const size_t numbers = (size_t)is.height * (size_t)is.width * (size_t)is.channels;
    float *zeros = calloc(numbers, sizeof *zeros);
    DT_CHECK(zeros, DT_ERR_MEMORY, "no memory for an image of %dx%dx%d", is.height, is.width, is.channels);
    dt_images image = { .name = "blank",
                        .n = 1,
                        .height = is.height,
                        .width = is.width,
                        .channels = is.channels,
                        .n_classes = is.n_classes,
                        .multi_label = is.is_binary };
    if (trained_on->is_real)
        image.reals = zeros;
    else
        image.images = (const uint8_t *)zeros;
    for (int c = 0; c < is.channels && c < DT_MOST_CHANNELS; c++) image.std[c] = 1.0f;
    const dt_status status = dt_dataset_from_memory(&image, out);
    free(zeros);
    return status;
}

static void count_weights(const dt_capture *c, layer_codes *out)
{
    const int64_t n = (int64_t)c->filters * c->kernel_height * c->kernel_width * (c->channels / c->conv.groups);

    histogram_begin(c->w_low, c->w_high, HISTOGRAM_ROWS, &out->weights);
    histogram_add(&out->weights, c->qw, n);
    histogram_begin(c->x_low, c->x_high, HISTOGRAM_ROWS, &out->inputs);
}

static void count_images(const dt_capture *c, layer_codes *out)
{
    const int64_t maps = c->n * c->maps, n_psums = maps * c->out_height * c->out_width * c->filters;

    histogram_add(&out->inputs, c->qx, maps * c->height * c->width * c->channels);
    if (out->images == 0) out->psum_min = out->psum_max = (int64_t)c->psum[0];
    for (int64_t i = 0; i < n_psums; i++) {
        const int64_t psum = (int64_t)c->psum[i];
        if (psum < out->psum_min) out->psum_min = psum;
        if (psum > out->psum_max) out->psum_max = psum;
    }
    out->images += c->n;
}

/* How many images are captured at once, by what the first needs. */
static int64_t images_at_once(const dt_capture *one)
{
    const int64_t next = (int64_t)one->next_maps * one->next_height * one->next_width * one->next_channels;
    const int64_t in = (int64_t)one->maps * one->height * one->width * one->channels;
    const int64_t out = (int64_t)one->maps * one->out_height * one->out_width * one->filters;
    const int64_t n = FLOATS_AT_ONCE / (2 * in + out + next);

    return n < 1 ? 1 : n > IMAGES_AT_ONCE ? IMAGES_AT_ONCE : n;
}

static dt_status look_at_images(dt_model *m, const dt_dataset *d, int64_t first, int64_t count, layer_codes *out)
{
    dt_capture *c;

    DT_TRY(dt_capture_layer(m, d, first, count, out->name, &c));
    count_images(c, out);
    dt_capture_destroy(c);
    return DT_OK;
}

/* d is the blank image where images is 0. */
static dt_status look_at_layer(dt_model *m, const dt_dataset *d, int64_t images, layer_codes *out)
{
    dt_capture *one;

    DT_TRY(dt_capture_layer(m, d, 0, 1, out->name, &one));
    count_weights(one, out);
    const int64_t at_once = images_at_once(one);
    dt_capture_destroy(one);
    for (int64_t at = 0; at < images; at += at_once) {
        DT_TRY(look_at_images(m, d, at, images - at < at_once ? images - at : at_once, out));
    }
    return DT_OK;
}

static dt_status look_at_all(dt_model *m, const dt_dataset *d, int64_t images, const dt_progress *watched,
                             network_codes *out)
{
    dt_layer_info info;

    for (int i = 0; i < out->n; i++) {
        layer_codes *l = &out->layer[i];
        dt_model_layer(m, i, &info);
        snprintf(l->name, sizeof l->name, "%s", info.name);
        l->wbits = info.wbits;
        l->abits = info.abits;
        l->psum_bound = info.psum_bound;
        l->psum_bits = info.psum_bits;
        DT_TRY(look_at_layer(m, d, images, l));
        DT_CHECK(!watched || !watched->tick(watched->user, (i + 1) * images, out->n * images), DT_ERR_INTERRUPTED,
                 "interrupted");
    }
    return DT_OK;
}

dt_status network_codes_look(dt_model *m, const dt_dataset *d, int64_t images, const dt_progress *watched,
                             network_codes *out)
{
    const int n = dt_model_n_layers(m);
    dt_dataset *blank = NULL;
    dt_dataset_view v;

    *out = (network_codes){ calloc((size_t)n + 1, sizeof *out->layer), n };
    DT_CHECK(out->layer, DT_ERR_MEMORY, "no memory for the codes of %d layers", n);
    if (!d) DT_TRY(blank_image_open(m, &blank));
    if (d) dt_dataset_look(d, &v);
    const int64_t count = d ? (images < v.n ? images : v.n) : 0;
    const dt_status status = look_at_all(m, d ? d : blank, count, watched, out);
    dt_dataset_close(blank);
    return status;
}
