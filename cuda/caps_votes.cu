/*
 * caps_votes.cu - CUDA kernels of the votes of capsules; see layers/caps/caps_votes.c.
 *
 * For each input capsule, votes and dw are a matrix product with few rows or few terms, which one kernel computes. dx
 * has few columns and many terms, which a warp sums. In training in mixed precision votes and their gradient may be
 * BF16.
 */
#include "pack.h"

extern "C" {
#include "convert.h"
}

enum { X, W };
enum { ROWS = 8, TERMS = 32, WARP = 32 };

/* The letters of the shapes; of one input capsule, images lie inputs * terms and inputs * columns apart. */
typedef struct {
    int64_t batch, inputs, terms, columns; /* N, I, A, C */
} votes_view;

static votes_view votes_look(const dt_node *node)
{
    const int64_t *x = node->in[X]->shape.dim;
    const votes_view v = { x[0], x[1], x[2], node->out->shape.dim[2] };
    return v;
}

/* One matrix of each input capsule: element (row, column) is at[capsule * next + row * row_step + column * step]. */
typedef struct {
    const void *at;
    int64_t next, row_step, step;
} matrices;

/* Of every input capsule: out += scale * left * right, or out = where it is fresh. The step of right and out is 1. */
typedef struct {
    int64_t rows, terms, columns;
    matrices left, right; /* left is F32 */
    void *out;
    int64_t out_next, out_row_step;
    const float *scale; /* in device memory; NULL: 1 */
    int fresh;
} product;

/* tile[k][r] = left of capsule i at (row + r, term + k), for the rows and the n terms that there are; by the block */
__device__ static inline void load_left(const product *p, int64_t i, int64_t row, int64_t term, int64_t n,
                                        float tile[TERMS][ROWS])
{
    const float *left = (const float *)p->left.at + i * p->left.next + row * p->left.row_step + term * p->left.step;

    for (int e = (int)threadIdx.x; e < n * ROWS; e += (int)blockDim.x) {
        const int k = e / ROWS, r = e % ROWS;
        tile[k][r] = row + r < p->rows ? left[r * p->left.row_step + k * p->left.step] : 0.0f;
    }
}

/* Grid: x input capsules, y blocks of columns. A thread owns a column: it sums ROWS rows at a time, term by term. */
template <dt_dtype RIGHT, dt_dtype OUT> __global__ static void product_kernel(product p)
{
    __shared__ float tile[TERMS][ROWS];
    const int64_t i = blockIdx.x, c = (int64_t)blockIdx.y * blockDim.x + threadIdx.x;
    const float scale = p.scale ? p.scale[0] : 1.0f;

    for (int64_t row = 0; row < p.rows; row += ROWS) {
        float sum[ROWS] = { 0.0f };
        for (int64_t term = 0; term < p.terms; term += TERMS) {
            const int64_t n = p.terms - term < TERMS ? p.terms - term : (int64_t)TERMS;
            __syncthreads(); /* the tile before this one has been read */
            load_left(&p, i, row, term, n, tile);
            __syncthreads();
            for (int k = 0; c < p.columns && k < n; k++) {
                const float value =
                    dt_value_load(p.right.at, RIGHT, i * p.right.next + c + (term + k) * p.right.row_step);
                for (int r = 0; r < ROWS; r++) sum[r] += tile[k][r] * value;
            }
        }
        const int64_t out = i * p.out_next + row * p.out_row_step + c;
        for (int r = 0; r < ROWS; r++) {
            if (c >= p.columns || row + r >= p.rows) continue;
            dt_value_give(p.out, OUT, out + r * p.out_row_step, scale * sum[r], p.fresh);
        }
    }
}

/* the sum over the warp's lanes, in every lane; all lanes must call */
__device__ static inline float warp_sum(float value)
{
    for (int lane = WARP / 2; lane > 0; lane /= 2) value += __shfl_xor_sync(0xffffffffu, value, lane);
    return value;
}

/* Block: an input capsule. A warp takes every so many-th image, ROWS values of x at a time; its lanes share the
 * columns. Gives to dx. w_scale NULL: 1 */
template <dt_dtype TYPE>
__global__ static void dx_kernel(votes_view v, const void *dvotes, const float *w, const float *w_scale, float *dx,
                                 int fresh)
{
    const int64_t i = blockIdx.x;
    const int lane = (int)threadIdx.x % WARP;
    const float scale = w_scale ? w_scale[0] : 1.0f;

    for (int64_t n = threadIdx.x / WARP; n < v.batch; n += DT_BLOCK / WARP) {
        const int64_t vote = (n * v.inputs + i) * v.columns;
        for (int64_t first = 0; first < v.terms; first += ROWS) {
            const float *row = w + (i * v.terms + first) * v.columns;
            float sum[ROWS] = { 0.0f };
            for (int64_t c = lane; c < v.columns; c += WARP) {
                const float dvote = dt_value_load(dvotes, TYPE, vote + c);
                for (int r = 0; r < ROWS; r++) {
                    if (first + r < v.terms) sum[r] += dvote * row[r * v.columns + c];
                }
            }
            for (int r = 0; r < ROWS; r++) {
                const float whole = warp_sum(sum[r]);
                float *at = dx + (n * v.inputs + i) * v.terms + first + r;
                if (lane == 0 && first + r < v.terms) dt_give(at, scale * whole, fresh);
            }
        }
    }
}

template <dt_dtype RIGHT, dt_dtype OUT>
static dt_status run_product(const product *p, int64_t capsules, cudaStream_t stream)
{
    const unsigned blocks = dt_blocks(p->columns, DT_BLOCK);
    const unsigned threads = dt_blocks(p->columns, (int)blocks * WARP) * WARP; /* columns spread evenly */

    DT_LAUNCH((product_kernel<RIGHT, OUT>), dim3((unsigned)capsules, blocks), threads, 0, stream, *p);
    return DT_OK;
}

template <dt_dtype TYPE> static dt_status run_dx(const dt_node *node, cudaStream_t stream)
{
    const votes_view v = votes_look(node);
    const dt_tensor *x = node->in[X], *w = node->in[W];

    DT_LAUNCH(dx_kernel<TYPE>, (unsigned)v.inputs, DT_BLOCK, 0, stream, v, node->out->grad, dt_values(w),
              w->n_scale > 0 ? w->scale : NULL, dt_grads(x), (int)(node->fresh & 1u << X));
    return DT_OK;
}

static dt_status caps_votes_forward(const dt_node *node, const dt_exec *ex)
{
    const votes_view v = votes_look(node);
    const dt_tensor *x = node->in[X], *w = node->in[W], *votes = node->out;
    product p = {};

    p.rows = v.batch;
    p.terms = v.terms;
    p.columns = v.columns;
    p.left = { dt_values(x), v.terms, v.inputs * v.terms, 1 };
    p.right = { dt_values(w), v.terms * v.columns, v.columns, 1 };
    p.out = votes->data;
    p.out_next = v.columns;
    p.out_row_step = v.inputs * v.columns;
    p.fresh = 1;
    if (votes->type == DT_BF16) return run_product<DT_F32, DT_BF16>(&p, v.inputs, dt_stream_of(ex));
    DT_TRY((run_product<DT_F32, DT_F32>(&p, v.inputs, dt_stream_of(ex))));
    if (votes->n_scale == 0) return DT_OK;
    return dt_cuda_psum_scale(x->scale, w->scale, 1, votes->n_scale, votes->scale, ex->stream);
}

static dt_status caps_votes_backward(const dt_node *node, const dt_exec *ex)
{
    const votes_view v = votes_look(node);
    const dt_tensor *x = node->in[X], *w = node->in[W];
    const int is_half = node->out->grad_type == DT_BF16;

    if (x->grad) DT_TRY(is_half ? run_dx<DT_BF16>(node, dt_stream_of(ex)) : run_dx<DT_F32>(node, dt_stream_of(ex)));
    if (!dt_grads(w)) return DT_OK;
    product p = {};
    p.rows = v.terms;
    p.terms = v.batch;
    p.columns = v.columns;
    p.left = { dt_values(x), v.terms, 1, v.inputs * v.terms };
    p.right = { node->out->grad, v.columns, v.inputs * v.columns, 1 };
    p.out = w->grad;
    p.out_next = v.terms * v.columns;
    p.out_row_step = v.columns;
    p.scale = x->n_scale > 0 ? x->scale : NULL;
    p.fresh = (int)(node->fresh & 1u << W);
    if (is_half) return run_product<DT_BF16, DT_F32>(&p, v.inputs, dt_stream_of(ex));
    return run_product<DT_F32, DT_F32>(&p, v.inputs, dt_stream_of(ex));
}

const dt_kernel dt_cuda_caps_votes = { NULL,         caps_votes_forward, caps_votes_backward, NULL, 1u << X | 1u << W,
                                       DT_READS_OUT, DT_READS_OUT };
