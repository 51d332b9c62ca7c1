/*
 * test_debugger.c - the error of each layer of a quantized network against plain loops in double, in both modes; what
 * is refused. With DETENT_PTQ_ORACLE, the tables that TensorFlow's debugger made of a converted network.
 */
#include "../../quant/program/program.h"
#include "../support/debugged_model.h"
#include "../support/tflite_converted.h"

enum { SIDE = DEBUGGED_SIDE, CHANNELS = DEBUGGED_CHANNELS, FILTERS = DEBUGGED_FILTERS, CLASSES = DEBUGGED_CLASSES };
enum { IMAGES = DEBUGGED_IMAGES, MAP = SIDE * SIDE * FILTERS, LAYERS = 6 };

/* The layers in their order: image is the first value, and each layer makes the next one. */
static const struct {
    const char *codes, *op, *name;
    int count;
} values[LAYERS + 1] = { { "image.act_quant", NULL, NULL, DEBUGGED_IMAGE },
                         { "stem.relu.act_quant", "CONV_2D", "stem.relu", MAP },
                         { "branch.biased.act_quant", "CONV_2D", "branch.biased", MAP },
                         { "join.relu.act_quant", "ADD", "join.relu", MAP },
                         { "half", "MAX_POOL_2D", "half", MAP / 4 },
                         { "pool.act_quant", "MEAN", "pool", FILTERS },
                         { "classifier.act_quant", "FULLY_CONNECTED", "classifier.biased", CLASSES } };

/* Codes of all images as reals, and what the network of reals makes of one image. */
typedef struct {
    double codes[LAYERS + 1][IMAGES][MAP], scale[LAYERS + 1];
    double own[LAYERS + 1][MAP];
    float stem[FILTERS * 9 * CHANNELS], stem_bias[FILTERS], branch[FILTERS * FILTERS], branch_bias[FILTERS];
    float classifier[CLASSES * FILTERS], classifier_bias[CLASSES];
} oracle;

static dt_status keep(void *user, const dt_value_batch *v)
{
    oracle *o = user;

    for (int k = 0; k <= LAYERS; k++) {
        if (strcmp(v->name, values[k].codes) != 0) continue;
        o->scale[k] = (double)v->scale[0];
        for (int i = 0; i < IMAGES * values[k].count; i++) {
            o->codes[k][i / values[k].count][i % values[k].count] = (double)v->values[i] * (double)v->scale[0];
        }
    }
    return DT_OK;
}

static void read_param(dt_model *real, const char *name, float *to)
{
    const int i = dt_model_find(real, name);

    cr_assert(i >= 0, "no %s", name);
    MUST(dt_model_read(real, i, to));
}

static void fill(oracle *o, const dt_program *p, dt_model *real, const float *images)
{
    const dt_prediction how = { .normalised = images, .n = IMAGES, .batch = IMAGES, .look = keep, .user = o };
    dt_model *m;

    MUST(dt_program_model(real->ctx, p, NULL, &m));
    MUST(dt_predict(m, &how, NULL));
    dt_model_destroy(m);
    read_param(real, "stem.weight", o->stem);
    read_param(real, "stem.bias", o->stem_bias);
    read_param(real, "branch.weight", o->branch);
    read_param(real, "branch.bias", o->branch_bias);
    read_param(real, "classifier.weight", o->classifier);
    read_param(real, "classifier.bias", o->classifier_bias);
}

static double stem_at(const oracle *o, const double *x, int h, int w, int k)
{
    double sum = (double)o->stem_bias[k];

    for (int r = 0; r < 3; r++) {
        for (int s = 0; s < 3; s++) {
            const int y = h + r - 1, z = w + s - 1;
            for (int c = 0; c < CHANNELS && y >= 0 && y < SIDE && z >= 0 && z < SIDE; c++) {
                sum += x[(y * SIDE + z) * CHANNELS + c] * (double)o->stem[((k * 3 + r) * 3 + s) * CHANNELS + c];
            }
        }
    }
    return fmax(sum, 0.0);
}

/* What layer k of reals makes of the values x[..]. */
static void layer(const oracle *o, int k, double *const *x, double *y)
{
    for (int i = 0; i < values[k].count; i++) {
        const int f = i % FILTERS, at = i / FILTERS;
        y[i] = 0.0;
        if (k == 1) y[i] = stem_at(o, x[0], at / SIDE, at % SIDE, f);
        if (k == 2) {
            y[i] = (double)o->branch_bias[f];
            for (int c = 0; c < FILTERS; c++) y[i] += x[1][at * FILTERS + c] * (double)o->branch[f * FILTERS + c];
        }
        if (k == 3) y[i] = fmin(fmax(x[2][i] + x[1][i], 0.0), 6.0);
        if (k == 4) {
            const int h = at / 3 * 2, w = at % 3 * 2;
            y[i] = -INFINITY;
            for (int j = 0; j < 4; j++) y[i] = fmax(y[i], x[3][((h + j / 2) * SIDE + w + j % 2) * FILTERS + f]);
        }
        for (int j = 0; k == 5 && j < 9; j++) y[i] += x[4][j * FILTERS + i] / 9.0;
        if (k == 6) {
            y[i] = (double)o->classifier_bias[i];
            for (int c = 0; c < FILTERS; c++) y[i] += x[5][c] * (double)o->classifier[i * FILTERS + c];
        }
    }
}

/* Adds the errors of one image. */
static void add_errors(const oracle *o, int k, int image, dt_debug_row *to)
{
    double sum = 0.0, squares = 0.0, largest = 0.0;
    const int n = values[k].count;

    for (int i = 0; i < n; i++) {
        const double e = o->codes[k][image][i] - o->own[k][i];
        sum += e;
        squares += e * e;
        largest = fmax(largest, fabs(e));
    }
    to->mean_error += sum / n / IMAGES;
    to->mean_squared_error += squares / n / IMAGES;
    to->stddev += sqrt(fmax(squares / n - sum / n * (sum / n), 0.0)) / IMAGES;
    to->max_abs_error += largest / IMAGES;
}

static void expect_errors(oracle *o, dt_debug_mode mode, dt_debug_row *expected)
{
    for (int image = 0; image < IMAGES; image++) {
        double *x[LAYERS + 1] = { o->codes[0][image] };
        for (int k = 1; k <= LAYERS; k++) {
            layer(o, k, x, o->own[k]);
            x[k] = mode == DT_DEBUG_LAYER ? o->codes[k][image] : o->own[k];
            add_errors(o, k, image, &expected[k]);
        }
    }
}

/* The library's sums are f32, of values up to 6 with errors of about a scale. */
static void check_number(const char *row, const char *what, double is, double expected, double scale)
{
    cr_assert(fabs(is - expected) <= 1e-4 * fabs(expected) + 2e-5 * scale, "%s: %s is %.9g, by plain loops %.9g", row,
              what, is, expected);
}

static void check_rows(const dt_debug_report *r, const dt_debug_row *expected, const oracle *o)
{
    cr_assert(r->n == LAYERS && r->images == IMAGES, "%d layers, of %lld images", r->n, (long long)r->images);
    for (int k = 1; k <= LAYERS; k++) {
        const dt_debug_row *row = &r->row[k - 1], *e = &expected[k];
        cr_assert(strcmp(row->op, values[k].op) == 0 && strcmp(row->name, values[k].name) == 0, "layer %d is %s %s", k,
                  row->op, row->name);
        cr_assert(row->n_elements == values[k].count);
        cr_assert(o->scale[k] == (double)row->scale && fabs(row->range - 255 * o->scale[k]) < 1e-9);
        check_number(row->name, "mean_error", row->mean_error, e->mean_error, o->scale[k]);
        check_number(row->name, "stddev", row->stddev, e->stddev, o->scale[k]);
        check_number(row->name, "max_abs_error", row->max_abs_error, e->max_abs_error, o->scale[k]);
        check_number(row->name, "mean_squared_error", row->mean_squared_error, e->mean_squared_error,
                     o->scale[k] * o->scale[k]);
    }
}

static void check_mode(dt_debug_mode mode)
{
    dt_context *ctx = debugged_context();
    dt_model *q = debugged_model(ctx, 8), *real;
    dt_program *p;
    dt_debug_report *r;
    dt_debug_row expected[LAYERS + 1] = { { 0 } };
    float *images = drawn_images(IMAGES, DEBUGGED_IMAGE);
    const dt_prediction how = { .normalised = images, .n = IMAGES };
    oracle *o = calloc(1, sizeof *o);

    MUST(dt_program_lower_under(q, NULL, DT_PROFILE_FP32_RNE, &p));
    MUST(dt_quantized_real(q, &real));
    fill(o, p, real, images);
    expect_errors(o, mode, expected);
    MUST(dt_program_debug(p, real, mode, &how, &r));
    check_rows(r, expected, o);
    cr_assert(r->row[3].zero_point == -128 && r->row[5].zero_point > -128 && r->row[5].zero_point < 127);
    cr_assert(mode != DT_DEBUG_LAYER || r->row[3].max_abs_error == 0.0, "a max-pool has no twin in mode layer");
    cr_assert(mode != DT_DEBUG_WHOLE || r->row[3].max_abs_error > 0.0, "a max-pool has one in mode whole");
    dt_debug_report_destroy(r);
    dt_program_destroy(p);
    dt_model_destroy(real);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
    free(o);
    free(images);
}

Test(debugger, compares_each_layer_by_itself)
{
    check_mode(DT_DEBUG_LAYER);
}

Test(debugger, compares_with_the_whole_network_of_reals)
{
    check_mode(DT_DEBUG_WHOLE);
}

/* Fewer bits, and thresholds in the place of engines' multipliers. */
Test(debugger, takes_programs_of_other_bits_and_profiles)
{
    static const struct {
        int bits;
        dt_profile profile;
    } cases[] = { { 4, DT_PROFILE_LITERT_REF }, { 8, DT_PROFILE_EXACT }, { 3, DT_PROFILE_EXACT } };
    float *images = drawn_images(IMAGES, DEBUGGED_IMAGE);
    const dt_prediction how = { .normalised = images, .n = IMAGES };

    for (int i = 0; i < 3; i++) {
        dt_context *ctx = debugged_context();
        dt_model *q = debugged_model(ctx, cases[i].bits), *real;
        const int levels = (1 << cases[i].bits) - 1;
        dt_program *p;
        dt_debug_report *r;
        MUST(dt_program_lower_under(q, NULL, cases[i].profile, &p));
        MUST(dt_quantized_real(q, &real));
        MUST(dt_program_debug(p, real, DT_DEBUG_LAYER, &how, &r));
        cr_assert(r->n == LAYERS);
        for (int k = 0; k < r->n; k++) {
            const double steps = sqrt(r->row[k].mean_squared_error) / (double)r->row[k].scale;
            cr_assert(fabs(r->row[k].range - levels * (double)r->row[k].scale) < 1e-9, "%s", r->row[k].name);
            cr_assert(steps < 0.7, "%s: errors of %g steps are more than rounding", r->row[k].name, steps);
        }
        dt_debug_report_destroy(r);
        dt_program_destroy(p);
        dt_model_destroy(real);
        dt_model_destroy(q);
        dt_context_destroy(ctx);
    }
    free(images);
}

Test(debugger, refuses_networks_that_do_not_belong_together)
{
    static const char other[] = "{ \"format\": \"detent-network\", \"name\": \"other\", \"image\": [6, 6, 3], "
                                "\"classes\": 4, \"nodes\": [[\"flat\", \"flatten\", \"image\"],"
                                "[\"classifier\", \"linear\", \"flat\", { \"features\": 4 }] ] }";
    dt_context *ctx = debugged_context();
    dt_model *q = debugged_model(ctx, 8), *real;
    float *images = drawn_images(IMAGES, DEBUGGED_IMAGE);
    const dt_prediction how = { .normalised = images, .n = IMAGES };
    dt_debug_report *r = NULL;
    dt_program *p;

    MUST(dt_program_lower(q, NULL, &p));
    MUST(dt_model_open(ctx, graph_of(other), &real));
    cr_assert(dt_program_debug(p, real, DT_DEBUG_LAYER, &how, &r) == DT_ERR_ARGUMENT && r == NULL);
    cr_assert(strstr(dt_last_error(), "has the codes stem.relu.act_quant, and other no value of that name") != NULL,
              "%s", dt_last_error());
    dt_model_destroy(real);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
    free(images);
}

/* ---- beside TensorFlow's debugger ---- */

typedef struct {
    char op[64];
    double n_elements, stddev, mean, max, mse, scale;
    int zero;
} recorded_row;

static int read_recorded(const char *mode, recorded_row *row)
{
    char path[CONVERTED_PATH_BYTES], line[1024];
    const int has_own = strcmp(mode, "layer") == 0; /* a column of somebody's own metric */
    int n = 0;

    snprintf(path, sizeof path, "%s/debugger/smartwatch.debug_%s.csv", getenv("DETENT_PTQ_ORACLE"), mode);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL, "%s cannot be opened", path);
    cr_assert(fgets(line, sizeof line, file) != NULL);
    while (fgets(line, sizeof line, file)) {
        recorded_row *r = &row[n++];
        const int n_read = has_own ? sscanf(line, "%63[^,],%*d,%lf,%lf,%lf,%lf,%lf,%*f,%lf,%d", r->op, &r->n_elements,
                                            &r->stddev, &r->mean, &r->max, &r->mse, &r->scale, &r->zero)
                                   : sscanf(line, "%63[^,],%*d,%lf,%lf,%lf,%lf,%lf,%lf,%d", r->op, &r->n_elements,
                                            &r->stddev, &r->mean, &r->max, &r->mse, &r->scale, &r->zero);
        cr_assert(n_read == 8 && n < 32, "%s: %s", path, line);
    }
    fclose(file);
    return n;
}

/* The tolerances of the record's own table: 1e-3, after 1e-4 of a step. */
static void check_recorded(const dt_debug_report *r, const recorded_row *row, int n)
{
    cr_assert(r->n == n, "%d layers, recorded %d", r->n, n);
    for (int i = 0; i < n; i++) {
        const double is[] = { r->row[i].stddev, r->row[i].mean_error, r->row[i].max_abs_error,
                              r->row[i].mean_squared_error };
        const double was[] = { row[i].stddev, row[i].mean, row[i].max, row[i].mse };
        cr_assert(strcmp(r->row[i].op, row[i].op) == 0, "layer %d is %s, recorded %s", i, r->row[i].op, row[i].op);
        cr_assert(row[i].n_elements == (double)r->row[i].n_elements && row[i].zero == r->row[i].zero_point, "layer %d",
                  i);
        cr_assert(fabs((double)r->row[i].scale - row[i].scale) <= 1e-6 * row[i].scale, "layer %d", i);
        for (int k = 0; k < 4; k++) {
            cr_assert(fabs(is[k] - was[k]) <= fmax(1e-3 * fabs(was[k]), 1e-4 * row[i].scale),
                      "layer %d, %s, number %d: %.9g, recorded %.9g", i, row[i].op, k, is[k], was[k]);
        }
    }
}

static void check_converted(dt_debug_mode mode)
{
    char path[CONVERTED_PATH_BYTES];
    const char *folder = getenv("DETENT_PTQ_ORACLE");
    recorded_row recorded[32];
    const int n = read_recorded(dt_debug_mode_names[mode], recorded);
    float *images = converted_recorded("data.har", "test");
    const dt_prediction how = { .normalised = images, .n = 20 };
    dt_context *ctx = debugged_context();
    dt_debug_report *r;
    dt_program *p;
    dt_model *real;

    snprintf(path, sizeof path, "%s/tflite/smartwatch.fiq_i8.tflite", folder);
    MUST(dt_program_load(path, &p));
    MUST(dt_program_use_profile(p, DT_PROFILE_FP32_RNE));
    snprintf(path, sizeof path, "%s/tflite/smartwatch.float.tflite", folder);
    MUST(dt_checkpoint_open(ctx, path, &real));
    MUST(dt_program_debug(p, real, mode, &how, &r));
    check_recorded(r, recorded, n);
    dt_debug_report_destroy(r);
    dt_model_destroy(real);
    dt_program_destroy(p);
    dt_context_destroy(ctx);
    free(images);
}

Test(debugger, has_the_tables_of_tensorflows_debugger)
{
    if (!converted_is_there()) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    check_converted(DT_DEBUG_LAYER);
    check_converted(DT_DEBUG_WHOLE);
}
