/*
 * layer_check.c - see layer_check.h.
 *
 * Tests: tests/accel/test_verify.c.
 */
#include "layer_check.h"

#include "../../core/votes_params.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = DT_PSUM_LANES, POSITIONS = DT_PSUM_POSITIONS };

typedef float lanes __attribute__((vector_size(4 * DT_PSUM_LANES)));

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

/* Blocks of filters of a group, as the engine makes them. */
static int64_t group_blocks(const dt_psum_shape *s)
{
    return (dt_psum_group_filters(s) + LANES - 1) / LANES;
}

/* Filters innermost: how the float layer reads them. */
static void turn_weights(dt_layer_check *l)
{
    const dt_psum_shape *s = &l->shape;
    const int64_t per_filter = (int64_t)s->window_height * s->window_width * dt_psum_group_channels(s);
    const int64_t filters = dt_psum_group_filters(s);

    for (int64_t k = 0; k < s->filters; k++) {
        const int64_t block = k / filters * group_blocks(s) + k % filters / LANES;
        const float scale = l->sw[l->n_sw > 1 ? k : 0];
        float *to = l->wr + block * per_filter * LANES + k % filters % LANES;
        for (int64_t i = 0; i < per_filter; i++) to[i * LANES] = scale * l->qw[k * per_filter + i];
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

static void *room(size_t bytes)
{
    return aligned_alloc(DT_CACHE_LINE, dt_round_up(bytes, DT_CACHE_LINE));
}

dt_status dt_layer_check_open(dt_layer_check *l, dt_context *ctx, const dt_array *array, const dt_node *node, int batch)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    const size_t w_bytes = dt_tensor_bytes(w);
    const size_t wr_bytes = (size_t)(l->shape.conv.groups * group_blocks(&l->shape) * LANES) *
                            (size_t)(l->shape.window_height * l->shape.window_width) *
                            (size_t)dt_psum_group_channels(&l->shape) * sizeof(float);

    assert(y->shape.dim[0] <= batch);
    l->n_sw = w->n_scale;
    DT_TRY(dt_psum_layer_init(&l->on_array, l->name, array, &l->shape));
    l->qx = malloc((size_t)batch * (size_t)per_image(x) * sizeof *l->qx);
    l->psum = malloc((size_t)batch * (size_t)per_image(y) * sizeof *l->psum);
    l->expected = malloc((size_t)batch * (size_t)per_image(y) * sizeof *l->expected);
    l->qw = malloc(w_bytes);
    l->sw = malloc((size_t)w->n_scale * sizeof *l->sw);
    l->wr = room(wr_bytes);
    l->packed = room(l->on_array.packed_bytes);
    DT_CHECK(l->qx && l->psum && l->expected && l->qw && l->sw && l->wr && l->packed, DT_ERR_MEMORY,
             "%s: no memory to verify %d images at once", l->name, batch);
    DT_TRY(read_weights(l, ctx, node));
    DT_TRY(dt_device_read(ctx, l->sw, w->scale, (size_t)w->n_scale * sizeof *l->sw));
    DT_TRY(dt_device_read(ctx, &l->sx, x->scale, sizeof l->sx));
    memset(l->wr, 0, wr_bytes);
    turn_weights(l);
    DT_TRY(dt_oracle_open(&l->oracle, &l->on_array.array, &l->shape, l->qw));
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
    free(l->wr);
    dt_oracle_close(&l->oracle);
    free(l->packed);
}

/* A thread's room for one image. */
typedef struct {
    int16_t *codes;       /* for the oracle */
    float *reals;         /* of the float layer, where the oracle's codes lie */
    int32_t *psum, *taps; /* of the engine; taps: of a block */
    int64_t *exact;
    void *engine;
    int failed; /* no memory */
} image_room;

static image_room room_open(const dt_layer_check *l)
{
    const dt_psum_shape *s = &l->shape;
    const size_t n_out = (size_t)s->out_height * (size_t)s->out_width * (size_t)s->filters;
    const size_t n_codes = (size_t)dt_oracle_n_codes(s);
    image_room r = { .codes = room(n_codes * sizeof *r.codes),
                     .reals = room(n_codes * sizeof *r.reals),
                     .psum = room(n_out * sizeof *r.psum),
                     .taps = room(dt_psum_taps_bytes(&l->on_array)),
                     .exact = room(n_out * sizeof *r.exact),
                     .engine = room(l->on_array.room_bytes) };

    r.failed = !r.codes || !r.reals || !r.psum || !r.taps || !r.exact || !r.engine;
    return r;
}

static void room_close(image_room *r)
{
    free(r->codes);
    free(r->reals);
    free(r->psum);
    free(r->taps);
    free(r->exact);
    free(r->engine);
}

/* One image at work. */
typedef struct {
    const dt_layer_check *l;
    const image_room *room;
    const float *out_scale;
    dt_oracle_case judged;
    image_result *result;
    dt_oracle_result *verdict;
} image_work;

/* y[position][filter] of a block of the float layer: real operands, sums in f32. */
static void float_block(const image_work *work, const dt_psum_taps *b, lanes *y)
{
    const dt_psum_shape *s = &work->l->shape;
    const dt_oracle *o = &work->l->oracle;
    const int taps = s->window_height * s->window_width, each = dt_psum_group_channels(s);
    const int filters = dt_psum_group_filters(s), group = b->first_filter / filters;
    const int64_t number = group * group_blocks(s) + b->first_filter % filters / LANES;
    const lanes *w = (const lanes *)(const void *)work->l->wr + number * taps * each;
    lanes sum[POSITIONS] = { { 0.0f } };

    for (int tap = 0; tap < taps; tap++) {
        const int32_t *cell = o->cell + tap * o->cells + b->first_position;
        const float *x[POSITIONS];
        for (int i = 0; i < POSITIONS; i++) x[i] = work->room->reals + cell[i] + group * each;
        for (int c = 0; c < each; c++, w++) {
            for (int i = 0; i < POSITIONS; i++) sum[i] += x[i][c] * *w;
        }
    }
    memcpy(y, sum, sizeof sum);
}

/* What the integers recover, beside the float layer and beside what the next layer read (out_scale * psum). */
static void add_errors(const image_work *work, const dt_psum_taps *b)
{
    const dt_layer_check *l = work->l;
    image_result *r = work->result;
    lanes y[POSITIONS];

    float_block(work, b, y);
    for (int i = 0; i < b->n_positions; i++) {
        const int64_t at = (int64_t)(b->first_position + i) * l->shape.filters + b->first_filter;
        for (int k = 0; k < b->n_filters; k++) {
            const int which = l->n_sw > 1 ? b->first_filter + k : 0;
            const double recovered = (double)work->judged.exact[at + k] * (double)l->sx * (double)l->sw[which];
            r->error_float += fabs(recovered - (double)y[i][k]);
            r->error_next += fabs(recovered - (double)(work->out_scale[which] * work->judged.grid[at + k]));
        }
    }
}

static void take_block(void *user, const dt_psum_taps *b)
{
    const image_work *work = user;

    dt_oracle_judge(&work->judged, b, work->verdict);
    add_errors(work, b);
}

/* The codes of an image as the float layer multiplies them. */
static void read_reals(const dt_layer_check *l, const int16_t *codes, float *reals)
{
    const int64_t n = dt_oracle_n_codes(&l->shape);

    for (int64_t i = 0; i < n; i++) reals[i] = l->sx * (float)codes[i];
}

static void check_image(image_work *work, int64_t image)
{
    const dt_layer_check *l = work->l;
    const dt_psum_shape *s = &l->shape;
    const float *x = l->qx + image * s->height * s->width * s->channels;
    const int64_t n_out = (int64_t)s->out_height * s->out_width * s->filters;
    const image_room *r = work->room;
    const dt_psum_taker taker = { take_block, work, r->taps };

    *work->result = (image_result){ .failed = r->failed };
    *work->verdict = (dt_oracle_result){ 0 };
    dt_psum_stats_clear(&work->result->stats);
    if (r->failed) return;
    work->judged = (dt_oracle_case){ .o = &l->oracle,
                                     .x = r->codes,
                                     .grid = l->psum + image * n_out,
                                     .psum = r->psum,
                                     .expected = l->expected + image * n_out,
                                     .exact = r->exact };
    dt_oracle_read_codes(s, x, r->codes);
    read_reals(l, r->codes, r->reals);
    dt_psum_image(&l->on_array, l->packed, x, r->engine, r->psum, &taker, &work->result->stats);
}

/* In the order of the images, whatever thread they were on. */
static dt_status add_images(dt_layer_check *l, const image_result *r, const dt_oracle_result *verdict, int64_t n)
{
    const int64_t all = dt_oracle_n_values(&l->oracle);

    for (int64_t i = 0; i < n; i++) {
        DT_CHECK(!r[i].failed, DT_ERR_MEMORY, "%s: no memory for the psums of an image", l->name);
        DT_CHECK(verdict[i].n_checked == all, DT_ERR_NUMERIC, "%s: the array gave %lld values of an image, it has %lld",
                 l->name, (long long)verdict[i].n_checked, (long long)all);
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
            image_room own = room_open(l);
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < n; i++) {
                image_work work = {
                    .l = l, .room = &own, .out_scale = out_scale, .result = &image[i], .verdict = &result[i]
                };
                check_image(&work, i);
            }
            room_close(&own);
        }
        status = add_images(l, image, result, n);
    }
    free(image);
    free(out_scale);
    return status;
}
