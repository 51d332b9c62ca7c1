/*
 * onnx_quantizers.c - QuantizeLinear and DequantizeLinear, of constants and of what is computed. Interface:
 *                     onnx_codes.h.
 */
#include "onnx_codes.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Adds a QUANTIZE of the image, or finds it. */
static dt_status quantize_image(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_grid *g, dt_onnx_place *p)
{
    dt_quantize_params params = { .profile = DT_PROFILE_ONNX };
    const int there = dt_graph_find(imp->graph, "image.codes");
    dt_onnx_target t;
    int in[2] = { imp->graph->image };

    DT_TRY(dt_onnx_make_target(imp, n, g, -INFINITY, INFINITY, &t));
    DT_TRY(dt_onnx_add_scale(imp, g, "image", &in[1]));
    params.low = t.low;
    params.high = t.high;
    params.zero = t.zero;
    const dt_graph_node *maker = there >= 0 ? dt_graph_maker(imp->graph, there) : NULL;
    if (maker) {
        const dt_quantize_params *first = maker->params;
        DT_ONNX_CHECK(first->low == t.low && first->zero == t.zero && maker->in[1] == in[1], DT_ERR_UNSUPPORTED, imp, n,
                      "it quantizes the image with the scale %g, as another does not; understood is one scale",
                      (double)g->step);
        p->value = there;
    } else {
        DT_TRY(dt_onnx_node_add(imp, DT_OP_QUANTIZE, "image", ".codes", &params, in, 2, &p->value));
    }
    p->has_grid = 1;
    p->grid = *g;
    p->scale = in[1];
    return DT_OK;
}

/* The codes of constant reals: rounded half to even, of a division in f32. */
static dt_status quantize_constant(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_grid *g)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    const int64_t count = dt_onnx_count(&imp->m->tensor[x->tensor]);
    int64_t inner = 1;
    float *reals, *scale;
    int index;

    DT_TRY(dt_onnx_check_type(imp, n, g->type, 0));
    for (int k = g->axis + 1; g->n > 1 && k < x->n_dims; k++) inner *= x->dim[k];
    DT_TRY(dt_onnx_add_tensor(imp->m, &index));
    dt_onnx_tensor *t = &imp->m->tensor[index];
    t->type = g->type;
    t->n_dims = x->n_dims;
    memcpy(t->dim, x->dim, sizeof t->dim);
    unsigned char *codes = t->data = malloc((size_t)count + 1);
    DT_CHECK(codes, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " codes", imp->m->path, count);
    void *zero = NULL;
    if (g->zero >= 0) DT_TRY(dt_onnx_numbers_of(imp, &imp->m->tensor[g->zero], &zero));
    dt_status s = dt_onnx_reals(imp, n, 1, g->n, &scale);
    if (s == DT_OK) {
        s = dt_onnx_reals(imp, n, 0, count, &reals);
        for (int64_t i = 0; s == DT_OK && i < count; i++) {
            const int64_t c = g->n > 1 ? i / inner % g->n : 0;
            const int low = g->type == DT_ONNX_UINT8 ? 0 : INT8_MIN;
            const float q = rintf(reals[i] / scale[c]) + (float)(zero ? dt_onnx_integer_at(zero, g->type, c) : 0);
            codes[i] = (unsigned char)(int)(q >= (float)low ? fminf(q, (float)low + 255.0f) : (float)low);
        }
        if (s == DT_OK) free(reals);
        free(scale);
    }
    free(zero);
    DT_TRY(s);
    imp->place[n->out[0]] = imp->place[n->in[0]];
    imp->place[n->out[0]].tensor = index;
    imp->place[n->out[0]].has_grid = 0;
    return DT_OK;
}

static dt_status add_quantize(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    char name[DT_ONNX_NAME];
    dt_onnx_target t;
    dt_onnx_grid g;

    DT_TRY(dt_onnx_read_grid(imp, n, 0, &g));
    if (x->kind == DT_ONNX_CONSTANT) return quantize_constant(imp, n, &g);
    DT_ONNX_CHECK(x->kind == DT_ONNX_COMPUTED, DT_ERR_UNSUPPORTED, imp, n, "input %d is codes; needed are reals", 0);
    dt_onnx_place p = *x;
    if (p.view >= 0) DT_TRY(dt_onnx_make_view(imp, &p, &p.value));
    p.view = -1;
    if (p.value == imp->graph->image) {
        DT_TRY(quantize_image(imp, n, &g, &p));
    } else {
        DT_ONNX_CHECK(p.has_grid, DT_ERR_UNSUPPORTED, imp, n,
                      "input %d is the image, turned before it is quantized; understood is a Transpose behind that", 0);
        DT_TRY(dt_onnx_make_target(imp, n, &g, p.low, p.high, &t));
        dt_onnx_name(imp, n, -1, name);
        DT_TRY(dt_onnx_add_scale(imp, &g, name, &t.scale));
        DT_TRY(dt_onnx_rescale(imp, name, ".act_quant", &p, &t, &p.value));
        p.grid = g;
        p.scale = t.scale;
        p.low = -INFINITY;
        p.high = INFINITY;
    }
    p.kind = DT_ONNX_CODES;
    return dt_onnx_set(imp, n, &p);
}

static dt_status dequantize_constant(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    dt_onnx_place p = *x;

    DT_ONNX_CHECK(!p.has_grid, DT_ERR_FORMAT, imp, n, "input %d is real already", 0);
    const int type = imp->m->tensor[p.tensor].type;
    DT_TRY(dt_onnx_check_type(imp, n, type, 1));
    DT_TRY(dt_onnx_read_grid(imp, n, type, &p.grid));
    p.has_grid = 1;
    imp->place[n->out[0]] = p;
    return DT_OK;
}

static dt_status add_dequantize(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    dt_onnx_grid g;

    DT_ONNX_CHECK(x, DT_ERR_FORMAT, imp, n, "input %d is missing", 0);
    if (x->kind == DT_ONNX_CONSTANT) return dequantize_constant(imp, n);
    DT_ONNX_CHECK(x->kind == DT_ONNX_CODES, DT_ERR_FORMAT, imp, n, "input %d is reals; needed are codes", 0);
    dt_onnx_place p = *x;
    const int type = p.has_grid ? p.grid.type : imp->m->in[0].type;
    DT_TRY(dt_onnx_read_grid(imp, n, type, &g));
    if (!p.has_grid) DT_TRY(quantize_image(imp, n, &g, &p)); /* the file takes codes */
    DT_ONNX_CHECK(dt_onnx_same_grid(&g, &p.grid) && g.n == 1, DT_ERR_UNSUPPORTED, imp, n,
                  "scale %g and zero point %d of codes that were made with %g and %d; understood are equal ones",
                  (double)g.step, g.offset, (double)p.grid.step, p.grid.offset);
    p.kind = DT_ONNX_COMPUTED;
    return dt_onnx_set(imp, n, &p);
}

dt_status dt_onnx_add_quantizer(dt_onnx_import *imp, const dt_onnx_node *n)
{
    return dt_onnx_is_op(n, "QuantizeLinear") ? add_quantize(imp, n) : add_dequantize(imp, n);
}
