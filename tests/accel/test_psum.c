/*
 * test_psum.c - psums, tap psums and statistics of the array's engine against literal loops in 64-bit integers, fitted
 * after each addition in the order of accel/psum/psum.h; and the operator, on every backend.
 */
#include "../support/draws.h"
#include "../support/op_case.h"
#include "../support/oracle_run.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One layer on one image, and what must come of it. */
typedef struct {
    dt_array array; /* simd is 1 or 2 */
    dt_psum_shape shape;
    const float *x, *w;
    int32_t *psum, *taps; /* taps: of the weight stationary array */
    float *exact;         /* psums of a plain convolution; NULL: not wanted */
    dt_psum_stats stats;
} layer;

/* ---- the oracle ---- */

/* A register, and beside it the sum that an unlimited one would hold. */
typedef struct {
    int64_t held, exact;
} partial;

static int64_t fit(const dt_array *a, int64_t value)
{
    const int64_t size = (int64_t)1 << a->psum_bits;
    if (a->overflow == DT_OVERFLOW_SATURATE) {
        return value < -size / 2 ? -size / 2 : value > size / 2 - 1 ? size / 2 - 1 : value;
    }
    while (value < -size / 2) value += size;
    while (value > size / 2 - 1) value -= size;
    return value;
}

static void look(layer *l, int64_t value)
{
    if (value < l->stats.min) l->stats.min = (int32_t)value;
    if (value > l->stats.max) l->stats.max = (int32_t)value;
    l->stats.n_overflows += value < -((int64_t)1 << (l->array.psum_bits - 1));
    l->stats.n_overflows += value >= (int64_t)1 << (l->array.psum_bits - 1);
}

static int saturates(const layer *l)
{
    return l->array.overflow == DT_OVERFLOW_SATURATE;
}

static partial add(layer *l, partial to, partial what)
{
    if (saturates(l)) look(l, to.held + what.held);
    return (partial){ fit(&l->array, to.held + what.held), to.exact + what.exact };
}

/* What the PE of channel c of k's group (and its neighbour) gives for output (p, q, k) and tap (r, t). */
static partial pe(const layer *l, int p, int q, int k, int tap, int c)
{
    const dt_psum_shape *s = &l->shape;
    const int h = p * s->conv.stride[0] + tap / s->window_width * s->conv.dilation[0] - s->conv.pad[0];
    const int v = q * s->conv.stride[1] + tap % s->window_width * s->conv.dilation[1] - s->conv.pad[1];
    const int each = s->channels / s->conv.groups, first = k / (s->filters / s->conv.groups) * each;
    int64_t sum = 0;
    for (int lane = c; lane < c + l->array.simd && lane < each; lane++) {
        if (h < 0 || h >= s->height || v < 0 || v >= s->width) continue;
        sum += (int64_t)l->x[(h * s->width + v) * s->channels + first + lane] *
               (int64_t)l->w[(k * s->window_height * s->window_width + tap) * each + lane];
    }
    return (partial){ sum, sum };
}

static partial weight_stationary(layer *l, int p, int q, int k)
{
    const dt_psum_shape *s = &l->shape;
    const int tile_channels = l->array.rows * l->array.simd, channels = s->channels / s->conv.groups;
    partial sum = { 0, 0 };
    int pass = 0;
    for (int first = 0; first < channels; first += tile_channels) {
        for (int tap = 0; tap < s->window_height * s->window_width; tap++, pass++) {
            partial psum = { 0, 0 };
            for (int c = first; c < first + tile_channels && c < channels; c += l->array.simd) {
                psum = add(l, psum, pe(l, p, q, k, tap, c));
            }
            sum = pass == 0 ? psum : add(l, sum, psum);
            if (!saturates(l)) {
                look(l, psum.exact);
                look(l, sum.exact);
            }
            l->taps[((pass * s->out_height + p) * s->out_width + q) * s->filters + k] = (int32_t)psum.held;
            l->stats.n_tap_psums++;
        }
    }
    return sum;
}

static partial output_stationary(layer *l, int p, int q, int k)
{
    const dt_psum_shape *s = &l->shape;
    partial sum = { 0, 0 };
    for (int c = 0; c < s->channels / s->conv.groups; c += l->array.simd) {
        for (int tap = 0; tap < s->window_height * s->window_width; tap++) {
            sum = add(l, sum, pe(l, p, q, k, tap, c));
            if (!saturates(l)) look(l, sum.exact);
        }
    }
    return sum;
}

/* Adds to l->stats; fills psum and, weight stationary, taps. */
static void oracle(layer *l)
{
    const dt_psum_shape *s = &l->shape;
    for (int i = 0; i < s->height * s->width * s->channels; i++) l->stats.n_zero_codes += l->x[i] == 0.0f;
    l->stats.n_codes += s->height * s->width * s->channels;
    for (int i = 0; i < s->out_height * s->out_width * s->filters; i++) {
        const int k = i % s->filters, q = i / s->filters % s->out_width, p = i / s->filters / s->out_width;
        const partial sum =
            l->array.dataflow == DT_DATAFLOW_WS ? weight_stationary(l, p, q, k) : output_stationary(l, p, q, k);
        l->psum[i] = (int32_t)sum.held;
        if (l->exact) l->exact[i] = (float)sum.exact;
        l->stats.n_psums++;
    }
}

/* ---- the engine ---- */

static const char *text_of(const layer *l)
{
    static char text[256];
    const dt_psum_shape *s = &l->shape;
    snprintf(text, sizeof text,
             "%s, %s, %d rows, simd %d, %d bits; x %dx%dx%d of %d..%d, w %dx%dx%d, strides %d,%d, pads %d,%d,%d,%d, "
             "dilations %d,%d, groups %d",
             dt_dataflow_names[l->array.dataflow], dt_overflow_names[l->array.overflow], l->array.rows, l->array.simd,
             l->array.psum_bits, s->height, s->width, s->channels, s->x_low, s->x_high, s->filters, s->window_height,
             s->window_width, s->conv.stride[0], s->conv.stride[1], s->conv.pad[0], s->conv.pad[1], s->conv.pad[2],
             s->conv.pad[3], s->conv.dilation[0], s->conv.dilation[1], s->conv.groups);
    return text;
}

static int n_outputs(const layer *l)
{
    return l->shape.out_height * l->shape.out_width * l->shape.filters;
}

static int n_taps(const layer *l)
{
    const int tile_channels = l->array.rows * l->array.simd, window = l->shape.window_height * l->shape.window_width;
    return (l->shape.channels / l->shape.conv.groups + tile_channels - 1) / tile_channels * window;
}

static void same_integers(const layer *l, const char *what, const int32_t *want, const int32_t *got, int n)
{
    for (int i = 0; i < n; i++) {
        cr_assert(got[i] == want[i], "%s: %s [%d] is %d, expected %d", text_of(l), what, i, got[i], want[i]);
    }
}

static void same_stats(const layer *l, const char *who, const dt_psum_stats *got)
{
    const dt_psum_stats *want = &l->stats;
    const struct {
        const char *name;
        int64_t want, got;
    } fields[] = {
        { "n_psums", want->n_psums, got->n_psums },
        { "n_tap_psums", want->n_tap_psums, got->n_tap_psums },
        { "n_overflows", want->n_overflows, got->n_overflows },
        { "n_codes", want->n_codes, got->n_codes },
        { "n_zero_codes", want->n_zero_codes, got->n_zero_codes },
        { "min", want->min, got->min },
        { "max", want->max, got->max },
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        cr_assert(fields[i].got == fields[i].want, "%s: %s: %s is %lld, expected %lld", text_of(l), who, fields[i].name,
                  (long long)fields[i].got, (long long)fields[i].want);
    }
}

/* Runs the engine as `on_array` says. with_taps: asks for tap psums, which takes another path. */
static void check_engine(const layer *l, const dt_psum_layer *on_array, const char *who, int with_taps)
{
    int32_t *psum = malloc((size_t)n_outputs(l) * sizeof *psum);
    int32_t *taps = malloc((size_t)n_outputs(l) * (size_t)n_taps(l) * sizeof *taps);
    void *packed = aligned_alloc(64, dt_round_up(on_array->packed_bytes, 64));
    void *room = aligned_alloc(64, dt_round_up(on_array->room_bytes, 64));
    void *block = aligned_alloc(64, dt_round_up(dt_psum_taps_bytes(on_array), 64));
    dt_psum_stored stored = { on_array, taps };
    const dt_psum_taker taker = { dt_psum_store, &stored, block };
    dt_psum_stats stats;

    dt_psum_stats_clear(&stats);
    memset(room, 0x55, on_array->room_bytes);
    dt_psum_pack(on_array, l->w, packed);
    dt_psum_image(on_array, packed, l->x, room, psum, with_taps ? &taker : NULL, &stats);
    same_integers(l, who, l->psum, psum, n_outputs(l));
    if (with_taps) same_integers(l, "tap psum", l->taps, taps, n_outputs(l) * n_taps(l));
    same_stats(l, who, &stats);
    free(psum);
    free(taps);
    free(packed);
    free(room);
    free(block);
}

/* accel/verify/oracle.c, which judges whole networks, agrees too. */
static void check_verdict(const layer *l)
{
    const int n = n_outputs(l), is_ws = l->array.dataflow == DT_DATAFLOW_WS;
    int32_t *expected = malloc((size_t)n * sizeof *expected);
    int64_t *exact = malloc((size_t)n * sizeof *exact);
    const oracle_run run = { &l->array, &l->shape, l->x, l->w, l->exact, l->psum, is_ws ? l->taps : NULL,
                             expected,  exact };
    const dt_oracle_result r = oracle_run_judge(&run);

    cr_assert(r.n_wrong == 0, "%s: verdict: %s at %d,%d,%d is %lld, expected %lld", text_of(l), r.first.what,
              r.first.row, r.first.col, r.first.channel, (long long)r.first.found, (long long)r.first.expected);
    cr_assert(r.n_checked == 2 * n + (is_ws ? n * n_taps(l) : 0), "%s: %lld checked", text_of(l),
              (long long)r.n_checked);
    free(expected);
    free(exact);
}

static int below(int n)
{
    static draws layers = { .seed = 1 };
    return draw(&layers, n);
}

static int between(int low, int high)
{
    return low + below(high - low + 1);
}

/* Codes between low and high; often one of the two, so that sums become large. */
static float *draw_codes(int n, int low, int high)
{
    float *codes = malloc((size_t)n * sizeof *codes);
    for (int i = 0; i < n; i++) {
        codes[i] = (float)(below(2) ? between(low, high) : below(4) ? high : low);
    }
    return codes;
}

static void check_layer(layer *l)
{
    const dt_psum_shape *s = &l->shape;
    const int window = s->window_height * s->window_width;
    float *x = draw_codes(s->height * s->width * s->channels, s->x_low, s->x_high);
    float *w = draw_codes(s->filters * window * (s->channels / s->conv.groups), -s->w_bound,
                          s->w_bound < 128 ? s->w_bound : 127);
    dt_psum_layer on_array;

    l->x = x;
    l->w = w;
    l->psum = malloc((size_t)n_outputs(l) * sizeof *l->psum);
    l->taps = malloc((size_t)n_outputs(l) * (size_t)n_taps(l) * sizeof *l->taps);
    l->exact = malloc((size_t)n_outputs(l) * sizeof *l->exact);
    dt_psum_stats_clear(&l->stats);
    oracle(l);
    cr_assert(dt_psum_layer_init(&on_array, "layer", &l->array, s) == DT_OK, "%s: %s", text_of(l), dt_last_error());
    check_engine(l, &on_array, "psum", 0);
    if (l->array.dataflow == DT_DATAFLOW_WS) check_engine(l, &on_array, "psum, with taps", 1);
    if (on_array.vnni) {
        on_array.vnni = 0;
        check_engine(l, &on_array, "psum, plain C", 0);
        if (l->array.dataflow == DT_DATAFLOW_WS) check_engine(l, &on_array, "psum, plain C, with taps", 1);
    }
    check_verdict(l);
    free(x);
    free(w);
    free(l->psum);
    free(l->taps);
    free(l->exact);
}

static const int array_sides[] = { 1, 3, 8, 16, 33 }, channel_counts[] = { 1, 3, 7, 8, 16, 33 },
                 filter_counts[] = { 1, 7, 8, 17 }, group_counts[] = { 2, 3, 7, 16 }, psum_widths[] = { 8, 10, 16, 32 };

/* Ranges of codes: 2 bits for both widths of simd, signed and unsigned bytes, ... */
static const struct {
    int low, high, w_bound;
} code_ranges[] = { { 0, 3, 7 }, { 0, 3, 1 }, { 0, 15, 7 }, { 0, 255, 127 }, { -127, 127, 7 }, { -128, 127, 128 } };

#define COUNT(list) ((int)(sizeof(list) / sizeof(list)[0]))
#define DRAW(list)  ((list)[below(COUNT(list))])

/* Half of them square, as most layers are. */
static dt_conv_params draw_form(void)
{
    dt_conv_params form = dt_conv_square(between(1, 2), between(0, 1));

    if (below(2)) return form;
    for (int i = 0; i < 2; i++) {
        form.stride[i] = between(1, 3);
        form.dilation[i] = between(1, 2);
    }
    for (int i = 0; i < 4; i++) form.pad[i] = between(0, 2);
    return form;
}

/* Rows or columns of x: enough for a window, padding not counted. */
static int draw_side(const dt_conv_params *form, int axis, int taps)
{
    const int span = form->dilation[axis] * (taps - 1) + 1;
    return between(span, span > 7 ? span : 7);
}

/* Windows that fit, counted one by one. */
static int n_positions(const dt_conv_params *form, int axis, int side, int taps)
{
    int n = 0;
    for (int at = -form->pad[axis]; at + form->dilation[axis] * (taps - 1) < side + form->pad[axis + 2];
         at += form->stride[axis]) {
        n++;
    }
    return n;
}

static layer draw_layer(void)
{
    const int range = below(COUNT(code_ranges));
    layer l = { .array = { .rows = DRAW(array_sides),
                           .cols = DRAW(array_sides),
                           .psum_bits = DRAW(psum_widths),
                           .overflow = below(2) ? DT_OVERFLOW_SATURATE : DT_OVERFLOW_WRAP,
                           .dataflow = below(3) ? DT_DATAFLOW_WS : DT_DATAFLOW_OS } };
    dt_psum_shape *s = &l.shape;

    s->x_low = code_ranges[range].low;
    s->x_high = code_ranges[range].high;
    s->w_bound = code_ranges[range].w_bound;
    l.array.simd = s->x_high == 3 ? between(1, 2) : 1;
    s->channels = DRAW(channel_counts);
    s->filters = DRAW(filter_counts);
    s->window_height = between(1, 3);
    s->window_width = below(4) ? s->window_height : between(1, 3);
    s->conv = draw_form();
    if (!below(3)) {
        s->conv.groups = DRAW(group_counts);
        s->channels = between(1, s->conv.groups > 7 ? 2 : 9) * s->conv.groups;
        s->filters = between(1, s->conv.groups > 7 ? 2 : 17) * s->conv.groups;
    }
    s->height = draw_side(&s->conv, 0, s->window_height);
    s->width = draw_side(&s->conv, 1, s->window_width);
    s->out_height = n_positions(&s->conv, 0, s->height, s->window_height);
    s->out_width = n_positions(&s->conv, 1, s->width, s->window_width);
    return l;
}

Test(psum, random_layers_match_the_oracle)
{
    int n_overflows = 0;
    for (int i = 0; i < 1000; i++) {
        layer l = draw_layer();
        check_layer(&l);
        n_overflows += l.stats.n_overflows > 0;
    }
    cr_assert(n_overflows > 200 && n_overflows < 800, "%d of 1000 layers overflow: both kinds are wanted", n_overflows);
}

/* ---- a layer that was worked out by hand, and checked with RTL of the course's array ---- */

typedef struct {
    int channels, x_modulus, row_step;
    int sum;     /* of all psums */
    int at_5[8]; /* of the first 8 filters at position 5 */
} worked;

/* x = (c + row_step h + w) mod x_modulus, w = ((3 k + 5 c + 2 r + s) mod 15) - 7 on a 4x4 map */
static const worked worked_layers[] = {
    { 8, 16, 4, 1915, { -147, 270, -3, 84, -204, -147, 270, -3 } },
    { 16, 4, 2, -705, { -69, 54, -18, 15, 18, -69, 54, -18 } },
};

static void check_worked(const worked *e)
{
    const int C = e->channels;
    const dt_psum_shape shape = { 4, 4, C, C, 3, 3, DT_CONV_SQUARE(1, 1), 4, 4, 0, e->x_modulus - 1, 7 };
    float x[16 * 16], w[16 * 9 * 16];
    int32_t psum[16 * 16], sum = 0;
    dt_psum_layer on_array;
    dt_psum_stats stats;
    dt_array array;
    for (int i = 0; i < 16 * C; i++) x[i] = (float)((i % C + e->row_step * (i / C / 4) + i / C % 4) % e->x_modulus);
    for (int i = 0; i < C * 9 * C; i++) {
        const int tap = i / C % 9;
        w[i] = (float)((3 * (i / C / 9) + 5 * (i % C) + 2 * (tap / 3) + tap % 3) % 15 - 7);
    }
    dt_array_default(&array);
    cr_assert(dt_psum_layer_init(&on_array, "layer", &array, &shape) == DT_OK, "%s", dt_last_error());
    cr_assert(on_array.array.simd == (e->x_modulus == 4 ? 2 : 1) && on_array.in_tiles == 1);
    void *packed = aligned_alloc(64, dt_round_up(on_array.packed_bytes, 64));
    void *room = aligned_alloc(64, dt_round_up(on_array.room_bytes, 64));
    dt_psum_stats_clear(&stats);
    dt_psum_pack(&on_array, w, packed);
    dt_psum_image(&on_array, packed, x, room, psum, NULL, &stats);
    for (int i = 0; i < 16 * C; i++) sum += psum[i];
    cr_assert(sum == e->sum, "psums sum to %d, expected %d", sum, e->sum);
    for (int k = 0; k < 8; k++) cr_assert(psum[5 * C + k] == e->at_5[k], "filter %d: %d", k, psum[5 * C + k]);
    free(packed);
    free(room);
}

Test(psum, a_worked_layer_has_its_psums)
{
    for (size_t i = 0; i < COUNT(worked_layers); i++) check_worked(&worked_layers[i]);
}

/* ---- the operator ---- */

#define UNSIGNED(size_, ...)                                                    \
    {                                                                           \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_COUNT, .size = size_, .scale = 0.5f \
    }
#define SIGNED(size_, ...)                                                        \
    {                                                                             \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = size_, .scale = 0.5f \
    }
#define PSUM .op = DT_OP_PSUM, .n_in = 2

typedef struct {
    op_case c;
    dt_psum_params params; /* c's */
} op_row;

#define WS       DT_DATAFLOW_WS
#define OS       DT_DATAFLOW_OS
#define WRAP     DT_OVERFLOW_WRAP
#define SATURATE DT_OVERFLOW_SATURATE

static const op_row op_rows[] = {
    { { PSUM, .why = "the layer of the 8x8 array", .in = { UNSIGNED(15, 3, 4, 4, 8), SIGNED(7, 8, 3, 3, 8) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "2-bit codes, two a PE", .in = { UNSIGNED(3, 2, 4, 4, 16), SIGNED(7, 16, 3, 3, 16) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "2-bit codes, one a PE, odd channels",
        .in = { UNSIGNED(3, 5, 5, 4, 33), SIGNED(7, 17, 3, 3, 33) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 8, WRAP, WS, 1 } } },
    { { PSUM, .why = "tiles of 16, 8-bit psums overflow",
        .in = { UNSIGNED(15, 2, 5, 3, 33), SIGNED(7, 33, 3, 3, 33) } },
      { DT_CONV_SQUARE(2, 1), { 16, 3, 8, WRAP, WS, 1 } } },
    { { PSUM, .why = "tiles of 33", .in = { UNSIGNED(255, 2, 3, 4, 65), SIGNED(127, 7, 2, 2, 65) } },
      { DT_CONV_SQUARE(1, 0), { 33, 8, 32, WRAP, WS, 0 } } },
    { { PSUM, .why = "tiles of 3, unsigned bytes", .in = { UNSIGNED(255, 1, 5, 4, 7), SIGNED(127, 7, 3, 3, 7) } },
      { DT_CONV_SQUARE(1, 1), { 3, 1, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "the signed image", .in = { SIGNED(127, 3, 6, 5, 3), SIGNED(7, 33, 3, 3, 3) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 10, WRAP, WS, 0 } } },
    { { PSUM, .why = "signed, many channels", .in = { SIGNED(127, 2, 2, 2, 40), SIGNED(127, 7, 1, 1, 40) } },
      { DT_CONV_SQUARE(2, 0), { 16, 16, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "clipped psums", .in = { UNSIGNED(15, 2, 4, 5, 16), SIGNED(7, 17, 3, 3, 16) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 8, SATURATE, WS, 0 } } },
    { { PSUM, .why = "clipped, two a PE, odd", .in = { UNSIGNED(3, 2, 4, 5, 7), SIGNED(7, 7, 3, 3, 7) } },
      { DT_CONV_SQUARE(2, 1), { 1, 8, 8, SATURATE, WS, 0 } } },
    { { PSUM, .why = "clipped, signed", .in = { SIGNED(127, 2, 3, 3, 33), SIGNED(127, 7, 2, 2, 33) } },
      { DT_CONV_SQUARE(1, 0), { 8, 8, 16, SATURATE, WS, 0 } } },
    { { PSUM, .why = "wide enough not to clip", .in = { UNSIGNED(15, 1, 4, 5, 8), SIGNED(7, 3, 3, 3, 8) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 32, SATURATE, WS, 0 } } },
    { { PSUM, .why = "output stationary", .in = { UNSIGNED(15, 2, 4, 4, 7), SIGNED(7, 8, 3, 3, 7) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 10, WRAP, OS, 0 } } },
    { { PSUM, .why = "output stationary, clipped, two a PE",
        .in = { UNSIGNED(3, 2, 4, 3, 9), SIGNED(7, 33, 3, 3, 9) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 8, SATURATE, OS, 0 } } },
    { { PSUM, .why = "a pad of its own on each side", .in = { UNSIGNED(15, 2, 5, 4, 7), SIGNED(7, 8, 3, 3, 7) } },
      { { { 1, 1 }, { 1, 0, 2, 1 }, { 1, 1 }, 1 }, { 8, 8, 10, WRAP, WS, 0 } } },
    { { PSUM, .why = "strides, dilations and pads of their own",
        .in = { SIGNED(127, 2, 9, 8, 9), SIGNED(7, 33, 3, 2, 9) } },
      { { { 2, 1 }, { 0, 2, 1, 0 }, { 2, 3 }, 1 }, { 8, 8, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "the same, clipped", .in = { UNSIGNED(15, 2, 9, 8, 9), SIGNED(7, 7, 3, 2, 9) } },
      { { { 2, 1 }, { 0, 2, 1, 0 }, { 2, 3 }, 1 }, { 4, 8, 8, SATURATE, WS, 0 } } },
    { { PSUM, .why = "depthwise", .in = { UNSIGNED(15, 2, 5, 4, 7), SIGNED(7, 7, 3, 3, 1) } },
      { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 7 }, { 8, 8, 8, WRAP, WS, 0 } } },
    { { PSUM, .why = "signed, depthwise, two filters a channel",
        .in = { SIGNED(127, 2, 5, 4, 7), SIGNED(7, 14, 3, 3, 1) } },
      { { { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 }, 7 }, { 8, 8, 12, WRAP, WS, 0 } } },
    { { PSUM, .why = "2 groups, of several tiles and more filters than a warp takes",
        .in = { UNSIGNED(15, 2, 4, 4, 18), SIGNED(7, 70, 3, 3, 9) } },
      { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 2 }, { 4, 8, 10, WRAP, WS, 0 } } },
    { { PSUM, .why = "3 groups, two a PE, clipped", .in = { UNSIGNED(3, 2, 4, 4, 15), SIGNED(7, 21, 3, 3, 5) } },
      { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 3 }, { 2, 8, 8, SATURATE, WS, 0 } } },
    { { PSUM, .why = "3 groups, output stationary", .in = { UNSIGNED(3, 2, 4, 4, 15), SIGNED(7, 21, 3, 3, 5) } },
      { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 3 }, { 8, 8, 8, SATURATE, OS, 0 } } },
    { { PSUM, .why = "the same, output stationary", .in = { UNSIGNED(15, 2, 9, 8, 9), SIGNED(7, 7, 3, 2, 9) } },
      { { { 2, 1 }, { 0, 2, 1, 0 }, { 2, 3 }, 1 }, { 8, 8, 8, WRAP, OS, 0 } } },
};

/* The oracle's psums over the batch, one image after another; l->stats: of the batch. The caller frees. */
static int32_t *expected_batch(layer *l, const op_rig *rig, const float *x, const float *w)
{
    const int64_t n_images = rig->in[0].shape.dim[0];
    int32_t *psum = malloc((size_t)(n_images * n_outputs(l)) * sizeof *psum);

    l->taps = malloc((size_t)n_outputs(l) * (size_t)n_taps(l) * sizeof *l->taps);
    l->w = w;
    dt_psum_stats_clear(&l->stats);
    for (int64_t n = 0; n < n_images; n++) {
        l->x = x + n * l->shape.height * l->shape.width * l->shape.channels;
        l->psum = psum + n * n_outputs(l);
        oracle(l);
    }
    free(l->taps);
    return psum;
}

static void check_op(const op_row *row, const char *backend, int threads)
{
    op_case c = row->c;
    op_rig rig;
    dt_psum_aux aux;

    c.params = &row->params;
    if (!op_rig_open(&rig, backend, threads, &c)) return;
    const int64_t n = dt_count(&rig.out.shape);
    layer l = { .array = row->params.array, .shape = dt_psum_shape_of(&rig.node) };
    l.array.simd = dt_psum_simd(&l.array, &l.shape);
    float *x = op_rig_read(&rig, rig.in[0].data, dt_count(&rig.in[0].shape));
    float *w = op_rig_read(&rig, rig.in[1].data, dt_count(&rig.in[1].shape));
    int32_t *want = expected_batch(&l, &rig, x, w);
    op_rig_forward(&rig);
    op_rig_forward(&rig); /* stats are the last forward's alone */
    float *y = op_rig_read(&rig, rig.out.data, n), *scale = op_rig_read(&rig, rig.out.scale, rig.out.n_scale);
    for (int64_t i = 0; i < n; i++) {
        cr_assert(y[i] == (float)want[i], "%s: %s, %d threads: psum [%lld] is %.0f, expected %d", c.why, backend,
                  threads, (long long)i, (double)y[i], want[i]);
        cr_assert((int64_t)y[i] >= rig.out.qmin && (int64_t)y[i] <= rig.out.qmax, "%s: psum [%lld]", c.why,
                  (long long)i);
    }
    cr_assert(dt_device_read(rig.ctx, &aux, rig.node.aux, sizeof aux) == DT_OK, "%s", dt_last_error());
    same_stats(&l, backend, &aux.stats);
    cr_assert(scale[0] == 0.25f, "%s: scale %g, expected 0.5 * 0.5", c.why, (double)scale[0]);
    free(x);
    free(w);
    free(y);
    free(scale);
    free(want);
    op_rig_close(&rig);
}

Test(psum, the_operator_matches_the_oracle_on_every_backend)
{
    for (size_t i = 0; i < COUNT(op_rows); i++) {
        for (int threads = 1; threads <= 3; threads++) check_op(&op_rows[i], "cpu", threads);
        check_op(&op_rows[i], "cuda", 1);
    }
}

/* ---- facts and misuse ---- */

Test(psum, bits_hold_both_ends)
{
    static const struct {
        int64_t min, max;
        int bits;
    } cases[] = { { 0, 0, 1 },
                  { -1, 0, 1 },
                  { 0, 1, 2 },
                  { -128, 127, 8 },
                  { -129, 0, 9 },
                  { 0, 128, 9 },
                  { INT32_MIN, INT32_MAX, 32 },
                  { 0, (int64_t)INT32_MAX + 1, 33 } };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_assert(dt_psum_bits(cases[i].min, cases[i].max) == cases[i].bits, "case %zu: %d", i,
                  dt_psum_bits(cases[i].min, cases[i].max));
    }
}
Test(psum, layers_that_do_not_fit_are_refused)
{
    const dt_psum_params plain = { DT_CONV_SQUARE(1, 1), { 8, 8, 16, WRAP, WS, 0 } },
                         pairs = { DT_CONV_SQUARE(1, 1), { 8, 8, 16, WRAP, WS, 2 } };
    const op_case four_bits = { PSUM, .why = "simd 2 of 4 bits", .params = &pairs,
                                .in = { UNSIGNED(15, 1, 4, 4, 8), SIGNED(7, 8, 3, 3, 8) } };
    op_case_refused(&four_bits, DT_ERR_ARGUMENT, "layer: array: simd 2 takes activation codes 0..3, these are 0..15");
    const op_case unclamped = { PSUM, .why = "codes that no byte holds", .params = &plain,
                                .in = { SIGNED(300, 1, 9, 9, 8), SIGNED(7, 8, 3, 3, 8) } };
    op_case_refused(&unclamped, DT_ERR_ARGUMENT, "it takes 256 codes");
    const op_case wide = { PSUM, .why = "weights that no byte holds", .params = &plain,
                           .in = { UNSIGNED(15, 1, 4, 4, 8), SIGNED(200, 8, 3, 3, 8) } };
    op_case_refused(&wide, DT_ERR_ARGUMENT, "weight codes reach");
    const op_case real = { PSUM, .why = "not on the grid", .params = &plain,
                           .in = { { OP_SHAPE(1, 4, 4, 8) }, { OP_SHAPE(8, 3, 3, 8) } } };
    op_case_refused(&real, DT_ERR_ARGUMENT, "must be on the grid");
}
