/*
 * text.c - see text.h.  Tests: tests/datasets/test_csv.c, tests/datasets/test_signals.c.
 */
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dt_status read_all(FILE *file, dt_text *t)
{
    DT_CHECK(fseek(file, 0, SEEK_END) == 0, DT_ERR_IO, "%s: cannot be read: %s", t->path, strerror(errno));
    const long bytes = ftell(file);
    DT_CHECK(bytes >= 0, DT_ERR_IO, "%s: cannot be read: %s", t->path, strerror(errno));
    rewind(file);
    t->bytes = malloc((size_t)bytes + 1);
    DT_CHECK(t->bytes, DT_ERR_MEMORY, "%s: no memory for %ld bytes", t->path, bytes);
    t->n = fread(t->bytes, 1, (size_t)bytes, file);
    DT_CHECK(t->n == (size_t)bytes, DT_ERR_IO, "%s: byte %zu of %ld cannot be read", t->path, t->n, bytes);
    t->bytes[t->n] = '\0';
    return DT_OK;
}

dt_status dt_text_load(const char *path, dt_text *out)
{
    FILE *file = fopen(path, "rb");

    *out = (dt_text){ .path = path };
    DT_CHECK(file, DT_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    const dt_status status = read_all(file, out);
    fclose(file);
    DT_TRY(status);
    return DT_OK;
}

void dt_text_free(dt_text *t)
{
    free(t->bytes);
    *t = (dt_text){ 0 };
}

dt_status dt_text_check(const dt_text *t)
{
    const char *nul = memchr(t->bytes, '\0', t->n);

    DT_CHECK(!nul, DT_ERR_FORMAT, "%s, byte %td: is 0, which no text has", t->path, nul - t->bytes);
    return DT_OK;
}

int dt_text_line(dt_text *t, char **line)
{
    if (t->at >= t->n) return 0;
    char *begin = t->bytes + t->at;
    size_t length = strcspn(begin, "\n");
    t->at += length + 1;
    t->line++;
    if (length > 0 && begin[length - 1] == '\r') length--;
    begin[length] = '\0';
    *line = begin;
    return 1;
}

/* A field in quotes: moves it to where it begins, without them, and returns what stands behind. */
static char *unquote(dt_text *t, char *from, int *closed)
{
    char *to = from;

    *closed = 0;
    for (from++; *from; from++) {
        if (*from == '\n') t->line++;
        if (*from == '"' && from[1] == '"')
            from++;
        else if (*from == '"') {
            *closed = 1;
            from++;
            break;
        }
        *to++ = *from;
    }
    if (to < from) *to = '\0';
    return from;
}

int dt_text_record(dt_text *t, char **field, int most, int *n, int *closed)
{
    char *at = t->bytes + t->at;

    *closed = 1;
    *n = 0;
    if (t->at >= t->n) return 0;
    t->line++;
    for (char end = ','; end == ','; at++) {
        char *begin = at;
        if (*at == '"') at = unquote(t, at, closed);
        at += strcspn(at, ",\r\n");
        end = *at;
        if (end == '\r' && at[1] == '\n') *at++ = '\0';
        end = *at;
        *at = '\0';
        if (*n < most) field[*n] = begin;
        ++*n;
        if (end == '\0') break;
    }
    t->at = (size_t)(at - t->bytes);
    return 1;
}

/* Only blanks are there. */
static int is_end(const char *p)
{
    return p[strspn(p, " \t\r")] == '\0';
}

dt_status dt_text_float(const dt_text *t, const char *what, const char *text, float *out)
{
    char *end = NULL;
    const float v = strtof(text, &end);

    DT_CHECK(end != text && is_end(end) && isfinite(v), DT_ERR_FORMAT,
             "%s, line %" PRId64 ": %s is '%.40s', expected a finite number", t->path, t->line, what, text);
    *out = v;
    return DT_OK;
}

dt_status dt_text_int(const dt_text *t, const char *what, const char *text, const int64_t range[2], int64_t *out)
{
    char *end = NULL;

    errno = 0;
    const long long v = strtoll(text, &end, 10);
    DT_CHECK(end != text && is_end(end) && errno == 0 && v >= range[0] && v <= range[1], DT_ERR_FORMAT,
             "%s, line %" PRId64 ": %s is '%.40s', expected a whole number from %" PRId64 " to %" PRId64, t->path,
             t->line, what, text, range[0], range[1]);
    *out = v;
    return DT_OK;
}
