/*
 * test_program_c_exact.c - programs under the profile exact as C: compiled without a warning in several dialects, its
 * scores have the bits of the quantized model's evaluation.
 */
#include "../support/drawn_model.h"

#include "../support/compiled_c.h" /* behind it: it changes the assertions of Criterion */

#include "../../core/context.h"
#include "../../quant/program/program.h"

enum { IMAGE = 8 * 6 * 3, N_IMAGES = 200, CLASSES = 5 };

/* A depthwise layer, sums of two scales and of one, a product, averages, tables, and probabilities at the end. */
static const char network[] =
    "{ \"format\": \"detent-network\", \"name\": \"net\", \"image\": [8, 6, 3], \"classes\": 5, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 6, \"window\": 3, \"pad\": 1 }],"
    "[\"stem.act\", \"relu\", \"stem\", { \"most\": 6 }],"
    "[\"deep\", \"conv\", \"stem.act\", { \"filters\": 6, \"window\": 3, \"pad\": 1, \"groups\": 6 }],"
    "[\"join\", \"add\", [\"deep\", \"stem.act\"]],"
    "[\"join.act\", \"relu\", \"join\"],"
    "[\"twice\", \"add\", [\"join.act\", \"join.act\"]],"
    "[\"gate\", \"sigmoid\", \"deep\"],"
    "[\"gated\", \"mul\", [\"twice\", \"gate\"]],"
    "[\"shares\", \"softmax\", \"deep\"],"
    "[\"all\", \"concat\", [\"gated\", \"shares\"]],"
    "[\"half\", \"avgpool\", \"all\", { \"window\": 3, \"stride\": 2, \"pad\": 1, \"count_include_pad\": 1 }],"
    "[\"flat\", \"flatten\", \"half\"],"
    "[\"classifier\", \"linear\", \"flat\", { \"features\": 5 }]%s ] }";

static const char probabilities[] = ", [\"probability\", \"softmax\", \"classifier\"]";

static const char *const compilers[] = { "cc", "clang" };

/* One shared object against the model's scores of all images. */
static void compare(const char *compiler, const char *dialect, const float *images, const float *scores)
{
    void *library = compile_c(compiler, dialect);
    void (*run)(const float *image, float *scores) = NULL;
    float is[CLASSES];

    find_in(library, "net_run_reals", &run);
    for (int k = 0; k < N_IMAGES; k++) {
        run(images + k * IMAGE, is);
        for (int o = 0; o < CLASSES; o++) {
            const float wanted = scores[k * CLASSES + o];
            cr_assert(memcmp(&is[o], &wanted, sizeof wanted) == 0, "%s %s: image %d, score %d is %a, expected %a",
                      compiler, dialect, k, o, (double)is[o], (double)wanted);
        }
    }
    dlclose(library);
}

static void check(dt_context *ctx, const char *end)
{
    char text[sizeof network + sizeof probabilities], dir[TEMP_PATH_BYTES + 8];
    const dt_quantization plainly = { 0 };
    float *images = drawn_images(N_IMAGES, IMAGE), scores[N_IMAGES * CLASSES];
    const dt_prediction what = { .normalised = images, .n = N_IMAGES };
    dt_program *p;

    snprintf(text, sizeof text, network, end);
    dt_model *q = drawn_model(ctx, graph_of(text), &plainly, IMAGE);
    MUST(dt_predict(q, &what, scores));
    MUST(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &p));
    snprintf(dir, sizeof dir, "%s/c", temp_folder);
    MUST(dt_program_write_c(p, dir, "net"));
    for (size_t k = 0; k < sizeof compilers / sizeof compilers[0]; k++) {
        for (int d = 0; has_compiler(compilers[k]) && d < N_C_DIALECTS; d++) {
            compare(compilers[k], c_dialects[d], images, scores);
        }
    }
    dt_program_destroy(p);
    dt_model_destroy(q);
    free(images);
}

Test(program_c_exact, scores_have_the_bits_of_evaluation)
{
    dt_options opt;
    dt_context *ctx;

    if (!has_compiler("cc")) cr_skip_test("there is no C compiler named cc");
    temp_make();
    dt_options_default(&opt);
    opt.backend = "cpu";
    MUST(dt_context_create(&opt, &ctx));
    check(ctx, "");
    check(ctx, probabilities);
    dt_context_destroy(ctx);
    temp_remove();
}
