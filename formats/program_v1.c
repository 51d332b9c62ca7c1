/*
 * program_v1.c - reads program files of version 1: a list of layers as JSON, whose arrays are tensors.
 *
 *   metadata  program = {"model": "..", "height": 32, .., "layers": [{"kind": "conv", "value": "psum",
 *             "name": "features.0", "height": 32, .., "in": [-1]}, ..]}
 *   tensors   image.table                       I16 [256][channels]
 *             <conv>.weight                     I8  [filters][window height][window width][channels]
 *             <conv>.weight_scale               F32 [1] or [filters]
 *             <threshold>.sign                  I8  [channels]
 *             <threshold>.threshold             I32 [high - low][channels]
 *             <threshold>.line.slope, .offset   F32 [channels]
 *             <threshold>.requant.multiplier    I32 [channels], .offset I64, .shift I32: if requant_bits is not 0
 *             <affine>.slope, .offset           F32 [channels]
 *             <linear>.matrix                   F32 [scores][inputs]
 *             <linear>.bias                     F32 [scores]
 *
 * A layer has the fields that its kind and its values need, and no others. Each layer becomes nodes of a graph, and
 * what the file says of its output must be what the graph finds. Interface: program_file.h.  Tests:
 * tests/formats/test_program_v1.c.
 */
#include "../core/conv_params.h"
#include "../quant/program/program_build.h"
#include "json_fields.h"
#include "metadata.h"
#include "program_file.h"

#include <inttypes.h>
#include <string.h>

enum { FROM_IMAGE = -1, MOST_LAYERS = 4096, MOST_SIDE = 65536, WHERE_BYTES = 96 };

/* Scales and clips are far within these, and their products and quotients are finite. */
#define LEAST_SCALE 1e-30
#define MOST_SCALE  1e30

typedef enum { CONV, THRESHOLD, AFFINE, RELU, MAXPOOL, AVGPOOL, ADD, QUANTIZE, LINEAR, N_KINDS } layer_kind;

static const char *const kind_words[] = { "conv",    "threshold", "affine",   "relu",   "maxpool",
                                          "avgpool", "add",       "quantize", "linear", NULL };
static const char *const value_words[] = { "code", "psum", "real", NULL };

typedef struct {
    layer_kind kind;
    dt_value_kind value;
    char name[64];
    int in[2]; /* earlier layers, or FROM_IMAGE; in[1] of ADD only */
    int height, width, channels, low, high;
    float scale;
    int window_height, window_width, stride, pad, n_weight_scale, weight_bound;
    int requant_bits;
    float alpha;
    int bits;
    dt_quant_rule rule;
} layer;

typedef struct {
    char model[64];
    int height, width, channels, low, high;
    float scale;
} head;

/* A word is read through an int. */
_Static_assert(sizeof(layer_kind) == sizeof(int) && sizeof(dt_value_kind) == sizeof(int) &&
                   sizeof(dt_quant_rule) == sizeof(int),
               "enumerations have the size of int");

/* dt_field.only: layers of one of these kinds, or whose values are of one of these kinds. */
#define KIND(kind)   (1u << (kind))
#define VALUE(value) (1u << (N_KINDS + DT_VALUE_##value))
#define WINDOWS      (KIND(CONV) | KIND(MAXPOOL) | KIND(AVGPOOL))

static const dt_field head_fields[] = {
    { DT_MEMBER(head, model), DT_TEXT(head, model) },
    { DT_MEMBER(head, height), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER(head, width), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER(head, channels), DT_INT(1, 4) },
    { DT_MEMBER(head, low), DT_INT(INT16_MIN, INT16_MAX) },
    { DT_MEMBER(head, high), DT_INT(INT16_MIN, INT16_MAX) },
    { DT_MEMBER(head, scale), DT_FLOAT(LEAST_SCALE, MOST_SCALE) },
};

/* kind and value come first: they say which of the others there are. */
static const dt_field layer_fields[] = {
    { DT_MEMBER(layer, kind), DT_WORD(kind_words) },
    { DT_MEMBER(layer, value), DT_WORD(value_words) },
    { DT_MEMBER(layer, name), DT_TEXT(layer, name) },
    { DT_MEMBER(layer, height), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER(layer, width), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER(layer, channels), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(VALUE(CODE) | VALUE(PSUM), layer, low), DT_INT(-INT32_MAX, INT32_MAX) },
    { DT_MEMBER_IF(VALUE(CODE) | VALUE(PSUM), layer, high), DT_INT(-INT32_MAX, INT32_MAX) },
    { DT_MEMBER_IF(VALUE(CODE), layer, scale), DT_FLOAT(LEAST_SCALE, MOST_SCALE) },
    { DT_MEMBER_IF(WINDOWS, layer, window_height), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(WINDOWS, layer, window_width), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(WINDOWS, layer, stride), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(KIND(CONV), layer, pad), DT_INT(0, MOST_SIDE) },
    { DT_MEMBER_IF(KIND(CONV), layer, n_weight_scale), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(KIND(CONV), layer, weight_bound), DT_INT(1, 128) },
    { DT_MEMBER_IF(KIND(THRESHOLD), layer, requant_bits), DT_INT(0, 31) },
    { DT_MEMBER_IF(KIND(QUANTIZE), layer, alpha), DT_FLOAT(LEAST_SCALE, MOST_SCALE) },
    { DT_MEMBER_IF(KIND(QUANTIZE), layer, bits), DT_INT(2, 8) },
    { DT_MEMBER_IF(KIND(QUANTIZE), layer, rule), DT_FIELD_WORD, 0, DT_RULE_LSQ, dt_quant_rule_names, 0 },
};

static int layer_has(const dt_field *f, const void *object)
{
    const layer *l = object;

    return (f->only >> l->kind & 1) || (f->only >> (N_KINDS + (int)l->value) & 1);
}

static const dt_fields head_table = { head_fields, DT_LENGTH(head_fields), "layers", NULL };
static const dt_fields layer_table = { layer_fields, DT_LENGTH(layer_fields), "in", layer_has };

/* A file being turned into a graph. */
typedef struct {
    const char *path;
    const dt_safetensors *file;
    unsigned char *used; /* [tensors] */
    dt_program *p;
    int image;  /* its codes */
    int *value; /* [layers]: of the graph */
} reader;

/* ---- JSON */

static dt_status read_inputs(const dt_field_place *at, int i, const cJSON *in, layer *l)
{
    const dt_field one = { .name = "in", .kind = DT_FIELD_INT, .min = FROM_IMAGE, .max = i - 1 };
    const int n = l->kind == ADD ? 2 : 1;
    const cJSON *item;
    int k = 0;

    DT_CHECK(cJSON_GetArraySize(in) == n, DT_ERR_FORMAT, "%s: %s: in has %d layers, expected %d", at->file, at->where,
             cJSON_GetArraySize(in), n);
    cJSON_ArrayForEach(item, in) DT_TRY(dt_field_read(&one, at, item, &l->in[k++]));
    return DT_OK;
}

static const char *where_of(int i, const char *name, char where[WHERE_BYTES])
{
    snprintf(where, WHERE_BYTES, "layer %d '%.63s'", i, name ? name : "");
    return where;
}

static dt_status read_layer_json(const char *path, int i, const cJSON *object, layer *l)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(object, "name");
    char where[WHERE_BYTES];
    const dt_field_place at = { path, where_of(i, cJSON_GetStringValue(name), where), ": " };

    DT_TRY(dt_fields_read(&layer_table, &at, object, l));
    return read_inputs(&at, i, cJSON_GetObjectItemCaseSensitive(object, "in"), l);
}

/* ---- tensors */

/* "I8 [64][3][3][3]" */
static void shape_text(const char *type, int ndim, const int64_t *dim, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "%s ", type);

    for (int i = 0; i < ndim && used < bytes; i++) {
        used += (size_t)snprintf(text + used, bytes - used, "[%" PRId64 "]", dim[i]);
    }
}

/* The bytes of tensor `layer`.`suffix`, which the caller frees. */
static dt_status read_array(const reader *r, const char *name, const char *suffix, dt_safetensors_type type,
                            const dt_shape *shape, void *out)
{
    char whole[128], got[192], expected[128];

    snprintf(whole, sizeof whole, "%s.%s", name, suffix);
    const dt_safetensors_tensor *t = dt_safetensors_find(r->file, whole);
    DT_CHECK(t, DT_ERR_FORMAT, "%s: tensor '%s' is missing", r->path, whole);
    shape_text(dt_safetensors_type_name(t->type), t->ndim, t->dim, got, sizeof got);
    shape_text(dt_safetensors_type_name(type), shape->ndim, shape->dim, expected, sizeof expected);
    DT_CHECK(t->type == type && dt_safetensors_has_shape(t, shape->ndim, shape->dim), DT_ERR_FORMAT,
             "%s: tensor '%s' is %s, expected %s", r->path, whole, got, expected);
    unsigned char *used = &r->used[t - dt_safetensors_at(r->file, 0)];
    DT_CHECK(!*used, DT_ERR_FORMAT, "%s: tensor '%s' is wanted by two layers of that name", r->path, whole);
    *used = 1;

    void *data = malloc((size_t)(t->end - t->begin) + 1);
    DT_CHECK(data, DT_ERR_MEMORY, "%s: no memory for tensor '%s' of %" PRId64 " bytes", r->path, whole,
             t->end - t->begin);
    const dt_status s = dt_safetensors_read(r->file, t, data);
    if (s != DT_OK) {
        free(data);
        return dt_forward(s, __FILE__, __LINE__);
    }
    memcpy(out, &data, sizeof data); /* a pointer of any type has the representation of void * */
    return DT_OK;
}

/* An array of one layer, and where its pointer goes. */
typedef struct {
    const char *suffix;
    dt_safetensors_type type;
    dt_shape shape;
    void *to;
} wanted;

/* All of them or none. */
static dt_status read_arrays(const reader *r, const char *name, const wanted *list, int n)
{
    for (int i = 0; i < n; i++) {
        const dt_status s = read_array(r, name, list[i].suffix, list[i].type, &list[i].shape, list[i].to);
        if (s == DT_OK) continue;
        for (int k = 0; k < i; k++) {
            void *data;
            memcpy(&data, list[k].to, sizeof data);
            free(data);
        }
        return dt_forward(s, __FILE__, __LINE__);
    }
    return DT_OK;
}

/* ---- layers become nodes */

static int64_t channels_of(const reader *r, int x)
{
    return dt_program_value(r->p, x).channels;
}

static dt_status take_conv(const reader *r, const layer *l, int x, int *y)
{
    dt_program_conv c = { .name = l->name,
                          .conv = dt_conv_square(l->stride, l->pad),
                          .range = { -l->weight_bound, l->weight_bound % 2 ? l->weight_bound : l->weight_bound - 1 },
                          .shape = { 4, { l->channels, l->window_height, l->window_width, channels_of(r, x) } },
                          .n_scale = l->n_weight_scale };
    const wanted arrays[] = { { "weight", DT_SAFETENSORS_I8, c.shape, &c.weight },
                              { "weight_scale", DT_SAFETENSORS_F32, dt_vector(c.n_scale), &c.scale } };

    DT_TRY(read_arrays(r, l->name, arrays, 2));
    return dt_program_add_conv(r->p->graph, &c, x, y);
}

static dt_status take_multipliers(const reader *r, const layer *l, int threshold)
{
    const dt_shape channels = dt_vector(l->channels);
    dt_program_multipliers m = { 0 };
    const wanted arrays[] = { { "requant.multiplier", DT_SAFETENSORS_I32, channels, &m.multiplier },
                              { "requant.offset", DT_SAFETENSORS_I64, channels, &m.offset },
                              { "requant.shift", DT_SAFETENSORS_I32, channels, &m.shift } };

    DT_TRY(read_arrays(r, l->name, arrays, 3));
    m.bits = malloc(sizeof *m.bits);
    if (m.bits) *m.bits = l->requant_bits;
    return dt_program_add_multipliers(r->p->graph, threshold, &m);
}

static dt_status take_threshold(const reader *r, const layer *l, int x, int *y)
{
    const dt_shape channels = dt_vector(l->channels), steps = { 2, { (int64_t)l->high - l->low, l->channels } };
    dt_program_steps s = { .name = l->name, .low = l->low };
    const wanted arrays[] = { { "sign", DT_SAFETENSORS_I8, channels, &s.sign },
                              { "threshold", DT_SAFETENSORS_I32, steps, &s.step },
                              { "line.slope", DT_SAFETENSORS_F32, channels, &s.slope },
                              { "line.offset", DT_SAFETENSORS_F32, channels, &s.offset } };

    DT_CHECK(l->channels == channels_of(r, x), DT_ERR_FORMAT, "%s: %s (threshold): channels is %d, expected %lld",
             r->path, l->name, l->channels, (long long)channels_of(r, x));
    DT_TRY(read_arrays(r, l->name, arrays, 4));
    s.levels = (int)steps.dim[0]; /* as many as the tensor has */
    s.scale = dt_program_one(l->scale);
    DT_TRY(dt_program_add_threshold(r->p->graph, &s, x, y));
    return l->requant_bits ? take_multipliers(r, l, *y) : DT_OK;
}

static dt_status take_reals(const reader *r, const layer *l, int x, int *y)
{
    const int is_linear = l->kind == LINEAR;
    const dt_shape matrix = { 2, { l->channels, dt_graph_count(r->p->graph, x) } };
    dt_program_reals a = { .name = l->name, .n = l->channels };
    const wanted arrays[] = {
        { is_linear ? "matrix" : "slope", DT_SAFETENSORS_F32, is_linear ? matrix : dt_vector(l->channels), &a.factor },
        { is_linear ? "bias" : "offset", DT_SAFETENSORS_F32, dt_vector(l->channels), &a.offset }
    };

    DT_TRY(read_arrays(r, l->name, arrays, 2));
    return is_linear ? dt_program_add_linear(r->p->graph, &a, x, y) : dt_program_add_affine(r->p->graph, &a, x, y);
}

static dt_status take_layer(const reader *r, const layer *l, const int in[2], int *y)
{
    const dt_pool_params pool = { .window = { l->window_height, l->window_width }, .stride = { l->stride, l->stride } };
    const dt_act_quant_params quant = { .bits = l->bits, .is_signed = l->low < 0, .rule = l->rule };
    dt_graph *g = r->p->graph;

    switch (l->kind) {
    case CONV: return take_conv(r, l, in[0], y);
    case THRESHOLD: return take_threshold(r, l, in[0], y);
    case AFFINE:
    case LINEAR: return take_reals(r, l, in[0], y);
    case RELU: return dt_program_add_plain(g, DT_OP_RELU, l->name, NULL, in, y);
    case MAXPOOL: return dt_program_add_plain(g, DT_OP_MAXPOOL, l->name, &pool, in, y);
    case AVGPOOL: return dt_program_add_plain(g, DT_OP_AVGPOOL, l->name, &pool, in, y);
    case ADD: return dt_program_add_plain(g, DT_OP_ADD, l->name, NULL, in, y);
    case QUANTIZE:
        return dt_program_add_quantize(
            g, &(dt_program_quantizer){ .name = l->name, .params = quant, .alpha = dt_program_one(l->alpha) }, in[0],
            y);
    case N_KINDS: break;
    }
    return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s is of no known kind", l->name);
}

/* What the file says of the layer's output is so. */
static dt_status check_output(const reader *r, int i, const layer *l, int y)
{
    const dt_value is = dt_program_value(r->p, y);
    const struct {
        const char *name;
        int said, found;
    } facts[] = {
        { "value", (int)l->value, (int)is.kind }, { "height", l->height, is.height }, { "width", l->width, is.width },
        { "channels", l->channels, is.channels }, { "low", l->low, is.low },          { "high", l->high, is.high }
    };
    char where[WHERE_BYTES];

    for (int k = 0; k < DT_LENGTH(facts); k++) {
        DT_CHECK(facts[k].said == facts[k].found, DT_ERR_FORMAT, "%s: %s is %d, expected %d",
                 where_of(i, l->name, where), facts[k].name, facts[k].said, facts[k].found);
    }
    if (is.kind != DT_VALUE_CODE) return DT_OK;
    const float scale = dt_program_scale(r->p, y);
    DT_CHECK(l->scale == scale, DT_ERR_FORMAT, "%s: scale is %.9g, expected %.9g", where_of(i, l->name, where),
             (double)l->scale, (double)scale);
    return DT_OK;
}

static dt_status read_layer(const reader *r, int i, const cJSON *object)
{
    layer l = { 0 };
    int in[2];

    DT_TRY(read_layer_json(r->path, i, object, &l));
    DT_CHECK(l.name[0], DT_ERR_FORMAT, "layer %d (%s) has no name", i, kind_words[l.kind]);
    for (int k = 0; k < 2; k++) in[k] = l.in[k] == FROM_IMAGE ? r->image : r->value[l.in[k]];
    DT_TRY(take_layer(r, &l, in, &r->value[i]));
    return check_output(r, i, &l, r->value[i]);
}

/* ---- the whole */

static dt_status read_image(reader *r, const head *h)
{
    const dt_shape pixels = { 4, { 1, h->height, h->width, h->channels } }, codes = { 2, { 256, h->channels } };
    const dt_table_params range = { .low = h->low, .high = h->high };
    int16_t *table = NULL;

    DT_TRY(read_array(r, "image", "table", DT_SAFETENSORS_I16, &codes, &table));
    return dt_program_add_table(r->p->graph, &pixels, &range, table, dt_program_one(h->scale), &r->image);
}

static dt_status read_layers(reader *r, const cJSON *layers)
{
    const cJSON *item;
    int i = 0;

    cJSON_ArrayForEach(item, layers)
    {
        DT_TRY(read_layer(r, i, item));
        i++;
    }
    r->p->graph->scores = r->value[i - 1];
    for (int k = 0; k < dt_safetensors_count(r->file); k++) {
        DT_CHECK(r->used[k], DT_ERR_FORMAT, "%s: tensor '%.80s' belongs to no layer", r->path,
                 dt_safetensors_at(r->file, k)->name);
    }
    return DT_OK;
}

static dt_status read_program(reader *r, const cJSON *object)
{
    const dt_field_place at = { r->path, "program", ": " };
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(object, "layers");
    const int n = cJSON_GetArraySize(layers);
    head h = { .model = "" };

    DT_TRY(dt_fields_read(&head_table, &at, object, &h));
    DT_CHECK(n >= 1 && n <= MOST_LAYERS, DT_ERR_FORMAT, "%s: %d layers, expected 1..%d", r->path, n, MOST_LAYERS);
    r->value = calloc((size_t)n, sizeof *r->value);
    DT_CHECK(r->value, DT_ERR_MEMORY, "%s: no memory for %d layers", r->path, n);
    DT_TRY(dt_graph_create(h.model, &r->p->graph));
    DT_TRY(read_image(r, &h));
    return read_layers(r, layers);
}

dt_status dt_program_load_v1(const dt_safetensors *file, const char *path, dt_program *p)
{
    reader r = { .path = path, .file = file, .p = p };
    cJSON *object;

    DT_TRY(dt_metadata_json(file, path, "program", &object));
    r.used = calloc((size_t)dt_safetensors_count(file) + 1, 1);
    dt_status s = r.used ? read_program(&r, object)
                         : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory to read a program", path);
    free(r.used);
    free(r.value);
    cJSON_Delete(object);
    s = dt_file_blame(s, path);
    DT_TRY(s);
    return DT_OK;
}
