/*
 * program_c_layers.c - chooses the buffers, computes the sizes, and gives things their names. Interface:
 *                      program_c_layers.h.  Tests: tests/formats/test_program_c.c.
 */
#include "program_c_caps.h"
#include "program_c_codes.h"

#include "../../core/conv_params.h"
#include "../../quant/program/program_build.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXEL_VALUES = 256 };

int dt_c_makes_psums(const dt_c_layer *l)
{
    return l->y.kind == DT_VALUE_PSUM;
}

int dt_c_is_asked(const dt_c_program *c, int i)
{
    for (int j = i + 1; j < c->n_layers; j++) {
        const dt_c_layer *l = &c->layer[j];
        const int sums_itself = l->n->kind == DT_OP_REQUANTIZE && c->layer[i].n->kind == DT_OP_AVGPOOL;
        if (l->x.kind == DT_VALUE_PSUM && l->in[0] == i && !sums_itself) return 1;
    }
    return 0;
}

/* Layer i, or what makes the psums that it reads. */
static const dt_c_layer *reader_of(const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];

    return l->x.kind == DT_VALUE_PSUM ? &c->layer[l->in[0]] : l;
}

static int n_sources(const dt_c_program *c, int i)
{
    return reader_of(c, i)->n_in;
}

int dt_c_program_source(const dt_c_program *c, int i, int k)
{
    return reader_of(c, i)->in[k];
}

dt_c_conv dt_c_program_conv(const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    dt_c_conv v = { .conv = dt_conv_square(1, 0), .window = { 1, 1 }, .channels = 1 };

    if (l->n->kind == DT_OP_CONV2D) {
        const int64_t *filter = dt_graph_shape(c->p->graph, l->n->in[1])->dim; /* K, R, S, C / groups */
        v.conv = *(const dt_conv_params *)l->n->params;
        for (int axis = 0; axis < 2; axis++) v.window[axis] = (int)filter[1 + axis];
        v.channels = (int)filter[3];
        v.weight = dt_program_data(c->p, dt_program_weights(c->p, l->n), DT_CODES_WEIGHT);
        return v;
    }
    v.conv.groups = l->x.channels;
    if (l->n->kind == DT_OP_AVGPOOL) {
        const dt_pool_params *pool = l->n->params;
        memcpy(v.window, pool->window, sizeof v.window);
        memcpy(v.conv.stride, pool->stride, sizeof v.conv.stride);
        memcpy(v.conv.pad, pool->pad, sizeof v.conv.pad);
    }
    return v;
}

/* Weights of one filter, or of one output of LINEAR. */
static int64_t terms(const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];

    if (!dt_c_makes_psums(l)) return dt_value_count(&l->x);
    const dt_c_conv v = dt_c_program_conv(c, i);
    return (int64_t)v.window[0] * v.window[1] * v.channels;
}

int64_t dt_c_program_macs(const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];

    if (l->n->kind == DT_OP_QMATMUL) {
        const int transposed = ((const dt_qmatmul_params *)l->n->params)->transpose_a;
        return dt_value_count(&l->y) * dt_graph_shape(c->p->graph, l->n->in[0])->dim[transposed ? 2 : 3];
    }
    if (l->n->kind == DT_OP_CAPS_VOTES) return dt_value_count(&l->y) * l->x.channels;
    return l->n->kind == DT_OP_CONV2D || l->n->kind == DT_OP_LINEAR ? dt_value_count(&l->y) * terms(c, i) : 0;
}

/* ---- the layers */

/* What FLATTEN passes on is what it reads. */
static int behind_flatten(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    return n->kind == DT_OP_FLATTEN ? n->in[0] : value;
}

/* All but the image's codes, the weights' codes, FLATTEN, and what makes lengths real are. */
static int is_layer(const dt_graph *g, int i)
{
    return i > 0 && g->node[i].kind != DT_OP_CODES && g->node[i].kind != DT_OP_FLATTEN &&
           !dt_c_is_real_length(g, &g->node[i]);
}

/* Inputs that layers give, or matrices of a QMATMUL's own; the others are parameters. */
static int layers_read(const dt_graph_node *n)
{
    if (n->kind == DT_OP_QADD || n->kind == DT_OP_QMUL || n->kind == DT_OP_QMATMUL) return 2;
    return n->kind == DT_OP_ADD || n->kind == DT_OP_CONCAT ? n->n_in : 1;
}

static int is_constant(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    return n && n->kind == DT_OP_CODES;
}

/* of: [n_values] of the graph, the layer that gives each */
static void add_layer(dt_c_program *c, const dt_graph_node *n, int *of)
{
    const dt_program *p = c->p;
    dt_c_layer *l = &c->layer[c->n_layers];
    const int x = behind_flatten(p->graph, n->in[0]);

    *l = (dt_c_layer){ .n = n,
                       .kind = n->kind == DT_OP_ACT_QUANT ? "quantize" : dt_ops[n->kind]->name,
                       .x = dt_program_value(p, x),
                       .y = dt_program_value(p, n->out) };
    for (int k = 0; k < layers_read(n); k++) {
        if (!is_constant(p->graph, n->in[k])) l->in[l->n_in++] = of[k == 0 ? x : n->in[k]];
    }
    of[n->out] = c->n_layers++;
}

static dt_status list_layers(dt_c_program *c)
{
    const dt_graph *g = c->p->graph;
    int *of = calloc((size_t)g->n_values, sizeof *of);

    DT_CHECK(of, DT_ERR_MEMORY, "no memory to list the layers of %d nodes", g->n_nodes);
    c->layer = c->image + 1;
    *c->image = (dt_c_layer){ .n = &g->node[0], .y = dt_program_image(c->p) };
    of[g->node[0].out] = DT_C_IMAGE;
    for (int i = 0; i < g->n_nodes; i++) {
        if (is_layer(g, i)) add_layer(c, &g->node[i], of);
    }
    free(of);
    return DT_OK;
}

/* ---- buffers */

static void find_readers(dt_c_program *c)
{
    for (int i = -1; i < c->n_layers; i++) c->layer[i].last_reader = -1;
    for (int i = 0; i < c->n_layers; i++) {
        for (int k = 0; k < c->layer[i].n_in; k++) c->layer[c->layer[i].in[k]].last_reader = i;
        for (int k = 0; k < n_sources(c, i); k++) c->layer[dt_c_program_source(c, i, k)].last_reader = i;
    }
}

/* 1 if the buffer holds what is read when, or after, layer i runs. */
static int is_busy(const dt_c_program *c, int i, int buffer)
{
    for (int j = -1; j < i; j++) {
        const dt_c_layer *l = &c->layer[j];
        if (l->y.kind == c->layer[i].y.kind && l->buffer == buffer && l->last_reader >= i) return 1;
    }
    return 0;
}

static void choose_buffer(dt_c_program *c, int i)
{
    dt_c_layer *l = &c->layer[i];
    const int is_code = l->y.kind == DT_VALUE_CODE;
    int64_t *room = is_code ? c->code_room : c->real_room, count = dt_value_count(&l->y);
    int *n_buffers = is_code ? &c->n_code_buffers : &c->n_real_buffers;
    int buffer = 0;

    while (is_busy(c, i, buffer)) buffer++;
    l->buffer = buffer;
    if (buffer == *n_buffers) ++*n_buffers;
    if (room[buffer] < count) room[buffer] = count;
}

static void choose_buffers(dt_c_program *c)
{
    for (int i = -1; i < c->n_layers; i++) {
        const int stored = i < 0 || (!dt_c_makes_psums(&c->layer[i]) && i + 1 < c->n_layers);
        c->layer[i].buffer = DT_C_NO_BUFFER;
        if (stored) choose_buffer(c, i);
    }
}

/* Makes low..high hold the codes of a value. */
static void widen(const dt_value *v, int *low, int *high)
{
    if (v->kind != DT_VALUE_CODE || v->high > INT16_MAX + 1) return; /* lengths are the caller's */
    if (v->low < *low) *low = v->low;
    if (v->high > *high) *high = v->high;
}

static void choose_code_type(dt_c_program *c)
{
    int low = 0, high = 0;

    for (int i = -1; i < c->n_layers; i++) {
        widen(&c->layer[i].y, &low, &high);
        for (int k = 0; i >= 0 && c->layer[i].n->kind == DT_OP_QMATMUL && k < 2; k++) { /* its matrix, too */
            const dt_value x = dt_program_value(c->p, c->layer[i].n->in[k]);
            widen(&x, &low, &high);
        }
    }
    const int is_unsigned = low >= 0 && high <= UINT8_MAX, is_byte = low >= INT8_MIN && high <= INT8_MAX;
    const int is_short = low >= INT16_MIN && high <= INT16_MAX;
    c->code_type = is_unsigned ? "uint8_t" : is_byte ? "int8_t" : is_short ? "int16_t" : "int32_t";
    c->code_bytes = is_unsigned || is_byte ? 1 : is_short ? 2 : 4;
}

/* ---- sizes */

/* Bytes of the constants that a layer's kind has in C. */
static int64_t constant_bytes(const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const int64_t n = l->y.channels;

    if (l->n->kind == DT_OP_CAPS_VOTES) return dt_c_capsule_bytes(c, i);
    if (dt_c_makes_psums(l)) return dt_c_is_asked(c, i) ? n * terms(c, i) : 0;
    switch (l->n->kind) {
    case DT_OP_ROUTE_INT: return dt_c_capsule_bytes(c, i);
    case DT_OP_THRESHOLD:
        return n * (dt_program_requant(c->p, l->n).multiplier ? 4 + 8 + 4 : 1 + 4 * ((int64_t)l->y.high - l->y.low));
    case DT_OP_AFFINE: return n * 8;
    case DT_OP_LINEAR: return n * (terms(c, i) + 1) * 4;
    default: return dt_c_engine_bytes(c, i);
    }
}

/* Multiply-accumulates while layer i runs: its own, or those of the convolution whose psums it asks for. */
static int64_t work(const dt_c_program *c, int i)
{
    if (dt_c_makes_psums(&c->layer[i])) return 0;
    return dt_c_program_macs(c, c->layer[i].x.kind == DT_VALUE_PSUM ? c->layer[i].in[0] : i);
}

static dt_status add_sizes(dt_c_program *c)
{
    if (dt_c_has_table(c)) c->constant_bytes = (int64_t)PIXEL_VALUES * c->image->y.channels * c->code_bytes;
    for (int i = 0; i < c->n_layers; i++) {
        const dt_c_layer *l = &c->layer[i];
        const int64_t bytes = constant_bytes(c, i), count = dt_value_count(&l->y);
        DT_CHECK(bytes <= INT_MAX && count <= INT_MAX, DT_ERR_UNSUPPORTED,
                 "%s (%s): %" PRId64 " bytes of constants and %" PRId64
                 " values; C with indices of int has room for %d",
                 dt_graph_name(c->p->graph, l->n->out), l->kind, bytes, count, INT_MAX);
        if (l->n->kind == DT_OP_CONV2D || l->n->kind == DT_OP_CAPS_VOTES) c->weights += bytes;
        if (dt_c_is_asked(c, i) && l->y.channels > c->psums) c->psums = l->y.channels;
        c->constant_bytes += bytes;
        c->macs += work(c, i);
    }
    if (c->psums < dt_c_capsule_psums(c)) c->psums = dt_c_capsule_psums(c);
    c->ram_bytes = (int64_t)c->psums * 4 + dt_c_capsule_ram(c);
    for (int i = 0; i < c->n_code_buffers; i++) c->ram_bytes += c->code_room[i] * c->code_bytes;
    for (int i = 0; i < c->n_real_buffers; i++) c->ram_bytes += c->real_room[i] * 4;
    return DT_OK;
}

dt_status dt_c_program_make(const dt_program *p, dt_c_program *out)
{
    const size_t n = (size_t)p->graph->n_nodes + 1;
    dt_c_program c = { .p = p,
                       .image = calloc(n, sizeof *c.image),
                       .code_room = calloc(n, sizeof *c.code_room),
                       .real_room = calloc(n, sizeof *c.real_room) };
    dt_status s = c.image && c.code_room && c.real_room
                      ? list_layers(&c)
                      : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to list the layers of %d nodes",
                                 p->graph->n_nodes);

    if (s == DT_OK) s = dt_c_check_capsules(&c);
    if (s == DT_OK) {
        find_readers(&c);
        choose_buffers(&c);
        choose_code_type(&c);
        s = add_sizes(&c);
    }
    if (s != DT_OK) {
        dt_c_program_release(&c);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = c;
    return DT_OK;
}

void dt_c_program_release(dt_c_program *c)
{
    free(c->image);
    free(c->code_room);
    free(c->real_room);
    *c = (dt_c_program){ 0 };
}

/* ---- what the texts go by ---- */

int dt_c_reads_reals(const dt_c_program *c)
{
    return c->image->n->kind == DT_OP_QUANTIZE;
}

int dt_c_has_table(const dt_c_program *c)
{
    return dt_program_takes_pixels(c->p) && c->image->y.channels <= DT_MOST_PIXEL_CHANNELS;
}

int dt_c_is_multiplied(const dt_c_program *c, int i)
{
    const dt_graph_node *n = c->layer[i].n;

    return n->kind == DT_OP_THRESHOLD && dt_program_requant(c->p, n).multiplier;
}

/* One group, no dilation, and the same stride and pad on all sides. */
static int is_plain(const dt_conv_params *p)
{
    const dt_conv_params plain = dt_conv_square(p->stride[0], p->pad[0]);

    return memcmp(p, &plain, sizeof plain) == 0;
}

int dt_c_all_plain(const dt_c_program *c)
{
    for (int i = 0; i < c->n_layers; i++) {
        const dt_graph_node *n = c->layer[i].n;
        if (dt_c_is_asked(c, i) && (n->kind != DT_OP_CONV2D || !is_plain(n->params))) return 0;
    }
    return 1;
}

const char *dt_c_safe(const char *name, char text[DT_C_NAME_BYTES])
{
    size_t i = 0;

    for (; name[i] && i < DT_C_NAME_BYTES - 1; i++)
        text[i] = isalnum((unsigned char)name[i]) || strchr(" ._-+", name[i]) ? name[i] : '_';
    text[i] = '\0';
    return text;
}

const char *dt_c_layer_name(const dt_c_program *c, int i, char text[DT_C_NAME_BYTES])
{
    return dt_c_safe(dt_program_layer_name(c->p, c->layer[i].n), text);
}

const char *dt_c_buffer_name(const dt_c_program *c, int i, char text[DT_C_BUFFER_BYTES])
{
    if (i == c->n_layers - 1) return "scores";
    snprintf(text, DT_C_BUFFER_BYTES, "%s_%d", c->layer[i].y.kind == DT_VALUE_CODE ? "codes" : "reals",
             c->layer[i].buffer);
    return text;
}
