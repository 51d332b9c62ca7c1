/*
 * capture_file.c - writes what one convolution read and made to a safetensors file: integers, and the floats on both
 *                  sides.
 *
 *   input         I32 [n maps][height][width][channels]  codes; the maps of an image follow each other
 *   weight        I32 [filters][kernel height][kernel width][channels / groups]  codes
 *   psum          I32 [n maps][out height][out width][filters]
 *   input_scale   F32 [1]; weight_scale F32 [1] or [filters]: real value = scale * code
 *   input_float   F32, shaped as input: what the layer's quantizer read; missing where no quantizer made the codes
 *   next_input    F32 [n next_maps][height][width][channels]: the floats that the next layer reads (after batch norm,
 *                 ReLU, pool), before they are quantized; [n][1][1][features] for a linear layer. Missing if no layer
 *                 reads the output, or several do
 *   metadata      format = "detent-capture", version = "2", layer, maps (an image's: 1 but for DeepCaps' routed skip);
 *                 stride, dilation (of rows, of columns), pad (zeros at top, left, bottom, right), groups: each is
 *                 JSON, "2" or, where its values differ, "[2,1]"; input_layout = psum_layout = "NHWC",
 *                 weight_layout = "KRSC", input_low, input_high, weight_low, weight_high (what the bits of the codes
 *                 allow), and beside next_input: next_layer, next_maps; data (JSON, origin_json.h)
 *
 * Version 1 had no dilation and no groups, which were 1, and one number for each of stride and pad.
 *
 * Interface: dt_capture_save in include/detent/capture.h; capture_reader.c reads it.  Tests:
 * tests/formats/test_capture_file.c.
 */
#include "graph_json.h"
#include "metadata.h"
#include "origin_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* n integers held in floats, as int32. */
static dt_status to_int32(const char *name, const float *from, int64_t n, int32_t *to)
{
    for (int64_t i = 0; i < n; i++) {
        DT_CHECK(from[i] == rintf(from[i]) && fabsf(from[i]) < 2147483648.0f, DT_ERR_NUMERIC,
                 "capture: %s[%" PRId64 "] is %.9g, expected an integer of 32 bits", name, i, (double)from[i]);
        to[i] = (int32_t)from[i];
    }
    return DT_OK;
}

/* Adds a 4-D tensor of codes; *room, which it advances, takes its integers. */
static dt_status add_codes(dt_safetensors_writer *w, const char *name, const int64_t dim[4], const float *codes,
                           int32_t **room)
{
    const int64_t n = dim[0] * dim[1] * dim[2] * dim[3];

    DT_TRY(to_int32(name, codes, n, *room));
    DT_TRY(dt_safetensors_writer_add(w, name, DT_SAFETENSORS_I32, 4, dim, *room));
    *room += n;
    return DT_OK;
}

static dt_status add_number(dt_safetensors_writer *w, const char *key, int value)
{
    char text[16];

    snprintf(text, sizeof text, "%d", value);
    return dt_safetensors_writer_metadata(w, key, text);
}

/* As the attributes of a CONV2D. */
static dt_status add_form(dt_safetensors_writer *w, const dt_conv_params *conv)
{
    const dt_op *op = dt_ops[DT_OP_CONV2D];

    for (int i = 0; i < op->n_fields; i++) {
        cJSON *item = dt_graph_attribute(&op->fields[i], conv);
        const dt_status status = dt_metadata_add(w, op->fields[i].name, item);
        cJSON_Delete(item);
        DT_TRY(status);
    }
    return DT_OK;
}

static dt_status add_metadata(dt_safetensors_writer *w, const dt_capture *c, const char *layer)
{
    DT_TRY(dt_metadata_begin(w, "detent-capture", "2"));
    DT_TRY(dt_safetensors_writer_metadata(w, "layer", layer));
    DT_TRY(add_number(w, "maps", c->maps));
    DT_TRY(add_form(w, &c->conv));
    DT_TRY(add_number(w, "input_low", c->x_low));
    DT_TRY(add_number(w, "input_high", c->x_high));
    DT_TRY(add_number(w, "weight_low", c->w_low));
    DT_TRY(add_number(w, "weight_high", c->w_high));
    DT_TRY(dt_safetensors_writer_metadata(w, "input_layout", "NHWC"));
    DT_TRY(dt_safetensors_writer_metadata(w, "weight_layout", "KRSC"));
    DT_TRY(dt_safetensors_writer_metadata(w, "psum_layout", "NHWC"));
    DT_TRY(dt_origin_add(w, &c->origin));
    if (!c->next_input) return DT_OK;
    DT_TRY(dt_safetensors_writer_metadata(w, "next_layer", c->next_layer));
    DT_TRY(add_number(w, "next_maps", c->next_maps));
    return DT_OK;
}

static dt_status add_floats(dt_safetensors_writer *w, const dt_capture *c)
{
    const int64_t input[4] = { c->n * c->maps, c->height, c->width, c->channels };
    const int64_t next[4] = { c->n * c->next_maps, c->next_height, c->next_width, c->next_channels };

    if (c->input_float)
        DT_TRY(dt_safetensors_writer_add(w, "input_float", DT_SAFETENSORS_F32, 4, input, c->input_float));
    if (c->next_input) DT_TRY(dt_safetensors_writer_add(w, "next_input", DT_SAFETENSORS_F32, 4, next, c->next_input));
    return DT_OK;
}

static dt_status save(const dt_capture *c, const char *layer, const char *path, int32_t *room, dt_safetensors_writer *w)
{
    const int64_t input[4] = { c->n * c->maps, c->height, c->width, c->channels };
    const int64_t weight[4] = { c->filters, c->kernel_height, c->kernel_width, c->channels / c->conv.groups };
    const int64_t psum[4] = { c->n * c->maps, c->out_height, c->out_width, c->filters };
    const int64_t one = 1, n_sw = c->n_sw;

    DT_TRY(add_metadata(w, c, layer));
    DT_TRY(add_codes(w, "input", input, c->qx, &room));
    DT_TRY(add_codes(w, "weight", weight, c->qw, &room));
    DT_TRY(add_codes(w, "psum", psum, c->psum, &room));
    DT_TRY(dt_safetensors_writer_add(w, "input_scale", DT_SAFETENSORS_F32, 1, &one, &c->sx));
    DT_TRY(dt_safetensors_writer_add(w, "weight_scale", DT_SAFETENSORS_F32, 1, &n_sw, c->sw));
    DT_TRY(add_floats(w, c));
    DT_TRY(dt_safetensors_writer_write(w, path));
    return DT_OK;
}

dt_status dt_capture_save(const dt_capture *c, const char *layer, const char *path)
{
    DT_CHECK(c->conv.groups >= 1 && c->channels % c->conv.groups == 0, DT_ERR_ARGUMENT,
             "capture: %d groups of %d channels; groups must divide them", c->conv.groups, c->channels);
    const int64_t n_maps = c->n * c->maps, window = (int64_t)c->kernel_height * c->kernel_width;
    const int64_t n_codes = n_maps * c->height * c->width * c->channels +
                            c->filters * window * (c->channels / c->conv.groups) +
                            n_maps * c->out_height * c->out_width * c->filters;
    int32_t *room = malloc(((size_t)n_codes + 1) * sizeof *room);
    dt_safetensors_writer *w = NULL;

    DT_CHECK(room, DT_ERR_MEMORY, "capture: no memory for %" PRId64 " integers", n_codes);
    dt_status s = dt_safetensors_writer_create(&w);
    if (s == DT_OK) s = save(c, layer, path, room, w);
    dt_safetensors_writer_destroy(w);
    free(room);
    DT_TRY(s);
    return DT_OK;
}
