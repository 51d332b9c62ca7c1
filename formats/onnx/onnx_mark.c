/*
 * onnx_mark.c - how a file of the scale 1 marks integers as codes, in three styles. See onnx_export.h.
 *
 *   qdq    [Clip,] QuantizeLinear, DequantizeLinear    8 bits hold what a Clip of reals has left
 *   qcdq   QuantizeLinear, Clip, DequantizeLinear      the Clip limits the codes of 8 bits
 *   qonnx  [Clip,] Quant                               with the bits, and whether codes are signed and narrow
 *
 * Sources: ONNX's operators; QONNX, arXiv 2206.07527, for Quant and for the chain that its authors call QCDQ.
 */
#include "onnx_export.h"
#include "onnx.h"

#include <stdlib.h>

/* A number of bits as QONNX has them. */
typedef struct {
    int bits, is_signed, narrow;
    int is_whole; /* 1: its codes are those that are asked for; 0: there are more */
} format;

static format format_of(dt_onnx_codes c)
{
    format f = { .bits = 1, .is_signed = c.low < 0 };

    for (;; f.bits++) {
        const int high = f.is_signed ? (1 << (f.bits - 1)) - 1 : (1 << f.bits) - 1;
        const int low = f.is_signed ? -(1 << (f.bits - 1)) : 0;
        if (c.high > high || c.low < low) continue;
        f.narrow = f.is_signed ? c.low == low + 1 && c.high == high : c.low == 0 && c.high == high - 1;
        f.is_whole = f.narrow || (c.low == low && c.high == high);
        return f;
    }
}

/* A constant NAME and part: one code of 8 bits. */
static dt_onnx_name code_constant(dt_onnx_export *e, const char *name, const char *part, int is_signed, int code)
{
    const dt_onnx_name out = dt_onnx_join(name, part);
    const int8_t as_signed = (int8_t)code;
    const uint8_t as_unsigned = (uint8_t)code;

    dt_onnx_put_tensor(&e->w, &(dt_onnx_new_tensor){ .name = out.s,
                                                     .type = is_signed ? DT_ONNX_INT8 : DT_ONNX_UINT8,
                                                     .data = is_signed ? (const void *)&as_signed : &as_unsigned });
    return out;
}

static dt_onnx_name number(dt_onnx_export *e, const char *name, const char *part, float v)
{
    const dt_onnx_name out = dt_onnx_join(name, part);

    dt_onnx_put_tensor(&e->w, &(dt_onnx_new_tensor){ .name = out.s, .type = DT_ONNX_FLOAT, .data = &v });
    return out;
}

static void put_quant(dt_onnx_export *e, const dt_onnx_name *in, const char *name, const format *f)
{
    const dt_onnx_name scale = number(e, name, ".scale", 1.0f), zero = number(e, name, ".zero_point", 0.0f),
                       bits = number(e, name, ".bits", (float)f->bits);
    const dt_onnx_new_node n = { .op = "Quant",
                                 .domain = DT_ONNX_QONNX_DOMAIN,
                                 .in = { in->s, scale.s, zero.s, bits.s },
                                 .n_in = 4,
                                 .out = name,
                                 .attribute = { { .name = "signed", .integer = f->is_signed },
                                                { .name = "narrow", .integer = f->narrow },
                                                { .name = "rounding_mode", .text = "ROUND" } },
                                 .n_attributes = 3 };

    dt_onnx_put_node(&e->w, &n);
}

/* Adds a Clip of reals. */
static dt_onnx_name limit_reals(dt_onnx_export *e, const dt_onnx_name *in, dt_onnx_codes c)
{
    const dt_onnx_name clip[] = { *in, number(e, in->s, ".least", (float)c.low),
                                  number(e, in->s, ".most", (float)c.high) };
    const dt_onnx_name out = dt_onnx_join(in->s, ".limited");

    dt_onnx_put_plain(e, "Clip", clip, 3, out.s);
    return out;
}

/* Adds a Clip of codes of 8 bits. */
static dt_onnx_name limit_codes(dt_onnx_export *e, const dt_onnx_name *in, const char *name, dt_onnx_codes c)
{
    const int is_signed = c.low < 0;
    const dt_onnx_name clip[] = { *in, code_constant(e, name, ".least", is_signed, c.low),
                                  code_constant(e, name, ".most", is_signed, c.high) };
    const dt_onnx_name out = dt_onnx_join(name, ".limited");

    dt_onnx_put_plain(e, "Clip", clip, 3, out.s);
    return out;
}

/* Adds QuantizeLinear and DequantizeLinear, and what limits the codes. */
static void put_pair(dt_onnx_export *e, const dt_onnx_name *in, const char *name, dt_onnx_codes c)
{
    const int is_signed = c.low < 0, is_all = is_signed ? c.low == INT8_MIN && c.high == INT8_MAX : c.high == UINT8_MAX;
    dt_onnx_name args[] = { *in, number(e, name, ".scale", 1.0f), code_constant(e, name, ".zero_point", is_signed, 0) };
    const dt_onnx_name codes = dt_onnx_join(name, ".codes");

    if (e->style == DT_ONNX_QDQ && !is_all) args[0] = limit_reals(e, in, c);
    dt_onnx_put_plain(e, "QuantizeLinear", args, 3, codes.s);
    args[0] = codes;
    if (e->style == DT_ONNX_QCDQ && !is_all) args[0] = limit_codes(e, &codes, name, c);
    dt_onnx_put_plain(e, "DequantizeLinear", args, 3, name);
}

void dt_onnx_mark(dt_onnx_export *e, const dt_onnx_name *in, const char *name, dt_onnx_codes codes)
{
    const format f = format_of(codes);

    if (e->style != DT_ONNX_QONNX) {
        put_pair(e, in, name, codes);
        return;
    }
    const dt_onnx_name limited = f.is_whole ? *in : limit_reals(e, in, codes);
    put_quant(e, &limited, name, &f);
}

/* The codes of filters as reals, for QONNX. */
static void put_filters_as_reals(dt_onnx_export *e, const char *name, const dt_shape *shape, const int8_t *data)
{
    const int64_t count = dt_count(shape);
    float *reals = malloc((size_t)count * sizeof *reals);

    for (int64_t i = 0; reals && i < count; i++) reals[i] = (float)data[i];
    if (reals)
        dt_onnx_put_filters(e, name, DT_ONNX_FLOAT, shape, reals);
    else
        e->w.tensors.failed = 1;
    free(reals);
}

dt_onnx_name dt_onnx_mark_filters(dt_onnx_export *e, const char *name, const dt_shape *shape, const int8_t *data,
                                  dt_onnx_codes codes)
{
    const dt_onnx_name real = dt_onnx_join(name, ".real"), own = dt_onnx_join(name, "");
    const format f = format_of(codes);

    if (e->style == DT_ONNX_QONNX) {
        put_filters_as_reals(e, name, shape, data);
        put_quant(e, &own, real.s, &f);
        return real;
    }
    dt_onnx_put_filters(e, name, DT_ONNX_INT8, shape, data);
    const dt_onnx_name limited = e->style == DT_ONNX_QCDQ ? limit_codes(e, &own, name, codes) : own;
    const dt_onnx_name args[] = { limited, number(e, real.s, ".scale", 1.0f) };
    dt_onnx_put_plain(e, "DequantizeLinear", args, 2, real.s);
    return real;
}
