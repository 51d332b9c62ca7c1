/*
 * json_fields.c - walks a table of fields. Interface: json_fields.h.
 */
#include "json_fields.h"
#include "../models/networks.h"

#include <stdint.h>
#include <string.h>

/* Printable ASCII that fits. */
static int good_text(const char *text, size_t room)
{
    if (strlen(text) >= room) return 0;
    for (; *text; text++) {
        if (*text < ' ' || *text > '~') return 0;
    }
    return 1;
}

static int parse_number(const dt_field *f, const cJSON *item, void *to)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= f->min && item->valuedouble <= f->max)) return 0;
    if (f->kind == DT_FIELD_FLOAT) {
        *(float *)to = (float)item->valuedouble;
        return 1;
    }
    if (f->kind == DT_FIELD_LONG) {
        *(int64_t *)to = (int64_t)item->valuedouble;
        return (double)*(int64_t *)to == item->valuedouble;
    }
    *(int *)to = (int)item->valuedouble;
    return (double)*(int *)to == item->valuedouble;
}

static int parse_text(const dt_field *f, const char *text, void *to)
{
    if (f->kind == DT_FIELD_TEXT) {
        if (!good_text(text, (size_t)f->max)) return 0;
        memcpy(to, text, strlen(text) + 1);
        return 1;
    }
    if (f->kind == DT_FIELD_NETWORK) {
        const dt_network *n = dt_network_find(text);
        if (n) *(const char **)to = n->name; /* static, where the JSON's text dies with it */
        return n != NULL;
    }
    for (int i = 0; i <= (int)f->max; i++) {
        if (strcmp(text, f->words[i]) != 0) continue;
        *(int *)to = i;
        return 1;
    }
    return 0;
}

static int parse_value(const dt_field *f, const cJSON *item, void *to)
{
    if (f->kind <= DT_FIELD_FLOAT) return parse_number(f, item, to);
    return cJSON_IsString(item) && parse_text(f, item->valuestring, to);
}

_Static_assert(sizeof(float) == sizeof(int), "elements of both kinds of array have one width");

/* Bytes of one element of an array. */
static size_t element_bytes(const dt_field *f)
{
    return f->kind == DT_FIELD_LONG ? sizeof(int64_t) : sizeof(int);
}

static int parse_field(const dt_field *f, const cJSON *item, char *to)
{
    if (f->count == 0) return parse_value(f, item, to);
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != f->count) return 0;

    int ok = 1;
    const cJSON *element;
    cJSON_ArrayForEach(element, item)
    {
        ok = ok && parse_value(f, element, to);
        to += element_bytes(f);
    }
    return ok;
}

/* "a whole number of 1..8", "one of sgd, adam" */
static const char *expected_text(const dt_field *f, char *text, size_t bytes)
{
    if (f->kind == DT_FIELD_NETWORK) {
        snprintf(text, bytes, "one of %s", dt_network_names());
    } else if (f->kind == DT_FIELD_TEXT) {
        snprintf(text, bytes, "up to %d printable ASCII characters", (int)f->max - 1);
    } else if (f->kind == DT_FIELD_WORD) {
        size_t used = (size_t)snprintf(text, bytes, "one of %s", f->words[0]);
        for (int i = 1; i <= (int)f->max && used < bytes; i++) {
            used += (size_t)snprintf(text + used, bytes - used, ", %s", f->words[i]);
        }
    } else {
        const int real = f->kind == DT_FIELD_FLOAT;
        const char *what = f->count ? (real ? "a list of numbers" : "a list of whole numbers")
                                    : (real ? "a number" : "a whole number");
        snprintf(text, bytes, "%s of %.10g..%.10g", what, f->min, f->max);
    }
    return text;
}

static dt_status read_item(const dt_field *f, const dt_field_place *at, const cJSON *item, dt_status kind, void *to)
{
    char got[64], expected[128];

    DT_CHECK(parse_field(f, item, to), kind, "%s: %s%s%s is %s, expected %s", at->file, at->where, at->mark, f->name,
             dt_json_text(item, got, sizeof got), expected_text(f, expected, sizeof expected));
    return DT_OK;
}

dt_status dt_field_read(const dt_field *f, const dt_field_place *at, const cJSON *item, void *to)
{
    DT_TRY(read_item(f, at, item, DT_ERR_FORMAT, to));
    return DT_OK;
}

static cJSON *make_value(const dt_field *f, const void *from)
{
    if (f->kind == DT_FIELD_FLOAT) return cJSON_CreateNumber(dt_json_shortest(*(const float *)from));
    if (f->kind == DT_FIELD_TEXT) return cJSON_CreateString(from);
    if (f->kind == DT_FIELD_NETWORK) return cJSON_CreateString(*(const char *const *)from);

    if (f->kind == DT_FIELD_LONG) return cJSON_CreateNumber((double)*(const int64_t *)from);

    const int value = *(const int *)from;
    if (f->kind == DT_FIELD_INT) return cJSON_CreateNumber(value);
    return value >= 0 && value <= (int)f->max ? cJSON_CreateString(f->words[value]) : NULL;
}

cJSON *dt_field_make(const dt_field *f, const void *from)
{
    if (f->count == 0) return make_value(f, from);

    cJSON *array = cJSON_CreateArray();
    for (int i = 0; array && i < f->count; i++) {
        if (cJSON_AddItemToArray(array, make_value(f, (const char *)from + (size_t)i * element_bytes(f)))) continue;
        cJSON_Delete(array);
        return NULL;
    }
    return array;
}

static int has_field(const dt_fields *s, int i, const void *object)
{
    return s->field[i].only == 0 || s->has(&s->field[i], object);
}

dt_status dt_fields_write(const dt_fields *s, const dt_field_place *at, const void *from, cJSON *object)
{
    for (int i = 0; i < s->n_fields; i++) {
        const dt_field *f = &s->field[i];
        union {
            const char *name;
            char text[64];
            float number;
            int64_t numbers[DT_FIELD_MOST]; /* or ints, or floats */
        } checked;                          /* what a reader would make of it */
        if (!has_field(s, i, from)) continue;

        cJSON *item = dt_field_make(f, (const char *)from + f->offset);
        const int lost = !item && dt_json_lost(); /* else it is a number that no word stands for */
        const dt_status bad = lost ? DT_OK : read_item(f, at, item, DT_ERR_ARGUMENT, &checked);
        if (item && bad == DT_OK && cJSON_AddItemToObjectCS(object, f->name, item)) continue;
        cJSON_Delete(item);
        DT_TRY(bad);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %s%s%s", at->where, at->mark, f->name);
    }
    return DT_OK;
}

static int is_known(const dt_fields *s, const char *name)
{
    for (int i = 0; i < s->n_fields; i++) {
        if (strcmp(s->field[i].name, name) == 0) return 1;
    }
    return s->list && strcmp(s->list, name) == 0;
}

static dt_status check_names(const dt_fields *s, const dt_field_place *at, const cJSON *object)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, object)
    {
        DT_CHECK(is_known(s, item->string), DT_ERR_FORMAT, "%s: %s%s%.40s is not a field of this version", at->file,
                 at->where, at->mark, item->string);
        DT_CHECK(cJSON_GetObjectItemCaseSensitive(object, item->string) == item, DT_ERR_FORMAT,
                 "%s: %s%s%s stands there twice", at->file, at->where, at->mark, item->string);
    }
    return DT_OK;
}

dt_status dt_fields_read(const dt_fields *s, const dt_field_place *at, const cJSON *object, void *to)
{
    DT_CHECK(cJSON_IsObject(object), DT_ERR_FORMAT, "%s: %s is not a JSON object", at->file, at->where);
    DT_TRY(check_names(s, at, object));
    for (int i = 0; i < s->n_fields; i++) {
        const dt_field *f = &s->field[i];
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, f->name);
        if (!has_field(s, i, to)) {
            DT_CHECK(!item, DT_ERR_FORMAT, "%s: %s%s%s does not belong there", at->file, at->where, at->mark, f->name);
            continue;
        }
        DT_CHECK(item, DT_ERR_FORMAT, "%s: %s%s%s is missing", at->file, at->where, at->mark, f->name);
        DT_TRY(read_item(f, at, item, DT_ERR_FORMAT, (char *)to + f->offset));
    }
    DT_CHECK(!s->list || cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(object, s->list)), DT_ERR_FORMAT,
             "%s: %s%s%s is not a list", at->file, at->where, at->mark, s->list);
    return DT_OK;
}
