/*
 * norm_quant.c - batch norm, ReLU, max-pool and activation quantizer in one operator; each may be missing.
 *
 *   z = a q + b,  v = min(max(z, 0), most),  u = max of v over the window,  code = act_quant(u)
 *   dv = slope(u) du at the window's first maximum, 0 elsewhere;  dz = dv where 0 < z < most
 *   sums of dz and dz * q over the channel -> dgamma, dbeta;  dx = a (dz - mean dz - (q - centre) slope)
 *
 * layers/batchnorm.c, layers/activation.c, layers/pool.c and quant/act_quant.c define the parts. This operator has the
 * same expressions, so that it gives the same bits as the four operators one after another, with half to a quarter of
 * their memory traffic. Forward reads x for the batch statistics and again for y. Backward reads x and dy for the sums
 * and again for dx. Nothing in between is stored. Gradients may differ from those of the four operators where double
 * sums in another order round to another float: dalpha, and with a pool everything that depends on the norm's sums.
 *
 * Shapes: x any, channels C last, N,H,W,C where it is pooled; gamma, beta, mean, var: C; alpha: 1.
 * Types: y is F32 or, codes, U8 or I8; gradients are F32 or BF16, rounded half to even.
 * Arithmetic: norm_quant.h; loops: norm_quant_lines.c.  CUDA: cuda/norm_quant.cu.  Tests:
 * tests/quant/test_norm_quant.c.
 */
#include "norm_quant.h"

#include "../core/op.h"
#include "../layers/cpu_backend.h"
#include "norm_quant_lines.h"

#include <string.h>

/* An unclamped quantizer may give codes below 0: the bound that act_quant.c states. */
enum { UNCLAMPED_LOW = -32767 };

static dt_status check_norm(const dt_node *node)
{
    static const char *const names[] = { "x", "gamma", "beta", "mean", "var" };
    const dt_norm_quant_params *p = node->params;
    const dt_shape *x = &node->in[DT_NQ_X]->shape;
    char text[64];

    for (int k = DT_NQ_GAMMA; k <= DT_NQ_VAR; k++) {
        DT_CHECK(dt_count(&node->in[k]->shape) == dt_channels(x), DT_ERR_SHAPE,
                 "%s: norm_quant: %s has %lld values, x has %lld channels", node->name, names[k],
                 (long long)dt_count(&node->in[k]->shape), (long long)dt_channels(x));
    }
    DT_CHECK(!node->purpose.training || dt_norm_rows(node, dt_rows(x)) > 1, DT_ERR_SHAPE,
             "%s: norm_quant: x is %s, and one value a channel has no variance; train with a larger batch", node->name,
             dt_shape_text(x, text, sizeof text));
    DT_CHECK(p->norm.epsilon > 0.0f, DT_ERR_ARGUMENT, "%s: norm_quant: epsilon is %g, must be above 0", node->name,
             (double)p->norm.epsilon);
    return DT_OK;
}

static dt_status check_relu(const dt_node *node)
{
    const dt_norm_quant_params *p = node->params;

    if (!p->has_relu || p->relu_most == 0.0f) return DT_OK;
    DT_CHECK(p->relu_most > 0.0f && isfinite(p->relu_most), DT_ERR_ARGUMENT,
             "%s: norm_quant: relu_most is %g, must be above 0, or 0 for no upper limit", node->name,
             (double)p->relu_most);
    DT_CHECK(p->has_norm || node->in[DT_NQ_X]->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: norm_quant: relu_most is %g, a real value, and x is a grid tensor without a norm; leave the ReLU a "
             "node of its own",
             node->name, (double)p->relu_most);
    return DT_OK;
}

static dt_status check_pool(const dt_node *node)
{
    const dt_norm_quant_params *p = node->params;
    const dt_shape *x = &node->in[DT_NQ_X]->shape;
    char text[64];

    DT_CHECK(p->pool >= 0, DT_ERR_ARGUMENT, "%s: norm_quant: a pooling window of %d, must be 0 (none) or more",
             node->name, p->pool);
    if (p->pool == 0) return DT_OK;
    DT_CHECK(x->ndim == 4, DT_ERR_SHAPE, "%s: norm_quant: x is %s, and pooling needs the axes N,H,W,C", node->name,
             dt_shape_text(x, text, sizeof text));
    DT_CHECK(p->pool <= x->dim[1] && p->pool <= x->dim[2], DT_ERR_SHAPE,
             "%s: norm_quant: a window of %dx%d does not fit into x, which is %s", node->name, p->pool, p->pool,
             dt_shape_text(x, text, sizeof text));
    return DT_OK;
}

static dt_status check_quant(const dt_node *node)
{
    const dt_norm_quant_params *p = node->params;
    const dt_shape *alpha = &node->in[dt_norm_quant_alpha(p)]->shape;

    DT_CHECK(p->quant.bits >= 2 && p->quant.bits <= 8, DT_ERR_ARGUMENT,
             "%s: norm_quant: activations of %d bits, allowed are 2..8", node->name, p->quant.bits);
    DT_CHECK(dt_count(alpha) == 1, DT_ERR_SHAPE, "%s: norm_quant takes one alpha, got %lld", node->name,
             (long long)dt_count(alpha));
    return DT_OK;
}

/* Codes of the quantizer, real values after a norm, else x's grid. */
static void set_grid(const dt_norm_quant_params *p, const dt_node *node, dt_tensor *out)
{
    const dt_tensor *x = node->in[DT_NQ_X];

    if (p->has_quant) {
        out->type = DT_F32;
        out->qmax = dt_act_high(p->quant.bits, p->quant.is_signed);
        out->qmin = p->quant.unclamped ? UNCLAMPED_LOW : p->quant.is_signed ? -out->qmax : 0;
        dt_scale_follows(out, node->in[dt_norm_quant_alpha(p)], dt_clip_form((int)out->qmax, p->quant.rule));
    } else if (!p->has_norm) {
        dt_stay_on_grid(out, x);
        if (p->has_relu && out->qmin < 0) out->qmin = 0;
        if (p->has_relu && out->qmax < 0) out->qmax = 0;
    }
}

static dt_status norm_quant_infer(dt_node *node)
{
    const dt_norm_quant_params *p = node->params;
    const dt_tensor *x = node->in[DT_NQ_X];
    const int n_in = 1 + (p->has_norm ? DT_NQ_NORM_INPUTS : 0) + (p->has_quant ? 1 : 0);

    DT_CHECK(node->n_in == n_in, DT_ERR_ARGUMENT,
             "%s: norm_quant: %d inputs, with%s norm and with%s quantizer it takes %d", node->name, node->n_in,
             p->has_norm ? "" : "out", p->has_quant ? "" : "out", n_in);
    if (p->has_norm) DT_TRY(check_norm(node));
    DT_TRY(check_relu(node));
    DT_TRY(check_pool(node));
    if (p->has_quant) DT_TRY(check_quant(node));
    node->out->shape = x->shape;
    if (p->pool) node->out->shape.dim[1] = x->shape.dim[1] / p->pool;
    if (p->pool) node->out->shape.dim[2] = x->shape.dim[2] / p->pool;
    set_grid(p, node, node->out);
    if (p->has_norm) node->aux_bytes = (size_t)(2 * dt_channels(&x->shape)) * sizeof(float);
    return DT_OK;
}

const dt_op dt_op_norm_quant = {
    .name = "norm_quant",
    .min_in = 1,
    .max_in = 2 + DT_NQ_NORM_INPUTS,
    .params_bytes = sizeof(dt_norm_quant_params),
    .backward_reads = DT_READS_IN(DT_NQ_X) | DT_READS_IN(DT_NQ_GAMMA) | DT_READS_IN(DT_NQ_BETA) | DT_READS_AUX,
    .infer = norm_quant_infer,
};

enum {
    BLOCK_ROWS = 32, /* as batchnorm.c, whose sums these are */
    MAX_BLOCKS = 64,
    N_CHANNEL_ARRAYS = 7
};

/* A block of fewer pixels costs more to fold than to sum. */
static int64_t n_blocks(int64_t rows, int64_t units)
{
    const int64_t wanted = rows / BLOCK_ROWS, most = units < MAX_BLOCKS ? units : MAX_BLOCKS;
    return wanted < 1 ? 1 : wanted < most ? wanted : most;
}

/* One run of a node. */
typedef struct {
    dt_nq_view view;
    const dt_norm_quant_params *params;
    int64_t rows; /* pixels of x */
    int64_t unit; /* windows that stay together: a row of them, or 1 where nothing is pooled */
    int64_t n_units, unit_blocks;
    int64_t row_blocks; /* of the batch statistics */
    double *sums;       /* scratch, [blocks][sums_of_block] */
    int64_t sums_of_block;
    float *channel; /* scratch, N_CHANNEL_ARRAYS of [C] */
} task;

static int64_t max_blocks(const task *t)
{
    return t->row_blocks > t->unit_blocks ? t->row_blocks : t->unit_blocks;
}

/* Sizes; scratch: NULL in prepare. */
static task task_of(const dt_node *node, void *scratch)
{
    const dt_norm_quant_params *p = node->params;
    const dt_shape *x = &node->in[DT_NQ_X]->shape, *y = &node->out->shape;
    task t = { .params = p, .rows = dt_rows(x), .unit = 1, .sums = scratch };
    dt_nq_view *v = &t.view;

    v->channels = dt_channels(x);
    v->pool = p->pool > 1 ? p->pool : 1;
    if (v->pool > 1) {
        v->height = x->dim[1];
        v->width = x->dim[2];
        v->out_height = y->dim[1];
        v->out_width = y->dim[2];
        t.unit = v->out_width;
    }
    t.n_units = dt_rows(y) / t.unit;
    t.row_blocks = n_blocks(t.rows, t.rows);
    t.unit_blocks = n_blocks(t.rows, t.n_units);
    t.sums_of_block = 2 * v->channels + DT_NQ_LANES;
    if (scratch) t.channel = (float *)(t.sums + max_blocks(&t) * t.sums_of_block);
    return t;
}

static dt_status check_types(const dt_node *node)
{
    const dt_tensor *x = node->in[DT_NQ_X], *y = node->out;
    const int64_t low = y->type == DT_I8 ? -128 : 0, high = y->type == DT_I8 ? 127 : 255;
    const int is_byte = y->type == DT_U8 || y->type == DT_I8;

    DT_CHECK(x->type == DT_F32 && (y->type == DT_F32 || is_byte), DT_ERR_UNSUPPORTED,
             "%s: norm_quant from type %d to type %d; the CPU takes f32 and gives f32 or bytes", node->name,
             (int)x->type, (int)y->type);
    DT_CHECK(!is_byte || (y->n_scale > 0 && y->qmin >= low && y->qmax <= high), DT_ERR_UNSUPPORTED,
             "%s: norm_quant: y is stored in bytes of %lld..%lld, its codes are %lld..%lld", node->name, (long long)low,
             (long long)high, (long long)y->qmin, (long long)y->qmax);
    DT_CHECK((x->grad_type == DT_F32 || x->grad_type == DT_BF16) && (y->grad_type == DT_F32 || y->grad_type == DT_BF16),
             DT_ERR_UNSUPPORTED, "%s: norm_quant: gradients of types %d and %d; the CPU has f32 and bf16", node->name,
             (int)x->grad_type, (int)y->grad_type);
    return DT_OK;
}

static dt_status norm_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const task t = task_of(node, NULL);
    (void)ex;

    DT_TRY(check_types(node));
    *scratch_bytes = (size_t)(max_blocks(&t) * t.sums_of_block) * sizeof(double) +
                     (size_t)(N_CHANNEL_ARRAYS * t.view.channels) * sizeof(float);
    return DT_OK;
}

static float *channel_array(const task *t, int i)
{
    return t->channel + i * t->view.channels;
}

/* The line of channel c, from the mean and 1 / deviation in aux. */
static dt_batchnorm_line line_at(const dt_node *node, const task *t, int64_t c, float scale)
{
    const float *gamma = node->in[DT_NQ_GAMMA]->data, *beta = node->in[DT_NQ_BETA]->data, *mean = node->aux;
    return dt_batchnorm_fold(gamma[c], beta[c], mean[c], mean[t->view.channels + c], scale);
}

/* Without a norm: 1 q + -0, which is q whatever q is. */
static void fill_lines(const dt_node *node, const task *t, float *a, float *b, float *scale)
{
    const dt_tensor *x = node->in[DT_NQ_X];
    const int has_norm = t->params->has_norm;

    for (int64_t c = 0; c < t->view.channels; c++) {
        const float s = dt_scale_at(x->scale, x->n_scale, c);
        const dt_batchnorm_line line = has_norm ? line_at(node, t, c, s) : (dt_batchnorm_line){ 1.0f, -0.0f };
        a[c] = line.a;
        b[c] = line.b;
        scale[c] = has_norm ? 1.0f : s;
    }
}

/* What both directions need; aux is filled. */
static task task_open(const dt_node *node, const dt_exec *ex)
{
    const dt_norm_quant_params *p = node->params;
    task t = task_of(node, ex->scratch);
    dt_nq_view *v = &t.view;
    float *a = channel_array(&t, 0), *b = channel_array(&t, 1), *scale = channel_array(&t, 2);

    fill_lines(node, &t, a, b, scale);
    v->x = node->in[DT_NQ_X]->data;
    v->a = a;
    v->b = b;
    v->scale = scale;
    v->limits = dt_norm_quant_limits(p);
    v->has_quant = p->has_quant;
    if (p->has_quant) {
        v->quant = p->quant;
        v->grid = dt_norm_quant_grid(&p->quant, dt_step_count(node, dt_count(&node->out->shape)));
        v->alpha = *(const float *)node->in[dt_norm_quant_alpha(p)]->data;
    }
    return t;
}

/* sums[0] += sums[1] + ... */
static void fold_blocks(double *sums, int64_t blocks, int64_t count)
{
    for (int64_t b = 1; b < blocks; b++) {
        for (int64_t i = 0; i < count; i++) sums[i] += sums[b * count + i];
    }
}

/* Statistics of the batch into aux; the running ones move. */
static dt_status take_batch_statistics(const dt_node *node, const dt_exec *ex, const task *t)
{
    const dt_batchnorm_params *p = &t->params->norm;
    const dt_tensor *x = node->in[DT_NQ_X];
    const int64_t channels = t->view.channels, blocks = t->row_blocks, rows = t->rows, of = dt_norm_rows(node, rows);
    float *mean = node->aux, *inv = mean + channels, *running_mean = node->in[DT_NQ_MEAN]->data,
          *running_var = node->in[DT_NQ_VAR]->data;

#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < blocks; i++) {
        double *sums = t->sums + i * 2 * channels;
        memset(sums, 0, (size_t)(2 * channels) * sizeof *sums);
        dt_nq_add_moments(x->data, channels, rows * i / blocks, rows * (i + 1) / blocks, sums, sums + channels);
    }
    fold_blocks(t->sums, blocks, 2 * channels);
    DT_TRY(dt_cpu_norm_sums(node, ex, t->sums, 2 * channels));
    for (int64_t c = 0; c < channels; c++) {
        const float scale = dt_scale_at(x->scale, x->n_scale, c);
        const dt_batchnorm_moments m = dt_batchnorm_moments_of(t->sums[c], t->sums[channels + c], of, scale);
        mean[c] = m.mean;
        inv[c] = dt_batchnorm_inv(m.var, p->epsilon);
        running_mean[c] = dt_batchnorm_move(running_mean[c], m.mean, p->momentum);
        running_var[c] = dt_batchnorm_move(running_var[c], m.var_unbiased, p->momentum);
    }
    return DT_OK;
}

static void take_running_statistics(const dt_node *node, const task *t)
{
    const int64_t channels = t->view.channels;
    const float *running_mean = node->in[DT_NQ_MEAN]->data, *running_var = node->in[DT_NQ_VAR]->data;
    float *mean = node->aux, *inv = mean + channels;

    for (int64_t c = 0; c < channels; c++) {
        mean[c] = running_mean[c];
        inv[c] = dt_batchnorm_inv(running_var[c], t->params->norm.epsilon);
    }
}

/* A byte holds no NaN: a diverged norm, or a scale of x that is none, must show in the loss, by way of y's scale. */
static int is_diverged(const task *t)
{
    const dt_nq_view *v = &t->view;

    for (int64_t c = 0; c < v->channels; c++) {
        if (isnan(v->a[c]) || isnan(v->b[c]) || isnan(v->scale[c])) return 1;
    }
    return 0;
}

static dt_status norm_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_norm_quant_params *p = node->params;
    task t = task_of(node, ex->scratch);

    if (p->has_norm && node->purpose.training)
        DT_TRY(take_batch_statistics(node, ex, &t));
    else if (p->has_norm)
        take_running_statistics(node, &t);
    t = task_open(node, ex);
    t.view.y = node->out->data;
    t.view.y_type = node->out->type;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < t.unit_blocks; i++) {
        dt_nq_map(&t.view, t.n_units * i / t.unit_blocks * t.unit, t.n_units * (i + 1) / t.unit_blocks * t.unit);
    }
    if (p->has_quant) {
        const float scale = dt_grid_scale(t.view.alpha, t.view.grid.high, p->quant.rule);
        node->out->scale[0] = node->out->type != DT_F32 && is_diverged(&t) ? NAN : scale;
    }
    return DT_OK;
}

/* To a parameter's gradient, in[k]: added, or written where it is fresh. */
static void give(const dt_node *node, int k, int64_t at, double value)
{
    float *grad = node->in[k]->grad;
    if (grad) grad[at] = node->fresh & 1u << k ? (float)value : grad[at] + (float)value;
}

/* Gives dalpha. */
static void take_sums(const dt_node *node, const task *t)
{
    const int64_t channels = t->view.channels;

#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < t->unit_blocks; i++) {
        double *sums = t->sums + i * t->sums_of_block;
        memset(sums, 0, (size_t)t->sums_of_block * sizeof *sums);
        dt_nq_add_sums(&t->view, t->n_units * i / t->unit_blocks * t->unit,
                       t->n_units * (i + 1) / t->unit_blocks * t->unit,
                       (dt_nq_sums){ sums, sums + channels, sums + 2 * channels });
    }
    fold_blocks(t->sums, t->unit_blocks, t->sums_of_block);
    if (!t->params->has_quant) return;
    double sum = 0.0;
    for (int i = 0; i < DT_NQ_LANES; i++) sum += t->sums[2 * channels + i];
    give(node, dt_norm_quant_alpha(t->params), 0, sum);
}

/* The sum of dz * xhat over channel c. */
static double slope_sum(const dt_node *node, const task *t, int64_t c)
{
    const dt_tensor *x = node->in[DT_NQ_X];
    const float *mean = node->aux, *inv = mean + t->view.channels;
    const float scale = dt_scale_at(x->scale, x->n_scale, c);

    return dt_batchnorm_dgamma(t->sums[c], t->sums[t->view.channels + c], mean[c], inv[c], scale);
}

/* dgamma and dbeta: of this rank's sums, since all ranks' gradients are summed later. */
static void give_norm_gradients(const dt_node *node, const task *t)
{
    for (int64_t c = 0; c < t->view.channels; c++) {
        give(node, DT_NQ_GAMMA, c, slope_sum(node, t, c));
        give(node, DT_NQ_BETA, c, t->sums[c]);
    }
}

/* In evaluation the statistics are constants. */
static dt_batchnorm_slope take_slope(const dt_node *node, const task *t, int64_t c)
{
    const dt_tensor *x = node->in[DT_NQ_X];
    const float *gamma = node->in[DT_NQ_GAMMA]->data, *mean = node->aux, *inv = mean + t->view.channels;
    const float scale = dt_scale_at(x->scale, x->n_scale, c);
    dt_batchnorm_slope k = dt_batchnorm_slope_of(t->sums[c], slope_sum(node, t, c), dt_norm_rows(node, t->rows),
                                                 gamma[c], mean[c], inv[c], scale);

    if (!node->purpose.training) k.mean_dy = k.slope = 0.0f;
    return k;
}

/* Without a norm: dx = dz. */
static void take_slopes(const dt_node *node, task *t)
{
    float *a = channel_array(t, 3), *mean_dy = channel_array(t, 4), *centre = channel_array(t, 5),
          *slope = channel_array(t, 6);

    for (int64_t c = 0; c < t->view.channels; c++) {
        const dt_batchnorm_slope k =
            t->params->has_norm ? take_slope(node, t, c) : (dt_batchnorm_slope){ 1.0f, 0.0f, 0.0f, 0.0f };
        a[c] = k.a;
        mean_dy[c] = k.mean_dy;
        centre[c] = k.centre;
        slope[c] = k.slope;
    }
    t->view.dx_a = a;
    t->view.mean_dy = mean_dy;
    t->view.centre = centre;
    t->view.slope = slope;
}

static dt_status norm_quant_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_norm_quant_params *p = node->params;
    const dt_tensor *x = node->in[DT_NQ_X];
    task t = task_open(node, ex);

    t.view.dy = node->out->grad;
    t.view.dy_type = node->out->grad_type;
    t.view.ewgs = p->has_quant ? node->purpose.ewgs : 0.0f;
    if (p->has_norm || (p->has_quant && node->in[dt_norm_quant_alpha(p)]->grad)) take_sums(node, &t);
    if (p->has_norm) {
        give_norm_gradients(node, &t);
        DT_TRY(dt_cpu_norm_sums(node, ex, t.sums, 2 * t.view.channels));
    }
    take_slopes(node, &t);
    if (!x->grad) return DT_OK;
    t.view.dx = x->grad;
    t.view.dx_type = x->grad_type;
    t.view.fresh = (node->fresh & 1u << DT_NQ_X) != 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < t.unit_blocks; i++) {
        dt_nq_slope(&t.view, t.n_units * i / t.unit_blocks * t.unit, t.n_units * (i + 1) / t.unit_blocks * t.unit);
    }
    return DT_OK;
}

const dt_kernel dt_cpu_norm_quant = {
    .prepare = norm_quant_prepare,
    .forward = norm_quant_forward,
    .backward = norm_quant_backward,
    .overwrites = DT_NQ_OVERWRITES,
};
