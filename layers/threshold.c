/*
 * threshold.c - makes codes of psums by comparison. In a program it stands for batch norm, ReLU and the next quantizer.
 *
 *   code = low + number of t with sign[c] * psum >= threshold[t][c]
 *
 * The integers of the psum are compared, not its real values. Thresholds ascend in t for each channel. Every psum
 * reaches -INFINITY, and none reaches INFINITY. sign is 1, or -1 where the code falls as the psum grows.
 *
 * Shapes: psum .., C; threshold T,C; sign C; scale 1, that of the codes low..low + T; out as psum.
 * CUDA: cuda/threshold.cu.  Tests: tests/layers/test_threshold.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"

#include <assert.h>

enum { PSUM, THRESHOLD, SIGN, SCALE };

/* Channels whose psums and counts stay in registers while the thresholds stream by; 16 and 64 are slower, by up to 1.5,
 * with either 256 or 512 bits. FEW is for narrow layers. */
enum { LANES = 32, FEW = 8 };

static dt_status threshold_infer(dt_node *node)
{
    const dt_threshold_params *p = node->params;
    const dt_tensor *psum = node->in[PSUM], *sign = node->in[SIGN];
    const dt_shape *threshold = &node->in[THRESHOLD]->shape;
    const int64_t channels = dt_channels(&psum->shape), n_scale = dt_count(&node->in[SCALE]->shape);
    char text[64];
    assert(psum->type == DT_F32 && node->in[THRESHOLD]->type == DT_F32 && sign->type == DT_F32);

    DT_CHECK(psum->n_scale > 0, DT_ERR_UNSUPPORTED,
             "%s: threshold: takes psums, and its input is real; quantize it instead", node->name);
    DT_CHECK(threshold->ndim == 2 && threshold->dim[1] == channels, DT_ERR_SHAPE,
             "%s: threshold: thresholds are %s, the psums have %lld channels; needed are T,C", node->name,
             dt_shape_text(threshold, text, sizeof text), (long long)channels);
    DT_CHECK(dt_count(&sign->shape) == channels, DT_ERR_SHAPE,
             "%s: threshold: %lld signs, the psums have %lld channels", node->name, (long long)dt_count(&sign->shape),
             (long long)channels);
    DT_CHECK(n_scale == 1, DT_ERR_SHAPE, "%s: threshold: takes one scale, got %lld", node->name, (long long)n_scale);
    node->out->shape = psum->shape;
    dt_scale_follows(node->out, node->in[SCALE], 0);
    node->out->qmin = p->low;
    node->out->qmax = p->low + threshold->dim[0];
    return DT_OK;
}

static const dt_field threshold_fields[] = {
    { DT_MEMBER(dt_threshold_params, low), DT_INT(-65536, 65536) },
};

const dt_op dt_op_threshold = {
    .name = "threshold",
    .min_in = 4,
    .max_in = 4,
    DT_OP_PARAMS(dt_threshold_params, threshold_fields),
    .no_grad = 1,
    .infer = threshold_infer,
};

/* One node's thresholds [levels][channels] and signs [channels]. */
typedef struct {
    const float *threshold, *sign;
    int64_t levels, channels;
    float low;
} threshold_view;

/* The codes of n channels from c on; psum and code point at channel c. n is a constant wherever this is inlined, so
 * that its loops become single instructions. Counting in f32 is exact. */
static inline void count_lanes(const threshold_view *v, const float *restrict psum, int64_t c, int n,
                               float *restrict code)
{
    float x[LANES], passed[LANES];

    for (int i = 0; i < n; i++) {
        x[i] = v->sign[c + i] * psum[i];
        passed[i] = v->low;
    }
    for (int64_t t = 0; t < v->levels; t++) {
        const float *threshold = v->threshold + t * v->channels + c;
        for (int i = 0; i < n; i++) passed[i] += x[i] >= threshold[i] ? 1.0f : 0.0f;
    }
    for (int i = 0; i < n; i++) code[i] = passed[i];
}

static void threshold_row(const threshold_view *v, const float *psum, float *code)
{
    int64_t c = 0;

    for (; c + LANES <= v->channels; c += LANES) count_lanes(v, psum + c, c, LANES, code + c);
    for (; c + FEW <= v->channels; c += FEW) count_lanes(v, psum + c, c, FEW, code + c);
    for (; c < v->channels; c++) count_lanes(v, psum + c, c, 1, code + c);
}

static dt_status threshold_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->out->shape;
    const int64_t rows = dt_rows(shape), channels = dt_channels(shape);
    const threshold_view v = { node->in[THRESHOLD]->data, node->in[SIGN]->data, node->in[THRESHOLD]->shape.dim[0],
                               channels, (float)node->out->qmin };
    const float *psum = node->in[PSUM]->data;
    float *code = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) threshold_row(&v, psum + r * channels, code + r * channels);
    node->out->scale[0] = *(const float *)node->in[SCALE]->data;
    return DT_OK;
}

const dt_kernel dt_cpu_threshold = { .forward = threshold_forward };
