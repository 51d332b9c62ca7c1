/*
 * test_capture.c - the integers of a layer on real images.
 */
#include "../support/tiny_run.h" /* before Criterion's newer macros, which temp_files.h brings */
#include "../support/temp_files.h"

#include <math.h>

static tiny_run run;

static void capture_open(void)
{
    tiny_options o = tiny_defaults();
    o.images = 140; /* more than a capture takes in one batch, and not a multiple of it */
    cr_assert(tiny_open(&run, &o));
    tiny_steps(&run, 2); /* running statistics that are not their first values */
}

static void capture_close(void)
{
    tiny_close(&run);
}

TestSuite(capture, .init = capture_open, .fini = capture_close);

static dt_capture *capture_of(const char *layer, int64_t first, int64_t count)
{
    dt_capture *c;
    MUST(dt_capture_layer(run.model, run.data, first, count, layer, &c));
    return c;
}

static int64_t n_psums(const dt_capture *c)
{
    return c->n * c->maps * c->out_height * c->out_width * c->filters;
}

/* Adds what one pixel gives to all filters under a tap: x is its channels, s the psums of a position. */
static void scatter(const dt_capture *c, const float *x, int tap, int64_t *s)
{
    const int each = c->channels / c->conv.groups, of_group = c->filters / c->conv.groups;

    for (int k = 0; k < c->filters; k++) {
        const float *f = c->qw + ((int64_t)k * c->kernel_height * c->kernel_width + tap) * each;
        for (int j = 0; j < each; j++) s[k] += (int64_t)x[k / of_group * each + j] * (int64_t)f[j];
    }
}

/* Scatters every input pixel to the psums that see it. */
static int64_t *sums(const dt_capture *c)
{
    const int *stride = c->conv.stride, *dilation = c->conv.dilation;
    int64_t *sum = calloc((size_t)n_psums(c), sizeof *sum);

    for (int64_t i = 0; i < c->n * c->maps * c->height * c->width; i++) {
        const int64_t n = i / (c->height * c->width), h = i / c->width % c->height, w = i % c->width;
        for (int tap = 0; tap < c->kernel_height * c->kernel_width; tap++) {
            const int64_t up = h + c->conv.pad[0] - tap / c->kernel_width * dilation[0];
            const int64_t left = w + c->conv.pad[1] - tap % c->kernel_width * dilation[1];
            const int64_t p = up / stride[0], q = left / stride[1];
            if (up < 0 || left < 0 || up % stride[0] || left % stride[1]) continue;
            if (p >= c->out_height || q >= c->out_width) continue;
            scatter(c, c->qx + i * c->channels, tap, &sum[((n * c->out_height + p) * c->out_width + q) * c->filters]);
        }
    }
    return sum;
}

/* every code an integer in its range, and both signs or ends in use */
static void check_codes(const char *what, const float *code, int64_t n, float low, float high)
{
    float least = high, most = low;
    for (int64_t i = 0; i < n; i++) {
        cr_assert(code[i] == rintf(code[i]) && code[i] >= low && code[i] <= high, "%s[%lld] is %g", what, (long long)i,
                  (double)code[i]);
        least = fminf(least, code[i]);
        most = fmaxf(most, code[i]);
    }
    cr_assert(least < most, "%s is constant", what);
}

static void check_psums(const dt_capture *c, const char *layer)
{
    int64_t *want = sums(c);
    for (int64_t i = 0; i < n_psums(c); i++) {
        cr_assert(want[i] == (int64_t)c->psum[i] && c->psum[i] == rintf(c->psum[i]),
                  "%s: psum[%lld] is %g, expected %lld", layer, (long long)i, (double)c->psum[i], (long long)want[i]);
    }
    free(want);
}

static void check_layer(const char *layer, int channels, int side, float x_low, float x_high)
{
    dt_capture *c = capture_of(layer, 0, 20);
    cr_assert(c->n == 20 && c->maps == 1 && c->channels == channels && c->height == side && c->width == side &&
              c->filters == 8 && c->out_height == side && c->out_width == side && c->kernel_height == 3 &&
              c->kernel_width == 3);
    cr_assert(c->conv.stride[1] == 1 && c->conv.pad[3] == 1 && c->conv.groups == 1 && c->n_sw == 1 && c->sx > 0.0f &&
              c->sw[0] > 0.0f);
    check_codes("qx", c->qx, c->n * side * side * channels, x_low, x_high);
    check_codes("qw", c->qw, 8 * 9 * channels, -7.0f, 7.0f);
    check_psums(c, layer);
    dt_capture_destroy(c);
}

Test(capture, psums_are_the_sums_of_their_codes)
{
    check_layer("features.0", 3, 32, -127.0f, 127.0f);
    check_layer("features.4", 8, 16, 0.0f, 15.0f);
}

/* ' stands for ". */
static const char forms[] =
    "{'format': 'detent-network', 'image': [32, 32, 3], 'classes': 10, 'nodes': ["
    "['stem', 'conv', 'image', {'filters': 12, 'window': [3, 2], 'stride': [2, 3], 'pad': [0, 1, 2, 0]}],"
    "['stem.act', 'relu', 'stem'],"
    "['grouped', 'conv', 'stem.act', {'filters': 9, 'window': [2, 3], 'groups': 3, 'pad': [1, 0, 0, 2]}],"
    "['grouped.act', 'relu', 'grouped'],"
    "['depthwise', 'conv', 'grouped.act', {'filters': 9, 'window': 3, 'dilation': [2, 1], 'stride': [1, 2],"
    " 'groups': 9}], ['depthwise.bn', 'batchnorm', 'depthwise'], ['flat', 'flatten', 'depthwise.bn'],"
    "['classifier', 'linear', 'flat', {'features': 10}]]}";

static const struct {
    const char *layer;
    dt_conv_params form;
} layers_of_forms[] = {
    { "stem", { { 2, 3 }, { 0, 1, 2, 0 }, { 1, 1 }, 1 } },
    { "grouped", { { 1, 1 }, { 1, 0, 0, 2 }, { 1, 1 }, 3 } },
    { "depthwise", { { 1, 2 }, { 0, 0, 0, 0 }, { 2, 1 }, 9 } },
};

Test(capture, every_form_of_a_convolution)
{
    dt_model_config config;
    char json[sizeof forms];
    dt_model *m;

    for (size_t i = 0; i < sizeof forms; i++) json[i] = forms[i] == '\'' ? '"' : forms[i];
    temp_make();
    temp_write("forms.json", json, strlen(json));
    MUST(dt_model_config_default(temp_path("forms.json"), &config));
    MUST(dt_model_create(run.ctx, &config, &m));
    temp_remove();
    for (size_t i = 0; i < sizeof layers_of_forms / sizeof layers_of_forms[0]; i++) {
        const char *layer = layers_of_forms[i].layer;
        dt_capture *c;
        MUST(dt_capture_layer(m, run.data, 3, 20, layer, &c));
        cr_assert(memcmp(&c->conv, &layers_of_forms[i].form, sizeof c->conv) == 0, "%s: another form", layer);
        check_psums(c, layer);
        dt_capture_destroy(c);
    }
    dt_model_destroy(m);
}

Test(capture, images_are_those_asked_for)
{
    dt_capture *all = capture_of("features.4", 0, 140), *part = capture_of("features.4", 125, 10);
    const int64_t n_x = all->height * all->width * all->channels, n_y = n_psums(all) / all->n;
    cr_assert(part->n == 10);
    cr_assert(memcmp(all->qx + 125 * n_x, part->qx, (size_t)(10 * n_x) * sizeof(float)) == 0);
    cr_assert(memcmp(all->psum + 125 * n_y, part->psum, (size_t)(10 * n_y) * sizeof(float)) == 0);
    dt_capture_destroy(all);
    dt_capture_destroy(part);
}

/* ---- the floats on both sides ---- */

/* The codes are those of the floats: nothing is further than half a step away, but what the clip cuts off. */
static void check_input_float(const dt_capture *c)
{
    const int64_t n = c->n * c->maps * c->height * c->width * c->channels;

    cr_assert(c->input_float != NULL, "%s", c->layer);
    for (int64_t i = 0; i < n; i++) {
        const double code = (double)c->input_float[i] / (double)c->sx;
        const double kept = fmin(fmax(code, c->x_low), c->x_high);
        cr_assert(fabs(kept - (double)c->qx[i]) < 0.5001, "%s[%lld]: %g is code %g, not %g", c->layer, (long long)i,
                  (double)c->input_float[i], code, (double)c->qx[i]);
    }
}

/* More images than one batch, so that the last batch's tape is watched too. */
Test(capture, what_the_quantizer_and_the_next_layer_read)
{
    dt_capture *before = capture_of("features.4", 0, 140), *after = capture_of("features.8", 0, 140);
    const int64_t n = 140 * (int64_t)after->height * after->width * after->channels;

    check_input_float(before);
    check_input_float(after);
    cr_assert(strcmp(before->layer, "features.4") == 0 && strcmp(before->next_layer, "features.8") == 0);
    cr_assert(before->next_maps == 1 && before->next_height == after->height && before->next_width == after->width &&
              before->next_channels == after->channels);
    cr_assert(memcmp(before->next_input, after->input_float, (size_t)n * sizeof(float)) == 0);
    cr_assert(strcmp(after->next_layer, "classifier") == 0, "'%s'", after->next_layer);
    cr_assert(after->next_input != NULL && after->next_height == 1 && after->next_width == 1);
    dt_capture_destroy(before);
    dt_capture_destroy(after);
}

/* The notebook's check: features.27 has no batch norm, so that features.30 reads the psums' real values after ReLU. */
Test(capture, the_next_layer_reads_recovered_psums)
{
    dt_model_config config;
    dt_capture *c;
    dt_model *m;

    MUST(dt_model_config_default("vgg16", &config));
    choose(&config, "choke", 8);
    config.wbits = config.abits = 4;
    MUST(dt_model_create(run.ctx, &config, &m));
    MUST(dt_capture_layer(m, run.data, 0, 2, "features.27", &c));
    check_input_float(c);
    cr_assert(strcmp(c->next_layer, "features.30") == 0, "'%s'", c->next_layer);
    for (int64_t i = 0; i < n_psums(c); i++) {
        const double recovered = fmax(0.0, (double)c->psum[i] * (double)c->sx * (double)c->sw[0]);
        cr_assert(fabs(recovered - (double)c->next_input[i]) <= 1e-6 * (1.0 + recovered), "psum[%lld]: %g, not %g",
                  (long long)i, recovered, (double)c->next_input[i]);
    }
    dt_capture_destroy(c);
    dt_model_destroy(m);
}

/* In a program codes come from thresholds: there are no floats but before the classifier. */
Test(capture, a_program_has_no_floats_between_layers)
{
    dt_program *p;
    dt_model *m;
    dt_capture *c;

    MUST(dt_program_lower(run.model, run.data, &p));
    MUST(dt_program_model(run.ctx, p, NULL, &m));
    MUST(dt_capture_layer(m, run.data, 0, 3, "features.4", &c));
    cr_assert(c->input_float == NULL && c->next_input == NULL && c->next_layer[0] == '\0');
    check_psums(c, "features.4");
    dt_capture_destroy(c);
    dt_model_destroy(m);
    dt_program_destroy(p);
}

static void refused(dt_model *m, int64_t first, int64_t count, const char *layer, dt_status want, const char *text)
{
    dt_capture *c = NULL;
    const dt_status got = dt_capture_layer(m, run.data, first, count, layer, &c);
    cr_assert(got == want && c == NULL && strstr(dt_last_error(), text) != NULL, "expected '%s', got %s: %s", text,
              dt_status_name(got), dt_last_error());
}

Test(capture, misuse_is_refused)
{
    refused(run.model, 0, 5, "features.27", DT_ERR_RANGE, "the model has no layer 'features.27' of integer codes");
    refused(run.model, 0, 5, "classifier", DT_ERR_ARGUMENT, "classifier is not quantized");
    refused(run.model, -1, 5, "features.4", DT_ERR_RANGE, "images -1 to 4 of a dataset of 140");
    refused(run.model, 0, 0, "features.4", DT_ERR_RANGE, "images 0 to 0");
    refused(run.model, 136, 5, "features.4", DT_ERR_RANGE, "images 136 to 141 of a dataset of 140");
    refused(run.model, 0, INT64_MAX, "features.4", DT_ERR_RANGE, "of a dataset of 140");
}

Test(capture, a_layer_in_float_has_no_integers)
{
    dt_model_config c;
    MUST(dt_model_config_default("tiny", &c));
    dt_model *m;
    c.wbits = c.abits = DT_BITS_FLOAT;
    MUST(dt_model_create(run.ctx, &c, &m));
    refused(m, 0, 5, "features.4", DT_ERR_ARGUMENT, "features.4 is not quantized");
    dt_model_destroy(m);
}

/* A linear layer is captured as a convolution of one cell. */
Test(capture, a_linear_layer)
{
    dt_model_config config;
    dt_model *m;
    dt_capture *c;

    MUST(dt_model_config_default("tiny", &config));
    config.quantize_classifier = 1;
    MUST(dt_model_create(run.ctx, &config, &m));
    MUST(dt_capture_layer(m, run.data, 3, 137, "classifier", &c));
    cr_assert(c->n == 137 && c->channels == 256 && c->filters == 10, "%d to %d", c->channels, c->filters);
    cr_assert(c->height == 1 && c->width == 1 && c->out_height == 1 && c->out_width == 1 && c->conv.groups == 1);
    check_codes("qx", c->qx, c->n * c->channels, -7.0f, 15.0f);
    check_codes("qw", c->qw, (int64_t)c->filters * c->channels, -7.0f, 7.0f);
    check_psums(c, "classifier");
    check_input_float(c);
    dt_capture_destroy(c);
    dt_model_destroy(m);
}

/* Weights so large that capsules survive the squash of every block, and steps that fit them. */
static void make_lively(dt_model *m, const dt_dataset *d)
{
    dt_train_config c;
    dt_trainer *t;

    for (int i = 0; i < dt_model_n_params(m); i++) {
        dt_param_info info;
        dt_model_param(m, i, &info);
        if (info.group != DT_GROUP_WEIGHT || info.ndim != 4) continue;
        float *w = host_param(m, i, NULL);
        for (int64_t j = 0; j < info.count; j++) w[j] *= 10.0f;
        MUST(dt_model_write(m, i, w));
        free(w);
    }
    dt_train_config_default("deepcaps", &c);
    c.batch = 4;
    MUST(dt_trainer_create(m, d, &c, &t));
    MUST(dt_trainer_calibrate(t));
    dt_trainer_destroy(t);
}

/* DeepCaps' routed skip convolves the 32 types of capsules one by one: 32 maps an image. More images than one batch. */
Test(capture, a_layer_of_several_maps_an_image)
{
    static const char layer[] = "block4.l_skip.conv";
    const dt_dataset_options images = {
        .name = "synthetic", .split = DT_SPLIT_TEST, .limit = 130, .seed = 1, .height = 28, .width = 28, .resize = 1
    };
    dt_model_config config;
    dt_dataset *d;
    dt_model *m;
    dt_capture *all, *last;

    MUST(dt_model_config_default("deepcaps", &config));
    config.channels = 3;
    config.wbits = config.abits = 4;
    MUST(dt_dataset_open(&images, &d));
    MUST(dt_model_create(run.ctx, &config, &m));
    make_lively(m, d);
    MUST(dt_capture_layer(m, d, 0, 130, layer, &all));
    MUST(dt_capture_layer(m, d, 129, 1, layer, &last));
    cr_assert(all->n == 130 && all->maps == 32 && all->channels == 8 && all->filters == 256);
    cr_assert(last->n == 1 && last->maps == 32);
    const int64_t n_x = (int64_t)last->maps * last->height * last->width * last->channels, n_y = n_psums(last);
    check_codes("qx", last->qx, n_x, -7.0f, 7.0f);
    check_psums(last, layer);
    check_input_float(last);
    cr_assert(memcmp(all->input_float + 129 * n_x, last->input_float, (size_t)n_x * sizeof(float)) == 0);
    cr_assert(memcmp(all->qx + 129 * n_x, last->qx, (size_t)n_x * sizeof(float)) == 0);
    cr_assert(memcmp(all->psum + 129 * n_y, last->psum, (size_t)n_y * sizeof(float)) == 0);

    for (int i = 0; i < dt_model_n_layers(m); i++) {
        dt_layer_info info;
        dt_model_layer(m, i, &info);
        const int shared = strcmp(info.name, layer) == 0;
        cr_assert(info.maps == (shared ? 32 : 1), "%s: %d maps an image", info.name, info.maps);
        cr_assert(info.macs == (int64_t)info.maps * info.height * info.width * info.filters * info.terms);
        if (shared) cr_assert(info.macs == 2359296, "%lld MACs", (long long)info.macs);
    }
    dt_capture_destroy(last);
    dt_capture_destroy(all);
    dt_model_destroy(m);
    dt_dataset_close(d);
}
