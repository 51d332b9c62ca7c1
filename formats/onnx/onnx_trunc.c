/*
 * onnx_trunc.c - QONNX's Trunc: integers lose their last k bits.
 *
 *   q = round(x / scale),  code = integer(q / 2^k),  y = code * out_scale
 *
 * of version 1 k = in_bits - out_bits and out_scale = scale; of version 2 out_scale is input 4, k is
 * round(log2(out_scale / scale)), and codes are limited to out_bits. q is a SCALE_QUANT, and the code another of
 * out_scale * q / 2^k, which an AFFINE makes. That is exact: the division gives back q / 2^k.
 *
 * Source: trunc.py of the package qonnx 1.0.  Tests: tests/formats/test_onnx_quant.c.
 */
#include "onnx_quant.h"

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

/* Adds y = factor * code of each number of *value, which is codes. */
static dt_status add_factor(dt_onnx_import *imp, const char *name, float factor, int *value)
{
    const dt_shape *s = dt_graph_shape(imp->graph, *value);
    const int64_t channels = s->dim[s->ndim - 1];
    dt_onnx_line line = { channels, malloc((size_t)channels * sizeof *line.factor),
                          calloc((size_t)channels, sizeof *line.sum), 0 };

    for (int64_t c = 0; line.factor && c < channels; c++) line.factor[c] = factor;
    return dt_onnx_add_codes_line(imp, name, &line, value);
}

dt_status dt_onnx_add_trunc(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x;
    char name[DT_ONNX_NAME];
    truncation t;

    DT_TRY(dt_onnx_computed(imp, n, 0, &x));
    DT_TRY(read_truncation(imp, n, &t));
    float scale = (float)t.scale;
    const int most = (1 << t.in_bits) - 1;
    const dt_onnx_quantizer whole = { &scale, 1, 0, n->in[1], { -most, most, 0, DT_TO_HALF_EVEN, 0 } };
    DT_TRY(dt_onnx_quantize_input(imp, n, &whole));
    dt_onnx_place *p = &imp->place[n->out[0]];
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(add_factor(imp, name, (float)ldexp((double)(float)t.out_scale, -t.shift), &p->value));
    float out_scale = (float)t.out_scale;
    const dt_onnx_quantizer last = { &out_scale, 1, 0, n->in[n->n_in >= 6 ? 4 : 1], t.out };
    return dt_onnx_quantize_place(imp, n, &last, p);
}
