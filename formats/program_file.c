/*
 * program_file.c - a program in one safetensors file: its numbers and words as JSON, its arrays as tensors.
 *
 *   metadata  format = "detent-program", version = "1", program = JSON (program_json.h), data = JSON (origin_json.h)
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
 * Nothing is allocated that the file does not hold. Loading and saving gives equal bytes; docs/PROGRAM_FORMAT.md.
 * Interface: dt_program_save, dt_program_load in include/detent/array.h.  Tests: tests/test_program_file.c.
 */
#include "metadata.h"
#include "origin_json.h"
#include "program_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT  "detent-program"
#define VERSION "1"
#define TABLE   "image.table"

enum { PIXEL_VALUES = 256, MOST_ARRAYS = 7, MOST_DIMS = 4 };

/* An array of a layer, as it is stored. */
typedef struct {
    const char *suffix;
    dt_safetensors_type type;
    size_t element_bytes;
    size_t offset; /* of the pointer in dt_layer */
    int ndim;
    int64_t dim[MOST_DIMS];
} array;

#define I8(member)  DT_SAFETENSORS_I8, 1, offsetof(dt_layer, member)
#define I32(member) DT_SAFETENSORS_I32, 4, offsetof(dt_layer, member)
#define I64(member) DT_SAFETENSORS_I64, 8, offsetof(dt_layer, member)
#define F32(member) DT_SAFETENSORS_F32, 4, offsetof(dt_layer, member)

/* The arrays of layer i; returns how many. Every in[] must be valid. */
static int list_arrays(const dt_program *p, int i, array out[MOST_ARRAYS])
{
    const dt_layer *l = &p->layer[i];
    const dt_value x = dt_layer_input(p, i, 0);
    const int64_t k = l->channels, steps = (int64_t)l->high - l->low;
    int n = 0;

    switch (l->kind) {
    case DT_LAYER_CONV:
        out[n++] = (array){ "weight", I8(weight), 4, { k, l->window_height, l->window_width, x.channels } };
        out[n++] = (array){ "weight_scale", F32(weight_scale), 1, { l->n_weight_scale } };
        break;
    case DT_LAYER_THRESHOLD:
        out[n++] = (array){ "sign", I8(sign), 1, { k } };
        out[n++] = (array){ "threshold", I32(threshold), 2, { steps, k } };
        out[n++] = (array){ "line.slope", F32(slope), 1, { k } };
        out[n++] = (array){ "line.offset", F32(offset), 1, { k } };
        if (l->requant.bits == 0) break;
        out[n++] = (array){ "requant.multiplier", I32(requant.multiplier), 1, { k } };
        out[n++] = (array){ "requant.offset", I64(requant.offset), 1, { k } };
        out[n++] = (array){ "requant.shift", I32(requant.shift), 1, { k } };
        break;
    case DT_LAYER_AFFINE:
        out[n++] = (array){ "slope", F32(slope), 1, { k } };
        out[n++] = (array){ "offset", F32(offset), 1, { k } };
        break;
    case DT_LAYER_LINEAR:
        out[n++] = (array){ "matrix", F32(matrix), 2, { k, (int64_t)x.height * x.width * x.channels } };
        out[n++] = (array){ "bias", F32(bias), 1, { k } };
        break;
    default: break;
    }
    return n;
}

static void array_name(const dt_layer *l, const array *a, char name[128])
{
    snprintf(name, 128, "%s.%s", l->name, a->suffix);
}

/* The pointer at a->offset: all of them have the representation of void *. */
static void *array_data(const dt_layer *l, const array *a)
{
    void *data;

    memcpy(&data, (const char *)l + a->offset, sizeof data);
    return data;
}

/* ---- saving ---- */

static dt_status add_json(dt_safetensors_writer *w, const dt_program *p)
{
    cJSON *object = cJSON_CreateObject();

    DT_CHECK(object, DT_ERR_MEMORY, "no memory for a program's JSON");
    dt_status s = dt_program_to_json(p, object);
    if (s == DT_OK) s = dt_metadata_add(w, "program", object);
    cJSON_Delete(object);
    DT_TRY(s);
    return DT_OK;
}

/* Arrays whose elements have that many bytes. */
static dt_status add_arrays(dt_safetensors_writer *w, const dt_program *p, size_t element_bytes)
{
    const int64_t table[2] = { PIXEL_VALUES, p->channels };
    array arrays[MOST_ARRAYS];
    char name[128];

    if (element_bytes == sizeof *p->table)
        DT_TRY(dt_safetensors_writer_add(w, TABLE, DT_SAFETENSORS_I16, 2, table, p->table));
    for (int i = 0; i < p->n_layers; i++) {
        const dt_layer *l = &p->layer[i];
        const int n = list_arrays(p, i, arrays);
        for (int k = 0; k < n; k++) {
            const array *a = &arrays[k];
            if (a->element_bytes != element_bytes) continue;
            array_name(l, a, name);
            DT_CHECK(array_data(l, a), DT_ERR_ARGUMENT, "program: there is no %s", name);
            DT_TRY(dt_safetensors_writer_add(w, name, a->type, a->ndim, a->dim, array_data(l, a)));
        }
    }
    return DT_OK;
}

static dt_status save(const dt_program *p, const char *path, dt_safetensors_writer *w)
{
    DT_TRY(dt_metadata_begin(w, FORMAT, VERSION));
    DT_TRY(add_json(w, p));
    DT_TRY(dt_origin_add(w, &p->origin));
    for (size_t bytes = 8; bytes > 0; bytes /= 2) DT_TRY(add_arrays(w, p, bytes)); /* wide first: all are aligned */
    DT_TRY(dt_safetensors_writer_write(w, path));
    return DT_OK;
}

dt_status dt_program_save(const dt_program *p, const char *path)
{
    dt_safetensors_writer *w = NULL;

    DT_TRY(dt_program_check(p));
    dt_status s = dt_safetensors_writer_create(&w);
    if (s == DT_OK) s = save(p, path, w);
    dt_safetensors_writer_destroy(w);
    DT_TRY(s);
    return DT_OK;
}

/* ---- loading ---- */

/* A file being read, and which of its tensors have found their place. */
typedef struct {
    const char *path;
    const dt_safetensors *file;
    unsigned char *used; /* [tensors] */
} reader;

static dt_status read_json(const reader *r, dt_program *p)
{
    cJSON *object;

    DT_TRY(dt_metadata_json(r->file, r->path, "program", &object));
    const dt_status s = dt_program_from_json(object, r->path, p);
    cJSON_Delete(object);
    DT_TRY(s);
    return DT_OK;
}

/* "I8 [64][3][3][3]" */
static void shape_text(dt_safetensors_type type, int ndim, const int64_t *dim, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "%s ", dt_safetensors_type_name(type));

    for (int i = 0; i < ndim && used < bytes; i++) {
        used += (size_t)snprintf(text + used, bytes - used, "[%" PRId64 "]", dim[i]);
    }
}

/* The tensor's bytes, which the caller frees. a gives type and shape. */
static dt_status read_array(const reader *r, const char *name, const array *a, void **out)
{
    const dt_safetensors_tensor *t = dt_safetensors_find(r->file, name);
    char got[192], expected[128];

    DT_CHECK(t, DT_ERR_FORMAT, "%s: tensor '%s' is missing", r->path, name);
    shape_text(t->type, t->ndim, t->dim, got, sizeof got);
    shape_text(a->type, a->ndim, a->dim, expected, sizeof expected);
    DT_CHECK(t->type == a->type && dt_safetensors_has_shape(t, a->ndim, a->dim), DT_ERR_FORMAT,
             "%s: tensor '%s' is %s, expected %s", r->path, name, got, expected);
    unsigned char *used = &r->used[t - dt_safetensors_at(r->file, 0)];
    DT_CHECK(!*used, DT_ERR_FORMAT, "%s: tensor '%s' is wanted by two layers of that name", r->path, name);
    *used = 1;

    void *data = malloc((size_t)(t->end - t->begin) + 1);
    DT_CHECK(data, DT_ERR_MEMORY, "%s: no memory for tensor '%s' of %" PRId64 " bytes", r->path, name,
             t->end - t->begin);
    const dt_status s = dt_safetensors_read(r->file, t, data);
    if (s != DT_OK) {
        free(data);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = data;
    return DT_OK;
}

static dt_status read_arrays(const reader *r, dt_program *p)
{
    const array table = { .type = DT_SAFETENSORS_I16, .ndim = 2, .dim = { PIXEL_VALUES, p->channels } };
    array arrays[MOST_ARRAYS];
    char name[128];
    void *data = NULL;

    DT_TRY(read_array(r, TABLE, &table, &data));
    p->table = data;
    for (int i = 0; i < p->n_layers; i++) {
        dt_layer *l = &p->layer[i];
        const int n = list_arrays(p, i, arrays);
        for (int k = 0; k < n; k++) {
            array_name(l, &arrays[k], name);
            DT_TRY(read_array(r, name, &arrays[k], &data));
            memcpy((char *)l + arrays[k].offset, &data, sizeof data);
        }
    }
    for (int i = 0; i < dt_safetensors_count(r->file); i++) {
        DT_CHECK(r->used[i], DT_ERR_FORMAT, "%s: tensor '%.80s' belongs to no layer", r->path,
                 dt_safetensors_at(r->file, i)->name);
    }
    return DT_OK;
}

static dt_status load(const reader *r, dt_program *p)
{
    DT_TRY(dt_metadata_check(r->file, r->path, FORMAT, VERSION));
    DT_TRY(read_json(r, p));
    DT_TRY(dt_origin_read(r->file, r->path, p->channels, &p->origin));
    DT_TRY(read_arrays(r, p));
    const dt_status s = dt_program_check(p);
    return s == DT_OK ? DT_OK : dt_metadata_blame(s, r->path);
}

static dt_status load_open(const char *path, const dt_safetensors *file, dt_program **out)
{
    const reader r = { path, file, calloc((size_t)dt_safetensors_count(file) + 1, 1) };
    dt_program *p = calloc(1, sizeof *p);
    dt_status s = r.used && p ? load(&r, p) : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s", path);

    free(r.used);
    if (s != DT_OK) {
        dt_program_destroy(p);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = p;
    return DT_OK;
}

dt_status dt_program_load(const char *path, dt_program **out)
{
    dt_safetensors *file;

    DT_TRY(dt_safetensors_open(path, &file));
    const dt_status s = load_open(path, file, out);
    dt_safetensors_close(file);
    DT_TRY(s);
    return DT_OK;
}
