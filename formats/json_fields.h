/*
 * json_fields.h - structs as JSON objects, by a table of their fields: written, read, shown.
 *
 * Strict both ways: what writing accepts reading accepts, with equal bits; reading wants every field exactly once, of
 * its type and in its range, and no other.
 * Used by: config_json.c, origin_json.c, program_v1.c, fixed_json.c.  Tests: tests/formats/test_config_json.c,
 * tests/formats/test_program_v1.c.
 */
#ifndef DT_JSON_FIELDS_H
#define DT_JSON_FIELDS_H

#include "../core/fields.h"
#include "detent/status.h"
#include "json_value.h"

enum { DT_FIELD_MOST = 8 };

typedef struct {
    const dt_field *field;
    int n_fields;
    const char *list; /* a field beside those, which the caller writes and reads; or NULL */
    /* Whether object has the field. When it is read, the members of earlier fields are set. NULL if all are always. */
    int (*has)(const dt_field *f, const void *object);
} dt_fields;

/* Where an object stands, for messages: mark is between `where` and a field: "model" ".", "layer 3 'a'" ": ". */
typedef struct {
    const char *file, *where, *mark;
} dt_field_place;

/* Adds the fields to object. DT_ERR_ARGUMENT names a value that reading would refuse. */
DT_MUST_CHECK dt_status dt_fields_write(const dt_fields *s, const dt_field_place *at, const void *from, cJSON *object);
/* DT_ERR_FORMAT names the place, the field, its value and what it must be. */
DT_MUST_CHECK dt_status dt_fields_read(const dt_fields *s, const dt_field_place *at, const cJSON *object, void *to);

/* One field: its item, NULL where memory is short or a word unknown; and its value from an item. */
cJSON *dt_field_make(const dt_field *f, const void *from);
DT_MUST_CHECK dt_status dt_field_read(const dt_field *f, const dt_field_place *at, const cJSON *item, void *to);

#endif /* DT_JSON_FIELDS_H */
