/*
 * wisdm11.c - WISDM v1.1, raw: the acceleration of a phone in the pocket, 20 values a second, in one file of text.
 *
 *   33,Jogging,49105962326000,-0.6946377,12.680544,0.50395286;
 *
 * A recording ends where subject or activity change, where time runs backwards, or after a gap of a second. The
 * published file has a few records that lack a value: each is left out and ends a recording; more than 1 in 1,000 are
 * refused.
 *
 * Source: Kwapisz, Weiss, Moore, "Activity recognition using cell phone accelerometers", SensorKDD 2010, and its
 * readme. Interface: kinds.h.  Tests: tests/datasets/test_signals.c.
 */
#include "windows.h"
#include "wisdm_records.h"

#include <inttypes.h>
#include <string.h>

#define GAP 1000000000 /* ns */

enum { N_CLASSES = 6, DAMAGED_SHARE = 1000 };

static const char *const activities[N_CLASSES] = {
    "Walking", "Jogging", "Upstairs", "Downstairs", "Sitting", "Standing"
};

static int class_of(const char *activity)
{
    for (int i = 0; i < N_CLASSES; i++) {
        if (strcmp(activities[i], activity) == 0) return i;
    }
    return -1;
}

static dt_status read_records(dt_text *t, dt_windows *w)
{
    int64_t n = 0, n_damaged = 0, first_damaged = 0, before = 0;
    dt_wisdm_record r = { 0 };

    for (dt_wisdm_found found;;) {
        DT_TRY(dt_wisdm_next(t, &r, &found));
        if (found == DT_WISDM_END) break;
        if (found == DT_WISDM_DAMAGED) {
            if (n_damaged++ == 0) first_damaged = t->line;
            DT_TRY(dt_windows_cut(w));
            continue;
        }
        const int label = class_of(r.activity);
        DT_CHECK(label >= 0, DT_ERR_FORMAT,
                 "%s, line %" PRId64
                 ": the activity is '%.40s', expected Walking, Jogging, Upstairs, Downstairs, Sitting or "
                 "Standing",
                 t->path, t->line, r.activity);
        if (n++ > 0 && (r.time < before || r.time - before > GAP)) DT_TRY(dt_windows_cut(w));
        DT_TRY(dt_windows_add(w, r.subject, label, r.value));
        before = r.time;
    }
    DT_CHECK(n_damaged <= n / DAMAGED_SHARE, DT_ERR_FORMAT,
             "%s: %" PRId64 " of %" PRId64 " records have not six fields, the first in line %" PRId64
             ", expected subject,activity,time,x,y,z; in all but 1 of %d",
             t->path, n_damaged, n + n_damaged, first_damaged, DAMAGED_SHARE);
    return dt_windows_cut(w);
}

dt_status dt_wisdm11_read(dt_kind_request *r, dt_dataset *d)
{
    dt_windows w = { .window = r->window, .stride = r->stride, .width = 3 };
    dt_text t;

    dt_status status = dt_text_load(r->path, &t);
    if (status == DT_OK) status = dt_text_check(&t);
    if (status == DT_OK) status = read_records(&t, &w);
    if (status == DT_OK) status = dt_windows_fill(&w, r, activities, N_CLASSES, d);
    dt_windows_free(&w);
    dt_text_free(&t);
    DT_TRY(status);
    return DT_OK;
}
