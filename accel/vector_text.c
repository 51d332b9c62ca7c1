/*
 * vector_text.c - lanes to characters and back. A data line has lanes * bits characters, so that a lane is found by
 *                 counting. Interface: vector_text.h.  Tests: tests/test_vectors.c.
 */
#include "vector_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_ROOM = 256 };

/* Three lines of one token each: readers skip tokens, so that a blank would cost them data. Returns its bytes. */
static size_t header(const dt_vector_file *f, char text[HEADER_ROOM])
{
    text[0] = '\0';
    if (f->header_lines == 0) return 0;

    const int n = snprintf(text, HEADER_ROOM, "#%s#\n#%d_bits_a_lane,msb_first,%s#\n#................#\n", f->order,
                           f->bits, f->is_signed ? "signed" : "unsigned");
    for (char *p = text; *p; p++) {
        if (*p == ' ') *p = '_';
    }
    return (size_t)n;
}

static size_t line_bytes(const dt_vector_file *f)
{
    return (size_t)f->lanes * (size_t)f->bits + 1;
}

dt_status dt_vector_text_begin(dt_vector_file *f)
{
    char head[HEADER_ROOM];
    const size_t head_bytes = header(f, head), bytes = head_bytes + (size_t)f->lines * line_bytes(f);

    f->text = malloc(bytes + 1);
    DT_CHECK(f->text, DT_ERR_MEMORY, "%s: no memory for %zu bytes", f->name, bytes);
    f->bytes = bytes;
    memcpy(f->text, head, head_bytes);
    memset(f->text + head_bytes, '0', bytes - head_bytes);
    for (size_t end = head_bytes + line_bytes(f); end <= bytes; end += line_bytes(f)) f->text[end - 1] = '\n';
    f->text[bytes] = '\0';
    return DT_OK;
}

char *dt_vector_text_data(const dt_vector_file *f)
{
    char head[HEADER_ROOM];

    return f->text + header(f, head);
}

void dt_vector_text_put(const dt_vector_file *f, char *data, int line, int lane, int64_t value)
{
    char *at = data + (size_t)line * line_bytes(f) + (size_t)lane * (size_t)f->bits;

    for (int bit = f->bits - 1; bit >= 0; bit--) *at++ = (char)('0' + (value >> bit & 1));
}

int64_t dt_vector_text_get(const dt_vector_file *f, const char *data, int line, int lane)
{
    const char *at = data + (size_t)line * line_bytes(f) + (size_t)lane * (size_t)f->bits;
    int64_t value = f->is_signed && *at == '1' ? -1 : 0;

    for (int bit = 0; bit < f->bits; bit++) value = value * 2 + (*at++ - '0');
    return value;
}

static dt_status check_line(const dt_vector_file *f, const char *at, int line)
{
    const size_t n = line_bytes(f) - 1;

    for (size_t i = 0; i <= n; i++) {
        const int good = i < n ? at[i] == '0' || at[i] == '1' : at[i] == '\n';
        DT_CHECK(good, DT_ERR_FORMAT, "%s: line %d, character %zu is 0x%02x, expected %s", f->name,
                 f->header_lines + line + 1, i + 1, (unsigned char)at[i], i < n ? "0 or 1" : "the end of the line");
    }
    return DT_OK;
}

dt_status dt_vector_text_check(const dt_vector_file *f)
{
    char head[HEADER_ROOM];
    const size_t head_bytes = header(f, head), bytes = head_bytes + (size_t)f->lines * line_bytes(f);

    DT_CHECK(f->text, DT_ERR_ARGUMENT, "%s: its text has not been read", f->name);
    DT_CHECK(f->bytes == bytes, DT_ERR_FORMAT, "%s: has %zu bytes, its %d lines of %d lanes of %d bits need %zu",
             f->name, f->bytes, f->lines, f->lanes, f->bits, bytes);
    DT_CHECK(memcmp(f->text, head, head_bytes) == 0, DT_ERR_FORMAT, "%s: its header is not '%.*s'", f->name,
             (int)strcspn(head, "\n"), head);
    for (int line = 0; line < f->lines; line++) {
        DT_TRY(check_line(f, f->text + head_bytes + (size_t)line * line_bytes(f), line));
    }
    return DT_OK;
}

/* Characters of a lane in a twin; every value of so many bits leaves a blank before it or is the first. */
static int twin_width(int bits)
{
    return bits <= 6 ? 3 : bits <= 16 ? 6 : 12;
}

dt_status dt_vector_text_twin(const dt_vector_file *f, dt_vector_file *twin)
{
    const int width = twin_width(f->bits);
    const size_t lane_bytes = (size_t)width + 1; /* and a blank, or the end of the line */
    const char *data = dt_vector_text_data(f);
    char head[HEADER_ROOM];
    const size_t head_bytes = header(f, head);
    const size_t bytes = head_bytes + (size_t)f->lines * (size_t)f->lanes * lane_bytes;

    twin->text = malloc(bytes + 1);
    DT_CHECK(twin->text, DT_ERR_MEMORY, "%s: no memory for %zu bytes", twin->name, bytes);
    twin->bytes = bytes;
    memcpy(twin->text, head, head_bytes);
    char *at = twin->text + head_bytes;
    for (int line = 0; line < f->lines; line++) {
        for (int lane = 0; lane < f->lanes; lane++) {
            snprintf(at, lane_bytes + 1, "%*" PRId64 "%c", width, dt_vector_text_get(f, data, line, lane),
                     lane + 1 < f->lanes ? ' ' : '\n');
            at += lane_bytes;
        }
    }
    return DT_OK;
}
