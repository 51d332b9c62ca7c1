/*
 * wfdb.h - a record of PhysioNet's WFDB format: a header of text and 16-bit samples.
 */
#ifndef DT_WFDB_H
#define DT_WFDB_H

#include "detent/status.h"

#include <stdint.h>

/* What a record must be. */
typedef struct {
    int n_signals, rate;
    int64_t n; /* samples of a signal */
} dt_wfdb_shape;

/* Reads STEM.hea and the file of samples that it names into value, [n][n_signals], in physical units (millivolts). The
 * first value and the checksum of each signal are those of the header. DT_ERR_FORMAT names file, line or signal, what
 * was found and what was expected. */
DT_MUST_CHECK dt_status dt_wfdb_read(const char *stem, const dt_wfdb_shape *shape, float *value);

#endif /* DT_WFDB_H */
