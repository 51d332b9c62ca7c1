/*
 * insert.c - see insert.h.
 *
 * Initial values: activation clip 8, weight clip 3 (in deviations), the course code's. LSQ's steps are set by
 * dt_trainer_calibrate, from the weights and the first batch; until then those of activations are 1, and those of
 * weights what PyTorch's default filters would give.
 *
 * Tests: tests/test_graph.c.
 */
#include "insert.h"

#include "../core/graph/rewrite.h"
#include "../core/names.h"
#include "grid.h"

#include <stdio.h>
#include <string.h>

/* A clip or a step never reaches 0: the optimiser keeps it above this. */
static const float alpha_floor = 1e-4f;

/* Normalised pixels of every known dataset lie within +-3.2: black Fashion-MNIST is -0.81, white CIFAR-10 2.13. */
static const float image_clip = 3.2f;

int dt_graph_is_positive(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    if (!n) return 0;
    switch (n->kind) {
    case DT_OP_RELU:
    case DT_OP_SIGMOID: return 1;
    case DT_OP_MAXPOOL:
    case DT_OP_AVGPOOL:
    case DT_OP_FLATTEN:
    case DT_OP_IDENTITY:
    case DT_OP_TRANSPOSE: return dt_graph_is_positive(g, n->in[0]);
    case DT_OP_ADD:
    case DT_OP_CONCAT:
        for (int k = 0; k < n->n_in; k++) {
            if (!dt_graph_is_positive(g, n->in[k])) return 0;
        }
        return 1;
    default: return 0;
    }
}

/* "features.27" of the weights "features.27.weight" */
typedef struct {
    char s[DT_NAME_MAX + 1];
} layer_name;

static layer_name layer_of(const char *weight)
{
    static const char suffix[] = ".weight";
    const size_t bytes = strlen(weight), end = sizeof suffix - 1;
    const int has_suffix = bytes > end && strcmp(weight + bytes - end, suffix) == 0;
    layer_name name;

    snprintf(name.s, sizeof name.s, "%.*s", (int)(has_suffix ? bytes - end : bytes), weight);
    return name;
}

static dt_status clip_param(dt_rewrite *r, const layer_name *layer, const char *part, int64_t n, int is_fixed,
                            float first, int *out)
{
    const dt_param_spec spec = { .shape = { 1, { n } },
                                 .group = is_fixed ? DT_GROUP_STATE : DT_GROUP_ALPHA,
                                 .values = DT_VALUES_POSITIVE,
                                 .init = DT_INIT_CONSTANT,
                                 .init_value = first,
                                 .floor = is_fixed ? -INFINITY : alpha_floor };
    char name[DT_NAME_MAX + 32];

    snprintf(name, sizeof name, "%s.%s", layer->s, part);
    return dt_graph_param(r->to, name, &spec, out);
}

/* x is the value of `from` that the layer reads; *out its codes. */
static dt_status quantize_x(dt_rewrite *r, const dt_quant_choice *c, const layer_name *layer, int x, int *out)
{
    const int is_image = x == r->from->image, unit = r->from->unit_pixels; /* such an image has no negative pixels */
    const int fixed = is_image && c->input_bits > 0;
    const int is_signed = is_image ? fixed && !unit : !dt_graph_is_positive(r->from, x);
    const dt_act_quant_params params = { .bits = fixed ? c->input_bits : c->abits,
                                         .is_signed = is_signed,
                                         .unclamped = is_image && !fixed && !unit,
                                         .rule = fixed ? DT_RULE_ECE284 : c->rule };
    const float clip = unit ? 1.0f : image_clip;
    const float first = fixed ? clip : c->rule == DT_RULE_LSQ ? 1.0f : 8.0f;
    char name[DT_NAME_MAX + 32];
    int in[2];

    DT_TRY(dt_rewrite_value(r, x, &in[0]));
    DT_TRY(clip_param(r, layer, "act_alpha", 1, fixed, first, &in[1]));
    snprintf(name, sizeof name, "%s" DT_ACT_QUANT_SUFFIX, layer->s);
    return dt_graph_add(r->to, DT_OP_ACT_QUANT, name, &params, in, 2, out);
}

/* mean|w| of uniform +-1/sqrt(fan in) is half the bound */
static float weight_clip(const dt_quant_choice *c, int64_t fan_in)
{
    if (c->rule != DT_RULE_LSQ) return 3.0f;
    return 1.0f / sqrtf((float)fan_in) / sqrtf((float)dt_weight_high(c->wbits));
}

static dt_status quantize_w(dt_rewrite *r, const dt_quant_choice *c, const layer_name *layer, int w, int *out)
{
    const dt_weight_quant_params params = { .bits = c->wbits, .rule = c->rule };
    const dt_shape *shape = dt_graph_shape(r->to, w);
    const int64_t filters = shape->dim[0], fan_in = dt_count(shape) / filters;
    char name[DT_NAME_MAX + 32];
    int in[2] = { w };

    DT_TRY(clip_param(r, layer, "weight_quant.wgt_alpha", c->per_channel ? filters : 1, 0, weight_clip(c, fan_in),
                      &in[1]));
    snprintf(name, sizeof name, "%s.weight_quant", layer->s);
    return dt_graph_add(r->to, DT_OP_WEIGHT_QUANT, name, &params, in, 2, out);
}

static dt_status quantize_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const dt_quant_choice *choice = user;
    int w, in[2];

    if (n->kind != DT_OP_CONV2D && n->kind != DT_OP_CAPS_VOTES) return dt_rewrite_copy(r, n);
    const layer_name layer = layer_of(dt_graph_name(r->from, n->in[1]));
    DT_TRY(dt_rewrite_value(r, n->in[1], &w));
    DT_TRY(quantize_x(r, choice, &layer, n->in[0], &in[0]));
    DT_TRY(quantize_w(r, choice, &layer, w, &in[1]));
    return dt_rewrite_with(r, n, NULL, in);
}

dt_status dt_quant_insert(const dt_graph *g, const dt_quant_choice *choice, dt_graph **out)
{
    dt_quant_choice copy = *choice;

    return dt_graph_rewrite(g, quantize_node, &copy, out);
}
