/*
 * kinds.c - see kinds.h. The table of kinds and of their options; the division into training and test.
 *
 * Of a set that its files do not divide, `test` percent of the samples are for TEST, or of the subjects, where samples
 * have subjects, so that nobody is in both. They are drawn by the set's own seed, not by that of a run: the same
 * samples are for TEST in training and in every later command. At least one is in each part.
 *
 * Tests: tests/datasets/test_csv.c.
 */
#include "kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEST_EPOCH 0xFFFFFFFDu /* of the draw; subset.c has two others */

/* An option of the text. */
typedef struct {
    const char *name;
    size_t offset;            /* in dt_kind_request */
    int min, max;             /* of a number */
    const char *const *words; /* NULL: it is a number or a text */
    int text_bytes;           /* above 0: it is a text */
} kind_option;

#define AT(field) offsetof(dt_kind_request, field)

static const char *const normalize_words[] = { "data", "none", NULL }, *const device_words[] = { "watch", "phone",
                                                                                                 NULL };

static const kind_option options[] = {
    { "test", AT(test), 1, 99, NULL, 0 },
    { "seed", AT(seed), 0, 1000000000, NULL, 0 },
    { "normalize", AT(normalize), 0, 0, normalize_words, 0 },
    { "window", AT(window), 1, DT_DATASET_MAX_SIDE, NULL, 0 },
    { "stride", AT(stride), 1, 1000000, NULL, 0 },
    { "signals", AT(signals), 3, 9, NULL, 0 },
    { "fold", AT(fold), 9, 10, NULL, 0 },
    { "device", AT(device), 0, 0, device_words, 0 },
    { "activities", AT(activities), 0, 0, NULL, sizeof((dt_kind_request *)0)->activities },
};
enum { N_OPTIONS = sizeof options / sizeof options[0] };

struct dt_kind {
    dt_dataset_kind_info info;
    dt_kind_request defaults;
    dt_status (*read)(dt_kind_request *r, dt_dataset *d);
    const char *remedy; /* for files that it refuses */
};

static const dt_kind kinds[] = {
    { { "safetensors", "FILE", "x [N][H][W][C] or [N][F], y classes [N] or labels 0/1 [N][L]; x_test, y_test, if there",
        "test seed normalize" },
      { .test = 20 },
      dt_safetensors_set_read,
      "write the file again; docs/DATA.md has its arrays" },
    { { "npz", "FILE", "the same arrays in numpy's archive, as numpy.savez makes it", "test seed normalize" },
      { .test = 20 },
      dt_npz_read,
      "write the file again, by numpy.savez; docs/DATA.md has its arrays" },
    { { "csv", "FILE", "a header line, numbers, and a class in the column 'label', or else in the last",
        "test seed normalize" },
      { .test = 20 },
      dt_csv_read,
      "correct the table, or write it again; docs/DATA.md has its form" },
    { { "har", "DIR", "UCI HAR: windows of a phone's signals, 6 activities, divided by its authors",
        "signals window normalize" },
      { .signals = 9, .window = 128 },
      dt_har_read,
      "unpack the archive of https://archive.ics.uci.edu/dataset/240 again" },
    { { "wisdm11", "FILE", "WISDM v1.1, raw: a phone's acceleration, 6 activities, divided by subjects",
        "window stride test seed normalize" },
      { .window = 100, .stride = 100, .test = 20 },
      dt_wisdm11_read,
      "unpack WISDM_ar_latest.tar.gz of https://www.cis.fordham.edu/wisdm/dataset.php again" },
    { { "wisdm", "DIR", "WISDM 2019, raw: a watch or phone, acceleration and rotation, divided by subjects",
        "device signals activities window stride test seed normalize" },
      { .window = 100, .stride = 100, .test = 20, .signals = 6, .activities = "ABCDEF" },
      dt_wisdm_read,
      "unpack the archive of https://archive.ics.uci.edu/dataset/507 again" },
    { { "ptbxl", "DIR", "PTB-XL: 12-lead ECGs of 10 s at 100 Hz, 5 diagnostic superclasses as labels, divided by folds",
        "fold normalize" },
      { .fold = 10 },
      dt_ptbxl_read,
      "get the files of https://physionet.org/content/ptb-xl/ again, with records100/" },
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

int dt_dataset_kinds(int i, dt_dataset_kind_info *out)
{
    if (i >= 0 && i < N_KINDS) *out = kinds[i].info;
    return N_KINDS;
}

static const dt_kind *find_kind(const char *name)
{
    const size_t length = name ? strcspn(name, ":") : 0;

    for (int i = 0; name && name[length] == ':' && i < N_KINDS; i++) {
        if (strlen(kinds[i].info.kind) == length && strncmp(kinds[i].info.kind, name, length) == 0) return &kinds[i];
    }
    return NULL;
}

int dt_kind_of(const char *name)
{
    return find_kind(name) != NULL;
}

/* 1 if the words, separated by blanks, have this one of `length` bytes. */
static int has_word(const char *words, const char *word, size_t length)
{
    for (const char *p = words; *p; p += p[strcspn(p, " ")] ? strcspn(p, " ") + 1 : strcspn(p, " ")) {
        if (strcspn(p, " ") == length && strncmp(p, word, length) == 0) return 1;
    }
    return 0;
}

static const kind_option *find_option(const char *name, size_t length)
{
    for (int i = 0; i < N_OPTIONS; i++) {
        if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0) return &options[i];
    }
    return NULL;
}

static dt_status set_word(const kind_option *o, const char *name, const char *value, int *to)
{
    for (int i = 0; o->words[i]; i++) {
        if (strcmp(o->words[i], value) != 0) continue;
        *to = i;
        return DT_OK;
    }
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "%s: %s is '%s', expected %s or %s", name, o->name, value,
                    o->words[0], o->words[1]);
}

static dt_status set_option(const kind_option *o, const char *name, const char *value, dt_kind_request *r)
{
    void *to = (char *)r + o->offset;
    char *end = NULL;

    if (o->words) return set_word(o, name, value, to);
    if (o->text_bytes > 0) {
        DT_CHECK(value[0] && strlen(value) < (size_t)o->text_bytes, DT_ERR_ARGUMENT,
                 "%s: %s has %zu bytes, expected 1 to %d", name, o->name, strlen(value), o->text_bytes - 1);
        memcpy(to, value, strlen(value) + 1);
        return DT_OK;
    }
    const long number = strtol(value, &end, 10);
    DT_CHECK(end != value && *end == '\0' && number >= o->min && number <= o->max, DT_ERR_ARGUMENT,
             "%s: %s is '%s', expected a whole number from %d to %d", name, o->name, value, o->min, o->max);
    *(int *)to = (int)number;
    return DT_OK;
}

/* Cuts ",OPTION=VALUE" from the end of r->path, as often as there is one. A comma without '=' behind is the path's. */
static dt_status take_options(const dt_kind *kind, dt_kind_request *r)
{
    for (char *comma; (comma = strrchr(r->path, ',')) != NULL;) {
        const char *name = comma + 1, *equal = strchr(name, '=');
        if (!equal || strchr(name, '/')) return DT_OK;
        const size_t length = (size_t)(equal - name);
        const kind_option *o = find_option(name, length);
        DT_CHECK(o && has_word(kind->info.options, name, length), DT_ERR_ARGUMENT,
                 "%s: '%.*s' is no option of %s; there are: %s", r->name, (int)length, name, kind->info.kind,
                 kind->info.options);
        DT_TRY(set_option(o, r->name, equal + 1, r));
        *comma = '\0';
    }
    return DT_OK;
}

/* The file or folder is there. */
static dt_status check_path(const dt_kind *kind, const dt_kind_request *r)
{
    const int is_dir = strcmp(kind->info.of, "DIR") == 0;
    struct stat st;

    DT_CHECK(stat(r->path, &st) == 0 && (is_dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode)), DT_ERR_IO,
             "%s: there is no %s %s", r->name, is_dir ? "folder" : "file", r->path);
    return DT_OK;
}

static dt_status read_text(const dt_kind *kind, const char *name, const char *dir, dt_kind_request *r)
{
    const char *path = strchr(name, ':') + 1;
    const int in_dir = dir && path[0] != '/';

    *r = kind->defaults;
    r->name = name;
    DT_CHECK(strlen(name) < DT_DATASET_NAME_BYTES, DT_ERR_ARGUMENT,
             "%s: the data set's name has %zu bytes, limit %d; give a shorter path, or its folder with --data", name,
             strlen(name), DT_DATASET_NAME_BYTES - 1);
    const int length = snprintf(r->path, sizeof r->path, "%s%s%s", in_dir ? dir : "", in_dir ? "/" : "", path);
    DT_CHECK(length < (int)sizeof r->path, DT_ERR_ARGUMENT, "%s: its path has %d bytes, limit %zu", name, length,
             sizeof r->path - 1);
    DT_TRY(take_options(kind, r));
    return check_path(kind, r);
}

dt_status dt_kind_path(const char *name, const char *dir, char *path)
{
    dt_kind_request r;

    DT_TRY(read_text(find_kind(name), name, dir, &r));
    memcpy(path, r.path, sizeof r.path);
    return DT_OK;
}

/* ---- training and test ---- */

/* How many of n are for TEST. */
static int64_t test_count(int64_t n, int percent)
{
    const int64_t count = (n * percent + 50) / 100;

    return count < 1 ? 1 : count > n - 1 ? n - 1 : count;
}

/* Numbers the subjects 0, 1, .. in the order in which they appear, and returns how many there are. */
static int32_t number_groups(int32_t *group, int64_t n, int32_t *seen)
{
    int32_t n_seen = 0;

    for (int64_t i = 0; i < n; i++) {
        int32_t k = 0;
        while (k < n_seen && seen[k] != group[i]) k++;
        if (k == n_seen) seen[n_seen++] = group[i];
        group[i] = k;
    }
    return n_seen;
}

static dt_status mark_test(dt_kind_request *r, int64_t n, int32_t *seen, uint8_t *chosen)
{
    const int64_t n_parts = r->group ? number_groups(r->group, n, seen) : n;
    const char *what = r->group ? "subject" : "sample";

    DT_CHECK(n_parts >= 2, DT_ERR_ARGUMENT, "%s: there is %lld %s, and training and test need one each", r->name,
             (long long)n_parts, what);
    DT_TRY(dt_dataset_draw(n_parts, test_count(n_parts, r->test), (uint64_t)r->seed, TEST_EPOCH, chosen));
    if (!r->group) return DT_OK;
    uint8_t *part = malloc((size_t)n_parts);
    DT_CHECK(part, DT_ERR_MEMORY, "%s: no memory for %lld subjects", r->name, (long long)n_parts);
    memcpy(part, chosen, (size_t)n_parts);
    for (int64_t i = 0; i < n; i++) chosen[i] = part[r->group[i]];
    free(part);
    return DT_OK;
}

static dt_status divide(dt_kind_request *r, dt_dataset *d)
{
    int32_t *seen = malloc((size_t)d->n * sizeof *seen);
    uint8_t *chosen = malloc((size_t)d->n);

    dt_status status = seen && chosen ? mark_test(r, d->n, seen, chosen)
                                      : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__,
                                                 "%s: no memory to divide %lld samples", r->name, (long long)d->n);
    if (status == DT_OK) dt_dataset_keep(d, chosen, r->split == DT_SPLIT_TEST);
    free(seen);
    free(chosen);
    return status;
}

/* Files that a reader refuses are damaged, or others: the message ends with what to do. */
static dt_status read_files(const dt_kind *kind, dt_kind_request *r, dt_dataset *d)
{
    const dt_status status = kind->read(r, d);
    const int is_of_files = status == DT_ERR_FORMAT || status == DT_ERR_SHAPE || status == DT_ERR_IO;
    char message[1024];

    if (!is_of_files) return status;
    snprintf(message, sizeof message, "%s", dt_last_error());
    return dt_raise(status, __FILE__, __LINE__, "%s; %s", message, kind->remedy);
}

static dt_status read_set(const dt_kind *kind, dt_kind_request *r, dt_dataset *d)
{
    DT_TRY(read_files(kind, r, d));
    const int most_channels = d->reals ? DT_MOST_CHANNELS : DT_MOST_PIXEL_CHANNELS;
    DT_CHECK(d->channels <= most_channels && d->n_classes <= DT_DATASET_MAX_CLASSES, DT_ERR_UNSUPPORTED,
             "%s: %d channels and %d classes, limits %d for %s and %d; what has more channels goes along the width",
             r->name, d->channels, d->n_classes, most_channels, d->reals ? "reals" : "pixels", DT_DATASET_MAX_CLASSES);
    if (!r->is_split) DT_TRY(divide(r, d));
    DT_TRY(dt_dataset_check_reals(d, r->path));
    snprintf(d->own_name, sizeof d->own_name, "%s", r->name);
    d->name = d->own_name;
    for (int c = 0; c < d->channels; c++) {
        d->std[c] = 1.0f;
        if (r->normalize == 0) dt_dataset_measure(d, c);
    }
    return DT_OK;
}

dt_status dt_kind_read(const char *name, const char *dir, dt_split split, dt_dataset *d)
{
    const dt_kind *kind = find_kind(name);
    dt_kind_request r;

    DT_TRY(read_text(kind, name, dir, &r));
    r.split = split;
    const dt_status status = read_set(kind, &r, d);
    free(r.group);
    DT_TRY(status);
    return DT_OK;
}
