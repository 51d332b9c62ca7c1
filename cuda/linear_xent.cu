/*
 * linear_xent.cu - CUDA kernels of the classifier with its loss; see layers/linear_xent.c.
 *
 * In forward a block computes logits and loss of a few images, and the next kernel the sums over images (loss.h).
 * Backward is one launch, whose blocks own columns of x; b counts as one more column, of ones. dw and db are f32 sums:
 * each of 32 rows of threads sums over its images, and then the rows are added in order.
 * Scratch: one dt_xent_image for each image.
 */
#include "loss.h"

extern "C" {
#include "../layers/linear.h"
}

enum { X = DT_LINEAR_X, W = DT_LINEAR_W, B = DT_LINEAR_B, LABELS, ORDER };

enum {
    CLASSES = 16, /* of one round */
    IMAGES = 8,   /* of a block of forward */
    PIECE = 128,  /* inputs that it has in shared memory */
    COLUMNS = 8,  /* of a block of backward; 32 bytes, the least that memory gives */
    ROWS = DT_BLOCK / COLUMNS
};

/* What both kernels read. */
typedef struct {
    dt_linear_size size;
    const float *x, *w, *b;
    const int32_t *labels;
    float smoothing;
    int64_t step_batch;   /* images of the whole step, of which this tape may have a part */
    const int32_t *order; /* of the epoch's images, whose labels are there; NULL: labels are the batch's */
    const dt_step *step;
} head_view;

/* The label of the batch's image n. */
__device__ static int32_t label_of(const head_view *v, int64_t n)
{
    return v->labels[v->order ? v->order[v->step->in.first + n] : n];
}

static head_view head_look(const dt_node *node, const dt_exec *ex)
{
    const dt_softmax_xent_params *p = (const dt_softmax_xent_params *)node->params;
    const dt_linear_size size = dt_linear_size_of(node);
    const head_view v = { size,
                          dt_values(node->in[X]),
                          dt_values(node->in[W]),
                          dt_values(node->in[B]),
                          (const int32_t *)node->in[LABELS]->data,
                          p->label_smoothing,
                          dt_step_count(node, dt_counted(node, size.batch)),
                          node->n_in > ORDER ? (const int32_t *)node->in[ORDER]->data : NULL,
                          ex->step };
    return v;
}

/* Columns first ... of `rows` rows of m, of which there are `limit` with `inputs` columns each; 0 beyond the edges. All
 * threads of a block of forward. */
__device__ static void take_piece(const float *m, int64_t row, int64_t limit, int64_t first, int64_t inputs, int rows,
                                  double (*piece)[PIECE + 1])
{
    for (int i = (int)threadIdx.x; i < rows * PIECE; i += IMAGES * CLASSES) {
        const int64_t r = row + i / PIECE, column = first + i % PIECE;
        piece[i / PIECE][i % PIECE] = r < limit && column < inputs ? (double)m[r * inputs + column] : 0.0;
    }
}

/* A block owns IMAGES images; thread t has image t / CLASSES and, of each round, class t % CLASSES. p: the logits, then
 * the probabilities. The sums are in order, as layers/linear.c says. */
__global__ static void linear_xent_forward_kernel(head_view v, float *p, dt_xent_image *image)
{
    __shared__ double x[IMAGES][PIECE + 1], w[CLASSES][PIECE + 1]; /* + 1: rows begin in different banks */
    const int row = (int)threadIdx.x / CLASSES, lane = (int)threadIdx.x % CLASSES;
    const int64_t block = (int64_t)blockIdx.x * IMAGES, n = block + row, classes = v.size.features;

    for (int64_t first = 0; first < classes; first += CLASSES) {
        const int64_t o = first + lane;
        double sum = o < classes ? (double)v.b[o] : 0.0;
        for (int64_t at = 0; at < v.size.inputs; at += PIECE) {
            take_piece(v.x, block, v.size.batch, at, v.size.inputs, IMAGES, x);
            take_piece(v.w, first, classes, at, v.size.inputs, CLASSES, w);
            __syncthreads();
            const int terms = v.size.inputs - at < PIECE ? (int)(v.size.inputs - at) : (int)PIECE;
            for (int i = 0; i < terms; i++) sum += x[row][i] * w[lane][i];
            __syncthreads();
        }
        if (n < v.size.batch && o < classes) p[n * classes + o] = (float)sum;
    }
    __syncthreads();
    if (lane > 0 || n >= v.size.batch) return;
    image[n] = dt_xent_row(p + n * classes, classes, label_of(&v, n), v.smoothing, p + n * classes);
}

/* dz of ROWS images, from n on, and CLASSES classes, from `first` on; 0 beyond the edges. All threads of the block. */
__device__ static void take_slopes(const head_view *v, const float *p, float g, int64_t n, int64_t first,
                                   float (*dz)[CLASSES])
{
    const int64_t classes = v->size.features;

    for (int i = (int)threadIdx.x; i < ROWS * CLASSES; i += DT_BLOCK) {
        const int64_t m = n + i / CLASSES, o = first + i % CLASSES;
        const int inside = m < v->size.batch && o < classes;
        dz[i / CLASSES][i % CLASSES] =
            inside ? dt_xent_slope(g, p[m * classes + o], o == label_of(v, m), classes, v->smoothing) : 0.0f;
    }
}

/* Where the gradients go; NULL: it is not wanted. */
typedef struct {
    float *dx, *dw, *db;
    unsigned fresh;
} head_grads;

/* The sums of a round: thread t < COLUMNS * CLASSES adds the rows of column t % COLUMNS, class t / COLUMNS. */
__device__ static void give_sums(const head_view *v, const head_grads *d, int64_t first, float (*part)[DT_BLOCK])
{
    const int column = (int)threadIdx.x % COLUMNS, lane = (int)threadIdx.x / COLUMNS;
    const int64_t i = (int64_t)blockIdx.x * COLUMNS + column, o = first + lane;
    float sum = 0.0f;

    if (lane >= CLASSES || o >= v->size.features || i > v->size.inputs) return;
    for (int row = 0; row < ROWS; row++) sum += part[lane][row * COLUMNS + column];
    if (i == v->size.inputs) {
        if (d->db) dt_give(&d->db[o], sum, (int)(d->fresh & 1u << B));
    } else if (d->dw) {
        dt_give(&d->dw[o * v->size.inputs + i], sum, (int)(d->fresh & 1u << W));
    }
}

/* A block owns COLUMNS columns of x and w; thread t has column t % COLUMNS and every ROWS-th image from t / COLUMNS on.
 * Column I is of ones, and its w is b. */
__global__ static void linear_xent_backward_kernel(head_view v, const float *p, const float *dloss, head_grads d)
{
    __shared__ float dz[ROWS][CLASSES], part[CLASSES][DT_BLOCK];
    const int row = (int)threadIdx.x / COLUMNS;
    const int64_t i = (int64_t)blockIdx.x * COLUMNS + threadIdx.x % COLUMNS, inputs = v.size.inputs;
    const float g = *dloss / (float)v.step_batch;

    for (int64_t first = 0; first < v.size.features; first += CLASSES) {
        float w[CLASSES], dw[CLASSES];
        for (int k = 0; k < CLASSES; k++) {
            w[k] = i < inputs && first + k < v.size.features ? v.w[(first + k) * inputs + i] : 0.0f;
            dw[k] = 0.0f;
        }
        for (int64_t n = 0; n < v.size.batch; n += ROWS) {
            take_slopes(&v, p, g, n, first, dz);
            __syncthreads();
            const int inside = n + row < v.size.batch && i < inputs;
            const int64_t at = (n + row) * inputs + i;
            const float x = inside ? v.x[at] : 1.0f; /* beyond the batch dz is 0 */
            float dx = 0.0f;
            for (int k = 0; k < CLASSES; k++) {
                dw[k] += dz[row][k] * x;
                dx += dz[row][k] * w[k];
            }
            if (inside && d.dx) dt_give(&d.dx[at], dx, first == 0 && d.fresh & 1u << X);
            __syncthreads();
        }
        for (int k = 0; k < CLASSES; k++) part[k][threadIdx.x] = dw[k];
        __syncthreads();
        give_sums(&v, &d, first, part);
    }
}

static dt_status linear_xent_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = (size_t)dt_linear_size_of(node).batch * sizeof(dt_xent_image);
    return DT_OK;
}

static dt_status linear_xent_forward(const dt_node *node, const dt_exec *ex)
{
    const head_view v = head_look(node, ex);
    dt_xent_image *image = (dt_xent_image *)ex->scratch;

    DT_LAUNCH(linear_xent_forward_kernel, dt_blocks(v.size.batch, IMAGES), IMAGES * CLASSES, 0, dt_stream_of(ex), v,
              (float *)node->aux, image);
    return dt_cuda_xent_sum(image, dt_counted(node, v.size.batch), v.step_batch, dt_values(node->out), ex);
}

static dt_status linear_xent_backward(const dt_node *node, const dt_exec *ex)
{
    const head_view v = head_look(node, ex);
    const head_grads d = { dt_grads(node->in[X]), dt_grads(node->in[W]), dt_grads(node->in[B]), node->fresh };

    DT_LAUNCH(linear_xent_backward_kernel, dt_blocks(v.size.inputs + 1, COLUMNS), DT_BLOCK, 0, dt_stream_of(ex), v,
              (const float *)node->aux, dt_grads(node->out), d);
    return DT_OK;
}

const dt_kernel dt_cuda_linear_xent = { linear_xent_prepare, linear_xent_forward, linear_xent_backward, NULL,
                                        1u << X | 1u << W | 1u << B };
