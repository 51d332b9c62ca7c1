/*
 * test_verify.c - model, array, program and 64-bit sums agree on a trained model, on every backend; what disagrees is
 * counted and located; a network on a narrow array loses what it must lose.
 */
#include "../../core/names.h"
#include "../../accel/array/tiling.h"
#include "../support/oracle_run.h"
#include "../support/tiny_run.h"

static const char *const backends[] = { "cpu", "cuda" };

/* 70 images: more than two batches of the verification, and not a multiple of it. */
static int open_trained(tiny_run *run, const char *backend, int abits)
{
    tiny_options o = tiny_defaults();
    o.context.backend = backend;
    o.images = 70;
    o.model.abits = abits;
    if (!tiny_open(run, &o)) return 0;
    tiny_steps(run, 2);
    return 1;
}

static const struct {
    const char *why;
    dt_array array;
    int abits;
} arrays[] = {
    { "the course's array", { .rows = 8, .cols = 8, .psum_bits = 16 }, 4 },
    { "two 2-bit activations a row", { .rows = 8, .cols = 8, .psum_bits = 16 }, 2 },
    { "ragged tiles, sums that wrap", { .rows = 3, .cols = 5, .psum_bits = 8 }, 4 },
    { "sums that are clipped", { .rows = 3, .cols = 5, .psum_bits = 8, .overflow = DT_OVERFLOW_SATURATE }, 4 },
    { "output stationary", { .rows = 7, .cols = 3, .psum_bits = 10, .dataflow = DT_DATAFLOW_OS }, 4 },
    { "output stationary, clipped, simd",
      { .rows = 8, .cols = 8, .psum_bits = 8, .overflow = DT_OVERFLOW_SATURATE, .dataflow = DT_DATAFLOW_OS },
      2 },
};

/* The shim needs 50 ms an image: there the first array alone sees more than a batch. */
static void verify_all(const char *backend, size_t i)
{
    const int64_t n = i > 0 && strcmp(backend, "cuda") == 0 ? 7 : 66;
    tiny_run run;
    dt_verify_report *r;

    if (!open_trained(&run, backend, arrays[i].abits)) return;
    MUST(dt_verify(run.model, run.data, 1, n, NULL, &arrays[i].array, NULL, &r));
    cr_assert(r->n_layers == 3 && r->mismatches == 0,
              "%s, %s: %d layers, %lld mismatches, first %s of %s: %lld not %lld", backend, arrays[i].why, r->n_layers,
              (long long)r->mismatches, r->first.what, r->first.layer, (long long)r->first.found,
              (long long)r->first.expected);
    int64_t checked = n * 10; /* scores */
    for (int l = 0; l < r->n_layers; l++) checked += r->layer[l].n_checked;
    cr_assert(r->n_checked == checked, "%lld, expected %lld", (long long)r->n_checked, (long long)checked);
    for (int l = 0; l < r->n_layers; l++) {
        const dt_verify_layer *v = &r->layer[l];
        const int os = arrays[i].array.dataflow == DT_DATAFLOW_OS;
        cr_assert(v->array.images == n && v->array.n_psums > 0, "%s", arrays[i].why);
        cr_assert((v->array.n_tap_psums > 0) == !os, "%s", arrays[i].why);
        /* grid, engine and operator's psums, every tap psum, and the program's codes */
        cr_assert(v->n_checked > 3 * v->array.n_psums + v->array.n_tap_psums, "%s", arrays[i].why);
        cr_assert(v->mae_float < 1e-4 && v->mae_next < 1e-4, "%s: %g, %g", arrays[i].why, v->mae_float, v->mae_next);
        cr_assert(v->array.bits == dt_psum_bits(v->array.min, v->array.max), "%s", arrays[i].why);
        cr_assert((v->array.bits > arrays[i].array.psum_bits) == (v->array.n_overflows > 0), "%s", arrays[i].why);
    }
    dt_verify_report_destroy(r);
    tiny_close(&run);
}

Test(verify, everything_agrees)
{
    for (size_t b = 0; b < 2; b++) {
        for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) verify_all(backends[b], i);
    }
}

Test(verify, one_layer_alone)
{
    tiny_run run;
    dt_verify_report *r;
    dt_array array;

    dt_array_default(&array);
    cr_assert(open_trained(&run, "cpu", 4));
    MUST(dt_verify(run.model, run.data, 0, 3, "features.4", &array, NULL, &r));
    cr_assert(r->n_layers == 1 && strcmp(r->layer[0].array.name, "features.4") == 0);
    cr_assert(r->layer[0].array.n_psums == 3 * 16 * 16 * 8);
    dt_verify_report_destroy(r);
    tiny_close(&run);
}

Test(verify, misuse_is_refused)
{
    tiny_run run;
    dt_verify_report *r = NULL;
    dt_array array;

    dt_array_default(&array);
    cr_assert(open_trained(&run, "cpu", 4));
    cr_assert(dt_verify(run.model, run.data, 0, 3, "features.5", &array, NULL, &r) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "'features.5'") != NULL, "%s", dt_last_error());
    cr_assert(dt_verify(run.model, run.data, 60, 30, NULL, &array, NULL, &r) == DT_ERR_RANGE);
    array.rows = 0;
    cr_assert(dt_verify(run.model, run.data, 0, 3, NULL, &array, NULL, &r) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "rows") != NULL, "%s", dt_last_error());
    cr_assert(r == NULL);
    tiny_close(&run);
}

/* ---- what differs is found ---- */

/* The CPU's kernels, but for one whose forward adds to one value of the second image of one layer: more than a code
 * has, so that no max-pool hides it. */
static dt_kernel broken_kernel;
static const dt_kernel *broken_table[DT_OP_COUNT];
static dt_op_kind broken_op;
static const char *broken_layer;
enum { WRONG_ROW = 3, WRONG_COL = 5, WRONG_CHANNEL = 2, WRONG_BY = 20 };

static dt_status broken_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t *dim = node->out->shape.dim;
    float *y = node->out->data;

    const dt_status status = dt_backend_cpu.kernels()[broken_op]->forward(node, ex);
    const int is_layer = strlen(broken_layer) == (size_t)dt_layer_name_bytes(node->name) &&
                         strncmp(node->name, broken_layer, strlen(broken_layer)) == 0;
    if (is_layer && node->out->shape.ndim == 4) {
        y[((dim[1] + WRONG_ROW) * dim[2] + WRONG_COL) * dim[3] + WRONG_CHANNEL] += (float)WRONG_BY;
    }
    return status;
}

static const dt_kernel *const *broken_kernels(void)
{
    return broken_table;
}

/* What verification says of images 10 to 12 where that kernel is broken in that layer. */
static dt_verify_report *broken_report(dt_op_kind op, const char *layer)
{
    dt_backend broken = dt_backend_cpu;
    dt_verify_report *r;
    dt_array array;
    tiny_run run;

    dt_array_default(&array);
    cr_assert(open_trained(&run, "cpu", 4));
    broken_op = op;
    broken_layer = layer;
    memcpy(broken_table, dt_backend_cpu.kernels(), sizeof broken_table);
    broken_kernel = *broken_table[op];
    broken_kernel.forward = broken_forward;
    broken_table[op] = &broken_kernel;
    broken.kernels = broken_kernels;
    run.ctx->backend = &broken;
    MUST(dt_verify(run.model, run.data, 10, 3, NULL, &array, NULL, &r));
    run.ctx->backend = &dt_backend_cpu;
    tiny_close(&run);
    return r;
}

static const struct {
    const char *why;
    dt_op_kind op;
    const char *what;
    int row, col;
} breaks[] = {
    { "the model's convolution", DT_OP_CONV2D, "grid psum", WRONG_ROW, WRONG_COL },
    { "the device's array", DT_OP_PSUM, "array psum", WRONG_ROW, WRONG_COL },
    { "the program's thresholds, before a max-pool of 2x2", DT_OP_THRESHOLD, "program code", WRONG_ROW / 2,
      WRONG_COL / 2 },
};

Test(verify, what_differs_is_located)
{
    for (size_t i = 0; i < sizeof breaks / sizeof breaks[0]; i++) {
        dt_verify_report *r = broken_report(breaks[i].op, "features.4");
        cr_assert(r->mismatches > 0, "%s", breaks[i].why);
        cr_assert(strcmp(r->first.what, breaks[i].what) == 0 && strcmp(r->first.layer, "features.4") == 0,
                  "%s: %s of %s", breaks[i].why, r->first.what, r->first.layer);
        cr_assert(r->first.image == 11 && r->first.row == breaks[i].row && r->first.col == breaks[i].col &&
                      r->first.channel == WRONG_CHANNEL,
                  "%s: image %lld, row %d, col %d, channel %d", breaks[i].why, (long long)r->first.image, r->first.row,
                  r->first.col, r->first.channel);
        cr_assert(r->first.found > r->first.expected, "%s", breaks[i].why);
        cr_assert(r->layer[1].mismatches > 0 && r->layer[0].mismatches == 0, "%s", breaks[i].why);
        dt_verify_report_destroy(r);
    }
}

/* features.9 is the head's line, which the program alone has as AFFINE: no code depends on it, the scores do. */
Test(verify, a_score_that_differs_is_located)
{
    dt_verify_report *r = broken_report(DT_OP_AFFINE, "features.9");

    cr_assert(r->mismatches > 0 && strcmp(r->first.what, "program score, f32 bits") == 0, "%lld, %s",
              (long long)r->mismatches, r->first.what);
    cr_assert(strcmp(r->first.layer, "classifier") == 0, "in %s", r->first.layer);
    cr_assert(r->first.image == 11 && r->first.channel == 0 && r->first.found != r->first.expected);
    for (int i = 0; i < r->n_layers; i++) cr_assert(r->layer[i].mismatches == 0, "layer %d", i);
    dt_verify_report_destroy(r);
}
/* ---- the oracle itself ---- */

/* 2x2 positions, 3 channels in two tiles of 2, 2 filters, 1x1: small enough to see. x = 1..12, w[k][c] = 1 + c + k. */
enum { POSITIONS = 4, CHANNELS = 3, FILTERS = 2, TILES = 2 };
typedef struct {
    dt_array array;
    dt_psum_shape shape;
    float x[POSITIONS * CHANNELS], w[FILTERS * CHANNELS], grid[POSITIONS * FILTERS];
    int32_t psum[POSITIONS * FILTERS], taps[TILES * POSITIONS * FILTERS];
    int32_t expected[POSITIONS * FILTERS];
    int64_t exact[POSITIONS * FILTERS];
} small_case;

static void small_fill(small_case *s)
{
    *s = (small_case){ .array = { .rows = 2, .cols = 2, .psum_bits = 16, .simd = 1 },
                       .shape = { .height = 2,
                                  .width = 2,
                                  .channels = CHANNELS,
                                  .filters = FILTERS,
                                  .window_height = 1,
                                  .window_width = 1,
                                  .conv = DT_CONV_SQUARE(1, 0),
                                  .out_height = 2,
                                  .out_width = 2 } };
    for (int i = 0; i < POSITIONS * CHANNELS; i++) s->x[i] = (float)(i + 1);
    for (int c = 0; c < CHANNELS; c++) {
        for (int k = 0; k < FILTERS; k++) s->w[k * CHANNELS + c] = (float)(1 + c + k);
    }
    for (int p = 0; p < POSITIONS; p++) {
        for (int k = 0; k < FILTERS; k++) {
            const int a = 3 * p + 1, low = a * (1 + k) + (a + 1) * (2 + k), high = (a + 2) * (3 + k);
            s->taps[p * FILTERS + k] = low;
            s->taps[(POSITIONS + p) * FILTERS + k] = high;
            s->psum[p * FILTERS + k] = low + high;
            s->grid[p * FILTERS + k] = (float)(low + high);
        }
    }
}

static dt_oracle_result small_check(small_case *s)
{
    return oracle_run_judge(
        &(oracle_run){ &s->array, &s->shape, s->x, s->w, s->grid, s->psum, s->taps, s->expected, s->exact });
}

Test(oracle, locates_what_is_wrong)
{
    small_case s;

    small_fill(&s);
    dt_oracle_result r = small_check(&s);
    cr_assert(r.n_wrong == 0 && r.n_checked == TILES * POSITIONS * FILTERS + 2 * POSITIONS * FILTERS, "%lld of %lld",
              (long long)r.n_wrong, (long long)r.n_checked);
    cr_assert(s.exact[7] == 10 * 2 + 11 * 3 + 12 * 4 && s.expected[7] == s.exact[7]);

    s.taps[(POSITIONS + 2) * FILTERS + 1] ^= 1;
    r = small_check(&s);
    cr_assert(r.n_wrong == 1 && strcmp(r.first.what, "array tap") == 0);
    cr_assert(r.first.row == 1 && r.first.col == 0 && r.first.channel == 1 && r.first.tile == 1 && r.first.tap == 0);
    cr_assert((r.first.expected ^ r.first.found) == 1);

    small_fill(&s);
    s.grid[3] += 1.0f;
    s.psum[6] -= 1;
    r = small_check(&s);
    cr_assert(r.n_wrong == 2 && strcmp(r.first.what, "grid psum") == 0);
    cr_assert(r.first.row == 0 && r.first.col == 1 && r.first.channel == 1 && r.first.tile == -1);
}

/* Clipped to 8 bits, -100 + 200 - 100 is not what it is in another order: rows first, then tiles. */
Test(oracle, clips_in_the_order_of_the_array)
{
    small_case s;

    small_fill(&s);
    s.array.psum_bits = 8;
    s.array.overflow = DT_OVERFLOW_SATURATE;
    for (int i = 0; i < CHANNELS * FILTERS; i++) s.w[i] = 1.0f;
    s.x[0] = 100.0f, s.x[1] = 100.0f, s.x[2] = -100.0f;
    small_check(&s);
    cr_assert(s.expected[0] == 27 && s.exact[0] == 100, "%d", s.expected[0]); /* 127 - 100 */
    s.x[0] = 100.0f, s.x[1] = -100.0f, s.x[2] = 100.0f;
    small_check(&s);
    cr_assert(s.expected[0] == 100, "%d", s.expected[0]);
    s.array.overflow = DT_OVERFLOW_WRAP;
    s.x[1] = 100.0f;
    small_check(&s);
    cr_assert(s.expected[0] == 44 && s.exact[0] == 300, "%d", s.expected[0]); /* 300 - 256 */
}

/* ---- a network on an array ---- */

Test(verify, a_wide_array_changes_no_prediction_and_a_narrow_one_says_what_overflowed)
{
    for (size_t b = 0; b < 2; b++) {
        dt_array array = { .rows = 8, .cols = 8, .psum_bits = 24 };
        dt_array_report layers[3];
        dt_metrics exact, wide, narrow;
        int32_t predictions[3][70];
        tiny_run run;
        dt_program *p;
        dt_model *m;

        if (!open_trained(&run, backends[b], 4)) continue;
        MUST(dt_program_lower(run.model, run.data, &p));
        MUST(dt_evaluate(run.model, run.data, 32, 0.0f, NULL, &(dt_outputs){ .predictions = predictions[0] }, &exact));
        MUST(dt_program_model(run.ctx, p, &array, &m));
        MUST(dt_array_evaluate(m, run.data, 32, 0.0f, NULL, &(dt_outputs){ .predictions = predictions[1] }, &wide,
                               layers));
        cr_assert(memcmp(predictions[0], predictions[1], sizeof predictions[0]) == 0, "%s", backends[b]);
        cr_assert(exact.loss == wide.loss, "%s: equal scores give equal losses", backends[b]);
        for (int i = 0; i < 3; i++)
            cr_assert(layers[i].n_overflows == 0 && layers[i].images == 70 && layers[i].cycles > 0);
        dt_model_destroy(m);

        array.psum_bits = 8;
        MUST(dt_program_model(run.ctx, p, &array, &m));
        MUST(dt_array_evaluate(m, run.data, 32, 0.0f, NULL, &(dt_outputs){ .predictions = predictions[2] }, &narrow,
                               layers));
        cr_assert(layers[0].n_overflows > 0 && layers[0].bits > 8, "%s", backends[b]);
        cr_assert(memcmp(predictions[0], predictions[2], sizeof predictions[0]) != 0, "%s", backends[b]);
        dt_model_destroy(m);
        dt_program_destroy(p);
        tiny_close(&run);
    }
}

/* 70 images in batches of 32, of which the last is smaller, and all at once. */
static void statistics_are_of_each_image_once(const char *backend, dt_overflow overflow)
{
    const dt_array array = { .rows = 8, .cols = 8, .psum_bits = 8, .overflow = overflow };
    dt_array_report layers[2][3];
    dt_metrics metrics;
    tiny_run run;
    dt_program *p;
    dt_model *m;

    if (!open_trained(&run, backend, 4)) return;
    MUST(dt_program_lower(run.model, run.data, &p));
    MUST(dt_program_model(run.ctx, p, &array, &m));
    for (int i = 0; i < 2; i++)
        MUST(dt_array_evaluate(m, run.data, i == 0 ? 32 : 70, 0.0f, NULL, NULL, &metrics, layers[i]));
    cr_assert(layers[0][0].n_overflows > 0);
    for (int k = 0; k < 3; k++) {
        const dt_array_report *in_batches = &layers[0][k], *at_once = &layers[1][k];
        cr_assert(in_batches->images == 70 && in_batches->n_psums == at_once->n_psums &&
                      in_batches->n_tap_psums == at_once->n_tap_psums && in_batches->min == at_once->min &&
                      in_batches->max == at_once->max && in_batches->n_overflows == at_once->n_overflows &&
                      in_batches->zero_share == at_once->zero_share,
                  "%s, %s, %s: %lld psums with %lld overflows, expected %lld with %lld", backend,
                  dt_overflow_names[overflow], at_once->name, (long long)in_batches->n_psums,
                  (long long)in_batches->n_overflows, (long long)at_once->n_psums, (long long)at_once->n_overflows);
    }
    dt_model_destroy(m);
    dt_program_destroy(p);
    tiny_close(&run);
}

Test(verify, statistics_of_a_smaller_last_batch)
{
    for (size_t b = 0; b < 2; b++) {
        statistics_are_of_each_image_once(backends[b], DT_OVERFLOW_WRAP);
        statistics_are_of_each_image_once(backends[b], DT_OVERFLOW_SATURATE);
    }
}

Test(verify, a_model_without_an_array_has_no_report)
{
    tiny_run run;
    dt_array_report layers[3];
    dt_metrics m;

    cr_assert(open_trained(&run, "cpu", 4));
    cr_assert(dt_array_evaluate(run.model, run.data, 32, 0.0f, NULL, NULL, &m, layers) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "features.0 does not run on an array") != NULL, "%s", dt_last_error());
    tiny_close(&run);
}
