/*
 * onnx_dims.c - what Reshape, Flatten, Squeeze, Unsqueeze, Transpose and Slice make of dimensions, of constants and of
 *               what is computed. Interface: onnx_layers.h.
 */
#include "onnx_layers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The numbers of a Reshape: 0 keeps a dimension, and -1 is what is left over. */
static dt_status reshape(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *x, const int64_t *list,
                         int count, int64_t *dim)
{
    const int64_t whole = dt_count_of(x->dim, x->n_dims);
    int64_t keeps_zero, known = 1;
    int open = -1;

    DT_TRY(dt_onnx_int(imp, n, "allowzero", 0, &keeps_zero));
    for (int k = 0; k < count; k++) {
        dim[k] = list[k] == 0 && !keeps_zero && k < x->n_dims ? x->dim[k] : list[k];
        DT_ONNX_CHECK(dim[k] >= -1 && dim[k] <= DT_ONNX_MAX_COUNT && (dim[k] != -1 || open < 0), DT_ERR_FORMAT, imp, n,
                      "dimension %d of the new shape is %" PRId64, k, dim[k]);
        if (dim[k] == -1)
            open = k;
        else
            known = known > DT_ONNX_MAX_COUNT ? known : known * dim[k];
    }
    if (open >= 0) dim[open] = known > 0 ? whole / known : 0;
    DT_ONNX_CHECK((open >= 0 ? known * dim[open] : known) == whole, DT_ERR_FORMAT, imp, n,
                  "%" PRId64 " elements do not fit the new shape of %d dimensions, of %" PRId64, whole, count, known);
    return DT_OK;
}

/* Marks axes, counted among `among`. */
static dt_status mark_axes(const dt_onnx_import *imp, const dt_onnx_node *n, const int64_t *list, int count, int among,
                           unsigned *marked)
{
    *marked = 0;
    for (int i = 0; i < count; i++) {
        const int64_t axis = list[i] < 0 ? list[i] + among : list[i];
        DT_ONNX_CHECK(axis >= 0 && axis < among && !(*marked >> axis & 1u), DT_ERR_FORMAT, imp, n,
                      "axis %" PRId64 " of %d, which is no such axis, or named twice", list[i], among);
        *marked |= 1u << axis;
    }
    return DT_OK;
}

static dt_status squeeze(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *x, const int64_t *list,
                         int count, int *n_dims, int64_t *dim)
{
    unsigned out;

    DT_ONNX_CHECK(list || x->kind == DT_ONNX_CONSTANT, DT_ERR_UNSUPPORTED, imp, n,
                  "no axes are given, of %d dimensions; understood are those that are", x->n_dims);
    DT_TRY(mark_axes(imp, n, list, count, x->n_dims, &out));
    *n_dims = 0;
    for (int k = 0; k < x->n_dims; k++) {
        const int leaves = list ? (int)(out >> k & 1u) : x->dim[k] == 1;
        DT_ONNX_CHECK(!leaves || x->dim[k] == 1, DT_ERR_FORMAT, imp, n, "axis %d has the size %" PRId64 ", needed is 1",
                      k, x->dim[k]);
        if (!leaves) dim[(*n_dims)++] = x->dim[k];
    }
    return DT_OK;
}

static dt_status unsqueeze(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *x,
                           const int64_t *list, int count, int *n_dims, int64_t *dim)
{
    const int made = x->n_dims + count;
    unsigned in;
    int at = 0;

    DT_ONNX_CHECK(list && made <= DT_ONNX_MAX_DIMS, DT_ERR_UNSUPPORTED, imp, n,
                  "%d axes more than %d; understood are at most %d in all", count, x->n_dims, DT_ONNX_MAX_DIMS);
    DT_TRY(mark_axes(imp, n, list, count, made, &in));
    for (int k = 0; k < made; k++) dim[k] = in >> k & 1u ? 1 : x->dim[at++];
    *n_dims = made;
    return DT_OK;
}

dt_status dt_onnx_new_dims(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *x, int *n_dims,
                           int64_t *dim)
{
    const int is_reshape = dt_onnx_is_op(n, "Reshape");
    int64_t *list = NULL, at = 1;
    int count;

    if (dt_onnx_is_op(n, "Flatten")) {
        DT_TRY(dt_onnx_int(imp, n, "axis", 1, &at));
        at = at < 0 ? at + x->n_dims : at;
        DT_ONNX_CHECK(at >= 0 && at <= x->n_dims, DT_ERR_FORMAT, imp, n, "axis %" PRId64 " of %d", at, x->n_dims);
        dim[0] = dt_count_of(x->dim, (int)at);
        dim[1] = dt_count_of(x->dim + at, x->n_dims - (int)at);
        *n_dims = 2;
        return DT_OK;
    }
    DT_TRY(dt_onnx_list(imp, n, 1, is_reshape ? "shape" : "axes", &list, &count));
    dt_status s = DT_OK;
    if (count > DT_ONNX_MAX_DIMS || (is_reshape && !list)) {
        s = dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                     "%s: %.80s '%.80s': %d dimensions or axes; understood are at most %d, and constant", imp->m->path,
                     n->op, dt_onnx_node_name(imp->m, n), count, DT_ONNX_MAX_DIMS);
    } else if (is_reshape) {
        *n_dims = count;
        s = reshape(imp, n, x, list, count, dim);
    } else {
        s = dt_onnx_is_op(n, "Squeeze") ? squeeze(imp, n, x, list, count, n_dims, dim)
                                        : unsqueeze(imp, n, x, list, count, n_dims, dim);
    }
    free(list);
    return s;
}

dt_status dt_onnx_order(const dt_onnx_import *imp, const dt_onnx_node *n, int n_dims, int *order)
{
    const dt_onnx_attribute *a = dt_onnx_find(n, "perm");
    unsigned seen = 0;

    DT_ONNX_CHECK(!a || a->n_ints == n_dims, DT_ERR_FORMAT, imp, n, "'perm' has %d axes, and the tensor %d", a->n_ints,
                  n_dims);
    for (int k = 0; k < n_dims; k++) {
        const int64_t axis = a ? a->ints[k] : n_dims - 1 - k;
        DT_ONNX_CHECK(axis >= 0 && axis < n_dims && !(seen >> axis & 1u), DT_ERR_FORMAT, imp, n,
                      "axis %" PRId64 " of %d, which is no such axis, or named twice", axis, n_dims);
        seen |= 1u << axis;
        order[k] = (int)axis;
    }
    return DT_OK;
}

/* What a Slice says, one number for each axis that it cuts. */
typedef struct {
    int64_t *start, *end, *axes, *steps; /* axes and steps may be NULL */
    int n, n_end, n_axes, n_steps;
} cuts;

static int64_t clamped(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

static dt_status cut(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *x, const cuts *c,
                     dt_onnx_ranges *r)
{
    for (int i = 0; i < c->n; i++) {
        const int64_t given = c->axes ? c->axes[i] : i, axis = given < 0 ? given + x->n_dims : given;
        const int64_t by = c->steps ? c->steps[i] : 1;
        DT_ONNX_CHECK(axis >= 0 && axis < x->n_dims && by != 0 && by > INT32_MIN && by < INT32_MAX, DT_ERR_FORMAT, imp,
                      n, "it cuts axis %" PRId64 " of %d in steps of %" PRId64, given, x->n_dims, by);
        const int64_t size = x->dim[axis], back = by < 0;
        const int64_t most = back ? size - 1 : size;
        const int64_t from = clamped(c->start[i] < 0 ? c->start[i] + size : c->start[i], 0, most);
        const int64_t to = clamped(c->end[i] < 0 ? c->end[i] + size : c->end[i], back ? -1 : 0, most);
        const int64_t span = back ? from - to : to - from, each = back ? -by : by;
        r->start[axis] = from;
        r->step[axis] = by;
        r->count[axis] = span > 0 && size > 0 ? (span + each - 1) / each : 0;
    }
    return DT_OK;
}

dt_status dt_onnx_read_ranges(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *x,
                              dt_onnx_ranges *r)
{
    cuts c = { .n = 0 };

    for (int k = 0; k < x->n_dims; k++) {
        r->start[k] = 0;
        r->step[k] = 1;
        r->count[k] = x->dim[k];
    }
    dt_status s = dt_onnx_list(imp, n, 1, "starts", &c.start, &c.n);
    if (s == DT_OK) s = dt_onnx_list(imp, n, 2, "ends", &c.end, &c.n_end);
    if (s == DT_OK) s = dt_onnx_list(imp, n, 3, "axes", &c.axes, &c.n_axes);
    if (s == DT_OK) s = dt_onnx_list(imp, n, 4, "steps", &c.steps, &c.n_steps);
    if (s == DT_OK && (!c.start || !c.end || c.n_end != c.n || (c.axes && c.n_axes != c.n) ||
                       (c.steps && c.n_steps != c.n) || (!c.axes && c.n > x->n_dims)))
        s = dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__,
                     "%s: Slice '%.80s': %d starts, %d ends, %d axes and %d steps; as many of each are needed",
                     imp->m->path, dt_onnx_node_name(imp->m, n), c.n, c.n_end, c.n_axes, c.n_steps);
    if (s == DT_OK) s = cut(imp, n, x, &c, r);
    free(c.start);
    free(c.end);
    free(c.axes);
    free(c.steps);
    return s;
}
