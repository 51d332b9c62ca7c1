/*
 * ptbxl.c - PTB-XL: 12-lead ECGs of 10 s, at 100 Hz, with the five diagnostic superclasses as labels.
 *
 *   DIR/scp_statements.csv      which statements are diagnostic, and their superclass
 *   DIR/ptbxl_database.csv      of each record its statements (scp_codes), its fold 1..10 (strat_fold) and its file
 *   DIR/records100/..           the records (wfdb.h)
 *
 * A sample is 1000 x 12 x 1, in millivolts. It has a label if any of its statements is diagnostic and of that
 * superclass, whatever its likelihood, as in the set's own example. Fold 10 is for TEST, or that of the option `fold`;
 * training takes folds 1 to 8, so that fold=9 evaluates on the fold that is meant for validation.
 *
 * Source: Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", Scientific Data 2020.
 * Interface: kinds.h.  Tests: tests/datasets/test_ptbxl.c.
 */
#include "kinds.h"
#include "text.h"
#include "wfdb.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_LABELS = 5,
    LEADS = 12,
    RATE = 100,
    SAMPLES = 1000,
    MOST_COLUMNS = 64,
    MOST_CODES = 256,
    LAST_TRAINING_FOLD = 8
};

static const char *const superclasses[N_LABELS] = { "NORM", "MI", "STTC", "CD", "HYP" };
static const dt_wfdb_shape record_shape = { LEADS, RATE, SAMPLES };

/* A table with the columns that are asked for by name. */
typedef struct {
    dt_text text;
    char *field[MOST_COLUMNS];
    int columns, at[4];
} table;

/* Diagnostic statements with their superclass. */
typedef struct {
    char *code[MOST_CODES]; /* in the table's memory */
    int label[MOST_CODES];
    int n;
} statements;

/* The records of the split. */
typedef struct {
    char **file;    /* [n] in the table's memory; owned, without the texts */
    int32_t *label; /* [n][N_LABELS]; owned */
    int64_t n, room;
} records;

static dt_status open_table(const char *path, const char *const *names, int n_names, table *t)
{
    int closed;

    DT_TRY(dt_text_load(path, &t->text));
    DT_TRY(dt_text_check(&t->text));
    const int any = dt_text_record(&t->text, t->field, MOST_COLUMNS, &t->columns, &closed);
    DT_CHECK(any && closed && t->columns <= MOST_COLUMNS, DT_ERR_FORMAT,
             "%s, line 1: has %d columns, expected a header of up to %d", path, t->columns, MOST_COLUMNS);
    for (int k = 0; k < n_names; k++) {
        t->at[k] = -1;
        for (int i = 0; i < t->columns; i++) {
            if (strcmp(t->field[i], names[k]) == 0) t->at[k] = i;
        }
        DT_CHECK(t->at[k] >= 0, DT_ERR_FORMAT, "%s, line 1: has no column '%s'", path, names[k]);
    }
    return DT_OK;
}

/* *more 0: there is no further row. */
static dt_status next_row(table *t, int *more)
{
    int n, closed;

    *more = dt_text_record(&t->text, t->field, MOST_COLUMNS, &n, &closed);
    DT_CHECK(!*more || (closed && n == t->columns), DT_ERR_FORMAT,
             "%s, line %" PRId64 ": has %d fields%s, expected %d, as the header", t->text.path, t->text.line, n,
             closed ? "" : " and ends inside quotes", t->columns);
    return DT_OK;
}

static int label_of(const char *superclass)
{
    for (int i = 0; i < N_LABELS; i++) {
        if (strcmp(superclasses[i], superclass) == 0) return i;
    }
    return -1;
}

static dt_status read_statements(table *t, statements *s)
{
    for (int more;;) {
        DT_TRY(next_row(t, &more));
        if (!more) break;
        const char *superclass = t->field[t->at[1]];
        if (strtod(t->field[t->at[0]], NULL) != 1.0) continue; /* not diagnostic */
        const int label = label_of(superclass);
        DT_CHECK(label >= 0 && s->n < MOST_CODES, DT_ERR_FORMAT,
                 "%s, line %" PRId64 ": the superclass of %.20s is '%.20s', expected NORM, MI, STTC, CD or HYP",
                 t->text.path, t->text.line, t->field[0], superclass);
        s->code[s->n] = t->field[0];
        s->label[s->n++] = label;
    }
    DT_CHECK(s->n > 0, DT_ERR_FORMAT, "%s: has no diagnostic statement", t->text.path);
    return DT_OK;
}

/* codes: {'NORM': 100.0, 'SR': 0.0} */
static dt_status take_labels(const table *t, const statements *s, const char *codes, int32_t *label)
{
    DT_CHECK(codes[0] == '{' && strchr(codes, '}'), DT_ERR_FORMAT,
             "%s, line %" PRId64 ": scp_codes is '%.40s', expected {'CODE': likelihood, ..}", t->text.path,
             t->text.line, codes);
    for (const char *p = strchr(codes, '\''); p; p = strchr(p, '\'')) {
        const size_t length = strcspn(++p, "'");
        DT_CHECK(p[length] == '\'', DT_ERR_FORMAT, "%s, line %" PRId64 ": scp_codes ends inside a code: '%.40s'",
                 t->text.path, t->text.line, codes);
        for (int i = 0; i < s->n; i++) {
            if (strlen(s->code[i]) == length && strncmp(s->code[i], p, length) == 0) label[s->label[i]] = 1;
        }
        p += length + 1;
    }
    return DT_OK;
}

static dt_status make_room(records *all, const dt_kind_request *r)
{
    if (all->n < all->room) return DT_OK;
    const size_t room = all->room > 0 ? 2 * (size_t)all->room : 1024;
    char **file = realloc((void *)all->file, room * sizeof *file);
    if (file) all->file = file;
    int32_t *label = realloc(all->label, room * N_LABELS * sizeof *label);
    if (label) all->label = label;
    DT_CHECK(file && label, DT_ERR_MEMORY, "%s: no memory for %zu records", r->name, room);
    all->room = (int64_t)room;
    return DT_OK;
}

static dt_status read_records(table *t, const dt_kind_request *r, const statements *s, records *all)
{
    static const int64_t folds[2] = { 1, 10 };

    for (int more;;) {
        int64_t fold = 0;
        DT_TRY(next_row(t, &more));
        if (!more) break;
        DT_TRY(dt_text_int(&t->text, "strat_fold", t->field[t->at[1]], folds, &fold));
        if (r->split == DT_SPLIT_TEST ? fold != r->fold : fold > LAST_TRAINING_FOLD) continue;
        DT_TRY(make_room(all, r));
        int32_t *label = all->label + all->n * N_LABELS;
        memset(label, 0, N_LABELS * sizeof *label);
        DT_TRY(take_labels(t, s, t->field[t->at[0]], label));
        all->file[all->n++] = t->field[t->at[2]];
    }
    DT_CHECK(all->n > 0, DT_ERR_FORMAT, "%s: has no record of %s", t->text.path,
             r->split == DT_SPLIT_TEST ? "the test's fold" : "folds 1 to 8");
    return DT_OK;
}

static dt_status fill(const dt_kind_request *r, const records *all, dt_dataset *d)
{
    const dt_dataset_shape shape = { .name = r->name,
                                     .n = all->n,
                                     .height = SAMPLES,
                                     .width = LEADS,
                                     .channels = 1,
                                     .n_classes = N_LABELS,
                                     .is_real = 1,
                                     .multi_label = 1 };
    char stem[DT_DATASET_PATH_BYTES];

    DT_TRY(dt_dataset_allocate(&shape, d));
    memcpy(d->labels, all->label, (size_t)(all->n * N_LABELS) * sizeof *d->labels);
    for (int64_t i = 0; i < all->n; i++) {
        const int length = snprintf(stem, sizeof stem, "%s/%s", r->path, all->file[i]);
        DT_CHECK(length < (int)sizeof stem, DT_ERR_ARGUMENT, "%s: a record's path is too long", r->name);
        DT_TRY(dt_wfdb_read(stem, &record_shape, d->reals + i * SAMPLES * LEADS));
    }
    return dt_dataset_name_classes(d, superclasses);
}

dt_status dt_ptbxl_read(dt_kind_request *r, dt_dataset *d)
{
    static const char *const of_statements[] = { "diagnostic", "diagnostic_class" };
    static const char *const of_records[] = { "scp_codes", "strat_fold", "filename_lr" };
    char path[2][DT_DATASET_PATH_BYTES + 32];
    table known = { .columns = 0 }, database = { .columns = 0 };
    statements s = { .n = 0 };
    records all = { 0 };

    r->is_split = 1;
    snprintf(path[0], sizeof path[0], "%s/scp_statements.csv", r->path);
    snprintf(path[1], sizeof path[1], "%s/ptbxl_database.csv", r->path);
    dt_status status = open_table(path[0], of_statements, 2, &known);
    if (status == DT_OK) status = read_statements(&known, &s);
    if (status == DT_OK) status = open_table(path[1], of_records, 3, &database);
    if (status == DT_OK) status = read_records(&database, r, &s, &all);
    if (status == DT_OK) status = fill(r, &all, d);
    free((void *)all.file);
    free(all.label);
    dt_text_free(&database.text);
    dt_text_free(&known.text);
    DT_TRY(status);
    return DT_OK;
}
