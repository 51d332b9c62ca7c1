/*
 * onnx_shape.c - operators that make no numbers of their own, of reals or of codes. Interface: onnx_layers.h.
 *
 * Most give their input other dimensions and no node. A Transpose is one that only turns N,C,H,W into N,H,W,C or back:
 * the numbers lie as they did, in a row where they were a map, or the other way round.
 */
#include "onnx_layers.h"

#include <string.h>

static dt_status add_same(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);

    DT_ONNX_CHECK(x, DT_ERR_FORMAT, imp, n, "input %d is missing", 0);
    imp->place[n->out[0]] = *x;
    return DT_OK;
}

/* Checks that training_mode, input 2, is false if it is there. */
static dt_status add_dropout(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *mode = dt_onnx_in(imp, n, 2);
    unsigned char trains = 1;

    DT_TRY(dt_onnx_check_evaluation(imp, n));
    if (mode && mode->kind == DT_ONNX_CONSTANT) {
        const dt_onnx_tensor *t = &imp->m->tensor[mode->tensor];
        if (t->type == DT_ONNX_BOOL && dt_onnx_count(t) == 1) DT_TRY(dt_onnx_load(t, &trains));
    }
    DT_ONNX_CHECK(!mode || !trains, DT_ERR_UNSUPPORTED, imp, n,
                  "training_mode, input %d, is not false; understood is a network in evaluation", 2);
    return add_same(imp, n);
}

static dt_status add_reshape(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    int64_t dim[DT_ONNX_MAX_DIMS];
    int n_dims;

    DT_ONNX_CHECK(x && x->kind != DT_ONNX_CONSTANT, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is missing or constant; understood is one that is computed", 0);
    DT_TRY(dt_onnx_new_dims(imp, n, x, &n_dims, dim));
    DT_ONNX_CHECK(x->view < 0, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d comes from a Slice or a Pad; understood are those before a layer", 0);
    return dt_onnx_rename(imp, n, n_dims, dim);
}

/* The kinds of Transpose that leave numbers where they are. */
static int is_order(const int *order, int a, int b, int c, int d)
{
    return order[0] == a && order[1] == b && order[2] == c && order[3] == d;
}

static dt_status add_transpose(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    int order[DT_ONNX_MAX_DIMS], moves = 0, value;

    DT_ONNX_CHECK(x && x->kind != DT_ONNX_CONSTANT, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is missing or constant; understood is one that is computed", 0);
    dt_onnx_place p = *x;
    DT_TRY(dt_onnx_order(imp, n, p.n_dims, order));
    for (int k = 0, last = -1; k < p.n_dims; k++) {
        if (k > 0 && p.dim[order[k]] == 1) continue; /* where it stands says nothing */
        moves |= order[k] < last;
        last = order[k];
    }
    for (int k = 0; k < p.n_dims; k++) p.dim[k] = x->dim[order[k]];
    if (!moves && p.view < 0) return dt_onnx_set(imp, n, &p);
    const int is_swap = p.n_dims == 3 && order[0] == 0; /* of c and w, for it moves something */
    const int to_last = is_swap || (p.n_dims == 4 && is_order(order, 0, 2, 3, 1)),
              to_first = is_swap || (p.n_dims == 4 && is_order(order, 0, 3, 1, 2));
    DT_ONNX_CHECK((to_last && x->layout == DT_ONNX_MAP) || (to_first && x->layout == DT_ONNX_ROW), DT_ERR_UNSUPPORTED,
                  imp, n,
                  "an order of %d dimensions, the last axis %d, that moves numbers; understood are n,c,h,w to "
                  "n,h,w,c, n,c,w to n,w,c, and back",
                  p.n_dims, order[p.n_dims - 1]);
    if (x->layout == DT_ONNX_MAP) {
        DT_TRY(dt_onnx_map(imp, n, 0, &value));
        p.layout = DT_ONNX_ROW;
    } else {
        value = p.value;
        DT_TRY(dt_onnx_as_shape(imp, is_swap ? 1 : p.dim[2], p.dim[p.n_dims - 1], p.dim[1], &value));
        p.layout = DT_ONNX_MAP;
    }
    p.value = value;
    p.view = -1;
    return dt_onnx_set(imp, n, &p);
}

static const dt_onnx_row rows[] = {
    { "Identity", add_same },       { "Dropout", add_dropout },     { "Flatten", add_reshape },
    { "Reshape", add_reshape },     { "Squeeze", add_reshape },     { "Unsqueeze", add_reshape },
    { "Transpose", add_transpose }, { "Slice", dt_onnx_add_slice }, { "Pad", dt_onnx_add_pad },
};

dt_onnx_layer dt_onnx_shape_layer(const char *op)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].op, op) == 0) return rows[i].add;
    }
    return NULL;
}
