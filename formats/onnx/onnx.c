/*
 * onnx.c - names, constants and rules of an ONNX file's plain data. Interface: onnx.h.
 */
#include "onnx.h"

#include <stdlib.h>
#include <string.h>

enum { NEWEST_OPSET = 28, OLDEST_OPSET = 6, FIRST_ROOM = 16 };

/* ---- arrays and names ---- */

dt_status dt_onnx_grow(const char *path, void **array, int n, size_t element_bytes, int most, const char *what)
{
    DT_CHECK(n < most, DT_ERR_UNSUPPORTED, "%s: more than %d %s", path, most, what);
    if (n != 0 && (n < FIRST_ROOM || (n & (n - 1)) != 0)) return DT_OK; /* the room is a power of two */
    const int wanted = n == 0 ? FIRST_ROOM : 2 * n;
    void *larger = realloc(*array, (size_t)wanted * element_bytes);
    DT_CHECK(larger, DT_ERR_MEMORY, "%s: no memory for %d %s", path, wanted, what);
    *array = larger;
    return DT_OK;
}

/* FNV-1a */
static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;

    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

/* Returns the place of a name in the table, or the free place where it belongs. There is always a free one. */
static int *place_of(const dt_onnx *m, const char *name)
{
    const uint32_t mask = (uint32_t)m->table_room - 1;
    uint32_t at = hash_of(name) & mask;

    while (m->table[at] >= 0 && strcmp(m->value[m->table[at]].name, name) != 0) at = (at + 1) & mask;
    return &m->table[at];
}

/* The table has twice as many places as values, a power of two. */
static dt_status widen_table(dt_onnx *m)
{
    const int room = m->table_room ? 2 * m->table_room : 64;

    if (2 * (m->n_values + 1) <= m->table_room) return DT_OK;
    int *table = malloc((size_t)room * sizeof *table);
    DT_CHECK(table, DT_ERR_MEMORY, "%s: no memory for the names of %d values", m->path, m->n_values);
    free(m->table);
    m->table = table;
    m->table_room = room;
    for (int i = 0; i < room; i++) table[i] = -1;
    for (int i = 0; i < m->n_values; i++) *place_of(m, m->value[i].name) = i;
    return DT_OK;
}

dt_status dt_onnx_value_of(dt_onnx *m, const char *name, int *out)
{
    DT_TRY(widen_table(m));
    int *place = place_of(m, name);
    if (*place >= 0) {
        *out = *place;
        return DT_OK;
    }
    DT_TRY(dt_onnx_grow(m->path, (void **)&m->value, m->n_values, sizeof *m->value, DT_ONNX_MAX_VALUES, "values"));
    dt_onnx_value *v = &m->value[m->n_values];
    *v = (dt_onnx_value){ strdup(name), -1, -1, 0 };
    DT_CHECK(v->name, DT_ERR_MEMORY, "%s: no memory for the name of a value", m->path);
    *out = *place = m->n_values++;
    return DT_OK;
}

dt_status dt_onnx_add_tensor(dt_onnx *m, int *out)
{
    DT_TRY(
        dt_onnx_grow(m->path, (void **)&m->tensor, m->n_tensors, sizeof *m->tensor, DT_ONNX_MAX_VALUES, "constants"));
    m->tensor[m->n_tensors] = (dt_onnx_tensor){ .type = 0 };
    *out = m->n_tensors++;
    return DT_OK;
}

void dt_onnx_free_node(dt_onnx_node *n)
{
    for (int i = 0; i < n->n_attributes; i++) {
        free(n->attribute[i].name);
        free(n->attribute[i].text);
        free(n->attribute[i].ints);
    }
    free(n->attribute);
    free(n->name);
    free(n->op);
    free(n->domain);
    free(n->in);
    free(n->out);
}

void dt_onnx_destroy(dt_onnx *m)
{
    if (!m) return;
    for (int i = 0; i < m->n_tensors; i++) free(m->tensor[i].data);
    for (int i = 0; i < m->n_values; i++) free(m->value[i].name);
    for (int i = 0; i < m->n_nodes; i++) dt_onnx_free_node(&m->node[i]);
    for (int i = 0; i < m->n_files; i++) dt_onnx_source_close(m->file[i]);
    free(m->tensor);
    free(m->value);
    free(m->table);
    free(m->node);
    free(m->in);
    free(m->out);
    free(m->producer);
    free(m->path);
    free(m);
}

/* ---- constants ---- */

int64_t dt_onnx_count(const dt_onnx_tensor *t)
{
    int64_t n = 1;

    for (int k = 0; k < t->n_dims; k++) n *= t->dim[k];
    return n;
}

size_t dt_onnx_type_bytes(int type)
{
    switch (type) {
#define XX(name, code, bytes) \
    case code: return bytes;
        DT_ONNX_TYPE_MAP(XX)
#undef XX
    default: return 0;
    }
}

const char *dt_onnx_type_name(int type)
{
    static const char *const names[] = {
        "no type",        "FLOAT",      "UINT8",          "INT8",       "UINT16",     "INT16",
        "INT32",          "INT64",      "STRING",         "BOOL",       "FLOAT16",    "DOUBLE",
        "UINT32",         "UINT64",     "COMPLEX64",      "COMPLEX128", "BFLOAT16",   "FLOAT8E4M3FN",
        "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4",      "INT4",       "FLOAT4E2M1",
        "FLOAT8E8M0",     "UINT2",      "INT2",           "FLOAT6E2M3", "FLOAT6E3M2",
    };

    return type >= 0 && type < (int)(sizeof names / sizeof names[0]) ? names[type] : "a type of a newer format";
}

dt_status dt_onnx_load(const dt_onnx_tensor *t, void *to)
{
    const size_t bytes = (size_t)dt_onnx_count(t) * dt_onnx_type_bytes(t->type);

    if (t->file) return dt_onnx_source_read(t->file, t->at, bytes, to);
    if (bytes > 0) memcpy(to, t->data, bytes);
    return DT_OK;
}

/* ---- nodes ---- */

const dt_onnx_attribute *dt_onnx_find(const dt_onnx_node *n, const char *name)
{
    for (int i = 0; i < n->n_attributes; i++) {
        if (strcmp(n->attribute[i].name, name) == 0) return &n->attribute[i];
    }
    return NULL;
}

int dt_onnx_is_op(const dt_onnx_node *n, const char *op)
{
    return strcmp(n->op, op) == 0;
}

int dt_onnx_is_one_of(const dt_onnx_node *n, const char *const *ops)
{
    while (*ops && !dt_onnx_is_op(n, *ops)) ops++;
    return *ops != NULL;
}

const char *dt_onnx_node_name(const dt_onnx *m, const dt_onnx_node *n)
{
    if (n->name[0]) return n->name;
    return n->n_out > 0 && n->out[0] >= 0 ? m->value[n->out[0]].name : "";
}

/* ---- rules ---- */

#define NODE_CHECK(cond, m, n, fmt, ...) \
    DT_CHECK(cond, DT_ERR_FORMAT, "%s: %.80s '%.80s': " fmt, (m)->path, (n)->op, dt_onnx_node_name(m, n), __VA_ARGS__)

static dt_status check_node(const dt_onnx *m, int i, char *is_made)
{
    const dt_onnx_node *n = &m->node[i];

    for (int k = 0; k < n->n_in; k++) {
        if (n->in[k] < 0 || is_made[n->in[k]]) continue;
        const dt_onnx_value *v = &m->value[n->in[k]];
        NODE_CHECK(v->node >= 0, m, n, "input %d is '%.80s', which nothing in the file makes", k, v->name);
        NODE_CHECK(0, m, n, "input %d is '%.80s', which a later node makes; the nodes are out of order, or a cycle", k,
                   v->name);
    }
    for (int k = 0; k < n->n_out; k++) {
        if (n->out[k] < 0) continue;
        const dt_onnx_value *v = &m->value[n->out[k]];
        NODE_CHECK(!is_made[n->out[k]], m, n,
                   "output %d is '%.80s', a name that a constant, an input or another node has already", k, v->name);
        is_made[n->out[k]] = 1;
    }
    return DT_OK;
}

static dt_status check_all(const dt_onnx *m, char *is_made)
{
    for (int i = 0; i < m->n_values; i++) is_made[i] = m->value[i].tensor >= 0;
    for (int i = 0; i < m->n_in; i++) is_made[m->in[i].value] = 1;
    for (int i = 0; i < m->n_nodes; i++) DT_TRY(check_node(m, i, is_made));
    for (int i = 0; i < m->n_out; i++) {
        DT_CHECK(is_made[m->out[i].value], DT_ERR_FORMAT, "%s: output '%.80s' is made by no node", m->path,
                 m->value[m->out[i].value].name);
    }
    return DT_OK;
}

dt_status dt_onnx_check(const dt_onnx *m)
{
    DT_CHECK(m->opset >= OLDEST_OPSET && m->opset <= NEWEST_OPSET, DT_ERR_UNSUPPORTED,
             "%s: operators of opset %d; understood are %d to %d", m->path, m->opset, OLDEST_OPSET, NEWEST_OPSET);
    DT_CHECK(m->n_nodes > 0, DT_ERR_FORMAT, "%s: a graph of %d nodes; needed is one or more", m->path, m->n_nodes);
    char *is_made = calloc((size_t)m->n_values + 1, 1);
    DT_CHECK(is_made, DT_ERR_MEMORY, "%s: no memory to check %d values", m->path, m->n_values);
    const dt_status status = check_all(m, is_made);
    free(is_made);
    return status;
}

int dt_onnx_is_quant_domain(const char *domain)
{
    static const char *const domains[] = { "qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general" };

    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++) {
        if (strcmp(domain, domains[i]) == 0) return 1;
    }
    return 0;
}
