/*
 * onnx_notes.c - what the metadata of a file say of the images that its network was trained on. Interface: onnx.h.
 *
 * detent writes them (onnx_export.c). Other programs have no entries of these names, or some with another meaning, so
 * that a data set's name and both lists of numbers must be there before they count.
 */
#include "onnx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Reads numbers with commas between. */
static dt_status read_numbers(const dt_onnx *m, const char *key, const char *text, float least,
                              float to[DT_MOST_CHANNELS])
{
    const char *at = text;

    for (int c = 0; c < DT_MOST_CHANNELS; c++) {
        char *end;
        to[c] = strtof(at, &end);
        DT_CHECK(end > at && isfinite(to[c]) && to[c] >= least && (*end == ',' || *end == '\0'), DT_ERR_FORMAT,
                 "%s: metadata '%s' is '%.80s'; expected are at most %d numbers with commas between", m->path, key,
                 text, DT_MOST_CHANNELS);
        if (*end == '\0') return DT_OK;
        at = end + 1;
    }
    return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: metadata '%s' is '%.80s', more than %d numbers", m->path,
                    key, text, DT_MOST_CHANNELS);
}

static void copy(char *to, size_t bytes, const char *from)
{
    const size_t n = strlen(from) < bytes - 1 ? strlen(from) : bytes - 1;

    memcpy(to, from, n);
    to[n] = '\0';
}

dt_status dt_onnx_take_note(dt_onnx *m, const char *key, const char *text)
{
    dt_data_origin *o = &m->origin;

    if (strcmp(key, "dataset") == 0) copy(o->name, sizeof o->name, text);
    if (strcmp(key, "fingerprint") == 0) copy(o->fingerprint, sizeof o->fingerprint, text);
    if (strcmp(key, "values") == 0) o->is_real = strcmp(text, "reals") == 0;
    if (strcmp(key, "mean") == 0) return read_numbers(m, key, text, -INFINITY, o->mean);
    if (strcmp(key, "std") == 0) return read_numbers(m, key, text, 1e-30f, o->std);
    return DT_OK;
}
