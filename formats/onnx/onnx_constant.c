/*
 * onnx_constant.c - numbers of constants, for the import. Interface: onnx_layers.h.
 */
#include "onnx_layers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MOST = 4096 };

dt_status dt_onnx_numbers_of(const dt_onnx_import *imp, const dt_onnx_tensor *t, void **out)
{
    const size_t each = dt_onnx_type_bytes(t->type);

    DT_CHECK(each > 0, DT_ERR_UNSUPPORTED, "%s: a constant of %s; understood are FLOAT, INT64, INT32, INT8 and UINT8",
             imp->m->path, dt_onnx_type_name(t->type));
    void *data = malloc((size_t)dt_onnx_count(t) * each + 1);
    DT_CHECK(data, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " numbers", imp->m->path, dt_onnx_count(t));
    const dt_status status = dt_onnx_load(t, data);
    if (status != DT_OK) {
        free(data);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = data;
    return DT_OK;
}

static dt_status list_of(const dt_onnx_import *imp, const dt_onnx_node *n, int k, int64_t **list, int *count)
{
    const dt_onnx_place *p = dt_onnx_in(imp, n, k);

    DT_ONNX_CHECK(p->kind == DT_ONNX_CONSTANT && !p->has_grid, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d, '%.80s', is computed; understood are constant integers", k, dt_onnx_in_name(imp, n, k));
    const dt_onnx_tensor *t = &imp->m->tensor[p->tensor];
    DT_ONNX_CHECK((t->type == DT_ONNX_INT64 || t->type == DT_ONNX_INT32) && dt_onnx_count(t) <= LIST_MOST,
                  DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is %" PRId64 " numbers of %s; understood are at most %d integers", k, dt_onnx_count(t),
                  dt_onnx_type_name(t->type), LIST_MOST);
    void *numbers;
    DT_TRY(dt_onnx_numbers_of(imp, t, &numbers));
    *count = (int)dt_onnx_count(t);
    *list = numbers;
    if (t->type == DT_ONNX_INT64) return DT_OK;
    *list = malloc((size_t)*count * sizeof **list + 1);
    for (int i = 0; *list && i < *count; i++) (*list)[i] = ((const int32_t *)numbers)[i];
    free(numbers);
    DT_CHECK(*list, DT_ERR_MEMORY, "%s: no memory for %d integers", imp->m->path, *count);
    return DT_OK;
}

dt_status dt_onnx_list(const dt_onnx_import *imp, const dt_onnx_node *n, int k, const char *name, int64_t **list,
                       int *count)
{
    const dt_onnx_attribute *a = dt_onnx_find(n, name);

    *list = NULL;
    *count = 0;
    if (dt_onnx_in(imp, n, k)) return list_of(imp, n, k, list, count);
    if (!a) return DT_OK;
    DT_ONNX_CHECK(a->type == DT_ONNX_A_INTS, DT_ERR_FORMAT, imp, n,
                  "attribute '%s' has the type %d, needed is a list of numbers, %d", name, a->type, DT_ONNX_A_INTS);
    int64_t *copy = malloc((size_t)a->n_ints * sizeof *copy + 1);
    DT_CHECK(copy, DT_ERR_MEMORY, "%s: no memory for %d integers", imp->m->path, a->n_ints);
    if (a->n_ints > 0) memcpy(copy, a->ints, (size_t)a->n_ints * sizeof *copy);
    *list = copy;
    *count = a->n_ints;
    return DT_OK;
}

/* Makes reals of the codes `numbers` of a place, by its grid; scale and zero are the grid's numbers. */
static void make_real(const dt_onnx_import *imp, const dt_onnx_place *p, const void *codes, const float *scale,
                      const void *zero, float *to)
{
    const dt_onnx_tensor *t = &imp->m->tensor[p->tensor];
    const int64_t n_scales = dt_onnx_count(&imp->m->tensor[p->grid.scale]);
    int64_t inner = 1;

    for (int k = p->grid.axis + 1; n_scales > 1 && k < t->n_dims; k++) inner *= t->dim[k];
    for (int64_t i = 0; i < dt_onnx_count(t); i++) {
        const int64_t c = n_scales > 1 ? i / inner % n_scales : 0;
        to[i] = (float)(dt_onnx_integer_at(codes, t->type, i) - (zero ? dt_onnx_integer_at(zero, t->type, c) : 0)) *
                scale[c];
    }
}

static dt_status reals_of_codes(const dt_onnx_import *imp, const dt_onnx_place *p, const void *codes, float **out)
{
    void *scale = NULL, *zero = NULL;
    float *to = malloc((size_t)dt_onnx_count(&imp->m->tensor[p->tensor]) * sizeof *to + 1);

    dt_status status = to ? dt_onnx_numbers_of(imp, &imp->m->tensor[p->grid.scale], &scale)
                          : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory", imp->m->path);
    if (status == DT_OK && p->grid.zero >= 0) status = dt_onnx_numbers_of(imp, &imp->m->tensor[p->grid.zero], &zero);
    if (status == DT_OK) make_real(imp, p, codes, scale, zero, to);
    free(scale);
    free(zero);
    if (status != DT_OK) {
        free(to);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = to;
    return DT_OK;
}

dt_status dt_onnx_reals(const dt_onnx_import *imp, const dt_onnx_node *n, int k, int64_t count, float **out)
{
    DT_TRY(dt_onnx_raw(imp, n, k, count, out));
    dt_onnx_round(imp, dt_onnx_in(imp, n, k), *out);
    return DT_OK;
}

dt_status dt_onnx_raw(const dt_onnx_import *imp, const dt_onnx_node *n, int k, int64_t count, float **out)
{
    const dt_onnx_place *p = dt_onnx_in(imp, n, k);
    void *numbers;

    DT_ONNX_CHECK(p, DT_ERR_FORMAT, imp, n, "input %d is missing", k);
    DT_ONNX_CHECK(p->kind == DT_ONNX_CONSTANT, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d, '%.80s', is computed; understood are constants", k, dt_onnx_in_name(imp, n, k));
    const dt_onnx_tensor *t = &imp->m->tensor[p->tensor];
    DT_ONNX_CHECK(t->type == DT_ONNX_FLOAT || p->has_grid, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d, '%.80s', is %s; understood is FLOAT", k, dt_onnx_in_name(imp, n, k),
                  dt_onnx_type_name(t->type));
    DT_ONNX_CHECK(dt_onnx_count(t) == count, DT_ERR_FORMAT, imp, n,
                  "input %d, '%.80s', has %" PRId64 " numbers, needed are %" PRId64, k, dt_onnx_in_name(imp, n, k),
                  dt_onnx_count(t), count);
    DT_TRY(dt_onnx_numbers_of(imp, t, &numbers));
    if (!p->has_grid) {
        *out = numbers;
        return DT_OK;
    }
    const dt_status status = reals_of_codes(imp, p, numbers, out);
    free(numbers);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_onnx_number(const dt_onnx_import *imp, const dt_onnx_node *n, int k, float otherwise, float *out)
{
    float *one;

    *out = otherwise;
    if (!dt_onnx_in(imp, n, k)) return DT_OK;
    DT_TRY(dt_onnx_reals(imp, n, k, 1, &one));
    *out = *one;
    free(one);
    return DT_OK;
}

/* 1 if the dimensions of a constant are those of one number for each channel, beside an operand of n_dims dimensions,
 * whose second is the channels: 1,C,1,1 or C,1,1 beside four, C,1 beside three, C or 1,C beside two. */
static int is_each_channel(const dt_onnx_tensor *t, int n_dims, int64_t channels)
{
    for (int k = 0; k < t->n_dims; k++) {
        const int axis = n_dims - t->n_dims + k;
        if (t->dim[k] != (axis == 1 ? channels : 1)) return 0;
    }
    return t->n_dims <= n_dims && dt_onnx_count(t) == channels;
}

dt_status dt_onnx_spread(const dt_onnx_import *imp, const dt_onnx_node *n, int k, int n_dims, int64_t channels,
                         float **out)
{
    const dt_onnx_place *p = dt_onnx_in(imp, n, k);
    float *numbers;

    DT_ONNX_CHECK(p && p->kind == DT_ONNX_CONSTANT, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d is %s; understood are constant numbers", k, p ? "computed" : "missing");
    const dt_onnx_tensor *t = &imp->m->tensor[p->tensor];
    const int64_t count = dt_onnx_count(t);

    DT_ONNX_CHECK(count == 1 || is_each_channel(t, n_dims, channels), DT_ERR_UNSUPPORTED, imp, n,
                  "input %d, '%.80s', is %" PRId64
                  " constant numbers of %d dimensions; understood are one number, and one "
                  "for each of %" PRId64 " channels",
                  k, dt_onnx_in_name(imp, n, k), count, t->n_dims, channels);
    DT_TRY(dt_onnx_reals(imp, n, k, count, &numbers));
    *out = malloc((size_t)channels * sizeof **out);
    for (int64_t c = 0; *out && c < channels; c++) (*out)[c] = numbers[count == 1 ? 0 : c];
    free(numbers);
    DT_CHECK(*out, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " numbers", imp->m->path, channels);
    return DT_OK;
}

int64_t dt_onnx_integer_at(const void *numbers, int type, int64_t i)
{
    switch (type) {
    case DT_ONNX_INT8: return ((const int8_t *)numbers)[i];
    case DT_ONNX_BOOL:
    case DT_ONNX_UINT8: return ((const uint8_t *)numbers)[i];
    case DT_ONNX_INT32: return ((const int32_t *)numbers)[i];
    default: return ((const int64_t *)numbers)[i];
    }
}

void dt_onnx_filter_dims(const dt_onnx_place *w, int64_t dim[4])
{
    const int has_row = w->n_dims == 3;

    for (int k = 0; k < 4; k++) dim[k] = k == 2 && has_row ? 1 : w->dim[has_row && k == 3 ? 2 : k];
}

void *dt_onnx_channels_last(const void *from, const int64_t dim[4], size_t each)
{
    const int64_t taps = dim[2] * dim[3];
    char *to = malloc((size_t)(dim[0] * dim[1] * taps) * each + 1), *at = to;

    for (int64_t o = 0; to && o < dim[0]; o++) {
        const char *filter = (const char *)from + (size_t)(o * dim[1] * taps) * each;
        for (int64_t i = 0; i < taps; i++) {
            for (int64_t c = 0; c < dim[1]; c++, at += each) memcpy(at, filter + (size_t)(c * taps + i) * each, each);
        }
    }
    return to;
}
