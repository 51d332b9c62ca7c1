/*
 * tflite_matrix.c - TRANSPOSE and BATCH_MATMUL of a file as nodes of a graph.
 *
 * A tensor is seen as what one image has of it: a dimension of 1 says nothing, and is left out. A transposition then is
 * a row of exchanges [rows][columns][inner] -> [columns][rows][inner], which TRANSPOSE does: from the last that moves
 * to the first, each dimension comes to the front. Dimensions that stay beside each other are one.
 *
 * BATCH_MATMUL of codes is QMATMUL. A constant operand is CODES of the file's integers less their zero point. They have
 * 16 bits, because a zero point at one end of int8 puts them beyond 8.
 *
 * Tests: tests/formats/test_tflite_matrix.c.
 */
#include "tflite_codes.h"

#include "../../quant/program/program_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- TRANSPOSE ---- */

/* Dimensions in an order: which of the tensor's each is, and its size. */
typedef struct {
    int n, of[DT_TFLITE_MAX_DIMS];
    int64_t size[DT_TFLITE_MAX_DIMS];
} order;

static dt_status read_axes(const dt_tflite_import *imp, const dt_tflite_operator *o, int axes[DT_TFLITE_MAX_DIMS])
{
    const dt_tflite_tensor *x = dt_tflite_in(imp, o, 0), *t = dt_tflite_in(imp, o, 1);
    unsigned seen = 0;

    DT_TFLITE_CHECK(t->data && t->type == DT_TFLITE_INT32 && dt_tflite_count(t) == x->n_dims, DT_ERR_UNSUPPORTED, imp,
                    o, "its axes are %" PRId64 " numbers of %s; understood are %d constant INT32", dt_tflite_count(t),
                    dt_tflite_type_name((int)t->type), x->n_dims);
    for (int k = 0; k < x->n_dims; k++) {
        const int32_t axis = ((const int32_t *)t->data)[k];
        DT_TFLITE_CHECK(axis >= 0 && axis < x->n_dims && !(seen >> axis & 1u), DT_ERR_FORMAT, imp, o,
                        "axis %" PRId32 " of %d, which is no such axis, or named twice", axis, x->n_dims);
        seen |= 1u << axis;
        axes[k] = axis;
    }
    return DT_OK;
}

/* The dimensions that are larger than 1, in the order of `axes`; NULL: in the tensor's. */
static order order_of(const dt_tflite_tensor *x, const int *axes)
{
    order r = { .n = 0 };

    for (int k = 0; k < x->n_dims; k++) {
        const int axis = axes ? axes[k] : k;
        if (x->dim[axis] == 1) continue;
        r.of[r.n] = axis;
        r.size[r.n++] = x->dim[axis];
    }
    return r;
}

static int place_of(const order *r, int axis)
{
    int k = 0;

    while (r->of[k] != axis) k++;
    return k;
}

static void take_out(order *r, int k)
{
    r->n--;
    for (; k < r->n; k++) {
        r->of[k] = r->of[k + 1];
        r->size[k] = r->size[k + 1];
    }
}

/* Makes one dimension of two that stand beside each other in both. */
static void join(order *from, order *to)
{
    for (int k = 0; k + 1 < from->n;) {
        const int at = place_of(to, from->of[k]);
        if (at + 1 == to->n || to->of[at + 1] != from->of[k + 1]) {
            k++;
            continue;
        }
        from->size[k] *= from->size[k + 1];
        to->size[at] = from->size[k];
        take_out(from, k + 1);
        take_out(to, at + 1);
    }
}

/* Brings dimension k to the front, and gives the params of that. */
static dt_transpose_params bring(order *r, int k)
{
    dt_transpose_params p = { 1, r->size[k], 4, { 0 } };
    const int of = r->of[k];
    int64_t inner = 1;

    for (int i = 0; i < k; i++) p.rows *= r->size[i];
    for (int i = k + 1; i < r->n; i++) inner *= r->size[i];
    for (int i = k; i > 0; i--) {
        r->of[i] = r->of[i - 1];
        r->size[i] = r->size[i - 1];
    }
    r->of[0] = of;
    r->size[0] = p.columns;
    p.dim[1] = p.columns;
    p.dim[2] = p.rows;
    p.dim[3] = inner;
    return p;
}

/* Adds an exchange NAME.turn_I, or NAME if it is the last, whose shape is then the output's. */
static dt_status add_exchange(dt_tflite_import *imp, int i, dt_transpose_params p, const dt_shape *last, int *x)
{
    char part[32] = "";

    if (last)
        memcpy(p.dim + 1, last->dim + 1, 3 * sizeof *p.dim);
    else
        snprintf(part, sizeof part, ".turn_%d", i);
    DT_TRY(dt_tflite_node(imp, DT_OP_TRANSPOSE, part, &p, x, 1, x));
    return DT_OK;
}

dt_status dt_tflite_add_transpose(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_shape map = dt_tflite_map_shape(dt_tflite_out(imp, o));
    int axes[DT_TFLITE_MAX_DIMS], x = -1;

    DT_TRY(dt_tflite_map(imp, o, 0, &x));
    DT_TFLITE_CHECK(imp->padded[o->in[0]] < 0, DT_ERR_UNSUPPORTED, imp, o, "input %d comes from a PAD", 0);
    DT_TRY(read_axes(imp, o, axes));
    order from = order_of(dt_tflite_in(imp, o, 0), NULL), to = order_of(dt_tflite_in(imp, o, 0), axes);
    join(&from, &to);
    int last = to.n - 1; /* that moves */
    while (last >= 0 && from.of[last] == to.of[last]) last--;
    for (int k = last; k >= 0; k--) {
        const int at = place_of(&from, to.of[k]);
        if (at == 0) continue; /* at first alone: then each stands behind the one before */
        DT_TRY(add_exchange(imp, k, bring(&from, at), k == 0 ? &map : NULL, &x));
    }
    return dt_tflite_reshape(imp, o, x);
}

/* ---- BATCH_MATMUL ---- */

/* A constant's integers less their zero point; NULL: there is no memory. */
static int16_t *codes_of(const dt_tflite_tensor *t)
{
    const int64_t n = dt_tflite_count(t);
    int16_t *to = malloc((size_t)n * sizeof *to);

    for (int64_t i = 0; to && i < n; i++) {
        const int q = t->type == DT_TFLITE_UINT8 ? ((const uint8_t *)t->data)[i] : ((const int8_t *)t->data)[i];
        to[i] = (int16_t)(q - t->zero[0]);
    }
    return to;
}

static dt_status add_matrix(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int *value, int *scale)
{
    const dt_tflite_tensor *t = dt_tflite_in(imp, o, k);
    const dt_shape shape = dt_tflite_map_shape(t), one = dt_vector(1);
    dt_codes_params range = { .most = 0 };
    int in[2];

    DT_TRY(dt_tflite_check_codes(imp, o, t));
    dt_tflite_range(t, DT_TFLITE_FUSED_NONE, &range.low, &range.high);
    DT_TRY(dt_tflite_add_state(imp, ".weight", &shape, DT_I16, codes_of(t), &in[0]));
    DT_TRY(dt_tflite_add_state(imp, ".weight_scale", &one, DT_F32, dt_program_one(t->scale[0]), &in[1]));
    DT_TRY(dt_tflite_node(imp, DT_OP_CODES, ".codes", &range, in, 2, value));
    *scale = in[1];
    return DT_OK;
}

static dt_status add_operand(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int *value, int *scale)
{
    const dt_tflite_tensor *t = dt_tflite_in(imp, o, k);
    const dt_shape map = dt_tflite_map_shape(t);

    if (t->data) return add_matrix(imp, o, k, value, scale);
    DT_TRY(dt_tflite_codes(imp, o, k, value, scale));
    return dt_tflite_as_shape(imp, k == 0 ? ".left" : ".right", &map, value);
}

dt_status dt_tflite_add_matmul(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *a = dt_tflite_in(imp, o, 0), *b = dt_tflite_in(imp, o, 1), *y = dt_tflite_out(imp, o);
    dt_qmatmul_params p = { .profile = DT_TFLITE_PROFILE,
                            .transpose_a = o->options.transpose[0],
                            .transpose_b = o->options.transpose[1] };
    int in[5], out;

    DT_TFLITE_CHECK(!a->data || !b->data, DT_ERR_UNSUPPORTED, imp, o,
                    "both of its %d operands are constant; understood is one of them", o->n_in);
    for (int k = 0; k < 2; k++) DT_TRY(add_operand(imp, o, k, &in[k], &in[k + 2]));
    DT_TRY(dt_tflite_check_codes(imp, o, y));
    p.shifted = dt_tflite_zero(b) != 0;
    p.zero = dt_tflite_zero(y);
    dt_tflite_range(y, DT_TFLITE_FUSED_NONE, &p.low, &p.high);
    DT_TRY(dt_tflite_add_scale(imp, o->out, &in[4]));
    DT_TRY(dt_tflite_node(imp, DT_OP_QMATMUL, "", &p, in, 5, &out));
    DT_TRY(dt_tflite_output(imp, o, out));
    return DT_OK;
}
