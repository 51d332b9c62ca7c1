/*
 * test_signals.c - recordings of sensors: WISDM v1.1 and 2019, UCI HAR; windows, gaps, subjects, and damaged files.
 */
#include "../support/set_files.h"

#include <stdarg.h>

enum { TEXT_BYTES = 1 << 18 };

static char text[TEXT_BYTES];
static size_t used;

static void begin(void)
{
    used = 0;
    text[0] = '\0';
}

static void add(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void add(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    used += (size_t)vsnprintf(text + used, sizeof text - used, format, ap);
    va_end(ap);
    cr_assert(used < sizeof text);
}

TestSuite(signals, .init = temp_make, .fini = temp_remove);

/* ---- WISDM v1.1 ---- */

/* Records of 50 ms; x counts on, so that it tells which record a value is of. */
static void add_records(int subject, const char *activity, int n, long long from, int first)
{
    for (int i = 0; i < n; i++) {
        add("%d,%s,%lld,%d,%g,-1.5;\n", subject, activity, from + 50000000LL * i, first + i, 0.25 * i);
    }
}

static dt_dataset *open_wisdm11(const char *options, dt_split split, dt_dataset_view *v)
{
    char rest[64];

    temp_write("raw.txt", text, used);
    snprintf(rest, sizeof rest, "raw.txt,window=4,stride=2,normalize=none%s", options);
    return set_open(set_name("wisdm11", rest), split, v);
}

/* The first x of each window. */
static void expect_windows(const dt_dataset_view *v, int n, const int *x, const int *label)
{
    cr_assert(v->n == n && v->height == 4 && v->width == 3 && v->channels == 1, "%lld windows, expected %d",
              (long long)v->n, n);
    for (int i = 0; i < n; i++) {
        for (int t = 0; t < 4; t++) {
            cr_assert(v->reals[(i * 4 + t) * 3] == (float)(x[i] + t), "window %d, row %d: %g, expected %d", i, t,
                      (double)v->reals[(i * 4 + t) * 3], x[i] + t);
        }
        cr_assert(v->reals[i * 12 + 2] == -1.5f && v->labels[i] == label[i], "window %d: class %d", i, v->labels[i]);
    }
}

/* One subject a part, so that each is seen whole. */
Test(signals, windows_end_with_activity_subject_and_gap)
{
    static const int x[] = { 0, 2, 7, 20, 30, 40 }, label[] = { 0, 0, 1, 4, 4, 4 }, other[] = { 100, 102 },
                     walk[] = { 5, 5 };
    dt_dataset_view v;
    int seen = 0;

    begin();
    add_records(1, "Walking", 7, 0, 0);           /* windows at 0 and 2; row 6 is left over */
    add_records(1, "Jogging", 4, 400000000, 7);   /* one window */
    add_records(1, "Sitting", 4, 700000000, 20);  /* one, and then a gap of more than a second */
    add_records(1, "Sitting", 4, 2000000000, 30); /* one, and then time runs backwards */
    add_records(1, "Sitting", 5, 1000000, 40);
    add_records(2, "Standing", 6, 1200000000, 100);
    for (int p = 0; p < 2; p++) {
        dt_dataset *d = open_wisdm11(",test=50", p ? DT_SPLIT_TEST : DT_SPLIT_TRAIN, &v);
        if (v.labels[0] == 5)
            expect_windows(&v, 2, other, walk);
        else
            expect_windows(&v, 6, x, label);
        seen |= v.labels[0] == 5 ? 1 : 2;
        cr_assert(eq(str, (char *)v.class_names[2], "Upstairs"));
        dt_dataset_close(d);
    }
    cr_assert(seen == 3, "both parts have the same subject");
}

/* The published file has records on one line, blank lines, and a few that lack a value. */
Test(signals, published_quirks_are_read)
{
    dt_dataset_view v;

    begin();
    add_records(1, "Walking", 1200, 0, 0);
    add("1,Walking,60000000000,5.0,4.0,;\n\n1,Walking,60050000000,0,0,-1.5;1,Walking,60100000000,1,0,-1.5;\n"
        "1,Walking,60150000000,2,0,-1.5;\n1,Walking,60200000000,3,0,-1.5;\n");
    add_records(2, "Walking", 4, 0, 0);
    for (int p = 0; p < 2; p++) {
        dt_dataset *d = open_wisdm11(",test=50", p ? DT_SPLIT_TEST : DT_SPLIT_TRAIN, &v);
        cr_assert(v.n == 1 || v.n == 599 + 1, "%lld windows", (long long)v.n);
        dt_dataset_close(d);
    }
}

Test(signals, damaged_wisdm11_is_refused)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "1,Walking,0,1,2,3;\n1,Flying,50000000,1,2,3;\n", "line 2: the activity is 'Flying', expected Walking" },
        { "1,Walking,0,1,2,3;\n1,Walking,5000", "line 2: the file ends inside the record '1,Walking,5000'" },
        { "1,Walking,0,1,2,3;\nx,Walking,50000000,1,2,3;\n", "line 2: the subject is 'x', expected a whole number" },
        { "1,Walking,0,1,2,3;\n1,Walking,1,1,b,3;\n", "line 2: y is 'b', expected a finite number" },
        { "1,Walking,0,1,2,3;\n1,Walking,1,1,2;\n", "1 of 2 records have not six fields, the first in line 2" },
        { "1,Walking,0,1,2,3;\n", "no recording has the 100 rows of a window" },
        { "", "no recording has the 100 rows of a window" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        temp_write_text("bad.txt", cases[i].text);
        set_refused(set_name("wisdm11", "bad.txt"), DT_ERR_FORMAT, cases[i].part);
    }
}

/* ---- WISDM 2019 ---- */

static void make_folders(void)
{
    static const char *const folders[] = { "raw", "raw/watch", "raw/watch/accel", "raw/watch/gyro" };

    for (int i = 0; i < 4; i++) mkdir(temp_path(folders[i]), 0700);
}

/* Activity A, then C, which is no class, then B; the gyroscope is 10 ms late and lacks one value of B. */
static void write_subject(int subject)
{
    static const char letters[] = "ACB";
    char name[64];

    for (int sensor = 0; sensor < 2; sensor++) {
        begin();
        for (int i = 0; i < 15; i++) {
            const long long time = 1000000000LL + 50000000LL * i + (i / 5) * 5000000000LL + sensor * 10000000LL;
            if (sensor == 1 && i == 14) continue;
            add("%d,%c,%lld,%d,%d,0.5;\n", subject, letters[i / 5], time, subject * 100 + i, sensor);
        }
        snprintf(name, sizeof name, "raw/watch/%s/data_%d_%s_watch.txt", sensor ? "gyro" : "accel", subject,
                 sensor ? "gyro" : "accel");
        temp_write(name, text, used);
    }
}

Test(signals, sensors_are_joined_by_time)
{
    dt_dataset_view v;

    make_folders();
    write_subject(1);
    write_subject(2);
    for (int p = 0; p < 2; p++) {
        dt_dataset *d = set_open(set_name("wisdm", ",activities=AB,window=4,stride=1,test=50,normalize=none"),
                                 p ? DT_SPLIT_TEST : DT_SPLIT_TRAIN, &v);
        cr_assert(v.n == 3 && v.width == 6 && v.height == 4 && v.n_classes == 2, "%lld windows", (long long)v.n);
        const float first = v.reals[0] < 200.0f ? 100.0f : 200.0f;
        static const int from[] = { 0, 1, 10 };
        for (int i = 0; i < 3; i++) {
            for (int t = 0; t < 4; t++) {
                const float *row = v.reals + (i * 4 + t) * 6, x = first + (float)(from[i] + t);
                const float want[6] = { x, 0.0f, 0.5f, x, 1.0f, 0.5f };
                cr_assert(memcmp(row, want, sizeof want) == 0, "window %d, row %d: %g and %g, expected %g", i, t,
                          (double)row[0], (double)row[3], (double)x);
            }
            cr_assert(v.labels[i] == from[i] / 10);
        }
        dt_dataset_close(d);
    }
    dt_dataset *d = set_open(set_name("wisdm", ",signals=3,window=5,test=50"), DT_SPLIT_TRAIN, &v);
    cr_assert(v.width == 3 && v.n == 3 && v.n_classes == 6);
    dt_dataset_close(d);
}

Test(signals, damaged_wisdm_is_refused)
{
    set_refused(set_name("wisdm", ""), DT_ERR_IO, "raw/watch/accel");
    make_folders();
    set_refused(set_name("wisdm", ""), DT_ERR_IO, "has no files data_SUBJECT_accel_watch.txt");
    write_subject(1);
    set_refused(set_name("wisdm", ",activities=AAB"), DT_ERR_ARGUMENT,
                "activities are 'AAB', expected letters from A to S");
    set_refused(set_name("wisdm", ",signals=5"), DT_ERR_ARGUMENT, "signals is 5, expected 3");
    temp_write_text("raw/watch/gyro/data_1_gyro_watch.txt", "2,A,1,1,2,3;\n");
    set_refused(set_name("wisdm", ""), DT_ERR_FORMAT, "line 1: is of subject 2, and the file's name says 1");
    temp_write_text("raw/watch/gyro/data_1_gyro_watch.txt", "1,A,1,1,2,3;\n1,T,1,1,2,3;\n");
    set_refused(set_name("wisdm", ""), DT_ERR_FORMAT, "line 2: the activity is 'T', expected a letter from A to S");
}

/* ---- UCI HAR ---- */

enum { ROWS = 5 };

static float har_value(int signal, int row, int i)
{
    return (float)(signal * 10000 + row * 1000 + i) / 8.0f;
}

static void write_har(void)
{
    static const char *const signals[] = { "body_acc_x",  "body_acc_y",  "body_acc_z",  "body_gyro_x", "body_gyro_y",
                                           "body_gyro_z", "total_acc_x", "total_acc_y", "total_acc_z" };
    char name[96];

    mkdir(temp_path("train"), 0700);
    mkdir(temp_path("train/Inertial Signals"), 0700);
    for (int s = 0; s < 9; s++) {
        begin();
        for (int row = 0; row < ROWS; row++) {
            for (int i = 0; i < 128; i++) add("  %.9e", (double)har_value(s, row, i));
            add("\n");
        }
        snprintf(name, sizeof name, "train/Inertial Signals/%s_train.txt", signals[s]);
        temp_write(name, text, used);
    }
    temp_write_text("train/y_train.txt", "5\n1\n6\n2\n5\n");
    temp_write_text("train/subject_train.txt", "1\n1\n3\n30\n30\n");
}

Test(signals, har_has_its_signals_side_by_side)
{
    static const int of_six[] = { 6, 7, 8, 3, 4, 5 }, label[] = { 4, 0, 5, 1, 4 };
    dt_dataset_view v;

    write_har();
    for (int six = 0; six < 2; six++) {
        const int width = six ? 6 : 9, height = six ? 100 : 128;
        dt_dataset *d = set_open(set_name("har", six ? ",signals=6,window=100" : ""), DT_SPLIT_TRAIN, &v);
        cr_assert(v.n == ROWS && v.height == height && v.width == width && v.n_classes == 6);
        for (int row = 0; row < ROWS; row++) {
            cr_assert(v.labels[row] == label[row]);
            for (int i = 0; i < height * width; i++) {
                const float want = har_value(six ? of_six[i % width] : i % width, row, i / width);
                cr_assert(v.reals[row * height * width + i] == want, "row %d, value %d: %g, expected %g", row, i,
                          (double)v.reals[row * height * width + i], (double)want);
            }
        }
        cr_assert(eq(str, (char *)v.class_names[5], "LAYING"));
        dt_dataset_close(d);
    }
}

Test(signals, damaged_har_is_refused)
{
    write_har();
    temp_write_text("train/y_train.txt", "5\n1\n6\n2\n");
    set_refused(set_name("har", ""), DT_ERR_FORMAT, "subject_train.txt has 5 lines, and y_train.txt 4");
    temp_write_text("train/y_train.txt", "5\n1\n7\n2\n5\n");
    set_refused(set_name("har", ""), DT_ERR_FORMAT, "line 3: y is '7', expected a whole number from 1 to 6");
    temp_write_text("train/y_train.txt", "5\n1\n6\n2\n5\n1\n");
    temp_write_text("train/subject_train.txt", "1\n1\n3\n30\n30\n2\n");
    set_refused(set_name("har", ""), DT_ERR_FORMAT, "has 5 lines, and y_train.txt has 6 labels");
    write_har();
    temp_write_text("train/Inertial Signals/body_acc_y_train.txt", "1 2 3\n");
    set_refused(set_name("har", ""), DT_ERR_FORMAT, "body_acc_y_train.txt, line 1: has 3 numbers, expected 128");
    set_refused(set_name("har", ",signals=7"), DT_ERR_ARGUMENT, "signals is 7, expected 6 or 9");
    set_refused(set_name("har", ",window=129"), DT_ERR_ARGUMENT, "window is 129, and the windows have 128 values");
    remove(temp_path("train/Inertial Signals/body_acc_y_train.txt"));
    set_refused(set_name("har", ""), DT_ERR_IO, "body_acc_y_train.txt: cannot be opened");
}
