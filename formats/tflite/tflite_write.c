/*
 * tflite_write.c - writes a TensorFlow Lite file. Interface: tflite.h; places of the fields: tflite_schema.h.
 *
 * Buffer 0 is empty, as the schema wants it, and tensors that are computed share it. A constant has a buffer of its
 * own.
 */
#include "tflite_schema.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(a) ((int)(sizeof(a) / sizeof(a)[0]))

typedef struct {
    dt_flatbuffer_writer w;
    const dt_tflite *m;
    int *code;     /* [n_ops] index of each operator's code in the file */
    int *buffer;   /* [n_tensors] index of each tensor's buffer */
    int64_t *zero; /* room for the zero points of one tensor */
    int n_buffers;
} writer;

static void put_ints(writer *w, size_t from, const int *v, int n)
{
    dt_flatbuffer_put_vector(&w->w, from, v, (size_t)n, sizeof *v, sizeof *v);
}

/* ---- codes and buffers ---- */

/* Sets w->code: operators of one kind and version share a code. Returns their number. */
static int number_codes(writer *w)
{
    const dt_tflite_operator *op = w->m->op;
    int n = 0;

    for (int i = 0; i < w->m->n_ops; i++) {
        int k = 0;
        while (k < i && (op[k].code != op[i].code || op[k].version != op[i].version)) k++;
        w->code[i] = k < i ? w->code[k] : n++;
    }
    return n;
}

static void put_codes(writer *w, size_t from)
{
    const int n = number_codes(w);
    const size_t first = dt_flatbuffer_put_offsets(&w->w, from, (size_t)n);
    int next = 0;

    for (int i = 0; i < w->m->n_ops; i++) {
        if (w->code[i] != next) continue;
        const int code = (int)w->m->op[i].code;
        dt_flatbuffer_member member[] = { { &code_deprecated, code, 0 }, /* all that are understood are below 127 */
                                          { &code_version, w->m->op[i].version, 0 },
                                          { &code_builtin, code, 0 } };
        dt_flatbuffer_put_table(&w->w, first + 4 * (size_t)next, member, LENGTH(member));
        next++;
    }
}

static void number_buffers(writer *w)
{
    w->n_buffers = 1;
    for (int i = 0; i < w->m->n_tensors; i++) w->buffer[i] = w->m->tensor[i].data ? w->n_buffers++ : 0;
}

static void put_buffers(writer *w, size_t from)
{
    const size_t first = dt_flatbuffer_put_offsets(&w->w, from, (size_t)w->n_buffers);

    dt_flatbuffer_put_table(&w->w, first, NULL, 0);
    for (int i = 0; i < w->m->n_tensors; i++) {
        const dt_tflite_tensor *t = &w->m->tensor[i];
        dt_flatbuffer_member member[] = { { &buffer_data, 0, 0 } };

        if (!t->data) continue;
        dt_flatbuffer_put_table(&w->w, first + 4 * (size_t)w->buffer[i], member, LENGTH(member));
        dt_flatbuffer_put_vector(&w->w, member[0].at, t->data, t->bytes, 1, DT_TFLITE_BUFFER_ALIGN);
    }
}

/* ---- tensors ---- */

static void put_quantization(writer *w, size_t from, const dt_tflite_tensor *t)
{
    dt_flatbuffer_member member[] = { { &quant_scale, 0, 0 }, { &quant_zero, 0, 0 }, { &quant_axis, t->axis, 0 } };
    const size_t n = (size_t)t->n_scales;

    for (size_t i = 0; i < n; i++) w->zero[i] = t->zero[i];
    dt_flatbuffer_put_table(&w->w, from, member, LENGTH(member));
    dt_flatbuffer_put_vector(&w->w, member[0].at, t->scale, n, sizeof *t->scale, sizeof *t->scale);
    dt_flatbuffer_put_vector(&w->w, member[1].at, w->zero, n, sizeof *w->zero, sizeof *w->zero);
}

static void put_tensor(writer *w, size_t from, int i)
{
    const dt_tflite_tensor *t = &w->m->tensor[i];
    int dim[DT_TFLITE_MAX_DIMS];
    dt_flatbuffer_member member[7] = { { &tensor_shape, 0, 0 },
                                       { &tensor_type, t->type, 0 },
                                       { &tensor_buffer, w->buffer[i], 0 },
                                       { &tensor_name, 0, 0 },
                                       { &tensor_has_rank, 1, 0 } };
    int n = 5, quantization = 0, signature = 0;

    if (t->n_scales > 0) member[quantization = n++].field = &tensor_quantization;
    if (t->any_batch) member[signature = n++].field = &tensor_signature;
    dt_flatbuffer_put_table(&w->w, from, member, n);
    put_ints(w, member[0].at, t->dim, t->n_dims);
    dt_flatbuffer_put_string(&w->w, member[3].at, t->name ? t->name : "");
    if (quantization) put_quantization(w, member[quantization].at, t);
    if (signature) {
        memcpy(dim, t->dim, sizeof dim);
        dim[0] = -1;
        put_ints(w, member[signature].at, dim, t->n_dims);
    }
}

/* ---- operators ---- */

/* The value of a number among the options, by its place. */
static double option_value(const dt_tflite_options *o, const dt_tflite_option *option)
{
    const char *at = (const char *)o + option->place;
    float real;
    int value;

    if (option->field.type == DT_FLATBUFFER_F32) {
        memcpy(&real, at, sizeof real);
        return (double)real;
    }
    memcpy(&value, at, sizeof value);
    return value;
}

/* A vector of 0 values is left out: that is how the schema says that there is none. */
static void put_options(writer *w, size_t from, int table, const dt_tflite_options *o)
{
    const dt_tflite_option *option = NULL;
    const int n_options = dt_tflite_option_list(table, &option);
    dt_flatbuffer_member member[DT_TFLITE_MAX_OPTIONS];
    int n = 0, shape = -1;

    for (int i = 0; i < n_options; i++) {
        if (!option[i].is_kept) continue;
        if (option[i].field.type == DT_FLATBUFFER_OFFSET) {
            if (o->n_shape == 0) continue;
            shape = n;
            member[n++] = (dt_flatbuffer_member){ &option[i].field, 0, 0 };
        } else {
            member[n++] = (dt_flatbuffer_member){ &option[i].field, option_value(o, &option[i]), 0 };
        }
    }
    dt_flatbuffer_put_table(&w->w, from, member, n);
    if (shape >= 0) put_ints(w, member[shape].at, o->shape, o->n_shape);
}

static void put_operator(writer *w, size_t from, int i)
{
    const dt_tflite_operator *o = &w->m->op[i];
    const int table = dt_tflite_find_op(o->code)->table;
    dt_flatbuffer_member member[] = { { &op_code, w->code[i], 0 },
                                      { &op_inputs, 0, 0 },
                                      { &op_outputs, 0, 0 },
                                      { &op_options_type, table, 0 },
                                      { &op_options, 0, 0 } };

    dt_flatbuffer_put_table(&w->w, from, member, table ? 5 : 3);
    put_ints(w, member[1].at, o->in, o->n_in);
    put_ints(w, member[2].at, &o->out, 1);
    if (table) put_options(w, member[4].at, table, &o->options);
}

/* ---- the file ---- */

static void put_graph(writer *w, size_t from)
{
    const dt_tflite *m = w->m;
    dt_flatbuffer_member member[] = {
        { &graph_tensors, 0, 0 },   { &graph_inputs, 0, 0 }, { &graph_outputs, 0, 0 },
        { &graph_operators, 0, 0 }, { &graph_name, 0, 0 },
    };

    dt_flatbuffer_put_table(&w->w, from, member, LENGTH(member));
    const size_t tensors = dt_flatbuffer_put_offsets(&w->w, member[0].at, (size_t)m->n_tensors);
    for (int i = 0; i < m->n_tensors; i++) put_tensor(w, tensors + 4 * (size_t)i, i);
    put_ints(w, member[1].at, m->in, m->n_in);
    put_ints(w, member[2].at, m->out, m->n_out);
    const size_t operators = dt_flatbuffer_put_offsets(&w->w, member[3].at, (size_t)m->n_ops);
    for (int i = 0; i < m->n_ops; i++) put_operator(w, operators + 4 * (size_t)i, i);
    dt_flatbuffer_put_string(&w->w, member[4].at, "main");
}

static void put_model(writer *w)
{
    dt_flatbuffer_member member[] = {
        { &model_version, DT_TFLITE_SCHEMA_VERSION, 0 },
        { &model_codes, 0, 0 },
        { &model_subgraphs, 0, 0 },
        { &model_description, 0, 0 },
        { &model_buffers, 0, 0 },
    };

    dt_flatbuffer_put_table(&w->w, dt_flatbuffer_begin(&w->w, DT_TFLITE_IDENTIFIER), member, LENGTH(member));
    number_buffers(w);
    put_codes(w, member[1].at);
    put_graph(w, dt_flatbuffer_put_offsets(&w->w, member[2].at, 1));
    dt_flatbuffer_put_string(&w->w, member[3].at, w->m->description ? w->m->description : "");
    put_buffers(w, member[4].at);
}

dt_status dt_tflite_write(const dt_tflite *m, const char *path)
{
    writer w = { .m = m };
    int most_scales = 0;
    dt_status s;

    DT_TRY(dt_tflite_check(m, path, DT_ERR_ARGUMENT));
    for (int i = 0; i < m->n_tensors; i++) {
        if (m->tensor[i].n_scales > most_scales) most_scales = m->tensor[i].n_scales;
    }
    w.code = calloc((size_t)m->n_ops + 1, sizeof *w.code);
    w.buffer = calloc((size_t)m->n_tensors + 1, sizeof *w.buffer);
    w.zero = calloc((size_t)most_scales + 1, sizeof *w.zero);
    if (w.code && w.buffer && w.zero) {
        put_model(&w);
        s = dt_flatbuffer_finish(&w.w, path);
    } else {
        s = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for %d operators", path, m->n_ops);
    }
    free(w.code);
    free(w.buffer);
    free(w.zero);
    DT_TRY(s);
    return DT_OK;
}
