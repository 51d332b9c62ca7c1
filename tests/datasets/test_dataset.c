/*
 * test_dataset.c - opening by name, folders, the balanced subset, images held out, padding and resizing, and the
 *                  synthetic images.
 */
#include "../support/temp_files.h"

#include "../../core/rng.h"

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

static dt_dataset_options holding_out(dt_split split, int64_t held_out, int64_t limit)
{
    return (dt_dataset_options){ .name = "synthetic", .split = split, .held_out = held_out, .limit = limit, .seed = 5 };
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
    static const char *const names[] = { "mnist",     "fashion-mnist",     "cifar10",        "svhn",
                                         "synthetic", "synthetic-windows", "synthetic-beats" };
    const dt_dataset_info *infos;

    cr_assert(eq(int, dt_dataset_known(&infos), 7));
    for (int i = 0; i < 7; i++) {
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
        { { .name = "synthetic", .split = (dt_split)3 }, { "split 3, expected" } },
        { { .name = "synthetic", .limit = -1 }, { "a subset of -1 images, expected 0" } },
        { { .name = "synthetic", .limit = 10001 }, { "a training subset of 10001 images, but there are 10000" } },
        { { .name = "synthetic", .limit = 2001, .split = DT_SPLIT_TEST },
          { "a test subset of 2001 images, but there are 2000" } },
        { { .name = "synthetic", .held_out = -1 }, { "holding out -1 images, expected 0" } },
        { { .name = "synthetic", .held_out = 10000 }, { "holding out 10000 of 10000 training images leaves none" } },
        { { .name = "synthetic", .split = DT_SPLIT_VALIDATION },
          { "holding out 0 images leaves none to", "give the" } },
        { { .name = "synthetic", .split = DT_SPLIT_VALIDATION, .held_out = 30, .limit = 31 },
          { "a training subset of 31 images, but there are 30" } },
        { { .name = "synthetic", .held_out = 9990, .limit = 11 },
          { "a training subset of 11 images, but there are 10" } },
        { { .name = "synthetic", .height = -1, .resize = 1 }, { "asked for -1x32", "resized to 1x1 up to 4096" } },
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

/* A corner's window is the corner alone where images grow, and the whole image where one pixel is left. */
Test(dataset, resizes_before_it_repeats_grey)
{
    static const int label[] = { 7, 0 };
    dt_dataset_options opt = { .name = "mnist", .height = 56, .width = 60, .channels = 3, .resize = 1 };
    dt_dataset_view v;

    write_grey("grey", 2, label);
    opt.dir = temp_path("grey");
    dt_dataset *d = open_or_fail(opt, &v);
    cr_assert(v.n == 2 && v.height == 56 && v.width == 60 && v.channels == 3);
    for (int n = 0; n < 2; n++) {
        for (int c = 0; c < 3; c++) {
            const uint8_t *image = v.images + n * 56 * 60 * 3;
            cr_assert(eq(int, image[c], idx_pixel(n, 0, 0)));
            cr_assert(eq(int, image[59 * 3 + c], idx_pixel(n, 0, 27)));
            cr_assert(eq(int, image[(55 * 60 + 59) * 3 + c], idx_pixel(n, 27, 27)));
        }
    }
    cr_assert(eq(flt, v.mean[2], 0.1307f));
    cr_assert(eq(int, v.labels[0], 7));
    dt_dataset_close(d);

    opt.width = opt.channels = 0;
    opt.height = 1;
    d = open_or_fail(opt, &v);
    cr_assert(v.n == 2 && v.height == 1 && v.width == 28 && v.channels == 1);
    dt_dataset_close(d);
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

/* What subset.c documents, written the long way: the whole shuffle first, then each class takes its first ones. */
static void expected_subset(const dt_dataset_view *all, int count, uint64_t seed, uint32_t epoch, uint8_t *keep)
{
    int64_t *order = malloc((size_t)all->n * sizeof *order);

    for (int64_t i = 0; i < all->n; i++) order[i] = i;
    for (int64_t i = all->n - 1; i >= 0; i--) {
        const uint32_t bits =
            dt_philox((uint32_t)seed, (uint32_t)(seed >> 32), (uint32_t)i, 0, epoch, (uint32_t)DT_STREAM_SHUFFLE).v[0];
        const int64_t j = (int64_t)((double)bits / 4294967296.0 * (double)(i + 1));
        const int64_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    memset(keep, 0, (size_t)all->n);
    for (int c = 0; c < 10; c++) {
        int wanted = count / 10 + (c < count % 10);
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
        expected_subset(&all, limits[k], 5, 0xFFFFFFFFu, keep);
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

    const char *const parts[] = { "subset of 40 images takes 4 of class 9, but there are 3", "30 or fewer", NULL };
    dt_dataset_options opt = { .name = "mnist", .dir = temp_path("rare"), .limit = 40 };
    dt_dataset_view v;

    expect_refused("rare class", &opt, DT_ERR_ARGUMENT, parts);
    opt.limit = 39; /* the nine others have one more each */
    dt_dataset *d = open_or_fail(opt, &v);
    cr_assert(eq(i64, v.n, 39));
    dt_dataset_close(d);

    const char *const held_out_parts[] = { "holding out 39 images takes 3 of class 9, but there are 2",
                                           "20 or fewer can be balanced, 0 holds none out", NULL };
    label[37] = 0;
    write_grey("rarer", 40, label);
    opt = (dt_dataset_options){ .name = "mnist", .dir = temp_path("rarer"), .held_out = 39 };
    expect_refused("rare class held out", &opt, DT_ERR_ARGUMENT, held_out_parts);
}

/* Every training image is in one of the two, and in one alone. */
Test(dataset, held_out_images_are_not_trained_on)
{
    static const int counts[] = { 1, 33, 5000, 9999 };
    static uint8_t keep[10000];
    static int64_t index[10000];
    dt_dataset_view all, train, validation;
    dt_dataset *whole = open_or_fail(synthetic(DT_SPLIT_TRAIN, 0, 5), &all);

    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        dt_dataset *kept = open_or_fail(holding_out(DT_SPLIT_TRAIN, counts[k], 0), &train);
        dt_dataset *held = open_or_fail(holding_out(DT_SPLIT_VALIDATION, counts[k], 0), &validation);
        expected_subset(&all, counts[k], 5, 0xFFFFFFFEu, keep);
        cr_assert(validation.n == counts[k] && train.n == all.n - counts[k]);
        locate(&all, &validation, index);
        for (int64_t i = 0; i < validation.n; i++) cr_assert(eq(int, keep[index[i]], 1), "held out %d", counts[k]);
        locate(&all, &train, index);
        for (int64_t i = 0; i < train.n; i++) cr_assert(eq(int, keep[index[i]], 0), "held out %d", counts[k]);
        dt_dataset_close(kept);
        dt_dataset_close(held);
    }
    dt_dataset_close(whole);
}

Test(dataset, limit_counts_what_is_left)
{
    static uint8_t keep[10000];
    int64_t index[2000];
    dt_dataset_view rest, part;
    static const dt_split splits[] = { DT_SPLIT_TRAIN, DT_SPLIT_VALIDATION };

    for (int k = 0; k < 2; k++) {
        dt_dataset *whole = open_or_fail(holding_out(splits[k], 4000, 0), &rest);
        dt_dataset *some = open_or_fail(holding_out(splits[k], 4000, 1234), &part);
        cr_assert(eq(i64, part.n, 1234));
        locate(&rest, &part, index);
        expected_subset(&rest, 1234, 5, 0xFFFFFFFFu, keep);
        for (int64_t i = 0; i < part.n; i++) cr_assert(eq(int, keep[index[i]], 1), "image %lld", (long long)index[i]);
        dt_dataset_close(some);
        dt_dataset_close(whole);
    }
}

Test(dataset, validation_is_in_the_training_files)
{
    static const int label[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    dt_dataset_options opt = { .name = "mnist", .split = DT_SPLIT_VALIDATION, .held_out = 10 };
    char found[TEMP_PATH_BYTES];
    dt_dataset_view v;
    int seen = 0;

    write_grey("twenty", 20, label);
    opt.dir = temp_path("twenty");
    dt_dataset *d = open_or_fail(opt, &v);
    cr_assert(eq(i64, v.n, 10));
    for (int i = 0; i < 10; i++) seen |= 1 << v.labels[i];
    cr_assert(eq(int, seen, (1 << 10) - 1), "a class is held out twice");
    dt_dataset_close(d);
    cr_assert(eq(int, (int)dt_dataset_find("mnist", opt.dir, DT_SPLIT_VALIDATION, found, sizeof found), DT_OK));
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

Test(dataset, tells_the_names_of_classes)
{
    const int label[2] = { 0, 9 };
    dt_dataset_view v;

    write_grey("clothes", 2, label);
    dt_dataset_options opt = { .name = "fashion-mnist", .dir = temp_path("clothes"), .split = DT_SPLIT_TRAIN };
    dt_dataset *d = open_or_fail(opt, &v);
    cr_assert(v.class_names != NULL);
    cr_assert(eq(str, (char *)v.class_names[0], "T-shirt/top"));
    cr_assert(eq(str, (char *)v.class_names[9], "Ankle boot"));
    dt_dataset_close(d);
    opt.name = "mnist"; /* digits are numbers already */
    d = open_or_fail(opt, &v);
    cr_assert(v.class_names == NULL);
    dt_dataset_close(d);
}
