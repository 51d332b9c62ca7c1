/*
 * test_qpool.c - averages of codes, against sums in double over every window.
 */
#include "../support/engine_oracle.h"
#include "../support/op_case.h"

#include <criterion/criterion.h>

/* The average of output i: of the cells of its window that lie in the map. */
static void oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_qavgpool_params *p = c->params;
    const dt_pool_params *pool = &p->pool;
    const int64_t *x = c->in[0].shape.dim;
    const int64_t window[2] = { pool->window[0] ? pool->window[0] : x[1], pool->window[0] ? pool->window[1] : x[2] };
    const int64_t out_h = pool->window[0] ? (x[1] + pool->pad[0] + pool->pad[2] - window[0]) / pool->stride[0] + 1 : 1;
    const int64_t out_w = pool->window[0] ? (x[2] + pool->pad[1] + pool->pad[3] - window[1]) / pool->stride[1] + 1 : 1;
    const double scale = (double)c->in[0].scale;

    for (int64_t i = 0; i < x[0] * out_h * out_w * x[3]; i++) {
        const int64_t k = i % x[3], q = i / x[3] % out_w, row = i / x[3] / out_w % out_h, n = i / x[3] / out_w / out_h;
        wide sum = 0, count = 0;
        for (int64_t h = row * pool->stride[0] - pool->pad[0]; h < row * pool->stride[0] - pool->pad[0] + window[0];
             h++) {
            for (int64_t w = q * pool->stride[1] - pool->pad[1]; w < q * pool->stride[1] - pool->pad[1] + window[1];
                 w++) {
                if (h < 0 || h >= x[1] || w < 0 || w >= x[2]) continue;
                sum += (wide)rint(in[0][((n * x[1] + h) * x[2] + w) * x[3] + k] / scale);
                count++;
            }
        }
        const double stored = (double)oracle_divide_away(sum + count * p->zero, count) - p->zero;
        const double code = p->profile == DT_PROFILE_ONNX ? oracle_even((double)sum / (double)count) : stored;
        out[i] = oracle_limit(code, p->low, p->high) * scale;
    }
}

#define POOL .op = DT_OP_QAVGPOOL, .n_in = 1, .oracle = oracle, .agree = AGREE_INTEGERS

#define CODES(...)                                                                 \
    {                                                                              \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.5f \
    }

static const dt_qavgpool_params
    whole = { .pool = { .stride = { 1, 1 } }, .low = -128, .high = 127 },
    two = { .pool = { { 2, 2 }, { 2, 2 }, { 0 }, 0 }, .low = -138, .high = 117, .zero = 10 },
    padded = { .pool = { { 3, 2 }, { 2, 1 }, { 1, 0, 1, 1 }, 0 },
               .profile = DT_PROFILE_FP32_RNE,
               .low = 0,
               .high = 235,
               .zero = -20 },
    even = { .pool = { { 2, 2 }, { 1, 2 }, { 0 }, 0 }, .profile = DT_PROFILE_ONNX, .low = -128, .high = 127 };

static const op_case cases[] = {
    { POOL, .why = "qavgpool: one cell", .params = &whole, .in = { CODES(1, 1, 1, 1) } },
    { POOL, .why = "qavgpool: the whole map", .params = &whole, .in = { CODES(3, 7, 5, 33) } },
    { POOL, .why = "qavgpool: 2x2, a zero point", .params = &two, .in = { CODES(3, 7, 6, 5) } },
    { POOL, .why = "qavgpool: padded, strides by axis", .params = &padded, .in = { CODES(2, 7, 6, 5) } },
    { POOL, .why = "qavgpool: half to even", .params = &even, .in = { CODES(2, 7, 6, 5) } },
};

Test(qpool, averages_match_their_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(qpool, misfits_are_refused)
{
    const dt_qavgpool_params above = { .pool = { .stride = { 1, 1 } }, .low = 3, .high = 9 };
    op_case c = cases[1];

    c.in[0].scale = 0.0f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "takes codes of one scale, and x has 0 scales");
    c = cases[1];
    c.params = &above;
    op_case_refused(&c, DT_ERR_ARGUMENT, "the range of the codes is 3..9");
}
