/*
 * reference_codes.c - runs the nodes of a program that compute under a profile, by plain loops: see reference.c.
 *
 * Tests: tests/quant/test_program_codes.c.
 */
#include "reference.h"

#include "../../core/arith/grid.h"
#include "../../core/arith/qsoftmax.h"

static float scale_of(const dt_reference_node *k, int input)
{
    return *(const float *)dt_reference_data(k, input);
}

void dt_reference_quantize(const dt_reference_node *k)
{
    const dt_quantize_params *p = k->n->params;
    const float scale = scale_of(k, DT_QUANTIZE_SCALE);

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        const float code = dt_image_code(k->u[i], scale, p);
        k->y[i] = code >= (float)p->low ? (int32_t)code : p->low; /* NaN: low */
    }
}

void dt_reference_requantize(const dt_reference_node *k)
{
    const dt_requantize_params *p = k->n->params;
    const int has_w = k->n->n_in > DT_REQUANT_SCALE_W, channels = k->out.channels;
    const float *scale_w = has_w ? dt_reference_data(k, DT_REQUANT_SCALE_W) : NULL;
    const int32_t *bias = k->n->n_in > DT_REQUANT_BIAS ? dt_reference_data(k, DT_REQUANT_BIAS) : NULL;
    const int one_w = !has_w || dt_count(dt_graph_shape(k->p->graph, k->n->in[DT_REQUANT_SCALE_W])) == 1;

    for (int c = 0; c < channels; c++) {
        const dt_requant_case of = { p->profile,
                                     p->of,
                                     p->count,
                                     scale_of(k, DT_REQUANT_SCALE_X),
                                     has_w ? scale_w[one_w ? 0 : c] : 1.0f,
                                     scale_of(k, DT_REQUANT_SCALE_Y) };
        const dt_requantizer r = dt_requantizer_of(&of);
        for (int64_t i = c; i < dt_value_count(&k->out); i += channels) {
            const int64_t sum = (int64_t)k->x[i] + (bias ? bias[c] : 0);
            k->y[i] = (int32_t)dt_within(dt_requantized(&r, sum), p->low, p->high);
        }
    }
}

void dt_reference_qadd(const dt_reference_node *k)
{
    const dt_qbinary_params *p = k->n->params;
    const int32_t *b = k->values[k->n->in[DT_QBINARY_B]];
    const dt_adder adder = dt_adder_of(p->profile, scale_of(k, DT_QBINARY_SCALE_A), scale_of(k, DT_QBINARY_SCALE_B),
                                       scale_of(k, DT_QBINARY_SCALE_Y), p->subtract ? -1 : 1);

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        k->y[i] = (int32_t)dt_within(dt_added(&adder, k->x[i], b[i]), p->low, p->high);
    }
}

void dt_reference_qmul(const dt_reference_node *k)
{
    const dt_qbinary_params *p = k->n->params;
    const int32_t *b = k->values[k->n->in[DT_QBINARY_B]];
    const dt_requant_case of = { p->profile,
                                 DT_REQUANT_MUL,
                                 1,
                                 scale_of(k, DT_QBINARY_SCALE_A),
                                 scale_of(k, DT_QBINARY_SCALE_B),
                                 scale_of(k, DT_QBINARY_SCALE_Y) };
    const dt_requantizer r = dt_requantizer_of(&of);

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        const int64_t code = r.product == DT_ROUND_EVALUATED
                                 ? dt_evaluated_product((float)k->x[i], of.scale_x, (float)b[i], of.scale_w, of.scale_y)
                                 : dt_requantized(&r, (int64_t)k->x[i] * b[i]);
        k->y[i] = (int32_t)dt_within(code, p->low, p->high);
    }
}

/* An operand of a QMATMUL: codes of this image, or a matrix of the network's. */
typedef struct {
    const int32_t *computed;
    const int16_t *constant;
    int64_t matrices, height, width; /* of the image's B,H,W */
    int transposed;
} matrix_operand;

static matrix_operand operand_of(const dt_reference_node *k, int input, int transposed)
{
    const dt_graph_node *maker = dt_graph_maker(k->p->graph, k->n->in[input]);
    const int64_t *dim = dt_graph_shape(k->p->graph, k->n->in[input])->dim;
    const int is_constant = maker->kind == DT_OP_CODES;

    return (matrix_operand){ is_constant ? NULL : k->values[k->n->in[input]],
                             is_constant ? dt_program_data(k->p, maker, DT_CODES_WEIGHT) : NULL,
                             dim[1],
                             dim[2],
                             dim[3],
                             transposed };
}

static int64_t element_of(const matrix_operand *m, int64_t matrix, int64_t row, int64_t column)
{
    const int64_t h = m->transposed ? column : row, w = m->transposed ? row : column;
    const int64_t i = ((m->matrices == 1 ? 0 : matrix) * m->height + h) * m->width + w;

    return m->constant ? m->constant[i] : m->computed[i];
}

void dt_reference_qmatmul(const dt_reference_node *k)
{
    const dt_qmatmul_params *p = k->n->params;
    const matrix_operand a = operand_of(k, DT_QBINARY_A, p->transpose_a),
                         b = operand_of(k, DT_QBINARY_B, p->transpose_b);
    const dt_requant_case of = { p->profile,
                                 p->shifted ? DT_REQUANT_MATMUL_SHIFTED : DT_REQUANT_MATMUL,
                                 1,
                                 scale_of(k, DT_QBINARY_SCALE_A),
                                 scale_of(k, DT_QBINARY_SCALE_B),
                                 scale_of(k, DT_QBINARY_SCALE_Y) };
    const dt_requantizer r = dt_requantizer_of(&of);
    const int64_t terms = a.transposed ? a.height : a.width;

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        const int64_t column = i % k->out.channels, row = i / k->out.channels % k->out.width;
        const int64_t matrix = i / k->out.channels / k->out.width;
        int64_t sum = 0;
        for (int64_t t = 0; t < terms; t++) sum += element_of(&a, matrix, row, t) * element_of(&b, matrix, t, column);
        k->y[i] = (int32_t)dt_within(dt_requantized(&r, sum), p->low, p->high);
    }
}

void dt_reference_qavgpool(const dt_reference_node *k)
{
    const dt_qavgpool_params *p = k->n->params;
    const int area = p->pool.window[0] * p->pool.window[1];

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        int64_t sum = 0;
        int n = 0;
        for (int j = 0; j < area; j++) {
            const int64_t cell = dt_reference_pool_cell(k, i, j);
            if (cell < 0) continue;
            sum += k->x[cell];
            n++;
        }
        k->y[i] = (int32_t)dt_within(dt_averaged(sum, n, p->zero, p->profile), p->low, p->high);
    }
}

/* A row is the channels of a cell. */
void dt_reference_qsoftmax(const dt_reference_node *k)
{
    const dt_qsoftmax_params *p = k->n->params;
    const int channels = k->out.channels;
    float *room = (float *)k->y; /* codes take the place of the reals that they are computed in */

    for (int64_t i = 0; i < dt_value_count(&k->out); i += channels) {
        for (int c = 0; c < channels; c++) room[i + c] = (float)k->x[i + c];
        dt_qsoftmax_row(p->profile, p->beta, scale_of(k, DT_QSOFTMAX_SCALE_X), scale_of(k, DT_QSOFTMAX_SCALE_Y),
                        &room[i], channels, &room[i]);
        for (int c = 0; c < channels; c++) k->y[i + c] = (int32_t)room[i + c];
    }
}

void dt_reference_dequantize(const dt_reference_node *k)
{
    const float scale = dt_program_scale(k->p, k->n->in[0]);

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) k->z[i] = scale * (float)k->x[i];
}
