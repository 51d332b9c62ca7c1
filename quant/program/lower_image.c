/*
 * lower_image.c - lowers what reads the image: a quantizer becomes the table of a program, which has the code of each
 * of 256 pixels of each channel. Functions of single numbers before it go into the table.
 *
 * Interface: lowering.h.
 * Tests: tests/quant/test_lower.c, tests/quant/test_lower_refused.c, tests/formats/test_onnx_quant.c.
 */
#include "lowering.h"

#include "../../core/grid_facts.h"
#include "../../layers/activation.h"
#include "../../layers/augment.h"

#include <stdlib.h>

int dt_held_is_of_image(const dt_held *x)
{
    return dt_held_base(x)->holds == DT_HOLDS_IMAGE;
}

/* What the network makes of a normalised pixel before it is quantized. */
static float image_value(const dt_held *h, float v, int c)
{
    switch (h->holds) {
    case DT_HOLDS_SAME: return image_value(h->from, v, c);
    case DT_HOLDS_RELU: return dt_limited(image_value(h->from, v, c), dt_relu_limits(h->node->params));
    case DT_HOLDS_CLIP: return dt_limited(image_value(h->from, v, c), dt_clip_limits(h->node->params));
    case DT_HOLDS_AFFINE: {
        const float product = h->slope[c] * image_value(h->from, v, c);
        return product + h->offset[c];
    }
    default: return v;
    }
}

/* The code of each of 256 pixels, of which h is made. An unclamped quantizer has no lowest code but the table's. */
static dt_status fill_table(const dt_lowering *w, const dt_held *h, const dt_quantizer *q, int channels, int16_t *table,
                            dt_table_params *range)
{
    *range = (dt_table_params){ .low = dt_quantizer_is_unclamped(q) ? 0 : q->grid.low, .high = q->grid.high };
    for (int i = 0; i < 256 * channels; i++) {
        const int c = i % channels;
        const float v = dt_augment_value((uint8_t)(i / channels), w->mean[c], w->std[c]);
        const float code = dt_quantizer_code(q, image_value(h, v, c));
        DT_CHECK(code >= (float)INT16_MIN && code <= (float)INT16_MAX, DT_ERR_NUMERIC,
                 "%s: a pixel has the code %g, beyond 16 bits; the clip %g is too small", q->name, (double)code,
                 (double)q->alpha);
        table[i] = (int16_t)code;
        if (range->low > table[i]) range->low = table[i];
    }
    return DT_OK;
}

dt_status dt_lower_image(dt_lowering *w, const dt_held *h, const dt_quantizer *q, int *codes)
{
    dt_graph *g = w->program->graph;
    dt_shape pixels = *dt_graph_shape(w->from, w->from->image);
    const int channels = (int)pixels.dim[3];
    dt_table_params range;

    DT_CHECK(g->image < 0, DT_ERR_UNSUPPORTED, "%s: a second quantizer reads the image, and a program has one table",
             q->name);
    DT_CHECK(channels <= DT_MOST_PIXEL_CHANNELS, DT_ERR_UNSUPPORTED,
             "%s: quantizes an input of %d channels; a program takes pixels, of at most %d", q->name, channels,
             DT_MOST_PIXEL_CHANNELS);
    pixels.dim[0] = 1;
    int16_t *table = malloc(256 * (size_t)channels * sizeof *table);
    DT_CHECK(table, DT_ERR_MEMORY, "no memory for the table of the image");
    const dt_status status = fill_table(w, h, q, channels, table, &range);
    if (status != DT_OK) {
        free(table);
        return dt_forward(status, __FILE__, __LINE__);
    }
    return dt_program_add_table(g, &pixels, &range, table, dt_program_one(q->scale), codes);
}

dt_status dt_lower_image_line(dt_lowering *w, const dt_graph_node *n, dt_held *x)
{
    const int channels = (int)dt_channels(dt_graph_shape(w->from, w->from->image));
    const int numbers = (int)dt_channels(&dt_lowering_facts(w, n->out)->shape);
    dt_held *h = dt_lowering_hold(w, n, DT_HOLDS_AFFINE, x);

    DT_TRY(dt_lowering_param(w, n, 1, &h->slope));
    DT_TRY(dt_lowering_param(w, n, 2, &h->offset));
    for (int i = 1; i < numbers; i++) {
        const int is_one = h->slope[i] == h->slope[0] && h->offset[i] == h->offset[0];
        DT_CHECK(numbers == channels || is_one, DT_ERR_UNSUPPORTED,
                 "%s: a line for each of %d numbers of the image; a program's table has one for each of %d channels",
                 dt_lowering_name(w, n), numbers, channels);
    }
    if (numbers >= channels) return DT_OK;
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__, "%s: %d lines for %d channels of the image",
                    dt_lowering_name(w, n), numbers, channels);
}
