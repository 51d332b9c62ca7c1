/*
 * tflite_converted.h - networks that TensorFlow Lite's converter has made, and what LiteRT computed with them, of the
 *                      folder that DETENT_PTQ_ORACLE names.
 */
#ifndef TFLITE_CONVERTED_H
#define TFLITE_CONVERTED_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../formats/safetensors.h"
#include "../../formats/tflite/tflite_import.h"

#define CONVERTED_MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

enum { CONVERTED_NETS = 3, CONVERTED_TEST = 200, CONVERTED_PATH_BYTES = 4096 };

static const struct {
    const char *model, *data;
    int n_classes;
} converted_nets[CONVERTED_NETS] = { { "smartwatch", "data.har", 6 },
                                     { "bspc", "data.ecg", 5 },
                                     { "fmnist_dw", "data.fmnist", 10 } };

static inline int converted_is_there(void)
{
    return getenv("DETENT_PTQ_ORACLE") != NULL;
}

/* A tensor as floats, which the caller frees, and its number of elements; bytes are pixels, and become pixel / 255.
 * NULL: there is none. */
static inline float *converted_tensor(const char *file, const char *name, int64_t *count)
{
    char path[CONVERTED_PATH_BYTES];
    dt_safetensors *f = NULL;

    snprintf(path, sizeof path, "%s/%s.safetensors", getenv("DETENT_PTQ_ORACLE"), file);
    CONVERTED_MUST(dt_safetensors_open(path, &f));
    const dt_safetensors_tensor *t = dt_safetensors_find(f, name);
    if (!t) {
        dt_safetensors_close(f);
        return NULL;
    }
    float *v = malloc((size_t)t->count * sizeof *v);
    uint8_t *bytes = malloc((size_t)t->count * sizeof *v);
    CONVERTED_MUST(dt_safetensors_read(f, t, t->type == DT_SAFETENSORS_F32 ? (void *)v : (void *)bytes));
    for (int64_t i = 0; i < t->count && t->type != DT_SAFETENSORS_F32; i++) {
        int32_t wide;
        memcpy(&wide, bytes + (t->type == DT_SAFETENSORS_I32 ? i * 4 : 0), sizeof wide);
        v[i] = t->type == DT_SAFETENSORS_U8    ? (float)bytes[i] / 255.0f
               : t->type == DT_SAFETENSORS_I32 ? (float)wide
                                               : (float)(int8_t)bytes[i];
    }
    *count = t->count;
    free(bytes);
    dt_safetensors_close(f);
    return v;
}

/* The same of a tensor that must be there. */
static inline float *converted_recorded(const char *file, const char *name)
{
    int64_t count;
    float *v = converted_tensor(file, name, &count);

    cr_assert(v != NULL, "%s has no %s", file, name);
    return v;
}

/* What was computed with a network. */
static inline float *converted_expects(int net, const char *name)
{
    char file[64];

    snprintf(file, sizeof file, "%s.expect", converted_nets[net].model);
    return converted_recorded(file, name);
}

/* The graph of a network's file, by its scheme. */
static inline dt_graph *converted_graph(int net, const char *scheme, int *is_integer)
{
    char path[CONVERTED_PATH_BYTES];
    dt_tflite *m = NULL;
    dt_graph *g = NULL;

    snprintf(path, sizeof path, "%s/tflite/%s.%s.tflite", getenv("DETENT_PTQ_ORACLE"), converted_nets[net].model,
             scheme);
    CONVERTED_MUST(dt_tflite_read(path, &m));
    CONVERTED_MUST(dt_tflite_graph(m, path, &g, is_integer));
    dt_tflite_destroy(m);
    return g;
}

#endif /* TFLITE_CONVERTED_H */
