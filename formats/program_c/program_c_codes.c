/*
 * program_c_codes.c - which functions a program needs, and the calls: program_c_codes.h. program_c_codes_constants.c
 * has the constants.
 *
 * Tests: tests/formats/test_program_c_codes.c.
 */
#include "program_c_codes.h"

#include "../../quant/qmatmul.h"
#include "program_c_codes_text.h"
#include "program_c_softmax_text.h"

#include <inttypes.h>
#include <string.h>

const char *const dt_c_product_names[DT_C_PRODUCTS] = {
    [DT_ROUND_TWICE] = "twice",         [DT_ROUND_ONCE] = "once",          [DT_ROUND_F32] = "f32",
    [DT_ROUND_EXACT] = "exact",         [DT_ROUND_EIGHTH_BITS] = "eighth", [DT_ROUND_REAL] = "real",
    [DT_ROUND_EVALUATED] = "evaluated",
};

/* ---- what a layer is ---- */

int dt_c_is_of_engine(const dt_c_layer *l)
{
    switch (l->n->kind) {
    case DT_OP_REQUANTIZE:
    case DT_OP_QADD:
    case DT_OP_QMUL:
    case DT_OP_QMATMUL:
    case DT_OP_QAVGPOOL:
    case DT_OP_QSOFTMAX:
    case DT_OP_TABLE:
    case DT_OP_DEQUANTIZE: return 1;
    default: return 0;
    }
}

const char *dt_c_profile_name(const dt_c_layer *l)
{
    const dt_profile *profile = dt_c_is_of_engine(l) ? dt_node_profile(l->n) : NULL;

    return profile ? dt_profile_names[*profile] : "";
}

dt_product dt_c_product(const dt_c_layer *l)
{
    dt_requant_of of = DT_REQUANT_MUL;

    if (l->n->kind == DT_OP_REQUANTIZE) of = ((const dt_requantize_params *)l->n->params)->of;
    if (l->n->kind == DT_OP_QMATMUL) of = dt_qmatmul_kind(l->n->params);
    return dt_product_of(*dt_node_profile(l->n), of);
}

const char *dt_c_function(const dt_c_program *c, const dt_c_layer *l)
{
    if (l->n->kind != DT_OP_REQUANTIZE) return l->kind;
    if (l->x.kind == DT_VALUE_CODE) return "rescale";
    return c->layer[l->in[0]].n->kind == DT_OP_AVGPOOL ? "mean" : "requantize";
}

const char *dt_c_half(const dt_graph_node *n)
{
    const dt_profile profile = *dt_node_profile(n);
    const int even = profile == DT_PROFILE_ONNX || profile == DT_PROFILE_EXACT ||
                     (profile == DT_PROFILE_FP32_RNE && n->kind == DT_OP_QUANTIZE);

    return even ? "even" : "away";
}

/* ---- functions ---- */

/* 1 if the program has a function of that name for that product. */
static int has(const dt_c_program *c, const char *function, dt_product product)
{
    for (int i = 0; i < c->n_layers; i++) {
        const dt_c_layer *l = &c->layer[i];
        if (dt_c_is_of_engine(l) && dt_node_profile(l->n) && strcmp(dt_c_function(c, l), function) == 0 &&
            dt_c_product(l) == product)
            return 1;
    }
    return 0;
}

/* A product that is evaluated has no factor. */
static int has_factor(const dt_c_program *c, dt_product product)
{
    if (product == DT_ROUND_EVALUATED) return 0;
    return has(c, "requantize", product) || has(c, "mean", product) || has(c, "rescale", product) ||
           has(c, "qmul", product) || has(c, "qmatmul", product);
}

static int has_kind(const dt_c_program *c, dt_op_kind kind)
{
    for (int i = 0; i < c->n_layers; i++) {
        if (c->layer[i].n->kind == kind) return 1;
    }
    return 0;
}

static int has_average(const dt_c_program *c, const char *half)
{
    for (int i = 0; i < c->n_layers; i++) {
        if (c->layer[i].n->kind == DT_OP_QAVGPOOL && strcmp(dt_c_half(c->layer[i].n), half) == 0) return 1;
    }
    return 0;
}

int dt_c_pools_codes(const dt_c_program *c)
{
    int mean = 0;

    for (int p = 0; p < DT_C_PRODUCTS; p++) mean |= has(c, "mean", (dt_product)p);
    return mean || has_kind(c, DT_OP_QAVGPOOL);
}

static int has_adder(const dt_c_program *c, dt_product product)
{
    return has(c, "qadd", product);
}

static int has_softmax(const dt_c_program *c, dt_product product)
{
    return has(c, "qsoftmax", product);
}

/* product_twice or product_once */
static int has_multiplier(const dt_c_program *c, dt_product product)
{
    return has_factor(c, product) || has_adder(c, product) || has_softmax(c, product);
}

static int has_fixed_softmax(const dt_c_program *c)
{
    return has_softmax(c, DT_ROUND_TWICE) || has_softmax(c, DT_ROUND_ONCE);
}

static int is_image_even(const dt_c_program *c)
{
    return dt_c_reads_reals(c) && strcmp(dt_c_half(c->image->n), "even") == 0;
}

int dt_c_rounds_even(const dt_c_program *c)
{
    return has_factor(c, DT_ROUND_F32) || has_factor(c, DT_ROUND_EXACT) || has_factor(c, DT_ROUND_REAL) ||
           has_adder(c, DT_ROUND_REAL) || has_softmax(c, DT_ROUND_REAL) || has_adder(c, DT_ROUND_EVALUATED) ||
           has_softmax(c, DT_ROUND_EVALUATED) || has(c, "qmul", DT_ROUND_EVALUATED) || is_image_even(c);
}

/* The helpers that several functions call. */
static void put_arithmetic(FILE *file, const dt_c_program *c)
{
    const int twice = has_multiplier(c, DT_ROUND_TWICE), once = has_multiplier(c, DT_ROUND_ONCE);
    const int fixed = twice || has_fixed_softmax(c), eighth = has_factor(c, DT_ROUND_EIGHTH_BITS);
    const int f32_adder = has_adder(c, DT_ROUND_F32);

    if (twice || once || eighth || f32_adder || has_kind(c, DT_OP_QAVGPOOL) || has_softmax(c, DT_ROUND_F32) ||
        dt_c_has_stored(c))
        fputs(within_text, file);
    if (fixed || once || eighth || f32_adder) fputs(down_text, file);
    if (fixed) fputs(fixed_text, file);
    if (twice) fputs(product_twice_text, file);
    if (once) fputs(product_once_text, file);
    if (dt_c_rounds_even(c)) fputs(nearest_text, file);
}

static void put_factors(FILE *file, const dt_c_program *c)
{
    static const char *const texts[DT_C_PRODUCTS] = {
        [DT_ROUND_TWICE] = multiplier_factor_text,
        [DT_ROUND_ONCE] = multiplier_factor_text,
        [DT_ROUND_F32] = f32_factor_text,
        [DT_ROUND_EXACT] = exact_factor_text,
        [DT_ROUND_EIGHTH_BITS] = eighth_factor_text,
        [DT_ROUND_REAL] = real_factor_text,
    };

    static const struct {
        const char *function, *text;
    } users[] = { { "requantize", requantize_text },
                  { "mean", mean_text },
                  { "rescale", rescale_text },
                  { "qmul", qmul_text },
                  { "qmatmul", qmatmul_text } };

    for (int p = 0; p < DT_C_PRODUCTS; p++) {
        if (!has_factor(c, (dt_product)p)) continue;
        fprintf(file, texts[p], dt_c_product_names[p]);
        for (size_t k = 0; k < sizeof users / sizeof users[0]; k++) {
            if (has(c, users[k].function, (dt_product)p)) fprintf(file, users[k].text, dt_c_product_names[p]);
        }
    }
    if (has(c, "qmul", DT_ROUND_EVALUATED)) fputs(evaluated_qmul_text, file);
}

static void put_adders(FILE *file, const dt_c_program *c)
{
    static const char *const texts[DT_C_PRODUCTS] = {
        [DT_ROUND_TWICE] = multiplier_qadd_text, [DT_ROUND_ONCE] = multiplier_qadd_text, [DT_ROUND_F32] = f32_qadd_text,
        [DT_ROUND_REAL] = real_qadd_text,        [DT_ROUND_EVALUATED] = real_qadd_text,
    };

    for (int p = 0; p < DT_C_PRODUCTS; p++) {
        if (texts[p] && has_adder(c, (dt_product)p)) fprintf(file, texts[p], dt_c_product_names[p]);
    }
}

static void put_softmaxes(FILE *file, const dt_c_program *c)
{
    static const char *const texts[DT_C_PRODUCTS] = {
        [DT_ROUND_TWICE] = fixed_softmax_text,
        [DT_ROUND_ONCE] = fixed_softmax_text,
        [DT_ROUND_F32] = f32_softmax_text,
        [DT_ROUND_REAL] = real_softmax_text,
        [DT_ROUND_EVALUATED] = evaluated_softmax_text,
    };

    if (has_kind(c, DT_OP_QSOFTMAX)) fputs(largest_text, file);
    if (has_fixed_softmax(c)) fputs(fixed_exp_text, file);
    for (int p = 0; p < DT_C_PRODUCTS; p++) {
        if (texts[p] && has_softmax(c, (dt_product)p)) fprintf(file, texts[p], dt_c_product_names[p]);
    }
}

/* fp32-rne multiplies by the reciprocal of the scale, the others divide. */
static void put_image(FILE *file, const dt_c_program *c)
{
    const dt_value *y = &c->image->y;
    const float scale = *(const float *)dt_program_data(c->p, c->image->n, DT_QUANTIZE_SCALE);
    const int multiplies = *dt_node_profile(c->image->n) == DT_PROFILE_FP32_RNE;
    char steps[64];

    snprintf(steps, sizeof steps, "x[i] %c %af", multiplies ? '*' : '/', (double)(multiplies ? 1.0f / scale : scale));
    fputs(is_image_even(c) ? half_even_text : half_away_text, file);
    fprintf(file, image_quantize_text, steps, dt_c_half(c->image->n), y->low, y->high);
}

void dt_c_put_engine_functions(FILE *file, const dt_c_program *c)
{
    put_arithmetic(file, c);
    if (dt_c_pools_codes(c)) fputs(cells_sum_text, file);
    put_factors(file, c);
    put_adders(file, c);
    if (has_average(c, "away")) {
        fputs(quotient_away_text, file);
        fprintf(file, qavgpool_text, "away");
    }
    if (has_average(c, "even")) {
        fputs(quotient_even_text, file);
        fprintf(file, qavgpool_text, "even");
    }
    put_softmaxes(file, c);
    if (has_kind(c, DT_OP_TABLE)) fputs(table_text, file);
    if (has_kind(c, DT_OP_DEQUANTIZE)) fputs(dequantize_text, file);
    if (dt_c_reads_reals(c)) put_image(file, c);
}

/* ---- calls ---- */

/* An operand is a buffer, or the layer's own matrix. */
static void put_matmul_call(FILE *file, const dt_c_program *c, int i, const char *product, const char *y)
{
    const dt_c_layer *l = &c->layer[i];
    char text[2][DT_C_BUFFER_BYTES];
    int next = 0;

    for (int k = 0; k < 2; k++) {
        if (dt_graph_maker(c->p->graph, l->n->in[k])->kind == DT_OP_CODES)
            snprintf(text[k], sizeof text[k], "layer_%d_matrix", i);
        else
            dt_c_buffer_name(c, l->in[next++], text[k]);
    }
    fprintf(file, "    qmatmul_%s(&layer_%d, %s, %s, %s);", product, i, text[0], text[1], y);
}

void dt_c_put_engine_call(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const int64_t count = dt_value_count(&l->y);
    char a_text[DT_C_BUFFER_BYTES], b_text[DT_C_BUFFER_BYTES], y_text[DT_C_BUFFER_BYTES];
    const char *a = dt_c_buffer_name(c, dt_c_program_source(c, i, 0), a_text), *y = dt_c_buffer_name(c, i, y_text);
    const char *function = dt_c_function(c, l);
    const char *product = dt_node_profile(l->n) ? dt_c_product_names[dt_c_product(l)] : "";

    switch (l->n->kind) {
    case DT_OP_DEQUANTIZE:
        fprintf(file, "    dequantize(%" PRId64 ", %af, %s, %s);", count, (double)dt_program_scale(c->p, l->n->in[0]),
                a, y);
        break;
    case DT_OP_QMATMUL: put_matmul_call(file, c, i, product, y); break;
    case DT_OP_TABLE: fprintf(file, "    table(&layer_%d, %s, %s);", i, a, y); break;
    case DT_OP_QAVGPOOL: fprintf(file, "    qavgpool_%s(&layer_%d, %s, %s);", dt_c_half(l->n), i, a, y); break;
    case DT_OP_REQUANTIZE:
        if (l->x.kind == DT_VALUE_CODE)
            fprintf(file, "    rescale_%s(&layer_%d, %" PRId64 ", %s, %s);", product, i, count, a, y);
        else
            fprintf(file, "    %s_%s(&layer_%d, %s, %s);", function, product, i, a, y);
        break;
    case DT_OP_QADD:
    case DT_OP_QMUL:
        fprintf(file, "    %s_%s(&layer_%d, %" PRId64 ", %s, %s, %s);", function, product, i, count, a,
                dt_c_buffer_name(c, l->in[1], b_text), y);
        break;
    default: fprintf(file, "    %s_%s(&layer_%d, %s, %s);", function, product, i, a, y);
    }
}

/* ---- the image and the scores ---- */

static int is_byte(const dt_value *v)
{
    return v->high - v->low <= UINT8_MAX;
}

int dt_c_has_stored(const dt_c_program *c)
{
    const dt_c_layer *last = &c->layer[c->n_layers - 1];

    return dt_c_reads_reals(c) && last->n->kind == DT_OP_DEQUANTIZE && is_byte(&c->image->y) && is_byte(&last->x);
}

int dt_c_zero(const dt_c_program *c, int value)
{
    return dt_codes_zero(c->p->graph, value);
}
