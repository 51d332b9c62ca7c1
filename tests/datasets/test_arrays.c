/*
 * test_arrays.c - data sets in safetensors files and in numpy's archives: equal arrays give equal sets; what is damaged
 * or does not fit is refused. The archives are written byte by byte here, stored and deflated.
 */
#include "../support/array_files.h"
#include "../support/set_files.h"

enum { N = 10, H = 3, W = 2, EACH = H * W, LABELS = 4 };

static float x[N * EACH];
static int64_t y[N];
static uint8_t pixels[N * EACH], labels[N * LABELS];

static void fill(void)
{
    for (int i = 0; i < N * EACH; i++) {
        x[i] = (float)i / 8.0f - 3.0f;
        pixels[i] = (uint8_t)(i * 7);
    }
    for (int i = 0; i < N; i++) y[i] = i % 3;
    for (int i = 0; i < N * LABELS; i++) labels[i] = (uint8_t)(i % 3 == 0);
}

static void make(void)
{
    temp_make();
    fill();
}

TestSuite(arrays, .init = make, .fini = temp_remove);

static array reals(const char *name, int64_t n)
{
    return (array){ name, "<f4", DT_SAFETENSORS_F32, 3, { n, H, W }, x, sizeof *x * (size_t)(n * EACH) };
}

static array classes(const char *name, int64_t n)
{
    return (array){ name, "<i8", DT_SAFETENSORS_I64, 1, { n }, y, sizeof *y * (size_t)n };
}

/* ---- sets ---- */

/* Each sample of the arrays is in one part, with its class. */
static void expect_all(const char *name)
{
    dt_dataset_view v;
    int seen = 0;

    for (int p = 0; p < 2; p++) {
        dt_dataset *d = set_open(name, p ? DT_SPLIT_TEST : DT_SPLIT_TRAIN, &v);
        cr_assert(v.n == (p ? 3 : 7) && v.height == H && v.width == W && v.channels == 1 && v.n_classes == 3, "%s",
                  name);
        cr_assert(v.images == NULL && v.multi_label == 0);
        for (int64_t i = 0; i < v.n; i++) {
            const int k = (int)((v.reals[i * EACH] + 3.0f) * 8.0f) / EACH;
            cr_assert(memcmp(v.reals + i * EACH, x + k * EACH, EACH * sizeof *x) == 0 && v.labels[i] == (int)y[k]);
            seen |= 1 << k;
        }
        dt_dataset_close(d);
    }
    cr_assert(seen == (1 << N) - 1, "%s: a sample is in no part", name);
}

Test(arrays, equal_arrays_give_equal_sets)
{
    const array both[2] = { reals("x", N), classes("y", N) };

    write_safetensors("a.safetensors", both, 2);
    write_npz("stored.npz", both, 2, 0);
    write_npz("deflated.npz", both, 2, 1);
    expect_all(set_name("safetensors", "a.safetensors,test=30"));
    expect_all(set_name("npz", "stored.npz,test=30"));
    expect_all(set_name("npz", "deflated.npz,test=30"));
}

Test(arrays, pixels_and_labels)
{
    const array both[2] = { { "x", "|u1", DT_SAFETENSORS_U8, 4, { N, H, W, 1 }, pixels, sizeof pixels },
                            { "y", "|u1", DT_SAFETENSORS_U8, 2, { N, LABELS }, labels, sizeof labels } };
    dt_dataset_view v;

    write_safetensors("p.safetensors", both, 2);
    dt_dataset *d = set_open(set_name("safetensors", "p.safetensors,test=10"), DT_SPLIT_TRAIN, &v);
    cr_assert(v.n == 9 && v.images && !v.reals && v.multi_label && v.n_classes == LABELS);
    cr_assert(v.mean[0] > 0.0f && v.mean[0] < 1.0f && v.std[0] > 0.0f);
    dt_dataset_close(d);
}

Test(arrays, a_set_may_be_divided_already)
{
    const array four[4] = { reals("x", 6), classes("y", 6), reals("x_test", N), classes("y_test", N) };
    dt_dataset_view v;

    write_npz("four.npz", four, 4, 1);
    dt_dataset *d = set_open(set_name("npz", "four.npz"), DT_SPLIT_TEST, &v);
    cr_assert(v.n == N && memcmp(v.reals, x, sizeof x) == 0 && v.n_classes == 3);
    dt_dataset_close(d);
    d = set_open(set_name("npz", "four.npz"), DT_SPLIT_TRAIN, &v);
    cr_assert(v.n == 6);
    dt_dataset_close(d);
    write_npz("three.npz", four, 3, 1);
    set_refused(set_name("npz", "three.npz"), DT_ERR_FORMAT, "has no array 'y_test'");
}

static void refuse_pair(const array *a, int n, dt_status status, const char *part)
{
    write_safetensors("bad.safetensors", a, n);
    set_refused(set_name("safetensors", "bad.safetensors"), status, part);
    write_npz("bad.npz", a, n, 0);
    set_refused(set_name("npz", "bad.npz"), status, part);
}

Test(arrays, what_does_not_fit_is_refused)
{
    static const float half[N] = { 0.5f };
    static const int32_t below[N] = { 0, 0, 0, -1 };
    static const int32_t two[N * 2] = { 0, 1, 2 };
    static float gap[N * EACH];
    gap[EACH + 4] = NAN;
    const array good_x = reals("x", N), good_y = classes("y", N);
    refuse_pair(&good_y, 1, DT_ERR_FORMAT, "has no array 'x'");
    refuse_pair(&good_x, 1, DT_ERR_FORMAT, "has no array 'y'");
    refuse_pair((array[]){ good_x, classes("y", N - 1) }, 2, DT_ERR_SHAPE, "the 10 samples of 'x'");
    refuse_pair((array[]){ good_x, { "y", "<f4", DT_SAFETENSORS_F32, 1, { N }, half, sizeof half } }, 2, DT_ERR_FORMAT,
                "class 0 of 'y' is 0.5, expected a whole number from 0 to 999");
    refuse_pair((array[]){ good_x, { "y", "<i4", DT_SAFETENSORS_I32, 1, { N }, below, sizeof below } }, 2,
                DT_ERR_FORMAT, "class 3 of 'y' is -1");
    refuse_pair((array[]){ good_x, { "y", "<i4", DT_SAFETENSORS_I32, 2, { N, 2 }, two, sizeof two } }, 2, DT_ERR_FORMAT,
                "label 2 of 'y' is 2, expected a whole number from 0 to 1");
    refuse_pair((array[]){ { "x", "<i8", DT_SAFETENSORS_I64, 1, { N }, y, sizeof y }, good_y }, 2, DT_ERR_FORMAT,
                "'x' is neither u8 (pixels) nor f32 or f64 (reals)");
    refuse_pair((array[]){ { "x", "<f4", DT_SAFETENSORS_F32, 3, { N, H, W }, gap, sizeof gap }, good_y }, 2,
                DT_ERR_FORMAT, "value 4 of sample 1 is nan, expected a finite number");
}

/* Every cut and every flipped byte of an archive is refused, or changes nothing that is read. */
Test(arrays, damaged_archives_are_refused)
{
    static uint8_t bytes[4 * BYTES_MOST], damaged[4 * BYTES_MOST];
    const array both[2] = { reals("x", N), classes("y", N) };
    const size_t n = make_npz(both, 2, 1, bytes);
    const dt_dataset_options opt = { .name = set_name("npz", "bad.npz,normalize=none") };
    char good[DT_FINGERPRINT_BYTES] = "";
    dt_dataset *d = NULL;
    dt_dataset_view v;
    int n_refused = 0;

    for (size_t cut = 0; cut < n; cut += 3) {
        temp_write("bad.npz", bytes, cut);
        cr_assert(dt_dataset_open(&opt, &d) != DT_OK, "cut at byte %zu of %zu", cut, n);
    }
    for (size_t at = 0; at <= n; at++) { /* the first is not damaged */
        memcpy(damaged, bytes, n);
        if (at > 0) damaged[at - 1] ^= 0x20;
        temp_write("bad.npz", damaged, n);
        if (dt_dataset_open(&opt, &d) != DT_OK) {
            n_refused++;
            continue;
        }
        dt_dataset_look(d, &v);
        if (at == 0) memcpy(good, v.fingerprint, sizeof good);
        cr_assert(strcmp(v.fingerprint, good) == 0 && v.n == 8, "byte %zu is other, and so is the set", at - 1);
        dt_dataset_close(d);
    }
    cr_assert(good[0] != '\0' && n_refused > (int)n / 2, "%d of %zu flipped bytes were seen", n_refused, n);
    temp_write_text("bad.npz", "a text that is long enough to hold an end record, but has none");
    set_refused(set_name("npz", "bad.npz"), DT_ERR_FORMAT, "is no zip archive, or is cut off");
}
