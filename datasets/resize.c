/*
 * resize.c - scales images up and down: bilinear, each axis by itself, 8 bits in and out.
 *
 * Along an axis of n_in pixels that becomes one of n_out, with scale = n_in / n_out and reach = max(scale, 1):
 *
 *   centre    = (o + 1/2) * scale, of output o
 *   window    = input pixels i from trunc(centre - reach + 1/2) to before trunc(centre + reach + 1/2)
 *   v[i]      = max(0, 1 - |i + 1/2 - centre| / reach)
 *   weight[i] = trunc(v[i] / (sum of v) * 2^22 + 1/2)
 *   out[o]    = (sum of weight[i] * in[i] + 2^21) >> 22
 *
 * So a smaller image averages over the pixels that it replaces. Widths are scaled first and rounded to 8 bits, and then
 * heights. The real numbers are doubles, and the order of operations is that of Pillow's Image.resize with BILINEAR, so
 * that the bytes are equal (tests/golden/make_resize_golden.py). The weights of a window, at most 8,193, sum to 2^22 up
 * to half a unit for each. So a sum stays below 2^30, and its byte below 256.
 *
 * Tests: tests/datasets/test_resize.c.
 */
#include "resize.h"

#include <math.h>
#include <stdlib.h>

enum { WEIGHT_BITS = 22, ONE = 1 << WEIGHT_BITS, HALF = ONE / 2 };

typedef struct {
    int n_in, n_out;
    int room;        /* for the weights of one window */
    int *first, *n;  /* [n_out] windows */
    int32_t *weight; /* [n_out][room] */
    double *value;   /* [room], of the window at hand */
} axis;

static void axis_free(axis *a)
{
    free(a->first);
    free(a->n);
    free(a->weight);
    free(a->value);
}

static void axis_window(axis *a, int o)
{
    const double scale = (double)a->n_in / a->n_out, reach = fmax(scale, 1.0);
    const double centre = (o + 0.5) * scale;
    const int begin = (int)fmax(centre - reach + 0.5, 0.0), end = (int)fmin(centre + reach + 0.5, a->n_in);
    int32_t *weight = a->weight + (int64_t)o * a->room;
    double sum = 0.0;

    for (int i = begin; i < end; i++) {
        const double v = fmax(1.0 - fabs((i - centre + 0.5) * (1.0 / reach)), 0.0);
        a->value[i - begin] = v;
        sum += v;
    }
    for (int i = 0; i < end - begin; i++) weight[i] = (int32_t)(a->value[i] / sum * ONE + 0.5);
    a->first[o] = begin;
    a->n[o] = end - begin;
}

/* a is all NULL; the caller frees it, also after a failure. */
static dt_status axis_make(int n_in, int n_out, axis *a)
{
    const size_t windows = (size_t)n_out;

    a->n_in = n_in;
    a->n_out = n_out;
    a->room = 2 * (int)ceil(fmax((double)n_in / n_out, 1.0)) + 1;
    a->first = malloc(windows * sizeof *a->first);
    a->n = malloc(windows * sizeof *a->n);
    a->weight = malloc(windows * (size_t)a->room * sizeof *a->weight);
    a->value = malloc((size_t)a->room * sizeof *a->value);
    DT_CHECK(a->first && a->n && a->weight && a->value, DT_ERR_MEMORY, "no memory to resize %d pixels to %d", n_in,
             n_out);
    for (int o = 0; o < n_out; o++) axis_window(a, o);
    return DT_OK;
}

/* in [outer][n_in][inner] to out [outer][n_out][inner] */
static void axis_apply(const axis *a, int64_t outer, int64_t inner, const uint8_t *in, uint8_t *out)
{
    for (int64_t k = 0; k < outer; k++, in += a->n_in * inner) {
        for (int o = 0; o < a->n_out; o++) {
            const uint8_t *window = in + a->first[o] * inner;
            const int32_t *weight = a->weight + (int64_t)o * a->room;

            for (int64_t j = 0; j < inner; j++) {
                int32_t sum = HALF;
                for (int i = 0; i < a->n[o]; i++) sum += weight[i] * window[i * inner + j];
                *out++ = (uint8_t)(sum >> WEIGHT_BITS);
            }
        }
    }
}

static void resize_all(const dt_resize *r, const axis *across, const axis *down, const uint8_t *in, uint8_t *wide,
                       uint8_t *out)
{
    const int64_t in_bytes = (int64_t)r->height * r->width * r->channels;
    const int64_t row_bytes = (int64_t)r->new_width * r->channels;

    for (int64_t n = 0; n < r->n; n++) {
        axis_apply(across, r->height, r->channels, in + n * in_bytes, wide);
        axis_apply(down, 1, row_bytes, wide, out + n * r->new_height * row_bytes);
    }
}

dt_status dt_resize_images(const dt_resize *r, const uint8_t *in, uint8_t *out)
{
    axis across = { 0 }, down = { 0 };
    uint8_t *wide = malloc((size_t)r->height * (size_t)r->new_width * (size_t)r->channels);
    dt_status s = axis_make(r->width, r->new_width, &across);

    if (s == DT_OK) s = axis_make(r->height, r->new_height, &down);
    if (s == DT_OK && wide) resize_all(r, &across, &down, in, wide, out);
    axis_free(&across);
    axis_free(&down);
    free(wide);
    DT_TRY(s);
    DT_CHECK(wide, DT_ERR_MEMORY, "no memory for an image of %dx%d", r->height, r->new_width);
    return DT_OK;
}
