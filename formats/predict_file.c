/*
 * predict_file.c - predictions from a safetensors file to a safetensors file.
 *
 *   in   U8 [N][H][W][C]: pixels; or F32: normalised already
 *   out  scores F32 [N][classes]; codes I8 [N][classes], the scores' integers with their zero point, of a program that
 *        computes under a profile; <value> F32, or on the grid I32 with <value>.scale F32, for values that are asked
 * for
 *
 * Interface: dt_predict_file in include/detent/predict.h.  Tests: tests/cli/test_predict.c,
 * tests/cli/test_cli_predict.sh.
 */
#include "images_file.h"
#include "safetensors.h"

#include "../quant/program/program.h"

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
    const char *codes; /* the value whose stored integers are written as "codes"; NULL: none */
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

/* 1 if the value of that name is asked for. */
static int is_asked(const keeper *k, const char *name)
{
    return k->layer && (strcmp(k->layer, "all") == 0 || strcmp(k->layer, name) == 0);
}

static int wants(void *user, const char *name)
{
    const keeper *k = user;
    return is_asked(k, name) || (k->codes && strcmp(k->codes, name) == 0);
}

static dt_status keep(void *user, const dt_value_batch *v)
{
    keeper *k = user;
    kept_value *kept = find_value(k, v->name);
    const int64_t count = dt_count_of(v->dim, v->ndim);

    if (!kept) DT_TRY(begin_value(k, v, k->n_images < DT_PREDICT_BATCH ? k->n_images : DT_PREDICT_BATCH, &kept));
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

/* What is asked for. */
typedef struct {
    dt_model *model;
    const dt_progress *progress;
    const char *out;
} request;

/* The integers of the scores, as engines store them. */
static dt_status add_codes(const dt_model *m, keeper *k, dt_safetensors_writer *w, int8_t **room)
{
    kept_value *v = find_value(k, k->codes);
    const int zero = dt_codes_zero(m->graph, dt_graph_find(m->graph, k->codes));
    const int64_t dim[2] = { k->n_images, v->count / k->n_images };

    *room = malloc((size_t)v->count);
    DT_CHECK(*room, DT_ERR_MEMORY, "no memory for the codes of %lld images", (long long)k->n_images);
    for (int64_t i = 0; i < v->count; i++) {
        const int stored = (int)v->values[i] + zero;
        DT_CHECK(stored >= INT8_MIN && stored <= INT8_MAX, DT_ERR_UNSUPPORTED,
                 "%s: the code %d does not fit 8 bits; take its values with --layer", k->codes, stored);
        (*room)[i] = (int8_t)stored;
    }
    return dt_safetensors_writer_add(w, "codes", DT_SAFETENSORS_I8, 2, dim, *room);
}

static dt_status write_all(const request *q, keeper *k, const float *scores, dt_safetensors_writer *w)
{
    const dt_model *m = q->model;
    const int64_t dim[2] = { k->n_images, dt_graph_shape(m->graph, m->graph->scores)->dim[1] };
    int8_t *codes = NULL;

    DT_TRY(dt_safetensors_writer_metadata(w, "format", "detent-prediction"));
    DT_TRY(dt_safetensors_writer_metadata(w, "network", m->graph->name));
    DT_TRY(dt_safetensors_writer_add(w, "scores", DT_SAFETENSORS_F32, 2, dim, scores));
    dt_status status = k->codes ? add_codes(m, k, w, &codes) : DT_OK;
    for (int i = 0; status == DT_OK && i < k->n; i++) {
        if (is_asked(k, k->value[i].name)) status = add_value(w, &k->value[i]);
    }
    if (status == DT_OK) status = dt_safetensors_writer_write(w, q->out);
    free(codes);
    return status;
}

static dt_status check_layer(const keeper *k)
{
    int found = !k->layer;

    for (int i = 0; i < k->n; i++) found |= is_asked(k, k->value[i].name);
    DT_CHECK(found, DT_ERR_ARGUMENT, "the network has no value '%s'; detent inspect --graph lists them", k->layer);
    return DT_OK;
}

static dt_status predict_and_write(const request *q, const dt_image_set *images, keeper *k, float *scores)
{
    const dt_prediction what = { .pixels = images->pixels,
                                 .normalised = images->normalised,
                                 .n = images->n,
                                 .batch = DT_PREDICT_BATCH,
                                 .look = k->layer || k->codes ? keep : NULL,
                                 .wants = wants,
                                 .user = k,
                                 .progress = q->progress };
    dt_safetensors_writer *w = NULL;

    DT_TRY(dt_predict(q->model, &what, scores));
    DT_TRY(check_layer(k));
    DT_TRY(dt_safetensors_writer_create(&w));
    const dt_status status = write_all(q, k, scores, w);
    dt_safetensors_writer_destroy(w);
    return status;
}

static dt_status predict(const request *q, const dt_image_set *images, keeper *k)
{
    const dt_graph *g = q->model->graph;
    const int64_t n = images->n * dt_graph_shape(g, g->scores)->dim[1];
    float *scores = malloc((size_t)n * sizeof *scores);

    DT_CHECK(scores, DT_ERR_MEMORY, "no memory for the scores of %lld images", (long long)images->n);
    k->n_images = images->n;
    const dt_status status = predict_and_write(q, images, k, scores);
    free(scores);
    return status;
}

/* The codes of which a DEQUANTIZE makes the scores of a program; NULL: the scores are other reals. */
static const char *codes_of_scores(const dt_graph *g)
{
    const dt_graph_node *flat = dt_graph_maker(g, g->scores);
    const dt_graph_node *real = flat && flat->kind == DT_OP_FLATTEN ? dt_graph_maker(g, flat->in[0]) : NULL;
    const int is_program = real && real->kind == DT_OP_DEQUANTIZE && dt_codes_are_stored(g, real->in[0]);

    return is_program ? dt_graph_name(g, real->in[0]) : NULL;
}

dt_status dt_predict_file(dt_model *m, const char *inputs, const char *name, const char *layer,
                          const dt_progress *progress, const char *out)
{
    const request q = { m, progress, out };
    keeper k = { .layer = layer, .codes = codes_of_scores(m->graph) };
    dt_image_set images;

    DT_TRY(dt_images_file_read(m, inputs, name, &images));
    const dt_status status = predict(&q, &images, &k);
    keeper_release(&k);
    dt_image_set_free(&images);
    DT_TRY(status);
    return DT_OK;
}
