/*
 * test_synthetic_signals.c - the generated windows and beats: the same for a seed, other for another and for the other
 *                            part; every machine's bits; and that labels show in them.
 */
#include "../support/set_files.h"

#include <math.h>

static dt_dataset *open_set(const char *name, dt_split split, uint64_t seed, dt_dataset_view *v)
{
    const dt_dataset_options opt = { .name = name, .split = split, .seed = seed };
    dt_dataset *d = NULL;

    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, v);
    return d;
}

/* The checksums are of bits: sums and products alone give them everywhere. */
Test(synthetic_signals, are_a_function_of_the_seed)
{
    static const struct {
        const char *name, *train, *test;
    } sets[] = { { "synthetic-windows", "14c2e456a00c8639", "98db22c37f70c1f7" },
                 { "synthetic-beats", "358401ca64db886c", "8e07dbeac9867310" } };

    for (int i = 0; i < 2; i++) {
        dt_dataset_view train, test, other;
        dt_dataset *a = open_set(sets[i].name, DT_SPLIT_TRAIN, 1, &train);
        dt_dataset *b = open_set(sets[i].name, DT_SPLIT_TEST, 1, &test);
        dt_dataset *c = open_set(sets[i].name, DT_SPLIT_TEST, 2, &other);
        cr_assert(eq(str, (char *)train.fingerprint, (char *)sets[i].train));
        cr_assert(eq(str, (char *)test.fingerprint, (char *)sets[i].test));
        cr_assert(strncmp(test.fingerprint, other.fingerprint, 8) != 0, "another seed has the same samples");
        dt_dataset_close(a);
        dt_dataset_close(b);
        dt_dataset_close(c);
    }
}

Test(synthetic_signals, windows_are_balanced)
{
    dt_dataset_view v;
    dt_dataset *d = open_set("synthetic-windows", DT_SPLIT_TRAIN, 7, &v);
    int count[6] = { 0 };

    cr_assert(v.n == 6000 && v.height == 100 && v.width == 6 && v.channels == 1 && !v.multi_label && v.images == NULL);
    for (int64_t i = 0; i < v.n; i++) count[v.labels[i]]++;
    for (int c = 0; c < 6; c++) cr_assert(eq(int, count[c], 1000));
    dt_dataset_close(d);
}

/* The mean of |x| over records with the label `large`, and without it; 30 % more would be 6 deviations. */
Test(synthetic_signals, labels_show_in_beats)
{
    dt_dataset_view v;
    dt_dataset *d = open_set("synthetic-beats", DT_SPLIT_TRAIN, 7, &v);
    double sum[2] = { 0.0 };
    int n[2] = { 0 }, both = 0;

    cr_assert(v.n == 2000 && v.height == 1000 && v.width == 12 && v.multi_label && v.n_classes == 5);
    for (int64_t i = 0; i < v.n; i++) {
        const int large = v.labels[i * 5 + 4];
        double squares = 0.0;
        for (int k = 0; k < 12000; k++) squares += (double)(v.reals[i * 12000 + k] * v.reals[i * 12000 + k]);
        sum[large] += squares;
        n[large]++;
        both += large && v.labels[i * 5];
    }
    cr_assert(n[1] > 600 && n[1] < 800, "%d of 2000 have a label of probability 0.35", n[1]);
    cr_assert(both > 180 && both < 310, "%d have two, expected 245", both);
    cr_assert(sum[1] / n[1] > 1.3 * sum[0] / n[0], "%g and %g", sum[1] / n[1], sum[0] / n[0]);
    dt_dataset_close(d);
}
