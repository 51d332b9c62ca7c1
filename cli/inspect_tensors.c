/*
 * inspect_tensors.c - `detent inspect --tensors`: every tensor of a file, by type, with sums; and `--diff`: which
 * tensors of two files differ, by their names.
 */
#include "debug.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    int n;
    int64_t bytes;
} tensor_sum;

static int is_of(const dt_tensor_info *t, const char *type, int is_constant)
{
    return (!type || strcmp(t->type, type) == 0) && t->is_constant == is_constant;
}

/* Of one type, or of all if that is NULL. */
static tensor_sum sum_of(const dt_inventory *v, const char *type, int is_constant)
{
    tensor_sum sum = { 0 };

    for (int i = 0; i < v->n; i++) {
        if (!is_of(&v->tensor[i], type, is_constant)) continue;
        sum.n++;
        sum.bytes += v->tensor[i].bytes;
    }
    return sum;
}

/* 1 if tensor i is the first of its type. */
static int is_first(const dt_inventory *v, int i)
{
    for (int k = 0; k < i; k++) {
        if (strcmp(v->tensor[k].type, v->tensor[i].type) == 0) return 0;
    }
    return 1;
}

static void print_sums(const char *what, const tensor_sum *constant, const tensor_sum *computed)
{
    printf("%s: %d constant, of %s bytes; %d computed, of %s bytes\n", what, constant->n, text_count(constant->bytes).s,
           computed->n, text_count(computed->bytes).s);
}

static void print_type(const dt_inventory *v, const char *type)
{
    const tensor_sum constant = sum_of(v, type, 1), computed = sum_of(v, type, 0);

    print_sums(type, &constant, &computed);
    for (int i = 0; i < v->n; i++) {
        const dt_tensor_info *t = &v->tensor[i];
        if (strcmp(t->type, type) != 0) continue;
        printf("  %-14s %12s  %s  %s\n", text_shape(t->dim, t->ndim).s, text_count(t->bytes).s,
               t->is_constant ? "constant" : "computed", t->name);
    }
    printf("\n");
}

static cJSON *tensor_json(const dt_tensor_info *t)
{
    cJSON *one = cJSON_CreateObject();

    cJSON_AddStringToObject(one, "name", t->name);
    cJSON_AddStringToObject(one, "type", t->type);
    cJSON *shape = cJSON_AddArrayToObject(one, "shape");
    for (int d = 0; d < t->ndim; d++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->dim[d]));
    cJSON_AddNumberToObject(one, "bytes", (double)t->bytes);
    cJSON_AddBoolToObject(one, "constant", t->is_constant);
    return one;
}

static void add_sums(cJSON *to, const dt_inventory *v, const char *type)
{
    const tensor_sum constant = sum_of(v, type, 1), computed = sum_of(v, type, 0);
    cJSON *one = cJSON_AddObjectToObject(to, type ? type : "all");

    cJSON_AddNumberToObject(one, "constant", constant.n);
    cJSON_AddNumberToObject(one, "constant_bytes", (double)constant.bytes);
    cJSON_AddNumberToObject(one, "computed", computed.n);
    cJSON_AddNumberToObject(one, "computed_bytes", (double)computed.bytes);
}

static dt_status print_inventory_json(const char *path, const dt_inventory *v)
{
    cJSON *out = cJSON_CreateObject(), *tensors;

    cJSON_AddStringToObject(out, "file", path);
    tensors = cJSON_AddArrayToObject(out, "tensors");
    for (int i = 0; i < v->n; i++) cJSON_AddItemToArray(tensors, tensor_json(&v->tensor[i]));
    cJSON *types = cJSON_AddObjectToObject(out, "types");
    for (int i = 0; i < v->n; i++) {
        if (is_first(v, i)) add_sums(types, v, v->tensor[i].type);
    }
    add_sums(out, v, NULL);
    return print_json(out);
}

static dt_status print_inventory(const settings *s, const dt_inventory *v)
{
    const tensor_sum constant = sum_of(v, NULL, 1), computed = sum_of(v, NULL, 0);

    if (s->json) return print_inventory_json(s->checkpoint, v);
    for (int i = 0; i < v->n; i++) {
        if (is_first(v, i)) print_type(v, v->tensor[i].type);
    }
    print_sums("all", &constant, &computed);
    return DT_OK;
}

/* ---- two files ---- */

static int is_equal(const dt_tensor_info *a, const dt_tensor_info *b)
{
    return strcmp(a->type, b->type) == 0 && a->bytes == b->bytes && a->is_constant == b->is_constant &&
           a->ndim == b->ndim && memcmp(a->dim, b->dim, (size_t)a->ndim * sizeof *a->dim) == 0;
}

static void print_side(const dt_tensor_info *t)
{
    if (t)
        printf("%-8s %-14s %11s %-8s  ", t->type, text_shape(t->dim, t->ndim).s, text_count(t->bytes).s,
               t->is_constant ? "constant" : "computed");
    else
        printf("%-44s  ", "none");
}

/* Calls `each` for the tensors that differ: those of A with B's of that name or NULL, then those that B alone has. */
static int walk(const dt_inventory *a, const dt_inventory *b,
                void (*each)(void *user, const dt_tensor_info *a, const dt_tensor_info *b), void *user)
{
    int n = 0;

    for (int i = 0; i < a->n; i++) {
        const dt_tensor_info *other = dt_inventory_find(b, a->tensor[i].name);
        if (other && is_equal(&a->tensor[i], other)) continue;
        each(user, &a->tensor[i], other);
        n++;
    }
    for (int i = 0; i < b->n; i++) {
        if (dt_inventory_find(a, b->tensor[i].name)) continue;
        each(user, NULL, &b->tensor[i]);
        n++;
    }
    return n;
}

static void print_each(void *user, const dt_tensor_info *a, const dt_tensor_info *b)
{
    (void)user;
    print_side(a);
    print_side(b);
    printf("%s\n", a ? a->name : b->name);
}

static void add_each(void *user, const dt_tensor_info *a, const dt_tensor_info *b)
{
    cJSON *one = cJSON_CreateObject();

    cJSON_AddStringToObject(one, "name", a ? a->name : b->name);
    cJSON_AddItemToObject(one, "a", a ? tensor_json(a) : cJSON_CreateNull());
    cJSON_AddItemToObject(one, "b", b ? tensor_json(b) : cJSON_CreateNull());
    cJSON_AddItemToArray(user, one);
}

static dt_status print_diff_json(const settings *s, const dt_inventory *a, const dt_inventory *b)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "a", s->checkpoint);
    cJSON_AddStringToObject(out, "b", s->diff);
    walk(a, b, add_each, cJSON_AddArrayToObject(out, "differ"));
    add_sums(cJSON_AddObjectToObject(out, "sums_a"), a, NULL);
    add_sums(cJSON_AddObjectToObject(out, "sums_b"), b, NULL);
    return print_json(out);
}

static dt_status print_diff(const settings *s, const dt_inventory *a, const dt_inventory *b)
{
    const tensor_sum of_a = sum_of(a, NULL, 1), of_b = sum_of(b, NULL, 1);

    if (s->json) return print_diff_json(s, a, b);
    printf("A  %s: %d tensors, constants of %s bytes\n", s->checkpoint, a->n, text_count(of_a.bytes).s);
    printf("B  %s: %d tensors, constants of %s bytes\n\n", s->diff, b->n, text_count(of_b.bytes).s);
    printf("%-44s  %-44s  %s\n", "in A", "in B", "tensor");
    const int n = walk(a, b, print_each, NULL);
    printf("%d tensor%s\n", n, n == 1 ? " differs" : "s differ");
    return DT_OK;
}

dt_status inspect_tensors(const settings *s)
{
    dt_inventory *a = NULL, *b = NULL;

    DT_TRY(need_option("checkpoint", s->checkpoint));
    dt_status status = dt_inventory_read(s->checkpoint, &a);
    if (status == DT_OK && s->diff) status = dt_inventory_read(s->diff, &b);
    if (status == DT_OK) status = s->diff ? print_diff(s, a, b) : print_inventory(s, a);
    dt_inventory_destroy(b);
    dt_inventory_destroy(a);
    return status;
}
