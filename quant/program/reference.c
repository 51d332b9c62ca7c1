/*
 * reference.c - runs a program by the definitions in program.h: one image, plain loops, sums in 64-bit integers.
 *
 * It shares no code with the tape's kernels or the array, so that it can be compared with them; what a product of a
 * profile is rounded to, core/arith/ says for all. reference_codes.c has the operators of profiles. The values of all
 * nodes are kept until the end; those of a VGG16 take some 3 MB. Tests: tests/quant/test_lower.c.
 */
#include "reference.h"

#include "../../core/declared.h"
#include "../../core/arith/grid.h"
#include "../../layers/augment.h"

#include <stdlib.h>

static int64_t at(int h, int w, int width, int channels)
{
    return ((int64_t)h * width + w) * channels;
}

static void run_table(const dt_reference_node *k)
{
    const dt_table_params *p = k->n->params;
    const int16_t *table = dt_reference_data(k, DT_TABLE_CODES);
    const int64_t columns = dt_graph_shape(k->p->graph, k->n->in[DT_TABLE_CODES])->dim[1];

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        k->y[i] = table[(k->x[i] - p->first) * columns + (columns == 1 ? 0 : i % k->out.channels)];
    }
}

static void run_conv(const dt_reference_node *k)
{
    const dt_graph_node *weights = dt_program_weights(k->p, k->n);
    const int64_t *window = dt_graph_shape(k->p->graph, weights->out)->dim + 1; /* R, S */
    const dt_conv_params *conv = k->n->params;
    const int8_t *filters = dt_program_data(k->p, weights, DT_CODES_WEIGHT);
    const int R = (int)window[0], S = (int)window[1], K = k->out.channels;
    const int C = k->in.channels / conv->groups, filters_of_group = K / conv->groups;

#pragma omp parallel for
    for (int row = 0; row < k->out.maps * k->out.height; row++) {
        const int p = row % k->out.height, map = row / k->out.height;
        for (int i = 0; i < k->out.width * K; i++) {
            const int q = i / K, f = i % K;
            int64_t sum = 0;
            for (int tap = 0; tap < R * S; tap++) {
                const int h = p * conv->stride[0] + tap / S * conv->dilation[0] - conv->pad[0];
                const int w = q * conv->stride[1] + tap % S * conv->dilation[1] - conv->pad[1];
                if (h < 0 || h >= k->in.height || w < 0 || w >= k->in.width) continue;
                const int32_t *x =
                    k->x + at(map * k->in.height + h, w, k->in.width, k->in.channels) + f / filters_of_group * C;
                const int8_t *weight = filters + ((int64_t)f * R * S + tap) * C;
                for (int c = 0; c < C; c++) sum += (int64_t)x[c] * weight[c];
            }
            k->y[at(row, q, k->out.width, K) + f] = dt_reference_sum(k, sum);
        }
    }
}

static void run_threshold(const dt_reference_node *k)
{
    const int32_t *step = dt_reference_data(k, DT_THRESHOLD_STEPS);
    const int8_t *sign = dt_reference_data(k, DT_THRESHOLD_SIGN);

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        const int64_t c = i % k->out.channels;
        k->y[i] = k->out.low;
        for (int t = 0; t < k->out.high - k->out.low; t++) {
            k->y[i] += (int64_t)sign[c] * k->x[i] >= step[t * k->out.channels + c];
        }
    }
}

static void run_affine(const dt_reference_node *k)
{
    const float *slope = dt_reference_data(k, DT_AFFINE_SLOPE), *offset = dt_reference_data(k, DT_AFFINE_OFFSET);

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        const int64_t c = i % k->out.channels;
        const float product = slope[c] * (float)k->x[i];
        k->z[i] = product + offset[c];
    }
}

static void run_relu(const dt_reference_node *k)
{
    const dt_relu_params *p = k->n->params;

    if (k->out.kind == DT_VALUE_CODE) {
        for (int64_t i = 0; i < dt_value_count(&k->out); i++) k->y[i] = k->x[i] < 0 ? 0 : k->x[i];
        return;
    }
    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        k->z[i] = k->u[i] < 0.0f ? 0.0f : k->u[i];
        if (p->most > 0.0f && k->z[i] > p->most) k->z[i] = p->most;
    }
}

static void run_clip(const dt_reference_node *k)
{
    const dt_clip_params *p = k->n->params;

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        k->z[i] = k->u[i] < p->low ? p->low : k->u[i] > p->high ? p->high : k->u[i];
    }
}

int64_t dt_reference_pool_cell(const dt_reference_node *k, int64_t i, int j)
{
    const dt_pool_params *pool = k->n->params;
    const int channels = k->out.channels, width = k->out.width;
    const int c = (int)(i % channels), q = (int)(i / channels % width), row = (int)(i / channels / width);
    const int p = row % k->out.height, map = row / k->out.height;
    const int h = p * pool->stride[0] + j / pool->window[1] - pool->pad[0];
    const int w = q * pool->stride[1] + j % pool->window[1] - pool->pad[1];

    return h < 0 || h >= k->in.height || w < 0 || w >= k->in.width
               ? -1
               : at(map * k->in.height + h, w, k->in.width, channels) + c;
}

static int pool_area(const dt_reference_node *k)
{
    const dt_pool_params *pool = k->n->params;
    return pool->window[0] * pool->window[1];
}

/* Every window sees a cell. */
static void run_maxpool(const dt_reference_node *k)
{
    const int area = pool_area(k);

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        int n = 0;
        for (int j = 0; j < area; j++) {
            const int64_t cell = dt_reference_pool_cell(k, i, j);
            if (cell < 0) continue;
            if (k->y && (n == 0 || k->x[cell] > k->y[i])) k->y[i] = k->x[cell];
            if (k->z && (n == 0 || k->u[cell] > k->z[i])) k->z[i] = k->u[cell];
            n++;
        }
    }
}

/* Codes are summed, reals are averaged. */
static void run_avgpool(const dt_reference_node *k)
{
    const int area = pool_area(k), all = ((const dt_pool_params *)k->n->params)->count_include_pad;

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        int n = 0;
        int32_t sum = 0;
        float real_sum = 0.0f;
        for (int j = 0; j < area; j++) {
            const int64_t cell = dt_reference_pool_cell(k, i, j);
            if (cell < 0) continue;
            if (k->y) sum += k->x[cell];
            if (k->z) real_sum = n == 0 ? k->u[cell] : real_sum + k->u[cell];
            n++;
        }
        if (k->y) k->y[i] = sum;
        if (k->z) k->z[i] = real_sum / (float)(all ? area : n);
    }
}

static void run_add(const dt_reference_node *k)
{
    const void *second = k->values[k->n->in[1]];
    const int32_t *x = second;
    const float *u = second;

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        if (k->y) k->y[i] = k->x[i] + x[i];
        if (k->z) k->z[i] = k->u[i] + u[i];
    }
}

/* Value i of the output, seen as rows of the inputs' parts: which input it is of, and where there. */
static void run_concat(const dt_reference_node *k)
{
    const dt_graph *g = k->p->graph;
    const int axis = ((const dt_concat_params *)k->n->params)->axis;
    const dt_shape *shape = dt_graph_shape(g, k->n->out);
    const int64_t *dim = shape->dim;
    int64_t inner = 1, before = 0;

    for (int a = axis + 1; a < shape->ndim; a++) inner *= dim[a];
    for (int j = 0; j < k->n->n_in; j++) {
        const int32_t *x = k->values[k->n->in[j]];
        const int64_t part = dt_graph_shape(g, k->n->in[j])->dim[axis] * inner, count = dt_graph_count(g, k->n->in[j]);
        for (int64_t i = 0; i < count; i++) k->y[i / part * dim[axis] * inner + before + i % part] = x[i];
        before += part;
    }
}

static void run_transpose(const dt_reference_node *k)
{
    const dt_transpose_params *p = k->n->params;
    const int64_t count = dt_value_count(&k->out), inner = count / p->rows / p->columns;

    for (int64_t i = 0; i < count; i++) {
        const int64_t d = i % inner, row = i / inner % p->rows, column = i / inner / p->rows;
        k->y[i] = k->x[(row * p->columns + column) * inner + d];
    }
}

static void run_quantize(const dt_reference_node *k)
{
    const dt_act_quant_params *q = k->n->params;
    const dt_grid grid = { k->out.low, k->out.high, 0.0f };
    const float alpha = *(const float *)dt_reference_data(k, DT_QUANT_ALPHA);

    for (int64_t i = 0; i < dt_value_count(&k->out); i++)
        k->y[i] = (int32_t)dt_act_code(k->u[i], alpha, &grid, 0, q->rule);
}

static void run_flatten(const dt_reference_node *k)
{
    for (int64_t i = 0; i < dt_value_count(&k->out); i++) k->z[i] = k->u[i];
}

static void run_linear(const dt_reference_node *k)
{
    const float *matrix = dt_reference_data(k, DT_LINEAR_MATRIX), *bias = dt_reference_data(k, DT_LINEAR_BIAS);
    const int64_t inputs = k->in.channels;

    for (int o = 0; o < k->out.channels; o++) {
        double sum = (double)bias[o];
        for (int64_t i = 0; i < inputs; i++) sum += (double)k->u[i] * (double)matrix[o * inputs + i];
        k->z[o] = (float)sum;
    }
}

static void (*const runs[DT_OP_COUNT])(const dt_reference_node *k) = {
    [DT_OP_TABLE] = run_table,
    [DT_OP_CONV2D] = run_conv,
    [DT_OP_THRESHOLD] = run_threshold,
    [DT_OP_AFFINE] = run_affine,
    [DT_OP_RELU] = run_relu,
    [DT_OP_MAXPOOL] = run_maxpool,
    [DT_OP_AVGPOOL] = run_avgpool,
    [DT_OP_ADD] = run_add,
    [DT_OP_ACT_QUANT] = run_quantize,
    [DT_OP_FLATTEN] = run_flatten,
    [DT_OP_LINEAR] = run_linear,
    [DT_OP_CONCAT] = run_concat,
    [DT_OP_CLIP] = run_clip,
    [DT_OP_QUANTIZE] = dt_reference_quantize,
    [DT_OP_REQUANTIZE] = dt_reference_requantize,
    [DT_OP_QADD] = dt_reference_qadd,
    [DT_OP_QMUL] = dt_reference_qmul,
    [DT_OP_QMATMUL] = dt_reference_qmatmul,
    [DT_OP_TRANSPOSE] = run_transpose,
    [DT_OP_QAVGPOOL] = dt_reference_qavgpool,
    [DT_OP_QSOFTMAX] = dt_reference_qsoftmax,
    [DT_OP_DEQUANTIZE] = dt_reference_dequantize,
    [DT_OP_CAPS_VOTES] = dt_reference_votes,
    [DT_OP_ROUTE_INT] = dt_reference_route,
    [DT_OP_CLASS_INT] = dt_reference_class,
};

int32_t dt_reference_sum(const dt_reference_node *k, int64_t sum)
{
    return (int32_t)dt_declared(sum, k->out.low, k->out.high, dt_graph_name(k->p->graph, k->n->out), "sum");
}

/* Codes and psums lie in the range that the program says. */
static void check_values(const dt_reference_node *k)
{
    const char *name = dt_graph_name(k->p->graph, k->n->out);

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) dt_declared(k->y[i], k->out.low, k->out.high, name, "value");
}

void dt_program_run_node(const dt_program *p, const dt_graph_node *n, void *const *values)
{
    const void *first = values[n->in[0]];
    dt_reference_node k = {
        .p = p, .n = n, .in = dt_program_value(p, n->in[0]), .out = dt_program_value(p, n->out), .values = values
    };

    if (k.in.kind == DT_VALUE_REAL)
        k.u = first;
    else
        k.x = first;
    if (k.out.kind == DT_VALUE_REAL)
        k.z = values[n->out];
    else
        k.y = values[n->out];
    runs[n->kind](&k);
    if (DT_CHECKS_RANGES && k.y) check_values(&k);
}

/* Values are int32_t or float, of as many bytes. */
static dt_status make_values(const dt_program *p, int value, void **out)
{
    const dt_value v = dt_program_value(p, value);

    *out = malloc((size_t)dt_value_count(&v) * sizeof(int32_t));
    DT_CHECK(*out, DT_ERR_MEMORY, "no memory for the values of %s", dt_graph_name(p->graph, value));
    return DT_OK;
}

int dt_program_takes_pixels(const dt_program *p)
{
    const dt_value v = dt_program_value(p, p->graph->image);

    return !p->origin.is_real && (v.kind == DT_VALUE_CODE || p->graph->unit_pixels || p->origin.name[0]);
}

float dt_program_pixel(const dt_program *p, uint8_t pixel, int channel)
{
    const int unit = p->graph->unit_pixels, c = channel % 4;

    return dt_augment_value(pixel, unit ? 0.0f : p->origin.mean[c], unit ? 1.0f : p->origin.std[c]);
}

/* Pixels as integers, or what evaluation would make of them, or reals as they are. */
static dt_status give_image(const dt_program *p, dt_program_input image, void *to)
{
    const dt_value v = dt_program_value(p, p->graph->image);
    const int64_t n = dt_value_count(&v);
    int32_t *pixel = to;
    float *real = to;

    DT_CHECK((!image.pixels) != (!image.reals), DT_ERR_ARGUMENT, "a program runs on pixels or on reals, and got %s",
             image.pixels ? "both" : "neither");
    DT_CHECK(image.pixels || v.kind == DT_VALUE_REAL, DT_ERR_UNSUPPORTED,
             "%s reads pixels by a table; give it bytes, not reals", p->graph->name);
    DT_CHECK(image.reals || dt_program_takes_pixels(p), DT_ERR_ARGUMENT,
             "nothing says how %s normalises pixels; give it reals", p->graph->name);
    for (int64_t i = 0; i < n; i++) {
        if (v.kind == DT_VALUE_CODE)
            pixel[i] = image.pixels[i];
        else
            real[i] = image.reals ? image.reals[i] : dt_program_pixel(p, image.pixels[i], (int)(i % v.channels));
    }
    return DT_OK;
}

static dt_status run_all(const dt_program *p, dt_program_input image, void **values, dt_program_hook hook, void *user)
{
    const dt_graph *g = p->graph;

    DT_TRY(make_values(p, g->image, &values[g->image]));
    DT_TRY(give_image(p, image, values[g->image]));
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == DT_OP_CODES) continue; /* who reads the weights finds them */
        DT_TRY(make_values(p, n->out, &values[n->out]));
        dt_program_run_node(p, n, values);
        if (hook) hook(user, p, n, values[n->out]);
    }
    return DT_OK;
}

dt_status dt_program_trace(const dt_program *p, dt_program_input image, dt_program_hook hook, void *user, float *scores)
{
    const dt_graph *g = p->graph;
    void **values = calloc((size_t)g->n_values, sizeof *values);

    DT_CHECK(values, DT_ERR_MEMORY, "no memory to run %d nodes", g->n_nodes);
    const dt_status status = run_all(p, image, values, hook, user);
    const float *found = values[g->scores];
    for (int o = 0; status == DT_OK && o < dt_program_n_scores(p); o++) scores[o] = found[o];
    for (int i = 0; i < g->n_values; i++) free(values[i]);
    free(values);
    return status;
}

dt_status dt_program_run(const dt_program *p, const uint8_t *image, float *scores)
{
    return dt_program_trace(p, (dt_program_input){ .pixels = image }, NULL, NULL, scores);
}

dt_status dt_program_run_reals(const dt_program *p, const float *image, float *scores)
{
    return dt_program_trace(p, (dt_program_input){ .reals = image }, NULL, NULL, scores);
}
