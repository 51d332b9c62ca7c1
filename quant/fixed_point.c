/*
 * fixed_point.c - values brought into a fixed-point format, as Q-CapsNets rounds weights and activations.
 *
 * The formulas and their source are in fixed_point.h. x is real, or a grid tensor with one scale (v = scale * x). out
 * is real, or with params.codes a grid tensor of the codes. With params.observe, and in a format of negative bits, out
 * is v itself. Nothing flows back: a network with such formats is evaluated, not trained.
 *
 * Element e of a parameter has the draw e. Element e of an activation has the draw e + first * (values of an image),
 * where first is that of the step. So its rounding depends on the image, and not on the batch in which the image came.
 *
 * Shapes: x any; out as x, scale 1.
 * CUDA: cuda/fixed_point.cu.  Tests: tests/quant/test_fixed_point.c.
 */
#include "../core/arith/fixed_point.h"

#include "../core/grid_facts.h"
#include "../core/op.h"

/* Elements one thread takes at a time. */
enum { PIECE = 4096 };

/* f32 holds codes of more bits, but not their sums. */
enum { MAX_CODE_BITS = 24, MAX_BITS = 32 };

static dt_status format_check(const dt_node *node)
{
    const dt_fixed_point_params *p = node->params;
    const dt_fixed_format *f = &p->format;
    const int low = f->published ? 0 : 1, high = f->published ? DT_FIXED_MAX_FRACTION : MAX_BITS;

    if (p->codes) {
        DT_CHECK(!f->published && f->rounding != DT_ROUND_LOGARITHMIC && !p->observe, DT_ERR_UNSUPPORTED,
                 "%s: fixed_point: published and logarithmic formats have no codes, nor has a tensor that is observed; "
                 "ask for real values",
                 node->name);
        DT_CHECK(f->bits >= 1 && f->bits <= MAX_CODE_BITS, DT_ERR_ARGUMENT,
                 "%s: fixed_point: codes of %d bits, allowed are 1..%d; ask for real values", node->name, f->bits,
                 MAX_CODE_BITS);
    }
    DT_CHECK(f->bits < 0 || (f->bits >= low && f->bits <= high), DT_ERR_ARGUMENT,
             "%s: fixed_point: %d %s, allowed are %d..%d", node->name, f->bits,
             f->published ? "fractional bits" : "bits", low, high);
    DT_CHECK(f->bits < 0 || f->published || (f->scale > 0.0f && f->scale < INFINITY), DT_ERR_ARGUMENT,
             "%s: fixed_point: scale is %g, must be above 0 and finite", node->name, (double)f->scale);
    return DT_OK;
}

static dt_status fixed_point_infer(dt_node *node)
{
    const dt_fixed_point_params *p = node->params;
    const dt_tensor *x = node->in[0];
    const int images = node->purpose.images;

    DT_CHECK(x->type == DT_F32 && x->n_scale <= 1, DT_ERR_UNSUPPORTED,
             "%s: fixed_point: takes real values or codes of one scale, got %d scales", node->name, x->n_scale);
    DT_CHECK(images >= 0 && (images == 0 || dt_count(&x->shape) % images == 0), DT_ERR_SHAPE,
             "%s: fixed_point: %lld values are not those of %d images", node->name, (long long)dt_count(&x->shape),
             images);
    DT_TRY(format_check(node));
    node->out->shape = x->shape;
    if (p->codes) {
        node->out->n_scale = 1;
        node->out->qmax = ((int64_t)1 << (p->format.bits - 1)) - 1;
        node->out->qmin = -node->out->qmax - 1;
    }
    return DT_OK;
}

static const dt_field fixed_point_fields[] = {
    { DT_MEMBER(dt_fixed_point_params, codes), DT_INT(0, 1) },
    { DT_MEMBER(dt_fixed_point_params, observe), DT_INT(0, 1) },
};

const dt_op dt_op_fixed_point = {
    .name = "fixed_point",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_fixed_point_params, fixed_point_fields),
    .no_grad = 1,
    .infer = fixed_point_infer,
};

static dt_status fixed_point_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)scratch_bytes;
    DT_CHECK(!ex->training || !node->in[0]->wants_grad, DT_ERR_UNSUPPORTED,
             "%s: a network in fixed-point formats is evaluated, not trained; train it before it is quantized",
             node->name);
    return DT_OK;
}

/* A piece of the tensor; index is its first element's among the draws. */
typedef struct {
    const float *x;
    float scale; /* of x */
    float *out;
    int64_t n;
    uint64_t seed, index;
} piece;

/* out is code * unit. nearest and random are constants wherever this is inlined: so the loop has no branch and
 * vectorises. */
static inline void round_piece(const dt_fixed_format *f, int nearest, int random, float unit, piece p)
{
    dt_fixed_grid grid = dt_fixed_prepare(f);
    grid.nearest = nearest;
    grid.random = random;

    for (int64_t i = 0; i < p.n; i++) {
        const float u = random ? dt_fixed_draw(f, p.seed, p.index + (uint64_t)i) : 0.0f;
        p.out[i] = dt_fixed_round(&grid, p.scale * p.x[i], u) * unit;
    }
}

/* f is a copy, so that writing p.out cannot change it. */
static void piece_by_rule(dt_fixed_format f, int codes, piece p)
{
    if (f.bits < 0) {
        for (int64_t i = 0; i < p.n; i++) p.out[i] = p.scale * p.x[i];
        return;
    }
    if (f.rounding == DT_ROUND_LOGARITHMIC) {
        for (int64_t i = 0; i < p.n; i++) p.out[i] = dt_fixed_logarithmic(&f, p.scale * p.x[i]);
        return;
    }
    const dt_fixed_grid grid = dt_fixed_prepare(&f);
    const float unit = codes ? 1.0f : grid.step;
    if (grid.nearest)
        round_piece(&f, 1, 0, unit, p);
    else if (grid.random)
        round_piece(&f, 0, 1, unit, p);
    else
        round_piece(&f, 0, 0, unit, p);
}

static dt_status fixed_point_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_fixed_point_params *params = node->params;
    const dt_tensor *x = node->in[0], *out = node->out;
    const dt_step_in in = ex->step->in;
    const int64_t n = dt_count(&x->shape), pieces = (n + PIECE - 1) / PIECE;
    const int64_t first = node->purpose.images ? in.first * (n / node->purpose.images) : 0;
    const float scale = dt_scale_at(x->scale, x->n_scale, 0);
    dt_fixed_format f = params->format;
    if (params->observe) f.bits = -1;

#pragma omp parallel for
    for (int64_t j = 0; j < pieces; j++) {
        const int64_t at = j * PIECE, count = n - at < PIECE ? n - at : PIECE;
        const piece p = { (const float *)x->data + at, scale, (float *)out->data + at, count, in.seed,
                          (uint64_t)(first + at) };
        piece_by_rule(f, params->codes, p);
    }
    if (params->codes) out->scale[0] = dt_fixed_step(&f);
    return DT_OK;
}

const dt_kernel dt_cpu_fixed_point = { .prepare = fixed_point_prepare, .forward = fixed_point_forward };
