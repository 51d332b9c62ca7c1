/*
 * layer_check.c - see layer_check.h.
 *
 * Tests: tests/accel/test_verify.c.
 */
#include "layer_check.h"

#include "../../core/votes_params.h"
#include "report.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 1 << 21 };

/* What one image came to. */
typedef struct {
    dt_psum_stats stats;
    double error_float, error_next;
    int failed; /* no memory */
} image_result;

dt_status dt_layer_operands(dt_tape *tape, const dt_node *node, dt_conv_params *conv, dt_tensor **operand)
{
    if (node->kind == DT_OP_CONV2D) {
        *conv = *(const dt_conv_params *)node->params;
        return DT_OK;
    }
    const dt_votes_conv v = dt_votes_conv_of(&operand[1]->shape);
    *conv = v.conv;
    DT_TRY(dt_tape_apply(tape, DT_OP_TRANSPOSE, node->name, &v.x, operand, 1, &operand[0]));
    return dt_tape_apply(tape, DT_OP_TRANSPOSE, node->name, &v.w, operand + 1, 1, &operand[1]);
}

static int64_t per_image(const dt_tensor *t)
{
    return dt_count(&t->shape) / t->shape.dim[0];
}

/* Filters innermost: how oracle and float convolution read them. */
static void turn_weights(dt_layer_check *l)
{
    const dt_psum_shape *s = &l->shape;
    const int64_t per_filter = (int64_t)s->window_height * s->window_width * dt_psum_group_channels(s);

    for (int64_t k = 0; k < s->filters; k++) {
        for (int64_t i = 0; i < per_filter; i++) {
            const float code = l->qw[k * per_filter + i];
            l->w[i * s->filters + k] = (int32_t)code;
            l->wr[i * s->filters + k] = l->sw[l->n_sw > 1 ? k : 0] * code;
        }
    }
}

/* As filters, also where they are the matrices of votes. */
static dt_status read_weights(dt_layer_check *l, dt_context *ctx, const dt_node *node)
{
    const dt_tensor *w = node->in[1];

    if (node->kind != DT_OP_CAPS_VOTES) return dt_device_read(ctx, l->qw, w->data, dt_tensor_bytes(w));
    float *matrices = NULL;
    DT_TRY(dt_device_floats(ctx, w->data, dt_count(&w->shape), &matrices));
    dt_votes_filters(&w->shape, matrices, l->qw);
    free(matrices);
    return DT_OK;
}

dt_status dt_layer_check_open(dt_layer_check *l, dt_context *ctx, const dt_array *array, const dt_node *node, int batch)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    const size_t w_bytes = dt_tensor_bytes(w);

    assert(y->shape.dim[0] <= batch);
    l->n_sw = w->n_scale;
    DT_TRY(dt_psum_layer_init(&l->on_array, l->name, array, &l->shape));
    l->qx = malloc((size_t)batch * (size_t)per_image(x) * sizeof *l->qx);
    l->psum = malloc((size_t)batch * (size_t)per_image(y) * sizeof *l->psum);
    l->expected = malloc((size_t)batch * (size_t)per_image(y) * sizeof *l->expected);
    l->qw = malloc(w_bytes);
    l->sw = malloc((size_t)w->n_scale * sizeof *l->sw);
    l->w = malloc(w_bytes);
    l->wr = malloc(w_bytes);
    l->packed = aligned_alloc(DT_CACHE_LINE, dt_round_up(l->on_array.packed_bytes, DT_CACHE_LINE));
    DT_CHECK(l->qx && l->psum && l->expected && l->qw && l->sw && l->w && l->wr && l->packed, DT_ERR_MEMORY,
             "%s: no memory to verify %d images at once", l->name, batch);
    DT_TRY(read_weights(l, ctx, node));
    DT_TRY(dt_device_read(ctx, l->sw, w->scale, (size_t)w->n_scale * sizeof *l->sw));
    DT_TRY(dt_device_read(ctx, &l->sx, x->scale, sizeof l->sx));
    turn_weights(l);
    dt_psum_pack(&l->on_array, l->qw, l->packed);
    dt_psum_stats_clear(&l->stats);
    return DT_OK;
}

void dt_layer_check_close(dt_layer_check *l)
{
    free(l->qx);
    free(l->psum);
    free(l->expected);
    free(l->qw);
    free(l->sw);
    free(l->w);
    free(l->wr);
    free(l->packed);
}

/* Adds to y[filter] of one position what a tap sees: qx, all channels. */
static void add_float_tap(const dt_layer_check *l, const float *qx, int tap, float *restrict y)
{
    const dt_psum_shape *s = &l->shape;
    const int each = dt_psum_group_channels(s), filters = dt_psum_group_filters(s);

    for (int c = 0; c < s->channels; c++) {
        const float x = l->sx * qx[c], *f = l->wr + ((int64_t)tap * each + c % each) * s->filters + c / each * filters;
        float *to = y + (int64_t)c / each * filters;
        if (x == 0.0f) continue;
        for (int k = 0; k < filters; k++) to[k] += x * f[k];
    }
}

/* y[position][filter] of the float layer: real operands, sums in f32. A tap's weights serve all positions. */
static void float_layer(const dt_layer_check *l, const float *qx, float *y)
{
    const dt_psum_shape *s = &l->shape;
    const int positions = s->out_height * s->out_width;

    memset(y, 0, (size_t)positions * (size_t)s->filters * sizeof *y);
    for (int tap = 0; tap < s->window_height * s->window_width; tap++) {
        for (int i = 0; i < positions; i++) {
            const int p = i / s->out_width, q = i % s->out_width;
            const int h = p * s->conv.stride[0] + tap / s->window_width * s->conv.dilation[0] - s->conv.pad[0];
            const int w = q * s->conv.stride[1] + tap % s->window_width * s->conv.dilation[1] - s->conv.pad[1];
            if (h < 0 || h >= s->height || w < 0 || w >= s->width) continue;
            add_float_tap(l, qx + ((int64_t)h * s->width + w) * s->channels, tap, y + (int64_t)i * s->filters);
        }
    }
}

/* What the integers recover, beside the float layer and beside what the next layer read (out_scale * psum). y: room */
static void sum_errors(const dt_layer_check *l, const float *out_scale, int64_t image, const int64_t *exact, float *y,
                       image_result *r)
{
    const dt_psum_shape *s = &l->shape;
    const float *psum = l->psum + image * s->out_height * s->out_width * s->filters;

    float_layer(l, l->qx + image * s->height * s->width * s->channels, y);
    for (int64_t at = 0; at < (int64_t)s->out_height * s->out_width * s->filters; at++) {
        const int which = l->n_sw > 1 ? (int)(at % s->filters) : 0;
        const double recovered = (double)exact[at] * (double)l->sx * (double)l->sw[which];
        r->error_float += fabs(recovered - (double)y[at]);
        r->error_next += fabs(recovered - (double)(out_scale[which] * psum[at]));
    }
}

/* A thread's room for one image: psums, tap psums, sums in 64 bits, the engine's own. */
typedef struct {
    int32_t *psum, *taps; /* taps: NULL output stationary */
    int64_t *exact;
    void *engine;
    int failed; /* no memory */
} image_room;

/* Tap psums are written far from one another, so large pages make the engine faster; without them it is as right. */
static int32_t *taps_room(size_t bytes)
{
    void *room = aligned_alloc(HUGE_PAGE, dt_round_up(bytes, HUGE_PAGE));

    if (room && bytes > HUGE_PAGE) (void)madvise(room, dt_round_up(bytes, HUGE_PAGE), MADV_HUGEPAGE);
    return room;
}

static image_room room_open(const dt_layer_check *l)
{
    const dt_psum_shape *s = &l->shape;
    const int64_t n_out = (int64_t)s->out_height * s->out_width * s->filters;
    const int is_ws = l->on_array.array.dataflow == DT_DATAFLOW_WS;
    image_room r = { .psum = malloc((size_t)n_out * sizeof *r.psum),
                     .exact = malloc((size_t)(n_out + (int64_t)s->filters) * sizeof *r.exact),
                     .engine = aligned_alloc(DT_CACHE_LINE, dt_round_up(l->on_array.room_bytes, DT_CACHE_LINE)) };

    if (is_ws) r.taps = taps_room((size_t)(l->on_array.in_tiles * l->on_array.taps * n_out) * sizeof *r.taps);
    r.failed = !r.psum || !r.exact || !r.engine || (is_ws && !r.taps);
    return r;
}

static void room_close(image_room *r)
{
    free(r->psum);
    free(r->taps);
    free(r->exact);
    free(r->engine);
}

static void check_image(const dt_layer_check *l, const image_room *room, const float *out_scale, int64_t image,
                        image_result *r, dt_oracle_result *judged)
{
    const dt_psum_shape *s = &l->shape;
    const int64_t n_in = (int64_t)s->height * s->width * s->channels;
    const int64_t n_out = (int64_t)s->out_height * s->out_width * s->filters;

    *r = (image_result){ .failed = room->failed };
    dt_psum_stats_clear(&r->stats);
    if (r->failed) return;
    const dt_oracle_case c = { .array = &l->on_array.array,
                               .shape = s,
                               .x = l->qx + image * n_in,
                               .w = l->w,
                               .grid = l->psum + image * n_out,
                               .psum = room->psum,
                               .taps = room->taps,
                               .expected = l->expected + image * n_out,
                               .exact = room->exact,
                               .work = room->exact + n_out };
    dt_psum_image(&l->on_array, l->packed, c.x, room->engine, room->psum, room->taps, &r->stats);
    dt_oracle_check(&c, judged);
    sum_errors(l, out_scale, image, room->exact, (float *)(void *)room->psum, r);
}

/* In the order of the images, whatever thread they were on. */
static dt_status add_images(dt_layer_check *l, const image_result *r, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        DT_CHECK(!r[i].failed, DT_ERR_MEMORY, "%s: no memory for the tap psums of an image", l->name);
        dt_psum_stats_add(&l->stats, &r[i].stats);
        l->error_float += r[i].error_float;
        l->error_next += r[i].error_next;
    }
    return DT_OK;
}

static dt_status read_batch(dt_layer_check *l, dt_context *ctx, const dt_node *node, float *out_scale)
{
    const dt_tensor *x = node->in[0], *y = node->out;

    DT_TRY(dt_device_read(ctx, out_scale, y->scale, (size_t)y->n_scale * sizeof *out_scale));
    DT_TRY(dt_device_read(ctx, l->qx, x->data, dt_tensor_bytes(x)));
    return dt_device_read(ctx, l->psum, y->data, dt_tensor_bytes(y));
}

dt_status dt_layer_check_batch(dt_layer_check *l, dt_context *ctx, const dt_node *node, dt_oracle_result *result)
{
    const int64_t n = node->out->shape.dim[0];
    float *out_scale = malloc((size_t)node->out->n_scale * sizeof *out_scale);
    image_result *image = calloc((size_t)n, sizeof *image);
    dt_status status = DT_OK;

    if (!out_scale || !image) status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory", l->name);
    if (status == DT_OK) status = read_batch(l, ctx, node, out_scale);
    if (status == DT_OK) {
#pragma omp parallel
        {
            image_room room = room_open(l);
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < n; i++) check_image(l, &room, out_scale, i, &image[i], &result[i]);
            room_close(&room);
        }
        status = add_images(l, image, n);
    }
    free(image);
    free(out_scale);
    return status;
}
