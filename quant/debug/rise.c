/*
 * rise.c - the second-order estimate of what rounding a layer's weights adds to the loss.
 *
 *   rise = 1/2 sum_i F_i d_i^2,  F_i = mean over the images of (dL/dw_i)^2,  d_i = rounded w_i - w_i
 *
 * At a minimum of the loss its gradient is 0, and the first term that rounding adds is that of the Hessian. F, the
 * empirical Fisher information, stands for the Hessian's diagonal. Each image has a backward pass of its own, in the
 * network of reals, whose batch norms are folded; one with batch norms of its own has no gradients of single images.
 *
 * Source: Dong et al., "HAWQ-V2", NeurIPS 2020, section 3, with the Fisher information in place of the trace.
 * Tests: tests/quant/test_sensitivity.c.
 */
#include "rise.h"

#include "../../core/arith/range.h"
#include "../../core/train/trainer.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    const dt_graph *g;
    dt_model *real;
    double **square; /* [n_nodes] sums of the squares of each weight's gradients; NULL: the node has no weights */
} estimating;

/* The parameter of the network of reals that a MAX_QUANT reads; NULL: none. */
static const dt_param *weights_of(const estimating *e, const dt_graph_node *n)
{
    const int at = n->kind == DT_OP_MAX_QUANT ? dt_model_find(e->real, dt_graph_name(e->g, n->in[0])) : -1;

    return at >= 0 ? e->real->param[at] : NULL;
}

static int has_norms(const dt_graph *g)
{
    return dt_graph_has(g, DT_OP_BATCHNORM) || dt_graph_has(g, DT_OP_BATCH_STATS);
}

static dt_status make_room(estimating *e)
{
    for (int i = 0; i < e->g->n_nodes; i++) {
        const dt_param *p = weights_of(e, &e->g->node[i]);
        if (!p) continue;
        e->square[i] = calloc((size_t)dt_count(&p->tensor.shape), sizeof **e->square);
        DT_CHECK(e->square[i], DT_ERR_MEMORY, "no memory for the gradients of %s", p->name);
    }
    return DT_OK;
}

static dt_status add_squares(const estimating *e)
{
    for (int i = 0; i < e->g->n_nodes; i++) {
        const dt_param *p = weights_of(e, &e->g->node[i]);
        float *grad;
        if (!p) continue;
        const int64_t n = dt_count(&p->tensor.shape);
        DT_TRY(dt_device_floats(e->real->ctx, p->tensor.grad, n, &grad));
        for (int64_t k = 0; k < n; k++) e->square[i][k] += (double)grad[k] * (double)grad[k];
        free(grad);
    }
    return DT_OK;
}

static dt_status no_hook(void *user, const dt_node *node)
{
    (void)user;
    (void)node;
    return DT_OK;
}

/* Gradients of one image after the other. */
static dt_status sum_squares(const estimating *e, const dt_dataset *images, int64_t n)
{
    dt_train_config one;
    dt_trainer *t;

    dt_train_config_default(NULL, &one);
    one.batch = 1;
    one.epochs = 1;
    one.crop_pad = one.shift = 0;
    one.rotation = one.flip_share = one.label_smoothing = one.weight_decay = 0.0f;
    DT_TRY(dt_trainer_create(e->real, images, &one, &t));
    dt_status status = DT_OK;
    for (int64_t i = 0; i < n && status == DT_OK; i++) {
        t->step = i; /* images of an epoch, in an order that does not matter */
        const dt_part image = dt_trainer_whole(t);
        status = dt_trainer_observe(t, &image, no_hook, NULL);
        if (status == DT_OK) status = add_squares(e);
    }
    dt_trainer_destroy(t);
    return status;
}

/* Of one scale: values 0 .. n - 1 of w. */
static double rise_of(const float *w, const double *square, int64_t n, float least, int high)
{
    float magnitude = 0.0f;
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) magnitude = dt_max_magnitude(magnitude, w[i]);
    const double step = dt_max_step(magnitude, high, least);
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)dt_max_code(w[i], step, high) * step - (double)w[i];
        sum += square[i] * d * d;
    }
    return 0.5 * sum;
}

static double rise_of_node(const estimating *e, int node, int64_t n_images)
{
    const dt_graph_node *n = &e->g->node[node];
    const dt_graph_value *w = e->g->value[n->in[0]], *least = e->g->value[n->in[1]];
    const int high = (int)e->g->value[n->out]->facts.qmax, n_scales = e->g->value[n->out]->facts.n_scale;
    const int64_t each = dt_count(&w->facts.shape) / n_scales;
    double sum = 0.0;

    if (!w->data || !least->data) return NAN;
    for (int k = 0; k < n_scales; k++) {
        sum += rise_of((const float *)w->data + k * each, e->square[node] + k * each, each,
                       ((const float *)least->data)[k], high);
    }
    return sum / (double)n_images;
}

static dt_status estimate(estimating *e, const dt_dataset *images, int64_t n, double *out)
{
    DT_TRY(make_room(e));
    DT_TRY(sum_squares(e, images, n));
    for (int i = 0; i < e->g->n_nodes; i++) out[i] = e->square[i] ? rise_of_node(e, i, n) : NAN;
    return DT_OK;
}

/* The images and labels first .. first + n - 1 as a data set of their own, normalised as the network's. */
static dt_status cut_images(const dt_model *m, const dt_dataset *d, int64_t first, int64_t n, dt_dataset **out)
{
    dt_dataset_view v;
    dt_record_spec spec = { 0 };

    dt_dataset_look(d, &v);
    const int64_t numbers = (int64_t)v.height * v.width * v.channels, labels = v.multi_label ? v.n_classes : 1;
    dt_model_normalise(m, &v, &spec);
    dt_images images = { .name = v.name,
                         .images = v.images ? v.images + first * numbers : NULL,
                         .reals = v.reals ? v.reals + first * numbers : NULL,
                         .labels = v.labels + first * labels,
                         .multi_label = v.multi_label,
                         .n = n,
                         .height = v.height,
                         .width = v.width,
                         .channels = v.channels,
                         .n_classes = v.n_classes };
    for (int c = 0; c < v.channels; c++) {
        images.mean[c] = spec.mean[c];
        images.std[c] = spec.std[c];
    }
    DT_TRY(dt_dataset_from_memory(&images, out));
    return DT_OK;
}

dt_status dt_estimate_rise(const dt_graph *g, dt_model *real, const dt_dataset *d, int64_t first, int64_t n,
                           double *out)
{
    estimating e = { g, real, calloc((size_t)g->n_nodes + 1, sizeof *e.square) };
    dt_dataset *images = NULL;
    dt_status status = DT_OK;

    DT_CHECK(e.square, DT_ERR_MEMORY, "no memory for the gradients of %d nodes", g->n_nodes);
    for (int i = 0; i < g->n_nodes; i++) out[i] = NAN;
    if (!has_norms(real->graph)) {
        status = cut_images(real, d, first, n, &images);
        if (status == DT_OK) status = estimate(&e, images, n, out);
    }
    dt_dataset_close(images);
    for (int i = 0; i < g->n_nodes; i++) free(e.square[i]);
    free(e.square);
    return status;
}
