/*
 * route_int.h - inside routing by integers: the ratios of an iteration, sizes and memory, which CPU and CUDA share.
 *               route_int.c has the mathematics, core/arith/capsules.h the arithmetic.
 */
#ifndef DT_ROUTE_INT_H
#define DT_ROUTE_INT_H

#include "../../core/arith/capsules.h"
#include "../../core/context.h"
#include "caps_route.h"

/* Index of the inputs. */
enum { DT_ROUTE_VOTES, DT_ROUTE_BIAS };

/* Returns 2^n, for |n| below 63. */
static inline DT_HD float dt_power_of_two(int n)
{
    return n < 0 ? 1.0f / (float)((int64_t)1 << -n) : (float)((int64_t)1 << n);
}

/* The ratios of iteration r. acc: of its sum. The others give the logits and couplings of the next one. */
typedef struct {
    dt_ratio acc, agree, exp;
    int64_t keep;
} dt_route_ratios;

/* Returns the shift by which iteration r > 0 keeps the logits before it, if its agreements have that shift. Logits are
 * kept for 0 to DT_CAPS_KEEP_MAX; dt_route_int_settle and infer refuse another. */
static inline DT_HD int dt_route_keep_shift(const dt_route_int_params *p, int r, int agree_shift)
{
    return agree_shift + p->b_frac[r] - p->b_frac[r - 1];
}

/* Returns the ratios of iteration r: those of p, or what follows from the votes' scale, in f32 and integers alone.
 * span: capsules of a softmax. */
static inline DT_HD dt_route_ratios dt_route_ratios_of(const dt_route_int_params *p, int r, float scale, int64_t span)
{
    const float log2_e = 1.44269504f;
    const int given = p->acc_mul[0] != 0;
    dt_route_ratios x;

    x.acc = dt_ratio_of(r > 0 || p->whole ? scale : scale / (float)span,
                        r > 0 ? p->s_frac[r] - p->c_frac[r - 1] : p->s_frac[0]);
    x.agree = dt_ratio_of(scale * log2_e, p->b_frac[r] - p->v_frac[r]);
    if (given) {
        x.acc.mul = p->acc_mul[r];
        x.acc.shift = p->acc_shift[r];
        x.agree.mul = p->agree_mul[r];
        x.agree.shift = p->agree_shift[r];
    }
    x.exp = dt_exp_ratio(p->b_frac[r]);
    const int up = r > 0 ? dt_route_keep_shift(p, r, x.agree.shift) : -1; /* b is 0 before the first */
    x.keep = up >= 0 && up <= DT_CAPS_KEEP_MAX ? (int64_t)1 << up : 0;
    return x;
}

/* Returns the format of the squash of iteration r. */
static inline DT_HD dt_squash_format dt_route_squash_format(const dt_route_int_params *p, int r)
{
    const dt_squash_format f = { p->s_frac[r], p->v_bits[r], p->v_frac[r], { 1, 0 }, { 1, 0 } };
    return f;
}

/* Squashes the capsule s, of real values of codes, to v. */
static inline DT_HD void dt_route_squash(const int32_t *table, const dt_route_int_params *p, int r, const float *s,
                                         int dim, float *v)
{
    const dt_squash_format f = dt_route_squash_format(p, r);
    const float up = dt_power_of_two(f.s_frac), step = dt_power_of_two(-f.v_frac);
    uint64_t q = 0;

    for (int d = 0; d < dim; d++) {
        const int32_t code = (int32_t)(s[d] * up);
        q += (uint64_t)((int64_t)code * code);
    }
    const dt_squash_gain g = dt_squash_gain_of(table, q, f.s_frac);
    for (int d = 0; d < dim; d++) v[d] = step * (float)dt_squash_code(&f, g, (int)(s[d] * up));
}

/* Returns the fraction bits of what the node gives. */
static inline int dt_route_int_frac(const dt_route_int_params *p)
{
    return (p->gives_s ? p->s_frac : p->v_frac)[p->iterations - 1];
}

/* A value that does not fit: its largest magnitude, and what that must stay below. */
typedef struct {
    const char *of; /* NULL: everything fits */
    int64_t most, below;
} dt_route_int_limit;

/* Returns what does not fit if votes lie in -u..u. */
dt_route_int_limit dt_route_int_excess(const dt_route_int_params *p, int64_t u);

/* Fills in the ratios that follow from the votes' scale, as a program has them. DT_ERR_NUMERIC: one is 0, or too
 * large, or logits are not kept. name is for the message. */
DT_MUST_CHECK dt_status dt_route_int_settle(const char *name, dt_route_int_params *p, float scale, int64_t span);

/* Returns the sizes and pointers of a node that infer has accepted. group: DT_CAPS_GROUP if it runs on a CPU, else 1.
 */
dt_route dt_route_int_look(const dt_node *node, void *scratch, int group);

/* Returns the group of nodes that run on ctx's device. */
int dt_route_group_on(const dt_context *ctx);

/* Copies the pairs of an image, which lie as t->group says, to rows [I][M]. */
void dt_route_rows(const dt_route *t, const float *pairs, float *rows);

/* Returns the bytes of scratch, if the backend has so many arrays of capsules in `part`. */
size_t dt_route_int_scratch(const dt_node *node, int64_t parts);

/* Are the CPU's kernel. In route_int_cpu.c. */
dt_status dt_route_int_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes);
dt_status dt_route_int_forward(const dt_node *node, const dt_exec *ex);
dt_status dt_route_int_backward(const dt_node *node, const dt_exec *ex);

#endif /* DT_ROUTE_INT_H */
