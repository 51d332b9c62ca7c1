/*
 * onnx_fold_move.c - constants whose numbers move: Transpose, Slice, Gather, Concat, of any type, byte by byte.
 *                    Interface: onnx_fold.h.
 */
#include "onnx_fold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int64_t dt_onnx_walk_at(const dt_onnx_walk *w, int64_t i)
{
    int64_t at = w->start;

    for (int k = w->n_dims - 1; k >= 0; k--) {
        at += i % w->dim[k] * w->step[k];
        i /= w->dim[k];
    }
    return at;
}

int64_t dt_onnx_walk_count(const dt_onnx_walk *w)
{
    return dt_count_of(w->dim, w->n_dims);
}

int64_t dt_onnx_distance(const dt_onnx_tensor *t, int axis)
{
    return dt_count_of(t->dim + axis + 1, t->n_dims - axis - 1);
}

/* Makes the elements of a walk over an operand the output. */
static dt_status give_walk(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_tensor *t, const dt_onnx_walk *w)
{
    const size_t each = dt_onnx_type_bytes(t->type);
    const int type = t->type;
    void *from, *to;

    DT_TRY(dt_onnx_numbers_of(imp, t, &from));
    const dt_status s = dt_onnx_make(imp, n, type, w->n_dims, w->dim, &to);
    for (int64_t i = 0, count = dt_onnx_walk_count(w); s == DT_OK && i < count; i++)
        memcpy((char *)to + (size_t)i * each, (const char *)from + (size_t)dt_onnx_walk_at(w, i) * each, each);
    free(from);
    return s;
}

dt_status dt_onnx_fold_transpose(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_tensor *t = NULL;
    int order[DT_ONNX_MAX_DIMS];
    dt_onnx_walk w = { .n_dims = 0 };

    DT_TRY(dt_onnx_operand(imp, n, 0, &t));
    DT_TRY(dt_onnx_order(imp, n, t->n_dims, order));
    w.n_dims = t->n_dims;
    for (int k = 0; k < t->n_dims; k++) {
        w.dim[k] = t->dim[order[k]];
        w.step[k] = dt_onnx_distance(t, order[k]);
    }
    return give_walk(imp, n, t, &w);
}

dt_status dt_onnx_fold_slice(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_tensor *t = NULL;
    dt_onnx_ranges r;
    dt_onnx_walk w = { .n_dims = 0 };

    DT_TRY(dt_onnx_operand(imp, n, 0, &t));
    w.n_dims = t->n_dims;
    DT_TRY(dt_onnx_read_ranges(imp, n, dt_onnx_in(imp, n, 0), &r));
    for (int k = 0; k < t->n_dims; k++) {
        w.dim[k] = r.count[k];
        w.start += r.start[k] * dt_onnx_distance(t, k);
        w.step[k] = r.step[k] * dt_onnx_distance(t, k);
    }
    return give_walk(imp, n, t, &w);
}

/* The elements of one axis that a list names. */
dt_status dt_onnx_fold_gather(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_tensor *t = NULL, *of = NULL;
    int64_t dim[2 * DT_ONNX_MAX_DIMS], *list;
    int axis, count, n_dims = 0;
    void *from, *to;

    DT_TRY(dt_onnx_operand(imp, n, 0, &t));
    DT_TRY(dt_onnx_operand(imp, n, 1, &of));
    DT_ONNX_CHECK(t->n_dims >= 1 && t->n_dims - 1 + of->n_dims <= DT_ONNX_MAX_DIMS, DT_ERR_UNSUPPORTED, imp, n,
                  "of %d dimensions by %d; understood are at most 8 in all", t->n_dims, of->n_dims);
    DT_TRY(dt_onnx_axis(imp, n, 0, t->n_dims, &axis));
    int64_t outer = 1;
    for (int k = 0; k < axis; k++) outer *= dim[n_dims++] = t->dim[k];
    for (int k = 0; k < of->n_dims; k++) dim[n_dims++] = of->dim[k];
    for (int k = axis + 1; k < t->n_dims; k++) dim[n_dims++] = t->dim[k];
    const int64_t size = t->dim[axis];
    const size_t row = (size_t)dt_onnx_distance(t, axis) * dt_onnx_type_bytes(t->type);
    const int type = t->type;
    DT_TRY(dt_onnx_numbers_of(imp, t, &from));
    dt_status s = dt_onnx_list(imp, n, 1, "indices", &list, &count);
    if (s == DT_OK) s = dt_onnx_make(imp, n, type, n_dims, dim, &to);
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

    DT_TRY(dt_onnx_operand(imp, n, 0, &first));
    memcpy(dim, first->dim, sizeof first->dim);
    for (int k = 1; k < n->n_in; k++) {
        DT_TRY(dt_onnx_operand(imp, n, k, &t));
        int fits = t->type == first->type && t->n_dims == first->n_dims;
        for (int i = 0; fits && i < t->n_dims; i++) fits = i == axis || t->dim[i] == first->dim[i];
        DT_ONNX_CHECK(fits, DT_ERR_FORMAT, imp, n, "input %d has another type or other dimensions than input %d", k, 0);
        dim[axis] += t->dim[axis];
    }
    return DT_OK;
}

dt_status dt_onnx_fold_concat(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int64_t dim[DT_ONNX_MAX_DIMS];
    const dt_onnx_tensor *t = NULL;
    size_t done = 0;
    int axis;
    void *to, *from;

    DT_TRY(dt_onnx_operand(imp, n, 0, &t));
    DT_TRY(dt_onnx_axis(imp, n, 0, t->n_dims, &axis));
    DT_TRY(check_concat(imp, n, axis, dim));
    const size_t inner = (size_t)dt_onnx_distance(t, axis) * dt_onnx_type_bytes(t->type),
                 row = (size_t)dim[axis] * inner;
    DT_TRY(dt_onnx_make(imp, n, t->type, t->n_dims, dim, &to));
    for (int k = 0; k < n->n_in; k++) {
        DT_TRY(dt_onnx_operand(imp, n, k, &t));
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
