/*
 * tflite_export.c - see tflite_export.h.
 */
#include "tflite_export.h"

#include "../../core/names.h"
#include "tflite_build.h"

#include <stdlib.h>
#include <string.h>

static dt_status export_all(dt_tflite_export *e)
{
    for (int i = 0; i < e->g->n_nodes; i++) DT_TRY(dt_tflite_export_node(e, &e->g->node[i]));
    DT_TRY(dt_tflite_check(e->m, e->g->name, DT_ERR_UNSUPPORTED));
    return DT_OK;
}

/* Makes the arrays of an export, with room for all. Returns 0 if there is no memory. */
static int make_arrays(dt_tflite_export *e)
{
    const size_t n_values = (size_t)e->g->n_values + 1, n_nodes = (size_t)e->g->n_nodes;
    dt_tflite *m = calloc(1, sizeof *m);

    e->m = m;
    e->map = malloc(n_values * sizeof *e->map);
    e->flat = malloc(n_values * sizeof *e->flat);
    e->zero = malloc(n_values * sizeof *e->zero);
    if (!m || !e->map || !e->flat || !e->zero) return 0;
    m->tensor = calloc(n_nodes * DT_TFLITE_TENSORS_EACH, sizeof *m->tensor);
    m->op = calloc(n_nodes * DT_TFLITE_OPS_EACH, sizeof *m->op);
    m->in = calloc(1, sizeof *m->in);
    m->out = calloc(1, sizeof *m->out);
    m->description = strdup(e->g->name);
    for (size_t i = 0; i < n_values; i++) e->map[i] = e->flat[i] = -1;
    return m->tensor && m->op && m->in && m->out && m->description;
}

dt_status dt_tflite_of_program(const dt_program *p, dt_tflite_io io, dt_tflite **out)
{
    dt_tflite_export e = { .p = p, .g = p->graph, .io = io };

    DT_TRY(dt_check_word("io", (int)io, dt_tflite_io_names));
    DT_TRY(dt_program_check(p));
    DT_CHECK(
        dt_program_profile(p) >= 0, DT_ERR_UNSUPPORTED,
        "%s makes its codes by thresholds, and a TensorFlow Lite file by the engine's arithmetic; 'detent quantize' "
        "or --quant-rule affine makes a network for one",
        p->graph->name);
    const dt_status s =
        make_arrays(&e) ? export_all(&e)
                        : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the export of %s", p->graph->name);
    free(e.map);
    free(e.flat);
    free(e.zero);
    if (s != DT_OK) dt_tflite_destroy(e.m);
    DT_TRY(s);
    *out = e.m;
    return DT_OK;
}

dt_status dt_program_write_tflite(const dt_program *p, dt_tflite_io io, const char *path)
{
    dt_tflite *m = NULL;

    DT_TRY(dt_tflite_of_program(p, io, &m));
    const dt_status s = dt_tflite_write(m, path);
    dt_tflite_destroy(m);
    DT_TRY(s);
    return DT_OK;
}
