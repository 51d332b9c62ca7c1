/*
 * test_vectors_layouts.c - texts of vectors: every layout against psums that plain loops give, as outputs and as what
 * an array makes of the files, at all widths and with signed activations.
 */
#include "../support/vector_cases.h"

#include <limits.h>

static vector_case t;

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

Test(vectors_layouts, every_layout_holds_the_psums_of_its_codes)
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

Test(vectors_layouts, an_array_that_knows_no_groups_gives_the_psums)
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

/* What the course's array does with the files: tap psums of all positions, gathered by address, give the outputs. */
Test(vectors_layouts, addresses_gather_tap_psums_to_outputs)
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

Test(vectors_layouts, tap_psums_of_every_tile)
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
Test(vectors_layouts, output_stationary_lines_and_unsquare_tiles)
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

Test(vectors_layouts, psums_wrap_and_wide_codes_get_wide_lanes)
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

Test(vectors_layouts, addresses_grow_beyond_11_bits)
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

Test(vectors_layouts, signed_activations)
{
    signed_codes(DT_LAYOUT_COURSE);
    signed_codes(DT_LAYOUT_NOTEBOOK);
    signed_codes(DT_LAYOUT_OUTPUT_STATIONARY);
}
