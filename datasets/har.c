/*
 * har.c - UCI HAR: windows of 128 values (2.56 s) of a phone's sensors, 6 activities, divided by subjects into training
 *         and test.
 *
 *   DIR/train/y_train.txt                               a class 1..6 a line
 *   DIR/train/subject_train.txt                         a subject 1..30 a line
 *   DIR/train/Inertial Signals/body_acc_x_train.txt     128 numbers a line; likewise y, z, body_gyro_*, total_acc_*
 *
 * A sample is 128 x 9 x 1, the signals in that order; with signals=6 128 x 6 x 1: total_acc and body_gyro. window=N
 * keeps the first N values.
 *
 * Source: Anguita et al., "A public domain dataset for human activity recognition using smartphones", ESANN 2013, and
 * its README.  Interface: kinds.h.  Tests: tests/datasets/test_signals.c.
 */
#include "kinds.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUES = 128, N_CLASSES = 6, N_SUBJECTS = 30, SIGNALS = 9 };

static const char *const signal_names[SIGNALS] = { "body_acc_x",  "body_acc_y",  "body_acc_z",
                                                   "body_gyro_x", "body_gyro_y", "body_gyro_z",
                                                   "total_acc_x", "total_acc_y", "total_acc_z" };
static const int of_six[6] = { 6, 7, 8, 3, 4, 5 };
static const char *const activities[N_CLASSES] = { "WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS",
                                                   "SITTING", "STANDING",         "LAYING" };

static const char *part_of(const dt_kind_request *r)
{
    return r->split == DT_SPLIT_TEST ? "test" : "train";
}

/* stem: "y", "Inertial Signals/body_acc_x" */
static dt_status load(const dt_kind_request *r, const char *stem, char *path, dt_text *t)
{
    const char *part = part_of(r);

    const int length = snprintf(path, DT_DATASET_PATH_BYTES, "%s/%s/%s_%s.txt", r->path, part, stem, part);
    *t = (dt_text){ 0 };
    DT_CHECK(length < DT_DATASET_PATH_BYTES, DT_ERR_ARGUMENT, "%s: its path is too long", r->name);
    DT_TRY(dt_text_load(path, t));
    return dt_text_check(t);
}

/* A whole number a line, up to `most`; *out, which the caller frees, has *n of them. */
static dt_status read_column(const dt_kind_request *r, const char *stem, int64_t most, int32_t **out, int64_t *n)
{
    const int64_t range[2] = { 1, most };
    char path[DT_DATASET_PATH_BYTES], *line;
    dt_text t;

    dt_status status = load(r, stem, path, &t);
    int32_t *value = status == DT_OK ? malloc((t.n + 1) * sizeof *value) : NULL; /* a line has a byte at least */
    if (status == DT_OK && !value) status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for it", path);
    for (*n = 0; status == DT_OK && dt_text_line(&t, &line);) {
        int64_t v = 0;
        status = dt_text_int(&t, stem, line, range, &v);
        if (status == DT_OK) value[(*n)++] = (int32_t)v;
    }
    dt_text_free(&t);
    *out = value;
    DT_TRY(status);
    return DT_OK;
}

/* 128 numbers; the first `window` of them go to sample[0], sample[width], .. */
static dt_status read_line(const dt_text *t, char *line, const dt_kind_request *r, float *sample, int width)
{
    char *at = line;
    float v = 0.0f;

    for (int i = 0; i < VALUES; i++) {
        at += strspn(at, " \t");
        const size_t length = strcspn(at, " \t\r");
        DT_CHECK(length > 0, DT_ERR_FORMAT, "%s, line %" PRId64 ": has %d numbers, expected %d", t->path, t->line, i,
                 VALUES);
        const char end = at[length];
        at[length] = '\0';
        DT_TRY(dt_text_float(t, "a value", at, &v));
        at += length + (end != '\0');
        if (i < r->window) sample[i * width] = v;
    }
    DT_CHECK(at[strspn(at, " \t\r")] == '\0', DT_ERR_FORMAT, "%s, line %" PRId64 ": has more than %d numbers", t->path,
             t->line, VALUES);
    return DT_OK;
}

static dt_status read_signal(const dt_kind_request *r, int column, dt_dataset *d)
{
    const char *name = signal_names[d->width == SIGNALS ? column : of_six[column]];
    const int64_t each = (int64_t)d->height * d->width;
    char path[DT_DATASET_PATH_BYTES], stem[64], *line;
    dt_text t;
    int64_t n = 0;

    snprintf(stem, sizeof stem, "Inertial Signals/%s", name);
    dt_status status = load(r, stem, path, &t);
    while (status == DT_OK && dt_text_line(&t, &line)) {
        if (n < d->n) status = read_line(&t, line, r, d->reals + n * each + column, d->width);
        n++;
    }
    if (status == DT_OK && n != d->n) {
        status = dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__,
                          "%s: has %" PRId64 " lines, and y_%s.txt has %" PRId64 " labels", path, n, part_of(r), d->n);
    }
    dt_text_free(&t);
    return status;
}

static dt_status fill(const dt_kind_request *r, const int32_t *y, int64_t n, int64_t n_subjects, dt_dataset *d)
{
    const dt_dataset_shape shape = { .name = r->name,
                                     .n = n,
                                     .height = r->window,
                                     .width = r->signals,
                                     .channels = 1,
                                     .n_classes = N_CLASSES,
                                     .is_real = 1 };

    DT_CHECK(n_subjects == n, DT_ERR_FORMAT, "%s: subject_%s.txt has %" PRId64 " lines, and y_%s.txt %" PRId64, r->path,
             part_of(r), n_subjects, part_of(r), n);
    DT_TRY(dt_dataset_allocate(&shape, d));
    for (int64_t i = 0; i < n; i++) d->labels[i] = y[i] - 1;
    for (int column = 0; column < r->signals; column++) DT_TRY(read_signal(r, column, d));
    return dt_dataset_name_classes(d, activities);
}

dt_status dt_har_read(dt_kind_request *r, dt_dataset *d)
{
    int32_t *y = NULL, *subject = NULL;
    int64_t n = 0, n_subjects = 0;

    DT_CHECK(r->signals == 6 || r->signals == SIGNALS, DT_ERR_ARGUMENT, "%s: signals is %d, expected 6 or 9", r->name,
             r->signals);
    DT_CHECK(r->window <= VALUES, DT_ERR_ARGUMENT, "%s: window is %d, and the windows have %d values", r->name,
             r->window, VALUES);
    r->is_split = 1;
    dt_status status = read_column(r, "y", N_CLASSES, &y, &n);
    if (status == DT_OK) status = read_column(r, "subject", N_SUBJECTS, &subject, &n_subjects);
    if (status == DT_OK) status = fill(r, y, n, n_subjects, d);
    free(y);
    free(subject);
    DT_TRY(status);
    return DT_OK;
}
