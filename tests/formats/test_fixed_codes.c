/*
 * test_fixed_codes.c - the codes of a quantized capsule network as a file: those that the operator FIXED_POINT makes.
 */
#include "../support/fixed_run.h"

#include "../../core/train/inference.h"
#include "../../formats/safetensors.h"
#include "../../quant/qcaps/fixed_formats.h"

TestSuite(fixed_codes, .init = temp_make, .fini = temp_remove, .timeout = 600);

/* A file of codes, held against what the network's nodes give. */
typedef struct {
    dt_model *model;
    const dt_safetensors *file;
    int n_compared;
} codes_check;

/* Where element i of K,C,R,S lies in K,R,S,C. */
static int64_t transposed(const dt_shape *s, int64_t i)
{
    if (s->ndim != 4) return i;
    const int64_t pixels = s->dim[1] * s->dim[2], channels = s->dim[3];
    const int64_t pixel = i % pixels, c = i / pixels % channels, k = i / pixels / channels;
    return (k * pixels + pixel) * channels + c;
}

static float step_of(const dt_model *m, const char *name)
{
    dt_qcaps_tensor t;

    dt_qcaps_look_at(m, dt_fixed_find(dt_fixed_formats_of(m), name), &t);
    return t.step;
}

static dt_status compare_node(void *user, const dt_node *node)
{
    codes_check *c = user;
    const char *param = node->in[0]->name;
    const dt_safetensors_tensor *t = dt_safetensors_find(c->file, param);
    const int64_t n = dt_count(&node->out->shape);

    if (node->kind != DT_OP_FIXED_POINT || dt_model_find(c->model, param) < 0) return DT_OK;
    cr_assert(t && t->count == n, "%s", node->name);
    const int powers = t->type == DT_SAFETENSORS_F32;
    const float step = step_of(c->model, param), unit = node->out->n_scale > 0 ? 1.0f : step;
    float *got = host_floats(c->model->ctx, node->out->data, n), *stored = malloc((size_t)n * sizeof *stored);
    MUST(dt_safetensors_read(c->file, t, stored));
    for (int64_t i = 0; i < n; i++) {
        int32_t code;
        memcpy(&code, &stored[i], sizeof code);
        const float value = powers ? stored[i] : (float)code * unit, is = got[transposed(&node->out->shape, i)];
        cr_assert(value == is, "%s[%lld]: %.9g in the file, %.9g on the tape", node->name, (long long)i, (double)value,
                  (double)is);
    }
    free(got);
    free(stored);
    c->n_compared++;
    return DT_OK;
}

static void expect_codes(dt_rounding rounding, int published, const dt_qcaps_bits *bits)
{
    fixture f = open_fixture(rounding, published, bits);
    codes_check c = { .model = f.model };
    dt_safetensors *file;
    dt_metrics metrics;

    MUST(dt_model_save_codes(f.model, temp_path("codes.safetensors")));
    MUST(dt_safetensors_open(temp_path("codes.safetensors"), &file));
    c.file = file;
    const dt_evaluation how = { .batch = N_IMAGES, .hook = compare_node, .user = &c };
    MUST(dt_evaluate_by(f.model, f.data, &how, &metrics));
    cr_assert(eq(int, c.n_compared, 6)); /* three layers' weights and biases */
    cr_assert(eq(int, dt_safetensors_count(file), 6), "the decoder is not hardware's");
    dt_safetensors_close(file);
    close_fixture(&f);
}

Test(fixed_codes, codes_are_the_networks_nearest)
{
    expect_codes(DT_ROUND_NEAREST, 0, &some_bits);
}

Test(fixed_codes, codes_are_the_networks_stochastic)
{
    expect_codes(DT_ROUND_STOCHASTIC, 0, &some_bits);
}

Test(fixed_codes, codes_are_the_networks_truncation_published)
{
    expect_codes(DT_ROUND_TRUNCATION, 1, &some_bits);
}

Test(fixed_codes, powers_are_the_networks)
{
    expect_codes(DT_ROUND_LOGARITHMIC, 0, &some_bits);
}

/* The largest code of 32 bits is no float: 2^31 on the tape, 2^31 - 1 in the file. */
Test(fixed_codes, codes_of_26_and_32_bits_fit_their_words)
{
    const dt_qcaps_bits wide = { .weight = { 26, 32, 32 }, .activation = { 9, 8, 7 }, .routing = { 0, 7, 6 } };
    expect_codes(DT_ROUND_NEAREST, 0, &wide);
    dt_safetensors *file;
    int32_t bias[160];

    MUST(dt_safetensors_open(temp_path("codes.safetensors"), &file));
    const dt_safetensors_tensor *t = dt_safetensors_find(file, "digit.bias");
    cr_assert(t && t->type == DT_SAFETENSORS_I32 && t->count == 160);
    MUST(dt_safetensors_read(file, t, bias));
    for (int i = 0; i < 160; i++) cr_assert(eq(i32, bias[i], INT32_MAX)); /* all 0.1: its own scale */
    dt_safetensors_close(file);
}

Test(fixed_codes, codes_file_describes_every_tensor)
{
    static const char *const parts[] = {
        "\"name\":\"primary.conv3d.weight\",\"layer\":1,\"kind\":\"weight\",\"scale\":",
        "\"bits\":5,\"step\":",
        "\"low\":-16,\"high\":15", /* weights of layer 1 */
        "\"bits\":6,\"step\":",
        "\"low\":-32,\"high\":31", /* routing of layer 2 */
        "\"name\":\"digit.b3\",\"layer\":2,\"kind\":\"routing\"",
    };
    fixture f = open_fixture(DT_ROUND_NEAREST, 0, &some_bits);
    dt_safetensors *file;

    f.model->origin = (dt_data_origin){ "mnist", 600, "0123456789abcdef", { 0 }, { 1, 1, 1 }, 0 };
    MUST(dt_model_save_codes(f.model, temp_path("codes.safetensors")));
    MUST(dt_safetensors_open(temp_path("codes.safetensors"), &file));
    cr_assert(eq(str, (char *)dt_safetensors_metadata(file, "data"),
                 "{\"name\":\"mnist\",\"images\":600,\"fingerprint\":\"0123456789abcdef\",\"mean\":[0,0,0,0],"
                 "\"std\":[1,1,1,0]}"));
    const char *formats = dt_safetensors_metadata(file, "formats");
    cr_assert(eq(str, (char *)dt_safetensors_metadata(file, "format"), "detent-fixed-point"));
    cr_assert(eq(str, (char *)dt_safetensors_metadata(file, "seed"), "5"));
    cr_assert(dt_safetensors_metadata(file, "model") != NULL);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        cr_assert(strstr(formats, parts[i]) != NULL, "no %s in %s", parts[i], formats);
    }
    dt_safetensors_close(file);
    close_fixture(&f);
}

Test(fixed_codes, a_code_that_32_bits_do_not_hold_is_refused)
{
    const dt_qcaps_bits bits = { .weight = { 8, 8, 31 }, .activation = { 9, 8, 7 }, .routing = { 0, 7, 6 } };
    fixture f = open_fixture(DT_ROUND_TRUNCATION, 1, &bits);
    const int bias = dt_model_find(f.model, "digit.bias");
    float value[160] = { [3] = 1.0f }; /* 2^31 steps of 2^-31 */

    MUST(dt_model_write(f.model, bias, value));
    cr_assert(eq(int, (int)dt_model_save_codes(f.model, temp_path("codes.safetensors")), DT_ERR_NUMERIC));
    cr_assert(says("digit.bias: value 3 is 1, which has no code of 32 bits"), "%s", dt_last_error());
    cr_assert(access(temp_path("codes.safetensors"), F_OK) != 0);
    value[3] = -1.0f;
    MUST(dt_model_write(f.model, bias, value));
    MUST(dt_model_save_codes(f.model, temp_path("codes.safetensors")));
    close_fixture(&f);
}
