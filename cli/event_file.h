/*
 * event_file.h - files of events, as TensorBoard reads them.
 *
 * A file is a row of records, TFRecord: the length in 8 bytes, a checksum of these, the data, a checksum of the data.
 * A checksum is the CRC-32C c, masked: ((c >> 15) | (c << 17)) + 0xa282ead8. The data are an Event, and in it a
 * Summary, as protocol buffers; numbers are little-endian.
 * Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, framework/summary.proto.
 */
#ifndef DT_CLI_EVENT_FILE_H
#define DT_CLI_EVENT_FILE_H

#include <stddef.h>

#include "detent/detent.h"
#include "histogram.h"

/* What event files' names begin with. */
#define EVENT_FILE_PREFIX "events.out.tfevents."

typedef struct event_file event_file;

/* Makes a new file in dir. If first_step is above 0, the file says that the run goes on there, so that readers forget
 * what earlier files of dir have from that step on. */
DT_MUST_CHECK dt_status event_file_open(const char *dir, int64_t first_step, event_file **out);
/* Writes what is left, and releases f, which may be NULL. */
void event_file_close(event_file *f);

/* Each adds an event. What is not finite is left out. */
DT_MUST_CHECK dt_status event_file_scalar(event_file *f, int64_t step, const char *tag, double value);
/* A bucket for each row of h, from half a step below its first integer to half a step above its last. */
DT_MUST_CHECK dt_status event_file_histogram(event_file *f, int64_t step, const char *tag, const histogram *h);

typedef struct {
    const char *about; /* shown beside it; NULL: nothing */
    const uint8_t *png;
    size_t bytes;
    int height, width, channels;
} event_picture;

DT_MUST_CHECK dt_status event_file_picture(event_file *f, int64_t step, const char *tag, const event_picture *p);
/* All events are on the disk when it returns. */
DT_MUST_CHECK dt_status event_file_sync(event_file *f);

#endif /* DT_CLI_EVENT_FILE_H */
