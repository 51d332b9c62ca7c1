/*
 * wfdb.c - see wfdb.h.
 *
 *   00001_lr 12 100 1000                                     name, signals, samples a second, samples
 *   00001_lr.dat 16 1000.0(0)/mV 16 0 -119 1508 0 I          a line a signal: file, format, gain(baseline)/unit, bits,
 *                                                            zero, first sample, checksum, block, description
 *
 * Format 16: i16, little-endian, the signals' samples of one time side by side. physical = (sample - baseline) / gain;
 * the checksum is the sum of a signal's samples in 16 bits. Lines that begin with # are comments. Source: PhysioNet's
 * header(5) and signal(5).  Tests: tests/datasets/test_ptbxl.c.
 */
#include "wfdb.h"

#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SIGNALS = 16, NAME_BYTES = 256, PATH_BYTES = 4096 };

typedef struct {
    char file[NAME_BYTES];
    float gain;
    int baseline, first, checksum;
} signal;

/* The next line that is no comment. */
static dt_status next_line(dt_text *t, const char *what, char **line)
{
    while (dt_text_line(t, line)) {
        if ((*line)[0] != '#' && (*line)[strspn(*line, " \t")] != '\0') return DT_OK;
    }
    return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: ends behind line %" PRId64 ", expected %s", t->path,
                    t->line, what);
}

static dt_status read_record_line(dt_text *t, const dt_wfdb_shape *shape)
{
    char name[NAME_BYTES], *line;
    int n_signals = 0, rate = 0;
    long long n = 0;

    DT_TRY(next_line(t, "a record line", &line));
    DT_CHECK(sscanf(line, "%255s %d %d %lld", name, &n_signals, &rate, &n) == 4, DT_ERR_FORMAT,
             "%s, line %" PRId64 ": '%.60s' is no record line, expected name, signals, samples a second, samples",
             t->path, t->line, line);
    DT_CHECK(n_signals == shape->n_signals && rate == shape->rate && n == shape->n, DT_ERR_FORMAT,
             "%s, line %" PRId64 ": %d signals of %lld samples at %d Hz, expected %d of %" PRId64 " at %d Hz", t->path,
             t->line, n_signals, n, rate, shape->n_signals, shape->n, shape->rate);
    return DT_OK;
}

static dt_status read_signal_line(dt_text *t, signal *s)
{
    char gain[64], *line, *at = NULL;
    int format = 0, bits = 0, zero = 0;

    DT_TRY(next_line(t, "a line for each signal", &line));
    DT_CHECK(sscanf(line, "%255s %d %63s %d %d %d %d", s->file, &format, gain, &bits, &zero, &s->first, &s->checksum) ==
                 7,
             DT_ERR_FORMAT,
             "%s, line %" PRId64 ": '%.60s' is no signal line, expected file, format, gain, bits, zero, first sample, "
             "checksum",
             t->path, t->line, line);
    DT_CHECK(format == 16, DT_ERR_UNSUPPORTED, "%s, line %" PRId64 ": format %d, expected 16", t->path, t->line,
             format);
    DT_CHECK(!strchr(s->file, '/'), DT_ERR_FORMAT, "%s, line %" PRId64 ": the file '%s' is in another folder", t->path,
             t->line, s->file);
    s->gain = strtof(gain, &at);
    s->baseline = at && *at == '(' ? atoi(at + 1) : zero;
    DT_CHECK(at != gain && s->gain > 0.0f, DT_ERR_FORMAT, "%s, line %" PRId64 ": the gain is '%s', expected above 0",
             t->path, t->line, gain);
    return DT_OK;
}

static dt_status read_header(const char *path, const dt_wfdb_shape *shape, signal *s)
{
    dt_text t;

    dt_status status = dt_text_load(path, &t);
    if (status == DT_OK) status = dt_text_check(&t);
    if (status == DT_OK) status = read_record_line(&t, shape);
    for (int i = 0; status == DT_OK && i < shape->n_signals; i++) {
        status = read_signal_line(&t, &s[i]);
        if (status == DT_OK && strcmp(s[i].file, s[0].file) != 0) {
            status = dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                              "%s, line %" PRId64 ": the samples are in %s, those of the first signal in %s", path,
                              t.line, s[i].file, s[0].file);
        }
    }
    dt_text_free(&t);
    DT_TRY(status);
    return DT_OK;
}

static int sample_at(const dt_text *t, int64_t i)
{
    const uint8_t *p = (const uint8_t *)t->bytes + 2 * i;

    return (int16_t)(uint16_t)(p[0] | p[1] << 8);
}

static dt_status take_signal(const dt_text *t, const dt_wfdb_shape *shape, const signal *s, int column, float *value)
{
    uint16_t sum = 0;

    for (int64_t i = 0; i < shape->n; i++) {
        const int sample = sample_at(t, i * shape->n_signals + column);
        sum = (uint16_t)(sum + (unsigned)sample);
        value[i * shape->n_signals + column] = (float)(sample - s->baseline) / s->gain;
    }
    const int first = sample_at(t, column);
    DT_CHECK(first == s->first, DT_ERR_FORMAT, "%s: signal %d begins with %d, and its header says %d", t->path,
             column + 1, first, s->first);
    DT_CHECK(sum == (uint16_t)s->checksum, DT_ERR_FORMAT, "%s: signal %d has the checksum %d, and its header says %d",
             t->path, column + 1, (int16_t)sum, (int16_t)s->checksum);
    return DT_OK;
}

static dt_status read_samples(const char *path, const dt_wfdb_shape *shape, const signal *s, float *value)
{
    const size_t bytes = (size_t)(shape->n * shape->n_signals) * sizeof(int16_t);
    dt_text t;

    dt_status status = dt_text_load(path, &t);
    if (status == DT_OK && t.n != bytes) {
        status = dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__,
                          "%s: has %zu bytes, expected %zu (%" PRId64 " samples of %d signals)", path, t.n, bytes,
                          shape->n, shape->n_signals);
    }
    for (int i = 0; status == DT_OK && i < shape->n_signals; i++) status = take_signal(&t, shape, &s[i], i, value);
    dt_text_free(&t);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_wfdb_read(const char *stem, const dt_wfdb_shape *shape, float *value)
{
    char path[PATH_BYTES + NAME_BYTES];
    signal s[MOST_SIGNALS];
    const char *slash = strrchr(stem, '/');

    DT_CHECK(shape->n_signals <= MOST_SIGNALS && strlen(stem) < PATH_BYTES, DT_ERR_ARGUMENT,
             "%s: %d signals, limit %d, or its path is too long", stem, shape->n_signals, MOST_SIGNALS);
    snprintf(path, sizeof path, "%s.hea", stem);
    DT_TRY(read_header(path, shape, s));
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - stem) : 0, stem, s[0].file);
    return read_samples(path, shape, s, value);
}
