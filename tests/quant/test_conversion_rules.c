/*
 * test_conversion_rules.c - scales, zero points and constants of TensorFlow Lite's converter follow from its recorded
 * ranges by core/arith/range.h: in all 29 of its small conversions, those of operators that detent's own networks do
 * not have among them. And which weights it makes int8 codes of by dynamic ranges.
 *
 * The converter's results are micro.json of the folder that DETENT_PTQ_ORACLE names.
 */
#include "../../core/arith/range.h"
#include "../../quant/insert_dynamic.h"
#include "../support/golden_json.h"

#include <string.h>

enum { BITS = 8, N_CONVERSIONS = 29 };

/* How many values and constants were compared. */
typedef struct {
    int n_ranges, n_constants, n_codes;
} compared;

/* The same operator of the integer graph, which has QUANTIZEs of its own between. */
static const cJSON *counterpart(const cJSON *integer, const char *kind, const cJSON *behind)
{
    const cJSON *op = behind ? behind->next : integer->child;

    while (op && strcmp(cJSON_GetObjectItem(op, "op")->valuestring, kind) != 0) op = op->next;
    return op;
}

static int is_any_of(const char *kind, const char *const *kinds)
{
    while (*kinds && strcmp(kind, *kinds) != 0) kinds++;
    return *kinds != NULL;
}

static void expect_grid(const char *what, const cJSON *tensor, float scale, int zero)
{
    const float is = (float)cJSON_GetObjectItem(tensor, "scale")->child->valuedouble;
    const int z = cJSON_GetObjectItem(tensor, "zero_point")->child->valueint;

    cr_assert(is == scale && z == zero, "%s: the converter has scale %.9g and zero point %d, the rule %.9g and %d",
              what, (double)is, z, (double)scale, zero);
}

static dt_range range_of(const cJSON *real)
{
    return (dt_range){ (float)cJSON_GetObjectItem(real, "min")->valuedouble,
                       (float)cJSON_GetObjectItem(real, "max")->valuedouble };
}

/* Operands of a concatenation have its own grid, and those whose grid is fixed reach it through a QUANTIZE. */
static const cJSON *grid_giver(const char *kind, const cJSON *op)
{
    static const char *const passes_on[] = { "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "RESHAPE", NULL };

    return is_any_of(kind, passes_on) ? cJSON_GetObjectItem(op, "inputs")->child : NULL;
}

static void check_output(const char *what, const char *kind, const cJSON *real, const cJSON *op, compared *n)
{
    const cJSON *made = cJSON_GetObjectItem(op, "output"), *giver = grid_giver(kind, op);

    if (giver) {
        expect_grid(what, made, (float)cJSON_GetObjectItem(giver, "scale")->child->valuedouble,
                    cJSON_GetObjectItem(giver, "zero_point")->child->valueint);
    } else if (strcmp(kind, "TANH") == 0) {
        expect_grid(what, made, 1.0f / 128.0f, 0);
    } else if (strcmp(kind, "SOFTMAX") == 0) {
        expect_grid(what, made, 1.0f / 256.0f, -128);
    } else {
        const dt_range r = range_of(cJSON_GetObjectItem(real, "output"));
        const dt_range_grid grid = dt_range_grid_of(r.min, r.max, BITS, 0);
        expect_grid(what, made, grid.scale, grid.zero);
    }
    n->n_ranges++;
}

/* A constant that is no weight is quantized as a value is, from its own least and largest element. */
static void check_constant(const char *what, const cJSON *real, const cJSON *codes, compared *n)
{
    const cJSON *v, *code = cJSON_GetObjectItem(codes, "data")->child;
    dt_range r = { INFINITY, -INFINITY };

    cJSON_ArrayForEach(v, cJSON_GetObjectItem(real, "data"))
    {
        r.min = fminf(r.min, (float)v->valuedouble);
        r.max = fmaxf(r.max, (float)v->valuedouble);
    }
    const dt_range_grid grid = dt_range_grid_of(r.min, r.max, BITS, 0);
    expect_grid(what, codes, grid.scale, grid.zero);
    cJSON_ArrayForEach(v, cJSON_GetObjectItem(real, "data"))
    {
        const int is = (int)dt_range_code((float)v->valuedouble, &grid) + grid.zero;
        cr_assert(is == code->valueint, "%s: %g: the converter has code %d, the rule %d", what, v->valuedouble,
                  code->valueint, is);
        code = code->next;
        n->n_codes++;
    }
    n->n_constants++;
}

static void check_inputs(const char *what, const char *kind, const cJSON *real, const cJSON *op, compared *n)
{
    static const char *const takes_values[] = { "BATCH_MATMUL", "MUL", "ADD", "SUB", NULL };
    const cJSON *from = cJSON_GetObjectItem(real, "inputs")->child, *to = cJSON_GetObjectItem(op, "inputs")->child;
    const int is_joined = strcmp(kind, "CONCATENATION") == 0;

    for (; from && to; from = from->next, to = to->next) {
        if (!cJSON_IsObject(from) || !cJSON_GetObjectItem(to, "scale")) continue;
        if (is_any_of(kind, takes_values) && cJSON_GetObjectItem(from, "data") && cJSON_GetObjectItem(to, "data")) {
            check_constant(what, from, to, n);
        } else if (is_joined) {
            const cJSON *made = cJSON_GetObjectItem(op, "output");
            expect_grid(what, to, (float)cJSON_GetObjectItem(made, "scale")->child->valuedouble,
                        cJSON_GetObjectItem(made, "zero_point")->child->valueint);
        }
    }
}

/* What enters the network. */
static void check_entry(const char *what, const cJSON *plain, const cJSON *integer, compared *n)
{
    const cJSON *real = cJSON_GetObjectItem(plain->child, "inputs")->child;
    const cJSON *codes = cJSON_GetObjectItem(integer->child, "inputs")->child;

    if (!cJSON_GetObjectItem(real, "min")) return; /* a constant stands there */
    const dt_range r = range_of(real);
    const dt_range_grid grid = dt_range_grid_of(r.min, r.max, BITS, 0);
    expect_grid(what, codes, grid.scale, grid.zero);
    n->n_ranges++;
}

Test(conversion_rules, scales_and_constants_follow_from_ranges)
{
    cJSON *micro = golden_json("micro");
    const cJSON *one;
    compared n = { 0 };

    if (!micro) cr_skip("DETENT_PTQ_ORACLE names no folder with TensorFlow Lite's results");
    cr_assert(cJSON_GetArraySize(micro) == N_CONVERSIONS);
    cJSON_ArrayForEach(one, micro)
    {
        const cJSON *plain = cJSON_GetObjectItem(one, "float"), *integer = cJSON_GetObjectItem(one, "int8"), *real;
        const cJSON *op = NULL;
        check_entry(one->string, plain, integer, &n);
        cJSON_ArrayForEach(real, plain)
        {
            const char *kind = cJSON_GetObjectItem(real, "op")->valuestring;
            op = counterpart(integer, kind, op);
            cr_assert(op, "%s: the integer graph has no %s", one->string, kind);
            check_output(one->string, kind, real, op, &n);
            check_inputs(one->string, kind, real, op, &n);
        }
    }
    cr_log_info("%d grids, %d constants of %d codes", n.n_ranges, n.n_constants, n.n_codes);
    cr_assert(n.n_ranges > 50 && n.n_constants >= 6 && n.n_codes > 30, "%d grids, %d constants of %d codes", n.n_ranges,
              n.n_constants, n.n_codes);
    cJSON_Delete(micro);
}

/* The number of elements of a tensor. */
static int64_t elements(const cJSON *tensor)
{
    const cJSON *d;
    int64_t n = 1;

    cJSON_ArrayForEach(d, cJSON_GetObjectItem(tensor, "shape")) n *= d->valueint;
    return n;
}

Test(conversion_rules, dynamic_ranges_make_codes_of_large_weights)
{
    cJSON *micro = golden_json("micro");
    const cJSON *one;
    int n_layers = 0;

    if (!micro) cr_skip("DETENT_PTQ_ORACLE names no folder with TensorFlow Lite's results");
    cJSON_ArrayForEach(one, micro)
    {
        const cJSON *types = cJSON_GetArrayItem(cJSON_GetObjectItem(one, "drq_weight_types"), 0);
        const cJSON *op = cJSON_GetObjectItem(one, "float")->child;
        /* a product of two values has no layer of weights */
        if (!types || strcmp(types->child->valuestring, "BATCH_MATMUL") == 0) continue;
        const int64_t n = elements(cJSON_GetArrayItem(cJSON_GetObjectItem(op, "inputs"), 1));
        const int is_codes = strcmp(types->child->next->valuestring, "INT8") == 0;
        cr_assert(is_codes == (n >= DT_DYNAMIC_LEAST_ELEMENTS), "%s: %lld weights", one->string, (long long)n);
        n_layers++;
    }
    cr_assert_eq(n_layers, 6);
    cJSON_Delete(micro);
}
