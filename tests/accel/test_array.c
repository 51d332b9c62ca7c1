/*
 * test_array.c - the cycle-level array against psum.h's text in 64-bit integers, one output after another, and psum.c.
 */
#include "../support/array_layer.h"

static int64_t fitted(const dt_array *a, int64_t value)
{
    int64_t limit = 1;
    for (int i = 1; i < a->psum_bits; i++) limit *= 2;
    if (a->overflow == DT_OVERFLOW_SATURATE) return value > limit - 1 ? limit - 1 : value < -limit ? -limit : value;
    value %= 2 * limit;
    return value >= limit ? value - 2 * limit : value < -limit ? value + 2 * limit : value;
}

static void look(array_layer *run, int64_t value)
{
    if (value < run->stats.min) run->stats.min = (int32_t)value;
    if (value > run->stats.max) run->stats.max = (int32_t)value;
    if (fitted(&run->array, value) != value) run->stats.n_overflows++;
}

/* What a PE adds for channels c .. c + simd - 1 of the filter's group, below `end`; counts products of cells inside x.
 */
static int64_t pe_sum(array_layer *run, const int at[3], int tap, int c, int end)
{
    const dt_psum_shape *s = &run->shape;
    const int h = at[0] * s->conv.stride[0] + tap / s->window_width * s->conv.dilation[0] - s->conv.pad[0];
    const int w = at[1] * s->conv.stride[1] + tap % s->window_width * s->conv.dilation[1] - s->conv.pad[1];
    const int taps = s->window_height * s->window_width, groups = s->conv.groups;
    const int each = s->channels / groups, group = at[2] / (s->filters / groups);
    int64_t sum = 0;

    if (h < 0 || h >= s->height || w < 0 || w >= s->width) return 0;
    for (int i = c; i < c + run->array.simd && i < end; i++) {
        sum += (int64_t)run->x[(h * s->width + w) * s->channels + group * each + i] *
               (int64_t)run->w[(at[2] * taps + tap) * each + i];
        run->busy++;
    }
    return sum;
}

static int64_t tap_psum(array_layer *run, const int at[3], int tap, int first, int64_t *exact)
{
    const int rows = run->array.rows, simd = run->array.simd, channels = run->shape.channels / run->shape.conv.groups;
    const int end = first + rows * simd < channels ? first + rows * simd : channels;
    int64_t psum = 0;

    *exact = 0;
    for (int c = first; c < end; c += simd) {
        const int64_t product = pe_sum(run, at, tap, c, end);
        if (run->array.overflow == DT_OVERFLOW_SATURATE) look(run, psum + product);
        psum = fitted(&run->array, psum + product);
        *exact += product;
    }
    if (run->array.overflow == DT_OVERFLOW_WRAP) look(run, *exact);
    run->stats.n_tap_psums++;
    return psum;
}

static int64_t weight_stationary(array_layer *run, const int at[3], int64_t output)
{
    const int taps = run->shape.window_height * run->shape.window_width, tile = run->array.rows * run->array.simd;
    int64_t acc = 0, exact = 0;

    for (int first = 0; first < run->shape.channels / run->shape.conv.groups; first += tile) {
        for (int tap = 0; tap < taps; tap++) {
            const int adds = first + tap > 0;
            int64_t exact_tap;
            const int64_t psum = tap_psum(run, at, tap, first, &exact_tap);
            run->tap[(first / tile * taps + tap) * run->n_psums + output] = (int32_t)psum;
            exact += exact_tap;
            if (run->array.overflow == DT_OVERFLOW_WRAP)
                look(run, exact);
            else if (adds)
                look(run, acc + psum);
            acc = fitted(&run->array, acc + psum);
        }
    }
    return acc;
}

static int64_t output_stationary(array_layer *run, const int at[3])
{
    const int channels = run->shape.channels / run->shape.conv.groups;
    int64_t acc = 0, exact = 0;

    for (int c = 0; c < channels; c += run->array.simd) {
        for (int tap = 0; tap < run->shape.window_height * run->shape.window_width; tap++) {
            const int64_t product = pe_sum(run, at, tap, c, channels);
            exact += product;
            look(run, run->array.overflow == DT_OVERFLOW_WRAP ? exact : acc + product);
            acc = fitted(&run->array, acc + product);
        }
    }
    return acc;
}

static void oracle_run(array_layer *run)
{
    const dt_psum_shape *s = &run->shape;
    const int ws = run->array.dataflow == DT_DATAFLOW_WS;

    for (int64_t output = 0; output < run->n_psums; output++) {
        const int64_t position = output / s->filters;
        const int at[3] = { (int)(position / s->out_width), (int)(position % s->out_width),
                            (int)(output % s->filters) };
        const int64_t psum = ws ? weight_stationary(run, at, output) : output_stationary(run, at);
        run->psum[output] = (int32_t)psum;
        run->relu[output] = psum > 0 ? (int32_t)psum : 0;
    }
    run->stats.n_psums = run->n_psums;
    run->stats.n_codes = run->n_x;
    for (int64_t i = 0; i < run->n_x; i++) run->stats.n_zero_codes += run->x[i] == 0.0f;
    /* weight stationary every cell of x meets every weight of its group, whether an output takes the product or not */
    if (ws) run->busy = run->n_x * (s->filters / s->conv.groups) * s->window_height * s->window_width;
}

static void expect_integers(const char *what, const char *layer, const int32_t *found, const int32_t *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        cr_assert(found[i] == want[i], "%s: %s[%lld] is %d, expected %d", layer, what, (long long)i, found[i], want[i]);
    }
}

static void expect_stats(const char *layer, const dt_psum_stats *found, const dt_psum_stats *want)
{
    cr_assert(found->min == want->min && found->max == want->max, "%s: %d..%d, expected %d..%d", layer, found->min,
              found->max, want->min, want->max);
    cr_assert(found->n_overflows == want->n_overflows, "%s: %lld overflows, expected %lld", layer,
              (long long)found->n_overflows, (long long)want->n_overflows);
    cr_assert(found->n_psums == want->n_psums && found->n_tap_psums == want->n_tap_psums,
              "%s: %lld psums, %lld of taps", layer, (long long)found->n_psums, (long long)found->n_tap_psums);
    cr_assert(found->n_codes == want->n_codes && found->n_zero_codes == want->n_zero_codes, "%s: %lld of %lld are 0",
              layer, (long long)found->n_zero_codes, (long long)found->n_codes);
}

static void expect_same(const char *layer, const array_layer *found, const array_layer *want)
{
    expect_integers("tap psum", layer, found->tap, want->tap, want->n_tap_psums);
    expect_integers("psum", layer, found->psum, want->psum, want->n_psums);
    expect_stats(layer, &found->stats, &want->stats);
}

/* psum.c on the same codes. */
static void expect_psum_c(const char *layer, const array_layer *want)
{
    char name[240];
    array_layer fast;
    dt_psum_layer on_array;
    array_layer_open(&fast, &want->array, &want->shape);
    cr_assert(dt_psum_layer_init(&on_array, "layer", &want->array, &want->shape) == DT_OK, "%s", dt_last_error());
    void *packed = aligned_alloc(64, dt_round_up(on_array.packed_bytes, 64) + 64);
    void *work = aligned_alloc(64, dt_round_up(on_array.room_bytes, 64) + 64);
    void *block = aligned_alloc(64, dt_round_up(dt_psum_taps_bytes(&on_array), 64));
    dt_psum_stored stored = { &on_array, fast.tap };
    const dt_psum_taker taker = { dt_psum_store, &stored, block };
    cr_assert(packed && work && block);
    dt_psum_pack(&on_array, want->w, packed);
    dt_psum_image(&on_array, packed, want->x, work, fast.psum, &taker, &fast.stats);
    snprintf(name, sizeof name, "psum.c: %s", layer);
    expect_same(name, &fast, want);
    free(packed);
    free(work);
    free(block);
    array_layer_close(&fast);
}

static void check_layer(array_layer *want)
{
    char layer[200];
    array_layer found;
    dt_array_count count;

    array_layer_describe(want, layer, sizeof layer);
    oracle_run(want);
    array_layer_copy(&found, want);
    array_layer_run(&found, &count);
    expect_same(layer, &found, want);
    expect_integers("relu", layer, found.relu, want->relu, want->n_psums);
    cr_assert(count.busy == want->busy, "%s: busy %lld, expected %lld", layer, (long long)count.busy,
              (long long)want->busy);
    expect_psum_c(layer, want);
    array_layer_close(&found);
}

Test(array, random_layers_match_the_oracle_and_psum_c)
{
    int64_t n_overflows[2] = { 0, 0 };
    for (int kind = 0; kind < ARRAY_LAYER_KINDS; kind++) {
        for (uint32_t seed = 0; seed < ARRAY_LAYER_SEEDS; seed++) {
            array_layer want;
            array_layer_random(seed * ARRAY_LAYER_KINDS + (uint32_t)kind, kind, &want);
            check_layer(&want);
            n_overflows[kind & 1] += want.stats.n_overflows;
            array_layer_close(&want);
        }
    }
    cr_assert(n_overflows[0] > 1000 && n_overflows[1] > 1000, "only %lld and %lld overflows: the layers are too tame",
              (long long)n_overflows[0], (long long)n_overflows[1]);
}

static void check_extremes(int low, int high, int bound, int kind)
{
    const dt_overflow overflow = kind & 1 ? DT_OVERFLOW_SATURATE : DT_OVERFLOW_WRAP;
    const dt_array array = { 3, 2, 17, overflow, kind & 2 ? DT_DATAFLOW_OS : DT_DATAFLOW_WS, 1 };
    dt_psum_shape s = array_layer_shape(3, 3, 7, 3, (int[2]){ 3, 3 }, 1, 1);
    array_layer want, found;
    dt_array_count count;

    s.x_low = low;
    s.x_high = high;
    s.w_bound = bound;
    array_layer_open(&want, &array, &s);
    for (int64_t i = 0; i < want.n_x; i++) want.x[i] = (float)(i % 5 ? high : low);
    for (int64_t i = 0; i < want.n_w; i++) want.w[i] = (float)(i % 3 ? -bound : bound - (bound == 128));
    oracle_run(&want);
    array_layer_copy(&found, &want);
    array_layer_run(&found, &count);
    expect_same("extremes", &found, &want);
    expect_psum_c("extremes", &want);
    array_layer_close(&found);
    array_layer_close(&want);
}

/* Signed pixels, 8-bit codes, ternary weights. */
Test(array, the_ends_of_other_code_ranges)
{
    static const int range[][3] = { { -128, 127, 128 }, { 0, 255, 128 }, { -4, 4, 1 }, { 0, 1, 1 } };
    for (int i = 0; i < 16; i++) check_extremes(range[i / 4][0], range[i / 4][1], range[i / 4][2], i % 4);
}

static int64_t sum_of(const int32_t *value, int64_t n)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) sum += value[i];
    return sum;
}

Test(array, worked_example_of_8_channels)
{
    static const int32_t tap0[] = { -66, 18, -3, 81, -15, -66, 18, -3 },
                         tap4[] = { 33, -18, 186, -15, -171, 33, -18, 186 };
    static const int32_t corner[] = { -18, 318, -96, -60, -114, -18, 318, -96 };
    static const int32_t inner[] = { -147, 270, -3, 84, -204, -147, 270, -3 };
    for (int os = 0; os < 2; os++) {
        array_layer run;
        dt_array_count count;
        array_layer_example(&run, 8, 16, 4, os ? DT_DATAFLOW_OS : DT_DATAFLOW_WS);
        array_layer_run(&run, &count);
        expect_integers("corner", "example", run.psum, corner, 8);
        expect_integers("t = 5", "example", run.psum + 5 * 8, inner, 8);
        if (!os) {
            expect_integers("tap 0, t = 5", "example", run.tap + 5 * 8, tap0, 8);
            expect_integers("tap 4, t = 5", "example", run.tap + (4 * 16 + 5) * 8, tap4, 8);
        }
        cr_assert(sum_of(run.psum, 128) == 1915 && sum_of(run.relu, 128) == 10847);
        cr_assert(run.stats.n_overflows == 0);
        /* 9 taps of 8 + 36 + 16 + 2; 2 position tiles of 8 * 9 + 24 + 2 */
        cr_assert(count.cycles == (os ? 2 * 98 : 9 * 62), "%lld cycles", (long long)count.cycles);
        array_layer_close(&run);
    }
}

/* What an array of 8x8 takes for 20 groups of a 3x3 layer on a 4x4 map, pad 1, counted by hand: a pass of 62 cycles for
 * each tap and each set of groups that stand side by side; output stationary 2 tiles of positions a group. */
Test(array, small_groups_stand_side_by_side)
{
    static const struct {
        const char *why;
        int channels, filters, simd; /* of a group */
        int sets, os_steps;
    } rows[] = {
        { "depthwise: 8, 8 and 4", 1, 1, 1, 3, 9 },
        { "depthwise, two a PE: a group has a row of its own all the same", 1, 1, 2, 3, 9 },
        { "two filters a channel: 4 groups fill the columns", 1, 2, 1, 5, 9 },
        { "3 channels: 2 groups fill the rows", 3, 1, 1, 10, 27 },
        { "3 channels, two a PE: 2 rows a group", 3, 1, 2, 5, 18 },
        { "9 channels: two tiles of rows, one group at once", 9, 1, 1, 40, 81 },
        { "9 filters: two tiles of columns, one group at once", 1, 9, 1, 40, 9 },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int os = 0; os < 2; os++) {
            const dt_array array = { 8, 8, 32, DT_OVERFLOW_WRAP, os ? DT_DATAFLOW_OS : DT_DATAFLOW_WS, rows[i].simd };
            dt_psum_shape s =
                array_layer_shape(4, 4, 20 * rows[i].channels, 20 * rows[i].filters, (int[2]){ 3, 3 }, 1, 1);
            array_layer run;
            dt_array_count count;
            s.conv.groups = 20;
            if (rows[i].simd == 2) s.x_high = 3;
            array_layer_open(&run, &array, &s);
            array_layer_run(&run, &count);
            const int64_t column_tiles = array_layer_tiles(rows[i].filters, 8);
            const int64_t ws_cycles = rows[i].sets * 9 * (8 * rows[i].simd + 36 + 16 + 2);
            const int64_t os_cycles = 20 * column_tiles * 2 * (rows[i].os_steps + 24 + 2);
            cr_assert(count.cycles == (os ? os_cycles : ws_cycles), "%s: %lld cycles", rows[i].why,
                      (long long)count.cycles);
            array_layer_close(&run);
        }
    }
}

Test(array, worked_example_of_16_channels_of_2_bits)
{
    static const int32_t inner[] = { -69, 54, -18, 15, 18, -69, 54, -18, 15, 18, -69, 54, -18, 15, 18, -69 };
    for (int os = 0; os < 2; os++) {
        array_layer run;
        dt_array_count count;
        int32_t min = 0, max = 0;
        array_layer_example(&run, 16, 4, 2, os ? DT_DATAFLOW_OS : DT_DATAFLOW_WS);
        run.array.simd = 0; /* 2, as the codes are 0..3 */
        array_layer_run(&run, &count);
        expect_integers("t = 5", "example", run.psum + 5 * 16, inner, 16);
        for (int i = 0; i < 256; i++) {
            min = run.psum[i] < min ? run.psum[i] : min;
            max = run.psum[i] > max ? run.psum[i] : max;
        }
        cr_assert(min == -99 && max == 118 && sum_of(run.psum, 256) == -705, "%d..%d", min, max);
        /* 2 tiles of filters, 9 taps of 16 + 36 + 16 + 2; 2 x 2 tiles of outputs, 8 * 9 + 24 + 2 */
        cr_assert(count.cycles == (os ? 4 * 98 : 18 * 70), "%lld cycles", (long long)count.cycles);
        array_layer_close(&run);
    }
}

/* 7 of 8 rows have no channel; the 127 that they pass on is no sum of theirs. */
Test(array, rows_without_a_channel_leave_statistics_alone)
{
    array_layer run;
    dt_array_count count;
    array_layer_example(&run, 8, 256, 4, DT_DATAFLOW_WS);
    run.array.overflow = DT_OVERFLOW_SATURATE;
    run.array.psum_bits = 8;
    run.shape = array_layer_shape(1, 1, 1, 1, (int[2]){ 1, 1 }, 1, 0);
    run.shape.x_high = 255;
    run.x[0] = 200.0f;
    run.w[0] = 7.0f;
    array_layer_run(&run, &count);
    cr_assert(run.psum[0] == 127 && run.stats.n_overflows == 1, "%d", run.psum[0]);
    cr_assert(run.stats.min == 1400 && run.stats.max == 1400, "%d..%d", run.stats.min, run.stats.max);
    array_layer_close(&run);
}

Test(array, what_it_cannot_run_is_refused)
{
    array_layer run;
    dt_array_count count;
    array_layer_example(&run, 8, 16, 4, DT_DATAFLOW_WS);
    const dt_array_results to = { .psum = run.psum, .stats = &run.stats, .count = &count };
    run.x[37] = 16.0f;
    cr_assert(dt_array_run(&run.array, &run.shape, run.x, run.w, &to) == DT_ERR_NUMERIC);
    cr_assert(strstr(dt_last_error(), "x[37] is 16, the layer's codes are integers of 0..15"), "%s", dt_last_error());
    run.x[37] = 1.0f;
    run.w[5] = 0.5f;
    cr_assert(dt_array_run(&run.array, &run.shape, run.x, run.w, &to) == DT_ERR_NUMERIC);
    cr_assert(strstr(dt_last_error(), "w[5] is 0.5"), "%s", dt_last_error());
    run.w[5] = 0.0f;
    run.array.simd = 2;
    cr_assert(dt_array_run(&run.array, &run.shape, run.x, run.w, &to) != DT_OK);
    cr_assert(run.stats.n_psums == 0, "a refused run adds to stats");
    array_layer_close(&run);
}
