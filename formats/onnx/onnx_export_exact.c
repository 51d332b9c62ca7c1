/*
 * onnx_export_exact.c - what each node becomes of a program whose codes are made by thresholds. See onnx_export.h.
 *
 * Each value of the program, codes or psums, is a value of the file that holds the same integers as reals; the sum of a
 * window is the file's average of it. Nodes of reals are those of a network of reals.
 */
#include "onnx_export.h"

#include "../../core/arith/grid.h"
#include "onnx.h"

#include <stdlib.h>
#include <string.h>

enum { PIXELS = 256 };

/* Numbers for each channel beside a map, 1,C,1,1; they are freed. */
static dt_onnx_name channel_constant(dt_onnx_export *e, int value, const char *part, int channels, float *numbers)
{
    const dt_onnx_name name = dt_onnx_name_of(e, value, part);
    const dt_onnx_new_tensor t = { name.s, DT_ONNX_FLOAT, 4, { 1, channels, 1, 1 }, numbers };

    if (numbers)
        dt_onnx_put_tensor(&e->w, &t);
    else
        e->w.tensors.failed = 1;
    free(numbers);
    return name;
}

/* Adds Mul and Add of numbers for each channel of the value x, which it takes over, and returns what they make: `out`,
 * or if that is NULL a name after x. A second line of x is called after y, the value that is made of it. */
static dt_onnx_name put_line(dt_onnx_export *e, int x, int y, float *factor, float *sum, const char *out)
{
    const int channels = (int)dt_graph_shape(e->g, x)->dim[3], base = e->has[x] & DT_ONNX_HAS_LINE ? y : x;
    const dt_onnx_name scaled = dt_onnx_name_of(e, base, ".line"),
                       line = out ? dt_onnx_join(out, "") : dt_onnx_name_of(e, base, ".real");
    const dt_onnx_name product[] = { dt_onnx_reals_of(e, x, 0),
                                     channel_constant(e, base, ".line.factor", channels, factor) };
    const dt_onnx_name total[] = { scaled, channel_constant(e, base, ".line.sum", channels, sum) };

    e->has[x] |= DT_ONNX_HAS_LINE;
    dt_onnx_put_plain(e, "Mul", product, 2, scaled.s);
    dt_onnx_put_plain(e, "Add", total, 2, line.s);
    return line;
}

/* By what the file divides the sums that a value is: the cells of a window; else 1. */
static int cells_of(const dt_onnx_export *e, int value)
{
    const dt_graph_node *n = dt_graph_maker(e->g, value);
    const dt_pool_params *p = n->params;
    const int is_sum = n->kind == DT_OP_AVGPOOL && dt_program_value(e->p, value).kind == DT_VALUE_PSUM;

    if (!is_sum) return 1;
    const dt_value x = dt_program_value(e->p, n->in[0]);
    return p->window[0] == 0 ? x.height * x.width : p->window[0] * p->window[1];
}

/* ---- the image ---- */

/* The codes of a channel's pixels; values ascend with pixels. */
static int fit_channel(const dt_onnx_export *e, const dt_graph_node *n, int c, float *factor, float *sum)
{
    const int16_t *table = dt_program_data(e->p, n, DT_TABLE_CODES);
    const int channels = dt_program_value(e->p, n->out).channels;
    float value[PIXELS];
    int code[PIXELS];

    for (int i = 0; i < PIXELS; i++) {
        value[i] = dt_program_pixel(e->p, (uint8_t)i, c);
        code[i] = table[i * channels + c];
    }
    const dt_table_params *p = n->params;
    return dt_onnx_find_line_of_values(&(dt_onnx_values){ value, code, PIXELS, p->low, p->high }, factor, sum);
}

static dt_status add_table(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_table_params *p = n->params;
    const int channels = dt_program_value(e->p, n->out).channels;
    const dt_onnx_name out = dt_onnx_name_of(e, n->out, "");

    DT_ONNX_EXPECT(n->in[0] == e->g->image, e, n, "%s reads no image; a file has no tables of codes",
                   dt_graph_name(e->g, n->out));
    DT_ONNX_EXPECT(e->p->origin.std[0] > 0.0f, e, n, "%s",
                   "nothing says how the image was normalised; name the data set with --dataset");
    float *factor = malloc((size_t)channels * sizeof *factor), *sum = calloc((size_t)channels, sizeof *sum);
    for (int c = 0; factor && sum && c < channels; c++) {
        factor[c] = 1.0f / dt_program_scale(e->p, n->out);
        if (fit_channel(e, n, c, &factor[c], &sum[c])) continue;
        free(factor);
        free(sum);
        DT_ONNX_EXPECT(0, e, n, "no line gives the codes of channel %d's pixels", c);
    }
    const dt_onnx_name line = put_line(e, e->g->image, n->out, factor, sum, NULL);
    dt_onnx_mark(e, &line, out.s, (dt_onnx_codes){ p->low, p->high });
    dt_onnx_note(e, n->out, 0);
    return DT_OK;
}

/* ---- sums ---- */

static dt_status add_conv(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_graph_node *weights = dt_program_weights(e->p, n);
    const dt_codes_params *range = weights->params;
    const dt_shape *shape = dt_graph_shape(e->g, weights->in[DT_CODES_WEIGHT]);
    const dt_value y = dt_program_value(e->p, n->out);
    const dt_onnx_name name = dt_onnx_name_of(e, n->out, ".weight"), out = dt_onnx_name_of(e, n->out, "");
    dt_onnx_name in[2];

    DT_ONNX_EXPECT(-y.low <= DT_F32_EXACT && y.high <= DT_F32_EXACT, e, n,
                   "its sums may be %lld..%lld; a file's f32 holds integers up to 2^24", (long long)y.low,
                   (long long)y.high);
    in[0] = dt_onnx_reals_of(e, n->in[0], 0);
    in[1] = dt_onnx_mark_filters(e, name.s, shape, dt_program_data(e->p, weights, DT_CODES_WEIGHT),
                                 (dt_onnx_codes){ range->low, range->high });
    dt_onnx_put_conv(e, n, shape, in, 2, out.s);
    dt_onnx_note(e, n->out, 0);
    return DT_OK;
}

/* Of codes: padded cells count, whatever the network's average counts, because the sum is what is wanted. */
static dt_status add_pool(dt_onnx_export *e, const dt_graph_node *n)
{
    dt_pool_params sums = *(const dt_pool_params *)n->params;
    dt_graph_node of_sums = *n;

    if (dt_program_value(e->p, n->out).kind != DT_VALUE_PSUM) return dt_onnx_export_real(e, n);
    sums.count_include_pad = 1;
    of_sums.params = &sums;
    return dt_onnx_export_real(e, &of_sums);
}

/* ---- lines ---- */

/* The range of codes that psums can reach in some channel. */
static dt_onnx_codes reached(const dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_value psum = dt_program_value(e->p, n->in[0]), y = dt_program_value(e->p, n->out);
    const int32_t *step = dt_program_data(e->p, n, DT_THRESHOLD_STEPS);
    const int8_t *sign = dt_program_data(e->p, n, DT_THRESHOLD_SIGN);
    const int levels = y.high - y.low;
    dt_onnx_codes codes = { y.high, y.low };

    for (int c = 0; c < psum.channels; c++) {
        const int64_t first = sign[c] > 0 ? psum.low : -psum.high, last = sign[c] > 0 ? psum.high : -psum.low;
        int least = 0, most = 0;
        for (int l = 0; l < levels; l++) {
            least += step[l * psum.channels + c] <= first;
            most += step[l * psum.channels + c] <= last;
        }
        codes.low = y.low + least < codes.low ? y.low + least : codes.low;
        codes.high = y.low + most > codes.high ? y.low + most : codes.high;
    }
    return codes;
}

/* Finds the lines of all channels, of codes that are limited to `codes`. Returns the channel that has none, or -1. */
static int fit_lines(const dt_onnx_export *e, const dt_graph_node *n, dt_onnx_codes codes, float *factor, float *sum)
{
    const dt_value psum = dt_program_value(e->p, n->in[0]), y = dt_program_value(e->p, n->out);
    const int32_t *step = dt_program_data(e->p, n, DT_THRESHOLD_STEPS);
    const int8_t *sign = dt_program_data(e->p, n, DT_THRESHOLD_SIGN);
    const float *slope = dt_program_constant_data(e->p, n->out, DT_LINE_SLOPE),
                *offset = dt_program_constant_data(e->p, n->out, DT_LINE_OFFSET);
    const float scale = dt_program_scale(e->p, n->out), cells = (float)cells_of(e, n->in[0]);

    for (int c = 0; c < psum.channels; c++) {
        const dt_onnx_steps s = { .step = step + (codes.low - y.low) * psum.channels + c,
                                  .stride = psum.channels,
                                  .levels = codes.high - codes.low,
                                  .low = codes.low,
                                  .sign = sign[c],
                                  .psum_low = psum.low,
                                  .psum_high = psum.high,
                                  .cells = (double)cells };
        factor[c] = slope[c] / scale * cells;
        sum[c] = offset[c] / scale;
        if (!dt_onnx_find_line(&s, &factor[c], &sum[c])) return c;
    }
    return -1;
}

static dt_status add_threshold(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_value y = dt_program_value(e->p, n->out);
    const int channels = y.channels;
    const dt_onnx_name out = dt_onnx_name_of(e, n->out, "");

    DT_ONNX_EXPECT(dt_program_constant(e->p, n->out, DT_LINE_SLOPE) >= 0, e, n, "%s",
                   "the program does not say along which line it quantizes; make it of the checkpoint");
    float *factor = malloc((size_t)channels * sizeof *factor), *sum = malloc((size_t)channels * sizeof *sum);
    dt_onnx_codes codes = { y.low, y.high };
    int wrong = factor && sum ? fit_lines(e, n, codes, factor, sum) : -1;
    if (wrong >= 0) { /* a clip in the network leaves some codes out */
        codes = reached(e, n);
        wrong = fit_lines(e, n, codes, factor, sum);
    }
    if (wrong >= 0) {
        free(factor);
        free(sum);
        DT_ONNX_EXPECT(
            0, e, n,
            "no line of f32 gives the codes %d..%d of channel %d at every sum; fewer bits of activations have one",
            codes.low, codes.high, wrong);
    }
    const dt_onnx_name line = put_line(e, n->in[0], n->out, factor, sum, NULL);
    dt_onnx_mark(e, &line, out.s, codes);
    dt_onnx_note(e, n->out, 0);
    return DT_OK;
}

static float *copy_of(const float *from, int n, float times)
{
    float *to = malloc((size_t)n * sizeof *to);

    for (int i = 0; to && i < n; i++) to[i] = from[i] * times;
    return to;
}

static dt_status add_affine(dt_onnx_export *e, const dt_graph_node *n)
{
    const int channels = dt_program_value(e->p, n->out).channels;
    const dt_onnx_name out = dt_onnx_name_of(e, n->out, "");
    float *slope = copy_of(dt_program_data(e->p, n, DT_AFFINE_SLOPE), channels, (float)cells_of(e, n->in[0])),
          *offset = copy_of(dt_program_data(e->p, n, DT_AFFINE_OFFSET), channels, 1.0f);

    put_line(e, n->in[0], n->out, slope, offset, out.s);
    dt_onnx_note(e, n->out, 0);
    return DT_OK;
}

/* The codes of reals, by the operations of core/arith/grid.h: divided, limited, multiplied. */
static dt_status add_act_quant(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_act_quant_params *p = n->params;
    const dt_value y = dt_program_value(e->p, n->out);
    const float alpha = *(const float *)dt_program_data(e->p, n, DT_QUANT_ALPHA);
    const int is_lsq = p->rule == DT_RULE_LSQ;
    const dt_onnx_name divided = dt_onnx_name_of(e, n->out, ".divided"), unit = dt_onnx_name_of(e, n->out, ".unit"),
                       line = dt_onnx_name_of(e, n->out, ".real"), out = dt_onnx_name_of(e, n->out, "");
    const dt_onnx_name divide[] = { dt_onnx_reals_of(e, n->in[0], 0),
                                    dt_onnx_real_constant(e, n->out, ".clip", alpha) };

    dt_onnx_put_plain(e, "Div", divide, 2, divided.s);
    if (!is_lsq) {
        const dt_onnx_name clip[] = { divided,
                                      dt_onnx_real_constant(e, n->out, ".unit.least", p->is_signed ? -1.0f : 0.0f),
                                      dt_onnx_real_constant(e, n->out, ".unit.most", 1.0f) };
        const dt_onnx_name multiply[] = { unit, dt_onnx_real_constant(e, n->out, ".steps", (float)y.high) };
        dt_onnx_put_plain(e, "Clip", clip, 3, unit.s);
        dt_onnx_put_plain(e, "Mul", multiply, 2, line.s);
    }
    dt_onnx_mark(e, is_lsq ? &divided : &line, out.s, (dt_onnx_codes){ y.low, y.high });
    dt_onnx_note(e, n->out, 0);
    return DT_OK;
}

static dt_status add_nothing(dt_onnx_export *e, const dt_graph_node *n)
{
    (void)e, (void)n;
    return DT_OK;
}

static dt_status (*const exact[DT_OP_COUNT])(dt_onnx_export *e, const dt_graph_node *n) = {
    [DT_OP_TABLE] = add_table,         [DT_OP_CODES] = add_nothing, [DT_OP_CONV2D] = add_conv,
    [DT_OP_THRESHOLD] = add_threshold, [DT_OP_AFFINE] = add_affine, [DT_OP_ACT_QUANT] = add_act_quant,
    [DT_OP_AVGPOOL] = add_pool,
};

dt_status dt_onnx_export_exact(dt_onnx_export *e, const dt_graph_node *n)
{
    DT_TRY((exact[n->kind] ? exact[n->kind] : dt_onnx_export_real)(e, n));
    return DT_OK;
}
