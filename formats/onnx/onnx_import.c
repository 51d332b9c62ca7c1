/*
 * onnx_import.c - what a file is, its ends, and the order of the import. Interface: onnx_import.h.
 */
#include "onnx_import.h"

#include "onnx_codes.h"
#include "onnx_layers.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FOLD_ROOM = 1 << 24 }; /* bytes that may be folded, beside as many as the file has */

/* ---- what a file is ---- */

/* 1 if a value is a constant, or made of constants by a chain of quantizers. */
static int is_fixed(const dt_onnx *m, int value)
{
    for (int depth = 0; value >= 0 && depth < 4; depth++) {
        const dt_onnx_value *v = &m->value[value];
        if (v->tensor >= 0) return 1;
        if (v->node < 0) return 0;
        const dt_onnx_node *n = &m->node[v->node];
        if (dt_onnx_is_op(n, "Constant")) return 1;
        if (n->n_in == 0 || (!dt_onnx_is_op(n, "QuantizeLinear") && !dt_onnx_is_op(n, "DequantizeLinear"))) return 0;
        value = n->in[0];
    }
    return 0;
}

/* What a value is, as far as that says what the network computes on. */
typedef enum { OF_CONSTANTS, REALS, CODES, REALS_OF_CODES } nature;

static nature nature_of(const dt_onnx *m, int value)
{
    return (nature)m->value[value].nature;
}

/* 1 if a node leaves numbers as they are, or takes the largest of some, or limits them. */
static int carries(const dt_onnx_node *n)
{
    static const char *const ops[] = { "Relu",     "Clip",      "MaxPool",   "Flatten", "Reshape", "Squeeze", "Dropout",
                                       "Identity", "Unsqueeze", "Transpose", "Slice",   "Pad",     NULL };

    return dt_onnx_is_one_of(n, ops);
}

/* 1 if a node adds a constant to a product of matrices, as its bias. */
static int adds_bias(const dt_onnx *m, const dt_onnx_node *n)
{
    if (!dt_onnx_is_op(n, "Add") || n->n_in != 2 || n->in[0] < 0 || n->in[1] < 0) return 0;
    const int k = nature_of(m, n->in[0]) == OF_CONSTANTS ? 1 : 0, maker = m->value[n->in[k]].node;
    return nature_of(m, n->in[1 - k]) == OF_CONSTANTS && maker >= 0 && dt_onnx_is_op(&m->node[maker], "MatMul");
}

/* Sets what a node makes. Returns 0 if a network of codes has no such node: it computes with reals that are none of
 * codes, limits codes, or is of another domain. */
static int judge_node(dt_onnx *m, const dt_onnx_node *n)
{
    nature x = OF_CONSTANTS;
    int has_reals = 0;

    for (int k = 0; k < n->n_in; k++) {
        if (n->in[k] < 0 || nature_of(m, n->in[k]) == OF_CONSTANTS) continue;
        if (x == OF_CONSTANTS) x = nature_of(m, n->in[k]);
        has_reals |= nature_of(m, n->in[k]) == REALS;
    }
    for (int k = 0; x != OF_CONSTANTS && k < n->n_out; k++) {
        if (n->out[k] < 0) continue;
        m->value[n->out[k]].nature = dt_onnx_is_op(n, "QuantizeLinear")     ? CODES
                                     : dt_onnx_is_op(n, "DequantizeLinear") ? REALS_OF_CODES
                                                                            : REALS;
        if (carries(n)) m->value[n->out[k]].nature = (int)x;
    }
    if (x == OF_CONSTANTS || dt_onnx_is_op(n, "QuantizeLinear")) return 1;
    if (carries(n)) return !(x == CODES && dt_onnx_is_op(n, "Clip"));
    return (!has_reals || adds_bias(m, n)) && !dt_onnx_is_op(n, "BatchNormalization") && !n->domain[0];
}

/* 1 if all that a network computes with are codes; the image may be made codes, or be codes. */
static int is_all_codes(dt_onnx *m)
{
    for (int i = 0; i < m->n_values; i++) m->value[i].nature = OF_CONSTANTS;
    for (int i = 0; i < m->n_in; i++) {
        m->value[m->in[i].value].nature = m->in[i].type == DT_ONNX_FLOAT ? REALS : CODES;
    }
    for (int i = 0; i < m->n_nodes; i++) {
        if (!judge_node(m, &m->node[i])) return 0;
    }
    return m->n_out < 1 || nature_of(m, m->out[0].value) != REALS;
}

/* 1 if something that is computed is quantized. */
static int has_quantizers(const dt_onnx *m)
{
    for (int i = 0; i < m->n_nodes; i++) {
        const dt_onnx_node *n = &m->node[i];
        const int is_quantizer =
            dt_onnx_is_op(n, "QuantizeLinear") || dt_onnx_is_op(n, "DequantizeLinear") || dt_onnx_quant_layer(n);
        if (is_quantizer && n->n_in > 0 && !is_fixed(m, n->in[0])) return 1;
    }
    return 0;
}

int dt_onnx_is_integer(dt_onnx *m)
{
    return has_quantizers(m) && is_all_codes(m);
}

/* Marks the nodes that the output is made of, and counts who reads what. Nodes come in order, so that one walk from the
 * last is enough. */
static void mark_needed(dt_onnx_import *imp)
{
    const dt_onnx *m = imp->m;

    for (int i = 0; i < m->n_out; i++) imp->n_readers[m->out[i].value]++;
    for (int i = m->n_nodes - 1; i >= 0; i--) {
        const dt_onnx_node *n = &m->node[i];
        for (int k = 0; k < n->n_out; k++) {
            if (n->out[k] >= 0 && imp->n_readers[n->out[k]] > 0) imp->is_needed[i] = 1;
        }
        for (int k = 0; imp->is_needed[i] && k < n->n_in; k++) {
            if (n->in[k] < 0) continue;
            imp->n_readers[n->in[k]]++;
            imp->reader[n->in[k]] = i;
        }
    }
}

/* ---- the ends ---- */

/* 1 if an image of three dimensions is n,c,w: what reads it, but for quantizers, is a layer of such maps. */
static int has_row_of_channels(const dt_onnx_import *imp, int value)
{
    static const char *const layers[] = {
        "Conv", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "BatchNormalization", NULL
    };
    const dt_onnx_node *n = NULL;

    do {
        if (imp->n_readers[value] == 0 || value == imp->m->out[0].value) return 0;
        n = &imp->m->node[imp->reader[value]];
        value = n->out[0];
    } while (dt_onnx_is_op(n, "QuantizeLinear") || dt_onnx_is_op(n, "DequantizeLinear"));
    return dt_onnx_is_one_of(n, layers);
}

/* 1 if all that read the image turn it from N,H,W,C to N,C,H,W at once: so files made of TensorFlow's networks begin.
 */
static int has_channels_last(const dt_onnx_import *imp, int value)
{
    int n = 0;

    for (int i = 0; i < imp->m->n_nodes; i++) {
        const dt_onnx_node *node = &imp->m->node[i];
        const dt_onnx_attribute *order = dt_onnx_find(node, "perm");
        for (int k = 0; imp->is_needed[i] && k < node->n_in; k++) {
            if (node->in[k] != value || dt_onnx_is_op(node, "Shape")) continue;
            if (!dt_onnx_is_op(node, "Transpose") || !order || order->n_ints != 4) return 0;
            if (order->ints[1] != 3 || order->ints[2] != 1 || order->ints[3] != 2) return 0;
            n++;
        }
    }
    return n > 0;
}

static dt_status check_image(const dt_onnx_import *imp, const dt_onnx_end *in)
{
    const dt_onnx *m = imp->m;
    const char *name = m->value[in->value].name;
    const int takes_codes = imp->is_integer && (in->type == DT_ONNX_UINT8 || in->type == DT_ONNX_INT8);

    DT_CHECK(in->type == DT_ONNX_FLOAT || takes_codes, DT_ERR_UNSUPPORTED,
             "%s: the input '%.80s' is %s; understood is FLOAT, and UINT8 or INT8 before a DequantizeLinear", m->path,
             name, dt_onnx_type_name(in->type));
    DT_CHECK(in->n_dims >= 2 && in->n_dims <= 4, DT_ERR_UNSUPPORTED,
             "%s: the input '%.80s' has %d dimensions; understood are n,c,h,w, and n and one or two more", m->path,
             name, in->n_dims);
    DT_CHECK((in->is_free & ~1u) == 0, DT_ERR_UNSUPPORTED,
             "%s: the input '%.80s' has free dimensions (bits %#x); understood is a free batch, bit 0", m->path, name,
             in->is_free);
    int64_t left = DT_VALUE_MOST / DT_FACTS_BATCH;
    for (int k = 0; k < in->n_dims; k++) {
        DT_CHECK(in->dim[k] <= left, DT_ERR_UNSUPPORTED,
                 "%s: the input '%.80s' has %" PRId64 " in dimension %d, more than %d elements in all", m->path, name,
                 in->dim[k], k, DT_VALUE_MOST / DT_FACTS_BATCH);
        left /= in->dim[k];
    }
    return DT_OK;
}

static dt_status add_image(dt_onnx_import *imp)
{
    const dt_onnx *m = imp->m;

    DT_CHECK(m->n_in == 1 && m->n_out == 1, DT_ERR_UNSUPPORTED,
             "%s: %d inputs that are no constants, and %d outputs; a network of one each is understood", m->path,
             m->n_in, m->n_out);
    const dt_onnx_end *in = &m->in[0];
    DT_TRY(check_image(imp, in));
    const int is_turned =
        in->n_dims == 4 ? !has_channels_last(imp, in->value) : in->n_dims == 3 && has_row_of_channels(imp, in->value);
    dt_onnx_place *p = &imp->place[in->value];
    dt_shape shape = { 4, { 1, 1, 1, 1 } };

    for (int k = 1; k < in->n_dims; k++) shape.dim[4 - in->n_dims + k] = in->dim[k];
    if (is_turned)
        shape = (dt_shape){ 4, { 1, in->n_dims == 4 ? in->dim[2] : 1, in->dim[in->n_dims - 1], in->dim[1] } };
    DT_TRY(dt_graph_give(imp->graph, "image", DT_F32, &shape, &imp->graph->image));
    imp->graph->unit_pixels = !m->origin.name[0];
    imp->batch = in->dim[0];
    p->kind = in->type == DT_ONNX_FLOAT ? DT_ONNX_COMPUTED : DT_ONNX_CODES;
    p->value = imp->graph->image;
    p->layout = is_turned ? DT_ONNX_MAP : DT_ONNX_ROW;
    p->n_dims = in->n_dims;
    memcpy(p->dim, in->dim, sizeof p->dim);
    return DT_OK;
}

static dt_status add_scores(dt_onnx_import *imp)
{
    const int last = imp->m->out[0].value;
    const dt_onnx_place *p = &imp->place[last];
    int scores;

    DT_CHECK(p->kind != DT_ONNX_CONSTANT, DT_ERR_UNSUPPORTED,
             "%s: the output '%.80s' is constant; what is made of the input is understood", imp->m->path,
             imp->m->value[last].name);
    DT_TRY(dt_onnx_rows_of(imp, p, &scores));
    if (imp->is_integer) DT_TRY(dt_onnx_make_real(imp, p, &scores));
    if (imp->has_quantizers) DT_TRY(dt_onnx_dequantize(imp, &scores));
    DT_TRY(dt_onnx_flatten(imp, scores, &imp->graph->scores));
    return DT_OK;
}

/* ---- nodes ---- */

static int all_constant(const dt_onnx_import *imp, const dt_onnx_node *n)
{
    int n_given = 0;

    for (int k = 0; k < n->n_in; k++) {
        if (n->in[k] < 0) continue;
        if (imp->place[n->in[k]].kind != DT_ONNX_CONSTANT) return 0;
        n_given++;
    }
    return n_given > 0 || dt_onnx_is_op(n, "Constant");
}

dt_status dt_onnx_call(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_row *row, size_t n_rows)
{
    const dt_onnx_layer shape = dt_onnx_shape_layer(n->op);

    if (shape) return shape(imp, n);
    for (size_t i = 0; i < n_rows; i++) {
        if (strcmp(row[i].op, n->op) == 0) return row[i].add(imp, n);
    }
    DT_ONNX_CHECK(0, DT_ERR_UNSUPPORTED, imp, n,
                  "detent has no operator for it on %s; docs/ONNX.md lists those that it has",
                  imp->is_integer ? "codes" : "reals");
}

static dt_status add_node(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const int is_own = !n->domain[0] || strcmp(n->domain, "ai.onnx") == 0;
    const dt_onnx_layer quant = dt_onnx_quant_layer(n);

    if (quant) return quant(imp, n);
    DT_ONNX_CHECK(is_own, DT_ERR_UNSUPPORTED, imp, n,
                  "an operator of the domain '%.80s'; understood are ONNX's own, "
                  "and Quant, BipolarQuant and Trunc of QONNX",
                  n->domain);
    for (int k = 1; k < n->n_out; k++) {
        DT_ONNX_CHECK(n->out[k] < 0 || imp->n_readers[n->out[k]] == 0, DT_ERR_UNSUPPORTED, imp, n,
                      "output %d is read; understood is the first alone", k);
    }
    const int of_codes = dt_onnx_is_op(n, "Clip") && dt_onnx_is_codes(imp, n);
    if (dt_onnx_is_op(n, "QuantizeLinear") || dt_onnx_is_op(n, "DequantizeLinear") || of_codes)
        return imp->has_quantizers ? dt_onnx_add_real_quantizer(imp, n) : dt_onnx_add_quantizer(imp, n);
    if (all_constant(imp, n) || dt_onnx_is_op(n, "Shape")) return dt_onnx_fold(imp, n);
    return imp->is_integer ? dt_onnx_add_integer(imp, n) : dt_onnx_add_float(imp, n);
}

/* Every node that is needed has a first output, which others may look for. */
static dt_status check_outputs(const dt_onnx_import *imp)
{
    for (int i = 0; i < imp->m->n_nodes; i++) {
        const dt_onnx_node *n = &imp->m->node[i];
        DT_ONNX_CHECK(!imp->is_needed[i] || n->out[0] >= 0, DT_ERR_UNSUPPORTED, imp, n,
                      "the first of its %d outputs has no name; understood is the first alone", n->n_out);
    }
    return DT_OK;
}

static dt_status add_all(dt_onnx_import *imp)
{
    mark_needed(imp);
    DT_TRY(check_outputs(imp));
    DT_TRY(add_image(imp));
    for (int i = 0; i < imp->m->n_nodes; i++) {
        if (imp->is_needed[i] && !imp->is_done[i]) DT_TRY(add_node(imp, &imp->m->node[i]));
    }
    return add_scores(imp);
}

/* Makes the arrays of an import. Returns 0 if there is no memory. */
static int make_arrays(dt_onnx_import *imp)
{
    const dt_onnx *m = imp->m;
    const size_t values = (size_t)m->n_values + 1, nodes = (size_t)m->n_nodes + 1;

    imp->place = calloc(values, sizeof *imp->place);
    imp->n_readers = calloc(values, sizeof *imp->n_readers);
    imp->reader = calloc(values, sizeof *imp->reader);
    imp->is_needed = calloc(nodes, 1);
    imp->is_done = calloc(nodes, 1);
    if (!imp->place || !imp->n_readers || !imp->reader || !imp->is_needed || !imp->is_done) return 0;
    for (int i = 0; i < m->n_values; i++) {
        dt_onnx_place *p = &imp->place[i];
        *p = (dt_onnx_place){ .value = -1, .view = -1, .scale = -1, .quant = -1, .low = -INFINITY, .high = INFINITY };
        p->tensor = m->value[i].tensor;
        p->name = i;
        if (p->tensor < 0) continue;
        p->kind = DT_ONNX_CONSTANT;
        p->n_dims = m->tensor[p->tensor].n_dims;
        memcpy(p->dim, m->tensor[p->tensor].dim, sizeof p->dim);
    }
    return 1;
}

/* The file's name without folders and without ".onnx". */
static void name_graph(const char *path, char name[DT_ONNX_NAME])
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *end = strstr(base, ".onnx");
    size_t n = end ? (size_t)(end - base) : strlen(base), k = 0;

    for (; k < n && k < DT_ONNX_NAME - 1; k++) name[k] = base[k];
    name[k] = '\0';
}

dt_status dt_onnx_graph(dt_onnx *m, dt_graph **out, int *is_integer)
{
    dt_onnx_import imp = { .m = m, .is_integer = !m->as_network && dt_onnx_is_integer(m), .fold_room = FOLD_ROOM };
    char name[DT_ONNX_NAME];

    imp.has_quantizers = !imp.is_integer && has_quantizers(m);
    for (int i = 0; i < m->n_files; i++) imp.fold_room += (int64_t)m->file[i]->bytes;
    name_graph(m->path, name);
    DT_TRY(dt_graph_create(name, &imp.graph));
    const dt_status s =
        make_arrays(&imp) ? add_all(&imp) : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory", m->path);
    free(imp.place);
    free(imp.n_readers);
    free(imp.reader);
    free(imp.is_needed);
    free(imp.is_done);
    free(imp.view);
    free(imp.scale);
    for (int i = 0; i < imp.n_quants; i++) free(imp.quant[i].scale);
    free(imp.quant);
    if (s != DT_OK) {
        dt_graph_destroy(imp.graph);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = imp.graph;
    *is_integer = imp.is_integer;
    return DT_OK;
}
