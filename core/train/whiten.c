/*
 * whiten.c - a first layer that whitens: its filters are the eigenvectors of what images have under a filter's window.
 *
 *   M = mean over windows of x x^T = sum of value[k] v[k] v[k]^T,   x: the window's normalised pixels, R S C of them
 *   filter k = s v[k] / sqrt(value[k] + EPSILON),  filter n + k = -filter k,   k < n = min(R S C, filters / 2)
 *
 * With s = sqrt(trace M / (R S C)) what they give is as large as the pixels are: a signal keeps its size. Vectors of
 * large values come first; the filters behind stay as they were drawn. All of them train on.
 *
 * Windows are those that lie within an image, of up to MOST_IMAGES images that are spread over the training set, fewer
 * where windows or images are large.
 *
 * Source: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498, section 3.2.
 * Tests: tests/core/test_whiten.c.
 */
#include "../eigen.h"
#include "trainer.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_IMAGES = 5000, MOST_SIZE = 512 };
#define EPSILON       5e-4
#define MOST_PRODUCTS 4e9

/* The layer and its images. */
typedef struct {
    const dt_trainer *trainer;
    int param;      /* its filters, K,R,S,C */
    dt_shape w;     /* their shape */
    dt_shape image; /* N,H,W,C of the training set */
    int size;       /* R S C */
} first_layer;

/* The value behind quantizers and folds, each of which has it as its first input. */
static int source_of(const dt_graph *g, int value)
{
    while (dt_graph_maker(g, value)) value = dt_graph_maker(g, value)->in[0];
    return value;
}

static int is_quantizer(dt_op_kind kind)
{
    return kind == DT_OP_ACT_QUANT || kind == DT_OP_RANGE_QUANT || kind == DT_OP_SCALE_QUANT ||
           kind == DT_OP_FEATUREMAP_QUANT || kind == DT_OP_FIXED_POINT;
}

static int reads_image(const dt_graph *g, int value)
{
    const dt_graph_node *maker = dt_graph_maker(g, value);

    return maker ? is_quantizer(maker->kind) && reads_image(g, maker->in[0]) : value == g->image;
}

static dt_status find_layer(first_layer *l)
{
    const dt_model *m = l->trainer->model;
    const dt_graph *g = m->graph;
    int filters = -1;

    for (int i = 0; i < g->n_nodes && filters < 0; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == DT_OP_CONV2D && reads_image(g, n->in[0])) filters = source_of(g, n->in[1]);
    }
    for (l->param = m->n_params - 1; l->param >= 0 && m->param[l->param]->value != filters;) l->param--;
    DT_CHECK(filters >= 0 && l->param >= 0, DT_ERR_UNSUPPORTED,
             "whiten: no convolution of %s reads the image itself, so that none can whiten it", g->name);
    l->w = m->param[l->param]->tensor.shape;
    l->image = l->trainer->data.images.shape;
    l->size = (int)(dt_count(&l->w) / l->w.dim[0]);
    DT_CHECK(
        l->w.dim[3] == l->image.dim[3] && l->w.dim[0] >= 2 && l->size <= MOST_SIZE, DT_ERR_UNSUPPORTED,
        "whiten: %s has %lld filters of %d weights for images of %lld channels; it takes 2 filters or more, of all "
        "channels and at most %d weights",
        m->param[l->param]->name, (long long)l->w.dim[0], l->size, (long long)l->image.dim[3], MOST_SIZE);
    DT_CHECK(l->w.dim[1] <= l->image.dim[1] && l->w.dim[2] <= l->image.dim[2], DT_ERR_UNSUPPORTED,
             "whiten: %s has a window of %lldx%lld, and images are %lldx%lld", m->param[l->param]->name,
             (long long)l->w.dim[1], (long long)l->w.dim[2], (long long)l->image.dim[1], (long long)l->image.dim[2]);
    return DT_OK;
}

/* Image i of the training set, normalised as the network sees it. bytes: room for it as it is stored. */
static dt_status read_image(const first_layer *l, int64_t i, void *bytes, float *to)
{
    const dt_tensor *images = &l->trainer->data.images;
    const dt_data_origin *o = &l->trainer->origin;
    const int64_t n = dt_count(&l->image) / l->image.dim[0], channels = l->image.dim[3];
    const size_t each = (size_t)n * dt_type_bytes(images->type);

    DT_TRY(dt_device_read(l->trainer->model->ctx, bytes, (const char *)images->data + (size_t)i * each, each));
    for (int64_t k = 0; k < n; k++) {
        const float v = images->type == DT_U8 ? (float)((const uint8_t *)bytes)[k] / 255.0f : ((const float *)bytes)[k];
        to[k] = (v - o->mean[k % channels]) / o->std[k % channels];
    }
    return DT_OK;
}

/* Adds x x^T of all windows of an image to the lower half of sum. */
static void add_windows(const first_layer *l, const float *image, double *sum)
{
    const int64_t row = l->image.dim[2] * l->image.dim[3], run = l->w.dim[2] * l->w.dim[3];
    double x[MOST_SIZE];

    for (int64_t p = 0; p + l->w.dim[1] <= l->image.dim[1]; p++) {
        for (int64_t q = 0; q + l->w.dim[2] <= l->image.dim[2]; q++) {
            const float *from = image + p * row + q * l->image.dim[3];
            for (int i = 0; i < l->size; i++) x[i] = (double)from[i / run * row + i % run];
            for (int i = 0; i < l->size; i++) {
                for (int j = 0; j <= i; j++) sum[i * l->size + j] += x[i] * x[j];
            }
        }
    }
}

static void make_filters(const first_layer *l, const double *value, const double *vector, double trace, float *w)
{
    const int most = (int)l->w.dim[0] / 2, n = l->size < most ? l->size : most;

    for (int k = 0; k < n; k++) {
        const double s = sqrt(trace / l->size / ((value[k] > 0.0 ? value[k] : 0.0) + EPSILON));
        for (int i = 0; i < l->size; i++) {
            const float v = (float)(s * vector[k * l->size + i]);
            w[k * l->size + i] = v;
            w[(n + k) * l->size + i] = -v;
        }
    }
}

/* In memory of the host: an image, as it is stored and as the network sees it; filters and matrices. */
typedef struct {
    void *bytes;
    float *image, *w;
    double *matrix, *value, *vector;
} room;

static int64_t n_windows(const first_layer *l)
{
    return (l->image.dim[1] - l->w.dim[1] + 1) * (l->image.dim[2] - l->w.dim[2] + 1);
}

/* M of n images, and its trace. */
static dt_status take_matrix(const first_layer *l, const room *r, int64_t n, double *trace)
{
    double *m = r->matrix;
    const int size = l->size;

    for (int64_t i = 0; i < (int64_t)size * size; i++) m[i] = 0.0;
    for (int64_t i = 0; i < n; i++) {
        DT_TRY(read_image(l, i * l->image.dim[0] / n, r->bytes, r->image));
        add_windows(l, r->image, m);
    }
    *trace = 0.0;
    for (int i = 0; i < size; i++) {
        for (int j = 0; j <= i; j++) m[j * size + i] = m[i * size + j] /= (double)(n * n_windows(l));
        *trace += m[i * size + i];
    }
    return DT_OK;
}

/* All of the training set, or as many as are quickly looked at. */
static int64_t images_of(const first_layer *l)
{
    const double products = (double)n_windows(l) * (double)l->size * (double)(l->size + 1) / 2.0;
    const double most = fmin(fmin((double)MOST_IMAGES, MOST_PRODUCTS / products), (double)l->image.dim[0]);

    return most < 1.0 ? 1 : (int64_t)most;
}

static dt_status whiten(const first_layer *l, const room *r)
{
    dt_model *m = l->trainer->model;
    double trace = 0.0;

    DT_CHECK(r->bytes && r->image && r->w && r->matrix && r->value && r->vector, DT_ERR_MEMORY,
             "no memory to whiten windows of %d values", l->size);
    DT_TRY(take_matrix(l, r, images_of(l), &trace));
    dt_eigen_symmetric(l->size, r->matrix, r->value, r->vector);
    DT_TRY(dt_model_read(m, l->param, r->w));
    make_filters(l, r->value, r->vector, trace, r->w);
    return dt_model_write(m, l->param, r->w);
}

dt_status dt_trainer_whiten(dt_trainer *t)
{
    first_layer l = { .trainer = t };

    DT_CHECK(t->step == 0, DT_ERR_ARGUMENT, "whitening comes before the first step, %lld are done", (long long)t->step);
    DT_TRY(find_layer(&l));
    const size_t each = (size_t)(dt_count(&l.image) / l.image.dim[0]), cells = (size_t)l.size * (size_t)l.size;
    const room r = { .bytes = malloc(each * sizeof(float)),
                     .image = malloc(each * sizeof(float)),
                     .w = malloc((size_t)dt_count(&l.w) * sizeof(float)),
                     .matrix = malloc(cells * sizeof(double)),
                     .value = malloc((size_t)l.size * sizeof(double)),
                     .vector = malloc(cells * sizeof(double)) };
    const dt_status status = whiten(&l, &r);
    free(r.bytes);
    free(r.image);
    free(r.w);
    free(r.matrix);
    free(r.value);
    free(r.vector);
    DT_TRY(status);
    return DT_OK;
}
