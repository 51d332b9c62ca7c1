/*
 * route_check.c - see route_check.h.
 *
 * Sums and agreements stay inside a kernel; each is judged by the code that is made of it at once.
 * Tests: tests/accel/test_verify_caps.c.
 */
#include "route_check.h"

#include "../../layers/caps/route_int.h"
#include "../../quant/program/program.h"

#include <stdlib.h>

/* A node that has run. */
typedef struct {
    const dt_program *p;
    const dt_graph_node *n;
    const dt_route_int_params *params;
    dt_route_int_sizes size;
    dt_route at;                      /* where the device's arrays lie */
    const float *aux, *codes, *votes; /* of all images, on the host */
    float scale;                      /* of the votes */
    const float *bias;                /* on the host */
} route_batch;

/* What one image came to. */
typedef struct {
    dt_psum_stats stats;
    dt_route_error error;
    dt_oracle_result verdict;
} image_result;

/* One image. */
typedef struct {
    const route_batch *b;
    dt_route_int_trace want;
    float *rows; /* room for pairs */
    int64_t image;
    image_result *result;
} route_image;

/* n values of an iteration, which are codes in steps of 2^-frac. dim: values of a capsule. */
static void compare(const route_image *im, const char *what, int r, const float *found, int frac, const int32_t *want,
                    int64_t n, int64_t dim)
{
    const float up = dt_power_of_two(frac);
    dt_psum_stats *stats = &im->result->stats;
    dt_oracle_result *verdict = &im->result->verdict;

    verdict->n_checked += n;
    stats->n_psums += n;
    for (int64_t i = 0; i < n; i++) {
        const float code = found[i] * up;
        if (want[i] < stats->min) stats->min = want[i];
        if (want[i] > stats->max) stats->max = want[i];
        if (code == (float)want[i] || verdict->n_wrong++ > 0) continue;
        verdict->first = (dt_mismatch){ .what = what,
                                        .image = im->image,
                                        .row = r,
                                        .col = (int)(i / dim),
                                        .channel = (int)(i % dim),
                                        .tile = -1,
                                        .tap = -1,
                                        .expected = want[i],
                                        .found = (int64_t)code };
    }
}

/* Array r of the device's, of this image. */
static const float *capsules_of(const route_image *im, float *arrays, int r)
{
    return im->b->aux + (dt_route_capsules(&im->b->at, arrays, r, im->image) - im->b->at.s);
}

/* The same of pairs, as rows. */
static const float *rows_of(const route_image *im, float *arrays, int r)
{
    const float *pairs = im->b->aux + (dt_route_pairs(&im->b->at, arrays, r, im->image, 0) - im->b->at.s);

    dt_route_rows(&im->b->at, pairs, im->rows);
    return im->rows;
}

static void compare_image(const route_image *im)
{
    const dt_route_int_params *p = im->b->params;
    const dt_route_int_sizes *z = &im->b->size;
    const int64_t width = z->capsules * z->dim, pairs = z->inputs * z->capsules;
    const int last = p->iterations - 1;

    for (int r = 0; r <= last; r++) {
        compare(im, "routing sum s", r, capsules_of(im, im->b->at.s, r), p->s_frac[r], im->want.s + r * width, width,
                z->dim);
        if (r < last || !p->gives_s)
            compare(im, "routing capsule v", r, capsules_of(im, im->b->at.v, r), p->v_frac[r], im->want.v + r * width,
                    width, z->dim);
        if (r == last) break;
        compare(im, "routing logit b", r, rows_of(im, im->b->at.logits, r), p->b_frac[r], im->want.b + r * pairs, pairs,
                1);
        compare(im, "routing coupling c", r, rows_of(im, im->b->at.c, r), p->c_frac[r], im->want.c + r * pairs, pairs,
                1);
    }
    compare(im, "routing code", last, im->b->codes + im->image * width, 0,
            (p->gives_s ? im->want.s : im->want.v) + last * width, width, z->dim);
}

/* A thread's room. */
typedef struct {
    int32_t *votes, *trace;
    double *reals;
    float *rows;
} route_room;

static route_room room_open(const route_batch *b)
{
    const dt_route_int_sizes *z = &b->size;

    return (route_room){ .votes = malloc((size_t)(z->inputs * z->capsules * z->dim) * sizeof(int32_t)),
                         .trace = calloc((size_t)dt_route_int_trace_count(b->params, z), sizeof(int32_t)),
                         .reals = malloc((size_t)dt_route_error_room(z) * sizeof(double)),
                         .rows = malloc((size_t)(z->inputs * z->capsules) * sizeof(float)) };
}

static void room_close(route_room *r)
{
    free(r->votes);
    free(r->trace);
    free(r->reals);
    free(r->rows);
}

/* Returns 0 if there is no room. */
static int check_image(const route_batch *b, const route_room *room, int64_t image, image_result *result)
{
    const int64_t n = b->size.inputs * b->size.capsules * b->size.dim;

    dt_psum_stats_clear(&result->stats);
    if (!room->votes || !room->trace || !room->reals || !room->rows) return 0;
    const route_image im = { b, dt_route_int_trace_in(b->params, &b->size, room->trace), room->rows, image, result };
    const dt_route_pair pair = { b->params, b->size, b->scale, b->bias, room->votes, &im.want };
    for (int64_t k = 0; k < n; k++) room->votes[k] = (int32_t)b->votes[image * n + k];
    dt_program_route(b->p, b->n, room->votes, &im.want);
    compare_image(&im);
    dt_route_error_add(&pair, room->reals, &result->error);
    return 1;
}

/* In the order of the images, whatever thread they were on. */
static void add_images(dt_route_check *r, const image_result *image, int64_t n, dt_oracle_result *to)
{
    for (int64_t i = 0; i < n; i++) {
        const dt_oracle_result *verdict = &image[i].verdict;
        if (to->n_wrong == 0) to->first = verdict->first;
        to->n_wrong += verdict->n_wrong;
        to->n_checked += verdict->n_checked;
        dt_psum_stats_add(&r->stats, &image[i].stats);
        dt_route_error_join(&r->error, &image[i].error);
    }
}

/* The batch is on the host. */
static dt_status check_images(dt_route_check *r, const route_batch *b, dt_oracle_result *result)
{
    image_result *image = calloc((size_t)b->at.images, sizeof *image);
    int has_room = image != NULL;

#pragma omp parallel if (has_room) reduction(&& : has_room)
    {
        route_room room = room_open(b);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < b->at.images; i++) has_room = image && check_image(b, &room, i, &image[i]) && has_room;
        room_close(&room);
    }
    if (has_room) add_images(r, image, b->at.images, result);
    free(image);
    DT_CHECK(has_room, DT_ERR_MEMORY, "no memory for the values of a routing");
    return DT_OK;
}

dt_status dt_route_check_batch(dt_route_check *r, dt_context *ctx, const dt_graph *g, const dt_node *node,
                               dt_oracle_result *result)
{
    const dt_program program = { .graph = (dt_graph *)g }; /* which is only read */
    const dt_graph_node *n = dt_graph_maker(g, dt_graph_find(g, node->name));
    route_batch b = { .p = &program, .n = n, .params = n->params };
    float *votes = NULL, *aux = NULL, *codes = NULL, *bias = NULL;

    if (!r->opened) dt_psum_stats_clear(&r->stats);
    r->opened = 1;
    *result = (dt_oracle_result){ 0 };
    b.size = dt_program_route_sizes(&program, n);
    b.at = dt_route_int_look(node, NULL, dt_route_group_on(ctx));
    dt_status status = dt_device_floats(ctx, node->in[0]->data, dt_count(&node->in[0]->shape), &votes);
    if (status == DT_OK) status = dt_device_floats(ctx, node->aux, (int64_t)(node->aux_bytes / sizeof(float)), &aux);
    if (status == DT_OK) status = dt_device_floats(ctx, node->out->data, dt_count(&node->out->shape), &codes);
    if (status == DT_OK) status = dt_device_floats(ctx, node->in[1]->data, dt_count(&node->in[1]->shape), &bias);
    if (status == DT_OK) status = dt_device_read(ctx, &b.scale, node->in[0]->scale, sizeof b.scale);
    b.bias = bias;
    b.aux = aux;
    b.codes = codes;
    b.votes = votes;
    if (status == DT_OK) status = check_images(r, &b, result);
    free(votes);
    free(aux);
    free(codes);
    free(bias);
    return status;
}
