/*
 * set_files.h - for tests of data sets that are named by a file: opens one in the temporary folder, and expects
 * failures.
 */
#ifndef SET_FILES_H
#define SET_FILES_H

#include "temp_files.h"

enum { SET_NAME_BYTES = 256 };

static inline void temp_write_text(const char *name, const char *text)
{
    temp_write(name, text, strlen(text));
}

/* "KIND:FOLDER/REST" */
static inline const char *set_name(const char *kind, const char *rest)
{
    static char name[SET_NAME_BYTES];
    const int n = snprintf(name, sizeof name, "%s:%s/%s", kind, temp_folder, rest);

    cr_assert(n < SET_NAME_BYTES);
    return name;
}

static inline dt_dataset *set_open(const char *name, dt_split split, dt_dataset_view *v)
{
    const dt_dataset_options opt = { .name = name, .split = split };
    dt_dataset *d = NULL;

    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, v);
    return d;
}

/* The message has `part`. */
static inline void set_refused(const char *name, dt_status expected, const char *part)
{
    const dt_dataset_options opt = { .name = name };
    const char *const parts[] = { part, NULL };

    expect_refused(part, &opt, expected, parts);
}

#endif /* SET_FILES_H */
