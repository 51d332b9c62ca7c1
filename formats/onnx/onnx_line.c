/*
 * onnx_line.c - constants of a file that multiply, and are added, in a network with quantizers: an AFFINE for each.
 *               Interface: onnx_layers.h.
 *
 * Behind sums of codes, of a layer, of an ADD, or of an average, the AFFINE reads the sums' integers and has their
 * scale in its factor, so that the line is rounded as thresholds, which stand for it in a program, take it. Behind a
 * line that nobody else reads the constants go into that one.
 */
#include "onnx_layers.h"

#include <inttypes.h>
#include <stdlib.h>

enum { X, FACTOR, SUM };

static float *data_of(const dt_graph *g, int value)
{
    return (float *)g->value[value]->data; /* the import has given it */
}

/* 1 if codes or sums go through a node with their scale. */
static int keeps_scale(const dt_graph_node *n)
{
    return n->kind == DT_OP_FLATTEN || n->kind == DT_OP_TRANSPOSE || n->kind == DT_OP_MAXPOOL ||
           n->kind == DT_OP_RELU || n->kind == DT_OP_IDENTITY || n->kind == DT_OP_CONCAT || n->kind == DT_OP_ADD;
}

/* The scale of codes, or of averages of codes, as their kernels compute it; 0: it cannot be seen. */
static float scale_of_codes(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    while (n && keeps_scale(n)) n = dt_graph_maker(g, n->in[0]);
    if (!n || g->value[n->out]->facts.n_scale != 1) return 0.0f;
    if (n->kind == DT_OP_SCALE_QUANT) return *data_of(g, n->in[1]);
    if (n->kind != DT_OP_AVGPOOL) return 0.0f;
    const dt_pool_params *p = n->params;
    const int64_t *x = dt_graph_shape(g, n->in[0])->dim;
    const int64_t cells = p->window[0] == 0 ? x[1] * x[2] : (int64_t)p->window[0] * p->window[1];
    return scale_of_codes(g, n->in[0]) / (float)cells;
}

/* Sets scale[0 .. channels - 1] to those of sums of codes: of a layer, of an ADD, of an average. Returns 0 if a value
 * is none, or its scale cannot be seen. */
static int scales_of_sums(const dt_graph *g, int value, int64_t channels, float *scale)
{
    const dt_graph_node *n = dt_graph_maker(g, value);
    const int is_layer = n && (n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR);
    const dt_graph_node *w = is_layer ? dt_graph_maker(g, n->in[1]) : NULL;

    if (!n || g->value[value]->facts.n_scale == 0 || (!is_layer && n->kind != DT_OP_ADD && n->kind != DT_OP_AVGPOOL))
        return 0;
    if (is_layer && (!w || w->kind != DT_OP_SCALE_QUANT)) return 0;
    const float of_x = scale_of_codes(g, is_layer ? n->in[0] : value);
    const int64_t n_w = is_layer ? dt_count(dt_graph_shape(g, w->in[1])) : 1;
    for (int64_t c = 0; c < channels; c++) {
        scale[c] = is_layer ? of_x * data_of(g, w->in[1])[n_w == 1 ? 0 : c] : of_x;
    }
    return of_x > 0.0f;
}

/* Changes y = a x + b to factor y + sum. */
static void change_line(const dt_graph *g, const dt_graph_node *n, const dt_onnx_line *line)
{
    float *a = data_of(g, n->in[FACTOR]), *b = data_of(g, n->in[SUM]);

    for (int64_t c = 0; c < line->channels; c++) {
        a[c] *= line->factor[c];
        const float product = b[c] * line->factor[c];
        b[c] = product + line->sum[c];
    }
}

static void line_free(const dt_onnx_line *line)
{
    free(line->factor);
    free(line->sum);
}

dt_status dt_onnx_add_codes_line(dt_onnx_import *imp, const char *name, const dt_onnx_line *line, int *value)
{
    const dt_shape shape = { 1, { line->channels } };
    const dt_onnx_param a = { NULL, name, ".factor", dt_onnx_trained(&shape), DT_F32, line->factor },
                        b = { NULL, name, ".sum", dt_onnx_trained(&shape), DT_F32, line->sum };
    int in[3] = { *value };

    const dt_status s = dt_onnx_add_param(imp, &a, &in[FACTOR]);
    if (s != DT_OK) {
        free(line->sum);
        return dt_forward(s, __FILE__, __LINE__);
    }
    DT_TRY(dt_onnx_add_param(imp, &b, &in[SUM]));
    return dt_onnx_node_add(imp, DT_OP_AFFINE, name, "", NULL, in, 3, value);
}

dt_status dt_onnx_add_line(dt_onnx_import *imp, const char *name, const dt_onnx_line *line, int *value)
{
    const dt_graph_node *maker = dt_graph_maker(imp->graph, *value);
    float *scale = malloc((size_t)line->channels * sizeof *scale);

    if (!line->factor || !line->sum || !scale) {
        free(scale);
        line_free(line);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for the line %s", imp->m->path, name);
    }
    if (maker && maker->kind == DT_OP_AFFINE && line->is_only) {
        change_line(imp->graph, maker, line);
        free(scale);
        line_free(line);
        return DT_OK;
    }
    const int reads_sums = scales_of_sums(imp->graph, *value, line->channels, scale);
    for (int64_t c = 0; reads_sums && c < line->channels; c++) line->factor[c] *= scale[c];
    free(scale);
    if (!reads_sums) {
        const dt_status s = dt_onnx_dequantize(imp, value);
        if (s != DT_OK) {
            line_free(line);
            return dt_forward(s, __FILE__, __LINE__);
        }
    }
    return dt_onnx_add_codes_line(imp, name, line, value);
}
