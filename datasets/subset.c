/*
 * subset.c - chooses the images of a split among those in a data set's files: those held out or the others, and `limit`
 *            of these.
 *
 * A choice of `count` images is balanced: class c of the K classes gets (count + K - 1 - c) / K of them, rounded down,
 * so that the first count % K classes have one more. The images are visited in the order of a Fisher-Yates shuffle that
 * runs from the last index down to 0: step i swaps index i with dt_below(r, i + 1), where r is word 0 of
 * dt_random(seed, DT_STREAM_SHUFFLE, epoch, i), and visits the image that is then at i. A visited image is chosen if
 * its class still lacks some. The chosen images stay in file order. So the images of a smaller choice are among those
 * of a larger one with the same seed.
 *
 * Images with several labels each are drawn the same way, without regard to labels.
 *
 * `held_out` of the training images are chosen with the epoch HELD_OUT_EPOCH. VALIDATION keeps these, and TRAIN the
 * others; TEST holds none out. Of the images that a split then has, `limit` are chosen with the epoch SUBSET_EPOCH.
 *
 * Tests: tests/datasets/test_dataset.c.
 */
#include "dataset.h"

#include "../core/rng.h"

#include <stdlib.h>
#include <string.h>

/* no epochs of training: the trainer's shuffles count from 0 */
#define SUBSET_EPOCH   0xFFFFFFFFu
#define HELD_OUT_EPOCH 0xFFFFFFFEu

/* Images to choose, equally many of every class. */
typedef struct {
    const char *what;   /* "a subset of", behind which the count stands in messages */
    const char *remedy; /* what 0 does */
    int64_t count;
    uint64_t seed;
    uint32_t epoch;
} choice;

/* left[c]: how many images of class c are chosen. */
static dt_status divide_count(const dt_dataset *d, const char *name, const choice *what, int64_t *left)
{
    int64_t have[DT_DATASET_MAX_CLASSES] = { 0 };
    int scarce = 0; /* the class with the fewest images */

    for (int64_t i = 0; i < d->n; i++) have[d->labels[i]]++;
    for (int c = 1; c < d->n_classes; c++) {
        if (have[c] < have[scarce]) scarce = c;
    }
    for (int c = 0; c < d->n_classes; c++) {
        left[c] = (what->count + d->n_classes - 1 - c) / d->n_classes;
        DT_CHECK(left[c] <= have[c], DT_ERR_ARGUMENT,
                 "%s: %s %lld images takes %lld of class %d, but there are %lld; %lld or fewer can be balanced, 0 %s",
                 name, what->what, (long long)what->count, (long long)left[c], c, (long long)have[c],
                 (long long)(have[scarce] * d->n_classes), what->remedy);
    }
    return DT_OK;
}

/* One step of the shuffle: returns the thing that is visited at i. */
static int32_t visit(int32_t *order, uint64_t seed, uint32_t epoch, int64_t i)
{
    const dt_random4 r = dt_random(seed, DT_STREAM_SHUFFLE, epoch, (uint64_t)i);
    const uint32_t j = dt_below(r.v[0], (uint32_t)i + 1);
    const int32_t visited = order[j];

    order[j] = order[i];
    order[i] = visited;
    return visited;
}

/* Sets chosen[i] = 1 for what->count images; order holds 0 .. d->n - 1. */
static void draw_images(const dt_dataset *d, const choice *what, int64_t *left, int32_t *order, uint8_t *chosen)
{
    int64_t n_chosen = 0;

    for (int64_t i = d->n - 1; n_chosen < what->count; i--) {
        const int32_t visited = visit(order, what->seed, what->epoch, i);

        if (left && left[d->labels[visited]] == 0) continue;
        if (left) left[d->labels[visited]]--;
        chosen[visited] = 1;
        n_chosen++;
    }
}

static int32_t *make_order(int64_t n)
{
    int32_t *order = malloc((size_t)n * sizeof *order);

    for (int64_t i = 0; order && i < n; i++) order[i] = (int32_t)i;
    return order;
}

dt_status dt_dataset_draw(int64_t n, int64_t count, uint64_t seed, uint32_t epoch, uint8_t *chosen)
{
    const choice what = { .count = count, .seed = seed, .epoch = epoch };
    const dt_dataset all = { .n = n };
    int32_t *order = make_order(n);

    DT_CHECK(order, DT_ERR_MEMORY, "no memory to choose among %lld images", (long long)n);
    memset(chosen, 0, (size_t)n);
    draw_images(&all, &what, NULL, order, chosen);
    free(order);
    return DT_OK;
}

/* Rows of `bytes` in an array that is then as small as it can be; NULL stays NULL. */
static void *keep_rows(void *rows, size_t bytes, int64_t n, const uint8_t *chosen, int keep)
{
    char *row = rows;
    int64_t kept = 0;

    if (!rows) return NULL;
    for (int64_t i = 0; i < n; i++) {
        if (chosen[i] == keep) memmove(row + (size_t)kept++ * bytes, row + (size_t)i * bytes, bytes);
    }
    void *smaller = kept > 0 ? realloc(rows, (size_t)kept * bytes) : NULL;
    return smaller ? smaller : rows;
}

void dt_dataset_keep(dt_dataset *d, const uint8_t *chosen, int keep)
{
    const size_t count = (size_t)d->height * (size_t)d->width * (size_t)d->channels;
    const size_t labels = (size_t)(d->multi_label ? d->n_classes : 1) * sizeof *d->labels;
    int64_t n = 0;

    d->images = keep_rows(d->images, count, d->n, chosen, keep);
    d->reals = keep_rows(d->reals, count * sizeof *d->reals, d->n, chosen, keep);
    d->labels = keep_rows(d->labels, labels, d->n, chosen, keep);
    for (int64_t i = 0; i < d->n; i++) n += chosen[i] == keep;
    d->n = n;
}

/* keep 1: the chosen images stay; 0: the others do. */
static dt_status choose(dt_dataset *d, const char *name, const choice *what, int keep)
{
    int64_t left[DT_DATASET_MAX_CLASSES];

    if (!d->multi_label) DT_TRY(divide_count(d, name, what, left));
    int32_t *order = make_order(d->n);
    uint8_t *chosen = calloc((size_t)d->n, 1);
    const int ok = order != NULL && chosen != NULL;
    if (ok) {
        draw_images(d, what, d->multi_label ? NULL : left, order, chosen);
        dt_dataset_keep(d, chosen, keep);
    }
    free(order);
    free(chosen);
    DT_CHECK(ok, DT_ERR_MEMORY, "%s: no memory to choose among %lld images", name, (long long)d->n);
    return DT_OK;
}

dt_status dt_dataset_hold_out(dt_dataset *d, const dt_dataset_options *opt)
{
    const choice held_out = { "holding out", "holds none out", opt->held_out, opt->seed, HELD_OUT_EPOCH };

    if (opt->held_out == 0 || opt->split == DT_SPLIT_TEST) return DT_OK;
    DT_CHECK(opt->held_out < d->n, DT_ERR_ARGUMENT,
             "%s: holding out %lld of %lld training images leaves none to train on; hold out fewer", opt->name,
             (long long)opt->held_out, (long long)d->n);
    return choose(d, opt->name, &held_out, opt->split == DT_SPLIT_VALIDATION);
}

dt_status dt_dataset_take_subset(dt_dataset *d, const dt_dataset_options *opt)
{
    const choice subset = { opt->split == DT_SPLIT_TEST ? "a test subset of" : "a training subset of", "takes all",
                            opt->limit, opt->seed, SUBSET_EPOCH };

    if (opt->limit == 0) return DT_OK;
    DT_CHECK(opt->limit <= d->n, DT_ERR_ARGUMENT, "%s: %s %lld images, but there are %lld; ask for fewer", opt->name,
             subset.what, (long long)opt->limit, (long long)d->n);
    return choose(d, opt->name, &subset, 1);
}
