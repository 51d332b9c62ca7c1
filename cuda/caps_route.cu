/*
 * caps_route.cu - CUDA kernels of dynamic routing; see layers/caps/caps_route.c.
 *
 * The inputs of an image are cut into slices, each for a block of its own, so that small batches fill the device too. A
 * block reads the votes of its slice once from memory, for logits and for weighted sums, and leaves one sum for each
 * value of the output in `part`. One thread for each output capsule then adds the slices, in order. Pairs lie in device
 * memory, where caches hold them between writing and reading. So shared memory limits no size.
 *
 * Routing with one input and one iteration, as for primary capsules, has a kernel of its own, with one thread for each
 * capsule.
 */
#include "caps_route.h"
#include "reduce.h"

#include "../core/grid_facts.h"

extern "C" {
#include "../layers/caps/squash.h"
}

enum { WARP = 32, WARPS = DT_BLOCK / WARP, VOTES = 0, BIAS };

/* One iteration, forward. */
typedef struct {
    dt_route t;
    int r;
    int fixed, observe;     /* of dt_caps_route_params */
    dt_route_format format; /* of iteration r */
    dt_fixed_format before; /* of the logits that its couplings come from */
    const dt_step *step;
    dt_dtype votes_type;
} route_pass;

/* What follows the computation of a value, as in layers/caps/caps_route.c; *largest is the thread's. */
__device__ static inline float settle(const route_pass *p, const dt_fixed_format *f, int64_t draw, float x,
                                      float *largest)
{
    *largest = fmaxf(*largest, fabsf(x));
    return p->fixed ? dt_route_round(f, &p->step->in, draw, x) : x;
}

/* Magnitudes are ordered as their bits are, so an integer maximum will do. */
__device__ static inline void report(const route_pass *p, float *seen, float largest)
{
    if (p->observe) atomicMax((int *)seen, __float_as_int(largest));
}

/* Number of the draw of value 0 of an image's array. */
__device__ static inline int64_t first_draw(const route_pass *p, int64_t n, int64_t per_image)
{
    return p->fixed ? (p->step->in.first + n) * per_image : 0;
}

__device__ static inline float warp_max(float x)
{
    for (int lane = WARP / 2; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}

__device__ static inline double warp_sum(double x)
{
    for (int lane = WARP / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}

/* out[pair] = <vote, v[m]>, added to what is there if `add`; pairs are the slice's, v the image's capsules. Eight lanes
 * share a pair, and add as dt_caps_dot does. All threads must call. */
template <dt_dtype TYPE>
__device__ static void agreements(const dt_route *t, const dt_route_slice *s, const float *v, int add, float *out)
{
    const float scale = dt_scale_at(t->scale, t->n_scale, 0);
    const int64_t vote = dt_route_vote(t, s->n, s->first);
    const int capsules = (int)t->capsules, pairs = (int)s->count * capsules;
    const int lane = threadIdx.x % DT_CAPS_LANES, row = threadIdx.x / DT_CAPS_LANES;

    for (int first = 0; first < pairs; first += DT_BLOCK / DT_CAPS_LANES) {
        const int pair = first + row, m = pair % capsules;
        float sum = 0.0f;
        for (int d = lane; pair < pairs && d < t->dim; d += DT_CAPS_LANES) {
            sum += scale * dt_value_load(t->votes, TYPE, vote + (int64_t)pair * t->dim + d) * v[m * t->dim + d];
        }
        for (int half = DT_CAPS_LANES / 2; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
        if (lane == 0 && pair < pairs) out[pair] = add ? out[pair] + sum : sum;
    }
}

/* The slice's part of the sum over inputs of weight * vote. A thread owns every DT_BLOCK-th value of the output. */
template <dt_dtype TYPE>
__device__ static void sum_votes(const dt_route *t, const dt_route_slice *s, const float *weights)
{
    const float scale = dt_scale_at(t->scale, t->n_scale, 0);
    const int64_t width = dt_route_width(t), vote = dt_route_vote(t, s->n, s->first);
    float *part = dt_route_capsules(t, t->part, (int)s->index, s->n);

    for (int k = threadIdx.x; k < width; k += DT_BLOCK) {
        float sum = 0.0f;
        for (int64_t i = 0; i < s->count; i++) {
            const float u = scale * dt_value_load(t->votes, TYPE, vote + i * width + k);
            sum += weights[i * t->capsules + k / t->dim] * u;
        }
        part[k] = sum;
    }
}

/* Rounds the logits and makes couplings of them, a warp for each softmax. */
__device__ static void softmax(const route_pass *p, const dt_route_slice *s, float *b, float *c)
{
    const dt_route *t = &p->t;
    const int64_t lane = threadIdx.x % WARP, end = s->count * t->capsules;
    const int64_t draw = first_draw(p, s->n, t->inputs * t->capsules) + s->first * t->capsules;
    float seen_b = 0.0f, seen_c = 0.0f;

    for (int64_t first = threadIdx.x / WARP * t->span; first < end; first += WARPS * t->span) {
        float top = -INFINITY;
        double sum = 0.0;
        for (int64_t k = first + lane; k < first + t->span; k += WARP) {
            b[k] = settle(p, &p->before, draw + k, b[k], &seen_b);
            top = fmaxf(top, b[k]);
        }
        top = warp_max(top);
        for (int64_t k = first + lane; k < first + t->span; k += WARP) {
            c[k] = expf(b[k] - top);
            sum += (double)c[k];
        }
        const float inverse = (float)(1.0 / warp_sum(sum));
        for (int64_t k = first + lane; k < first + t->span; k += WARP) {
            c[k] = settle(p, &p->format.c, draw + k, c[k] * inverse, &seen_c);
        }
    }
    report(p, &t->seen->b[p->r - 1], seen_b);
    report(p, &t->seen->c[p->r], seen_c);
}

/* The couplings of iteration 0. */
__device__ static void equal_couplings(const route_pass *p, const dt_route_slice *s, float *c)
{
    const dt_route *t = &p->t;
    const int64_t draw = first_draw(p, s->n, t->inputs * t->capsules) + s->first * t->capsules;
    float seen_c = 0.0f;

    for (int64_t k = threadIdx.x; k < s->count * t->capsules; k += DT_BLOCK) {
        c[k] = settle(p, &p->format.c, draw + k, dt_route_first_coupling(t), &seen_c);
    }
    report(p, &t->seen->c[0], seen_c);
}

/* One block for each slice of each image: couplings of iteration r, and their part of s. */
template <dt_dtype TYPE> __global__ static void route_sweep_kernel(route_pass p)
{
    const dt_route *t = &p.t;
    const dt_route_slice s = dt_block_slice(t);
    float *b = dt_route_pairs(t, t->b, 0, s.n, s.first), *c = b;

    if (p.r == 0) {
        equal_couplings(&p, &s, c);
    } else {
        c = dt_route_pairs(t, t->c, p.r - 1, s.n, s.first);
        agreements<TYPE>(t, &s, dt_route_capsules(t, t->y, 0, s.n), p.r > 1, b);
        __syncthreads();
        softmax(&p, &s, b, c);
    }
    __syncthreads();
    sum_votes<TYPE>(t, &s, c);
}

/* s and v of capsule i of the batch; s holds the weighted votes. By one thread. */
__device__ static void finish_capsule(const route_pass *p, int64_t i, float *s)
{
    const dt_route *t = &p->t;
    const int64_t n = i / t->capsules, m = i % t->capsules;
    const int64_t draw = first_draw(p, n, dt_route_width(t)) + m * t->dim;
    const float *bias = t->bias + m % t->types * t->dim;
    float *v = t->y + i * t->dim, seen_s = 0.0f, seen_v = 0.0f;

    for (int d = 0; d < t->dim; d++) s[d] = settle(p, &p->format.s, draw + d, s[d] + bias[d], &seen_s);
    dt_squash(s, t->dim, v);
    for (int d = 0; d < t->dim; d++) v[d] = settle(p, &p->format.v, draw + d, v[d], &seen_v);
    report(p, &t->seen->s[p->r], seen_s);
    report(p, &t->seen->v[p->r], seen_v);
}

/* to[d] = sum over the slices of capsule i of the batch, in order */
__device__ static void add_slices(const dt_route *t, int64_t i, float *to)
{
    const int slices = (int)dt_route_slices(t->inputs, dt_route_width(t));

    for (int d = 0; d < t->dim; d++) {
        float sum = 0.0f;
        for (int k = 0; k < slices; k++) sum += dt_route_capsules(t, t->part, k, 0)[i * t->dim + d];
        to[d] = sum;
    }
}

/* one thread for each output capsule */
__global__ static void route_capsules_kernel(route_pass p)
{
    const dt_route *t = &p.t;
    const int64_t i = dt_thread();
    if (i >= t->images * t->capsules) return;
    float *s = dt_route_capsules(t, t->s, p.r, 0) + i * t->dim;

    add_slices(t, i, s);
    finish_capsule(&p, i, s);
}

/* One thread for each output capsule, of which there are as many as votes: one input, one iteration. */
__global__ static void route_single_kernel(route_pass p)
{
    const dt_route *t = &p.t;
    const int64_t i = dt_thread();
    if (i >= t->images * t->capsules) return;
    const float scale = dt_scale_at(t->scale, t->n_scale, 0);
    const int64_t draw = first_draw(&p, i / t->capsules, t->capsules) + i % t->capsules;
    float *s = t->s + i * t->dim, seen_c = 0.0f;

    const float c = settle(&p, &p.format.c, draw, dt_route_first_coupling(t), &seen_c);
    for (int d = 0; d < t->dim; d++) s[d] = c * (scale * dt_value_load(t->votes, p.votes_type, i * t->dim + d));
    report(&p, &t->seen->c[0], seen_c);
    finish_capsule(&p, i, s);
}

/* ds of one capsule of codes, whose v has the gradient dv, which is changed. */
__device__ static void grid_capsule_backward(const dt_route *t, int r, const float *s, const float *v, float *dv,
                                             float *ds)
{
    const dt_route_limits *l = &t->limits;

    if (t->gives_s && r == t->iterations - 1) {
        for (int d = 0; d < t->dim; d++) ds[d] = dv[d];
    } else {
        for (int d = 0; d < t->dim; d++) dv[d] = dt_route_gated(dv[d], v[d], l->v_low[r], l->v_high[r]);
        dt_squash_backward(s, dv, t->dim, 1, ds);
    }
    for (int d = 0; d < t->dim; d++) ds[d] = dt_route_gated(ds[d], s[d], l->s_low[r], l->s_high[r]);
}

/* One thread for each output capsule: ds of iteration r from dv, which is dy or lies in slices; and v, which the votes'
 * gradient needs of all iterations but the last. */
__global__ static void route_capsules_backward_kernel(dt_route t, int r, const float *dy)
{
    const int64_t i = dt_thread(), at = i * t.dim;
    if (i >= t.images * t.capsules) return;
    const float *s = dt_route_capsules(&t, t.s, r, 0) + at;
    float *v = dt_route_capsules(&t, t.v, r, 0) + at, *dv = t.part + at, *ds = dt_route_capsules(&t, t.ds, r, 0) + at;

    if (r < t.iterations - 1) {
        add_slices(&t, i, dv); /* into the first */
        if (!t.on_grid) dt_squash(s, t.dim, v);
    } else {
        for (int d = 0; d < t.dim; d++) dv[d] = dy[at + d];
    }
    if (t.on_grid)
        grid_capsule_backward(&t, r, s, v, dv, ds);
    else
        dt_squash_backward(s, dv, t.dim, 1, ds);
}

/* Gives to db, which is dc, of iteration r - 1 of a slice; a warp for each softmax. `later` is db of the next
 * iteration, or NULL. */
__device__ static void softmax_backward(const dt_route *t, const dt_route_slice *s, int r, const float *later,
                                        float *db)
{
    const float *c = dt_route_pairs(t, t->c, r - 1, s->n, s->first);
    const float *b = t->on_grid ? dt_route_pairs(t, t->logits, r - 1, s->n, s->first) : NULL;
    const dt_route_limits *l = &t->limits;
    const int64_t lane = threadIdx.x % WARP, end = s->count * t->capsules;

    for (int64_t first = threadIdx.x / WARP * t->span; first < end; first += WARPS * t->span) {
        double sum = 0.0;
        for (int64_t k = first + lane; k < first + t->span; k += WARP) {
            if (b) db[k] = dt_route_gated(db[k], c[k], -INFINITY, l->c_high[r - 1]);
            sum += (double)(c[k] * db[k]);
        }
        const float mean = (float)warp_sum(sum);
        for (int64_t k = first + lane; k < first + t->span; k += WARP) {
            db[k] = c[k] * (db[k] - mean);
            if (later) db[k] += later[k];
            if (b) db[k] = dt_route_gated(db[k], b[k], l->b_low[r - 1], l->b_high[r - 1]);
        }
    }
}

/* One block for each slice of each image: db of iteration r - 1, and its part of dv. */
template <dt_dtype TYPE> __global__ static void route_sweep_backward_kernel(dt_route t, int r)
{
    const dt_route_slice s = dt_block_slice(&t);
    const float *later = r < t.iterations - 1 ? dt_route_pairs(&t, t.b, r, s.n, s.first) : NULL;
    float *db = dt_route_pairs(&t, t.b, r - 1, s.n, s.first);

    agreements<TYPE>(&t, &s, dt_route_capsules(&t, t.ds, r, s.n), 0, db);
    __syncthreads();
    softmax_backward(&t, &s, r, later, db);
    __syncthreads();
    sum_votes<TYPE>(&t, &s, db);
}

/* One block for each slice of each image; gives to du. A thread owns every DT_BLOCK-th value of the output, for which
 * it keeps ds and v of all iterations. */
template <dt_dtype TYPE> __global__ static void route_votes_backward_kernel(dt_route t, void *du, int fresh)
{
    const dt_route_slice s = dt_block_slice(&t);
    const int64_t width = dt_route_width(&t);
    const float c0 = dt_route_first_coupling(&t), *c = dt_route_pairs(&t, t.c, 0, s.n, s.first);
    const float *db = dt_route_pairs(&t, t.b, 0, s.n, s.first);
    const int64_t next = t.images * t.inputs * t.capsules; /* pairs of an iteration */
    float ds[DT_MAX_ROUTING], v[DT_MAX_ROUTING];

    for (int k = threadIdx.x; k < width; k += DT_BLOCK) {
        for (int r = 0; r < DT_MAX_ROUTING; r++) {
            ds[r] = r < t.iterations ? dt_route_capsules(&t, t.ds, r, s.n)[k] : 0.0f;
            v[r] = r < t.iterations - 1 ? dt_route_capsules(&t, t.v, r, s.n)[k] : 0.0f;
        }
        for (int64_t i = 0; i < s.count; i++) {
            const int64_t pair = i * t.capsules + k / t.dim;
            float sum = c0 * ds[0];
            for (int r = 1; r < DT_MAX_ROUTING; r++) {
                if (r >= t.iterations) continue;
                sum += c[(r - 1) * next + pair] * ds[r];
                sum += db[(r - 1) * next + pair] * v[r - 1];
            }
            dt_value_give(du, TYPE, dt_route_vote(&t, s.n, s.first + i) + k, sum, fresh);
        }
    }
}

/* One block for each channel: ds summed over iterations, images and positions; gives to db. */
__global__ static void route_bias_backward_kernel(dt_route t, float *db, int fresh)
{
    const int64_t channels = t.types * t.dim, rows = t.iterations * t.images * dt_route_width(&t) / channels;
    double sum = 0.0;

    for (int64_t row = threadIdx.x; row < rows; row += DT_BLOCK) sum += (double)t.ds[row * channels + blockIdx.x];
    sum = dt_block_sum(sum);
    if (threadIdx.x == 0) dt_give(&db[blockIdx.x], (float)sum, fresh);
}

static dt_status route_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_caps_route_params *p = (const dt_caps_route_params *)node->params;
    const dt_shape *y = &node->out->shape;
    return dt_route_prepare(node, ex, dt_route_slices(p->inputs, dt_count(y) / y->dim[0]), scratch_bytes);
}

/* Blocks of a launch with one for each slice of each image. */
static unsigned slice_blocks_of(const dt_route *t)
{
    return (unsigned)(t->images * dt_route_slices(t->inputs, dt_route_width(t)));
}

template <dt_dtype TYPE> static dt_status run_sweep(const route_pass *pass, cudaStream_t stream)
{
    DT_LAUNCH(route_sweep_kernel<TYPE>, slice_blocks_of(&pass->t), DT_BLOCK, 0, stream, *pass);
    return DT_OK;
}

template <dt_dtype TYPE> static dt_status run_sweep_backward(const dt_route *t, int r, cudaStream_t stream)
{
    DT_LAUNCH(route_sweep_backward_kernel<TYPE>, slice_blocks_of(t), DT_BLOCK, 0, stream, *t, r);
    return DT_OK;
}

template <dt_dtype TYPE>
static dt_status run_votes_backward(const dt_route *t, void *du, int fresh, cudaStream_t stream)
{
    DT_LAUNCH(route_votes_backward_kernel<TYPE>, slice_blocks_of(t), DT_BLOCK, 0, stream, *t, du, fresh);
    return DT_OK;
}

static dt_status route_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_caps_route_params *p = (const dt_caps_route_params *)node->params;
    const cudaStream_t stream = dt_stream_of(ex);
    const dt_dtype type = node->in[VOTES]->type;
    route_pass pass = {
        dt_route_look(node, ex->scratch, 1), 0, p->fixed, p->observe, p->format[0], {}, ex->step, type
    };
    const dt_route *t = &pass.t;
    const unsigned capsule_blocks = dt_blocks(t->images * t->capsules, DT_BLOCK);

    if (p->observe) DT_CUDA(cudaMemsetAsync(t->seen, 0, sizeof *t->seen, stream));
    if (t->inputs == 1 && t->iterations == 1) {
        DT_LAUNCH(route_single_kernel, capsule_blocks, DT_BLOCK, 0, stream, pass);
        return DT_OK;
    }
    for (int r = 0; r < t->iterations; r++) {
        pass.r = r;
        pass.format = p->format[r];
        if (r > 0) pass.before = p->format[r - 1].b;
        DT_TRY(type == DT_BF16 ? run_sweep<DT_BF16>(&pass, stream) : run_sweep<DT_F32>(&pass, stream));
        DT_LAUNCH(route_capsules_kernel, capsule_blocks, DT_BLOCK, 0, stream, pass);
    }
    return DT_OK;
}

dt_status dt_cuda_route_backward(const dt_node *node, const dt_exec *ex, const dt_route *t)
{
    const cudaStream_t stream = dt_stream_of(ex);
    const unsigned capsule_blocks = dt_blocks(t->images * t->capsules, DT_BLOCK);
    const int fresh = node->fresh & 1u << VOTES ? 1 : 0;
    const dt_tensor *votes = node->in[VOTES];
    float *db = dt_grads(node->in[BIAS]);
    if (!votes->grad && !db) return DT_OK;

    for (int r = t->iterations - 1; r >= 0; r--) {
        DT_LAUNCH(route_capsules_backward_kernel, capsule_blocks, DT_BLOCK, 0, stream, *t, r, dt_grads(node->out));
        if (r == 0) break;
        DT_TRY(votes->type == DT_BF16 ? run_sweep_backward<DT_BF16>(t, r, stream)
                                      : run_sweep_backward<DT_F32>(t, r, stream));
    }
    if (votes->grad) {
        DT_TRY(votes->grad_type == DT_BF16 ? run_votes_backward<DT_BF16>(t, votes->grad, fresh, stream)
                                           : run_votes_backward<DT_F32>(t, votes->grad, fresh, stream));
    }
    if (db) {
        DT_LAUNCH(route_bias_backward_kernel, (unsigned)(t->types * t->dim), DT_BLOCK, 0, stream, *t, db,
                  (int)(node->fresh & 1u << BIAS));
    }
    return DT_OK;
}

static dt_status route_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_route t = dt_route_look(node, ex->scratch, 1);

    return dt_cuda_route_backward(node, ex, &t);
}

const dt_kernel dt_cuda_caps_route = {
    route_prepare, route_forward, route_backward, NULL, 1u << VOTES | 1u << BIAS, DT_READS_IN(VOTES), DT_READS_IN(VOTES)
};
