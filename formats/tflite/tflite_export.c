/*
 * tflite_export.c - see tflite_export.h.
 */
#include "tflite_export.h"

#include "../../core/names.h"
#include "../../core/train/model.h"
#include "../../quant/fold.h"
#include "tflite_build.h"

#include <stdlib.h>
#include <string.h>

/* ---- programs ---- */

static dt_status export_all(dt_tflite_export *e)
{
    for (int i = 0; i < e->g->n_nodes; i++) DT_TRY(dt_tflite_export_node(e, &e->g->node[i]));
    DT_TRY(dt_tflite_check(e->m, e->g->name, DT_ERR_UNSUPPORTED));
    return DT_OK;
}

/* Makes the arrays of an export, with room for all that the nodes of e->g make; the caller frees them, and e->m too.
 * 0: there is no memory. */
static int export_begin(dt_tflite_export *e)
{
    const size_t n_values = (size_t)e->g->n_values + 1, n_nodes = (size_t)e->g->n_nodes + 1;
    dt_tflite *m = calloc(1, sizeof *m);

    e->m = m;
    e->map = malloc(n_values * sizeof *e->map);
    e->flat = malloc(n_values * sizeof *e->flat);
    e->zero = calloc(n_values, sizeof *e->zero);
    if (!m || !e->map || !e->flat || !e->zero) return 0;
    m->tensor = calloc(n_nodes * DT_TFLITE_TENSORS_EACH, sizeof *m->tensor);
    m->op = calloc(n_nodes * DT_TFLITE_OPS_EACH, sizeof *m->op);
    m->in = calloc(1, sizeof *m->in);
    m->out = calloc(1, sizeof *m->out);
    m->description = strdup(e->g->name);
    for (size_t i = 0; i < n_values; i++) e->map[i] = e->flat[i] = -1;
    return m->tensor && m->op && m->in && m->out && m->description;
}

/* Frees the arrays but for e->m. */
static void export_end(dt_tflite_export *e)
{
    free(e->map);
    free(e->flat);
    free(e->zero);
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
    const dt_status s = export_begin(&e) ? export_all(&e)
                                         : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the export of %s",
                                                    p->graph->name);
    export_end(&e);
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

/* ---- networks of reals ---- */

/* 1 if all that read the codes make reals of them: those of weights with dynamic ranges. */
static int is_stored(const dt_graph *g, const dt_graph_node *codes)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        for (int k = 0; k < n->n_in; k++) {
            if (n->in[k] == codes->out && n->kind != DT_OP_DEQUANTIZE) return 0;
        }
    }
    return codes->kind == DT_OP_CODES;
}

int dt_model_is_real(const dt_model *m)
{
    const dt_graph *g = m->graph;

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (g->value[n->out]->facts.n_scale > 0 && !is_stored(g, n)) return 0;
    }
    return g->value[g->image]->facts.type == DT_F32;
}

/* The image, the nodes that the scores need, and the scores. */
static dt_status export_reals(dt_tflite_export *e, char *needed)
{
    const dt_graph *g = e->g;
    int image;

    DT_CHECK(dt_graph_shape(g, g->image)->ndim == 4 && g->value[g->image]->facts.type == DT_F32, DT_ERR_UNSUPPORTED,
             "%s: its image has %d dimensions and is %s; a file of reals takes n,h,w,c of them", g->name,
             dt_graph_shape(g, g->image)->ndim, g->value[g->image]->facts.type == DT_F32 ? "real" : "integer");
    needed[g->scores] = 1;
    dt_graph_mark_needed(g, NULL, 0, needed);
    DT_TRY(dt_tflite_add_value(e, g->image, 0, &image));
    e->m->in[e->m->n_in++] = image;
    for (int i = 0; i < g->n_nodes; i++) {
        if (needed[g->node[i].out]) DT_TRY(dt_tflite_export_real(e, &g->node[i]));
    }
    const dt_graph_node *last = dt_graph_maker(g, g->scores);
    DT_CHECK(last, DT_ERR_UNSUPPORTED, "%s: its scores are its image, and a file has operators", g->name);
    DT_TRY(dt_tflite_as_flat(e, last, g->scores, &e->m->out[e->m->n_out]));
    e->m->n_out++;
    DT_TRY(dt_tflite_check(e->m, g->name, DT_ERR_UNSUPPORTED));
    return DT_OK;
}

dt_status dt_tflite_of_graph(const dt_graph *g, dt_tflite **out)
{
    dt_tflite_export e = { .g = g, .io = DT_TFLITE_IO_F32 };
    char *needed = calloc((size_t)g->n_values + 1, 1);

    const dt_status s = export_begin(&e) && needed
                            ? export_reals(&e, needed)
                            : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the export of %s", g->name);
    free(needed);
    export_end(&e);
    if (s != DT_OK) dt_tflite_destroy(e.m);
    DT_TRY(s);
    *out = e.m;
    return DT_OK;
}

static dt_status write_graph(const dt_graph *plain, const char *path)
{
    dt_graph *folded = NULL;
    dt_tflite *m = NULL;

    DT_TRY(dt_graph_fold(plain, &folded));
    dt_status s = dt_tflite_of_graph(folded, &m);
    if (s == DT_OK) s = dt_tflite_write(m, path);
    dt_tflite_destroy(m);
    dt_graph_destroy(folded);
    DT_TRY(s);
    return DT_OK;
}

dt_status dt_model_write_tflite(dt_model *m, const char *path)
{
    dt_graph *plain = NULL;

    DT_CHECK(dt_model_is_real(m), DT_ERR_UNSUPPORTED,
             "%s has quantizers, and a file of reals has none; make a program of it (dt_program_lower), which "
             "dt_program_write_tflite writes",
             m->graph->name);
    DT_TRY(dt_model_snapshot(m, &plain));
    const dt_status s = write_graph(plain, path);
    dt_graph_destroy(plain);
    DT_TRY(s);
    return DT_OK;
}
