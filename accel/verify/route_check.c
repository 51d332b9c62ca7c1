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

/* One image of a node. */
typedef struct {
    const dt_program *p;
    const dt_graph_node *n;
    const dt_route_int_params *params;
    dt_route_int_sizes size;
    dt_route at;              /* where the device's arrays lie */
    const float *aux, *codes; /* of all images, on the host */
    dt_route_int_trace want;
    float scale;       /* of the votes */
    const float *bias; /* on the host */
    dt_psum_stats *stats;
    dt_route_error *error;
    dt_oracle_result *result;
    int64_t image;
} route_image;

/* n values of an iteration, which are codes in steps of 2^-frac. dim: values of a capsule. */
static void compare(const route_image *im, const char *what, int r, const float *found, int frac, const int32_t *want,
                    int64_t n, int64_t dim)
{
    const float up = dt_power_of_two(frac);

    im->result->n_checked += n;
    im->stats->n_psums += n;
    for (int64_t i = 0; i < n; i++) {
        const float code = found[i] * up;
        if (want[i] < im->stats->min) im->stats->min = want[i];
        if (want[i] > im->stats->max) im->stats->max = want[i];
        if (code == (float)want[i] || im->result->n_wrong++ > 0) continue;
        im->result->first = (dt_mismatch){ .what = what,
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
    return im->aux + (dt_route_capsules(&im->at, arrays, r, im->image) - im->at.s);
}

static const float *pairs_of(const route_image *im, float *arrays, int r)
{
    return im->aux + (dt_route_pairs(&im->at, arrays, r, im->image, 0) - im->at.s);
}

static void compare_image(const route_image *im)
{
    const dt_route_int_params *p = im->params;
    const int64_t width = im->size.capsules * im->size.dim, pairs = im->size.inputs * im->size.capsules;
    const int last = p->iterations - 1;

    for (int r = 0; r <= last; r++) {
        compare(im, "routing sum s", r, capsules_of(im, im->at.s, r), p->s_frac[r], im->want.s + r * width, width,
                im->size.dim);
        if (r < last || !p->gives_s)
            compare(im, "routing capsule v", r, capsules_of(im, im->at.v, r), p->v_frac[r], im->want.v + r * width,
                    width, im->size.dim);
        if (r == last) break;
        compare(im, "routing logit b", r, pairs_of(im, im->at.logits, r), p->b_frac[r], im->want.b + r * pairs, pairs,
                1);
        compare(im, "routing coupling c", r, pairs_of(im, im->at.c, r), p->c_frac[r], im->want.c + r * pairs, pairs, 1);
    }
    compare(im, "routing code", last, im->codes + im->image * width, 0,
            (p->gives_s ? im->want.s : im->want.v) + last * width, width, im->size.dim);
}

/* The batch is on the host. */
static dt_status compare_batch(route_image *im, const float *votes)
{
    const int64_t n = im->size.inputs * im->size.capsules * im->size.dim;
    int32_t *u = malloc((size_t)n * sizeof *u);
    int32_t *room = calloc((size_t)dt_route_int_trace_count(im->params, &im->size), sizeof *room);
    double *reals = malloc((size_t)dt_route_error_room(&im->size) * sizeof *reals);
    const dt_route_pair pair = { im->params, im->size, im->scale, im->bias, u, &im->want };
    dt_status status = DT_OK;

    if (u && room && reals) {
        im->want = dt_route_int_trace_in(im->params, &im->size, room);
        for (im->image = 0; im->image < im->at.images; im->image++) {
            for (int64_t k = 0; k < n; k++) u[k] = (int32_t)votes[im->image * n + k];
            dt_program_route(im->p, im->n, u, &im->want);
            compare_image(im);
            dt_route_error_add(&pair, reals, im->error);
        }
    } else {
        status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the values of a routing");
    }
    free(u);
    free(room);
    free(reals);
    return status;
}

dt_status dt_route_check_batch(dt_route_check *r, dt_context *ctx, const dt_graph *g, const dt_node *node,
                               dt_oracle_result *result)
{
    const dt_program program = { .graph = (dt_graph *)g }; /* which is only read */
    const dt_graph_node *n = dt_graph_maker(g, dt_graph_find(g, node->name));
    route_image im = {
        .p = &program, .n = n, .params = n->params, .stats = &r->stats, .error = &r->error, .result = result
    };
    float *votes = NULL, *aux = NULL, *codes = NULL, *bias = NULL;

    if (!r->opened) dt_psum_stats_clear(&r->stats);
    r->opened = 1;
    *result = (dt_oracle_result){ 0 };
    im.size = dt_program_route_sizes(&program, n);
    im.at = dt_route_int_look(node, NULL);
    dt_status status = dt_device_floats(ctx, node->in[0]->data, dt_count(&node->in[0]->shape), &votes);
    if (status == DT_OK) status = dt_device_floats(ctx, node->aux, (int64_t)(node->aux_bytes / sizeof(float)), &aux);
    if (status == DT_OK) status = dt_device_floats(ctx, node->out->data, dt_count(&node->out->shape), &codes);
    if (status == DT_OK) status = dt_device_floats(ctx, node->in[1]->data, dt_count(&node->in[1]->shape), &bias);
    if (status == DT_OK) status = dt_device_read(ctx, &im.scale, node->in[0]->scale, sizeof im.scale);
    im.bias = bias;
    im.aux = aux;
    im.codes = codes;
    if (status == DT_OK) status = compare_batch(&im, votes);
    free(votes);
    free(aux);
    free(codes);
    free(bias);
    return status;
}
