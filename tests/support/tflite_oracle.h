/*
 * tflite_oracle.h - runs a TensorFlow Lite file's description for one image by plain loops, in the file's own layout
 *                   and with its zero points. It shares no code with the library.
 *
 * Each tensor is an array of double: real values of FLOAT32, else the integers that the file stores. Sums of a tensor
 * of reals are taken in double. Codes follow TensorFlow Lite's reference kernels (its quantization specification; tests
 * of core/arith/requantize.h have their arithmetic recorded): a 31-bit multiplier, rounded twice, or once after a fully
 * connected layer. A layer of reals with int8 weights rounds its input first: dynamic_oracle.h.
 */
#ifndef TFLITE_ORACLE_H
#define TFLITE_ORACLE_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdlib.h>

#include "../../formats/tflite/tflite.h"
#include "dynamic_oracle.h"

typedef struct {
    const dt_tflite *m;
    double **value; /* [n_tensors] */
} tflite_oracle;

static inline double tflite_oracle_constant(const dt_tflite_tensor *t, int64_t i)
{
    switch (t->type) {
    case DT_TFLITE_FLOAT32: return (double)((const float *)t->data)[i];
    case DT_TFLITE_INT32: return ((const int32_t *)t->data)[i];
    case DT_TFLITE_INT8: return ((const int8_t *)t->data)[i];
    default: cr_fatal("a constant of type %d", (int)t->type);
    }
    return 0;
}

static inline int tflite_oracle_is_real(const dt_tflite_tensor *t)
{
    return t->type == DT_TFLITE_FLOAT32;
}

static inline double tflite_oracle_zero(const dt_tflite_tensor *t)
{
    return tflite_oracle_is_real(t) ? 0 : t->zero[0];
}

/* The lowest and highest value of an output, with its fused activation. */
static inline void tflite_oracle_limits(const dt_tflite_tensor *t, int fused, double *low, double *high)
{
    const int is_real = tflite_oracle_is_real(t);

    *low = is_real ? -INFINITY : t->type == DT_TFLITE_UINT8 ? 0 : -128;
    *high = is_real ? INFINITY : *low + 255;
    if (fused) *low = fmax(*low, tflite_oracle_zero(t));
    if (fused == 3) *high = fmin(*high, is_real ? 6 : t->zero[0] + round((double)(6.0f / t->scale[0])));
}

/* x * m by a 31-bit multiplier: rounded half up and then half away, or once half up. m < 1. */
static inline double tflite_oracle_scaled(double x, double m, int once)
{
    int exponent;
    const long long q = llround(frexp(m, &exponent) * 2147483648.0);
    const __int128 product = (__int128)(long long)x * q;

    if (once) return (double)(long long)((product + ((__int128)1 << (30 - exponent))) >> (31 - exponent));
    const int up = exponent > 0 ? exponent : 0, down = exponent > 0 ? 0 : -exponent;
    const double high = floor(ldexp((double)(long long)(product * ((__int128)1 << up)), -31) + 0.5);
    return round(ldexp(high, -down));
}

/* The output of a sum of products, channel k of scales sx * sw[k]. */
static inline double tflite_oracle_sum(const tflite_oracle *r, const dt_tflite_operator *o, int k, double sum)
{
    const dt_tflite_tensor *x = &r->m->tensor[o->in[0]], *w = &r->m->tensor[o->in[1]], *y = &r->m->tensor[o->out];
    double low, high;

    if (tflite_oracle_is_real(y) && w->type == DT_TFLITE_INT8) sum *= (double)w->scale[w->n_scales == 1 ? 0 : k];
    if (o->n_in > 2 && o->in[2] >= 0) sum += tflite_oracle_constant(&r->m->tensor[o->in[2]], k);
    if (!tflite_oracle_is_real(y)) {
        const double m = (double)x->scale[0] * (double)w->scale[w->n_scales == 1 ? 0 : k] / (double)y->scale[0];
        sum = tflite_oracle_scaled(sum, m, o->code == DT_TFLITE_FULLY_CONNECTED) + y->zero[0];
    }
    tflite_oracle_limits(y, o->options.fused, &low, &high);
    return fmin(fmax(sum, low), high);
}

/* What the layer reads in the place of input 0, which the caller frees. */
static inline double *tflite_oracle_reads(const tflite_oracle *r, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = &r->m->tensor[o->in[0]], *w = &r->m->tensor[o->in[1]];
    const int64_t n = dt_tflite_count(x);
    double *to = malloc((size_t)n * sizeof *to);
    double scale = 1;

    for (int64_t i = 0; i < n; i++) to[i] = r->value[o->in[0]][i] - tflite_oracle_zero(x);
    if (tflite_oracle_is_real(x) && w->type == DT_TFLITE_INT8)
        scale = (double)dynamic_oracle_codes(r->value[o->in[0]], n, to);
    for (int64_t i = 0; i < n; i++) to[i] *= scale;
    return to;
}

/* First cell of a window along an axis, before the map where it is below 0. */
static inline int tflite_oracle_first(const dt_tflite_options *o, int axis, int size, int out, int p, int window)
{
    const int dilation = o->dilation[axis] ? o->dilation[axis] : 1, span = (window - 1) * dilation + 1;
    const int all = (out - 1) * o->stride[axis] + span - size;

    return p * o->stride[axis] - (o->padding == DT_TFLITE_SAME && all > 0 ? all / 2 : 0);
}

static inline void tflite_oracle_conv(tflite_oracle *r, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = &r->m->tensor[o->in[0]], *w = &r->m->tensor[o->in[1]], *y = &r->m->tensor[o->out];
    const int depthwise = o->code == DT_TFLITE_DEPTHWISE_CONV_2D, K = y->dim[3], C = x->dim[3];
    const int each = depthwise ? 1 : w->dim[3]; /* channels of a group */
    const dt_tflite_options *opt = &o->options;
    double *reads = tflite_oracle_reads(r, o);

    for (int i = 0; i < y->dim[1] * y->dim[2] * K; i++) {
        const int k = i % K, q = i / K % y->dim[2], p = i / K / y->dim[2];
        const int h0 = tflite_oracle_first(opt, 0, x->dim[1], y->dim[1], p, w->dim[1]);
        const int v0 = tflite_oracle_first(opt, 1, x->dim[2], y->dim[2], q, w->dim[2]);
        double sum = 0;
        for (int j = 0; j < w->dim[1] * w->dim[2] * each; j++) {
            const int c = k / (K / (C / each)) * each + j % each, tap = j / each;
            const int h = h0 + tap / w->dim[2] * opt->dilation[0], v = v0 + tap % w->dim[2] * opt->dilation[1];
            if (h < 0 || h >= x->dim[1] || v < 0 || v >= x->dim[2]) continue;
            const double weight =
                tflite_oracle_constant(w, depthwise ? tap * K + k : k * w->dim[1] * w->dim[2] * each + j);
            sum += reads[(h * x->dim[2] + v) * C + c] * weight;
        }
        r->value[o->out][i] = tflite_oracle_sum(r, o, k, sum);
    }
    free(reads);
}

static inline void tflite_oracle_linear(tflite_oracle *r, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *w = &r->m->tensor[o->in[1]];
    double *reads = tflite_oracle_reads(r, o);

    for (int k = 0; k < w->dim[0]; k++) {
        double sum = 0;
        for (int i = 0; i < w->dim[1]; i++) {
            const double weight = tflite_oracle_constant(w, (int64_t)k * w->dim[1] + i);
            sum += reads[i] * weight;
        }
        r->value[o->out][k] = tflite_oracle_sum(r, o, k, sum);
    }
    free(reads);
}

static inline void tflite_oracle_pool(tflite_oracle *r, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = &r->m->tensor[o->in[0]], *y = &r->m->tensor[o->out];
    const int C = x->dim[3], is_max = o->code == DT_TFLITE_MAX_POOL_2D;
    double low, high;

    tflite_oracle_limits(y, o->options.fused, &low, &high);
    for (int i = 0; i < y->dim[1] * y->dim[2] * C; i++) {
        const int c = i % C, q = i / C % y->dim[2], p = i / C / y->dim[2];
        const int h0 = tflite_oracle_first(&o->options, 0, x->dim[1], y->dim[1], p, o->options.window[0]);
        const int v0 = tflite_oracle_first(&o->options, 1, x->dim[2], y->dim[2], q, o->options.window[1]);
        double sum = 0, most = -INFINITY;
        int n = 0;
        for (int j = 0; j < o->options.window[0] * o->options.window[1]; j++) {
            const int h = h0 + j / o->options.window[1], v = v0 + j % o->options.window[1];
            if (h < 0 || h >= x->dim[1] || v < 0 || v >= x->dim[2]) continue;
            const double value = r->value[o->in[0]][(h * x->dim[2] + v) * C + c];
            most = fmax(most, value);
            sum += value;
            n++;
        }
        const double average = tflite_oracle_is_real(x) ? sum / n : trunc((sum + (sum > 0 ? n / 2 : -(n / 2))) / n);
        r->value[o->out][i] = fmin(fmax(is_max ? most : average, low), high);
    }
}

/* Over H and W of reals. */
static inline void tflite_oracle_mean(tflite_oracle *r, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = &r->m->tensor[o->in[0]];
    const int C = x->dim[3], cells = x->dim[1] * x->dim[2];

    cr_assert(tflite_oracle_is_real(x));
    for (int c = 0; c < C; c++) {
        double sum = 0;
        for (int i = 0; i < cells; i++) sum += r->value[o->in[0]][i * C + c];
        r->value[o->out][c] = sum / cells;
    }
}

/* ADD and MUL of reals of one shape, or of a constant for each channel; ADD and SUB of codes. */
static inline double tflite_oracle_binary(const tflite_oracle *r, const dt_tflite_operator *o, int64_t i)
{
    const dt_tflite_tensor *x[2] = { &r->m->tensor[o->in[0]], &r->m->tensor[o->in[1]] }, *y = &r->m->tensor[o->out];
    double v[2];

    for (int k = 0; k < 2; k++) v[k] = r->value[o->in[k]][i % dt_tflite_count(x[k])] - tflite_oracle_zero(x[k]);
    if (o->code == DT_TFLITE_SUB) v[1] = -v[1];
    if (tflite_oracle_is_real(y)) return o->code == DT_TFLITE_MUL ? v[0] * v[1] : v[0] + v[1];
    const double twice = 2 * fmax((double)x[0]->scale[0], (double)x[1]->scale[0]);
    double sum = 0;
    for (int k = 0; k < 2; k++) sum += tflite_oracle_scaled(v[k] * 1048576, (double)x[k]->scale[0] / twice, 0);
    return tflite_oracle_scaled(sum, twice / (1048576 * (double)y->scale[0]), 0) + y->zero[0];
}

/* Operators that work number by number. */
static inline double tflite_oracle_one(const tflite_oracle *r, const dt_tflite_operator *o, int64_t i)
{
    const dt_tflite_tensor *x = &r->m->tensor[o->in[0]], *y = &r->m->tensor[o->out];
    const double v = r->value[o->in[0]][i % dt_tflite_count(x)];
    const double real = tflite_oracle_is_real(x) ? v : (double)x->scale[0] * (v - x->zero[0]);

    switch (o->code) {
    case DT_TFLITE_RESHAPE:
    case DT_TFLITE_SQUEEZE: return v;
    case DT_TFLITE_DEQUANTIZE: return (double)(x->scale[0] * (float)(v - x->zero[0]));
    case DT_TFLITE_LOGISTIC:
        return tflite_oracle_is_real(y) ? 1 / (1 + exp(-real)) : rint(256 / (1 + exp(-real))) - 128;
    case DT_TFLITE_TANH: return rint(128 * tanh(real));
    case DT_TFLITE_RELU:
    case DT_TFLITE_RELU6:
    case DT_TFLITE_QUANTIZE:
        if (tflite_oracle_is_real(y)) return v;
        if (tflite_oracle_is_real(x)) return round((double)((float)v / y->scale[0])) + y->zero[0];
        return tflite_oracle_scaled(v - x->zero[0], (double)x->scale[0] / (double)y->scale[0], 0) + y->zero[0];
    default: return tflite_oracle_binary(r, o, i);
    }
}

static inline void tflite_oracle_each(tflite_oracle *r, const dt_tflite_operator *o)
{
    const int64_t n = dt_tflite_count(&r->m->tensor[o->out]);
    const int fused = o->code == DT_TFLITE_RELU ? 1 : o->code == DT_TFLITE_RELU6 ? 3 : o->options.fused;
    double low, high;

    tflite_oracle_limits(&r->m->tensor[o->out], fused, &low, &high);
    for (int64_t i = 0; i < n; i++) r->value[o->out][i] = fmin(fmax(tflite_oracle_one(r, o, i), low), high);
}

/* Over all of a flat tensor of reals. */
static inline void tflite_oracle_softmax(tflite_oracle *r, const dt_tflite_operator *o)
{
    const int64_t n = dt_tflite_count(&r->m->tensor[o->out]);
    double sum = 0;

    cr_assert(tflite_oracle_is_real(&r->m->tensor[o->out]));
    for (int64_t i = 0; i < n; i++) sum += exp(r->value[o->in[0]][i]);
    for (int64_t i = 0; i < n; i++) r->value[o->out][i] = exp(r->value[o->in[0]][i]) / sum;
}

/* Along the last axis. */
static inline void tflite_oracle_concat(tflite_oracle *r, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *y = &r->m->tensor[o->out];
    const int all = y->dim[y->n_dims - 1];
    int first = 0;

    for (int k = 0; k < o->n_in; k++) {
        const dt_tflite_tensor *x = &r->m->tensor[o->in[k]];
        const int n = x->dim[x->n_dims - 1];
        for (int64_t i = 0; i < dt_tflite_count(x); i++)
            r->value[o->out][i / n * all + first + i % n] = r->value[o->in[k]][i];
        first += n;
    }
}

/* Index k of element i of a tensor. */
static inline int tflite_oracle_index(const dt_tflite_tensor *t, int64_t i, int k)
{
    for (int d = t->n_dims - 1; d > k; d--) i /= t->dim[d];
    return (int)(i % t->dim[k]);
}

static inline void tflite_oracle_transpose(tflite_oracle *r, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = &r->m->tensor[o->in[0]], *y = &r->m->tensor[o->out];
    const int32_t *axes = r->m->tensor[o->in[1]].data;

    for (int64_t i = 0; i < dt_tflite_count(y); i++) {
        int at[DT_TFLITE_MAX_DIMS] = { 0 };
        int64_t from = 0;
        for (int k = 0; k < y->n_dims; k++) at[axes[k]] = tflite_oracle_index(y, i, k);
        for (int k = 0; k < x->n_dims; k++) from = from * x->dim[k] + at[k];
        r->value[o->out][i] = r->value[o->in[0]][from];
    }
}

/* Of codes; all but the last two dimensions of an operand are those of the output, or one matrix stands for all. */
static inline void tflite_oracle_matmul(tflite_oracle *r, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *t[2] = { &r->m->tensor[o->in[0]], &r->m->tensor[o->in[1]] }, *y = &r->m->tensor[o->out];
    const int rows = y->dim[y->n_dims - 2], columns = y->dim[y->n_dims - 1], *turned = o->options.transpose;
    const int terms = t[0]->dim[t[0]->n_dims - (turned[0] ? 2 : 1)];
    const double m = (double)(t[0]->scale[0] * t[1]->scale[0]) / (double)y->scale[0];

    for (int64_t i = 0; i < dt_tflite_count(y); i++) {
        const int64_t matrix = i / columns / rows;
        double sum = 0;
        for (int k = 0; k < terms; k++) {
            double product = 1;
            for (int j = 0; j < 2; j++) {
                const int64_t outer = j == 0 ? i / columns % rows : i % columns;
                const int width = t[j]->dim[t[j]->n_dims - 1], height = t[j]->dim[t[j]->n_dims - 2];
                const int64_t first = dt_tflite_count(t[j]) == width * height ? 0 : matrix * width * height;
                const int is_along = (j == 0) != turned[j]; /* terms lie side by side */
                const int64_t at = first + (is_along ? outer * width + k : k * width + outer);
                product *= r->value[o->in[j]][at] - t[j]->zero[0];
            }
            sum += product;
        }
        r->value[o->out][i] = fmin(fmax(tflite_oracle_scaled(sum, m, 0) + y->zero[0], -128), 127);
    }
}

/* Cells of 0 around a map. */
static inline void tflite_oracle_pad(tflite_oracle *r, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = &r->m->tensor[o->in[0]], *y = &r->m->tensor[o->out];
    const int32_t *cells = r->m->tensor[o->in[1]].data;
    const int C = x->dim[3];

    for (int64_t i = 0; i < dt_tflite_count(y); i++) r->value[o->out][i] = tflite_oracle_zero(x);
    for (int64_t i = 0; i < dt_tflite_count(x); i++) {
        const int64_t h = i / C / x->dim[2] + cells[2], v = i / C % x->dim[2] + cells[4];
        r->value[o->out][(h * y->dim[2] + v) * C + i % C] = r->value[o->in[0]][i];
    }
}

static inline void tflite_oracle_step(tflite_oracle *r, const dt_tflite_operator *o)
{
    switch (o->code) {
    case DT_TFLITE_CONV_2D:
    case DT_TFLITE_DEPTHWISE_CONV_2D: tflite_oracle_conv(r, o); break;
    case DT_TFLITE_FULLY_CONNECTED: tflite_oracle_linear(r, o); break;
    case DT_TFLITE_MAX_POOL_2D:
    case DT_TFLITE_AVERAGE_POOL_2D: tflite_oracle_pool(r, o); break;
    case DT_TFLITE_MEAN: tflite_oracle_mean(r, o); break;
    case DT_TFLITE_SOFTMAX: tflite_oracle_softmax(r, o); break;
    case DT_TFLITE_CONCATENATION: tflite_oracle_concat(r, o); break;
    case DT_TFLITE_PAD: tflite_oracle_pad(r, o); break;
    case DT_TFLITE_TRANSPOSE: tflite_oracle_transpose(r, o); break;
    case DT_TFLITE_BATCH_MATMUL: tflite_oracle_matmul(r, o); break;
    default: tflite_oracle_each(r, o);
    }
}

/* Runs the file for one input, and writes its output to out. */
static inline void tflite_oracle_run(const dt_tflite *m, const float *in, double *out)
{
    tflite_oracle r = { m, calloc((size_t)m->n_tensors, sizeof(double *)) };

    for (int i = 0; i < m->n_tensors; i++) {
        const dt_tflite_tensor *t = &m->tensor[i];
        const int64_t n = dt_tflite_count(t);
        r.value[i] = calloc((size_t)n, sizeof(double));
        for (int64_t k = 0; k < n && t->data; k++) r.value[i][k] = tflite_oracle_constant(t, k);
    }
    for (int64_t k = 0; k < dt_tflite_count(&m->tensor[m->in[0]]); k++) r.value[m->in[0]][k] = (double)in[k];
    for (int i = 0; i < m->n_ops; i++) tflite_oracle_step(&r, &m->op[i]);
    for (int64_t k = 0; k < dt_tflite_count(&m->tensor[m->out[0]]); k++) out[k] = r.value[m->out[0]][k];
    for (int i = 0; i < m->n_tensors; i++) free(r.value[i]);
    free(r.value);
}

#endif /* TFLITE_ORACLE_H */
