/*
 * windows.h - windows of equal length out of recordings of sensors.
 *
 * A recording is what one subject did without a break: rows of `width` values, one after the other in time. Windows of
 * `window` rows begin every `stride` rows; what is left at the end is dropped. A window never spans two recordings.
 */
#ifndef DT_WINDOWS_H
#define DT_WINDOWS_H

#include "kinds.h"

typedef struct {
    int window, stride, width;
    float *row; /* [n_rows][width] the recording so far; owned */
    int64_t n_rows, rows_room;
    int32_t subject, label;         /* of the recording */
    float *value;                   /* [n][window][width]; owned */
    int32_t *label_of, *subject_of; /* [n]; owned */
    int64_t n, room;
} dt_windows;

/* Adds a row. Another subject or label than before begins another recording. */
DT_MUST_CHECK dt_status dt_windows_add(dt_windows *w, int32_t subject, int32_t label, const float *row);
/* Ends the recording. */
DT_MUST_CHECK dt_status dt_windows_cut(dt_windows *w);
/* Fills d with the windows, window x width x 1, and r->group with their subjects. names: [n_classes]. */
DT_MUST_CHECK dt_status dt_windows_fill(dt_windows *w, dt_kind_request *r, const char *const *names, int n_classes,
                                        dt_dataset *d);
void dt_windows_free(dt_windows *w);

#endif /* DT_WINDOWS_H */
