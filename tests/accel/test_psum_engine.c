/*
 * test_psum_engine.c - psums, tap psums and statistics of the array's engine on layers that are drawn and on worked
 * ones, against literal loops in 64-bit integers (support/psum_oracle.h).
 */
#include "../support/draws.h"
#include "../support/oracle_run.h"
#include "../support/psum_oracle.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void same_integers(const layer *l, const char *what, const int32_t *want, const int32_t *got, int n)
{
    for (int i = 0; i < n; i++) {
        cr_assert(got[i] == want[i], "%s: %s [%d] is %d, expected %d", text_of(l), what, i, got[i], want[i]);
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

Test(psum_engine, random_layers_match_the_oracle)
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

Test(psum_engine, a_worked_layer_has_its_psums)
{
    for (size_t i = 0; i < COUNT(worked_layers); i++) check_worked(&worked_layers[i]);
}
