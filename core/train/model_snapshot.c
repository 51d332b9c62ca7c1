/*
 * model_snapshot.c - a copy of a model's graph that has the parameters' present values.
 *
 * Interface: dt_model_snapshot in model.h.  Tests: tests/quant/test_fold.c.
 */
#include "../graph/rewrite.h"
#include "model.h"

/* A copy has the same values at the same indices. */
static dt_status take_values(dt_model *m, dt_graph *copy)
{
    for (int i = 0; i < m->n_params; i++) {
        const dt_param *p = m->param[i];
        float *values;
        DT_TRY(dt_device_floats(m->ctx, p->tensor.data, dt_count(&p->tensor.shape), &values));
        dt_graph_set_data(copy, p->value, DT_F32, values);
    }
    return DT_OK;
}

dt_status dt_model_snapshot(dt_model *m, dt_graph **out)
{
    dt_graph *copy;

    DT_TRY(dt_graph_rewrite(m->graph, NULL, NULL, &copy));
    const dt_status status = take_values(m, copy);
    if (status != DT_OK) {
        dt_graph_destroy(copy);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = copy;
    return DT_OK;
}
