/*
 * test_augment.c - batches of images out of a dataset: every image must be one of the views that the definition allows,
 *                  and the choice must depend on seed, epoch and index alone. Labels and rows are in test_gather.c.
 */
#include "../support/op_case.h"

#include "../../layers/augment.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 12, HEIGHT = 5, WIDTH = 7, CHANNELS = 3, BATCH = 4, COUNT = HEIGHT * WIDTH * CHANNELS };

#define NORMALISED .mean = { 0.4914f, 0.4822f, 0.4465f }, .std = { 0.247f, 0.243f, 0.2616f }

static const dt_augment_params still = { .batch = BATCH, NORMALISED };
static const dt_augment_params cropped = { .batch = BATCH, .crop_pad = 2, .flip_share = 0.5f, NORMALISED };
static const dt_augment_params shifted = { .batch = BATCH, .shift = 2, NORMALISED };
static const dt_augment_params turned = {
    .batch = BATCH, .crop_pad = 1, .shift = 2, .rotation = 45.0f, .flip_share = 0.3f, NORMALISED
};
static const dt_augment_params recoloured = { .batch = BATCH,
                                              .crop_pad = 1,
                                              .flip_share = 0.5f,
                                              .flip_kind = DT_FLIP_ALTERNATING,
                                              .cutout = 3,
                                              .brightness = 0.6f,
                                              .contrast = 0.4f,
                                              NORMALISED };
static const char *const backends[] = { "cpu", "cuda" };

#define IMAGE_INPUT                                                                                  \
    {                                                                                                \
        OP_SHAPE(IMAGES, HEIGHT, WIDTH, CHANNELS), .type = DT_U8, .fill = FILL_COUNT, .size = 255.0f \
    }
#define ORDER_INPUT                                          \
    {                                                        \
        OP_SHAPE(IMAGES), .type = DT_I32, .fill = FILL_COUNT \
    }

static op_case augment_case(const dt_augment_params *p)
{
    return (
        op_case){ .why = "augment", .op = DT_OP_AUGMENT, .params = p, .n_in = 2, .in = { IMAGE_INPUT, ORDER_INPUT } };
}

/* Pixel values 0..255 all occur. */
static uint8_t pixel(int64_t image, int64_t h, int64_t w, int64_t c)
{
    return (uint8_t)((((image * HEIGHT + h) * WIDTH + w) * CHANNELS + c) * 37 % 256);
}

static int32_t order_at(int64_t i)
{
    return (int32_t)(i * 5 % IMAGES);
}

/* Opens, and fills in images, the order and the step; the batch is order[first...]. */
static int open_batch(op_rig *rig, const char *backend, int threads, const op_case *c, const dt_step_in *in)
{
    uint8_t images[IMAGES * COUNT];
    int32_t order[IMAGES];
    const dt_step step = { .in = *in };
    if (!op_rig_open(rig, backend, threads, c)) return 0;

    for (int64_t i = 0; i < IMAGES * COUNT; i++) {
        images[i] = pixel(i / COUNT, i / (WIDTH * CHANNELS) % HEIGHT, i / CHANNELS % WIDTH, i % CHANNELS);
    }
    for (int64_t i = 0; i < IMAGES; i++) order[i] = order_at(i);
    op_rig_write(rig, rig->in[0].data, images, sizeof images);
    op_rig_write(rig, rig->in[1].data, order, sizeof order);
    op_rig_write(rig, rig->ex.step, &step, sizeof step);
    return 1;
}

/* The batch on one backend, which the caller frees; NULL if it is not here. */
static float *batch_of(const char *backend, int threads, const dt_augment_params *p, const dt_step_in *in)
{
    const op_case c = augment_case(p);
    op_rig rig;
    if (!open_batch(&rig, backend, threads, &c, in)) return NULL;
    op_rig_forward(&rig);
    float *x = op_rig_read(&rig, rig.out.data, BATCH * COUNT);
    op_rig_close(&rig);
    return x;
}

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

/* The quantizers of the networks: 8 bits around 0, 2 bits of pixels that are never negative, the notebook's of 4 bits,
 * which is not clamped below, and a learned step. */
static const dt_act_quant_params quantizers[] = {
    { .bits = 8, .is_signed = 1, .rule = DT_RULE_ECE284 },
    { .bits = 2, .rule = DT_RULE_PACT },
    { .bits = 4, .unclamped = 1, .rule = DT_RULE_SCREAM },
    { .bits = 3, .is_signed = 1, .rule = DT_RULE_LSQ },
};
static const float alpha = 1.7f;

/* ACT_QUANT of x; the caller frees the codes. */
static float *quantized(const char *backend, const dt_act_quant_params *quant, const float *x, dt_tensor *facts,
                        float *scale)
{
    const op_case c = { .why = "codes",
                        .op = DT_OP_ACT_QUANT,
                        .params = quant,
                        .n_in = 2,
                        .in = { { OP_SHAPE(BATCH, HEIGHT, WIDTH, CHANNELS) }, { OP_SHAPE(1) } } };
    op_rig rig;
    cr_assert(op_rig_open(&rig, backend, 1, &c));
    op_rig_write(&rig, rig.in[0].data, x, BATCH * COUNT * sizeof *x);
    op_rig_write(&rig, rig.in[1].data, &alpha, sizeof alpha);
    op_rig_forward(&rig);
    float *codes = op_rig_read(&rig, rig.out.data, BATCH * COUNT), *s = op_rig_read(&rig, rig.out.scale, 1);
    *facts = rig.out;
    *scale = *s;
    free(s);
    op_rig_close(&rig);
    return codes;
}

/* The codes again, in a type that holds them. */
static void check_narrow(op_rig *rig, const float *want, dt_dtype type)
{
    rig->out.type = type;
    op_rig_forward(rig);
    float *room = op_rig_read(rig, rig->out.data, BATCH * COUNT);
    for (int i = 0; i < BATCH * COUNT; i++) {
        const float code = type == DT_U8   ? (float)((const uint8_t *)room)[i]
                           : type == DT_I8 ? (float)((const int8_t *)room)[i]
                                           : dt_from_fp16(((const uint16_t *)room)[i]);
        cr_assert(code == want[i], "%s, type %d: code [%d] is %g, expected %g", rig->ctx->backend->name, (int)type, i,
                  (double)code, (double)want[i]);
    }
    free(room);
}

static void check_codes(const char *backend, const dt_act_quant_params *quant, const dt_augment_params *view)
{
    const dt_step_in in = { .seed = 3, .epoch = 2, .first = 1 };
    float *x = batch_of(backend, 1, view, &in), want_scale;
    if (!x) return;
    dt_tensor facts;
    dt_augment_params p = *view;
    op_rig rig;
    p.has_quant = 1;
    p.quant = *quant;
    op_case c = augment_case(&p);
    c.in[c.n_in++] = (op_input){ OP_SHAPE(1), .fill = FILL_REAL };
    float *want = quantized(backend, quant, x, &facts, &want_scale);
    cr_assert(open_batch(&rig, backend, 2, &c, &in));
    op_rig_write(&rig, rig.in[2].data, &alpha, sizeof alpha);
    op_rig_forward(&rig);
    float *codes = op_rig_read(&rig, rig.out.data, BATCH * COUNT), *scale = op_rig_read(&rig, rig.out.scale, 1);
    cr_assert(rig.out.n_scale == 1 && rig.out.qmin == facts.qmin && rig.out.qmax == facts.qmax, "%s: %lld..%lld",
              backend, (long long)rig.out.qmin, (long long)rig.out.qmax);
    check_narrow(&rig, want, facts.qmin < 0 ? DT_I8 : DT_U8);
    check_narrow(&rig, want, DT_F16);
    cr_assert(*scale == want_scale, "%s: the scale is %.9g, expected %.9g", backend, (double)*scale,
              (double)want_scale);
    for (int i = 0; i < BATCH * COUNT; i++) {
        cr_assert(codes[i] == want[i], "%s, %d bits: code [%d] is %g, expected %g of %g", backend, quant->bits, i,
                  (double)codes[i], (double)want[i], (double)x[i]);
    }
    op_rig_close(&rig);
    free(scale);
    free(codes);
    free(want);
    free(x);
}

Test(augment, codes_are_those_of_the_quantizer_behind_it)
{
    for (int b = 0; b < 2; b++) {
        for (int q = 0; q < 4; q++) check_codes(backends[b], &quantizers[q], &turned);
        check_codes(backends[b], &quantizers[0], &recoloured);
    }
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

Test(augment, misfits_are_refused)
{
    dt_augment_params p = cropped;
    op_case c = augment_case(&p);
    p.batch = IMAGES + 1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "batch is 13, the order holds 12 images");
    p = cropped;
    p.std[1] = 0.0f;
    op_case_refused(&c, DT_ERR_ARGUMENT, "std[1] is 0");
    p = cropped;
    p.crop_pad = -1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "crop_pad is -1");
    p = cropped;
    p.shift = -1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "shift is -1, allowed are 0..4096");
    p = cropped;
    p.rotation = 46.0f;
    op_case_refused(&c, DT_ERR_ARGUMENT, "rotation is 46, allowed are 0..45 degrees");
    p.rotation = NAN;
    op_case_refused(&c, DT_ERR_ARGUMENT, "rotation is nan");
    p = cropped;
    p.flip_share = 1.5f;
    op_case_refused(&c, DT_ERR_ARGUMENT, "flip_share is 1.5, allowed are 0..1");
    p = cropped;
    p.cutout = -1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "cutout is -1, must not be negative");
    p = cropped;
    p.brightness = 1.5f;
    op_case_refused(&c, DT_ERR_ARGUMENT, "brightness is 1.5 and contrast 0, allowed are 0..1");
    p = cropped;
    p.has_quant = 1;
    p.quant = quantizers[0];
    op_case_refused(&c, DT_ERR_ARGUMENT, "augment takes 3 inputs, got 2");
    c.in[c.n_in++] = (op_input){ OP_SHAPE(2), .fill = FILL_REAL };
    op_case_refused(&c, DT_ERR_SHAPE, "augment takes one alpha, got 2");
    p.quant.bits = 9;
    op_case_refused(&c, DT_ERR_ARGUMENT, "codes of 9 bits, allowed are 2..8");
    c.n_in = 2;
    c.in[0].type = DT_I8;
    p = cropped;
    op_case_refused(&c, DT_ERR_ARGUMENT, "needs images of u8");
    c.in[0] = (op_input){ OP_SHAPE(1, 2, 2, 5), .type = DT_U8 };
    op_case_refused(&c, DT_ERR_SHAPE, "images are 1x2x2x5");
    c = augment_case(&p);
    c.in[0].type = DT_F32;
    p = cropped;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "crop 2, shift 0, rotation 0 and flip 0.5 are for images of 8 bits");
}

/* ---- reals ---- */

static float real(int64_t i)
{
    return (float)(i % 101) * 0.37f - 20.0f;
}

/* The batch of reals: normalised, and with `quant` codes of them. */
static float *batch_of_reals(const char *backend, const dt_augment_params *p, op_rig *rig)
{
    op_case c = augment_case(p);
    float images[IMAGES * COUNT];
    const dt_step_in in = { .seed = 9, .first = 5 };
    c.in[0] = (op_input){ OP_SHAPE(IMAGES, HEIGHT, WIDTH, CHANNELS), .fill = FILL_REAL };
    if (p->has_quant) c.in[c.n_in++] = (op_input){ OP_SHAPE(1), .fill = FILL_REAL };
    if (!op_rig_open(rig, backend, 2, &c)) return NULL;
    int32_t order[IMAGES];
    const dt_step step = { .in = in };
    for (int64_t i = 0; i < IMAGES * COUNT; i++) images[i] = real(i);
    for (int64_t i = 0; i < IMAGES; i++) order[i] = order_at(i);
    op_rig_write(rig, rig->in[0].data, images, sizeof images);
    op_rig_write(rig, rig->in[1].data, order, sizeof order);
    op_rig_write(rig, rig->ex.step, &step, sizeof step);
    if (p->has_quant) op_rig_write(rig, rig->in[2].data, &alpha, sizeof alpha);
    op_rig_forward(rig);
    return op_rig_read(rig, rig->out.data, BATCH * COUNT);
}

Test(augment, reals_are_normalised_and_not_moved)
{
    for (int b = 0; b < 2; b++) {
        dt_augment_params p = still;
        op_rig rig;
        float *x = batch_of_reals(backends[b], &p, &rig);
        if (!x) continue;
        for (int64_t i = 0; i < BATCH * COUNT; i++) {
            const int64_t c = i % CHANNELS, at = order_at(5 + i / COUNT) * COUNT + i % COUNT;
            const float want = (real(at) - p.mean[c]) / p.std[c];
            cr_assert(x[i] == want, "%s: value %lld is %.9g, expected %.9g", backends[b], (long long)i, (double)x[i],
                      (double)want);
        }
        op_rig_close(&rig);
        for (int q = 0; q < 4; q++) {
            dt_tensor facts;
            float scale;
            p.has_quant = 1;
            p.quant = quantizers[q];
            float *want = quantized(backends[b], &quantizers[q], x, &facts, &scale);
            float *codes = batch_of_reals(backends[b], &p, &rig), *got = op_rig_read(&rig, rig.out.scale, 1);
            cr_assert(*got == scale && memcmp(codes, want, BATCH * COUNT * sizeof *want) == 0, "%s: quantizer %d",
                      backends[b], q);
            op_rig_close(&rig);
            free(got);
            free(codes);
            free(want);
        }
        free(x);
    }
}

/* Each of many channels has its own numbers, on both backends. */
Test(augment, reals_of_many_channels)
{
    enum { MANY = DT_MOST_CHANNELS, SPOTS = 6, SAMPLES = 5, EACH = SPOTS * MANY };
    static float images[SAMPLES * EACH];
    static const int32_t order[] = { 4, 0, 3 };
    const dt_step step = { .in = { .seed = 1 } };
    dt_augment_params p = { .batch = 3 };

    for (int c = 0; c < MANY; c++) p.mean[c] = (float)(c * c), p.std[c] = 1.0f + (float)c;
    for (int i = 0; i < SAMPLES * EACH; i++) images[i] = (float)(i % 97) * 3.5f;
    for (int b = 0; b < 2; b++) {
        op_case c = { .why = "many channels",
                      .op = DT_OP_AUGMENT,
                      .params = &p,
                      .n_in = 2,
                      .in = { { OP_SHAPE(SAMPLES, 2, 3, MANY), .fill = FILL_REAL },
                              { OP_SHAPE(3), .type = DT_I32, .fill = FILL_COUNT, .size = 2.0f } } };
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 2, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, images, sizeof images);
        op_rig_write(&rig, rig.in[1].data, order, sizeof order);
        op_rig_write(&rig, rig.ex.step, &step, sizeof step);
        op_rig_forward(&rig);
        float *x = op_rig_read(&rig, rig.out.data, 3 * EACH);
        for (int i = 0; i < 3 * EACH; i++) {
            const float want = (images[order[i / EACH] * EACH + i % EACH] - p.mean[i % MANY]) / p.std[i % MANY];
            cr_assert(x[i] == want, "%s: value %d is %.9g, expected %.9g", backends[b], i, (double)x[i], (double)want);
        }
        free(x);
        op_rig_close(&rig);
    }
}
