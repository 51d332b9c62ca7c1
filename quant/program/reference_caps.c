/*
 * reference_caps.c - runs the nodes of a program that compute capsules, by plain loops: see reference.c.
 *
 * dt_program_route gives every value of a routing, in the order of layers/caps/route_int.c, whom others are compared
 * with one by one. Tests: tests/quant/test_program_caps.c.
 */
#include "reference.h"

#include "../../core/declared.h"

#include "../../layers/caps/class_int.h"
#include "../../layers/caps/route_int.h"

#include <stdlib.h>
#include <string.h>

void dt_reference_votes(const dt_reference_node *k)
{
    const dt_graph_node *weights = dt_program_weights(k->p, k->n);
    const int8_t *w = dt_program_data(k->p, weights, DT_CODES_WEIGHT);
    const int A = k->in.channels, C = k->out.channels;

    for (int64_t i = 0; i < dt_value_count(&k->out); i++) {
        const int64_t capsule = i / C;
        int64_t sum = 0;
        for (int a = 0; a < A; a++) sum += (int64_t)k->x[capsule * A + a] * w[(capsule * A + a) * C + i % C];
        k->y[i] = dt_reference_sum(k, sum);
    }
}

dt_route_int_sizes dt_program_route_sizes(const dt_program *p, const dt_graph_node *n)
{
    const dt_route_int_params *params = n->params;
    const dt_value y = dt_program_value(p, n->out);
    dt_route_int_sizes s = { .inputs = params->inputs, .dim = params->dim, .types = y.channels / params->dim };

    s.capsules = dt_value_count(&y) / s.dim;
    s.span = params->joint ? s.capsules : s.types;
    return s;
}

/* acc and s of iteration r; c: couplings, or NULL in the first. */
static void find_sums(const dt_route_int_params *p, const dt_route_int_sizes *z, int r, const int32_t *u,
                      const float *bias, const dt_route_int_trace *t)
{
    const dt_route_ratios x = dt_route_ratios_of(p, r, 1.0f, z->span);
    const int64_t width = z->capsules * z->dim, channels = z->types * z->dim;
    const int32_t *c = r > 0 ? t->c + (r - 1) * z->inputs * z->capsules : NULL;

    for (int64_t m = 0; m < width; m++) {
        int64_t acc = 0;
        for (int64_t i = 0; i < z->inputs; i++)
            acc += (int64_t)(c ? c[i * z->capsules + m / z->dim] : 1) * u[i * width + m];
        const int64_t offset = dt_caps_offset(bias[m % channels], p->s_frac[r], x.acc.shift);
        t->acc[r * width + m] = (int32_t)dt_declared_bits(acc, 32, "routing", "sum of votes");
        t->s[r * width + m] = dt_caps_sum_code(acc, x.acc, offset, p->s_bits[r]);
    }
}

static void find_capsules(const dt_route_int_params *p, const dt_route_int_sizes *z, int r, const dt_route_int_trace *t)
{
    const dt_squash_format f = dt_route_squash_format(p, r);

    for (int64_t m = 0; m < z->capsules; m++) {
        const int64_t at = (r * z->capsules + m) * z->dim;
        uint64_t q = 0;
        for (int64_t d = 0; d < z->dim; d++) q += (uint64_t)((int64_t)t->s[at + d] * t->s[at + d]);
        const dt_squash_gain g = dt_squash_gain_of(dt_caps_table.squash, q, f.s_frac);
        for (int64_t d = 0; d < z->dim; d++) t->v[at + d] = dt_squash_code(&f, g, t->s[at + d]);
    }
}

/* a and b after iteration r. */
static void find_logits(const dt_route_int_params *p, const dt_route_int_sizes *z, int r, const int32_t *u,
                        const dt_route_int_trace *t)
{
    const dt_route_ratios x = dt_route_ratios_of(p, r, 1.0f, z->span);
    const int64_t pairs = z->inputs * z->capsules;

    for (int64_t k = 0; k < pairs; k++) {
        const int32_t *v = t->v + (r * z->capsules + k % z->capsules) * z->dim;
        int64_t a = 0;
        for (int64_t d = 0; d < z->dim; d++) a += (int64_t)u[k * z->dim + d] * v[d];
        const int32_t before = r > 0 ? t->b[(r - 1) * pairs + k] : 0;
        t->a[r * pairs + k] = (int32_t)dt_declared_bits(a, 32, "routing", "agreement");
        t->b[r * pairs + k] = dt_caps_logit_code(before, x.keep, a, x.agree, p->b_bits[r]);
    }
}

static void find_couplings(const dt_route_int_params *p, const dt_route_int_sizes *z, int r,
                           const dt_route_int_trace *t)
{
    const dt_ratio ratio = dt_exp_ratio(p->b_frac[r]);
    const int64_t pairs = z->inputs * z->capsules;

    for (int64_t first = r * pairs; first < (r + 1) * pairs; first += z->span) {
        const int32_t *b = t->b + first;
        int32_t top = b[0];
        uint32_t sum = 0;
        for (int64_t k = 1; k < z->span; k++) top = b[k] > top ? b[k] : top;
        for (int64_t k = 0; k < z->span; k++) sum += dt_exp_code(dt_caps_table.exp, (int64_t)top - b[k], ratio);
        const dt_softmax_divisor d = dt_softmax_divisor_of(sum, (uint32_t)1 << 31);
        for (int64_t k = 0; k < z->span; k++) {
            const uint32_t e = dt_exp_code(dt_caps_table.exp, (int64_t)top - b[k], ratio);
            t->c[first + k] = dt_coupling_code(d, e, p->c_bits[r], p->c_frac[r]);
        }
    }
}

int64_t dt_route_int_trace_count(const dt_route_int_params *p, const dt_route_int_sizes *z)
{
    const int64_t iterations = p->iterations;

    return 3 * iterations * z->capsules * z->dim + 3 * (iterations - 1) * z->inputs * z->capsules;
}

dt_route_int_trace dt_route_int_trace_in(const dt_route_int_params *p, const dt_route_int_sizes *z, int32_t *room)
{
    const int64_t capsules = p->iterations * z->capsules * z->dim,
                  pairs = (p->iterations - 1) * z->inputs * z->capsules;
    dt_route_int_trace t = { .acc = room };

    t.s = t.acc + capsules;
    t.v = t.s + capsules;
    t.a = t.v + capsules;
    t.b = t.a + pairs;
    t.c = t.b + pairs;
    return t;
}

void dt_program_route(const dt_program *p, const dt_graph_node *n, const int32_t *votes, const dt_route_int_trace *t)
{
    const dt_route_int_params *params = n->params;
    const dt_route_int_sizes z = dt_program_route_sizes(p, n);
    const float *bias = dt_program_data(p, n, DT_ROUTE_INT_BIAS);

    for (int r = 0; r < params->iterations; r++) {
        const int is_last = r == params->iterations - 1;
        find_sums(params, &z, r, votes, bias, t);
        if (!is_last || !params->gives_s) find_capsules(params, &z, r, t);
        if (is_last) return;
        find_logits(params, &z, r, votes, t);
        find_couplings(params, &z, r, t);
    }
}

/* The room of the trace is made for each run. Without memory the values are 0, which no comparison takes for right. */
void dt_reference_route(const dt_reference_node *k)
{
    const dt_route_int_params *p = k->n->params;
    const dt_route_int_sizes z = dt_program_route_sizes(k->p, k->n);
    const int64_t width = z.capsules * z.dim;
    int32_t *room = calloc((size_t)dt_route_int_trace_count(p, &z), sizeof *room);

    memset(k->y, 0, (size_t)width * sizeof *k->y);
    if (!room) return;
    const dt_route_int_trace t = dt_route_int_trace_in(p, &z, room);
    dt_program_route(k->p, k->n, k->x, &t);
    memcpy(k->y, (p->gives_s ? t.s : t.v) + (p->iterations - 1) * width, (size_t)width * sizeof *k->y);
    free(room);
}

void dt_reference_class(const dt_reference_node *k)
{
    const dt_class_int_params *p = k->n->params;
    int best = 0, first = 0;
    uint64_t most = 0;

    for (int j = 0; j < k->out.channels; j++) {
        uint64_t q = 0;
        for (int d = 0; d < p->dim; d++) q += (uint64_t)((int64_t)k->x[j * p->dim + d] * k->x[j * p->dim + d]);
        k->y[j] = (int32_t)dt_caps_length_code(q, p->s_frac, DT_LENGTH_BITS);
        if (k->y[j] > k->y[first]) first = j;
        if (q > most) {
            most = q;
            best = j;
        }
    }
    if (first != best) k->y[best]++;
}
