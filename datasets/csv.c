/*
 * csv.c - the data set in a table of comma-separated values: a header line, and a line a sample.
 *
 *   f1,f2,label
 *   5.1,3.5,setosa
 *
 * The class is in the column `label`, or else in the last. Classes are numbered in the order of their texts: as
 * numbers, if all are numbers, else byte by byte. Their texts are the names of the classes. The other columns are
 * reals, F x 1 x 1. Interface: kinds.h.  Tests: tests/datasets/test_csv.c.
 */
#include "kinds.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const dt_kind_request *r;
    dt_text text;
    char **field; /* [columns + 1] of a line; owned */
    int columns, label;
    float *value;    /* [n][columns - 1]; owned */
    char **label_of; /* [n] texts in the file; owned, without the texts */
    int64_t n, room;
    char **class_name; /* [n_classes] likewise */
    int n_classes, numeric;
} table;

static dt_status read_header(table *c)
{
    char *first[1];
    int closed;
    dt_text counted = c->text;

    DT_CHECK(c->text.n > 0, DT_ERR_FORMAT, "%s: is empty, expected a header line and samples", c->text.path);
    const size_t line = strcspn(c->text.bytes, "\n");
    char *copy = strndup(c->text.bytes, line);
    DT_CHECK(copy, DT_ERR_MEMORY, "%s: no memory for its header", c->text.path);
    counted.bytes = copy;
    counted.n = line;
    (void)dt_text_record(&counted, first, 1, &c->columns, &closed);
    free(copy);
    DT_CHECK(c->columns >= 2 && c->columns <= DT_DATASET_MAX_SIDE, DT_ERR_FORMAT,
             "%s, line 1: has %d columns, expected 2 to %d: numbers and a class, separated by commas", c->text.path,
             c->columns, DT_DATASET_MAX_SIDE);
    c->field = calloc((size_t)c->columns, sizeof *c->field);
    DT_CHECK(c->field, DT_ERR_MEMORY, "%s: no memory for %d columns", c->text.path, c->columns);
    int n;
    (void)dt_text_record(&c->text, c->field, c->columns, &n, &closed);
    DT_CHECK(n == c->columns && closed, DT_ERR_FORMAT, "%s, line 1: a name in quotes goes beyond the line",
             c->text.path);
    c->label = c->columns - 1;
    for (int i = 0; i < n; i++) {
        if (strcmp(c->field[i], "label") == 0) c->label = i;
    }
    return DT_OK;
}

static dt_status make_room(table *c)
{
    if (c->n < c->room) return DT_OK;
    const int64_t room = c->room > 0 ? 2 * c->room : 256;
    float *value = realloc(c->value, (size_t)(room * (c->columns - 1)) * sizeof *value);
    if (value) c->value = value;
    char **label = realloc((void *)c->label_of, (size_t)room * sizeof *label);
    if (label) c->label_of = label;
    DT_CHECK(value && label, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " samples", c->text.path, room);
    c->room = room;
    return DT_OK;
}

static dt_status read_sample(table *c, int n, int closed)
{
    float *value = NULL;

    DT_CHECK(closed, DT_ERR_FORMAT, "%s, line %" PRId64 ": the file ends inside quotes", c->text.path, c->text.line);
    DT_CHECK(n == c->columns, DT_ERR_FORMAT, "%s, line %" PRId64 ": has %d fields, expected %d, as the header",
             c->text.path, c->text.line, n, c->columns);
    DT_CHECK(c->field[c->label][0], DT_ERR_FORMAT, "%s, line %" PRId64 ": the class, field %d, is empty", c->text.path,
             c->text.line, c->label + 1);
    DT_TRY(make_room(c));
    value = c->value + c->n * (c->columns - 1);
    for (int i = 0; i < n; i++) {
        if (i != c->label) DT_TRY(dt_text_float(&c->text, "a value", c->field[i], value++));
    }
    c->label_of[c->n++] = c->field[c->label];
    return DT_OK;
}

static dt_status read_samples(table *c)
{
    int n, closed;

    while (dt_text_record(&c->text, c->field, c->columns, &n, &closed)) {
        if (n == 1 && c->field[0][0] == '\0') continue; /* an empty line */
        DT_TRY(read_sample(c, n, closed));
    }
    DT_CHECK(c->n > 0, DT_ERR_FORMAT, "%s: has no sample behind its header", c->text.path);
    return DT_OK;
}

/* ---- classes ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_numbers(const void *a, const void *b)
{
    const double x = strtod(*(char *const *)a, NULL), y = strtod(*(char *const *)b, NULL);

    return x < y ? -1 : x > y ? 1 : compare_texts(a, b);
}

static int is_number(const char *text)
{
    char *end = NULL;

    (void)strtod(text, &end);
    return end != text && *end == '\0';
}

static dt_status find_classes(table *c)
{
    char **sorted = malloc((size_t)c->n * sizeof *sorted);

    DT_CHECK(sorted, DT_ERR_MEMORY, "%s: no memory for the classes of %" PRId64 " samples", c->text.path, c->n);
    c->class_name = sorted;
    c->numeric = 1;
    memcpy((void *)sorted, (void *)c->label_of, (size_t)c->n * sizeof *sorted);
    for (int64_t i = 0; i < c->n; i++) c->numeric = c->numeric && is_number(sorted[i]);
    qsort((void *)sorted, (size_t)c->n, sizeof *sorted, c->numeric ? compare_numbers : compare_texts);
    for (int64_t i = 0; i < c->n; i++) {
        if (i > 0 && strcmp(sorted[i], sorted[c->n_classes - 1]) == 0) continue;
        DT_CHECK(c->n_classes < DT_DATASET_MAX_CLASSES, DT_ERR_FORMAT,
                 "%s: column %d has more than %d classes, such as '%.40s'; a column 'label' has the class",
                 c->text.path, c->label + 1, DT_DATASET_MAX_CLASSES, sorted[i]);
        sorted[c->n_classes++] = sorted[i];
    }
    return DT_OK;
}

static dt_status fill(table *c, dt_dataset *d)
{
    const dt_dataset_shape shape = { .name = c->r->name,
                                     .n = c->n,
                                     .height = c->columns - 1,
                                     .width = 1,
                                     .channels = 1,
                                     .n_classes = c->n_classes,
                                     .is_real = 1 };

    DT_TRY(dt_dataset_allocate(&shape, d));
    memcpy(d->reals, c->value, (size_t)(c->n * (c->columns - 1)) * sizeof *d->reals);
    for (int64_t i = 0; i < c->n; i++) {
        char **found = bsearch((void *)&c->label_of[i], (void *)c->class_name, (size_t)c->n_classes, sizeof(char *),
                               c->numeric ? compare_numbers : compare_texts);
        d->labels[i] = (int32_t)(found - c->class_name);
    }
    return dt_dataset_name_classes(d, (const char *const *)c->class_name);
}

dt_status dt_csv_read(dt_kind_request *r, dt_dataset *d)
{
    table c = { .r = r };

    dt_status status = dt_text_load(r->path, &c.text);
    if (status == DT_OK) status = dt_text_check(&c.text);
    if (status == DT_OK) status = read_header(&c);
    if (status == DT_OK) status = read_samples(&c);
    if (status == DT_OK) status = find_classes(&c);
    if (status == DT_OK) status = fill(&c, d);
    free((void *)c.class_name);
    free((void *)c.label_of);
    free((void *)c.field);
    free(c.value);
    dt_text_free(&c.text);
    DT_TRY(status);
    return DT_OK;
}
