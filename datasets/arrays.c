/*
 * arrays.c - see arrays.h.
 *
 *   x  [N][H][W][C], [N][H][W] (one channel) or [N][F] (F x 1 x 1); u8 are pixels, f32 and f64 are reals
 *   y  whole numbers [N]: classes, of which there are as many as the largest number says, plus 1;
 *      or [N][L] of 0 and 1: labels
 *
 * Tests: tests/datasets/test_arrays.c.
 */
#include "arrays.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double number_at(const dt_array_of *a, int64_t i)
{
    switch (a->type) {
    case DT_NUMBER_U8:
    case DT_NUMBER_BOOL: return ((const uint8_t *)a->data)[i];
    case DT_NUMBER_I8: return ((const int8_t *)a->data)[i];
    case DT_NUMBER_I16: return ((const int16_t *)a->data)[i];
    case DT_NUMBER_U16: return ((const uint16_t *)a->data)[i];
    case DT_NUMBER_I32: return ((const int32_t *)a->data)[i];
    case DT_NUMBER_U32: return ((const uint32_t *)a->data)[i];
    case DT_NUMBER_I64: return (double)((const int64_t *)a->data)[i];
    case DT_NUMBER_F32: return (double)((const float *)a->data)[i];
    case DT_NUMBER_F64: return ((const double *)a->data)[i];
    }
    return NAN;
}

static dt_status check_x(const dt_kind_request *r, const dt_array_of *x)
{
    DT_CHECK(x->type == DT_NUMBER_U8 || x->type == DT_NUMBER_F32 || x->type == DT_NUMBER_F64, DT_ERR_FORMAT,
             "%s: '%s' is neither u8 (pixels) nor f32 or f64 (reals)", r->path, x->name);
    DT_CHECK(x->ndim >= 2 && x->ndim <= 4 && x->count > 0, DT_ERR_SHAPE,
             "%s: '%s' has %d axes and %lld values, expected [N][H][W][C], [N][H][W] or [N][F]", r->path, x->name,
             x->ndim, (long long)x->count);
    for (int i = 1; i < x->ndim; i++) {
        DT_CHECK(x->dim[i] <= DT_DATASET_MAX_SIDE, DT_ERR_SHAPE, "%s: axis %d of '%s' has %lld values, limit %d",
                 r->path, i, x->name, (long long)x->dim[i], DT_DATASET_MAX_SIDE);
    }
    return DT_OK;
}

/* Whole numbers from 0 on; *largest is the largest of them. */
static dt_status check_y(const dt_kind_request *r, const dt_array_of *x, const dt_array_of *y, int *largest)
{
    const int is_labels = y->ndim == 2;

    DT_CHECK(
        (y->ndim == 1 || y->ndim == 2) && y->dim[0] == x->dim[0], DT_ERR_SHAPE,
        "%s: '%s' has %d axes, the first of %lld, expected [N] classes or [N][L] labels with the %lld samples of '%s'",
        r->path, y->name, y->ndim, (long long)(y->ndim > 0 ? y->dim[0] : 1), (long long)x->dim[0], x->name);
    const double most = is_labels ? 1.0 : DT_DATASET_MAX_CLASSES - 1;
    *largest = 0;
    for (int64_t i = 0; i < y->count; i++) {
        const double v = number_at(y, i);
        DT_CHECK(v >= 0.0 && v <= most && v == floor(v), DT_ERR_FORMAT,
                 "%s: %s %lld of '%s' is %g, expected a whole number from 0 to %g", r->path,
                 is_labels ? "label" : "class", (long long)i, y->name, v, most);
        if ((int)v > *largest) *largest = (int)v;
    }
    return DT_OK;
}

static void copy_x(const dt_array_of *x, dt_dataset *d)
{
    if (x->type == DT_NUMBER_U8) memcpy(d->images, x->data, (size_t)x->count);
    for (int64_t i = 0; d->reals && i < x->count; i++) d->reals[i] = (float)number_at(x, i);
}

static dt_status fill(const dt_kind_request *r, const dt_array_of *x, const dt_array_of *y, int n_classes,
                      dt_dataset *d)
{
    int largest;

    DT_TRY(check_x(r, x));
    DT_TRY(check_y(r, x, y, &largest));
    const dt_dataset_shape shape = { .name = r->name,
                                     .n = x->dim[0],
                                     .height = (int)x->dim[1],
                                     .width = x->ndim > 2 ? (int)x->dim[2] : 1,
                                     .channels = x->ndim > 3 ? (int)x->dim[3] : 1,
                                     .n_classes = y->ndim == 2 ? (int)y->dim[1] : largest + 1,
                                     .is_real = x->type != DT_NUMBER_U8,
                                     .multi_label = y->ndim == 2 };
    DT_TRY(dt_dataset_allocate(&shape, d));
    copy_x(x, d);
    for (int64_t i = 0; i < y->count; i++) d->labels[i] = (int32_t)number_at(y, i);
    if (n_classes > d->n_classes) d->n_classes = n_classes;
    return DT_OK;
}

static dt_status need(const dt_kind_request *r, const dt_array_of *a)
{
    DT_CHECK(a->data, DT_ERR_FORMAT,
             "%s: has no array '%s'; a data set has x and y, and x_test and y_test if it is divided", r->path, a->name);
    return DT_OK;
}

/* Classes are numbered over both parts; a part may lack the last. */
static dt_status count_classes(const dt_kind_request *r, const dt_array_of *x, const dt_array_of *y, int *n_classes)
{
    int largest = 0;

    DT_TRY(check_y(r, x, y, &largest));
    *n_classes = y->ndim == 1 ? largest + 1 : (int)y->dim[1];
    return DT_OK;
}

static dt_status check_same(const dt_kind_request *r, const dt_array_of *a, const dt_array_of *b)
{
    int same = a->ndim == b->ndim && a->type == b->type;

    for (int i = 1; same && i < a->ndim; i++) same = a->dim[i] == b->dim[i];
    DT_CHECK(same, DT_ERR_SHAPE, "%s: '%s' and '%s' differ in type or in their axes after the first", r->path, a->name,
             b->name);
    return DT_OK;
}

/* array: x, y, x_test, y_test */
static dt_status read_parts(dt_kind_request *r, const dt_array_of *array, dt_dataset *d)
{
    const dt_array_of *x = &array[0], *y = &array[1], *x_test = &array[2], *y_test = &array[3];
    int n_train = 0, n_test = 0;

    DT_TRY(need(r, x));
    DT_TRY(need(r, y));
    r->is_split = x_test->data != NULL;
    if (!r->is_split) return fill(r, x, y, 0, d);
    DT_TRY(need(r, y_test));
    DT_TRY(check_same(r, x, x_test));
    DT_CHECK(y->ndim == y_test->ndim && (y->ndim != 2 || y->dim[1] == y_test->dim[1]), DT_ERR_SHAPE,
             "%s: 'y' and 'y_test' have other axes than each other", r->path);
    DT_TRY(count_classes(r, x, y, &n_train));
    DT_TRY(count_classes(r, x_test, y_test, &n_test));
    const int is_test = r->split == DT_SPLIT_TEST;
    return fill(r, is_test ? x_test : x, is_test ? y_test : y, n_train > n_test ? n_train : n_test, d);
}

dt_status dt_arrays_read(dt_kind_request *r, dt_array_find find, void *file, dt_dataset *d)
{
    dt_array_of array[4] = { { .name = "x" }, { .name = "y" }, { .name = "x_test" }, { .name = "y_test" } };
    dt_status status = DT_OK;

    for (int i = 0; status == DT_OK && i < 4; i++) status = find(file, array[i].name, &array[i]);
    if (status == DT_OK) status = read_parts(r, array, d);
    for (int i = 0; i < 4; i++) free(array[i].data);
    DT_TRY(status);
    return DT_OK;
}
