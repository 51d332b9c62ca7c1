/*
 * requant.c - replaces thresholds by a multiplier and a shift, as most accelerators have them, and reports the cost.
 *
 *   line of a channel:  code ~ r * psum + z,  r = slope / scale,  z = offset / scale
 *   multiplier = rint(r * 2^shift),  offset = rint((z + 1/2) * 2^shift)
 *   code = clamp((psum * multiplier + offset) >> shift, low, high)
 *
 * shift is the largest at which the multiplier fits its bits, and the offset fits DT_REQUANT_OFFSET_MAX. A channel that
 * is too steep even for shift 0 gets the largest multiplier, and the offset at which its codes are half-way from low to
 * high in the middle of the exact steps, so that the step stays where it is. An offset beyond its limit is limited,
 * which changes nothing, because the limit outweighs every psum too. The clamp at low stands for ReLU. The codes differ
 * from evaluation's where r is cut to its bits, where evaluation's f32 arithmetic rounds, and at ties, which go up here
 * and to even there. The multiplier's own thresholds are found by bisection and replace the exact ones, so that
 * everything that runs the program computes as the multiplier does. Both lists together tell how many psums get another
 * code, so that not every psum needs to be tried.
 *
 * Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
 * CVPR 2018, section 2.2; with the zero point and rounding folded into one offset.
 * Tests: tests/quant/test_requant.c.
 */
#include "../../core/declared.h"
#include "program_build.h"
#include "steps.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

int dt_requant_code(const dt_requant *r, int c, int64_t psum)
{
    dt_declared_bits(psum, 32, "multiplier form", "psum");
    dt_declared_bits(r->multiplier[c], 31, "multiplier form", "multiplier");
    /* |psum| < 2^31 and |multiplier| < 2^30: the sum stays below 2^62; >> of a negative number is arithmetic */
    const int64_t code = (psum * r->multiplier[c] + r->offset[c]) >> r->shift[c];
    return code < r->low ? r->low : code > r->high ? r->high : (int)code;
}

/* One THRESHOLD whose steps are replaced. */
typedef struct {
    const char *name;
    int value, channels, levels, low, high, bits;
    int64_t psum_low, psum_high;
    float scale;
    const float *slope, *offset;
    int32_t *step; /* [levels][channels]: the exact ones, and then the multiplier's */
    int8_t *sign;
    dt_program_multipliers made;
    dt_requant form; /* of those */
} layer;

/* The middle of channel c's exact steps, in sign * psum: half-way between two psums where one step takes all levels.
 * Steps that no psum takes, or every one, lie just outside of the psums. sign is that of the exact ones. */
static double middle_of_steps(const layer *l, int sign, const int32_t *exact)
{
    const double low = (double)(sign > 0 ? l->psum_low : -l->psum_high);
    const double high = (double)(sign > 0 ? l->psum_high : -l->psum_low) + 1.0;
    const int levels = l->levels;
    const double first = fmin(high, fmax(low, (double)exact[0])),
                 last = fmin(high, fmax(low, (double)exact[levels - 1]));

    return (first + last - 1.0) / 2.0;
}

/* exact: the channel's thresholds */
static void channel_multiplier(const layer *l, int c, const int32_t *exact)
{
    const dt_program_multipliers *r = &l->made;
    const double slope = (double)l->slope[c] / (double)l->scale;
    const double offset = (double)l->offset[c] / (double)l->scale + 0.5;
    const double most = (double)(((int64_t)1 << (l->bits - 1)) - 1), offset_most = (double)DT_REQUANT_OFFSET_MAX;
    const double half_way = (double)(l->low + l->high + 1) / 2.0;
    int shift = DT_REQUANT_SHIFT_MAX;

    while (shift > 0 && (fabs(rint(ldexp(slope, shift))) > most || fabs(rint(ldexp(offset, shift))) > offset_most)) {
        shift--;
    }
    const int too_steep = fabs(rint(ldexp(slope, shift))) > most;
    const double at_zero = too_steep ? half_way - most * middle_of_steps(l, l->sign[c], exact) : ldexp(offset, shift);
    r->shift[c] = shift;
    r->multiplier[c] = (int32_t)(too_steep ? copysign(most, slope) : rint(ldexp(slope, shift)));
    r->offset[c] = (int64_t)fmax(-offset_most, fmin(offset_most, rint(at_zero)));
}

/* A channel's code as its psum grows from the lowest: level counts the thresholds passed. */
typedef struct {
    const int32_t *threshold; /* of the channel: `stride` apart */
    int64_t stride;
    int sign, levels, level;
} walk;

static int64_t threshold_at(const walk *w, int level)
{
    return w->threshold[level * w->stride];
}

static void walk_to(walk *w, int64_t psum)
{
    const int64_t s = w->sign * psum;
    while (w->level < w->levels && threshold_at(w, w->level) <= s) w->level++;
    while (w->level > 0 && threshold_at(w, w->level - 1) > s) w->level--;
}

/* The next psum at which the level changes. */
static int64_t walk_next(const walk *w)
{
    if (w->sign > 0) return w->level < w->levels ? threshold_at(w, w->level) : INT64_MAX;
    return w->level > 0 ? 1 - threshold_at(w, w->level - 1) : INT64_MAX;
}

/* Both lists' codes over all psums of a channel, stretch by stretch; returns how many psums differ. */
static int64_t compare_channel(walk a, walk b, const layer *l, int *largest)
{
    int64_t differ = 0, next;

    for (int64_t psum = l->psum_low; psum <= l->psum_high; psum = next) {
        walk_to(&a, psum);
        walk_to(&b, psum);
        next = walk_next(&a) < walk_next(&b) ? walk_next(&a) : walk_next(&b);
        if (next > l->psum_high) next = l->psum_high + 1;
        assert(next > psum);
        const int apart = abs(a.level - b.level);
        if (apart > 0) differ += next - psum;
        if (apart > *largest) *largest = apart;
    }
    return differ;
}

typedef struct {
    const dt_requant *form;
    int c;
} channel;

static int channel_code(const void *user, int64_t psum)
{
    const channel *ch = user;
    return dt_requant_code(ch->form, ch->c, psum);
}

/* exact: [levels], room for the thresholds that go */
static void replace_channel(const layer *l, int c, int32_t *exact, dt_requant_report *report)
{
    const int levels = l->levels, sign = l->sign[c];
    const int64_t stride = l->channels;
    const channel ch = { &l->form, c };

    for (int k = 0; k < levels; k++) exact[k] = l->step[k * stride + c];
    channel_multiplier(l, c, exact);
    l->sign[c] = l->made.multiplier[c] < 0 ? -1 : 1;
    const dt_steps steps = { channel_code, &ch, l->sign[c], l->psum_low, l->psum_high, l->low, l->high };
    dt_steps_find(&steps, l->step + c, stride);

    const walk before = { exact, 1, sign, levels, 0 }, after = { l->step + c, stride, l->sign[c], levels, 0 };
    const int64_t differ = compare_channel(before, after, l, &report->largest_difference);
    report->n_channels++;
    report->n_channels_differ += differ > 0;
    report->n_psums += l->psum_high - l->psum_low + 1;
    report->n_psums_differ += differ;
}

/* The program is its owner's to change: so are the data of its parameters. */
static layer layer_of(const dt_program *p, const dt_graph_node *n, int bits)
{
    const dt_value psum = dt_program_value(p, n->in[0]), y = dt_program_value(p, n->out);

    return (layer){ .name = dt_graph_name(p->graph, n->out),
                    .value = n->out,
                    .channels = y.channels,
                    .levels = y.high - y.low,
                    .low = y.low,
                    .high = y.high,
                    .bits = bits,
                    .psum_low = psum.low,
                    .psum_high = psum.high,
                    .scale = dt_program_scale(p, n->out),
                    .slope = dt_program_constant_data(p, n->out, DT_LINE_SLOPE),
                    .offset = dt_program_constant_data(p, n->out, DT_LINE_OFFSET),
                    .step = p->graph->value[n->in[DT_THRESHOLD_STEPS]]->data,
                    .sign = p->graph->value[n->in[DT_THRESHOLD_SIGN]]->data };
}

static dt_status replace_layer(dt_program *p, layer *l, dt_requant_report *report)
{
    const size_t channels = (size_t)l->channels;
    int32_t *exact = malloc((size_t)l->levels * sizeof *exact);
    const dt_program_multipliers made = { .bits = malloc(sizeof *made.bits),
                                          .multiplier = malloc(channels * sizeof *made.multiplier),
                                          .offset = malloc(channels * sizeof *made.offset),
                                          .shift = malloc(channels * sizeof *made.shift) };

    if (!exact || !made.bits || !made.multiplier || !made.offset || !made.shift) {
        free(exact);
        free(made.bits);
        free(made.multiplier);
        free(made.offset);
        free(made.shift);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the multipliers of %s", l->name);
    }
    *made.bits = l->bits;
    l->made = made;
    l->form = (dt_requant){ l->bits, l->low, l->high, made.multiplier, made.offset, made.shift };
    for (int c = 0; c < l->channels; c++) replace_channel(l, c, exact, report);
    free(exact);
    return dt_program_add_multipliers(p->graph, l->value, &made);
}

dt_status dt_program_use_multipliers(dt_program *p, int bits, dt_requant_report *out)
{
    const dt_graph *g = p->graph;
    dt_requant_report report = { 0 };

    DT_CHECK(bits >= DT_REQUANT_BITS_MIN && bits <= DT_REQUANT_BITS_MAX, DT_ERR_ARGUMENT,
             "multipliers of %d bits, allowed are %d..%d", bits, DT_REQUANT_BITS_MIN, DT_REQUANT_BITS_MAX);
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind != DT_OP_THRESHOLD) continue;
        const dt_requant r = dt_program_requant(p, &g->node[i]);
        DT_CHECK(!r.multiplier, DT_ERR_ARGUMENT, "%s has multipliers of %d bits already; lower the model again",
                 dt_graph_name(g, g->node[i].out), r.bits);
    }
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind != DT_OP_THRESHOLD) continue;
        layer l = layer_of(p, &g->node[i], bits);
        DT_TRY(replace_layer(p, &l, &report));
    }
    *out = report;
    return DT_OK;
}
