/*
 * onnx_wire.c - see onnx_wire.h.
 */
#include "onnx_wire.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { VARINT_BYTES = 10, FIELD_MOST = (1 << 29) - 1 };

dt_status dt_onnx_varint(dt_onnx_message *m, uint64_t *out)
{
    const uint64_t left = m->end - m->at;
    const size_t n = left < VARINT_BYTES ? (size_t)left : VARINT_BYTES;
    const unsigned char *byte;
    uint64_t value = 0;

    DT_TRY(dt_onnx_source_look(m->source, m->at, n, &byte));
    for (size_t i = 0; i < n; i++) {
        value |= (uint64_t)(byte[i] & 0x7f) << (7 * i);
        if (byte[i] & 0x80) continue;
        DT_WIRE_CHECK(i < VARINT_BYTES - 1 || byte[i] <= 1, m, "a number of more than %d bits", 64);
        m->at += i + 1;
        *out = value;
        return DT_OK;
    }
    DT_WIRE_CHECK(0, m, "a number does not end within %zu bytes", n);
}

static dt_status read_fixed(dt_onnx_message *m, size_t n, uint64_t *out)
{
    const unsigned char *byte;

    DT_WIRE_CHECK(n <= m->end - m->at, m, "a number of %zu bytes, of which %" PRIu64 " are left", n, m->end - m->at);
    DT_TRY(dt_onnx_source_look(m->source, m->at, n, &byte));
    *out = 0;
    for (size_t i = 0; i < n; i++) *out |= (uint64_t)byte[i] << (8 * i);
    m->at += n;
    return DT_OK;
}

dt_status dt_onnx_next(dt_onnx_message *m, dt_onnx_field *f, int *is_there)
{
    uint64_t key;

    *is_there = m->at < m->end;
    if (!*is_there) return DT_OK;
    DT_TRY(dt_onnx_varint(m, &key));
    const uint64_t number = key >> 3;
    DT_WIRE_CHECK(number >= 1 && number <= FIELD_MOST, m, "a field of the number %" PRIu64, number);
    *f = (dt_onnx_field){ .number = (int)number, .wire = (dt_wire)(key & 7) };
    switch (f->wire) {
    case DT_WIRE_VARINT: return dt_onnx_varint(m, &f->value);
    case DT_WIRE_8: return read_fixed(m, 8, &f->value);
    case DT_WIRE_4: return read_fixed(m, 4, &f->value);
    case DT_WIRE_BYTES: break;
    default:
        DT_WIRE_CHECK(0, m, "field %d has the wire type %d; understood are 0, 1, 2 and 5", f->number, (int)f->wire);
    }
    DT_TRY(dt_onnx_varint(m, &f->bytes));
    DT_WIRE_CHECK(f->bytes <= m->end - m->at, m, "field %d has %" PRIu64 " bytes, and %" PRIu64 " are left", f->number,
                  f->bytes, m->end - m->at);
    f->at = m->at;
    m->at += f->bytes;
    return DT_OK;
}

dt_status dt_onnx_child(const dt_onnx_message *m, const dt_onnx_field *f, const char *what, dt_onnx_message *child)
{
    DT_WIRE_CHECK(f->wire == DT_WIRE_BYTES, m, "field %d has the wire type %d, needed is %d for %s", f->number,
                  (int)f->wire, DT_WIRE_BYTES, what);
    *child = (dt_onnx_message){ m->source, what, f->at, f->at + f->bytes };
    return DT_OK;
}

dt_status dt_onnx_integer(const dt_onnx_message *m, const dt_onnx_field *f, int64_t low, int64_t high, int64_t *out)
{
    const int64_t value = (int64_t)f->value;

    DT_WIRE_CHECK(f->wire == DT_WIRE_VARINT, m, "field %d has the wire type %d, needed is %d for a number", f->number,
                  (int)f->wire, DT_WIRE_VARINT);
    DT_WIRE_CHECK(value >= low && value <= high, m, "field %d is %" PRId64 "; understood are %" PRId64 " to %" PRId64,
                  f->number, value, low, high);
    *out = value;
    return DT_OK;
}

dt_status dt_onnx_real(const dt_onnx_message *m, const dt_onnx_field *f, float *out)
{
    const uint32_t bits = (uint32_t)f->value;

    DT_WIRE_CHECK(f->wire == DT_WIRE_4, m, "field %d has the wire type %d, needed is %d for a float", f->number,
                  (int)f->wire, DT_WIRE_4);
    memcpy(out, &bits, sizeof *out);
    return DT_OK;
}

dt_status dt_onnx_text(const dt_onnx_message *m, const dt_onnx_field *f, char **out)
{
    DT_WIRE_CHECK(f->wire == DT_WIRE_BYTES, m, "field %d has the wire type %d, needed is %d for a text", f->number,
                  (int)f->wire, DT_WIRE_BYTES);
    DT_WIRE_CHECK(f->bytes <= DT_ONNX_TEXT, m, "field %d is a text of %" PRIu64 " bytes; understood are %d", f->number,
                  f->bytes, DT_ONNX_TEXT);
    char *text = malloc((size_t)f->bytes + 1);
    DT_CHECK(text, DT_ERR_MEMORY, "%s: no memory for a text of %" PRIu64 " bytes", m->source->path, f->bytes);
    free(*out);
    *out = text;
    text[0] = '\0'; /* whole, if the reading fails */
    DT_TRY(dt_onnx_source_read(m->source, f->at, (size_t)f->bytes, text));
    text[f->bytes] = '\0';
    DT_WIRE_CHECK(strlen(text) == f->bytes, m, "field %d is a text with a NUL inside, at %zu of %" PRIu64, f->number,
                  strlen(text), f->bytes);
    return DT_OK;
}
