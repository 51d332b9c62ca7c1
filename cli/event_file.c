/*
 * event_file.c - see event_file.h.
 *
 * Tests: tests/cli/test_cli_board.sh.
 */
#include "event_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Wire types, and the numbers of the fields. */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SESSION_STATUS = 1, SESSION_START = 1 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SCALAR = 2, VALUE_IMAGE = 4, VALUE_HISTOGRAM = 5, VALUE_METADATA = 9 };
enum {
    METADATA_PLUGIN = 1,
    PLUGIN_NAME = 1,
    METADATA_ABOUT = 3,
    IMAGE_HEIGHT = 1,
    IMAGE_WIDTH = 2,
    IMAGE_COLOURS = 3,
    IMAGE_PNG = 4
};
enum { HISTO_MIN = 1, HISTO_MAX, HISTO_NUM, HISTO_SUM, HISTO_SQUARES, HISTO_LIMITS, HISTO_COUNTS };

enum { NAME_BYTES = 4096, HOST_BYTES = 64 };

struct event_file {
    FILE *file;
    char path[NAME_BYTES];
};

/* A message that grows. */
typedef struct {
    uint8_t *data; /* owned */
    size_t n, room;
    int failed; /* 1: there was no memory; what is added then is dropped */
} message;

static void message_free(message *m)
{
    free(m->data);
    *m = (message){ 0 };
}

static void add_raw(message *m, const void *data, size_t bytes)
{
    if (m->n + bytes > m->room) {
        const size_t room = 2 * (m->n + bytes) + 64;
        uint8_t *grown = realloc(m->data, room);
        if (!grown) m->failed = 1;
        if (!grown) return;
        m->data = grown;
        m->room = room;
    }
    if (bytes > 0) memcpy(m->data + m->n, data, bytes);
    m->n += bytes;
}

static void add_little_endian(message *m, uint64_t value, int bytes)
{
    uint8_t byte[8];

    for (int i = 0; i < bytes; i++) byte[i] = (uint8_t)(value >> (8 * i));
    add_raw(m, byte, (size_t)bytes);
}

static void add_varint(message *m, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) add_little_endian(m, (value & 0x7f) | 0x80, 1);
    add_little_endian(m, value, 1);
}

static void add_key(message *m, int field, int wire)
{
    add_varint(m, (uint64_t)field << 3 | (uint64_t)wire);
}

static void add_whole(message *m, int field, int64_t value)
{
    add_key(m, field, WIRE_VARINT);
    add_varint(m, (uint64_t)value);
}

static void add_bits_of(message *m, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    add_little_endian(m, bits, 8);
}

static void add_double(message *m, int field, double value)
{
    add_key(m, field, WIRE_64);
    add_bits_of(m, value);
}

static void add_float(message *m, int field, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    add_key(m, field, WIRE_32);
    add_little_endian(m, bits, 4);
}

static void add_bytes(message *m, int field, const void *data, size_t bytes)
{
    add_key(m, field, WIRE_BYTES);
    add_varint(m, bytes);
    add_raw(m, data, bytes);
}

/* Adds a message as a field, and releases it. */
static void add_message(message *m, int field, message *inner)
{
    add_bytes(m, field, inner->data, inner->n);
    m->failed |= inner->failed;
    message_free(inner);
}

/* ---- records ---- */

/* CRC-32C, Castagnoli's, bit by bit: a run writes little. */
static uint32_t crc32c(const uint8_t *data, size_t n)
{
    uint32_t crc = ~(uint32_t)0;

    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0u);
    }
    return ~crc;
}

static void add_checksum(message *m, const uint8_t *data, size_t n)
{
    const uint32_t crc = crc32c(data, n);

    add_little_endian(m, (uint32_t)((crc >> 15 | crc << 17) + 0xa282ead8u), 4);
}

static dt_status fail(const event_file *f)
{
    return dt_raise(DT_ERR_IO, __FILE__, __LINE__, "%s: %s", f->path, strerror(errno));
}

/* Writes an event as a record, in one piece, and releases it. */
static dt_status write_record(event_file *f, message *event)
{
    message record = { 0 };

    add_little_endian(&record, event->n, 8);
    if (!record.failed) add_checksum(&record, record.data, 8);
    add_raw(&record, event->data, event->n);
    add_checksum(&record, event->data, event->n);
    const int failed = record.failed || event->failed;
    errno = 0;
    const int written = !failed && fwrite(record.data, 1, record.n, f->file) == record.n;
    message_free(event);
    message_free(&record);
    DT_CHECK(!failed, DT_ERR_MEMORY, "%s: no memory for an event", f->path);
    return written ? DT_OK : fail(f);
}

static message begin_event(int64_t step)
{
    struct timespec now;
    message m = { 0 };

    clock_gettime(CLOCK_REALTIME, &now);
    add_double(&m, EVENT_TIME, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    if (step > 0) add_whole(&m, EVENT_STEP, step);
    return m;
}

static dt_status write_head(event_file *f, int64_t first_step)
{
    static const char version[] = "brain.Event:2";
    message head = begin_event(0);

    add_bytes(&head, EVENT_VERSION, version, strlen(version));
    DT_TRY(write_record(f, &head));
    if (first_step > 0) {
        message start = begin_event(first_step), session = { 0 };
        add_whole(&session, SESSION_STATUS, SESSION_START);
        add_message(&start, EVENT_SESSION, &session);
        DT_TRY(write_record(f, &start));
    }
    return event_file_sync(f);
}

dt_status event_file_open(const char *dir, int64_t first_step, event_file **out)
{
    char host[HOST_BYTES] = "";
    event_file *f = calloc(1, sizeof *f);

    DT_CHECK(f, DT_ERR_MEMORY, "no memory for a file of events");
    if (gethostname(host, sizeof host - 1) != 0) snprintf(host, sizeof host, "host");
    /* TensorBoard reads files in the order of their names; a run may go on within a second */
    snprintf(f->path, sizeof f->path, "%s/" EVENT_FILE_PREFIX "%010lld.%010lld.%s.%ld", dir, (long long)time(NULL),
             (long long)first_step, host, (long)getpid());
    f->file = fopen(f->path, "ab");
    const dt_status status = f->file ? write_head(f, first_step) : fail(f);
    if (status != DT_OK)
        event_file_close(f);
    else
        *out = f;
    return status;
}

dt_status event_file_sync(event_file *f)
{
    return fflush(f->file) == 0 && fsync(fileno(f->file)) == 0 ? DT_OK : fail(f);
}

void event_file_close(event_file *f)
{
    if (!f) return;
    if (f->file) fclose(f->file);
    free(f);
}

/* ---- values ---- */

static message begin_value(const char *tag)
{
    message m = { 0 };

    add_bytes(&m, VALUE_TAG, tag, strlen(tag));
    return m;
}

static dt_status write_value(event_file *f, int64_t step, message *value)
{
    message event = begin_event(step), summary = { 0 };

    add_message(&summary, SUMMARY_VALUE, value);
    add_message(&event, EVENT_SUMMARY, &summary);
    return write_record(f, &event);
}

dt_status event_file_scalar(event_file *f, int64_t step, const char *tag, double value)
{
    if (!isfinite(value)) return DT_OK;
    message m = begin_value(tag);
    add_float(&m, VALUE_SCALAR, (float)value);
    return write_value(f, step, &m);
}

static void add_buckets(message *to, const histogram *h)
{
    message limits = { 0 }, counts = { 0 };

    for (int i = 0; i < h->rows; i++) {
        add_bits_of(&limits, (double)(h->low + (i + 1) * h->width) - 0.5);
        add_bits_of(&counts, (double)h->count[i]);
    }
    add_message(to, HISTO_LIMITS, &limits);
    add_message(to, HISTO_COUNTS, &counts);
}

dt_status event_file_histogram(event_file *f, int64_t step, const char *tag, const histogram *h)
{
    message value = begin_value(tag), m = { 0 };

    add_double(&m, HISTO_MIN, (double)h->low - 0.5);
    add_double(&m, HISTO_MAX, (double)(h->low + h->rows * h->width) - 0.5);
    add_double(&m, HISTO_NUM, (double)h->n);
    add_double(&m, HISTO_SUM, h->sum);
    add_double(&m, HISTO_SQUARES, h->squares);
    add_buckets(&m, h);
    add_message(&value, VALUE_HISTOGRAM, &m);
    return write_value(f, step, &value);
}

dt_status event_file_picture(event_file *f, int64_t step, const char *tag, const event_picture *p)
{
    static const char plugin_name[] = "images";
    message value = begin_value(tag), image = { 0 }, metadata = { 0 }, plugin = { 0 };

    add_whole(&image, IMAGE_HEIGHT, p->height);
    add_whole(&image, IMAGE_WIDTH, p->width);
    add_whole(&image, IMAGE_COLOURS, p->channels);
    add_bytes(&image, IMAGE_PNG, p->png, p->bytes);
    add_message(&value, VALUE_IMAGE, &image);
    add_bytes(&plugin, PLUGIN_NAME, plugin_name, strlen(plugin_name));
    add_message(&metadata, METADATA_PLUGIN, &plugin);
    if (p->about) add_bytes(&metadata, METADATA_ABOUT, p->about, strlen(p->about));
    add_message(&value, VALUE_METADATA, &metadata);
    return write_value(f, step, &value);
}
