/*
 * program.c - programs as objects: the values that their nodes read and make, their size, and their destruction.
 *             reference.c has the arithmetic.
 *
 * Tests: tests/quant/test_program.c.
 */
#include "program.h"

#include "../../core/arith/grid.h"
#include "../../layers/caps/class_int.h"
#include "../../layers/caps/route_int.h"
#include "../../core/names.h"

#include <stdio.h>
#include <stdlib.h>

static dt_value_kind kind_of(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    if (!n) return g->value[value]->facts.type == DT_U8 ? DT_VALUE_CODE : DT_VALUE_REAL;
    if (g->value[value]->facts.n_scale == 0) return DT_VALUE_REAL;
    switch (n->kind) {
    case DT_OP_CONV2D:
    case DT_OP_CAPS_VOTES:
    case DT_OP_ADD:
    case DT_OP_AVGPOOL: return DT_VALUE_PSUM;
    case DT_OP_MAXPOOL:
    case DT_OP_CONCAT:
    case DT_OP_RELU:
    case DT_OP_TRANSPOSE:
    case DT_OP_FLATTEN: return kind_of(g, n->in[0]);
    default: return DT_VALUE_CODE;
    }
}

dt_value dt_program_value(const dt_program *p, int value)
{
    const dt_tensor *facts = &p->graph->value[value]->facts;
    const int64_t *dim = facts->shape.dim;
    const int is_map = facts->shape.ndim == 4, on_grid = facts->n_scale > 0, rows = dt_graph_rows(p->graph, value);

    return (dt_value){ .kind = kind_of(p->graph, value),
                       .maps = rows > 0 ? rows : 1, /* constants have none */
                       .height = facts->shape.ndim > 2 ? (int)dim[1] : 1,
                       .width = is_map ? (int)dim[2] : 1,
                       .channels = (int)dim[facts->shape.ndim - 1],
                       .low = on_grid ? (int)facts->qmin : 0,
                       .high = on_grid ? (int)facts->qmax : 0 };
}

int64_t dt_value_count(const dt_value *v)
{
    return (int64_t)v->maps * v->height * v->width * v->channels;
}

const void *dt_program_data(const dt_program *p, const dt_graph_node *n, int k)
{
    return p->graph->value[n->in[k]]->data;
}

const dt_graph_node *dt_program_weights(const dt_program *p, const dt_graph_node *conv)
{
    return dt_graph_maker(p->graph, conv->in[1]);
}

static float first_float(const dt_program *p, const dt_graph_node *n, int k)
{
    return *(const float *)dt_program_data(p, n, k);
}

/* Index of the input that is the scale of what the node makes, or -1 where that is its input's. */
static int scale_input(const dt_graph_node *n)
{
    switch (n->kind) {
    case DT_OP_CODES: return DT_CODES_SCALE;
    case DT_OP_TABLE: return DT_TABLE_SCALE;
    case DT_OP_THRESHOLD: return DT_THRESHOLD_SCALE;
    case DT_OP_ACT_QUANT: return DT_QUANT_ALPHA;
    case DT_OP_QUANTIZE: return DT_QUANTIZE_SCALE;
    case DT_OP_REQUANTIZE: return DT_REQUANT_SCALE_Y;
    case DT_OP_QADD:
    case DT_OP_QMUL:
    case DT_OP_QMATMUL: return DT_QBINARY_SCALE_Y;
    case DT_OP_QSOFTMAX: return DT_QSOFTMAX_SCALE_Y;
    default: return -1;
    }
}

/* The node that sets the scale of codes. */
static const dt_graph_node *scale_maker(const dt_program *p, int value)
{
    const dt_graph_node *n = dt_graph_maker(p->graph, value);

    while (scale_input(n) < 0) n = dt_graph_maker(p->graph, n->in[0]);
    return n;
}

int dt_program_scale_param(const dt_program *p, int value)
{
    const dt_graph_node *n = scale_maker(p, value);
    return n->in[scale_input(n)];
}

/* The scale of codes of capsules, a power of two; 0: the node makes others. */
static float capsule_scale(const dt_graph_node *n)
{
    if (n->kind == DT_OP_CLASS_INT) return DT_LENGTH_STEP;
    return n->kind == DT_OP_ROUTE_INT ? dt_power_of_two(-dt_route_int_frac(n->params)) : 0.0f;
}

float dt_program_scale(const dt_program *p, int value)
{
    const dt_graph_node *n = dt_graph_maker(p->graph, value);

    while (n->kind == DT_OP_ADD || n->kind == DT_OP_TRANSPOSE || n->kind == DT_OP_CONCAT)
        n = dt_graph_maker(p->graph, n->in[0]);
    if (capsule_scale(n) > 0.0f) return capsule_scale(n);
    if (n->kind == DT_OP_AVGPOOL) {
        const int *window = ((const dt_pool_params *)n->params)->window;
        return dt_program_scale(p, n->in[0]) / (float)(window[0] * window[1]);
    }
    n = scale_maker(p, n->out);
    const float given = first_float(p, n, scale_input(n));
    if (n->kind != DT_OP_ACT_QUANT) return given;
    const dt_act_quant_params *q = n->params;
    return dt_grid_scale(given, dt_act_high(q->bits, q->is_signed), q->rule);
}

dt_value dt_program_image(const dt_program *p)
{
    return dt_program_value(p, p->graph->node[0].out);
}

int dt_program_n_scores(const dt_program *p)
{
    return dt_program_value(p, p->graph->scores).channels;
}

int dt_program_constant(const dt_program *p, int threshold, const char *part)
{
    char name[DT_NAME_MAX + 32];

    snprintf(name, sizeof name, "%s%s", dt_graph_name(p->graph, threshold), part);
    const int value = dt_graph_find(p->graph, name);
    return value >= 0 && p->graph->value[value]->source == DT_SOURCE_CONSTANT ? value : -1;
}

const void *dt_program_constant_data(const dt_program *p, int threshold, const char *part)
{
    const int value = dt_program_constant(p, threshold, part);

    return value < 0 ? NULL : p->graph->value[value]->data;
}

dt_requant dt_program_requant(const dt_program *p, const dt_graph_node *threshold)
{
    const dt_value y = dt_program_value(p, threshold->out);
    const int32_t *bits = dt_program_constant_data(p, threshold->out, DT_REQUANT_BITS);
    dt_requant r = { .low = y.low, .high = y.high };

    if (!bits) return r;
    r.bits = *bits;
    r.multiplier = dt_program_constant_data(p, threshold->out, DT_REQUANT_MULTIPLIER);
    r.offset = dt_program_constant_data(p, threshold->out, DT_REQUANT_OFFSET);
    r.shift = dt_program_constant_data(p, threshold->out, DT_REQUANT_SHIFT);
    return r;
}

/* The node that sets the range of codes. */
static const dt_graph_node *range_maker(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    while (n && (n->kind == DT_OP_MAXPOOL || n->kind == DT_OP_CONCAT || n->kind == DT_OP_TRANSPOSE ||
                 n->kind == DT_OP_RELU)) {
        n = dt_graph_maker(g, n->in[0]);
    }
    return n;
}

int dt_codes_are_stored(const dt_graph *g, int value)
{
    const dt_graph_node *n = range_maker(g, value);
    const int is_table = n && n->kind == DT_OP_TABLE && dt_graph_maker(g, n->in[0]);
    const int is_exact = n && n->kind == DT_OP_THRESHOLD && g->node[0].kind == DT_OP_QUANTIZE;

    return n && (is_table || is_exact || n->kind == DT_OP_QUANTIZE || n->kind == DT_OP_REQUANTIZE ||
                 n->kind == DT_OP_QADD || n->kind == DT_OP_QMUL || n->kind == DT_OP_QMATMUL ||
                 n->kind == DT_OP_QAVGPOOL || n->kind == DT_OP_QSOFTMAX);
}

/* Of codes whose range is as wide as their bits, which the narrowed range of a fused ReLU is not. */
static int zero_of_range(const dt_tensor *codes)
{
    return (int)(-(codes->qmax - codes->qmin + 1) / 2 - codes->qmin);
}

int dt_codes_zero(const dt_graph *g, int value)
{
    const dt_graph_node *n = range_maker(g, value);

    switch (n->kind) {
    case DT_OP_QUANTIZE: return ((const dt_quantize_params *)n->params)->zero;
    case DT_OP_REQUANTIZE: return ((const dt_requantize_params *)n->params)->zero;
    case DT_OP_QADD:
    case DT_OP_QMUL: return ((const dt_qbinary_params *)n->params)->zero;
    case DT_OP_QMATMUL: return ((const dt_qmatmul_params *)n->params)->zero;
    case DT_OP_CODES: return INT8_MIN - ((const dt_codes_params *)n->params)->low; /* a matrix */
    case DT_OP_QAVGPOOL: return ((const dt_qavgpool_params *)n->params)->zero;
    case DT_OP_TABLE:
    case DT_OP_THRESHOLD: return zero_of_range(&g->value[n->out]->facts);
    default: return INT8_MIN; /* QSOFTMAX's codes begin at 0 */
    }
}

dt_profile *dt_node_profile(const dt_graph_node *n)
{
    switch (n->kind) {
    case DT_OP_QUANTIZE: return &((dt_quantize_params *)n->params)->profile;
    case DT_OP_REQUANTIZE: return &((dt_requantize_params *)n->params)->profile;
    case DT_OP_QADD:
    case DT_OP_QMUL: return &((dt_qbinary_params *)n->params)->profile;
    case DT_OP_QMATMUL: return &((dt_qmatmul_params *)n->params)->profile;
    case DT_OP_QAVGPOOL: return &((dt_qavgpool_params *)n->params)->profile;
    case DT_OP_QSOFTMAX: return &((dt_qsoftmax_params *)n->params)->profile;
    default: return NULL;
    }
}

dt_status dt_program_use_profile(dt_program *p, dt_profile profile)
{
    const int is = dt_program_profile(p);

    DT_TRY(dt_check_word("profile", (int)profile, dt_profile_names));
    DT_CHECK(is >= 0, DT_ERR_UNSUPPORTED,
             "%s has no node that computes under a profile; its codes are those of evaluation, by thresholds; "
             "leave the profile out",
             p->graph->name);
    DT_CHECK((is == DT_PROFILE_EXACT) == (profile == DT_PROFILE_EXACT), DT_ERR_UNSUPPORTED,
             "%s computes under %s, and its nodes have no form under %s: thresholds come from a model's evaluation; "
             "make the program of the checkpoint once more, under %s",
             p->graph->name, dt_profile_names[is], dt_profile_names[profile], dt_profile_names[profile]);
    for (int i = 0; i < p->graph->n_nodes; i++) {
        dt_profile *of = dt_node_profile(&p->graph->node[i]);
        if (of) *of = profile;
    }
    return DT_OK;
}

int dt_program_profile(const dt_program *p)
{
    for (int i = 0; i < p->graph->n_nodes; i++) {
        const dt_profile *of = dt_node_profile(&p->graph->node[i]);
        if (of) return (int)*of;
    }
    return -1;
}

/* The params of the QUANTIZE of the image, or NULL if there is none. */
static dt_quantize_params *image_params(const dt_program *p)
{
    dt_graph_node *first = &p->graph->node[0]; /* dt_program_check: it reads the image */

    return first->kind == DT_OP_QUANTIZE ? first->params : NULL;
}

dt_status dt_program_use_cast(dt_program *p, dt_image_cast cast)
{
    dt_quantize_params *image = image_params(p);

    DT_TRY(dt_check_word("cast", (int)cast, dt_image_cast_names));
    DT_CHECK(image, DT_ERR_UNSUPPORTED, "%s takes pixels by a table, and casts no image", p->graph->name);
    dt_quantize_params changed = *image;
    changed.cast = cast;
    DT_CHECK(dt_quantize_fits_cast(&changed), DT_ERR_UNSUPPORTED,
             "%s: the codes of its image are %d..%d with the zero point %d; the cast %s makes those of 8 bits",
             p->graph->name, image->low, image->high, image->zero, dt_image_cast_names[cast]);
    image->cast = cast;
    return DT_OK;
}

dt_image_cast dt_program_cast(const dt_program *p)
{
    const dt_quantize_params *image = image_params(p);

    return image ? image->cast : DT_CAST_ROUND;
}

void dt_program_destroy(dt_program *p)
{
    if (!p) return;
    dt_graph_destroy(p->graph);
    free(p);
}

const dt_graph *dt_program_graph(const dt_program *p)
{
    return p->graph;
}

void dt_program_describe(const dt_program *p, dt_program_info *out)
{
    const dt_graph *g = p->graph;
    const dt_value image = dt_program_image(p);

    *out = (dt_program_info){ .name = g->name,
                              .height = image.height,
                              .width = image.width,
                              .channels = image.channels,
                              .n_classes = dt_program_n_scores(p),
                              .origin = p->origin };
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        out->n_layers += i > 0 && n->kind != DT_OP_CODES && n->kind != DT_OP_FLATTEN; /* 0 makes codes of the image */
        if (n->kind == DT_OP_CODES) out->n_weights += dt_count(dt_graph_shape(g, n->in[DT_CODES_WEIGHT]));
    }
    for (int i = 0; i < g->n_values; i++) out->bytes += dt_graph_data_bytes(g, i);
}
