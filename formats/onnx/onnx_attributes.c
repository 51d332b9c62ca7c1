/*
 * onnx_attributes.c - attributes and inputs of a node, for the import. Interface: onnx_layers.h.
 */
#include "onnx_layers.h"

#include <inttypes.h>
#include <math.h>

dt_status dt_onnx_int(const dt_onnx_import *imp, const dt_onnx_node *n, const char *name, int64_t otherwise,
                      int64_t *out)
{
    const dt_onnx_attribute *a = dt_onnx_find(n, name);

    DT_ONNX_CHECK(!a || a->type == DT_ONNX_A_INT, DT_ERR_FORMAT, imp, n,
                  "attribute '%s' has the type %d, needed is a number, %d", name, a->type, DT_ONNX_A_INT);
    *out = a ? a->integer : otherwise;
    return DT_OK;
}

dt_status dt_onnx_float(const dt_onnx_import *imp, const dt_onnx_node *n, const char *name, float otherwise, float *out)
{
    const dt_onnx_attribute *a = dt_onnx_find(n, name);

    DT_ONNX_CHECK(!a || a->type == DT_ONNX_A_FLOAT, DT_ERR_FORMAT, imp, n,
                  "attribute '%s' has the type %d, needed is a float, %d", name, a->type, DT_ONNX_A_FLOAT);
    *out = a ? a->real : otherwise;
    return DT_OK;
}

dt_status dt_onnx_ints(const dt_onnx_import *imp, const dt_onnx_node *n, const char *name, int count, int low,
                       int otherwise, int *out)
{
    const dt_onnx_attribute *a = dt_onnx_find(n, name);
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    const int has_row = x && x->n_dims == 3, wanted = has_row ? count / 2 : count;

    DT_ONNX_CHECK(!a || (a->type == DT_ONNX_A_INTS && a->n_ints == wanted), DT_ERR_UNSUPPORTED, imp, n,
                  "attribute '%s' has %d numbers; understood are %d, of %d dimensions", name, a->n_ints, wanted,
                  has_row ? 1 : 2);
    for (int k = 0; k < count; k++) {
        const int is_given = a && (!has_row || k % 2 == 1);
        const int64_t value = is_given ? a->ints[has_row ? k / 2 : k] : otherwise;
        DT_ONNX_CHECK(value >= low && value <= INT16_MAX, DT_ERR_UNSUPPORTED, imp, n,
                      "number %d of attribute '%s' is %" PRId64 "; understood are %d to %d", k, name, value, low,
                      INT16_MAX);
        out[k] = (int)value;
    }
    return DT_OK;
}

dt_status dt_onnx_check_evaluation(const dt_onnx_import *imp, const dt_onnx_node *n)
{
    int64_t is_test = 0;

    DT_TRY(dt_onnx_int(imp, n, "is_test", imp->m->opset >= 7, &is_test));
    DT_ONNX_CHECK(is_test != 0, DT_ERR_UNSUPPORTED, imp, n,
                  "is_test is %" PRId64 "; understood is 1: export the network in evaluation", is_test);
    return DT_OK;
}

const char *dt_onnx_string(const dt_onnx_node *n, const char *name, const char *otherwise)
{
    const dt_onnx_attribute *a = dt_onnx_find(n, name);

    return a && a->text ? a->text : otherwise;
}

dt_status dt_onnx_axis(const dt_onnx_import *imp, const dt_onnx_node *n, int64_t otherwise, int n_dims, int *axis)
{
    int64_t at = otherwise;

    DT_TRY(dt_onnx_int(imp, n, "axis", otherwise, &at));
    DT_ONNX_CHECK(at >= -n_dims && at < n_dims, DT_ERR_FORMAT, imp, n, "axis %" PRId64 " of %d dimensions", at, n_dims);
    *axis = (int)(at < 0 ? at + n_dims : at);
    return DT_OK;
}

const dt_onnx_place *dt_onnx_in(const dt_onnx_import *imp, const dt_onnx_node *n, int k)
{
    return k < n->n_in && n->in[k] >= 0 ? &imp->place[n->in[k]] : NULL;
}

const char *dt_onnx_in_name(const dt_onnx_import *imp, const dt_onnx_node *n, int k)
{
    const dt_onnx_place *p = &imp->place[n->in[k]];

    return imp->m->value[p->kind == DT_ONNX_CONSTANT ? p->name : n->in[k]].name;
}

dt_status dt_onnx_computed(const dt_onnx_import *imp, const dt_onnx_node *n, int k, const dt_onnx_place **x)
{
    const dt_onnx_place *p = dt_onnx_in(imp, n, k);

    DT_ONNX_CHECK(p, DT_ERR_FORMAT, imp, n, "input %d is missing", k);
    DT_ONNX_CHECK(p->kind != DT_ONNX_CONSTANT, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d, '%.80s', is constant; understood is one that is computed", k, dt_onnx_in_name(imp, n, k));
    DT_ONNX_CHECK(p->kind == DT_ONNX_COMPUTED, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d, '%.80s', is codes; understood are the reals that a DequantizeLinear makes of them", k,
                  dt_onnx_in_name(imp, n, k));
    DT_ONNX_CHECK(!imp->is_integer || p->has_grid, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is the image before a QuantizeLinear; in a network of codes each operator reads codes", k);
    DT_ONNX_CHECK(p->low == -INFINITY && p->high == INFINITY, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d, '%.80s', comes from a Relu or Clip without a QuantizeLinear behind it", k,
                  dt_onnx_in_name(imp, n, k));
    *x = p;
    return DT_OK;
}
