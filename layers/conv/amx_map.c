/*
 * amx_map.c - see amx_map.h.
 *
 * A thread takes a group of images and some of the panels: it copies the images side by side, with padding, into its
 * room, and multiplies 32 positions by 32 results at a time. Their four tiles of sums stay in registers over the whole
 * window. A panel's filters are read in the order in which they lie.  Tests: tests/layers/test_amx.c.
 */
#include "amx_map.h"

#if defined(__x86_64__)

#include "../../core/align.h"
#include "../../core/threads.h"
#include "amx_lanes.h"

#include <string.h>

enum {
    NARROW = 4,             /* columns of a map whose taps outside are left out */
    NARROW_POSITIONS = 128, /* images times columns of one */
    MAP_BYTES = 512 << 10,  /* of a thread's map, where more than one image is a choice; a core has a cache of 2 MB */
    MOST_BYTES = 2 << 20,   /* of a narrow one */
    ITEMS = 32,             /* to share among threads */
    JOINED_BYTES = 32,      /* the most that a pixel has if taps are joined */
    WELL_FILLED = 75,       /* percent of the rows of tiles */
    SLACK = 32,             /* pixels behind the last, which the last tile may read */
    SUMS = 4 * DT_AMX_WORDS
};

static int64_t value_bytes(const dt_amx_map *m)
{
    return m->kind == DT_AMX_HALF ? 2 : 1;
}

static int64_t plane_bytes(const dt_amx_map *m, int64_t images)
{
    return dt_amx_ceiling((m->H * m->stride[1] * m->columns * images + SLACK) * m->pitch + 64 * m->steps, 64) * 64;
}

static int64_t bytes_of_map(const dt_amx_map *m, int64_t images)
{
    return m->parts * plane_bytes(m, images);
}

/* Blocks of 32 positions of a group. */
static int64_t blocks_of(const dt_amx_map *m)
{
    return m->P * dt_amx_ceiling(m->Q * m->images, 32);
}

/* The rows of tiles that as many images fill, in percent. */
static int64_t fill_of(const dt_amx_map *m, int64_t images)
{
    return 100 * m->Q * images / (dt_amx_ceiling(m->Q * images, 32) * 32);
}

/* Images side by side, of a batch of any size: as few as fill the tiles best. */
static int64_t images_of(const dt_amx_map *m)
{
    int64_t best = 1, best_positions = 0, best_rows = 1;

    if (m->across < m->S) return 1;
    if (m->Q <= NARROW && bytes_of_map(m, NARROW_POSITIONS / m->Q) <= MOST_BYTES)
        return NARROW_POSITIONS / m->Q / 32 * 32;
    for (int64_t images = 1; images <= 32; images++) {
        const int64_t positions = m->Q * images, rows = dt_amx_ceiling(positions, 32) * 32;
        if (images > 1 && bytes_of_map(m, images) > MAP_BYTES) break;
        if (positions * best_rows > best_positions * rows) {
            best = images;
            best_positions = positions;
            best_rows = rows;
        }
    }
    return best;
}

/* Cuts the channels into slabs of whole steps, and decides how many images stand side by side. The batch has no part in
 * it: in another order of slabs, sums of bf16 would have other bits. */
static void plan_slabs(dt_amx_map *m, int64_t n_slabs, int is_joined)
{
    const int64_t step = DT_AMX_ROW_BYTES / value_bytes(m);

    m->slab = n_slabs == 1 ? m->channels : dt_amx_ceiling(dt_amx_ceiling(m->channels, n_slabs), step) * step;
    m->n_slabs = dt_amx_ceiling(m->channels, m->slab);
    m->tap = is_joined ? m->S * m->channels : m->slab;
    m->steps = dt_amx_ceiling(m->tap, step);
    m->pitch = is_joined ? m->channels * value_bytes(m) : dt_amx_pitch(m->steps * DT_AMX_ROW_BYTES);
    m->images = images_of(m);
}

void dt_amx_map_plan(dt_amx_map *m)
{
    const int is_joined =
        m->Q >= DT_AMX_ROWS && m->S > 1 && m->stride[1] == 1 && m->channels * value_bytes(m) <= JOINED_BYTES;

    m->across = is_joined ? 1 : m->S;
    m->columns = m->Q + (m->S - 1) / m->stride[1];
    plan_slabs(m, 1, is_joined);
    for (int64_t slabs = 2; !is_joined && m->steps > 1 && fill_of(m, m->images) < WELL_FILLED; slabs++)
        plan_slabs(m, slabs, 0);
    m->images = dt_amx_least(m->N, m->images);
    m->plane = plane_bytes(m, m->images);
    m->n_groups = dt_amx_ceiling(m->N, m->images);
    m->n_panels = dt_amx_ceiling(m->n, DT_AMX_PANEL);
    m->splits = dt_amx_least(m->n_panels, dt_amx_ceiling(ITEMS / 2, m->n_groups));
    m->run = dt_amx_ceiling(m->n_groups * m->splits, ITEMS);
    m->filters_bytes = (size_t)(m->n_panels * dt_amx_panel_bytes(m));
    m->map_bytes = (size_t)(m->parts * m->plane);
    m->sums_bytes = m->n_slabs == 1 ? 0 : (size_t)(m->n_panels * blocks_of(m)) * SUMS * sizeof(float);
    m->room_bytes =
        m->map_bytes + m->sums_bytes + dt_round_up((size_t)(m->Q * m->images) * sizeof(int64_t), DT_CACHE_LINE);
}

/* The values of a pixel of f32 as parts, `plane` bytes apart. */
DT_AMX_INLINE void copy_parts(char *to, const char *from, int64_t n, int64_t parts, int64_t plane)
{
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 mask = dt_amx_mask16(n - i);
        __m512 value = dt_amx_floats(from, i, DT_F32, mask);
        for (int64_t part = 0; part < parts; part++, value = dt_amx_rest(value)) {
            _mm256_mask_storeu_epi16(to + part * plane + 2 * i, mask,
                                     (__m256i)_mm512_cvtneps_pbh(dt_amx_holdable(value)));
        }
    }
}

/* The values of a pixel; type and kind are constants where this is inlined. */
DT_AMX_INLINE void copy_pixel(char *to, const char *from, int64_t n, dt_dtype type, int is_half)
{
    if (type == DT_BF16) {
        for (int64_t i = 0; i < n; i += 32) {
            const __mmask32 mask = dt_amx_mask32(n - i);
            _mm512_mask_storeu_epi16(to + 2 * i, mask, _mm512_maskz_loadu_epi16(mask, from + 2 * i));
        }
    } else if (is_half) {
        for (int64_t i = 0; i < n; i += 16) {
            const __mmask16 mask = dt_amx_mask16(n - i);
            _mm256_mask_storeu_epi16(to + 2 * i, mask, (__m256i)_mm512_cvtneps_pbh(dt_amx_floats(from, i, type, mask)));
        }
    } else if (type == DT_F32) {
        for (int64_t i = 0; i < n; i += 16) {
            const __mmask16 mask = dt_amx_mask16(n - i);
            const __m512i code = _mm512_cvtps_epi32(dt_amx_floats(from, i, type, mask));
            _mm_mask_storeu_epi8(to + i, mask, _mm512_cvtepi32_epi8(code));
        }
    } else {
        for (int64_t i = 0; i < n; i += 64) {
            const __mmask64 mask = dt_amx_mask64(n - i);
            _mm512_mask_storeu_epi8(to + i, mask, _mm512_maskz_loadu_epi8(mask, from + i));
        }
    }
}

/* Where a column stands in a row of the map, counted from the first of zeros; -1 if no result reads it. */
static inline int64_t column_of(const dt_amx_map *m, int64_t column)
{
    if (column < 0 || column / m->stride[1] >= m->columns) return -1;
    return column % m->stride[1] * m->columns + column / m->stride[1];
}

DT_AMX_INLINE void copy_typed(const dt_amx_map *m, const char *from, int64_t first, int64_t channel, char *map,
                              dt_dtype type, int is_half)
{
    const int64_t images = dt_amx_least(m->images, m->N - first), value = (int64_t)dt_type_bytes(type);
    const int64_t bytes = m->channels * value, n = dt_amx_least(m->slab, m->channels - channel);

    for (int64_t h = 0; h < m->H; h++) {
        for (int64_t w = 0; w < m->W; w++) {
            const char *pixel = from + ((first * m->H + h) * m->W + w) * bytes + channel * value;
            const int64_t column = column_of(m, m->before + w);
            char *to = map + (h * m->stride[1] * m->columns + column) * m->images * m->pitch;
            if (column < 0) continue;
            for (int64_t g = 0; g < images; g++, pixel += m->H * m->W * bytes, to += m->pitch) {
                if (type == DT_F32 && is_half && m->parts > 1)
                    copy_parts(to, pixel, n, m->parts, m->plane);
                else
                    copy_pixel(to, pixel, n, type, is_half);
            }
        }
    }
}

/* Images first .. first + images - 1, side by side: a slab from a channel on. What is around them has been cleared. */
static DT_AMX_CODE void copy_images(const dt_amx_map *m, const dt_amx_product *p, int64_t first, int64_t channel,
                                    char *map)
{
    if (p->type == DT_BF16)
        copy_typed(m, p->from, first, channel, map, DT_BF16, 1);
    else if (m->kind == DT_AMX_HALF)
        copy_typed(m, p->from, first, channel, map, DT_F32, 1);
    else if (p->type == DT_F32)
        copy_typed(m, p->from, first, channel, map, DT_F32, 0);
    else
        copy_typed(m, p->from, first, channel, map, DT_U8, 0);
}

/* What of a group's positions from the room's result on: the first row's, or -1 where there is no image. */
static void place_positions(const dt_amx_map *m, int64_t first, int64_t *place)
{
    for (int64_t q = 0; q < m->Q; q++) {
        for (int64_t g = 0; g < m->images; g++) {
            place[q * m->images + g] =
                first + g < m->N ? (first + g) * m->whole[0] * m->whole[1] + q * m->every[1] + m->from[1] : -1;
        }
    }
}

typedef struct {
    int64_t panel, slab;
} panel_slab;

/* Images that are fetched into the cache while others are multiplied, some lines with each block. */
typedef struct {
    const char *at, *end;
    int64_t lines;
} images_ahead;

static images_ahead ahead_of(const dt_amx_map *m, const dt_amx_product *p, int64_t first)
{
    const int64_t image = m->H * m->W * m->channels * (int64_t)dt_type_bytes(p->type);
    const int64_t images = dt_amx_least(m->images, m->N - first);
    const int64_t blocks = m->n_slabs * blocks_of(m) * dt_amx_ceiling(m->n_panels, m->splits);
    const char *at = (const char *)p->from + first * image;

    if (images <= 0) return (images_ahead){ NULL, NULL, 0 };
    return (images_ahead){ at, at + images * image, dt_amx_ceiling(dt_amx_ceiling(images * image, 64), blocks) };
}

static inline void fetch(images_ahead *ahead)
{
    for (int64_t i = 0; i < ahead->lines && ahead->at < ahead->end; i++, ahead->at += 64) {
        __builtin_prefetch(ahead->at, 0, 2);
    }
}

#define DOT(c, a, b)                                   \
    do {                                               \
        if (kind == DT_AMX_U8) DT_AMX_U8S8(c, a, b);   \
        if (kind == DT_AMX_S8) DT_AMX_S8S8(c, a, b);   \
        if (kind == DT_AMX_HALF) DT_AMX_BF16(c, a, b); \
    } while (0)

/* Adds one tap's products of a part with a part; a: its map's values of the first position, b: its filters. */
DT_AMX_INLINE void part_products(const dt_amx_map *m, const char *a, const char *b, dt_amx_kind kind, int is_wide)
{
    for (int64_t step = 0; step < m->steps; step++, a += DT_AMX_ROW_BYTES, b += DT_AMX_PANEL_STEP) {
        DT_AMX_LOAD(4, a, m->pitch);
        DT_AMX_LOAD(6, b, DT_AMX_ROW_BYTES);
        DOT(0, 4, 6);
        DT_AMX_LOAD(5, a + DT_AMX_ROWS * m->pitch, m->pitch);
        DOT(2, 5, 6);
        if (is_wide) {
            DT_AMX_LOAD(7, b + DT_AMX_BYTES, DT_AMX_ROW_BYTES);
            DOT(1, 4, 7);
            DOT(3, 5, 7);
        }
    }
}

/* Adds one tap; a value's parts and a filter's are multiplied where the product is not below the last part. */
DT_AMX_INLINE void tap_products(const dt_amx_map *m, const char *a, const char *b, dt_amx_kind kind, int is_wide)
{
    if (kind != DT_AMX_HALF || m->parts == 1) {
        part_products(m, a, b, kind, is_wide);
        return;
    }
    for (int64_t i = 0; i < m->parts; i++) {
        for (int64_t j = 0; i + j < m->parts; j++)
            part_products(m, a + i * m->plane, b + j * m->steps * DT_AMX_PANEL_STEP, kind, is_wide);
    }
}

/* Adds the products of positions i .. i + 31 of row p and of a slab of a panel; `starts`: to 0. */
DT_AMX_INLINE void block_products(const dt_amx_map *m, const char *map, const char *panel, int64_t p, int64_t i,
                                  float *sums, int starts, dt_amx_kind kind, int is_wide)
{
    const int64_t first = i / m->images * m->stride[1] - m->before,
                  last = (i + 31) / m->images * m->stride[1] - m->before;

    dt_amx_begin_sums(sums, starts);
    for (int64_t r = 0; r < m->R; r++) {
        const int64_t h = p * m->stride[0] + r - m->above;
        if (h < 0 || h >= m->H) continue;
        int64_t column = h * m->stride[1] * m->columns, phase = 0; /* the tap's, which are not divided for */
        for (int64_t s = 0; s < m->across; s++) {
            if (m->across < m->S || (last + s >= 0 && first + s < m->W))
                tap_products(m, map + (column * m->images + i) * m->pitch,
                             panel + (r * m->across + s) * dt_amx_tap_bytes(m), kind, is_wide);
            column += m->columns;
            if (++phase < m->stride[1]) continue;
            phase = 0;
            column += 1 - m->stride[1] * m->columns;
        }
    }
    DT_AMX_STORE(0, sums, DT_AMX_ROW_BYTES);
    DT_AMX_STORE(2, sums + 2 * DT_AMX_WORDS, DT_AMX_ROW_BYTES);
    if (!is_wide) return;
    DT_AMX_STORE(1, sums + DT_AMX_WORDS, DT_AMX_ROW_BYTES);
    DT_AMX_STORE(3, sums + 3 * DT_AMX_WORDS, DT_AMX_ROW_BYTES);
}

/* Up to 16 results of a position. Psums go past the caches, which those of a layer would only sweep. */
DT_AMX_INLINE void put(const dt_amx_product *p, int64_t at, const float *sum, int64_t n, dt_amx_kind kind, int is_half)
{
    const __mmask16 mask = dt_amx_mask16(n);

    if (kind != DT_AMX_HALF) {
        const __m512 psum = _mm512_cvtepi32_ps(_mm512_load_si512(sum));
        float *to = (float *)p->to + at;
        if (((uintptr_t)to & 63) == 0 && n >= 16)
            _mm512_stream_ps(to, psum);
        else
            _mm512_mask_storeu_ps(to, mask, psum);
        return;
    }
    const __m512 value = _mm512_mul_ps(_mm512_set1_ps(p->scale), _mm512_load_ps(sum));
    if (is_half) {
        _mm256_mask_storeu_epi16((uint16_t *)p->to + at, mask, (__m256i)_mm512_cvtneps_pbh(value));
    } else {
        float *to = (float *)p->to + at;
        const __m512 before = p->add ? _mm512_maskz_loadu_ps(mask, to) : _mm512_setzero_ps();
        _mm512_mask_storeu_ps(to, mask, p->add ? _mm512_add_ps(before, value) : value);
    }
}

/* The results of a block; place: of its positions, from the row's first on. */
DT_AMX_INLINE void put_block(const dt_amx_map *m, const dt_amx_product *p, const int64_t *place, int64_t positions,
                             int64_t row, int64_t first, const float *sums, dt_amx_kind kind, int is_half)
{
    const int64_t n = m->n - first;

    for (int64_t i = 0; i < positions; i++) {
        const float *sum = sums + i / DT_AMX_ROWS * 2 * DT_AMX_WORDS + i % DT_AMX_ROWS * DT_AMX_LANES;
        if (place[i] < 0) continue;
        const int64_t at = (place[i] + (row * m->every[0] + m->from[0]) * m->whole[1]) * m->n + first;
        put(p, at, sum, n, kind, is_half);
        if (n > DT_AMX_LANES) put(p, at + DT_AMX_LANES, sum + DT_AMX_WORDS, n - DT_AMX_LANES, kind, is_half);
    }
}

/* A slab of a panel; with the last one its results are complete. */
DT_AMX_INLINE void panel_typed(const dt_amx_map *m, const dt_amx_product *p, const panel_slab *at, char *map,
                               images_ahead *ahead, dt_amx_kind kind, int is_half)
{
    const int64_t *place = (const int64_t *)(const void *)(map + m->map_bytes + m->sums_bytes);
    const char *filters = p->filters + (at->panel * m->n_slabs + at->slab) * (dt_amx_panel_bytes(m) / m->n_slabs);
    const int64_t first = at->panel * DT_AMX_PANEL, count = m->Q * m->images;
    float here[SUMS] __attribute__((aligned(64)));
    float *sums = m->n_slabs == 1 ? here : (float *)(void *)(map + m->map_bytes) + at->panel * blocks_of(m) * SUMS;

    for (int64_t row = 0; row < m->P; row++) {
        for (int64_t i = 0; i < count; i += 32) {
            fetch(ahead);
            if (m->n - first > DT_AMX_LANES)
                block_products(m, map, filters, row, i, sums, at->slab == 0, kind, 1);
            else
                block_products(m, map, filters, row, i, sums, at->slab == 0, kind, 0);
            if (at->slab == m->n_slabs - 1)
                put_block(m, p, place + i, dt_amx_least(32, count - i), row, first, sums, kind, is_half);
            if (m->n_slabs > 1) sums += SUMS;
        }
    }
}

static DT_AMX_CODE void run_panel(const dt_amx_map *m, const dt_amx_product *p, const panel_slab *at, char *map,
                                  images_ahead *ahead)
{
    switch (m->kind) {
    case DT_AMX_U8: panel_typed(m, p, at, map, ahead, DT_AMX_U8, 0); break;
    case DT_AMX_S8: panel_typed(m, p, at, map, ahead, DT_AMX_S8, 0); break;
    default:
        if (p->to_type == DT_BF16)
            panel_typed(m, p, at, map, ahead, DT_AMX_HALF, 1);
        else
            panel_typed(m, p, at, map, ahead, DT_AMX_HALF, 0);
    }
}

/* A split of the panels of a run of groups. */
static DT_AMX_CODE void run_item(const dt_amx_map *m, const dt_amx_product *p, int64_t item, char *map)
{
    const int64_t run = item / m->splits * m->run, end = dt_amx_least(run + m->run, m->n_groups);

    for (int64_t group = run; group < end; group++) {
        const int64_t first = group * m->images;
        images_ahead ahead = ahead_of(m, p, group + 1 < end ? first + m->images : m->N);
        place_positions(m, first, (int64_t *)(void *)(map + m->map_bytes + m->sums_bytes));
        for (int64_t slab = 0; slab < m->n_slabs; slab++) {
            copy_images(m, p, first, slab * m->slab, map);
            for (int64_t panel = item % m->splits; panel < m->n_panels; panel += m->splits) {
                run_panel(m, p, &(panel_slab){ panel, slab }, map, &ahead);
            }
        }
    }
    _mm_sfence(); /* the stores past the caches are ordered by nothing else */
}

DT_AMX_CODE void dt_amx_map_run(const dt_amx_map *m, const dt_amx_product *p, char *rooms, int threads)
{
    (void)threads; /* of OpenMP, which may be missing */

#pragma omp parallel num_threads(threads)
    {
        char *map = rooms + (size_t)dt_thread_number() * m->room_bytes;
        memset(map, 0, m->map_bytes);
        dt_amx_take();
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < dt_amx_ceiling(m->n_groups, m->run) * m->splits; item++)
            run_item(m, p, item, map);
        dt_amx_release();
    }
}

#endif
