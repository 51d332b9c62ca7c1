/*
 * adaround.c - AdaRound on the grid's own arithmetic: layer by layer, the weights' codes that give what the network of
 *              reals gives there, from the codes that the quantized network has before it. See rescue.h.
 *
 * x are codes of the quantized network, so that sums of products G are exact integers; the target is the output of the
 * network of reals at the same position. Of more than MOST_POSITIONS positions every n-th is taken. The codes that were
 * found become weights, code * step, of which MAX_QUANT makes the same codes: a weight with the largest code keeps it.
 *
 * adaround_solve.c rounds one filter.  Tests: tests/quant/test_rescue.c, tests/quant/test_rescue_rounding.c.
 */
#include "rescue.h"

#include "../../core/arith/range.h"
#include "../../core/conv_params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_POSITIONS = 16384, BLOCK = 32, DEFAULT_STEPS = 1000, LEAST_STEPS = 50 };

/* Products that a layer's relaxation may take. A layer that is too large for LEAST_STEPS has single changes alone. */
static const double most_products = 2e10;

/* A layer with its positions. */
typedef struct {
    const dt_rescue_layer *layer;
    const char *name;
    dt_rescue_quantized q;
    dt_conv_params conv;
    int64_t H, W, C, R, S, P, Q; /* of a LINEAR: all but C are 1 */
    int64_t groups, terms;       /* weights of a filter */
    int64_t every, n;            /* every so manieth position; how many are taken */
    float sx;                    /* scale of the codes */
    float *target;               /* [n][filters] outputs of the network of reals */
    double signal;               /* sum of target^2 */
    double *gram;                /* [groups][terms][terms] */
    double *h;                   /* [filters][terms] */
    double *T;                   /* [filters] */
    float *patch;                /* [BLOCK][groups][terms] */
    double *off;                 /* [BLOCK][filters] target - bias */
    int n_held;                  /* positions in patch */
    float *weight, *bias;        /* of the quantized model */
} rounding_layer;

static void release(rounding_layer *l)
{
    free(l->target);
    free(l->gram);
    free(l->h);
    free(l->T);
    free(l->patch);
    free(l->off);
    free(l->weight);
    free(l->bias);
}

/* ---- sizes ---- */

static void size_conv(const dt_model *m, rounding_layer *l)
{
    const dt_graph_node *n = l->layer->node;
    const dt_shape *x = dt_graph_shape(m->graph, n->in[0]), *w = dt_graph_shape(m->graph, n->in[1]);
    const dt_shape *y = dt_graph_shape(m->graph, n->out);

    if (n->kind == DT_OP_LINEAR) {
        l->conv = dt_conv_square(1, 0);
        l->H = l->W = l->R = l->S = l->P = l->Q = 1;
        l->C = w->dim[1];
    } else {
        l->conv = *(const dt_conv_params *)n->params;
        l->H = x->dim[1];
        l->W = x->dim[2];
        l->C = x->dim[3];
        l->R = w->dim[1];
        l->S = w->dim[2];
        l->P = y->dim[1];
        l->Q = y->dim[2];
    }
    l->groups = l->conv.groups;
    l->terms = l->layer->row;
}

static dt_status allocate(rounding_layer *l)
{
    const size_t filters = (size_t)l->layer->filters, terms = (size_t)l->terms, groups = (size_t)l->groups;

    l->target = malloc((size_t)l->n * filters * sizeof *l->target);
    l->gram = calloc(groups * terms * terms, sizeof *l->gram);
    l->h = calloc(filters * terms, sizeof *l->h);
    l->T = calloc(filters, sizeof *l->T);
    l->patch = malloc(BLOCK * groups * terms * sizeof *l->patch);
    l->off = malloc(BLOCK * filters * sizeof *l->off);
    DT_CHECK(l->target && l->gram && l->h && l->T && l->patch && l->off, DT_ERR_MEMORY,
             "%s: no memory to round %lld weights", l->name, (long long)(l->layer->filters * l->terms));
    return DT_OK;
}

/* ---- the positions ---- */

/* Calls `each` for the positions of a batch that are taken: their number among those, map and place. */
static dt_status for_positions(rounding_layer *l, const dt_value_batch *v, int64_t maps,
                               void (*each)(rounding_layer *l, const dt_value_batch *v, int64_t number, int64_t at))
{
    const int64_t outputs = l->P * l->Q, first = v->first * maps * outputs, last = first + v->dim[0] * outputs;

    for (int64_t i = (first + l->every - 1) / l->every; i * l->every < last && i < l->n; i++) {
        each(l, v, i, i * l->every - first);
    }
    return DT_OK;
}

static void keep_target(rounding_layer *l, const dt_value_batch *v, int64_t number, int64_t at)
{
    const int64_t filters = l->layer->filters;
    const float *y = v->values + at * filters;

    memcpy(l->target + number * filters, y, (size_t)filters * sizeof *y);
    for (int64_t k = 0; k < filters; k++) l->signal += (double)y[k] * (double)y[k];
}

static int64_t maps_of(const rounding_layer *l, const dt_model *m)
{
    return dt_graph_rows(m->graph, l->layer->node->out);
}

typedef struct {
    rounding_layer *l;
    int64_t maps;
} batch_reader;

static dt_status take_targets(void *user, const dt_value_batch *v)
{
    const batch_reader *b = user;

    return for_positions(b->l, v, b->maps, keep_target);
}

/* Adds the products of the positions that are held. Codes are integers below 2^16, so that G is exact. */
static void add_held(rounding_layer *l)
{
    const int64_t filters = l->layer->filters, each = filters / l->groups, row = l->groups * l->terms;

#pragma omp parallel for collapse(2)
    for (int64_t g = 0; g < l->groups; g++) {
        for (int64_t i = 0; i < l->terms; i++) {
            double *to = l->gram + (g * l->terms + i) * l->terms;
            for (int b = 0; b < l->n_held; b++) {
                const float *x = l->patch + b * row + g * l->terms;
                const double xi = (double)x[i];
                if (xi == 0.0) continue;
                for (int64_t k = 0; k < l->terms; k++) to[k] += xi * (double)x[k];
            }
        }
    }
#pragma omp parallel for
    for (int64_t f = 0; f < filters; f++) {
        for (int b = 0; b < l->n_held; b++) {
            const float *x = l->patch + b * row + f / each * l->terms;
            const double off = l->off[b * filters + f];
            for (int64_t k = 0; k < l->terms; k++) l->h[f * l->terms + k] += off * (double)x[k];
            l->T[f] += off * off;
        }
    }
    l->n_held = 0;
}

/* The codes that the window of an output sees, group by group; 0 outside of the map. */
static void gather(const rounding_layer *l, const float *map, int64_t p, int64_t q, float *to)
{
    const int64_t channels = l->C / l->groups;

    for (int64_t g = 0; g < l->groups; g++) {
        for (int64_t tap = 0; tap < l->R * l->S; tap++, to += channels) {
            const int64_t h = p * l->conv.stride[0] + tap / l->S * l->conv.dilation[0] - l->conv.pad[0];
            const int64_t v = q * l->conv.stride[1] + tap % l->S * l->conv.dilation[1] - l->conv.pad[1];
            const int is_inside = h >= 0 && h < l->H && v >= 0 && v < l->W;
            const float *from = map + (h * l->W + v) * l->C + g * channels;
            for (int64_t c = 0; c < channels; c++) to[c] = is_inside ? from[c] : 0.0f;
        }
    }
}

static void hold_position(rounding_layer *l, const dt_value_batch *v, int64_t number, int64_t at)
{
    const int64_t filters = l->layer->filters, outputs = l->P * l->Q, place = at % outputs;
    const float *map = v->values + at / outputs * l->H * l->W * l->C, *target = l->target + number * filters;

    gather(l, map, place / l->Q, place % l->Q, l->patch + l->n_held * l->groups * l->terms);
    for (int64_t k = 0; k < filters; k++) {
        l->off[l->n_held * filters + k] = (double)target[k] - (l->bias ? (double)l->bias[k] : 0.0);
    }
    if (++l->n_held == BLOCK) add_held(l);
}

static dt_status take_codes(void *user, const dt_value_batch *v)
{
    const batch_reader *b = user;

    DT_CHECK(v->n_scale == 1, DT_ERR_UNSUPPORTED, "%s: reads no codes of one scale, and its weights are not rounded",
             b->l->name);
    b->l->sx = v->scale[0];
    return for_positions(b->l, v, b->maps, hold_position);
}

static dt_status take_positions(const dt_rescue_work *w, rounding_layer *l)
{
    batch_reader b = { l, maps_of(l, w->reference) };
    const int64_t all = w->what->n * b.maps * l->P * l->Q;

    l->every = (all + MOST_POSITIONS - 1) / MOST_POSITIONS;
    l->every += l->every > 1 && l->every % 2 == 0; /* sides of maps are mostly even, and all columns shall be seen */
    l->n = (all + l->every - 1) / l->every;
    DT_TRY(allocate(l));
    DT_TRY(dt_rescue_look(w->reference, w->what, l->layer->out, take_targets, &b));
    DT_TRY(dt_rescue_look(w->quantized, w->what, l->q.codes, take_codes, &b));
    add_held(l);
    return DT_OK;
}

/* ---- rounding ---- */

static int steps_for(const rounding_layer *l, int asked)
{
    const double each = (double)l->layer->filters * (double)l->terms * (double)l->terms;
    const int most = (int)fmin(most_products / each, 1e6), steps = asked ? asked : DEFAULT_STEPS;

    return most < LEAST_STEPS ? 0 : most < steps ? most : steps;
}

/* The step of the filter's codes, as MAX_QUANT finds it; of one scale a layer, from all filters. */
static double step_of(const rounding_layer *l, const float *least, int64_t n_least, int high, int64_t k)
{
    const int64_t first = n_least == 1 ? 0 : k, n = n_least == 1 ? l->layer->filters : 1;
    float magnitude = 0.0f;

    for (int64_t i = first * l->terms; i < (first + n) * l->terms; i++) {
        magnitude = dt_max_magnitude(magnitude, l->weight[i]);
    }
    return dt_max_step(magnitude, high, least[n_least == 1 ? 0 : k]);
}

/* Errors of a filter before and after; its weights become code * step. room: [7 terms] and [2 terms] of codes */
static void round_filter(const rounding_layer *l, int64_t k, double step, int high, int steps, double *room,
                         float *weight, dt_rounding_error *error)
{
    const int64_t g = k / (l->layer->filters / l->groups), n = l->terms;
    double *const ratio = room + 6 * n;
    int *const code = (int *)(room + 7 * n), *const plain = code + n;
    const dt_filter_rounding r = { .n = n,
                                   .gram = l->gram + g * n * n,
                                   .h = l->h + k * n,
                                   .T = l->T[k],
                                   .S = step * (double)l->sx,
                                   .high = high,
                                   .ratio = ratio };

    for (int64_t i = 0; i < n; i++) {
        ratio[i] = (double)weight[i] / step;
        plain[i] = (int)dt_max_code(weight[i], step, high);
    }
    dt_rounding_solve(&r, steps, room, code);
    *error = (dt_rounding_error){ dt_rounding_error_of(&r, plain), dt_rounding_error_of(&r, code) };
    for (int64_t i = 0; i < n; i++) weight[i] = (float)((double)code[i] * step);
}

static dt_status round_filters(rounding_layer *l, const float *least, int64_t n_least, int high, int steps,
                               dt_rounding_error *out)
{
    const int64_t filters = l->layer->filters, n = l->terms, room = 8 * n;
    double *rooms = malloc((size_t)(filters * (room + 3)) * sizeof *rooms);

    DT_CHECK(rooms, DT_ERR_MEMORY, "%s: no memory to round %lld filters", l->name, (long long)filters);
    double *const step = rooms + filters * room;
    dt_rounding_error *const error = (dt_rounding_error *)(step + filters);
    for (int64_t k = 0; k < filters; k++) step[k] = step_of(l, least, n_least, high, k);
#pragma omp parallel for schedule(dynamic)
    for (int64_t k = 0; k < filters; k++) {
        round_filter(l, k, step[k], high, steps, rooms + k * room, l->weight + k * n, &error[k]);
    }
    for (int64_t k = 0; k < filters; k++) {
        out->before += error[k].before / (l->signal > 0.0 ? l->signal : 1.0);
        out->after += error[k].after / (l->signal > 0.0 ? l->signal : 1.0);
    }
    free(rooms);
    return DT_OK;
}

static dt_status round_layer(const dt_rescue_work *w, rounding_layer *l, int steps, dt_rounding_error *out)
{
    const dt_max_quant_params *p = l->q.quant->params;
    const int param = dt_model_find(w->quantized, dt_graph_name(w->quantized->graph, l->q.quant->in[1]));
    const int64_t n_least = dt_count(dt_graph_shape(w->quantized->graph, l->q.quant->in[1]));
    float *least = NULL;

    size_conv(w->reference, l);
    DT_TRY(dt_rescue_read(w->quantized, l->q.weight, &l->weight));
    if (l->q.bias >= 0) DT_TRY(dt_rescue_read(w->quantized, l->q.bias, &l->bias));
    DT_TRY(take_positions(w, l));
    DT_TRY(dt_rescue_read(w->quantized, param, &least));
    const int before = dt_context_enter(w->quantized->ctx);
    const dt_status status = round_filters(l, least, n_least, dt_weight_high(p->bits), steps_for(l, steps), out);
    dt_context_leave(before);
    free(least);
    DT_TRY(status);
    return dt_model_write(w->quantized, l->q.weight, l->weight);
}

dt_status dt_rescue_adaround(const dt_rescue_work *w, int steps, int *n_changed, dt_rounding_error *out)
{
    *n_changed = 0;
    *out = (dt_rounding_error){ 0.0, 0.0 };
    for (int i = 0; i < w->layers->n; i++) {
        rounding_layer l = { .layer = &w->layers->layer[i] };
        l.name = dt_graph_name(w->reference->graph, l.layer->node->out);
        DT_TRY(dt_rescue_quantized_of(w->reference, l.layer, w->quantized, &l.q));
        if (!l.q.quant) continue;
        const dt_status status = round_layer(w, &l, steps, out);
        release(&l);
        DT_TRY(status);
        ++*n_changed;
    }
    return DT_OK;
}
