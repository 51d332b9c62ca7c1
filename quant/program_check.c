/*
 * program_check.c - whether a program may run: every layer fits what it reads, every array is there and in range.
 *
 * The file that a program came from is not trusted: what runs afterwards (reference.c, a tape, generated C) indexes and
 * converts without looking. Ranges are those within which sums stay in 32 bits and sizes in 64.
 * Tests: tests/test_program.c.
 */
#include "grid.h"
#include "program.h"

#include <limits.h>
#include <string.h>

enum { MAX_SIDE = 4096, MAX_CHANNELS = 65536, MAX_LAYERS = 4096, MAX_PAD = 64 };

/* One layer with what it reads, for messages and checks. */
typedef struct {
    const dt_layer *l;
    dt_value x;
    const char *name, *kind;
} layer_view;

static dt_status within(const layer_view *v, const char *field, int64_t value, int64_t least, int64_t most)
{
    DT_CHECK(value >= least && value <= most, DT_ERR_FORMAT, "%s (%s): %s is %lld, allowed are %lld..%lld", v->name,
             v->kind, field, (long long)value, (long long)least, (long long)most);
    return DT_OK;
}

static dt_status equals(const layer_view *v, const char *field, int64_t value, int64_t wanted)
{
    DT_CHECK(value == wanted, DT_ERR_FORMAT, "%s (%s): %s is %lld, expected %lld", v->name, v->kind, field,
             (long long)value, (long long)wanted);
    return DT_OK;
}

static dt_status present(const layer_view *v, const char *field, const void *array)
{
    DT_CHECK(array, DT_ERR_FORMAT, "%s (%s): there is no %s", v->name, v->kind, field);
    return DT_OK;
}

/* Above what: 0 for scales, -INFINITY for the rest. */
static dt_status numbers(const layer_view *v, const char *field, const float *value, int64_t n, float above)
{
    DT_TRY(present(v, field, value));
    for (int64_t i = 0; i < n; i++) {
        DT_CHECK(isfinite(value[i]) && value[i] > above, DT_ERR_FORMAT, "%s (%s): %s[%lld] is %g, expected a number%s",
                 v->name, v->kind, field, (long long)i, (double)value[i], above == 0.0f ? " above 0" : "");
    }
    return DT_OK;
}

static dt_status shape_is(const layer_view *v, int height, int width, int channels)
{
    DT_TRY(equals(v, "height", v->l->height, height));
    DT_TRY(equals(v, "width", v->l->width, width));
    return equals(v, "channels", v->l->channels, channels);
}

static dt_status codes_are(const layer_view *v, int low, int high)
{
    DT_TRY(equals(v, "low", v->l->low, low));
    return equals(v, "high", v->l->high, high);
}

/* window, stride and pad within their ranges, and an output that they give */
static dt_status window_fits(const layer_view *v, int channels)
{
    const dt_layer *l = v->l;

    DT_TRY(within(v, "pad", l->pad, 0, l->kind == DT_LAYER_CONV ? MAX_PAD : 0));
    DT_TRY(within(v, "stride", l->stride, 1, MAX_SIDE));
    DT_TRY(within(v, "window_height", l->window_height, 1, v->x.height + 2 * l->pad));
    DT_TRY(within(v, "window_width", l->window_width, 1, v->x.width + 2 * l->pad));
    if (l->kind != DT_LAYER_CONV) DT_TRY(equals(v, "window_width", l->window_width, l->window_height));
    return shape_is(v, (v->x.height + 2 * l->pad - l->window_height) / l->stride + 1,
                    (v->x.width + 2 * l->pad - l->window_width) / l->stride + 1, channels);
}

static dt_status check_conv(const layer_view *v)
{
    const dt_layer *l = v->l;

    DT_TRY(within(v, "channels", l->channels, 1, MAX_CHANNELS));
    DT_TRY(window_fits(v, l->channels));
    DT_TRY(within(v, "weight_bound", l->weight_bound, 1, -INT8_MIN));
    if (l->n_weight_scale != 1) DT_TRY(equals(v, "n_weight_scale", l->n_weight_scale, l->channels));
    DT_TRY(numbers(v, "weight_scale", l->weight_scale, l->n_weight_scale, 0.0f));
    DT_TRY(present(v, "weight", l->weight));

    const int64_t terms = (int64_t)l->window_height * l->window_width * v->x.channels;
    const int64_t bound = terms * l->weight_bound * (v->x.high > -v->x.low ? v->x.high : -v->x.low);
    DT_TRY(within(v, "largest psum", bound, 0, INT32_MAX - 1));
    DT_TRY(codes_are(v, (int)-bound, (int)bound));
    for (int64_t i = 0; i < terms * l->channels; i++) {
        DT_TRY(within(v, "weight", l->weight[i], -l->weight_bound, dt_layer_weight_high(l)));
    }
    return DT_OK;
}

/* Each channel's ascend; INT32_MIN for those that every psum passes, then psums, then INT32_MAX for the others. */
static dt_status check_steps(const layer_view *v)
{
    const dt_layer *l = v->l;
    const int64_t channels = l->channels;

    for (int64_t i = 0; i < (l->high - l->low) * channels; i++) {
        const int32_t t = l->threshold[i];
        if (t != INT32_MIN && t != INT32_MAX) DT_TRY(within(v, "threshold", t, (int64_t)v->x.low + 1, v->x.high));
        if (i >= channels) DT_TRY(within(v, "threshold", t, l->threshold[i - channels], INT32_MAX));
    }
    for (int64_t c = 0; c < channels; c++) {
        if (l->sign[c] != 1) DT_TRY(equals(v, "sign", l->sign[c], -1));
    }
    return DT_OK;
}

/* The psums next to a threshold get its codes, so all psums between two get theirs. */
static dt_status multiplier_steps_here(const layer_view *v, int c, int level)
{
    const dt_layer *l = v->l;
    const int32_t t = l->threshold[(int64_t)level * l->channels + c];
    const int64_t low = v->x.low, high = v->x.high, sign = l->sign[c];
    const int64_t below = t == INT32_MIN ? low - 1 : t == INT32_MAX ? high : t - 1;
    const int agree_below = below < low || dt_requant_code(l, c, sign * below) <= l->low + level;
    const int agree_above = below >= high || dt_requant_code(l, c, sign * (below + 1)) > l->low + level;

    DT_CHECK(agree_below && agree_above, DT_ERR_FORMAT,
             "%s (%s): threshold %d of channel %d is %d, which is not where its multiplier steps", v->name, v->kind,
             level, c, t);
    return DT_OK;
}

static dt_status check_requant(const layer_view *v)
{
    const dt_layer *l = v->l;
    const dt_requant *r = &l->requant;

    if (!r->multiplier && !r->offset && !r->shift) return DT_OK;
    DT_TRY(present(v, "multiplier", r->multiplier));
    DT_TRY(present(v, "multiplier's offset", r->offset));
    DT_TRY(present(v, "multiplier's shift", r->shift));
    DT_TRY(within(v, "bits of the multiplier", r->bits, DT_REQUANT_BITS_MIN, DT_REQUANT_BITS_MAX));
    const int64_t most = ((int64_t)1 << (r->bits - 1)) - 1;
    for (int c = 0; c < l->channels; c++) {
        DT_TRY(within(v, "multiplier", r->multiplier[c], -most, most));
        DT_TRY(within(v, "multiplier's offset", r->offset[c], -DT_REQUANT_OFFSET_MAX, DT_REQUANT_OFFSET_MAX));
        DT_TRY(within(v, "multiplier's shift", r->shift[c], 0, DT_REQUANT_SHIFT_MAX));
        for (int level = 0; level < l->high - l->low; level++) DT_TRY(multiplier_steps_here(v, c, level));
    }
    return DT_OK;
}

static dt_status check_threshold(const layer_view *v)
{
    const dt_layer *l = v->l;

    DT_TRY(shape_is(v, v->x.height, v->x.width, v->x.channels));
    DT_TRY(within(v, "low", l->low, -DT_CODE_MAX, 0));
    DT_TRY(within(v, "high", l->high, 1, DT_CODE_MAX));
    DT_TRY(numbers(v, "scale", &l->scale, 1, 0.0f));
    DT_TRY(numbers(v, "slope", l->slope, l->channels, -INFINITY));
    DT_TRY(numbers(v, "offset", l->offset, l->channels, -INFINITY));
    DT_TRY(present(v, "sign", l->sign));
    DT_TRY(present(v, "threshold", l->threshold));
    DT_TRY(check_steps(v));
    return check_requant(v);
}

static dt_status check_affine(const layer_view *v)
{
    DT_TRY(shape_is(v, v->x.height, v->x.width, v->x.channels));
    DT_TRY(numbers(v, "slope", v->l->slope, v->l->channels, -INFINITY));
    return numbers(v, "offset", v->l->offset, v->l->channels, -INFINITY);
}

static dt_status check_elementwise(const layer_view *v)
{
    return shape_is(v, v->x.height, v->x.width, v->x.channels);
}

static dt_status check_pool(const layer_view *v)
{
    DT_TRY(window_fits(v, v->x.channels));
    if (v->l->value != DT_VALUE_CODE) return DT_OK;
    DT_TRY(codes_are(v, v->x.low, v->x.high));
    DT_CHECK(v->l->scale == v->x.scale, DT_ERR_FORMAT, "%s (%s): scale is %g, its input's is %g", v->name, v->kind,
             (double)v->l->scale, (double)v->x.scale);
    return DT_OK;
}

static dt_status check_quantize(const layer_view *v)
{
    const dt_layer *l = v->l;

    DT_TRY(shape_is(v, v->x.height, v->x.width, v->x.channels));
    DT_TRY(within(v, "bits", l->bits, 2, 8));
    DT_TRY(within(v, "rule", (int64_t)l->rule, DT_RULE_ECE284, DT_RULE_LSQ));
    DT_TRY(numbers(v, "alpha", &l->alpha, 1, 0.0f));
    const int high = dt_act_high(l->bits, l->low < 0);
    DT_TRY(codes_are(v, l->low < 0 ? -high : 0, high));
    const float scale = dt_grid_scale(l->alpha, high, l->rule);
    DT_CHECK(l->scale == scale, DT_ERR_FORMAT, "%s (%s): scale is %.9g, its alpha and bits give %.9g", v->name, v->kind,
             (double)l->scale, (double)scale);
    return numbers(v, "scale", &l->scale, 1, 0.0f);
}

static dt_status check_linear(const layer_view *v)
{
    const int64_t inputs = (int64_t)v->x.height * v->x.width * v->x.channels;

    DT_TRY(within(v, "channels", v->l->channels, 1, MAX_CHANNELS));
    DT_TRY(shape_is(v, 1, 1, v->l->channels));
    DT_TRY(numbers(v, "matrix", v->l->matrix, inputs * v->l->channels, -INFINITY));
    return numbers(v, "bias", v->l->bias, v->l->channels, -INFINITY);
}

enum { KINDS_CODE = 1 << DT_VALUE_CODE, KINDS_PSUM = 1 << DT_VALUE_PSUM, KINDS_REAL = 1 << DT_VALUE_REAL };

/* What each kind of layer reads and gives; gives 0: what it reads. */
static const struct {
    int n_in, reads, gives;
    dt_status (*check)(const layer_view *v);
} kinds[DT_LAYER_COUNT] = {
    [DT_LAYER_CONV] = { 1, KINDS_CODE, KINDS_PSUM, check_conv },
    [DT_LAYER_THRESHOLD] = { 1, KINDS_PSUM, KINDS_CODE, check_threshold },
    [DT_LAYER_AFFINE] = { 1, KINDS_PSUM, KINDS_REAL, check_affine },
    [DT_LAYER_RELU] = { 1, KINDS_REAL, KINDS_REAL, check_elementwise },
    [DT_LAYER_MAXPOOL] = { 1, KINDS_CODE | KINDS_REAL, 0, check_pool },
    [DT_LAYER_AVGPOOL] = { 1, KINDS_REAL, KINDS_REAL, check_pool },
    [DT_LAYER_ADD] = { 2, KINDS_REAL, KINDS_REAL, check_elementwise },
    [DT_LAYER_QUANTIZE] = { 1, KINDS_REAL, KINDS_CODE, check_quantize },
    [DT_LAYER_LINEAR] = { 1, KINDS_REAL, KINDS_REAL, check_linear },
};

static dt_status check_input(const dt_program *p, int i, int k)
{
    static const char *const words[] = { "codes", "psums", "reals" };
    const dt_layer *l = &p->layer[i];
    const layer_view v = { .l = l, .name = l->name, .kind = dt_layer_kind_name(l->kind) };

    DT_TRY(within(&v, k == 0 ? "in[0]" : "in[1]", l->in[k], DT_FROM_IMAGE, i - 1));
    const dt_value x = dt_layer_input(p, i, k);
    DT_CHECK(kinds[l->kind].reads & 1 << x.kind, DT_ERR_FORMAT, "%s (%s): reads %s of layer %d", v.name, v.kind,
             words[x.kind], l->in[k]);
    return k == 0 ? DT_OK : shape_is(&v, x.height, x.width, x.channels);
}

/* Layers that keep arrays are known by kind and name: in files, in a model's parameters, in generated C. */
static dt_status check_name(const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];

    DT_CHECK((unsigned)l->kind < DT_LAYER_COUNT, DT_ERR_FORMAT, "layer %d is of no known kind: %d", i, (int)l->kind);
    DT_CHECK(l->name[0] && memchr(l->name, '\0', sizeof l->name), DT_ERR_FORMAT,
             "layer %d (%s) has no name of 1 to %zu characters", i, dt_layer_kind_name(l->kind), sizeof l->name - 1);
    for (int j = 0; j < i && l->kind != DT_LAYER_RELU && l->kind != DT_LAYER_MAXPOOL; j++) {
        DT_CHECK(p->layer[j].kind != l->kind || strcmp(p->layer[j].name, l->name) != 0, DT_ERR_FORMAT,
                 "%s (%s): layers %d and %d have this name", l->name, dt_layer_kind_name(l->kind), j, i);
    }
    return DT_OK;
}

static dt_status check_layer(const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];

    DT_TRY(check_name(p, i));
    for (int k = 0; k < kinds[l->kind].n_in; k++) DT_TRY(check_input(p, i, k));
    const layer_view v = { l, dt_layer_input(p, i, 0), l->name, dt_layer_kind_name(l->kind) };
    const int gives = kinds[l->kind].gives ? kinds[l->kind].gives : 1 << v.x.kind;
    DT_CHECK((unsigned)l->value <= DT_VALUE_REAL && 1 << l->value == gives, DT_ERR_FORMAT,
             "%s (%s): value is %d, which is not what such a layer gives", v.name, v.kind, (int)l->value);
    DT_CHECK((l->kind == DT_LAYER_LINEAR) == (i == p->n_layers - 1), DT_ERR_FORMAT,
             "%s (%s): the last layer is linear, and no other; this is layer %d of %d", v.name, v.kind, i, p->n_layers);
    return kinds[l->kind].check(&v);
}

static dt_status check_image(const dt_program *p)
{
    const dt_layer whole = { .name = "image" };
    const layer_view v = { .l = &whole, .name = "image", .kind = "table" };

    DT_TRY(within(&v, "height", p->height, 1, MAX_SIDE));
    DT_TRY(within(&v, "width", p->width, 1, MAX_SIDE));
    DT_TRY(within(&v, "channels", p->channels, 1, 4));
    DT_TRY(within(&v, "low", p->low, INT16_MIN, 0));
    DT_TRY(within(&v, "high", p->high, 0, INT16_MAX));
    DT_TRY(numbers(&v, "scale", &p->scale, 1, 0.0f));
    DT_TRY(present(&v, "table", p->table));
    for (int i = 0; i < 256 * p->channels; i++) DT_TRY(within(&v, "code", p->table[i], p->low, p->high));
    return DT_OK;
}

dt_status dt_program_check(const dt_program *p)
{
    DT_TRY(check_image(p));
    DT_CHECK(memchr(p->model, '\0', sizeof p->model), DT_ERR_FORMAT, "the program's model has no end");
    DT_CHECK(p->n_layers >= 1 && p->n_layers <= MAX_LAYERS && p->layer, DT_ERR_FORMAT,
             "a program of %d layers, allowed are 1..%d", p->n_layers, MAX_LAYERS);
    for (int i = 0; i < p->n_layers; i++) DT_TRY(check_layer(p, i));
    return DT_OK;
}
