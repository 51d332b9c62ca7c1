/*
 * bench_codes.c - times REQUANTIZE and QADD on one core of the CPU, under every profile, beside the memory that they
 *                 read and write.
 *
 * Tensors of 4,096 codes lie in the first cache, and those of 2^21 in none of a core's own. The bytes are those of a
 * fused program: REQUANTIZE reads sums of 4 bytes and QADD two codes of 4; both write f32. The limit is a copy of as
 * many bytes, in the same run. Codes are compared with the definition's first.
 */
#include "../quant/requantize_lines.h"
#include "bench.h"

#include <stdio.h>

enum { CHANNELS = 16, SMALL = 4096, LARGE = 1 << 21, MAX_ROUNDS = 1000 };

typedef struct {
    int rounds, json, n_rows; /* n_rows: printed so far */
} bench_settings;

static const struct argp_option arguments[] = {
    { "rounds", 'r', "N", 0, "timed rounds (20)", 0 },
    { "json", 'j', NULL, 0, "one JSON object on standard output", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    bench_settings *s = state->input;

    switch (key) {
    case 'r': s->rounds = bench_number(arg, state); break;
    case 'j': s->json = 1; break;
    default: return ARGP_ERR_UNKNOWN;
    }
    if (s->rounds > MAX_ROUNDS) argp_error(state, "at most %d rounds", MAX_ROUNDS);
    return 0;
}

/* One REQUANTIZE and one QADD, whose constants are those of a layer of ResNet-20. */
typedef struct {
    float *x, *a, *b, *code;
    float scale_x, scale_b, scale_y, scale_w[CHANNELS], factor[CHANNELS];
    double exact[CHANNELS];
    int32_t bias[CHANNELS], multiplier[CHANNELS], shift[CHANNELS];
    dt_requant_view sums;
    dt_requant_line line;
    dt_qbinary_view codes;
    dt_adder adder;
    void *room;
} bench;

static int bench_open(bench *b)
{
    *b = (bench){ .scale_x = 0.05f, .scale_b = 0.031f, .scale_y = 0.06f };
    b->x = malloc(LARGE * sizeof(float));
    b->a = malloc(LARGE * sizeof(float));
    b->b = malloc(LARGE * sizeof(float));
    b->code = malloc(LARGE * sizeof(float));
    b->room = malloc(dt_requant_line_bytes(CHANNELS));
    if (!b->x || !b->a || !b->b || !b->code || !b->room) return 0;
    for (int i = 0; i < LARGE; i++) {
        b->x[i] = (float)(i % 60001 * 7919 % 60001 - 30000);
        b->a[i] = (float)(i * 37 % 256);
        b->b[i] = (float)(i * 53 % 256 - 128);
        b->code[i] = 0.0f;
    }
    for (int c = 0; c < CHANNELS; c++) {
        b->scale_w[c] = 0.003f + 0.0001f * (float)c;
        b->bias[c] = 400 * c - 3000;
    }
    return 1;
}

static void bench_close(bench *b)
{
    free(b->room);
    free(b->code);
    free(b->b);
    free(b->a);
    free(b->x);
}

/* Sets the constants of a profile. Returns 1 if the first codes are the definition's. */
static int bench_begin(bench *b, dt_profile profile)
{
    b->sums = (dt_requant_view){ .params = { profile, DT_REQUANT_CONV, 0, 255, 1, 0 },
                                 .x = b->x,
                                 .scale_x = &b->scale_x,
                                 .scale_y = &b->scale_y,
                                 .scale_w = b->scale_w,
                                 .bias = b->bias,
                                 .code = b->code,
                                 .exact = b->exact,
                                 .factor = b->factor,
                                 .multiplier = b->multiplier,
                                 .shift = b->shift,
                                 .product = dt_product_of(profile, DT_REQUANT_CONV),
                                 .channels = CHANNELS,
                                 .n_scale_w = CHANNELS };
    for (int64_t c = 0; c < CHANNELS; c++) dt_requant_channel(&b->sums, c);
    b->codes =
        (dt_qbinary_view){ { profile, 0, 255, 0, 0 }, b->a, b->b, &b->scale_x, &b->scale_b, &b->scale_y, b->code };
    b->adder = dt_qadd_adder(&b->codes);
    if (!dt_requant_line_make(&b->sums, b->room, &b->line) || !dt_qadd_line_fits(&b->adder, 255)) return 0;

    int is_right = !dt_requantize_line(&b->line, b->x, SMALL, b->code);
    for (int64_t i = 0; i < SMALL; i++) {
        is_right &= b->code[i] == dt_requant_value(&b->sums, b->sums.product, i % CHANNELS, b->x[i]);
    }
    dt_qadd_line(&b->codes, &b->adder, 0, SMALL);
    for (int64_t i = 0; i < SMALL; i++) is_right &= b->code[i] == dt_qadd_value(&b->codes, &b->adder, i);
    return is_right;
}

typedef enum { RUN_REQUANTIZE, RUN_QADD, RUN_COPY } run_kind;

/* Bytes that are read and written for a code. */
static const int bytes_of[] = { 8, 12, 8 };

static void run(bench *b, run_kind kind, int64_t n)
{
    switch (kind) {
    case RUN_REQUANTIZE: (void)dt_requantize_line(&b->line, b->x, n, b->code); break;
    case RUN_QADD: dt_qadd_line(&b->codes, &b->adder, 0, n); break;
    case RUN_COPY: memcpy(b->code, b->x, (size_t)n * sizeof(float)); break;
    }
}

/* Nanoseconds a code. A round computes as many codes whatever n is; the first warms up. */
static bench_summary time_codes(bench *b, run_kind kind, int64_t n, int rounds)
{
    double took[MAX_ROUNDS];

    for (int r = -1; r < rounds; r++) {
        const double begin = bench_now();
        for (int64_t at = 0; at < LARGE; at += n) run(b, kind, n);
        if (r >= 0) took[r] = (bench_now() - begin) * 1e9 / LARGE;
    }
    return bench_summarise(took, rounds);
}

static void print_row(bench_settings *s, const char *profile, int64_t n, run_kind kind, bench_summary t,
                      bench_summary copy)
{
    const double limit = copy.median * bytes_of[kind] / bytes_of[RUN_COPY];
    const char *const format =
        s->json ? "%s{\"op\": \"%s\", \"profile\": \"%s\", \"codes\": %lld, \"ns\": %.4f, \"ns_least\": %.4f, "
                  "\"gb_per_s\": %.2f, \"share\": %.3f}"
                : "%s%-11s %-11s %9lld codes %7.3f ns a code (least %.3f) %7.1f GB/s %4.0f %%\n";

    printf(format, s->json && s->n_rows > 0 ? ", " : "", kind == RUN_QADD ? "qadd" : "requantize", profile,
           (long long)n, t.median, t.least, bytes_of[kind] / t.median, (s->json ? 1.0 : 100.0) * limit / t.median);
    s->n_rows++;
}

int main(int argc, char **argv)
{
    static const struct argp parser = { arguments, parse, NULL, "Time REQUANTIZE and QADD on one core.",
                                        NULL,      NULL,  NULL };
    bench_settings s = { .rounds = 20 };
    bench b;
    int ok = 1;

    if (argp_parse(&parser, argc, argv, 0, NULL, &s) != 0 || s.rounds < 1) return 2;
    ok = bench_open(&b);
    if (ok && s.json) printf("{\"rows\": [");
    for (int64_t n = SMALL; ok && n <= LARGE; n *= LARGE / SMALL) {
        const bench_summary copy = time_codes(&b, RUN_COPY, n, s.rounds);
        for (int p = 0; ok && p <= DT_PROFILE_ONNX; p++) {
            ok = bench_begin(&b, (dt_profile)p);
            if (!ok) fprintf(stderr, "%s: codes differ from the definition's: nothing to time\n", dt_profile_names[p]);
            for (int kind = RUN_REQUANTIZE; ok && kind <= RUN_QADD; kind++) {
                print_row(&s, dt_profile_names[p], n, (run_kind)kind, time_codes(&b, (run_kind)kind, n, s.rounds),
                          copy);
            }
        }
    }
    if (ok && s.json) printf("]}\n");
    bench_close(&b);
    return ok ? 0 : 1;
}
