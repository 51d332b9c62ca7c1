/*
 * test_tflite_import.c - networks of TensorFlow Lite files. (draft)
 */
#include "../support/temp_files.h"

#include "../support/graph_run.h"
#include "../support/tflite_case.h"

#include "../../formats/safetensors.h"
#include "../../formats/tflite/tflite_import.h"

#include <glob.h>
#include <math.h>

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

TestSuite(tflite_oracle);

static dt_graph *imported(const char *path, int expected_integer)
{
    dt_tflite *m = NULL;
    dt_graph *g = NULL;
    int is_integer = -1;

    MUST(dt_tflite_read(path, &m));
    MUST(dt_tflite_graph(m, path, &g, &is_integer));
    cr_assert(eq(int, is_integer, expected_integer), "%s", path);
    dt_tflite_destroy(m);
    return g;
}

/* A tensor of one of the oracle's files, as floats; bytes of images become pixel / 255. */
static float *oracle_floats(const char *folder, const char *file, const char *name, int64_t *count)
{
    char path[TEMP_PATH_BYTES];
    dt_safetensors *f = NULL;

    snprintf(path, sizeof path, "%s/%s.safetensors", folder, file);
    MUST(dt_safetensors_open(path, &f));
    const dt_safetensors_tensor *t = dt_safetensors_find(f, name);
    cr_assert(t != NULL, "%s has no %s", path, name);
    float *v = malloc((size_t)t->count * sizeof *v);
    if (t->type == DT_SAFETENSORS_F32) {
        MUST(dt_safetensors_read(f, t, v));
    } else {
        uint8_t *bytes = malloc((size_t)t->count);
        MUST(dt_safetensors_read(f, t, bytes));
        for (int64_t i = 0; i < t->count; i++) v[i] = t->type == DT_SAFETENSORS_U8 ? (float)bytes[i] / 255.0f : (float)(int8_t)bytes[i];
        free(bytes);
    }
    *count = t->count;
    dt_safetensors_close(f);
    return v;
}

static const struct {
    const char *model, *data;
} nets[] = { { "smartwatch", "data.har" }, { "bspc", "data.ecg" }, { "fmnist_dw", "data.fmnist" } };

Test(tflite_oracle, float_networks_give_the_recorded_outputs)
{
    const char *folder = getenv("DETENT_PTQ_ORACLE");
    if (!folder) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    for (int i = 0; i < 3; i++) {
        char path[TEMP_PATH_BYTES], expect[64];
        int64_t n_x, n_y;
        snprintf(path, sizeof path, "%s/tflite/%s.float.tflite", folder, nets[i].model);
        snprintf(expect, sizeof expect, "%s.expect", nets[i].model);
        float *x = oracle_floats(folder, nets[i].data, "test", &n_x);
        float *y = oracle_floats(folder, expect, "float.litert_ref", &n_y), *got = malloc((size_t)n_y * sizeof *got);
        dt_graph *g = imported(path, 0);
        for (int k = 0; k < g->n_values; k++) printf("%s ", g->value[k]->name);
        printf("\n");
        char *scores = strdup(dt_graph_name(g, g->scores));
        graph_run(g, scores, x, 200, got);
        double worst = 0;
        for (int64_t k = 0; k < n_y; k++) worst = fmax(worst, fabs((double)y[k] - (double)got[k]));
        printf("%s worst %g\n", nets[i].model, worst);
        cr_assert(worst <= 1e-5);
        free(x), free(y), free(got), free(scores);
    }
}

Test(tflite_oracle, integer_networks_give_the_recorded_codes)
{
    static const char *const io[] = { "fiq_f32", "fiq_i8", "fiq_u8" };
    const char *folder = getenv("DETENT_PTQ_ORACLE");
    if (!folder) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    for (int i = 0; i < 9; i++) {
        char path[TEMP_PATH_BYTES], expect[64];
        int64_t n_x, n_y;
        snprintf(path, sizeof path, "%s/tflite/%s.%s.tflite", folder, nets[i / 3].model, io[i % 3]);
        snprintf(expect, sizeof expect, "%s.expect", nets[i / 3].model);
        float *x = oracle_floats(folder, nets[i / 3].data, "test", &n_x);
        float *y = oracle_floats(folder, expect, "i8.litert_ref", &n_y), *got = malloc((size_t)n_y * sizeof *got);
        dt_graph *g = imported(path, 1);
        if (i % 3 == 0) for (int k = 0; k < g->n_values; k++) printf("%s ", g->value[k]->name);
        printf("\n");
        char *scores = strdup(dt_graph_name(g, g->scores));
        graph_run(g, scores, x, 200, got);
        int bad = 0;
        for (int64_t k = 0; k < n_y; k++) bad += got[k] != (y[k] + 128.0f) / 256.0f;
        printf("%s %s bad %d of %d\n", nets[i / 3].model, io[i % 3], bad, (int)n_y);
        cr_assert(bad == 0);
        free(x), free(y), free(got), free(scores);
    }
}
