/*
 * array_evaluate.c - the accuracy of a whole network on an array, and a report for each layer.
 *
 * Interface: dt_array_evaluate in include/detent/array.h.  Tests: tests/accel/test_verify.c.
 */
#include "../../core/train/inference.h"
#include "../verify/report.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    dt_model *model;
    dt_array_report *layers;
    dt_psum_stats *stats; /* [n_layers] */
    int64_t *images;      /* [n_layers] */
} array_watch;

static dt_status watch_node(void *user, const dt_node *node)
{
    array_watch *w = user;
    dt_psum_aux aux;

    if (node->kind != DT_OP_PSUM) return DT_OK;
    const int i = dt_model_find_layer(w->model, node->name);
    const dt_psum_params *p = node->params;
    DT_CHECK(i >= 0, DT_ERR_RANGE, "%s is not among the model's layers", node->name);
    if (w->images[i] == 0) {
        const dt_psum_shape shape = dt_psum_shape_of(node);
        w->layers[i] = dt_array_report_of(w->model->layer[i].name, &p->array, &shape);
    }
    DT_TRY(dt_device_read(w->model->ctx, &aux, node->aux, sizeof aux));
    dt_psum_stats_add(&w->stats[i], &aux.stats);
    w->images[i] += node->in[0]->shape.dim[0]; /* maps */
    return DT_OK;
}

dt_status dt_array_evaluate(dt_model *m, const dt_dataset *d, int batch, float label_smoothing,
                            const dt_progress *progress, const dt_outputs *outputs, dt_metrics *out,
                            dt_array_report *layers)
{
    const size_t n = (size_t)m->n_layers;
    array_watch w = { m, layers, calloc(n, sizeof *w.stats), calloc(n, sizeof *w.images) };
    const dt_evaluation how = { .batch = batch,
                                .label_smoothing = label_smoothing,
                                .progress = progress,
                                .outputs = outputs,
                                .hook = watch_node,
                                .user = &w };
    dt_status status;

    if (w.stats && w.images) {
        for (size_t i = 0; i < n; i++) dt_psum_stats_clear(&w.stats[i]);
        status = dt_evaluate_by(m, d, &how, out);
    } else {
        status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the reports of %zu layers", n);
    }
    for (size_t i = 0; status == DT_OK && i < n; i++) {
        if (w.images[i] == 0) {
            status = dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                              "%s does not run on an array: make the model by "
                              "dt_program_model with one",
                              m->layer[i].name);
            break;
        }
        dt_array_report_fill(&layers[i], &w.stats[i], w.images[i] / m->layer[i].maps);
        dt_array_report_repeat(&layers[i], m->layer[i].maps);
    }
    free(w.stats);
    free(w.images);
    return status;
}
