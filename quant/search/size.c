/*
 * size.c - the size of a network whose layers have bits of their own, and the score that size and metric make together.
 *
 *   delta = d / 100 * ln(stress * reference / size) / ln(rate),  d = delta_p where size < stress * reference, else
 * delta_n score = metric * (1 + delta)
 *
 * So a metric that is lower by delta_p per cent is as good, if the network is smaller by the factor `rate`.
 *
 *   BITS     parameters   weights * kernel bits + biases * bias bits; reals: ref_bits, ref_bias_bits
 *            activations  values that are quantized * their bits, real: ref_bits; softmax of the scores: output_bits;
 *                         the image, if it counts: input_bits
 *   BOPS     products * kernel bits * bits of the values read
 *   ENERGY   of an image, pJ, in a process of 45 nm:
 *              add of b bits       0.003125 b;                       f16 0.4, f32 0.9
 *              product of b bits   0.0029948 b^2 + 0.0010417 b;      f16 1.1, f32 3.7
 *              memory of b bits    ceil(b / 64) (9.02427e-4 L^3 - 2.68848e-2 L^2 + 0.2089008 L), L = log2(max(b,
 * least)) A layer reads its inputs and its parameters, and computes products of max(kernel, value) bits, which are
 *            added in kernel + value + ceil(log2(terms)) bits; a quantizer and the softmax write their values; an ADD
 *            and a MAXPOOL compute one sum of ref_bits for each value.
 *
 * Real numbers of 32 and 16 ref_bits are floats for ENERGY, those of others integers. Trial and reference count the
 * same numbers, so that their ratio is one of bits alone; QKeras-Mod counts the image in a trial and not in the
 * reference.
 *
 * Source: QKeras, autoqkeras/forgiving_metrics and qtools/qenergy; Horowitz, "Computing's energy problem", ISSCC 2014.
 * Tests: tests/quant/test_search_space.c.
 */
#include "detent/search.h"

#include <math.h>
#include <string.h>

const char *const dt_size_kind_names[] = { "bits", "energy", "bops", NULL };

typedef struct {
    const dt_search_space *s;
    const dt_search_goal *goal;
    const int *configuration; /* NULL: all is real */
} sizing;

void dt_search_goal_default(dt_search_goal *out)
{
    *out = (dt_search_goal){ .delta_p = 5.0,
                             .delta_n = 5.0,
                             .rate = 2.0,
                             .stress = 1.0,
                             .ref_bits = 16,
                             .ref_bias_bits = 31,
                             .input_bits = 8,
                             .output_bits = 8,
                             .parameters = 1,
                             .activations = 1 };
}

/* Bits of a row's numbers; 0: they are real. */
static int chosen_bits(const sizing *z, const dt_search_row *row, int role)
{
    const int choice = row->choice[role];
    const int index = choice >= 0 && z->configuration ? z->configuration[choice] : DT_SEARCH_REAL;

    return index >= 0 ? z->s->choice[choice].candidates.value[index] : 0;
}

static int bits_or(int bits, int otherwise)
{
    return bits > 0 ? bits : otherwise;
}

/* Bits of the values that a quantizer makes, or that stay real in its place. */
static int value_bits(const sizing *z, const dt_search_row *row)
{
    if (row->is_output) return z->goal->output_bits;
    if (row->bits > 0) return z->goal->input_bits;
    return bits_or(chosen_bits(z, row, DT_CHOICE_ACTIVATION), z->goal->ref_bits);
}

/* Values of the row that count, and 0 if they do not. */
static double values_of(const sizing *z, const dt_search_row *row)
{
    if (row->bits > 0 && !z->goal->count_input) return 0.0;
    return (double)(row->is_output ? row->n_outputs : row->n[DT_CHOICE_ACTIVATION]);
}

static double parameter_bits(const sizing *z, const dt_search_row *row)
{
    const int kernel = bits_or(chosen_bits(z, row, DT_CHOICE_KERNEL), z->goal->ref_bits);
    const int bias = bits_or(chosen_bits(z, row, DT_CHOICE_BIAS), z->goal->ref_bias_bits);

    return (double)row->n[DT_CHOICE_KERNEL] * kernel + (double)row->n[DT_CHOICE_BIAS] * bias;
}

/* ---- energy ---- */

static double add_energy(int bits, int is_real)
{
    if (is_real && bits == 16) return 0.4;
    if (is_real && bits == 32) return 0.9;
    return 0.003125 * bits;
}

static double product_energy(int bits, int is_real)
{
    if (is_real && bits == 16) return 1.1;
    if (is_real && bits == 32) return 3.7;
    return 0.0029948 * bits * bits + 0.0010417 * bits;
}

static double memory_energy(const sizing *z, double bits)
{
    const double l = log2(fmax(fmax(bits, z->goal->least_memory), 1.0));

    return ceil(bits / 64.0) * (9.02427e-4 * l * l * l - 2.68848e-2 * l * l + 0.2089008 * l);
}

static double layer_energy(const sizing *z, const dt_search_row *row)
{
    const dt_search_row *source = row->reads >= 0 ? &z->s->row[row->reads] : NULL;
    const int ref = z->goal->ref_bits, is_image = source && source->bits > 0;
    const int kernel = chosen_bits(z, row, DT_CHOICE_KERNEL);
    const int value = is_image ? z->goal->input_bits : source ? chosen_bits(z, source, DT_CHOICE_ACTIVATION) : 0;
    const int is_real = kernel == 0 || value == 0;
    const int k = bits_or(kernel, ref), v = bits_or(value, ref), wider = k > v ? k : v;
    const int sum = is_real ? ref : k + v + (int)ceil(log2((double)row->terms));

    return memory_energy(z, (double)row->n_inputs * v) + memory_energy(z, parameter_bits(z, row)) +
           (double)row->macs * (product_energy(is_real ? ref : wider, is_real) + add_energy(sum, is_real));
}

static void energy_of(const sizing *z, const dt_search_row *row, dt_search_size *out)
{
    const int sums = strcmp(row->op, "add") == 0 || strcmp(row->op, "maxpool") == 0;
    const double n_values = values_of(z, row);

    if (row->n[DT_CHOICE_KERNEL] > 0) out->parameters = layer_energy(z, row);
    if (n_values > 0.0) out->activations = memory_energy(z, n_values * value_bits(z, row));
    if (sums) out->activations = (double)row->n_outputs * add_energy(z->goal->ref_bits, 1);
}

/* ---- all kinds ---- */

static double bops_of(const sizing *z, const dt_search_row *row)
{
    const dt_search_row *source = row->reads >= 0 ? &z->s->row[row->reads] : NULL;
    const int kernel = bits_or(chosen_bits(z, row, DT_CHOICE_KERNEL), z->goal->ref_bits);

    return (double)row->macs * kernel * (source ? value_bits(z, source) : z->goal->ref_bits);
}

static dt_search_size size_of_row(const sizing *z, const dt_search_row *row)
{
    dt_search_size out = { 0 };

    switch (z->goal->kind) {
    case DT_SIZE_BITS:
        if (z->goal->parameters) out.parameters = parameter_bits(z, row);
        if (z->goal->activations) out.activations = values_of(z, row) * value_bits(z, row);
        break;
    case DT_SIZE_ENERGY: energy_of(z, row, &out); break;
    case DT_SIZE_BOPS: out.parameters = bops_of(z, row); break;
    }
    out.total = out.parameters + out.activations;
    return out;
}

void dt_search_size_of(const dt_search_space *s, const dt_search_goal *goal, const int *configuration,
                       dt_search_size *out, double *rows)
{
    const sizing z = { s, goal, configuration };
    dt_search_size sum = { 0 };

    for (int i = 0; i < s->n_rows; i++) {
        const dt_search_size one = size_of_row(&z, &s->row[i]);
        sum.parameters += one.parameters;
        sum.activations += one.activations;
        if (rows) rows[i] = one.total;
    }
    sum.total = sum.parameters + sum.activations;
    *out = sum;
}

double dt_search_delta(const dt_search_goal *goal, double reference, double size)
{
    const double wanted = goal->stress * reference, per_cent = size < wanted ? goal->delta_p : goal->delta_n;

    return per_cent / 100.0 * log(wanted / size) / log(goal->rate);
}

double dt_search_score(const dt_search_goal *goal, double reference, double size, double metric)
{
    return metric * (1.0 + dt_search_delta(goal, reference, size));
}
