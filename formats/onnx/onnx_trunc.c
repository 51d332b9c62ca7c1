/*
 * onnx_trunc.c - QONNX's Trunc: integers lose their last k bits.
 *
 *   q = round(x / scale),  code = integer(q / 2^k),  y = code * out_scale
 *
 * Of version 1 k = in_bits - out_bits and out_scale = scale; of version 2 out_scale is input 4, k is
 * round(log2(out_scale / scale)), and codes are limited to out_bits.
 *
 * What is truncated are integers times the scale, but for roundings of f32. FLOOR, which is what Brevitas writes for
 * its average pools, is then a line and one quantizer: floor(q / 2^k) = floor((x / scale + 1/2) / 2^k). Other modes
 * have a quantizer for q, and one of out_scale * q / 2^k, which a line makes; the division gives back q / 2^k.
 *
 * Source: trunc.py of the package qonnx 1.0.  Tests: tests/formats/test_onnx_quant.c.
 */
#include "onnx_quant.h"

#include "../../quant/insert_parts.h"

#include <math.h>
#include <stdlib.h>

enum { TRUNC_MOST_BITS = 16 };

typedef struct {
    double scale, out_scale;
    int in_bits, out_bits, shift;
    dt_scale_quant_params out; /* range and rounding of the codes */
} truncation;

static dt_status read_truncation(const dt_onnx_import *imp, const dt_onnx_node *n, truncation *t)
{
    const int is_second = n->n_in >= 6;
    int64_t is_signed, narrow;
    int zero;

    DT_TRY(dt_onnx_number_of(imp, n, 1, &t->scale));
    DT_TRY(dt_onnx_whole_number(imp, n, 2, 0, &zero));
    DT_TRY(dt_onnx_whole_number(imp, n, 3, TRUNC_MOST_BITS, &t->in_bits));
    t->out_scale = t->scale;
    if (is_second) DT_TRY(dt_onnx_number_of(imp, n, 4, &t->out_scale));
    DT_TRY(dt_onnx_whole_number(imp, n, is_second ? 5 : 4, TRUNC_MOST_BITS, &t->out_bits));
    DT_ONNX_CHECK(isfinite(t->scale) && t->scale > 0.0 && isfinite(t->out_scale) && t->out_scale > 0.0, DT_ERR_FORMAT,
                  imp, n, "scales of %g and %g; needed are numbers above 0", t->scale, t->out_scale);
    t->shift = is_second ? (int)rint(log2(t->out_scale / t->scale)) : t->in_bits - t->out_bits;
    DT_ONNX_CHECK(t->in_bits >= 1 && t->out_bits >= 1 && t->shift >= 0 && t->shift < TRUNC_MOST_BITS,
                  DT_ERR_UNSUPPORTED, imp, n, "%d bits to %d, by %d; understood are fewer bits, 1 to %d", t->in_bits,
                  t->out_bits, t->shift, TRUNC_MOST_BITS);
    t->out = (dt_scale_quant_params){ .low = -(1 << t->out_bits) + 1, .high = (1 << t->out_bits) - 1 };
    DT_TRY(dt_onnx_rounding(imp, n, "FLOOR", &t->out.rounding));
    if (!is_second) return DT_OK;
    DT_TRY(dt_onnx_int(imp, n, "signed", 1, &is_signed));
    DT_TRY(dt_onnx_int(imp, n, "narrow", 0, &narrow));
    return dt_onnx_set_bits(imp, n, t->out_bits, is_signed, narrow, &t->out);
}

/* The last quantizer, of the place that a line has made; low is 0 where nothing below it comes in. */
static dt_status add_last(dt_onnx_import *imp, const dt_onnx_node *n, const truncation *t, int is_positive,
                          const dt_onnx_place *line)
{
    float scale = (float)t->out_scale;
    dt_onnx_quantizer q = { &scale, 1, 0, n->in[n->n_in >= 6 ? 4 : 1], t->out };

    if (is_positive) q.grid.low = 0;
    return dt_onnx_quantize_place(imp, n, &q, line);
}

/* Two numbers for each channel of a value; NULL without memory. */
static dt_onnx_line line_of(const dt_onnx_import *imp, int value, float factor, float sum)
{
    const dt_shape *s = dt_graph_shape(imp->graph, value);
    dt_onnx_line line = { s->dim[s->ndim - 1], NULL, NULL, 0 };

    line.factor = malloc((size_t)line.channels * sizeof *line.factor);
    line.sum = malloc((size_t)line.channels * sizeof *line.sum);
    for (int64_t c = 0; line.factor && line.sum && c < line.channels; c++) {
        line.factor[c] = factor;
        line.sum[c] = sum;
    }
    return line;
}

/* 1 if a value cannot be below 0, which a line of factors above 0 and sums not below does not change. */
static int is_positive(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    while (n && (n->kind == DT_OP_DEQUANTIZE || n->kind == DT_OP_AFFINE)) {
        for (int64_t c = 0; n->kind == DT_OP_AFFINE && c < dt_count(dt_graph_shape(g, n->in[1])); c++) {
            const float *factor = g->value[n->in[1]]->data, *sum = g->value[n->in[2]]->data;
            if (factor[c] < 0.0f || sum[c] < 0.0f) return 0;
        }
        value = n->in[0];
        n = dt_graph_maker(g, value);
    }
    return g->value[value]->facts.n_scale > 0 ? g->value[value]->facts.qmin >= 0 : dt_is_positive(g, value);
}

static dt_status add_floor(dt_onnx_import *imp, const dt_onnx_node *n, const truncation *t)
{
    const double each = t->out_scale / t->scale / (double)(1 << t->shift), half = t->scale / 2.0 * each;
    dt_onnx_place p = *dt_onnx_in(imp, n, 0);
    char name[DT_ONNX_NAME];

    DT_TRY(dt_onnx_whole(imp, n, 0, &p.value));
    p.view = -1;
    const int positive = is_positive(imp->graph, p.value);
    dt_onnx_line line = line_of(imp, p.value, (float)each, (float)half);
    line.is_only = imp->n_readers[n->in[0]] == 1;
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_add_line(imp, name, &line, &p.value));
    return add_last(imp, n, t, positive, &p);
}

/* y = out_scale / 2^k * q of the codes q */
static dt_status add_in_two(dt_onnx_import *imp, const dt_onnx_node *n, const truncation *t)
{
    const int most = (1 << t->in_bits) - 1;
    float scale = (float)t->scale;
    dt_onnx_quantizer whole = { &scale, 1, 0, n->in[1], { -most, most, 0, DT_TO_HALF_EVEN, 0 } };
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    const int positive = x->view < 0 && is_positive(imp->graph, x->value);
    char name[DT_ONNX_NAME];

    if (positive) whole.grid.low = 0;
    DT_TRY(dt_onnx_quantize_input(imp, n, &whole));
    dt_onnx_place p = imp->place[n->out[0]];
    const dt_onnx_line line = line_of(imp, p.value, (float)ldexp((double)(float)t->out_scale, -t->shift), 0.0f);
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_add_codes_line(imp, name, &line, &p.value));
    return add_last(imp, n, t, positive, &p);
}

dt_status dt_onnx_add_trunc(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x;
    truncation t;

    DT_TRY(dt_onnx_computed(imp, n, 0, &x));
    DT_TRY(read_truncation(imp, n, &t));
    return t.out.rounding == DT_TO_FLOOR ? add_floor(imp, n, &t) : add_in_two(imp, n, &t);
}
