/*
 * test_tflite_export.c - programs as int8 TensorFlow Lite files: the files compute, by plain loops in their own layout,
 * what the programs do; read again they are the same programs; what has no form in a file is named. With
 * DETENT_PTQ_ORACLE, a folder of converted networks, those are read, written, and read again.
 */
#include "../support/temp_files.h"

#include "../support/engine_program.h"
#include "../support/same_graphs.h"
#include "../support/tflite_nets.h"
#include "../support/tflite_oracle.h"

#include "../../formats/tflite/tflite_export.h"
#include "../../formats/tflite/tflite_import.h"

#include <glob.h>
#include <math.h>

TestSuite(tflite_export, .init = temp_make, .fini = temp_remove);

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

/* ---- helpers ---- */

static dt_program program_of(const dt_tflite *m)
{
    dt_program p = { .graph = NULL };
    int is_integer;

    MUST(dt_tflite_graph(m, "net.tflite", &p.graph, &is_integer));
    cr_assert(eq(int, is_integer, 1));
    return p;
}

static dt_tflite *exported(const dt_program *p, dt_tflite_io io)
{
    dt_tflite *m = NULL;

    MUST(dt_tflite_of_program(p, io, &m));
    return m;
}

/* The scores, real, that a file's plain loops give for an image. */
static void file_scores(const dt_tflite *m, const float *image, double *scores)
{
    const dt_tflite_tensor *x = &m->tensor[m->in[0]], *y = &m->tensor[m->out[0]];
    const int64_t n = dt_tflite_count(x);
    float *stored = malloc((size_t)n * sizeof *stored);
    const double low = x->type == DT_TFLITE_UINT8 ? 0 : -128;

    for (int64_t i = 0; i < n; i++) {
        stored[i] = image[i];
        if (x->type == DT_TFLITE_FLOAT32) continue;
        stored[i] = (float)fmin(fmax(round((double)(image[i] / x->scale[0])) + x->zero[0], low), low + 255);
    }
    tflite_oracle_run(m, stored, scores);
    for (int64_t k = 0; k < dt_tflite_count(y) && y->type != DT_TFLITE_FLOAT32; k++)
        scores[k] = (double)(y->scale[0] * (float)(scores[k] - y->zero[0]));
    free(stored);
}

static const dt_tflite_type type_of[] = { DT_TFLITE_FLOAT32, DT_TFLITE_INT8, DT_TFLITE_UINT8 };

static void *params_of(dt_program *p, const char *name)
{
    return dt_graph_maker(p->graph, dt_graph_find(p->graph, name))->params;
}

/* ---- files ---- */

/* Of each of the three kinds of input and output. */
Test(tflite_export, a_file_computes_what_the_program_does)
{
    enum { N_IMAGES = 7 };
    float image[TFLITE_NETS_IMAGE], expected[TFLITE_NETS_CLASSES];
    double scores[TFLITE_NETS_CLASSES];

    for (int io = 0; io < 3; io++) {
        dt_tflite *from = tflite_nets_int8(DT_TFLITE_FLOAT32);
        dt_program p = program_of(from);
        dt_tflite *m = exported(&p, (dt_tflite_io)io);
        cr_assert(eq(int, (int)m->tensor[m->in[0]].type, (int)type_of[io]));
        cr_assert(eq(int, (int)m->tensor[m->out[0]].type, (int)type_of[io]));
        for (int i = 0; i < N_IMAGES; i++) {
            for (int k = 0; k < TFLITE_NETS_IMAGE; k++) image[k] = 2.3f * tflite_nets_real(i, k);
            MUST(dt_program_run_reals(&p, image, expected));
            file_scores(m, image, scores);
            for (int k = 0; k < TFLITE_NETS_CLASSES; k++) {
                cr_assert(scores[k] == (double)expected[k], "io %d, image %d: %g, expected %g", io, i, scores[k],
                          (double)expected[k]);
            }
        }
        dt_tflite_destroy(m);
        dt_graph_destroy(p.graph);
        dt_tflite_destroy(from);
    }
}

Test(tflite_export, a_file_that_is_read_again_is_the_same_program)
{
    for (int io = 0; io < 3; io++) {
        dt_tflite *from = tflite_nets_int8(type_of[io]), *m = NULL;
        dt_program p = program_of(from), q;
        MUST(dt_program_write_tflite(&p, (dt_tflite_io)io, temp_path("net.tflite")));
        MUST(dt_tflite_read(temp_path("net.tflite"), &m));
        q = program_of(m);
        expect_equal_graphs(p.graph, q.graph);
        cr_assert(dt_graph_find(q.graph, "conv0.act_quant") >= 0 && dt_graph_find(q.graph, "fc1.weight") >= 0);
        dt_graph_destroy(p.graph);
        dt_graph_destroy(q.graph);
        dt_tflite_destroy(from);
        dt_tflite_destroy(m);
    }
}

/* A program that no file made, with each operator of codes. */
Test(tflite_export, a_program_of_every_operator)
{
    dt_program *p = engine_program(DT_PROFILE_LITERT_REF);
    dt_tflite *m = exported(p, DT_TFLITE_IO_I8);
    dt_program q = program_of(m);
    static const dt_tflite_code codes[] = {
        DT_TFLITE_CONV_2D, DT_TFLITE_MAX_POOL_2D,     DT_TFLITE_CONV_2D,  DT_TFLITE_ADD,
        DT_TFLITE_MUL,     DT_TFLITE_AVERAGE_POOL_2D, DT_TFLITE_LOGISTIC, DT_TFLITE_QUANTIZE,
        DT_TFLITE_MEAN,    DT_TFLITE_FULLY_CONNECTED, DT_TFLITE_SOFTMAX
    };

    expect_equal_graphs(p->graph, q.graph);
    cr_assert(eq(int, m->n_ops, 11));
    for (int i = 0; i < m->n_ops; i++) {
        cr_assert(eq(int, (int)m->op[i].code, (int)codes[i]), "operator %d is %s", i,
                  dt_tflite_op_name((int)m->op[i].code));
        for (int k = 0; k < m->op[i].n_in; k++) {
            const int in = m->op[i].in[k];
            cr_assert(in < 0 || m->tensor[in].type == DT_TFLITE_INT32 || m->tensor[in].n_scales > 0);
        }
    }
    dt_tflite_destroy(m);
    dt_graph_destroy(q.graph);
    dt_program_destroy(p);
}

/* ---- what is refused ---- */

static void narrow(dt_program *p)
{
    ((dt_requantize_params *)params_of(p, "first.act_quant"))->high = 200;
    p->graph->value[dt_graph_find(p->graph, "first.act_quant")]->facts.qmax = 200;
}
static void matmul(dt_program *p)
{
    ((dt_requantize_params *)params_of(p, "branch.act_quant"))->of = DT_REQUANT_MATMUL;
}
static void other_zero(dt_program *p)
{
    ((dt_qavgpool_params *)params_of(p, "average"))->zero = -67;
}
static void other_table(dt_program *p)
{
    int16_t *table = p->graph->value[dt_graph_find(p->graph, "sigmoid.table")]->data;
    table[100]++;
}

Test(tflite_export, what_has_no_form_in_a_file_is_named)
{
    static const struct {
        const char *why;
        void (*damage)(dt_program *p);
        const char *words;
    } cases[] = {
        { "241 codes", narrow, "first.act_quant (requantize): its codes are -40..200 and its zero point -88" },
        { "a matrix product", matmul, "branch.act_quant (requantize): sums of kind 2" },
        { "a pool with a zero point of its own", other_zero,
          "its zero point is -67, and that of the codes that it reads -28" },
        { "another function", other_table, "sigmoid (table): sigmoid.table makes its codes; a file has LOGISTIC" },
    };
    dt_tflite *const untouched = (dt_tflite *)temp_folder;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_program *p = engine_program(DT_PROFILE_LITERT_REF);
        dt_tflite *m = untouched;
        cases[i].damage(p);
        const dt_status s = dt_tflite_of_program(p, DT_TFLITE_IO_I8, &m);
        cr_assert(eq(int, (int)s, (int)DT_ERR_UNSUPPORTED), "%s: %s", cases[i].why, s ? dt_last_error() : "exported");
        cr_assert(strstr(dt_last_error(), cases[i].words) != NULL, "%s: no '%s' in '%s'", cases[i].why, cases[i].words,
                  dt_last_error());
        cr_assert(m == untouched, "%s: out was written", cases[i].why);
        dt_program_destroy(p);
    }
}

/* A file that is no file yet stays none. */
Test(tflite_export, files_of_other_programs_are_refused)
{
    dt_tflite *from = tflite_nets_int8(DT_TFLITE_INT8);
    dt_program p = program_of(from);
    const char *path = temp_path("none.tflite");

    cr_assert(eq(int, (int)dt_program_write_tflite(&p, (dt_tflite_io)3, path), (int)DT_ERR_ARGUMENT));
    cr_assert(strstr(dt_last_error(), "io is 3, allowed are 0 (f32) to 2 (u8)") != NULL, "%s", dt_last_error());
    cr_assert(access(path, F_OK) != 0, "%s was made", path);
    dt_graph_destroy(p.graph);
    dt_tflite_destroy(from);
}

/* ---- converted networks ---- */

TestSuite(tflite_export_oracle);

Test(tflite_export_oracle, converted_networks_stay_the_same_programs)
{
    const char *folder = getenv("DETENT_PTQ_ORACLE");
    char pattern[TEMP_PATH_BYTES];
    glob_t found;

    if (!folder) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    snprintf(pattern, sizeof pattern, "%s/tflite/*.fiq_*.tflite", folder);
    cr_assert(glob(pattern, 0, NULL, &found) == 0, "there is no %s", pattern);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        dt_tflite *from = NULL, *m;
        MUST(dt_tflite_read(found.gl_pathv[i], &from));
        dt_program p = program_of(from), q;
        m = exported(&p, (dt_tflite_io)(i % 3));
        q = program_of(m);
        expect_equal_graphs(p.graph, q.graph);
        cr_assert(abs(from->n_ops - m->n_ops) <= 2, "%s: %d operators became %d", found.gl_pathv[i], from->n_ops,
                  m->n_ops);
        dt_tflite_destroy(m);
        dt_tflite_destroy(from);
        dt_graph_destroy(p.graph);
        dt_graph_destroy(q.graph);
    }
    globfree(&found);
}
