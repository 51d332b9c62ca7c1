/*
 * test_vectors_groups.c - texts of vectors of grouped convolutions: where a group's weights lie on the array, and how
 *                         many passes they take.
 */
#include "../support/vector_cases.h"

#include "../../accel/array/tiling.h"

static vector_case t;

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

Test(vectors_groups, blocks_of_depthwise_groups_lie_on_the_diagonal)
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
Test(vectors_groups, rows_beyond_a_block_are_empty)
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
Test(vectors_groups, packs_begin_a_group_with_a_row_of_its_own)
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
Test(vectors_groups, files_of_weights_are_the_passes_of_the_array)
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
