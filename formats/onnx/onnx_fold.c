/*
 * onnx_fold.c - computes nodes whose inputs are constant: the arithmetic of shapes, and weights that a file turns.
 *
 * Moving numbers (Slice, Transpose, Gather, Concat) takes any type, byte by byte; arithmetic takes FLOAT, INT64 and
 * INT32. Where only dimensions change, the numbers stay in the file. What may be made in all is limited, so that a
 * small file cannot ask for much.
 */
#include "onnx_layers.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- results ---- */

/* Makes `index` the output. */
static dt_status give(dt_onnx_import *imp, const dt_onnx_node *n, int index)
{
    const dt_onnx_tensor *t = &imp->m->tensor[index];
    dt_onnx_place *p = &imp->place[n->out[0]];

    p->kind = DT_ONNX_CONSTANT;
    p->tensor = index;
    p->name = n->out[0];
    p->n_dims = t->n_dims;
    memcpy(p->dim, t->dim, sizeof p->dim);
    return DT_OK;
}

/* Adds a constant with room for its numbers, which is the output. *data is that room. */
static dt_status make(dt_onnx_import *imp, const dt_onnx_node *n, int type, int n_dims, const int64_t *dim, void **data)
{
    const int64_t each = (int64_t)dt_onnx_type_bytes(type);
    int64_t count = 1, size[DT_ONNX_MAX_DIMS] = { 0 };
    int index;

    DT_ONNX_CHECK(each > 0, DT_ERR_UNSUPPORTED, imp, n,
                  "constants of %s; understood are FLOAT, INT64, INT32, INT8, "
                  "UINT8",
                  dt_onnx_type_name(type));
    for (int k = 0; k < n_dims; k++) {
        DT_ONNX_CHECK(dim[k] >= 0 && (count == 0 || dim[k] <= imp->fold_room / each / count), DT_ERR_UNSUPPORTED, imp,
                      n,
                      "a constant whose dimension %d is %" PRId64 ", more than what files may compute beforehand, "
                      "%" PRId64 " bytes more",
                      k, dim[k], imp->fold_room);
        count *= dim[k];
        size[k] = dim[k]; /* dim may move with the other constants */
    }
    imp->fold_room -= count * each;
    DT_TRY(dt_onnx_add_tensor(imp->m, &index));
    dt_onnx_tensor *t = &imp->m->tensor[index];
    t->type = type;
    t->n_dims = n_dims;
    memcpy(t->dim, size, sizeof size);
    t->data = *data = malloc((size_t)(count * each) + 1);
    DT_CHECK(t->data, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " numbers", imp->m->path, count);
    return give(imp, n, index);
}

/* The constant of input k, which is given. */
static dt_status operand(const dt_onnx_import *imp, const dt_onnx_node *n, int k, const dt_onnx_tensor **t)
{
    const dt_onnx_place *p = dt_onnx_in(imp, n, k);

    DT_ONNX_CHECK(p && !p->has_grid, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is %s; understood are constants that are no codes", k, p ? "codes" : "missing");
    *t = &imp->m->tensor[p->tensor];
    return DT_OK;
}

/* ---- moving numbers ---- */

/* Elements start + sum of i[k] step[k], for all i[k] < dim[k], in order. */
typedef struct {
    int n_dims;
    int64_t dim[DT_ONNX_MAX_DIMS], step[DT_ONNX_MAX_DIMS], start;
} walk;

/* Returns the element that comes i-th. */
static int64_t walk_at(const walk *w, int64_t i)
{
    int64_t at = w->start;

    for (int k = w->n_dims - 1; k >= 0; k--) {
        at += i % w->dim[k] * w->step[k];
        i /= w->dim[k];
    }
    return at;
}

static int64_t walk_count(const walk *w)
{
    int64_t n = 1;

    for (int k = 0; k < w->n_dims; k++) n *= w->dim[k];
    return n;
}

/* Makes the elements of a walk over an operand the output. */
static dt_status give_walk(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_tensor *t, const walk *w)
{
    const size_t each = dt_onnx_type_bytes(t->type);
    const int type = t->type;
    void *from, *to;

    DT_TRY(dt_onnx_numbers_of(imp, t, &from));
    const dt_status s = make(imp, n, type, w->n_dims, w->dim, &to);
    for (int64_t i = 0, count = walk_count(w); s == DT_OK && i < count; i++)
        memcpy((char *)to + (size_t)i * each, (const char *)from + (size_t)walk_at(w, i) * each, each);
    free(from);
    return s;
}

/* The distance of an axis's elements. */
static int64_t distance(const dt_onnx_tensor *t, int axis)
{
    int64_t n = 1;

    for (int k = axis + 1; k < t->n_dims; k++) n *= t->dim[k];
    return n;
}

static dt_status fold_transpose(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_tensor *t = NULL;
    int order[DT_ONNX_MAX_DIMS];
    walk w = { .n_dims = 0 };

    DT_TRY(operand(imp, n, 0, &t));
    DT_TRY(dt_onnx_order(imp, n, t->n_dims, order));
    w.n_dims = t->n_dims;
    for (int k = 0; k < t->n_dims; k++) {
        w.dim[k] = t->dim[order[k]];
        w.step[k] = distance(t, order[k]);
    }
    return give_walk(imp, n, t, &w);
}

static dt_status fold_slice(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int64_t start[DT_ONNX_MAX_DIMS], step[DT_ONNX_MAX_DIMS];
    const dt_onnx_tensor *t = NULL;
    walk w = { .n_dims = 0 };

    DT_TRY(operand(imp, n, 0, &t));
    w.n_dims = t->n_dims;
    DT_TRY(dt_onnx_ranges(imp, n, dt_onnx_in(imp, n, 0), start, step, w.dim));
    for (int k = 0; k < t->n_dims; k++) {
        w.start += start[k] * distance(t, k);
        w.step[k] = step[k] * distance(t, k);
    }
    return give_walk(imp, n, t, &w);
}

/* The elements of one axis that a list names. */
static dt_status fold_gather(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_tensor *t = NULL, *of = NULL;
    int64_t dim[2 * DT_ONNX_MAX_DIMS], *list;
    int axis, count, n_dims = 0;
    void *from, *to;

    DT_TRY(operand(imp, n, 0, &t));
    DT_TRY(operand(imp, n, 1, &of));
    DT_ONNX_CHECK(t->n_dims >= 1 && t->n_dims - 1 + of->n_dims <= DT_ONNX_MAX_DIMS, DT_ERR_UNSUPPORTED, imp, n,
                  "of %d dimensions by %d; understood are at most 8 in all", t->n_dims, of->n_dims);
    DT_TRY(dt_onnx_axis(imp, n, 0, t->n_dims, &axis));
    for (int k = 0; k < axis; k++) dim[n_dims++] = t->dim[k];
    for (int k = 0; k < of->n_dims; k++) dim[n_dims++] = of->dim[k];
    for (int k = axis + 1; k < t->n_dims; k++) dim[n_dims++] = t->dim[k];
    const int64_t size = t->dim[axis], outer = size > 0 ? dt_onnx_count(t) / size / distance(t, axis) : 0;
    const size_t row = (size_t)distance(t, axis) * dt_onnx_type_bytes(t->type);
    const int type = t->type;
    DT_TRY(dt_onnx_numbers_of(imp, t, &from));
    dt_status s = dt_onnx_list(imp, n, 1, "indices", &list, &count);
    if (s == DT_OK) s = make(imp, n, type, n_dims, dim, &to);
    for (int64_t i = 0; s == DT_OK && i < outer * count; i++) {
        const int64_t given = list[i % count], at = given < 0 ? given + size : given;
        if (at < 0 || at >= size)
            s = dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: Gather '%.80s': element %" PRId64 " of %" PRId64,
                         imp->m->path, dt_onnx_node_name(imp->m, n), given, size);
        else
            memcpy((char *)to + (size_t)i * row, (char *)from + (size_t)(i / count * size + at) * row, row);
    }
    free(from);
    free(list);
    return s;
}

/* Checks that the inputs of a Concat differ along one axis alone, and adds their sizes there. */
static dt_status check_concat(const dt_onnx_import *imp, const dt_onnx_node *n, int axis, int64_t *dim)
{
    const dt_onnx_tensor *first = NULL, *t = NULL;

    DT_TRY(operand(imp, n, 0, &first));
    memcpy(dim, first->dim, sizeof first->dim);
    for (int k = 1; k < n->n_in; k++) {
        DT_TRY(operand(imp, n, k, &t));
        int fits = t->type == first->type && t->n_dims == first->n_dims;
        for (int i = 0; fits && i < t->n_dims; i++) fits = i == axis || t->dim[i] == first->dim[i];
        DT_ONNX_CHECK(fits, DT_ERR_FORMAT, imp, n, "input %d has another type or other dimensions than input %d", k, 0);
        dim[axis] += t->dim[axis];
    }
    return DT_OK;
}

static dt_status fold_concat(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int64_t dim[DT_ONNX_MAX_DIMS];
    const dt_onnx_tensor *t = NULL;
    size_t done = 0;
    int axis;
    void *to, *from;

    DT_TRY(operand(imp, n, 0, &t));
    DT_TRY(dt_onnx_axis(imp, n, 0, t->n_dims, &axis));
    DT_TRY(check_concat(imp, n, axis, dim));
    const size_t inner = (size_t)distance(t, axis) * dt_onnx_type_bytes(t->type), row = (size_t)dim[axis] * inner;
    DT_TRY(make(imp, n, t->type, t->n_dims, dim, &to));
    for (int k = 0; k < n->n_in; k++) {
        DT_TRY(operand(imp, n, k, &t));
        const size_t part = (size_t)t->dim[axis] * inner;
        const int64_t outer = part > 0 ? dt_onnx_count(t) * (int64_t)dt_onnx_type_bytes(t->type) / (int64_t)part : 0;
        DT_TRY(dt_onnx_numbers_of(imp, t, &from));
        for (int64_t i = 0; i < outer; i++)
            memcpy((char *)to + (size_t)i * row + done, (char *)from + (size_t)i * part, part);
        free(from);
        done += part;
    }
    return DT_OK;
}

/* ---- dimensions alone ---- */

/* The same numbers, of other dimensions: those in the file stay there. */
static dt_status give_same(dt_onnx_import *imp, const dt_onnx_node *n, int n_dims, const int64_t *dim)
{
    const int of = dt_onnx_in(imp, n, 0)->tensor;
    const dt_onnx_tensor *t = &imp->m->tensor[of];
    int64_t copy[DT_ONNX_MAX_DIMS] = { 0 };
    void *to;
    int index;

    memcpy(copy, dim, (size_t)n_dims * sizeof *dim);
    if (!t->file) {
        const size_t bytes = (size_t)dt_onnx_count(t) * dt_onnx_type_bytes(t->type);
        DT_TRY(make(imp, n, t->type, n_dims, copy, &to));
        if (bytes > 0) memcpy(to, imp->m->tensor[of].data, bytes);
        return DT_OK;
    }
    DT_TRY(dt_onnx_add_tensor(imp->m, &index));
    dt_onnx_tensor *made = &imp->m->tensor[index];
    *made = imp->m->tensor[of];
    made->n_dims = n_dims;
    memcpy(made->dim, copy, sizeof copy);
    return give(imp, n, index);
}

static dt_status fold_dims(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int64_t dim[DT_ONNX_MAX_DIMS];
    const dt_onnx_tensor *t = NULL;
    int n_dims;

    DT_TRY(operand(imp, n, 0, &t));
    DT_TRY(dt_onnx_new_dims(imp, n, dt_onnx_in(imp, n, 0), &n_dims, dim));
    return give_same(imp, n, n_dims, dim);
}

static dt_status fold_identity(dt_onnx_import *imp, const dt_onnx_node *n)
{
    imp->place[n->out[0]] = *dt_onnx_in(imp, n, 0);
    return DT_OK;
}

static dt_status fold_shape(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    int64_t from, to, count;
    void *data;

    DT_ONNX_CHECK(x, DT_ERR_FORMAT, imp, n, "input %d is missing", 0);
    DT_TRY(dt_onnx_int(imp, n, "start", 0, &from));
    DT_TRY(dt_onnx_int(imp, n, "end", x->n_dims, &to));
    from = from < 0 ? from + x->n_dims : from;
    to = to < 0 ? to + x->n_dims : to;
    from = from < 0 ? 0 : from > x->n_dims ? x->n_dims : from;
    to = to < from ? from : to > x->n_dims ? x->n_dims : to;
    count = to - from;
    DT_TRY(make(imp, n, DT_ONNX_INT64, 1, &count, &data));
    memcpy(data, x->dim + from, (size_t)count * sizeof *x->dim);
    return DT_OK;
}

/* ---- new numbers ---- */

static dt_status fold_constant(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_attribute *a = n->n_attributes > 0 ? &n->attribute[0] : NULL;
    const int64_t none = 0;
    int64_t count = a ? a->n_ints : 0;
    void *data;

    DT_ONNX_CHECK(a, DT_ERR_FORMAT, imp, n, "attribute '%s' is missing", "value");
    switch (a->type) {
    case DT_ONNX_A_TENSOR: return give(imp, n, a->tensor);
    case DT_ONNX_A_FLOAT:
        DT_TRY(make(imp, n, DT_ONNX_FLOAT, 0, &none, &data));
        memcpy(data, &a->real, sizeof a->real);
        return DT_OK;
    case DT_ONNX_A_INT:
        DT_TRY(make(imp, n, DT_ONNX_INT64, 0, &none, &data));
        memcpy(data, &a->integer, sizeof a->integer);
        return DT_OK;
    case DT_ONNX_A_INTS:
        DT_TRY(make(imp, n, DT_ONNX_INT64, 1, &count, &data));
        if (count > 0) memcpy(data, a->ints, (size_t)count * sizeof *a->ints);
        return DT_OK;
    default:
        DT_ONNX_CHECK(0, DT_ERR_UNSUPPORTED, imp, n, "attribute '%.40s' has the type %d, which is not understood",
                      a->name, a->type);
    }
}

static dt_status fold_constant_of_shape(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_attribute *a = dt_onnx_find(n, "value");
    const dt_onnx_tensor *value = a && a->tensor >= 0 ? &imp->m->tensor[a->tensor] : NULL;
    const int type = value ? value->type : DT_ONNX_FLOAT;
    const size_t each = dt_onnx_type_bytes(type);
    char one[8] = { 0 };
    int64_t *dim;
    void *data;
    int count;

    DT_ONNX_CHECK(!value || (dt_onnx_count(value) == 1 && each > 0), DT_ERR_UNSUPPORTED, imp, n,
                  "its value is %" PRId64 " numbers of %s; understood is one", value ? dt_onnx_count(value) : 0,
                  dt_onnx_type_name(type));
    if (value) DT_TRY(dt_onnx_load(value, one));
    DT_TRY(dt_onnx_list(imp, n, 0, "shape", &dim, &count));
    const dt_status s = count <= DT_ONNX_MAX_DIMS ? make(imp, n, type, count, dim, &data) : DT_ERR_UNSUPPORTED;
    free(dim);
    DT_ONNX_CHECK(count <= DT_ONNX_MAX_DIMS, DT_ERR_UNSUPPORTED, imp, n, "%d dimensions; understood are at most %d",
                  count, DT_ONNX_MAX_DIMS);
    DT_TRY(s);
    const int64_t n_made = dt_onnx_count(&imp->m->tensor[imp->place[n->out[0]].tensor]);
    for (int64_t i = 0; i < n_made; i++) memcpy((char *)data + (size_t)i * each, one, each);
    return DT_OK;
}

static double real_at(const void *from, int type, int64_t i)
{
    return type == DT_ONNX_FLOAT ? (double)((const float *)from)[i] : (double)dt_onnx_integer_at(from, type, i);
}

/* A real is cut off; one that no 64 bits hold is refused. */
static dt_status fold_cast(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_tensor *t = NULL;
    int64_t type;
    void *from, *to;

    DT_TRY(operand(imp, n, 0, &t));
    const int was = t->type;
    const int64_t count = dt_onnx_count(t);
    DT_TRY(dt_onnx_int(imp, n, "to", 0, &type));
    DT_ONNX_CHECK(dt_onnx_type_bytes(was) > 0 && type >= 0 && type <= INT8_MAX && dt_onnx_type_bytes((int)type) > 0,
                  DT_ERR_UNSUPPORTED, imp, n, "of %s to %s; understood are FLOAT, INT64, INT32, INT8, UINT8",
                  dt_onnx_type_name(was), dt_onnx_type_name((int)(type & INT8_MAX)));
    DT_TRY(dt_onnx_numbers_of(imp, t, &from));
    dt_status s = make(imp, n, (int)type, t->n_dims, t->dim, &to);
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
                           walk w[2])
{
    const int n_dims = t[0]->n_dims > t[1]->n_dims ? t[0]->n_dims : t[1]->n_dims;

    for (int k = 0; k < n_dims; k++) {
        const int a = k - n_dims + t[0]->n_dims, b = k - n_dims + t[1]->n_dims;
        const int64_t size[2] = { a < 0 ? 1 : t[0]->dim[a], b < 0 ? 1 : t[1]->dim[b] };
        DT_ONNX_CHECK(size[0] == size[1] || size[0] == 1 || size[1] == 1, DT_ERR_FORMAT, imp, n,
                      "operands of %" PRId64 " and %" PRId64 " elements side by side", size[0], size[1]);
        for (int i = 0; i < 2; i++) {
            w[i].dim[k] = size[0] == 1 ? size[1] : size[0];
            w[i].step[k] = size[i] == 1 ? 0 : distance(t[i], i == 0 ? a : b);
        }
    }
    w[0].n_dims = w[1].n_dims = n_dims;
    return DT_OK;
}

static float float_result(char op, float a, float b)
{
    return op == 'A' ? a + b : op == 'S' ? a - b : op == 'M' ? a * b : a / b;
}

/* Wraps as 64 bits do. b is not 0 where it divides. */
static int64_t integer_result(char op, int64_t a, int64_t b)
{
    const uint64_t x = (uint64_t)a, y = (uint64_t)b;

    if (op == 'D') return b == -1 ? (int64_t)(0 - x) : a / b;
    return (int64_t)(op == 'A' ? x + y : op == 'S' ? x - y : x * y);
}

/* Add, Sub, Mul, Div: known by their first letters. */
static dt_status compute(dt_onnx_import *imp, const dt_onnx_node *n, int type, const walk w[2], void *const from[2])
{
    void *to;

    DT_TRY(make(imp, n, type, w[0].n_dims, w[0].dim, &to));
    for (int64_t i = 0, count = walk_count(&w[0]); i < count; i++) {
        const int64_t a = walk_at(&w[0], i), b = walk_at(&w[1], i);
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

static dt_status fold_arithmetic(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_tensor *t[2] = { NULL, NULL };
    void *from[2] = { NULL, NULL };
    walk w[2] = { { .start = 0 }, { .start = 0 } };

    for (int k = 0; k < 2; k++) DT_TRY(operand(imp, n, k, &t[k]));
    const int type = t[0]->type;
    DT_ONNX_CHECK(type == t[1]->type && (type == DT_ONNX_FLOAT || type == DT_ONNX_INT64 || type == DT_ONNX_INT32),
                  DT_ERR_UNSUPPORTED, imp, n, "constants of %s and %s; understood are FLOAT, INT64 and INT32",
                  dt_onnx_type_name(type), dt_onnx_type_name(t[1]->type));
    DT_TRY(broadcast(imp, n, t, w));
    dt_status s = dt_onnx_numbers_of(imp, t[0], &from[0]);
    if (s == DT_OK) s = dt_onnx_numbers_of(imp, t[1], &from[1]);
    if (s == DT_OK) s = compute(imp, n, type, w, from);
    free(from[0]);
    free(from[1]);
    return s;
}

static const dt_onnx_row rows[] = {
    { "Constant", fold_constant },   { "ConstantOfShape", fold_constant_of_shape },
    { "Shape", fold_shape },         { "Identity", fold_identity },
    { "Reshape", fold_dims },        { "Flatten", fold_dims },
    { "Squeeze", fold_dims },        { "Unsqueeze", fold_dims },
    { "Transpose", fold_transpose }, { "Slice", fold_slice },
    { "Gather", fold_gather },       { "Concat", fold_concat },
    { "Cast", fold_cast },           { "Add", fold_arithmetic },
    { "Sub", fold_arithmetic },      { "Mul", fold_arithmetic },
    { "Div", fold_arithmetic },
};

dt_status dt_onnx_fold(dt_onnx_import *imp, const dt_onnx_node *n)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].op, n->op) == 0) return rows[i].add(imp, n);
    }
    DT_ONNX_CHECK(0, DT_ERR_UNSUPPORTED, imp, n,
                  "all of its %d inputs are constant, and it is none of those that are "
                  "computed beforehand; docs/ONNX.md lists them",
                  n->n_in);
}
