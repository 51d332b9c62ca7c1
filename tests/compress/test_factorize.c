/*
 * test_factorize.c - tensor trains and decomposed convolutions: at full rank the network computes what it did, batch
 *                    norms folded in; cores multiply to the matrix; what a lower rank leaves out; what is refused.
 */
#include "../../compress/tensor_train.h"
#include "../support/drawn_scores.h"

/* Linear layers with and without an activation and a batch norm behind them, the last one the scores. */
static const char dense[] =
    "{ \"format\": \"detent-network\", \"name\": \"dense\", \"image\": [7, 6, 3], \"classes\": 6, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 8, \"window\": [3, 2], \"stride\": 2, \"pad\": [1, 0, 0, 1] }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"stem.relu\", \"relu\", \"stem.bn\"],"
    "[\"wide\", \"conv\", \"stem.relu\", { \"filters\": 5, \"window\": 3, \"dilation\": 1, \"pad\": 1 }],"
    "[\"wide.bias\", \"bias\", \"wide\"],"
    "[\"flat\", \"flatten\", \"wide.bias\"],"
    "[\"fc1\", \"linear\", \"flat\", { \"features\": 12 }],"
    "[\"fc1.bn\", \"batchnorm\", \"fc1\"],"
    "[\"fc1.relu\", \"relu\", \"fc1.bn\"],"
    "[\"fc2\", \"linear\", \"fc1.relu\", { \"features\": 30 }],"
    "[\"fc2.relu\", \"relu\", \"fc2\"],"
    "[\"fc3\", \"linear\", \"fc2.relu\", { \"features\": 6 }] ] }";

enum { N = 5, CLASSES = 6, IMAGE = 7 * 6 * 3, SCORES = N * CLASSES };

/* 1e-4 of the largest score: cores are f32, and sums have another order. */
static void check_scores(const float *a, const float *b, const char *what)
{
    float most = 0.0f;

    for (int i = 0; i < SCORES; i++) most = fmaxf(most, fabsf(a[i]));
    for (int i = 0; i < SCORES; i++) {
        cr_assert(fabsf(a[i] - b[i]) <= 1e-4f * most, "%s: score %d is %.9g, expected %.9g", what, i, (double)b[i],
                  (double)a[i]);
    }
}

Test(factorize, of_full_rank_computes_the_same)
{
    static const struct {
        dt_layer_ranks how[3];
        int n;
        const char *reason;
    } cases[] = {
        { { { "fc1", { 999, 999 }, 2, { 0 }, { 0 }, 0 } }, 1, "chosen factors, a batch norm behind" },
        { { { "fc2", { 999 }, 1, { 4, 3 }, { 5, 6 }, 2 } }, 1, "two cores, an activation behind" },
        { { { "fc3", { 999, 999, 999 }, 3, { 5, 1, 3, 2 }, { 1, 3, 1, 2 }, 4 } }, 1, "four cores, the scores" },
        { { { "fc3", { 999 }, 1, { 30, 1 }, { 1, 6 }, 2 } }, 1, "all features in the last core: no scale" },
        { { { "stem", { 999 }, 1, { 0 }, { 0 }, 0 } }, 1, "a convolution with stride and pads" },
        { { { "wide", { 999 }, 1, { 0 }, { 0 }, 0 } }, 1, "a convolution with a bias" },
        { { { "fc*", { 999 }, 1, { 0 }, { 0 }, 0 }, { "wide", { 5 }, 1, { 0 }, { 0 }, 0 } }, 2, "all at once" },
    };
    dt_context *ctx = debugged_context();
    float whole[SCORES], factorised[SCORES];
    dt_model *m = drawn_reals(ctx, dense), *made;

    drawn_scores(m, N, IMAGE, whole);
    for (int i = 0; i < DT_LENGTH(cases); i++) {
        MUST(dt_factorize(m, cases[i].how, cases[i].n, &made));
        for (int k = 0; k < made->graph->n_nodes; k++)
            cr_assert(made->graph->node[k].kind != DT_OP_BATCHNORM, "a batch norm is left");
        drawn_scores(made, N, IMAGE, factorised);
        check_scores(whole, factorised, cases[i].reason);
        dt_model_destroy(made);
    }
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

static int64_t count_of(const dt_model *m, const char *name)
{
    const int i = dt_model_find(m, name);

    return i < 0 ? -1 : dt_count(&m->param[i]->tensor.shape);
}

Test(factorize, has_the_parameters_that_its_ranks_ask_for)
{
    const dt_layer_ranks how[] = { { "fc1", { 3, 2 }, 2, { 5, 3, 3 }, { 2, 2, 3 }, 3 },
                                   { "wide", { 2 }, 1, { 0 }, { 0 }, 0 } };
    dt_context *ctx = debugged_context();
    dt_model *m = drawn_reals(ctx, dense), *made;

    MUST(dt_factorize(m, how, 2, &made));
    cr_assert(count_of(made, "fc1.core1.weight") == 5 * 2 * 3);
    cr_assert(count_of(made, "fc1.core2.weight") == 3 * 3 * 2 * 2);
    cr_assert(count_of(made, "fc1.core3.weight") == 2 * 3 * 3);
    cr_assert(count_of(made, "fc1.scale.weight") == 12);
    cr_assert(count_of(made, "fc1.bias") == 12 && count_of(made, "fc1.weight") == -1);
    cr_assert(count_of(made, "wide.core1.weight") == 2 * 9 * 8 && count_of(made, "wide.core2.weight") == 5 * 2);
    dt_model_destroy(made);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- the train alone ---- */

enum { INPUTS = 3 * 4 * 5, FEATURES = 2 * 3 * 2 };

/* w[o][i] by the definition in tensor_train.h, with sums over both ranks. */
static double product_of_cores(const dt_tensor_train *t, int o, int i)
{
    const int at_i[] = { i / 20, i / 5 % 4, i % 5 }, at_o[] = { o / 6, o / 2 % 3, o % 2 };
    double sum = 0.0;

    for (int a = 0; a < t->rank[0]; a++) {
        for (int b = 0; b < t->rank[1]; b++) {
            const double first = (double)t->core[0][(at_o[0] * t->rank[0] + a) * 3 + at_i[0]];
            const double second = (double)t->core[1][((at_o[1] * t->rank[1] + b) * 4 + at_i[1]) * t->rank[0] + a];
            const double third = (double)t->core[2][(at_o[2] * 5 + at_i[2]) * t->rank[1] + b];
            sum += first * second * third;
        }
    }
    return sum;
}

static double error_of(const float *w, int rank)
{
    dt_tensor_train t = { .d = 3, .in = { 3, 4, 5 }, .out = { 2, 3, 2 }, .rank = { rank, rank } };
    double error = 0.0, all = 0.0;

    MUST(dt_tensor_train_make(w, &t));
    for (int o = 0; o < FEATURES; o++) {
        for (int i = 0; i < INPUTS; i++) {
            const double d = product_of_cores(&t, o, i) - (double)w[o * INPUTS + i];
            error += d * d;
            all += (double)w[o * INPUTS + i] * (double)w[o * INPUTS + i];
        }
    }
    dt_tensor_train_free(&t);
    return sqrt(error / all);
}

Test(tensor_train, multiplies_to_the_matrix)
{
    float w[FEATURES * INPUTS];

    for (int i = 0; i < FEATURES * INPUTS; i++) w[i] = drawn_number((uint32_t)i);
    cr_assert(error_of(w, 99) < 1e-6, "full rank: error %g", error_of(w, 99));
    for (int rank = 2; rank <= 6; rank++) cr_assert(error_of(w, rank) <= error_of(w, rank - 1) + 1e-9, "rank %d", rank);
    cr_assert(error_of(w, 3) > 0.1, "a drawn matrix has no rank of 3");
}

/* Made of cores of ranks 2 and 2: found again at that rank. */
Test(tensor_train, of_low_rank_is_exact)
{
    float first[2 * 2 * 3], second[3 * 2 * 4 * 2], third[2 * 5 * 2], w[FEATURES * INPUTS];
    const dt_tensor_train made = { 3, { 3, 4, 5 }, { 2, 3, 2 }, { 2, 2, 1 }, { first, second, third } };

    for (int i = 0; i < DT_LENGTH(first); i++) first[i] = drawn_number((uint32_t)i);
    for (int i = 0; i < DT_LENGTH(second); i++) second[i] = drawn_number(100u + (uint32_t)i);
    for (int i = 0; i < DT_LENGTH(third); i++) third[i] = drawn_number(200u + (uint32_t)i);
    for (int i = 0; i < FEATURES * INPUTS; i++) w[i] = (float)product_of_cores(&made, i / INPUTS, i % INPUTS);
    cr_assert(error_of(w, 2) < 1e-6, "error %g", error_of(w, 2));
    cr_assert(error_of(w, 1) > 1e-3);
}

Test(tensor_train, factors_are_as_equal_as_they_can_be)
{
    static const struct {
        int n, d, factor[4];
    } cases[] = { { 168, 3, { 7, 6, 4 } }, { 8, 3, { 2, 2, 2 } }, { 1, 3, { 1, 1, 1 } },
                  { 13, 2, { 13, 1 } },    { 36, 2, { 6, 6 } },   { 6144, 4, { 12, 8, 8, 8 } } };

    for (int i = 0; i < DT_LENGTH(cases); i++) {
        int factor[4];
        dt_equal_factors(cases[i].n, cases[i].d, factor);
        for (int k = 0; k < cases[i].d; k++)
            cr_assert(factor[k] == cases[i].factor[k], "%d: factor %d is %d, expected %d", cases[i].n, k, factor[k],
                      cases[i].factor[k]);
    }
}

/* ---- misuse ---- */

Test(factorize, refuses_what_it_cannot_do)
{
    static const struct {
        dt_layer_ranks how;
        const char *reason;
    } cases[] = {
        { { "conv9", { 4 }, 1, { 0 }, { 0 }, 0 }, "no such layer" },
        { { "fc1", { 4 }, 1, { 7, 3 }, { 4, 3 }, 2 }, "factors of other inputs" },
        { { "fc1", { 4 }, 1, { 20, 3 }, { 4, 4 }, 2 }, "factors of other features" },
        { { "fc1", { 0 }, 1, { 0 }, { 0 }, 0 }, "a rank of 0" },
        { { "fc1", { 4 }, 0, { 0 }, { 0 }, 0 }, "no rank" },
        { { "fc1", { 4, 4 }, 2, { 9, 5 }, { 4, 3 }, 2 }, "three cores of two factors" },
        { { "wide", { 4, 4 }, 2, { 0 }, { 0 }, 0 }, "two ranks of a convolution" },
        { { "wide", { 4 }, 1, { 9, 8 }, { 5, 1 }, 2 }, "factors of a convolution" },
    };
    const dt_layer_ranks one = { "stem", { 2 }, 1, { 0 }, { 0 }, 0 };
    dt_context *ctx = debugged_context();
    dt_model *m = drawn_reals(ctx, dense), *q = debugged_model(ctx, 8), *made;

    for (int i = 0; i < DT_LENGTH(cases); i++)
        cr_assert(dt_factorize(m, &cases[i].how, 1, &made) == DT_ERR_ARGUMENT, "%s", cases[i].reason);
    cr_assert(dt_factorize(m, NULL, 0, &made) == DT_ERR_ARGUMENT);
    cr_assert(dt_factorize(q, &one, 1, &made) == DT_ERR_UNSUPPORTED);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}
