/*
 * test_qcaps_allot.c - weight bits from a memory budget, and reductions, against those that the authors of Q-CapsNets
 * published: their runs of 2022 for the corrected rule, examples worked by hand for the published code's.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../support/draws.h"
#include "../support/qcaps_shapes.h"

static dt_qcaps_bits plan(int shape, float budget, int published)
{
    const dt_qcaps_options o = qcaps_options(budget, published);
    dt_qcaps_bits b;
    cr_assert(dt_qcaps_allot(&qcaps_shapes[shape], &o, 9, &b) == DT_OK, "%s", dt_last_error());
    return b;
}

static dt_qcaps_cost cost(int shape, const dt_qcaps_bits *b, int published)
{
    const dt_qcaps_options o = qcaps_options(1.0f, published);
    dt_qcaps_cost c;
    dt_qcaps_cost_of(&qcaps_shapes[shape], &o, b, &c);
    return c;
}

static void same_bits(const int *is, const int *want, int n, const char *what)
{
    for (int l = 0; l < n; l++)
        cr_assert(is[l] == want[l], "%s: layer %d has %d bits, expected %d", what, l, is[l], want[l]);
}

/* As it stands in a table: two decimals. */
static void rounds_to(double is, double want, const char *what)
{
    cr_assert(fabs(is - want) <= 0.00501, "%s is %.5f, expected %.2f", what, is, want);
}

/* Of the size in 32 bits; reduction 0: not published. */
typedef struct {
    int shape, divisor;
    int bits[6];
    double reduction;
} allocation;

static const allocation allocations[] = {
    { SHALLOW, 2, { 17, 16, 15 }, 2.03 },
    { SHALLOW, 3, { 11, 10, 9 }, 3.27 },
    { SHALLOW, 4, { 9, 8, 7 }, 4.11 },
    { SHALLOW, 5, { 7, 6, 5 }, 5.53 },
    { SHALLOW, 6, { 6, 5, 4 }, 6.69 },
    { SHALLOW, 7, { 5, 4, 3 }, 0 },
    { SHALLOW, 8, { 5, 4, 3 }, 0 },
    { SHALLOW, 10, { 4, 3, 2 }, 0 },
    { DEEP28, 2, { 19, 18, 17, 16, 15, 15 }, 0 },
    { DEEP28, 3, { 13, 12, 11, 10, 9, 9 }, 3.21 },
    { DEEP28, 4, { 11, 10, 9, 8, 7, 7 }, 4.01 },
    { DEEP28, 5, { 9, 8, 7, 6, 5, 5 }, 5.35 },
    { DEEP28, 6, { 8, 7, 6, 5, 4, 4 }, 6.43 },
    { DEEP28, 7, { 7, 6, 5, 4, 3, 3 }, 8.04 },
    { DEEP28, 8, { 7, 6, 5, 4, 3, 3 }, 8.04 },
    { DEEP28, 10, { 6, 5, 4, 3, 2, 2 }, 10.74 },
    { DEEP64, 2, { 19, 18, 17, 16, 15, 15 }, 0 },
    { DEEP64, 3, { 14, 13, 12, 11, 10, 10 }, 3.01 },
    { DEEP64, 4, { 11, 10, 9, 8, 7, 7 }, 4.20 },
    { DEEP64, 5, { 9, 8, 7, 6, 5, 5 }, 0 },
    { DEEP64, 6, { 8, 7, 6, 5, 4, 4 }, 0 },
    { DEEP64, 7, { 7, 6, 5, 4, 3, 3 }, 0 },
    { DEEP64, 8, { 7, 6, 5, 4, 3, 3 }, 0 },
    { DEEP64, 10, { 6, 5, 4, 3, 2, 2 }, 0 },
};

static double full_mib(int shape)
{
    static const double count[N_SHAPES] = { 6804384, 8445504, 13363008 };
    return count[shape] * 4.0 / 1048576.0;
}

Test(qcaps_allot, allocations_of_the_authors)
{
    for (size_t i = 0; i < sizeof allocations / sizeof allocations[0]; i++) {
        const allocation *a = &allocations[i];
        const double budget = full_mib(a->shape) / a->divisor;
        const dt_qcaps_bits b = plan(a->shape, (float)budget, 0);
        const dt_qcaps_cost c = cost(a->shape, &b, 0);

        same_bits(b.weight, a->bits, qcaps_shapes[a->shape].n_layers, "weights");
        if (a->reduction > 0) rounds_to(c.weight_reduction, a->reduction, "weight reduction");
        cr_assert(c.memory_mib <= budget && fabs(c.memory_mib * c.weight_reduction - full_mib(a->shape)) < 1e-9,
                  "network %d / %d: %.6f MiB of %.6f", a->shape, a->divisor, c.memory_mib, budget);
    }
}

Test(qcaps_allot, baselines)
{
    rounds_to(full_mib(SHALLOW), 25.96, "shallowcaps");
    rounds_to(full_mib(DEEP28), 32.22, "deepcaps, 28x28");
    rounds_to(full_mib(DEEP64), 50.98, "deepcaps, 64x64");
}

Test(qcaps_allot, activation_reductions_of_the_authors)
{
    static const struct {
        int shape;
        int bits[6];
        double reduction;
    } rows[] = {
        { SHALLOW, { 7, 7, 7 }, 4.57 },
        { SHALLOW, { 6, 6, 6 }, 5.33 },
        { SHALLOW, { 9, 9, 9 }, 3.56 },
        { SHALLOW, { 8, 8, 8 }, 4.00 },
        { DEEP28, { 10, 10, 9, 7, 7, 7 }, 3.34 },
        { DEEP28, { 9, 5, 5, 5, 5, 5 }, 4.93 },
        { DEEP28, { 7, 6, 5, 5, 4, 4 }, 5.25 },
        { DEEP28, { 8, 7, 7, 7, 7, 7 }, 4.34 },
        { DEEP28, { 9, 9, 7, 6, 6, 6 }, 3.81 },
        { DEEP64, { 13, 13, 13, 11, 10, 10 }, 2.49 },
        { DEEP64, { 11, 10, 10, 10, 10, 10 }, 3.08 },
        { DEEP64, { 11, 9, 9, 9, 9, 9 }, 3.28 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dt_qcaps_bits b = dt_qcaps_uniform(&qcaps_shapes[rows[i].shape], 8);
        memcpy(b.activation, rows[i].bits, sizeof rows[i].bits);
        rounds_to(cost(rows[i].shape, &b, 0).activation_reduction, rows[i].reduction, "activation reduction");
    }
}

Test(qcaps_allot, examples_of_the_published_code)
{
    static const struct {
        int shape;
        float budget;
        int bits[6];
        double megabytes; /* 0: not told */
    } rows[] = {
        { SHALLOW, 8, { 9, 8, 7 }, 7.47 },      { SHALLOW, 2, { 2, 1, 0 }, 0 },
        { SHALLOW, 1, { 1, 0, 0 }, 0.853 },     { SHALLOW, 200, { 32, 31, 30 }, 0 },
        { DEEP28, 8, { 9, 8, 7, 6, 5, 5 }, 0 }, { DEEP64, 8, { 7, 6, 5, 4, 3, 3 }, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const dt_qcaps_bits b = plan(rows[i].shape, rows[i].budget, 1);
        same_bits(b.weight, rows[i].bits, qcaps_shapes[rows[i].shape].n_layers, "weights");
        if (rows[i].megabytes > 0) {
            rounds_to(cost(rows[i].shape, &b, 1).memory_mib * 1.048576, rows[i].megabytes, "MB");
        }
    }
}

Test(qcaps_allot, default_budget_allots_32_bits)
{
    dt_qcaps_options o;
    dt_qcaps_options_default(&o);
    cr_assert(o.memory_budget == 200.0f && !o.published && o.rounding == DT_ROUND_NEAREST && o.batch == 100);
    cr_assert(o.accuracy_tolerance == 0.2f && o.cache_bytes == 1073741824);
    cr_assert(plan(SHALLOW, 200.0f, 0).weight[0] == 32 && plan(DEEP64, 1e30f, 1).weight[0] == 32);
}

/* activations and routing: as asked, routing only where there is any */
Test(qcaps_allot, the_rest_is_uniform)
{
    const dt_qcaps_bits b = plan(DEEP28, 8.0f, 0);
    same_bits(b.activation, (const int[]){ 9, 9, 9, 9, 9, 9, 0, 0 }, DT_QCAPS_LAYERS, "activations");
    same_bits(b.routing, (const int[]){ 0, 0, 0, 0, 9, 9, 0, 0 }, DT_QCAPS_LAYERS, "routing");
}

static int64_t used_bits(const dt_qcaps_shape *s, const int *q, int more)
{
    int64_t sum = 0;
    for (int l = 0; l < s->n_layers; l++) sum += s->layer[l].n_weights * (q[l] + more);
    return sum;
}

/* From the smallest budget to 20 bits a weight, on networks of 1 to 8 layers: it fits, every layer has a bit, and not
 * one bit more for all would fit. */
Test(qcaps_allot, any_budget_that_is_possible)
{
    draws d = { .seed = 1 };
    for (int trial = 0; trial < 20000; trial++) {
        dt_qcaps_shape s = { .n_layers = 1 + trial % DT_QCAPS_LAYERS };
        int64_t n = 0;
        for (int l = 0; l < s.n_layers; l++) n += s.layer[l].n_weights = 1 + draw(&d, 100000);
        const int published = trial % 2;
        const double unit = published ? 8e6 : 8388608.0, bits = (double)n * (1.0 + 19.0 * draw_real(&d));
        const dt_qcaps_options o = qcaps_options(nextafterf((float)(bits / unit), 1e9f), published);
        const int64_t budget = (int64_t)((double)o.memory_budget * unit);
        dt_qcaps_bits b;
        cr_assert(dt_qcaps_allot(&s, &o, 8, &b) == DT_OK, "%s", dt_last_error());
        cr_assert(used_bits(&s, b.weight, published) <= budget && used_bits(&s, b.weight, published + 1) > budget);
        for (int l = 0; l < s.n_layers; l++) cr_assert(b.weight[l] + published >= 1);
    }
}

static void refused(int shape, float budget, int published, const char *asked, const char *needed)
{
    const dt_qcaps_options o = qcaps_options(budget, published);
    dt_qcaps_bits b;
    cr_assert(dt_qcaps_allot(&qcaps_shapes[shape], &o, 8, &b) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), asked) && strstr(dt_last_error(), needed), "%s", dt_last_error());
}

Test(qcaps_allot, budgets_that_are_too_small)
{
    refused(DEEP28, 1.0f, 1, "1 MB", "1.0557 MB");
    refused(DEEP64, 1.0f, 1, "1 MB", "1.6704 MB");
    refused(DEEP28, 1.0f, 0, "1 MiB", "1.0068 MiB");
    refused(SHALLOW, 0.8f, 0, "0.8 MiB", "0.8112 MiB");
    refused(SHALLOW, 0.0f, 0, "0 MiB", "0.8112 MiB");
    refused(SHALLOW, -1.0f, 1, "-1 MB", "0.8506 MB");
    refused(SHALLOW, NAN, 0, "nan", "0.8112 MiB");
    same_bits(plan(SHALLOW, 0.8112f, 0).weight, (const int[]){ 1, 1, 1 }, 3, "the smallest");
    same_bits(plan(DEEP28, 1.0557f, 1).weight, (const int[]){ 0, 0, 0, 0, 0, 0 }, 6, "the smallest, published");
}

Test(qcaps_allot, shapes_that_are_none)
{
    const dt_qcaps_options o = qcaps_options(1.0f, 0);
    dt_qcaps_bits b;
    cr_assert(dt_qcaps_allot(&(dt_qcaps_shape){ 0 }, &o, 8, &b) == DT_ERR_ARGUMENT);
    cr_assert(dt_qcaps_allot(&(dt_qcaps_shape){ .n_layers = 9 }, &o, 8, &b) == DT_ERR_ARGUMENT);
    cr_assert(dt_qcaps_allot(&(dt_qcaps_shape){ .n_layers = 2 }, &o, 8, &b) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "no weights"), "%s", dt_last_error());
}
