/*
 * test_vgg16.c - the three forms of VGG16: names, shapes and counts, what their psums can reach, and a step of each.
 */
#include "../support/tiny_run.h"

#include <math.h>
#include <stdio.h>

/* One convolution of features, 3x3 unless said; side is its output's. */
typedef struct {
    const char *name, *norm; /* norm NULL: no batch norm follows */
    int channels, filters, side, kernel;
} layer;

static const layer plain[] = {
    { "features.0", "features.1", 3, 64, 32, 3 },     { "features.3", "features.4", 64, 64, 32, 3 },
    { "features.7", "features.8", 64, 128, 16, 3 },   { "features.10", "features.11", 128, 128, 16, 3 },
    { "features.14", "features.15", 128, 256, 8, 3 }, { "features.17", "features.18", 256, 256, 8, 3 },
    { "features.20", "features.21", 256, 256, 8, 3 }, { "features.24", "features.25", 256, 512, 4, 3 },
    { "features.27", "features.28", 512, 512, 4, 3 }, { "features.30", "features.31", 512, 512, 4, 3 },
    { "features.34", "features.35", 512, 512, 2, 3 }, { "features.37", "features.38", 512, 512, 2, 3 },
    { "features.40", "features.41", 512, 512, 2, 3 },
};
enum { N_PLAIN = sizeof plain / sizeof plain[0], CHOKE_AT = 7, SKIP_AT = 6 };

/* features[24..32] with a chokepoint of C channels */
#define CHOKE(C)                                                                         \
    { "features.24", "features.25", 256, C, 4, 3 }, { "features.27", NULL, C, C, 4, 3 }, \
    {                                                                                    \
        "features.30", "features.31", C, 512, 4, 3                                       \
    }
static const layer choke8[] = { CHOKE(8) }, choke16[] = { CHOKE(16) };

static const layer skip8[] = {
    { "features.20.conv20", "features.20.bn21", 256, 256, 8, 3 },
    { "features.20.conv24", "features.20.bn25", 256, 8, 4, 3 },
    { "features.20.conv27", NULL, 8, 8, 4, 3 },
    { "features.20.conv30", "features.20.bn31", 8, 512, 4, 3 },
    { "features.20.skip_conv", "features.20.skip_bn", 256, 512, 4, 1 },
};

/* plain with n layers of `part` in place of layers first .. first + old - 1 */
static int spliced(const layer *part, int n, int first, int old, layer *out)
{
    memcpy(out, plain, (size_t)first * sizeof *out);
    memcpy(out + first, part, (size_t)n * sizeof *out);
    memcpy(out + first + n, plain + first + old, (size_t)(N_PLAIN - first - old) * sizeof *out);
    return N_PLAIN - old + n;
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

static dt_model_config vgg16(int choke, int skip_block, int abits)
{
    dt_model_config c;
    MUST(dt_model_config_default("vgg16", &c));
    choose(&c, "choke", choke);
    choose(&c, "skip-block", skip_block);
    c.abits = abits;
    return c;
}

static void has_param(const dt_model *m, const char *layer_name, const char *part, dt_shape shape, int *n_found)
{
    char name[96], is[64], wanted[64];
    snprintf(name, sizeof name, "%s.%s", layer_name, part);
    const int i = dt_model_find(m, name);
    cr_assert(i >= 0, "no parameter %s", name);
    const dt_shape *s = &m->param[i]->tensor.shape;
    cr_assert(dt_same_shape(s, &shape), "%s is %s, expected %s", name, dt_shape_text(s, is, sizeof is),
              dt_shape_text(&shape, wanted, sizeof wanted));
    ++*n_found;
}

static void has_vector(const dt_model *m, const char *layer_name, const char *part, int64_t n, int *n_found)
{
    has_param(m, layer_name, part, (dt_shape){ 1, { n } }, n_found);
}

/* All parameters of these layers and of the classifier, and no others. */
static void has_params(const dt_model *m, int per_channel, const layer *l, int n)
{
    static const char *const norm_parts[] = { "weight", "bias", "running_mean", "running_var" };
    dt_model_info is;
    int found = 0;

    dt_model_look(m, &is);
    const int quantized = is.wbits_most != DT_BITS_FLOAT;

    for (int i = 0; i < n; i++) {
        has_param(m, l[i].name, "weight", (dt_shape){ 4, { l[i].filters, l[i].kernel, l[i].kernel, l[i].channels } },
                  &found);
        if (quantized) has_vector(m, l[i].name, "act_alpha", 1, &found);
        if (quantized) {
            has_vector(m, l[i].name, "weight_quant.wgt_alpha", per_channel ? l[i].filters : 1, &found);
        }
        for (int p = 0; l[i].norm && p < 4; p++) has_vector(m, l[i].norm, norm_parts[p], l[i].filters, &found);
    }
    has_param(m, "classifier", "weight", (dt_shape){ 2, { 10, l[n - 1].filters } }, &found);
    has_vector(m, "classifier", "bias", 10, &found);
    cr_assert(dt_model_n_params(m) == found, "%d parameters, expected %d", dt_model_n_params(m), found);
}

static int bits_for(int64_t bound)
{
    return (int)ceil(log2((double)bound + 1.0)) + 1;
}

/* image_high: the largest code of the image */
static void has_layers(const dt_model *m, const layer *l, int n, int image_high)
{
    dt_model_info is;

    dt_model_look(m, &is);
    const int high = (1 << is.abits_most) - 1;
    cr_assert(dt_model_n_layers(m) == n, "%d layers on the grid, expected %d", dt_model_n_layers(m), n);
    for (int i = 0; i < n; i++) {
        const int64_t terms = (int64_t)l[i].kernel * l[i].kernel * l[i].channels;
        const int64_t bound = terms * 7 * (i == 0 ? image_high : high);
        dt_layer_info info;
        dt_model_layer(m, i, &info);
        cr_assert(strcmp(info.name, l[i].name) == 0, "layer %d is %s, expected %s", i, info.name, l[i].name);
        cr_assert(info.terms == terms && info.filters == l[i].filters && info.height == l[i].side &&
                      info.width == l[i].side && info.macs == terms * l[i].filters * l[i].side * l[i].side,
                  "%s: %lld terms, %d filters, %dx%d", info.name, (long long)info.terms, info.filters, info.height,
                  info.width);
        cr_assert(info.psum_bound == bound && info.psum_bits == bits_for(bound), "%s: psums reach %lld in %d bits",
                  info.name, (long long)info.psum_bound, info.psum_bits);
        cr_assert(info.exact_f32 && info.wbits == 4, "%s: %d bits", info.name, info.wbits);
        cr_assert(i == 0 || info.abits == is.abits_most, "%s: %d bits", info.name, info.abits);
    }
}

static void check_model(const dt_model_config *c, const layer *l, int n, int64_t count)
{
    dt_context *ctx = open_context();
    dt_model *m;
    MUST(dt_model_create(ctx, c, &m));
    cr_assert(dt_model_count(m) == count, "%lld values, expected %lld", (long long)dt_model_count(m), (long long)count);
    has_params(m, c->per_channel, l, n);
    if (c->wbits == DT_BITS_FLOAT)
        cr_assert(dt_model_n_layers(m) == 0);
    else
        has_layers(m, l, n, 127);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(vgg16, plain)
{
    dt_model_config c = vgg16(0, 0, 4);
    check_model(&c, plain, N_PLAIN, 14724042);
    c.per_channel = 1;
    check_model(&c, plain, N_PLAIN, 14724042);
}

Test(vgg16, plain_in_float)
{
    dt_model_config c = vgg16(0, 0, DT_BITS_FLOAT);
    c.wbits = DT_BITS_FLOAT;
    check_model(&c, plain, N_PLAIN, 14724042);
}

Test(vgg16, chokepoint_of_8_with_4_bits)
{
    layer l[N_PLAIN];
    const int n = spliced(choke8, 3, CHOKE_AT, 3, l);
    const dt_model_config c = vgg16(8, 0, 4);
    check_model(&c, l, n, 8879642);
}

Test(vgg16, chokepoint_of_16_with_2_bits)
{
    layer l[N_PLAIN];
    const int n = spliced(choke16, 3, CHOKE_AT, 3, l);
    const dt_model_config c = vgg16(16, 0, 2);
    check_model(&c, l, n, 8936682);
}

/* chokepoint and 512 x 256 + 2 x 512 for the projection */
Test(vgg16, skip_block)
{
    layer l[N_PLAIN + 1];
    const int n = spliced(skip8, 5, SKIP_AT, 4, l);
    const dt_model_config c = vgg16(8, 1, 4);
    check_model(&c, l, n, 8879642 + 512 * 256 + 2 * 512);
}

/* FNV-1a of every parameter's bits, in the model's order. */
static uint64_t bits_of(const dt_model *m)
{
    uint64_t hash = 14695981039346656037u;

    for (int i = 0; i < dt_model_n_params(m); i++) {
        dt_param_info info;
        dt_model_param(m, i, &info);
        const size_t bytes = (size_t)info.count * sizeof(float);
        uint8_t *values = malloc(bytes);
        MUST(dt_model_read(m, i, (float *)(void *)values));
        for (size_t k = 0; k < bytes; k++) hash = (hash ^ values[k]) * 1099511628211u;
        free(values);
    }
    return hash;
}

/* The hash is of the last commit that knew one width only. */
Test(vgg16, of_full_width_is_what_it_was)
{
    const dt_model_config c = vgg16(8, 1, 4);
    dt_context *ctx = open_context();
    dt_model *m;
    MUST(dt_model_create(ctx, &c, &m));
    cr_assert(bits_of(m) == 0xef5faa608df62b54u, "0x%016llx", (unsigned long long)bits_of(m));
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* n layers of full width, with `choke` channels between, as layers of widths w for 64, 128, 256 and 512 channels;
 * returns how many values are trained. */
static int64_t narrowed(layer *l, int n, int choke, const int w[4])
{
    int64_t count = 0;

    for (int i = 0; i < n; i++) {
        int *const channels[] = { &l[i].channels, &l[i].filters };
        for (int k = 0; k < 2; k++) {
            const int full = *channels[k];
            if (full != 3 && full != choke)
                *channels[k] = full == 64 ? w[0] : full == 128 ? w[1] : full == 256 ? w[2] : w[3];
        }
        count += (int64_t)l[i].kernel * l[i].kernel * l[i].channels * l[i].filters + (l[i].norm ? 2 * l[i].filters : 0);
    }
    return count + 10 * w[3] + 10;
}

Test(vgg16, narrow)
{
    static const struct {
        const char *why;
        int percent, w[4];
    } rows[] = { { "half", 50, { 32, 64, 128, 256 } },
                 { "the least", 25, { 16, 32, 64, 128 } },
                 { "up and down to a multiple of 8", 30, { 16, 40, 80, 152 } },
                 { "up by less than 4", 31, { 16, 40, 80, 160 } },
                 { "not quite whole", 99, { 64, 128, 256, 504 } },
                 { "whole", 100, { 64, 128, 256, 512 } } };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dt_model_config c = vgg16(0, 0, 4);
        layer l[N_PLAIN + 1];
        choose(&c, "width-percent", rows[i].percent);
        memcpy(l, plain, sizeof plain);
        int64_t count = narrowed(l, N_PLAIN, 0, rows[i].w);
        check_model(&c, l, N_PLAIN, count);

        choose(&c, "choke", 8);
        int n = spliced(choke8, 3, CHOKE_AT, 3, l);
        count = narrowed(l, n, 8, rows[i].w);
        check_model(&c, l, n, count);

        choose(&c, "skip-block", 1);
        n = spliced(skip8, 5, SKIP_AT, 4, l);
        count = narrowed(l, n, 8, rows[i].w);
        check_model(&c, l, n, count);
    }
}

Test(vgg16, the_array_layer_fits_16_bits_and_the_widest_layer_20)
{
    static const struct {
        int choke, abits, at, bits;
        int64_t bound;
    } cases[] = { { 8, 4, 8, 14, 7560 }, { 16, 2, 8, 13, 3024 }, { 0, 4, 8, 20, 483840 }, { 0, 2, 8, 18, 96768 } };
    dt_context *ctx = open_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const dt_model_config c = vgg16(cases[i].choke, 0, cases[i].abits);
        dt_layer_info info;
        dt_model *m;
        MUST(dt_model_create(ctx, &c, &m));
        dt_model_layer(m, cases[i].at, &info);
        cr_assert(strcmp(info.name, "features.27") == 0 && info.psum_bound == cases[i].bound &&
                      info.psum_bits == cases[i].bits,
                  "%s: %lld in %d bits", info.name, (long long)info.psum_bound, info.psum_bits);
        dt_model_destroy(m);
    }
    dt_context_destroy(ctx);
}

Test(vgg16, multiplies_313_million_times_an_image)
{
    const dt_model_config c = vgg16(0, 0, 4);
    dt_context *ctx = open_context();
    dt_model *m;
    int64_t macs = 5120; /* the classifier */
    MUST(dt_model_create(ctx, &c, &m));
    for (int i = 0; i < dt_model_n_layers(m); i++) {
        dt_layer_info info;
        dt_model_layer(m, i, &info);
        macs += info.macs;
    }
    cr_assert(macs == 313201664, "%lld", (long long)macs);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* PyTorch's default: uniform within 1 / sqrt(fan in), mean 0, mean square bound^2 / 3 */
Test(vgg16, filters_start_as_pytorchs)
{
    const dt_model_config c = vgg16(8, 0, 4);
    const double bound = 1.0 / sqrt(64.0 * 9.0);
    enum { N = 64 * 9 * 64 };
    static float w[N];
    double sum = 0.0, squares = 0.0;
    dt_context *ctx = open_context();
    dt_model *m;
    MUST(dt_model_create(ctx, &c, &m));
    MUST(dt_model_read(m, dt_model_find(m, "features.3.weight"), w));
    for (int i = 0; i < N; i++) {
        cr_assert(fabs((double)w[i]) <= bound * (1.0 + 1e-6), "[%d] is %g, bound %g", i, (double)w[i], bound);
        sum += (double)w[i];
        squares += (double)w[i] * (double)w[i];
    }
    /* five deviations of a mean of 36,864 values */
    cr_assert(fabs(sum / N) < 5.0 * bound / sqrt(3.0 * N), "mean %g", sum / N);
    cr_assert(fabs(squares / N / (bound * bound / 3.0) - 1.0) < 0.03, "mean square %g", squares / N);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- a step ---- */

/* Every trained parameter of that group moves, and by a number. */
static void check_moved(const tiny_run *r, const char *name, const float *before)
{
    int64_t n;
    float *after = tiny_param(r, tiny_index(r, name), &n);
    int moved = 0;
    for (int64_t i = 0; i < n; i++) {
        cr_assert(isfinite(after[i]), "%s[%lld] is %g", name, (long long)i, (double)after[i]);
        moved |= after[i] != before[i];
    }
    cr_assert(moved, "%s has not moved", name);
    free(after);
}

static void train_a_step(const dt_model_config *c, const char *watched)
{
    tiny_options o = tiny_defaults();
    dt_metrics m;
    tiny_run r;
    int64_t n;
    o.images = 10;
    o.train.batch = 2;
    o.context.precision = DT_PRECISION_MIXED;
    o.model = *c;
    cr_assert(tiny_open(&r, &o));
    float *first = tiny_param(&r, tiny_index(&r, "features.0.weight"), &n);
    float *inner = tiny_param(&r, tiny_index(&r, watched), &n);
    tiny_steps(&r, 1);
    MUST(dt_trainer_metrics(r.trainer, &m));
    cr_assert(isfinite(m.loss) && m.images == 2, "loss %g", m.loss);
    check_moved(&r, "features.0.weight", first);
    check_moved(&r, watched, inner);
    free(first);
    free(inner);
    tiny_close(&r);
}

Test(vgg16, trains_with_a_chokepoint)
{
    const dt_model_config c = vgg16(8, 0, 4);
    train_a_step(&c, "features.27.weight");
}

Test(vgg16, trains_with_a_skip_block)
{
    const dt_model_config c = vgg16(8, 1, 4);
    train_a_step(&c, "features.20.conv27.weight");
    train_a_step(&c, "features.20.skip_conv.weight");
}

Test(vgg16, trains_narrow)
{
    dt_model_config c = vgg16(8, 1, 4);
    choose(&c, "width-percent", 25);
    train_a_step(&c, "features.20.conv27.weight");
    train_a_step(&c, "features.40.weight");
}

Test(vgg16, trains_in_float)
{
    dt_model_config c = vgg16(8, 0, DT_BITS_FLOAT);
    c.wbits = DT_BITS_FLOAT;
    train_a_step(&c, "features.27.weight");
}

/* The image as any activation: a clip that is trained, and codes below 0, for which bounds leave room. */
Test(vgg16, quantizes_the_image_like_any_activation_if_asked)
{
    dt_model_config c = vgg16(8, 0, 4);
    dt_context *ctx = open_context();
    dt_param_info fixed, trained;
    dt_model *m;
    MUST(dt_model_create(ctx, &c, &m));
    dt_model_param(m, dt_model_find(m, "features.0.act_alpha"), &fixed);
    dt_model_destroy(m);
    c.input_bits = 0;
    MUST(dt_model_create(ctx, &c, &m));
    dt_model_param(m, dt_model_find(m, "features.0.act_alpha"), &trained);
    dt_model_destroy(m);
    cr_assert(fixed.group == DT_GROUP_STATE && trained.group == DT_GROUP_ALPHA);
    dt_context_destroy(ctx);
    train_a_step(&c, "features.24.weight");
}

/* ---- misuse ---- */

static void refused(const dt_model_config *c, const char *text)
{
    dt_context *ctx = open_context();
    dt_model *m = NULL;
    const dt_status got = dt_model_create(ctx, c, &m);
    cr_assert(got == DT_ERR_ARGUMENT && m == NULL && strstr(dt_last_error(), text) != NULL, "expected '%s', got %s: %s",
              text, dt_status_name(got), dt_last_error());
    cr_assert(ctx->bytes == sizeof(dt_step), "%zu bytes are still held", ctx->bytes);
    dt_context_destroy(ctx);
}

Test(vgg16, bad_configurations_are_refused)
{
    dt_model_config c = vgg16(0, 0, 4);
    c.wbits = 1;
    refused(&c, "wbits is 1, allowed are 2..8 and 32");
    c = vgg16(0, 0, 9);
    refused(&c, "abits is 9, allowed are 2..8 and 32");
    c = vgg16(0, 0, DT_BITS_FLOAT);
    refused(&c, "wbits is 4 and abits 32");
    c = vgg16(0, 0, 4);
    c.input_bits = 1;
    refused(&c, "input_bits is 1, allowed are 2..8 and 0");
    c = vgg16(0, 0, 4);
    c.height = 28;
    refused(&c, "vgg16 takes 32x32 images, not 28x32");
    c = vgg16(0, 0, 4);
    c.option[0] = 513; /* around dt_model_option */
    refused(&c, "choke is 513, allowed are 0..512");
    c = vgg16(0, 1, 4);
    refused(&c, "a skip block needs a chokepoint");
    c = vgg16(0, 0, 4);
    c.n_classes = 1;
    refused(&c, "1 classes, allowed are 2..1000");
    c = vgg16(0, 0, 4);
    c.channels = 65;
    refused(&c, "images of 65 channels, allowed are 1..64");
    c = vgg16(8, 0, 4);
    c.name = "tiny";
    refused(&c, "option[0] is 8, and tiny has 0 options");
    c.name = "vgg17";
    refused(&c, "model 'vgg17' is not known; there are vgg16, shallowcaps, deepcaps, tiny, and files of networks");
}

Test(vgg16, recipes_are_the_notebooks_two_runs)
{
    dt_model_config m;
    dt_train_config t;
    MUST(dt_train_recipe("notebook-w4a4", &m, &t));
    cr_assert(dt_model_option_value(&m, "choke") == 8 && m.wbits == 4 && m.abits == 4 && t.epochs == 150 &&
              t.batch == 128);
    cr_assert(t.lr == 1e-2f && t.momentum == 0.9f && t.weight_decay == 1e-5f && t.alpha_lr == 1.0f);
    cr_assert(t.alpha_decay == t.weight_decay, "one optimiser group");
    MUST(dt_train_recipe("notebook-w4a2", &m, &t));
    cr_assert(dt_model_option_value(&m, "choke") == 16 && m.wbits == 4 && m.abits == 2 && t.epochs == 300);
    cr_assert(t.alpha_lr == 0.1f && t.alpha_decay == 0.0f);
    cr_assert(dt_train_recipe("w2a2", &m, &t) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "recipe 'w2a2' is not known; there are w4a4, w4a2") != NULL, "%s",
              dt_last_error());
}
