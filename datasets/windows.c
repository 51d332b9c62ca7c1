/*
 * windows.c - see windows.h.  Tests: tests/datasets/test_signals.c.
 */
#include "windows.h"

#include <stdlib.h>
#include <string.h>

static int64_t more(int64_t room)
{
    return room > 0 ? 2 * room : 1024;
}

static dt_status add_window(dt_windows *w, const float *rows)
{
    const size_t count = (size_t)w->window * (size_t)w->width;

    if (w->n == w->room) {
        const size_t room = (size_t)more(w->room);
        float *value = realloc(w->value, room * count * sizeof *value);
        if (value) w->value = value;
        int32_t *label = realloc(w->label_of, room * sizeof *label);
        if (label) w->label_of = label;
        int32_t *subject = realloc(w->subject_of, room * sizeof *subject);
        if (subject) w->subject_of = subject;
        DT_CHECK(value && label && subject, DT_ERR_MEMORY, "no memory for %zu windows of %zu values", room, count);
        w->room = (int64_t)room;
    }
    memcpy(w->value + (size_t)w->n * count, rows, count * sizeof *rows);
    w->label_of[w->n] = w->label;
    w->subject_of[w->n++] = w->subject;
    return DT_OK;
}

dt_status dt_windows_cut(dt_windows *w)
{
    for (int64_t at = 0; at + w->window <= w->n_rows; at += w->stride) DT_TRY(add_window(w, w->row + at * w->width));
    w->n_rows = 0;
    return DT_OK;
}

dt_status dt_windows_add(dt_windows *w, int32_t subject, int32_t label, const float *row)
{
    if (w->n_rows > 0 && (subject != w->subject || label != w->label)) DT_TRY(dt_windows_cut(w));
    if (w->n_rows == w->rows_room) {
        const int64_t room = more(w->rows_room);
        float *rows = realloc(w->row, (size_t)(room * w->width) * sizeof *rows);
        DT_CHECK(rows, DT_ERR_MEMORY, "no memory for a recording of %lld rows", (long long)room);
        w->row = rows;
        w->rows_room = room;
    }
    w->subject = subject;
    w->label = label;
    memcpy(w->row + w->n_rows++ * w->width, row, (size_t)w->width * sizeof *row);
    return DT_OK;
}

dt_status dt_windows_fill(dt_windows *w, dt_kind_request *r, const char *const *names, int n_classes, dt_dataset *d)
{
    const dt_dataset_shape shape = { .name = r->name,
                                     .n = w->n,
                                     .height = w->window,
                                     .width = w->width,
                                     .channels = 1,
                                     .n_classes = n_classes,
                                     .is_real = 1 };

    DT_CHECK(w->n > 0, DT_ERR_FORMAT, "%s: no recording has the %d rows of a window", r->path, w->window);
    DT_TRY(dt_dataset_allocate(&shape, d));
    memcpy(d->reals, w->value, (size_t)w->n * (size_t)w->window * (size_t)w->width * sizeof *d->reals);
    memcpy(d->labels, w->label_of, (size_t)w->n * sizeof *d->labels);
    r->group = w->subject_of;
    w->subject_of = NULL;
    return dt_dataset_name_classes(d, names);
}

void dt_windows_free(dt_windows *w)
{
    free(w->row);
    free(w->value);
    free(w->label_of);
    free(w->subject_of);
}
