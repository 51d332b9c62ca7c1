/*
 * tflite_check.c - the rules of a description, sizes and memory. Interface: tflite.h.
 */
#include "tflite_schema.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* What is checked, and how a failure is reported. */
typedef struct {
    const dt_tflite *m;
    const char *path;
    dt_status failure;
    char *is_made; /* [n_tensors] 1: an input, a constant or an output of what has run */
} rules;

int64_t dt_tflite_count(const dt_tflite_tensor *t)
{
    int64_t n = 1;

    for (int i = 0; i < t->n_dims; i++) n *= t->dim[i];
    return n;
}

static dt_status check_shape(const rules *r, int i)
{
    const dt_tflite_tensor *t = &r->m->tensor[i];
    int64_t n = 1;

    DT_CHECK(dt_tflite_known_type(t->type) > 0, DT_ERR_UNSUPPORTED, "%s: tensors[%d].type: %s is not understood",
             r->path, i, dt_tflite_type_name((int)t->type));
    DT_CHECK(t->n_dims >= 0 && t->n_dims <= DT_TFLITE_MAX_DIMS, r->failure,
             "%s: tensors[%d].shape: %d dimensions, at most %d are understood", r->path, i, t->n_dims,
             DT_TFLITE_MAX_DIMS);
    for (int k = 0; k < t->n_dims; k++) {
        DT_CHECK(t->dim[k] >= 1, r->failure, "%s: tensors[%d].shape[%d] is %d, the least is 1", r->path, i, k,
                 t->dim[k]);
        n *= t->dim[k];
        DT_CHECK(n <= INT32_MAX, r->failure, "%s: tensors[%d].shape: more than %d elements", r->path, i, INT32_MAX);
    }
    DT_CHECK(!t->data || t->bytes == (size_t)n * dt_tflite_type_bytes(t->type), r->failure,
             "%s: tensors[%d].buffer: %zu bytes of data, %" PRId64 " elements of %s have %zu", r->path, i, t->bytes, n,
             dt_tflite_type_name((int)t->type), (size_t)n * dt_tflite_type_bytes(t->type));
    DT_CHECK(!t->any_batch || (t->n_dims > 0 && !t->data), r->failure,
             "%s: tensors[%d].shape_signature: the first of %d dimensions is free, and there are %s data", r->path, i,
             t->n_dims, t->data ? "constant" : "no");
    return DT_OK;
}

/* Sets the range of the codes of a type; 0..0 where it has none. */
static void code_range(dt_tflite_type type, int64_t *low, int64_t *high)
{
    const int bits = type == DT_TFLITE_FLOAT32 ? 0 : 8 * (int)dt_tflite_type_bytes(type);

    *low = type == DT_TFLITE_UINT8 || bits == 0 ? 0 : bits > 32 ? INT32_MIN : -((int64_t)1 << (bits - 1));
    *high = type == DT_TFLITE_UINT8 ? UINT8_MAX : bits == 0 ? 0 : bits > 32 ? INT32_MAX : -*low - 1;
}

static dt_status check_scales(const rules *r, int i)
{
    const dt_tflite_tensor *t = &r->m->tensor[i];
    int64_t low, high;

    code_range(t->type, &low, &high);
    DT_CHECK(t->axis >= 0 && t->axis < (t->n_dims > 0 ? t->n_dims : 1), r->failure,
             "%s: tensors[%d].quantized_dimension is %d, the tensor has %d dimensions", r->path, i, t->axis, t->n_dims);
    DT_CHECK(t->n_scales >= 0 && (t->n_scales <= 1 || (t->n_dims > 0 && t->n_scales == t->dim[t->axis])), r->failure,
             "%s: tensors[%d].scale: %d scales for dimension %d, whose size is %d", r->path, i, t->n_scales, t->axis,
             t->n_dims > 0 ? t->dim[t->axis] : 1);
    for (int k = 0; k < t->n_scales; k++) {
        DT_CHECK(isfinite(t->scale[k]) && t->scale[k] > 0, r->failure,
                 "%s: tensors[%d].scale[%d] is %g, it must be finite and above 0", r->path, i, k, (double)t->scale[k]);
        DT_CHECK(t->zero[k] >= low && t->zero[k] <= high, r->failure,
                 "%s: tensors[%d].zero_point[%d] is %" PRId32 ", codes of %s are %" PRId64 "..%" PRId64, r->path, i, k,
                 t->zero[k], dt_tflite_type_name((int)t->type), low, high);
    }
    return DT_OK;
}

static dt_status check_index(const rules *r, const char *of, int at, int tensor, int least)
{
    DT_CHECK(tensor >= least && tensor < r->m->n_tensors, r->failure,
             "%s: %s[%d] is tensor %d, the file has tensors %d..%d", r->path, of, at, tensor, least,
             r->m->n_tensors - 1);
    return DT_OK;
}

static dt_status make_tensor(const rules *r, const char *of, int at, int tensor)
{
    DT_TRY(check_index(r, of, at, tensor, 0));
    DT_CHECK(!r->is_made[tensor], r->failure, "%s: %s[%d] makes tensor %d, which is %s already", r->path, of, at,
             tensor, r->m->tensor[tensor].data ? "constant" : "made");
    r->is_made[tensor] = 1;
    return DT_OK;
}

static dt_status check_op(const rules *r, int i)
{
    const dt_tflite_operator *o = &r->m->op[i];
    const dt_tflite_op *op = dt_tflite_find_op(o->code);

    DT_CHECK(op, DT_ERR_UNSUPPORTED, "%s: operators[%d]: %s is not understood", r->path, i,
             dt_tflite_op_name((int)o->code));
    DT_CHECK(o->version >= 1 && o->version <= DT_TFLITE_MAX_VERSION, r->failure,
             "%s: operators[%d].version is %d, what is understood is 1..%d", r->path, i, o->version,
             DT_TFLITE_MAX_VERSION);
    DT_CHECK(o->n_in >= op->least_in && o->n_in <= op->most_in, r->failure,
             "%s: operators[%d].inputs: %d of them, %s takes %d..%d", r->path, i, o->n_in, op->name, op->least_in,
             op->most_in);
    for (int k = 0; k < o->n_in; k++) {
        DT_TRY(check_index(r, "inputs of an operator", k, o->in[k], k < 2 ? 0 : -1));
        DT_CHECK(o->in[k] < 0 || r->is_made[o->in[k]], r->failure,
                 "%s: operators[%d].inputs[%d] is tensor %d, which nothing makes before operator %d", r->path, i, k,
                 o->in[k], i);
    }
    DT_CHECK(o->options.n_shape >= 0 && o->options.n_shape <= DT_TFLITE_MAX_DIMS, r->failure,
             "%s: operators[%d].builtin_options: %d dimensions, at most %d are understood", r->path, i,
             o->options.n_shape, DT_TFLITE_MAX_DIMS);
    DT_TRY(make_tensor(r, "operators", i, o->out));
    return DT_OK;
}

static dt_status check_all(const rules *r)
{
    const dt_tflite *m = r->m;

    for (int i = 0; i < m->n_tensors; i++) {
        DT_TRY(check_shape(r, i));
        DT_TRY(check_scales(r, i));
        r->is_made[i] = m->tensor[i].data != NULL;
    }
    DT_CHECK(m->n_in >= 1 && m->n_out >= 1, r->failure, "%s: %d inputs and %d outputs, at least one of each is needed",
             r->path, m->n_in, m->n_out);
    for (int i = 0; i < m->n_in; i++) DT_TRY(make_tensor(r, "inputs", i, m->in[i]));
    for (int i = 0; i < m->n_ops; i++) DT_TRY(check_op(r, i));
    for (int i = 0; i < m->n_out; i++) {
        DT_TRY(check_index(r, "outputs", i, m->out[i], 0));
        DT_CHECK(r->is_made[m->out[i]], r->failure, "%s: outputs[%d] is tensor %d, which nothing makes", r->path, i,
                 m->out[i]);
    }
    return DT_OK;
}

dt_status dt_tflite_check(const dt_tflite *m, const char *path, dt_status failure)
{
    rules r = { m, path, failure, calloc((size_t)m->n_tensors + 1, 1) };

    DT_CHECK(r.is_made, DT_ERR_MEMORY, "%s: no memory for %d tensors", path, m->n_tensors);
    const dt_status s = check_all(&r);
    free(r.is_made);
    DT_TRY(s);
    return DT_OK;
}

void dt_tflite_destroy(dt_tflite *m)
{
    if (!m) return;
    for (int i = 0; m->tensor && i < m->n_tensors; i++) {
        free(m->tensor[i].name);
        free(m->tensor[i].data);
        free(m->tensor[i].scale);
        free(m->tensor[i].zero);
    }
    for (int i = 0; m->op && i < m->n_ops; i++) free(m->op[i].in);
    free(m->description);
    free(m->tensor);
    free(m->op);
    free(m->in);
    free(m->out);
    free(m);
}
