/*
 * quantized_look.c - what quantization after training did to each value of a network: its scale and zero point, what
 * its range cuts off, and how far the quantized network is from the real one there.
 *
 * Both networks run the same images, a few of the calibration's, in one batch. Signal and noise are sums of squares
 * over all elements: snr = 10 log10(sum x^2 / sum (x' - x)^2), with x of the real network and x' of the quantized one.
 * Interface: dt_quantized_look in include/detent/quantize.h.  Tests: tests/quant/test_post_training.c.
 */
#include "../core/train/inference.h"
#include "post_training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 16 };

/* One quantized value at work. */
typedef struct {
    const dt_graph_node *node;
    const char *name; /* of the real network's value */
    float *real;      /* [count] of the real network */
    int64_t count, n_outside;
    double signal, noise;
    dt_range_grid grid;
    dt_range range;
} row;

typedef struct {
    row *row;
    int n;
    int is_real; /* 1: the real network runs */
    const dt_graph *quantized;
} looking;

/* 1 if a row looks at the value of that name. Several may look at one of the real network. */
static int is_of(const looking *l, const row *r, const char *name)
{
    return strcmp(l->is_real ? r->name : dt_graph_name(l->quantized, r->node->out), name) == 0;
}

static int wants(void *user, const char *name)
{
    const looking *l = user;
    int n = 0;

    for (int i = 0; i < l->n; i++) n += is_of(l, &l->row[i], name);
    return n > 0;
}

static dt_status keep_real(row *r, const dt_value_batch *v, int64_t count)
{
    r->real = malloc((size_t)count * sizeof *r->real);
    DT_CHECK(r->real, DT_ERR_MEMORY, "no memory for %lld values of %s", (long long)count, v->name);
    memcpy(r->real, v->values, (size_t)count * sizeof *r->real);
    r->count = count;
    for (int64_t i = 0; i < count; i++) r->n_outside += v->values[i] < r->range.min || v->values[i] > r->range.max;
    return DT_OK;
}

static void compare(row *r, const dt_value_batch *v)
{
    for (int64_t i = 0; i < r->count; i++) {
        const double real = (double)r->real[i], is = (double)v->values[i] * (v->n_scale ? (double)v->scale[0] : 1.0);
        r->signal += real * real;
        r->noise += (is - real) * (is - real);
    }
}

static dt_status look(void *user, const dt_value_batch *v)
{
    looking *l = user;
    const int64_t count = dt_count_of(v->dim, v->ndim);

    for (int i = 0; i < l->n; i++) {
        row *r = &l->row[i];
        if (!is_of(l, r, v->name)) continue;
        if (l->is_real) {
            DT_TRY(keep_real(r, v, count));
            continue;
        }
        DT_CHECK(r->real && r->count == count, DT_ERR_SHAPE,
                 "%s has %lld values, and %lld in the network of real values", v->name, (long long)count,
                 (long long)r->count);
        compare(r, v);
    }
    return DT_OK;
}

static dt_status run(dt_model *m, const dt_quantization *what, looking *l)
{
    const dt_prediction prediction = { .pixels = what->pixels,
                                       .normalised = what->normalised,
                                       .n = what->n < IMAGES ? what->n : IMAGES,
                                       .batch = IMAGES,
                                       .look = look,
                                       .wants = wants,
                                       .user = l };
    dt_dataset_view v;

    if (!what->dataset) return dt_predict(m, &prediction, NULL);
    dt_dataset_look(what->dataset, &v);
    return dt_predict_view(m, &v, &prediction, NULL);
}

/* Returns the real network's value of a quantizer NAME.quant; -1: it has none. One that joins codes to others of
 * another range (insert_range.c) has a name of its own, and is of the value whose codes it reads. */
static int value_of(const dt_graph *real, const dt_graph *quantized, const dt_graph_node *n)
{
    static const char end[] = ".quant";
    const int names[2] = { n->out, n->in[0] };
    int value = -1;

    for (int i = 0; i < 2 && value < 0; i++) {
        const char *name = dt_graph_name(quantized, names[i]);
        const size_t bytes = strlen(name), tail = sizeof end - 1;
        const int has_end = bytes > tail && strcmp(name + bytes - tail, end) == 0;
        char cut[DT_NAME_MAX + 1];
        snprintf(cut, sizeof cut, "%.*s", (int)(has_end ? bytes - tail : bytes), name);
        value = dt_graph_find(real, cut);
    }
    return value;
}

static dt_status open_row(const dt_model *real, const dt_model *quantized, const dt_graph_node *n, row *r)
{
    const dt_range_quant_params *p = n->params;
    const char *name = dt_graph_name(quantized->graph, n->out);
    const int param = dt_model_find(quantized, dt_graph_name(quantized->graph, n->in[1]));
    const int value = value_of(real->graph, quantized->graph, n);
    float ends[2];

    DT_CHECK(value >= 0 && param >= 0, DT_ERR_ARGUMENT, "%s is of no value that the network of real values has", name);
    DT_TRY(dt_model_read(quantized, param, ends));
    *r = (row){ .node = n,
                .name = dt_graph_name(real->graph, value),
                .range = { p->is_positive ? 0.0f : ends[0], ends[1] } };
    r->grid = dt_range_grid_of(ends[0], ends[1], p->bits, p->is_positive);
    return DT_OK;
}

static dt_status look_at_all(dt_model *real, dt_model *quantized, const dt_quantization *what, looking *l)
{
    int n = 0;

    for (int i = 0; i < quantized->graph->n_nodes; i++) {
        const dt_graph_node *node = &quantized->graph->node[i];
        if (node->kind == DT_OP_RANGE_QUANT) DT_TRY(open_row(real, quantized, node, &l->row[n++]));
    }
    l->n = n;
    l->is_real = 1;
    DT_TRY(run(real, what, l));
    l->is_real = 0;
    return run(quantized, what, l);
}

static dt_status look_beside(dt_model *real, dt_model *quantized, const dt_quantization *what, dt_quantized_value *rows)
{
    const int n = dt_quantized_count(quantized);
    looking l = { .row = calloc((size_t)n + 1, sizeof(row)), .quantized = quantized->graph };

    DT_CHECK(l.row, DT_ERR_MEMORY, "no memory to look at %d values", n);
    const dt_status status = look_at_all(real, quantized, what, &l);
    for (int i = 0; i < n; i++) {
        const row *r = &l.row[i];
        if (status == DT_OK) {
            rows[i] = (dt_quantized_value){ .name = dt_graph_name(quantized->graph, r->node->out),
                                            .min = r->range.min,
                                            .max = r->range.max,
                                            .scale = r->grid.scale,
                                            .zero = r->grid.zero,
                                            .low = r->grid.low,
                                            .high = r->grid.high,
                                            .clipped = r->count ? (double)r->n_outside / (double)r->count : 0.0,
                                            .snr = 10.0 * log10(r->signal / r->noise) };
        }
        free(r->real);
    }
    free(l.row);
    return status;
}

dt_status dt_quantized_look(dt_model *real, dt_model *quantized, const dt_quantization *what, dt_quantized_value *rows)
{
    dt_model *folded = NULL;

    DT_TRY(dt_post_training_fold(real, &folded));
    const dt_status status = look_beside(folded, quantized, what, rows);
    dt_model_destroy(folded);
    return status;
}
