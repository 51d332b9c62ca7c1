/*
 * test_whiten.c - a first layer that whitens: what its filters give for the training images has no correlation and the
 * size of the pixels, by windows in double; the filters behind stay; what cannot be whitened is refused.
 */
#include "../support/tiny_run.h"

#include <math.h>

static tiny_options whitening(int bits)
{
    tiny_options o = tiny_defaults();

    o.model.wbits = o.model.abits = bits;
    o.images = 40;
    return o;
}

/* Pixel values of the training set, normalised. */
static double pixel(const tiny_run *r, const dt_dataset_view *v, int64_t i)
{
    const int c = (int)(i % v->channels);
    return ((double)v->images[i] / 255.0 - (double)r->trainer->origin.mean[c]) / (double)r->trainer->origin.std[c];
}

/* What the first `n` of `filters` 3x3 filters give: means of products over all windows within images, [n][n]; returns
 * the mean square of a pixel of these windows. */
static double correlations(const tiny_run *r, const float *w, int n, double *out)
{
    dt_dataset_view v;
    double square = 0.0, y[64];
    int64_t windows = 0;

    dt_dataset_look(r->data, &v);
    memset(out, 0, (size_t)(n * n) * sizeof *out);
    for (int64_t at = 0; at < v.n * v.height * v.width; at++) {
        const int64_t q = at % v.width, p = at / v.width % v.height;
        if (q + 3 > v.width || p + 3 > v.height) continue;
        windows++;
        memset(y, 0, sizeof y);
        for (int i = 0; i < 9 * v.channels; i++) {
            const int64_t cell = at + i / (3 * v.channels) * v.width;
            const double x = pixel(r, &v, cell * v.channels + i % (3 * v.channels));
            square += x * x;
            for (int k = 0; k < n; k++) y[k] += (double)w[k * 9 * v.channels + i] * x;
        }
        for (int k = 0; k < n * n; k++) out[k] += y[k / n] * y[k % n];
    }
    for (int k = 0; k < n * n; k++) out[k] /= (double)windows;
    return square / (double)(windows * 9 * v.channels);
}

/* The filters of 8 that make 4 and their negatives. */
static void check_filters(const tiny_run *r, const float *w, const char *why)
{
    double found[16];
    const double square = correlations(r, w, 4, found);

    for (int k = 0; k < 16; k++) {
        const int is_own = k / 4 == k % 4;
        /* EPSILON makes them smaller by a share that depends on the image's own variances, of 1 % at most here; f32 */
        const double want = is_own ? square : 0.0, off = fabs(found[k] - want);
        cr_assert(off <= (is_own ? 1e-2 : 1e-5) * square, "%s: filters %d and %d give %g, expected %g", why, k / 4,
                  k % 4, found[k], want);
    }
    for (int i = 0; i < 4 * 27; i++) cr_assert(w[4 * 27 + i] == -w[i], "%s: filter %d is no negative", why, i / 27);
}

Test(whiten, filters_whiten_the_training_images)
{
    static const int bits[] = { DT_BITS_FLOAT, 4 };
    for (int b = 0; b < 2; b++) {
        const tiny_options o = whitening(bits[b]);
        tiny_run r, again;
        cr_assert(tiny_open(&r, &o) && tiny_open(&again, &o));
        MUST(dt_trainer_whiten(r.trainer));
        MUST(dt_trainer_whiten(again.trainer));
        tiny_same_params(&r, &again, "twice");
        float *w = tiny_param(&r, tiny_index(&r, "features.0.weight"), NULL);
        check_filters(&r, w, bits[b] == 4 ? "behind quantizers" : "reals");
        free(w);
        MUST(dt_trainer_calibrate(r.trainer));
        tiny_steps(&r, 1);
        tiny_close(&r);
        tiny_close(&again);
    }
}

/* A 3x3 window of colours has 27 eigenvectors: VGG16's first layer has 64 filters, of which 54 are made. */
Test(whiten, the_filters_behind_stay_as_they_were_drawn)
{
    tiny_options o = whitening(DT_BITS_FLOAT);
    tiny_run r, plain;

    MUST(dt_model_config_default("vgg16", &o.model));
    o.model.wbits = o.model.abits = DT_BITS_FLOAT;
    o.train.batch = 4;
    cr_assert(tiny_open(&r, &o) && tiny_open(&plain, &o));
    MUST(dt_trainer_whiten(r.trainer));
    for (int i = 0; i < dt_model_n_params(r.model); i++) {
        int64_t n;
        float *x = tiny_param(&r, i, &n), *y = tiny_param(&plain, i, NULL);
        const int64_t made = strcmp(r.model->param[i]->name, "features.0.weight") == 0 ? 54 * 27 : 0;
        for (int64_t k = 0; k < n; k++)
            cr_assert((x[k] == y[k]) == (k >= made), "%s[%lld]", r.model->param[i]->name, (long long)k);
        free(x);
        free(y);
    }
    tiny_close(&r);
    tiny_close(&plain);
}

Test(whiten, cuda_has_the_bits_of_the_cpu)
{
    tiny_options o = whitening(4);
    tiny_run cpu, cuda;

    cr_assert(tiny_open(&cpu, &o));
    o.context.backend = "cuda";
    if (!tiny_open(&cuda, &o)) cr_skip("no CUDA here: %s", dt_last_error());
    MUST(dt_trainer_whiten(cpu.trainer));
    MUST(dt_trainer_whiten(cuda.trainer));
    tiny_same_params(&cpu, &cuda, "cpu and cuda");
    tiny_close(&cpu);
    tiny_close(&cuda);
}

Test(whiten, what_cannot_be_whitened_is_refused)
{
    tiny_options o = whitening(DT_BITS_FLOAT);
    tiny_run r;

    cr_assert(tiny_open(&r, &o));
    tiny_steps(&r, 1);
    cr_assert(dt_trainer_whiten(r.trainer) == DT_ERR_ARGUMENT &&
                  strstr(dt_last_error(), "whitening comes before the first step, 1 are done"),
              "%s", dt_last_error());
    tiny_close(&r);
    o.model.centre_image = 1;
    cr_assert(tiny_open(&r, &o));
    cr_assert(dt_trainer_whiten(r.trainer) == DT_ERR_UNSUPPORTED &&
                  strstr(dt_last_error(), "whiten: no convolution of tiny reads the image itself"),
              "%s", dt_last_error());
    tiny_close(&r);
}
