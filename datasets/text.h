/*
 * text.h - a file in memory, read line by line or field by field, with the line's number for messages.
 */
#ifndef DT_TEXT_H
#define DT_TEXT_H

#include "detent/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *path;
    char *bytes; /* [n], and a NUL behind; owned; reading cuts it into lines and fields */
    size_t n, at;
    int64_t line;   /* of what was read last, from 1 on */
    int ended_line; /* of records that do not end with lines: 1: what was read last did */
} dt_text;

/* Reads a whole file. path must stay. The caller frees it by dt_text_free, also if this fails. */
DT_MUST_CHECK dt_status dt_text_load(const char *path, dt_text *out);
void dt_text_free(dt_text *t);
/* DT_ERR_FORMAT if a NUL is among the bytes: then it is no text. */
DT_MUST_CHECK dt_status dt_text_check(const dt_text *t);

/* Sets *line to the next line without its end, and returns 1; 0: there is none. */
int dt_text_line(dt_text *t, char **line);
/* Sets field[0..*n-1] to the fields of the next record of comma-separated values, and returns 1; 0: there is none. A
 * field in quotes may hold commas, line ends and, doubled, quotes. *n counts fields beyond `most` too, which are not
 * set. *closed is 0 if the file ends inside quotes. */
int dt_text_record(dt_text *t, char **field, int most, int *n, int *closed);

/* Reads a finite number that fills the text, but for blanks around it. DT_ERR_FORMAT names file, line, `what` and the
 * text. */
DT_MUST_CHECK dt_status dt_text_float(const dt_text *t, const char *what, const char *text, float *out);
/* The same of a whole number from min to max. */
DT_MUST_CHECK dt_status dt_text_int(const dt_text *t, const char *what, const char *text, const int64_t range[2],
                                    int64_t *out);

#endif /* DT_TEXT_H */
