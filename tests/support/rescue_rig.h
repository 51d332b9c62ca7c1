/*
 * rescue_rig.h - a network with its folded form, images and the values of its layers, for the tests of rescue passes.
 */
#ifndef RESCUE_RIG_H
#define RESCUE_RIG_H

#include "drawn_model.h"

#include <criterion/criterion.h>

#include "../../core/context.h"
#include "../../core/train/model.h"
#include "../../quant/rescue/rescue.h"

enum { SIDE = 8, CHANNELS = 3, IMAGE = SIDE * SIDE * CHANNELS, IMAGES = 24, CLASSES = 4 };

/* A chain of every kind of layer, and a residual one beside it, which has no pair. */
#define NETWORK(most)                                                                                           \
    "{ \"format\": \"detent-network\", \"name\": \"chain\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": [" \
    "[\"stem\", \"conv\", \"image\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"                           \
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"                                                                   \
    "[\"stem.relu\", \"relu\", \"stem.bn\"],"                                                                   \
    "[\"deep\", \"conv\", \"stem.relu\", { \"filters\": 8, \"window\": 3, \"pad\": 1, \"groups\": 8 }],"        \
    "[\"deep.bn\", \"batchnorm\", \"deep\"],"                                                                   \
    "[\"deep.relu\", \"relu\", \"deep.bn\"" most "],"                                                           \
    "[\"half\", \"maxpool\", \"deep.relu\", { \"window\": 2 }],"                                                \
    "[\"point\", \"conv\", \"half\", { \"filters\": 6, \"window\": 1 }],"                                       \
    "[\"point.bn\", \"batchnorm\", \"point\"],"                                                                 \
    "[\"point.relu\", \"relu\", \"point.bn\"],"                                                                 \
    "[\"flat\", \"flatten\", \"point.relu\"],"                                                                  \
    "[\"hidden\", \"linear\", \"flat\", { \"features\": 7 }],"                                                  \
    "[\"hidden.relu\", \"relu\", \"hidden\"],"                                                                  \
    "[\"classifier\", \"linear\", \"hidden.relu\", { \"features\": 4 }] ] }"

static const char chain[] = NETWORK(""), limited[] = NETWORK(", { \"most\": 0.5 }");

/* A network with its folded form, and images. */
typedef struct {
    dt_context *ctx;
    dt_model *real, *folded;
    dt_graph *unfolded;
    dt_rescue_layers layers;
    float *images;
    dt_dataset *held_out;
    dt_quantization what;
} rig;

static inline dt_context *context(void)
{
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = "cpu";
    opt.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&opt, &ctx));
    return ctx;
}

/* Filters of very different sizes, so that there is something to equalize. */
static inline void spread_filters(dt_model *m)
{
    for (int i = 0; i < m->n_params; i++) {
        const dt_shape *shape = &m->param[i]->tensor.shape;
        const int64_t n = dt_count(shape), row = n / shape->dim[0];
        float *v = malloc((size_t)n * sizeof *v);
        if (shape->ndim == 4) {
            MUST(dt_model_read(m, i, v));
            for (int64_t k = 0; k < n; k++) v[k] *= powf(3.0f, (float)(k / row % 4) - 1.5f);
            MUST(dt_model_write(m, i, v));
        }
        free(v);
    }
}

static inline rig open_rig(const char *text)
{
    static float held[IMAGES * IMAGE];
    static int32_t labels[IMAGES];
    rig r = { .ctx = context() };
    dt_images images = { .name = "held", .reals = held, .labels = labels, .n = IMAGES };

    MUST(dt_model_open(r.ctx, graph_of(text), &r.real));
    draw_parameters(r.real);
    spread_filters(r.real);
    MUST(dt_post_training_plain(r.real, &r.unfolded));
    MUST(dt_post_training_fold(r.real, &r.folded));
    MUST(dt_rescue_layers_find(r.unfolded, r.folded->graph, &r.layers));
    cr_assert(r.layers.n == 5);
    r.images = drawn_images(IMAGES, IMAGE);
    r.what = (dt_quantization){ .normalised = r.images, .n = IMAGES, .wbits = 4, .abits = 8 };
    for (int i = 0; i < IMAGES * IMAGE; i++) held[i] = 1.5f * drawn_number((uint32_t)i + 90000u) + 0.2f;
    for (int i = 0; i < IMAGES; i++) labels[i] = i % CLASSES;
    images.height = images.width = SIDE;
    images.channels = CHANNELS;
    images.n_classes = CLASSES;
    for (int c = 0; c < CHANNELS; c++) images.std[c] = 1.0f;
    MUST(dt_dataset_from_memory(&images, &r.held_out));
    return r;
}

static inline void close_rig(rig *r)
{
    dt_rescue_layers_free(&r->layers);
    dt_graph_destroy(r->unfolded);
    dt_model_destroy(r->folded);
    dt_model_destroy(r->real);
    dt_dataset_close(r->held_out);
    dt_context_destroy(r->ctx);
    free(r->images);
}

static inline dt_model *quantize(const rig *r)
{
    const dt_known_ranges none = { NULL, NULL };
    dt_model *q;

    MUST(dt_post_training_quantize(r->folded, &r->what, &none, &q));
    return q;
}

/* ---- values of a network ---- */

typedef struct {
    const char *name;
    float *at; /* real values of all images; the caller frees them */
    int64_t n, channels;
} values;

static inline int wants(void *user, const char *name)
{
    return strcmp(((values *)user)->name, name) == 0;
}

static inline dt_status keep(void *user, const dt_value_batch *v)
{
    values *to = user;
    int64_t n = 1;

    for (int i = 0; i < v->ndim; i++) n *= v->dim[i];
    to->channels = v->dim[v->ndim - 1];
    to->at = realloc(to->at, (size_t)(to->n + n) * sizeof *to->at);
    for (int64_t i = 0; i < n; i++) {
        const float scale = v->n_scale == 0 ? 1.0f : v->scale[v->n_scale == 1 ? 0 : i % to->channels];
        to->at[to->n + i] = scale * v->values[i];
    }
    to->n += n;
    return DT_OK;
}

static inline values values_of(const rig *r, dt_model *m, int value)
{
    values v = { .name = dt_graph_name(m->graph, value) };
    const dt_prediction how = {
        .normalised = r->images, .n = IMAGES, .batch = 7, .look = keep, .wants = wants, .user = &v
    };

    MUST(dt_predict(m, &how, NULL));
    cr_assert(v.n > 0, "%s has no values", v.name);
    return v;
}

static inline dt_rescue_quantized quantized_layer(const rig *r, const dt_model *q, int i)
{
    dt_rescue_quantized l;

    MUST(dt_rescue_quantized_of(r->folded, &r->layers.layer[i], q, &l));
    return l;
}

#endif /* RESCUE_RIG_H */
