/*
 * test_qkeras_network.c - the QKeras-Mod notebook's network, docs/examples/qkeras_mod.json, against what QKeras-Mod
 * itself computed with it, at 8, 4 and 16 bits.
 *
 * There all numbers are doubles, and each image has its own grids. Here the products are integers, which run on the
 * tape as those of any network; scales, biases and the softmax are doubles of this file. Every code must be equal, and
 * predictions within 1e-12, which is that of some hundred roundings.
 *
 * What detent extracts of such a network starts from f32 parameters. The last test says what that changes.
 */
#include <math.h>

#include "../support/golden_qkeras.h"
#include "../support/integer_sums.h"
#include "../support/draws.h"
#include "../../quant/extract.h"
#include "../../quant/fold.h"
#include "../../quant/insert_range.h"

enum { IMAGES = 25, SIDE = 28, POOL = 4, CLASSES = 10, N_LAYERS = 3, BIAS_BITS = 31 };

static const char network_file[] = DETENT_TEST_GOLDEN "/../../docs/examples/qkeras_mod.json";

static dt_context *open_context(void)
{
    dt_options o;
    dt_context *ctx;
    dt_options_default(&o);
    o.backend = "cpu";
    o.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&o, &ctx));
    return ctx;
}

/* ---- wide sums ---- */

static int64_t plain_sum(const sum_layer *l, const int32_t *x, const int32_t *w, int64_t n, int p, int q, int k)
{
    const int R = (int)l->shape.dim[1], S = (int)l->shape.dim[2], C = (int)l->shape.dim[3];
    int64_t sum = 0;
    for (int i = 0; i < R * S * C; i++) {
        const int64_t h = p * l->conv.stride[0] + i / C / S - l->conv.pad[0];
        const int64_t v = q * l->conv.stride[1] + i / C % S - l->conv.pad[1];
        if (h < 0 || v < 0 || h >= l->height || v >= l->width) continue;
        sum += (int64_t)x[((n * l->height + h) * l->width + v) * C + i % C] * w[k * R * S * C + i];
    }
    return sum;
}

Test(qkeras_network, sums_of_16_bit_integers_are_exact)
{
    enum { N = 3, H = 5, W = 5, C = 2, K = 3, P = 3, Q = 3, OUT = N * P * Q * K };
    const sum_layer l = { N, H, W, { 4, { K, 3, 3, C } }, dt_conv_square(2, 1) };
    int32_t x[N * H * W * C], w[K * 9 * C];
    int64_t sum[OUT];
    draws d = { .seed = 7 };
    for (int i = 0; i < N * H * W * C; i++) x[i] = i % 5 == 0 ? 65534 : draw(&d, 131069) - 65534;
    for (int i = 0; i < K * 9 * C; i++) w[i] = i % 7 == 0 ? -32767 : draw(&d, 65535) - 32767;
    dt_context *ctx = open_context();
    integer_sums(ctx, &l, x, w, OUT, sum);
    for (int i = 0; i < OUT; i++) {
        const int64_t want = plain_sum(&l, x, w, i / (P * Q * K), i / (Q * K) % P, i / K % Q, i % K);
        cr_assert(sum[i] == want, "sum %d is %lld, expected %lld", i, (long long)sum[i], (long long)want);
    }
    dt_context_destroy(ctx);
}

/* ---- the notebook's network ---- */

static const struct {
    const char *name, *norm; /* of the batch norm behind it; NULL: none */
    int per_layer;           /* one scale */
} layers[N_LAYERS] = { { "conv2d_0", NULL, 0 }, { "conv2d_1", "bn_1", 0 }, { "dense", NULL, 1 } };

/* A layer as the notebook quantizes it. Weights are K,R,S,C. */
typedef struct {
    sum_layer sums;
    int64_t row; /* weights of an output */
    double *w, *b, *w_scale, b_scale;
    int32_t *wq, *bq;
} layer;

typedef struct {
    golden_qkeras golden;
    dt_context *ctx;
    dt_graph *g;
    int bits;
    char folder[16]; /* "demo8" */
    layer layer[N_LAYERS];
} notebook;

static const char *key(const notebook *b, const char *kind, const char *name)
{
    static char text[128];
    snprintf(text, sizeof text, "%s/%s%s", b->folder, kind, name);
    return text;
}

/* A parameter whose key ends so, because Keras numbers its batch norms. */
static double *param(const notebook *b, const char *name, const char *end)
{
    char begin[64];
    snprintf(begin, sizeof begin, "%s/param/%s/", b->folder, name);
    for (int i = 0; i < dt_safetensors_count(b->golden.file); i++) {
        const char *full = dt_safetensors_at(b->golden.file, i)->name;
        const size_t n = strlen(full), n_end = strlen(end);
        if (strncmp(full, begin, strlen(begin)) == 0 && n > n_end && strcmp(full + n - n_end, end) == 0)
            return golden_qkeras_read(&b->golden, full, DT_SAFETENSORS_F64, NULL);
    }
    cr_assert(0, "no %s..%s", begin, end);
    return NULL;
}

/* Keras has the filters last. */
static double *filters_first(double *from, int64_t row, int64_t filters)
{
    double *to = malloc((size_t)(row * filters) * sizeof *to);
    for (int64_t i = 0; i < row * filters; i++) to[i % filters * row + i / filters] = from[i];
    free(from);
    return to;
}

/* In double, as Keras folds. */
static void fold_norm(const notebook *b, const char *name, layer *l)
{
    double *gamma = param(b, name, "/gamma"), *beta = param(b, name, "/beta"), *mean = param(b, name, "/moving_mean");
    double *var = param(b, name, "/moving_variance");
    for (int64_t k = 0; k < l->sums.shape.dim[0]; k++) {
        const double inv = gamma[k] / sqrt(var[k] + 1e-3);
        for (int64_t i = 0; i < l->row; i++) l->w[k * l->row + i] *= inv;
        l->b[k] = inv * (l->b[k] - mean[k]) + beta[k];
    }
    free(gamma);
    free(beta);
    free(mean);
    free(var);
}

static double most_of(const double *v, int64_t n)
{
    double most = 0.0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(v[i]));
    return most;
}

/* Codes against the golden ones; there the biases of 31 bits have the other sign. */
static void quantize_layer(const notebook *b, int at, layer *l)
{
    const int64_t K = l->sums.shape.dim[0];
    int32_t *wq = golden_qkeras_read(&b->golden, key(b, "wq/", layers[at].name), DT_SAFETENSORS_I32, NULL);
    int32_t *bq = golden_qkeras_read(&b->golden, key(b, "bq/", layers[at].name), DT_SAFETENSORS_I32, NULL);
    for (int64_t k = 0; k < K; k++) {
        const double most = layers[at].per_layer ? most_of(l->w, K * l->row) : most_of(l->w + k * l->row, l->row);
        l->w_scale[k] = dt_qkeras_scale(most, b->bits);
        for (int64_t i = 0; i < l->row; i++) {
            int32_t *code = &l->wq[k * l->row + i];
            *code = dt_qkeras_code(l->w[k * l->row + i], l->w_scale[k], b->bits);
            cr_assert(*code == wq[i * K + k], "%s, %s: weight %d,%d is %d, golden %d", b->folder, layers[at].name,
                      (int)k, (int)i, *code, wq[i * K + k]);
        }
    }
    l->b_scale = dt_qkeras_scale(most_of(l->b, K), BIAS_BITS);
    for (int64_t k = 0; k < K; k++) {
        l->bq[k] = dt_qkeras_code(l->b[k], l->b_scale, BIAS_BITS);
        cr_assert(l->bq[k] == -bq[k], "%s, %s: bias %d is %d, golden %d", b->folder, layers[at].name, (int)k, l->bq[k],
                  -bq[k]);
    }
    free(wq);
    free(bq);
}

/* Sizes are those of the network's file. A linear layer's window is the map before it. */
static sum_layer size_layer(const dt_graph *g, const char *name)
{
    const dt_graph_node *n = dt_graph_maker(g, dt_graph_find(g, name));
    const int is_linear = n->kind == DT_OP_LINEAR;
    const dt_graph_node *flat = is_linear ? dt_graph_maker(g, n->in[0]) : n;
    const dt_shape *x = dt_graph_shape(g, flat->in[0]), *w = dt_graph_shape(g, n->in[1]);
    sum_layer l = { IMAGES, x->dim[1], x->dim[2], *w, dt_conv_square(1, 0) };
    if (is_linear)
        l.shape = (dt_shape){ 4, { w->dim[0], x->dim[1], x->dim[2], x->dim[3] } };
    else
        l.conv = *(const dt_conv_params *)n->params;
    return l;
}

static void open_layer(notebook *b, int at)
{
    layer *l = &b->layer[at];
    l->sums = size_layer(b->g, layers[at].name);
    const size_t K = (size_t)l->sums.shape.dim[0];
    l->row = dt_count(&l->sums.shape) / (int64_t)K;
    l->w = filters_first(param(b, layers[at].name, "/kernel"), l->row, (int64_t)K);
    l->b = param(b, layers[at].name, "/bias");
    l->w_scale = calloc(K, sizeof *l->w_scale);
    l->wq = calloc(K * (size_t)l->row, sizeof *l->wq);
    l->bq = calloc(K, sizeof *l->bq);
    if (layers[at].norm) fold_norm(b, layers[at].name, l);
    quantize_layer(b, at, l);
}

static notebook notebook_open(int bits)
{
    notebook b = { .golden = golden_qkeras_open(), .ctx = open_context(), .bits = bits };
    snprintf(b.folder, sizeof b.folder, "demo%d", bits);
    MUST(dt_graph_load(network_file, &b.g));
    for (int i = 0; i < N_LAYERS; i++) open_layer(&b, i);
    return b;
}

static void notebook_close(notebook *b)
{
    for (int i = 0; i < N_LAYERS; i++) {
        free(b->layer[i].w);
        free(b->layer[i].b);
        free(b->layer[i].w_scale);
        free(b->layer[i].wq);
        free(b->layer[i].bq);
    }
    dt_graph_destroy(b->g);
    dt_context_destroy(b->ctx);
    golden_qkeras_close(&b->golden);
}

/* Grids of the images, and codes less the zero point: `count` an image. */
typedef struct {
    int64_t count;
    dt_qkeras_grid grid[IMAGES];
    int32_t *code;
} quantized_maps;

static void quantize_image(const double *v, int64_t n, int bits, dt_qkeras_grid *grid, int32_t *code)
{
    double alpha = INFINITY, beta = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        alpha = fmin(alpha, dt_qkeras_flush(v[i]));
        beta = fmax(beta, dt_qkeras_flush(v[i]));
    }
    *grid = dt_qkeras_training_grid(alpha, beta, bits);
    for (int64_t i = 0; i < n; i++) code[i] = (int32_t)(dt_qkeras_training_code(v[i], grid, bits) - grid->zero);
}

/* The notebook's act_0 .. act_3, against the golden codes. It frees v. */
static quantized_maps quantize_maps(const notebook *b, int act, double *v, int64_t count)
{
    quantized_maps q = { .count = count, .code = malloc((size_t)(IMAGES * count) * sizeof *q.code) };
    char name[16];
    snprintf(name, sizeof name, "act_%d", act);
    int32_t *want = golden_qkeras_read(&b->golden, key(b, "act_codes/", name), DT_SAFETENSORS_I32, NULL);
    for (int i = 0; i < IMAGES; i++) {
        int32_t *code = q.code + i * count;
        quantize_image(v + i * count, count, b->bits, &q.grid[i], code);
        for (int64_t k = 0; k < count; k++) {
            const int32_t stored = code[k] + (int32_t)q.grid[i].zero, golden = want[i * count + k];
            cr_assert(stored == golden, "%s, %s, image %d: code %d is %d, golden %d", b->folder, name, i, (int)k,
                      stored, golden);
        }
    }
    free(want);
    free(v);
    return q;
}

static double *pooled_images(const notebook *b, int64_t *count)
{
    double *x = golden_qkeras_read(&b->golden, key(b, "x", ""), DT_SAFETENSORS_F64, NULL);
    const int side = SIDE / POOL;
    double *y = malloc((size_t)(IMAGES * side * side) * sizeof *y);
    *count = side * side;
    for (int i = 0; i < IMAGES * side * side; i++) {
        y[i] = -INFINITY;
        for (int j = 0; j < POOL * POOL; j++) {
            const int row = i / side % side * POOL + j / POOL, column = i % side * POOL + j % POOL;
            y[i] = fmax(y[i], x[(i / (side * side) * SIDE + row) * SIDE + column]);
        }
    }
    free(x);
    return y;
}

/* Real values of a layer: exact integers, times their scale, and a bias; and the ReLU behind all but the last. */
static double *run_layer(const notebook *b, int at, const quantized_maps *x, int64_t *count)
{
    const layer *l = &b->layer[at];
    const dt_graph_node *n = dt_graph_maker(b->g, dt_graph_find(b->g, layers[at].name));
    const int64_t K = l->sums.shape.dim[0];
    *count = dt_graph_count(b->g, n->out);
    int64_t *sum = malloc((size_t)(IMAGES * *count) * sizeof *sum);
    double *y = malloc((size_t)(IMAGES * *count) * sizeof *y);
    integer_sums(b->ctx, &l->sums, x->code, l->wq, IMAGES * *count, sum);
    for (int64_t i = 0; i < IMAGES * *count; i++) {
        const int64_t k = i % K;
        y[i] = x->grid[i / *count].scale * l->w_scale[k] * (double)sum[i] + l->b_scale * (double)l->bq[k];
        if (at + 1 < N_LAYERS && y[i] < 0.0) y[i] = 0.0;
    }
    free(sum);
    return y;
}

static void check_predictions(const notebook *b, const quantized_maps *scores)
{
    double *want = golden_qkeras_read(&b->golden, key(b, "pred", ""), DT_SAFETENSORS_F64, NULL);
    for (int i = 0; i < IMAGES; i++) {
        const int32_t *code = scores->code + i * CLASSES;
        double e[CLASSES], sum = 0.0, most = -INFINITY;
        for (int k = 0; k < CLASSES; k++) most = fmax(most, scores->grid[i].scale * code[k]);
        for (int k = 0; k < CLASSES; k++) sum += e[k] = exp(scores->grid[i].scale * code[k] - most);
        for (int k = 0; k < CLASSES; k++) {
            cr_assert(fabs(e[k] / sum - want[i * CLASSES + k]) <= 1e-12, "%s, image %d, class %d: %.17g, golden %.17g",
                      b->folder, i, k, e[k] / sum, want[i * CLASSES + k]);
        }
    }
    free(want);
}

static void check_notebook(int bits)
{
    notebook b = notebook_open(bits);
    int64_t count;
    double *v = pooled_images(&b, &count);
    for (int i = 0; i < N_LAYERS; i++) {
        quantized_maps q = quantize_maps(&b, i, v, count);
        v = run_layer(&b, i, &q, &count);
        free(q.code);
    }
    quantized_maps scores = quantize_maps(&b, N_LAYERS, v, count);
    check_predictions(&b, &scores);
    free(scores.code);
    notebook_close(&b);
}

Test(qkeras_network, codes_and_predictions_of_8_bits)
{
    check_notebook(8);
}

Test(qkeras_network, codes_and_predictions_of_4_bits)
{
    check_notebook(4);
}

Test(qkeras_network, codes_and_predictions_of_16_bits)
{
    check_notebook(16);
}

/* ---- what detent extracts of it ---- */

static void set_param(dt_graph *g, const char *name, const double *v)
{
    const int value = dt_graph_find(g, name);
    cr_assert(value >= 0, "no %s", name);
    const int64_t n = dt_count(dt_graph_shape(g, value));
    float *to = malloc((size_t)n * sizeof *to);
    for (int64_t i = 0; i < n; i++) to[i] = (float)v[i];
    dt_graph_set_data(g, value, DT_F32, to);
}

static void take_param(const notebook *b, const char *layer_name, const char *end, const char *name)
{
    double *v = param(b, layer_name, end);
    set_param(b->g, name, v);
    free(v);
}

/* The golden parameters before they are folded, rounded to f32. */
static void set_params(notebook *b)
{
    static const char *const from[N_LAYERS][3] = { { "conv2d_0", "conv2d_0.weight", "bias_0.bias" },
                                                   { "conv2d_1", "conv2d_1.weight", "bias_1.bias" },
                                                   { "dense", "dense.weight", "dense.bias" } };
    for (int i = 0; i < N_LAYERS; i++) {
        const layer *l = &b->layer[i];
        double *w = filters_first(param(b, from[i][0], "/kernel"), l->row, l->sums.shape.dim[0]);
        set_param(b->g, from[i][1], w);
        free(w);
        take_param(b, from[i][0], "/bias", from[i][2]);
    }
    take_param(b, "conv2d_1", "/gamma", "bn_1.weight");
    take_param(b, "conv2d_1", "/beta", "bn_1.bias");
    take_param(b, "conv2d_1", "/moving_mean", "bn_1.running_mean");
    take_param(b, "conv2d_1", "/moving_variance", "bn_1.running_var");
}

static const char *const act_values[] = { "image", "relu_0", "relu_1", "dense" };

static const cJSON *demo_json(const notebook *b, const char *what, const char *name)
{
    const cJSON *demo = cJSON_GetObjectItemCaseSensitive(b->golden.json, b->folder);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(demo, what), name);
    cr_assert(item != NULL, "no %s of %s", what, name);
    return item;
}

static double number(const cJSON *from, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(from, name)->valuedouble;
}

static const cJSON *act_json(const notebook *b, int act)
{
    char name[16];
    snprintf(name, sizeof name, "act_%d", act);
    return cJSON_GetObjectItemCaseSensitive(demo_json(b, "activations", name), "minmax");
}

/* The network, folded and with the golden ranges. */
static dt_model *quantized_notebook(notebook *b)
{
    dt_range_choice choice = { .wbits = 8, .abits = 8, .per_channel = 1, .fc_per_layer = 1, .update = DT_RANGE_FIXED };
    dt_graph *folded, *quantized;
    dt_model *m;
    set_params(b);
    MUST(dt_graph_fold(b->g, &folded));
    dt_range *range = calloc((size_t)folded->n_values, sizeof *range);
    for (int i = 0; i <= N_LAYERS; i++) {
        const cJSON *act = act_json(b, i);
        range[dt_graph_find(folded, act_values[i])] =
            (dt_range){ (float)number(act, "alpha"), (float)number(act, "beta") };
    }
    choice.range = range;
    MUST(dt_quant_insert_range(folded, &choice, &quantized));
    MUST(dt_model_open(b->ctx, quantized, &m));
    dt_graph_destroy(folded);
    free(range);
    return m;
}

/* f32 has 24 bits, so that an integer of N bits moves by up to 2^(N - 24): of 16 bits one in some hundred may round to
 * its neighbour, which none of these does, and of 31 bits the last 8 are others. */
static void compare_layer(const notebook *b, int at, const dt_extracted_layer *got)
{
    const layer *l = &b->layer[at];
    const int64_t K = l->sums.shape.dim[0];
    cr_assert(got->n_out == K && got->n_weights == K * l->row && got->n_scale == (layers[at].per_layer ? 1 : K));
    for (int64_t k = 0; k < K; k++) {
        const double scale = got->w_scale[layers[at].per_layer ? 0 : k];
        cr_assert(fabs(scale - l->w_scale[k]) <= 0x1p-23 * l->w_scale[k], "%s: scale %.17g", got->name, scale);
        cr_assert(abs(got->bq[k] - l->bq[k]) <= 256, "%s: bias %d is %d, not %d", got->name, (int)k, got->bq[k],
                  l->bq[k]);
        for (int64_t i = 0; i < l->row; i++) {
            cr_assert(got->wq[i * K + k] == l->wq[k * l->row + i], "%s: weight %d,%d is %d, not %d", got->name, (int)k,
                      (int)i, got->wq[i * K + k], l->wq[k * l->row + i]);
        }
    }
}

static void compare_subq(const notebook *b, const dt_extracted_layer *got)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(demo_json(b, "weights", got->name), "subq");
    for (int64_t k = 0; k < got->n_out; k++) {
        const double golden = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(want, "minmax"), (int)k)->valuedouble;
        cr_assert(got->subq[k] == golden, "%s: subq %d is %.17g, golden %.17g", got->name, (int)k, got->subq[k],
                  golden);
    }
}

static void check_extraction(int bits)
{
    notebook b = notebook_open(bits);
    dt_model *m = quantized_notebook(&b);
    dt_extracted e;
    MUST(dt_extract(m, &(dt_extraction){ .wbits = bits, .abits = bits }, &e));
    cr_assert(e.n_layers == N_LAYERS && e.n_acts == N_LAYERS + 1);
    for (int i = 0; i < e.n_layers; i++) {
        compare_layer(&b, i, &e.layer[i]);
        compare_subq(&b, &e.layer[i]);
    }
    for (int i = 0; i < e.n_acts; i++) {
        const cJSON *act = act_json(&b, i);
        const double scale = number(act, "in_scale");
        cr_assert(fabs(e.act[i].grid.scale - scale) <= 0x1p-23 * scale, "%s: scale %.17g", e.act[i].name,
                  e.act[i].grid.scale);
        cr_assert(e.act[i].grid.zero == number(act, "in_zeropoint"), "%s: zero point %g, golden %g", e.act[i].name,
                  e.act[i].grid.zero, number(act, "in_zeropoint"));
    }
    dt_extracted_free(&e);
    dt_model_destroy(m);
    notebook_close(&b);
}

Test(qkeras_network, extraction_from_f32_has_the_notebooks_integers)
{
    check_extraction(8);
    check_extraction(4);
    check_extraction(16);
}
