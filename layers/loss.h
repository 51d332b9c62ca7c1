/*
 * loss.h - softmax and cross entropy: of one image, which CPU and CUDA share, and of a batch on the CPU.
 *
 * The mathematics is in loss.c.
 */
#ifndef DT_LOSS_H
#define DT_LOSS_H

#include "../core/op.h"
#include "../core/rng.h" /* DT_HD */

#include <math.h>

typedef struct {
    double loss;
    int64_t is_correct; /* 1: the label is the largest logit */
} dt_xent_image;

/* Computes the loss of one image from its logits z, and writes its probabilities to p, which may be z. Sums are in
 * double, which is cheap because there are few classes. */
static inline DT_HD dt_xent_image dt_xent_row(const float *z, int64_t classes, int64_t label, float smoothing, float *p)
{
    const double s = (double)smoothing;
    int64_t best = 0;
    double sum_exp = 0.0, sum_z = 0.0;
    dt_xent_image image;

    for (int64_t o = 1; o < classes; o++) {
        if (z[o] > z[best]) best = o;
    }
    const double top = (double)z[best];
    for (int64_t o = 0; o < classes; o++) {
        sum_exp += exp((double)z[o] - top);
        sum_z += (double)z[o] - top;
    }
    const double z_target = (1.0 - s) * ((double)z[label] - top) + s / (double)classes * sum_z;
    for (int64_t o = 0; o < classes; o++) p[o] = (float)(exp((double)z[o] - top) / sum_exp);
    image.loss = log(sum_exp) - z_target; /* the targets sum to 1 */
    image.is_correct = best == label;
    return image;
}

/* Returns dz, the gradient of a logit: g times the difference of p and its target, where g = dloss / N. */
static inline DT_HD float dt_xent_slope(float g, float p, int is_label, int64_t classes, float smoothing)
{
    const float off = smoothing / (float)classes, on = 1.0f - smoothing + off;
    return g * (p - (is_label ? on : off));
}

/* What a teacher's logits are for. */
typedef struct {
    float share, temperature;
} dt_xent_teacher;

static inline dt_xent_teacher dt_xent_teacher_of(const void *params)
{
    const dt_softmax_xent_params *p = (const dt_softmax_xent_params *)params;
    const dt_xent_teacher t = { p->teacher_share, p->teacher_temperature };
    return t;
}

/* Computes log(sum of exp(z / T)) - top / T, and writes the largest of z to *top. */
static inline DT_HD double dt_xent_log_sum(const float *z, int64_t classes, double temperature, double *top)
{
    double sum = 0.0;

    *top = (double)z[0];
    for (int64_t o = 1; o < classes; o++) *top = (double)z[o] > *top ? (double)z[o] : *top;
    for (int64_t o = 0; o < classes; o++) sum += exp(((double)z[o] - *top) / temperature);
    return log(sum);
}

/* Computes the loss of one image from its logits z and a teacher's, u, and writes dz of a loss whose gradient is 1 to
 * slope, which is neither. */
static inline DT_HD dt_xent_image dt_xent_taught_row(const float *z, const float *u, int64_t classes, int64_t label,
                                                     float smoothing, const dt_xent_teacher *teacher, float *slope)
{
    const double share = (double)teacher->share, T = (double)teacher->temperature;
    dt_xent_image image = dt_xent_row(z, classes, label, smoothing, slope); /* slope: p */
    double top_z, top_u, apart = 0.0;
    const double log_z = dt_xent_log_sum(z, classes, T, &top_z), log_u = dt_xent_log_sum(u, classes, T, &top_u);

    for (int64_t o = 0; o < classes; o++) {
        const double log_r = ((double)z[o] - top_z) / T - log_z, log_t = ((double)u[o] - top_u) / T - log_u;
        const double t = exp(log_t), of_label = (double)dt_xent_slope(1.0f, slope[o], o == label, classes, smoothing);
        apart += t * (log_t - log_r);
        slope[o] = (float)((1.0 - share) * of_label + share * T * (exp(log_r) - t));
    }
    image.loss = (1.0 - share) * image.loss + share * T * T * apart;
    return image;
}

/* DT_ERR_ARGUMENT if label_smoothing is out of its range. */
DT_MUST_CHECK dt_status dt_xent_check(const dt_node *node, float smoothing);

typedef struct {
    int64_t batch; /* images that count */
    int64_t classes;
    const int32_t *labels;
    float smoothing;
    int64_t step;         /* images of the whole step, of which batch may be a part; the mean is over them */
    const int32_t *order; /* the label of image n is number order[n]; NULL: number n */
} dt_xent_view;

/* Returns the label of image n. */
static inline int32_t dt_xent_label(const dt_xent_view *v, int64_t n)
{
    return v->labels[v->order ? v->order[n] : n];
}

/* Computes the probabilities p, [N][O], from the logits z, [N][O], on the CPU; p may be z. It adds the batch to sum,
 * and returns its part of the mean loss. */
float dt_xent_forward(const dt_xent_view *v, const float *z, float *p, dt_step_sum *sum);
/* Adds the gradients of the logits to dz, [N][O], or overwrites it where it is fresh, on the CPU. */
void dt_xent_backward(const dt_xent_view *v, const float *p, float dloss, int fresh, float *dz);

#endif /* DT_LOSS_H */
