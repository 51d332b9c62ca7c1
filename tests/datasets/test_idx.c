/*
 * test_idx.c - the IDX reader on small files, whole and damaged, and on the real sets where they are installed.
 */
#include "../support/temp_files.h"

#include <math.h>

enum { N = 12, IMAGES_BYTES = IDX_IMAGES_HEADER + N * IDX_SIDE * IDX_SIDE, LABELS_BYTES = IDX_LABELS_HEADER + N };

static const int label_of[N] = { 3, 1, 4, 1, 5, 9, 2, 6, 0, 8, 7, 3 };

typedef enum { IMAGES, LABELS } which_file;
typedef enum { SET, CUT, APPEND } damage_kind;

typedef struct {
    const char *why;
    which_file file;
    damage_kind kind;
    int at;     /* SET: offset; CUT: new size */
    int value;  /* SET: the byte */
    int gz_too; /* 1: the message is the same for the gzipped file */
    const char *parts[4];
} damage;

static const damage damages[] = {
    { "magic of a labels file",
      IMAGES,
      SET,
      3,
      0x01,
      1,
      { "train-images", "byte 0: the magic number is 2049 (0x801), expected 2051 (0x803)", "https://" } },
    { "gibberish",
      LABELS,
      SET,
      0,
      0x89,
      1,
      { "train-labels", "byte 0: the magic number is", "expected 2049 (0x801)" } },
    { "4 billion images",
      IMAGES,
      SET,
      4,
      0xFF,
      1,
      { "byte 4: the header says 4278190092 items of 784 bytes, the file holds 1 to " } },
    { "one image too many",
      IMAGES,
      SET,
      7,
      N + 1,
      0,
      { "byte 4: the header says 13 items of 784 bytes, the file holds 1 to 12" } },
    { "no images", IMAGES, SET, 7, 0, 1, { "byte 4: the header says 0 items" } },
    { "height 27", IMAGES, SET, 11, 27, 1, { "byte 8: the height is 27 (0x1b), expected 28" } },
    { "width 32", IMAGES, SET, 15, 32, 1, { "byte 12: the width is 32 (0x20), expected 28" } },
    { "empty", IMAGES, CUT, 0, 0, 1, { "byte 0: the file is cut off here, expected 4 bytes more" } },
    { "cut in the magic", LABELS, CUT, 3, 0, 1, { "byte 3: the file is cut off here, expected 1 bytes more" } },
    { "cut in the header", IMAGES, CUT, 14, 0, 0, { "byte 4: the header says 12 items" } },
    { "last pixel gone", IMAGES, CUT, IMAGES_BYTES - 1, 0, 0, { "12 items of 784 bytes, the file holds 1 to 11" } },
    { "last label gone", LABELS, CUT, LABELS_BYTES - 1, 0, 0, { "12 items of 1 bytes, the file holds 1 to 11" } },
    { "a byte after the pixels", IMAGES, APPEND, 0, 0, 1, { "byte 9424: expected the end of the file, found more" } },
    { "a byte after the labels", LABELS, APPEND, 0, 0, 1, { "byte 20: expected the end of the file, found more" } },
    { "label 10", LABELS, SET, 11, 10, 1, { "byte 11: label is 10, expected 0 to 9" } },
    { "last label 255", LABELS, SET, 19, 255, 1, { "byte 19: label is 255, expected 0 to 9" } },
    { "11 labels", LABELS, SET, 7, N - 1, 1, { "has 11 labels at byte 4, but train-images", "has 12 images" } },
};

static dt_dataset_options options(const char *name)
{
    return (dt_dataset_options){ .name = name, .dir = temp_folder, .split = DT_SPLIT_TRAIN };
}

static void write_pair(const damage *x, int gz)
{
    uint8_t bytes[2][IMAGES_BYTES + 1] = { { 0 } };
    size_t n_bytes[2] = { IMAGES_BYTES, LABELS_BYTES };
    const char *const names[2][2] = { { "train-images-idx3-ubyte", "train-images-idx3-ubyte.gz" },
                                      { "train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz" } };

    idx_pair_bytes(N, label_of, bytes[IMAGES], bytes[LABELS]);
    if (x != NULL && x->kind == SET) bytes[x->file][x->at] = (uint8_t)x->value;
    if (x != NULL && x->kind == CUT) n_bytes[x->file] = (size_t)x->at;
    if (x != NULL && x->kind == APPEND) n_bytes[x->file]++;
    for (int f = 0; f < 2; f++) (gz ? temp_write_gz : temp_write)(names[f][gz], bytes[f], n_bytes[f]);
}

static void check_whole(void)
{
    const dt_dataset_options opt = options("mnist");
    dt_dataset *d;
    dt_dataset_view v;

    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, &v);
    cr_assert(eq(i64, v.n, N));
    cr_assert(eq(int, v.height, 28));
    cr_assert(eq(int, v.width, 28));
    cr_assert(eq(int, v.channels, 1));
    cr_assert(eq(int, v.n_classes, 10));
    for (int i = 0; i < N; i++) {
        cr_assert(eq(int, v.labels[i], label_of[i]), "label %d", i);
        for (int p = 0; p < IDX_SIDE * IDX_SIDE; p++) {
            const int expected = idx_pixel(i, p / IDX_SIDE, p % IDX_SIDE);
            cr_assert(eq(int, v.images[i * IDX_SIDE * IDX_SIDE + p], expected), "image %d, byte %d", i, p);
        }
    }
    dt_dataset_close(d);
}

TestSuite(idx, .init = temp_make, .fini = temp_remove);

Test(idx, reads_plain_files)
{
    write_pair(NULL, 0);
    check_whole();
}

Test(idx, reads_gzipped_files)
{
    write_pair(NULL, 1);
    check_whole();
}

Test(idx, refuses_damaged_plain_files)
{
    const dt_dataset_options opt = options("fashion-mnist");

    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        write_pair(&damages[i], 0);
        expect_refused(damages[i].why, &opt, DT_ERR_FORMAT, damages[i].parts);
    }
}

Test(idx, refuses_damaged_gzipped_files)
{
    const dt_dataset_options opt = options("fashion-mnist");

    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        if (!damages[i].gz_too) continue;
        write_pair(&damages[i], 1);
        expect_refused(damages[i].why, &opt, DT_ERR_FORMAT, damages[i].parts);
    }
}

Test(idx, says_where_a_gzipped_file_lacks_pixels)
{
    static const damage cut = { .file = IMAGES, .kind = CUT, .at = IMAGES_BYTES - 1 };
    static const char *const parts[] = { "byte 9423: the file is cut off here, expected 1 bytes more", NULL };
    const dt_dataset_options opt = options("mnist");

    write_pair(&cut, 1);
    expect_refused("unpacks to one byte less", &opt, DT_ERR_FORMAT, parts);
}

/* A download that stopped, wherever it stopped: the gzip trailer's 8 bytes are missed like any others. */
Test(idx, refuses_a_gzip_stream_cut_anywhere)
{
    static const char *const parts[] = { "train-images-idx3-ubyte.gz, byte ", "fetch it again", NULL };
    const dt_dataset_options opt = options("mnist");
    struct stat st;

    write_pair(NULL, 1);
    const char *path = temp_path("train-images-idx3-ubyte.gz");
    cr_assert(eq(int, stat(path, &st), 0));
    for (off_t size = st.st_size - 1; size > 18; size -= 7) {
        cr_assert(eq(int, truncate(path, size), 0));
        expect_refused("cut gzip stream", &opt, DT_ERR_FORMAT, parts);
        path = temp_path("train-images-idx3-ubyte.gz");
    }
}

Test(idx, refuses_a_gzip_stream_with_a_wrong_checksum)
{
    static const char *const parts[] = { "train-images-idx3-ubyte.gz, byte ", "incorrect data check", NULL };
    const dt_dataset_options opt = options("mnist");

    write_pair(NULL, 1);
    FILE *file = fopen(temp_path("train-images-idx3-ubyte.gz"), "r+b");
    cr_assert(eq(int, fseek(file, -8, SEEK_END), 0)); /* the crc32, before the length */
    const int old = fgetc(file);
    cr_assert(eq(int, fseek(file, -8, SEEK_END), 0));
    fputc(old ^ 1, file);
    fclose(file);
    expect_refused("checksum", &opt, DT_ERR_FORMAT, parts);
}

/* What the real sets must give: counts, first labels, and the published mean and std to their last digit. */
typedef struct {
    const char *name;
    dt_split split;
    int64_t n;
    int first[4];
    int smallest_class;
} real_set;

static void check_real(const real_set *x, const char *dir)
{
    const dt_dataset_options opt = { .name = x->name, .dir = dir, .split = x->split };
    dt_dataset *d;
    dt_dataset_view v;
    int64_t count[10] = { 0 };
    double sum = 0.0, squares = 0.0;

    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, &v);
    cr_assert(eq(i64, v.n, x->n));
    for (int i = 0; i < 4; i++) cr_assert(eq(int, v.labels[i], x->first[i]), "%s: label %d", x->name, i);
    for (int64_t i = 0; i < v.n; i++) count[v.labels[i]]++;
    for (int c = 0; c < 10; c++) cr_assert(ge(i64, count[c], x->smallest_class), "%s: class %d", x->name, c);

    const int64_t n_pixels = v.n * v.height * v.width;
    for (int64_t p = 0; p < n_pixels; p++) {
        sum += v.images[p] / 255.0;
        squares += v.images[p] / 255.0 * (v.images[p] / 255.0);
    }
    const double mean = sum / (double)n_pixels;
    const double std = sqrt(squares / (double)n_pixels - mean * mean);
    /* published over the training split to 4 digits; the test splits differ from it by less than 0.003 */
    const double tolerance = x->split == DT_SPLIT_TRAIN ? 0.0001 : 0.003;
    cr_assert(epsilon_eq(dbl, mean, (double)v.mean[0], tolerance), "%s", x->name);
    cr_assert(epsilon_eq(dbl, std, (double)v.std[0], tolerance), "%s", x->name);
    dt_dataset_close(d);
}

Test(idx_real, fashion_mnist)
{
    static const real_set train = { "fashion-mnist", DT_SPLIT_TRAIN, 60000, { 9, 0, 0, 3 }, 6000 };
    static const real_set test = { "fashion-mnist", DT_SPLIT_TEST, 10000, { 9, 2, 1, 1 }, 1000 };
    static const char folder[] = "/usr/share/datasets/fashion-mnist";

    if (access(folder, R_OK) != 0) cr_skip_test("%s is not there: apt-get install dataset-fashion-mnist", folder);
    check_real(&train, folder);
    check_real(&test, NULL);
}

Test(idx_real, mnist)
{
    static const real_set train = { "mnist", DT_SPLIT_TRAIN, 60000, { 5, 0, 4, 1 }, 5421 };
    static const real_set test = { "mnist", DT_SPLIT_TEST, 10000, { 7, 2, 1, 0 }, 892 };
    const char *folder = getenv("DETENT_TEST_MNIST");

    if (folder == NULL) cr_skip_test("DETENT_TEST_MNIST does not name a folder with MNIST");
    check_real(&train, folder);
    check_real(&test, folder);
}
