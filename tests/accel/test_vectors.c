/*
 * test_vectors.c - texts of vectors: the worked example against published sums of its lines, and what is refused.
 *
 * The example's lines and SHA-256 were computed apart from this library, and its course layout was run on RTL.
 */
#include "../support/vector_cases.h"

#include <sha2.h>

static vector_case t;

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
