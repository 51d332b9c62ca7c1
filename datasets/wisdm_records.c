/*
 * wisdm_records.c - see wisdm_records.h.  Tests: tests/datasets/test_signals.c.
 */
#include "wisdm_records.h"

#include <inttypes.h>
#include <string.h>

enum { FIELDS = 6 };

/* The next text up to ';' or the line's end that is no blank; NULL at the end. *ended: ';' stood behind it. */
static char *next_piece(dt_text *t, int *ended)
{
    if (t->line == 0) t->line = 1;
    while (t->at < t->n) {
        char *piece = t->bytes + t->at;
        const size_t length = strcspn(piece, ";\n");
        t->line += t->ended_line;
        t->ended_line = piece[length] == '\n';
        *ended = piece[length] == ';';
        piece[length] = '\0';
        t->at += length + 1;
        piece += strspn(piece, " \t\r");
        if (*piece) return piece;
    }
    return NULL;
}

static int split(char *piece, char **field)
{
    int n = 0;

    for (char *p = piece; p; n++) {
        char *comma = strchr(p, ',');
        if (comma) *comma = '\0';
        p += strspn(p, " \t");
        if (n >= FIELDS || p[strspn(p, " \t\r")] == '\0') return -1;
        field[n] = p;
        p = comma ? comma + 1 : NULL;
    }
    return n;
}

dt_status dt_wisdm_next(dt_text *t, dt_wisdm_record *out, dt_wisdm_found *found)
{
    static const int64_t subjects[2] = { 0, INT32_MAX }, times[2] = { 0, INT64_MAX };
    static const char *const names[] = { "x", "y", "z" };
    char *field[FIELDS];
    int64_t subject = 0;
    int ended = 0;

    char *piece = next_piece(t, &ended);
    *found = piece ? DT_WISDM_RECORD : DT_WISDM_END;
    if (!piece) return DT_OK;
    DT_CHECK(ended || t->at < t->n, DT_ERR_FORMAT,
             "%s, line %" PRId64 ": the file ends inside the record '%.60s', expected subject,activity,time,x,y,z;",
             t->path, t->line, piece);
    if (split(piece, field) != FIELDS) {
        *found = DT_WISDM_DAMAGED;
        return DT_OK;
    }
    DT_TRY(dt_text_int(t, "the subject", field[0], subjects, &subject));
    out->subject = (int32_t)subject;
    out->activity = field[1];
    DT_TRY(dt_text_int(t, "the time", field[2], times, &out->time));
    for (int i = 0; i < 3; i++) DT_TRY(dt_text_float(t, names[i], field[3 + i], &out->value[i]));
    return DT_OK;
}
