/*
 * compare_values.c - `detent compare --layers`: how far values inside two networks are apart, as reals.
 *
 * A value of B is compared with that of A of the same name. A quantizer's is "X.quant" in a network and "X.act_quant"
 * in a program; it is compared with A's quantizer of X, or else with A's value behind X: "X.relu", "X.biased" or X
 * itself; and the other way about.
 */
#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 512 };

static const char *const quantizers[] = { ".act_quant", ".quant", NULL };
static const char *const behind[] = { ".act_quant", ".quant", ".relu", ".biased", "", NULL };

/* Copies a name without the end of a quantizer's. Returns 1 if it had one. */
static int without_quantizer(const char *name, char out[NAME_BYTES])
{
    const size_t bytes = strlen(name);

    snprintf(out, NAME_BYTES, "%s", name);
    for (int i = 0; quantizers[i]; i++) {
        const size_t end = strlen(quantizers[i]);
        if (bytes <= end || strcmp(name + bytes - end, quantizers[i]) != 0) continue;
        out[bytes - end] = '\0';
        return 1;
    }
    return 0;
}

static const value_kept *find_kept(const value_comparison *c, const char *name, const char *end)
{
    char whole[NAME_BYTES * 2];

    snprintf(whole, sizeof whole, "%s%s", name, end);
    for (int i = 0; i < c->n_kept; i++) {
        if (strcmp(c->kept[i].name, whole) == 0) return &c->kept[i];
    }
    return NULL;
}

/* A's value that is compared with B's of that name, or NULL. */
static const value_kept *find_partner(const value_comparison *c, const char *name)
{
    char stem[NAME_BYTES];
    const value_kept *found = find_kept(c, name, "");
    const int is_quantizer = without_quantizer(name, stem);

    for (int i = 0; !found && is_quantizer && behind[i]; i++) found = find_kept(c, stem, behind[i]);
    for (int i = 0; !found && !is_quantizer && quantizers[i]; i++) found = find_kept(c, name, quantizers[i]);
    return found;
}

static int64_t count_of(const dt_value_batch *v)
{
    int64_t count = 1;

    for (int i = 0; i < v->ndim; i++) count *= v->dim[i];
    return count;
}

static double real_of(const dt_value_batch *v, int64_t i)
{
    if (v->n_scale == 0) return (double)v->values[i];
    return (double)(v->values[i] * v->scale[v->n_scale == 1 ? 0 : i % v->n_scale]);
}

dt_status values_keep(void *user, const dt_value_batch *v)
{
    value_comparison *c = user;
    value_kept *bigger = realloc(c->kept, (size_t)(c->n_kept + 1) * sizeof *bigger);
    const int64_t count = count_of(v);

    DT_CHECK(bigger, DT_ERR_MEMORY, "no memory to keep %s", v->name);
    c->kept = bigger;
    value_kept *kept = &c->kept[c->n_kept++];
    *kept = (value_kept){ strdup(v->name), malloc((size_t)count * sizeof *kept->real), count };
    DT_CHECK(kept->name && kept->real, DT_ERR_MEMORY, "no memory to keep %s", v->name);
    for (int64_t i = 0; i < count; i++) kept->real[i] = (float)real_of(v, i);
    return DT_OK;
}

static dt_status find_row(value_comparison *c, const char *a, const char *b, value_distance **out)
{
    for (int i = 0; i < c->n_rows; i++) {
        *out = &c->row[i];
        if (strcmp(c->row[i].b, b) == 0) return DT_OK;
    }
    value_distance *bigger = realloc(c->row, (size_t)(c->n_rows + 1) * sizeof *bigger);
    DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for the row of %s", b);
    c->row = bigger;
    *out = &c->row[c->n_rows++];
    **out = (value_distance){ .a = strdup(a), .b = strdup(b) };
    DT_CHECK((*out)->a && (*out)->b, DT_ERR_MEMORY, "no memory for the row of %s", b);
    return DT_OK;
}

dt_status values_compare(void *user, const dt_value_batch *v)
{
    value_comparison *c = user;
    const value_kept *a = find_partner(c, v->name);
    value_distance *row = NULL;

    if (!a || a->count != count_of(v)) return DT_OK;
    DT_TRY(find_row(c, a->name, v->name, &row));
    for (int64_t i = 0; i < a->count; i++) {
        const double distance = fabs((double)a->real[i] - real_of(v, i));
        row->largest = fmax(row->largest, distance);
        row->sum += distance;
    }
    row->n += a->count;
    return DT_OK;
}

void values_next_batch(value_comparison *c)
{
    for (int i = 0; i < c->n_kept; i++) {
        free(c->kept[i].name);
        free(c->kept[i].real);
    }
    c->n_kept = 0;
}

void values_free(value_comparison *c)
{
    values_next_batch(c);
    for (int i = 0; i < c->n_rows; i++) {
        free(c->row[i].a);
        free(c->row[i].b);
    }
    free(c->kept);
    free(c->row);
}

void values_print(const value_comparison *c)
{
    printf("%-32s %-32s %14s %14s\n", "value of A", "value of B", "largest diff.", "mean diff.");
    for (int i = 0; i < c->n_rows; i++) {
        const value_distance *r = &c->row[i];
        printf("%-32s %-32s %14.6g %14.6g\n", r->a, r->b, r->largest, r->sum / (double)r->n);
    }
}

cJSON *values_json(const value_comparison *c)
{
    cJSON *out = cJSON_CreateArray();

    for (int i = 0; i < c->n_rows; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "a", c->row[i].a);
        cJSON_AddStringToObject(one, "b", c->row[i].b);
        cJSON_AddNumberToObject(one, "largest_difference", c->row[i].largest);
        cJSON_AddNumberToObject(one, "mean_difference", c->row[i].sum / (double)c->row[i].n);
        cJSON_AddItemToArray(out, one);
    }
    return out;
}
