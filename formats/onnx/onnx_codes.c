/*
 * onnx_codes.c - see onnx_codes.h.
 */
#include "onnx_codes.h"

#include "../../quant/program/program_build.h"
#include "onnx_float.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- grids ---- */

static dt_status check_scales(const dt_onnx_import *imp, const dt_onnx_node *n, const float *scale, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        DT_ONNX_CHECK(isfinite(scale[i]) && scale[i] > 0.0f, DT_ERR_FORMAT, imp, n,
                      "scale %" PRId64 " is %g; needed is a number above 0", i, (double)scale[i]);
    }
    return DT_OK;
}

dt_status dt_onnx_check_type(const dt_onnx_import *imp, const dt_onnx_node *n, int type, int allows_bias)
{
    DT_ONNX_CHECK(type == DT_ONNX_INT8 || type == DT_ONNX_UINT8 || (allows_bias && type == DT_ONNX_INT32),
                  DT_ERR_UNSUPPORTED, imp, n, "codes of %s; understood are INT8 and UINT8%s", dt_onnx_type_name(type),
                  allows_bias ? ", and INT32 of a bias" : "");
    return DT_OK;
}

/* Sets the grid's type, which is that of the codes or else of the zero points, and its zero points to input 2, of as
 * many as the scales. */
static dt_status read_zero(const dt_onnx_import *imp, const dt_onnx_node *n, dt_onnx_grid *g)
{
    const dt_onnx_place *p = dt_onnx_in(imp, n, 2);
    void *zero;

    g->zero = -1;
    g->offset = 0;
    DT_ONNX_CHECK(!p || (p->kind == DT_ONNX_CONSTANT && !p->has_grid), DT_ERR_UNSUPPORTED, imp, n,
                  "the zero points, input %d, are computed; understood are constants", 2);
    const dt_onnx_tensor *t = p ? &imp->m->tensor[p->tensor] : NULL;
    if (g->type == 0) g->type = t ? t->type : DT_ONNX_UINT8;
    DT_TRY(dt_onnx_check_type(imp, n, g->type, 1));
    if (!t) return DT_OK;
    g->zero = p->tensor;
    DT_ONNX_CHECK(t->type == g->type && dt_onnx_count(t) == g->n, DT_ERR_FORMAT, imp, n,
                  "%" PRId64 " zero points of %s; needed are %" PRId64 " of %s", dt_onnx_count(t),
                  dt_onnx_type_name(t->type), g->n, dt_onnx_type_name(g->type));
    DT_TRY(dt_onnx_numbers_of(imp, t, &zero));
    g->offset = (int)dt_onnx_integer_at(zero, t->type, 0);
    free(zero);
    return DT_OK;
}

dt_status dt_onnx_read_grid(const dt_onnx_import *imp, const dt_onnx_node *n, int type, dt_onnx_grid *g)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0), *s = dt_onnx_in(imp, n, 1);
    int64_t block;
    float *scale;

    DT_ONNX_CHECK(x && s && s->kind == DT_ONNX_CONSTANT && !s->has_grid, DT_ERR_UNSUPPORTED, imp, n,
                  "the scale, input %d, is %s; understood is a constant", 1, s ? "computed" : "missing");
    DT_TRY(dt_onnx_int(imp, n, "block_size", 0, &block));
    DT_ONNX_CHECK(block == 0, DT_ERR_UNSUPPORTED, imp, n, "block_size is %" PRId64 "; understood is 0", block);
    *g = (dt_onnx_grid){ .scale = s->tensor, .type = type, .name = n->in[1] };
    g->n = dt_onnx_count(&imp->m->tensor[s->tensor]);
    DT_ONNX_CHECK(g->n >= 1, DT_ERR_FORMAT, imp, n, "%d scales; needed is one or more", 0);
    if (g->n != 1) {
        DT_TRY(dt_onnx_axis(imp, n, 1, x->n_dims, &g->axis));
        DT_ONNX_CHECK(g->n == x->dim[g->axis] && s->n_dims == 1, DT_ERR_UNSUPPORTED, imp, n,
                      "%" PRId64 " scales; understood are one, and one for each of %" PRId64 " along axis %d", g->n,
                      x->dim[g->axis], g->axis);
    }
    DT_TRY(dt_onnx_reals(imp, n, 1, g->n, &scale));
    const dt_status status = check_scales(imp, n, scale, g->n);
    g->step = scale[0];
    free(scale);
    DT_TRY(status);
    DT_TRY(read_zero(imp, n, g));
    return DT_OK;
}

static int lowest(const dt_onnx_grid *g)
{
    return (g->type == DT_ONNX_UINT8 ? 0 : INT8_MIN) - g->offset;
}

int dt_onnx_same_grid(const dt_onnx_grid *a, const dt_onnx_grid *b)
{
    return a->step == b->step && a->offset == b->offset && a->type == b->type;
}

dt_status dt_onnx_add_scale(dt_onnx_import *imp, const dt_onnx_grid *g, const char *name, int *scale)
{
    const dt_shape one = { 1, { 1 } };

    for (int i = 0; i < imp->n_scales; i++) {
        *scale = imp->scale[i];
        if (*(const float *)imp->graph->value[*scale]->data == g->step) return DT_OK;
    }
    DT_TRY(dt_onnx_grow(imp->m->path, (void **)&imp->scale, imp->n_scales, sizeof *imp->scale, DT_ONNX_MAX_NODES,
                        "scales"));
    const dt_onnx_param p = { imp->m->value[g->name].name, name,   ".act_scale",
                              dt_program_spec(&one),       DT_F32, dt_program_one(g->step) };
    DT_TRY(dt_onnx_add_param(imp, &p, scale));
    imp->scale[imp->n_scales++] = *scale;
    return DT_OK;
}

dt_status dt_onnx_make_target(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_grid *g, float low,
                              float high, dt_onnx_target *t)
{
    const float first = rintf(low / g->step), last = rintf(high / g->step); /* infinite where there is no limit */

    DT_TRY(dt_onnx_check_type(imp, n, g->type, 0));
    DT_ONNX_CHECK(g->n == 1, DT_ERR_UNSUPPORTED, imp, n, "%" PRId64 " scales of what is computed; understood is one",
                  g->n);
    t->grid = *g;
    t->low = lowest(g);
    t->high = t->low + DT_ONNX_LEVELS - 1;
    t->zero = g->offset - (g->type == DT_ONNX_UINT8 ? -INT8_MIN : 0);
    DT_ONNX_CHECK(t->low <= 0 && t->high >= 0 && first <= 0.0f && last >= 0.0f, DT_ERR_UNSUPPORTED, imp, n,
                  "its codes are %d to %d around the zero point, and 0 is not among them", t->low, t->high);
    if (first > (float)t->low) t->low = (int)first;
    if (last < (float)t->high) t->high = (int)last;
    return DT_OK;
}

/* ---- the quantizer behind an operator ---- */

/* 1 if an operator carries codes on, one by one or the largest of several. */
static int carries(const dt_onnx_node *n)
{
    static const char *const ops[] = { "Identity",  "Dropout", "Flatten",       "Reshape", "Squeeze", "Unsqueeze",
                                       "Transpose", "MaxPool", "GlobalMaxPool", "Slice",   "Pad",     NULL };

    return dt_onnx_is_one_of(n, ops);
}

dt_status dt_onnx_find_target(dt_onnx_import *imp, const dt_onnx_node *n, const char *name, dt_onnx_target *t)
{
    float low = -INFINITY, high = INFINITY, bound[2];
    const dt_onnx_node *at = n;
    dt_onnx_grid g;

    do {
        const int value = at->out[0];
        const int is_end = imp->n_readers[value] != 1 || value == imp->m->out[0].value;
        DT_ONNX_CHECK(!is_end, DT_ERR_UNSUPPORTED, imp, n,
                      "what it makes reaches '%.80s', which %d nodes read or which is the output, without a "
                      "QuantizeLinear",
                      imp->m->value[value].name, imp->n_readers[value]);
        at = &imp->m->node[imp->reader[value]];
        if (dt_onnx_is_op(at, "Relu") || dt_onnx_is_op(at, "Clip")) {
            bound[0] = 0.0f;
            bound[1] = INFINITY;
            if (dt_onnx_is_op(at, "Clip")) DT_TRY(dt_onnx_limits(imp, at, &bound[0], &bound[1]));
            low = fmaxf(low, bound[0]);
            high = fminf(high, bound[1]);
        } else if (!dt_onnx_is_op(at, "QuantizeLinear")) {
            DT_ONNX_CHECK(carries(at), DT_ERR_UNSUPPORTED, imp, n,
                          "%.80s '%.80s' reads what it makes without a QuantizeLinear; in a network of codes each "
                          "operator needs one",
                          at->op, dt_onnx_node_name(imp->m, at));
        }
    } while (!dt_onnx_is_op(at, "QuantizeLinear"));
    DT_TRY(dt_onnx_read_grid(imp, at, 0, &g));
    DT_TRY(dt_onnx_make_target(imp, at, &g, low, high, t));
    return dt_onnx_add_scale(imp, &g, name, &t->scale);
}

void dt_onnx_give_grid(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_target *t)
{
    dt_onnx_place *p = &imp->place[n->out[0]];

    p->has_grid = 1;
    p->grid = t->grid;
    p->scale = t->scale;
}

dt_status dt_onnx_add_limits(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    float low = 0.0f, high = INFINITY;
    dt_onnx_target t;

    DT_ONNX_CHECK(x && x->has_grid && x->kind == DT_ONNX_COMPUTED && x->view < 0, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is no codes made real", 0);
    if (dt_onnx_is_op(n, "Clip")) DT_TRY(dt_onnx_limits(imp, n, &low, &high));
    DT_TRY(dt_onnx_make_target(imp, n, &x->grid, low, high, &t));
    dt_onnx_place p = *x;
    const dt_tensor *facts = &imp->graph->value[p.value]->facts;
    if (facts->qmin < t.low || facts->qmax > t.high) { /* else the codes lie within already */
        p.low = fmaxf(p.low, low);
        p.high = fminf(p.high, high);
    }
    return dt_onnx_set(imp, n, &p);
}

/* ---- from codes to codes ---- */

dt_status dt_onnx_requantize(dt_onnx_import *imp, const dt_onnx_sum *sum, const dt_onnx_target *t, int *value)
{
    const dt_requantize_params params = {
        .profile = DT_PROFILE_ONNX, .of = sum->of, .low = t->low, .high = t->high, .count = sum->count, .zero = t->zero
    };
    int in[5];

    memcpy(in, sum->in, sizeof in);
    in[2] = t->scale;
    return dt_onnx_node_add(imp, DT_OP_REQUANTIZE, sum->name, sum->part, &params, in, sum->n_in, value);
}

dt_status dt_onnx_rescale(dt_onnx_import *imp, const char *name, const char *part, const dt_onnx_place *p,
                          const dt_onnx_target *t, int *value)
{
    const dt_onnx_sum codes = { name, part, DT_REQUANT_CODES, 1, { p->value, p->scale }, 3 };
    const dt_tensor *facts = &imp->graph->value[p->value]->facts;

    *value = p->value;
    if (dt_onnx_same_grid(&p->grid, &t->grid) && facts->qmin >= t->low && facts->qmax <= t->high) return DT_OK;
    return dt_onnx_requantize(imp, &codes, t, value);
}

dt_status dt_onnx_add_selection(dt_onnx_import *imp, const dt_onnx_place *p, const dt_onnx_selection *s, int *value)
{
    const dt_codes_params range = { -INT8_MAX, INT8_MAX, dt_program_sum_most(s->w, &s->shape) };
    const size_t count = (size_t)dt_count(&s->shape);
    const dt_shape one = { 1, { 1 } };
    dt_onnx_sum sum = { s->name, ".act_quant", DT_REQUANT_CONV, 1, { 0, p->scale }, 4 };
    dt_onnx_target t = { .grid = p->grid, .scale = p->scale, .low = lowest(&p->grid) };
    int8_t *copy = malloc(count);
    int weights[2], operands[2] = { p->value };

    if (copy) memcpy(copy, s->w, count);
    const dt_onnx_param codes = { NULL, s->name, ".weight", dt_program_spec(&s->shape), DT_I8, copy };
    DT_TRY(dt_onnx_add_param(imp, &codes, &weights[0]));
    const dt_onnx_param scale = { NULL, s->name, ".weight_scale", dt_program_spec(&one), DT_F32, dt_program_one(1.0f) };
    DT_TRY(dt_onnx_add_param(imp, &scale, &weights[1]));
    DT_TRY(dt_onnx_node_add(imp, DT_OP_CODES, s->name, ".codes", &range, weights, 2, &operands[1]));
    DT_TRY(dt_onnx_node_add(imp, DT_OP_CONV2D, s->name, "", &s->params, operands, 2, &sum.in[0]));
    sum.in[3] = weights[1];
    t.high = t.low + DT_ONNX_LEVELS - 1;
    t.zero = p->grid.offset - (p->grid.type == DT_ONNX_UINT8 ? -INT8_MIN : 0);
    return dt_onnx_requantize(imp, &sum, &t, value);
}

dt_status dt_onnx_make_real(dt_onnx_import *imp, const dt_onnx_place *p, int *value)
{
    DT_CHECK(p->has_grid && p->low == -INFINITY && p->high == INFINITY, DT_ERR_UNSUPPORTED,
             "%s: the output is %s; understood are codes, and what a DequantizeLinear makes of them", imp->m->path,
             p->has_grid ? "limited behind its codes" : "no codes");
    const int x = *value;
    return dt_onnx_node_add(imp, DT_OP_DEQUANTIZE, dt_graph_name(imp->graph, x), ".real", NULL, &x, 1, value);
}
