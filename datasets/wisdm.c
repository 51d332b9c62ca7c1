/*
 * wisdm.c - WISDM 2019, raw: acceleration and rotation of a watch or a phone, 20 values a second, a file a subject.
 *
 *   DIR/raw/watch/accel/data_1600_accel_watch.txt, DIR/raw/watch/gyro/data_1600_gyro_watch.txt
 *   1600,A,90426708196641,7.091625,-0.5916671,8.195502;
 *
 * Both sensors have clocks of their own. A row is a value of the accelerometer with the gyroscope's nearest in time,
 * which is at most half a period (25 ms) away; a value that has none ends the recording, as does a gap of a second.
 * Activities are letters, of which `activities` are the classes; others are left out.
 *
 * Source: Weiss, "WISDM Smartphone and Smartwatch Activity and Biometrics Dataset", UCI 507, its description.
 * Interface: kinds.h.  Tests: tests/datasets/test_signals.c.
 */
#include "windows.h"
#include "wisdm_records.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAP     1000000000 /* ns */
#define NEAREST 25000000

static const char *const devices[] = { "watch", "phone" };

/* The records of one sensor of one subject. */
typedef struct {
    struct {
        int64_t time;
        int label; /* -1: of no class */
        float value[3];
    } * record; /* [n]; owned */
    int64_t n, room;
} sensor;

static int class_of(const dt_kind_request *r, const char *activity)
{
    const char *at = activity[0] && !activity[1] ? strchr(r->activities, activity[0]) : NULL;

    return at ? (int)(at - r->activities) : -1;
}

static dt_status add_record(sensor *s, const dt_kind_request *r, const dt_wisdm_record *one)
{
    if (s->n == s->room) {
        const int64_t room = s->room > 0 ? 2 * s->room : 4096;
        void *bigger = realloc(s->record, (size_t)room * sizeof *s->record);
        DT_CHECK(bigger, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " records", r->name, room);
        s->record = bigger;
        s->room = room;
    }
    s->record[s->n].time = one->time;
    s->record[s->n].label = class_of(r, one->activity);
    memcpy(s->record[s->n++].value, one->value, sizeof one->value);
    return DT_OK;
}

static dt_status read_records(dt_text *t, const dt_kind_request *r, int subject, sensor *s)
{
    dt_wisdm_record one = { 0 };
    dt_wisdm_found found;

    for (;;) {
        DT_TRY(dt_wisdm_next(t, &one, &found));
        if (found == DT_WISDM_END) return DT_OK;
        DT_CHECK(found == DT_WISDM_RECORD, DT_ERR_FORMAT,
                 "%s, line %" PRId64 ": has not six fields, expected subject,activity,time,x,y,z;", t->path, t->line);
        DT_CHECK(one.subject == subject, DT_ERR_FORMAT,
                 "%s, line %" PRId64 ": is of subject %d, and the file's name says %d", t->path, t->line, one.subject,
                 subject);
        DT_CHECK(one.activity[0] >= 'A' && one.activity[0] <= 'S' && one.activity[1] == '\0', DT_ERR_FORMAT,
                 "%s, line %" PRId64 ": the activity is '%.40s', expected a letter from A to S", t->path, t->line,
                 one.activity);
        DT_TRY(add_record(s, r, &one));
    }
}

/* kind: "accel" or "gyro" */
static dt_status read_sensor(const dt_kind_request *r, const char *folder, int subject, const char *kind, sensor *s)
{
    char path[DT_DATASET_PATH_BYTES + 64];
    dt_text t;

    snprintf(path, sizeof path, "%s/%s/data_%d_%s_%s.txt", folder, kind, subject, kind, devices[r->device]);
    dt_status status = dt_text_load(path, &t);
    if (status == DT_OK) status = dt_text_check(&t);
    if (status == DT_OK) status = read_records(&t, r, subject, s);
    dt_text_free(&t);
    DT_TRY(status);
    return DT_OK;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

/* The record of s nearest to `time` and of the same class, at or behind *from, where the search begins; -1: none is
 * near. */
static int64_t nearest(const sensor *s, int64_t time, int label, int64_t *from)
{
    while (*from + 1 < s->n && distance(s->record[*from + 1].time, time) <= distance(s->record[*from].time, time))
        ++*from;
    const int fits =
        *from < s->n && s->record[*from].label == label && distance(s->record[*from].time, time) <= NEAREST;

    return fits ? *from : -1;
}

/* The first record of a class; s->n: there is none. */
static int64_t first_of(const sensor *s, int label)
{
    int64_t k = 0;

    while (k < s->n && s->record[k].label != label) k++;
    return k;
}

/* The files need not have the same activities, so the search for the nearest begins anew with each. */
static dt_status join(const dt_kind_request *r, int subject, const sensor *accel, const sensor *gyro, dt_windows *w)
{
    int64_t from = 0;

    for (int64_t i = 0; i < accel->n; i++) {
        const int label = accel->record[i].label, with_gyro = r->signals > 3;
        const int64_t time = accel->record[i].time, before = i > 0 ? accel->record[i - 1].time : time;
        float row[6];

        if (i == 0 || label != accel->record[i - 1].label) from = first_of(gyro, label);
        const int64_t k = with_gyro ? nearest(gyro, time, label, &from) : 0;
        if (time < before || time - before > GAP) DT_TRY(dt_windows_cut(w));
        if (label < 0 || k < 0) {
            DT_TRY(dt_windows_cut(w));
            continue;
        }
        memcpy(row, accel->record[i].value, 3 * sizeof *row);
        if (with_gyro) memcpy(row + 3, gyro->record[k].value, 3 * sizeof *row);
        DT_TRY(dt_windows_add(w, subject, label, row));
    }
    return dt_windows_cut(w);
}

static dt_status read_subject(const dt_kind_request *r, const char *folder, int subject, dt_windows *w)
{
    sensor accel = { 0 }, gyro = { 0 };

    dt_status status = read_sensor(r, folder, subject, "accel", &accel);
    if (status == DT_OK && r->signals > 3) status = read_sensor(r, folder, subject, "gyro", &gyro);
    if (status == DT_OK) status = join(r, subject, &accel, &gyro, w);
    free(accel.record);
    free(gyro.record);
    return status;
}

static int is_data_file(const struct dirent *entry)
{
    return strncmp(entry->d_name, "data_", 5) == 0;
}

static dt_status read_subjects(const dt_kind_request *r, const char *folder, dt_windows *w)
{
    char accel[DT_DATASET_PATH_BYTES + 64];
    struct dirent **entry = NULL;
    dt_status status = DT_OK;

    snprintf(accel, sizeof accel, "%s/accel", folder);
    const int n = scandir(accel, &entry, is_data_file, alphasort);
    DT_CHECK(n >= 0, DT_ERR_IO, "%s: there is no folder %s, expected raw/%s/accel as in the archive", r->name, accel,
             devices[r->device]);
    for (int i = 0; i < n; i++) {
        const int subject = atoi(entry[i]->d_name + 5);
        if (status == DT_OK) status = read_subject(r, folder, subject, w);
        free(entry[i]);
    }
    free(entry);
    DT_TRY(status);
    DT_CHECK(n > 0, DT_ERR_IO, "%s: folder %s has no files data_SUBJECT_accel_%s.txt", r->name, accel,
             devices[r->device]);
    return DT_OK;
}

static dt_status check_options(const dt_kind_request *r)
{
    const int n = (int)strlen(r->activities);

    DT_CHECK(r->signals == 3 || r->signals == 6, DT_ERR_ARGUMENT,
             "%s: signals is %d, expected 3 (acceleration) or 6 (and rotation)", r->name, r->signals);
    for (int i = 0; i < n; i++) {
        const char c = r->activities[i];
        DT_CHECK(c >= 'A' && c <= 'S' && strchr(r->activities, c) == r->activities + i, DT_ERR_ARGUMENT,
                 "%s: activities are '%s', expected letters from A to S, each once", r->name, r->activities);
    }
    return DT_OK;
}

static dt_status fill(dt_kind_request *r, dt_windows *w, dt_dataset *d)
{
    char letter[sizeof r->activities][2] = { { 0 } };
    const char *names[sizeof r->activities];
    const int n = (int)strlen(r->activities);

    for (int i = 0; i < n; i++) {
        letter[i][0] = r->activities[i];
        names[i] = letter[i];
    }
    return dt_windows_fill(w, r, names, n, d);
}

dt_status dt_wisdm_read(dt_kind_request *r, dt_dataset *d)
{
    dt_windows w = { .window = r->window, .stride = r->stride, .width = r->signals };
    char folder[DT_DATASET_PATH_BYTES + 16];

    DT_TRY(check_options(r));
    snprintf(folder, sizeof folder, "%s/raw/%s", r->path, devices[r->device]);
    dt_status status = read_subjects(r, folder, &w);
    if (status == DT_OK) status = fill(r, &w, d);
    dt_windows_free(&w);
    DT_TRY(status);
    return DT_OK;
}
