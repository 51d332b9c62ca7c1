/*
 * engine_vector.h - one case of what inference engines computed, under one profile: its attributes, its inputs and the
 * grid of its output, out of the files ops.json and ops.safetensors.
 */
#ifndef ENGINE_VECTOR_H
#define ENGINE_VECTOR_H

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../formats/safetensors.h"
#include "op_case.h"

static const char *const profile_keys[] = { "litert_ref", "ref_double", "ref_single", "fp32_rne" };

enum { N_PROFILES = 4 };

/* One case of ops.json, and one profile of it. */
typedef struct {
    const dt_safetensors *file;
    const cJSON *json;
    const char *key, *op;
    dt_profile profile;
    const char *backend;
    int64_t n_codes; /* compared */
} vector;

/* A tensor of codes or numbers as int64, with its scale and zero point. */
typedef struct {
    int ndim;
    int64_t dim[5], count;
    int64_t *value;
    double scale; /* the first, where there are several */
    const cJSON *scales;
    int zero;
} operand;

static inline int64_t attribute(const vector *v, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(cJSON_GetObjectItem(v->json, "attrs"), name);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : item ? (int64_t)item->valuedouble : 0;
}

static inline const dt_safetensors_tensor *find(const vector *v, const char *part)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", v->key, part);
    return dt_safetensors_find(v->file, name);
}

static inline void *bytes_of(const vector *v, const dt_safetensors_tensor *t)
{
    void *data = malloc((size_t)(t->end - t->begin));
    cr_assert_eq(dt_safetensors_read(v->file, t, data), DT_OK, "%s", dt_last_error());
    return data;
}

static inline void read_integers(const vector *v, const dt_safetensors_tensor *t, operand *o)
{
    void *data = bytes_of(v, t);

    o->ndim = t->ndim;
    o->count = t->count;
    for (int d = 0; d < t->ndim; d++) o->dim[d] = t->dim[d];
    o->value = malloc((size_t)t->count * sizeof *o->value);
    for (int64_t i = 0; i < t->count; i++) {
        o->value[i] = t->type == DT_SAFETENSORS_I8 ? ((const int8_t *)data)[i] : ((const int32_t *)data)[i];
    }
    free(data);
}

/* Input k, whose codes become code - zero point. */
static inline operand input(const vector *v, int k)
{
    const cJSON *of = cJSON_GetArrayItem(cJSON_GetObjectItem(v->json, "inputs"), k);
    const cJSON *zero = cJSON_GetObjectItem(of, "zero_point");
    operand o = { .scales = cJSON_GetObjectItem(of, "scale") };
    char part[16];

    snprintf(part, sizeof part, cJSON_IsTrue(cJSON_GetObjectItem(of, "const")) ? "const%d" : "in%d", k);
    const dt_safetensors_tensor *t = find(v, part);
    cr_assert(t, "%s: no %s", v->key, part);
    read_integers(v, t, &o);
    if (cJSON_IsArray(o.scales)) o.scale = cJSON_GetArrayItem(o.scales, 0)->valuedouble;
    if (cJSON_IsArray(zero)) o.zero = (int)cJSON_GetArrayItem(zero, 0)->valuedouble;
    for (int64_t i = 0; i < o.count; i++) o.value[i] -= o.zero;
    return o;
}

static inline float y_scale(const vector *v)
{
    return (float)cJSON_GetObjectItem(cJSON_GetObjectItem(v->json, "output"), "scale")->valuedouble;
}

static inline int y_zero(const vector *v)
{
    return (int)cJSON_GetObjectItem(cJSON_GetObjectItem(v->json, "output"), "zero_point")->valuedouble;
}

/* Range of the output's codes after its fused activation. */
static inline void y_range(const vector *v, int *low, int *high)
{
    const int64_t fused = attribute(v, "fusedActivationFunction");
    const int six = (int)floor((double)(6.0f / y_scale(v)) + 0.5);

    *low = -128 - y_zero(v);
    *high = 127 - y_zero(v);
    if (fused) *low = *low > 0 ? *low : 0;
    if (fused == 3 && six < *high) *high = six;
}

#endif /* ENGINE_VECTOR_H */
