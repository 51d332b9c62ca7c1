/*
 * test_cifar10.c - the reader of CIFAR-10's binary version, on sparse files of the real size and on the real set.
 */
#include "../support/temp_files.h"

#include <math.h>

enum { RECORDS = 10000, RECORD = 3073, PLANE = 1024, FILE_SIZE = RECORDS * RECORD };

static const char *const train_files[] = { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                           "data_batch_4.bin", "data_batch_5.bin" };

/* A file of zeros (label 0, black), mostly a hole; its record `at` is of class `label` with a pattern. */
static void write_batch(const char *name, long size, long at, int label)
{
    FILE *file = fopen(temp_path(name), "wb");

    cr_assert(ne(ptr, file, NULL));
    cr_assert(eq(int, fseek(file, at * RECORD, SEEK_SET), 0));
    fputc(label, file);
    for (int c = 0; c < 3; c++) {
        for (int p = 0; p < PLANE; p++) fputc((c * 80 + p * 5) % 251, file);
    }
    fflush(file);
    cr_assert(eq(int, ftruncate(fileno(file), size), 0));
    cr_assert(eq(int, fclose(file), 0));
}

static dt_dataset_options options(dt_split split)
{
    return (dt_dataset_options){ .name = "cifar10", .dir = temp_folder, .split = split };
}

TestSuite(cifar10, .init = temp_make, .fini = temp_remove);

Test(cifar10, interleaves_the_planes)
{
    const dt_dataset_options opt = options(DT_SPLIT_TEST);
    dt_dataset *d;
    dt_dataset_view v;

    write_batch("test_batch.bin", FILE_SIZE, 7, 9);
    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, &v);
    cr_assert(eq(i64, v.n, RECORDS));
    cr_assert(eq(int, v.height, 32));
    cr_assert(eq(int, v.width, 32));
    cr_assert(eq(int, v.channels, 3));
    cr_assert(eq(int, v.labels[6], 0));
    cr_assert(eq(int, v.labels[7], 9));
    cr_assert(eq(int, v.labels[8], 0));
    for (int h = 0; h < 32; h++) {
        for (int w = 0; w < 32; w++) {
            for (int c = 0; c < 3; c++) {
                const int found = v.images[((7 * 32 + h) * 32 + w) * 3 + c];
                cr_assert(eq(int, found, (c * 80 + (h * 32 + w) * 5) % 251), "h %d w %d c %d", h, w, c);
            }
        }
    }
    dt_dataset_close(d);
}

Test(cifar10, joins_five_files_found_from_the_parent_folder)
{
    const dt_dataset_options opt = options(DT_SPLIT_TRAIN);
    dt_dataset *d;
    dt_dataset_view v;

    cr_assert(eq(int, mkdir(temp_path("cifar-10-batches-bin"), 0700), 0));
    for (int f = 0; f < 5; f++) {
        char name[64];
        snprintf(name, sizeof name, "cifar-10-batches-bin/%s", train_files[f]);
        write_batch(name, FILE_SIZE, 100 + f, 1 + f);
    }
    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, &v);
    cr_assert(eq(i64, v.n, 5 * RECORDS));
    for (int f = 0; f < 5; f++) cr_assert(eq(int, v.labels[f * RECORDS + 100 + f], 1 + f), "%s", train_files[f]);
    cr_assert(eq(int, v.labels[0], 0));
    cr_assert(eq(int, v.labels[5 * RECORDS - 1], 0));
    dt_dataset_close(d);
}

Test(cifar10, refuses_damaged_files)
{
    static const struct {
        const char *why;
        long size;
        int label;
        const char *parts[4];
    } cases[] = {
        { "a record missing", FILE_SIZE - RECORD, 0, { "test_batch.bin ends at byte 30726927, expected 30730000" } },
        { "the last byte missing", FILE_SIZE - 1, 0, { "ends at byte 30729999, expected 30730000", "https://" } },
        { "a byte too many", FILE_SIZE + 1, 0, { "ends at byte 30730001, expected 30730000" } },
        { "empty", 0, 0, { "ends at byte 0, expected 30730000 (10000 records of 3073 bytes)" } },
        { "label 10", FILE_SIZE, 10, { "test_batch.bin, byte 21511: label is 10, expected 0 to 9", "https://" } },
    };
    const dt_dataset_options opt = options(DT_SPLIT_TEST);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_batch("test_batch.bin", cases[i].size, 7, cases[i].label);
        expect_refused(cases[i].why, &opt, DT_ERR_FORMAT, cases[i].parts);
    }
}

Test(cifar10, names_the_missing_file)
{
    const dt_dataset_options opt = options(DT_SPLIT_TRAIN);
    const char *const parts[] = { temp_folder, "has no file data_batch_3.bin", "cifar-10-binary.tar.gz", NULL };

    for (int f = 0; f < 5; f++) {
        if (f != 2) write_batch(train_files[f], FILE_SIZE, 0, 0);
    }
    expect_refused("third file missing", &opt, DT_ERR_IO, parts);
}

static void check_real(const char *dir, dt_split split, int64_t n)
{
    const dt_dataset_options opt = { .name = "cifar10", .dir = dir, .split = split };
    dt_dataset *d;
    dt_dataset_view v;
    int64_t count[10] = { 0 };
    double sum[3] = { 0.0 }, squares[3] = { 0.0 };

    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, &v);
    cr_assert(eq(i64, v.n, n));
    for (int64_t i = 0; i < n; i++) count[v.labels[i]]++;
    for (int c = 0; c < 10; c++) cr_assert(eq(i64, count[c], n / 10), "class %d", c);
    for (int64_t p = 0; p < n * PLANE * 3; p++) {
        const double x = v.images[p] / 255.0;
        sum[p % 3] += x;
        squares[p % 3] += x * x;
    }
    for (int c = 0; c < 3; c++) {
        const double mean = sum[c] / (double)(n * PLANE);
        const double std = sqrt(squares[c] / (double)(n * PLANE) - mean * mean);
        /* published to 3 digits over the training split; 0.005 admits the test split and re-compressed copies,
         * and is less than what tells the channels apart */
        cr_assert(epsilon_eq(dbl, mean, (double)v.mean[c], 0.005), "channel %d", c);
        cr_assert(epsilon_eq(dbl, std, (double)v.std[c], 0.005), "channel %d", c);
    }
    dt_dataset_close(d);
}

Test(cifar10_real, both_splits)
{
    const char *folder = getenv("DETENT_TEST_CIFAR10");

    if (folder == NULL) cr_skip_test("DETENT_TEST_CIFAR10 does not name a folder with CIFAR-10's binary version");
    check_real(folder, DT_SPLIT_TRAIN, 50000);
    check_real(folder, DT_SPLIT_TEST, 10000);
}
