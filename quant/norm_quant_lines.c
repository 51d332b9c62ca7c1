/*
 * norm_quant_lines.c - see norm_quant_lines.h.
 *
 * A window is taken LANES channels at a time, in loops over channels that vectorise: rule and window are constants in
 * them, and conversions from and to narrow types are loops of their own over arrays in L1. To compute a value again
 * costs less than to store it: the passes read x and dy, and write y or dx, and nothing else.
 */
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("prefer-vector-width=512") /* half as many instructions; they are the limit where x is in cache */
#endif

#include "norm_quant_lines.h"

#include "../core/half.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline)) /* so that what callers pass as constants is one */

enum { LANES = DT_NQ_LANES, NO_RULE = -1, CACHE_LINE = 64, AHEAD = 2048 /* elements */, ROWS = 4 };

/* What a loop is made for: constants, but in the one loop for whatever has none of its own. */
typedef struct {
    int pool;
    int rule;       /* a dt_quant_rule, or NO_RULE: there is no quantizer */
    int is_plain;   /* codes from 0 on */
    int is_limited; /* the ReLU has an upper limit: a tenth slower, so that others have loops without */
} variant;

static int rule_of(const dt_nq_view *v)
{
    return v->has_quant ? (int)v->quant.rule : NO_RULE;
}

static int has_own_loop(const dt_nq_view *v)
{
    const int is_plain = !v->has_quant || (v->grid.low == 0 && !v->quant.unclamped);
    return is_plain && v->pool <= 2;
}

static variant any(const dt_nq_view *v)
{
    return (variant){ v->pool, rule_of(v), 0, 1 };
}

static int is_limited(const dt_nq_view *v)
{
    return !isnan(v->limits.high);
}

static int lanes_from(const dt_nq_view *v, int64_t c)
{
    return (int)(v->channels - c < LANES ? v->channels - c : LANES);
}

/* The quantizer with what the variant knows of it. */
typedef struct {
    dt_grid grid;
    float alpha;
    int unclamped;
} quantizer;

INLINE quantizer quantizer_of(const dt_nq_view *v, variant k)
{
    return (quantizer){ { k.is_plain ? 0 : v->grid.low, v->grid.high, v->grid.step_factor },
                        v->alpha,
                        k.is_plain ? 0 : v->quant.unclamped };
}

/* Windows side by side. */
typedef struct {
    const float *x; /* the first cell of the first of them, channel 0 */
    int64_t count;
} run;

/* The windows from first on: to the end of their row or, where nothing is pooled, to last. */
static run run_from(const dt_nq_view *v, int64_t first, int64_t last)
{
    if (v->pool == 1) return (run){ v->x + first * v->channels, last - first };
    const int64_t line = first / v->out_width;
    const int64_t row = line / v->out_height * v->height + line % v->out_height * v->pool;
    return (run){ v->x + row * v->width * v->channels, v->out_width };
}

/* Fetches what comes next: of a window, its neighbour in the row of windows below. Two rows of x side by side are more
 * than the hardware foresees: without this, windows of 2 run at a fifth of the speed. p is x or dx, of `bytes` an
 * element. */
INLINE void prefetch_ahead(const dt_nq_view *v, const void *p, int64_t at, int n, int pool, int bytes, int is_write)
{
    const int64_t row = v->width * v->channels, ahead = pool == 1 ? AHEAD : pool * row;

    for (int i = 0; i < pool; i++) {
        for (int j = 0; j < pool; j++) {
            const char *next = (const char *)p + (at + ahead + i * row + j * v->channels) * bytes;
            for (int c = 0; c < n * bytes; c += CACHE_LINE) {
                if (is_write)
                    __builtin_prefetch(next + c, 1);
                else
                    __builtin_prefetch(next + c, 0);
            }
        }
    }
}

typedef struct {
    float value, q;
} cell;

/* The first maximum of a window of one channel, whose first cell is *x. */
INLINE cell window_top(const float *x, int64_t right, int64_t down, int pool, float a, float b, float floor)
{
    cell top = { dt_norm_quant_bounded(*x, a, b, floor), *x };

    for (int k = 1; k < pool * pool; k++) {
        const float q = x[k / pool * down + k % pool * right], value = dt_norm_quant_bounded(q, a, b, floor);
        top.q = value > top.value ? q : top.q;
        top.value = value > top.value ? value : top.value;
    }
    return top;
}

INLINE void map_window(const dt_nq_view *v, const float *restrict x, int64_t c, int n, variant k, float *restrict y)
{
    const float *restrict a = v->a + c, *restrict b = v->b + c, *restrict scale = v->scale + c;
    const int64_t right = v->channels, down = v->width * v->channels;
    const quantizer to = quantizer_of(v, k);
    const dt_limits limits = v->limits;

    for (int i = 0; i < n; i++) {
        const float top = window_top(x + i, right, down, k.pool, a[i], b[i], limits.low).value;
        const float value = k.is_limited ? dt_limited(top, limits) : top;
        y[i] = k.rule == NO_RULE
                   ? value
                   : dt_act_code(scale[i] * value, to.alpha, &to.grid, to.unclamped, (dt_quant_rule)k.rule);
    }
}

/* Codes fit into their bytes; what a NaN becomes is nobody's: norm_quant.c makes the scale NaN then. */
INLINE void store_y(const dt_nq_view *v, int64_t at, const float *restrict y, int n)
{
    if (v->y_type == DT_U8) {
        uint8_t *restrict to = (uint8_t *)v->y + at;
        for (int i = 0; i < n; i++) to[i] = (uint8_t)(int32_t)y[i];
    } else if (v->y_type == DT_I8) {
        int8_t *restrict to = (int8_t *)v->y + at;
        for (int i = 0; i < n; i++) to[i] = (int8_t)(int32_t)y[i];
    } else {
        memcpy((float *)v->y + at, y, (size_t)n * sizeof *y);
    }
}

INLINE void map_part(const dt_nq_view *v, const float *x, int64_t at, int64_t c, int n, variant k)
{
    float y[LANES];

    prefetch_ahead(v, x, c, n, k.pool, 4, 0);
    map_window(v, x + c, c, n, k, y);
    store_y(v, at + c, y, n);
}

INLINE void map_runs(const dt_nq_view *v, int64_t first, int64_t last, variant k)
{
    while (first < last) {
        const run r = run_from(v, first, last);
        for (int64_t w = 0; w < r.count; w++) {
            const float *x = r.x + w * k.pool * v->channels;
            const int64_t at = (first + w) * v->channels;
            int64_t c = 0;
            for (; k.is_plain && c + LANES <= v->channels; c += LANES) map_part(v, x, at, c, LANES, k);
            for (; c < v->channels; c += LANES) map_part(v, x, at, c, lanes_from(v, c), k);
        }
        first += r.count;
    }
}

INLINE void map_rule(const dt_nq_view *v, int64_t first, int64_t last, int rule)
{
    const int limited = is_limited(v);

    if (v->pool == 1 && !limited)
        map_runs(v, first, last, (variant){ 1, rule, 1, 0 });
    else if (v->pool == 1)
        map_runs(v, first, last, (variant){ 1, rule, 1, 1 });
    else if (!limited)
        map_runs(v, first, last, (variant){ 2, rule, 1, 0 });
    else
        map_runs(v, first, last, (variant){ 2, rule, 1, 1 });
}

void dt_nq_map(const dt_nq_view *v, int64_t first, int64_t last)
{
    if (!has_own_loop(v))
        map_runs(v, first, last, any(v));
    else if (!v->has_quant)
        map_rule(v, first, last, NO_RULE);
    else if (v->quant.rule == DT_RULE_LSQ)
        map_rule(v, first, last, DT_RULE_LSQ);
    else
        map_rule(v, first, last, DT_RULE_ECE284); /* the clip rules differ in their gradients alone */
}

/* dy[at .. at + n) as floats */
INLINE void load_dy(const dt_nq_view *v, int64_t at, int n, float *restrict dy)
{
    if (v->dy_type == DT_F32) {
        memcpy(dy, (const float *)v->dy + at, (size_t)n * sizeof *dy);
    } else {
        const uint16_t *restrict half = (const uint16_t *)v->dy + at;
        for (int i = 0; i < n; i++) dy[i] = dt_from_bf16(half[i]);
    }
}

INLINE dt_grid_slope slope_of(const quantizer *to, float u, int rule)
{
    if (rule == NO_RULE) return (dt_grid_slope){ 1.0f, 0.0f };
    return dt_act_slope(u, to->alpha, &to->grid, to->unclamped, (dt_quant_rule)rule);
}

/* A window of backward, LANES channels of it. */
typedef struct {
    float top[LANES], q[LANES];             /* its first maximum, below no upper limit yet, and what x is there */
    float by_value[LANES], by_alpha[LANES]; /* the quantizer's slopes there */
    float dy[LANES];
    float dz[LANES]; /* of the maximum; the other cells have none */
} window;

/* Two loops: in one, gcc moves the comparisons through general registers, at half the speed. */
INLINE void window_open(const dt_nq_view *v, const float *restrict x, int64_t c, int n, variant k, window *restrict w)
{
    const float *restrict a = v->a + c, *restrict b = v->b + c, *restrict scale = v->scale + c;
    const int64_t right = v->channels, down = v->width * v->channels;
    const quantizer to = quantizer_of(v, k);
    const dt_limits limits = v->limits;

    for (int i = 0; i < n; i++) {
        const cell top = window_top(x + i, right, down, k.pool, a[i], b[i], limits.low);
        const float value = k.is_limited ? dt_limited(top.value, limits) : top.value;
        const dt_grid_slope slope = slope_of(&to, scale[i] * value, k.rule);
        w->top[i] = top.value;
        w->q[i] = top.q;
        w->by_value[i] = slope.value;
        w->by_alpha[i] = slope.alpha;
    }
    for (int i = 0; i < n; i++) {
        const float dv = w->by_value[i] * w->dy[i];
        const int passes = k.is_limited ? dt_limit_passes(w->top[i], limits) : w->top[i] > limits.low;
        w->dz[i] = passes ? dv : 0.0f;
    }
}

/* Scales the gradients of a window's values element by element. Few ask for it, so that this is a loop of its own. */
static __attribute__((noinline)) void scale_window(const dt_nq_view *v, int64_t c, int n, window *w)
{
    for (int i = 0; i < n; i++) {
        const float x = v->scale[c + i] * dt_limited(w->top[i], v->limits) / v->alpha;
        w->dz[i] *= dt_act_ewgs_factor(x, w->dy[i], &v->grid, v->quant.rule, v->ewgs);
    }
}

typedef void opener(const dt_nq_view *v, const float *x, int64_t c, int n, window *w);

/* A function for each variant, so that there is one of what calls them. */
#define OPENER(name, pool, rule, limited)                                              \
    static void name(const dt_nq_view *v, const float *x, int64_t c, int n, window *w) \
    {                                                                                  \
        if (n == LANES)                                                                \
            window_open(v, x, c, LANES, (variant){ pool, rule, 1, limited }, w);       \
        else                                                                           \
            window_open(v, x, c, n, (variant){ pool, rule, 1, limited }, w);           \
    }

/* name[pool - 1][limited] */
#define OPENERS(name, rule)              \
    OPENER(name##_1, 1, rule, 0)         \
    OPENER(name##_2, 2, rule, 0)         \
    OPENER(name##_1_limited, 1, rule, 1) \
    OPENER(name##_2_limited, 2, rule, 1) \
    static opener *const name[2][2] = { { name##_1, name##_1_limited }, { name##_2, name##_2_limited } };

OPENERS(open_real, NO_RULE)
OPENERS(open_ece284, DT_RULE_ECE284)
OPENERS(open_scream, DT_RULE_SCREAM)
OPENERS(open_pact, DT_RULE_PACT)
OPENERS(open_lsq, DT_RULE_LSQ)

static void open_any(const dt_nq_view *v, const float *x, int64_t c, int n, window *w)
{
    window_open(v, x, c, n, any(v), w);
}

static opener *opener_of(const dt_nq_view *v, int rule)
{
    const int two = v->pool == 2, limited = is_limited(v);

    if (!has_own_loop(v)) return open_any;
    switch (rule) {
    case NO_RULE: return open_real[two][limited];
    case DT_RULE_ECE284: return open_ece284[two][limited];
    case DT_RULE_PACT: return open_pact[two][limited];
    case DT_RULE_LSQ: return open_lsq[two][limited];
    default: return open_scream[two][limited]; /* of activations, APoT is the same */
    }
}

INLINE void add_terms(const window *restrict w, int64_t c, int n, dt_nq_sums sums)
{
    double *restrict dz = sums.dz + c, *restrict dzq = sums.dzq + c, *restrict dalpha = sums.dalpha;

    for (int i = 0; i < n; i++) {
        dz[i] += (double)w->dz[i];
        dzq[i] += (double)w->dz[i] * (double)w->q[i];
        dalpha[i] += (double)(w->by_alpha[i] * w->dy[i]);
    }
}

INLINE void sum_part(const dt_nq_view *v, opener *open, const float *x, int64_t at, int64_t c, int n, dt_nq_sums sums)
{
    window w;

    prefetch_ahead(v, x, c, n, v->pool, 4, 0);
    load_dy(v, at + c, n, w.dy);
    open(v, x + c, c, n, &w);
    if (v->ewgs > 0.0f) scale_window(v, c, n, &w);
    add_terms(&w, c, n, sums);
}

void dt_nq_add_sums(const dt_nq_view *v, int64_t first, int64_t last, dt_nq_sums sums)
{
    opener *open = opener_of(v, rule_of(v));

    while (first < last) {
        const run r = run_from(v, first, last);
        for (int64_t w = 0; w < r.count; w++) {
            const float *x = r.x + w * v->pool * v->channels;
            const int64_t at = (first + w) * v->channels;
            int64_t c = 0;
            for (; c + LANES <= v->channels; c += LANES) sum_part(v, open, x, at, c, LANES, sums);
            if (c < v->channels) sum_part(v, open, x, at, c, (int)(v->channels - c), sums);
        }
        first += r.count;
    }
}

/* dx of the `cells` cells from q on in a row of the window; dx: [cells][LANES]. Where a cell is the maximum it takes
 * the window's gradient, and leaves nothing for later cells. */
INLINE void cell_slopes(const dt_nq_view *v, const float *restrict q, int64_t c, int n, int pool, int cells,
                        window *restrict w, float *restrict dx)
{
    const float *restrict a = v->a + c, *restrict b = v->b + c, *restrict dx_a = v->dx_a + c,
                          *restrict mean_dy = v->mean_dy + c, *restrict centre = v->centre + c,
                          *restrict slope = v->slope + c;
    const int64_t right = v->channels;
    const float floor = v->limits.low;

    for (int i = 0; i < n; i++) {
        float left = w->dz[i];
        for (int j = 0; j < cells; j++) {
            const float x = q[j * right + i];
            const float dz = pool == 1 || dt_norm_quant_bounded(x, a[i], b[i], floor) == w->top[i] ? left : 0.0f;
            left -= dz;
            dx[j * LANES + i] =
                dt_norm_quant_dx(x, 1.0f, dz, (dt_batchnorm_slope){ dx_a[i], mean_dy[i], centre[i], slope[i] }, 1, 0);
        }
        if (pool > 1) w->dz[i] = left;
    }
}

/* Rare, so once: x has readers beside this node. */
static __attribute__((noinline)) void add_dx(const dt_nq_view *v, int64_t at, const float *restrict dx, int n)
{
    if (v->dx_type == DT_F32) {
        float *restrict to = (float *)v->dx + at;
        for (int i = 0; i < n; i++) to[i] += dx[i];
    } else {
        uint16_t *restrict to = (uint16_t *)v->dx + at;
        for (int i = 0; i < n; i++) to[i] = dt_to_bf16(dt_from_bf16(to[i]) + dx[i]);
    }
}

INLINE void store_dx(const dt_nq_view *v, int64_t at, const float *restrict dx, int n)
{
    if (!v->fresh) {
        add_dx(v, at, dx, n);
    } else if (v->dx_type == DT_F32) {
        memcpy((float *)v->dx + at, dx, (size_t)n * sizeof *dx);
    } else {
        uint16_t *restrict to = (uint16_t *)v->dx + at;
        for (int i = 0; i < n; i++) to[i] = dt_to_bf16(dx[i]);
    }
}

/* pool: 1 and 2 are constants in the loops */
INLINE void slope_part(const dt_nq_view *v, opener *open, const float *x, int64_t at, int64_t c, int n, int pool)
{
    const int cells = pool == 2 ? 2 : 1; /* at a time */
    window w;
    float dx[2 * LANES];

    prefetch_ahead(v, x, c, n, pool, 4, 0);
    if (v->dx_type == DT_BF16)
        prefetch_ahead(v, v->dx, x - v->x + c, n, pool, 2, 1);
    else
        prefetch_ahead(v, v->dx, x - v->x + c, n, pool, 4, 1);
    load_dy(v, at + c, n, w.dy);
    open(v, x + c, c, n, &w);
    if (v->ewgs > 0.0f) scale_window(v, c, n, &w);
    for (int i = 0; i < pool; i++) {
        for (int j = 0; j < pool; j += cells) {
            const float *q = x + (i * v->width + j) * v->channels + c;
            cell_slopes(v, q, c, n, pool, cells, &w, dx);
            for (int m = 0; m < cells; m++) store_dx(v, q - v->x + m * v->channels, dx + m * LANES, n);
        }
    }
}

/* Cells that no window covers: no gradient, but the batch's mean and variance are made of them too. */
static void slope_uncovered(const dt_nq_view *v, const float *x, int64_t cells)
{
    window w;
    float dx[LANES];

    memset(w.dz, 0, sizeof w.dz);
    for (const float *q = x; q < x + cells * v->channels; q += v->channels) {
        for (int64_t c = 0; c < v->channels; c += LANES) {
            const int n = lanes_from(v, c);
            cell_slopes(v, q + c, c, n, 1, 1, &w, dx);
            store_dx(v, q + c - v->x, dx, n);
        }
    }
}

/* To the right of a row of windows and, if it is the image's last, below it. */
static void slope_around(const dt_nq_view *v, const float *x, int64_t line)
{
    const int64_t covered = v->out_width * v->pool, below = v->height - v->out_height * v->pool;
    const int is_last = line % v->out_height == v->out_height - 1;

    for (int i = 0; i < v->pool; i++) {
        slope_uncovered(v, x + (i * v->width + covered) * v->channels, v->width - covered);
    }
    if (is_last) slope_uncovered(v, x + v->pool * v->width * v->channels, below * v->width);
}

INLINE void slope_runs(const dt_nq_view *v, opener *open, int64_t first, int64_t last, int pool)
{
    while (first < last) {
        const run r = run_from(v, first, last);
        for (int64_t w = 0; w < r.count; w++) {
            const float *x = r.x + w * pool * v->channels;
            const int64_t at = (first + w) * v->channels;
            int64_t c = 0;
            for (; c + LANES <= v->channels; c += LANES) slope_part(v, open, x, at, c, LANES, pool);
            if (c < v->channels) slope_part(v, open, x, at, c, (int)(v->channels - c), pool);
        }
        if (pool > 1) slope_around(v, r.x, first / v->out_width);
        first += r.count;
    }
}

void dt_nq_slope(const dt_nq_view *v, int64_t first, int64_t last)
{
    /* of the value, the clip rules but PACT have one slope, and ECE284's costs least */
    const int rule = rule_of(v), learns = rule == DT_RULE_APOT || rule == DT_RULE_SCREAM;
    opener *open = opener_of(v, learns ? DT_RULE_ECE284 : rule);

    if (v->pool == 1)
        slope_runs(v, open, first, last, 1);
    else if (v->pool == 2)
        slope_runs(v, open, first, last, 2);
    else
        slope_runs(v, open, first, last, v->pool);
}

/* Adds `rows` of them (a constant in the loop: several, so that sums are loaded and stored less often). */
INLINE void add_rows(const float *restrict x, int64_t channels, int rows, double *restrict sum, double *restrict square)
{
    for (int64_t c = 0; c < rows * channels; c += CACHE_LINE / 4) __builtin_prefetch(x + AHEAD + c);
    for (int64_t c = 0; c < channels; c++) {
        double s = sum[c], t = square[c];
        for (int r = 0; r < rows; r++) {
            const double q = (double)x[r * channels + c];
            s += q;
            t += q * q;
        }
        sum[c] = s;
        square[c] = t;
    }
}

void dt_nq_add_moments(const float *x, int64_t channels, int64_t first, int64_t last, double *sum, double *square)
{
    int64_t r = first;

    for (; r + ROWS <= last; r += ROWS) add_rows(x + r * channels, channels, ROWS, sum, square);
    for (; r < last; r++) add_rows(x + r * channels, channels, 1, sum, square);
}
