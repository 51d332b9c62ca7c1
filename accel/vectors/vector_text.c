/*
 * vector_text.c - lanes to characters and back. A data line has lanes * bits characters, so that a lane is found by
 *                 counting. Interface: vector_text.h.
 * Tests: tests/accel/test_vectors.c, test_vectors_layouts.c, test_vector_headers.c.
 */
#include "vector_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_ROOM = 512 };

/* The lanes of the line of one time step as the notebook names them, but for the last:
 * "#time0row7[msb-lsb],time0row6[msb-lsb],...,". */
static int write_rows(const dt_vector_file *f, int time, char *to, size_t room)
{
    const int last = f->lanes - 1;

    if (last == 0) return snprintf(to, room, "#");
    if (last == 1) return snprintf(to, room, "#time%drow1[msb-lsb],", time);
    return snprintf(to, room, "#time%drow%d[msb-lsb],time%drow%d[msb-lsb],...,", time, last, time, last - 1);
}

/* The notebook's own lines, for readers written for its files. */
static void write_notebook_header(const dt_vector_file *f, char text[HEADER_ROOM])
{
    const int is_relu = f->role == DT_VECTOR_OUTPUT_RELU;
    const int n_times = f->role == DT_VECTOR_ACTIVATION ? 2 : 1;
    int used = snprintf(text, HEADER_ROOM, "%s", is_relu ? "#ReLUed psum output\n" : "");

    for (int time = 0; time < n_times; time++) {
        used += write_rows(f, time, text + used, HEADER_ROOM - (size_t)used);
        if (is_relu) used += snprintf(text + used, HEADER_ROOM - (size_t)used, "row0#\n");
        if (!is_relu) used += snprintf(text + used, HEADER_ROOM - (size_t)used, "time%drow0[msb-lsb]\n", time);
    }
    snprintf(text + used, HEADER_ROOM - (size_t)used, "#.....#\n");
}

/* Lines of one token each: readers that skip tokens would lose data to a blank, and $readmemb skips what begins with
 * slashes. */
static void write_token_header(const dt_vector_file *f, char text[HEADER_ROOM])
{
    char bits[64];
    int used = 0;

    snprintf(bits, sizeof bits, "%d_bits_a_lane,msb_first,%s", f->bits, f->is_signed ? "signed" : "unsigned");
    for (int line = 0; line < f->header_lines; line++) {
        const char *words = line == 0 ? f->order : line == 1 ? bits : "................";
        used += snprintf(text + used, HEADER_ROOM - (size_t)used, "//%s\n", words);
    }
    for (char *p = text; *p; p++) {
        if (*p == ' ') *p = '_';
    }
}

static void write_header(const dt_vectors *v, const dt_vector_file *f, char text[HEADER_ROOM])
{
    text[0] = '\0';
    if (f->header_lines == 0) return;
    if (v->layout == DT_LAYOUT_NOTEBOOK && v->header_lines == DT_HEADER_OF_LAYOUT)
        write_notebook_header(f, text);
    else
        write_token_header(f, text);
}

static size_t line_bytes(const dt_vector_file *f)
{
    return (size_t)f->lanes * (size_t)f->bits + 1;
}

dt_status dt_vector_text_begin(const dt_vectors *v, dt_vector_file *f)
{
    char head[HEADER_ROOM];

    write_header(v, f, head);
    const size_t head_bytes = strlen(head), bytes = head_bytes + (size_t)f->lines * line_bytes(f);
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
    char *at = f->text;

    for (int line = 0; line < f->header_lines; line++) at = strchr(at, '\n') + 1;
    return at;
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

/* What a comment says is for people. */
static dt_status check_header(const dt_vector_file *f)
{
    const char *at = f->text;

    for (int line = 0; line < f->header_lines; line++) {
        const size_t n = strcspn(at, "\n");
        DT_CHECK((*at == '#' || strncmp(at, "//", 2) == 0) && at[n] == '\n', DT_ERR_FORMAT,
                 "%s: line %d begins with '%.*s', expected '//' or '#': %d lines of comments stand before the data",
                 f->name, line + 1, n < 16 ? (int)n : 16, at, f->header_lines);
        at += n + 1;
    }
    return DT_OK;
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
    DT_CHECK(f->text, DT_ERR_ARGUMENT, "%s: its text has not been read", f->name);
    DT_TRY(check_header(f));
    const size_t head_bytes = (size_t)(dt_vector_text_data(f) - f->text);
    const size_t bytes = head_bytes + (size_t)f->lines * line_bytes(f);
    DT_CHECK(f->bytes == bytes, DT_ERR_FORMAT, "%s: has %zu bytes, its %d lines of %d lanes of %d bits need %zu",
             f->name, f->bytes, f->lines, f->lanes, f->bits, bytes);
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
    const size_t head_bytes = (size_t)(data - f->text);
    const size_t bytes = head_bytes + (size_t)f->lines * (size_t)f->lanes * lane_bytes;

    twin->text = malloc(bytes + 1);
    DT_CHECK(twin->text, DT_ERR_MEMORY, "%s: no memory for %zu bytes", twin->name, bytes);
    twin->bytes = bytes;
    memcpy(twin->text, f->text, head_bytes);
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
