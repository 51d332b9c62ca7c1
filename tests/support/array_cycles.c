/*
 * array_cycles.c - see array_cycles.h: what each clock fetches into the FIFOs of the array, and the special function
 * unit that takes psums out of them into the psum memory. The registers between are array_machine.c's.
 *
 * Tests: tests/accel/test_array.c.
 */
#include "array_cycles.h"

#include <stdlib.h>
#include <string.h>

#include "array_machine.h"

/* One tile of weights (weight stationary) or of outputs (output stationary) in the array. */
typedef struct {
    int in_tile, tap;            /* weight stationary */
    int first_group, n_groups;   /* whole ones, where there are several */
    int first_filter, n_filters; /* column 0's, and columns in use */
    int64_t first_position;      /* row 0's, output stationary */
    int adds;                    /* to what earlier passes left in the psum memory */
    int completes;               /* the psums of its outputs */
    int64_t n_vectors, n_popped; /* of psums that pass through the column FIFOs */
} array_pass;

/* The registers between the special function unit's two clocks. */
typedef struct {
    int full;
    int64_t position;        /* output p * Q + q; -1: no output takes this vector */
    dt_partial *psum, *word; /* [cols] from the column FIFOs, from the psum memory */
} function_unit;

typedef struct {
    dt_array array; /* simd is 1 or 2 */
    dt_psum_shape shape;
    int taps;
    int channels, filters; /* of a group */
    int group_rows;        /* from a group of a pass to the next; all rows where it has but one */
    int64_t positions;     /* P * Q */
    const float *x, *w;
    int32_t *psum, *relu, *tap_psum;
    dt_psum_stats stats;
    dt_array_count count;

    dt_machine *machine;
    dt_operand *west, *north; /* [rows], [cols]: what this clock fetches */
    function_unit unit;
    dt_partial *memory; /* psum memory [P * Q][cols]: outputs of cols filters */
    array_pass pass;
} array_run;

static void fetch_nothing(array_run *run)
{
    memset(run->west, 0, (size_t)run->array.rows * sizeof *run->west);
    memset(run->north, 0, (size_t)run->array.cols * sizeof *run->north);
}

/* Channels of one group, from `first` of its own on. */
typedef struct {
    int group, first;
} channel_place;

/* What row r of the array takes in a weight stationary pass. */
static channel_place place_of_row(const array_run *run, int r)
{
    const int below = run->pass.in_tile * run->array.rows + r % run->group_rows;
    return (channel_place){ run->pass.first_group + r / run->group_rows, below * run->array.simd };
}

static int is_in_pass(const array_run *run, int group)
{
    return group < run->pass.first_group + run->pass.n_groups;
}

/* Codes of the first simd channels of a place at row h, column w of x; zeros outside of it. */
static void fetch_activation(const array_run *run, int h, int w, channel_place at, dt_operand *to)
{
    const dt_psum_shape *s = &run->shape;

    if (h < 0 || h >= s->height || w < 0 || w >= s->width || !is_in_pass(run, at.group)) return;
    const float *x = run->x + ((int64_t)h * s->width + w) * s->channels + at.group * run->channels;
    for (int lane = 0; lane < run->array.simd && at.first + lane < run->channels; lane++) {
        to->code[lane] = (int)x[at.first + lane];
        to->real |= 1u << lane;
    }
}

/* The first channel's weight of column col into a lane; 0 where that column has no filter of the group. */
static void fetch_weight(const array_run *run, int col, int tap, channel_place at, int lane, dt_operand *to)
{
    const int filter = run->pass.first_filter + col;

    if (col >= run->pass.n_filters || filter / run->filters != at.group || at.first >= run->channels) return;
    to->code[lane] = (int)run->w[((int64_t)filter * run->taps + tap) * run->channels + at.first];
    to->real |= 1u << lane;
}

/* Lines for column 0 first; with simd 2 each column's odd channels before its even ones. Row r takes lane 0. */
static void fetch_weight_line(array_run *run, int64_t line)
{
    const int simd = run->array.simd, lane = simd - 1 - (int)line % simd;

    for (int r = 0; r < run->array.rows; r++) {
        channel_place at = place_of_row(run, r);
        at.first += lane;
        run->west[r].instruction = DT_PE_LOAD;
        fetch_weight(run, (int)line / simd, run->pass.tap, at, 0, &run->west[r]);
    }
}

static int padded_width(const dt_psum_shape *s)
{
    return (int)dt_conv_padded(&s->conv, 1, s->width);
}

/* Cell n of the padded image, row by row. */
static void fetch_cell(array_run *run, int64_t n)
{
    const dt_psum_shape *s = &run->shape;
    const int h = (int)(n / padded_width(s)) - s->conv.pad[0], w = (int)(n % padded_width(s)) - s->conv.pad[1];

    for (int r = 0; r < run->array.rows; r++) {
        run->west[r].instruction = DT_PE_MULTIPLY;
        fetch_activation(run, h, w, place_of_row(run, r), &run->west[r]);
    }
}

static void fetch_weight_stationary(array_run *run, int64_t clock)
{
    const int64_t load = (int64_t)run->array.simd * run->array.cols;

    if (clock < load) {
        fetch_weight_line(run, clock);
        run->count.weight_lines++;
    } else if (clock < load + run->pass.n_vectors) {
        fetch_cell(run, clock - load);
        run->count.activation_lines++;
    }
}

/* The output that takes cell n of the padded image under this pass's tap, -1 if none does. */
static int64_t output_of_cell(const array_run *run, int64_t n)
{
    const dt_psum_shape *s = &run->shape;
    const int *stride = s->conv.stride, *dilation = s->conv.dilation;
    const int h = (int)(n / padded_width(s)) - run->pass.tap / s->window_width * dilation[0];
    const int w = (int)(n % padded_width(s)) - run->pass.tap % s->window_width * dilation[1];

    if (h < 0 || w < 0 || h % stride[0] != 0 || w % stride[1] != 0) return -1;
    if (h / stride[0] >= s->out_height || w / stride[1] >= s->out_width) return -1;
    return (int64_t)(h / stride[0]) * s->out_width + w / stride[1];
}

/* Step n: one channel (pair) under one tap; rows take positions, columns filters. */
static void fetch_step(array_run *run, int64_t n)
{
    const dt_psum_shape *s = &run->shape;
    const dt_conv_params *c = &s->conv;
    const channel_place at = { run->pass.first_group, (int)(n / run->taps) * run->array.simd };
    const int tap = (int)(n % run->taps);

    for (int r = 0; r < run->array.rows; r++) {
        const int64_t position = run->pass.first_position + r;
        const int p = (int)(position / s->out_width), q = (int)(position % s->out_width);
        run->west[r].instruction = DT_PE_ADD;
        if (position >= run->positions) continue;
        fetch_activation(run, p * c->stride[0] + tap / s->window_width * c->dilation[0] - c->pad[0],
                         q * c->stride[1] + tap % s->window_width * c->dilation[1] - c->pad[1], at, &run->west[r]);
    }
    for (int col = 0; col < run->array.cols; col++) {
        for (int lane = 0; lane < run->array.simd; lane++) {
            const channel_place of_lane = { at.group, at.first + lane };
            fetch_weight(run, col, tap, of_lane, lane, &run->north[col]);
        }
    }
}

static int64_t count_steps(const array_run *run)
{
    return (int64_t)((run->channels + run->array.simd - 1) / run->array.simd) * run->taps;
}

static void fetch_output_stationary(array_run *run, int64_t clock)
{
    const int64_t steps = count_steps(run);

    if (clock < steps) {
        fetch_step(run, clock);
        run->count.activation_lines++;
        run->count.weight_lines++;
    } else if (clock < steps + run->array.rows) {
        for (int r = 0; r < run->array.rows; r++) run->west[r].instruction = DT_PE_FLUSH;
    }
}

/* The lowest row leaves first. */
static int64_t output_of_row(const array_run *run, int64_t n)
{
    const int64_t position = run->pass.first_position + run->array.rows - 1 - n;
    return position < run->positions ? position : -1;
}

static void unit_read(array_run *run)
{
    const int ws = run->array.dataflow == DT_DATAFLOW_WS;
    const int64_t n = run->pass.n_popped++, position = ws ? output_of_cell(run, n) : output_of_row(run, n);

    run->unit.full = 1;
    run->unit.position = position;
    if (position < 0 || !run->pass.adds) return;
    memcpy(run->unit.word, run->memory + position * run->array.cols, (size_t)run->array.cols * sizeof(dt_partial));
    run->count.psum_reads++;
}

/* word = fit(word + psum), or psum; what statistics look at is in psum.h. */
static void unit_add(array_run *run, dt_partial psum, dt_partial *word)
{
    const dt_array *a = &run->array;
    const int whole_sums = a->dataflow == DT_DATAFLOW_WS && a->overflow == DT_OVERFLOW_WRAP;

    if (whole_sums) dt_partial_look(a, &psum);
    *word = run->pass.adds ? dt_partial_add(a, *word, psum) : psum;
    if (whole_sums || run->pass.adds) dt_partial_look(a, word);
}

/* What test benches see of one filter: the psum of the tap, the word, and at the end the unit's output. */
static void deliver(array_run *run, int64_t position, int filter, int32_t tap_psum, const dt_partial *word)
{
    const int64_t output = position * run->shape.filters + filter, outputs = run->positions * run->shape.filters;

    if (run->array.dataflow == DT_DATAFLOW_WS) {
        const int64_t pass = (int64_t)run->pass.in_tile * run->taps + run->pass.tap;
        if (run->tap_psum) run->tap_psum[pass * outputs + output] = tap_psum;
        run->stats.n_tap_psums++;
    }
    if (!run->pass.completes) return;
    run->psum[output] = word->held;
    if (run->relu) run->relu[output] = word->held < 0 ? 0 : word->held;
    run->stats.n_psums++;
    run->stats.n_overflows += word->n_overflows;
    if (word->min < run->stats.min) run->stats.min = word->min;
    if (word->max > run->stats.max) run->stats.max = word->max;
}

static void unit_write(array_run *run)
{
    const function_unit *u = &run->unit;

    run->unit.full = 0;
    if (u->position < 0) return;
    dt_partial *word = run->memory + u->position * run->array.cols;
    for (int c = 0; c < run->array.cols; c++) {
        const int filter = run->pass.first_filter + c;
        unit_add(run, u->psum[c], &u->word[c]);
        word[c] = u->word[c];
        if (c < run->pass.n_filters) deliver(run, u->position, filter, u->psum[c].held, &word[c]);
    }
    run->count.psum_writes++;
}

static void array_clock(array_run *run)
{
    if (run->unit.full) unit_write(run);
    if (dt_machine_pop(run->machine, run->unit.psum)) unit_read(run);
    run->count.busy += dt_machine_clock(run->machine, run->west, run->north);
    run->count.cycles++;
}

static void run_pass(array_run *run, const array_pass *pass)
{
    run->pass = *pass;
    dt_machine_release_weights(run->machine);
    for (int64_t clock = 0; run->pass.n_popped < pass->n_vectors || run->unit.full; clock++) {
        fetch_nothing(run);
        if (run->array.dataflow == DT_DATAFLOW_WS)
            fetch_weight_stationary(run, clock);
        else
            fetch_output_stationary(run, clock);
        array_clock(run);
    }
}

/* All passes of the filters that pass names, under its groups. */
static void run_filters(array_run *run, array_pass *pass)
{
    const int tile_channels = run->array.rows * run->array.simd;
    const int in_tiles = (run->channels + tile_channels - 1) / tile_channels;

    for (int i = 0; i < in_tiles * run->taps; i++) {
        pass->in_tile = i / run->taps;
        pass->tap = i % run->taps;
        pass->adds = i > 0;
        pass->completes = i == in_tiles * run->taps - 1;
        run_pass(run, pass);
    }
}

static void run_positions(array_run *run, array_pass *pass)
{
    for (pass->first_position = 0; pass->first_position < run->positions; pass->first_position += run->array.rows) {
        run_pass(run, pass);
    }
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Groups at once: as many as fit side by side, rows below rows and columns beside columns. */
static int groups_at_once(const array_run *run)
{
    const int rows = (run->channels + run->array.simd - 1) / run->array.simd;
    const int fit = smaller(run->array.rows / rows, run->array.cols / run->filters);

    return run->array.dataflow == DT_DATAFLOW_WS && fit > 1 ? fit : 1;
}

static void run_groups(array_run *run)
{
    const dt_psum_shape *s = &run->shape;
    const int ws = run->array.dataflow == DT_DATAFLOW_WS, most = groups_at_once(run), groups = s->conv.groups;
    const int64_t cells = dt_conv_padded(&s->conv, 0, s->height) * padded_width(s);
    array_pass pass = { .n_vectors = ws ? cells : run->array.rows, .completes = 1 };

    run->group_rows = most > 1 ? (run->channels + run->array.simd - 1) / run->array.simd : run->array.rows;
    for (pass.first_group = 0; pass.first_group < groups; pass.first_group += pass.n_groups) {
        pass.n_groups = smaller(most, groups - pass.first_group);
        const int end = (pass.first_group + pass.n_groups) * run->filters;
        for (pass.first_filter = pass.first_group * run->filters; pass.first_filter < end;
             pass.first_filter += pass.n_filters) {
            pass.n_filters = smaller(run->array.cols, end - pass.first_filter);
            if (ws)
                run_filters(run, &pass);
            else
                run_positions(run, &pass);
        }
    }
}

static dt_status check_codes(const char *name, const float *code, int64_t n, int low, int high)
{
    for (int64_t i = 0; i < n; i++) {
        DT_CHECK(code[i] >= (float)low && code[i] <= (float)high && code[i] == (float)(int)code[i], DT_ERR_NUMERIC,
                 "array: %s[%lld] is %g, the layer's codes are integers of %d..%d", name, (long long)i, (double)code[i],
                 low, high);
    }
    return DT_OK;
}

static dt_status run_allocate(array_run *run)
{
    const size_t rows = (size_t)run->array.rows, cols = (size_t)run->array.cols;

    DT_TRY(dt_machine_create(&run->array, &run->machine));
    run->west = calloc(rows, sizeof *run->west);
    run->north = calloc(cols, sizeof *run->north);
    run->unit.psum = calloc(cols, sizeof(dt_partial));
    run->unit.word = calloc(cols, sizeof(dt_partial));
    run->memory = calloc((size_t)run->positions * cols, sizeof *run->memory);
    DT_CHECK(run->west && run->north && run->unit.psum && run->unit.word && run->memory, DT_ERR_MEMORY,
             "no memory for %lld psums of an array of %dx%d", (long long)run->positions, run->array.rows,
             run->array.cols);
    return DT_OK;
}

static void run_release(array_run *run)
{
    dt_machine_destroy(run->machine);
    free(run->west);
    free(run->north);
    free(run->unit.psum);
    free(run->unit.word);
    free(run->memory);
}

static void count_codes(array_run *run)
{
    const dt_psum_shape *s = &run->shape;
    const int64_t n = (int64_t)s->height * s->width * s->channels;

    run->stats.n_codes = n;
    for (int64_t i = 0; i < n; i++) run->stats.n_zero_codes += run->x[i] == 0.0f;
}

dt_status dt_array_run(const dt_array *array, const dt_psum_shape *shape, const float *x, const float *w,
                       const dt_array_results *to)
{
    const int n_taps = shape->window_height * shape->window_width;
    dt_psum_layer of_array; /* only for its checks and simd */
    DT_TRY(dt_psum_layer_init(&of_array, "array", array, shape));
    DT_TRY(check_codes("x", x, (int64_t)shape->height * shape->width * shape->channels, shape->x_low, shape->x_high));
    DT_TRY(check_codes("w", w, (int64_t)shape->filters * n_taps * dt_psum_group_channels(shape), -shape->w_bound,
                       shape->w_bound < 128 ? shape->w_bound : 127));

    array_run run = { .array = of_array.array,
                      .shape = *shape,
                      .taps = n_taps,
                      .channels = dt_psum_group_channels(shape),
                      .filters = dt_psum_group_filters(shape),
                      .x = x,
                      .w = w,
                      .psum = to->psum,
                      .relu = to->relu,
                      .tap_psum = to->taps,
                      .positions = (int64_t)shape->out_height * shape->out_width };
    const dt_status status = run_allocate(&run);
    if (status == DT_OK) {
        dt_psum_stats_clear(&run.stats);
        count_codes(&run);
        run_groups(&run);
        dt_psum_stats_add(to->stats, &run.stats);
        *to->count = run.count;
    }
    run_release(&run);
    return status;
}
