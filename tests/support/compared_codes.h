/*
 * compared_codes.h - the codes of a model with affine quantizers beside those of its program, value by value.
 *
 * Used by: tests/quant/test_lower_exact.c.
 */
#ifndef COMPARED_CODES_H
#define COMPARED_CODES_H

#include "tiny_run.h"

#include "../../quant/program/program.h"

#include <stdio.h>

enum { COMPARED_IMAGES = 70, COMPARED_VALUES = 64 };

/* The codes of one value of the model, of all images. */
typedef struct {
    char name[DT_NAME_MAX + 1]; /* of the program's value that must have them */
    float *codes;
    int64_t count; /* of all images */
} codes_of_value;

typedef struct {
    codes_of_value value[COMPARED_VALUES];
    int n_values, n_compared;
    int64_t n_codes, n_differ;
    char first[DT_NAME_MAX + 1]; /* the first value that differs */
} comparison;

/* "stem.act.quant" of the model is "stem.act.act_quant" of the program. */
static inline dt_status keep(void *user, const dt_value_batch *v)
{
    static const char end[] = ".quant";
    comparison *c = user;
    const size_t bytes = strlen(v->name), cut = sizeof end - 1;
    int64_t count = 1;

    if (bytes <= cut || strcmp(v->name + bytes - cut, end) != 0 || v->n_scale == 0) return DT_OK;
    for (int d = 0; d < v->ndim; d++) count *= v->dim[d];
    codes_of_value *to = NULL;
    for (int i = 0; i < c->n_values; i++) {
        if (strncmp(c->value[i].name, v->name, bytes - cut) == 0 &&
            strcmp(c->value[i].name + bytes - cut, ".act_quant") == 0)
            to = &c->value[i];
    }
    if (!to) {
        cr_assert(c->n_values < COMPARED_VALUES);
        to = &c->value[c->n_values++];
        snprintf(to->name, sizeof to->name, "%.*s.act_quant", (int)(bytes - cut), v->name);
    }
    to->codes = realloc(to->codes, (size_t)(to->count + count) * sizeof *to->codes);
    memcpy(to->codes + to->count, v->values, (size_t)count * sizeof *to->codes);
    to->count += count;
    return DT_OK;
}

static inline dt_status judge(void *user, const dt_value_batch *v)
{
    comparison *c = user;
    int64_t per_image = 1;

    for (int d = 1; d < v->ndim; d++) per_image *= v->dim[d];
    for (int i = 0; i < c->n_values; i++) {
        if (strcmp(c->value[i].name, v->name) != 0) continue;
        const float *wanted = c->value[i].codes + v->first * per_image;
        cr_assert(v->n_scale == 1 && v->first * per_image + v->dim[0] * per_image <= c->value[i].count, "%s", v->name);
        c->n_compared += v->first == 0;
        c->n_codes += v->dim[0] * per_image;
        for (int64_t k = 0; k < v->dim[0] * per_image; k++) {
            if (v->values[k] == wanted[k]) continue;
            if (c->n_differ++ == 0) snprintf(c->first, sizeof c->first, "%s", v->name);
        }
    }
    return DT_OK;
}

/* Compares the codes of the quantizers of q with those of the program, and the scores. */
static inline comparison compare_all(dt_context *ctx, dt_model *q, const dt_program *p, const float *images)
{
    const int64_t n_scores = (int64_t)COMPARED_IMAGES * dt_program_n_scores(p);
    float *scores = malloc((size_t)n_scores * sizeof *scores), *found = malloc((size_t)n_scores * sizeof *found);
    comparison c = { .n_values = 0 };
    dt_prediction what = { .normalised = images, .n = COMPARED_IMAGES, .batch = 32, .look = keep, .user = &c };
    dt_model *m;

    MUST(dt_predict(q, &what, scores));
    MUST(dt_program_model(ctx, p, NULL, &m));
    what.look = judge;
    MUST(dt_predict(m, &what, found));
    for (int64_t i = 0; i < n_scores; i++) c.n_differ += memcmp(&scores[i], &found[i], sizeof *found) != 0;
    for (int i = 0; i < c.n_values; i++) free(c.value[i].codes);
    dt_model_destroy(m);
    free(scores);
    free(found);
    return c;
}

#endif /* COMPARED_CODES_H */
