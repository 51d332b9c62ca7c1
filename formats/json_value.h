/*
 * json_value.h - single JSON values: floats as short decimals, and values as text for messages.
 */
#ifndef DT_JSON_VALUE_H
#define DT_JSON_VALUE_H

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns the double with the fewest decimals that rounds to f: 0.01 for 0.01f, which is 0.0099999997764825821. */
static inline double dt_json_shortest(float f)
{
    char text[32];

    for (int digits = 6; digits <= 9; digits++) { /* 9 always suffice */
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        const double d = strtod(text, NULL);
        if ((float)d == f) return d;
    }
    return (double)f;
}

/* Writes an item to text, of `bytes` bytes, cut to fit, and returns text. It is for messages. */
static inline const char *dt_json_text(const cJSON *item, char *text, size_t bytes)
{
    char *all = item ? cJSON_PrintUnformatted(item) : NULL;

    snprintf(text, bytes, "%s", all ? all : "(no value)");
    cJSON_free(all);
    return text;
}

#endif /* DT_JSON_VALUE_H */
