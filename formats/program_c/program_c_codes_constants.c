/*
 * program_c_codes_constants.c - the constants of layers that compute under a profile, which follow from scales:
 *                               program_c_codes.h.
 *
 * Tests: tests/formats/test_program_c_codes.c.
 */
#include "../../core/arith/grid.h"
#include "../../core/arith/qsoftmax.h"
#include "../../quant/qmatmul.h"
#include "program_c_codes.h"
#include "program_c_constants.h"

#include <inttypes.h>
#include <string.h>

static float scale_of(const dt_c_program *c, int i, int input)
{
    return *(const float *)dt_program_data(c->p, c->layer[i].n, input);
}

/* An array that is computed element by element: what its elements follow from. */
typedef struct {
    const dt_c_program *c;
    int i;
} source_layer;

/* The requantizer of a channel of a REQUANTIZE, or that of a QMUL or QMATMUL. */
static dt_requantizer requantizer_of(const source_layer *s, int64_t channel)
{
    const dt_graph_node *n = s->c->layer[s->i].n;
    dt_requant_case of = { .profile = *dt_node_profile(n), .of = DT_REQUANT_MUL, .count = 1, .scale_w = 1.0f };

    if (n->kind == DT_OP_QMATMUL) of.of = dt_qmatmul_kind(n->params);
    if (n->kind == DT_OP_QMUL || n->kind == DT_OP_QMATMUL) {
        of.scale_x = scale_of(s->c, s->i, DT_QBINARY_SCALE_A);
        of.scale_w = scale_of(s->c, s->i, DT_QBINARY_SCALE_B);
        of.scale_y = scale_of(s->c, s->i, DT_QBINARY_SCALE_Y);
        return dt_requantizer_of(&of);
    }
    const dt_requantize_params *p = n->params;
    of.of = p->of;
    of.count = p->count;
    of.scale_x = scale_of(s->c, s->i, DT_REQUANT_SCALE_X);
    of.scale_y = scale_of(s->c, s->i, DT_REQUANT_SCALE_Y);
    if (n->n_in > DT_REQUANT_SCALE_W)
        of.scale_w = ((const float *)dt_program_data(s->c->p, n, DT_REQUANT_SCALE_W))[channel];
    return dt_requantizer_of(&of);
}

/* Factors of a layer: one a channel where the weights have as many scales. */
static int64_t n_factors(const dt_c_program *c, int i)
{
    const dt_graph_node *n = c->layer[i].n;
    const int per_filter = n->kind == DT_OP_REQUANTIZE && n->n_in > DT_REQUANT_SCALE_W;

    return per_filter ? dt_count(dt_graph_shape(c->p->graph, n->in[DT_REQUANT_SCALE_W])) : 1;
}

static int multiplier_text_of(char *text, const void *array, int64_t i)
{
    return sprintf(text, "%" PRId32, requantizer_of(array, i).multiplier);
}

static int shift_text_of(char *text, const void *array, int64_t i)
{
    return sprintf(text, "%d", requantizer_of(array, i).shift);
}

static int f32_text_of(char *text, const void *array, int64_t i)
{
    return sprintf(text, "%af", (double)requantizer_of(array, i).factor);
}

static int exact_text_of(char *text, const void *array, int64_t i)
{
    return sprintf(text, "%a", requantizer_of(array, i).exact);
}

static int eighth_text_of(char *text, const void *array, int64_t i)
{
    return sprintf(text, "INT64_C(%" PRId64 ")", (int64_t)requantizer_of(array, i).factor);
}

static const dt_c_element of_multipliers = { "int32_t", multiplier_text_of }, of_shifts = { "int8_t", shift_text_of },
                          of_products[DT_C_PRODUCTS] = {
                              [DT_ROUND_F32] = { "float", f32_text_of },
                              [DT_ROUND_EXACT] = { "double", exact_text_of },
                              [DT_ROUND_EIGHTH_BITS] = { "int64_t", eighth_text_of },
                              [DT_ROUND_REAL] = { "double", exact_text_of },
                          };

static int is_multiplied(dt_product product)
{
    return product == DT_ROUND_TWICE || product == DT_ROUND_ONCE;
}

static void put_factor_arrays(FILE *file, const dt_c_program *c, int i)
{
    const source_layer of = { c, i };
    const dt_product product = dt_c_product(&c->layer[i]);
    const int64_t n = n_factors(c, i);

    if (is_multiplied(product)) {
        dt_c_put_member(file, i, &of_multipliers, "multiplier", &of, n);
        dt_c_put_member(file, i, &of_shifts, "shift", &of, n);
    } else {
        dt_c_put_member(file, i, &of_products[product], "factor", &of, n);
    }
}

/* The initialiser of the factor. */
static void put_factor(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_product product = dt_c_product(l);

    fprintf(file, "{ %d, %d, %d, layer_%d_", l->y.low, l->y.high, n_factors(c, i) > 1, i);
    if (is_multiplied(product))
        fprintf(file, "multiplier, layer_%d_shift }", i);
    else if (product == DT_ROUND_REAL)
        fprintf(file, "factor, %af }", (double)requantizer_of(&(source_layer){ c, i }, 0).scale_y);
    else
        fputs("factor }", file);
}

/* Of sums of a convolution. */
static void put_requantize(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const int has_bias = l->n->n_in > DT_REQUANT_BIAS;

    if (has_bias)
        dt_c_put_member(file, i, &dt_c_int32, "bias", dt_program_data(c->p, l->n, DT_REQUANT_BIAS), l->y.channels);
    fprintf(file, "static const requantize_%s_layer layer_%d = { &layer_%d, %d, %d, ",
            dt_c_product_names[dt_c_product(l)], i, l->in[0], l->y.height, l->y.width);
    if (has_bias)
        fprintf(file, "layer_%d_bias,\n    ", i);
    else
        fputs("0,\n    ", file);
    put_factor(file, c, i);
    fputs(" };\n", file);
}

/* Of sums over cells. */
static void put_mean(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];

    fprintf(file, "static const mean_%s_layer layer_%d = { ", dt_c_product_names[dt_c_product(l)], i);
    dt_c_put_pool(file, &c->layer[l->in[0]]);
    fputs(", ", file);
    put_factor(file, c, i);
    fputs(" };\n", file);
}

/* A REQUANTIZE or a QMUL. */
static void put_scaled(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const char *function = dt_c_function(c, l);

    put_factor_arrays(file, c, i);
    if (strcmp(function, "requantize") == 0) {
        put_requantize(file, c, i);
    } else if (strcmp(function, "mean") == 0) {
        put_mean(file, c, i);
    } else {
        fprintf(file, "static const %s_factor layer_%d = ", dt_c_product_names[dt_c_product(l)], i);
        put_factor(file, c, i);
        fputs(";\n", file);
    }
}

static void put_evaluated_product(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];

    fprintf(file, "static const qmul_evaluated_layer layer_%d = { %d, %d, %af, %af, %af };\n", i, l->y.low, l->y.high,
            (double)scale_of(c, i, DT_QBINARY_SCALE_A), (double)scale_of(c, i, DT_QBINARY_SCALE_B),
            (double)scale_of(c, i, DT_QBINARY_SCALE_Y));
}

static void put_qmul(FILE *file, const dt_c_program *c, int i)
{
    (dt_c_product(&c->layer[i]) == DT_ROUND_EVALUATED ? put_evaluated_product : put_scaled)(file, c, i);
}

/* The layer's own matrix, or NULL where both operands are computed. */
static const dt_graph_node *matrix_of(const dt_c_program *c, int i)
{
    for (int k = 0; k < 2; k++) {
        const dt_graph_node *maker = dt_graph_maker(c->p->graph, c->layer[i].n->in[k]);
        if (maker->kind == DT_OP_CODES) return maker;
    }
    return NULL;
}

static int64_t matrix_count(const dt_c_program *c, int i)
{
    const dt_graph_node *matrix = matrix_of(c, i);

    return matrix ? dt_count(dt_graph_shape(c->p->graph, matrix->out)) : 0;
}

static void put_qmatmul(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_graph *g = c->p->graph;
    const dt_matmul_sizes s = dt_matmul_sizes_of(dt_graph_shape(g, l->n->in[DT_QBINARY_A]),
                                                 dt_graph_shape(g, l->n->in[DT_QBINARY_B]), l->n->params);
    const dt_graph_node *matrix = matrix_of(c, i);

    if (matrix)
        dt_c_put_member(file, i, &dt_c_codes, "matrix", dt_program_data(c->p, matrix, DT_CODES_WEIGHT),
                        matrix_count(c, i));
    put_factor_arrays(file, c, i);
    fprintf(file, "static const qmatmul_%s_layer layer_%d = { ", dt_c_product_names[dt_c_product(l)], i);
    fprintf(file, "%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", ", s.matrices, s.rows, s.terms, s.columns);
    fprintf(file, "%" PRId64 ", %" PRId64 ", %" PRId64 ", ", s.a_matrix, s.a_row, s.a_term);
    fprintf(file, "%" PRId64 ", %" PRId64 ", %" PRId64 ", ", s.b_matrix, s.b_term, s.b_column);
    put_factor(file, c, i);
    fputs(" };\n", file);
}

static void put_qadd(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const int sign = ((const dt_qbinary_params *)l->n->params)->subtract ? -1 : 1;
    const dt_adder adder = dt_adder_of(*dt_node_profile(l->n), scale_of(c, i, DT_QBINARY_SCALE_A),
                                       scale_of(c, i, DT_QBINARY_SCALE_B), scale_of(c, i, DT_QBINARY_SCALE_Y), sign);

    fprintf(file, "static const qadd_%s_layer layer_%d = { %d, %d, ", dt_c_product_names[adder.product], i, l->y.low,
            l->y.high);
    if (adder.product == DT_ROUND_F32)
        fprintf(file, "%" PRId32 ", %" PRId32 ", %d", adder.a, adder.b, adder.shift);
    else if (adder.product == DT_ROUND_REAL || adder.product == DT_ROUND_EVALUATED)
        fprintf(file, "%af, %af, %af", (double)adder.scale_a, (double)adder.scale_b, (double)adder.scale_y);
    else
        fprintf(file, "%" PRId32 ", %" PRId32 ", %" PRId32 ", %d, %d, %d, %d", adder.a, sign * adder.b, adder.y,
                adder.a_shift, adder.b_shift, adder.shift, sign);
    fputs(" };\n", file);
}

/* An average rounded half to even is that of codes: zero could be odd. */
static void put_qavgpool(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_qavgpool_params *p = l->n->params;
    const char *half = dt_c_half(l->n);

    fprintf(file, "static const qavgpool_%s_layer layer_%d = { ", half, i);
    dt_c_put_pool(file, l);
    fprintf(file, ", %d, %d, %d };\n", l->y.low, l->y.high, strcmp(half, "even") == 0 ? 0 : p->zero);
}

static float softmax_step(const source_layer *s)
{
    const dt_qsoftmax_params *p = s->c->layer[s->i].n->params;

    return scale_of(s->c, s->i, DT_QSOFTMAX_SCALE_X) * p->beta;
}

static int f32_exp_text(char *text, const void *array, int64_t i)
{
    return sprintf(text, "%af", (double)dt_table_exp(softmax_step(array), (float)i));
}

static int real_exp_text(char *text, const void *array, int64_t i)
{
    return sprintf(text, "%a", exp((double)(softmax_step(array) * -(float)i)));
}

/* Element largest * (largest + 1) / 2 + x, both counted from the least code. */
static int evaluated_exp_text(char *text, const void *array, int64_t i)
{
    const source_layer *s = array;
    const int first = s->c->layer[s->i].x.low;
    int64_t largest = 0;

    while ((largest + 1) * (largest + 2) / 2 <= i) largest++;
    const int64_t x = i - largest * (largest + 1) / 2;
    const float real = softmax_step(s) * (float)(first + x), top = softmax_step(s) * (float)(first + largest);
    return sprintf(text, "%a", exp((double)real - (double)top));
}

static const dt_c_element of_f32_exp = { "float", f32_exp_text }, of_real_exp = { "double", real_exp_text },
                          of_evaluated_exp = { "double", evaluated_exp_text };

/* Differences of codes, from 0. */
static int64_t n_differences(const dt_c_layer *l)
{
    return (int64_t)l->x.high - l->x.low + 1;
}

/* Pairs of a largest code and one that is no larger. */
static int64_t n_pairs(const dt_c_layer *l)
{
    return n_differences(l) * (n_differences(l) + 1) / 2;
}

static void put_qsoftmax(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const source_layer of = { c, i };
    const dt_qsoftmax_params *p = l->n->params;
    const dt_product product = dt_c_product(l);

    if (product == DT_ROUND_F32) dt_c_put_member(file, i, &of_f32_exp, "exp", &of, n_differences(l));
    if (product == DT_ROUND_REAL) dt_c_put_member(file, i, &of_real_exp, "exp", &of, n_differences(l));
    if (product == DT_ROUND_EVALUATED) dt_c_put_member(file, i, &of_evaluated_exp, "exp", &of, n_pairs(l));
    fprintf(file, "static const qsoftmax_%s_layer layer_%d = { %d, %d, ", dt_c_product_names[product], i,
            l->y.height * l->y.width, l->y.channels);
    if (product == DT_ROUND_F32) {
        fprintf(file, "layer_%d_exp };\n", i);
    } else if (product == DT_ROUND_EVALUATED) {
        fprintf(file, "%d, %af, layer_%d_exp };\n", l->x.low, (double)scale_of(c, i, DT_QSOFTMAX_SCALE_Y), i);
    } else if (product == DT_ROUND_REAL) {
        fprintf(file, "%af, layer_%d_exp };\n", (double)scale_of(c, i, DT_QSOFTMAX_SCALE_Y), i);
    } else {
        const dt_fixed_softmax s =
            dt_fixed_softmax_of(scale_of(c, i, DT_QSOFTMAX_SCALE_X), p->beta, product == DT_ROUND_ONCE);
        fprintf(file, "%" PRId32 ", %d, INT64_C(%" PRId64 ") };\n", s.multiplier, s.shift, s.least);
    }
}

static const int64_t *table_size(const dt_c_program *c, int i)
{
    return dt_graph_shape(c->p->graph, c->layer[i].n->in[DT_TABLE_CODES])->dim; /* rows, columns */
}

static void put_table(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_table_params *p = l->n->params;
    const int64_t *size = table_size(c, i);

    dt_c_put_member(file, i, &dt_c_codes, "codes", dt_program_data(c->p, l->n, DT_TABLE_CODES), size[0] * size[1]);
    fprintf(file, "static const table_layer layer_%d = { %" PRId64 ", %d, %" PRId64 ", layer_%d_codes };\n", i,
            dt_value_count(&l->y), p->first, size[1], i);
}

void dt_c_put_engine_constants(FILE *file, const dt_c_program *c, int i)
{
    switch (c->layer[i].n->kind) {
    case DT_OP_REQUANTIZE: put_scaled(file, c, i); break;
    case DT_OP_QMUL: put_qmul(file, c, i); break;
    case DT_OP_QMATMUL: put_qmatmul(file, c, i); break;
    case DT_OP_QADD: put_qadd(file, c, i); break;
    case DT_OP_QAVGPOOL: put_qavgpool(file, c, i); break;
    case DT_OP_QSOFTMAX: put_qsoftmax(file, c, i); break;
    case DT_OP_TABLE: put_table(file, c, i); break;
    default: break;
    }
}

static int64_t factor_bytes(const dt_c_program *c, int i)
{
    const dt_product product = dt_c_product(&c->layer[i]);

    if (product == DT_ROUND_EVALUATED) return 0;
    return n_factors(c, i) * (is_multiplied(product) ? 4 + 1 : product == DT_ROUND_F32 ? 4 : 8);
}

static int64_t softmax_bytes(const dt_c_layer *l)
{
    switch (dt_c_product(l)) {
    case DT_ROUND_F32: return n_differences(l) * 4;
    case DT_ROUND_REAL: return n_differences(l) * 8;
    case DT_ROUND_EVALUATED: return n_pairs(l) * 8;
    default: return 0;
    }
}

int64_t dt_c_engine_bytes(const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];

    switch (l->n->kind) {
    case DT_OP_REQUANTIZE: return factor_bytes(c, i) + (l->n->n_in > DT_REQUANT_BIAS ? l->y.channels * 4 : 0);
    case DT_OP_QMUL: return factor_bytes(c, i);
    case DT_OP_QMATMUL: return factor_bytes(c, i) + matrix_count(c, i) * c->code_bytes;
    case DT_OP_QSOFTMAX: return softmax_bytes(l);
    case DT_OP_TABLE: return table_size(c, i)[0] * table_size(c, i)[1] * c->code_bytes;
    default: return 0;
    }
}

int dt_c_pixel_code(const dt_c_program *c, int64_t i)
{
    const dt_graph_node *n = c->image->n;
    const dt_value *y = &c->image->y;

    if (!dt_c_reads_reals(c)) return ((const int16_t *)dt_program_data(c->p, n, DT_TABLE_CODES))[i];
    const float scale = *(const float *)dt_program_data(c->p, n, DT_QUANTIZE_SCALE);
    const float real = dt_program_pixel(c->p, (uint8_t)(i / y->channels), (int)(i % y->channels));
    return (int)dt_clamp(dt_quantized(real, scale, *dt_node_profile(n)), (float)y->low, (float)y->high);
}
