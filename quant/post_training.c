/*
 * post_training.c - see post_training.h.
 *
 * The least scale of a filter's weights is |b| / (s_x * 2^30), so that its bias b fits 32 bits of the psum's scale.
 * Source: TensorFlow Lite's converter, measured.  Tests: tests/quant/test_post_training.c.
 */
#include "post_training.h"

#include "fold.h"
#include "fold_train.h"
#include "insert_dynamic.h"
#include "insert_qkeras.h"
#include "insert_range.h"
#include "range_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BITS = 8 };

const char *const dt_scheme_names[] = { "full", "drq", "float", "fiq-f32", "fiq-i8", "fiq-u8", "qkeras", NULL };

static int bits_of(int asked)
{
    return asked ? asked : DEFAULT_BITS;
}

static dt_status check_float(const dt_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        DT_CHECK(g->value[g->node[i].out]->facts.n_scale == 0, DT_ERR_UNSUPPORTED,
                 "%s computes on integers already, by %s (%s); quantize the network of real values", g->name,
                 dt_graph_name(g, g->node[i].out), dt_ops[g->node[i].kind]->name);
    }
    return DT_OK;
}

/* With the batch norms that the training has folded. */
dt_status dt_post_training_plain(dt_model *m, dt_graph **out)
{
    dt_graph *now = NULL, *settled = NULL;

    DT_TRY(dt_model_snapshot(m, &now));
    dt_status status = dt_graph_settle(now, &settled);
    dt_graph_destroy(now);
    DT_TRY(status);
    status = dt_quant_remove_qkeras(settled, out);
    dt_graph_destroy(settled);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_post_training_fold(dt_model *m, dt_model **out)
{
    dt_graph *plain = NULL, *folded = NULL;

    DT_TRY(dt_post_training_plain(m, &plain));
    dt_status status = check_float(plain);
    if (status == DT_OK) status = dt_graph_fold(plain, &folded);
    dt_graph_destroy(plain);
    DT_TRY(status);
    DT_TRY(dt_model_open(m->ctx, folded, out));
    (*out)->origin = m->origin;
    return DT_OK;
}

/* ---- ranges ---- */

/* Marks the value from whose range `value` has its quantizer, if that range is neither known nor fixed. */
static void want(const dt_graph *g, const dt_range_plan *plan, const dt_known_ranges *known, int value, char *wanted)
{
    const int is_value = g->value[value]->source == DT_SOURCE_NODE || value == g->image;
    const dt_range_group *group = dt_range_of(plan, value);

    if (!is_value || g->value[value]->facts.constant || group->is_fixed) return;
    if (!known->has || !known->has[group->named]) wanted[group->named] = 1;
}

/* Marks what nodes read as codes, and the scores. What an operator is joined with reads no codes. */
static dt_status mark_wanted(const dt_graph *g, const dt_known_ranges *known, char *wanted)
{
    dt_range_plan plan;
    dt_status status = dt_range_plan_make(g, &plan);

    for (int i = 0; status == DT_OK && i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const dt_place place = plan.place[n->out];
        if (!plan.needed[n->out] || place == DT_PLACE_COPY || place == DT_PLACE_JOIN) continue;
        for (int k = 0; k < n->n_in; k++) want(g, &plan, known, n->in[k], wanted);
    }
    if (status == DT_OK) want(g, &plan, known, g->scores, wanted);
    dt_range_plan_destroy(&plan);
    return status;
}

static dt_status observe(dt_model *m, const dt_quantization *what, const char *wanted, dt_range *range)
{
    const dt_calibration calibration = { .dataset = what->dataset,
                                         .pixels = what->pixels,
                                         .normalised = what->normalised,
                                         .n = what->n,
                                         .observer = what->observer,
                                         .percent = what->percent,
                                         .bits = bits_of(what->abits) > DEFAULT_BITS ? DEFAULT_BITS : what->abits,
                                         .wanted = wanted,
                                         .progress = what->progress };

    return dt_calibrate(m, &calibration, range);
}

/* Ranges of all values that a quantizer asks for. */
static dt_status find_ranges(dt_model *m, const dt_quantization *what, const dt_known_ranges *known, char *wanted,
                             dt_range *range)
{
    DT_TRY(mark_wanted(m->graph, known, wanted));
    if (memchr(wanted, 1, (size_t)m->graph->n_values)) DT_TRY(observe(m, what, wanted, range));
    for (int i = 0; i < m->graph->n_values; i++) {
        if (known->has && known->has[i]) range[i] = known->range[i];
    }
    return DT_OK;
}

dt_status dt_post_training_ranges(dt_model *folded, const dt_quantization *what, const dt_known_ranges *known,
                                  dt_range *range)
{
    const size_t n = (size_t)folded->graph->n_values;
    char *wanted = calloc(n, 1);

    DT_CHECK(!what->symmetric || what->observer != DT_OBSERVE_MAX_ABS, DT_ERR_ARGUMENT,
             "the observer max-abs is for comparison with the notebook, whose ranges are not symmetric");
    DT_CHECK(wanted, DT_ERR_MEMORY, "no memory for %zu ranges", n);
    memset(range, 0, n * sizeof *range);
    const dt_status status = find_ranges(folded, what, known, wanted, range);
    free(wanted);
    DT_TRY(status);
    return DT_OK;
}

/* ---- biases ---- */

/* The quantizer whose codes a layer reads. */
static const dt_graph_node *quantizer_of(const dt_graph *g, int codes)
{
    const dt_graph_node *n = dt_graph_maker(g, codes);

    while (n && n->kind != DT_OP_RANGE_QUANT) n = n->n_in > 0 ? dt_graph_maker(g, n->in[0]) : NULL;
    return n;
}

/* The BIAS behind the layer n, or NULL. */
static const dt_graph_node *bias_of(const dt_graph *g, const dt_graph_node *n)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind == DT_OP_BIAS && g->node[i].in[0] == n->out) return &g->node[i];
    }
    return NULL;
}

static float *least_scales(const dt_graph *g, int least, const float *bias, int64_t filters, float scale_x)
{
    const int64_t n = dt_count(dt_graph_shape(g, least));
    float *scale = calloc((size_t)n, sizeof *scale);

    for (int64_t k = 0; scale && k < filters; k++) {
        const double need = fabs((double)bias[k]) / ((double)scale_x * 1073741824.0);
        float *to = &scale[n == 1 ? 0 : k];
        if (need > (double)*to) *to = (float)need;
    }
    return scale;
}

static dt_status widen_layer(dt_graph *g, const dt_graph_node *n)
{
    const dt_graph_node *codes = dt_graph_maker(g, n->in[1]), *bias = bias_of(g, n);
    const dt_graph_node *quantizer = quantizer_of(g, n->in[0]);

    if (!codes || codes->kind != DT_OP_MAX_QUANT || !bias || !quantizer) return DT_OK;
    const dt_range_quant_params *p = quantizer->params;
    const float *range = g->value[quantizer->in[1]]->data, *b = g->value[bias->in[1]]->data;
    if (!range || !b) return DT_OK;
    const dt_range_grid grid = dt_range_grid_of(range[0], range[1], p->bits, p->is_positive);
    float *least = least_scales(g, codes->in[1], b, dt_count(dt_graph_shape(g, bias->in[1])), grid.scale);
    DT_CHECK(least, DT_ERR_MEMORY, "no memory for the scales of %s", dt_graph_name(g, n->out));
    dt_graph_set_data(g, codes->in[1], DT_F32, least);
    return DT_OK;
}

/* Lets every bias fit. */
static dt_status widen_weights(dt_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR) DT_TRY(widen_layer(g, n));
    }
    return DT_OK;
}

/* ---- the whole ---- */

/* Ends of MAX_ABS are magnitudes, and the first may be the larger one: such a range has the grid of 0..max. It is put
 * in as max..max, and then stays in the network as it was observed, because extract.c tells of it. */
static void tell_inverted(const dt_graph *plain, const dt_range *range, dt_graph *quantized)
{
    for (int i = 0; i < plain->n_values; i++) {
        char name[DT_NAME_MAX + 32];
        if (!(range[i].min > range[i].max)) continue;
        snprintf(name, sizeof name, "%s.range", dt_graph_name(plain, i));
        const int param = dt_graph_find(quantized, name);
        if (param >= 0) ((float *)quantized->value[param]->data)[0] = range[i].min;
    }
}

/* Returns the range around r whose zero point is 0: codes from -high - 1 to high, high for r's largest magnitude. */
static dt_range symmetric(dt_range r, int bits)
{
    const float most = fmaxf(fmaxf(fabsf(r.min), fabsf(r.max)), (float)DT_RANGE_LEAST);
    const double high = (double)((1 << (bits - 1)) - 1);

    return (dt_range){ (float)(-(double)most * (high + 1.0) / high), most };
}

static dt_status insert(const dt_graph *plain, dt_range_choice *choice, int is_symmetric, const dt_range *range,
                        dt_graph **out)
{
    dt_range *upright = malloc((size_t)plain->n_values * sizeof *upright);

    DT_CHECK(upright, DT_ERR_MEMORY, "no memory for %d ranges", plain->n_values);
    for (int i = 0; i < plain->n_values; i++) {
        upright[i] = range[i];
        if (range[i].min > range[i].max) upright[i].min = range[i].max;
        if (is_symmetric) upright[i] = symmetric(upright[i], choice->abits);
    }
    choice->range = upright;
    const dt_status status = dt_quant_insert_range(plain, choice, out);
    free(upright);
    DT_TRY(status);
    tell_inverted(plain, range, *out);
    return DT_OK;
}

static dt_status quantize_graph(dt_model *folded, const dt_quantization *what, const dt_range *range, dt_graph **out)
{
    dt_range_choice choice = { .wbits = bits_of(what->wbits),
                               .abits = bits_of(what->abits),
                               .per_channel = !what->per_layer,
                               .fc_per_layer = what->fc_per_layer,
                               .update = DT_RANGE_FIXED };
    dt_graph *plain = NULL;

    DT_TRY(dt_model_snapshot(folded, &plain));
    dt_status status = insert(plain, &choice, what->symmetric, range, out);
    dt_graph_destroy(plain);
    DT_TRY(status);
    status = widen_weights(*out);
    if (status != DT_OK) dt_graph_destroy(*out);
    return status;
}

dt_status dt_post_training_with(dt_model *folded, const dt_quantization *what, const dt_range *range, dt_model **out)
{
    dt_graph *graph = NULL;

    DT_TRY(quantize_graph(folded, what, range, &graph));
    DT_TRY(dt_model_open(folded->ctx, graph, out));
    (*out)->origin = folded->origin;
    return DT_OK;
}

dt_status dt_post_training_quantize(dt_model *folded, const dt_quantization *what, const dt_known_ranges *known,
                                    dt_model **out)
{
    dt_range *range = malloc((size_t)folded->graph->n_values * sizeof *range);

    DT_CHECK(range, DT_ERR_MEMORY, "no memory for %d ranges", folded->graph->n_values);
    dt_status status = dt_post_training_ranges(folded, what, known, range);
    if (status == DT_OK) status = dt_post_training_with(folded, what, range, out);
    free(range);
    DT_TRY(status);
    return DT_OK;
}

static dt_status check_dynamic(const dt_quantization *what)
{
    DT_CHECK(bits_of(what->abits) == DEFAULT_BITS, DT_ERR_ARGUMENT,
             "the scheme drq rounds activations to 8 bits while the network runs; got abits %d", what->abits);
    DT_CHECK(!what->symmetric, DT_ERR_ARGUMENT, "the scheme drq has no symmetric activations");
    DT_CHECK(!what->ranges, DT_ERR_ARGUMENT,
             "the scheme drq finds ranges while the network runs; leave out the file %s, or take the scheme full",
             what->ranges);
    return DT_OK;
}

dt_status dt_post_training_dynamic(dt_model *folded, const dt_quantization *what, dt_model **out)
{
    const dt_dynamic_choice choice = { bits_of(what->wbits), !what->per_layer, what->fc_per_layer };
    dt_graph *plain = NULL, *graph = NULL;

    DT_TRY(check_dynamic(what));
    DT_TRY(dt_model_snapshot(folded, &plain));
    const dt_status status = dt_quant_insert_dynamic(plain, &choice, &graph);
    dt_graph_destroy(plain);
    DT_TRY(status);
    DT_TRY(dt_model_open(folded->ctx, graph, out));
    (*out)->origin = folded->origin;
    return DT_OK;
}

dt_status dt_post_training_qkeras(dt_model *folded, const dt_quantization *what, dt_model **out)
{
    const dt_qkeras_choice choice = { bits_of(what->wbits), bits_of(what->abits), !what->per_layer, NULL, 0 };
    dt_graph *plain = NULL, *graph = NULL;

    DT_CHECK(
        !what->symmetric && !what->ranges, DT_ERR_ARGUMENT,
        "the scheme qkeras finds the range of each image while the network runs; leave out %s, or take the scheme full",
        what->ranges ? what->ranges : "symmetric activations");
    DT_TRY(dt_model_snapshot(folded, &plain));
    const dt_status status = dt_quant_insert_qkeras(plain, &choice, &graph);
    dt_graph_destroy(plain);
    DT_TRY(status);
    DT_TRY(dt_model_open(folded->ctx, graph, out));
    (*out)->origin = folded->origin;
    return DT_OK;
}

/* ---- what came of it ---- */

int dt_quantized_count(const dt_model *quantized)
{
    int n = 0;

    for (int i = 0; i < quantized->graph->n_nodes; i++) n += quantized->graph->node[i].kind == DT_OP_RANGE_QUANT;
    return n;
}
