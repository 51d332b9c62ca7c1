/*
 * route_real.c - see route_real.h. It shares no code with the operators: the formulas are those at the top of
 *                layers/caps/caps_route.c.
 *
 * Tests: tests/accel/test_route_real.c.
 */
#include "route_real.h"

#include <math.h>
#include <string.h>

/* The real routing of an image: logits and couplings [inputs][capsules], s and v [capsules][dim]. */
typedef struct {
    double *b, *c, *s, *v;
} real_routing;

int64_t dt_route_error_room(const dt_route_int_sizes *z)
{
    return 2 * z->inputs * z->capsules + 2 * z->capsules * z->dim;
}

static void find_couplings(const dt_route_int_sizes *z, const real_routing *x)
{
    for (int64_t first = 0; first < z->inputs * z->capsules; first += z->span) {
        double top = x->b[first], sum = 0.0;
        for (int64_t k = first; k < first + z->span; k++) top = x->b[k] > top ? x->b[k] : top;
        for (int64_t k = first; k < first + z->span; k++) sum += exp(x->b[k] - top);
        for (int64_t k = first; k < first + z->span; k++) x->c[k] = exp(x->b[k] - top) / sum;
    }
}

static void find_sums(const dt_route_pair *p, const real_routing *x)
{
    const dt_route_int_sizes *z = &p->size;
    const int64_t width = z->capsules * z->dim, channels = z->types * z->dim;

    for (int64_t m = 0; m < width; m++) x->s[m] = (double)p->bias[m % channels];
    for (int64_t i = 0; i < z->inputs; i++) {
        for (int64_t m = 0; m < width; m++)
            x->s[m] += x->c[i * z->capsules + m / z->dim] * ((double)p->scale * p->votes[i * width + m]);
    }
}

/* v [dim] of s. */
static void squash(const double *s, int64_t dim, double *v)
{
    double q = 0.0;

    for (int64_t d = 0; d < dim; d++) q += s[d] * s[d];
    for (int64_t d = 0; d < dim; d++) v[d] = s[d] * sqrt(q) / (1.0 + q);
}

static void add_agreements(const dt_route_pair *p, const real_routing *x)
{
    const dt_route_int_sizes *z = &p->size;

    for (int64_t k = 0; k < z->inputs * z->capsules; k++) {
        for (int64_t d = 0; d < z->dim; d++)
            x->b[k] += (double)p->scale * p->votes[k * z->dim + d] * x->v[k % z->capsules * z->dim + d];
    }
}

/* Against the codes that integers have for iteration r > 0. */
static void compare_couplings(const dt_route_pair *p, const real_routing *x, int r, dt_route_error *to)
{
    const int64_t pairs = p->size.inputs * p->size.capsules;
    const int32_t *code = p->codes->c + (r - 1) * pairs;
    const double step = ldexp(1.0, -p->params->c_frac[r - 1]);

    for (int64_t k = 0; k < pairs; k++)
        to->largest_coupling = fmax(to->largest_coupling, fabs(step * code[k] - x->c[k]));
}

static int64_t longest(const double *v, const dt_route_int_sizes *z)
{
    double most = -1.0;
    int64_t best = 0;

    for (int64_t m = 0; m < z->capsules; m++) {
        double q = 0.0;
        for (int64_t d = 0; d < z->dim; d++) q += v[m * z->dim + d] * v[m * z->dim + d];
        if (q > most) best = m;
        if (q > most) most = q;
    }
    return best;
}

/* The capsules of the last iteration; x->s is overwritten. */
static void compare_capsules(const dt_route_pair *p, const real_routing *x, dt_route_error *to)
{
    const dt_route_int_sizes *z = &p->size;
    const int last = p->params->iterations - 1, gives_s = p->params->gives_s;
    const int64_t width = z->capsules * z->dim;
    const int32_t *code = (gives_s ? p->codes->s : p->codes->v) + last * width;
    const double step = ldexp(1.0, -(gives_s ? p->params->s_frac : p->params->v_frac)[last]);

    for (int64_t m = 0; m < width; m++) x->s[m] = step * code[m];
    if (gives_s) to->n_classes_differ += longest(x->s, z) != longest(x->v, z);
    for (int64_t m = 0; m < z->capsules && gives_s; m++) squash(x->s + m * z->dim, z->dim, x->s + m * z->dim);
    for (int64_t m = 0; m < width; m++) {
        const double error = fabs(x->s[m] - x->v[m]);
        to->sum += error;
        to->largest = fmax(to->largest, error);
    }
    to->n_values += width;
    to->images++;
}

void dt_route_error_add(const dt_route_pair *p, double *room, dt_route_error *to)
{
    const dt_route_int_sizes *z = &p->size;
    const int64_t pairs = z->inputs * z->capsules;
    const real_routing x = { room, room + pairs, room + 2 * pairs, room + 2 * pairs + z->capsules * z->dim };

    memset(x.b, 0, (size_t)pairs * sizeof *x.b);
    for (int r = 0; r < p->params->iterations; r++) {
        find_couplings(z, &x);
        for (int64_t k = 0; k < pairs && p->params->whole; k++) x.c[k] = 1.0;
        if (r > 0) compare_couplings(p, &x, r, to);
        find_sums(p, &x);
        for (int64_t m = 0; m < z->capsules; m++) squash(x.s + m * z->dim, z->dim, x.v + m * z->dim);
        if (r < p->params->iterations - 1) add_agreements(p, &x);
    }
    compare_capsules(p, &x, to);
}

void dt_route_error_join(dt_route_error *to, const dt_route_error *from)
{
    to->images += from->images;
    to->n_values += from->n_values;
    to->sum += from->sum;
    to->largest = fmax(to->largest, from->largest);
    to->largest_coupling = fmax(to->largest_coupling, from->largest_coupling);
    to->n_classes_differ += from->n_classes_differ;
}
