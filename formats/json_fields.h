/*
 * json_fields.h - writes and reads structs as JSON objects, by a table of their fields.
 *
 * What the writer accepts, the reader accepts, and gives it back with equal bits. The reader wants every field exactly
 * once, of its type and in its range, and no other.
 * Used by: config_json.c, origin_json.c, program_v1.c, fixed_json.c.  Tests: tests/formats/test_config_json.c,
 * tests/formats/test_program_v1.c.
 */
#ifndef DT_JSON_FIELDS_H
#define DT_JSON_FIELDS_H

#include "../core/fields.h"
#include "detent/status.h"
#include "json_value.h"

enum { DT_FIELD_MOST = 64 };

typedef struct {
    const dt_field *field;
    int n_fields;
    const char *list; /* one more field, a list that the caller writes and reads; NULL: none */
    /* Returns 1 if object has the field. When an object is read, the members of earlier fields are set already. NULL if
     * no field has `only`. */
    int (*has)(const dt_field *f, const void *object);
} dt_fields;

/* The place of an object, for messages. `mark` stands between `where` and the name of a field: "model" and ".", or
 * "layer 3 'a'" and ": ". */
typedef struct {
    const char *file, *where, *mark;
} dt_field_place;

/* Adds the fields to object. DT_ERR_ARGUMENT names a value that the reader would refuse. */
DT_MUST_CHECK dt_status dt_fields_write(const dt_fields *s, const dt_field_place *at, const void *from, cJSON *object);
/* Reads the fields from object. DT_ERR_FORMAT names the place, the field, its value and what it must be. */
DT_MUST_CHECK dt_status dt_fields_read(const dt_fields *s, const dt_field_place *at, const cJSON *object, void *to);

/* Returns the item of one field, or NULL if there is no memory or no word for its value. */
cJSON *dt_field_make(const dt_field *f, const void *from);
/* Reads the value of one field from an item. DT_ERR_FORMAT is as that of dt_fields_read. */
DT_MUST_CHECK dt_status dt_field_read(const dt_field *f, const dt_field_place *at, const cJSON *item, void *to);

#endif /* DT_JSON_FIELDS_H */
