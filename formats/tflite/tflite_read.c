/*
 * tflite_read.c - reads a TensorFlow Lite file. Interface: tflite.h; places of the fields: tflite_schema.h.
 */
#include "tflite_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are copied as they are in the file");
_Static_assert(sizeof(int) == 4, "vectors of the file's 32-bit integers are copied to arrays of int");

/* The fused activation between RELU and RELU6: RELU_N1_TO_1. */
enum { NOT_UNDERSTOOD = 2 };

typedef struct {
    dt_flatbuffer file;
    dt_flatbuffer_table root, graph;
    dt_flatbuffer_vector codes, buffers;
    dt_tflite *m;
} reader;

/* Copies the n elements of a vector, of that many bytes each, into an array from malloc. */
static dt_status copy_vector(const dt_flatbuffer_vector *v, size_t element_bytes, void **out)
{
    void *copy = malloc(v->n * element_bytes + 1);

    DT_CHECK(copy, DT_ERR_MEMORY, "%s: no memory for %zu bytes", v->of->file->path, v->n * element_bytes);
    if (v->n > 0) memcpy(copy, v->data, v->n * element_bytes);
    *out = copy;
    return DT_OK;
}

/* Reads a vector of integers into an array from malloc. */
static dt_status read_ints(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, int **out, int *n)
{
    dt_flatbuffer_vector v;
    void *copy = NULL;

    DT_TRY(dt_flatbuffer_look(t, f, sizeof **out, &v));
    DT_TRY(copy_vector(&v, sizeof **out, &copy));
    *out = copy;
    *n = (int)v.n;
    return DT_OK;
}

/* Reads a vector of at most DT_TFLITE_MAX_DIMS integers. */
static dt_status read_dims(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, int *dim, int *n)
{
    dt_flatbuffer_vector v;

    DT_TRY(dt_flatbuffer_look(t, f, sizeof *dim, &v));
    DT_CHECK(v.n <= DT_TFLITE_MAX_DIMS, DT_ERR_UNSUPPORTED, "%s: %s.%s: %zu dimensions, at most %d are understood",
             t->file->path, t->place, f->name, v.n, DT_TFLITE_MAX_DIMS);
    if (v.n > 0) memcpy(dim, v.data, v.n * sizeof *dim);
    *n = (int)v.n;
    return DT_OK;
}

/* Refuses a table or a vector that is there, unless it is an empty vector. */
static dt_status refuse(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, const char *what)
{
    dt_flatbuffer_vector v;

    DT_TRY(dt_flatbuffer_look(t, f, 1, &v));
    DT_CHECK(v.n == 0, DT_ERR_UNSUPPORTED, "%s: %s.%s: %s not understood", t->file->path, t->place, f->name, what);
    return DT_OK;
}

/* Reads an integer field that fits an int. */
static dt_status read_int(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, int *out)
{
    int64_t v;

    DT_TRY(dt_flatbuffer_integer(t, f, &v));
    *out = (int)v;
    return DT_OK;
}

/* ---- tensors ---- */

/* The shape as a signature has -1 where a size is free. */
static dt_status read_shape(const dt_flatbuffer_table *t, dt_tflite_tensor *to)
{
    int free_dim[DT_TFLITE_MAX_DIMS], n;

    DT_TRY(read_dims(t, &tensor_shape, to->dim, &to->n_dims));
    DT_TRY(read_dims(t, &tensor_signature, free_dim, &n));
    DT_CHECK(n == 0 || n == to->n_dims, DT_ERR_FORMAT, "%s: %s.shape_signature: %d dimensions, its shape has %d",
             t->file->path, t->place, n, to->n_dims);
    for (int k = 0; k < n; k++) {
        DT_CHECK(free_dim[k] == to->dim[k] || (k == 0 && free_dim[k] == -1), DT_ERR_UNSUPPORTED,
                 "%s: %s.shape_signature[%d] is %d, its shape has %d; only a free first dimension is understood",
                 t->file->path, t->place, k, free_dim[k], to->dim[k]);
    }
    to->any_batch = n > 0 && free_dim[0] == -1;
    return DT_OK;
}

/* The zero points are 64-bit numbers in the file. */
static dt_status read_zeros(const dt_flatbuffer_table *q, dt_tflite_tensor *to)
{
    dt_flatbuffer_vector v;

    DT_TRY(dt_flatbuffer_look(q, &quant_zero, sizeof(int64_t), &v));
    DT_CHECK(v.n == (size_t)to->n_scales, DT_ERR_FORMAT, "%s: %s.zero_point: %zu of them, there are %d scales",
             q->file->path, q->place, v.n, to->n_scales);
    to->zero = calloc(v.n + 1, sizeof *to->zero);
    DT_CHECK(to->zero, DT_ERR_MEMORY, "%s: no memory for %zu zero points", q->file->path, v.n);
    for (size_t k = 0; k < v.n; k++) {
        int64_t zero;
        memcpy(&zero, v.data + k * sizeof zero, sizeof zero);
        DT_CHECK(zero >= INT32_MIN && zero <= INT32_MAX, DT_ERR_FORMAT,
                 "%s: %s.zero_point[%zu] is %" PRId64 ", it must fit 32 bits", q->file->path, q->place, k, zero);
        to->zero[k] = (int32_t)zero;
    }
    return DT_OK;
}

static dt_status read_quantization(const dt_flatbuffer_table *t, dt_tflite_tensor *to)
{
    dt_flatbuffer_table q;
    dt_flatbuffer_vector v;
    int is_there, unused;
    void *scale = NULL;

    DT_TRY(dt_flatbuffer_child(t, &tensor_quantization, &q, &is_there));
    if (!is_there) return DT_OK;
    DT_TRY(read_int(&q, &quant_details_type, &unused));
    DT_TRY(dt_flatbuffer_look(&q, &quant_scale, sizeof *to->scale, &v));
    if (v.n == 0) return DT_OK;
    DT_TRY(copy_vector(&v, sizeof *to->scale, &scale));
    to->scale = scale;
    to->n_scales = (int)v.n;
    DT_TRY(read_int(&q, &quant_axis, &to->axis));
    if (to->n_scales == 1) to->axis = 0;
    DT_TRY(read_zeros(&q, to));
    return DT_OK;
}

static dt_status read_data(const reader *r, const dt_flatbuffer_table *t, dt_tflite_tensor *to)
{
    dt_flatbuffer_table buffer;
    dt_flatbuffer_vector v;
    int64_t index, outside;

    DT_TRY(dt_flatbuffer_integer(t, &tensor_buffer, &index));
    DT_CHECK(index < (int64_t)r->buffers.n, DT_ERR_FORMAT, "%s: %s.buffer is %" PRId64 ", the file has %zu buffers",
             t->file->path, t->place, index, r->buffers.n);
    DT_TRY(dt_flatbuffer_child_at(&r->buffers, (size_t)index, &buffer));
    DT_TRY(dt_flatbuffer_integer(&buffer, &buffer_offset, &outside));
    DT_TRY(dt_flatbuffer_integer(&buffer, &buffer_size, &outside));
    DT_TRY(dt_flatbuffer_look(&buffer, &buffer_data, 1, &v));
    if (v.n == 0) return DT_OK;
    DT_TRY(copy_vector(&v, 1, &to->data));
    to->bytes = v.n;
    return DT_OK;
}

static dt_status read_tensor(const reader *r, const dt_flatbuffer_table *t, dt_tflite_tensor *to)
{
    dt_flatbuffer_table sparsity;
    int type = 0, unused, is_sparse;

    DT_TRY(dt_flatbuffer_string(t, &tensor_name, &to->name));
    DT_TRY(read_int(t, &tensor_type, &type));
    DT_CHECK(dt_tflite_known_type(type) > 0, DT_ERR_UNSUPPORTED, "%s: %s.type: %s (%d) of '%.80s' is not understood",
             t->file->path, t->place, dt_tflite_type_name(type), type, to->name);
    to->type = (dt_tflite_type)type;
    DT_TRY(read_int(t, &tensor_variable, &unused));
    DT_TRY(read_int(t, &tensor_has_rank, &unused));
    DT_TRY(read_int(t, &tensor_external, &unused));
    DT_TRY(refuse(t, &tensor_variants, "variants are"));
    DT_TRY(dt_flatbuffer_child(t, &tensor_sparsity, &sparsity, &is_sparse));
    DT_CHECK(!is_sparse, DT_ERR_UNSUPPORTED, "%s: %s.sparsity: sparse data of '%.80s' are not understood",
             t->file->path, t->place, to->name);
    DT_TRY(read_shape(t, to));
    DT_TRY(read_quantization(t, to));
    DT_TRY(read_data(r, t, to));
    return DT_OK;
}

/* ---- operators ---- */

/* The member of dt_tflite_options at a place. */
static void *member_at(dt_tflite_options *o, size_t place)
{
    return (char *)o + place;
}

static dt_status read_options(const dt_flatbuffer_table *t, int table, dt_tflite_options *to)
{
    const dt_tflite_option *option;
    const int n = dt_tflite_option_list(table, &option);

    for (int i = 0; i < n; i++) {
        const dt_flatbuffer_field *f = &option[i].field;
        int value = 0;

        if (f->type == DT_FLATBUFFER_OFFSET) {
            DT_TRY(read_dims(t, f, to->shape, &to->n_shape));
        } else if (f->type == DT_FLATBUFFER_F32) {
            DT_TRY(dt_flatbuffer_float(t, f, member_at(to, option[i].place)));
        } else {
            DT_TRY(read_int(t, f, &value));
            if (option[i].is_kept) memcpy(member_at(to, option[i].place), &value, sizeof value);
        }
    }
    DT_CHECK(to->fused != NOT_UNDERSTOOD, DT_ERR_UNSUPPORTED,
             "%s: %s.fused_activation_function: RELU_N1_TO_1 is not understood, but NONE, RELU and RELU6 are",
             t->file->path, t->place);
    return DT_OK;
}

static dt_status read_union(const dt_flatbuffer_table *t, const dt_tflite_op *op, dt_tflite_options *to)
{
    dt_flatbuffer_table options;
    int type = 0, is_there, unused;

    DT_TRY(read_int(t, &op_options_2_type, &unused));
    DT_TRY(read_int(t, &op_options_type, &type));
    DT_CHECK(type == 0 || type == op->table, DT_ERR_FORMAT,
             "%s: %s.builtin_options_type is %d, options of %s are of type %d", t->file->path, t->place, type, op->name,
             op->table);
    DT_TRY(dt_flatbuffer_child(t, &op_options, &options, &is_there));
    if (!is_there || type == 0) { /* a table without fields stands for it: all are missing */
        options = *t;
        options.vtable_bytes = 0;
    }
    DT_TRY(read_options(&options, op->table, to));
    return DT_OK;
}

/* The code is in one of two fields: the older has 7 bits. */
static dt_status read_code(const reader *r, const dt_flatbuffer_table *t, const dt_tflite_op **op, int *version)
{
    dt_flatbuffer_table c;
    int64_t index, older, code;
    char *custom = NULL;

    DT_TRY(dt_flatbuffer_integer(t, &op_code, &index));
    DT_CHECK(index < (int64_t)r->codes.n, DT_ERR_FORMAT, "%s: %s.opcode_index is %" PRId64 ", the file has %zu codes",
             t->file->path, t->place, index, r->codes.n);
    DT_TRY(dt_flatbuffer_child_at(&r->codes, (size_t)index, &c));
    DT_TRY(dt_flatbuffer_integer(&c, &code_deprecated, &older));
    DT_TRY(dt_flatbuffer_integer(&c, &code_builtin, &code));
    DT_TRY(read_int(&c, &code_version, version));
    if (older > code) code = older;
    *op = dt_tflite_find_op(code);
    if (*op) return DT_OK;
    DT_TRY(dt_flatbuffer_string(&c, &code_custom, &custom));
    const dt_status s =
        dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__, "%s: %s: %s (%" PRId64 ") %.80s is not understood",
                 t->file->path, t->place, dt_tflite_op_name((int)code), code, custom);
    free(custom);
    return s;
}

static dt_status read_operator(const reader *r, const dt_flatbuffer_table *t, dt_tflite_operator *to)
{
    const dt_tflite_op *op;
    dt_flatbuffer_vector out;

    DT_TRY(read_code(r, t, &op, &to->version));
    to->code = op->code;
    DT_TRY(read_ints(t, &op_inputs, &to->in, &to->n_in));
    DT_TRY(dt_flatbuffer_look(t, &op_outputs, sizeof to->out, &out));
    DT_CHECK(out.n == 1, DT_ERR_FORMAT, "%s: %s.outputs: %zu of them, %s has 1", t->file->path, t->place, out.n,
             op->name);
    memcpy(&to->out, out.data, sizeof to->out);
    DT_TRY(read_union(t, op, &to->options));
    return DT_OK;
}

/* ---- the file ---- */

/* Makes an array for a vector of tables, and sets *n to its length. */
static dt_status make_array(const reader *r, const dt_flatbuffer_vector *v, size_t element_bytes, void *array, int *n)
{
    void *made = calloc(v->n + 1, element_bytes);

    DT_CHECK(made, DT_ERR_MEMORY, "%s: no memory for %zu %s", r->file.path, v->n, v->field->name);
    memcpy(array, &made, sizeof made);
    *n = (int)v->n;
    return DT_OK;
}

static dt_status read_graph(reader *r)
{
    dt_tflite *m = r->m;
    dt_flatbuffer_vector tensors, operators;
    dt_flatbuffer_table t;

    DT_TRY(dt_flatbuffer_look(&r->graph, &graph_tensors, 4, &tensors));
    DT_TRY(make_array(r, &tensors, sizeof *m->tensor, &m->tensor, &m->n_tensors));
    for (int i = 0; i < m->n_tensors; i++) {
        DT_TRY(dt_flatbuffer_child_at(&tensors, (size_t)i, &t));
        DT_TRY(read_tensor(r, &t, &m->tensor[i]));
    }
    DT_TRY(dt_flatbuffer_look(&r->graph, &graph_operators, 4, &operators));
    DT_TRY(make_array(r, &operators, sizeof *m->op, &m->op, &m->n_ops));
    for (int i = 0; i < m->n_ops; i++) {
        DT_TRY(dt_flatbuffer_child_at(&operators, (size_t)i, &t));
        DT_TRY(read_operator(r, &t, &m->op[i]));
    }
    DT_TRY(read_ints(&r->graph, &graph_inputs, &m->in, &m->n_in));
    DT_TRY(read_ints(&r->graph, &graph_outputs, &m->out, &m->n_out));
    return DT_OK;
}

static dt_status read_model(reader *r)
{
    dt_flatbuffer_vector graphs;
    int64_t version;

    DT_TRY(dt_flatbuffer_open(&r->file, DT_TFLITE_IDENTIFIER, "Model", &r->root));
    DT_TRY(dt_flatbuffer_integer(&r->root, &model_version, &version));
    DT_TRY(dt_flatbuffer_look(&r->root, &model_codes, 4, &r->codes));
    DT_TRY(dt_flatbuffer_look(&r->root, &model_buffers, 4, &r->buffers));
    DT_TRY(dt_flatbuffer_string(&r->root, &model_description, &r->m->description));
    DT_TRY(dt_flatbuffer_look(&r->root, &model_subgraphs, 4, &graphs));
    DT_CHECK(graphs.n == 1, graphs.n > 1 ? DT_ERR_UNSUPPORTED : DT_ERR_FORMAT,
             "%s: Model.subgraphs: %zu of them, a file of 1 is understood", r->file.path, graphs.n);
    DT_TRY(dt_flatbuffer_child_at(&graphs, 0, &r->graph));
    DT_TRY(read_graph(r));
    DT_TRY(dt_tflite_check(r->m, r->file.path, DT_ERR_FORMAT));
    return DT_OK;
}

dt_status dt_tflite_read_bytes(const char *path, const void *data, size_t bytes, dt_tflite **out)
{
    reader r = { .file = { .path = path, .data = data, .bytes = bytes } };

    r.m = calloc(1, sizeof *r.m);
    DT_CHECK(r.m, DT_ERR_MEMORY, "%s: no memory", path);
    const dt_status s = read_model(&r);
    if (s != DT_OK) dt_tflite_destroy(r.m);
    DT_TRY(s);
    *out = r.m;
    return DT_OK;
}

/* Reads a whole file into *data, which comes from malloc. */
static dt_status load(FILE *file, const char *path, unsigned char **data, size_t *bytes)
{
    DT_CHECK(fseek(file, 0, SEEK_END) == 0, DT_ERR_IO, "%s: %s", path, strerror(errno));
    const long end = ftell(file);
    DT_CHECK(end >= 0 && fseek(file, 0, SEEK_SET) == 0, DT_ERR_IO, "%s: %s", path, strerror(errno));
    DT_CHECK(end <= DT_FLATBUFFER_BYTES, DT_ERR_FORMAT, "%s: %ld bytes, at most %d are read", path, end,
             DT_FLATBUFFER_BYTES);
    *data = malloc((size_t)end + 1);
    DT_CHECK(*data, DT_ERR_MEMORY, "%s: no memory for its %ld bytes", path, end);
    *bytes = fread(*data, 1, (size_t)end, file);
    DT_CHECK(*bytes == (size_t)end, DT_ERR_IO, "%s: %zu of %ld bytes could be read", path, *bytes, end);
    return DT_OK;
}

dt_status dt_tflite_read(const char *path, dt_tflite **out)
{
    FILE *file = fopen(path, "rb");
    unsigned char *data = NULL;
    size_t bytes = 0;

    DT_CHECK(file, DT_ERR_IO, "%s: %s", path, strerror(errno));
    dt_status s = load(file, path, &data, &bytes);
    fclose(file);
    if (s == DT_OK) s = dt_tflite_read_bytes(path, data, bytes, out);
    free(data);
    DT_TRY(s);
    return DT_OK;
}
