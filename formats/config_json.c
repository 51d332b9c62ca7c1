/*
 * config_json.c - one table of fields a configuration, walked to write, read and compare it.
 *
 * Ranges here are those of any sane run; what a network or a trainer allows is checked where they are made.
 * Interface: config_json.h.  Tests: tests/test_config_json.c.
 */
#include "config_json.h"
#include "../core/model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { FIELD_INT, FIELD_FLOAT, FIELD_WORD, FIELD_NETWORK } field_kind;

typedef struct {
    const char *name;
    size_t offset;
    field_kind kind;
    double min, max;          /* of the number; of a word's index */
    const char *const *words; /* WORD */
    int count;                /* INT: 0, or the length of an array */
} field;

typedef struct {
    const char *what; /* "model" */
    const field *fields;
    int n_fields;
} schema;

#define LENGTH(array) ((int)(sizeof(array) / sizeof(array)[0]))

/* Parts of a row: the member, then its kind and range. */
#define AT(type, member)  #member, offsetof(type, member)
#define INT(min, max)     FIELD_INT, min, max, NULL, 0
#define INTS(n, min, max) FIELD_INT, min, max, NULL, n
#define FLOAT(min, max)   FIELD_FLOAT, min, max, NULL, 0
#define WORD(words)       FIELD_WORD, 0, LENGTH(words) - 2, words, 0 /* they end with NULL */
#define NETWORK           FIELD_NETWORK, 0, 0, NULL, 0

/* A word is read and written through an int. */
_Static_assert(sizeof(dt_quant_rule) == sizeof(int) && sizeof(dt_optim_kind) == sizeof(int) &&
                   sizeof(dt_schedule_kind) == sizeof(int),
               "enumerations have the size of int");

static const field model_fields[] = {
    { AT(dt_model_config, name), NETWORK },
    { AT(dt_model_config, height), INT(1, 65536) },
    { AT(dt_model_config, width), INT(1, 65536) },
    { AT(dt_model_config, channels), INT(1, 4) },
    { AT(dt_model_config, n_classes), INT(1, INT_MAX) },
    { AT(dt_model_config, choke), INT(0, 65536) },
    { AT(dt_model_config, skip_block), INT(0, 1) },
    { AT(dt_model_config, wbits), INT(2, DT_BITS_FLOAT) },
    { AT(dt_model_config, abits), INT(2, DT_BITS_FLOAT) },
    { AT(dt_model_config, input_bits), INT(0, 8) },
    { AT(dt_model_config, per_channel), INT(0, 1) },
    { AT(dt_model_config, rule), WORD(dt_quant_rule_names) },
};

static const field train_fields[] = {
    { AT(dt_train_config, batch), INT(1, INT_MAX) },
    { AT(dt_train_config, epochs), INT(0, INT_MAX) },
    { AT(dt_train_config, optim), WORD(dt_optim_names) },
    { AT(dt_train_config, lr), FLOAT(0, 1e30) },
    { AT(dt_train_config, momentum), FLOAT(0, 1) },
    { AT(dt_train_config, beta1), FLOAT(0, 1) },
    { AT(dt_train_config, beta2), FLOAT(0, 1) },
    { AT(dt_train_config, epsilon), FLOAT(0, 1e30) },
    { AT(dt_train_config, weight_decay), FLOAT(0, 1e30) },
    { AT(dt_train_config, alpha_lr), FLOAT(0, 1e30) },
    { AT(dt_train_config, alpha_decay), FLOAT(0, 1e30) },
    { AT(dt_train_config, schedule), WORD(dt_schedule_names) },
    { AT(dt_train_config, step_epochs), INTS(2, 0, INT_MAX) },
    { AT(dt_train_config, gamma), FLOAT(0, 1e30) },
    { AT(dt_train_config, label_smoothing), FLOAT(0, 1) },
    { AT(dt_train_config, crop_pad), INT(0, 65536) },
    { AT(dt_train_config, flip), INT(0, 1) },
};

static const schema model_schema = { "model", model_fields, LENGTH(model_fields) };
static const schema train_schema = { "train", train_fields, LENGTH(train_fields) };

/* The double with the fewest decimals that is still f: 0.01, where (double)0.01f prints as 0.0099999997764825821. */
static double shortest(float f)
{
    char text[32];

    for (int digits = 6; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, f);
        const double d = strtod(text, NULL);
        if ((float)d == f) return d;
    }
    return f;
}

/* The value as a JSON item; NULL if memory is short or a WORD has no word. */
static cJSON *make_value(const field *f, const void *at)
{
    if (f->kind == FIELD_FLOAT) return cJSON_CreateNumber(shortest(*(const float *)at));
    if (f->kind == FIELD_NETWORK) return cJSON_CreateString(*(const char *const *)at);

    const int value = *(const int *)at;
    if (f->kind == FIELD_INT) return cJSON_CreateNumber(value);
    return value >= f->min && value <= f->max ? cJSON_CreateString(f->words[value]) : NULL;
}

static cJSON *make_field(const field *f, const char *at)
{
    if (f->count == 0) return make_value(f, at);

    cJSON *array = cJSON_CreateArray();
    for (int i = 0; array && i < f->count; i++) {
        if (cJSON_AddItemToArray(array, make_value(f, at + (size_t)i * sizeof(int)))) continue;
        cJSON_Delete(array);
        return NULL;
    }
    return array;
}

/* The text of an item for messages, cut to fit. */
static const char *item_text(const cJSON *item, char *text, size_t bytes)
{
    char *all = item ? cJSON_PrintUnformatted(item) : NULL;

    snprintf(text, bytes, "%s", all ? all : "(no value)");
    cJSON_free(all);
    return text;
}

static int parse_value(const field *f, const cJSON *item, void *to)
{
    if (f->kind == FIELD_INT || f->kind == FIELD_FLOAT) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= f->min && item->valuedouble <= f->max)) return 0;
        if (f->kind == FIELD_FLOAT)
            *(float *)to = (float)item->valuedouble;
        else
            *(int *)to = (int)item->valuedouble;
        return f->kind == FIELD_FLOAT || (double)*(int *)to == item->valuedouble;
    }
    if (!cJSON_IsString(item)) return 0;
    if (f->kind == FIELD_NETWORK) {
        const dt_network *network = dt_network_find(item->valuestring);
        if (network) *(const char **)to = network->name; /* static, where the JSON's text dies with it */
        return network != NULL;
    }
    for (int i = 0; i <= (int)f->max; i++) {
        if (strcmp(item->valuestring, f->words[i]) != 0) continue;
        *(int *)to = i;
        return 1;
    }
    return 0;
}

static int parse_field(const field *f, const cJSON *item, char *to)
{
    if (f->count == 0) return parse_value(f, item, to);
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != f->count) return 0;

    int ok = 1;
    const cJSON *element;
    cJSON_ArrayForEach(element, item)
    {
        ok = ok && parse_value(f, element, to);
        to += sizeof(int);
    }
    return ok;
}

/* "a whole number of 1..8", "one of sgd, adam" */
static const char *expected_text(const field *f, char *text, size_t bytes)
{
    if (f->kind == FIELD_NETWORK) {
        snprintf(text, bytes, "one of %s", dt_network_names());
    } else if (f->kind == FIELD_WORD) {
        size_t used = (size_t)snprintf(text, bytes, "one of %s", f->words[0]);
        for (int i = 1; i <= (int)f->max && used < bytes; i++) {
            used += (size_t)snprintf(text + used, bytes - used, ", %s", f->words[i]);
        }
    } else {
        const char *what = f->kind == FIELD_FLOAT ? "a number"
                           : f->count             ? "a list of whole numbers"
                                                  : "a whole number";
        snprintf(text, bytes, "%s of %.10g..%.10g", what, f->min, f->max);
    }
    return text;
}

/* Refuses an item that is not a value of the field. */
static dt_status read_field(const schema *s, const field *f, const cJSON *item, const char *file, dt_status kind,
                            char *to)
{
    char got[64], expected[96];

    DT_CHECK(parse_field(f, item, to), kind, "%s: %s.%s is %s, expected %s", file, s->what, f->name,
             item_text(item, got, sizeof got), expected_text(f, expected, sizeof expected));
    return DT_OK;
}

static dt_status write_config(const schema *s, const char *config, cJSON *object)
{
    for (int i = 0; i < s->n_fields; i++) {
        const field *f = &s->fields[i];
        union {
            const char *text;
            float number;
            int numbers[4];
        } checked; /* what a reader would make of it */
        cJSON *item = make_field(f, config + f->offset);
        const dt_status bad = read_field(s, f, item, "configuration", DT_ERR_ARGUMENT, (char *)&checked);

        if (bad == DT_OK && cJSON_AddItemToObjectCS(object, f->name, item)) continue;
        cJSON_Delete(item);
        DT_TRY(bad);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %s.%s", s->what, f->name);
    }
    return DT_OK;
}

static int known_field(const schema *s, const char *name)
{
    for (int i = 0; i < s->n_fields; i++) {
        if (strcmp(s->fields[i].name, name) == 0) return 1;
    }
    return 0;
}

static dt_status read_config(const schema *s, const cJSON *object, const char *file, char *config)
{
    const cJSON *item;

    DT_CHECK(cJSON_IsObject(object), DT_ERR_FORMAT, "%s: %s is not a JSON object", file, s->what);
    cJSON_ArrayForEach(item, object)
    {
        DT_CHECK(known_field(s, item->string), DT_ERR_FORMAT, "%s: %s.%.40s is not a field of this version", file,
                 s->what, item->string);
        DT_CHECK(cJSON_GetObjectItemCaseSensitive(object, item->string) == item, DT_ERR_FORMAT,
                 "%s: %s.%s stands there twice", file, s->what, item->string);
    }
    for (int i = 0; i < s->n_fields; i++) {
        const field *f = &s->fields[i];
        item = cJSON_GetObjectItemCaseSensitive(object, f->name);
        DT_CHECK(item, DT_ERR_FORMAT, "%s: %s.%s is missing", file, s->what, f->name);
        DT_TRY(read_field(s, f, item, file, DT_ERR_FORMAT, config + f->offset));
    }
    return DT_OK;
}

static int same_field(const field *f, const char *a, const char *b)
{
    if (f->kind == FIELD_NETWORK) return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    if (f->kind == FIELD_FLOAT) return *(const float *)a == *(const float *)b;
    return memcmp(a, b, (size_t)(f->count ? f->count : 1) * sizeof(int)) == 0;
}

static dt_status match_config(const schema *s, const char *saved, const char *here, const char *file)
{
    for (int i = 0; i < s->n_fields; i++) {
        const field *f = &s->fields[i];
        char saved_text[64], here_text[64];
        if (same_field(f, saved + f->offset, here + f->offset)) continue;

        cJSON *saved_item = make_field(f, saved + f->offset);
        cJSON *here_item = make_field(f, here + f->offset);
        item_text(saved_item, saved_text, sizeof saved_text);
        item_text(here_item, here_text, sizeof here_text);
        cJSON_Delete(saved_item);
        cJSON_Delete(here_item);
        return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                        "%s: the run was started with %s.%s = %s, here it is %s; resume with the value it started with",
                        file, s->what, f->name, saved_text, here_text);
    }
    return DT_OK;
}

dt_status dt_model_config_write(const dt_model_config *cfg, cJSON *object)
{
    DT_TRY(write_config(&model_schema, (const char *)cfg, object));
    return DT_OK;
}

dt_status dt_train_config_write(const dt_train_config *cfg, cJSON *object)
{
    DT_TRY(write_config(&train_schema, (const char *)cfg, object));
    return DT_OK;
}

dt_status dt_model_config_read(const cJSON *object, const char *file, dt_model_config *out)
{
    dt_model_config cfg = { 0 };

    DT_TRY(read_config(&model_schema, object, file, (char *)&cfg));
    *out = cfg;
    return DT_OK;
}

dt_status dt_train_config_read(const cJSON *object, const char *file, dt_train_config *out)
{
    dt_train_config cfg = { 0 };

    DT_TRY(read_config(&train_schema, object, file, (char *)&cfg));
    *out = cfg;
    return DT_OK;
}

dt_status dt_model_config_match(const dt_model_config *saved, const dt_model_config *here, const char *file)
{
    DT_TRY(match_config(&model_schema, (const char *)saved, (const char *)here, file));
    return DT_OK;
}

dt_status dt_train_config_match(const dt_train_config *saved, const dt_train_config *here, const char *file)
{
    DT_TRY(match_config(&train_schema, (const char *)saved, (const char *)here, file));
    return DT_OK;
}
