/*
 * psum.c - the operator PSUM, a convolution whose psums are the array's. It evaluates whole networks on the array.
 *
 *   y[n,p,q,k] = the psum of psum.h, of codes x[n] and w;  scale sx * sw[k]
 *
 * It has no backward. The node's dt_psum_aux has the statistics of its last forward, over the batch.
 *
 * Shapes: x N,H,W,C; w K,R,S,C/groups; y N,P,Q,K, as in layers/conv/conv.c, whose facts it shares. Both inputs are on
 * the grid. This file has the facts, and shares images among threads; psum_image.c has the sums of one image. CUDA:
 * cuda/psum.cu.  Tests: tests/accel/test_psum.c, tests/accel/test_psum_engine.c.
 */
#include "psum.h"

#include "../../core/threads.h"
#include "../../core/votes_params.h"
#include "../../layers/conv/conv.h"

#include <stdlib.h>
#include <string.h>

enum { X, W };

/* As votes_params.h has them. */
static dt_psum_shape shape_of_votes(const dt_node *node)
{
    const dt_tensor *x = node->in[X], *w = node->in[W];
    const int64_t *dim = w->shape.dim; /* I, A, C */
    return (dt_psum_shape){ .height = 1,
                            .width = 1,
                            .channels = (int)(dim[0] * dim[1]),
                            .filters = (int)(dim[0] * dim[2]),
                            .window_height = 1,
                            .window_width = 1,
                            .conv = dt_votes_conv_of(&w->shape).conv,
                            .out_height = 1,
                            .out_width = 1,
                            .x_low = (int)x->qmin,
                            .x_high = (int)x->qmax,
                            .w_bound = (int)dt_code_bound(w) };
}

dt_psum_shape dt_psum_shape_of(const dt_node *node)
{
    if (node->kind == DT_OP_CAPS_VOTES) return shape_of_votes(node);
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[X], *w = node->in[W];
    return (dt_psum_shape){ .height = (int)s.H,
                            .width = (int)s.W,
                            .channels = (int)s.C,
                            .filters = (int)s.K,
                            .window_height = (int)s.R,
                            .window_width = (int)s.S,
                            .conv = *(const dt_conv_params *)node->params,
                            .out_height = (int)s.P,
                            .out_width = (int)s.Q,
                            .x_low = (int)x->qmin,
                            .x_high = (int)x->qmax,
                            .w_bound = (int)dt_code_bound(w) };
}

dt_psum_shape dt_psum_shape_of_capture(const dt_capture *c)
{
    return (dt_psum_shape){ .height = c->height,
                            .width = c->width,
                            .channels = c->channels,
                            .filters = c->filters,
                            .window_height = c->kernel_height,
                            .window_width = c->kernel_width,
                            .conv = c->conv,
                            .out_height = c->out_height,
                            .out_width = c->out_width,
                            .x_low = c->x_low,
                            .x_high = c->x_high,
                            .w_bound = c->w_high > -c->w_low ? c->w_high : -c->w_low };
}

static dt_status layer_of(const dt_node *node, dt_psum_layer *layer)
{
    const dt_psum_params *p = node->params;
    const dt_psum_shape shape = dt_psum_shape_of(node);
    return dt_psum_layer_init(layer, node->name, &p->array, &shape);
}

static dt_status psum_infer(dt_node *node)
{
    const dt_psum_params *p = node->params;
    dt_tensor *y = node->out;
    dt_psum_layer layer;

    DT_TRY(dt_conv_infer(node));
    DT_CHECK(y->n_scale > 0, DT_ERR_ARGUMENT, "%s: psum: x and w must be on the grid, they are real", node->name);
    DT_TRY(layer_of(node, &layer));
    const int64_t half = (int64_t)1 << (p->array.psum_bits - 1);
    if (y->qmax > half - 1) y->qmax = half - 1;
    if (y->qmin < -half) y->qmin = -half;
    node->aux_bytes = sizeof(dt_psum_aux);
    return DT_OK;
}

const dt_op dt_op_psum = {
    .name = "psum",
    .min_in = 2,
    .max_in = 2,
    .params_bytes = sizeof(dt_psum_params),
    .no_grad = 1,
    .infer = psum_infer,
};

/* Scratch: [packed weights], then of each worker [room][one image's psums][stats]. Bytes. */
typedef struct {
    dt_psum_layer layer;
    int n_workers;
    size_t packed, room, psums, worker;
} psum_state;

static void psum_release(dt_node *node)
{
    free(node->state);
    node->state = NULL;
}

static dt_status psum_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    psum_state *state = calloc(1, sizeof *state);
    (void)ex;
    DT_CHECK(state, DT_ERR_MEMORY, "%s: no memory for the kernel's state", node->name);
    node->state = state;
    DT_TRY(layer_of(node, &state->layer));
    state->n_workers = dt_threads_now();
    const dt_psum_shape *s = &state->layer.shape;
    state->packed = dt_round_up(state->layer.packed_bytes, DT_CACHE_LINE);
    state->room = dt_round_up(state->layer.room_bytes, DT_CACHE_LINE);
    state->psums =
        dt_round_up((size_t)s->out_height * (size_t)s->out_width * (size_t)s->filters * sizeof(int32_t), DT_CACHE_LINE);
    state->worker = state->room + state->psums + dt_round_up(sizeof(dt_psum_stats), DT_CACHE_LINE);
    *scratch_bytes = state->packed + (size_t)state->n_workers * state->worker;
    return DT_OK;
}

static dt_psum_stats *worker_stats(const psum_state *state, char *worker)
{
    return (dt_psum_stats *)(void *)(worker + state->room + state->psums);
}

/* Images first, first + n_workers, ... of those of the batch that count. */
static void run_worker(const dt_node *node, const void *packed, char *worker, int first)
{
    const psum_state *state = node->state;
    const dt_conv_shape s = dt_conv_shape_of(node);
    const float *x = node->in[X]->data;
    float *y = node->out->data;
    int32_t *psum = (int32_t *)(void *)(worker + state->room);
    const int64_t n_out = s.P * s.Q * s.K;

    dt_psum_stats_clear(worker_stats(state, worker));
    for (int64_t n = first; n < dt_counted(node, s.N); n += state->n_workers) {
        dt_psum_image(&state->layer, packed, x + n * s.H * s.W * s.C, worker, psum, NULL, worker_stats(state, worker));
        for (int64_t i = 0; i < n_out; i++) y[n * n_out + i] = (float)psum[i];
    }
}

/* The psums of images that do not count are 0, which nodes behind this one can take. */
static void clear_rest(const dt_node *node)
{
    const int64_t count = dt_count(&node->out->shape), counted = dt_counted(node, count);

    memset((float *)node->out->data + counted, 0, (size_t)(count - counted) * sizeof(float));
}

static dt_status psum_forward(const dt_node *node, const dt_exec *ex)
{
    const psum_state *state = node->state;
    char *workers = (char *)ex->scratch + state->packed;
    dt_psum_aux *aux = node->aux;

    dt_psum_pack(&state->layer, node->in[W]->data, ex->scratch);
#pragma omp parallel for schedule(static, 1)
    for (int i = 0; i < state->n_workers; i++) {
        run_worker(node, ex->scratch, workers + (size_t)i * state->worker, i);
    }
    dt_psum_stats_clear(&aux->stats);
    for (int i = 0; i < state->n_workers; i++) {
        dt_psum_stats_add(&aux->stats, worker_stats(state, workers + (size_t)i * state->worker));
    }
    clear_rest(node);
    dt_conv_scale(node);
    return DT_OK;
}

const dt_kernel dt_cpu_psum = { .prepare = psum_prepare, .forward = psum_forward, .release = psum_release };
