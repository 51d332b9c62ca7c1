/*
 * insert_centre.c - see insert_centre.h; and what sets the mean.
 *
 * Interface: dt_model_centre in include/detent/model.h.  Tests: tests/quant/test_insert_centre.c.
 */
#include "insert_centre.h"

#include "../core/graph/rewrite.h"
#include "../core/train/inference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { X, MEAN };

const dt_graph_node *dt_centre_of(const dt_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind == DT_OP_CENTRE) return &g->node[i];
    }
    return NULL;
}

/* From here on, what reads the image reads what is added. */
static dt_status add_centre(dt_rewrite *r)
{
    static const dt_centre_params params = { .factor = 255.0f, .divisor = 256.0f };
    const int64_t *dim = dt_graph_shape(r->from, r->from->image)->dim;
    const dt_param_spec spec = { .shape = { 3, { dim[1], dim[2], dim[3] } },
                                 .group = DT_GROUP_STATE,
                                 .values = DT_VALUES_FINITE,
                                 .floor = -INFINITY };
    const char *image = dt_graph_name(r->from, r->from->image);
    char name[DT_NAME_MAX + 32];
    int in[2];

    in[X] = r->of[r->from->image];
    snprintf(name, sizeof name, "%s.mean", image);
    DT_TRY(dt_graph_param(r->to, name, &spec, &in[MEAN]));
    snprintf(name, sizeof name, "%s.centred", image);
    return dt_graph_add(r->to, DT_OP_CENTRE, name, &params, in, 2, &r->of[r->from->image]);
}

static dt_status centre_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    int *is_added = user;

    if (!*is_added) DT_TRY(add_centre(r));
    *is_added = 1;
    return dt_rewrite_copy(r, n);
}

dt_status dt_insert_centre(const dt_graph *g, dt_graph **out)
{
    int is_added = 0;

    DT_CHECK(g->value[g->image]->facts.type == DT_F32, DT_ERR_UNSUPPORTED,
             "%s reads the bytes of pixels, and a mean image is taken from real ones; normalise it by channel",
             g->name);
    DT_TRY(dt_graph_rewrite(g, centre_node, &is_added, out));
    (*out)->unit_pixels = 1;
    return DT_OK;
}

/* The mean of pixel / 256 over n images of `each` bytes. Sums of pixels are exact. */
static void mean_of(const uint8_t *pixels, int64_t n, int64_t each, float *mean)
{
#pragma omp parallel for
    for (int64_t i = 0; i < each; i++) {
        int64_t sum = 0;
        for (int64_t k = 0; k < n; k++) sum += pixels[k * each + i];
        mean[i] = (float)((double)sum / 256.0 / (double)n);
    }
}

dt_status dt_model_centre(dt_model *m, const dt_dataset *d)
{
    const dt_graph_node *centre = dt_centre_of(m->graph);
    dt_dataset_view v;

    if (!centre) return DT_OK;
    dt_dataset_look(d, &v);
    DT_TRY(dt_model_check_data(m, &v));
    DT_CHECK(v.images, DT_ERR_UNSUPPORTED,
             "%s takes the mean image of pixels / 256 away, and the images of %s are reals; train with '--normalize "
             "channel'",
             m->graph->name, v.name);
    const int64_t each = (int64_t)v.height * v.width * v.channels;
    const int param = dt_model_find(m, dt_graph_name(m->graph, centre->in[MEAN]));
    float *mean = malloc((size_t)each * sizeof *mean);
    DT_CHECK(mean, DT_ERR_MEMORY, "no memory for the mean of %lld images", (long long)v.n);
    mean_of(v.images, v.n, each, mean);
    const dt_status status = dt_model_write(m, param, mean);
    free(mean);
    DT_TRY(status);
    return DT_OK;
}
