/*
 * route_int.cu - CUDA kernels of routing by integers; see layers/caps/route_int.c.
 *
 * The inputs of an image are cut into slices, as in caps_route.cu. A block leaves the 32-bit sums of its slice in
 * `part`, and one thread for each output capsule adds the slices. Sums are exact, so their order is free.
 */
#include "caps_route.h"

#include "../core/grid_facts.h"

extern "C" {
#include "../layers/caps/route_int.h"
}

enum { WARP = 32, WARPS = DT_BLOCK / WARP };

__constant__ dt_caps_tables tables = { { DT_SQUASH_TABLE }, { DT_EXP_TABLE } };

/* Iteration r. */
typedef struct {
    dt_route t;
    dt_route_int_params p;
    int r;
} int_pass;

__device__ static inline int32_t code_of(float real, float up)
{
    return (int32_t)(real * up);
}

__device__ static int warp_max(int x)
{
    for (int lane = WARP / 2; lane > 0; lane /= 2) {
        const int other = __shfl_xor_sync(0xffffffffu, x, lane);
        x = other > x ? other : x;
    }
    return x;
}

__device__ static int warp_sum(int x)
{
    for (int lane = WARP / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}

/* Logits b of a slice after iteration r, a thread for each pair; was: those before, or NULL. */
__device__ static void logits(const int_pass *k, const dt_route_slice *s, int r, const float *was, float *b)
{
    const dt_route *t = &k->t;
    const dt_route_ratios x = dt_route_ratios_of(&k->p, r, t->scale[0], t->span);
    const float *votes = dt_route_votes(t, s->n, s->first), *v = dt_route_capsules(t, t->v, r, s->n);
    const float up_v = dt_power_of_two(k->p.v_frac[r]), step = dt_power_of_two(-k->p.b_frac[r]);
    const float up_b = was ? dt_power_of_two(k->p.b_frac[r - 1]) : 0.0f;

    for (int64_t pair = threadIdx.x; pair < s->count * t->capsules; pair += DT_BLOCK) {
        const int64_t m = pair % t->capsules;
        int64_t a = 0;
        for (int d = 0; d < t->dim; d++) a += (int64_t)votes[pair * t->dim + d] * code_of(v[m * t->dim + d], up_v);
        const int64_t old = was ? code_of(was[pair], up_b) : 0;
        b[pair] = step * (float)dt_caps_logit_code(old, x.keep, a, x.agree, k->p.b_bits[r]);
    }
}

/* Couplings c of a slice's logits b after iteration r, a warp for each softmax. */
__device__ static void couplings(const int_pass *k, const dt_route_slice *s, int r, const float *b, float *c)
{
    const dt_route *t = &k->t;
    const dt_ratio exp_ratio = dt_exp_ratio(k->p.b_frac[r]);
    const float up = dt_power_of_two(k->p.b_frac[r]), step = dt_power_of_two(-k->p.c_frac[r]);
    const int64_t lane = threadIdx.x % WARP, end = s->count * t->capsules;

    for (int64_t first = threadIdx.x / WARP * t->span; first < end; first += WARPS * t->span) {
        int top = INT32_MIN, sum = 0;
        for (int64_t i = first + lane; i < first + t->span; i += WARP) {
            const int code = code_of(b[i], up);
            top = code > top ? code : top;
        }
        top = warp_max(top);
        for (int64_t i = first + lane; i < first + t->span; i += WARP)
            sum += (int)dt_exp_code(tables.exp, (int64_t)top - code_of(b[i], up), exp_ratio);
        const dt_softmax_divisor d = dt_softmax_divisor_of((uint32_t)warp_sum(sum), (uint32_t)1 << 31);
        for (int64_t i = first + lane; i < first + t->span; i += WARP) {
            const uint32_t e = dt_exp_code(tables.exp, (int64_t)top - code_of(b[i], up), exp_ratio);
            c[i] = step * (float)dt_coupling_code(d, e, k->p.c_bits[r], k->p.c_frac[r]);
        }
    }
}

/* The slice's part of acc; c: its couplings, or NULL. A thread owns every DT_BLOCK-th value of the output. */
__device__ static void sum_votes(const int_pass *k, const dt_route_slice *s, const float *c)
{
    const dt_route *t = &k->t;
    const float *votes = dt_route_votes(t, s->n, s->first);
    const float up = c ? dt_power_of_two(k->p.c_frac[k->r - 1]) : 1.0f;
    const int64_t width = dt_route_width(t);
    int32_t *part = (int32_t *)dt_route_capsules(t, t->part, (int)s->index, s->n);

    for (int64_t m = threadIdx.x; m < width; m += DT_BLOCK) {
        int32_t sum = 0;
        for (int64_t i = 0; i < s->count; i++) {
            const int32_t coupling = c ? code_of(c[i * t->capsules + m / t->dim], up) : 1;
            sum += coupling * (int32_t)votes[i * width + m];
        }
        part[m] = sum;
    }
}

/* One block for each slice of each image: logits and couplings of iteration r > 0, and the slice's part of acc. */
__global__ static void route_int_sweep_kernel(int_pass k)
{
    const dt_route *t = &k.t;
    const dt_route_slice s = dt_block_slice(t);
    const int before = k.r - 1;
    float *c = NULL;

    if (k.r > 0) {
        float *b = dt_route_pairs(t, t->logits, before, s.n, s.first);
        const float *was = before > 0 ? dt_route_pairs(t, t->logits, before - 1, s.n, s.first) : NULL;
        c = dt_route_pairs(t, t->c, before, s.n, s.first);
        logits(&k, &s, before, was, b);
        __syncthreads();
        couplings(&k, &s, before, b, c);
        __syncthreads();
    }
    sum_votes(&k, &s, c);
}

/* One thread for each output capsule: s and v of iteration r; y in the last one. */
__global__ static void route_int_capsules_kernel(int_pass k, int slices, float *y_scale)
{
    const dt_route *t = &k.t;
    const int64_t i = dt_thread(), at = i * t->dim;
    if (i >= t->images * t->capsules) return;
    const dt_ratio ratio = dt_route_ratios_of(&k.p, k.r, t->scale[0], t->span).acc;
    const float *bias = t->bias + i % t->types * t->dim, step = dt_power_of_two(-k.p.s_frac[k.r]);
    float *s = dt_route_capsules(t, t->s, k.r, 0) + at, *v = dt_route_capsules(t, t->v, k.r, 0) + at;
    const int is_last = k.r == t->iterations - 1, give = is_last && t->gives_s;
    const float scale = dt_power_of_two(-(give ? k.p.s_frac : k.p.v_frac)[k.r]), up = 1.0f / scale;

    for (int d = 0; d < t->dim; d++) {
        int64_t acc = 0;
        for (int n = 0; n < slices; n++) acc += ((const int32_t *)dt_route_capsules(t, t->part, n, 0))[at + d];
        const int64_t offset = dt_caps_offset(bias[d], k.p.s_frac[k.r], ratio.shift);
        s[d] = step * (float)dt_caps_sum_code(acc, ratio, offset, k.p.s_bits[k.r]);
    }
    if (!give) dt_route_squash(tables.squash, &k.p, k.r, s, t->dim, v);
    if (!is_last) return;
    for (int d = 0; d < t->dim; d++) t->y[at + d] = (give ? s : v)[d] * up;
    if (i == 0) *y_scale = scale;
}

static int64_t slices_of(const dt_node *node)
{
    const dt_shape *y = &node->out->shape;
    return dt_route_slices(((const dt_route_int_params *)node->params)->inputs, dt_count(y) / y->dim[0]);
}

static dt_status route_int_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = dt_route_int_scratch(node, slices_of(node));
    return DT_OK;
}

static dt_status route_int_forward(const dt_node *node, const dt_exec *ex)
{
    int_pass k = { dt_route_int_look(node, ex->scratch, 1), *(const dt_route_int_params *)node->params, 0 };
    const unsigned capsule_blocks = dt_blocks(k.t.images * k.t.capsules, DT_BLOCK);
    const int slices = (int)slices_of(node);

    for (; k.r < k.t.iterations; k.r++) {
        DT_LAUNCH(route_int_sweep_kernel, (unsigned)(k.t.images * slices), DT_BLOCK, 0, dt_stream_of(ex), k);
        DT_LAUNCH(route_int_capsules_kernel, capsule_blocks, DT_BLOCK, 0, dt_stream_of(ex), k, slices,
                  node->out->scale);
    }
    return DT_OK;
}

static dt_status route_int_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_route t = dt_route_int_look(node, ex->scratch, 1);

    return dt_cuda_route_backward(node, ex, &t);
}

const dt_kernel dt_cuda_route_int = { route_int_prepare, route_int_forward, route_int_backward, NULL,
                                      1u << DT_ROUTE_VOTES | 1u << DT_ROUTE_BIAS };
