/*
 * onnx_expand.c - operators on codes, ONNX Runtime's QOperator form, as what they mean: DequantizeLinear of each input,
 *                 an operator of reals, QuantizeLinear of what it makes. Interface: onnx.h.
 *
 *   QLinearConv x, sx, zx, w, sw, zw, sy, zy, b     q(Conv(d(x), d(w), d(b))),   d(b) = b sx sw
 *
 * So such a file becomes one in QDQ form, and the import knows that alone. The operator keeps its node's name and its
 * attributes. A MaxPool of codes, which needs no scale, gets those of the codes.
 *
 * Source: ONNX Runtime, docs/ContribOperators.md, of the operators of com.microsoft.
 * Tests: tests/formats/test_onnx_operators.c, test_onnx_hostile.c.
 */
#include "onnx.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCALE_ROOM = 1 << 24 }; /* bytes, beside as many as the file has */

static const char *const MICROSOFT = "com.microsoft";

/* An operator on codes. Codes, scale and zero point stand side by side among its inputs, from `first` on. */
typedef struct {
    const char *op, *domain;
    const char *to; /* the operator of reals */
    int n_codes;    /* 0: as many as there are */
    int first, y;   /* y: the scale of what it makes, and then its zero point */
    int bias;       /* -1: it has none */
} form;

static const form forms[] = {
    { "QLinearConv", "", "Conv", 2, 0, 6, 8 },
    { "QLinearMatMul", "", "MatMul", 2, 0, 6, -1 },
    { "QGemm", MICROSOFT, "Gemm", 2, 0, 7, 6 },
    { "QLinearAdd", MICROSOFT, "Add", 2, 0, 6, -1 },
    { "QLinearMul", MICROSOFT, "Mul", 2, 0, 6, -1 },
    { "QLinearAveragePool", MICROSOFT, "AveragePool", 1, 0, 3, -1 },
    { "QLinearGlobalAveragePool", MICROSOFT, "GlobalAveragePool", 1, 0, 3, -1 },
    { "QLinearSigmoid", MICROSOFT, "Sigmoid", 1, 0, 3, -1 },
    { "QLinearLeakyRelu", MICROSOFT, "LeakyRelu", 1, 0, 3, -1 },
    { "QLinearSoftmax", MICROSOFT, "Softmax", 1, 0, 3, -1 },
    { "QLinearConcat", MICROSOFT, "Concat", 0, 2, 0, -1 },
};

/* What is known of a value of the file: its constant, or the quantizer that made its codes. */
typedef struct {
    int tensor;      /* -1: it is no constant */
    int scale, zero; /* values; -1: not known */
} fact;

/* An expansion that is under way. */
typedef struct {
    dt_onnx *m;
    fact *fact; /* [n_facts] of the values that the file has */
    int n_facts;
    dt_onnx_node *node; /* [n_nodes] what becomes of the nodes */
    int n_nodes, n_names;
    int64_t room; /* bytes that scales may still be made of, so that a small file cannot ask for much */
} expansion;

#define EXPAND_CHECK(cond, status, e, n, fmt, ...) \
    DT_CHECK(cond, status, "%s: %.80s '%.80s': " fmt, (e)->m->path, (n)->op, dt_onnx_node_name((e)->m, n), __VA_ARGS__)

/* Input k of a node, or -1. */
static int input(const dt_onnx_node *n, int k)
{
    return k >= 0 && k < n->n_in ? n->in[k] : -1;
}

static const form *form_of(const dt_onnx_node *n)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (dt_onnx_is_op(n, forms[i].op) && strcmp(n->domain, forms[i].domain) == 0) return &forms[i];
    }
    return NULL;
}

/* ---- new values and nodes ---- */

/* Adds a value that is called after a node, and as no other. */
static dt_status new_value(expansion *e, const char *name, int *value)
{
    char made[256];
    const int before = e->m->n_values;

    do {
        snprintf(made, sizeof made, "%.200s:%d", name, e->n_names++);
        DT_TRY(dt_onnx_value_of(e->m, made, value));
    } while (e->m->n_values == before);
    return DT_OK;
}

static dt_status new_node(expansion *e, dt_onnx_node **n)
{
    DT_TRY(dt_onnx_grow(e->m->path, (void **)&e->node, e->n_nodes, sizeof *e->node, DT_ONNX_MAX_NODES, "nodes"));
    *n = &e->node[e->n_nodes++];
    **n = (dt_onnx_node){ .name = NULL };
    return DT_OK;
}

/* Gives a quantizer the attribute `axis`. Returns 0 if there is no memory. */
static int set_axis(dt_onnx_node *n, int axis)
{
    n->attribute = calloc(1, sizeof *n->attribute);
    if (!n->attribute) return 0;
    n->attribute[0] =
        (dt_onnx_attribute){ .name = strdup("axis"), .type = DT_ONNX_A_INT, .integer = axis, .tensor = -1 };
    if (!n->attribute[0].name) return 0;
    n->n_attributes = 1;
    return 1;
}

/* Adds a QuantizeLinear or DequantizeLinear that belongs to a node of that name. zero may be -1. */
static dt_status add_quantizer(expansion *e, const char *op, const char *name, const int in[3], int axis, int out)
{
    dt_onnx_node *n = NULL;

    DT_TRY(new_node(e, &n));
    n->op = strdup(op);
    n->name = strdup(name);
    n->domain = strdup("");
    n->in = malloc(3 * sizeof *n->in);
    n->out = malloc(sizeof *n->out);
    const int has_axis = set_axis(n, axis);
    DT_CHECK(n->op && n->name && n->domain && n->in && n->out && has_axis, DT_ERR_MEMORY, "%s: no memory for a node",
             e->m->path);
    memcpy(n->in, in, 3 * sizeof *n->in);
    n->n_in = in[2] < 0 ? 2 : 3;
    n->out[0] = out;
    n->n_out = 1;
    return DT_OK;
}

/* ---- biases ---- */

/* Reads the scales, input k, which are constant. The caller frees *out. */
static dt_status read_scales(expansion *e, const dt_onnx_node *n, int k, float **out, int64_t *count)
{
    const int value = input(n, k), tensor = value >= 0 && value < e->n_facts ? e->fact[value].tensor : -1;
    const dt_onnx_tensor *t = tensor >= 0 ? &e->m->tensor[tensor] : NULL;

    EXPAND_CHECK(t && t->type == DT_ONNX_FLOAT && dt_onnx_count(t) >= 1, DT_ERR_UNSUPPORTED, e, n,
                 "the scale, input %d, is %s; needed is a constant of one FLOAT or more", k,
                 value < 0 ? "missing"
                 : t       ? dt_onnx_type_name(t->type)
                           : "computed");
    *count = dt_onnx_count(t);
    e->room -= *count * (int64_t)sizeof **out;
    EXPAND_CHECK(e->room >= 0, DT_ERR_UNSUPPORTED, e, n, "%" PRId64 " scales are more than a file of its size may have",
                 *count);
    *out = malloc((size_t)*count * sizeof **out);
    DT_CHECK(*out, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " scales", e->m->path, *count);
    const dt_status status = dt_onnx_load(t, *out);
    if (status == DT_OK) return DT_OK;
    free(*out);
    return dt_forward(status, __FILE__, __LINE__);
}

/* Adds the constant scales of a bias: those of the sums, sx sw. */
static dt_status add_sum_scales(expansion *e, const dt_onnx_node *n, const char *name, int *value)
{
    int64_t n_x, n_w;
    float *x, *w;
    int index;

    DT_TRY(new_value(e, name, value));
    DT_TRY(dt_onnx_add_tensor(e->m, &index));
    e->m->value[*value].tensor = index;
    DT_TRY(read_scales(e, n, 1, &x, &n_x));
    const float by = x[0];
    free(x);
    EXPAND_CHECK(n_x == 1, DT_ERR_UNSUPPORTED, e, n, "%" PRId64 " scales, input 1; understood is one", n_x);
    DT_TRY(read_scales(e, n, 4, &w, &n_w));
    for (int64_t i = 0; i < n_w; i++) w[i] *= by;
    dt_onnx_tensor *t = &e->m->tensor[index];
    *t = (dt_onnx_tensor){ .type = DT_ONNX_FLOAT, .n_dims = 1, .dim = { n_w }, .data = w };
    return DT_OK;
}

/* ---- nodes ---- */

/* The axis of the scales of weights, input 1 of the operator of reals: that of the features. */
static int axis_of(const dt_onnx_node *n, const form *f, int k)
{
    const dt_onnx_attribute *turned = dt_onnx_find(n, "transB");

    return k == 1 && (strcmp(f->to, "Conv") == 0 || (turned && turned->integer)) ? 0 : 1;
}

/* Adds a DequantizeLinear of each input, and sets in[0 .. *n_in - 1] to what they make. */
static dt_status add_inputs(expansion *e, const dt_onnx_node *n, const form *f, const char *name, int *in, int *n_in)
{
    const int n_codes = f->n_codes ? f->n_codes : (n->n_in - f->first) / 3;

    for (int k = 0; k < n_codes; k++) {
        const int at = f->first + 3 * k, from[3] = { input(n, at), input(n, at + 1), input(n, at + 2) };
        DT_TRY(new_value(e, name, &in[k]));
        DT_TRY(add_quantizer(e, "DequantizeLinear", name, from, axis_of(n, f, k), in[k]));
    }
    *n_in = n_codes;
    if (input(n, f->bias) < 0) return DT_OK;
    int bias[3] = { n->in[f->bias], -1, -1 };
    DT_TRY(add_sum_scales(e, n, name, &bias[1]));
    DT_TRY(new_value(e, name, &in[n_codes]));
    DT_TRY(add_quantizer(e, "DequantizeLinear", name, bias, 0, in[n_codes]));
    ++*n_in;
    return DT_OK;
}

/* Moves a node to the list, as an operator of reals that reads `in` and makes `out`. */
static dt_status move_as(expansion *e, dt_onnx_node *n, const char *op, const char *name, const int *in, int n_in,
                         int out)
{
    dt_onnx_node *to = NULL;

    DT_TRY(new_node(e, &to));
    *to = *n;
    *n = (dt_onnx_node){ .name = NULL };
    char *own = strdup(name), *of_reals = strdup(op), *domain = strdup("");
    int *list = malloc((size_t)n_in * sizeof *list);
    if (!own || !of_reals || !domain || !list) {
        free(own);
        free(of_reals);
        free(domain);
        free(list);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for a node", e->m->path);
    }
    free(to->name);
    free(to->op);
    free(to->domain);
    free(to->in);
    to->name = own;
    to->op = of_reals;
    to->domain = domain;
    to->in = memcpy(list, in, (size_t)n_in * sizeof *list);
    to->n_in = n_in;
    to->out[0] = out;
    return DT_OK;
}

static dt_status check_form(const expansion *e, const dt_onnx_node *n, const form *f)
{
    const dt_onnx_attribute *last = dt_onnx_find(n, "channels_last");
    const int least = f->n_codes ? 3 * f->n_codes : f->first + 3;

    EXPAND_CHECK(n->n_in >= least && (f->n_codes || (n->n_in - f->first) % 3 == 0), DT_ERR_FORMAT, e, n,
                 "%d inputs; needed are codes, a scale and a zero point of each of %d or more", n->n_in,
                 f->n_codes ? f->n_codes : 1);
    EXPAND_CHECK(!last || last->integer == 0, DT_ERR_UNSUPPORTED, e, n, "channels_last is %" PRId64 "; understood is 0",
                 last->integer);
    EXPAND_CHECK(input(n, f->y) >= 0 || f->bias == f->y - 1, DT_ERR_FORMAT, e, n, "the scale, input %d, is missing",
                 f->y);
    return DT_OK;
}

/* A QGemm without a scale of what it makes gives reals. */
static dt_status expand_form(expansion *e, dt_onnx_node *n, const form *f, const char *name)
{
    const int out = n->out[0], scale = input(n, f->y), zero = input(n, f->y + 1);
    int *in = malloc((size_t)(n->n_in + 1) * sizeof *in), n_in = 0, real = out;

    DT_CHECK(in, DT_ERR_MEMORY, "%s: no memory for %d inputs", e->m->path, n->n_in);
    dt_status status = add_inputs(e, n, f, name, in, &n_in);
    if (status == DT_OK && scale >= 0) status = new_value(e, name, &real);
    if (status == DT_OK) status = move_as(e, n, f->to, name, in, n_in, real);
    free(in);
    DT_TRY(status);
    if (scale < 0) return DT_OK;
    e->fact[out].scale = scale;
    e->fact[out].zero = zero;
    return add_quantizer(e, "QuantizeLinear", name, (int[3]){ real, scale, zero }, 1, out);
}

/* A MaxPool of codes whose grid is known. */
static dt_status expand_maxpool(expansion *e, dt_onnx_node *n, const fact *of, const char *name)
{
    const int out = n->out[0];
    int real, pooled;

    DT_TRY(new_value(e, name, &real));
    DT_TRY(new_value(e, name, &pooled));
    DT_TRY(add_quantizer(e, "DequantizeLinear", name, (int[3]){ n->in[0], of->scale, of->zero }, 1, real));
    DT_TRY(move_as(e, n, "MaxPool", name, &real, 1, pooled));
    return add_quantizer(e, "QuantizeLinear", name, (int[3]){ pooled, of->scale, of->zero }, 1, out);
}

static int keeps_codes(const dt_onnx_node *n)
{
    static const char *const ops[] = { "MaxPool",   "Reshape",  "Flatten",   "Squeeze",
                                       "Unsqueeze", "Identity", "Transpose", NULL };

    return dt_onnx_is_one_of(n, ops);
}

/* Notes what a node says of its output. */
static void note(expansion *e, const dt_onnx_node *n)
{
    fact *out = &e->fact[n->out[0]];
    const int x = input(n, 0);

    if (dt_onnx_is_op(n, "Constant") && n->n_attributes > 0) out->tensor = n->attribute[0].tensor;
    if (dt_onnx_is_op(n, "QuantizeLinear")) {
        out->scale = input(n, 1);
        out->zero = input(n, 2);
    } else if (keeps_codes(n) && x >= 0) {
        out->scale = e->fact[x].scale;
        out->zero = e->fact[x].zero;
    }
}

static dt_status expand_node(expansion *e, dt_onnx_node *n)
{
    const form *f = form_of(n);
    dt_onnx_node *to = NULL;
    char name[256];

    if (n->n_out > 0 && n->out[0] >= 0) {
        snprintf(name, sizeof name, "%s", dt_onnx_node_name(e->m, n));
        note(e, n);
        if (f) {
            DT_TRY(check_form(e, n, f));
            return expand_form(e, n, f, name);
        }
        const fact of = e->fact[n->out[0]];
        if (dt_onnx_is_op(n, "MaxPool") && of.scale >= 0) return expand_maxpool(e, n, &of, name);
    }
    DT_TRY(new_node(e, &to));
    *to = *n;
    *n = (dt_onnx_node){ .name = NULL };
    return DT_OK;
}

static dt_status expand_all(expansion *e)
{
    for (int i = 0; i < e->n_facts; i++) e->fact[i] = (fact){ e->m->value[i].tensor, -1, -1 };
    for (int i = 0; i < e->m->n_nodes; i++) DT_TRY(expand_node(e, &e->m->node[i]));
    return DT_OK;
}

/* What is left in the file's list is empty, or has not been reached. */
static void take_nodes(expansion *e)
{
    dt_onnx *m = e->m;

    for (int i = 0; i < m->n_nodes; i++) dt_onnx_free_node(&m->node[i]);
    free(m->node);
    m->node = e->node;
    m->n_nodes = e->n_nodes;
    for (int i = 0; i < m->n_nodes; i++) {
        const dt_onnx_node *n = &m->node[i];
        for (int k = 0; k < n->n_out; k++) {
            if (n->out[k] >= 0) m->value[n->out[k]].node = i;
        }
    }
}

dt_status dt_onnx_expand(dt_onnx *m)
{
    expansion e = { .m = m, .n_facts = m->n_values, .room = SCALE_ROOM + (int64_t)m->file[0]->bytes };
    int n_forms = 0;

    for (int i = 0; i < m->n_nodes; i++) n_forms += form_of(&m->node[i]) != NULL;
    if (n_forms == 0) return DT_OK;
    e.fact = malloc((size_t)e.n_facts * sizeof *e.fact + 1);
    DT_CHECK(e.fact, DT_ERR_MEMORY, "%s: no memory for %d values", m->path, e.n_facts);
    const dt_status status = expand_all(&e);
    free(e.fact);
    take_nodes(&e);
    return status;
}
