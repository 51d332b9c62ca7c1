/*
 * model.c - parameters by name: declared by the network's record function, laid out in one block, initialised from
 *           the seed, read and written.
 */
#include "model.h"

#include "names.h"
#include "rng.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_trained(const dt_param *p)
{
    return p->group != DT_GROUP_STATE;
}

int dt_model_find(const dt_model *m, const char *name)
{
    for (int i = 0; i < m->n_params; i++) {
        if (strcmp(m->param[i]->name, name) == 0) return i;
    }
    return -1;
}

int dt_model_find_layer(const dt_model *m, const char *name)
{
    for (int i = 0; i < m->n_layers; i++) {
        if (strcmp(m->layer[i].name, name) == 0) return i;
    }
    return -1;
}

static dt_status param_add(dt_model *m, const char *name, const dt_param_spec *spec)
{
    if (m->n_params == m->params_room) {
        const int room = m->params_room ? 2 * m->params_room : 64;
        dt_param **bigger = realloc(m->param, (size_t)room * sizeof *bigger);
        DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for %d parameters", room);
        m->param = bigger;
        m->params_room = room;
    }
    dt_param *p = calloc(1, sizeof *p);
    DT_CHECK(p, DT_ERR_MEMORY, "no memory for parameter %s", name);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->group = spec->group;
    p->values = spec->values;
    p->init = spec->init;
    p->init_value = spec->init_value;
    p->floor = spec->floor;
    p->tensor = (dt_tensor){ .type = DT_F32, .shape = spec->shape, .constant = 1, .name = p->name };
    p->tensor.wants_grad = is_trained(p);
    int64_t *used = is_trained(p) ? &m->n_trained : &m->n_state;
    p->first = *used;
    *used += dt_count(&spec->shape);
    m->param[m->n_params++] = p;
    return DT_OK;
}

dt_status dt_model_declare(dt_model *m, const char *name, const dt_param_spec *spec, dt_tensor **out)
{
    int i = dt_model_find(m, name);
    char is[64], wanted[64];

    if (i < 0) {
        DT_CHECK(m->open, DT_ERR_RANGE, "the model has no parameter %s", name);
        DT_TRY(param_add(m, name, spec));
        i = m->n_params - 1;
    }
    dt_param *p = m->param[i];
    DT_CHECK(dt_same_shape(&p->tensor.shape, &spec->shape), DT_ERR_SHAPE, "%s is %s, the network wants %s", name,
             dt_shape_text(&p->tensor.shape, is, sizeof is), dt_shape_text(&spec->shape, wanted, sizeof wanted));
    *out = &p->tensor;
    return DT_OK;
}

/* Bits of two's complement that hold -bound..bound; without sign for 0..bound. */
static int bits_for(int64_t bound, int is_signed)
{
    int bits = is_signed;
    while (((int64_t)1 << (bits - is_signed)) - 1 < bound) bits++;
    return bits;
}

/* Symmetric or two's complement; the low end of an image that is not clipped below is no word's. */
static int is_signed(const dt_tensor *x)
{
    return x->qmin == -x->qmax || x->qmin == -x->qmax - 1;
}

/* Of a convolution on a tape for `batch` images. */
static void layer_describe(const dt_node *node, int64_t batch, dt_layer_info *out)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    const int64_t terms = dt_count(&w->shape) / w->shape.dim[0], maps = y->shape.dim[0] / batch;

    *out = (dt_layer_info){ .name = node->name,
                            .wbits = bits_for(w->qmax, 1),
                            .abits = bits_for(x->qmax, is_signed(x)),
                            .terms = terms,
                            .psum_bound = y->qmax,
                            .psum_bits = bits_for(y->qmax, 1),
                            .exact_f32 = y->qmax < (int64_t)1 << 24,
                            .macs = maps * y->shape.dim[1] * y->shape.dim[2] * y->shape.dim[3] * terms,
                            .maps = (int)maps,
                            .height = (int)y->shape.dim[1],
                            .width = (int)y->shape.dim[2],
                            .filters = (int)y->shape.dim[3] };
}

/* The layers of a tape that convolve on the grid; their names are copied. */
static dt_status model_list_layers(dt_model *m, const dt_tape *tape, int64_t batch)
{
    m->layer = calloc((size_t)dt_tape_n_nodes(tape), sizeof *m->layer);
    DT_CHECK(m->layer, DT_ERR_MEMORY, "no memory for the list of layers");
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *node = dt_tape_node(tape, i);
        const int convolves = node->kind == DT_OP_CONV2D || node->kind == DT_OP_PSUM;
        if (!convolves || node->out->n_scale == 0) continue;
        dt_layer_info *layer = &m->layer[m->n_layers];
        layer_describe(node, batch, layer);
        layer->name = strdup(node->name);
        DT_CHECK(layer->name, DT_ERR_MEMORY, "no memory for the list of layers");
        m->n_layers++;
    }
    return DT_OK;
}

/* Records once, for no purpose but to learn the parameters and the layers. */
static dt_status model_declare_all(dt_model *m)
{
    const dt_model_config *c = &m->config;
    dt_tensor images = { .type = DT_U8, .shape = { 4, { 1, c->height, c->width, c->channels } }, .name = "images" };
    dt_tensor labels = { .type = DT_I32, .shape = { 1, { 1 } }, .name = "labels" };
    dt_tensor order = { .type = DT_I32, .shape = { 1, { 2 } }, .name = "order" };
    const int trains = m->recording.record_image == NULL; /* programs do not; a decoder is there in training alone */
    const dt_record_spec spec = { .images = &images,
                                  .labels = &labels,
                                  .order = &order,
                                  .batch = 2,
                                  .training = trains,
                                  .std = { 1.0f, 1.0f, 1.0f, 1.0f } };
    dt_tensor *logits, *loss;
    dt_tape *tape;

    DT_TRY(dt_tape_create(m->ctx, &tape));
    m->open = 1;
    dt_status status = dt_model_record(m, tape, &spec, &logits, &loss);
    m->open = 0;
    if (status == DT_OK) status = model_list_layers(m, tape, spec.batch);
    dt_tape_destroy(tape);
    return status;
}

static dt_status model_allocate(dt_model *m)
{
    DT_TRY(dt_device_alloc(m->ctx, (size_t)m->n_trained * sizeof(float), (void **)&m->w));
    DT_TRY(dt_device_alloc(m->ctx, (size_t)m->n_trained * sizeof(float), (void **)&m->dw));
    DT_TRY(dt_device_alloc(m->ctx, (size_t)m->n_state * sizeof(float), (void **)&m->state));
    for (int i = 0; i < m->n_params; i++) {
        dt_param *p = m->param[i];
        p->tensor.data = (is_trained(p) ? m->w : m->state) + p->first;
        p->tensor.grad = is_trained(p) ? m->dw + p->first : NULL;
    }
    return DT_OK;
}

/* FNV-1a: a parameter's numbers depend on its name, not on what is declared before it. */
static uint32_t name_hash(const char *name)
{
    uint32_t h = 2166136261u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

static void param_values(const dt_model *m, const dt_param *p, float *value)
{
    const int64_t n = dt_count(&p->tensor.shape);
    const float bound = p->init_value;

    for (int64_t i = 0; i < n; i++) {
        if (p->init == DT_INIT_CONSTANT) {
            value[i] = p->init_value;
            continue;
        }
        const dt_random4 r = dt_random(m->ctx->opt.seed, DT_STREAM_INIT, name_hash(p->name), (uint64_t)i);
        value[i] = bound * (2.0f * dt_uniform(r.v[0]) - 1.0f);
    }
}

static dt_status model_initialise(dt_model *m)
{
    for (int i = 0; i < m->n_params; i++) {
        float *value = malloc(dt_tensor_bytes(&m->param[i]->tensor));
        DT_CHECK(value, DT_ERR_MEMORY, "no memory to initialise %s", m->param[i]->name);
        param_values(m, m->param[i], value);
        const dt_status status = dt_model_write(m, i, value);
        free(value);
        DT_TRY(status);
    }
    return DT_OK;
}

dt_status dt_model_config_default(const char *name, dt_model_config *out)
{
    const dt_network *network = dt_network_find(name);
    DT_CHECK(network, DT_ERR_ARGUMENT, "model '%s' is not known; there are %s", name ? name : "", dt_network_names());
    *out = (dt_model_config){ .name = network->name };
    network->defaults(out);
    return DT_OK;
}

dt_status dt_model_open(dt_context *ctx, const dt_model_config *cfg, const dt_recording *recording, dt_model **out)
{
    dt_model *m = calloc(1, sizeof *m);

    if (!m) {
        if (recording->network_destroy) recording->network_destroy(recording->network);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a model");
    }
    dt_context_hold(ctx);
    m->holders = 1;
    m->ctx = ctx;
    m->config = *cfg;
    m->recording = *recording;

    dt_status status = model_declare_all(m);
    if (status == DT_OK) status = model_allocate(m);
    if (status == DT_OK) status = model_initialise(m);
    if (status != DT_OK) {
        dt_model_destroy(m);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = m;
    return DT_OK;
}

int dt_model_resizes(const char *name)
{
    const dt_network *network = dt_network_find(name);

    return network && network->resizes;
}

dt_status dt_model_create(dt_context *ctx, const dt_model_config *cfg, dt_model **out)
{
    const dt_network *network = dt_network_find(cfg->name);
    DT_CHECK(cfg->name, DT_ERR_ARGUMENT, "the model's name is NULL; dt_model_config_default fills dt_model_config");
    DT_CHECK(network, DT_ERR_ARGUMENT, "model '%s' is not known; there are %s", cfg->name, dt_network_names());
    DT_TRY(dt_check_word("rule", (int)cfg->rule, dt_quant_rule_names));
    DT_TRY(dt_check_word("decoder", (int)cfg->decoder, dt_decoder_names));
    DT_TRY(network->check(cfg));
    const dt_recording recording = { .record = network->record,
                                     .record_loss = network->record_loss,
                                     .unit_pixels = network->unit_pixels };
    dt_model_config named = *cfg;
    named.name = network->name;
    return dt_model_open(ctx, &named, &recording, out);
}

void dt_model_hold(dt_model *m)
{
    m->holders++;
}

void dt_model_destroy(dt_model *m)
{
    if (!m || --m->holders > 0) return;
    dt_device_free(m->ctx, m->state, (size_t)m->n_state * sizeof(float));
    dt_device_free(m->ctx, m->dw, (size_t)m->n_trained * sizeof(float));
    dt_device_free(m->ctx, m->w, (size_t)m->n_trained * sizeof(float));
    for (int i = 0; i < m->n_layers; i++) free((void *)m->layer[i].name);
    for (int i = 0; i < m->n_params; i++) free(m->param[i]);
    if (m->recording.network_destroy) m->recording.network_destroy(m->recording.network);
    dt_context_destroy(m->ctx);
    free(m->layer);
    free(m->param);
    free(m);
}

const dt_model_config *dt_model_get_config(const dt_model *m)
{
    return &m->config;
}

int dt_model_n_params(const dt_model *m)
{
    return m->n_params;
}

void dt_model_param(const dt_model *m, int i, dt_param_info *out)
{
    assert(i >= 0 && i < m->n_params);
    const dt_param *p = m->param[i];
    *out = (dt_param_info){
        .name = p->name, .group = p->group, .ndim = p->tensor.shape.ndim, .count = dt_count(&p->tensor.shape)
    };
    for (int d = 0; d < out->ndim; d++) out->dim[d] = p->tensor.shape.dim[d];
}

int64_t dt_model_count(const dt_model *m)
{
    int64_t n = 0;
    for (int i = 0; i < m->n_params; i++) {
        if (m->param[i]->group == DT_GROUP_WEIGHT) n += dt_count(&m->param[i]->tensor.shape);
    }
    return n;
}

dt_status dt_model_read(const dt_model *m, int i, float *host)
{
    DT_CHECK(i >= 0 && i < m->n_params, DT_ERR_RANGE, "parameter %d of %d", i, m->n_params);
    const dt_tensor *t = &m->param[i]->tensor;
    return dt_device_read(m->ctx, host, t->data, dt_tensor_bytes(t));
}

dt_status dt_model_write(dt_model *m, int i, const float *host)
{
    DT_CHECK(i >= 0 && i < m->n_params, DT_ERR_RANGE, "parameter %d of %d", i, m->n_params);
    dt_tensor *t = &m->param[i]->tensor;
    t->has_sums = 0;
    return dt_device_write(m->ctx, t->data, host, dt_tensor_bytes(t));
}

const dt_data_origin *dt_model_get_origin(const dt_model *m)
{
    return &m->origin;
}

dt_data_origin dt_model_origin_of(const dt_model *m, const dt_dataset_view *v)
{
    dt_data_origin origin = { .n_images = (int)v->n };

    snprintf(origin.name, sizeof origin.name, "%s", v->name);
    memcpy(origin.fingerprint, v->fingerprint, sizeof origin.fingerprint);
    for (int c = 0; c < m->config.channels; c++) {
        origin.mean[c] = m->recording.unit_pixels ? 0.0f : v->mean[c];
        origin.std[c] = m->recording.unit_pixels ? 1.0f : v->std[c];
    }
    return origin;
}

void dt_model_normalise(const dt_model *m, const dt_dataset_view *v, dt_record_spec *spec)
{
    const int known = m->origin.name[0] != '\0';

    memcpy(spec->mean, known ? m->origin.mean : v->mean, sizeof spec->mean);
    memcpy(spec->std, known ? m->origin.std : v->std, sizeof spec->std);
}

int dt_model_n_layers(const dt_model *m)
{
    return m->n_layers;
}

void dt_model_layer(const dt_model *m, int i, dt_layer_info *out)
{
    assert(i >= 0 && i < m->n_layers);
    *out = m->layer[i];
}

dt_status dt_model_record_image(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **x)
{
    dt_augment_params augment = { .batch = spec->batch,
                                  .crop_pad = spec->crop_pad,
                                  .shift = spec->shift,
                                  .rotation = spec->rotation,
                                  .flip_share = spec->flip_share };
    dt_tensor *const in[] = { spec->images, spec->order };

    if (m->recording.record_image) return m->recording.record_image(m, tape, spec, x);
    for (int c = 0; c < 4; c++) {
        augment.mean[c] = m->recording.unit_pixels ? 0.0f : spec->mean[c];
        augment.std[c] = m->recording.unit_pixels ? 1.0f : spec->std[c];
    }
    return dt_tape_apply(tape, DT_OP_AUGMENT, "image", &augment, in, 2, x);
}

dt_status dt_model_record(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **logits, dt_tensor **loss)
{
    const dt_gather_params gather = { .batch = spec->batch };
    const dt_softmax_xent_params xent = { .label_smoothing = spec->label_smoothing };
    dt_tensor *x, *y, *labels;

    DT_TRY(dt_model_record_image(m, tape, spec, &x));
    DT_TRY(m->recording.record(m, tape, x, spec->training, &y));
    dt_tensor *const label_in[] = { spec->labels, spec->order };
    DT_TRY(dt_tape_apply(tape, DT_OP_GATHER, "labels", &gather, label_in, 2, &labels));
    if (m->recording.record_loss) return m->recording.record_loss(m, tape, spec, x, y, labels, logits, loss);
    *logits = y;
    dt_tensor *const loss_in[] = { *logits, labels };
    return dt_tape_apply(tape, DT_OP_SOFTMAX_XENT, "loss", &xent, loss_in, 2, loss);
}
