/*
 * test_start_weights.c - first weights that keep a signal's size: of which layers of VGG16 and of tiny, by how much
 * they differ from the usual ones, and that they are of the same random numbers.
 */
#include "../support/tiny_run.h"

#include <math.h>

static dt_model *model_of(dt_context *ctx, const dt_model_config *config, dt_start_weights how)
{
    dt_model_config c = *config;
    dt_model *m;

    c.start_weights = how;
    MUST(dt_model_create(ctx, &c, &m));
    return m;
}

static dt_context *open_context(void)
{
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = "cpu";
    MUST(dt_context_create(&opt, &ctx));
    return ctx;
}

/* How much larger a layer's first weights are: the square of the factor. 0: they are as by default. */
typedef struct {
    const char *name;
    double square;
} drawn;

/* Every parameter of both is equal, but those that are named, which have the same signs and all the same factor. */
static void check(const dt_model *keep, const dt_model *usual, const drawn *named, int n)
{
    int n_found = 0;

    for (int i = 0; i < dt_model_n_params(keep); i++) {
        int64_t count;
        float *x = host_param(keep, i, &count), *y = host_param(usual, i, NULL);
        double square = 1.0;
        for (int k = 0; k < n; k++) {
            if (strcmp(keep->param[i]->name, named[k].name) != 0) continue;
            square = named[k].square;
            n_found++;
        }
        cr_assert(strcmp(keep->param[i]->name, usual->param[i]->name) == 0);
        for (int64_t k = 0; k < count; k++) {
            const double want = sqrt(square) * (double)y[k];
            cr_assert(fabs((double)x[k] - want) <= (square == 1.0 ? 0.0 : 3e-7 * fabs(want)),
                      "%s[%lld] is %.9g, expected %.9g", keep->param[i]->name, (long long)k, (double)x[k], want);
        }
        free(x);
        free(y);
    }
    cr_assert(n_found == n, "%d of %d layers were found", n_found, n);
}

/* PyTorch's have a third of 1 / fan in: 6 times the square before a ReLU, else 3 times. */
Test(start_weights, of_layers_without_a_norm_alone)
{
    static const drawn choke[] = { { "features.27.weight", 6.0 }, { "classifier.weight", 3.0 } };
    static const drawn tiny[] = { { "features.4.weight", 6.0 }, { "classifier.weight", 3.0 } };
    dt_context *ctx = open_context();
    dt_model_config c;

    for (int b = 0; b < 2; b++) { /* of reals, and behind quantizers, which have parameters of their own */
        MUST(dt_model_config_default("vgg16", &c));
        MUST(dt_model_option(&c, "choke", 8));
        c.rule = DT_RULE_LSQ;
        if (b == 0) c.wbits = c.abits = DT_BITS_FLOAT;
        dt_model *keep = model_of(ctx, &c, DT_START_WEIGHTS_KEEP), *usual = model_of(ctx, &c, DT_START_WEIGHTS_DEFAULT);
        check(keep, usual, choke, 2);
        dt_model_destroy(keep);
        dt_model_destroy(usual);
        MUST(dt_model_config_default("tiny", &c));
        if (b == 0) c.wbits = c.abits = DT_BITS_FLOAT;
        keep = model_of(ctx, &c, DT_START_WEIGHTS_KEEP);
        usual = model_of(ctx, &c, DT_START_WEIGHTS_DEFAULT);
        check(keep, usual, tiny, 2);
        dt_model_destroy(keep);
        dt_model_destroy(usual);
    }
    dt_context_destroy(ctx);
}

/* A folded norm is behind its layer too. */
Test(start_weights, a_norm_that_trains_folded_is_a_norm)
{
    static const drawn tiny[] = { { "features.4.weight", 6.0 }, { "classifier.weight", 3.0 } };
    dt_context *ctx = open_context();
    dt_model_config c;

    MUST(dt_model_config_default("tiny", &c));
    c.wbits = c.abits = DT_BITS_FLOAT;
    c.fold_bn = DT_FOLD_EMA;
    dt_model *keep = model_of(ctx, &c, DT_START_WEIGHTS_KEEP), *usual = model_of(ctx, &c, DT_START_WEIGHTS_DEFAULT);
    check(keep, usual, tiny, 2);
    dt_model_destroy(keep);
    dt_model_destroy(usual);
    dt_context_destroy(ctx);
}

Test(start_weights, a_word_that_is_none_is_refused)
{
    dt_context *ctx = open_context();
    dt_model_config c;
    dt_model *m;

    MUST(dt_model_config_default("tiny", &c));
    c.start_weights = (dt_start_weights)2;
    cr_assert(dt_model_create(ctx, &c, &m) == DT_ERR_ARGUMENT &&
                  strstr(dt_last_error(), "start_weights is 2, allowed are 0 (default) to 1 (keep)"),
              "%s", dt_last_error());
    dt_context_destroy(ctx);
}
