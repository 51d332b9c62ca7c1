/*
 * extract.c - see extract.h.
 *
 * Source: the QKeras-Mod notebook, chapter 3.  Tests: tests/quant/test_extract.c.
 */
#include "extract.h"

#include <stdlib.h>

enum { X, W, BIAS_OR_RANGE = 1, DEFAULT_BIAS_BITS = 31 };

typedef struct {
    dt_model *model;
    const dt_graph *g;
    const dt_extraction *how;
    dt_extracted *out;
} extraction;

/* The f32 values of a parameter. The caller frees them. */
static dt_status read_param(const extraction *e, int value, float **out)
{
    const char *name = dt_graph_name(e->g, value);
    const int i = dt_model_find(e->model, name);

    DT_CHECK(i >= 0, DT_ERR_UNSUPPORTED, "%s is no parameter of %s; its integers depend on the image", name,
             e->g->name);
    float *to = malloc((size_t)dt_count(dt_graph_shape(e->g, value)) * sizeof *to);
    DT_CHECK(to, DT_ERR_MEMORY, "no memory for the values of %s", name);
    const dt_status status = dt_model_read(e->model, i, to);
    if (status == DT_OK)
        *out = to;
    else
        free(to);
    return status;
}

/* ---- activations ---- */

/* The first end of a range of positive values may be one that nobody reads, as in training. */
static dt_status extract_act(const extraction *e, int node, dt_extracted_act *to)
{
    const dt_graph_node *n = &e->g->node[node];
    const dt_range_quant_params *p = n->params;
    float *range = NULL;

    DT_TRY(read_param(e, n->in[BIAS_OR_RANGE], &range));
    const double alpha = p->is_positive && range[0] < 0.0f ? 0.0 : (double)range[0], beta = (double)range[1];
    free(range);
    *to = (dt_extracted_act){ .name = dt_graph_name(e->g, n->out),
                              .node = node,
                              .bits = e->how->abits ? e->how->abits : p->bits,
                              .alpha = alpha,
                              .beta = beta };
    to->grid = dt_qkeras_export_grid(alpha, beta, to->bits);
    return DT_OK;
}

/* The quantizer whose codes a value is, or is made of without a change of range; NULL: there is none. */
static const dt_extracted_act *act_of(const extraction *e, int value)
{
    const dt_graph_node *n = dt_graph_maker(e->g, value);

    while (n && n->kind != DT_OP_RANGE_QUANT) n = n->n_in > 0 ? dt_graph_maker(e->g, n->in[X]) : NULL;
    for (int i = 0; n && i < e->out->n_acts; i++) {
        if (&e->g->node[e->out->act[i].node] == n) return &e->out->act[i];
    }
    return NULL;
}

/* ---- layers ---- */

static int is_layer(const dt_graph *g, const dt_graph_node *n)
{
    const dt_graph_node *w = n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR ? dt_graph_maker(g, n->in[W]) : NULL;

    return w && w->kind == DT_OP_MAX_QUANT;
}

static void name_shape(const extraction *e, const dt_graph_node *n, dt_extracted_layer *to)
{
    const dt_shape *s = dt_graph_shape(e->g, n->in[W]);
    const int64_t filters = s->dim[0];

    to->name = dt_graph_name(e->g, n->out);
    to->n_out = filters;
    to->n_weights = dt_count(s);
    if (n->kind == DT_OP_LINEAR) {
        to->ndim = 2;
        to->dim[0] = to->n_weights / filters;
        to->dim[1] = filters;
        return;
    }
    const int groups = ((const dt_conv_params *)n->params)->groups;
    const int is_depthwise = groups > 1 && s->dim[3] == 1;
    to->ndim = 4;
    to->dim[0] = s->dim[1];
    to->dim[1] = s->dim[2];
    to->dim[2] = is_depthwise ? groups : s->dim[3];
    to->dim[3] = is_depthwise ? filters / groups : filters;
}

static double magnitude_of(const float *v, int64_t n)
{
    double most = 0.0;

    for (int64_t i = 0; i < n; i++) most = fabs((double)v[i]) > most ? fabs((double)v[i]) : most;
    return most;
}

/* w: [n_out][rest]; wq: [rest][n_out], which is Keras' layout of every kind of layer. */
static void quantize_weights(const float *w, int bits, dt_extracted_layer *to)
{
    const int64_t rest = to->n_weights / to->n_out, count = to->n_weights / to->n_scale;

    for (int k = 0; k < to->n_scale; k++) to->w_scale[k] = dt_qkeras_scale(magnitude_of(w + k * count, count), bits);
    for (int64_t k = 0; k < to->n_out; k++) {
        const double scale = to->w_scale[to->n_scale == 1 ? 0 : k];
        for (int64_t i = 0; i < rest; i++)
            to->wq[i * to->n_out + k] = dt_qkeras_code((double)w[k * rest + i], scale, bits);
    }
}

static void sum_weights(double zero, dt_extracted_layer *to)
{
    for (int64_t k = 0; k < to->n_out; k++) {
        int64_t sum = 0;
        for (int64_t i = k; i < to->n_weights; i += to->n_out) sum += to->wq[i];
        to->subq[k] = zero * (double)sum;
    }
}

static dt_status extract_weights(const extraction *e, const dt_graph_node *n, dt_extracted_layer *to)
{
    const dt_graph_node *codes = dt_graph_maker(e->g, n->in[W]);
    const dt_extracted_act *x = act_of(e, n->in[X]);
    const int own_bits = ((const dt_max_quant_params *)codes->params)->bits;
    float *w = NULL;

    DT_CHECK(x, DT_ERR_UNSUPPORTED, "%s: no quantizer stands before it, so that its input has no zero point", to->name);
    DT_TRY(read_param(e, codes->in[X], &w));
    quantize_weights(w, e->how->wbits ? e->how->wbits : own_bits, to);
    free(w);
    sum_weights(x->grid.zero, to);
    return DT_OK;
}

static dt_status extract_biases(const extraction *e, const dt_graph_node *n, dt_extracted_layer *to)
{
    const int bits = e->how->bias_bits ? e->how->bias_bits : DEFAULT_BIAS_BITS;
    const dt_graph_node *bias = NULL;
    float *b = NULL;

    for (int i = 0; i < e->g->n_nodes && !bias; i++) {
        if (e->g->node[i].kind == DT_OP_BIAS && e->g->node[i].in[X] == n->out) bias = &e->g->node[i];
    }
    if (!bias) return DT_OK;
    DT_TRY(read_param(e, bias->in[BIAS_OR_RANGE], &b));
    to->b_scale = dt_qkeras_scale(magnitude_of(b, to->n_out), bits);
    for (int64_t k = 0; k < to->n_out; k++) to->bq[k] = dt_qkeras_code((double)b[k], to->b_scale, bits);
    free(b);
    return DT_OK;
}

static dt_status extract_layer(const extraction *e, const dt_graph_node *n, dt_extracted_layer *to)
{
    name_shape(e, n, to);
    to->n_scale = e->g->value[n->in[W]]->facts.n_scale;
    to->w_scale = calloc((size_t)to->n_scale, sizeof *to->w_scale);
    to->subq = calloc((size_t)to->n_out, sizeof *to->subq);
    to->wq = calloc((size_t)to->n_weights, sizeof *to->wq);
    to->bq = calloc((size_t)to->n_out, sizeof *to->bq);
    DT_CHECK(to->w_scale && to->subq && to->wq && to->bq, DT_ERR_MEMORY, "no memory for the integers of %s", to->name);
    DT_TRY(extract_weights(e, n, to));
    return extract_biases(e, n, to);
}

/* ---- the whole ---- */

static dt_status check_bits(const char *of, int bits, int most)
{
    DT_CHECK(bits == 0 || (bits >= DT_QKERAS_BITS_MIN && bits <= most), DT_ERR_ARGUMENT,
             "extraction of %d-bit %s, allowed are %d..%d", bits, of, DT_QKERAS_BITS_MIN, most);
    return DT_OK;
}

static dt_status check(const extraction *e, int n_acts, int n_layers)
{
    DT_TRY(check_bits("weights", e->how->wbits, DT_QKERAS_BITS_MAX - 1));
    DT_TRY(check_bits("activations", e->how->abits, DT_QKERAS_BITS_MAX - 1));
    DT_TRY(check_bits("biases", e->how->bias_bits, DT_QKERAS_BITS_MAX));
    DT_CHECK(
        n_acts > 0 && n_layers > 0, DT_ERR_UNSUPPORTED,
        "%s has %d affine quantizers and %d layers of their weights, so that there is nothing to extract; quantize "
        "it by 'detent quantize'",
        e->g->name, n_acts, n_layers);
    for (int i = 0; i < e->g->n_nodes; i++) {
        DT_CHECK(e->g->node[i].kind != DT_OP_BATCHNORM, DT_ERR_UNSUPPORTED,
                 "%s: %s is a batch norm, and what is extracted has none; 'detent quantize' folds those of a "
                 "network of reals",
                 e->g->name, dt_graph_name(e->g, e->g->node[i].out));
    }
    return DT_OK;
}

static dt_status extract_all(const extraction *e)
{
    dt_extracted *out = e->out;

    for (int i = 0; i < e->g->n_nodes; i++) {
        if (e->g->node[i].kind == DT_OP_RANGE_QUANT) DT_TRY(extract_act(e, i, &out->act[out->n_acts++]));
    }
    for (int i = 0; i < e->g->n_nodes; i++) {
        if (is_layer(e->g, &e->g->node[i])) DT_TRY(extract_layer(e, &e->g->node[i], &out->layer[out->n_layers++]));
    }
    return DT_OK;
}

dt_status dt_extract(dt_model *m, const dt_extraction *how, dt_extracted *out)
{
    const extraction e = { m, m->graph, how, out };
    int n_acts = 0, n_layers = 0;

    *out = (dt_extracted){ 0 };
    for (int i = 0; i < e.g->n_nodes; i++) {
        n_acts += e.g->node[i].kind == DT_OP_RANGE_QUANT;
        n_layers += is_layer(e.g, &e.g->node[i]);
    }
    DT_TRY(check(&e, n_acts, n_layers));
    out->act = calloc((size_t)n_acts, sizeof *out->act);
    out->layer = calloc((size_t)n_layers, sizeof *out->layer);
    DT_CHECK(out->act && out->layer, DT_ERR_MEMORY, "no memory for %d activations and %d layers", n_acts, n_layers);
    return extract_all(&e);
}

void dt_extracted_free(dt_extracted *e)
{
    for (int i = 0; i < e->n_layers; i++) {
        free(e->layer[i].w_scale);
        free(e->layer[i].subq);
        free(e->layer[i].wq);
        free(e->layer[i].bq);
    }
    free(e->layer);
    free(e->act);
    *e = (dt_extracted){ 0 };
}
