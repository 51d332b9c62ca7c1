/*
 * test_lower_refused.c - models and networks that cannot be lowered to programs are refused by name.
 */
#include "../support/lowered.h"
#include "../../models/build.h"

/* ---- what is refused ---- */

static void refused(const lowered *r, const dt_dataset *d, dt_status want, const char *text)
{
    dt_program *p = NULL;
    const dt_status got = dt_program_lower(r->model, d, &p);
    cr_assert(got == want && p == NULL && strstr(dt_last_error(), text) != NULL, "expected '%s', got %s: %s", text,
              dt_status_name(got), dt_last_error());
}

Test(lower_refused, a_float_model_is_refused)
{
    dt_model_config c = lowered_config("tiny", DT_BITS_FLOAT, DT_BITS_FLOAT);
    lowered r = lowered_model(&c, 1);
    refused(&r, r.data, DT_ERR_UNSUPPORTED, "features.0 is not quantized, so it has no integers; train the model");
    lowered_close(&r);
}

Test(lower_refused, images_of_another_size_are_refused)
{
    dt_model_config c = lowered_config("tiny", 4, 4), big = c;
    big.height = big.width = 40;
    lowered r = lowered_model(&c, 1), other = lowered_model(&big, 1);
    refused(&r, other.data, DT_ERR_SHAPE, "images are 40x40x3, the model wants 32x32x3");
    lowered_close(&other);
    lowered_close(&r);
}

Test(lower_refused, a_diverged_model_is_refused)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_model(&c, 1);
    lowered_write(&r, "features.9", "running_mean", NAN);
    refused(&r, r.data, DT_ERR_NUMERIC, "features.9.running_mean[0] is nan");
    lowered_write(&r, "features.4", "act_alpha", NAN);
    refused(&r, r.data, DT_ERR_NUMERIC, "features.4.act_alpha is nan");
    lowered_write(&r, "features.4", "weight", INFINITY);
    refused(&r, r.data, DT_ERR_NUMERIC, "features.4.weight[0] is inf");
    lowered_close(&r);
}

Test(lower_refused, an_image_beyond_16_bits_is_refused)
{
    dt_model_config c = lowered_config("tiny", 4, 8);
    c.input_bits = 0;
    lowered r = lowered_model(&c, 1);
    lowered_write(&r, "features.0", "act_alpha", 1e-3f);
    refused(&r, r.data, DT_ERR_NUMERIC, "features.0: a pixel has the code -");
    lowered_close(&r);
}

/* Networks that a tape takes and a program does not: one convolution, and then one thing out of place. */
typedef enum { AVERAGE_OF_PSUMS, NORM_AFTER_RELU, TWO_TABLES, N_MISPLACED } misplaced;

static misplaced wrong;

static void build_misplaced(dt_builder *b)
{
    const dt_conv_spec conv = { .filters = 4, .kernel = 32, .stride = 1, .pad = 1 };
    const int image = b->graph->image;
    int x = quantized_conv(b, "a", image, 1, &conv);

    if (wrong == AVERAGE_OF_PSUMS) x = dt_build_pool(b, DT_OP_AVGPOOL, "pool", x, 3);
    if (wrong == NORM_AFTER_RELU) {
        x = dt_build_apply(b, DT_OP_RELU, "relu", x);
        x = dt_build_batchnorm(b, "bn", x, NULL);
    }
    if (wrong == TWO_TABLES) {
        const int both[] = { x, quantized_conv(b, "b", image, 1, &conv) };
        x = dt_build_node(b, DT_OP_ADD, "sum", NULL, both, 2);
    }
    x = dt_build_apply(b, DT_OP_FLATTEN, "flatten", x);
    b->graph->scores = dt_build_classifier(b, "classifier", x, b->config->n_classes);
}

Test(lower_refused, networks_with_something_out_of_place_are_refused)
{
    static const struct {
        dt_status status;
        const char *why;
    } want[N_MISPLACED] = {
        [AVERAGE_OF_PSUMS] = { DT_ERR_UNSUPPORTED, "pool: an average of integers whose windows have several divisors" },
        [NORM_AFTER_RELU] = { DT_ERR_UNSUPPORTED,
                              "bn: is wanted as reals, and a program has batchnorm for a quantizer alone" },
        [TWO_TABLES] = { DT_ERR_UNSUPPORTED, "b: a second quantizer reads the image, and a program has one table" },
    };
    dt_model_config c = lowered_config("tiny", 4, 4);
    c.n_classes = 4 * 9;
    for (int i = 0; i < N_MISPLACED; i++) {
        lowered r = { .ctx = lowered_context("cpu"), .data = lowered_images(&c, 1) };
        wrong = (misplaced)i;
        r.model = lowered_built(r.ctx, &c, build_misplaced);
        refused(&r, r.data, want[i].status, want[i].why);
        lowered_close(&r);
    }
}
