/*
 * test_program.c - programs as objects: what they are made of, and that no damaged one passes the check.
 */
#include "lowered.h"

static lowered tiny, skip;

static void program_open(void)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    tiny = lowered_open(&c, 1);
    c = lowered_config("vgg16", 4, 4);
    c.choke = 8;
    c.skip_block = 1;
    skip = lowered_open(&c, 1);
}

static void program_close(void)
{
    lowered_close(&skip);
    lowered_close(&tiny);
}

TestSuite(program, .init = program_open, .fini = program_close);

Test(program, kinds_have_names)
{
    cr_assert_str_eq(dt_layer_kind_name(DT_LAYER_CONV), "conv");
    cr_assert_str_eq(dt_layer_kind_name(DT_LAYER_THRESHOLD), "threshold");
    cr_assert_str_eq(dt_layer_kind_name(DT_LAYER_LINEAR), "linear");
}

Test(program, nothing_can_be_destroyed)
{
    dt_program_destroy(NULL);
}

/* codes: 8*27 + 8*72 + 16*72; 1-byte codes, 4-byte scales, thresholds of 15 levels, lines of two floats a channel */
Test(program, description)
{
    dt_program_info info;
    dt_program_describe(tiny.program, &info);
    cr_assert(info.height == 32 && info.width == 32 && info.channels == 3 && info.n_classes == 10);
    cr_assert(info.n_layers == 11 && info.n_weights == 216 + 576 + 1152, "%lld", (long long)info.n_weights);
    const size_t thresholds = 2 * 8 * (1 + 15 * 4 + 8), affine = 16 * 8, linear = 10 * (16 * 16 + 1) * 4;
    const size_t want = 256 * 3 * 2 + 1944 + 3 * 4 + thresholds + affine + linear;
    cr_assert(info.bytes == want, "%zu bytes, expected %zu", info.bytes, want);
}

Test(program, weights_reach_one_less_above_where_the_bound_is_even)
{
    const dt_layer clip = { .weight_bound = 7 }, lsq = { .weight_bound = 8 }, lsq8 = { .weight_bound = 128 };
    cr_assert(dt_layer_weight_high(&clip) == 7 && dt_layer_weight_high(&lsq) == 7 &&
              dt_layer_weight_high(&lsq8) == 127);
}

/* ---- corruptions ---- */

/* One byte-range of a program that is put out of order for a moment. */
typedef struct {
    const char *why; /* part of the message */
    void *at;
    size_t bytes;
    int64_t value; /* its low bytes are written; little-endian, as all machines that run this */
} corruption;

static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static void check_corruption(const dt_program *p, const corruption *c)
{
    unsigned char whole[8];
    MUST(dt_program_check(p));
    memcpy(whole, c->at, c->bytes);
    memcpy(c->at, &c->value, c->bytes);
    const dt_status got = dt_program_check(p);
    cr_assert(got == DT_ERR_FORMAT && strstr(dt_last_error(), c->why), "expected '%s', got %s: %s", c->why,
              dt_status_name(got), dt_last_error());
    memcpy(c->at, whole, c->bytes);
    MUST(dt_program_check(p));
}

static dt_layer *layer_of(const lowered *r, dt_layer_kind kind, const char *name)
{
    return &r->program->layer[lowered_layer(r->program, kind, name) - r->program->layer];
}

#define BAD(field, v, text)              \
    {                                    \
        text, &(field), sizeof(field), v \
    }

static void check_all(const dt_program *p, const corruption *c, size_t n)
{
    for (size_t i = 0; i < n; i++) check_corruption(p, &c[i]);
}

Test(program, corrupt_images)
{
    dt_program *p = tiny.program;
    const corruption all[] = {
        BAD(p->height, 0, "image (table): height is 0, allowed are 1..4096"),
        BAD(p->width, 5000, "width is 5000"),
        BAD(p->channels, 5, "channels is 5, allowed are 1..4"),
        BAD(p->channels, 2, "features.0 (conv)"),
        BAD(p->low, 1, "low is 1"),
        BAD(p->high, -1, "high is -1"),
        BAD(p->table[700], 128, "code is 128, allowed are -127..127"),
        BAD(p->table, 0, "there is no table"),
        BAD(p->scale, bits_of(0.0f), "scale[0] is 0, expected a number above 0"),
        BAD(p->scale, bits_of(NAN), "scale[0] is"),
        BAD(p->n_layers, 0, "a program of 0 layers"),
        BAD(p->n_layers, 10, "features.11 (avgpool): the last layer is linear, and no other"),
        BAD(p->layer, 0, "layers"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, corrupt_connections)
{
    dt_program *p = tiny.program;
    dt_layer *conv = layer_of(&tiny, DT_LAYER_CONV, "features.4"), *linear = &p->layer[10];
    const corruption all[] = {
        BAD(conv->kind, 9, "layer 3 is of no known kind: 9"),
        BAD(conv->kind, -1, "of no known kind"),
        BAD(conv->kind, DT_LAYER_ADD, "features.4 (add): reads codes of layer 2"),
        BAD(conv->in[0], 3, "features.4 (conv): in[0] is 3, allowed are -1..2"),
        BAD(conv->in[0], -2, "in[0] is -2"),
        BAD(conv->in[0], 0, "reads psums of layer 0"),
        BAD(conv->in[0], DT_FROM_IMAGE, "features.4 (conv): height is 16, expected 32"),
        BAD(conv->value, DT_VALUE_REAL, "value is 2, which is not what such a layer gives"),
        BAD(conv->value, 7, "value is 7"),
        BAD(conv->name[0], 0, "layer 3 (conv) has no name"),
        BAD(conv->name[9], '0', "layers 0 and 3 have this name"),
        BAD(linear->in[0], 0, "classifier (linear): reads psums of layer 0"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
    char name[64];
    memcpy(name, conv->name, sizeof name);
    memset(conv->name, 'x', sizeof conv->name);
    cr_assert(dt_program_check(p) == DT_ERR_FORMAT && strstr(dt_last_error(), "layer 3 (conv) has no name"), "%s",
              dt_last_error());
    memcpy(conv->name, name, sizeof name);
}

Test(program, corrupt_convolutions)
{
    dt_program *p = tiny.program;
    dt_layer *conv = layer_of(&tiny, DT_LAYER_CONV, "features.4");
    const corruption all[] = {
        BAD(conv->height, 15, "height is 15, expected 16"),
        BAD(conv->width, 17, "width is 17, expected 16"),
        BAD(conv->channels, 0, "channels is 0"),
        BAD(conv->channels, 70000, "channels is 70000"),
        BAD(conv->stride, 0, "stride is 0"),
        BAD(conv->stride, 2, "height is 16, expected 8"),
        BAD(conv->pad, -1, "pad is -1"),
        BAD(conv->pad, 65, "pad is 65"),
        BAD(conv->window_height, 0, "window_height is 0"),
        BAD(conv->window_width, 19, "window_width is 19, allowed are 1..18"),
        BAD(conv->weight_bound, 0, "weight_bound is 0"),
        BAD(conv->weight_bound, 129, "weight_bound is 129, allowed are 1..128"),
        BAD(conv->weight_bound, 8, "low is -7560, expected -8640"),
        BAD(conv->high, 7561, "high is 7561, expected 7560"),
        BAD(conv->weight[3], 8, "features.4 (conv): weight is 8, allowed are -7..7"),
        BAD(conv->weight[575], -128, "weight is -128"),
        BAD(conv->weight, 0, "there is no weight"),
        BAD(conv->n_weight_scale, 2, "n_weight_scale is 2, expected 8"),
        BAD(conv->n_weight_scale, 0, "n_weight_scale is 0"),
        BAD(conv->weight_scale[0], bits_of(-1.0f), "weight_scale[0] is -1"),
        BAD(conv->weight_scale, 0, "there is no weight_scale"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, corrupt_thresholds)
{
    dt_program *p = tiny.program;
    dt_layer *l = layer_of(&tiny, DT_LAYER_THRESHOLD, "features.8");
    int32_t *first = &l->threshold[0], *second = &l->threshold[8];
    cr_assert(*first > -7560 && *second < 7560 && *first < *second);
    const corruption all[] = {
        BAD(l->height, 8, "height is 8, expected 16"),
        BAD(l->low, -256, "low is -256"),
        BAD(l->low, 1, "low is 1"),
        BAD(l->high, 0, "high is 0"),
        BAD(l->high, 256, "high is 256"),
        BAD(l->scale, bits_of(INFINITY), "scale[0] is inf"),
        BAD(l->sign[2], 0, "sign is 0, expected -1"),
        BAD(l->sign, 0, "there is no sign"),
        BAD(*first, *second + 1, "features.8 (threshold): threshold is"),
        BAD(*first, -7560, "threshold is -7560, allowed are -7559..7560"),
        BAD(*first, INT32_MAX, "threshold is"),
        BAD(l->threshold[14 * 8], 7561, "threshold is 7561"),
        BAD(l->threshold, 0, "there is no threshold"),
        BAD(l->slope[1], bits_of(NAN), "slope[1] is"),
        BAD(l->offset, 0, "there is no offset"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, corrupt_pools_and_reals)
{
    dt_program *p = tiny.program;
    dt_layer *pool = layer_of(&tiny, DT_LAYER_MAXPOOL, "features.3"),
             *average = layer_of(&tiny, DT_LAYER_AVGPOOL, "features.11"),
             *affine = layer_of(&tiny, DT_LAYER_AFFINE, "features.9"),
             *relu = layer_of(&tiny, DT_LAYER_RELU, "features.10"),
             *linear = layer_of(&tiny, DT_LAYER_LINEAR, "classifier");
    const corruption all[] = {
        BAD(pool->window_height, 33, "features.3 (maxpool): window_height is 33"),
        BAD(pool->window_width, 1, "window_width is 1, expected 2"),
        BAD(pool->pad, 1, "pad is 1"),
        BAD(pool->channels, 9, "channels is 9, expected 8"),
        BAD(pool->low, -1, "low is -1, expected 0"),
        BAD(pool->scale, bits_of(1.0f), "scale is 1, its input's is"),
        BAD(pool->value, DT_VALUE_REAL, "value is 2"),
        BAD(average->stride, 3, "features.11 (avgpool): height is 4, expected 3"),
        BAD(affine->slope[15], bits_of(INFINITY), "features.9 (affine): slope[15] is inf"),
        BAD(affine->offset[0], bits_of(NAN), "offset[0] is"),
        BAD(affine->channels, 15, "channels is 15, expected 16"),
        BAD(relu->width, 9, "features.10 (relu): width is 9, expected 8"),
        BAD(linear->channels, 0, "classifier (linear): channels is 0"),
        BAD(linear->height, 2, "height is 2, expected 1"),
        BAD(linear->matrix[2559], bits_of(NAN), "matrix[2559] is"),
        BAD(linear->bias, 0, "there is no bias"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, corrupt_skip_blocks)
{
    dt_program *p = skip.program;
    dt_layer *add = layer_of(&skip, DT_LAYER_ADD, "features.20.add"),
             *quantize = layer_of(&skip, DT_LAYER_QUANTIZE, "features.34");
    const corruption all[] = {
        BAD(add->in[1], 0, "features.20.add (add): reads psums of layer 0"),
        BAD(add->in[1], 1000, "in[1] is 1000"),
        BAD(quantize->bits, 9, "features.34 (quantize): bits is 9, allowed are 2..8"),
        BAD(quantize->bits, 3, "high is 15, expected 7"),
        BAD(quantize->rule, 5, "rule is 5, allowed are 0..4"),
        BAD(quantize->alpha, bits_of(0.0f), "alpha[0] is 0"),
        BAD(quantize->alpha, bits_of(1.0f), "scale is"),
        BAD(quantize->low, -7, "high is 15, expected 7"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, corrupt_multipliers)
{
    dt_requant_report report;
    MUST(dt_program_use_multipliers(tiny.program, 16, &report));
    dt_layer *l = layer_of(&tiny, DT_LAYER_THRESHOLD, "features.8");
    dt_requant *r = &l->requant;
    const corruption all[] = {
        BAD(r->bits, 7, "bits of the multiplier is 7, allowed are 8..31"),
        BAD(r->bits, 32, "bits of the multiplier is 32"),
        BAD(r->bits, 12, "multiplier is"),
        BAD(r->shift[0], 63, "shift is 63"),
        BAD(r->shift[0], -1, "shift is -1"),
        BAD(r->shift[0], 8, "which is not where its multiplier steps"),
        BAD(r->offset[3], INT64_MAX, "offset is 9223372036854775807"),
        BAD(r->multiplier[3], 0, "which is not where its multiplier steps"),
        BAD(l->threshold[7 * 8], l->threshold[7 * 8] + 1, "threshold 7 of channel 0 is"),
        BAD(r->offset, 0, "there is no multiplier's offset"),
    };
    check_all(tiny.program, all, sizeof all / sizeof all[0]);
}
