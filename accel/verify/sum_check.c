/*
 * sum_check.c - see sum_check.h. The loops share no code with the layers that they judge.
 *
 * Tests: tests/accel/test_verify_network.c.
 */
#include "sum_check.h"

#include <stdlib.h>

static void add_codes(const float *x, int64_t n, int32_t *sum)
{
    for (int64_t i = 0; i < n; i++) sum[i] += (int32_t)x[i];
}

/* One window of one image: x [H][W][C] is summed into sum [C]; cells outside the map add nothing. */
static void add_window(const dt_pool_params *p, const int64_t *dim, const float *x, int64_t row, int64_t col,
                       int32_t *sum)
{
    const int whole = p->window[0] == 0;
    const int64_t height = whole ? dim[1] : p->window[0], width = whole ? dim[2] : p->window[1];
    const int64_t top = whole ? 0 : row * p->stride[0] - p->pad[0], left = whole ? 0 : col * p->stride[1] - p->pad[1];

    for (int64_t h = top; h < top + height; h++) {
        for (int64_t w = left; w < left + width; w++) {
            if (h < 0 || h >= dim[1] || w < 0 || w >= dim[2]) continue;
            add_codes(x + (h * dim[2] + w) * dim[3], dim[3], sum);
        }
    }
}

static void add_windows(const dt_node *node, const float *x, int32_t *sum)
{
    const int64_t *in = node->in[0]->shape.dim, *out = node->out->shape.dim;

    for (int64_t i = 0; i < out[0] * out[1] * out[2]; i++) {
        const int64_t image = i / (out[1] * out[2]), row = i / out[2] % out[1], col = i % out[2];
        add_window(node->params, in, x + image * in[1] * in[2] * in[3], row, col, sum + i * out[3]);
    }
}

static void count_sums(dt_sum_check *s, int64_t n)
{
    dt_psum_stats batch;

    dt_psum_stats_clear(&batch);
    batch.n_psums = n;
    for (int64_t i = 0; i < n; i++) {
        if (s->expected[i] < batch.min) batch.min = s->expected[i];
        if (s->expected[i] > batch.max) batch.max = s->expected[i];
    }
    dt_psum_stats_add(&s->stats, &batch);
}

dt_status dt_sum_check_batch(dt_sum_check *s, dt_context *ctx, const dt_node *node)
{
    const int64_t n = dt_count(&node->out->shape);

    if (!s->expected) {
        s->expected = malloc((size_t)n * sizeof *s->expected);
        DT_CHECK(s->expected, DT_ERR_MEMORY, "%s: no memory for %lld sums", node->name, (long long)n);
        dt_psum_stats_clear(&s->stats);
    }
    for (int64_t i = 0; i < n; i++) s->expected[i] = 0;
    for (int k = 0; k < node->n_in; k++) {
        const int64_t n_in = dt_count(&node->in[k]->shape);
        float *x;
        DT_TRY(dt_device_floats(ctx, node->in[k]->data, n_in, &x));
        if (node->kind == DT_OP_ADD)
            add_codes(x, n_in, s->expected);
        else
            add_windows(node, x, s->expected);
        free(x);
    }
    count_sums(s, n);
    return DT_OK;
}

void dt_sum_check_close(dt_sum_check *s)
{
    free(s->expected);
}
