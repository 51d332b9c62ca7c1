/*
 * option_values.c - the value of an option as text, and all of them as config.json, by the rows of settings.c.
 *
 * Tests: tests/cli/test_cli.sh, tests/cli/test_cli_numbers.sh.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void option_range(const option_row *row, char *text, size_t bytes)
{
    int used = 0;

    *text = '\0';
    if (row->kind == KIND_WORD) {
        for (int i = 0; row->words[i] && used < (int)bytes; i++) {
            used += snprintf(text + used, bytes - (size_t)used, "%s%s", i ? ", " : "", row->words[i]);
        }
    } else if (row->kind != KIND_TEXT && row->kind != KIND_FLAG) {
        used = snprintf(text, bytes, "%.16g..%.16g", row->min, row->max);
        if (row->special) snprintf(text + used, bytes - (size_t)used, " or %s", row->special);
    }
}

static dt_status refuse(const option_row *row, const char *text)
{
    char range[HELP_BYTES];

    option_range(row, range, sizeof range);
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "--%s %s: expected %s%s", row->name, *text ? text : "''",
                    range,
                    row->kind == KIND_PAIR    ? " twice, as A,B"
                    : row->kind == KIND_SHAPE ? " three times, as HxWxC"
                                              : "");
}

/* Limits are whole and below 2^53; a value compared as a double might be rounded to one. */
static int read_whole(const char *text, const option_row *row, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *out >= (int64_t)row->min && *out <= (int64_t)row->max;
}

static dt_status set_whole(const option_row *row, const char *text, void *field)
{
    int64_t value;

    if (row->special && strcmp(text, row->special) == 0)
        value = row->special_value;
    else if (!read_whole(text, row, &value))
        return refuse(row, text);

    if (row->kind == KIND_INT)
        *(int *)field = (int)value;
    else if (row->kind == KIND_INT64)
        *(int64_t *)field = value;
    else
        *(uint64_t *)field = (uint64_t)value;
    return DT_OK;
}

static dt_status set_float(const option_row *row, const char *text, float *field)
{
    char *end;
    const float value = strtof(text, &end);

    /* in float: 0.9999 of the table and 0.9999f of the reader are one number */
    if (end == text || *end != '\0' || !(value >= (float)row->min && value <= (float)row->max)) {
        return refuse(row, text);
    }
    *field = value;
    return DT_OK;
}

/* n <= 3 whole numbers with a separator between them */
static dt_status set_list(const option_row *row, const char *text, int n, char separator, int *field)
{
    const char *at = text;
    int64_t value[3];

    for (int i = 0; i < n; i++) {
        const char *end = i + 1 < n ? strchr(at, separator) : at + strlen(at);
        char number[VALUE_BYTES];

        if (!end || end - at >= VALUE_BYTES) return refuse(row, text);
        snprintf(number, sizeof number, "%.*s", (int)(end - at), at);
        if (!read_whole(number, row, &value[i])) return refuse(row, text);
        at = end + 1;
    }
    for (int i = 0; i < n; i++) field[i] = (int)value[i];
    return DT_OK;
}

static dt_status set_word(const option_row *row, const char *text, int *field)
{
    for (int i = 0; row->words[i]; i++) {
        if (strcmp(text, row->words[i]) != 0) continue;
        *field = i;
        return DT_OK;
    }
    if (row->special && strcmp(text, row->special) == 0) { /* another name of a word */
        *field = row->special_value;
        return DT_OK;
    }
    return refuse(row, text);
}

static dt_status read_value(const option_row *row, const char *text, void *field)
{
    switch (row->kind) {
    case KIND_INT:
    case KIND_INT64:
    case KIND_SEED: return set_whole(row, text, field);
    case KIND_FLOAT: return set_float(row, text, field);
    case KIND_PAIR: return set_list(row, text, 2, ',', field);
    case KIND_SHAPE: return set_list(row, text, 3, 'x', field);
    case KIND_WORD: return set_word(row, text, field);
    case KIND_TEXT: *(const char **)field = text; break;
    case KIND_FLAG: *(int *)field = row->flag_value; break;
    }
    return DT_OK;
}

/* Room for the value of any kind. */
typedef union {
    int number;
    int shape[3];
    int64_t long_number;
    const char *text;
} any_value;

dt_status option_check(const option_row *row, const char *text)
{
    any_value unused;

    return read_value(row, text, &unused);
}

dt_status option_set(const option_row *row, const char *text, settings *s)
{
    char why[HELP_BYTES];
    any_value value;

    if (!row->of_network) return read_value(row, text, (char *)s + row->offset);
    DT_TRY(read_value(row, text, &value));
    if (dt_model_option_value(&s->model, row->name) == value.number)
        return DT_OK; /* 0 of a network that has no such option */
    const dt_status status = dt_model_option(&s->model, row->name, value.number);
    if (status == DT_OK) return DT_OK;
    snprintf(why, sizeof why, "%s", dt_last_error());
    return dt_raise(status, __FILE__, __LINE__, "--%s %s: %s", row->name, text, why);
}

/* A value that is outside of the words is special. */
static const char *word_of(const option_row *row, int value)
{
    int n = 0;

    while (row->words[n]) n++;
    return value >= 0 && value < n ? row->words[value] : row->special;
}

void option_format(const option_row *row, const settings *s, char *text, size_t bytes)
{
    const int option = row->of_network ? dt_model_option_value(&s->model, row->name) : 0;
    const void *field = row->of_network ? (const void *)&option : (const char *)s + row->offset;
    const int *whole = field;        /* INT, PAIR, SHAPE, WORD, FLAG */
    const char *const *word = field; /* TEXT */

    switch (row->kind) {
    case KIND_INT:
        if (row->special && *whole == row->special_value)
            snprintf(text, bytes, "%s", row->special);
        else
            snprintf(text, bytes, "%d", *whole);
        break;
    case KIND_INT64: snprintf(text, bytes, "%" PRId64, *(const int64_t *)field); break;
    case KIND_SEED: snprintf(text, bytes, "%" PRIu64, *(const uint64_t *)field); break;
    case KIND_FLOAT: snprintf(text, bytes, "%s", text_float(*(const float *)field).s); break;
    case KIND_PAIR: snprintf(text, bytes, "%d,%d", whole[0], whole[1]); break;
    case KIND_SHAPE: snprintf(text, bytes, "%dx%dx%d", whole[0], whole[1], whole[2]); break;
    case KIND_WORD: snprintf(text, bytes, "%s", word_of(row, *whole)); break;
    case KIND_TEXT: snprintf(text, bytes, "%s", *word ? *word : ""); break;
    case KIND_FLAG: snprintf(text, bytes, "%d", *whole != 0); break;
    }
}

static cJSON *add_value(cJSON *object, const option_row *row, const settings *s)
{
    char text[PATH_BYTES];

    option_format(row, s, text, sizeof text);
    if (row->kind == KIND_FLAG) return cJSON_AddBoolToObject(object, row->name, text[0] == '1');
    if (row->kind == KIND_TEXT && text[0] == '\0') return cJSON_AddNullToObject(object, row->name);
    if (row->kind == KIND_TEXT || row->kind == KIND_WORD || row->kind == KIND_PAIR || row->kind == KIND_SHAPE ||
        (row->special && strcmp(text, row->special) == 0)) {
        return cJSON_AddStringToObject(object, row->name, text);
    }
    return cJSON_AddRawToObject(object, row->name, text);
}

dt_status settings_to_json(const settings *s, cJSON **out)
{
    cJSON *object = cJSON_CreateObject();
    int ok = object != NULL;

    for (int i = 0; ok && i < n_option_rows; i++) {
        if (option_rows[i].memory != FORGOTTEN) ok = add_value(object, &option_rows[i], s) != NULL;
    }
    if (!ok) cJSON_Delete(object);
    DT_CHECK(ok, DT_ERR_MEMORY, "no memory for config.json");
    *out = object;
    return DT_OK;
}

static dt_status set_from_json(const option_row *row, const cJSON *item, settings *s)
{
    const int may_be_empty = row->kind == KIND_TEXT || row->kind == KIND_FLAG;
    char text[VALUE_BYTES];

    if (may_be_empty && (cJSON_IsNull(item) || cJSON_IsFalse(item))) {
        option_row empty = *row;
        empty.flag_value = 0;
        return option_set(&empty, NULL, s);
    }
    if (cJSON_IsNumber(item)) {
        snprintf(text, sizeof text, "%.17g", item->valuedouble);
        return option_set(row, text, s);
    }
    if (cJSON_IsBool(item)) return option_set(row, cJSON_IsTrue(item) ? "true" : "false", s);
    return option_set(row, cJSON_IsString(item) ? item->valuestring : "null", s);
}

dt_status settings_from_json(const cJSON *options, settings *s)
{
    const cJSON *network = cJSON_GetObjectItemCaseSensitive(options, "model");

    if (cJSON_IsString(network)) s->model.name = network->valuestring;
    dt_model_options_default(&s->model); /* a run that is older than an option has it as it is by default */
    for (int i = 0; i < n_option_rows; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(options, option_rows[i].name);

        if (option_rows[i].memory != FORGOTTEN && item) DT_TRY(set_from_json(&option_rows[i], item, s));
    }
    return DT_OK;
}
