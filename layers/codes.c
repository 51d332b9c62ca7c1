/*
 * codes.c - brings the integers of a program onto the grid: stored codes, and codes that a table has for pixels or for
 *           other codes; and takes integers off the grid.
 *
 *   codes:       out = codes, each within low..high of params, with the scale that is given
 *   table:       y[..,c] = table[x[..,c] - first][c], with the scale that is given;  x within the table's rows
 *   dequantize:  y = scale * x with the channel's scale, or the filter's, rounded to f32;  dx += dy
 *
 * A model's parameters are f32, and so the codes are held in f32. The caller makes sure that they are integers.
 *
 * Shapes: codes K,..; scale 1 or K; out as codes.
 *         x u8 ..,C, or codes; table f32 L,C, or L,1 for all channels; scale 1; y as x.  dequantize: x any, channels
 * last, or filters K,..; y as x. CUDA: cuda/codes.cu.  Tests: tests/layers/test_codes.c.
 */
#include "codes.h"

#include "../core/grid_facts.h"
#include "../core/op.h"
#include "pass.h"

#include <assert.h>
#include <string.h>

enum { X, TABLE, SCALE };

static dt_status check_range(const dt_node *node, int low, int high)
{
    DT_CHECK(low <= high, DT_ERR_ARGUMENT, "%s: %s: the range of the codes is %d..%d", node->name,
             dt_ops[node->kind]->name, low, high);
    return DT_OK;
}

static dt_status codes_infer(dt_node *node)
{
    const dt_codes_params *p = node->params;
    const dt_tensor *codes = node->in[0];
    const int64_t n_scale = dt_count(&node->in[1]->shape), filters = codes->shape.dim[0];
    assert(codes->type == DT_F32 && node->in[1]->type == DT_F32);

    DT_TRY(check_range(node, p->low, p->high));
    DT_CHECK(n_scale == 1 || n_scale == filters, DT_ERR_SHAPE, "%s: codes: %lld scales for %lld filters; 1 or one each",
             node->name, (long long)n_scale, (long long)filters);
    DT_CHECK(codes->n_scale == 0, DT_ERR_UNSUPPORTED, "%s: codes: they are a grid tensor already, with its own scale",
             node->name);
    node->out->shape = codes->shape;
    node->out->n_scale = (int)n_scale;
    node->out->qmin = p->low;
    node->out->qmax = p->high;
    node->out->sum_most = p->most;
    return DT_OK;
}

static dt_status table_infer(dt_node *node)
{
    const dt_table_params *p = node->params;
    const dt_shape *x = &node->in[X]->shape, *table = &node->in[TABLE]->shape;
    const int64_t n_scale = dt_count(&node->in[SCALE]->shape);
    char text_x[64], text_table[64];

    const int is_bytes = node->in[X]->type == DT_U8;
    const int64_t least = is_bytes ? 0 : node->in[X]->qmin, most = is_bytes ? 255 : node->in[X]->qmax;
    DT_CHECK(is_bytes || node->in[X]->n_scale > 0, DT_ERR_ARGUMENT,
             "%s: table: x must be bytes, which pixels are, or codes", node->name);
    DT_CHECK(table->ndim == 2 && (table->dim[1] == dt_channels(x) || table->dim[1] == 1), DT_ERR_SHAPE,
             "%s: table: x is %s, the table is %s; needed are ..,C and L,C or L,1", node->name,
             dt_shape_text(x, text_x, sizeof text_x), dt_shape_text(table, text_table, sizeof text_table));
    DT_CHECK(p->first <= least && most < p->first + table->dim[0], DT_ERR_SHAPE,
             "%s: table: x has the values %lld..%lld, and the table has rows for %d..%lld", node->name,
             (long long)least, (long long)most, p->first, (long long)(p->first + table->dim[0] - 1));
    DT_CHECK(n_scale == 1, DT_ERR_SHAPE, "%s: table: takes one scale, got %lld", node->name, (long long)n_scale);
    DT_TRY(check_range(node, p->low, p->high));
    node->out->shape = *x;
    dt_scale_follows(node->out, node->in[SCALE], 0);
    node->out->qmin = p->low;
    node->out->qmax = p->high;
    return DT_OK;
}

static dt_status dequantize_infer(dt_node *node)
{
    const dt_dequantize_params *p = node->params;
    const dt_tensor *x = node->in[X];
    const int64_t sets = p->filters ? x->shape.dim[0] : dt_channels(&x->shape);
    assert(x->type == DT_F32);

    DT_CHECK(x->n_scale > 0, DT_ERR_UNSUPPORTED, "%s: dequantize: takes integers, and its input is real; leave it out",
             node->name);
    DT_CHECK(x->n_scale == 1 || x->n_scale == sets, DT_ERR_SHAPE,
             "%s: dequantize: %d scales for %lld %s; 1 or one each; `filters` says which axis they are of", node->name,
             x->n_scale, (long long)sets, p->filters ? "filters" : "channels");
    node->out->shape = x->shape;
    return DT_OK;
}

static const dt_field codes_fields[] = {
    { DT_MEMBER(dt_codes_params, low), DT_INT(-65536, 65536) },
    { DT_MEMBER(dt_codes_params, high), DT_INT(-65536, 65536) },
    { DT_MEMBER(dt_codes_params, most), DT_INT(0, INT32_MAX) },
};

static const dt_field table_fields[] = {
    { DT_MEMBER(dt_table_params, low), DT_INT(-65536, 65536) },
    { DT_MEMBER(dt_table_params, high), DT_INT(-65536, 65536) },
    { DT_MEMBER(dt_table_params, first), DT_INT(-65536, 65536) },
};

const dt_op dt_op_codes = {
    .name = "codes",
    .min_in = 2,
    .max_in = 2,
    DT_OP_PARAMS(dt_codes_params, codes_fields),
    .no_grad = 1,
    .infer = codes_infer,
};

const dt_op dt_op_table = {
    .name = "table",
    .min_in = 3,
    .max_in = 3,
    DT_OP_PARAMS(dt_table_params, table_fields),
    .no_grad = 1,
    .infer = table_infer,
};

static const dt_field dequantize_fields[] = { { DT_MEMBER(dt_dequantize_params, filters), DT_INT(0, 1) } };

static const dt_dequantize_params dequantize_defaults = { .filters = 0 };

const dt_op dt_op_dequantize = {
    .name = "dequantize",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_dequantize_params, dequantize_fields),
    .defaults = &dequantize_defaults,
    .infer = dequantize_infer,
};

static dt_status codes_forward(const dt_node *node, const dt_exec *ex)
{
    (void)ex;

    memcpy(node->out->data, node->in[0]->data, dt_tensor_bytes(node->out));
    memcpy(node->out->scale, node->in[1]->data, (size_t)node->out->n_scale * sizeof(float));
    return DT_OK;
}

static dt_status table_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);
    const dt_table_view v = dt_table_look(node);
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) y[i] = dt_table_value(&v, i);
    node->out->scale[0] = *(const float *)node->in[SCALE]->data;
    return DT_OK;
}

/* A filter has one scale. */
static void dequantize_filters(const dt_tensor *x, float *y)
{
    const int64_t filters = x->shape.dim[0], n = dt_count(&x->shape) / filters;
    const float *q = x->data;

#pragma omp parallel for
    for (int64_t k = 0; k < filters; k++) {
        for (int64_t i = k * n; i < (k + 1) * n; i++) y[i] = dt_scale_at(x->scale, x->n_scale, k) * q[i];
    }
}

static dt_status dequantize_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape), rows = dt_rows(&x->shape);
    const float *q = x->data;
    float *y = node->out->data;
    (void)ex;

    if (((const dt_dequantize_params *)node->params)->filters) {
        dequantize_filters(x, y);
        return DT_OK;
    }
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < channels; c++) {
            y[r * channels + c] = dt_scale_at(x->scale, x->n_scale, c) * q[r * channels + c];
        }
    }
    return DT_OK;
}

const dt_kernel dt_cpu_codes = { .forward = codes_forward };
const dt_kernel dt_cpu_table = { .forward = table_forward };
const dt_kernel dt_cpu_dequantize = { .forward = dequantize_forward, .backward = dt_pass_backward, .overwrites = 1u };
