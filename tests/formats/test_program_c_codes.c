/*
 * test_program_c_codes.c - programs that compute under a profile as C: compiled without a warning in several dialects
 * by each compiler that is there, run on reals, pixels and stored integers, compared bit for bit with
 * dt_program_run_reals, dt_program_run and the codes of dt_program_trace.
 */
#include "../support/compiled_c.h"
#include "../support/engine_program.h"

enum {
    N_IMAGES = 200,
    IMAGE = ENGINE_HEIGHT * ENGINE_WIDTH * ENGINE_CHANNELS,
    MOST_SCORES = 64,
    N_PROFILES = DT_PROFILE_ONNX + 1
};

static const char *const compilers[] = { "cc", "clang" };

typedef struct {
    void (*run)(const uint8_t *image, float *scores);
    void (*run_reals)(const float *image, float *scores);
    void (*run_codes)(const int8_t *image, int8_t *scores);
    int (*classify)(const uint8_t *image);
    int (*classify_reals)(const float *image);
} exported;

/* The stored integers of the image and of the codes that the last DEQUANTIZE reads. */
typedef struct {
    int8_t image[IMAGE], scores[MOST_SCORES];
} stored;

static void keep_stored(void *user, const dt_program *p, const dt_graph_node *n, const void *values)
{
    const dt_graph *g = p->graph;
    const int last = dt_graph_maker(g, dt_graph_maker(g, g->scores)->in[0])->in[0]; /* dequantize, flatten */
    const dt_value v = dt_program_value(p, n->out);
    const int32_t *code = values;
    stored *s = user;

    for (int64_t i = 0; n == g->node && i < dt_value_count(&v); i++) s->image[i] = (int8_t)(code[i] - v.low - 128);
    for (int64_t i = 0; n->out == last && i < dt_value_count(&v); i++) s->scores[i] = (int8_t)(code[i] - v.low - 128);
}

static int best_of(const float *scores, int n)
{
    int best = 0;

    for (int o = 1; o < n; o++) best = scores[o] > scores[best] ? o : best;
    return best;
}

static void same(const float *is, const float *wanted, int n, const char *what, int image)
{
    for (int o = 0; o < n; o++) {
        cr_assert(memcmp(&is[o], &wanted[o], sizeof is[o]) == 0, "%s: image %d, score %d is %a, expected %a", what,
                  image, o, (double)is[o], (double)wanted[o]);
    }
}

static void compare_pixels(const dt_program *p, const exported *e, int image, const char *what)
{
    uint8_t pixels[IMAGE];
    float is[MOST_SCORES], wanted[MOST_SCORES];
    const int n = dt_program_n_scores(p);

    for (int i = 0; i < IMAGE; i++) pixels[i] = (uint8_t)engine_draw((uint32_t)(image * IMAGE + i), 256);
    engine_must(dt_program_run(p, pixels, wanted));
    e->run(pixels, is);
    same(is, wanted, n, what, image);
    cr_assert(eq(int, e->classify(pixels), best_of(wanted, n)), "%s: image %d", what, image);
}

/* What the program has no entry for stays NULL in *e. */
static void compare(const dt_program *p, const exported *e, const char *what)
{
    float *images = engine_images(N_IMAGES), is[MOST_SCORES], wanted[MOST_SCORES];
    const int n = dt_program_n_scores(p);

    for (int k = 0; k < N_IMAGES; k++) {
        const float *image = images + k * IMAGE;
        stored s;
        int8_t scores[MOST_SCORES];
        engine_must(
            dt_program_trace(p, (dt_program_input){ .reals = image }, e->run_codes ? keep_stored : NULL, &s, wanted));
        e->run_reals(image, is);
        same(is, wanted, n, what, k);
        cr_assert(eq(int, e->classify_reals(image), best_of(wanted, n)), "%s: image %d", what, k);
        if (e->run) compare_pixels(p, e, k, what);
        if (!e->run_codes) continue;
        e->run_codes(s.image, scores);
        for (int o = 0; o < n; o++)
            cr_assert(scores[o] == s.scores[o], "%s: image %d, code %d is %d, expected %d", what, k, o, scores[o],
                      s.scores[o]);
    }
    free(images);
}

static exported look(void *library, int pixels, int codes)
{
    exported e = { 0 };

    find_in(library, "net_run_reals", &e.run_reals);
    find_in(library, "net_classify_reals", &e.classify_reals);
    if (pixels) find_in(library, "net_run", &e.run);
    if (pixels) find_in(library, "net_classify", &e.classify);
    if (codes) find_in(library, "net_run_codes", &e.run_codes);
    cr_assert(eq(int, dlsym(library, "net_run") != NULL, pixels != 0));
    cr_assert(eq(int, dlsym(library, "net_run_codes") != NULL, codes != 0));
    return e;
}

/* Destroys p. first: the first of the dialects; codes: there is an entry of stored integers. */
static void compiled(dt_program *p, const char *what, int first, int codes)
{
    char dir[TEMP_PATH_BYTES + 8], text[512];
    const int pixels = p->origin.name[0] || p->graph->unit_pixels;

    snprintf(dir, sizeof dir, "%s/c", temp_folder);
    engine_must(dt_program_write_c(p, dir, "net"));
    for (size_t k = 0; k < sizeof compilers / sizeof compilers[0]; k++) {
        if (!has_compiler(compilers[k])) continue;
        for (int d = first; d < N_C_DIALECTS; d++) {
            void *library = compile_c(compilers[k], c_dialects[d]);
            const exported e = look(library, pixels, codes);
            snprintf(text, sizeof text, "%s, %s %s", what, compilers[k], c_dialects[d]);
            compare(p, &e, text);
            dlclose(library);
        }
    }
    dt_program_destroy(p);
}

static dt_graph_node *node_of(dt_program *p, const char *name)
{
    return &p->graph->node[p->graph->value[dt_graph_find(p->graph, name)]->node];
}

/* Criterion runs no .fini after a skip: tests that may skip make and remove their folder themselves. */
static void begin(void)
{
    if (!has_compiler("cc")) cr_skip_test("there is no C compiler named cc");
    temp_make();
}

Test(program_c_codes, every_profile)
{
    begin();
    for (int profile = 0; profile < N_PROFILES; profile++) {
        compiled(engine_program((dt_profile)profile), dt_profile_names[profile], 0, 1);
    }
    temp_remove();
}

Test(program_c_codes, pixels_are_normalised_as_the_origin_says)
{
    begin();
    for (int profile = 0; profile < N_PROFILES; profile++) {
        dt_program *p = engine_program((dt_profile)profile);
        p->origin = (dt_data_origin){ .name = "draws",
                                      .mean = { 0.4914f, 0.4822f, 0.4465f },
                                      .std = { 0.1523f, 0.1493f, 0.1674f } };
        compiled(p, dt_profile_names[profile], N_C_DIALECTS - 1, 1);
    }
    dt_program *p = engine_program(DT_PROFILE_FP32_RNE);
    p->graph->unit_pixels = 1;
    compiled(p, "pixels in 0..1", N_C_DIALECTS - 1, 1);
    temp_remove();
}

/* A difference, averages at borders whose zero is odd, and a classifier of another kind of sum. */
Test(program_c_codes, other_parameters)
{
    static const dt_requant_of kinds[] = { DT_REQUANT_CONV, DT_REQUANT_MATMUL, DT_REQUANT_MATMUL_SHIFTED };

    begin();
    for (int profile = 0; profile < N_PROFILES; profile++) {
        dt_program *p = engine_program((dt_profile)profile);
        ((dt_qbinary_params *)node_of(p, "sum")->params)->subtract = 1;
        ((dt_qavgpool_params *)node_of(p, "average")->params)->zero = -67;
        ((dt_requantize_params *)node_of(p, "classifier.act_quant")->params)->of = kinds[profile % 3];
        compiled(p, dt_profile_names[profile], N_C_DIALECTS - 1, 1);
    }
    for (int k = 0; k < 3; k++) { /* of fp32-rne, one rounds twice */
        dt_program *p = engine_program(DT_PROFILE_FP32_RNE);
        ((dt_requantize_params *)node_of(p, "classifier.act_quant")->params)->of = kinds[k];
        compiled(p, "fp32-rne, another kind of sum", N_C_DIALECTS - 1, 1);
    }
    temp_remove();
}

Test(program_c_codes, a_cast_of_the_image_is_refused)
{
    dt_program *p = engine_program(DT_PROFILE_LITERT_REF);

    begin();
    engine_must(dt_program_use_cast(p, DT_CAST_TRUNCATE_I8));
    cr_assert_eq(dt_program_write_c(p, temp_folder, "net"), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "its image has the cast truncate-i8, which C does not") != NULL, "%s",
              dt_last_error());
    dt_program_destroy(p);
    temp_remove();
}

static void set_scale(dt_program *p, const char *name, float scale)
{
    *(float *)p->graph->value[dt_graph_find(p->graph, name)]->data = scale;
}

/* Sums and means of which many lie halfway between two codes, but for the rounding of a product: a compiler that fuses
 * it with a sum gets other codes. */
Test(program_c_codes, products_are_rounded_before_they_are_added)
{
    begin();
    for (int profile = 0; profile < N_PROFILES; profile++) {
        dt_program *p = engine_program((dt_profile)profile);
        set_scale(p, "branch.act_scale", 0.11f); /* that of the other addend */
        set_scale(p, "sum.act_scale", 0.22f);
        set_scale(p, "rescaled.act_scale", 0.25f);
        set_scale(p, "mean.act_scale", 0.75f); /* a sum of 2 codes / 6 */
        set_scale(p, "classifier.act_scale", 2.5f);
        compiled(p, dt_profile_names[profile], 1, 1);
    }
    temp_remove();
}

/* Padded averages whose cells differ in number, a table for each channel, ranges above 8 bits, and reals at the end:
 * image -> quantize -> qavgpool 3x3 -> table; reals of both are added, limited, flattened, and go through a matrix. */
static dt_program *ending_in_reals(dt_profile profile, int with_matrix)
{
    dt_program *p = calloc(1, sizeof *p);
    engine_maker m = { .profile = profile, .drawn = 1 };
    const dt_shape image = { 4, { 1, ENGINE_HEIGHT, ENGINE_WIDTH, ENGINE_CHANNELS } };
    const dt_shape rows = { 2, { 2101, ENGINE_CHANNELS } };
    const dt_quantize_params quantize = { profile, -1000, 1100, 0, DT_CAST_ROUND };
    const dt_qavgpool_params average = { { { 3, 3 }, { 4, 4 }, { 1, 1, 1, 1 }, 0 }, profile, -1000, 1100, -3 };
    const dt_table_params table = { .low = -40000, .high = 20000, .first = -1000 };
    const dt_clip_params clip = { -1.0f, 0.9f };
    int16_t *code = malloc(2101 * ENGINE_CHANNELS * sizeof *code);

    for (int i = 0; i < 2101 * ENGINE_CHANNELS; i++) code[i] = (int16_t)(engine_draw(m.drawn++, 40000) - 20000);
    engine_must(dt_graph_create("reals", &m.g));
    p->graph = m.g;
    engine_must(dt_graph_give(m.g, "image", DT_F32, &image, &m.g->image));
    const int in[] = { m.g->image, engine_scale(&m, "image.scale", 0.0031f) };
    int x = engine_node(&m, DT_OP_QUANTIZE, "image.codes", &quantize, in, 2);
    x = engine_node(&m, DT_OP_QAVGPOOL, "average", &average, &x, 1);
    const int averages = engine_node(&m, DT_OP_DEQUANTIZE, "averages", NULL, &x, 1);
    const int look_up[] = { x, engine_param(&m, "table.codes", &rows, DT_I16, code),
                            engine_scale(&m, "table.scale", 0.00007f) };
    x = engine_node(&m, DT_OP_TABLE, "table", &table, look_up, 3);
    x = engine_node(&m, DT_OP_DEQUANTIZE, "reals", NULL, &x, 1);
    const int both[] = { x, averages };
    x = engine_node(&m, DT_OP_ADD, "both", NULL, both, 2);
    x = engine_node(&m, DT_OP_CLIP, "limited", &clip, &x, 1);
    if (!with_matrix) {
        m.g->scores = engine_node(&m, DT_OP_FLATTEN, "scores", NULL, &x, 1);
        return p;
    }
    const int inputs = 2 * 2 * ENGINE_CHANNELS;
    float *matrix = malloc(2 * (size_t)inputs * sizeof *matrix), *bias = calloc(2, sizeof *bias);
    for (int i = 0; i < 2 * inputs; i++) matrix[i] = 0.01f * (float)(engine_draw(m.drawn++, 200) - 100);
    const dt_program_reals linear = { "classifier", 2, matrix, bias };
    engine_must(dt_program_add_linear(m.g, &linear, x, &m.g->scores));
    return p;
}

Test(program_c_codes, wide_codes_and_reals_at_the_end)
{
    begin();
    for (int profile = 0; profile < N_PROFILES; profile++) {
        compiled(ending_in_reals((dt_profile)profile, 0), "flattened", N_C_DIALECTS - 1, 0);
        compiled(ending_in_reals((dt_profile)profile, 1), "a matrix", N_C_DIALECTS - 1, 0);
    }
    temp_remove();
}

/* The C calls nothing of <math.h> and allocates nothing. */
Test(program_c_codes, needs_no_library)
{
    char command[3 * TEMP_PATH_BYTES];

    begin();
    for (int profile = 0; profile < N_PROFILES; profile++) {
        dt_program *p = engine_program((dt_profile)profile);
        engine_must(dt_program_write_c(p, temp_folder, "net"));
        snprintf(command, sizeof command, "! grep -nE 'math\\.h|stdlib|alloc|rint|[^_]exp\\(' %s", temp_path("net.c"));
        cr_assert(eq(int, system(command), 0), "%s", dt_profile_names[profile]);
        dt_program_destroy(p);
    }
    temp_remove();
}
