/*
 * requantize.c - codes of real values, and codes of sums of codes, under the arithmetic of a named engine.
 *
 *   quantize:    code = limit(round(x / scale)), or wrap(trunc(x / scale + zero)) - zero where a host casts so
 *   requantize:  code = limit(round((x + bias) * M)),  M = scale_x * scale_w / scale_y of the channel
 *
 * How each is rounded, and in which precision M is computed, is the profile's: core/arith/requantize.h. The kinds of
 * sum (dt_requant_of) are those that engines treat differently. limit is to low..high, where a fused ReLU has raised
 * low to 0, and a fused ReLU6 lowered high.
 *
 * A sum that f32 may have rounded, one of 2^24 or more, has no code: the CPU refuses it, and CUDA makes it a NaN. A
 * NaN stays one.
 *
 * On the CPU REQUANTIZE computes by vectors (requantize_lines.h), and by the definition where those do not fit.
 *
 * Shapes: x ..,C; scales 1; scale_w 1 or C; bias i32 C; code as x.
 * CUDA: cuda/requantize.cu.  Tests: tests/quant/test_requantize.c.
 */
#include "requantize_lines.h"

#include "../core/align.h"
#include "code_types.h"

#include <assert.h>

/* Scales are parameters of one value. */
static dt_status check_scale(const dt_node *node, int k, int64_t n_wanted)
{
    const int64_t n = dt_count(&node->in[k]->shape);

    assert(node->in[k]->type == DT_F32);
    DT_CHECK(n == 1 || n == n_wanted, DT_ERR_SHAPE, "%s: %s: input %d has %lld scales, expected 1%s", node->name,
             dt_ops[node->kind]->name, k, (long long)n, n_wanted > 1 ? " or one for each channel" : "");
    return DT_OK;
}

dt_status dt_requant_out(dt_node *node, int low, int high, int scale)
{
    DT_CHECK(low <= 0 && high >= 0 && low < high, DT_ERR_ARGUMENT,
             "%s: %s: the range of the codes is %d..%d, which must hold 0", node->name, dt_ops[node->kind]->name, low,
             high);
    DT_TRY(check_scale(node, scale, 1));
    node->out->type = DT_F32;
    dt_scale_follows(node->out, node->in[scale], 0);
    node->out->qmin = low;
    node->out->qmax = high;
    return DT_OK;
}

static dt_status quantize_infer(dt_node *node)
{
    const dt_quantize_params *p = node->params;

    DT_CHECK(node->in[0]->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: quantize: x has codes already; requantize gives them another scale", node->name);
    DT_CHECK(dt_quantize_fits_cast(p), DT_ERR_ARGUMENT,
             "%s: quantize: the range of the codes is %d..%d and the zero point %d; the cast %s makes %d..%d",
             node->name, p->low, p->high, p->zero, dt_image_cast_names[p->cast], INT8_MIN - p->zero,
             INT8_MAX - p->zero);
    node->out->shape = node->in[0]->shape;
    return dt_requant_out(node, p->low, p->high, DT_QUANTIZE_SCALE);
}

static dt_status requantize_infer(dt_node *node)
{
    const dt_requantize_params *p = node->params;
    const dt_tensor *x = node->in[0];
    const int64_t channels = dt_channels(&x->shape);
    assert(x->type == DT_F32);

    DT_CHECK(x->n_scale > 0, DT_ERR_UNSUPPORTED, "%s: requantize: takes integers, and x is real; quantize it instead",
             node->name);
    DT_CHECK((p->of == DT_REQUANT_MEAN) == (p->count > 1) || p->count == 1, DT_ERR_ARGUMENT,
             "%s: requantize: count is %d; it is 1, or of a mean the number of its cells", node->name, p->count);
    DT_TRY(check_scale(node, DT_REQUANT_SCALE_X, 1));
    if (node->n_in > DT_REQUANT_SCALE_W) DT_TRY(check_scale(node, DT_REQUANT_SCALE_W, channels));
    if (node->n_in > DT_REQUANT_BIAS) {
        const dt_tensor *bias = node->in[DT_REQUANT_BIAS];
        DT_CHECK(bias->type == DT_I32 && dt_count(&bias->shape) == channels, DT_ERR_SHAPE,
                 "%s: requantize: the bias must be %lld integers of 32 bits, one for each channel", node->name,
                 (long long)channels);
    }
    node->out->shape = x->shape;
    return dt_requant_out(node, p->low, p->high, DT_REQUANT_SCALE_Y);
}

static const char *const requant_of_names[] = { "conv", "linear", "matmul", "matmul-shifted",
                                                "mul",  "mean",   "codes",  NULL };

static const dt_field quantize_fields[] = {
    { DT_MEMBER(dt_quantize_params, profile), DT_FIELD_WORD, 0, DT_PROFILE_EXACT, dt_profile_names, 0 },
    { DT_MEMBER(dt_quantize_params, low), DT_INT(-65535, 0) },
    { DT_MEMBER(dt_quantize_params, high), DT_INT(0, 65535) },
    { DT_MEMBER(dt_quantize_params, zero), DT_INT(-32768, 32767) },
    { DT_MEMBER(dt_quantize_params, cast), DT_FIELD_WORD, 0, DT_CAST_TRUNCATE_U8, dt_image_cast_names, 0 },
};

static const dt_field requantize_fields[] = {
    { DT_MEMBER(dt_requantize_params, profile), DT_FIELD_WORD, 0, DT_PROFILE_ONNX, dt_profile_names, 0 },
    { DT_MEMBER(dt_requantize_params, of), DT_WORD(requant_of_names) },
    { DT_MEMBER(dt_requantize_params, low), DT_INT(-65535, 0) },
    { DT_MEMBER(dt_requantize_params, high), DT_INT(0, 65535) },
    { DT_MEMBER(dt_requantize_params, count), DT_INT(1, 1 << 24) },
    { DT_MEMBER(dt_requantize_params, zero), DT_INT(-32768, 32767) },
};

const dt_op dt_op_quantize = {
    .name = "quantize",
    .min_in = 2,
    .max_in = 2,
    DT_OP_PARAMS(dt_quantize_params, quantize_fields),
    .no_grad = 1,
    .infer = quantize_infer,
};

static const dt_requantize_params requantize_defaults = { .count = 1 };

const dt_op dt_op_requantize = {
    .name = "requantize",
    .min_in = 3,
    .max_in = 5,
    DT_OP_PARAMS(dt_requantize_params, requantize_fields),
    .defaults = &requantize_defaults,
    .no_grad = 1,
    .infer = requantize_infer,
};

static dt_status quantize_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_quantize_params p = *(const dt_quantize_params *)node->params;
    const int64_t n = dt_count(&node->out->shape);
    const float scale = *(const float *)node->in[DT_QUANTIZE_SCALE]->data, *x = node->in[0]->data;
    float *code = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) code[i] = dt_image_code(x[i], scale, &p);
    node->out->scale[0] = scale;
    return DT_OK;
}

/* Bytes of the channels' requantizers, with which the line's constants begin aligned. */
static size_t view_bytes(const dt_node *node)
{
    return dt_round_up(dt_requant_scratch(node), DT_CACHE_LINE);
}

static dt_status requantize_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = view_bytes(node) + dt_requant_line_bytes(dt_channels(&node->out->shape));
    return DT_OK;
}

/* Codes first .. first + n - 1, by the definition. Returns 1 if one of the sums is too large for f32. */
static int by_definition(const dt_requant_view *v, int64_t first, int64_t n, float *code)
{
    int is_inexact = 0;

    for (int64_t i = first; i < first + n; i++) {
        code[i - first] = dt_requant_value(v, v->product, i % v->channels, v->x[i]);
        is_inexact |= fabsf(v->x[i]) >= (float)DT_F32_EXACT;
    }
    return is_inexact;
}

/* line is NULL where the definition is needed. Returns 1 if one of the sums is too large for f32. */
static int requantize_all(const dt_requant_view *v, const dt_requant_line *line, const dt_tensor *out)
{
    const int64_t count = dt_count(&out->shape), lines = line ? DT_CODE_BLOCK / line->n : 0;
    const int64_t block = lines > 0 ? lines * line->n : line ? line->n : DT_CODE_BLOCK;
    int is_inexact = 0;

#pragma omp parallel for reduction(| : is_inexact)
    for (int64_t at = 0; at < count; at += block) {
        const int64_t n = count - at < block ? count - at : block;
        float room[DT_CODE_BLOCK], *code = dt_codes_room(out, at, room);
        is_inexact |= line ? dt_requantize_line(line, v->x + at, n, code) : by_definition(v, at, n, code);
        dt_codes_narrow(out, at, n, code);
    }
    return is_inexact;
}

static dt_status requantize_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_requant_view v = dt_requant_look(node, ex->scratch);
    dt_requant_line line;

    for (int64_t c = 0; c < v.channels; c++) dt_requant_channel(&v, c);
    const int fits = dt_requant_line_make(&v, (char *)ex->scratch + view_bytes(node), &line);
    const int is_block = node->out->type == DT_F32 || line.n <= DT_CODE_BLOCK;
    const int is_inexact = requantize_all(&v, fits && is_block ? &line : NULL, node->out);
    node->out->scale[0] = *v.scale_y;
    DT_CHECK(!is_inexact, DT_ERR_NUMERIC,
             "%s: a sum of codes is 2^24 or more, which f32 does not hold; fewer bits of weights or activations make "
             "it smaller",
             node->name);
    return DT_OK;
}

const dt_kernel dt_cpu_quantize = { .forward = quantize_forward };
const dt_kernel dt_cpu_requantize = { .prepare = requantize_prepare,
                                      .forward = requantize_forward,
                                      .narrow = DT_READS_OUT };
