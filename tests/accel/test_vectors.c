/*
 * test_vectors.c - texts of vectors: the worked example against published sums of its lines, every layout against
 *                  psums that plain loops give, flipped bits, and what is refused.
 *
 * The example's lines and SHA-256 were computed apart from this library, and its course layout was run on RTL.
 */
#include "../support/vector_cases.h"

#include "../../accel/array/tiling.h"

#include <limits.h>
#include <sha2.h>
#include <stdlib.h>

static vector_case t;

/* Data line `line` of a file, without its newline. */
static const char *line_of(const dt_vectors *v, const char *name, int line)
{
    static char text[4096];
    const char *at = case_data(case_file(v, name));

    for (; line > 0; line--) at = strchr(at, '\n') + 1;
    snprintf(text, sizeof text, "%.*s", (int)strcspn(at, "\n"), at);
    return text;
}

/* A lane read with no help from the library. */
static long lane_of(const dt_vectors *v, const char *name, int line, int lane, int bits, int is_signed)
{
    char text[40] = "";

    memcpy(text, line_of(v, name, line) + lane * bits, (size_t)bits);
    const long value = strtol(text, NULL, 2);
    return is_signed && text[0] == '1' ? value - (1L << bits) : value;
}

/* ---- the worked example, 4 bits ---- */

typedef struct {
    dt_layout layout;
    const char *file, *sha256; /* of the data lines */
} known_sum;

Test(vectors, data_lines_have_the_known_sums)
{
    static const known_sum known[] = {
        { DT_LAYOUT_NOTEBOOK, "activation.txt", "8a88c338f4a888a2" },
        { DT_LAYOUT_COURSE, "activation_tile0.txt", "1efa69cbe34d9acd" },
        { DT_LAYOUT_NOTEBOOK, "weight_itile0_otile0_kij0.txt", "a1fd4c2f8f9bd3ad" },
        { DT_LAYOUT_COURSE, "weight_itile0_otile0_kij0.txt", "d117d281c9a06bb5" },
        { DT_LAYOUT_NOTEBOOK, "psum.txt", "32d8be76fc3e7572" },
        { DT_LAYOUT_COURSE, "out_raw.txt", "32d8be76fc3e7572" },
        { DT_LAYOUT_NOTEBOOK, "psum_relu.txt", "43c0eed2fa41658e" },
        { DT_LAYOUT_COURSE, "out.txt", "43c0eed2fa41658e" },
        { DT_LAYOUT_OUTPUT_STATIONARY, "out_raw.txt", "32d8be76fc3e7572" },
        { DT_LAYOUT_NOTEBOOK, "psum_4.txt", "6ea8d6569c4f68f6" },
    };

    case_fill_example(&t, 8, 4, 15);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        dt_vectors *v = case_make(&t, known[i].layout);
        const char *data = case_data(case_file(v, known[i].file));
        char sha256[65];
        SHA256Data((const uint8_t *)data, strlen(data), sha256);
        cr_assert(eq(int, strncmp(sha256, known[i].sha256, 16), 0), "%s %s: %.16s, expected %s",
                  dt_layout_names[known[i].layout], known[i].file, sha256, known[i].sha256);
        dt_vectors_destroy(v);
    }
}

typedef struct {
    dt_layout layout;
    const char *file;
    int line;
    const char *text;
} known_line;

static void expect_lines(const known_line *known, int n)
{
    for (int i = 0; i < n; i++) {
        dt_vectors *v = case_make(&t, known[i].layout);
        cr_assert(eq(str, (char *)line_of(v, known[i].file, known[i].line), (char *)known[i].text), "%s %s line %d",
                  dt_layout_names[known[i].layout], known[i].file, known[i].line);
        dt_vectors_destroy(v);
    }
}

Test(vectors, lines_of_the_example)
{
    static const known_line known[] = {
        { DT_LAYOUT_NOTEBOOK, "activation.txt", 5, "11001011101010011000011101100101" },
        { DT_LAYOUT_NOTEBOOK, "activation.txt", 0, "01110110010101000011001000010000" },
        { DT_LAYOUT_COURSE, "activation_tile0.txt", 7, "01110110010101000011001000010000" },
        { DT_LAYOUT_COURSE, "activation_tile0.txt", 0, "00000000000000000000000000000000" },
        { DT_LAYOUT_COURSE, "weight_itile0_otile0_kij0.txt", 0, "11101001001111101001001111101001" },
        { DT_LAYOUT_NOTEBOOK, "weight_itile0_otile0_kij0.txt", 7, "10011110001110011110001110011110" },
        { DT_LAYOUT_COURSE, "weight_itile0_otile0_kij0.txt", 7, "01001111101001001111101001001111" },
        { DT_LAYOUT_NOTEBOOK, "weight_itile0_otile0_kij0.txt", 0, "11110100101011110100101011110100" },
        { DT_LAYOUT_NOTEBOOK, "psum.txt", 5,
          "111111111111110100000001000011101111111101101101111111110011010000000000010101001111111111111101000000010000"
          "1110"
          "1111111101101101" },
        { DT_LAYOUT_COURSE, "acc_address.txt", 0, "00000000000" },
        { DT_LAYOUT_COURSE, "acc_address.txt", 1, "00000100101" }, /* 37 */
        { DT_LAYOUT_COURSE, "acc_address.txt", 8, "00100101110" }, /* 302 */
    };

    case_fill_example(&t, 8, 4, 15);
    expect_lines(known, sizeof known / sizeof known[0]);
}

static void expect_psums(const dt_vectors *v, const char *file, int line, const int *by_filter)
{
    for (int k = 0; k < 8; k++) {
        cr_assert(eq(long, lane_of(v, file, line, 7 - k, 16, 1), (long)by_filter[k]), "%s line %d filter %d", file,
                  line, k);
    }
}

Test(vectors, psums_of_the_example)
{
    static const int tap0[8] = { -66, 18, -3, 81, -15, -66, 18, -3 };
    static const int tap4[8] = { 33, -18, 186, -15, -171, 33, -18, 186 };
    static const int total0[8] = { -18, 318, -96, -60, -114, -18, 318, -96 };
    static const int total5[8] = { -147, 270, -3, 84, -204, -147, 270, -3 };
    static const int relu5[8] = { 0, 270, 0, 84, 0, 0, 270, 0 }, none[8] = { 0 };
    static const int addresses[9] = { 0, 37, 74, 114, 151, 188, 228, 265, 302 };

    case_fill_example(&t, 8, 4, 15);
    dt_vectors *v = case_make(&t, DT_LAYOUT_NOTEBOOK);
    expect_psums(v, "psum_0.txt", 0, none);
    expect_psums(v, "psum_0.txt", 5, tap0);
    expect_psums(v, "psum_4.txt", 5, tap4);
    dt_vectors_destroy(v);

    v = case_make(&t, DT_LAYOUT_COURSE);
    expect_psums(v, "out_raw.txt", 0, total0);
    expect_psums(v, "out_raw.txt", 5, total5);
    expect_psums(v, "out.txt", 5, relu5);
    expect_psums(v, "psum.txt", 7, tap0);           /* nij(5, 0) = 1 * 6 + 1 */
    expect_psums(v, "psum.txt", 4 * 36 + 14, tap4); /* nij(5, 4) = 2 * 6 + 2 */
    for (int k = 0; k < 9; k++) cr_assert(eq(long, lane_of(v, "acc_address.txt", k, 0, 11, 0), (long)addresses[k]));
    dt_vectors_destroy(v);
}

/* Over all lanes of the files that hold totals: sum, min, max. */
static void total(const dt_vectors *v, dt_vector_role role, long out[3])
{
    out[0] = 0, out[1] = 1L << 40, out[2] = -(1L << 40);
    for (int i = 0; i < v->n_files; i++) {
        const dt_vector_file *f = &v->file[i];
        for (int e = 0; f->role == role && e < f->lines * f->lanes; e++) {
            const long value = lane_of(v, f->name, e / f->lanes, e % f->lanes, f->bits, 1);
            out[0] += value;
            if (value < out[1]) out[1] = value;
            if (value > out[2]) out[2] = value;
        }
    }
}

Test(vectors, totals_of_the_example)
{
    long sums[3];

    case_fill_example(&t, 8, 4, 15);
    dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);
    total(v, DT_VECTOR_OUTPUT, sums);
    cr_assert(sums[0] == 1915 && sums[1] == -394 && sums[2] == 398, "%ld %ld %ld", sums[0], sums[1], sums[2]);
    total(v, DT_VECTOR_OUTPUT_RELU, sums);
    cr_assert(eq(long, sums[0], 10847));
    dt_vectors_destroy(v);
}

/* ---- the worked example, 2-bit activations, 16 channels ---- */

Test(vectors, packs_of_the_example)
{
    static const known_line known[] = {
        { DT_LAYOUT_PACK_A, "activation.txt", 7, "11100100111001001110010011100100" },
        { DT_LAYOUT_PACK_A, "weight_octile0_kij0.txt", 0, "10011110001110011110001110011110" },
        { DT_LAYOUT_PACK_A, "weight_octile0_kij0.txt", 1, "00111001111000111001111000111001" },
        { DT_LAYOUT_PACK_C, "activation.txt", 0, "00011011000110110001101100011011" },
    };
    static const int total5[16] = { -69, 54, -18, 15, 18, -69, 54, -18, 15, 18, -69, 54, -18, 15, 18, -69 };

    case_fill_example(&t, 16, 2, 3);
    expect_lines(known, sizeof known / sizeof known[0]);
    for (dt_layout layout = DT_LAYOUT_PACK_A; layout <= DT_LAYOUT_PACK_C; layout++) {
        dt_vectors *v = case_make(&t, layout);
        long sums[3];
        total(v, DT_VECTOR_OUTPUT, sums);
        cr_assert(sums[0] == -705 && sums[1] == -99 && sums[2] == 118, "%ld %ld %ld", sums[0], sums[1], sums[2]);
        if (layout == DT_LAYOUT_PACK_C) {
            for (int k = 0; k < 16; k++) cr_assert(eq(long, lane_of(v, "out_raw.txt", 5, k, 16, 1), (long)total5[k]));
        } else {
            expect_psums(v, layout == DT_LAYOUT_PACK_A ? "out_raw_octile0.txt" : "out_raw_otile0.txt", 5, total5);
            expect_psums(v, layout == DT_LAYOUT_PACK_A ? "out_raw_octile1.txt" : "out_raw_otile1.txt", 5, total5 + 8);
        }
        dt_vectors_destroy(v);
    }
}

/* Layout B's testbench puts a lane of tile 1 before the same lane of tile 0. */
Test(vectors, pack_b_interleaves_to_the_known_word)
{
    char word[33] = "", line[2][16];

    case_fill_example(&t, 16, 2, 3);
    dt_vectors *v = case_make(&t, DT_LAYOUT_PACK_B);
    memcpy(line[0], line_of(v, "activation_tile0.txt", 7), 16);
    memcpy(line[1], line_of(v, "activation_tile1.txt", 7), 16);
    for (int lane = 0; lane < 8; lane++) {
        memcpy(word + 4 * lane, line[1] + 2 * lane, 2);
        memcpy(word + 4 * lane + 2, line[0] + 2 * lane, 2);
    }
    cr_assert(eq(str, word, "11111010010100001111101001010000"));
    dt_vectors_destroy(v);
}

/* ---- every layout, on shapes that do not divide ---- */

/* Psum of output (p, q, k), or of one tap and a group's channels first .. end - 1 at padded position (i, j), by the
 * definition. */
static long tap_oracle(int i, int j, int tap, int k, int first, int end)
{
    const dt_capture *c = &t.capture;
    const int h = i - c->conv.pad[0], w = j - c->conv.pad[1], taps = c->kernel_height * c->kernel_width;
    const int channels = c->channels / c->conv.groups, filters = c->filters / c->conv.groups;
    long sum = 0;

    if (h < 0 || h >= c->height || w < 0 || w >= c->width || k >= c->filters) return 0;
    const float *x = t.qx + (h * c->width + w) * c->channels + k / filters * channels;
    for (int n = first; n < end && n < channels; n++) {
        sum += (long)x[n] * (long)t.qw[(k * taps + tap) * channels + n];
    }
    return sum;
}

static long output_oracle(int p, int q, int k)
{
    const dt_capture *c = &t.capture;
    long sum = 0;

    for (int r = 0; r < c->kernel_height; r++) {
        for (int s = 0; s < c->kernel_width; s++) {
            sum +=
                tap_oracle(p * c->conv.stride[0] + r * c->conv.dilation[0],
                           q * c->conv.stride[1] + s * c->conv.dilation[1], r * c->kernel_width + s, k, 0, c->channels);
        }
    }
    return sum;
}

/* Groups that lie on the array together: as many as still fit beside each other. */
static int groups_together(const dt_vectors *v)
{
    const int groups = t.capture.conv.groups, filters = t.capture.filters / groups;
    const int rows = (t.capture.channels / groups + v->simd - 1) / v->simd;
    const int cols = v->layout == DT_LAYOUT_PACK_C ? 16 : 8;
    int n = 1;

    if (v->layout == DT_LAYOUT_OUTPUT_STATIONARY) return 1;
    while (n < groups && (n + 1) * rows <= 8 && (n + 1) * filters <= cols) n++;
    return n;
}

/* The filter of column `col` of an output tile: walks the tiles from the first. INT_MAX: none. */
static int column_filter(const dt_vectors *v, int out_tile, int col)
{
    const int filters = t.capture.filters / t.capture.conv.groups, cols = v->layout == DT_LAYOUT_PACK_C ? 16 : 8;

    for (int group = 0; group < t.capture.conv.groups; group += groups_together(v)) {
        int end = (group + groups_together(v)) * filters;
        if (end > t.capture.filters) end = t.capture.filters;
        for (int first = group * filters; first < end; first += cols, out_tile--) {
            if (out_tile == 0) return first + col < end ? first + col : INT_MAX;
        }
    }
    return INT_MAX;
}

static void expect_outputs(const dt_vectors *v, const char *why)
{
    const int ascending = v->layout == DT_LAYOUT_PACK_C;

    for (int i = 0; i < v->n_files; i++) {
        const dt_vector_file *f = &v->file[i];
        for (int e = 0; f->role == DT_VECTOR_OUTPUT && e < f->lines * f->lanes; e++) {
            const int o = e / f->lanes, lane = e % f->lanes;
            const int k = column_filter(v, f->out_tile, ascending ? lane : f->lanes - 1 - lane);
            const long want = output_oracle(o / t.capture.out_width, o % t.capture.out_width, k);
            const long got = lane_of(v, f->name, o, lane, f->bits, 1);
            cr_assert(got == want, "%s: %s %s line %d filter %d: %ld, expected %ld", why, dt_layout_names[v->layout],
                      f->name, o, k, got, want);
        }
    }
}

static void expect_every_layout(const char *why)
{
    for (dt_layout layout = DT_LAYOUT_COURSE; layout <= DT_LAYOUT_OUTPUT_STATIONARY; layout++) {
        dt_vectors *v = case_make(&t, layout);
        dt_vectors_report r = { .n_psums = -1, .n_mismatches = -1 };
        cr_assert(eq(int, (int)dt_vectors_compare(v, &r), DT_OK), "%s: %s: %s", why, dt_layout_names[layout],
                  dt_last_error());
        cr_assert(r.n_mismatches == 0 && r.n_psums > 0, "%s: %s", why, dt_layout_names[layout]);
        expect_outputs(v, why);
        dt_vectors_destroy(v);
    }
}

Test(vectors, every_layout_holds_the_psums_of_its_codes)
{
    for (int i = 0; i < N_CASE_SIZES; i++) {
        case_random_of(&t, &case_sizes[i], (uint32_t)i);
        expect_every_layout(case_sizes[i].why);
    }
    for (int i = 0; i < N_CASE_FORMS; i++) {
        case_random_form(&t, &case_forms[i], (uint32_t)i);
        expect_every_layout(case_forms[i].why);
    }
}

/* ---- the files as an array uses them, which knows no groups ---- */

/* A lane by counting characters. */
static long value_at(const dt_vector_file *f, int line, int lane)
{
    const char *at = case_data(f) + line * (f->lanes * f->bits + 1) + lane * f->bits;
    long value = f->is_signed && *at == '1' ? -1 : 0;

    for (int bit = 0; bit < f->bits; bit++) value = 2 * value + (at[bit] == '1');
    return value;
}

static const dt_vector_file *activation_file(const dt_vectors *v, int in_tile)
{
    for (int i = 0; i < v->n_files; i++) {
        if (v->file[i].role == DT_VECTOR_ACTIVATION && v->file[i].in_tile == in_tile) return &v->file[i];
    }
    cr_assert(0, "%s: there are no activations of tile %d", dt_layout_names[v->layout], in_tile);
    return NULL;
}

/* A column's psum of one file of weights: every PE multiplies, whatever it holds. */
static long column_sum(const dt_vectors *v, const dt_vector_file *w, int position, int col)
{
    const dt_vector_file *x = activation_file(v, w->in_tile);
    long sum = 0;

    for (int row = 0; row < w->lanes; row++) {
        if (v->layout == DT_LAYOUT_PACK_A) {
            sum += value_at(x, position, 2 * row) * value_at(w, 2 * col, row);
            sum += value_at(x, position, 2 * row + 1) * value_at(w, 2 * col + 1, row);
        } else {
            sum += value_at(x, position, row) * value_at(w, col, row);
        }
    }
    return sum;
}

/* The column sums that addresses gather for one output, over all weights of its output tile. */
static long weight_stationary_total(const dt_vectors *v, int out_tile, int o, int col)
{
    const dt_capture *c = &t.capture;
    const int taps = c->kernel_height * c->kernel_width;
    const int positions = (c->height + c->conv.pad[0] + c->conv.pad[2]) * (c->width + c->conv.pad[1] + c->conv.pad[3]);
    const dt_vector_file *addresses = case_file(v, "acc_address.txt");
    long sum = 0;

    for (int i = 0; i < v->n_files; i++) {
        const dt_vector_file *w = &v->file[i];
        if (w->role != DT_VECTOR_WEIGHT || w->out_tile != out_tile) continue;
        const long address = value_at(addresses, o * taps + w->tap, 0);
        cr_assert(address / positions == w->tap, "address %ld of tap %d", address, w->tap);
        sum += column_sum(v, w, (int)(address % positions), col);
    }
    return sum;
}

/* The lines of a group's channels, of which all lines of its weights are. */
static long output_stationary_total(const dt_vectors *v, int out_tile, int o, int col)
{
    const dt_capture *c = &t.capture;
    const int first = column_filter(v, out_tile, 0) / (c->filters / c->conv.groups) * (c->channels / c->conv.groups);
    const dt_vector_file *x = activation_file(v, o / 8);
    long sum = 0;

    for (int i = 0; i < v->n_files; i++) {
        const dt_vector_file *w = &v->file[i];
        if (w->role != DT_VECTOR_WEIGHT || w->out_tile != out_tile) continue;
        for (int line = 0; line < w->lines; line++) {
            const int x_line = first * c->kernel_height * c->kernel_width + line;
            sum += value_at(x, x_line, 7 - o % 8) * value_at(w, line, 7 - col);
        }
    }
    return sum;
}

static void expect_totals(const dt_vectors *v, const dt_vector_file *outputs, const char *why)
{
    const int stationary = v->layout == DT_LAYOUT_OUTPUT_STATIONARY, width = t.capture.out_width;

    for (int e = 0; e < outputs->lines * 8; e++) {
        const int o = e / 8, col = e % 8;
        const long want = output_oracle(o / width, o % width, column_filter(v, outputs->out_tile, col));
        const long got = stationary ? output_stationary_total(v, outputs->out_tile, o, col)
                                    : weight_stationary_total(v, outputs->out_tile, o, col);
        cr_assert(got == want, "%s: %s: output tile %d, position %d, column %d: %ld, expected %ld", why,
                  dt_layout_names[v->layout], outputs->out_tile, o, col, got, want);
    }
}

Test(vectors, an_array_that_knows_no_groups_gives_the_psums)
{
    static const dt_layout layouts[] = { DT_LAYOUT_COURSE, DT_LAYOUT_PACK_A, DT_LAYOUT_PACK_B,
                                         DT_LAYOUT_OUTPUT_STATIONARY };

    for (int n = 0; n < N_CASE_FORMS; n++) {
        case_random_form(&t, &case_forms[n], 100 + (uint32_t)n);
        for (int l = 0; l < 4; l++) {
            dt_vectors *v = case_make(&t, layouts[l]);
            for (int i = 0; i < v->n_files; i++) {
                if (v->file[i].role == DT_VECTOR_OUTPUT) expect_totals(v, &v->file[i], case_forms[n].why);
            }
            dt_vectors_destroy(v);
        }
    }
}

/* ---- where groups lie ---- */

typedef struct {
    const char *file;
    int line, lane, filter, tap, channel; /* of the filter's group; filter -1: 0 stands there */
} weight_place;

static void expect_weights(const dt_vectors *v, const weight_place *at, int n)
{
    const dt_capture *c = &t.capture;
    const int taps = c->kernel_height * c->kernel_width, channels = c->channels / c->conv.groups;

    for (int i = 0; i < n; i++, at++) {
        const long want = at->filter < 0 ? 0 : (long)t.qw[(at->filter * taps + at->tap) * channels + at->channel];
        cr_assert(eq(long, value_at(case_file(v, at->file), at->line, at->lane), want), "%s line %d lane %d", at->file,
                  at->line, at->lane);
    }
}

static int has_file(const dt_vectors *v, const char *name)
{
    for (int i = 0; i < v->n_files; i++) {
        if (strcmp(v->file[i].name, name) == 0) return 1;
    }
    return 0;
}

/* No code is 0, so that zeros are places that hold none. */
static void fill_ones(void)
{
    for (int i = 0; i < CASE_CODES; i++) {
        t.qx[i] = 1.0f + (float)(i % 3);
        t.qw[i] = 1.0f + (float)(i % 7);
    }
}

Test(vectors, blocks_of_depthwise_groups_lie_on_the_diagonal)
{
    static const weight_place places[] = {
        { "weight_itile0_otile0_kij4.txt", 0, 7, 0, 4, 0 },  { "weight_itile0_otile0_kij4.txt", 7, 0, 7, 4, 0 },
        { "weight_itile0_otile0_kij4.txt", 1, 7, -1, 4, 0 }, { "weight_itile0_otile0_kij4.txt", 0, 6, -1, 4, 0 },
        { "weight_itile1_otile1_kij8.txt", 2, 5, 10, 8, 0 }, { "weight_itile1_otile1_kij8.txt", 3, 4, -1, 8, 0 },
    };

    case_shape_of(&t, &case_forms[0].geometry);
    fill_ones();
    dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);
    expect_weights(v, places, sizeof places / sizeof places[0]);
    cr_assert(has_file(v, "psum_itile1_otile1.txt") && !has_file(v, "psum_itile0_otile1.txt"));
    cr_assert(has_file(v, "weight_itile0_otile1_kij0.txt") == 0 && has_file(v, "weight_itile1_otile0_kij0.txt") == 0);
    cr_assert(eq(str, case_file(v, "weight_itile1_otile1_kij0.txt")->order,
                 "lanes channel 10..8 and zeros; lines filter 8..10 and zeros"));
    cr_assert(eq(str, case_file(v, "activation_tile0.txt")->order, "lanes channel 7..0; lines nij 0..34"));
    dt_vectors_destroy(v);

    v = case_make(&t, DT_LAYOUT_OUTPUT_STATIONARY);
    cr_assert(eq(int, case_file(v, "weights_os_otile10.txt")->lines, 9));
    cr_assert(eq(int, case_file(v, "activation_os_tile1.txt")->lines, 99));
    cr_assert(eq(str, case_file(v, "weights_os_otile10.txt")->order,
                 "lanes filter 10..10 and zeros; lines channel 10..10, kij 0..8 in each"));
    dt_vectors_destroy(v);
}

/* Columns for four groups of two filters leave four rows without a channel, though the next block has one. */
Test(vectors, rows_beyond_a_block_are_empty)
{
    case_shape_of(&t, &case_forms[2].geometry);
    fill_ones();
    dt_vectors *v = case_make(&t, DT_LAYOUT_NOTEBOOK);
    for (int lane = 0; lane < 8; lane++) {
        const long want = lane < 4 ? 0 : (long)t.qx[5 + 7 - lane]; /* of pixel 1 */
        cr_assert(eq(long, value_at(case_file(v, "activation_itile0.txt"), 1, lane), want), "lane %d", lane);
        cr_assert(eq(long, value_at(case_file(v, "activation_itile1.txt"), 1, lane), lane < 7 ? 0 : (long)t.qx[5 + 4]));
    }
    cr_assert(eq(str, case_file(v, "activation_itile0.txt")->order, "lanes channel 3..0 and zeros; lines pixel 0..8"));
    dt_vectors_destroy(v);
}

/* Three channels are two PE rows: 2r and 2r + 1, or r and r + 2, of which the last place is empty. */
Test(vectors, packs_begin_a_group_with_a_row_of_its_own)
{
    static const weight_place a[] = {
        { "weight_octile0_ictile0_kij0.txt", 0, 7, 0, 0, 1 },  { "weight_octile0_ictile0_kij0.txt", 1, 7, 0, 0, 0 },
        { "weight_octile0_ictile0_kij0.txt", 0, 6, -1, 0, 0 }, { "weight_octile0_ictile0_kij0.txt", 1, 6, 0, 0, 2 },
        { "weight_octile0_ictile0_kij0.txt", 4, 5, 2, 0, 1 },  { "weight_octile0_ictile0_kij0.txt", 5, 5, 2, 0, 0 },
        { "weight_octile1_ictile1_kij3.txt", 3, 6, 9, 3, 2 },  { "weight_octile1_ictile1_kij3.txt", 5, 7, -1, 3, 0 },
    };
    static const weight_place b[] = {
        { "weight_itile0_otile0_kij0.txt", 0, 7, 0, 0, 0 }, { "weight_itile0_otile0_kij0.txt", 0, 6, 0, 0, 1 },
        { "weight_itile1_otile0_kij0.txt", 0, 7, 0, 0, 2 }, { "weight_itile1_otile0_kij0.txt", 0, 6, -1, 0, 0 },
        { "weight_itile0_otile0_kij0.txt", 7, 0, 7, 0, 1 }, { "weight_itile2_otile1_kij3.txt", 1, 6, 9, 3, 1 },
        { "weight_itile3_otile1_kij3.txt", 1, 7, 9, 3, 2 },
    };

    case_shape_of(&t, &case_forms[4].geometry);
    t.capture.x_high = 3;
    fill_ones();
    dt_vectors *v = case_make(&t, DT_LAYOUT_PACK_A);
    expect_weights(v, a, sizeof a / sizeof a[0]);
    dt_vectors_destroy(v);
    v = case_make(&t, DT_LAYOUT_PACK_B);
    expect_weights(v, b, sizeof b / sizeof b[0]);
    dt_vectors_destroy(v);
}

/* One file of weights is one pass of the array. */
Test(vectors, files_of_weights_are_the_passes_of_the_array)
{
    for (int n = 0; n < N_CASE_FORMS; n++) {
        case_random_form(&t, &case_forms[n], 1);
        for (dt_layout layout = DT_LAYOUT_COURSE; layout <= DT_LAYOUT_PACK_A; layout++) {
            dt_vectors *v = case_make(&t, layout);
            dt_array array = case_array();
            array.simd = v->simd;
            const dt_tiling tiling = dt_tiling_of(&array, &v->shape);
            int weights = 0;
            for (int i = 0; i < v->n_files; i++) weights += v->file[i].role == DT_VECTOR_WEIGHT;
            cr_assert(eq(int, weights, (int)tiling.passes), "%s: %s", case_forms[n].why, dt_layout_names[layout]);
            dt_vectors_destroy(v);
        }
    }
}

/* What the course's array does with the files: tap psums of all positions, gathered by address, give the outputs. */
Test(vectors, addresses_gather_tap_psums_to_outputs)
{
    for (int n = 0; n < N_CASE_SIZES; n++) {
        case_random_of(&t, &case_sizes[n], 7);
        const dt_capture *c = &t.capture;
        if (c->channels > 8 || c->filters > 8) continue;
        dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);
        const int taps = c->kernel_height * c->kernel_width;
        for (int o = 0; o < c->out_height * c->out_width; o++) {
            for (int k = 0; k < 8; k++) {
                long sum = 0;
                for (int tap = 0; tap < taps; tap++) {
                    const long line = lane_of(v, "acc_address.txt", o * taps + tap, 0, 11, 0);
                    sum += lane_of(v, "psum.txt", (int)line, 7 - k, 16, 1);
                }
                cr_assert(eq(long, sum, output_oracle(o / c->out_width, o % c->out_width, k)), "%s", case_sizes[n].why);
            }
        }
        dt_vectors_destroy(v);
    }
}

Test(vectors, tap_psums_of_every_tile)
{
    case_random_of(&t, &case_sizes[1], 3);
    const dt_capture *c = &t.capture;
    const int width = c->width + 2, positions = (c->height + 2) * width;
    dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);

    for (int i = 0; i < 2; i++) {
        for (int o = 0; o < 2; o++) {
            char name[64];
            snprintf(name, sizeof name, "psum_itile%d_otile%d.txt", i, o);
            for (int line = 0; line < 9 * positions; line++) {
                const int at = line % positions, k = 8 * o + line % 8;
                const long want = tap_oracle(at / width, at % width, line / positions, k, 8 * i, 8 * i + 8);
                cr_assert(eq(long, lane_of(v, name, line, 7 - line % 8, 16, 1), want), "%s line %d", name, line);
            }
        }
    }
    dt_vectors_destroy(v);
}

/* Tile (i, o) is at both of its indices, also where the grid of tiles is not square. */
Test(vectors, output_stationary_lines_and_unsquare_tiles)
{
    case_shape(&t, 3, 3, 17, 8, 3, 1, 1); /* 3 x 1 weight tiles, 2 tiles of positions */
    case_fill_random(&t, 4, 4, 11);
    dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);
    for (int c = 0; c < 17; c++) {
        char name[64];
        snprintf(name, sizeof name, "weight_itile%d_otile0_kij5.txt", c / 8);
        for (int k = 0; k < 8; k++) {
            cr_assert(eq(long, lane_of(v, name, k, 7 - c % 8, 4, 1), (long)t.qw[(k * 9 + 5) * 17 + c]), "%s", name);
        }
    }
    dt_vectors_destroy(v);

    v = case_make(&t, DT_LAYOUT_OUTPUT_STATIONARY);
    for (int line = 0; line < 17 * 9; line++) {
        const int c = line / 9, r = line % 9 / 3, s = line % 3;
        for (int o = 0; o < 16; o++) {
            const int h = o / 3 + r - 1, w = o % 3 + s - 1;
            const int inside = o < 9 && h >= 0 && h < 3 && w >= 0 && w < 3;
            const char *name = o < 8 ? "activation_os_tile0.txt" : "activation_os_tile1.txt";
            const long want = inside ? (long)t.qx[(h * 3 + w) * 17 + c] : 0;
            cr_assert(eq(long, lane_of(v, name, line, 7 - o % 8, 4, 0), want), "%s line %d", name, line);
        }
        for (int k = 0; k < 8; k++) {
            cr_assert(
                eq(long, lane_of(v, "weights_os.txt", line, 7 - k, 4, 1), (long)t.qw[(k * 9 + r * 3 + s) * 17 + c]));
        }
    }
    dt_vectors_destroy(v);
}

/* ---- widths ---- */

Test(vectors, psums_wrap_and_wide_codes_get_wide_lanes)
{
    dt_array array = case_array();
    const dt_vector_style style = case_style(DT_LAYOUT_COURSE);
    dt_vectors *v;
    dt_vectors_report r;

    case_shape(&t, 3, 3, 8, 8, 3, 1, 1);
    case_fill_random(&t, 8, 8, 5);
    array.psum_bits = 16;
    cr_assert(eq(int, (int)dt_vectors_make(&t.capture, "l", &array, &style, &v), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, case_file(v, "activation_tile0.txt")->bits, 8));
    cr_assert(eq(int, case_file(v, "weight_itile0_otile0_kij0.txt")->bits, 8));
    int64_t overflows = 0;
    for (int o = 0; o < 9; o++) {
        for (int k = 0; k < 8; k++) {
            const long exact = output_oracle(o / 3, o % 3, k), kept = (int16_t)exact;
            overflows += exact != kept;
            cr_assert(eq(long, lane_of(v, "out_raw.txt", o, 7 - k, 16, 1), kept));
            cr_assert(eq(long, lane_of(v, "out.txt", o, 7 - k, 16, 1), kept < 0 ? 0 : kept));
        }
    }
    cr_assert(overflows > 0 && v->n_overflows >= overflows, "%d overflows", (int)v->n_overflows);
    cr_assert(eq(int, (int)dt_vectors_compare(v, &r), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, (int)r.n_mismatches, 0));
    dt_vectors_destroy(v);
}

Test(vectors, addresses_grow_beyond_11_bits)
{
    case_shape(&t, 20, 20, 3, 2, 3, 1, 1); /* 9 * 22 * 22 = 4356 lines */
    case_fill_random(&t, 4, 4, 5);
    dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);
    cr_assert(eq(int, case_file(v, "acc_address.txt")->bits, 13));
    cr_assert(eq(long, lane_of(v, "acc_address.txt", 400 * 9 - 1, 0, 13, 0), 4355L));
    dt_vectors_destroy(v);
}

/* ---- signed activations ---- */

/* Codes -7..7 of the layout's lanes, and psums by the definition. */
static void signed_codes(dt_layout layout)
{
    const case_form *const forms[] = { &case_forms[0], &case_forms[14] };
    dt_vectors_report r;

    for (int form = 0; form < 3; form++) {
        if (form < 2) case_random_form(&t, forms[form], 3);
        if (form == 2) case_shape(&t, 5, 3, 9, 11, 3, 1, 1);
        case_fill_random(&t, 4, 4, 7);
        const dt_capture *c = &t.capture;
        for (int i = 0; i < c->height * c->width * c->channels; i++) t.qx[i] -= 8.0f; /* -8..7 */
        t.capture.x_low = -8, t.capture.x_high = 7;
        dt_vectors *v = case_make(&t, layout);
        cr_assert(v->activation_signed && v->activation_bits == 4, "%d bits", v->activation_bits);
        for (int i = 0; i < v->n_files / 2; i++) {
            const dt_vector_file *f = &v->file[i];
            cr_assert(f->role != DT_VECTOR_ACTIVATION || (f->is_signed && f->bits == 4), "%s", f->name);
        }
        cr_assert(eq(int, (int)dt_vectors_compare(v, &r), DT_OK), "%s", dt_last_error());
        cr_assert(r.n_mismatches == 0 && r.n_psums > 0);
        if (form == 2 && layout == DT_LAYOUT_COURSE) {
            for (int k = 0; k < 15 * 8; k++) { /* the first tile of filters */
                const long exact = output_oracle(k / 8 / 3, k / 8 % 3, k % 8);
                cr_assert(eq(long, lane_of(v, "out_raw_otile0.txt", k / 8, 7 - k % 8, 16, 1), exact));
            }
            const long corner = lane_of(v, "activation_tile0.txt", 1 * 5 + 1, 7, 4, 1);
            cr_assert(corner == (long)t.qx[0], "%ld, expected %g", corner, (double)t.qx[0]);
        }
        dt_vectors_destroy(v);
    }
}

Test(vectors, signed_activations)
{
    signed_codes(DT_LAYOUT_COURSE);
    signed_codes(DT_LAYOUT_NOTEBOOK);
    signed_codes(DT_LAYOUT_OUTPUT_STATIONARY);
}

/* ---- misuse ---- */

static void expect_refused(const char *why, const dt_array *array, dt_layout layout, dt_status status,
                           const char *message)
{
    const dt_vector_style style = case_style(layout);
    dt_vectors *const untouched = (dt_vectors *)&t;
    dt_vectors *v = untouched;
    const dt_status s = dt_vectors_make(&t.capture, "features.0", array, &style, &v);

    cr_assert(eq(int, (int)s, (int)status), "%s: %s", why, s == DT_OK ? "made" : dt_last_error());
    cr_assert(eq(ptr, v, untouched), "%s: out was written", why);
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), message), NULL), "%s: no '%s' in '%s'", why, message,
              dt_last_error());
}

Test(vectors, what_cannot_be_exported_is_refused)
{
    dt_array array = case_array();

    case_fill_example(&t, 8, 4, 15);
    t.capture.x_low = -2, t.capture.x_high = 1;
    expect_refused(
        "signs in a pack", &array, DT_LAYOUT_PACK_A, DT_ERR_ARGUMENT,
        "features.0: activation codes of -2..1 do not fit layout pack-a, whose lanes have 2 bits and no sign");
    t.capture.x_low = -256, t.capture.x_high = 127;
    expect_refused("signed codes of 9 bits", &array, DT_LAYOUT_COURSE, DT_ERR_ARGUMENT,
                   "activation bits is 9, expected 1..8");

    case_fill_example(&t, 8, 4, 15);
    expect_refused("4 bits in a pack", &array, DT_LAYOUT_PACK_B, DT_ERR_ARGUMENT,
                   "features.0: activation codes of 0..15 do not fit layout pack-b, whose lanes have 2 bits");
    t.capture.x_high = 511;
    expect_refused("9 bits", &array, DT_LAYOUT_COURSE, DT_ERR_ARGUMENT, "activation bits is 9, expected 1..8");

    case_fill_example(&t, 8, 4, 15);
    t.qx[3] = 16.0f;
    expect_refused("a code beyond its bits", &array, DT_LAYOUT_COURSE, DT_ERR_NUMERIC,
                   "activation code 3 is 16, expected an integer of 0..15");
    t.qx[3] = 0.5f;
    expect_refused("no integer", &array, DT_LAYOUT_COURSE, DT_ERR_NUMERIC, "activation code 3 is 0.5");

    case_fill_example(&t, 8, 4, 15);
    t.capture.out_width = 5;
    expect_refused("outputs that do not follow", &array, DT_LAYOUT_COURSE, DT_ERR_SHAPE,
                   "its output is 4x5, window, stride, pad and dilation give 4x4");

    case_fill_example(&t, 16, 2, 3);
    array.simd = 1;
    expect_refused("a pack without simd", &array, DT_LAYOUT_PACK_A, DT_ERR_ARGUMENT,
                   "layout pack-a needs simd 2, it is 1");
    array = case_array();
    array.overflow = DT_OVERFLOW_SATURATE;
    expect_refused("an array that clips", &array, DT_LAYOUT_COURSE, DT_ERR_ARGUMENT,
                   "set the array's overflow to wrap");
    array = case_array();
    array.dataflow = DT_DATAFLOW_OS;
    expect_refused("another dataflow", &array, DT_LAYOUT_COURSE, DT_ERR_ARGUMENT,
                   "layout course is for a weight stationary array");
    array = case_array();
    array.rows = 257;
    expect_refused("a huge array", &array, DT_LAYOUT_COURSE, DT_ERR_ARGUMENT, "257");
}
