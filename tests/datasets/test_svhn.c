/*
 * test_svhn.c - the SVHN reader on small .mat files that libmatio itself writes, whole and damaged.
 */
#include "../support/temp_files.h"

#ifdef DETENT_HAVE_MATIO

#include <matio.h>

enum { N = 13, SIDE = 32, CHANNELS = 3 };

static const char file_name[] = "train_32x32.mat";

/* What to write; zeros stand for what a good file has. */
typedef struct {
    const char *why;
    const char *x_name;
    int x_double, x_rank, height, n_x;
    int y_double, n_y, y_columns;
    double bad_label; /* of image 4, if not 0 */
    const char *parts[4];
} mat_case;

static uint8_t pixel(int n, int h, int w, int c)
{
    return (uint8_t)((n * 17 + h * 5 + w * 41 + c * 101) % 256);
}

static void write_variable(mat_t *mat, const char *name, int is_double, int rank, size_t *dims, const double *values,
                           enum matio_compression packed)
{
    static double wide[N * SIDE * SIDE * CHANNELS];
    static uint8_t narrow[N * SIDE * SIDE * CHANNELS];
    size_t n = 1;

    for (int k = 0; k < rank; k++) n *= dims[k];
    for (size_t i = 0; i < n; i++) {
        wide[i] = values[i];
        narrow[i] = (uint8_t)values[i];
    }
    void *data = is_double ? (void *)wide : (void *)narrow;
    matvar_t *v = Mat_VarCreate(name, is_double ? MAT_C_DOUBLE : MAT_C_UINT8, is_double ? MAT_T_DOUBLE : MAT_T_UINT8,
                                rank, dims, data, MAT_F_DONT_COPY_DATA);
    cr_assert(eq(int, Mat_VarWrite(mat, v, packed), 0));
    Mat_VarFree(v);
}

static void write_mat(const mat_case *m, enum matio_compression packed)
{
    static double x[N * SIDE * SIDE * CHANNELS], y[2 * N];
    const int height = m->height ? m->height : SIDE;
    const int n_x = m->n_x ? m->n_x : N;
    const int n_y = m->n_y ? m->n_y : N;
    size_t x_dims[4] = { (size_t)height, SIDE, CHANNELS, (size_t)n_x };
    size_t y_dims[2] = { (size_t)n_y, m->y_columns ? (size_t)m->y_columns : 1 };
    double *p = x;

    for (int n = 0; n < n_x; n++) {
        for (int c = 0; c < CHANNELS; c++) {
            for (int w = 0; w < SIDE; w++) {
                for (int h = 0; h < height; h++) *p++ = pixel(n, h, w, c);
            }
        }
    }
    for (int n = 0; n < 2 * N; n++) y[n] = 1 + n % 10;
    if (m->bad_label != 0) y[4] = m->bad_label < 0 ? 0 : m->bad_label;

    mat_t *mat = Mat_CreateVer(temp_path(file_name), NULL, MAT_FT_MAT5);
    cr_assert(ne(ptr, mat, NULL));
    write_variable(mat, m->x_name ? m->x_name : "X", m->x_double, m->x_rank ? m->x_rank : 4, x_dims, x, packed);
    write_variable(mat, "y", m->y_double, 2, y_dims, y, packed);
    Mat_Close(mat);
}

static dt_dataset_options options(void)
{
    return (dt_dataset_options){ .name = "svhn", .dir = temp_folder, .split = DT_SPLIT_TRAIN };
}

static void check_whole(const char *why)
{
    const dt_dataset_options opt = options();
    dt_dataset *d;
    dt_dataset_view v;

    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s: %s", why, dt_last_error());
    dt_dataset_look(d, &v);
    cr_assert(eq(i64, v.n, N));
    cr_assert(eq(int, v.height, 32));
    cr_assert(eq(int, v.width, 32));
    cr_assert(eq(int, v.channels, 3));
    for (int n = 0; n < N; n++) {
        cr_assert(eq(int, v.labels[n], (1 + n % 10) % 10), "%s: label %d", why, n);
        for (int p = 0; p < SIDE * SIDE * CHANNELS; p++) {
            const int expected = pixel(n, p / 3 / SIDE, p / 3 % SIDE, p % 3);
            cr_assert(eq(int, v.images[n * SIDE * SIDE * CHANNELS + p], expected), "%s: image %d byte %d", why, n, p);
        }
    }
    dt_dataset_close(d);
}

TestSuite(svhn, .init = temp_make, .fini = temp_remove);

Test(svhn, reads_plain_and_packed_files)
{
    static const mat_case bytes = { .why = "y uint8" }, doubles = { .why = "y double", .y_double = 1 };

    write_mat(&bytes, MAT_COMPRESSION_NONE);
    check_whole(bytes.why);
    write_mat(&bytes, MAT_COMPRESSION_ZLIB);
    check_whole("packed");
    write_mat(&doubles, MAT_COMPRESSION_ZLIB);
    check_whole(doubles.why);
}

Test(svhn, refuses_wrong_contents)
{
    static const mat_case cases[] = {
        { .why = "no X", .x_name = "x", .parts = { file_name, "no variable X, expected X and y", "housenumbers" } },
        { .why = "X of doubles", .x_double = 1, .parts = { "X has class 6", "expected uint8 (9), 32 x 32 x 3 x n" } },
        { .why = "X of one image", .x_rank = 3, .parts = { "rank 3 and is 32 x 32" } },
        { .why = "X 31 high", .height = 31, .parts = { "X has class 9, rank 4 and is 31 x 32" } },
        { .why = "fewer labels", .n_y = N - 1, .parts = { "y has 12 x 1 labels, but X has 13 images" } },
        { .why = "more labels", .n_x = N - 1, .parts = { "y has 13 x 1 labels, but X has 12 images" } },
        { .why = "two columns", .y_columns = 2, .parts = { "y has 13 x 2 labels, but X has 13 images" } },
        { .why = "label 11", .bad_label = 11, .parts = { "y(5) is 11, expected 1 to 10" } },
        { .why = "label 0", .bad_label = -1, .parts = { "y(5) is 0, expected 1 to 10" } },
        { .why = "label 2.5", .bad_label = 2.5, .y_double = 1, .parts = { "y(5) is 2.5, expected 1 to 10" } },
    };
    const dt_dataset_options opt = options();

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_mat(&cases[i], i % 2 ? MAT_COMPRESSION_NONE : MAT_COMPRESSION_ZLIB);
        expect_refused(cases[i].why, &opt, DT_ERR_FORMAT, cases[i].parts);
    }
}

Test(svhn, refuses_files_cut_anywhere)
{
    static const mat_case good = { .why = "good" };
    static const char *const parts[] = { file_name, "housenumbers", NULL };
    const dt_dataset_options opt = options();

    for (int packed = 0; packed < 2; packed++) {
        struct stat st;
        write_mat(&good, packed ? MAT_COMPRESSION_ZLIB : MAT_COMPRESSION_NONE);
        cr_assert(eq(int, stat(temp_path(file_name), &st), 0));
        const off_t step = st.st_size / 37;
        for (off_t size = st.st_size - step; size >= 0; size -= step) {
            char why[64];
            snprintf(why, sizeof why, "packed %d, cut to %lld bytes", packed, (long long)size);
            cr_assert(eq(int, truncate(temp_path(file_name), size), 0));
            expect_refused(why, &opt, DT_ERR_FORMAT, parts);
        }
    }
}

/* The fourth dimension of X in an unpacked file: after 128 bytes of header, 8 + 16 of tag and flags, 8 + 3 * 4. */
Test(svhn, refuses_a_count_beyond_the_file)
{
    static const mat_case good = { .why = "good" };
    static const char *const parts[] = { "X says 4294967295 images, but a file of ", " holds 1 to ", NULL };
    const dt_dataset_options opt = options();

    write_mat(&good, MAT_COMPRESSION_NONE);
    FILE *file = fopen(temp_path(file_name), "r+b");
    cr_assert(eq(int, fseek(file, 128 + 8 + 16 + 8 + 12, SEEK_SET), 0));
    cr_assert(eq(int, fgetc(file), N), "the fourth dimension is not where this test looks for it");
    cr_assert(eq(int, fseek(file, -1, SEEK_CUR), 0));
    for (int b = 0; b < 4; b++) fputc(0xFF, file);
    fclose(file);
    expect_refused("4 billion images", &opt, DT_ERR_FORMAT, parts);
}

Test(svhn, refuses_other_formats)
{
    static const char hdf5[] = { 0x00, 0x02, 'I', 'M' };
    static const char *const short_parts[] = { "byte 11: the file is cut off here, expected a header of 128", NULL };
    static const char *const version_parts[] = { "byte 124: found 00 02 49 4d, expected MAT version 5", NULL };
    const dt_dataset_options opt = options();
    char bytes[512] = "MATLAB 7.3 MAT-file";

    temp_write(file_name, "<html></ht>", 11);
    expect_refused("a web page", &opt, DT_ERR_FORMAT, short_parts);
    memcpy(bytes + 124, hdf5, sizeof hdf5);
    temp_write(file_name, bytes, sizeof bytes);
    expect_refused("version 7.3", &opt, DT_ERR_FORMAT, version_parts);
}

#else

Test(svhn, is_refused_with_the_remedy)
{
    const dt_dataset_options opt = { .name = "svhn" };
    const char *const parts[] = { "libmatio-dev", NULL };

    expect_refused("no libmatio", &opt, DT_ERR_UNSUPPORTED, parts);
}

#endif
