/*
 * golden_qkeras.h - the files qkeras/ of the folder that DETENT_PTQ_ORACLE names: what QKeras-Mod itself gave.
 */
#ifndef GOLDEN_QKERAS_H
#define GOLDEN_QKERAS_H

#include "../../formats/safetensors.h"
#include "golden_json.h"
#include "tiny_run.h"

typedef struct {
    cJSON *json;
    dt_safetensors *file;
} golden_qkeras;

/* Skips the test without the folder. */
static inline golden_qkeras golden_qkeras_open(void)
{
    golden_qkeras g = { 0 };
    char path[4096];
    if (!golden_path("qkeras/qkeras.safetensors", path, sizeof path))
        cr_skip_test("DETENT_PTQ_ORACLE names no folder with the files of QKeras-Mod");
    g.json = golden_json("qkeras/qkeras");
    cr_assert(g.json != NULL);
    MUST(dt_safetensors_open(path, &g.file));
    return g;
}

static inline void golden_qkeras_close(golden_qkeras *g)
{
    cJSON_Delete(g->json);
    dt_safetensors_close(g->file);
}

/* The tensor's data as they lie in the file, of that type. The caller frees them. */
static inline void *golden_qkeras_read(const golden_qkeras *g, const char *name, dt_safetensors_type type,
                                       int64_t *count)
{
    const dt_safetensors_tensor *t = dt_safetensors_find(g->file, name);
    cr_assert(t != NULL && t->type == type, "%s is not there, or is no %s", name, dt_safetensors_type_name(type));
    void *data = malloc((size_t)(t->end - t->begin) + 1);
    MUST(dt_safetensors_read(g->file, t, data));
    if (count != NULL) *count = t->count;
    return data;
}

#endif /* GOLDEN_QKERAS_H */
