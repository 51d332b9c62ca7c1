/*
 * fuzz_program.c - any bytes as a program: refused, or it can be described, run, saved and loaded again.
 *
 * Programs of more work than MOST_WORK are not run: a short file can ask for a large image.
 */
#include "fuzz_target.h"

#include <string.h>

#include "../../quant/program/program.h"

#define MOST_WORK 1e6 /* products, values and pixels */

static double work(const dt_program *p)
{
    const dt_graph *g = p->graph;
    double sum = 0.0;

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const dt_value x = dt_program_value(p, n->in[0]), y = dt_program_value(p, n->out);
        const double count = (double)dt_value_count(&y);
        double each = 1.0;
        if (n->kind == DT_OP_CONV2D) each = (double)dt_count(dt_graph_shape(g, n->in[1])) / y.channels;
        if (n->kind == DT_OP_THRESHOLD) each = (double)y.high - y.low;
        if (n->kind == DT_OP_LINEAR) each = (double)dt_value_count(&x);
        if (n->kind == DT_OP_MAXPOOL || n->kind == DT_OP_AVGPOOL) {
            const dt_pool_params *pool = n->params;
            each = (double)pool->window[0] * pool->window[1];
        }
        if (n->kind != DT_OP_CODES) sum += count * each;
    }
    return sum;
}

static void run(const dt_program *p)
{
    const dt_value pixels = dt_program_image(p);
    const int64_t n = dt_value_count(&pixels);
    uint8_t *image = malloc((size_t)n);
    float *scores = malloc((size_t)dt_program_n_scores(p) * sizeof *scores);

    if (image && scores) {
        for (int64_t i = 0; i < n; i++) image[i] = (uint8_t)(i * 37);
        FUZZ_REQUIRE(dt_program_run(p, image, scores) == DT_OK);
    }
    free(image);
    free(scores);
}

static void save_and_load(const dt_program *p)
{
    static char path[64];
    dt_program *again = NULL;

    if (!path[0]) snprintf(path, sizeof path, "/tmp/fuzz_program-%ld.safetensors", (long)getpid());
    FUZZ_REQUIRE(dt_program_save(p, path) == DT_OK);
    FUZZ_REQUIRE(dt_program_load(path, &again) == DT_OK);
    FUZZ_REQUIRE(again->graph->n_nodes == p->graph->n_nodes && strcmp(again->graph->name, p->graph->name) == 0);
    dt_program_destroy(again);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dt_program *p = NULL;
    dt_program_info info;

    if (dt_program_load(fuzz_path(data, size), &p) != DT_OK) return 0;
    dt_program_describe(p, &info);
    if (work(p) < MOST_WORK) run(p);
    save_and_load(p);
    dt_program_destroy(p);
    return 0;
}
