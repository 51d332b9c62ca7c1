/*
 * json_same.c - walks two JSON values side by side. Interface: json_same.h.
 */
#include "json_same.h"
#include "json_value.h"

#include <stdio.h>
#include <string.h>

enum { WHERE_BYTES = 256 };

static const cJSON *only_field(const cJSON *object, const char *name, int *n)
{
    const cJSON *item, *first = NULL;

    *n = 0;
    cJSON_ArrayForEach(item, object)
    {
        if (strcmp(item->string, name) != 0) continue;
        if (!first) first = item;
        ++*n;
    }
    return first;
}

static dt_status same_object(const char *file, const char *where, const cJSON *found, const cJSON *expected)
{
    const cJSON *item;
    int n;

    cJSON_ArrayForEach(item, found)
    {
        DT_CHECK(only_field(expected, item->string, &n), DT_ERR_FORMAT, "%s: %s.%.40s is not a field", file, where,
                 item->string);
        only_field(found, item->string, &n);
        DT_CHECK(n == 1, DT_ERR_FORMAT, "%s: %s.%.40s stands there twice", file, where, item->string);
    }
    cJSON_ArrayForEach(item, expected)
    {
        const cJSON *its = only_field(found, item->string, &n);
        char inside[WHERE_BYTES];
        DT_CHECK(its, DT_ERR_FORMAT, "%s: %s.%.40s is missing", file, where, item->string);
        snprintf(inside, sizeof inside, "%s.%s", where, item->string);
        DT_TRY(dt_json_same(file, inside, its, item));
    }
    return DT_OK;
}

static dt_status same_array(const char *file, const char *where, const cJSON *found, const cJSON *expected)
{
    const cJSON *its = found->child, *item;
    int i = 0;

    DT_CHECK(cJSON_GetArraySize(found) == cJSON_GetArraySize(expected), DT_ERR_FORMAT, "%s: %s has %d, expected %d",
             file, where, cJSON_GetArraySize(found), cJSON_GetArraySize(expected));
    cJSON_ArrayForEach(item, expected)
    {
        char inside[WHERE_BYTES];
        snprintf(inside, sizeof inside, "%s[%d]", where, i++);
        DT_TRY(dt_json_same(file, inside, its, item));
        its = its->next;
    }
    return DT_OK;
}

static int same_value(const cJSON *a, const cJSON *b)
{
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b)) return a->valuedouble == b->valuedouble;
    if (cJSON_IsString(a) && cJSON_IsString(b)) return strcmp(a->valuestring, b->valuestring) == 0;
    return (a->type & 0xFF) == (b->type & 0xFF) && !cJSON_IsNumber(a) && !cJSON_IsString(a);
}

dt_status dt_json_same(const char *file, const char *where, const cJSON *found, const cJSON *expected)
{
    char is[64], wanted[64];

    if (cJSON_IsObject(found) && cJSON_IsObject(expected)) return same_object(file, where, found, expected);
    if (cJSON_IsArray(found) && cJSON_IsArray(expected)) return same_array(file, where, found, expected);
    DT_CHECK(same_value(found, expected), DT_ERR_FORMAT, "%s: %s is %s, expected %s", file, where,
             dt_json_text(found, is, sizeof is), dt_json_text(expected, wanted, sizeof wanted));
    return DT_OK;
}
