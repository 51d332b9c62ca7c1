/*
 * correct.c - biases and batch norms that know what quantization did to their layer's outputs. See rescue.h.
 *
 *   bias:  b[k] += E[y[k]] - E[y'[k]]
 *   norm:  y'[k] is what the quantized layer gives where the norm is folded into it, with the mean m' and the variance
 *          v'. The norm with statistics of its own is gamma (y' - m') / sqrt(v' + inv^2 epsilon) + beta. So
 *            r = |gamma| / sqrt(v' + inv^2 epsilon),  w'[k,..] *= r,  b'[k] = r (b'[k] - m') + beta
 *          A filter's codes stay, because its scale takes r. r is limited to 1/2 .. 2: a channel that hardly varies on
 * the calibration images has no deviation that could be trusted.
 *
 * y is of the network of reals and y' of the quantized one, both with their bias; E is over the calibration images and
 * positions, in double.
 *
 * Sources: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019, section 4.2,
 * with E[y'] from images; Sun et al., "Hybrid 8-bit Floating Point Training and Inference", 2019, for statistics that
 * are taken once more after quantization.  Tests: tests/quant/test_rescue.c.
 */
#include "rescue.h"

#include <math.h>
#include <stdlib.h>

static const double least_factor = 0.5, most_factor = 2.0;

/* What a pass needs of one layer. */
typedef struct {
    dt_rescue_quantized q;
    dt_rescue_moments real, is; /* of the outputs, of reals and quantized */
    float *bias, *weight;       /* of the quantized model */
} layer_at_work;

static void release(layer_at_work *l)
{
    free(l->real.mean);
    free(l->real.variance);
    free(l->is.mean);
    free(l->is.variance);
    free(l->bias);
    free(l->weight);
}

static dt_status moments_room(int64_t n, dt_rescue_moments *out)
{
    out->mean = malloc((size_t)n * sizeof(double));
    out->variance = malloc((size_t)n * sizeof(double));
    DT_CHECK(out->mean && out->variance, DT_ERR_MEMORY, "no memory for the means of %lld channels", (long long)n);
    return DT_OK;
}

static dt_status open_layer(const dt_rescue_work *w, const dt_rescue_layer *l, layer_at_work *out)
{
    DT_TRY(dt_rescue_quantized_of(w->reference, l, w->quantized, &out->q));
    DT_TRY(moments_room(l->filters, &out->is));
    DT_TRY(dt_rescue_moments_of(w->quantized, w->what, out->q.out, &out->is));
    return dt_rescue_read(w->quantized, out->q.bias, &out->bias);
}

/* ---- biases ---- */

static dt_status correct_layer(const dt_rescue_work *w, const dt_rescue_layer *l, layer_at_work *at)
{
    DT_TRY(open_layer(w, l, at));
    DT_TRY(moments_room(l->filters, &at->real));
    DT_TRY(dt_rescue_moments_of(w->reference, w->what, l->out, &at->real));
    for (int64_t k = 0; k < l->filters; k++) {
        at->bias[k] = (float)((double)at->bias[k] + at->real.mean[k] - at->is.mean[k]);
    }
    return dt_model_write(w->quantized, at->q.bias, at->bias);
}

dt_status dt_rescue_correct_bias(const dt_rescue_work *w, int *n_changed)
{
    *n_changed = 0;
    for (int i = 0; i < w->layers->n; i++) {
        layer_at_work at = { .bias = NULL };
        if (w->layers->layer[i].bias < 0) continue;
        const dt_status status = correct_layer(w, &w->layers->layer[i], &at);
        release(&at);
        DT_TRY(status);
        ++*n_changed;
    }
    return DT_OK;
}

/* ---- norms ---- */

static double factor_of(const dt_rescue_norm *n, int64_t k, double variance)
{
    const double deviation = sqrt(variance + n->inv[k] * n->inv[k] * n->epsilon);
    const double r = deviation > 0.0 ? fabs(n->gamma[k]) / deviation : 1.0;

    return r < least_factor ? least_factor : r > most_factor ? most_factor : r;
}

static dt_status reestimate_layer(const dt_rescue_work *w, const dt_rescue_layer *l, layer_at_work *at)
{
    const dt_rescue_norm *n = &l->norm;

    DT_TRY(open_layer(w, l, at));
    DT_TRY(dt_rescue_read(w->quantized, at->q.weight, &at->weight));
    for (int64_t k = 0; k < l->filters; k++) {
        const double r = factor_of(n, k, at->is.variance[k]);
        for (int64_t i = k * l->row; i < (k + 1) * l->row; i++) at->weight[i] = (float)(r * (double)at->weight[i]);
        at->bias[k] = (float)(r * ((double)at->bias[k] - at->is.mean[k]) + n->beta[k]);
    }
    DT_TRY(dt_model_write(w->quantized, at->q.weight, at->weight));
    return dt_model_write(w->quantized, at->q.bias, at->bias);
}

dt_status dt_rescue_reestimate_norms(const dt_rescue_work *w, int *n_changed)
{
    *n_changed = 0;
    for (int i = 0; i < w->layers->n; i++) {
        layer_at_work at = { .bias = NULL };
        if (!w->layers->layer[i].norm.gamma || w->layers->layer[i].bias < 0) continue;
        const dt_status status = reestimate_layer(w, &w->layers->layer[i], &at);
        release(&at);
        DT_TRY(status);
        ++*n_changed;
    }
    return DT_OK;
}
