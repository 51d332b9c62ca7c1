/*
 * onnx_view.c - Slice and Pad of a map: what they leave is a view, for which a convolution of ones stands.
 *
 *   y[p,q,k] = x[p step + start, q step' + start', k step'' + start''], or 0 where a Pad put it
 *
 * A filter is 1 at the one tap and channel that it takes, and 0 elsewhere, so that y has the numbers of x, and each is
 * exact. Taps behind the one that counts leave out cells at the end. So the shortcut of a ResNet without projection,
 * x[:, :, ::2, ::2] with zeros for new channels, is one convolution. Zeros around a map alone go into the pad of the
 * convolution that reads it, if one does.
 */
#include "onnx_codes.h"

#include "../layer_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILTERS_MOST = 1 << 26 };

/* ---- making a view ---- */

/* Sets size to C,H,W of a map. */
static void size_of(const dt_graph *g, int value, int64_t size[3])
{
    const dt_shape *s = dt_graph_shape(g, value);

    size[0] = s->dim[3];
    size[1] = s->dim[1];
    size[2] = s->dim[2];
}

/* 1 if a view takes all of an axis. */
static int takes_all(const dt_onnx_view *v, int axis, int64_t size)
{
    return v->start[axis] == 0 && v->step[axis] == 1 && v->count[axis] == size;
}

static int has_zeros(const dt_onnx_view *v, int from, int to)
{
    int64_t n = 0;

    for (int axis = from; axis < to; axis++) n += v->before[axis] + v->after[axis];
    return n > 0;
}

/* Sets *v to a view of input 0, and *p to its place: the view that it is already, or one of all of it. */
static dt_status begin_view(dt_onnx_import *imp, const dt_onnx_node *n, dt_onnx_place *p, dt_onnx_view *v)
{
    const dt_onnx_place *x;
    int64_t size[3];

    DT_TRY(dt_onnx_computed(imp, n, 0, &x));
    DT_ONNX_CHECK(x->n_dims == 4, DT_ERR_UNSUPPORTED, imp, n, "input %d has %d dimensions; understood are n,c,h,w", 0,
                  x->n_dims);
    *p = *x;
    if (p->view >= 0) {
        *v = imp->view[p->view];
    } else {
        DT_TRY(dt_onnx_map(imp, n, 0, &p->value));
        p->layout = DT_ONNX_MAP;
        size_of(imp->graph, p->value, size);
        *v = (dt_onnx_view){ .step = { 1, 1, 1 } };
        memcpy(v->count, size, sizeof size);
    }
    v->made = -1;
    dt_onnx_name(imp, n, -1, v->name);
    return DT_OK;
}

/* Makes a view whole, and begins another. */
static dt_status begin_again(dt_onnx_import *imp, dt_onnx_place *p, dt_onnx_view *v)
{
    DT_TRY(dt_onnx_make_view(imp, p, &p->value));
    p->view = -1;
    memset(v->start, 0, sizeof v->start);
    memset(v->before, 0, sizeof v->before);
    memset(v->after, 0, sizeof v->after);
    for (int axis = 0; axis < 3; axis++) v->step[axis] = 1;
    size_of(imp->graph, p->value, v->count);
    return DT_OK;
}

static dt_status set_view(dt_onnx_import *imp, const dt_onnx_node *n, dt_onnx_place *p, const dt_onnx_view *v)
{
    DT_TRY(dt_onnx_grow(imp->m->path, (void **)&imp->view, imp->n_views, sizeof *imp->view, DT_ONNX_MAX_NODES,
                        "slices and pads"));
    imp->view[imp->n_views] = *v;
    p->view = imp->n_views++;
    for (int axis = 0; axis < 3; axis++) p->dim[axis + 1] = v->before[axis] + v->count[axis] + v->after[axis];
    return dt_onnx_set(imp, n, p);
}

dt_status dt_onnx_add_slice(dt_onnx_import *imp, const dt_onnx_node *n)
{
    dt_onnx_ranges r;
    dt_onnx_place p;
    dt_onnx_view v;

    DT_TRY(begin_view(imp, n, &p, &v));
    DT_TRY(dt_onnx_read_ranges(imp, n, &p, &r));
    DT_ONNX_CHECK(r.count[0] == p.dim[0], DT_ERR_UNSUPPORTED, imp, n,
                  "it takes %" PRId64 " of a batch of %" PRId64 "; understood are all", r.count[0], p.dim[0]);
    if (has_zeros(&v, 0, 3)) DT_TRY(begin_again(imp, &p, &v));
    for (int axis = 0; axis < 3; axis++) {
        DT_ONNX_CHECK(r.step[axis + 1] > 0 && r.count[axis + 1] > 0, DT_ERR_UNSUPPORTED, imp, n,
                      "it takes %" PRId64 " in steps of %" PRId64 "; understood are steps of 1 and more",
                      r.count[axis + 1], r.step[axis + 1]);
        v.start[axis] += v.step[axis] * r.start[axis + 1];
        v.step[axis] *= r.step[axis + 1];
        v.count[axis] = r.count[axis + 1];
        DT_ONNX_CHECK(v.step[axis] <= INT16_MAX, DT_ERR_UNSUPPORTED, imp, n,
                      "steps of %" PRId64 "; understood are at most %d", v.step[axis], INT16_MAX);
    }
    return set_view(imp, n, &p, &v);
}

dt_status dt_onnx_crop(dt_onnx_import *imp, const dt_onnx_node *n, const int64_t from[2], const int64_t count[2])
{
    dt_onnx_place p = imp->place[n->out[0]];
    dt_onnx_view v = { .step = { 1, 1, 1 }, .made = -1 };

    size_of(imp->graph, p.value, v.count);
    for (int axis = 0; axis < 2; axis++) {
        v.start[axis + 1] = from[axis];
        v.count[axis + 1] = count[axis];
    }
    snprintf(v.name, sizeof v.name, "%.*s.cut", DT_ONNX_NAME - 8, dt_graph_name(imp->graph, p.value));
    return set_view(imp, n, &p, &v);
}

/* Sets cells to what a Pad adds before and behind each of four axes. */
static dt_status read_pads(const dt_onnx_import *imp, const dt_onnx_node *n, int64_t cells[2][4])
{
    int64_t *list, *axes;
    int count, n_axes;

    DT_TRY(dt_onnx_list(imp, n, 1, "pads", &list, &count));
    dt_status s = dt_onnx_list(imp, n, 3, "axes", &axes, &n_axes);
    const int each = axes ? n_axes : 4;
    if (s == DT_OK && (!list || each > 4 || count != 2 * each))
        s = dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                     "%s: Pad '%.80s': %d pads of %d axes; needed are two for each axis, constant", imp->m->path,
                     dt_onnx_node_name(imp->m, n), count, each);
    for (int i = 0; s == DT_OK && i < 2 * each; i++) {
        const int64_t given = axes ? axes[i % each] : i % each, axis = given < 0 ? given + 4 : given;
        if (axis < 0 || axis > 3 || list[i] < 0 || list[i] > INT16_MAX)
            s = dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                         "%s: Pad '%.80s': %" PRId64 " cells beside axis %" PRId64 "; understood are 0 to %d of 4 axes",
                         imp->m->path, dt_onnx_node_name(imp->m, n), list[i], given, INT16_MAX);
        else
            cells[i / each][axis] = list[i];
    }
    free(list);
    free(axes);
    return s;
}

dt_status dt_onnx_add_pad(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const char *mode = dt_onnx_string(n, "mode", "constant");
    int64_t cells[2][4] = { { 0 } }, size[3];
    float value, with;
    dt_onnx_place p;
    dt_onnx_view v;

    DT_ONNX_CHECK(strcmp(mode, "constant") == 0, DT_ERR_UNSUPPORTED, imp, n, "mode is '%.40s'; understood is constant",
                  mode);
    DT_TRY(dt_onnx_float(imp, n, "value", 0.0f, &value));
    DT_TRY(dt_onnx_number(imp, n, 2, value, &with));
    DT_ONNX_CHECK(with == 0.0f, DT_ERR_UNSUPPORTED, imp, n, "it pads with %g; understood is 0", (double)with);
    DT_TRY(begin_view(imp, n, &p, &v));
    DT_TRY(read_pads(imp, n, cells));
    DT_ONNX_CHECK(cells[0][0] == 0 && cells[1][0] == 0, DT_ERR_UNSUPPORTED, imp, n,
                  "%" PRId64 " images beside the batch; understood are none", cells[0][0] + cells[1][0]);
    size_of(imp->graph, p.value, size);
    const int is_cut = !takes_all(&v, 1, size[1]) || !takes_all(&v, 2, size[2]);
    if (is_cut && (cells[0][2] || cells[1][2] || cells[0][3] || cells[1][3])) DT_TRY(begin_again(imp, &p, &v));
    for (int axis = 0; axis < 3; axis++) {
        v.before[axis] += cells[0][axis + 1];
        v.after[axis] += cells[1][axis + 1];
        DT_ONNX_CHECK(v.before[axis] <= INT16_MAX && v.after[axis] <= INT16_MAX, DT_ERR_UNSUPPORTED, imp, n,
                      "%" PRId64 " cells; understood are at most %d", v.before[axis] + v.after[axis], INT16_MAX);
    }
    return set_view(imp, n, &p, &v);
}

/* ---- the convolution ---- */

/* The taps along an axis: up to the one that counts, and so many more as leave `count` outputs. */
static int64_t taps_of(const dt_onnx_view *v, int axis, int64_t size)
{
    const int64_t until = v->start[axis] + 1, shorter = size - v->count[axis] * v->step[axis] + 1;

    return shorter > until && !has_zeros(v, axis, axis + 1) ? shorter : until;
}

static void fill_conv(const dt_onnx_view *v, const int64_t size[3], dt_onnx_selection *s)
{
    const int is_each = takes_all(v, 0, size[0]) && !has_zeros(v, 0, 1);
    const int64_t filters = v->before[0] + v->count[0] + v->after[0];

    s->shape = (dt_shape){ 4, { filters, taps_of(v, 1, size[1]), taps_of(v, 2, size[2]), is_each ? 1 : size[0] } };
    s->params = (dt_conv_params){ .dilation = { 1, 1 }, .groups = is_each ? (int)size[0] : 1 };
    for (int axis = 0; axis < 2; axis++) {
        s->params.stride[axis] = (int)v->step[axis + 1];
        s->params.pad[axis] = (int)v->before[axis + 1];
        s->params.pad[axis + 2] = (int)v->after[axis + 1];
    }
}

/* Returns the filters, ones and zeros. */
static int8_t *make_filters(const dt_onnx_view *v, const dt_shape *shape)
{
    int8_t *w = calloc((size_t)dt_count(shape) + 1, 1);
    const int64_t row = shape->dim[3], filter = shape->dim[1] * shape->dim[2] * row;

    for (int64_t k = 0; w && k < v->count[0]; k++) {
        const int64_t channel = row == 1 ? 0 : v->start[0] + k * v->step[0];
        w[(v->before[0] + k) * filter + (v->start[1] * shape->dim[2] + v->start[2]) * row + channel] = 1;
    }
    return w;
}

static dt_status add_reals(dt_onnx_import *imp, const dt_onnx_selection *s, int *value)
{
    const int64_t count = dt_count(&s->shape);
    float *reals = malloc((size_t)count * sizeof *reals);
    int in[2] = { *value };

    for (int64_t i = 0; reals && i < count; i++) reals[i] = s->w[i];
    const dt_onnx_param p = { NULL, s->name, ".weight", dt_onnx_state(&s->shape), DT_F32, reals };
    DT_TRY(dt_onnx_add_param(imp, &p, &in[1]));
    return dt_onnx_node_add(imp, DT_OP_CONV2D, s->name, "", &s->params, in, 2, value);
}

/* Adds the convolution. *value is the map that it reads, and then what it makes. */
static dt_status add_conv(dt_onnx_import *imp, const dt_onnx_place *p, const dt_onnx_view *v, int *value)
{
    char name[DT_ONNX_NAME];
    dt_onnx_selection s = { .name = name };
    int64_t size[3], count = 1;

    size_of(imp->graph, p->value, size);
    fill_conv(v, size, &s);
    for (int k = 0; k < 4; k++) {
        DT_CHECK(s.shape.dim[k] <= FILTERS_MOST / count, DT_ERR_UNSUPPORTED,
                 "%s: '%.80s': a slice or a pad of %" PRId64 " channels needs filters of more than %d numbers",
                 imp->m->path, v->name, size[0], FILTERS_MOST);
        count *= s.shape.dim[k];
    }
    dt_layer_name(imp->graph, v->name, name, sizeof name); /* others may have taken it since */
    s.w = make_filters(v, &s.shape);
    DT_CHECK(s.w, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " numbers", imp->m->path, count);
    const dt_status status = imp->is_integer ? dt_onnx_add_selection(imp, p, &s, value) : add_reals(imp, &s, value);
    free(s.w);
    return status;
}

dt_status dt_onnx_make_view(dt_onnx_import *imp, const dt_onnx_place *p, int *value)
{
    dt_onnx_view *v = &imp->view[p->view];
    int made = p->value;

    if (v->made < 0) {
        DT_TRY(add_conv(imp, p, v, &made));
        v->made = made;
    }
    *value = v->made;
    return DT_OK;
}
