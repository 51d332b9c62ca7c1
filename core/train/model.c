/*
 * model.c - lays out a network's parameters in one block in the graph's order, initialises them from the seed, reads
 *           and writes them, and records the network with its image, labels and loss.
 */
#include "model.h"

#include "../grid_facts.h"
#include "../names.h"
#include "../rng.h"

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

static dt_status param_add(dt_model *m, int value)
{
    const dt_graph_value *v = m->graph->value[value];
    dt_param *p = calloc(1, sizeof *p);

    DT_CHECK(p, DT_ERR_MEMORY, "no memory for parameter %s", v->name);
    p->name = v->name;
    p->value = value;
    p->group = v->param.group;
    p->values = v->param.values;
    p->floor = v->param.floor;
    p->tensor = v->facts;
    int64_t *used = is_trained(p) ? &m->n_trained : &m->n_state;
    p->first = *used;
    *used += dt_count(&p->tensor.shape);
    m->param[m->n_params++] = p;
    return DT_OK;
}

static dt_status params_add(dt_model *m)
{
    const dt_graph *g = m->graph;

    m->param = calloc((size_t)g->n_values + 1, sizeof(dt_param *));
    DT_CHECK(m->param, DT_ERR_MEMORY, "no memory for the parameters of %s", g->name);
    for (int i = 0; i < g->n_values; i++) {
        if (g->value[i]->source == DT_SOURCE_PARAM) DT_TRY(param_add(m, i));
    }
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

/* Bits of the codes that a layer reads. Those of an affine quantizer lie to either side of its zero point, wherever
 * that is, so that their range is wider than the codes are. */
static int abits_of(const dt_graph *g, int value)
{
    const dt_tensor *x = &g->value[value]->facts;

    for (const dt_graph_node *n = dt_graph_maker(g, value); n; n = dt_graph_maker(g, n->in[0])) {
        if (n->kind == DT_OP_RANGE_QUANT) return ((const dt_range_quant_params *)n->params)->bits;
        if (g->value[n->in[0]]->facts.n_scale == 0) break;
    }
    return bits_for(x->qmax, is_signed(x));
}

static void layer_describe(const dt_graph *g, const dt_graph_node *n, dt_layer_info *out)
{
    const dt_tensor *w = &g->value[n->in[1]]->facts, *y = &g->value[n->out]->facts;
    const int is_map = y->shape.ndim == 4, are_votes = n->kind == DT_OP_CAPS_VOTES;
    const int64_t terms = are_votes ? w->shape.dim[1] : dt_count(&w->shape) / w->shape.dim[0];
    const int64_t maps = dt_graph_rows(g, n->out);

    *out = (dt_layer_info){ .name = dt_graph_name(g, n->out),
                            .wbits = bits_for(w->qmax, 1),
                            .abits = abits_of(g, n->in[0]),
                            .terms = terms,
                            .psum_bound = y->qmax,
                            .psum_bits = bits_for(y->qmax, 1),
                            .exact_f32 = y->qmax < (int64_t)1 << 24,
                            .macs = dt_graph_count(g, n->out) * terms,
                            .maps = (int)maps,
                            .height = is_map || are_votes ? (int)y->shape.dim[1] : 1,
                            .width = is_map ? (int)y->shape.dim[2] : 1,
                            .filters = (int)dt_channels(&y->shape) };
}

/* The convolutions, linear layers and votes on the grid. */
static dt_status model_list_layers(dt_model *m)
{
    const dt_graph *g = m->graph;

    m->layer = calloc((size_t)g->n_nodes + 1, sizeof *m->layer);
    DT_CHECK(m->layer, DT_ERR_MEMORY, "no memory for the list of layers");
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const int has_psums =
            n->kind == DT_OP_CONV2D || n->kind == DT_OP_PSUM || n->kind == DT_OP_LINEAR || n->kind == DT_OP_CAPS_VOTES;
        if (has_psums && g->value[n->out]->facts.n_scale > 0) layer_describe(g, n, &m->layer[m->n_layers++]);
    }
    return DT_OK;
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

/* Value i of a parameter's data as a float. */
static float data_at(const dt_graph_value *v, int64_t i)
{
    switch (v->data_type) {
    case DT_I8: return (float)((const int8_t *)v->data)[i];
    case DT_I16: return (float)((const int16_t *)v->data)[i];
    case DT_I32: {
        const int32_t n = ((const int32_t *)v->data)[i];
        return n == INT32_MIN ? -INFINITY : n == INT32_MAX ? INFINITY : (float)n;
    }
    default: break;
    }
    assert(v->data_type == DT_F32);
    return ((const float *)v->data)[i];
}

/* Of an I32 parameter, the bits of its integers. */
static void param_values(const dt_model *m, const dt_param *p, float *value)
{
    const int64_t n = dt_count(&p->tensor.shape);
    const dt_graph_value *v = m->graph->value[p->value];
    const dt_param_spec *spec = &v->param;
    const float bound = spec->init_value;

    if (spec->type == DT_I32) {
        memset(value, 0, (size_t)n * sizeof *value);
        if (v->data_type == DT_I32) memcpy(value, v->data, (size_t)n * sizeof *value);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (v->data) {
            value[i] = data_at(v, i);
            continue;
        }
        if (spec->init != DT_INIT_UNIFORM) {
            value[i] = spec->init == DT_INIT_ENDS && i % 2 == 0 ? -bound : bound;
            continue;
        }
        const dt_random4 r = dt_random(m->ctx->opt.seed, DT_STREAM_INIT, name_hash(p->name), (uint64_t)i);
        value[i] = bound * (2.0f * dt_uniform(r.v[0]) - 1.0f);
    }
}

/* What is trained is the model's now, and the graph leaves it, so that large networks are in memory once. */
static dt_status model_initialise(dt_model *m)
{
    for (int i = 0; i < m->n_params; i++) {
        const int of = m->param[i]->value;
        float *value = malloc(dt_tensor_bytes(&m->param[i]->tensor));
        DT_CHECK(value, DT_ERR_MEMORY, "no memory to initialise %s", m->param[i]->name);
        param_values(m, m->param[i], value);
        const dt_status status = dt_model_write(m, i, value);
        free(value);
        DT_TRY(status);
        if (is_trained(m->param[i])) dt_graph_set_data(m->graph, of, DT_F32, NULL);
    }
    return DT_OK;
}

dt_status dt_model_open(dt_context *ctx, dt_graph *graph, dt_model **out)
{
    dt_model *m = calloc(1, sizeof *m);

    if (!m) {
        dt_graph_destroy(graph);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a model");
    }
    dt_context_hold(ctx);
    m->holders = 1;
    m->ctx = ctx;
    m->graph = graph;

    dt_status status = params_add(m);
    if (status == DT_OK) status = model_list_layers(m);
    if (status == DT_OK) status = model_allocate(m);
    if (status == DT_OK) status = model_initialise(m);
    if (status != DT_OK) {
        dt_model_destroy(m);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = m;
    return DT_OK;
}

/* Names are the graph's. */
void dt_model_replace_graph(dt_model *m, dt_graph *graph)
{
    for (int i = 0; i < m->n_params; i++) {
        dt_param *p = m->param[i];
        assert(strcmp(graph->value[p->value]->name, p->name) == 0);
        p->name = p->tensor.name = graph->value[p->value]->name;
    }
    for (int i = 0; i < m->n_layers; i++) {
        const int value = dt_graph_find(graph, m->layer[i].name);
        assert(value >= 0);
        m->layer[i].name = dt_graph_name(graph, value);
    }
    dt_graph_destroy(m->graph);
    m->graph = graph;
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
    for (int i = 0; i < m->n_params; i++) free(m->param[i]);
    if (m->attached_destroy) m->attached_destroy(m->attached);
    dt_graph_destroy(m->graph);
    dt_context_destroy(m->ctx);
    free(m->layer);
    free(m->param);
    free(m);
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
    origin.is_real = v->reals != NULL;
    for (int c = 0; c < v->channels; c++) {
        origin.mean[c] = m->graph->unit_pixels ? 0.0f : v->mean[c];
        origin.std[c] = m->graph->unit_pixels ? 1.0f : v->std[c];
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

dt_status dt_model_tensors(dt_model *m, dt_tensor ***out)
{
    dt_tensor **tensor = calloc((size_t)m->graph->n_values + 1, sizeof(dt_tensor *));

    DT_CHECK(tensor, DT_ERR_MEMORY, "no memory to record %s", m->graph->name);
    for (int i = 0; i < m->n_params; i++) tensor[m->param[i]->value] = &m->param[i]->tensor;
    *out = tensor;
    return DT_OK;
}

dt_status dt_model_tape(const dt_model *m, const dt_record_spec *spec, dt_tape **out)
{
    const dt_purpose purpose = { .images = spec->batch,
                                 .training = spec->training,
                                 .step_images = spec->step_images,
                                 .norm_images = spec->norm_images,
                                 .ewgs = spec->ewgs };

    return dt_tape_create(m->ctx, &purpose, out);
}

/* The image as the network reads it: u8 pixels, or f32 that are augmented and normalised. The node has the name of the
 * graph's value, as every node that makes one. */
static dt_status record_image(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **x)
{
    dt_augment_params augment = { .batch = spec->batch,
                                  .crop_pad = spec->crop_pad,
                                  .shift = spec->shift,
                                  .rotation = spec->rotation,
                                  .flip_share = spec->flip_share,
                                  .flip_kind = spec->flip_kind,
                                  .cutout = spec->cutout,
                                  .brightness = spec->brightness,
                                  .contrast = spec->contrast };
    const dt_rows_params pixels = { .batch = spec->batch };
    const char *name = dt_graph_name(m->graph, m->graph->image);
    dt_tensor *const in[] = { spec->images, spec->order };

    if (m->graph->value[m->graph->image]->facts.type == DT_U8) {
        return dt_tape_apply(tape, DT_OP_ROWS, name, &pixels, in, 2, x);
    }
    for (int c = 0; c < DT_MOST_CHANNELS; c++) {
        augment.mean[c] = m->graph->unit_pixels ? 0.0f : spec->mean[c];
        augment.std[c] = m->graph->unit_pixels ? 1.0f : spec->std[c];
    }
    return dt_tape_apply(tape, DT_OP_AUGMENT, name, &augment, in, 2, x);
}

/* What the tape adds to the network has names in parentheses, so that they are no value's of the graph. */
static dt_status record_labels(dt_tape *tape, const dt_record_spec *spec, const char *name, dt_tensor **labels)
{
    const dt_gather_params gather = { .batch = spec->batch };
    dt_tensor *const in[] = { spec->labels, spec->order };

    return dt_tape_apply(tape, DT_OP_GATHER, name, &gather, in, 2, labels);
}

/* What the network begins with: the image, or rows of a value in its middle. */
static dt_status record_start(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **tensor)
{
    const dt_rows_params params = { .batch = spec->batch };
    dt_tensor *const in[] = { spec->rows, spec->order };

    if (!spec->rows) return record_image(m, tape, spec, &tensor[m->graph->image]);
    return dt_tape_apply(tape, DT_OP_ROWS, dt_graph_name(m->graph, spec->start), &params, in, 2, &tensor[spec->start]);
}

/* In training a decoder makes its image too. */
static int decodes(const dt_model *m, const dt_record_spec *spec)
{
    return spec->training && m->graph->reconstruction >= 0;
}

dt_status dt_model_record_network(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **tensor)
{
    const dt_graph *g = m->graph;
    const int wanted[] = { g->scores, g->reconstruction };
    const int with_decoder = decodes(m, spec);

    DT_TRY(record_start(m, tape, spec, tensor));
    if (with_decoder) DT_TRY(record_labels(tape, spec, dt_graph_name(g, g->labels), &tensor[g->labels]));
    return dt_graph_record(g, tape, wanted, 1 + with_decoder, tensor);
}

/* Margin loss of the capsules' lengths; in training, where there is a decoder, with the squared error of its image. */
static dt_status record_margin_loss(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor *const *tensor,
                                    dt_tensor *labels, dt_tensor **loss)
{
    const dt_graph *g = m->graph;
    const dt_reconstruction_loss_params params = { .scale = spec->regularization_scale };
    dt_tensor *const in[] = { tensor[g->scores], labels };
    dt_tensor *terms[2];

    DT_TRY(dt_tape_apply(tape, DT_OP_MARGIN_LOSS, "(margin_loss)", NULL, in, 2, &terms[0]));
    *loss = terms[0];
    if (!decodes(m, spec)) return DT_OK;
    dt_tensor *const images[] = { tensor[g->reconstruction], tensor[g->image] };
    DT_TRY(dt_tape_apply(tape, DT_OP_RECONSTRUCTION_LOSS, "(reconstruction_loss)", &params, images, 2, &terms[1]));
    return dt_tape_apply(tape, DT_OP_ADD, "(loss)", NULL, terms, 2, loss);
}

dt_status dt_model_record_loss(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor *const *tensor,
                               dt_tensor *labels, dt_tensor **loss)
{
    const dt_graph *g = m->graph;
    const dt_softmax_xent_params xent = { .label_smoothing = spec->label_smoothing,
                                          .teacher_share = spec->teacher_share,
                                          .teacher_temperature = spec->teacher_temperature };
    const dt_rows_params rows = { .batch = spec->batch };

    if (g->loss == DT_LOSS_MARGIN) return record_margin_loss(m, tape, spec, tensor, labels, loss);
    const dt_op_kind kind = g->loss == DT_LOSS_BINARY ? DT_OP_SIGMOID_XENT : DT_OP_SOFTMAX_XENT;
    dt_tensor *in[] = { tensor[g->scores], labels, NULL };
    if (!spec->teacher) return dt_tape_apply(tape, kind, "(loss)", &xent, in, 2, loss);
    dt_tensor *const of_all[] = { spec->teacher, spec->order };
    in[2] = spec->teacher;
    if (!spec->teacher_of_batch) DT_TRY(dt_tape_apply(tape, DT_OP_ROWS, "(teacher)", &rows, of_all, 2, &in[2]));
    return dt_tape_apply(tape, kind, "(loss)", &xent, in, 3, loss);
}

dt_status dt_model_record_into(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **tensor,
                               dt_tensor **loss)
{
    dt_tensor *labels;

    DT_TRY(dt_model_record_network(m, tape, spec, tensor));
    if (decodes(m, spec))
        labels = tensor[m->graph->labels];
    else
        DT_TRY(record_labels(tape, spec, "(labels)", &labels));
    return dt_model_record_loss(m, tape, spec, tensor, labels, loss);
}

dt_status dt_model_record(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **scores, dt_tensor **loss)
{
    dt_tensor **tensor = NULL;

    DT_TRY(dt_model_tensors(m, &tensor));
    const dt_status status = dt_model_record_into(m, tape, spec, tensor, loss);
    if (status == DT_OK) *scores = tensor[m->graph->scores];
    free(tensor);
    return status;
}
