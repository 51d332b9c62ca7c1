/*
 * amx_backward_w.c - dw of a convolution by tiles, bf16 with f32 sums.
 *
 *   dw(k, r, s, c) = scale of x * sum over positions (p, q, image) of
 *                    dy(p, q, image, k) x(p stride[0] + r - above, q stride[1] + s - before, image, c)
 *
 * A tile's products run along 32 positions of a row. Positions are numbered column * images + image, with an even
 * number of images side by side, so that the two of a word belong to one pixel. For dy, the first operand,
 * [row][k][position], a 16x16 transpose makes them neighbours. For x, [row][phase][column][pair of images][c], with
 * columns of zeros around, of which each stride-th has the same phase, a tap is an offset. Where there are 32 images or
 * more, 32 positions are of one pixel, and a tap that falls outside is left out.
 *
 * The work is cut into items, each a block of filters and channels for a part of the batch. The sums of an item, for
 * every tap, stay in the cache while its images pass in chunks, which are made into operands just before. Parts depend
 * on the shape alone and are summed in order, so that results do not depend on the number of threads.
 *
 * Mathematics: conv.c.  Tests: tests/layers/test_amx.c.
 */
#include "amx_conv.h"

#if defined(__x86_64__)

#include "../../core/align.h"
#include "../../core/threads.h"
#include "amx_lanes.h"

#include <assert.h>
#include <string.h>

enum {
    BLOCK = 128,            /* filters, and channels, of an item, at most */
    SUMS_MOST = 1400 << 10, /* bytes of its sums, of a core's cache of 2 MB; fewer channels where they would be more */
    POSITIONS = 1024,       /* of a chunk, about */
    PARTS_ITEMS = 16,       /* to share among threads */
    PAIR_BYTES = 128,       /* of 32 channels of x */
    STEP_BYTES = 2 * DT_AMX_BYTES, /* of 32 filters and 32 positions of dy */
    SUM_BYTES = 4 * DT_AMX_BYTES,  /* of 32 filters and 32 channels */
    SUM_FLOATS = 4 * DT_AMX_WORDS
};

typedef struct {
    const dt_node *node;
    dt_conv_shape s;
    int64_t filters, channels; /* of a block, whole tiles; the last may need fewer */
    int64_t n_filter_blocks, n_channel_blocks;
    int64_t images, n_chunks, part, n_parts; /* side by side; chunks of so many; chunks of a part; parts */
    int64_t columns, steps;                  /* of a phase of a row of x; tiles along a row of dy */
    int64_t x_panel, dy_panel;               /* bytes of 32 channels; of 32 filters */
    size_t x_bytes, dy_bytes, sums_bytes, room_bytes;
} gradient;

/* An item's, in the tensors. */
typedef struct {
    int64_t k, filters, c, channels, chunk, end;
} gradient_item;

/* One thread's. */
typedef struct {
    char *x, *dy;
    float *sums; /* [filters / 32][channels / 32][taps][4] tiles */
} gradient_room;

static int64_t chunk_images(const dt_conv_shape *s)
{
    const int64_t images = POSITIONS / (s->P * s->Q) / 2 * 2, all = (s->N + 1) / 2 * 2;

    return images < 2 ? 2 : dt_amx_least(images, all);
}

static int64_t sums_bytes(const gradient *b)
{
    return b->filters / 32 * (b->channels / 32) * b->s.R * b->s.S * SUM_BYTES;
}

static gradient gradient_of(const dt_node *node)
{
    gradient b = { .node = node, .s = dt_conv_shape_of(node) };
    const dt_conv_shape *s = &b.s;

    b.filters = dt_amx_least(BLOCK, dt_amx_ceiling(s->K, 32) * 32);
    b.channels = dt_amx_least(BLOCK, dt_amx_ceiling(s->C, 32) * 32);
    while (b.channels > 32 && sums_bytes(&b) > SUMS_MOST) b.channels = dt_amx_ceiling(b.channels / 2, 32) * 32;
    b.n_filter_blocks = dt_amx_ceiling(s->K, b.filters);
    b.n_channel_blocks = dt_amx_ceiling(s->C, b.channels);
    b.images = chunk_images(s);
    b.n_chunks = dt_amx_ceiling(s->N, b.images);
    b.n_parts = dt_amx_least(b.n_chunks, dt_amx_ceiling(PARTS_ITEMS, b.n_filter_blocks * b.n_channel_blocks));
    b.part = dt_amx_ceiling(b.n_chunks, b.n_parts);
    b.n_parts = dt_amx_ceiling(b.n_chunks, b.part);
    b.columns = s->Q + (s->S - 1) / s->stride[1];
    b.steps = dt_amx_ceiling(s->Q * b.images, 32);
    /* behind the last row, a tile of positions that are not there, whose dy is 0 */
    b.x_panel = (s->H * s->stride[1] * b.columns * b.images / 2 + DT_AMX_ROWS) * PAIR_BYTES;
    b.dy_panel = s->P * b.steps * STEP_BYTES;
    b.x_bytes = (size_t)(b.channels / 32 * b.x_panel);
    b.dy_bytes = (size_t)(b.filters / 32 * b.dy_panel);
    b.sums_bytes = (size_t)sums_bytes(&b);
    b.room_bytes = b.x_bytes + b.dy_bytes + b.sums_bytes;
    return b;
}

const char *dt_amx_backward_w_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);

    return ex->precision != DT_PRECISION_MIXED ? "backward is f32" : dt_amx_conv_shape_refuses(&s);
}

/* Where parts are kept until all are there; not needed of one. */
static size_t gradient_parts_bytes(const gradient *b)
{
    if (b->n_parts == 1) return 0;
    return dt_round_up((size_t)(b->n_parts * b->s.K * b->s.terms) * sizeof(float), DT_CACHE_LINE);
}

size_t dt_amx_backward_w_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    const gradient b = gradient_of(node);
    (void)ex;

    return gradient_parts_bytes(&b) + b.room_bytes * (size_t)threads;
}

static gradient_item gradient_item_of(const gradient *b, int64_t item)
{
    const int64_t part = item % b->n_parts, block = item / b->n_parts;
    gradient_item a = { .k = block / b->n_channel_blocks * b->filters,
                        .c = block % b->n_channel_blocks * b->channels,
                        .chunk = part * b->part };

    a.filters = dt_amx_least(b->filters, b->s.K - a.k);
    a.channels = dt_amx_least(b->channels, b->s.C - a.c);
    a.end = dt_amx_least(a.chunk + b->part, b->n_chunks);
    return a;
}

/* The first pair of a column of x, counted from the first of zeros, in a panel. Those of a tap begin at its number. */
static inline int64_t pairs_at(const gradient *b, int64_t h, int64_t column)
{
    const int64_t stride = b->s.stride[1];

    return ((h * stride + column % stride) * b->columns + column / stride) * b->images / 2;
}

/* x of one chunk as pairs of bf16; images that are not there stay as they are, for their dy is 0 */
DT_AMX_INLINE void pair_x(const gradient *b, const gradient_item *a, int64_t first, char *to, dt_dtype type)
{
    const dt_conv_shape *s = &b->s;
    const int64_t value = (int64_t)dt_type_bytes(type), image = s->H * s->W * s->C * value;
    const char *from = (const char *)b->node->in[0]->data + first * image + a->c * value;
    const int64_t images = dt_amx_least(b->images, s->N - first);

    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t w = 0; w < s->W; w++) {
            const char *pixel = from + (h * s->W + w) * s->C * value;
            char *words = to + pairs_at(b, h, s->pad[1] + w) * PAIR_BYTES;
            if ((s->pad[1] + w) / s->stride[1] >= b->columns) continue; /* no tap finds it */
            for (int64_t g = 0; g < images; g += 2, words += PAIR_BYTES) {
                const char *low = pixel + g * image, *high = g + 1 < images ? low + image : low;
                for (int64_t c = 0; c < a->channels; c += DT_AMX_LANES) {
                    const __mmask16 mask = dt_amx_mask16(a->channels - c);
                    _mm512_store_si512(
                        words + c / 32 * b->x_panel + c % 32 * 4,
                        dt_words_of_pairs(dt_amx_floats(low, c, type, mask), dt_amx_floats(high, c, type, mask)));
                }
            }
        }
    }
}

static DT_AMX_CODE void make_x(const gradient *b, const gradient_item *a, int64_t first, char *to)
{
    switch (b->node->in[0]->type) {
    case DT_U8: pair_x(b, a, first, to, DT_U8); break;
    case DT_I8: pair_x(b, a, first, to, DT_I8); break;
    default: pair_x(b, a, first, to, DT_F32); break;
    }
}

/* The words of two neighbouring images at 16 filters; of one, if the other is not there */
DT_AMX_INLINE __m512i dy_words(const char *low, const char *high, int64_t k, dt_dtype type, __mmask16 mask)
{
    if (type == DT_F32) {
        return dt_words_of_pairs(dt_amx_floats(low, k, DT_F32, mask),
                                 high ? dt_amx_floats(high, k, DT_F32, mask) : _mm512_setzero_ps());
    }
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)low + k));
    if (!high) return bits;
    const __m512i more = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)high + k));
    return _mm512_or_si512(bits, _mm512_slli_epi32(more, 16));
}

/* 32 positions from i on, of row p, and 16 filters from k on: [k][position] */
DT_AMX_INLINE void turn_dy_tile(const gradient *b, const gradient_item *a, int64_t first, int64_t p, int64_t i,
                                int64_t k, char *to, dt_dtype type)
{
    const dt_conv_shape *s = &b->s;
    const int64_t value = (int64_t)dt_type_bytes(type), image = s->P * s->Q * s->K * value;
    const char *row = (const char *)b->node->out->grad + first * image + (p * s->Q * s->K + a->k) * value;
    const __mmask16 mask = dt_amx_mask16(a->filters - k);
    int64_t q = i / b->images, g = i % b->images;
    __m512i word[DT_AMX_LANES];

    for (int j = 0; j < DT_AMX_LANES; j++) {
        const char *low = row + g * image + q * s->K * value;
        const int is_there = q < s->Q && first + g < s->N;
        const char *high = first + g + 1 < s->N ? low + image : NULL;
        word[j] = is_there ? dy_words(low, high, k, type, mask) : _mm512_setzero_si512();
        g += 2;
        if (g == b->images) {
            g = 0;
            q++;
        }
    }
    dt_words_transpose(word);
    for (int f = 0; f < DT_AMX_LANES; f++) _mm512_store_si512(to + f * DT_AMX_ROW_BYTES, word[f]);
}

DT_AMX_INLINE void turn_dy(const gradient *b, const gradient_item *a, int64_t first, char *to, dt_dtype type)
{
    for (int64_t p = 0; p < b->s.P; p++) {
        for (int64_t i = 0; i < b->steps; i++) {
            for (int64_t k = 0; k < a->filters; k += DT_AMX_LANES) {
                turn_dy_tile(b, a, first, p, 32 * i, k,
                             to + k / 32 * b->dy_panel + (p * b->steps + i) * STEP_BYTES + k % 32 / 16 * DT_AMX_BYTES,
                             type);
            }
        }
    }
}

static DT_AMX_CODE void make_dy(const gradient *b, const gradient_item *a, int64_t first, char *to)
{
    if (b->node->out->grad_type == DT_BF16)
        turn_dy(b, a, first, to, DT_BF16);
    else
        turn_dy(b, a, first, to, DT_F32);
}

/* The pixels of the next chunk, which are fetched into the cache while this one is multiplied, some with each row
 * of each tap: of many at a time, the CPU drops the requests, or waits for them. */
typedef struct {
    const char *at;
    int64_t left, pixel_bytes, bytes; /* pixels; from pixel to pixel; of one that the item reads */
    int64_t pixels;                   /* with each row of a tap */
} pixels_ahead;

static pixels_ahead pixels_ahead_of(const gradient *b, const gradient_item *a, int64_t chunk, int is_x)
{
    const dt_conv_shape *s = &b->s;
    const dt_tensor *x = b->node->in[0], *y = b->node->out;
    const int64_t value = (int64_t)dt_type_bytes(is_x ? x->type : y->grad_type), first = chunk * b->images;
    const int64_t image = is_x ? s->H * s->W : s->P * s->Q;
    const int64_t rows = s->P * s->R * s->S * (b->filters / 32) * (b->channels / 32);
    const int64_t n = chunk < a->end ? dt_amx_least(b->images, s->N - first) * image : 0;
    const int64_t pixel_bytes = (is_x ? s->C : s->K) * value;
    const char *from = is_x ? (const char *)x->data + a->c * value : (const char *)y->grad + a->k * value;

    return (pixels_ahead){ from + first * image * pixel_bytes, n, pixel_bytes,
                           (is_x ? a->channels : a->filters) * value, dt_amx_ceiling(n, rows) };
}

static inline void fetch_pixels(pixels_ahead *ahead)
{
    const int64_t n = dt_amx_least(ahead->pixels, ahead->left);

    for (int64_t i = 0; i < n; i++, ahead->at += ahead->pixel_bytes) {
        for (int64_t byte = 0; byte < ahead->bytes; byte += 64) __builtin_prefetch(ahead->at + byte, 0, 2);
    }
    ahead->left -= n;
}

/* Adds the products of n steps of a row of dy and of one of x. */
DT_AMX_INLINE void row_products(const char *dy, const char *x, int64_t n, int is_wide)
{
    for (int64_t i = 0; i < n; i++, dy += STEP_BYTES, x += DT_AMX_ROWS * PAIR_BYTES) {
        DT_AMX_LOAD(4, dy, DT_AMX_ROW_BYTES);
        DT_AMX_LOAD(6, x, PAIR_BYTES);
        DT_AMX_BF16(0, 4, 6);
        DT_AMX_LOAD(5, dy + DT_AMX_BYTES, DT_AMX_ROW_BYTES);
        DT_AMX_BF16(2, 5, 6);
        if (is_wide) {
            DT_AMX_LOAD(7, x + DT_AMX_ROW_BYTES, PAIR_BYTES);
            DT_AMX_BF16(1, 4, 7);
            DT_AMX_BF16(3, 5, 7);
        }
    }
}

/* Adds a chunk's products to the sums of 32 filters, 32 channels and one tap; `starts`: they begin at 0. */
DT_AMX_INLINE void tap_sums(const gradient *b, const char *dy, const char *x, int64_t tap, float *sums, int starts,
                            pixels_ahead *ahead, int is_wide)
{
    const dt_conv_shape *sh = &b->s;
    const int64_t r = tap / sh->S, s = tap % sh->S, out = sh->pad[1] - s;
    /* steps of a row of dy whose 32 positions have some that the tap finds inside of the map */
    const int64_t begin = out > 0 ? dt_amx_ceiling(out, sh->stride[1]) * b->images / 32 : 0;
    const int64_t inside = sh->W + out > 0 ? dt_amx_ceiling(sh->W + out, sh->stride[1]) : 0; /* columns of dy */
    const int64_t end = dt_amx_least(b->steps, dt_amx_ceiling(inside * b->images, 32));

    dy += begin * STEP_BYTES;
    x += (pairs_at(b, 0, s) + begin * DT_AMX_ROWS) * PAIR_BYTES;
    dt_amx_begin_sums(sums, starts);
    for (int64_t p = 0; p < sh->P; p++) {
        const int64_t h = p * sh->stride[0] + r - sh->pad[0];
        if (h < 0 || h >= sh->H) continue;
        fetch_pixels(&ahead[0]);
        fetch_pixels(&ahead[1]);
        row_products(dy + p * b->steps * STEP_BYTES, x + pairs_at(b, h, 0) * PAIR_BYTES, end - begin, is_wide);
    }
    DT_AMX_STORE(0, sums, DT_AMX_ROW_BYTES);
    DT_AMX_STORE(1, sums + DT_AMX_WORDS, DT_AMX_ROW_BYTES);
    DT_AMX_STORE(2, sums + 2 * DT_AMX_WORDS, DT_AMX_ROW_BYTES);
    DT_AMX_STORE(3, sums + 3 * DT_AMX_WORDS, DT_AMX_ROW_BYTES);
}

static DT_AMX_CODE void chunk_sums(const gradient *b, const gradient_item *a, int64_t chunk, const gradient_room *room)
{
    const int64_t taps = b->s.R * b->s.S;
    const int starts = chunk == a->chunk;
    pixels_ahead ahead[2] = { pixels_ahead_of(b, a, chunk + 1, 0), pixels_ahead_of(b, a, chunk + 1, 1) };
    float *sums = room->sums;

    for (int64_t k = 0; k < b->filters; k += 32) {
        for (int64_t c = 0; c < b->channels; c += 32) {
            for (int64_t tap = 0; tap < taps; tap++, sums += SUM_FLOATS) {
                if (k >= a->filters || c >= a->channels) continue;
                if (a->channels - c > DT_AMX_LANES)
                    tap_sums(b, room->dy + k / 32 * b->dy_panel, room->x + c / 32 * b->x_panel, tap, sums, starts,
                             ahead, 1);
                else
                    tap_sums(b, room->dy + k / 32 * b->dy_panel, room->x + c / 32 * b->x_panel, tap, sums, starts,
                             ahead, 0);
            }
        }
    }
}

/* 16 channels of dw of one filter and tap; to: the filter's first */
DT_AMX_INLINE void put_sums(const float *sum, int64_t n, float scale, int add, float *to)
{
    const __mmask16 mask = dt_amx_mask16(n);
    const __m512 value = _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_load_ps(sum));

    _mm512_mask_storeu_ps(to, mask, add ? _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), value) : value);
}

/* An item's sums to dw, or to a part, [K][taps][C]. */
static DT_AMX_CODE void put_item(const gradient *b, const gradient_item *a, const float *sums, float scale, int add,
                                 float *dw)
{
    const int64_t taps = b->s.R * b->s.S, across = b->channels / 32;

    for (int64_t k = 0; k < a->filters; k++) {
        for (int64_t tap = 0; tap < taps; tap++) {
            float *to = dw + ((a->k + k) * taps + tap) * b->s.C + a->c;
            for (int64_t c = 0; c < a->channels; c += DT_AMX_LANES) {
                const float *block = sums + ((k / 32 * across + c / 32) * taps + tap) * SUM_FLOATS;
                const int64_t tile = k % 32 / 16 * 2 + c % 32 / 16;
                put_sums(block + tile * DT_AMX_WORDS + k % 16 * DT_AMX_LANES, a->channels - c, scale, add, to + c);
            }
        }
    }
}

static float gradient_scale(const dt_tensor *x)
{
    return x->n_scale ? x->scale[0] : 1.0f;
}

static void run_gradient_item(const gradient *b, int64_t item, float *parts, const gradient_room *room)
{
    const gradient_item a = gradient_item_of(b, item);
    const dt_node *node = b->node;

    for (int64_t chunk = a.chunk; chunk < a.end; chunk++) {
        make_x(b, &a, chunk * b->images, room->x);
        make_dy(b, &a, chunk * b->images, room->dy);
        chunk_sums(b, &a, chunk, room);
    }
    if (b->n_parts == 1)
        put_item(b, &a, room->sums, gradient_scale(node->in[0]), !(node->fresh & 2u), dt_grads(node->in[1]));
    else
        put_item(b, &a, room->sums, 1.0f, 0, parts + item % b->n_parts * b->s.K * b->s.terms);
}

static DT_AMX_CODE void add_gradient_parts(const gradient *b, const float *parts, int threads)
{
    const int64_t count = b->s.K * b->s.terms;
    const float scale = gradient_scale(b->node->in[0]);
    const int add = !(b->node->fresh & 2u);
    float *dw = dt_grads(b->node->in[1]);
    (void)threads; /* of OpenMP, which may be missing */

#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i += DT_AMX_LANES) {
        const __mmask16 mask = dt_amx_mask16(count - i);
        __m512 sum = _mm512_maskz_loadu_ps(mask, parts + i);
        for (int64_t p = 1; p < b->n_parts; p++) {
            sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, parts + p * count + i));
        }
        sum = _mm512_mul_ps(_mm512_set1_ps(scale), sum);
        if (add) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, dw + i), sum);
        _mm512_mask_storeu_ps(dw + i, mask, sum);
    }
}

DT_AMX_CODE void dt_amx_backward_w(const dt_node *node, const dt_exec *ex, int threads)
{
    const gradient b = gradient_of(node);
    float *parts = ex->scratch;
    char *rooms = (char *)ex->scratch + gradient_parts_bytes(&b);
    assert(node->in[1]->grad_type == DT_F32);

#pragma omp parallel num_threads(threads)
    {
        char *at = rooms + (size_t)dt_thread_number() * b.room_bytes;
        const gradient_room room = { at, at + b.x_bytes, (float *)(void *)(at + b.x_bytes + b.dy_bytes) };
        memset(room.x, 0, b.x_bytes);
        dt_amx_take();
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < b.n_filter_blocks * b.n_channel_blocks * b.n_parts; item++)
            run_gradient_item(&b, item, parts, &room);
        dt_amx_release();
    }
    if (b.n_parts > 1) add_gradient_parts(&b, parts, threads);
}

#endif /* else amx_conv.c */
