/*
 * onnx_golden.h - the small networks of tests/golden/onnx, and what ONNX Runtime computed of them, which lies in
 *                 safetensors files beside them as NAME.x and NAME.y.
 */
#ifndef ONNX_GOLDEN_H
#define ONNX_GOLDEN_H

#include "../../formats/exchange.h"
#include "../../formats/onnx/onnx_import.h"
#include "../../formats/safetensors.h"
#include "graph_run.h"
#include "onnx_case.h"

#include <math.h>
#include <stdio.h>

enum { ONNX_GOLDEN_IMAGES = 4, ONNX_GOLDEN_MOST = 4096 };

static inline const char *onnx_golden(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/onnx/%s.onnx", DETENT_TEST_GOLDEN, name);
    return path;
}

static inline dt_graph *onnx_golden_graph(const char *name, int *is_integer)
{
    dt_graph *graph;
    dt_onnx *m;

    GRAPH_RUN_MUST(dt_onnx_read(onnx_golden(name), &m));
    GRAPH_RUN_MUST(dt_onnx_graph(m, &graph, is_integer));
    dt_onnx_destroy(m);
    return graph;
}

/* NAME.x or NAME.y of a file of recorded values. Returns how many there are. */
static inline int64_t onnx_recorded(const char *file, const char *name, const char *part, float *to)
{
    char whole[64], path[512];
    dt_safetensors *f;

    snprintf(whole, sizeof whole, "%s.%s", name, part);
    snprintf(path, sizeof path, "%s/onnx/%s.safetensors", DETENT_TEST_GOLDEN, file);
    GRAPH_RUN_MUST(dt_safetensors_open(path, &f));
    const dt_safetensors_tensor *t = dt_safetensors_find(f, whole);
    cr_assert(t != NULL && t->count <= ONNX_GOLDEN_MOST, "%s", whole);
    GRAPH_RUN_MUST(dt_safetensors_read(f, t, to));
    const int64_t count = t->count;
    dt_safetensors_close(f);
    return count;
}

/* Computes the scores of the recorded images. Returns how many there are in all. */
static inline int64_t onnx_golden_run(const char *file, const char *name, dt_graph *graph, float *scores)
{
    static float images[ONNX_GOLDEN_MOST];
    const dt_shape *s = dt_graph_shape(graph, graph->image);
    const int64_t classes = dt_graph_count(graph, graph->scores), count = onnx_recorded(file, name, "x", images);
    char wanted[DT_NAME_MAX + 1];

    cr_assert(eq(i64, count, ONNX_GOLDEN_IMAGES * s->dim[1] * s->dim[2] * s->dim[3]), "%s", name);
    snprintf(wanted, sizeof wanted, "%s", dt_graph_name(graph, graph->scores));
    graph_run(graph, wanted, images, ONNX_GOLDEN_IMAGES, scores);
    return ONNX_GOLDEN_IMAGES * classes;
}

/* Compares a network of reals with the recorded scores; `share` is of the largest. */
static inline void onnx_golden_expect_reals(const char *file, const char *name, float share)
{
    static float scores[ONNX_GOLDEN_MOST], expected[ONNX_GOLDEN_MOST];
    int is_integer;
    dt_graph *graph = onnx_golden_graph(name, &is_integer);

    cr_assert(eq(int, is_integer, 0));
    const int64_t n = onnx_golden_run(file, name, graph, scores);
    cr_assert(eq(i64, onnx_recorded(file, name, "y", expected), n));
    float most = 0.0f;
    for (int64_t k = 0; k < n; k++) most = fmaxf(most, fabsf(expected[k]));
    for (int64_t k = 0; k < n; k++) {
        cr_assert(fabsf(scores[k] - expected[k]) <= share * most, "%s: score %lld is %.9g, recorded %.9g", name,
                  (long long)k, (double)scores[k], (double)expected[k]);
    }
}

/* Compares the codes of a program's scores with the recorded ones, by ==. */
static inline void onnx_golden_expect_codes(const char *file, const char *name)
{
    static float scores[ONNX_GOLDEN_MOST], expected[ONNX_GOLDEN_MOST];
    dt_program *p;
    int is_integer;

    GRAPH_RUN_MUST(dt_program_load(onnx_golden(name), &p));
    cr_assert(eq(int, (int)dt_program_profile(p), (int)DT_PROFILE_ONNX));
    const dt_graph *g = p->graph;
    const int codes = dt_graph_maker(g, dt_graph_maker(g, g->scores)->in[0])->in[0];
    const float scale = dt_program_scale(p, codes);
    dt_program_destroy(p);
    dt_graph *graph = onnx_golden_graph(name, &is_integer);
    cr_assert(eq(int, is_integer, 1));
    const int64_t n = onnx_golden_run(file, name, graph, scores);
    cr_assert(eq(i64, onnx_recorded(file, name, "y", expected), n));
    for (int64_t k = 0; k < n; k++) {
        const long code = lrintf(scores[k] / scale), wanted = lrintf(expected[k] / scale);
        cr_assert(code == wanted, "%s: code %lld is %ld, recorded %ld", name, (long long)k, code, wanted);
    }
}

/* Checks that a graph's file is read, and its network refused in words of a line that begins with the file's name. */
static inline void onnx_expect_refused(const onnx_bytes *graph, int opset, const char *words)
{
    const onnx_bytes model = onnx_model(graph, opset);
    dt_graph *made;
    dt_onnx *m;
    int is_integer;

    GRAPH_RUN_MUST(dt_onnx_read_bytes("net.onnx", model.data, model.n, &m));
    cr_assert(ne(int, (int)dt_onnx_graph(m, &made, &is_integer), (int)DT_OK), "%s", words);
    cr_assert(strstr(dt_last_error(), words) != NULL, "%s", dt_last_error());
    cr_assert(strncmp(dt_last_error(), "net.onnx: ", 10) == 0, "%s", dt_last_error());
    dt_onnx_destroy(m);
}

#endif /* ONNX_GOLDEN_H */
