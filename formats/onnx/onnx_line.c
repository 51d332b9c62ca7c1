/*
 * onnx_line.c - constants of a file that multiply, and are added, in a network with quantizers: an AFFINE for each.
 *               Interface: onnx_layers.h.
 *
 * Behind the sums of a convolution or a linear layer, the AFFINE reads the sums' integers and has their scale in its
 * factor, so that the line is rounded as thresholds, which stand for it in a program, take it. Behind a line that
 * nobody else reads the constants go into that one.
 */
#include "onnx_layers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { X, FACTOR, SUM };

static float *data_of(const dt_graph *g, int value)
{
    return (float *)g->value[value]->data; /* the import has given it */
}

/* Sets scale[0 .. channels - 1] to those of the sums that a layer makes. Returns 0 if the node is no such layer, or its
 * input's scale cannot be seen. */
static int scales_of_sums(const dt_graph *g, const dt_graph_node *layer, int64_t channels, float *scale)
{
    const int is_layer = layer && (layer->kind == DT_OP_CONV2D || layer->kind == DT_OP_LINEAR);
    const dt_graph_node *x = is_layer ? dt_graph_maker(g, layer->in[0]) : NULL,
                        *w = is_layer ? dt_graph_maker(g, layer->in[1]) : NULL;

    if (!is_layer || g->value[layer->out]->facts.n_scale == 0) return 0;
    while (x && (x->kind == DT_OP_FLATTEN || x->kind == DT_OP_TRANSPOSE || x->kind == DT_OP_MAXPOOL ||
                 x->kind == DT_OP_RELU || x->kind == DT_OP_IDENTITY || x->kind == DT_OP_CONCAT)) {
        x = dt_graph_maker(g, x->in[0]);
    }
    if (!x || x->kind != DT_OP_SCALE_QUANT || !w || w->kind != DT_OP_SCALE_QUANT) return 0;
    const int64_t n = dt_count(dt_graph_shape(g, w->in[1]));
    for (int64_t c = 0; c < channels; c++) scale[c] = *data_of(g, x->in[1]) * data_of(g, w->in[1])[n == 1 ? 0 : c];
    return 1;
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
    const int reads_sums = scales_of_sums(imp->graph, maker, line->channels, scale);
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
