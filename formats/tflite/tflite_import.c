/*
 * tflite_import.c - see tflite_import.h.
 */
#include "tflite_import.h"

#include "../layer_name.h"
#include "tflite_layers.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

/* The word of TensorFlow's operator in the names of tensors, which marks the part that names the layer. */
static const struct {
    dt_tflite_code code;
    const char *word;
} words[] = {
    { DT_TFLITE_CONV_2D, "/Conv2D" },
    { DT_TFLITE_DEPTHWISE_CONV_2D, "/depthwise" },
    { DT_TFLITE_FULLY_CONNECTED, "/MatMul" },
};

/* Names that converters give to a file's ends and to what they add; they say nothing. */
static const char *const empty_names[] = { "StatefulPartitionedCall", "PartitionedCall", "Identity", "tfl.",
                                           "serving_default" };

/* The part of "a/b/Relu;a/b_bn/Norm;a/b/Conv2D" that has the word; else the first part. Returns its length. */
static size_t find_part(const char *whole, const char *word, const char **part)
{
    const char *at = word ? strstr(whole, word) : NULL;

    if (!at) at = whole;
    while (at > whole && at[-1] != ';') at--;
    *part = at;
    return strcspn(at, ";");
}

/* Cuts the network's name off the front and the operator's off the end: "net/block/conv/Conv2D" is "block/conv". */
static size_t cut_ends(const char **part, size_t n)
{
    const char *first = memchr(*part, '/', n), *last = *part + n;

    if (!first) return n;
    while (last[-1] != '/') last--;
    last--;
    if (first < last) *part = first + 1;
    return (size_t)(last - *part);
}

static int is_empty_name(const char *part, size_t n)
{
    for (size_t i = 0; i < sizeof empty_names / sizeof empty_names[0]; i++) {
        const size_t length = strlen(empty_names[i]);
        if (n >= length && memcmp(part, empty_names[i], length) == 0) return 1;
    }
    return n == 0;
}

/* Names the layer that an operator makes, as no value of the graph is named. */
static void name_layer(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const char *part, *word = NULL, *op = dt_tflite_op_name((int)o->code);
    char base[DT_TFLITE_NAME - 16];

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].code == o->code) word = words[i].word;
    }
    size_t n = find_part(dt_tflite_out(imp, o)->name, word, &part);
    n = cut_ends(&part, n);
    dt_layer_name_copy(base, sizeof base, part, n, '.');
    if (is_empty_name(part, n)) {
        dt_layer_name_copy(base, sizeof base, op, strlen(op), '.');
        for (char *c = base; *c; c++) *c = (char)tolower((unsigned char)*c);
    }
    dt_layer_name(imp->graph, base, imp->name, sizeof imp->name);
}

/* The file's name without folders and without ".tflite". */
static void name_graph(const char *path, char name[DT_TFLITE_NAME])
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *end = strstr(base, ".tflite");

    dt_layer_name_copy(name, DT_TFLITE_NAME, base, end ? (size_t)(end - base) : strlen(base), '.');
}

/* ---- the file ---- */

/* QUANTIZE and DEQUANTIZE stand at the ends of an integer file. */
static int is_end(const dt_tflite_operator *o)
{
    return o->code == DT_TFLITE_QUANTIZE || o->code == DT_TFLITE_DEQUANTIZE;
}

/* All operators compute on reals, or all on int8 codes. */
static dt_status find_kind(const dt_tflite_import *imp, int *is_integer)
{
    int n[2] = { 0, 0 };

    for (int i = 0; i < imp->m->n_ops; i++) {
        const dt_tflite_operator *o = &imp->m->op[i];
        const dt_tflite_type type = dt_tflite_out(imp, o)->type;
        if (is_end(o)) continue;
        DT_TFLITE_CHECK(type == DT_TFLITE_FLOAT32 || type == DT_TFLITE_INT8, DT_ERR_UNSUPPORTED, imp, o,
                        "it makes %s; understood are FLOAT32 and INT8", dt_tflite_type_name((int)type));
        n[type == DT_TFLITE_INT8]++;
        DT_TFLITE_CHECK(n[0] == 0 || n[1] == 0, DT_ERR_UNSUPPORTED, imp, o,
                        "it makes %s, and operators before it do not; a network of both is not understood",
                        dt_tflite_type_name((int)type));
    }
    DT_CHECK(n[0] + n[1] > 0, DT_ERR_UNSUPPORTED, "%s: none of its %d operators computes anything", imp->path,
             imp->m->n_ops);
    *is_integer = n[1] > 0;
    return DT_OK;
}

/* The image is the map 1,H,W,C, or 1,1,1,n for a file that takes n numbers. */
static dt_status add_image(dt_tflite_import *imp)
{
    const dt_tflite_tensor *t = &imp->m->tensor[imp->m->in[0]];
    dt_shape shape = { 4, { 1, 1, 1, 1 } };

    DT_CHECK(imp->m->n_in == 1 && imp->m->n_out == 1, DT_ERR_UNSUPPORTED,
             "%s: %d inputs and %d outputs; a network of one each is understood", imp->path, imp->m->n_in,
             imp->m->n_out);
    DT_CHECK((t->n_dims == 4 || t->n_dims == 2) && t->dim[0] == 1, DT_ERR_UNSUPPORTED,
             "%s: the input '%.80s' has %d dimensions, the first %d; understood are 1,h,w,c and 1,n", imp->path,
             t->name, t->n_dims, t->n_dims > 0 ? t->dim[0] : 0);
    for (int k = 1; k < t->n_dims; k++) shape.dim[4 - t->n_dims + k] = t->dim[k];
    DT_TRY(dt_graph_give(imp->graph, "image", DT_F32, &shape, &imp->graph->image));
    imp->graph->unit_pixels = 1;
    imp->value[imp->m->in[0]] = imp->graph->image;
    return DT_OK;
}

static dt_status add_all(dt_tflite_import *imp, int *is_integer)
{
    DT_TRY(find_kind(imp, is_integer));
    const dt_tflite_tensor *image = &imp->m->tensor[imp->m->in[0]];
    DT_TRY(add_image(imp));
    DT_CHECK(*is_integer || image->type == DT_TFLITE_FLOAT32, DT_ERR_UNSUPPORTED,
             "%s: the input '%.80s' is %s, and the network computes on reals; understood is FLOAT32", imp->path,
             image->name, dt_tflite_type_name((int)image->type));
    if (*is_integer) DT_TRY(dt_tflite_begin_integer(imp));
    for (int i = 0; i < imp->m->n_ops; i++) {
        const dt_tflite_operator *o = &imp->m->op[i];
        name_layer(imp, o);
        DT_TRY(*is_integer ? dt_tflite_add_integer(imp, o) : dt_tflite_add_float(imp, o));
    }
    const int last = imp->m->out[0];
    DT_CHECK(imp->value[last] >= 0 && imp->padded[last] < 0, DT_ERR_UNSUPPORTED,
             "%s: the output '%.80s' is constant or a PAD; what a layer makes is understood", imp->path,
             imp->m->tensor[last].name);
    if (*is_integer) DT_TRY(dt_tflite_end_integer(imp));
    DT_TRY(dt_tflite_flatten(imp, last, &imp->graph->scores));
    return DT_OK;
}

/* Makes the arrays of an import. Returns 0 if there is no memory. */
static int make_arrays(dt_tflite_import *imp)
{
    int **array[] = { &imp->value, &imp->flat, &imp->padded, &imp->scale };
    const size_t n = (size_t)imp->m->n_tensors;

    for (int i = 0; i < 4; i++) {
        *array[i] = malloc((n + 1) * sizeof **array[i]);
        if (!*array[i]) return 0;
        for (size_t k = 0; k < n; k++) (*array[i])[k] = -1;
    }
    return 1;
}

dt_status dt_tflite_graph(const dt_tflite *m, const char *path, dt_graph **out, int *is_integer)
{
    dt_tflite_import imp = { .m = m, .path = path };
    char name[DT_TFLITE_NAME];
    int integer = 0;

    DT_TRY(dt_tflite_check(m, path, DT_ERR_FORMAT));
    name_graph(path, name);
    DT_TRY(dt_graph_create(name, &imp.graph));
    dt_status s = make_arrays(&imp) ? add_all(&imp, &integer)
                                    : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory", path);
    free(imp.value);
    free(imp.flat);
    free(imp.padded);
    free(imp.scale);
    if (s != DT_OK) {
        dt_graph_destroy(imp.graph);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = imp.graph;
    *is_integer = integer;
    return DT_OK;
}
