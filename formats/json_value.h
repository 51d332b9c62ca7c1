/*
 * json_value.h - single JSON values: floats as short decimals, and values as text for messages.
 */
#ifndef DT_JSON_VALUE_H
#define DT_JSON_VALUE_H

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * cJSON leaves out what it has no memory for, and whoever builds a tree of many calls would have to look at each. But
 * malloc says so in errno: begin, build or parse, and ask. In between stands nothing that could set errno otherwise.
 */
static inline void dt_json_begin(void)
{
    errno = 0;
}

/* Returns 1 if the memory was short since then: the tree is not whole, or is none. */
static inline int dt_json_lost(void)
{
    return errno == ENOMEM;
}

/* Returns the double with the fewest decimals that rounds to f: 0.01 for 0.01f, which is 0.0099999997764825821. */
static inline double dt_json_shortest(float f)
{
    const int before = errno; /* which strtod sets for the smallest floats, and dt_json_lost reads */
    double d = (double)f;
    char text[32];

    for (int digits = 6; digits <= 9; digits++) { /* 9 always suffice */
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        d = strtod(text, NULL);
        if ((float)d == f) break;
    }
    errno = before;
    return (float)d == f ? d : (double)f;
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
