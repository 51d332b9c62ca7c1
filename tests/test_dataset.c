/*
 * test_dataset.c - opening by name, folders, the balanced subset, padding, and the synthetic images.
 */
#include "temp_files.h"

#include "../core/rng.h"

static dt_dataset *open_or_fail(dt_dataset_options opt, dt_dataset_view *v)
{
    dt_dataset *d = NULL;

    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, v);
    return d;
}

static dt_dataset_options synthetic(dt_split split, int64_t limit, uint64_t seed)
{
    return (dt_dataset_options){ .name = "synthetic", .split = split, .limit = limit, .seed = seed };
}

/* A grey set of n images of these classes, in temp_folder/sub. */
static void write_grey(const char *sub, int n, const int *label)
{
    uint8_t *images = malloc(IDX_IMAGES_HEADER + (size_t)n * IDX_SIDE * IDX_SIDE);
    uint8_t *labels = malloc(IDX_LABELS_HEADER + (size_t)n);
    char name[256];

    mkdir(temp_path(sub), 0700);
    idx_pair_bytes(n, label, images, labels);
    snprintf(name, sizeof name, "%s/train-images-idx3-ubyte", sub);
    temp_write(name, images, IDX_IMAGES_HEADER + (size_t)n * IDX_SIDE * IDX_SIDE);
    snprintf(name, sizeof name, "%s/train-labels-idx1-ubyte", sub);
    temp_write(name, labels, IDX_LABELS_HEADER + (size_t)n);
    free(images);
    free(labels);
}

TestSuite(dataset, .init = temp_make, .fini = temp_remove);

Test(dataset, lists_what_it_knows)
{
    static const char *const names[] = { "mnist", "fashion-mnist", "cifar10", "svhn", "synthetic" };
    const dt_dataset_info *infos;

    cr_assert(eq(int, dt_dataset_known(&infos), 5));
    for (int i = 0; i < 5; i++) {
        cr_assert(eq(str, (char *)infos[i].name, (char *)names[i]));
        cr_assert(infos[i].about[0] != '\0' && infos[i].get[0] != '\0', "%s", names[i]);
        cr_assert(eq(int, infos[i].files[0] == '\0', infos[i].where[0] == '\0'), "%s", names[i]);
    }
}

Test(dataset, refuses_bad_options)
{
    static const struct {
        dt_dataset_options opt;
        const char *parts[3];
    } cases[] = {
        { { .name = NULL }, { "no dataset is named" } },
        { { .name = "imagenet" }, { "no dataset 'imagenet'", "mnist fashion-mnist cifar10 svhn synthetic" } },
        { { .name = "synthetic", .split = (dt_split)2 }, { "split 2, expected" } },
        { { .name = "synthetic", .limit = -1 }, { "limit -1, expected 0" } },
        { { .name = "synthetic", .limit = 10001 }, { "limit 10001, but the split has 10000" } },
        { { .name = "synthetic", .limit = 2001, .split = DT_SPLIT_TEST }, { "limit 2001, but the split has 2000" } },
        { { .name = "synthetic", .height = 31 }, { "asked for 31x32, its images are 32x32" } },
        { { .name = "synthetic", .width = 5000 }, { "asked for 32x5000", "up to 4096x4096" } },
        { { .name = "synthetic", .channels = 1 }, { "asked for 1 channels, its images have 3" } },
        { { .name = "mnist", .channels = 2 }, { "asked for 2 channels, its images have 1" } },
        { { .name = "mnist", .height = -28 }, { "asked for -28x28" } },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_refused(cases[i].parts[0], &cases[i].opt, DT_ERR_ARGUMENT, cases[i].parts);
    }
}

Test(dataset, closes_nothing)
{
    dt_dataset_close(NULL);
}

Test(dataset, says_which_folder_is_missing)
{
    char gone[TEMP_PATH_BYTES + 8];
    snprintf(gone, sizeof gone, "%s/gone", temp_folder);
    const dt_dataset_options named = { .name = "mnist", .dir = gone };
    const dt_dataset_options empty = { .name = "mnist", .dir = temp_folder };
    const dt_dataset_options unnamed = { .name = "cifar10" };
    const char *const named_parts[] = { "mnist: there is no folder", gone, "download", NULL };
    const char *const empty_parts[] = { temp_folder, "has no file train-images-idx3-ubyte (or .gz)", NULL };
    const char *const unnamed_parts[] = { "$DETENT_DATA/cifar10:./data/cifar10", "https://", NULL };

    expect_refused("named folder", &named, DT_ERR_IO, named_parts);
    expect_refused("empty folder", &empty, DT_ERR_IO, empty_parts);
    cr_assert(eq(int, chdir(temp_folder), 0));
    unsetenv("DETENT_DATA");
    expect_refused("default folders", &unnamed, DT_ERR_IO, unnamed_parts);
}

Test(dataset, looks_into_the_environment_then_into_data)
{
    static const int label[] = { 1, 2, 3 };
    char found[TEMP_PATH_BYTES], small[4];

    write_grey("mnist", 3, label);
    mkdir(temp_path("data"), 0700);
    write_grey("data/mnist", 2, label);
    cr_assert(eq(int, chdir(temp_folder), 0));

    unsetenv("DETENT_DATA");
    cr_assert(eq(int, (int)dt_dataset_find("mnist", NULL, DT_SPLIT_TRAIN, found, sizeof found), DT_OK));
    cr_assert(eq(str, found, (char *)"./data/mnist"));
    setenv("DETENT_DATA", temp_folder, 1);
    cr_assert(eq(int, (int)dt_dataset_find("mnist", NULL, DT_SPLIT_TRAIN, found, sizeof found), DT_OK));
    cr_assert(eq(str, found, (char *)temp_path("mnist")));
    setenv("DETENT_DATA", "/nowhere", 1);
    cr_assert(eq(int, (int)dt_dataset_find("mnist", NULL, DT_SPLIT_TRAIN, found, sizeof found), DT_OK));
    cr_assert(eq(str, found, (char *)"./data/mnist"));

    cr_assert(eq(int, (int)dt_dataset_find("mnist", NULL, DT_SPLIT_TEST, found, sizeof found), DT_ERR_IO));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "./data/mnist has no file t10k-images-idx3-ubyte"), NULL));
    cr_assert(eq(int, (int)dt_dataset_find("mnist", NULL, DT_SPLIT_TRAIN, small, sizeof small), DT_ERR_ARGUMENT));
    cr_assert(eq(int, (int)dt_dataset_find("synthetic", NULL, DT_SPLIT_TRAIN, small, sizeof small), DT_OK));
    cr_assert(eq(str, small, (char *)""));
}

typedef struct {
    const char *why;
    int height, width, channels;
    int top, left; /* where the first pixel must land */
} pad_case;

static const pad_case pad_cases[] = {
    { "as in the files", 0, 0, 0, 0, 0 },
    { "28 to 32", 32, 32, 0, 2, 2 },
    { "28 to 32, colour", 32, 32, 3, 2, 2 },
    { "colour only", 0, 0, 3, 0, 0 },
    { "odd: the larger half last", 33, 29, 1, 2, 0 },
};

Test(dataset, pads_evenly_and_repeats_grey)
{
    static const int label[] = { 7, 0 };

    write_grey("grey", 2, label);
    for (size_t k = 0; k < sizeof pad_cases / sizeof pad_cases[0]; k++) {
        const pad_case *p = &pad_cases[k];
        dt_dataset_view v;
        dt_dataset *d = open_or_fail((dt_dataset_options){ .name = "mnist",
                                                           .dir = temp_path("grey"),
                                                           .height = p->height,
                                                           .width = p->width,
                                                           .channels = p->channels },
                                     &v);
        cr_assert(eq(int, v.height, p->height ? p->height : 28), "%s", p->why);
        cr_assert(eq(int, v.width, p->width ? p->width : 28), "%s", p->why);
        cr_assert(eq(int, v.channels, p->channels ? p->channels : 1), "%s", p->why);
        for (int at = 0; at < 2 * v.height * v.width * v.channels; at++) {
            const int pixel = at / v.channels;
            const int h = pixel / v.width % v.height - p->top;
            const int w = pixel % v.width - p->left;
            const int inside = h >= 0 && h < 28 && w >= 0 && w < 28;
            const int expected = inside ? idx_pixel(pixel / v.width / v.height, h, w) : 0;
            cr_assert(eq(int, v.images[at], expected), "%s: byte %d", p->why, at);
        }
        for (int c = 0; c < v.channels; c++) {
            cr_assert(eq(flt, v.mean[c], 0.1307f), "%s: channel %d", p->why, c);
            cr_assert(eq(flt, v.std[c], 0.3081f), "%s: channel %d", p->why, c);
        }
        cr_assert(eq(int, v.labels[0], 7));
        cr_assert(eq(int, v.labels[1], 0));
        dt_dataset_close(d);
    }
}

/* The file indices of a subset's images, found by their bytes; fails unless they are there, in file order. */
static void locate(const dt_dataset_view *all, const dt_dataset_view *sub, int64_t *index)
{
    const size_t bytes = (size_t)all->height * (size_t)all->width * (size_t)all->channels;
    int64_t at = 0;

    for (int64_t i = 0; i < sub->n; i++, at++) {
        while (at < all->n && memcmp(all->images + (size_t)at * bytes, sub->images + (size_t)i * bytes, bytes) != 0)
            at++;
        cr_assert(lt(i64, at, all->n), "image %lld is not in the files, or out of order", (long long)i);
        cr_assert(eq(int, sub->labels[i], all->labels[at]));
        index[i] = at;
    }
}

/* What dataset.c documents, written the long way: the whole shuffle first, then each class takes its first ones. */
static void expected_subset(const dt_dataset_view *all, int limit, uint64_t seed, uint8_t *keep)
{
    int64_t *order = malloc((size_t)all->n * sizeof *order);

    for (int64_t i = 0; i < all->n; i++) order[i] = i;
    for (int64_t i = all->n - 1; i >= 0; i--) {
        const uint32_t bits =
            dt_philox((uint32_t)seed, (uint32_t)(seed >> 32), (uint32_t)i, 0, 0xFFFFFFFFu, (uint32_t)DT_STREAM_SHUFFLE)
                .v[0];
        const int64_t j = (int64_t)((double)bits / 4294967296.0 * (double)(i + 1));
        const int64_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    memset(keep, 0, (size_t)all->n);
    for (int c = 0; c < 10; c++) {
        int wanted = limit / 10 + (c < limit % 10);
        for (int64_t i = all->n - 1; wanted > 0; i--) {
            if (all->labels[order[i]] != c) continue;
            keep[order[i]] = 1;
            wanted--;
        }
    }
    free(order);
}

Test(dataset, subset_is_balanced_stable_and_as_documented)
{
    static const int limits[] = { 1, 7, 33, 500, 1999, 2000 };
    uint8_t keep[2000];
    int64_t index[2000];
    dt_dataset_view all, sub;
    dt_dataset *whole = open_or_fail(synthetic(DT_SPLIT_TEST, 0, 5), &all);

    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        int count[10] = { 0 };
        dt_dataset *part = open_or_fail(synthetic(DT_SPLIT_TEST, limits[k], 5), &sub);
        cr_assert(eq(i64, sub.n, limits[k]));
        locate(&all, &sub, index);
        expected_subset(&all, limits[k], 5, keep);
        for (int64_t i = 0; i < sub.n; i++) {
            count[sub.labels[i]]++;
            cr_assert(eq(int, keep[index[i]], 1), "limit %d took image %lld", limits[k], (long long)index[i]);
        }
        for (int c = 0; c < 10; c++) cr_assert(eq(int, count[c], limits[k] / 10 + (c < limits[k] % 10)), "class %d", c);
        dt_dataset_close(part);
    }
    dt_dataset_close(whole);
}

Test(dataset, subset_refuses_what_a_rare_class_cannot_give)
{
    int label[40];
    for (int i = 0; i < 40; i++) label[i] = i < 37 ? i % 9 : 9; /* 3 images of class 9 */
    write_grey("rare", 40, label);

    const char *const parts[] = { "limit 40 takes 4 images of class 9, but the split has 3", "limit of 30 or less",
                                  NULL };
    dt_dataset_options opt = { .name = "mnist", .dir = temp_path("rare"), .limit = 40 };
    dt_dataset_view v;

    expect_refused("rare class", &opt, DT_ERR_ARGUMENT, parts);
    opt.limit = 39; /* the nine others have one more each */
    dt_dataset *d = open_or_fail(opt, &v);
    cr_assert(eq(i64, v.n, 39));
    dt_dataset_close(d);
}

Test(dataset, synthetic_is_a_function_of_the_seed)
{
    dt_dataset_view a, b, other, train;
    dt_dataset *d[4] = { open_or_fail(synthetic(DT_SPLIT_TEST, 0, 1), &a),
                         open_or_fail(synthetic(DT_SPLIT_TEST, 0, 1), &b),
                         open_or_fail(synthetic(DT_SPLIT_TEST, 0, 2), &other),
                         open_or_fail(synthetic(DT_SPLIT_TRAIN, 0, 1), &train) };
    const size_t bytes = 2000 * 32 * 32 * 3;

    cr_assert(eq(i64, a.n, 2000));
    cr_assert(eq(i64, train.n, 10000));
    cr_assert(eq(int, memcmp(a.images, b.images, bytes), 0));
    cr_assert(ne(int, memcmp(a.images, other.images, bytes), 0));
    cr_assert(ne(int, memcmp(a.images, train.images, bytes), 0), "the splits share images");
    for (int i = 0; i < 4; i++) dt_dataset_close(d[i]);
}

/* A classifier that knows only the mean image of each class from 500 training images: far above chance's 10 %, and a
 * single pixel's value tells little, so it is the pattern that is learned. */
Test(dataset, synthetic_can_be_learned)
{
    enum { BYTES = 32 * 32 * 3 };
    static double mean[10][BYTES];
    dt_dataset_view train, test;
    dt_dataset *d[2] = { open_or_fail(synthetic(DT_SPLIT_TRAIN, 500, 3), &train),
                         open_or_fail(synthetic(DT_SPLIT_TEST, 500, 3), &test) };
    int right = 0;

    for (int64_t i = 0; i < train.n; i++) {
        for (int p = 0; p < BYTES; p++) mean[train.labels[i]][p] += train.images[i * BYTES + p] / 50.0;
    }
    for (int64_t i = 0; i < test.n; i++) {
        double nearest = 1e30;
        int guess = -1;
        for (int c = 0; c < 10; c++) {
            double distance = 0.0;
            for (int p = 0; p < BYTES; p++) {
                const double gap = test.images[i * BYTES + p] - mean[c][p];
                distance += gap * gap;
            }
            if (distance < nearest) {
                nearest = distance;
                guess = c;
            }
        }
        right += guess == test.labels[i];
    }
    cr_assert(ge(int, right, 475), "%d of 500", right);
    for (int i = 0; i < 2; i++) dt_dataset_close(d[i]);
}
