/*
 * test_onnx_quant.c - networks that compute on codes and on reals: QONNX's quantizers against what the package qonnx
 * computed, their programs, the three styles in which they are written, and the lines that stand for thresholds.
 *
 * tests/golden/make_qonnx_golden.py drew the networks.
 */
#include "../../formats/onnx/onnx_export.h"
#include "../support/onnx_golden.h"
#include "../support/temp_files.h"

#include <math.h>

TestSuite(onnx_quant, .init = temp_make, .fini = temp_remove);

/* ---- reading ---- */

Test(onnx_quant, quantizers_are_those_of_qonnx)
{
    onnx_golden_expect_reals("quant", "quant_modes", 0.0f);
    onnx_golden_expect_reals("quant", "quant_trunc_1", 0.0f);
    onnx_golden_expect_reals("quant", "quant_trunc_2", 0.0f);
    onnx_golden_expect_reals("quant", "quant_layers", 1e-6f); /* the scores are sums of 24 floats there */
    onnx_golden_expect_reals("quant", "qcdq", 1e-6f);
}

/* Codes of int8 that are trained on, against the codes of the file's engine. The engine sums floats, and a network
 * integers, so that a code may differ by one where the real value is next to a half. */
Test(onnx_quant, networks_of_codes_are_networks_too)
{
    static const char *const names[] = { "qdq_s8", "qdq_symmetric" };
    static float scores[ONNX_GOLDEN_MOST], expected[ONNX_GOLDEN_MOST];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        dt_graph *g;
        GRAPH_RUN_MUST(dt_graph_load(onnx_golden(names[i]), &g));
        float scale = 0.0f;
        for (int k = 0; k < g->n_nodes; k++) {
            if (g->node[k].kind == DT_OP_SCALE_QUANT) scale = *(const float *)g->value[g->node[k].in[1]]->data;
        }
        cr_assert(scale > 0.0f, "%s has no quantizer", names[i]);
        const int64_t n = onnx_golden_run("expected", names[i], g, scores);
        cr_assert(eq(i64, onnx_recorded("expected", names[i], "y", expected), n));
        int n_other = 0;
        for (int64_t k = 0; k < n; k++) {
            cr_assert(fabsf(scores[k] - expected[k]) < 1.5f * scale, "%s: score %lld is %g, recorded %g", names[i],
                      (long long)k, (double)scores[k], (double)expected[k]);
            n_other += scores[k] != expected[k];
        }
        cr_assert(n_other * 10 <= n, "%s: %d of %lld codes differ", names[i], n_other, (long long)n);
    }
}

/* ---- programs ---- */

static dt_context *open_context(void)
{
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = "cpu";
    GRAPH_RUN_MUST(dt_context_create(&opt, &ctx));
    return ctx;
}

static dt_program *program_of(dt_context *ctx, const char *path)
{
    dt_program *p;
    dt_model *m;

    GRAPH_RUN_MUST(dt_exchange_model(ctx, path, &m));
    GRAPH_RUN_MUST(dt_program_lower(m, NULL, &p));
    dt_model_destroy(m);
    return p;
}

/* Scores of the recorded images, which are pixels / 255, as bytes. */
static int64_t run_program(const dt_program *p, const char *name, float *scores)
{
    static float images[ONNX_GOLDEN_MOST];
    static uint8_t pixels[ONNX_GOLDEN_MOST];
    const int64_t n = onnx_recorded("quant", name, "x", images), each = n / ONNX_GOLDEN_IMAGES;
    const int classes = dt_program_n_scores(p);

    for (int64_t i = 0; i < n; i++) pixels[i] = (uint8_t)lrintf(255.0f * images[i]);
    for (int i = 0; i < ONNX_GOLDEN_IMAGES; i++) {
        GRAPH_RUN_MUST(dt_program_run(p, pixels + i * each, scores + (size_t)i * (size_t)classes));
    }
    return (int64_t)ONNX_GOLDEN_IMAGES * classes;
}

static void expect_bits(const char *what, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        cr_assert(a[i] == b[i], "%s: score %lld is %.9g, expected %.9g", what, (long long)i, (double)a[i],
                  (double)b[i]);
    }
}

Test(onnx_quant, their_programs_have_the_bits_of_the_network)
{
    static const char *const names[] = { "quant_layers", "quant_trunc_1", "qcdq" };
    static float by_program[ONNX_GOLDEN_MOST], by_graph[ONNX_GOLDEN_MOST];
    dt_context *ctx = open_context();
    int is_integer;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        dt_program *p = program_of(ctx, onnx_golden(names[i]));
        const int64_t n = run_program(p, names[i], by_program);
        cr_assert(eq(i64, onnx_golden_run("quant", names[i], onnx_golden_graph(names[i], &is_integer), by_graph), n));
        expect_bits(names[i], by_program, by_graph, n);
        dt_program_destroy(p);
    }
    dt_context_destroy(ctx);
}

/* ---- writing ---- */

static int n_nodes_of(const char *path, const char *op)
{
    dt_onnx *m;
    int n = 0;

    GRAPH_RUN_MUST(dt_onnx_read(path, &m));
    for (int i = 0; i < m->n_nodes; i++) n += strcmp(m->node[i].op, op) == 0;
    dt_onnx_destroy(m);
    return n;
}

static void expect_equal_programs(const dt_program *a, const dt_program *b, const char *what)
{
    cr_assert(eq(int, a->graph->n_nodes, b->graph->n_nodes), "%s", what);
    for (int i = 0; i < a->graph->n_nodes; i++) {
        const dt_graph_node *x = &a->graph->node[i], *y = &b->graph->node[i];
        cr_assert(eq(int, (int)x->kind, (int)y->kind), "%s: node %d", what, i);
        if (x->kind != DT_OP_THRESHOLD) continue;
        const int64_t n = dt_count(dt_graph_shape(a->graph, x->in[DT_THRESHOLD_STEPS]));
        const int32_t *s = dt_program_data(a, x, DT_THRESHOLD_STEPS), *t = dt_program_data(b, y, DT_THRESHOLD_STEPS);
        cr_assert(eq(i64, dt_count(dt_graph_shape(b->graph, y->in[DT_THRESHOLD_STEPS])), n), "%s", what);
        for (int64_t k = 0; k < n; k++) {
            cr_assert(s[k] == t[k], "%s: %s: threshold %lld is %d, expected %d", what, dt_graph_name(a->graph, x->out),
                      (long long)k, t[k], s[k]);
        }
    }
}

Test(onnx_quant, each_style_comes_back_as_the_same_program)
{
    static const char *const names[] = { "quant_layers", "qcdq" }, *const mark[] = { "QuantizeLinear", "Clip",
                                                                                     "Quant" };
    static float was[ONNX_GOLDEN_MOST], is[ONNX_GOLDEN_MOST];
    dt_context *ctx = open_context();

    for (int i = 0; i < 6; i++) {
        const char *name = names[i / 3], *style = dt_onnx_style_names[i % 3];
        dt_program *p = program_of(ctx, onnx_golden(name));
        GRAPH_RUN_MUST(dt_program_write_onnx(p, (dt_onnx_style)(i % 3), 13 + 4 * (i / 3), temp_path("net.onnx")));
        cr_assert(n_nodes_of(temp_path("net.onnx"), mark[i % 3]) >= 2, "%s has no %s", style, mark[i % 3]);
        dt_program *back = program_of(ctx, temp_path("net.onnx"));
        expect_equal_programs(p, back, style);
        const int64_t n = run_program(p, name, was);
        run_program(back, name, is);
        expect_bits(style, is, was, n);
        dt_program_destroy(back);
        dt_program_destroy(p);
    }
    dt_context_destroy(ctx);
}

Test(onnx_quant, normalisation_comes_back)
{
    dt_context *ctx = open_context();
    dt_program *p = program_of(ctx, onnx_golden("quant_trunc_1"));
    dt_model_info is;
    dt_model *back;

    p->origin = (dt_data_origin){
        .name = "some set", .fingerprint = "0123456789abcdef", .mean = { 0.25f, 0.5f }, .std = { 0.125f, 0.1f }
    };
    GRAPH_RUN_MUST(dt_program_write_onnx(p, DT_ONNX_QONNX, 13, temp_path("net.onnx")));
    GRAPH_RUN_MUST(dt_exchange_model(ctx, temp_path("net.onnx"), &back));
    const dt_data_origin *o = dt_model_get_origin(back);
    dt_model_look(back, &is);
    cr_assert(is.unit_pixels == 0 && strcmp(o->name, "some set") == 0 &&
              strcmp(o->fingerprint, "0123456789abcdef") == 0);
    cr_assert(o->mean[0] == 0.25f && o->mean[1] == 0.5f && o->std[0] == 0.125f && o->std[1] == 0.1f);
    dt_model_destroy(back);
    dt_program_destroy(p);
    dt_context_destroy(ctx);
}

/* ---- lines ---- */

/* The code that a line gives u = sign * psum, in the f32 of a file. */
static int code_at(const dt_onnx_steps *s, float factor, float sum, int64_t u)
{
    const float x = (float)(s->sign * u) / (float)s->cells, product = factor * x;

    return (int)fminf(fmaxf(rintf(product + sum), (float)s->low), (float)(s->low + s->levels));
}

static void expect_line(const char *why, const dt_onnx_steps *s, float factor, float sum)
{
    cr_assert(dt_onnx_find_line(s, &factor, &sum), "%s: no line", why);
    for (int64_t psum = s->psum_low; psum <= s->psum_high; psum++) {
        const int64_t u = s->sign * psum;
        int code = s->low;
        for (int l = 0; l < s->levels; l++) code += u >= s->step[l * s->stride];
        cr_assert(eq(int, code_at(s, factor, sum, u), code), "%s: psum %lld", why, (long long)psum);
    }
}

Test(onnx_quant, lines_give_the_codes_of_thresholds_at_every_sum)
{
    const int32_t even[] = { -5, 5, 15 }, tie[] = { 2, 4 }, far[] = { INT32_MIN, 3, INT32_MAX }, none[] = { 0, 1, 50 },
                  columns[] = { -7, 100, 3, 100, 13, 100 }, same[] = { 4, 4 };

    expect_line("a line that holds", &(dt_onnx_steps){ even, 1, 3, 0, 1, -40, 40, 1.0 }, 0.1f, 0.95f);
    expect_line("a sum on the wrong side", &(dt_onnx_steps){ even, 1, 3, 0, 1, -40, 40, 1.0 }, 0.1f, 0.5f);
    expect_line("falling", &(dt_onnx_steps){ even, 1, 3, -1, -1, -40, 33, 1.0 }, -0.1f, 0.0f);
    expect_line("a tie that even rounding decides otherwise", &(dt_onnx_steps){ tie, 1, 2, 0, 1, 0, 7, 1.0 }, 0.5f,
                -0.5f);
    expect_line("thresholds that all and that no sums reach", &(dt_onnx_steps){ far, 1, 3, 0, 1, -9, 9, 1.0 }, 0.01f,
                1.4f);
    expect_line("a column", &(dt_onnx_steps){ columns, 2, 3, 2, 1, -40, 40, 1.0 }, 0.1f, 2.2f);
    expect_line("averages of 9 cells", &(dt_onnx_steps){ even, 1, 3, 0, 1, -40, 40, 9.0 }, 0.9f, 0.5f);
    expect_line("a jump of two codes", &(dt_onnx_steps){ same, 1, 2, -1, 1, 3, 4, 1.0 }, 2.0f, -7.0f);
    float factor = 0.1f, sum = 0.0f;
    const int is_found = dt_onnx_find_line(&(dt_onnx_steps){ none, 1, 3, 0, 1, -40, 90, 1.0 }, &factor, &sum);
    cr_assert(eq(int, is_found, 0), "it is no line");
}

/* Ascending values, and codes that a line gives when they are limited to low..high. */
Test(onnx_quant, lines_give_the_codes_of_values)
{
    float value[256], factor, sum;
    int code[256];
    const dt_onnx_values wide = { value, code, 256, -9, 9 }, limited = { value, code, 256, -3, 4 };

    for (int i = 0; i < 256; i++) {
        value[i] = ((float)i / 255.0f - 0.4f) / 0.3f;
        code[i] = (int)fminf(fmaxf(rintf(3.0f * value[i] + 0.3f), -3.0f), 4.0f);
    }
    const dt_onnx_values *const both[] = { &wide, &limited };
    for (int k = 0; k < 2; k++) {
        factor = 1.0f;
        sum = 0.0f;
        const int is_found = dt_onnx_find_line_of_values(both[k], &factor, &sum);
        cr_assert(eq(int, is_found, k), "codes that are limited lie on a line where the file limits them");
    }
    for (int i = 0; i < 256; i++) {
        cr_assert(eq(int, (int)fminf(fmaxf(rintf(factor * value[i] + sum), -3.0f), 4.0f), code[i]), "pixel %d", i);
    }
}
