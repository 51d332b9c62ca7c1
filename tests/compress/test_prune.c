/*
 * test_prune.c - pruned networks: without filters they compute what the whole network does whose filters are 0; which
 *                filters and weights go; what training leaves at 0; what is refused.
 */
#include "../../core/train/trainer.h"
#include "../support/drawn_scores.h"

/* A residual sum, a depthwise convolution with two filters a channel, a concatenation, maps that are flattened. */
static const char branched[] =
    "{ \"format\": \"detent-network\", \"name\": \"branched\", \"image\": [7, 6, 3], \"classes\": 4, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 7, \"window\": 3, \"pad\": 1 }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"stem.relu\", \"relu\", \"stem.bn\"],"
    "[\"branch\", \"conv\", \"stem.relu\", { \"filters\": 7, \"window\": 1 }],"
    "[\"branch.bn\", \"batchnorm\", \"branch\"],"
    "[\"join\", \"add\", [\"branch.bn\", \"stem.relu\"]],"
    "[\"join.relu\", \"relu\", \"join\"],"
    "[\"deep\", \"conv\", \"join.relu\", { \"filters\": 14, \"window\": 3, \"pad\": 1, \"groups\": 7 }],"
    "[\"deep.bias\", \"bias\", \"deep\"],"
    "[\"side\", \"conv\", \"join.relu\", { \"filters\": 5, \"window\": 1 }],"
    "[\"side.relu\", \"relu\", \"side\"],"
    "[\"both\", \"concat\", [\"deep.bias\", \"side.relu\"], { \"axis\": 3 }],"
    "[\"half\", \"maxpool\", \"both\", { \"window\": 2 }],"
    "[\"flat\", \"flatten\", \"half\"],"
    "[\"fc\", \"linear\", \"flat\", { \"features\": 9 }],"
    "[\"fc.relu\", \"relu\", \"fc\"],"
    "[\"classifier\", \"linear\", \"fc.relu\", { \"features\": 4 }] ] }";

enum { N = 5, CLASSES = 4, IMAGE = 7 * 6 * 3, SCORES = N * CLASSES, MOST = 4096 };

/* The values of a parameter; returns how many. */
static int64_t read_param(const dt_model *m, const char *name, float *values)
{
    const int i = dt_model_find(m, name);

    cr_assert(i >= 0, "there is no parameter %s", name);
    MUST(dt_model_read(m, i, values));
    return dt_count(&m->param[i]->tensor.shape);
}

static int64_t rows_of(const dt_model *m, const char *name)
{
    return m->param[dt_model_find(m, name)]->tensor.shape.dim[0];
}

static double norm_of(const float *w, int64_t n)
{
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) sum += fabs((double)w[i]);
    return sum / (double)n;
}

/* Sets removed[k] of the n_least filters of least norm, by a loop over all of them. */
static void least_filters(const double *norm, int n, int n_least, char *removed)
{
    memset(removed, 0, (size_t)n);
    for (int i = 0; i < n_least; i++) {
        int least = -1;
        for (int k = 0; k < n; k++) {
            if (!removed[k] && (least < 0 || norm[k] < norm[least])) least = k;
        }
        removed[least] = 1;
    }
}

/* Clears rows of a parameter, each as long as the parameter has values a row. */
static void clear_rows(dt_model *m, const char *name, const char *removed, int each)
{
    static float w[MOST];
    const int64_t n = read_param(m, name, w), rows = rows_of(m, name), row = n / rows;

    for (int64_t k = 0; k < rows; k++) {
        for (int64_t i = 0; removed[k / each] && i < row; i++) w[k * row + i] = 0.0f;
    }
    MUST(dt_model_write(m, dt_model_find(m, name), w));
}

static void norms_of(const dt_model *m, const char *name, double *norm)
{
    static float w[MOST];
    const int64_t n = read_param(m, name, w), rows = rows_of(m, name);

    for (int64_t k = 0; k < rows; k++) norm[k] += norm_of(w + k * (n / rows), n / rows);
}

/* The whole network with filters whose results are 0 instead of removed ones: of each layer `share`, by the formula of
 * compress.h. */
static void clear_filters(dt_model *m, double share)
{
    double sum[7] = { 0.0 }, side[5] = { 0.0 }, fc[9] = { 0.0 };
    char removed[9];

    norms_of(m, "stem.weight", sum);
    norms_of(m, "branch.weight", sum);
    norms_of(m, "side.weight", side);
    norms_of(m, "fc.weight", fc);
    least_filters(sum, 7, (int)(7 * share), removed);
    clear_rows(m, "stem.bn.weight", removed, 1);
    clear_rows(m, "stem.bn.bias", removed, 1);
    clear_rows(m, "branch.bn.weight", removed, 1);
    clear_rows(m, "branch.bn.bias", removed, 1);
    clear_rows(m, "deep.weight", removed, 2);
    clear_rows(m, "deep.bias.bias", removed, 2);
    least_filters(side, 5, (int)(5 * share), removed);
    clear_rows(m, "side.weight", removed, 1);
    least_filters(fc, 9, (int)(9 * share), removed);
    clear_rows(m, "fc.weight", removed, 1);
    clear_rows(m, "fc.bias", removed, 1);
}

static void check_shape(const dt_model *m, const char *name, dt_shape wanted)
{
    const dt_shape *s = &m->param[dt_model_find(m, name)]->tensor.shape;
    char a[64], b[64];

    cr_assert(dt_same_shape(s, &wanted), "%s is %s, expected %s", name, dt_shape_text(s, a, sizeof a),
              dt_shape_text(&wanted, b, sizeof b));
}

Test(prune, computes_what_the_network_with_filters_of_0_does)
{
    static const float shares[] = { 0.3f, 0.6f, 0.85f };
    dt_context *ctx = debugged_context();

    for (int s = 0; s < DT_LENGTH(shares); s++) {
        const dt_pruning how = { .share = shares[s] };
        const int sum = 7 - (int)(7 * (double)shares[s]), side = 5 - (int)(5 * (double)shares[s]);
        const int fc = 9 - (int)(9 * (double)shares[s]);
        float of_pruned[SCORES], of_cleared[SCORES];
        dt_model *m = drawn_reals(ctx, branched), *pruned;
        MUST(dt_prune(m, &how, &pruned));
        clear_filters(m, (double)shares[s]);
        drawn_scores(m, N, IMAGE, of_cleared);
        drawn_scores(pruned, N, IMAGE, of_pruned);
        for (int i = 0; i < SCORES; i++) { /* sums of other lengths are taken in another order */
            cr_assert(fabsf(of_pruned[i] - of_cleared[i]) <= 1e-5f * (1.0f + fabsf(of_cleared[i])),
                      "share %g: score %d is %.9g, expected %.9g", (double)shares[s], i, (double)of_pruned[i],
                      (double)of_cleared[i]);
        }
        check_shape(pruned, "branch.weight", (dt_shape){ 4, { sum, 1, 1, sum } });
        check_shape(pruned, "deep.weight", (dt_shape){ 4, { 2 * sum, 3, 3, 1 } });
        check_shape(pruned, "fc.weight", (dt_shape){ 2, { fc, 9 * (2 * sum + side) } });
        check_shape(pruned, "classifier.weight", (dt_shape){ 2, { 4, fc } });
        dt_model_destroy(pruned);
        dt_model_destroy(m);
    }
    dt_context_destroy(ctx);
}

/* A filter of one layer that is far smaller than all others goes first, whatever layer it is in. */
Test(prune, global_takes_the_relatively_least_of_all_layers)
{
    static float w[MOST];
    const dt_pruning how = { .share = 0.05f, .scope = DT_PRUNE_GLOBAL }; /* 1 of 21 */
    dt_context *ctx = debugged_context();
    dt_model *m = drawn_reals(ctx, branched), *pruned;

    const int64_t row = read_param(m, "side.weight", w) / 5;
    for (int64_t i = 0; i < row; i++) w[3 * row + i] *= 1e-6f;
    MUST(dt_model_write(m, dt_model_find(m, "side.weight"), w));
    MUST(dt_prune(m, &how, &pruned));
    check_shape(pruned, "side.weight", (dt_shape){ 4, { 4, 1, 1, 7 } });
    check_shape(pruned, "fc.weight", (dt_shape){ 2, { 9, 9 * 18 } });
    dt_model_destroy(pruned);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(prune, of_parameters_removes_at_least_that_share)
{
    static const float shares[] = { 0.1f, 0.5f, 0.9f };
    dt_context *ctx = debugged_context();
    dt_model *m = drawn_reals(ctx, branched), *pruned;

    for (int s = 0; s < 2 * DT_LENGTH(shares); s++) {
        const double share = (double)shares[s / 2], whole = (double)dt_model_count(m);
        const dt_pruning how = { .share = shares[s / 2], .of_parameters = 1, .scope = (dt_prune_scope)(s % 2) };
        MUST(dt_prune(m, &how, &pruned));
        const double left = (double)dt_model_count(pruned) / whole;
        cr_assert(left <= 1.0 - share && left > 0.5 * (1.0 - share), "%g of the parameters are left, %g were to go",
                  left, share);
        dt_model_destroy(pruned);
    }
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(prune, leaves_layers_whole_that_are_named)
{
    static const char *const whole[] = { "st*", "fc" };
    const dt_pruning how = { .share = 0.6f, .whole = whole, .n_whole = 2 };
    dt_context *ctx = debugged_context();
    dt_model *m = drawn_reals(ctx, branched), *pruned;

    MUST(dt_prune(m, &how, &pruned));
    check_shape(pruned, "branch.weight", (dt_shape){ 4, { 7, 1, 1, 7 } }); /* it is added to the stem */
    check_shape(pruned, "side.weight", (dt_shape){ 4, { 2, 1, 1, 7 } });
    check_shape(pruned, "fc.bias", (dt_shape){ 1, { 9 } });
    dt_model_destroy(pruned);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- single weights ---- */

static int n_zeros(const dt_model *m, const char *name)
{
    static float w[MOST];
    const int64_t n = read_param(m, name, w);
    int zeros = 0;

    for (int64_t i = 0; i < n; i++) zeros += w[i] == 0.0f;
    return zeros;
}

/* What stays is as it was, and no smaller than what went. */
static void check_least(const dt_model *m, const dt_model *pruned, const char *name)
{
    static float before[MOST], after[MOST];
    const int64_t n = read_param(m, name, before);
    float largest_gone = 0.0f, least_left = INFINITY;

    read_param(pruned, name, after);
    for (int64_t i = 0; i < n; i++) {
        if (after[i] == 0.0f) {
            largest_gone = fmaxf(largest_gone, fabsf(before[i]));
            continue;
        }
        cr_assert(after[i] == before[i], "%s[%lld] has changed", name, (long long)i);
        least_left = fminf(least_left, fabsf(before[i]));
    }
    cr_assert(largest_gone <= least_left, "%s: %g went, and %g stayed", name, (double)largest_gone, (double)least_left);
}

Test(prune, weights_of_least_magnitude_become_0)
{
    const dt_pruning how = { .kind = DT_PRUNE_WEIGHTS, .share = 0.37f };
    dt_context *ctx = debugged_context();
    dt_model *m = drawn_reals(ctx, branched), *pruned;

    MUST(dt_prune(m, &how, &pruned));
    cr_assert(n_zeros(pruned, "stem.weight") == (int)(0.37 * 189));
    cr_assert(n_zeros(pruned, "classifier.weight") == (int)(0.37 * 36));
    cr_assert(n_zeros(pruned, "fc.bias") == 0);
    check_least(m, pruned, "stem.weight");
    check_least(m, pruned, "fc.weight");
    dt_model_destroy(pruned);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(prune, n_of_m_keeps_the_largest_of_each_group)
{
    static float w[MOST], before[MOST];
    const dt_pruning how = { .kind = DT_PRUNE_WEIGHTS, .group_keep = 2, .group_of = 4 };
    dt_context *ctx = debugged_context();
    dt_model *m = drawn_reals(ctx, branched), *pruned;

    MUST(dt_prune(m, &how, &pruned));
    const int64_t n = read_param(pruned, "side.weight", w); /* rows of 7: a group of 4 and one of 3 */
    read_param(m, "side.weight", before);
    for (int64_t first = 0; first < n; first += first % 7 == 0 ? 4 : 3) {
        const int size = first % 7 == 0 ? 4 : 3;
        for (int i = 0; i < size; i++) {
            int larger = 0;
            for (int k = 0; k < size; k++) larger += fabsf(before[first + k]) > fabsf(before[first + i]);
            cr_assert(w[first + i] == (larger < 2 ? before[first + i] : 0.0f), "side.weight[%lld]",
                      (long long)(first + i));
        }
    }
    dt_model_destroy(pruned);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

static const char trained[] =
    "{ \"format\": \"detent-network\", \"name\": \"trained\", \"image\": [32, 32, 3], \"classes\": 10, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 6, \"window\": 3, \"stride\": 3 }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"stem.relu\", \"relu\", \"stem.bn\"],"
    "[\"pool\", \"maxpool\", \"stem.relu\", { \"window\": 5 }],"
    "[\"flat\", \"flatten\", \"pool\"],"
    "[\"fc\", \"linear\", \"flat\", { \"features\": 10 }] ] }";

static dt_dataset *pictures(void)
{
    const dt_dataset_options opt = { .name = "synthetic", .limit = 32 };
    dt_dataset *d;

    MUST(dt_dataset_open(&opt, &d));
    return d;
}

/* By either optimiser, with decay and momentum. */
Test(prune, training_leaves_zeros_at_0)
{
    const dt_pruning how = { .kind = DT_PRUNE_WEIGHTS, .group_keep = 1, .group_of = 4 };
    dt_context *ctx = debugged_context();
    dt_dataset *d = pictures();

    for (int optim = DT_OPTIM_SGD; optim <= DT_OPTIM_ADAM; optim++) {
        static float before[MOST], after[MOST];
        dt_model *m, *pruned;
        dt_train_config cfg;
        dt_trainer *t;
        dt_train_config_default(NULL, &cfg);
        cfg.optim = (dt_optim_kind)optim;
        cfg.batch = 8;
        cfg.epochs = 2;
        MUST(dt_model_open(ctx, graph_of(trained), &m));
        MUST(dt_prune(m, &how, &pruned));
        const int64_t n = read_param(pruned, "fc.weight", before);
        const int zeros = n_zeros(pruned, "fc.weight");
        cr_assert(zeros > n / 2);
        MUST(dt_trainer_create(pruned, d, &cfg, &t));
        MUST(dt_trainer_run(t, 8));
        cr_assert(n_zeros(pruned, "fc.weight") == zeros, "optimiser %d: %d weights are 0, and %d were", optim,
                  n_zeros(pruned, "fc.weight"), zeros);
        read_param(pruned, "fc.weight", after);
        for (int64_t i = 0; i < n; i++) cr_assert((before[i] == 0.0f) == (after[i] == before[i]), "weight %d", (int)i);
        dt_trainer_destroy(t);
        dt_model_destroy(pruned);
        dt_model_destroy(m);
    }
    dt_dataset_close(d);
    dt_context_destroy(ctx);
}

/* ---- misuse ---- */

Test(prune, refuses_what_it_cannot_do)
{
    static const char *const all[] = { "*" };
    static const struct {
        dt_pruning how;
        dt_status status;
        const char *reason;
    } cases[] = {
        { { .share = 0.0f }, DT_ERR_ARGUMENT, "nothing is to go" },
        { { .share = 1.0f }, DT_ERR_ARGUMENT, "everything is to go" },
        { { .share = 0.05f }, DT_ERR_ARGUMENT, "less than a filter of each layer" },
        { { .share = 0.5f, .whole = all, .n_whole = 1 }, DT_ERR_ARGUMENT, "all layers stay" },
        { { .group_keep = 2, .group_of = 4 }, DT_ERR_ARGUMENT, "groups of filters" },
        { { .kind = DT_PRUNE_WEIGHTS, .group_keep = 4, .group_of = 4 }, DT_ERR_ARGUMENT, "a whole group stays" },
        { { .kind = DT_PRUNE_WEIGHTS, .share = 0.5f, .whole = all, .n_whole = 1 }, DT_ERR_ARGUMENT, "all stay" },
        { { .kind = (dt_prune_kind)7, .share = 0.5f }, DT_ERR_ARGUMENT, "no kind" },
    };
    const dt_pruning half = { .share = 0.5f };
    dt_context *ctx = debugged_context();
    dt_model *m = drawn_reals(ctx, branched), *q = debugged_model(ctx, 8), *none;

    for (int i = 0; i < DT_LENGTH(cases); i++) {
        cr_assert(dt_prune(m, &cases[i].how, &none) == cases[i].status, "%s", cases[i].reason);
    }
    cr_assert(dt_prune(q, &half, &none) == DT_ERR_UNSUPPORTED, "filters of a network of integers");
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}
