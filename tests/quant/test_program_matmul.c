/*
 * test_program_matmul.c - programs with products of matrices: the reference and the tape agree in every code, on every
 * device and in compiled C; files keep them; what does not fit is refused.
 */
#include "../support/compiled_c.h"
#include "../support/matmul_program.h"

#include "../../core/context.h"
#include "../../core/train/model.h"

enum { IMAGES = 21, N_PROFILES = DT_PROFILE_ONNX + 1 };

static dt_context *context(const char *backend)
{
    dt_options opt;
    dt_context *ctx = NULL;

    dt_options_default(&opt);
    opt.backend = backend;
    return dt_context_create(&opt, &ctx) == DT_OK ? ctx : NULL;
}

/* Scores of the reference, [IMAGES][MATMUL_CLASSES]; the caller frees them. */
static float *reference_scores(const dt_program *p, const float *images)
{
    float *scores = malloc(IMAGES * MATMUL_CLASSES * sizeof *scores);

    for (int i = 0; i < IMAGES; i++)
        engine_must(dt_program_run_reals(p, images + i * MATMUL_IMAGE, scores + i * MATMUL_CLASSES));
    return scores;
}

static void same(const float *is, const float *wanted, int n, const char *what)
{
    for (int i = 0; i < n; i++)
        cr_assert(is[i] == wanted[i], "%s: score %d is %.9g, expected %.9g", what, i, (double)is[i], (double)wanted[i]);
}

/* Every value of a program, of which the tape has those of all images. */
typedef struct {
    const dt_program *p;
    const float *images;
    const dt_value_batch *batch;
    int64_t image, n_compared;
} comparison;

static void compare_node(void *user, const dt_program *p, const dt_graph_node *n, const void *values)
{
    comparison *c = user;
    const dt_value v = dt_program_value(p, n->out);
    const int64_t count = dt_value_count(&v);

    if (strcmp(dt_graph_name(p->graph, n->out), c->batch->name) != 0 || v.kind == DT_VALUE_REAL) return;
    for (int64_t i = 0; i < count; i++) {
        const float is = c->batch->values[c->image * count + i], wanted = (float)((const int32_t *)values)[i];
        cr_assert(is == wanted, "%s[%lld] is %g, the reference has %g", c->batch->name, (long long)i, (double)is,
                  (double)wanted);
    }
    c->n_compared += count;
}

static dt_status look(void *user, const dt_value_batch *batch)
{
    comparison *c = user;
    float scores[MATMUL_CLASSES];

    c->batch = batch;
    if (strstr(batch->name, ".codes") && strcmp(batch->name, "image.codes") != 0) return DT_OK; /* constants */
    for (c->image = 0; c->image < batch->dim[0]; c->image++) {
        const float *image = c->images + (batch->first + c->image) * MATMUL_IMAGE;
        engine_must(dt_program_trace(c->p, (dt_program_input){ .reals = image }, compare_node, c, scores));
    }
    return DT_OK;
}

static void check(const char *backend, dt_profile profile)
{
    dt_context *ctx = context(backend);
    dt_program *p = matmul_program(profile);
    float *images = matmul_images(IMAGES), is[IMAGES * MATMUL_CLASSES];
    comparison c = { .p = p, .images = images };
    const dt_prediction what = { .normalised = images, .n = IMAGES, .batch = 8, .look = look, .user = &c };
    dt_model *m;

    if (!ctx) cr_skip("no %s here: %s", backend, dt_last_error());
    engine_must(dt_program_check(p));
    engine_must(dt_program_model(ctx, p, NULL, &m));
    engine_must(dt_predict(m, &what, is));
    float *wanted = reference_scores(p, images);
    same(is, wanted, IMAGES * MATMUL_CLASSES, dt_profile_names[profile]);
    cr_assert(c.n_compared == IMAGES * 195, "%lld codes", (long long)c.n_compared);
    free(wanted);
    free(images);
    dt_model_destroy(m);
    dt_program_destroy(p);
    dt_context_destroy(ctx);
}

Test(program_matmul, tape_and_reference_agree_on_the_cpu)
{
    for (int profile = 0; profile < N_PROFILES; profile++) check("cpu", (dt_profile)profile);
}

Test(program_matmul, tape_and_reference_agree_on_cuda)
{
    for (int profile = 0; profile < N_PROFILES; profile++) check("cuda", (dt_profile)profile);
}

/* Numbers of a matrix product by this test's own sums: the first product, of image and constant. */
Test(program_matmul, codes_of_the_first_product)
{
    dt_program *p = matmul_program(DT_PROFILE_ONNX);
    const dt_graph *g = p->graph;
    const int16_t *w = g->value[dt_graph_find(g, "right.weight")]->data;
    const float scale[3] = { 0.02f, 0.011f, 0.03f };
    int32_t x[MATMUL_IMAGE], y[2 * 3 * 5];
    void *values[64] = { NULL };

    cr_assert(g->n_values < 64);
    for (int i = 0; i < MATMUL_IMAGE; i++) x[i] = engine_draw((uint32_t)i, 256) - 101;
    values[dt_graph_find(g, "image.codes")] = x;
    values[dt_graph_find(g, "right")] = y;
    dt_program_run_node(p, dt_graph_maker(g, dt_graph_find(g, "right")), values);
    for (int i = 0; i < 2 * 3 * 5; i++) {
        const int column = i % 5, row = i / 5 % 3, matrix = i / 15;
        int sum = 0;
        for (int t = 0; t < 4; t++) sum += x[(matrix * 3 + row) * 4 + t] * w[(matrix * 4 + t) * 5 + column];
        const double code = rint((double)((float)(sum * ((double)scale[0] * (double)scale[1])) / scale[2]));
        cr_assert(y[i] == (int)fmin(fmax(code, -90), 165), "[%d] is %d, expected %g", i, y[i], code);
    }
    dt_program_destroy(p);
}

Test(program_matmul, files_keep_them)
{
    temp_make();
    dt_program *p = matmul_program(DT_PROFILE_FP32_RNE), *q = NULL;
    float *images = matmul_images(IMAGES), *wanted = reference_scores(p, images);

    engine_must(dt_program_save(p, temp_path("p.safetensors")));
    engine_must(dt_program_load(temp_path("p.safetensors"), &q));
    float *is = reference_scores(q, images);
    same(is, wanted, IMAGES * MATMUL_CLASSES, "read again");
    free(is);
    free(wanted);
    free(images);
    dt_program_destroy(q);
    dt_program_destroy(p);
    temp_remove();
}

static void compiled(dt_profile profile)
{
    char dir[TEMP_PATH_BYTES + 8];
    dt_program *p = matmul_program(profile);
    float *images = matmul_images(IMAGES), *wanted = reference_scores(p, images), is[MATMUL_CLASSES];

    snprintf(dir, sizeof dir, "%s/c", temp_folder);
    engine_must(dt_program_write_c(p, dir, "net"));
    void *library = compile_c("cc", c_dialects[0]);
    void (*run_reals)(const float *image, float *scores);
    find_in(library, "net_run_reals", &run_reals);
    for (int i = 0; i < IMAGES; i++) {
        run_reals(images + i * MATMUL_IMAGE, is);
        same(is, wanted + i * MATMUL_CLASSES, MATMUL_CLASSES, dt_profile_names[profile]);
    }
    dlclose(library);
    free(wanted);
    free(images);
    dt_program_destroy(p);
}

Test(program_matmul, compiled_c_agrees)
{
    if (!has_compiler("cc")) cr_skip_test("there is no C compiler named cc");
    temp_make();
    for (int profile = 0; profile < N_PROFILES; profile++) compiled((dt_profile)profile);
    temp_remove();
}

/* ---- what is refused ---- */

static dt_graph_node *node_of(dt_program *p, const char *name)
{
    return &p->graph->node[p->graph->value[dt_graph_find(p->graph, name)]->node];
}

static void wide_codes(dt_program *p)
{
    ((dt_codes_params *)node_of(p, "last.codes")->params)->low = -201;
}
static void beyond(dt_program *p)
{
    ((int16_t *)p->graph->value[dt_graph_find(p->graph, "left.weight")]->data)[3] = 256;
}
static void bytes(dt_program *p)
{
    p->graph->value[dt_graph_find(p->graph, "left.weight")]->data_type = DT_I8;
}
static void other_scale(dt_program *p)
{
    node_of(p, "left")->in[2] = node_of(p, "right")->in[2];
}
static void constants(dt_program *p)
{
    node_of(p, "right")->in[0] = node_of(p, "left")->in[0];
    node_of(p, "right")->in[2] = node_of(p, "left")->in[2];
}

Test(program_matmul, misfits_are_refused)
{
    static const struct {
        void (*damage)(dt_program *p);
        const char *words;
    } cases[] = {
        { wide_codes, "last.codes (codes): high is 55, allowed are 0..54" },
        { beyond, "left.codes (codes): weight is 256, allowed are 0..255" },
        { bytes, "left.codes (codes): weight is of the type i8, expected i16" },
        { other_scale, "left (qmatmul): its scale of left.codes is image.scale, expected left.weight_scale" },
        { constants, "which are both constant" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_program *p = matmul_program(DT_PROFILE_LITERT_REF);
        cases[i].damage(p);
        const dt_status s = dt_program_check(p);
        cr_assert(s == DT_ERR_FORMAT, "%s: %s", cases[i].words, s ? dt_last_error() : "accepted");
        cr_assert(strstr(dt_last_error(), cases[i].words) != NULL, "no '%s' in '%s'", cases[i].words, dt_last_error());
        dt_program_destroy(p);
    }
}
