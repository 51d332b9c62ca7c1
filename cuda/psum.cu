/*
 * psum.cu - CUDA kernels of the array's psums; see accel/psum/psum.c for the operator, accel/psum/psum.h for its sums
 *           and for what its statistics count.
 *
 * Scratch holds x in the layout of accel/psum/psum_layout.h, for the whole batch and with no offset, and w as
 * [in_tiles][taps][step / 4][filters] words of four neighbouring channels. Each forward packs both once. Statistics are
 * integers, which atomics may add in any order.
 */
#include "kernel.h"
#include "mma.h"

extern "C" {
#include "../accel/psum/psum_layout.h"
#include "../layers/conv/conv.h"
#include "convert.h"
}

#include <stdlib.h>

/* A warp sums 16 positions x 32 filters: TILES products of 16 x 8. */
enum { WARP = 32, WARP_POSITIONS = 16, WARP_FILTERS = 32, TILES = WARP_FILTERS / 8, WARPS = DT_BLOCK / WARP };

typedef struct {
    dt_psum_layer layer;
    dt_psum_layout layout; /* of x */
    int64_t batch;         /* in forward of those images that count */
} psum_view;

/* What a thread saw. */
typedef struct {
    int32_t low, high, n_overflows;
} psum_seen;

__device__ static inline void look(psum_seen *seen, int32_t value)
{
    seen->low = min(seen->low, value);
    seen->high = max(seen->high, value);
}

__device__ static inline int is_outside(int32_t value, dt_psum_limits limits)
{
    return value < limits.low || value > limits.high;
}

/* The whole warp's, in every lane; all lanes must call. */
__device__ static inline void share(psum_seen *seen)
{
    for (int lane = WARP / 2; lane > 0; lane /= 2) {
        seen->low = min(seen->low, __shfl_xor_sync(0xffffffffu, seen->low, lane));
        seen->high = max(seen->high, __shfl_xor_sync(0xffffffffu, seen->high, lane));
        seen->n_overflows += __shfl_xor_sync(0xffffffffu, seen->n_overflows, lane);
    }
}

__device__ static inline void add_to_count(int64_t *count, int64_t value)
{
    atomicAdd((unsigned long long *)count, (unsigned long long)value);
}

/* The block's, in its first thread, of what each warp shares; all threads of the block must call, once in a kernel. */
__device__ static inline void gather(psum_seen *seen)
{
    __shared__ psum_seen of_warp[WARPS];

    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = *seen;
    __syncthreads();
    for (int i = 1; threadIdx.x == 0 && i < WARPS; i++) {
        seen->low = min(seen->low, of_warp[i].low);
        seen->high = max(seen->high, of_warp[i].high);
        seen->n_overflows += of_warp[i].n_overflows;
    }
}

/* Adds what the block saw. One thread does it: millions of atomics on one address take longer than the sums. All
 * threads of the block must call, with what their warp shares. */
__device__ static inline void report(psum_seen *seen, dt_psum_stats *stats)
{
    gather(seen);
    if (threadIdx.x != 0) return;
    atomicMin(&stats->min, seen->low);
    atomicMax(&stats->max, seen->high);
    if (seen->n_overflows) add_to_count(&stats->n_overflows, seen->n_overflows);
}

/* ---- packing ---- */

/* one thread */
__global__ static void start_stats_kernel(dt_psum_stats *stats, dt_psum_stats start)
{
    *stats = start;
}

/* Four codes from channel c of a tile on, those beyond the tile or the group 0; from: the group's; counts the zeros
 * among the others. */
__device__ static uint32_t pack_word(const float *from, int first, int c, const dt_psum_layer *layer, int32_t *n_zeros)
{
    const int channels = layer->shape.channels / layer->shape.conv.groups;
    uint32_t word = 0;

    for (int j = 0; j < 4; j++) {
        if (c + j >= layer->tile_channels || first + c + j >= channels) break;
        const float code = from[first + c + j];
        word |= (uint32_t)(uint8_t)(int32_t)code << 8 * j;
        *n_zeros += code == 0.0f;
    }
    return word;
}

/* one thread for each word of the packed x */
__global__ static void pack_x_kernel(const float *x, uint32_t *packed, dt_psum_stats *stats, psum_view v)
{
    const dt_psum_shape *s = &v.layer.shape;
    const int64_t i = dt_thread(), words = v.layout.step / 4, n_words = v.batch * (v.layout.image / 4);
    const int64_t rows = s->height + s->conv.pad[0] + s->conv.pad[2],
                  columns = s->width + s->conv.pad[1] + s->conv.pad[3];
    const int64_t tiles = s->conv.groups * v.layer.in_tiles, position = i / words / tiles,
                  n = position / columns / rows;
    const int64_t h = position / columns % rows - s->conv.pad[0], w = position % columns - s->conv.pad[1];
    psum_seen zeros = { 0, 0, 0 }; /* counted in n_overflows */

    if (i < n_words) {
        const int of_pixel = (int)(i / words % tiles), tile = of_pixel % v.layer.in_tiles, c = (int)(i % words) * 4;
        const int group = of_pixel / v.layer.in_tiles;
        uint32_t word = 0;
        if (h >= 0 && h < s->height && w >= 0 && w < s->width) {
            const float *from = x + ((n * s->height + h) * s->width + w) * s->channels;
            from += group * (s->channels / s->conv.groups);
            word = pack_word(from, tile * v.layer.tile_channels, c, &v.layer, &zeros.n_overflows);
        }
        packed[i] = word;
    }
    share(&zeros);
    gather(&zeros);
    if (threadIdx.x == 0 && zeros.n_overflows) add_to_count(&stats->n_zero_codes, zeros.n_overflows);
}

/* one thread for each word of the packed w */
__global__ static void pack_w_kernel(const float *w, uint32_t *packed, psum_view v)
{
    const dt_psum_layer *layer = &v.layer;
    const int64_t i = dt_thread(), words = v.layout.step / 4, filters = layer->shape.filters;
    if (i >= layer->in_tiles * layer->taps * words * filters) return;
    const int64_t k = i % filters, pass = i / filters / words, tap = pass % layer->taps, tile = pass / layer->taps;
    int32_t n_zeros = 0;

    packed[i] = pack_word(w + (k * layer->taps + tap) * (layer->shape.channels / layer->shape.conv.groups),
                          (int)tile * layer->tile_channels, (int)(i / filters % words) * 4, layer, &n_zeros);
}

/* ---- weight stationary sums that wrap ---- */

/* A lane's part in its warp's sums. Rows and filters beyond the layer's or the group's repeat the last, and are not
 * stored. */
typedef struct {
    const uint8_t *x[2];    /* windows of positions group and group + 8, from channel 4 quad on */
    uint32_t column[TILES]; /* of a tap's weights: filters 8 tile + group, from channel 4 quad on */
    int64_t position;       /* of row `row` */
    int filter, end;        /* of column 2 quad of the first product; of its group */
} lane_part;

__device__ static const uint8_t *window_at(const uint8_t *x, int64_t position, const psum_view *v)
{
    const dt_psum_shape *s = &v->layer.shape;
    const int64_t last = v->batch * s->out_height * s->out_width - 1, i = position < last ? position : last;
    const int64_t q = i % s->out_width, p = i / s->out_width % s->out_height, n = i / s->out_width / s->out_height;

    return x + n * v->layout.image + p * s->conv.stride[0] * v->layout.row + q * s->conv.stride[1] * v->layout.pixel;
}

/* Blocks of WARP_FILTERS that the filters of a group take. */
__host__ __device__ static inline int group_blocks(const dt_psum_shape *s)
{
    return (s->filters / s->conv.groups + WARP_FILTERS - 1) / WARP_FILTERS;
}

/* block: of filters. */
__device__ static lane_part lane_part_of(const uint8_t *x, int64_t position, int block, const psum_view *v)
{
    const dt_psum_shape *s = &v->layer.shape;
    const int row = threadIdx.x % WARP / 4, quad = threadIdx.x % 4;
    const int of_group = s->filters / s->conv.groups, blocks = group_blocks(s), group = block / blocks;
    const int filter = group * of_group + block % blocks * WARP_FILTERS;
    lane_part part;

    part.position = position + row;
    part.filter = filter + 2 * quad;
    part.end = (group + 1) * of_group;
    x += group * v->layout.group + 4 * quad;
    for (int i = 0; i < 2; i++) part.x[i] = window_at(x, part.position + 8 * i, v);
    for (int j = 0; j < TILES; j++) part.column[j] = quad * s->filters + min(filter + 8 * j + row, part.end - 1);
    return part;
}

/* The tap psums of one tile and tap. x: byte offset of its codes; w: its weights. */
template <int SIGNED>
__device__ static inline void tap_sums(const lane_part *part, int x, const uint32_t *w, const psum_view *v,
                                       int32_t psum[TILES][4])
{
    const int step = (int)v->layout.step, quad = threadIdx.x % 4;
    int c = 0;

    for (int j = 0; j < TILES; j++) psum[j][0] = psum[j][1] = psum[j][2] = psum[j][3] = 0;
    DT_NO_UNROLL
    do {
        const int inside = c + 4 * quad < step; /* no branch: the warp's lanes must stay together */
        uint32_t a[2];
        for (int i = 0; i < 2; i++) a[i] = inside ? *(const uint32_t *)(part->x[i] + x + c) : 0;
        for (int j = 0; j < TILES; j++) {
            const uint32_t b = inside ? w[part->column[j]] : 0;
            if (SIGNED)
                dt_mma_s8(psum[j], a, b);
            else
                dt_mma_u8(psum[j], a, b);
        }
        w += 4 * v->layer.shape.filters;
        c += 16;
    } while (c < step);
}

/* 1 where the lane's result i of product j is one of the layer's */
__device__ static inline int is_real(const lane_part *part, int i, int j, const psum_view *v)
{
    const int64_t outputs = v->batch * v->layer.shape.out_height * v->layer.shape.out_width;
    return part->position + i / 2 * 8 < outputs && part->filter + 8 * j + i % 2 < part->end;
}

template <int COUNTS>
__device__ static inline void add_taps(const lane_part *part, const int32_t psum[TILES][4], const psum_view *v,
                                       int32_t sum[TILES][4], psum_seen *seen)
{
    const dt_psum_limits limits = dt_psum_limits_of(&v->layer.array);

    for (int j = 0; j < TILES; j++) {
        for (int i = 0; i < 4; i++) {
            sum[j][i] += psum[j][i];
            look(seen, psum[j][i]);
            look(seen, sum[j][i]);
            if (COUNTS && is_real(part, i, j, v)) {
                seen->n_overflows += is_outside(psum[j][i], limits) + is_outside(sum[j][i], limits);
            }
        }
    }
}

/* COUNTS: overflows too */
template <int SIGNED, int COUNTS>
__device__ static psum_seen warp_sums(const lane_part *part, const uint32_t *w, const psum_view *v,
                                      int32_t sum[TILES][4])
{
    const int step = (int)v->layout.step, right = (int)v->layout.right, words = step / 4 * v->layer.shape.filters;
    psum_seen seen = { INT32_MAX, INT32_MIN, 0 };

    for (int j = 0; j < TILES; j++) sum[j][0] = sum[j][1] = sum[j][2] = sum[j][3] = 0;
    for (int tile = 0; tile < v->layer.in_tiles; tile++) {
        for (int r = 0; r < v->layer.shape.window_height; r++) {
            int x = tile * step + r * (int)v->layout.down;
            for (int s = 0; s < v->layer.shape.window_width; s++, x += right, w += words) {
                int32_t psum[TILES][4];
                tap_sums<SIGNED>(part, x, w, v, psum);
                add_taps<COUNTS>(part, psum, v, sum, &seen);
            }
        }
    }
    share(&seen);
    return seen;
}

/* The psums of 16 positions from `first` on and a block's filters. Overflows are rare and counting them takes as long
 * as all else: a warp that has any sums again. */
template <int SIGNED>
__device__ static inline psum_seen warp_psums(const uint8_t *x, const uint32_t *w, float *y, int64_t first,
                                              const psum_view *v)
{
    const dt_psum_limits limits = dt_psum_limits_of(&v->layer.array);
    const lane_part part = lane_part_of(x, first, (int)blockIdx.y, v);
    int32_t sum[TILES][4];

    psum_seen seen = warp_sums<SIGNED, 0>(&part, w, v, sum);
    if (is_outside(seen.low, limits) || is_outside(seen.high, limits)) seen = warp_sums<SIGNED, 1>(&part, w, v, sum);
    for (int j = 0; j < TILES; j++) {
        for (int i = 0; i < 4; i++) {
            if (!is_real(&part, i, j, v)) continue;
            const int64_t row = part.position + i / 2 * 8;
            y[row * v->layer.shape.filters + part.filter + 8 * j + i % 2] =
                (float)dt_psum_wrap(sum[j][i], v->layer.array.psum_bits);
        }
    }
    return seen;
}

/* A warp for each 16 positions of the batch and 32 filters of a group; a block's warps take neighbouring positions, and
 * read the same weights while those are in the L1 cache. Warps beyond the last position see nothing. */
template <int SIGNED>
__global__ static void __launch_bounds__(DT_BLOCK, 3)
    psum_kernel(const uint8_t *x, const uint32_t *w, float *y, dt_psum_stats *stats, psum_view v)
{
    const int64_t first = ((int64_t)blockIdx.x * WARPS + threadIdx.x / WARP) * WARP_POSITIONS;
    psum_seen seen = { INT32_MAX, INT32_MIN, 0 };

    if (first < v.batch * v.layer.shape.out_height * v.layer.shape.out_width) {
        seen = warp_psums<SIGNED>(x, w, y, first, &v);
    }
    report(&seen, stats);
}

/* ---- one addition after another ---- */

/* One output: where its window begins, and its filter's words. */
typedef struct {
    const uint8_t *x;
    const uint32_t *w;
} output_place;

/* What the PEs of channel c of a tile make, or those of c and c + 1. at, word: of the tap of that tile. */
__device__ static inline int32_t row_product(const output_place *o, int64_t at, int64_t word, int c, const psum_view *v)
{
    const uint32_t four = o->w[word + c / 4 * v->layer.shape.filters] >> 8 * (c % 4);
    const uint8_t *x = o->x + at + c;
    const int is_signed = v->layer.shape.x_low < 0;
    int32_t product = (is_signed ? (int8_t)x[0] : x[0]) * (int8_t)four;

    if (v->layer.array.simd > 1) product += x[1] * (int8_t)(four >> 8); /* of 2 unsigned bits */
    return product;
}

/* fit(sum + what), or the exact sum where sums wrap */
__device__ static inline int32_t add(int32_t sum, int32_t what, const psum_view *v, psum_seen *seen)
{
    const dt_psum_limits limits = dt_psum_limits_of(&v->layer.array);
    const int32_t value = sum + what;

    look(seen, value);
    seen->n_overflows += is_outside(value, limits);
    if (v->layer.array.overflow == DT_OVERFLOW_WRAP) return value;
    return max(limits.low, min(limits.high, value));
}

__device__ static int32_t weight_stationary(const output_place *o, const psum_view *v, psum_seen *seen)
{
    const dt_psum_layer *layer = &v->layer;
    const int64_t words = v->layout.step / 4 * layer->shape.filters;
    const int of_group = layer->shape.channels / layer->shape.conv.groups;
    int32_t sum = 0;

    for (int pass = 0; pass < layer->in_tiles * layer->taps; pass++) {
        const int tile = pass / layer->taps, tap = pass % layer->taps, across = layer->shape.window_width;
        const int channels = min(layer->tile_channels, of_group - tile * layer->tile_channels);
        const int64_t at = tile * v->layout.step + tap / across * v->layout.down + tap % across * v->layout.right;
        int32_t psum = 0;
        for (int c = 0; c < channels; c += layer->array.simd) {
            psum = add(psum, row_product(o, at, pass * words, c, v), v, seen);
        }
        sum = pass == 0 ? psum : add(sum, psum, v, seen);
    }
    return sum;
}

__device__ static int32_t output_stationary(const output_place *o, const psum_view *v, psum_seen *seen)
{
    const dt_psum_shape *s = &v->layer.shape;
    const int64_t words = v->layout.step / 4 * s->filters;
    int32_t sum = 0;

    for (int c = 0; c < s->channels / s->conv.groups; c += v->layer.array.simd) {
        for (int r = 0; r < s->window_height; r++) {
            for (int t = 0; t < s->window_width; t++) {
                const int64_t at = r * v->layout.down + t * v->layout.right;
                sum = add(sum, row_product(o, at, (r * s->window_width + t) * words, c, v), v, seen);
            }
        }
    }
    return dt_psum_wrap(sum, v->layer.array.psum_bits);
}

/* one thread for each psum; surplus threads see nothing */
__global__ static void psum_ordered_kernel(const uint8_t *x, const uint32_t *w, float *y, dt_psum_stats *stats,
                                           psum_view v)
{
    const dt_psum_shape *s = &v.layer.shape;
    const int64_t i = dt_thread(), position = i / s->filters;
    psum_seen seen = { INT32_MAX, INT32_MIN, 0 };

    if (i < v.batch * s->out_height * s->out_width * s->filters) {
        const int64_t filter = i % s->filters, group = filter * s->conv.groups / s->filters;
        const output_place o = { window_at(x + group * v.layout.group, position, &v), w + filter };
        const int is_stationary = v.layer.array.dataflow == DT_DATAFLOW_WS;
        y[i] = (float)(is_stationary ? weight_stationary(&o, &v, &seen) : output_stationary(&o, &v, &seen));
    }
    share(&seen);
    report(&seen, stats);
}

/* ---- the operator ---- */

/* Bytes of packed x, which come first in the scratch. */
static size_t packed_x_bytes(const psum_view *v)
{
    return dt_round_up((size_t)(v->batch * v->layout.image), DT_ALIGN);
}

static int64_t packed_w_words(const psum_view *v)
{
    return v->layer.in_tiles * v->layer.taps * (v->layout.step / 4) * v->layer.shape.filters;
}

static void psum_release(dt_node *node)
{
    free(node->state);
    node->state = NULL;
}

static dt_status psum_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_psum_params *p = (const dt_psum_params *)node->params;
    const dt_psum_shape shape = dt_psum_shape_of(node);
    psum_view *v = (psum_view *)calloc(1, sizeof *v);
    (void)ex;

    DT_CHECK(v, DT_ERR_MEMORY, "%s: no memory for the kernel's state", node->name);
    node->state = v;
    DT_TRY(dt_psum_layer_init(&v->layer, node->name, &p->array, &shape));
    DT_CHECK(shape.x_low >= 0 || (shape.x_low >= INT8_MIN && shape.x_high <= INT8_MAX), DT_ERR_UNSUPPORTED,
             "%s: psum: activation codes are %d..%d, which the array on CUDA takes as bytes; use --device cpu",
             node->name, shape.x_low, shape.x_high);
    v->layout = dt_psum_layout_of(&v->layer);
    v->batch = node->in[0]->shape.dim[0];
    DT_CHECK(v->layout.image <= INT32_MAX, DT_ERR_UNSUPPORTED, "%s: psum: an image of %lld bytes of codes, limit 2^31",
             node->name, (long long)v->layout.image);
    *scratch_bytes = packed_x_bytes(v) + (size_t)packed_w_words(v) * sizeof(uint32_t);
    return DT_OK;
}

static dt_status pack(const dt_node *node, const dt_exec *ex, const psum_view *v, uint32_t *x, uint32_t *w)
{
    const dt_psum_shape *s = &v->layer.shape;
    dt_psum_stats *stats = &((dt_psum_aux *)node->aux)->stats, start;

    dt_psum_stats_clear(&start);
    start.n_psums = dt_counted(node, dt_count(&node->out->shape));
    if (v->layer.array.dataflow == DT_DATAFLOW_WS)
        start.n_tap_psums = start.n_psums * v->layer.in_tiles * v->layer.taps;
    start.n_codes = v->batch * s->height * s->width * s->channels;
    DT_LAUNCH(start_stats_kernel, 1, 1, 0, dt_stream_of(ex), stats, start);
    DT_LAUNCH(pack_x_kernel, dt_blocks(v->batch * (v->layout.image / 4), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[0]), x, stats, *v);
    DT_LAUNCH(pack_w_kernel, dt_blocks(packed_w_words(v), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[1]), w, *v);
    return DT_OK;
}

/* The images that count. */
static psum_view counted_view(const dt_node *node)
{
    psum_view v = *(const psum_view *)node->state;

    v.batch = dt_counted(node, v.batch);
    return v;
}

/* The psums of the others are 0, which nodes behind this one can take. */
static dt_status clear_rest(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape), counted = dt_counted(node, count);

    if (counted == count) return DT_OK;
    DT_CUDA(cudaMemsetAsync(dt_values(node->out) + counted, 0, (size_t)(count - counted) * sizeof(float),
                            dt_stream_of(ex)));
    return DT_OK;
}

static dt_status psum_forward(const dt_node *node, const dt_exec *ex)
{
    const psum_view counted = counted_view(node), *v = &counted;
    const dt_psum_shape *s = &v->layer.shape;
    uint8_t *x = (uint8_t *)ex->scratch;
    uint32_t *w = (uint32_t *)(x + packed_x_bytes(v));
    dt_psum_stats *stats = &((dt_psum_aux *)node->aux)->stats;
    const int64_t positions = v->batch * s->out_height * s->out_width;
    const dim3 grid(dt_blocks(positions, WARPS * WARP_POSITIONS), s->conv.groups * group_blocks(s));

    DT_TRY(pack(node, ex, v, (uint32_t *)x, w));
    DT_TRY(clear_rest(node, ex));
    if (v->layer.ordered)
        DT_LAUNCH(psum_ordered_kernel, dt_blocks(positions * s->filters, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), x, w,
                  dt_values(node->out), stats, *v);
    else if (s->x_low < 0)
        DT_LAUNCH(psum_kernel<1>, grid, DT_BLOCK, 0, dt_stream_of(ex), x, w, dt_values(node->out), stats, *v);
    else
        DT_LAUNCH(psum_kernel<0>, grid, DT_BLOCK, 0, dt_stream_of(ex), x, w, dt_values(node->out), stats, *v);
    return dt_cuda_psum_scale(node->in[0]->scale, node->in[1]->scale, 1, node->out->n_scale, node->out->scale,
                              ex->stream);
}

const dt_kernel dt_cuda_psum = { psum_prepare, psum_forward, NULL, psum_release, 0 };
