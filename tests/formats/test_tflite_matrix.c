/*
 * test_tflite_matrix.c - TRANSPOSE and BATCH_MATMUL of TensorFlow Lite files: every order of up to five dimensions
 * moves numbers where this file's loops do; products become the nodes of a program, and programs files that compute, by
 * plain loops, what the programs do; what is not understood is named.
 */
#include "../support/graph_run.h"
#include "../support/matmul_program.h"
#include "../support/same_graphs.h"
#include "../support/tflite_nets.h"
#include "../support/tflite_oracle.h"

#include "../../formats/tflite/tflite_export.h"
#include "../../formats/tflite/tflite_import.h"
#include "detent/predict.h"
#include "detent/quantize.h"

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

/* ---- transposes ---- */

enum { COUNT = 2 * 3 * 4 * 5, IMAGES = 3 };

/* image 1,2,3,20 -> RESHAPE to `dim` -> TRANSPOSE -> RESHAPE to 1,120 */
static dt_tflite *transposing(const int *dim, int n_dims, const int32_t *axes)
{
    dt_tflite *m = tflite_case_begin("transposes");
    int turned[DT_TFLITE_MAX_DIMS + 1] = { 0 };

    const int image = tflite_case_tensor(m, "image", DT_TFLITE_FLOAT32, (int[]){ 1, 2, 3, 20, 0 });
    const int seen = tflite_case_tensor(m, "net/seen/Reshape", DT_TFLITE_FLOAT32, dim);
    const int order = tflite_case_tensor(m, "net/axes", DT_TFLITE_INT32, (int[]){ n_dims, 0 });
    for (int k = 0; k < n_dims; k++) turned[k] = dim[axes[k]];
    const int y = tflite_case_tensor(m, "net/turn/transpose", DT_TFLITE_FLOAT32, turned);
    const int flat = tflite_case_tensor(m, "net/flat/Reshape", DT_TFLITE_FLOAT32, (int[]){ 1, COUNT, 0 });
    tflite_case_data(m, order, axes);
    m->in[m->n_in++] = image;
    tflite_case_op(m, DT_TFLITE_RESHAPE, 1, (int[]){ image }, 1, seen);
    tflite_case_op(m, DT_TFLITE_TRANSPOSE, 1, (int[]){ seen, order }, 2, y);
    tflite_case_op(m, DT_TFLITE_RESHAPE, 1, (int[]){ y }, 1, flat);
    m->out[m->n_out++] = flat;
    return m;
}

static dt_graph *imported(const dt_tflite *m, int wants_integers)
{
    dt_graph *g = NULL;
    int is_integer = -1;

    MUST(dt_tflite_graph(m, "net.tflite", &g, &is_integer));
    cr_assert(eq(int, is_integer, wants_integers));
    return g;
}

/* The graph, and the file that is made of it, move every number where the oracle does. Returns the transposes. */
static int check_transpose(const int *dim, int n_dims, const int32_t *axes)
{
    float image[IMAGES * COUNT], is[IMAGES * COUNT];
    double wanted[COUNT], again[COUNT];
    char name[DT_NAME_MAX + 1];
    dt_tflite *m = transposing(dim, n_dims, axes), *out = NULL;
    dt_graph *g = imported(m, 0);
    int n_nodes = 0;

    for (int i = 0; i < g->n_nodes; i++)
        n_nodes += g->node[i].kind == DT_OP_TRANSPOSE && ((const dt_transpose_params *)g->node[i].params)->rows > 1;
    for (int i = 0; i < IMAGES * COUNT; i++) image[i] = (float)((i * 7919) % 10007);
    const int has_operators = g->n_nodes > 1; /* besides a FLATTEN */
    if (has_operators) MUST(dt_tflite_of_graph(g, &out));
    snprintf(name, sizeof name, "%s", dt_graph_name(g, g->scores));
    graph_run(g, name, image, IMAGES, is);
    for (int n = 0; n < IMAGES; n++) {
        tflite_oracle_run(m, image + n * COUNT, wanted);
        if (out) tflite_oracle_run(out, image + n * COUNT, again);
        for (int i = 0; i < COUNT; i++) {
            cr_assert(wanted[i] == (double)is[n * COUNT + i], "axes %d %d %d %d %d: [%d] is %g, expected %g", axes[0],
                      axes[1], axes[2], axes[3], axes[4], i, (double)is[n * COUNT + i], wanted[i]);
            cr_assert(out == NULL || again[i] == wanted[i], "axes %d %d %d %d %d: [%d] in the file", axes[0], axes[1],
                      axes[2], axes[3], axes[4], i);
        }
    }
    dt_tflite_destroy(out);
    dt_tflite_destroy(m);
    return n_nodes;
}

/* Calls check_transpose for every order of n axes, of which `at` are chosen. */
static int check_orders(const int *dim, int n, int32_t *axes, int at)
{
    int n_nodes = 0;

    if (at == n) return check_transpose(dim, n, axes);
    for (int axis = 0; axis < n; axis++) {
        int is_taken = 0;
        for (int k = 0; k < at; k++) is_taken |= axes[k] == axis;
        if (is_taken) continue;
        axes[at] = axis;
        n_nodes += check_orders(dim, n, axes, at + 1);
    }
    return n_nodes;
}

Test(tflite_matrix, every_order_of_dimensions, .timeout = 120)
{
    int32_t axes[5] = { 0 };

    check_orders((int[]){ 6, 20, 0 }, 2, axes, 0);
    check_orders((int[]){ 1, 8, 15, 0 }, 3, axes, 0);
    check_orders((int[]){ 2, 3, 4, 5, 0 }, 4, axes, 0);
    check_orders((int[]){ 2, 1, 3, 4, 5, 0 }, 5, axes, 0);
}

/* What one exchange does is one node: two blocks that change places, whatever their dimensions. */
Test(tflite_matrix, blocks_are_one_exchange)
{
    static const int dim[] = { 1, 2, 3, 4, 5, 0 };
    static const struct {
        int32_t axes[5];
        int n_nodes;
    } rows[] = { { { 0, 1, 2, 3, 4 }, 0 }, { { 0, 2, 1, 3, 4 }, 1 }, { { 0, 3, 4, 1, 2 }, 1 },
                 { { 0, 4, 1, 2, 3 }, 1 }, { { 2, 3, 4, 0, 1 }, 1 }, { { 0, 1, 3, 2, 4 }, 3 } };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int n_nodes = check_transpose(dim, 5, rows[i].axes);
        cr_assert(n_nodes == rows[i].n_nodes, "row %zu: %d exchanges", i, n_nodes);
    }
}

/* A network of reals that is quantized moves codes. The images have no ties between two codes. */
Test(tflite_matrix, a_quantized_network_moves_codes)
{
    static float image[IMAGES * COUNT];
    const dt_quantization what = { .normalised = image, .n = IMAGES };
    float grid[IMAGES * COUNT], is[COUNT];
    dt_tflite *m = transposing((int[]){ 1, 2, 3, 20, 0 }, 4, (int32_t[]){ 0, 3, 1, 2 });
    dt_options o;
    dt_context *ctx;
    dt_model *real, *quantized;
    dt_program *p;

    for (int i = 0; i < IMAGES * COUNT; i++) image[i] = 0.1237f * (float)((i * 7919) % 212);
    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, &ctx));
    MUST(dt_model_open(ctx, imported(m, 0), &real));
    MUST(dt_quantize(real, &what, &quantized));
    MUST(dt_predict(quantized, &(dt_prediction){ .normalised = image, .n = IMAGES }, grid));
    MUST(dt_program_lower(quantized, NULL, &p));
    cr_assert(dt_graph_find(p->graph, "turn") >= 0);
    for (int n = 0; n < IMAGES; n++) {
        MUST(dt_program_run_reals(p, image + n * COUNT, is));
        for (int i = 0; i < COUNT; i++) {
            const int from = i % 3 * 20 + i / 6 + (i / 3 % 2) * 60; /* of [20][2][3] */
            cr_assert(is[i] == grid[n * COUNT + i], "image %d: [%d] is %g, the grid has %g", n, i, (double)is[i],
                      (double)grid[n * COUNT + i]);
            cr_assert(fabs((double)(is[i] - image[n * COUNT + from])) < 0.06, "image %d: [%d] is %g, of %g", n, i,
                      (double)is[i], (double)image[n * COUNT + from]);
        }
    }
    dt_program_destroy(p);
    dt_model_destroy(quantized);
    dt_model_destroy(real);
    dt_context_destroy(ctx);
    dt_tflite_destroy(m);
}

/* ---- products ---- */

/* A constant of two dimensions, and a product of a value by itself. */
Test(tflite_matrix, a_file_computes_what_its_program_does)
{
    enum { N_SCORES = 25 };
    dt_tflite *m = tflite_nets_matrix();
    dt_program p = { .graph = imported(m, 1) };
    float image[TFLITE_NETS_IMAGE], stored[TFLITE_NETS_IMAGE], is[N_SCORES];
    double wanted[N_SCORES];

    MUST(dt_program_check(&p));
    for (int n = 0; n < IMAGES; n++) {
        for (int i = 0; i < TFLITE_NETS_IMAGE; i++) {
            stored[i] = (float)((n * 31 + i * 89) % 256 - 128);
            image[i] = (stored[i] - 9.0f) / 64.0f;
        }
        MUST(dt_program_run_reals(&p, image, is));
        tflite_oracle_run(m, stored, wanted);
        for (int k = 0; k < N_SCORES; k++)
            cr_assert(is[k] == 0.9f * (float)wanted[k], "image %d: [%d] is %g, expected %g", n, k, (double)is[k],
                      0.9 * wanted[k]);
    }
    dt_graph_destroy(p.graph);
    dt_tflite_destroy(m);
}

static dt_tflite *exported(const dt_program *p, dt_tflite_io io)
{
    dt_tflite *m = NULL;

    MUST(dt_tflite_of_program(p, io, &m));
    return m;
}

static void expect_scores(const dt_program *p, const float *image, const float *wanted, const char *what)
{
    float is[MATMUL_CLASSES];

    MUST(dt_program_run_reals(p, image, is));
    for (int k = 0; k < MATMUL_CLASSES; k++)
        cr_assert(is[k] == wanted[k], "%s: score %d is %g, expected %g", what, k, (double)is[k], (double)wanted[k]);
}

Test(tflite_matrix, a_program_and_its_file_compute_the_same)
{
    enum { N_IMAGES = 40 };
    dt_program *p = matmul_program(DT_PROFILE_LITERT_REF);
    dt_tflite *m = exported(p, DT_TFLITE_IO_F32), *second;
    dt_program q = { .graph = imported(m, 1) }, r;
    float *images = matmul_images(N_IMAGES), wanted[MATMUL_CLASSES];
    double loops[MATMUL_CLASSES];

    second = exported(&q, DT_TFLITE_IO_F32);
    r.graph = imported(second, 1);
    MUST(dt_program_check(&q));
    for (int i = 0; i < N_IMAGES; i++) {
        MUST(dt_program_run_reals(p, images + i * MATMUL_IMAGE, wanted));
        expect_scores(&q, images + i * MATMUL_IMAGE, wanted, "read again");
        tflite_oracle_run(m, images + i * MATMUL_IMAGE, loops);
        for (int k = 0; k < MATMUL_CLASSES; k++)
            cr_assert(loops[k] == (double)wanted[k], "image %d: score %d is %g by plain loops, expected %g", i, k,
                      loops[k], (double)wanted[k]);
    }
    expect_equal_graphs(q.graph, r.graph);
    free(images);
    dt_graph_destroy(q.graph);
    dt_graph_destroy(r.graph);
    dt_tflite_destroy(second);
    dt_tflite_destroy(m);
    dt_program_destroy(p);
}

/* Constants have the zero points that they came with, and the order of operands and transposes stays. */
Test(tflite_matrix, operators_of_a_program)
{
    static const struct {
        int is_constant[2], transpose[2], zero; /* of the constant */
    } wanted[] = {
        { { 0, 1 }, { 0, 0 }, 0 }, { { 1, 0 }, { 1, 0 }, -128 }, { { 0, 0 }, { 0, 1 }, 0 }, { { 0, 1 }, { 0, 1 }, 72 }
    };
    dt_program *p = matmul_program(DT_PROFILE_LITERT_REF);
    dt_tflite *m = exported(p, DT_TFLITE_IO_I8);
    int n = 0;

    for (int i = 0; i < m->n_ops; i++) {
        const dt_tflite_operator *o = &m->op[i];
        if (o->code != DT_TFLITE_BATCH_MATMUL) continue;
        for (int k = 0; k < 2; k++) {
            const dt_tflite_tensor *t = &m->tensor[o->in[k]];
            cr_assert(eq(int, t->data != NULL, wanted[n].is_constant[k]), "product %d, operand %d", n, k);
            cr_assert(eq(int, o->options.transpose[k], wanted[n].transpose[k]), "product %d, operand %d", n, k);
            if (t->data) cr_assert(eq(int, t->zero[0], wanted[n].zero), "product %d", n);
        }
        n++;
    }
    cr_assert(eq(int, n, 4));
    dt_tflite_destroy(m);
    dt_program_destroy(p);
}

/* ---- what is refused ---- */

static dt_tflite_operator *op_of(dt_tflite *m, dt_tflite_code code)
{
    for (int i = 0; i < m->n_ops; i++) {
        if (m->op[i].code == code) return &m->op[i];
    }
    return NULL;
}

static void computed_axes(dt_tflite *m)
{
    dt_tflite_operator *o = op_of(m, DT_TFLITE_TRANSPOSE);
    o->in[1] = o->in[0];
}
static void one_axis_twice(dt_tflite *m)
{
    int32_t *axes = m->tensor[op_of(m, DT_TFLITE_TRANSPOSE)->in[1]].data;
    axes[1] = axes[2];
}
static void both_constant(dt_tflite *m)
{
    dt_tflite_operator *o = op_of(m, DT_TFLITE_BATCH_MATMUL);
    o->in[0] = o->in[1];
}
static void misfit(dt_tflite *m)
{
    op_of(m, DT_TFLITE_BATCH_MATMUL)->options.transpose[1] = 1;
}
static void two_scales(dt_tflite *m)
{
    dt_tflite_tensor *t = &m->tensor[op_of(m, DT_TFLITE_BATCH_MATMUL)->in[1]];
    t->axis = 1;
    t->n_scales = 2;
    t->scale = realloc(t->scale, 2 * sizeof *t->scale);
    t->zero = realloc(t->zero, 2 * sizeof *t->zero);
    t->scale[1] = t->scale[0];
    t->zero[1] = t->zero[0];
}

Test(tflite_matrix, what_is_not_understood_is_named)
{
    static const struct {
        void (*damage)(dt_tflite *m);
        const char *words;
    } cases[] = {
        { computed_axes, "TRANSPOSE 'turned': its axes are 30 numbers of INT8; understood are 4 constant INT32" },
        { one_axis_twice, "TRANSPOSE 'turned': axis 1 of 4, which is no such axis, or named twice" },
        { both_constant, "BATCH_MATMUL 'right': both of its 2 operands are constant" },
        { misfit, "qmatmul: a is 2x2x3x4 and b 1x2x4x5, transposed; needed are" },
        { two_scales, "is INT8 with 2 scales; needed is INT8 with 1" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_program *p = matmul_program(DT_PROFILE_LITERT_REF);
        dt_tflite *m = exported(p, DT_TFLITE_IO_I8);
        dt_graph *g = NULL;
        int is_integer;
        cases[i].damage(m);
        const dt_status s = dt_tflite_graph(m, "net", &g, &is_integer);
        cr_assert(s != DT_OK, "%s: accepted", cases[i].words);
        cr_assert(strstr(dt_last_error(), cases[i].words) != NULL, "no '%s' in '%s'", cases[i].words, dt_last_error());
        dt_tflite_destroy(m);
        dt_program_destroy(p);
    }
}

static void not_shifted(dt_program *p)
{
    ((dt_qmatmul_params *)dt_graph_maker(p->graph, dt_graph_find(p->graph, "last"))->params)->shifted = 0;
}

Test(tflite_matrix, what_has_no_form_in_a_file_is_named)
{
    const char *words = "last (qmatmul): the zero point of last.codes is 72, and `shifted` is 0";
    dt_program *p = matmul_program(DT_PROFILE_LITERT_REF);
    dt_tflite *m = NULL;

    not_shifted(p);
    cr_assert(eq(int, (int)dt_tflite_of_program(p, DT_TFLITE_IO_I8, &m), (int)DT_ERR_UNSUPPORTED));
    cr_assert(strstr(dt_last_error(), words) != NULL, "no '%s' in '%s'", words, dt_last_error());
    dt_program_destroy(p);
}
