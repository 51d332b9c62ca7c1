/*
 * bench_accel.c - times the array engine: a whole network with the range of every tap psum, and the tap psums of
 *                 features.27, stored, for a test set.
 *
 * The model is VGG16 with a chokepoint, untrained, on synthetic images: neither engine's time depends on the values.
 * Both are checked by dt_verify on a few images. A tap psum is what one pass of the array gives for one output: the sum
 * over the rows of one input tile, for one tap.
 */
#include "../accel/psum/psum.h"
#include "../core/context.h"
#include "bench.h"

#include <stdio.h>

typedef struct {
    dt_model_config model;
    dt_options options;
    dt_array array;
    int images, test_images, rounds, json;
} bench_settings;

enum { OPT_CHOKE = 256, OPT_ABITS, OPT_ROWS, OPT_COLS, OPT_PSUM_BITS, OPT_OVERFLOW, OPT_THREADS, OPT_TEST, OPT_ROUNDS };
enum { VERIFY_IMAGES = 2, MAX_ROUNDS = 100 };
static const char layer_name[] = "features.27";

static const struct argp_option arguments[] = {
    { "choke", OPT_CHOKE, "N", 0, "channels of the chokepoint (16)", 0 },
    { "abits", OPT_ABITS, "BITS", 0, "activation bits (2)", 0 },
    { "rows", OPT_ROWS, "N", 0, "rows of the array (8)", 0 },
    { "cols", OPT_COLS, "N", 0, "columns of the array (8)", 0 },
    { "psum-bits", OPT_PSUM_BITS, "BITS", 0, "width of a psum (16)", 0 },
    { "overflow", OPT_OVERFLOW, "HOW", 0, "wrap or saturate (wrap)", 0 },
    { "images", 'n', "N", 0, "images of a round of the whole network (256)", 0 },
    { "test-images", OPT_TEST, "N", 0, "images of features.27 (10000)", 0 },
    { "rounds", OPT_ROUNDS, "N", 0, "timed rounds (20)", 0 },
    { "device", 'd', "NAME", 0, "auto, cpu or cuda, of the whole network (cpu)", 0 },
    { "threads", OPT_THREADS, "N", 0, "CPU threads, 0: all (0)", 0 },
    { "json", 'j', NULL, 0, "one JSON object on standard output", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    bench_settings *s = state->input;

    switch (key) {
    case OPT_CHOKE: bench_option(&s->model, "choke", bench_number(arg, state), state); break;
    case OPT_ABITS: s->model.abits = bench_number(arg, state); break;
    case OPT_ROWS: s->array.rows = bench_number(arg, state); break;
    case OPT_COLS: s->array.cols = bench_number(arg, state); break;
    case OPT_PSUM_BITS: s->array.psum_bits = bench_number(arg, state); break;
    case OPT_OVERFLOW: s->array.overflow = (dt_overflow)bench_word(arg, dt_overflow_names, state); break;
    case 'n': s->images = bench_number(arg, state); break;
    case OPT_TEST: s->test_images = bench_number(arg, state); break;
    case OPT_ROUNDS: s->rounds = bench_number(arg, state); break;
    case 'd': s->options.backend = arg; break;
    case OPT_THREADS: s->options.threads = bench_number(arg, state); break;
    case 'j': s->json = 1; break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model, *array_model;
    dt_program *program;
    dt_capture *capture;
} bench;

static void bench_close(bench *b)
{
    dt_capture_destroy(b->capture);
    dt_model_destroy(b->array_model);
    dt_program_destroy(b->program);
    dt_model_destroy(b->model);
    dt_dataset_close(b->data);
    dt_context_destroy(b->ctx);
}

static dt_status bench_open(const bench_settings *s, bench *b)
{
    const dt_dataset_options data = { .name = "synthetic",
                                      .split = DT_SPLIT_TEST,
                                      .limit = s->images,
                                      .seed = 1,
                                      .height = s->model.height,
                                      .width = s->model.width,
                                      .channels = s->model.channels };
    dt_verify_report *report;

    DT_TRY(dt_context_create(&s->options, &b->ctx));
    DT_TRY(dt_dataset_open(&data, &b->data));
    DT_TRY(dt_model_create(b->ctx, &s->model, &b->model));
    DT_TRY(dt_program_lower(b->model, b->data, &b->program));
    DT_TRY(dt_program_model(b->ctx, b->program, &s->array, &b->array_model));
    DT_TRY(dt_capture_layer(b->model, b->data, 0, s->images, layer_name, &b->capture));
    DT_TRY(dt_verify(b->model, b->data, 0, VERIFY_IMAGES, NULL, &s->array, NULL, &report));
    const int64_t wrong = report->mismatches;
    dt_verify_report_destroy(report);
    DT_CHECK(wrong == 0, DT_ERR_NUMERIC, "%lld psums are wrong: nothing to time", (long long)wrong);
    return DT_OK;
}

/* tap_psums: of one image */
static dt_status time_network(const bench_settings *s, const bench *b, bench_summary *out, int64_t *tap_psums)
{
    const int n = dt_model_n_layers(b->array_model);
    dt_array_report *layers = calloc((size_t)n, sizeof *layers);
    double took[MAX_ROUNDS];
    dt_metrics m;
    dt_status status = layers ? DT_OK : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %d reports", n);

    for (int i = -1; status == DT_OK && i < s->rounds; i++) { /* the first warms up */
        const double begin = bench_now();
        status = dt_array_evaluate(b->array_model, b->data, 64, 0.0f, NULL, NULL, &m, layers);
        if (i >= 0) took[i] = bench_now() - begin;
    }
    *tap_psums = 0;
    for (int i = 0; status == DT_OK && i < n; i++) *tap_psums += layers[i].n_tap_psums / layers[i].images;
    if (status == DT_OK) *out = bench_summarise(took, s->rounds);
    free(layers);
    return status;
}

/* One round: psums and tap psums of every image, kept in taps [test images][tap psums of one]. 0: no memory. */
static int run_layer(const bench_settings *s, const dt_capture *c, const dt_psum_layer *layer, const void *packed,
                     int32_t *taps, int64_t n_taps)
{
    const int64_t n_in = (int64_t)c->height * c->width * c->channels;
    const int64_t n_out = (int64_t)c->out_height * c->out_width * c->filters;
    int ok = 1;

#pragma omp parallel reduction(&& : ok)
    {
        void *room = aligned_alloc(DT_CACHE_LINE, dt_round_up(layer->room_bytes, DT_CACHE_LINE));
        int32_t *psum = malloc((size_t)n_out * sizeof *psum);
        void *block = aligned_alloc(DT_CACHE_LINE, dt_psum_taps_bytes(layer));
        dt_psum_stats stats;
        dt_psum_stats_clear(&stats);
        ok = room && psum && block;
#pragma omp for
        for (int64_t i = 0; i < s->test_images; i++) {
            dt_psum_stored stored = { layer, taps + i * n_taps };
            const dt_psum_taker taker = { dt_psum_store, &stored, block };
            if (ok) dt_psum_image(layer, packed, c->qx + i % c->n * n_in, room, psum, &taker, &stats);
        }
        free(block);
        free(psum);
        free(room);
    }
    return ok;
}

static dt_status time_layer(const bench_settings *s, const bench *b, bench_summary *out, int64_t *tap_psums)
{
    const dt_capture *c = b->capture;
    const dt_psum_shape shape = dt_psum_shape_of_capture(c);
    dt_psum_layer layer;
    double took[MAX_ROUNDS];

    DT_TRY(dt_psum_layer_init(&layer, layer_name, &s->array, &shape));
    *tap_psums = (int64_t)layer.in_tiles * layer.taps * c->out_height * c->out_width * c->filters;
    void *packed = aligned_alloc(DT_CACHE_LINE, dt_round_up(layer.packed_bytes, DT_CACHE_LINE));
    int32_t *taps = malloc((size_t)(*tap_psums * s->test_images) * sizeof *taps);
    int ok = packed && taps;
    const int before = dt_context_enter(b->ctx);
    if (ok) dt_psum_pack(&layer, c->qw, packed);
    for (int i = -1; ok && i < s->rounds; i++) {
        const double begin = bench_now();
        ok = run_layer(s, c, &layer, packed, taps, *tap_psums);
        if (i >= 0) took[i] = bench_now() - begin;
    }
    dt_context_leave(before);
    if (ok) *out = bench_summarise(took, s->rounds);
    free(taps);
    free(packed);
    DT_CHECK(ok, DT_ERR_MEMORY, "no memory for the tap psums of %d images", s->test_images);
    return DT_OK;
}

static void print_results(const bench_settings *s, const bench *b, bench_summary net, int64_t net_taps,
                          bench_summary layer, int64_t layer_taps)
{
    const double images_per_s = s->images / net.median, taps_per_s = images_per_s * (double)net_taps;
    const double layer_per_s = (double)layer_taps * s->test_images / layer.median;

    if (s->json) {
        printf("{\"images_per_s\": %.1f, \"images_per_s_best\": %.1f, \"tap_psums_per_s\": %.4g, "
               "\"tap_psums_per_image\": %lld, \"layer\": \"%s\", \"layer_images\": %d, \"layer_seconds\": %.4f, "
               "\"layer_seconds_best\": %.4f, \"layer_tap_psums_per_s\": %.4g, \"rows\": %d, \"cols\": %d, "
               "\"psum_bits\": %d, \"overflow\": \"%s\", \"abits\": %d, \"choke\": %d, \"device\": \"%s\"}\n",
               images_per_s, s->images / net.least, taps_per_s, (long long)net_taps, layer_name, s->test_images,
               layer.median, layer.least, layer_per_s, s->array.rows, s->array.cols, s->array.psum_bits,
               dt_overflow_names[s->array.overflow], s->model.abits, dt_model_option_value(&s->model, "choke"),
               dt_context_device(b->ctx));
        return;
    }
    printf("%s, array %dx%d, %d-bit psums, %s; vgg16 w%da%d choke %d; median (best) of %d rounds\n",
           dt_context_device(b->ctx), s->array.rows, s->array.cols, s->array.psum_bits,
           dt_overflow_names[s->array.overflow], s->model.wbits, s->model.abits,
           dt_model_option_value(&s->model, "choke"), s->rounds);
    printf("whole network      %.0f (%.0f) images/s, %.3g tap psums/s, %lld an image\n", images_per_s,
           s->images / net.least, taps_per_s, (long long)net_taps);
    printf("%s        %.3f (%.3f) s for %d images, %.3g tap psums/s, stored\n", layer_name, layer.median, layer.least,
           s->test_images, layer_per_s);
}

int main(int argc, char **argv)
{
    static const struct argp argp = { arguments, parse, NULL, "Times the array engine.", NULL, NULL, NULL };
    bench_settings s = { .images = 256, .test_images = 10000, .rounds = 20 };
    bench b = { 0 };
    bench_summary net = { 0 }, layer = { 0 };
    int64_t net_taps = 0, layer_taps = 0;

    dt_options_default(&s.options);
    s.options.backend = "cpu";
    dt_array_default(&s.array);
    dt_status status = dt_model_config_default("vgg16", &s.model);
    if (status == DT_OK) status = dt_model_option(&s.model, "choke", 16);
    s.model.abits = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &s);
    if (s.rounds < 1 || s.rounds > MAX_ROUNDS || s.images < VERIFY_IMAGES || s.test_images < 1) {
        fprintf(stderr, "bench_accel: rounds 1..%d, images %d or more, test images 1 or more\n", MAX_ROUNDS,
                VERIFY_IMAGES);
        return 2;
    }
    if (status == DT_OK) status = bench_open(&s, &b);
    if (status == DT_OK) status = time_network(&s, &b, &net, &net_taps);
    if (status == DT_OK) status = time_layer(&s, &b, &layer, &layer_taps);
    if (status == DT_OK) print_results(&s, &b, net, net_taps, layer, layer_taps);
    bench_close(&b);
    if (status != DT_OK) fprintf(stderr, "bench_accel: %s\n", dt_last_error());
    return status == DT_OK ? 0 : 1;
}
