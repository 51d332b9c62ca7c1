/*
 * reference.c - runs a program by the definitions in program.h: one image, plain loops, sums in 64-bit integers.
 *
 * It shares no code with the tape's kernels or the array, so that it can speak against them. Every layer's values are
 * kept until the end; a VGG16 needs some 3 MB.
 * Tests: tests/test_lower.c.
 */
#include "grid.h"
#include "program.h"

#include <stdlib.h>

/* One layer at work: i32 of codes and psums, else f32; the pointer of the other type is NULL. */
typedef struct {
    const dt_layer *l;
    dt_value in;
    const int32_t *x;
    const float *u, *v; /* reals of in[0] and in[1] */
    int32_t *y;
    float *z;
} work;

static int64_t at(int h, int w, int width, int channels)
{
    return ((int64_t)h * width + w) * channels;
}

static void run_conv(const work *k)
{
    const dt_layer *l = k->l;
    const int C = k->in.channels;

#pragma omp parallel for
    for (int p = 0; p < l->height; p++) {
        for (int i = 0; i < l->width * l->channels; i++) {
            const int q = i / l->channels, f = i % l->channels;
            int64_t sum = 0;
            for (int tap = 0; tap < l->window_height * l->window_width; tap++) {
                const int h = p * l->stride + tap / l->window_width - l->pad;
                const int w = q * l->stride + tap % l->window_width - l->pad;
                if (h < 0 || h >= k->in.height || w < 0 || w >= k->in.width) continue;
                const int32_t *x = k->x + at(h, w, k->in.width, C);
                const int8_t *weight = l->weight + ((int64_t)f * l->window_height * l->window_width + tap) * C;
                for (int c = 0; c < C; c++) sum += (int64_t)x[c] * weight[c];
            }
            k->y[at(p, q, l->width, l->channels) + f] = (int32_t)sum;
        }
    }
}

static void run_threshold(const work *k)
{
    const dt_layer *l = k->l;

    for (int64_t i = 0; i < dt_layer_count(l); i++) {
        const int64_t c = i % l->channels;
        k->y[i] = l->low;
        for (int t = 0; t < l->high - l->low; t++) {
            k->y[i] += (int64_t)l->sign[c] * k->x[i] >= l->threshold[t * l->channels + c];
        }
    }
}

static void run_affine(const work *k)
{
    const dt_layer *l = k->l;

    for (int64_t i = 0; i < dt_layer_count(l); i++) {
        const int64_t c = i % l->channels;
        const float product = l->slope[c] * (float)k->x[i];
        k->z[i] = product + l->offset[c];
    }
}

static void run_relu(const work *k)
{
    for (int64_t i = 0; i < dt_layer_count(k->l); i++) k->z[i] = k->u[i] < 0.0f ? 0.0f : k->u[i];
}

/* Position in x of cell j of the window whose output is value i. */
static int64_t pool_cell(const work *k, int64_t i, int j)
{
    const dt_layer *l = k->l;
    const int c = (int)(i % l->channels), q = (int)(i / l->channels % l->width), p = (int)(i / l->channels / l->width);
    const int h = p * l->stride + j / l->window_width, w = q * l->stride + j % l->window_width;
    return at(h, w, k->in.width, l->channels) + c;
}

static void run_maxpool(const work *k)
{
    const int area = k->l->window_height * k->l->window_width;

    for (int64_t i = 0; i < dt_layer_count(k->l); i++) {
        for (int j = 0; j < area; j++) {
            const int64_t cell = pool_cell(k, i, j);
            if (k->y && (j == 0 || k->x[cell] > k->y[i])) k->y[i] = k->x[cell];
            if (k->z && (j == 0 || k->u[cell] > k->z[i])) k->z[i] = k->u[cell];
        }
    }
}

static void run_avgpool(const work *k)
{
    const int area = k->l->window_height * k->l->window_width;

    for (int64_t i = 0; i < dt_layer_count(k->l); i++) {
        float sum = k->u[pool_cell(k, i, 0)];
        for (int j = 1; j < area; j++) sum += k->u[pool_cell(k, i, j)];
        k->z[i] = sum / (float)area;
    }
}

static void run_add(const work *k)
{
    for (int64_t i = 0; i < dt_layer_count(k->l); i++) k->z[i] = k->u[i] + k->v[i];
}

static void run_quantize(const work *k)
{
    const dt_layer *l = k->l;
    const dt_grid grid = { l->low, l->high, 0.0f };

    for (int64_t i = 0; i < dt_layer_count(l); i++)
        k->y[i] = (int32_t)dt_act_code(k->u[i], l->alpha, &grid, 0, l->rule);
}

static void run_linear(const work *k)
{
    const dt_layer *l = k->l;
    const int64_t inputs = (int64_t)k->in.height * k->in.width * k->in.channels;

    for (int o = 0; o < l->channels; o++) {
        double sum = (double)l->bias[o];
        for (int64_t i = 0; i < inputs; i++) sum += (double)k->u[i] * (double)l->matrix[o * inputs + i];
        k->z[o] = (float)sum;
    }
}

static void (*const runs[DT_LAYER_COUNT])(const work *k) = {
    [DT_LAYER_CONV] = run_conv, [DT_LAYER_THRESHOLD] = run_threshold, [DT_LAYER_AFFINE] = run_affine,
    [DT_LAYER_RELU] = run_relu, [DT_LAYER_MAXPOOL] = run_maxpool,     [DT_LAYER_AVGPOOL] = run_avgpool,
    [DT_LAYER_ADD] = run_add,   [DT_LAYER_QUANTIZE] = run_quantize,   [DT_LAYER_LINEAR] = run_linear,
};

/* value[0] is the image's codes, value[i + 1] layer i's. */
static void run_layer(const dt_program *p, int i, void *const *value)
{
    const dt_layer *l = &p->layer[i];
    const void *first = value[l->in[0] + 1];
    work k = { .l = l, .in = dt_layer_input(p, i, 0) };

    if (k.in.kind == DT_VALUE_REAL)
        k.u = first;
    else
        k.x = first;
    if (l->kind == DT_LAYER_ADD) k.v = value[l->in[1] + 1];
    if (l->value == DT_VALUE_REAL)
        k.z = value[i + 1];
    else
        k.y = value[i + 1];
    runs[l->kind](&k);
}

static void run_all(const dt_program *p, const uint8_t *image, void *const *value, dt_layer_hook hook, void *user,
                    float *scores)
{
    const dt_layer *last = &p->layer[p->n_layers - 1];
    const float *found = value[p->n_layers];
    int32_t *codes = value[0];

    for (int64_t i = 0; i < (int64_t)p->height * p->width * p->channels; i++) {
        codes[i] = p->table[image[i] * p->channels + i % p->channels];
    }
    for (int i = 0; i < p->n_layers; i++) {
        run_layer(p, i, value);
        if (hook) hook(user, p, i, value[i + 1]);
    }
    for (int o = 0; o < last->channels; o++) scores[o] = found[o];
}

dt_status dt_program_trace(const dt_program *p, const uint8_t *image, dt_layer_hook hook, void *user, float *scores)
{
    void **value = calloc((size_t)p->n_layers + 1, sizeof *value);
    int filled = 0;

    DT_CHECK(value, DT_ERR_MEMORY, "no memory to run %d layers", p->n_layers);
    for (; filled <= p->n_layers; filled++) {
        const int64_t image_count = (int64_t)p->height * p->width * p->channels;
        const int64_t count = filled == 0 ? image_count : dt_layer_count(&p->layer[filled - 1]);
        value[filled] = malloc((size_t)count * sizeof(int32_t)); /* as many bytes as floats */
        if (!value[filled]) break;
    }
    if (filled > p->n_layers) run_all(p, image, value, hook, user, scores);
    for (int i = 0; i < filled; i++) free(value[i]);
    free(value);
    DT_CHECK(filled > p->n_layers, DT_ERR_MEMORY, "no memory for the values of layer %d", filled - 1);
    return DT_OK;
}

dt_status dt_program_run(const dt_program *p, const uint8_t *image, float *scores)
{
    return dt_program_trace(p, image, NULL, NULL, scores);
}
