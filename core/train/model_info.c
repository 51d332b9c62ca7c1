/*
 * model_info.c - describes a model by its graph, in numbers and in a few words.
 *
 * Tests: tests/core/test_model_info.c, tests/formats/test_network_file.c, tests/formats/test_network_file_model.c.
 */
#include "model.h"

#include "../arith/range.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bits of one kind of quantizer: the fewest and the most. */
static void count_bits(int bits, int *least, int *most)
{
    if (*most == DT_BITS_FLOAT || bits > *most) *most = bits;
    if (bits < *least) *least = bits;
}

/* Sums and pools read codes too, of bits that are theirs. */
static int is_read_by_layer(const dt_graph *g, int value)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const int has_weights = n->kind == DT_OP_CONV2D || n->kind == DT_OP_CAPS_VOTES || n->kind == DT_OP_LINEAR;
        if (has_weights && n->in[0] == value) return 1;
        if (n->kind == DT_OP_FLATTEN && n->in[0] == value && is_read_by_layer(g, n->out)) return 1;
    }
    return 0;
}

/* Stored codes of weights that a layer reads as reals. */
static int is_weight_codes(const dt_graph *g, const dt_graph_node *real)
{
    const dt_graph_node *codes = dt_graph_maker(g, real->in[0]);

    return codes && (codes->kind == DT_OP_CODES || codes->kind == DT_OP_MAX_QUANT);
}

/* An image, or one that is normalised by the network itself. */
static int is_image(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    return value == g->image || (n && (n->kind == DT_OP_CENTRE || n->kind == DT_OP_AFFINE) && n->in[0] == g->image);
}

/* A layer by its real weights, whose statistics a batch norm takes that trains folded. */
static int is_for_statistics(const dt_graph *g, const dt_graph_node *layer)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i], *x = n->n_in == 3 ? dt_graph_maker(g, n->in[2]) : NULL;
        if (n->kind != DT_OP_BATCH_STATS || !x) continue;
        if (x == layer || (x->kind == DT_OP_BIAS && dt_graph_maker(g, x->in[0]) == layer)) return 1;
    }
    return 0;
}

/* Bits of weights whose largest code is given. */
static int bits_of(int64_t most)
{
    int bits = 1;

    while (most >= (int64_t)1 << (bits - 1)) bits++;
    return bits;
}

/* Bits that tell the codes of a quantizer apart: 1 of a sign, 2 of -1, 0 and 1. */
static int bits_of_range(const dt_scale_quant_params *p)
{
    int bits = 1;

    while (p->rounding != DT_TO_SIGN && p->high - p->low >= 1 << bits) bits++;
    return bits;
}

static void look_at_scale_quant(const dt_graph *g, const dt_graph_node *n, dt_model_info *out)
{
    const dt_scale_quant_params *p = n->params;

    if (p->filters) {
        count_bits(bits_of_range(p), &out->wbits_least, &out->wbits_most);
        out->rule = DT_RULE_AFFINE;
    } else if (!is_image(g, n->in[0]) && is_read_by_layer(g, n->out)) {
        count_bits(bits_of_range(p), &out->abits_least, &out->abits_most);
    }
}

/* The image's quantizer is no layer's choice: input_bits. */
static void look_at_quantizer(const dt_graph *g, const dt_graph_node *n, dt_model_info *out)
{
    if (n->kind == DT_OP_WEIGHT_QUANT) {
        const dt_weight_quant_params *p = n->params;
        count_bits(p->bits, &out->wbits_least, &out->wbits_most);
        out->rule = p->rule;
    }
    if (n->kind == DT_OP_SCALE_QUANT) look_at_scale_quant(g, n, out);
    if (n->kind == DT_OP_MAX_QUANT) {
        const dt_max_quant_params *p = n->params;
        count_bits(p->bits, &out->wbits_least, &out->wbits_most);
        out->rule = DT_RULE_AFFINE;
    }
    if (n->kind == DT_OP_DYNAMIC_QUANT) {
        count_bits(DT_DYNAMIC_BITS, &out->abits_least, &out->abits_most);
        out->rule = DT_RULE_AFFINE;
    }
    if (n->kind == DT_OP_DEQUANTIZE && is_weight_codes(g, n)) {
        count_bits(bits_of(g->value[n->in[0]]->facts.qmax), &out->wbits_least, &out->wbits_most);
    }
    if (n->kind == DT_OP_FEATUREMAP_QUANT) {
        count_bits(((const dt_featuremap_quant_params *)n->params)->bits, &out->abits_least, &out->abits_most);
        out->rule = DT_RULE_QKERAS;
    }
    if (n->kind == DT_OP_RANGE_QUANT) {
        count_bits(((const dt_range_quant_params *)n->params)->bits, &out->abits_least, &out->abits_most);
    }
    if (n->kind == DT_OP_ACT_QUANT && !is_image(g, n->in[0]) && is_read_by_layer(g, n->out)) {
        count_bits(((const dt_act_quant_params *)n->params)->bits, &out->abits_least, &out->abits_most);
    }
}

static int is_weighted(const dt_graph_node *n)
{
    return n->kind == DT_OP_CONV2D || n->kind == DT_OP_CAPS_VOTES;
}

static int reads_codes(const dt_graph *g, const dt_graph_node *n)
{
    const dt_graph_node *w = dt_graph_maker(g, n->in[1]);

    return g->value[n->in[1]]->facts.n_scale > 0 || (w && w->kind == DT_OP_DEQUANTIZE && is_weight_codes(g, w));
}

/* Of a network whose only activations on the grid are images. */
static void take_image_bits(const dt_graph *g, dt_model_info *out)
{
    for (int i = 0; i < g->n_nodes && out->abits_most == DT_BITS_FLOAT; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == DT_OP_ACT_QUANT) {
            count_bits(((const dt_act_quant_params *)n->params)->bits, &out->abits_least, &out->abits_most);
        }
    }
}

static int has_node(const dt_graph *g, dt_op_kind kind)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind == kind) return 1;
    }
    return 0;
}

void dt_graph_look(const dt_graph *g, dt_model_info *out)
{
    const dt_shape *image = dt_graph_shape(g, g->image);
    dt_model_info info = { .name = g->name,
                           .height = (int)image->dim[1],
                           .width = (int)image->dim[2],
                           .channels = (int)image->dim[3],
                           .n_classes = (int)dt_graph_shape(g, g->scores)->dim[1],
                           .wbits_least = DT_BITS_FLOAT,
                           .wbits_most = DT_BITS_FLOAT,
                           .abits_least = DT_BITS_FLOAT,
                           .abits_most = DT_BITS_FLOAT,
                           .has_decoder = g->reconstruction >= 0,
                           .is_resized =
                               g->capsules >= 0 || has_node(g, DT_OP_CLASS_INT), /* a program has no capsules */
                           .unit_pixels = g->unit_pixels,
                           .is_binary = g->loss == DT_LOSS_BINARY };

    if (g->capsules >= 0) info.caps_dim = (int)dt_graph_count(g, g->capsules) / info.n_classes;
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        look_at_quantizer(g, n, &info);
        info.n_folded_norms += n->kind == DT_OP_FOLD_BIAS;
        info.n_norms += n->kind == DT_OP_BATCHNORM;
        info.n_float += is_weighted(n) && !reads_codes(g, n) && !is_for_statistics(g, n);
        if (n->kind == DT_OP_CAPS_ROUTE) info.routing = ((const dt_caps_route_params *)n->params)->iterations;
        if (n->kind == DT_OP_ROUTE_INT) info.routing = ((const dt_route_int_params *)n->params)->iterations;
    }
    take_image_bits(g, &info);
    *out = info;
}

static void append(char text[DT_MODEL_TEXT_BYTES], const char *format, ...) DT_PRINTF(2, 3);

static void append(char text[DT_MODEL_TEXT_BYTES], const char *format, ...)
{
    const size_t used = strlen(text);
    va_list ap;

    va_start(ap, format);
    vsnprintf(text + used, DT_MODEL_TEXT_BYTES - used, format, ap);
    va_end(ap);
}

/* "w4", or "w4-8" where layers differ */
static void append_bits(char text[DT_MODEL_TEXT_BYTES], const char *letter, int least, int most)
{
    append(text, "%s%d", letter, least);
    if (least != most) append(text, "-%d", most);
}

/* Weights are stored codes, as a program's are, but activations are real. */
static int has_dynamic_ranges(const dt_graph *g)
{
    return has_node(g, DT_OP_DYNAMIC_QUANT);
}

/* An integer program, whose name says of which bits it was made. */
static int is_program(const dt_graph *g)
{
    return has_node(g, DT_OP_CODES) && !has_dynamic_ranges(g);
}

void dt_graph_describe(const dt_graph *g, char text[DT_MODEL_TEXT_BYTES])
{
    dt_model_info is;

    dt_graph_look(g, &is);
    snprintf(text, DT_MODEL_TEXT_BYTES, "%s", is.name);
    if (is_program(g)) return;
    if (is.wbits_most == DT_BITS_FLOAT && is.abits_most == DT_BITS_FLOAT) {
        append(text, " float");
        return;
    }
    append(text, " ");
    append_bits(text, "w", is.wbits_least, is.wbits_most);
    append_bits(text, "a", is.abits_least, is.abits_most);
    if (has_dynamic_ranges(g)) append(text, " dynamic");
    if (is.n_float > 0) append(text, ", %d float", is.n_float);
}

const dt_graph *dt_model_graph(const dt_model *m)
{
    return m->graph;
}

void dt_model_look(const dt_model *m, dt_model_info *out)
{
    dt_graph_look(m->graph, out);
}

void dt_model_describe(const dt_model *m, char text[DT_MODEL_TEXT_BYTES])
{
    dt_graph_describe(m->graph, text);
}
