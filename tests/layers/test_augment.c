/*
 * test_augment.c - batches of images out of a dataset: every image must be one of the views that the definition allows,
 *                  and the choice must depend on seed, epoch and index alone. Labels and rows are in test_gather.c.
 */
#include "../support/augment_rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const backends[] = { "cpu", "cuda" };

/* Whether x is image cropped at (top, left) of the padded picture and, if asked, mirrored. */
static int is_view(const float *x, int64_t image, int top, int left, int mirror, const dt_augment_params *p)
{
    for (int i = 0; i < COUNT; i++) {
        const int c = i % CHANNELS, w = i / CHANNELS % WIDTH, h = i / CHANNELS / WIDTH;
        const int from_h = h + top - p->crop_pad, from_w = (mirror ? WIDTH - 1 - w : w) + left - p->crop_pad;
        const int inside = from_h >= 0 && from_h < HEIGHT && from_w >= 0 && from_w < WIDTH;
        const double value = inside ? pixel(image, from_h, from_w, c) / 255.0 : 0.0;
        const double want = (value - (double)p->mean[c]) / (double)p->std[c];
        if (fabs((double)x[i] - want) > 1e-6) return 0; /* three f32 roundings of values below 3 */
    }
    return 1;
}

/* How many of the views x is; the last is left in found. */
static int count_views(const float *x, int64_t image, const dt_augment_params *p, int found[3])
{
    int n = 0;
    for (int top = 0; top <= 2 * p->crop_pad; top++) {
        for (int left = 0; left <= 2 * p->crop_pad; left++) {
            for (int mirror = 0; mirror <= (p->flip_share > 0.0f); mirror++) {
                if (!is_view(x, image, top, left, mirror, p)) continue;
                found[0] = top;
                found[1] = left;
                found[2] = mirror;
                n++;
            }
        }
    }
    return n;
}

Test(augment, without_crop_and_flip_it_only_normalises)
{
    const dt_step_in in = { .seed = 5, .epoch = 3, .first = 7 };
    for (int b = 0; b < 2; b++) {
        float *x = batch_of(backends[b], 1, &still, &in);
        for (int n = 0; x && n < BATCH; n++) {
            cr_assert(is_view(x + n * COUNT, order_at(in.first + n), 0, 0, 0, &still), "%s: image %d", backends[b], n);
        }
        free(x);
    }
}

/* How often 2,000 images are each of the views of `cropped`, which those of `shifted` are too. */
typedef struct {
    int top[5], left[5], mirror[2];
} view_counts;

static view_counts count_2000_views(const dt_augment_params *p)
{
    view_counts counts = { 0 };
    int found[3] = { 0 };
    for (uint32_t epoch = 0; epoch < 500; epoch++) {
        const dt_step_in in = { .seed = 1, .epoch = epoch, .first = epoch % 8 };
        float *x = batch_of("cpu", 1, p, &in);
        for (int n = 0; n < BATCH; n++) {
            const int views = count_views(x + n * COUNT, order_at(in.first + n), &cropped, found);
            cr_assert(views == 1, "epoch %u, image %d is %d of the allowed views", epoch, n, views);
            counts.top[found[0]]++;
            counts.left[found[1]]++;
            counts.mirror[found[2]]++;
        }
        free(x);
    }
    return counts;
}

/* Every offset comes up 400 times, every side 1,000; 6 standard deviations are 107 and 134. */
Test(augment, crops_and_mirrors_evenly)
{
    const view_counts n = count_2000_views(&cropped);
    for (int i = 0; i < 5; i++) {
        cr_assert(abs(n.top[i] - 400) < 107 && abs(n.left[i] - 400) < 107, "offset %d: %d rows, %d columns of 2000", i,
                  n.top[i], n.left[i]);
    }
    cr_assert(abs(n.mirror[1] - 1000) < 134, "%d of 2000 are mirrored", n.mirror[1]);
}

/* round(U(-2, 2)): the outermost offsets have half the share of the others; 6 standard deviations are 89 and 116. */
Test(augment, shifts_by_a_rounded_uniform_number)
{
    static const int expected[5] = { 250, 500, 500, 500, 250 }, bound[5] = { 89, 116, 116, 116, 89 };
    const view_counts n = count_2000_views(&shifted);
    for (int i = 0; i < 5; i++) {
        cr_assert(abs(n.top[i] - expected[i]) < bound[i] && abs(n.left[i] - expected[i]) < bound[i],
                  "offset %d: %d rows, %d columns of 2000, expected %d", i, n.top[i], n.left[i], expected[i]);
    }
    cr_assert(n.mirror[1] == 0);
}

enum { OUTSIDE = -1, EITHER = -2 };

/* The input pixel that each pixel shows, after each step of the definition. */
typedef struct {
    int source[HEIGHT][WIDTH];
} picture;

/* In double and with the C library's sine; EITHER where a centre is so near to two pixels that f32 may take each. */
static picture turn_and_shift(double degrees, int down, int right)
{
    const double angle = degrees * acos(-1.0) / 180.0, middle_h = HEIGHT / 2.0, middle_w = WIDTH / 2.0;
    picture out;
    for (int h = 0; h < HEIGHT; h++) {
        for (int w = 0; w < WIDTH; w++) {
            const double y = h + 0.5 - middle_h - down, x = w + 0.5 - middle_w - right;
            const double row = cos(angle) * y - sin(angle) * x + middle_h;
            const double column = sin(angle) * y + cos(angle) * x + middle_w;
            const int inside = row >= 0.0 && row < HEIGHT && column >= 0.0 && column < WIDTH;
            out.source[h][w] = inside ? (int)row * WIDTH + (int)column : OUTSIDE;
            if (fabs(row - round(row)) < 1e-5 || fabs(column - round(column)) < 1e-5) out.source[h][w] = EITHER;
        }
    }
    return out;
}

static picture crop(const picture *in, int top, int left)
{
    picture out;
    for (int h = 0; h < HEIGHT; h++) {
        for (int w = 0; w < WIDTH; w++) {
            const int row = h + top, column = w + left;
            const int inside = row >= 0 && row < HEIGHT && column >= 0 && column < WIDTH;
            out.source[h][w] = inside ? in->source[row][column] : OUTSIDE;
        }
    }
    return out;
}

static picture mirror(const picture *in)
{
    picture out;
    for (int h = 0; h < HEIGHT; h++) {
        for (int w = 0; w < WIDTH; w++) out.source[h][w] = in->source[h][WIDTH - 1 - w];
    }
    return out;
}

/* What the definition and the drawn numbers say. */
static picture expected_picture(const dt_step_in *in, int32_t index, const dt_augment_params *p)
{
    const dt_random4 r = dt_random(in->seed, DT_STREAM_AUGMENT, in->epoch, (uint64_t)index);
    const dt_random4 a = dt_random(in->seed, DT_STREAM_AFFINE, in->epoch, (uint64_t)index);
    const double whole = 4294967296.0;
    const double down = a.v[0] / whole * 2 * p->shift - p->shift, right = a.v[1] / whole * 2 * p->shift - p->shift;
    const double degrees = (2.0 * (a.v[2] >> 8) / 16777216.0 - 1.0) * (double)p->rotation;
    const int offsets = 2 * p->crop_pad + 1;
    picture out = turn_and_shift(degrees, (int)floor(down + 0.5), (int)floor(right + 0.5));
    out = crop(&out, (int)(r.v[0] / whole * offsets) - p->crop_pad, (int)(r.v[1] / whole * offsets) - p->crop_pad);
    return r.v[2] / whole < 1.0 - (double)p->flip_share ? out : mirror(&out);
}

/* x must show image as the picture says; counts the values that may be either of two. */
static void check_picture(const float *x, int32_t image, const picture *expected, int *n_either)
{
    for (int i = 0; i < COUNT; i++) {
        const int c = i % CHANNELS, source = expected->source[i / CHANNELS / WIDTH][i / CHANNELS % WIDTH];
        *n_either += source == EITHER;
        if (source == EITHER) continue;
        const double value = source == OUTSIDE ? 0.0 : pixel(image, source / WIDTH, source % WIDTH, c) / 255.0;
        const double want = (value - (double)turned.mean[c]) / (double)turned.std[c];
        cr_assert(fabs((double)x[i] - want) <= 1e-6, "image %d, [%d] is %g, expected %g", image, i, (double)x[i], want);
    }
}

Test(augment, turns_and_shifts_then_crops_then_mirrors)
{
    int n_either = 0;
    for (uint32_t epoch = 0; epoch < 300; epoch++) {
        const dt_step_in in = { .seed = 3, .epoch = epoch, .first = epoch % 8 };
        float *x = batch_of("cpu", 1, &turned, &in);
        for (int n = 0; n < BATCH; n++) {
            const int32_t image = order_at(in.first + n);
            const picture expected = expected_picture(&in, image, &turned);
            check_picture(x + n * COUNT, image, &expected, &n_either);
        }
        free(x);
    }
    cr_assert(n_either < 300 * BATCH * COUNT / 1000, "%d values were not compared", n_either);
}

Test(augment, sine_and_cosine_are_as_exact_as_f32)
{
    for (int i = -45000; i <= 45000; i++) {
        const float x = (float)i * (3.14159265f / 180000.0f);
        dt_augment_view view;
        dt_augment_turn(x, &view);
        cr_assert(fabs((double)view.cosine - cos((double)x)) <= 1.2e-7, "cos(%g) is %.9g", (double)x,
                  (double)view.cosine);
        cr_assert(fabs((double)view.sine - sin((double)x)) <= 1.2e-7, "sin(%g) is %.9g", (double)x, (double)view.sine);
    }
}

static void check_equal_bits(const dt_augment_params *p, uint32_t epoch)
{
    const dt_step_in in = { .seed = 0x123456789abcULL, .epoch = epoch, .first = 2 };
    float *cpu = batch_of("cpu", 1, p, &in), *cuda = batch_of("cuda", 1, p, &in);
    float *threads = batch_of("cpu", 2, p, &in);
    for (int i = 0; i < BATCH * COUNT; i++) {
        cr_assert(cpu[i] == threads[i], "[%d] is %g with two threads, %g with one", i, (double)threads[i],
                  (double)cpu[i]);
        cr_assert(!cuda || cuda[i] == cpu[i], "[%d] is %g on cuda, %g on the cpu", i, (double)cuda[i], (double)cpu[i]);
    }
    free(cpu);
    free(cuda);
    free(threads);
}

Test(augment, cuda_draws_and_computes_what_the_cpu_does)
{
    check_equal_bits(&cropped, 9);
    check_equal_bits(&shifted, 9);
    for (uint32_t epoch = 0; epoch < 20; epoch++) check_equal_bits(&turned, epoch);
}

/* By the definition, from the drawn numbers: the view before colours, and then these. */
static void check_recoloured(const float *x, const dt_step_in *in, int32_t image)
{
    const dt_augment_params *p = &recoloured;
    const dt_random4 r = dt_random(in->seed, DT_STREAM_AUGMENT, in->epoch, (uint64_t)image);
    const dt_random4 first = dt_random(in->seed, DT_STREAM_AUGMENT, 0, (uint64_t)image);
    const dt_random4 k = dt_random(in->seed, DT_STREAM_COLOUR, in->epoch, (uint64_t)image);
    const double whole = 4294967296.0;
    const int at_first = first.v[2] / whole >= 0.5, mirrored = in->epoch % 2 == 0 ? at_first : !at_first;
    const int top = (int)(r.v[0] / whole * 3) - 1, left = (int)(r.v[1] / whole * 3) - 1;
    const int cut_h = (int)(k.v[0] / whole * HEIGHT), cut_w = (int)(k.v[1] / whole * WIDTH);
    const double bright = 1.0 + (2.0 * (k.v[2] >> 8) / 16777216.0 - 1.0) * 0.6;
    const double contrast = 1.0 + (2.0 * (k.v[3] >> 8) / 16777216.0 - 1.0) * 0.4;

    for (int i = 0; i < COUNT; i++) {
        const int c = i % CHANNELS, w = i / CHANNELS % WIDTH, h = i / CHANNELS / WIDTH;
        const int from_h = h + top, from_w = (mirrored ? WIDTH - 1 - w : w) + left;
        const int inside = from_h >= 0 && from_h < HEIGHT && from_w >= 0 && from_w < WIDTH;
        const double value = inside ? pixel(image, from_h, from_w, c) / 255.0 * bright : 0.0;
        const double shown = ((value < 1.0 ? value : 1.0) - (double)p->mean[c]) / (double)p->std[c] * contrast;
        const double want = abs(h - cut_h) <= 1 && abs(w - cut_w) <= 1 ? 0.0 : shown;
        /* five f32 roundings of values below 4 */
        cr_assert(fabs((double)x[i] - want) <= 2e-6, "epoch %u, image %d, [%d] is %g, expected %g", in->epoch, image, i,
                  (double)x[i], want);
    }
}

Test(augment, cuts_out_recolours_and_alternates)
{
    for (uint32_t epoch = 0; epoch < 300; epoch++) {
        const dt_step_in in = { .seed = 3, .epoch = epoch, .first = epoch % 8 };
        float *x = batch_of("cpu", 1, &recoloured, &in);
        for (int n = 0; n < BATCH; n++) check_recoloured(x + n * COUNT, &in, order_at(in.first + n));
        free(x);
    }
    for (uint32_t epoch = 0; epoch < 20; epoch++) check_equal_bits(&recoloured, epoch);
}

/* Each image is mirrored in every other epoch, and about half of them in the first. */
Test(augment, alternating_mirrors_each_image_in_every_other_epoch)
{
    int n_first = 0;
    for (int64_t index = 0; index < 2000; index++) {
        const dt_augment_params p = { .flip_share = 0.5f, .flip_kind = DT_FLIP_ALTERNATING };
        const int first = dt_augment_draw(9, 0, index, &p, 32, 32).mirror;
        n_first += first;
        for (uint32_t epoch = 1; epoch < 6; epoch++) {
            cr_assert(dt_augment_draw(9, epoch, index, &p, 32, 32).mirror == (epoch % 2 ? !first : first),
                      "image %lld, epoch %u", (long long)index, epoch);
        }
    }
    cr_assert(abs(n_first - 1000) < 134, "%d of 2000 are mirrored at first", n_first);
    const dt_augment_params never = { .flip_share = 0.0f, .flip_kind = DT_FLIP_ALTERNATING };
    for (uint32_t epoch = 0; epoch < 4; epoch++) cr_assert(!dt_augment_draw(9, epoch, 5, &never, 32, 32).mirror);
}

/* Image 5 stands second in one batch and first in the other. */
Test(augment, a_view_depends_on_the_image_and_not_on_its_place)
{
    const dt_step_in early = { .seed = 1, .first = 0 }, late = { .seed = 1, .first = 1 };
    float *a = batch_of("cpu", 1, &turned, &early), *b = batch_of("cpu", 1, &turned, &late);
    cr_assert(memcmp(a + COUNT, b, COUNT * sizeof *a) == 0);
    free(a);
    free(b);
}
