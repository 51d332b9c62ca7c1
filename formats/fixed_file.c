/*
 * fixed_file.c - a network that Q-CapsNets has quantized, in one safetensors file; and the model of any such file or
 *                checkpoint.
 *
 *   metadata  format = "detent-quantized", version = "2", graph (JSON, graph_json.h: the network of real values),
 *             formats (JSON, fixed_json.h), data (JSON, origin_json.h), extra
 *   tensors   <parameter>   F32, before rounding, in PyTorch's layout (snapshot.h); those of a decoder too
 *
 * Version 1 has `model` in place of graph: the configuration of a built-in network (JSON, config_json.h).
 *
 * Rounding is a function of parameters and formats, so the file has no codes: fixed_codes.c writes those.
 * Interface: include/detent/checkpoint.h.  Format: docs/FIXED_POINT_FORMAT.md.  Tests: tests/formats/test_fixed_file.c.
 */
#include "exchange.h"
#include "fixed_json.h"
#include "metadata.h"
#include "origin_json.h"
#include "snapshot.h"
#include "stored_graph.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT  "detent-quantized"
#define VERSION "2"

enum { OLDEST = 1, NEWEST = 2 };

static dt_status add_formats(dt_safetensors_writer *w, const dt_model *m)
{
    cJSON *formats = cJSON_CreateObject();
    dt_status s = dt_fixed_to_json(dt_fixed_formats_of(m), 0, formats);

    if (s == DT_OK) s = dt_metadata_add(w, "formats", formats);
    cJSON_Delete(formats);
    DT_TRY(s);
    return DT_OK;
}

static dt_status save(dt_snapshot *s, const char *path, const char *extra, dt_safetensors_writer *w)
{
    DT_TRY(dt_metadata_begin(w, FORMAT, VERSION));
    DT_TRY(dt_graph_store(w, dt_fixed_formats_of(s->model)->plain));
    DT_TRY(add_formats(w, s->model));
    DT_TRY(dt_origin_add(w, &s->model->origin));
    if (extra) DT_TRY(dt_safetensors_writer_metadata(w, "extra", extra));
    DT_TRY(dt_snapshot_check(s, 1, NULL));
    DT_TRY(dt_snapshot_to_writer(s, w));
    DT_TRY(dt_safetensors_writer_write(w, path));
    return DT_OK;
}

dt_status dt_model_save(dt_model *m, const char *path, const char *extra)
{
    dt_safetensors_writer *w = NULL;
    dt_snapshot s;

    DT_TRY(dt_snapshot_init(&s, m, NULL));
    dt_status status = dt_safetensors_writer_create(&w);
    if (status == DT_OK && dt_fixed_formats_of(m))
        status = save(&s, path, extra, w);
    else if (status == DT_OK)
        status = dt_checkpoint_save_model(&s, path, extra, w);
    dt_safetensors_writer_destroy(w);
    dt_snapshot_release(&s);
    DT_TRY(status);
    return DT_OK;
}

static dt_status read_formats(const dt_safetensors *f, const char *path, dt_fixed_formats **out)
{
    dt_fixed_formats *formats = calloc(1, sizeof *formats);
    cJSON *json = NULL;

    DT_CHECK(formats, DT_ERR_MEMORY, "%s: no memory for formats", path);
    dt_status s = dt_metadata_json(f, path, "formats", &json);
    if (s == DT_OK) s = dt_fixed_from_json(json, path, formats);
    cJSON_Delete(json);
    if (s != DT_OK) {
        dt_fixed_formats_destroy(formats);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = formats;
    return DT_OK;
}

static dt_status read_plain(const dt_safetensors *f, const char *path, dt_graph **out)
{
    int version;

    DT_TRY(dt_metadata_version(f, path, FORMAT, OLDEST, NEWEST, &version));
    return version == 1 ? dt_graph_of_stored_config(f, path, 0, out) : dt_graph_stored(f, path, out);
}

static dt_status read_head(const char *path, dt_graph **plain, dt_fixed_formats **formats)
{
    dt_graph *g = NULL;
    dt_safetensors *f;

    DT_TRY(dt_safetensors_open(path, &f));
    dt_status s = read_plain(f, path, &g);
    if (s == DT_OK) s = read_formats(f, path, formats);
    dt_safetensors_close(f);
    if (s != DT_OK) {
        dt_graph_destroy(g);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *plain = g;
    return DT_OK;
}

/* What the network asked for is there: recording has seen to that. */
static dt_status check_weights(const dt_model *m, const char *path)
{
    const dt_fixed_formats *f = dt_fixed_formats_of(m);

    for (int i = 0; i < f->n; i++) {
        const dt_fixed_tensor *t = &f->tensor[i];
        DT_CHECK(t->kind != DT_FIXED_WEIGHT || dt_model_find(m, t->name) >= 0, DT_ERR_FORMAT,
                 "%s: has a format for the weights '%s', which %s does not have", path, t->name, m->graph->name);
    }
    return DT_OK;
}

static dt_status open_quantized(dt_context *ctx, const char *path, dt_model **out)
{
    dt_fixed_formats *formats = NULL;
    dt_graph *plain = NULL;

    DT_TRY(read_head(path, &plain, &formats));
    const dt_status s = dt_fixed_model_open(ctx, plain, formats, out);
    return s == DT_OK ? check_weights(*out, path) : dt_metadata_blame(s, path);
}

static dt_status open_trained(dt_context *ctx, const char *path, dt_model **out)
{
    dt_graph *graph;

    DT_TRY(dt_checkpoint_graph(path, &graph));
    const dt_status s = dt_model_open(ctx, graph, out);
    return s == DT_OK ? DT_OK : dt_metadata_blame(s, path);
}

dt_status dt_checkpoint_open(dt_context *ctx, const char *path, dt_model **out)
{
    char format[64];
    dt_model *m = NULL;

    if (dt_exchange_is_file(path)) return dt_exchange_model(ctx, path, out);
    DT_TRY(dt_file_format(path, format, sizeof format));
    const int quantized = strcmp(format, FORMAT) == 0;
    DT_CHECK(strncmp(format, "detent-", 7) == 0, DT_ERR_FORMAT,
             "%s: has tensors but no settings of a network, so it is no checkpoint of detent's; 'detent train --init' "
             "takes its parameters into a network that --model and its options describe",
             path);
    DT_CHECK(quantized || strcmp(format, "detent-checkpoint") == 0, DT_ERR_FORMAT,
             "%s: format is '%s', expected 'detent-checkpoint' or '" FORMAT "'%s", path, format,
             strcmp(format, "detent-program") == 0   ? "; a program is run by the engines program and array"
             : strcmp(format, "detent-capture") == 0 ? "; 'detent inspect' shows a capture"
                                                     : "");
    dt_status s = quantized ? open_quantized(ctx, path, &m) : open_trained(ctx, path, &m);
    if (s == DT_OK) s = dt_checkpoint_load(m, path);
    if (s != DT_OK) {
        dt_model_destroy(m);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = m;
    return DT_OK;
}
