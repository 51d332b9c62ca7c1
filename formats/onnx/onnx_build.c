/*
 * onnx_build.c - what nodes of an export have in common: forms of values, constants, windows. See onnx_export.h.
 */
#include "onnx_export.h"

#include "onnx.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

dt_onnx_name dt_onnx_join(const char *name, const char *part)
{
    const size_t n = strlen(name), n_part = strlen(part);
    dt_onnx_name out;

    assert(n + n_part < sizeof out.s); /* names of a graph have their limit, and parts are short */
    memcpy(out.s, name, n);
    memcpy(out.s + n, part, n_part + 1);
    return out;
}

dt_onnx_name dt_onnx_name_of(const dt_onnx_export *e, int value, const char *part)
{
    return dt_onnx_join(dt_graph_name(e->g, value), part);
}

void dt_onnx_put_plain(dt_onnx_export *e, const char *op, const dt_onnx_name *in, int n_in, const char *out)
{
    dt_onnx_new_node n = { .op = op, .n_in = n_in, .out = out };

    for (int k = 0; k < n_in; k++) n.in[k] = in[k].s;
    dt_onnx_put_node(&e->w, &n);
}

/* ---- constants ---- */

dt_onnx_name dt_onnx_real_constant(dt_onnx_export *e, int value, const char *part, float number)
{
    const dt_onnx_name name = dt_onnx_name_of(e, value, part);

    dt_onnx_put_tensor(&e->w, &(dt_onnx_new_tensor){ .name = name.s, .type = DT_ONNX_FLOAT, .data = &number });
    return name;
}

/* K,taps,C of `each` bytes as K,C,taps; NULL: there is no memory. */
static void *channels_before_taps(const char *w, const dt_shape *s, size_t each)
{
    const size_t filters = (size_t)s->dim[0], taps = (size_t)(s->dim[1] * s->dim[2]), channels = (size_t)s->dim[3];
    char *to = malloc(filters * taps * channels * each + 1);

    for (size_t k = 0; to && k < filters; k++) {
        for (size_t t = 0; t < taps; t++) {
            for (size_t c = 0; c < channels; c++)
                memcpy(to + ((k * channels + c) * taps + t) * each, w + ((k * taps + t) * channels + c) * each, each);
        }
    }
    return to;
}

void dt_onnx_put_filters(dt_onnx_export *e, const char *name, int type, const dt_shape *shape, const void *data)
{
    dt_onnx_new_tensor t = { .name = name, .type = type, .n_dims = shape->ndim, .data = data };
    void *turned = NULL;

    memcpy(t.dim, shape->dim, (size_t)shape->ndim * sizeof *t.dim);
    if (shape->ndim == 4) {
        const int64_t turned_dim[] = { shape->dim[0], shape->dim[3], shape->dim[1], shape->dim[2] };
        memcpy(t.dim, turned_dim, sizeof turned_dim);
        t.data = turned = channels_before_taps(data, shape, dt_onnx_type_bytes(type));
    }
    if (t.data)
        dt_onnx_put_tensor(&e->w, &t);
    else
        e->w.tensors.failed = 1;
    free(turned);
}

/* ---- forms ---- */

void dt_onnx_note(dt_onnx_export *e, int value, int is_flat)
{
    e->has[value] |= (unsigned char)(DT_ONNX_IS_THERE | (is_flat ? DT_ONNX_IS_FLAT : 0));
}

int dt_onnx_is_flat(const dt_onnx_export *e, int value)
{
    return (e->has[value] & DT_ONNX_IS_FLAT) != 0;
}

static int has_cells(const dt_onnx_export *e, int value)
{
    const dt_shape *s = dt_graph_shape(e->g, value);

    return s->ndim == 4 && s->dim[1] * s->dim[2] > 1;
}

/* Flat in the order h,w,c, which is that of what reads it. */
static void make_flat(dt_onnx_export *e, int value, const dt_onnx_name *map, const char *out)
{
    static const int64_t channels_last[] = { 0, 2, 3, 1 };
    const dt_onnx_name turned = dt_onnx_join(map->s, ".channels_last");
    const int is_turned = has_cells(e, value);
    const dt_onnx_new_node turn = { .op = "Transpose",
                                    .in = { map->s },
                                    .n_in = 1,
                                    .out = turned.s,
                                    .attribute = { { .name = "perm", .integers = channels_last, .n = 4 } },
                                    .n_attributes = 1 };
    const dt_onnx_new_node flat = { .op = "Flatten",
                                    .in = { is_turned ? turned.s : map->s },
                                    .n_in = 1,
                                    .out = out,
                                    .attribute = { { .name = "axis", .integer = 1 } },
                                    .n_attributes = 1 };

    if (is_turned) dt_onnx_put_node(&e->w, &turn);
    dt_onnx_put_node(&e->w, &flat);
}

void dt_onnx_put_flatten(dt_onnx_export *e, int value, const char *out)
{
    const dt_onnx_name in = dt_onnx_reals_of(e, value, dt_onnx_is_flat(e, value));

    if (dt_onnx_is_flat(e, value))
        dt_onnx_put_plain(e, "Identity", &in, 1, out);
    else
        make_flat(e, value, &in, out);
}

/* N,C as N,C,1,1; a 0 stands for the batch. */
static void make_map(dt_onnx_export *e, const dt_onnx_name *flat, int64_t channels, const char *out)
{
    const int64_t dim[] = { 0, channels, 1, 1 };
    const dt_onnx_name in[] = { *flat, dt_onnx_join(out, ".shape") };

    dt_onnx_put_tensor(&e->w, &(dt_onnx_new_tensor){ in[1].s, DT_ONNX_INT64, 1, { 4 }, dim });
    dt_onnx_put_plain(e, "Reshape", in, 2, out);
}

/* The reals in the form that the value has. */
static dt_onnx_name own_reals(dt_onnx_export *e, int value)
{
    const dt_onnx_name in[] = { dt_onnx_name_of(e, value, ""), dt_onnx_name_of(e, value, ".scale"),
                                dt_onnx_name_of(e, value, ".zero_point") };
    const dt_onnx_name real = dt_onnx_name_of(e, value, ".real");

    if (!e->p || e->is_exact || dt_program_value(e->p, value).kind != DT_VALUE_CODE) return in[0];
    if (!(e->has[value] & DT_ONNX_HAS_REAL)) dt_onnx_put_plain(e, "DequantizeLinear", in, 3, real.s);
    e->has[value] |= DT_ONNX_HAS_REAL;
    return real;
}

dt_onnx_name dt_onnx_reals_of(dt_onnx_export *e, int value, int is_flat)
{
    const dt_onnx_name own = own_reals(e, value), other = dt_onnx_join(own.s, is_flat ? ".flat" : ".map");

    if (is_flat == dt_onnx_is_flat(e, value)) return own;
    if (e->has[value] & DT_ONNX_HAS_OTHER) return other;
    e->has[value] |= DT_ONNX_HAS_OTHER;
    if (is_flat)
        make_flat(e, value, &own, other.s);
    else
        make_map(e, &own, dt_graph_count(e->g, value), other.s);
    return other;
}

void dt_onnx_quantize(dt_onnx_export *e, const dt_onnx_name *from, int value, int is_flat)
{
    const int8_t zero = (int8_t)dt_codes_zero(e->g, value);
    const dt_onnx_name out = dt_onnx_name_of(e, value, "");
    const dt_onnx_name in[] = { *from, dt_onnx_real_constant(e, value, ".scale", dt_program_scale(e->p, value)),
                                dt_onnx_name_of(e, value, ".zero_point") };

    dt_onnx_put_tensor(&e->w, &(dt_onnx_new_tensor){ .name = in[2].s, .type = DT_ONNX_INT8, .data = &zero });
    dt_onnx_put_plain(e, "QuantizeLinear", in, 3, out.s);
    dt_onnx_note(e, value, is_flat);
}

void dt_onnx_put_concat(dt_onnx_export *e, const dt_graph_node *n, const char *out)
{
    static const int axis_of[] = { 0, 2, 3, 1 }; /* of N,H,W,C in N,C,H,W */
    const int is_flat = dt_graph_shape(e->g, n->out)->ndim == 2, axis = ((const dt_concat_params *)n->params)->axis;
    dt_onnx_new_node concat = { .op = "Concat",
                                .n_in = n->n_in,
                                .out = out,
                                .attribute = { { .name = "axis", .integer = is_flat ? axis : axis_of[axis] } },
                                .n_attributes = 1 };
    dt_onnx_name in[DT_MAX_IN];

    for (int k = 0; k < n->n_in; k++) {
        in[k] = dt_onnx_reals_of(e, n->in[k], is_flat);
        concat.in[k] = in[k].s;
    }
    dt_onnx_put_node(&e->w, &concat);
}

/* ---- operators of one attribute ---- */

static void put_with(dt_onnx_export *e, const char *op, const dt_onnx_name *in, int n_in, const char *out,
                     dt_onnx_new_attribute attribute)
{
    dt_onnx_new_node n = { .op = op, .n_in = n_in, .out = out, .attribute = { attribute }, .n_attributes = 1 };

    for (int k = 0; k < n_in; k++) n.in[k] = in[k].s;
    dt_onnx_put_node(&e->w, &n);
}

void dt_onnx_put_gemm(dt_onnx_export *e, const dt_onnx_name *in, int n_in, const char *out)
{
    put_with(e, "Gemm", in, n_in, out, (dt_onnx_new_attribute){ .name = "transB", .integer = 1 });
}

void dt_onnx_put_softmax(dt_onnx_export *e, const dt_onnx_name *in, const char *out)
{
    put_with(e, "Softmax", in, 1, out, (dt_onnx_new_attribute){ .name = "axis", .integer = 1 });
}

/* ---- windows ---- */

static void copy2(int64_t to[2], const int from[2])
{
    to[0] = from[0];
    to[1] = from[1];
}

static void set_window(dt_onnx_new_node *n, const dt_onnx_window *w)
{
    n->attribute[n->n_attributes++] = (dt_onnx_new_attribute){ .name = "kernel_shape", .integers = w->kernel, .n = 2 };
    n->attribute[n->n_attributes++] = (dt_onnx_new_attribute){ .name = "strides", .integers = w->stride, .n = 2 };
    n->attribute[n->n_attributes++] = (dt_onnx_new_attribute){ .name = "pads", .integers = w->pad, .n = 4 };
}

void dt_onnx_put_conv(dt_onnx_export *e, const dt_graph_node *conv, const dt_shape *filters, const dt_onnx_name *in,
                      int n_in, const char *out)
{
    const dt_conv_params *p = conv->params;
    dt_onnx_window w = { .kernel = { filters->dim[1], filters->dim[2] } };
    dt_onnx_new_node n = { .op = "Conv", .n_in = n_in, .out = out };

    copy2(w.stride, p->stride);
    copy2(w.dilation, p->dilation);
    copy2(w.pad, p->pad);
    copy2(w.pad + 2, p->pad + 2);
    for (int k = 0; k < n_in; k++) n.in[k] = in[k].s;
    set_window(&n, &w);
    n.attribute[n.n_attributes++] = (dt_onnx_new_attribute){ .name = "dilations", .integers = w.dilation, .n = 2 };
    n.attribute[n.n_attributes++] = (dt_onnx_new_attribute){ .name = "group", .integer = p->groups };
    dt_onnx_put_node(&e->w, &n);
}

void dt_onnx_put_pool(dt_onnx_export *e, const dt_graph_node *pool, const dt_onnx_name *in, const char *out)
{
    const dt_pool_params *p = pool->params; /* the first member of a QAVGPOOL's, too */
    const int is_max = pool->kind == DT_OP_MAXPOOL, is_whole = p->window[0] == 0;
    dt_onnx_window w = { .kernel = { 0 } };
    dt_onnx_new_node n = { .in = { in->s }, .n_in = 1, .out = out };

    n.op = is_whole ? (is_max ? "GlobalMaxPool" : "GlobalAveragePool") : is_max ? "MaxPool" : "AveragePool";
    copy2(w.kernel, p->window);
    copy2(w.stride, p->stride);
    copy2(w.pad, p->pad);
    copy2(w.pad + 2, p->pad + 2);
    if (!is_whole) set_window(&n, &w);
    if (!is_whole && !is_max)
        n.attribute[n.n_attributes++] =
            (dt_onnx_new_attribute){ .name = "count_include_pad", .integer = p->count_include_pad };
    dt_onnx_put_node(&e->w, &n);
}
