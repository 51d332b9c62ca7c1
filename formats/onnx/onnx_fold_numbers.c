/*
 * onnx_fold_numbers.c - constants whose numbers are computed: Cast, Add, Sub, Mul, Div and Pow. Interface: onnx_fold.h.
 *
 * Integers wrap, as 64 bits do. Operands of fewer dimensions, or of one element along a dimension, are repeated.
 */
#include "onnx_fold.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double real_at(const void *from, int type, int64_t i)
{
    return type == DT_ONNX_FLOAT ? (double)((const float *)from)[i] : (double)dt_onnx_integer_at(from, type, i);
}

/* A real is cut off; one that no 64 bits hold is refused. */
dt_status dt_onnx_fold_cast(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_tensor *t = NULL;
    int64_t type;
    void *from, *to;

    DT_TRY(dt_onnx_operand(imp, n, 0, &t));
    const int was = t->type;
    const int64_t count = dt_onnx_count(t);
    DT_TRY(dt_onnx_int(imp, n, "to", 0, &type));
    DT_ONNX_CHECK(dt_onnx_type_bytes(was) > 0 && type >= 0 && type <= INT8_MAX && dt_onnx_type_bytes((int)type) > 0,
                  DT_ERR_UNSUPPORTED, imp, n, "of %s to %s; understood are FLOAT, INT64, INT32, INT8, UINT8",
                  dt_onnx_type_name(was), dt_onnx_type_name((int)(type & INT8_MAX)));
    DT_TRY(dt_onnx_numbers_of(imp, t, &from));
    dt_status s = dt_onnx_make(imp, n, (int)type, t->n_dims, t->dim, &to);
    const size_t each = dt_onnx_type_bytes((int)type);
    for (int64_t i = 0; s == DT_OK && i < count; i++) {
        const double real = real_at(from, was, i);
        if (type == DT_ONNX_FLOAT) {
            ((float *)to)[i] = (float)real;
        } else if (was == DT_ONNX_FLOAT && !(fabs(real) < 9e18)) {
            s = dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: Cast '%.80s': number %" PRId64 " is %g, no integer",
                         imp->m->path, dt_onnx_node_name(imp->m, n), i, real);
        } else {
            const int64_t whole = was == DT_ONNX_FLOAT ? (int64_t)real : dt_onnx_integer_at(from, was, i);
            memcpy((char *)to + (size_t)i * each, &whole, each);
        }
    }
    free(from);
    return s;
}

/* Sets the walks over two operands of the dimensions that both make together. */
static dt_status broadcast(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_tensor *const t[2],
                           dt_onnx_walk w[2])
{
    const int n_dims = t[0]->n_dims > t[1]->n_dims ? t[0]->n_dims : t[1]->n_dims;

    for (int k = 0; k < n_dims; k++) {
        const int a = k - n_dims + t[0]->n_dims, b = k - n_dims + t[1]->n_dims;
        const int64_t size[2] = { a < 0 ? 1 : t[0]->dim[a], b < 0 ? 1 : t[1]->dim[b] };
        DT_ONNX_CHECK(size[0] == size[1] || size[0] == 1 || size[1] == 1, DT_ERR_FORMAT, imp, n,
                      "operands of %" PRId64 " and %" PRId64 " elements side by side", size[0], size[1]);
        for (int i = 0; i < 2; i++) {
            w[i].dim[k] = size[0] == 1 ? size[1] : size[0];
            w[i].step[k] = size[i] == 1 ? 0 : dt_onnx_distance(t[i], i == 0 ? a : b);
        }
    }
    w[0].n_dims = w[1].n_dims = n_dims;
    return DT_OK;
}

static float float_result(char op, float a, float b)
{
    if (op == 'P') return powf(a, b);
    return op == 'A' ? a + b : op == 'S' ? a - b : op == 'M' ? a * b : a / b;
}

/* Wraps as 64 bits do. b is not 0 where it divides. */
static int64_t integer_result(char op, int64_t a, int64_t b)
{
    const uint64_t x = (uint64_t)a, y = (uint64_t)b;

    if (op == 'D') return b == -1 ? (int64_t)(0 - x) : a / b;
    return (int64_t)(op == 'A' ? x + y : op == 'S' ? x - y : x * y);
}

/* Add, Sub, Mul, Div, and Pow of reals: known by their first letters. */
static dt_status compute(dt_onnx_import *imp, const dt_onnx_node *n, int type, const dt_onnx_walk w[2],
                         void *const from[2])
{
    void *to;

    DT_TRY(dt_onnx_make(imp, n, type, w[0].n_dims, w[0].dim, &to));
    for (int64_t i = 0, count = dt_onnx_walk_count(&w[0]); i < count; i++) {
        const int64_t a = dt_onnx_walk_at(&w[0], i), b = dt_onnx_walk_at(&w[1], i);
        if (type == DT_ONNX_FLOAT) {
            ((float *)to)[i] = float_result(n->op[0], ((float *)from[0])[a], ((float *)from[1])[b]);
            continue;
        }
        const int64_t x = dt_onnx_integer_at(from[0], type, a), y = dt_onnx_integer_at(from[1], type, b);
        DT_ONNX_CHECK(n->op[0] != 'D' || y != 0, DT_ERR_FORMAT, imp, n, "element %" PRId64 " is divided by 0", i);
        const int64_t z = integer_result(n->op[0], x, y);
        if (type == DT_ONNX_INT64)
            ((int64_t *)to)[i] = z;
        else
            ((int32_t *)to)[i] = (int32_t)(uint32_t)z;
    }
    return DT_OK;
}

dt_status dt_onnx_fold_arithmetic(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_tensor *t[2] = { NULL, NULL };
    void *from[2] = { NULL, NULL };
    dt_onnx_walk w[2] = { { .start = 0 }, { .start = 0 } };

    for (int k = 0; k < 2; k++) DT_TRY(dt_onnx_operand(imp, n, k, &t[k]));
    const int type = t[0]->type;
    DT_ONNX_CHECK(type == t[1]->type && (type == DT_ONNX_FLOAT || type == DT_ONNX_INT64 || type == DT_ONNX_INT32),
                  DT_ERR_UNSUPPORTED, imp, n, "constants of %s and %s; understood are FLOAT, INT64 and INT32",
                  dt_onnx_type_name(type), dt_onnx_type_name(t[1]->type));
    DT_ONNX_CHECK(n->op[0] != 'P' || type == DT_ONNX_FLOAT, DT_ERR_UNSUPPORTED, imp, n,
                  "constants of %s; understood is FLOAT", dt_onnx_type_name(type));
    DT_TRY(broadcast(imp, n, t, w));
    dt_status s = dt_onnx_numbers_of(imp, t[0], &from[0]);
    if (s == DT_OK) s = dt_onnx_numbers_of(imp, t[1], &from[1]);
    if (s == DT_OK) s = compute(imp, n, type, w, from);
    free(from[0]);
    free(from[1]);
    return s;
}
