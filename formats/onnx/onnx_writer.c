/*
 * onnx_writer.c - see onnx_writer.h.
 */
#include "onnx_writer.h"

#include "onnx.h"

#include "detent/detent.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_FIRST = 1 };

/* Numbers of fields. */
enum {
    MODEL_IR = 1,
    MODEL_PRODUCER = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_NOTE = 14,
    MODEL_FUNCTION = 25
};
enum { FUNCTION_NAME = 1, FUNCTION_IN = 4, FUNCTION_OUT = 5, FUNCTION_ATTRIBUTE = 6, FUNCTION_NODE = 7 };
enum { FUNCTION_OPSET = 9, FUNCTION_DOMAIN = 10, FUNCTIONS_IR = 8 };
enum { OPSET_DOMAIN = 1, OPSET_VERSION = 2, NOTE_KEY = 1, NOTE_TEXT = 2 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_TENSOR = 5, GRAPH_IN = 11, GRAPH_OUT = 12 };
enum { NODE_IN = 1, NODE_OUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5, NODE_DOMAIN = 7 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_REAL = 2, ATTRIBUTE_INTEGER = 3, ATTRIBUTE_TEXT = 4, ATTRIBUTE_INTEGERS = 8 };
enum { ATTRIBUTE_TYPE = 20, ATTRIBUTE_REFERS = 21 };
enum { TENSOR_DIM = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9 };
enum { END_NAME = 1, END_TYPE = 2, TYPE_TENSOR = 1, TENSOR_TYPE_ELEMENT = 1, TENSOR_TYPE_SHAPE = 2, SHAPE_DIM = 1 };
enum { DIM_NUMBER = 1, DIM_NAME = 2 };
enum { WIRE_VARINT = 0, WIRE_BYTES = 2, WIRE_4 = 5 };

/* ---- bytes ---- */

static void put_bytes(dt_onnx_bytes *b, const void *data, size_t n)
{
    if (b->failed) return;
    if (n > b->room - b->n) {
        const size_t room = 2 * b->room + n + 256;
        unsigned char *more = realloc(b->data, room);
        if (!more) {
            b->failed = 1;
            return;
        }
        b->data = more;
        b->room = room;
    }
    if (n > 0) memcpy(b->data + b->n, data, n);
    b->n += n;
}

static void put_varint(dt_onnx_bytes *b, uint64_t v)
{
    unsigned char byte[10];
    size_t n = 0;

    do {
        byte[n] = (unsigned char)((v & 127) | (v > 127 ? 128 : 0));
        v >>= 7;
        n++;
    } while (v > 0);
    put_bytes(b, byte, n);
}

static void put_integer(dt_onnx_bytes *b, int field, int64_t v)
{
    put_varint(b, (uint64_t)(field << 3 | WIRE_VARINT));
    put_varint(b, (uint64_t)v);
}

static void put_block(dt_onnx_bytes *b, int field, const void *data, size_t n)
{
    put_varint(b, (uint64_t)(field << 3 | WIRE_BYTES));
    put_varint(b, n);
    put_bytes(b, data, n);
}

static void put_text(dt_onnx_bytes *b, int field, const char *text)
{
    put_block(b, field, text, strlen(text));
}

/* Puts a message into another one, and frees it. */
static void put_message(dt_onnx_bytes *b, int field, dt_onnx_bytes *message)
{
    put_block(b, field, message->data, message->n);
    b->failed |= message->failed;
    free(message->data);
    *message = (dt_onnx_bytes){ 0 };
}

/* ---- nodes ---- */

static int type_of(const dt_onnx_new_attribute *a)
{
    if (a->text) return DT_ONNX_A_STRING;
    return a->is_real ? DT_ONNX_A_FLOAT : a->n > 0 ? DT_ONNX_A_INTS : DT_ONNX_A_INT;
}

static void put_attribute(dt_onnx_bytes *node, const dt_onnx_new_attribute *a)
{
    dt_onnx_bytes b = { 0 };

    put_text(&b, ATTRIBUTE_NAME, a->name);
    if (a->of_function) {
        put_text(&b, ATTRIBUTE_REFERS, a->of_function);
    } else if (a->text) {
        put_text(&b, ATTRIBUTE_TEXT, a->text);
    } else if (a->is_real) {
        put_varint(&b, ATTRIBUTE_REAL << 3 | WIRE_4);
        put_bytes(&b, &a->real, sizeof a->real);
    } else if (a->n == 0) {
        put_integer(&b, ATTRIBUTE_INTEGER, a->integer);
    }
    for (int i = 0; i < a->n; i++) put_integer(&b, ATTRIBUTE_INTEGERS, a->integers[i]);
    put_integer(&b, ATTRIBUTE_TYPE, type_of(a));
    put_message(node, NODE_ATTRIBUTE, &b);
}

static void put_node(dt_onnx_bytes *to, int field, const dt_onnx_new_node *n)
{
    dt_onnx_bytes b = { 0 };

    for (int k = 0; k < n->n_in; k++) put_text(&b, NODE_IN, n->in[k]);
    put_text(&b, NODE_OUT, n->out);
    put_text(&b, NODE_NAME, n->out);
    put_text(&b, NODE_OP, n->op);
    for (int k = 0; k < n->n_attributes; k++) put_attribute(&b, &n->attribute[k]);
    if (n->domain) put_text(&b, NODE_DOMAIN, n->domain);
    put_message(to, field, &b);
}

void dt_onnx_put_node(dt_onnx_writer *w, const dt_onnx_new_node *n)
{
    w->has_quant |= n->domain != NULL;
    put_node(&w->nodes, GRAPH_NODE, n);
}

/* ---- Quant ---- */

/* What Quant is, so that an engine which does not know it computes it: half to even, as all that is written here.
 *   y = (round(limit(x / scale + zero)) - zero) * scale, to signed ? -2^(bits-1) + narrow .. 2^(bits-1) - 1
 *                                                               : 0 .. 2^bits - 1 - narrow */
static void put_quant_nodes(dt_onnx_bytes *function)
{
    static const struct {
        const char *op, *in[2], *out;
    } steps[] = {
        { "Sub", { "bits", "signed" }, "exponent" }, { "Pow", { "two", "exponent" }, "power" },
        { "Sub", { "power", "one" }, "largest" },    { "Sub", { "one", "signed" }, "unsigned" },
        { "Mul", { "narrow", "unsigned" }, "less" }, { "Sub", { "largest", "less" }, "high" },
        { "Sub", { "narrow", "power" }, "least" },   { "Mul", { "least", "signed" }, "low" },
        { "Div", { "x", "scale" }, "steps" },        { "Add", { "steps", "zero" }, "shifted" },
        { "Max", { "shifted", "low" }, "above" },    { "Min", { "above", "high" }, "limited" },
        { "Round", { "limited" }, "integer" },       { "Sub", { "integer", "zero" }, "code" },
        { "Mul", { "code", "scale" }, "y" },
    };
    static const char *const attributes[] = { "signed", "narrow" };
    static const char *const integers[] = { "signed.integer", "narrow.integer" };

    for (int i = 0; i < 2; i++) {
        const char *of = attributes[i], *name = i == 0 ? "one" : "two";
        put_node(function, FUNCTION_NODE,
                 &(dt_onnx_new_node){ .op = "Constant",
                                      .out = name,
                                      .attribute = { { .name = "value_float", .is_real = 1, .real = (float)i + 1 } },
                                      .n_attributes = 1 });
        put_node(function, FUNCTION_NODE,
                 &(dt_onnx_new_node){ .op = "Constant",
                                      .out = integers[i],
                                      .attribute = { { .name = "value_int", .of_function = of } },
                                      .n_attributes = 1 });
        put_node(function, FUNCTION_NODE,
                 &(dt_onnx_new_node){ .op = "Cast",
                                      .in = { integers[i] },
                                      .n_in = 1,
                                      .out = of,
                                      .attribute = { { .name = "to", .integer = DT_ONNX_FLOAT } },
                                      .n_attributes = 1 });
    }
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        const dt_onnx_new_node n = { .op = steps[i].op,
                                     .in = { steps[i].in[0], steps[i].in[1] },
                                     .n_in = steps[i].in[1] ? 2 : 1,
                                     .out = steps[i].out };
        put_node(function, FUNCTION_NODE, &n);
    }
}

static void put_opset(dt_onnx_bytes *b, int field, const char *domain, int version)
{
    dt_onnx_bytes set = { 0 };

    if (domain) put_text(&set, OPSET_DOMAIN, domain);
    put_integer(&set, OPSET_VERSION, version);
    put_message(b, field, &set);
}

static void put_quant_function(dt_onnx_bytes *model, int opset)
{
    static const char *const in[] = { "x", "scale", "zero", "bits" }, *const attributes[] = { "signed", "narrow",
                                                                                              "rounding_mode" };
    dt_onnx_bytes b = { 0 };

    put_text(&b, FUNCTION_NAME, "Quant");
    for (int i = 0; i < 4; i++) put_text(&b, FUNCTION_IN, in[i]);
    put_text(&b, FUNCTION_OUT, "y");
    for (int i = 0; i < 3; i++) put_text(&b, FUNCTION_ATTRIBUTE, attributes[i]);
    put_quant_nodes(&b);
    put_opset(&b, FUNCTION_OPSET, NULL, opset);
    put_text(&b, FUNCTION_DOMAIN, DT_ONNX_QONNX_DOMAIN);
    put_message(model, MODEL_FUNCTION, &b);
}

/* ---- tensors and ends ---- */

void dt_onnx_put_tensor(dt_onnx_writer *w, const dt_onnx_new_tensor *t)
{
    size_t bytes = dt_onnx_type_bytes(t->type);
    dt_onnx_bytes b = { 0 };

    for (int k = 0; k < t->n_dims; k++) {
        put_integer(&b, TENSOR_DIM, t->dim[k]);
        bytes *= (size_t)t->dim[k];
    }
    put_integer(&b, TENSOR_TYPE, t->type);
    put_text(&b, TENSOR_NAME, t->name);
    put_block(&b, TENSOR_RAW, t->data, bytes);
    put_message(&w->tensors, GRAPH_TENSOR, &b);
}

static void put_dim(dt_onnx_bytes *shape, int64_t size)
{
    dt_onnx_bytes b = { 0 };

    if (size > 0)
        put_integer(&b, DIM_NUMBER, size);
    else
        put_text(&b, DIM_NAME, "batch");
    put_message(shape, SHAPE_DIM, &b);
}

static void put_end(dt_onnx_bytes *to, int field, const char *name, int n_dims, const int64_t *dim)
{
    dt_onnx_bytes end = { 0 }, type = { 0 }, tensor = { 0 }, shape = { 0 };

    put_dim(&shape, 0);
    for (int k = 0; k < n_dims - BATCH_FIRST; k++) put_dim(&shape, dim[k]);
    put_integer(&tensor, TENSOR_TYPE_ELEMENT, DT_ONNX_FLOAT);
    put_message(&tensor, TENSOR_TYPE_SHAPE, &shape);
    put_message(&type, TYPE_TENSOR, &tensor);
    put_text(&end, END_NAME, name);
    put_message(&end, END_TYPE, &type);
    put_message(to, field, &end);
}

void dt_onnx_put_input(dt_onnx_writer *w, const char *name, int n_dims, const int64_t *dim)
{
    put_end(&w->ins, GRAPH_IN, name, n_dims, dim);
}

void dt_onnx_put_output(dt_onnx_writer *w, const char *name, int n_dims, const int64_t *dim)
{
    put_end(&w->outs, GRAPH_OUT, name, n_dims, dim);
}

void dt_onnx_put_note(dt_onnx_writer *w, const char *key, const char *text)
{
    dt_onnx_bytes b = { 0 };

    put_text(&b, NOTE_KEY, key);
    put_text(&b, NOTE_TEXT, text);
    put_message(&w->notes, MODEL_NOTE, &b);
}

/* ---- the file ---- */

static void put_all(dt_onnx_bytes *b, const dt_onnx_bytes *part)
{
    b->failed |= part->failed;
    put_bytes(b, part->data, part->n);
}

/* The IR version with which an opset came. */
static int ir_version_of(int opset)
{
    return opset <= 14 ? 7 : opset <= 18 ? 8 : opset <= 20 ? 9 : 10;
}

static void put_model(dt_onnx_bytes *b, const dt_onnx_writer *w, const char *name, int opset)
{
    const int ir = ir_version_of(opset);
    dt_onnx_bytes graph = { 0 };

    put_all(&graph, &w->nodes);
    put_text(&graph, GRAPH_NAME, name);
    put_all(&graph, &w->tensors);
    put_all(&graph, &w->ins);
    put_all(&graph, &w->outs);
    put_integer(b, MODEL_IR, w->has_quant && ir < FUNCTIONS_IR ? (int)FUNCTIONS_IR : ir);
    put_text(b, MODEL_PRODUCER, "detent");
    put_text(b, MODEL_PRODUCER_VERSION, DT_VERSION);
    put_message(b, MODEL_GRAPH, &graph);
    put_opset(b, MODEL_OPSET, NULL, opset);
    if (w->has_quant) put_opset(b, MODEL_OPSET, DT_ONNX_QONNX_DOMAIN, 1);
    put_all(b, &w->notes);
    if (w->has_quant) put_quant_function(b, opset);
}

dt_status dt_onnx_write(const dt_onnx_writer *w, const char *name, int opset, const char *path)
{
    dt_onnx_bytes b = { 0 };

    DT_CHECK(opset >= DT_ONNX_OPSET_LEAST && opset <= DT_ONNX_OPSET_MOST, DT_ERR_ARGUMENT,
             "opset %d: files are written of %d to %d", opset, DT_ONNX_OPSET_LEAST, DT_ONNX_OPSET_MOST);
    put_model(&b, w, name, opset);
    const dt_status status = b.failed ? dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for the file", path)
                                      : dt_file_replace(path, b.data, b.n);
    free(b.data);
    DT_TRY(status);
    return DT_OK;
}

void dt_onnx_writer_free(dt_onnx_writer *w)
{
    free(w->nodes.data);
    free(w->tensors.data);
    free(w->ins.data);
    free(w->outs.data);
    free(w->notes.data);
    *w = (dt_onnx_writer){ 0 };
}
