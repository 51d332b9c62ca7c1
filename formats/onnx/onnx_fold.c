/*
 * onnx_fold.c - computes nodes whose inputs are constant: the arithmetic of shapes, and weights that a file turns.
 *
 * Where only dimensions change, the numbers stay in the file. What may be made in all is limited, so that a small file
 * cannot ask for much. onnx_fold_move.c moves numbers, onnx_fold_numbers.c computes them.
 */
#include "onnx_fold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- results ---- */

/* Makes a constant the output. */
static void give_constant(dt_onnx_import *imp, const dt_onnx_node *n, int index)
{
    const dt_onnx_tensor *t = &imp->m->tensor[index];
    dt_onnx_place *p = &imp->place[n->out[0]];

    p->kind = DT_ONNX_CONSTANT;
    p->tensor = index;
    p->name = n->out[0];
    p->n_dims = t->n_dims;
    memcpy(p->dim, t->dim, sizeof p->dim);
}

dt_status dt_onnx_make(dt_onnx_import *imp, const dt_onnx_node *n, int type, int n_dims, const int64_t *dim,
                       void **data)
{
    const int64_t each = (int64_t)dt_onnx_type_bytes(type);
    int64_t count = 1, size[DT_ONNX_MAX_DIMS] = { 0 };
    int index;

    DT_ONNX_CHECK(each > 0, DT_ERR_UNSUPPORTED, imp, n,
                  "constants of %s; understood are FLOAT, INT64, INT32, INT8 and UINT8", dt_onnx_type_name(type));
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
    give_constant(imp, n, index);
    return DT_OK;
}

dt_status dt_onnx_operand(const dt_onnx_import *imp, const dt_onnx_node *n, int k, const dt_onnx_tensor **t)
{
    const dt_onnx_place *p = dt_onnx_in(imp, n, k);

    DT_ONNX_CHECK(p && !p->has_grid, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is %s; understood are constants that are no codes", k, p ? "codes" : "missing");
    *t = &imp->m->tensor[p->tensor];
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
        DT_TRY(dt_onnx_make(imp, n, t->type, n_dims, copy, &to));
        if (bytes > 0) memcpy(to, imp->m->tensor[of].data, bytes);
        return DT_OK;
    }
    DT_TRY(dt_onnx_add_tensor(imp->m, &index));
    dt_onnx_tensor *made = &imp->m->tensor[index];
    *made = imp->m->tensor[of];
    made->n_dims = n_dims;
    memcpy(made->dim, copy, sizeof copy);
    give_constant(imp, n, index);
    return DT_OK;
}

static dt_status fold_dims(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int64_t dim[DT_ONNX_MAX_DIMS];
    const dt_onnx_tensor *t = NULL;
    int n_dims;

    DT_TRY(dt_onnx_operand(imp, n, 0, &t));
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
    DT_TRY(dt_onnx_make(imp, n, DT_ONNX_INT64, 1, &count, &data));
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
    case DT_ONNX_A_TENSOR: give_constant(imp, n, a->tensor); return DT_OK;
    case DT_ONNX_A_FLOAT:
        DT_TRY(dt_onnx_make(imp, n, DT_ONNX_FLOAT, 0, &none, &data));
        memcpy(data, &a->real, sizeof a->real);
        return DT_OK;
    case DT_ONNX_A_INT:
        DT_TRY(dt_onnx_make(imp, n, DT_ONNX_INT64, 0, &none, &data));
        memcpy(data, &a->integer, sizeof a->integer);
        return DT_OK;
    case DT_ONNX_A_INTS:
        DT_TRY(dt_onnx_make(imp, n, DT_ONNX_INT64, 1, &count, &data));
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
    const dt_status s = count <= DT_ONNX_MAX_DIMS ? dt_onnx_make(imp, n, type, count, dim, &data) : DT_ERR_UNSUPPORTED;
    free(dim);
    DT_ONNX_CHECK(count <= DT_ONNX_MAX_DIMS, DT_ERR_UNSUPPORTED, imp, n, "%d dimensions; understood are at most %d",
                  count, DT_ONNX_MAX_DIMS);
    DT_TRY(s);
    const int64_t n_made = dt_onnx_count(&imp->m->tensor[imp->place[n->out[0]].tensor]);
    for (int64_t i = 0; i < n_made; i++) memcpy((char *)data + (size_t)i * each, one, each);
    return DT_OK;
}

static const dt_onnx_row rows[] = {
    { "Constant", fold_constant },
    { "ConstantOfShape", fold_constant_of_shape },
    { "Shape", fold_shape },
    { "Identity", fold_identity },
    { "Reshape", fold_dims },
    { "Flatten", fold_dims },
    { "Squeeze", fold_dims },
    { "Unsqueeze", fold_dims },
    { "Transpose", dt_onnx_fold_transpose },
    { "Slice", dt_onnx_fold_slice },
    { "Gather", dt_onnx_fold_gather },
    { "Concat", dt_onnx_fold_concat },
    { "Cast", dt_onnx_fold_cast },
    { "Add", dt_onnx_fold_arithmetic },
    { "Sub", dt_onnx_fold_arithmetic },
    { "Mul", dt_onnx_fold_arithmetic },
    { "Div", dt_onnx_fold_arithmetic },
    { "Pow", dt_onnx_fold_arithmetic },
};

/* A constant that has a quantizer keeps it where numbers only move. */
static dt_status fold_quantized(dt_onnx_import *imp, const dt_onnx_node *n, dt_onnx_layer fold)
{
    int order[DT_ONNX_MAX_DIMS];

    if (fold == fold_identity) return fold(imp, n);
    DT_ONNX_CHECK(fold == fold_dims || fold == dt_onnx_fold_transpose, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is quantized; understood is that of what only moves numbers", 0);
    DT_TRY(fold(imp, n));
    if (fold == fold_dims) return dt_onnx_move_quantizer(imp, n, NULL);
    DT_TRY(dt_onnx_order(imp, n, dt_onnx_in(imp, n, 0)->n_dims, order));
    return dt_onnx_move_quantizer(imp, n, order);
}

dt_status dt_onnx_fold(dt_onnx_import *imp, const dt_onnx_node *n)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].op, n->op) != 0) continue;
        int has_quantizer = 0;
        for (int k = 0; k < n->n_in; k++) has_quantizer |= dt_onnx_in(imp, n, k) && dt_onnx_in(imp, n, k)->quant >= 0;
        return has_quantizer ? fold_quantized(imp, n, rows[i].add) : rows[i].add(imp, n);
    }
    DT_ONNX_CHECK(0, DT_ERR_UNSUPPORTED, imp, n,
                  "all of its %d inputs are constant, and it is none of those that are "
                  "computed beforehand; docs/ONNX.md lists them",
                  n->n_in);
}
