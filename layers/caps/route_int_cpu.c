/*
 * route_int_cpu.c - routing by integers on the CPU; route_int.c has the mathematics.
 *
 * Inputs are taken in groups, and images one at a time, as in caps_route.c. f32 sums weighted votes while they stay
 * below 2^24; those parts are added in 32-bit integers.
 *
 * Tests: tests/layers/test_route_int.c.
 */
#include "caps_lanes.h"
#include "route_int.h"

#include "../../core/grid_facts.h"

#include <string.h>

/* Of an image: the sum of a block, and a gradient of v. */
enum { PART_BLOCK, PART_DV, N_PARTS };

/* What all images of a run share; arrays have an entry for each iteration. */
typedef struct {
    dt_route t;
    const dt_caps_lanes *lanes;
    const dt_route_int_params *p;
    int64_t vote_bound; /* the largest magnitude of a vote's code */
    dt_route_ratios ratios[DT_MAX_ROUTING];
    int64_t *offset; /* [R][J][D], of the sums */
} route_run;

/* One iteration of one image. */
typedef struct {
    const route_run *run;
    int64_t n;
    int r;
} route_step;

/* The inputs from i on whose pairs lie together. */
static dt_vote_group group_of(const route_step *k, int64_t i)
{
    const dt_route *t = &k->run->t;
    const int64_t left = t->inputs - i;

    return (dt_vote_group){ dt_route_votes(t, k->n, i), 1.0f, t->capsules, t->dim,
                            (int)(left < t->group ? left : t->group) };
}

/* Leaves the couplings, [M][n], of the group that begins with input i, for iteration k->r > 0, and before them the
 * logits. Returns them. Until couplings are there, their room holds agreements. */
static const float *couplings(const route_step *k, const dt_vote_group *g, int64_t i)
{
    const dt_route *t = &k->run->t;
    const dt_route_int_params *p = k->run->p;
    const int r = k->r - 1;
    const dt_route_ratios *ratios = &k->run->ratios[r];
    const float up_b = dt_power_of_two(p->b_frac[r]);
    const dt_logit_format logit = { .keep = ratios->keep,
                                    .agree = ratios->agree,
                                    .was_up = r > 0 ? dt_power_of_two(p->b_frac[r - 1]) : 0.0f,
                                    .agreed_up = dt_power_of_two(p->v_frac[r]),
                                    .step = 1.0f / up_b,
                                    .bits = p->b_bits[r] };
    const dt_coupling_format coupling = { ratios->exp, up_b, dt_power_of_two(-p->c_frac[r]), p->c_bits[r],
                                          p->c_frac[r] };
    float *c = dt_route_pairs(t, t->c, r, k->n, i), *b = dt_route_pairs(t, t->logits, r, k->n, i);
    const float *was = r > 0 ? dt_route_pairs(t, t->logits, r - 1, k->n, i) : c;

    k->run->lanes->agreements(g, dt_route_capsules(t, t->v, r, k->n), c);
    k->run->lanes->logit_codes(&logit, was, c, t->capsules * g->n, b);
    k->run->lanes->coupling_codes(&coupling, b, t->capsules, t->span, g->n, c);
    return c;
}

/* Returns how many inputs may be added in f32: their weighted votes stay below 2^24 together. */
static int64_t exact_inputs(const route_step *k)
{
    const int64_t c = k->r > 0 ? ((int64_t)1 << k->run->p->c_bits[k->r - 1]) - 1 : 1, most = c * k->run->vote_bound;
    return most > 0 ? ((int64_t)1 << 24) / most : k->run->t.inputs;
}

/* Adds the votes of a group, times c where it is given. up: fraction bits of c, as a power of two. */
static void add_each(const dt_vote_group *g, const float *c, float up, int32_t *acc)
{
    const int64_t width = g->capsules * g->dim;

    for (int l = 0; l < g->n; l++) {
        for (int64_t j = 0; j < width; j++)
            acc[j] += (c ? (int32_t)(up * c[j / g->dim * g->n + l]) : 1) * (int32_t)g->u[l * width + j];
    }
}

/* Adds n values, and clears them. */
static void take_part(float *part, float up, int64_t n, int32_t *acc)
{
    for (int64_t j = 0; j < n; j++) {
        acc[j] += (int32_t)(part[j] * up);
        part[j] = 0.0f;
    }
}

/* acc[M][D] of an iteration: f32 sums of as many groups as are exact, then integers. */
static void sum_votes(const route_step *k, int32_t *acc)
{
    const dt_route *t = &k->run->t;
    const int64_t width = dt_route_width(t), exact = exact_inputs(k);
    const float up = k->r > 0 ? dt_power_of_two(k->run->p->c_frac[k->r - 1]) : 1.0f;
    float *part = dt_route_capsules(t, t->part, PART_BLOCK, k->n);
    int64_t added = 0; /* inputs in part */

    memset(acc, 0, (size_t)width * sizeof *acc);
    memset(part, 0, (size_t)width * sizeof *part);
    for (int64_t i = 0; i < t->inputs; i += t->group) {
        const dt_vote_group g = group_of(k, i);
        const float *c = k->r > 0 ? couplings(k, &g, i) : NULL;
        if (g.n > exact) {
            add_each(&g, c, up, acc);
            continue;
        }
        if (added + g.n > exact) {
            take_part(part, up, width, acc);
            added = 0;
        }
        if (c)
            k->run->lanes->add_weighted(&g, c, part);
        else
            k->run->lanes->add(&g, part);
        added += g.n;
    }
    take_part(part, up, width, acc);
}

/* s and v of the capsules of an image, whose sums are acc. */
static void finish_capsules(const route_step *k, const int32_t *acc)
{
    const dt_route *t = &k->run->t;
    const dt_route_int_params *p = k->run->p;
    const int64_t channels = t->types * t->dim, *offset = k->run->offset + k->r * channels;
    const float step = dt_power_of_two(-p->s_frac[k->r]);
    const dt_ratio ratio = k->run->ratios[k->r].acc;
    float *s = dt_route_capsules(t, t->s, k->r, k->n), *v = dt_route_capsules(t, t->v, k->r, k->n);

    for (int64_t first = 0; first < dt_route_width(t); first += channels) {
        for (int64_t j = 0; j < channels; j++)
            s[first + j] = step * (float)dt_caps_sum_code(acc[first + j], ratio, offset[j], p->s_bits[k->r]);
    }
    if (k->r == t->iterations - 1 && t->gives_s) return;
    for (int64_t m = 0; m < t->capsules; m++)
        dt_route_squash(dt_caps_table.squash, p, k->r, s + m * t->dim, t->dim, v + m * t->dim);
}

/* All iterations of image n, and y: the codes of what the last one has left. One image after another, so that its votes
 * stay in a core's cache. */
static void route_image(const route_run *run, int64_t n, float scale)
{
    const dt_route *t = &run->t;
    const float *last = dt_route_capsules(t, t->gives_s ? t->s : t->v, t->iterations - 1, n), up = 1.0f / scale;
    int32_t *acc = (int32_t *)dt_route_capsules(t, t->ds, 0, n);
    float *y = dt_route_capsules(t, t->y, 0, n);

    for (int r = 0; r < t->iterations; r++) {
        const route_step k = { run, n, r };
        sum_votes(&k, acc);
        finish_capsules(&k, acc);
    }
    for (int64_t m = 0; m < dt_route_width(t); m++) y[m] = last[m] * up;
}

/* Behind everything else in the scratch lie the offsets. */
dt_status dt_route_int_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_route_int_params *p = node->params;
    const size_t offsets = (size_t)p->iterations * (size_t)dt_count(&node->in[DT_ROUTE_BIAS]->shape);
    (void)ex;

    *scratch_bytes = dt_route_int_scratch(node, N_PARTS) + offsets * sizeof(int64_t);
    return DT_OK;
}

static void find_ratios(route_run *run)
{
    const dt_route *t = &run->t;
    int64_t *offset = run->offset;

    for (int r = 0; r < t->iterations; r++) {
        run->ratios[r] = dt_route_ratios_of(run->p, r, t->scale[0], t->span);
        for (int64_t j = 0; j < t->types * t->dim; j++)
            *offset++ = dt_caps_offset(t->bias[j], run->p->s_frac[r], run->ratios[r].acc.shift);
    }
}

dt_status dt_route_int_forward(const dt_node *node, const dt_exec *ex)
{
    const float scale = dt_power_of_two(-node->out->scale_form);
    route_run run = { .t = dt_route_int_look(node, ex->scratch, DT_CAPS_GROUP),
                      .lanes = dt_caps_lanes_now(),
                      .p = node->params,
                      .vote_bound = dt_code_bound(node->in[DT_ROUTE_VOTES]),
                      .offset = (int64_t *)((char *)ex->scratch + dt_route_int_scratch(node, N_PARTS)) };

    find_ratios(&run);
    node->out->scale[0] = scale;
#pragma omp parallel for
    for (int64_t n = 0; n < run.t.images; n++) route_image(&run, n, scale);
    return DT_OK;
}

dt_status dt_route_int_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_route t = dt_route_int_look(node, ex->scratch, DT_CAPS_GROUP);

    return dt_route_backward(node, &t);
}
