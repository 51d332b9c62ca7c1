/*
 * predict_file.c - predictions from a safetensors file to a safetensors file.
 *
 *   in   U8 [N][H][W][C]: pixels; or F32: normalised already
 *   out  scores F32 [N][classes]; <value> F32, or on the grid I32 with <value>.scale F32, for values that are asked for
 *
 * Interface: dt_predict_file in include/detent/predict.h.  Tests: tests/cli/test_predict.c,
 * tests/cli/test_cli_predict.sh.
 */
#include "safetensors.h"

#include "../core/train/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value of the network, for all images. */
typedef struct {
    char *name;
    int ndim;
    int64_t dim[DT_MAX_DIMS];
    int64_t count, room; /* elements */
    float *values;       /* or codes, as int32_t, once all batches are there */
    int n_scale;
    float *scale;
} kept_value;

typedef struct {
    const char *layer; /* NULL: none; "all" */
    kept_value *value;
    int n;
    int64_t n_images;
} keeper;

static kept_value *find_value(keeper *k, const char *name)
{
    for (int i = 0; i < k->n; i++) {
        if (strcmp(k->value[i].name, name) == 0) return &k->value[i];
    }
    return NULL;
}

/* Its first batch is the largest, so that it tells how many elements an image has. */
static dt_status begin_value(keeper *k, const dt_value_batch *v, int64_t batch, kept_value **out)
{
    kept_value *bigger = realloc(k->value, (size_t)(k->n + 1) * sizeof *bigger);
    int64_t count = 1;

    DT_CHECK(bigger, DT_ERR_MEMORY, "no memory to keep %s", v->name);
    k->value = bigger;
    kept_value *kept = &k->value[k->n];
    *kept = (kept_value){ .name = strdup(v->name), .ndim = v->ndim, .n_scale = v->n_scale };
    for (int i = 0; i < v->ndim; i++) {
        kept->dim[i] = v->dim[i];
        count *= v->dim[i];
    }
    kept->dim[0] = v->dim[0] / batch * k->n_images;
    kept->room = count / batch * k->n_images;
    kept->values = malloc((size_t)kept->room * sizeof *kept->values);
    kept->scale = calloc((size_t)v->n_scale + 1, sizeof *kept->scale);
    k->n++;
    DT_CHECK(kept->name && kept->values && kept->scale, DT_ERR_MEMORY, "no memory to keep %s of %lld images", v->name,
             (long long)k->n_images);
    *out = kept;
    return DT_OK;
}

static dt_status keep(void *user, const dt_value_batch *v)
{
    keeper *k = user;
    kept_value *kept = find_value(k, v->name);
    int64_t count = 1;

    if (strcmp(k->layer, "all") != 0 && strcmp(k->layer, v->name) != 0) return DT_OK;
    if (!kept) DT_TRY(begin_value(k, v, k->n_images < DT_PREDICT_BATCH ? k->n_images : DT_PREDICT_BATCH, &kept));
    for (int i = 0; i < v->ndim; i++) count *= v->dim[i];
    memcpy(kept->values + kept->count, v->values, (size_t)count * sizeof *kept->values);
    if (v->n_scale > 0) memcpy(kept->scale, v->scale, (size_t)v->n_scale * sizeof *kept->scale);
    kept->count += count;
    return DT_OK;
}

static void keeper_release(keeper *k)
{
    for (int i = 0; i < k->n; i++) {
        free(k->value[i].name);
        free(k->value[i].values);
        free(k->value[i].scale);
    }
    free(k->value);
}

/* Codes become integers where they lie. */
static dt_status add_value(dt_safetensors_writer *w, kept_value *v)
{
    const int64_t n_scale = v->n_scale;
    char scale[DT_NAME_MAX + 8];

    if (v->n_scale == 0) {
        return dt_safetensors_writer_add(w, v->name, DT_SAFETENSORS_F32, v->ndim, v->dim, v->values);
    }
    for (int64_t i = 0; i < v->count; i++) {
        const int32_t code = (int32_t)v->values[i];
        memcpy(&v->values[i], &code, sizeof code);
    }
    DT_TRY(dt_safetensors_writer_add(w, v->name, DT_SAFETENSORS_I32, v->ndim, v->dim, v->values));
    snprintf(scale, sizeof scale, "%s.scale", v->name);
    return dt_safetensors_writer_add(w, scale, DT_SAFETENSORS_F32, 1, &n_scale, v->scale);
}

static dt_status write_all(const dt_model *m, keeper *k, const float *scores, const char *out, dt_safetensors_writer *w)
{
    const int64_t dim[2] = { k->n_images, dt_graph_shape(m->graph, m->graph->scores)->dim[1] };

    DT_TRY(dt_safetensors_writer_metadata(w, "format", "detent-prediction"));
    DT_TRY(dt_safetensors_writer_metadata(w, "network", m->graph->name));
    DT_TRY(dt_safetensors_writer_add(w, "scores", DT_SAFETENSORS_F32, 2, dim, scores));
    for (int i = 0; i < k->n; i++) DT_TRY(add_value(w, &k->value[i]));
    return dt_safetensors_writer_write(w, out);
}

static dt_status find_input(const dt_model *m, const dt_safetensors *f, const char *path, const char *name,
                            const dt_safetensors_tensor **out)
{
    const int64_t *image = dt_graph_shape(m->graph, m->graph->image)->dim;
    const int n = dt_safetensors_count(f);
    const dt_safetensors_tensor *t = name ? dt_safetensors_find(f, name) : n == 1 ? dt_safetensors_at(f, 0) : NULL;

    DT_CHECK(t || name, DT_ERR_ARGUMENT, "%s: has %d tensors; name one: %s:NAME", path, n, path);
    DT_CHECK(t, DT_ERR_ARGUMENT, "%s: has no tensor '%s'", path, name);
    DT_CHECK(t->type == DT_SAFETENSORS_U8 || t->type == DT_SAFETENSORS_F32, DT_ERR_FORMAT,
             "%s: '%s' is %s, expected U8 (pixels) or F32 (normalised)", path, t->name,
             dt_safetensors_type_name(t->type));
    DT_CHECK(t->ndim == 4 && t->dim[0] >= 1 && t->dim[1] == image[1] && t->dim[2] == image[2] && t->dim[3] == image[3],
             DT_ERR_SHAPE, "%s: '%s' has %d axes and %lld values, expected images [N][%lld][%lld][%lld]", path, t->name,
             t->ndim, (long long)t->count, (long long)image[1], (long long)image[2], (long long)image[3]);
    *out = t;
    return DT_OK;
}

/* What is asked for. */
typedef struct {
    dt_model *model;
    const char *inputs, *name; /* file, and the tensor in it or NULL */
    const dt_progress *progress;
    const char *out;
} request;

static dt_status predict_and_write(const request *q, const dt_safetensors_tensor *t, const void *images, keeper *k)
{
    dt_model *m = q->model;
    const int64_t classes = dt_graph_shape(m->graph, m->graph->scores)->dim[1];
    const dt_prediction what = { .pixels = t->type == DT_SAFETENSORS_U8 ? images : NULL,
                                 .normalised = t->type == DT_SAFETENSORS_F32 ? images : NULL,
                                 .n = t->dim[0],
                                 .batch = DT_PREDICT_BATCH,
                                 .look = k->layer ? keep : NULL,
                                 .user = k,
                                 .progress = q->progress };
    float *scores = malloc((size_t)(t->dim[0] * classes) * sizeof *scores);
    dt_safetensors_writer *w = NULL;

    DT_CHECK(scores, DT_ERR_MEMORY, "no memory for the scores of %lld images", (long long)t->dim[0]);
    dt_status status = dt_predict(m, &what, scores);
    if (status == DT_OK && k->layer && k->n == 0) {
        status = dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                          "the network has no value '%s'; detent inspect --graph lists them", k->layer);
    }
    if (status == DT_OK) status = dt_safetensors_writer_create(&w);
    if (status == DT_OK) status = write_all(m, k, scores, q->out, w);
    dt_safetensors_writer_destroy(w);
    free(scores);
    return status;
}

static dt_status predict(const request *q, const dt_safetensors *f, keeper *k)
{
    const dt_safetensors_tensor *t = NULL;

    DT_TRY(find_input(q->model, f, q->inputs, q->name, &t));
    void *images = malloc((size_t)(t->end - t->begin));
    DT_CHECK(images, DT_ERR_MEMORY, "%s: no memory for %lld images", q->inputs, (long long)t->dim[0]);
    k->n_images = t->dim[0];
    dt_status status = dt_safetensors_read(f, t, images);
    if (status == DT_OK) status = predict_and_write(q, t, images, k);
    free(images);
    return status;
}

dt_status dt_predict_file(dt_model *m, const char *inputs, const char *name, const char *layer,
                          const dt_progress *progress, const char *out)
{
    const request q = { m, inputs, name, progress, out };
    keeper k = { .layer = layer };
    dt_safetensors *f;

    DT_TRY(dt_safetensors_open(inputs, &f));
    const dt_status status = predict(&q, f, &k);
    keeper_release(&k);
    dt_safetensors_close(f);
    DT_TRY(status);
    return DT_OK;
}
