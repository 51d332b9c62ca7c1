/*
 * onnx_export.c - see onnx_export.h.
 */
#include "onnx_export.h"

#include "../../core/names.h"
#include "../../core/train/model.h"

#include <stdio.h>
#include <stdlib.h>

static dt_status begin(dt_onnx_export *e)
{
    e->has = calloc((size_t)e->g->n_values + 1, 1);
    DT_CHECK(e->has, DT_ERR_MEMORY, "no memory for the export of %s", e->g->name);
    return DT_OK;
}

/* The image N,C,H,W. */
static dt_status put_image(dt_onnx_export *e)
{
    const dt_shape *s = dt_graph_shape(e->g, e->g->image);

    DT_CHECK(s->ndim == 4 && (e->is_exact || e->g->value[e->g->image]->facts.type == DT_F32), DT_ERR_UNSUPPORTED,
             "%s: its image has %d dimensions and is %s; a file takes n,c,h,w of reals", e->g->name, s->ndim,
             e->g->value[e->g->image]->facts.type == DT_F32 ? "real" : "integer");
    dt_onnx_put_input(&e->w, dt_graph_name(e->g, e->g->image), 4, (const int64_t[]){ s->dim[3], s->dim[1], s->dim[2] });
    dt_onnx_note(e, e->g->image, 0);
    return DT_OK;
}

/* "0.5,0.5,0.5" under a key, for each channel. */
static void put_numbers(dt_onnx_export *e, const char *key, const float *number, int64_t n)
{
    char text[DT_MOST_CHANNELS * 18] = ""; /* "-1.23456789e-38," */
    int used = 0;

    for (int64_t c = 0; c < n; c++) {
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%.9g", c ? "," : "", (double)number[c]);
    }
    dt_onnx_put_note(&e->w, key, text);
}

/* How images were normalised that the network was trained on, if that is known. */
static void put_origin(dt_onnx_export *e, const dt_data_origin *o)
{
    const int64_t channels = dt_graph_shape(e->g, e->g->image)->dim[3];

    if (!o->name[0] || channels > DT_MOST_CHANNELS) return;
    dt_onnx_put_note(&e->w, "dataset", o->name);
    if (o->fingerprint[0]) dt_onnx_put_note(&e->w, "fingerprint", o->fingerprint);
    dt_onnx_put_note(&e->w, "values", o->is_real ? "reals" : "pixels");
    put_numbers(e, "mean", o->mean, channels);
    put_numbers(e, "std", o->std, channels);
}

/* The scores, and the file. */
static dt_status end(dt_onnx_export *e, int opset, const char *path)
{
    const int64_t classes = dt_graph_count(e->g, e->g->scores);
    const dt_onnx_name scores = dt_onnx_reals_of(e, e->g->scores, 1);

    dt_onnx_put_output(&e->w, scores.s, 2, &classes);
    DT_TRY(dt_onnx_write(&e->w, e->g->name, opset, path));
    return DT_OK;
}

/* ---- programs ---- */

static dt_status export_program(dt_onnx_export *e, int opset, const char *path)
{
    DT_TRY(begin(e));
    DT_TRY(put_image(e));
    for (int i = 0; i < e->g->n_nodes; i++) {
        DT_TRY((e->is_exact ? dt_onnx_export_exact : dt_onnx_export_code)(e, &e->g->node[i]));
    }
    put_origin(e, &e->p->origin);
    return end(e, opset, path);
}

dt_status dt_program_write_onnx(const dt_program *p, dt_onnx_style style, int opset, const char *path)
{
    dt_onnx_export e = { .p = p, .g = p->graph, .style = style, .is_exact = dt_program_profile(p) < 0 };

    DT_TRY(dt_check_word("style", (int)style, dt_onnx_style_names));
    DT_TRY(dt_program_check(p));
    DT_CHECK(e.is_exact || style == DT_ONNX_QDQ, DT_ERR_UNSUPPORTED,
             "%s computes under the profile %s, of 8 bits, which is written in the style qdq; %s is for networks whose "
             "codes are made by thresholds",
             p->graph->name, dt_profile_names[dt_program_profile(p)], dt_onnx_style_names[style]);
    const dt_status status = export_program(&e, opset, path);
    dt_onnx_writer_free(&e.w);
    free(e.has);
    DT_TRY(status);
    return DT_OK;
}

/* ---- networks of reals ---- */

static dt_status export_reals(dt_onnx_export *e, const dt_data_origin *origin, int opset, const char *path)
{
    DT_TRY(begin(e));
    DT_TRY(put_image(e));
    char *needed = calloc((size_t)e->g->n_values + 1, 1);
    DT_CHECK(needed, DT_ERR_MEMORY, "no memory for the export of %s", e->g->name);
    needed[e->g->scores] = 1;
    dt_graph_mark_needed(e->g, NULL, 0, needed);
    dt_status status = DT_OK;
    for (int i = 0; status == DT_OK && i < e->g->n_nodes; i++) {
        if (needed[e->g->node[i].out]) status = dt_onnx_export_real(e, &e->g->node[i]);
    }
    free(needed);
    DT_TRY(status);
    put_origin(e, origin);
    return end(e, opset, path);
}

dt_status dt_model_write_onnx(dt_model *m, int opset, const char *path)
{
    dt_graph *plain = NULL;

    DT_CHECK(dt_model_is_real(m), DT_ERR_UNSUPPORTED,
             "%s has quantizers, and a file of reals has none; make a program of it (dt_program_lower), which "
             "dt_program_write_onnx writes",
             m->graph->name);
    DT_TRY(dt_model_snapshot(m, &plain));
    dt_onnx_export e = { .g = plain };
    const dt_status status = export_reals(&e, &m->origin, opset, path);
    dt_onnx_writer_free(&e.w);
    free(e.has);
    dt_graph_destroy(plain);
    DT_TRY(status);
    return DT_OK;
}
