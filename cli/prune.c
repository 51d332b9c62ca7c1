/*
 * prune.c - `detent prune`: a trained network becomes a smaller or a sparse one; and a table of what became of each
 * layer.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* What a layer had, and what it has. */
typedef struct {
    const char *name;
    int64_t filters[2], macs[2], weights[2];
    int64_t n_zero; /* of the weights that it has */
} row;

typedef struct {
    row *row; /* [n]; owned */
    int n;
    int64_t parameters[2];
} table;

static int64_t filters_of(const dt_model *m, const char *layer, int64_t *n_zero)
{
    const int n = dt_model_n_params(m);
    char name[VALUE_BYTES * 4];
    dt_param_info p;

    snprintf(name, sizeof name, "%s.weight", layer);
    *n_zero = 0;
    for (int i = 0; i < n; i++) {
        dt_model_param(m, i, &p);
        if (strcmp(p.name, name) != 0) continue;
        float *w = malloc((size_t)p.count * sizeof *w);
        if (w && dt_model_read(m, i, w) == DT_OK) {
            for (int64_t k = 0; k < p.count; k++) *n_zero += w[k] == 0.0f;
        }
        free(w);
        return p.dim[0];
    }
    return 0;
}

static void fill_column(table *t, const dt_model *m, const dt_layer_cost *cost, int n, int column)
{
    for (int i = 0; i < t->n && i < n; i++) {
        row *r = &t->row[i];
        r->name = cost[i].name;
        r->macs[column] = cost[i].macs;
        r->weights[column] = cost[i].n_weights;
        r->filters[column] = filters_of(m, cost[i].name, &r->n_zero);
    }
    t->parameters[column] = dt_model_count(m);
}

/* Pruning keeps all layers, in their order. */
static dt_status table_make(const dt_model *before, const dt_model *after, table *out)
{
    const dt_model *m[2] = { before, after };

    *out = (table){ 0 };
    for (int column = 0; column < 2; column++) {
        dt_layer_cost *cost;
        int n;
        DT_TRY(dt_model_cost(m[column], &cost, &n));
        if (!out->row) {
            out->row = calloc((size_t)n + 1, sizeof *out->row);
            out->n = n;
        }
        if (out->row) fill_column(out, m[column], cost, n, column);
        free(cost);
        DT_CHECK(out->row, DT_ERR_MEMORY, "no memory for a table of %d layers", n);
    }
    return DT_OK;
}

static int64_t sum_macs(const table *t, int column)
{
    int64_t sum = 0;

    for (int i = 0; i < t->n; i++) sum += t->row[i].macs[column];
    return sum;
}

static void print_table(const settings *s, const table *t)
{
    FILE *const to = report_stream(s->out);

    fprintf(to, "%-20s %15s %23s %23s %12s\n", "layer", "filters", "weights", "products", "weights of 0");
    for (int i = 0; i < t->n; i++) {
        const row *r = &t->row[i];
        fprintf(to, "%-20s %6lld > %6lld %10s > %10s %10s > %10s %12s\n", r->name, (long long)r->filters[0],
                (long long)r->filters[1], text_count(r->weights[0]).s, text_count(r->weights[1]).s,
                text_count(r->macs[0]).s, text_count(r->macs[1]).s, text_count(r->n_zero).s);
    }
    fprintf(to, "%s: %s > %s parameters (%.1f %% less), %s > %s products\n", s->out, text_count(t->parameters[0]).s,
            text_count(t->parameters[1]).s, 100.0 * (1.0 - (double)t->parameters[1] / (double)t->parameters[0]),
            text_count(sum_macs(t, 0)).s, text_count(sum_macs(t, 1)).s);
}

static void add_pair(cJSON *to, const char *name, const int64_t *pair)
{
    cJSON *list = cJSON_AddArrayToObject(to, name);

    for (int i = 0; i < 2; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)pair[i]));
}

static dt_status print_table_json(const table *t)
{
    cJSON *out = cJSON_CreateObject(), *layers = cJSON_AddArrayToObject(out, "layers");

    for (int i = 0; i < t->n; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", t->row[i].name);
        add_pair(one, "filters", t->row[i].filters);
        add_pair(one, "weights", t->row[i].weights);
        add_pair(one, "macs", t->row[i].macs);
        cJSON_AddNumberToObject(one, "zeros", (double)t->row[i].n_zero);
        cJSON_AddItemToArray(layers, one);
    }
    add_pair(out, "parameters", t->parameters);
    return print_json(out);
}

static dt_status report(const settings *s, const dt_model *before, const dt_model *after)
{
    table t;
    dt_status status = table_make(before, after, &t);

    if (status == DT_OK && s->json) status = print_table_json(&t);
    if (status == DT_OK && !s->json) print_table(s, &t);
    free(t.row);
    return status;
}

static dt_status prune_and_save(const settings *s, const session *o, const dt_pruning *how)
{
    dt_model *pruned;

    DT_TRY(dt_prune(o->model, how, &pruned));
    dt_status status = dt_model_save(pruned, s->out, NULL);
    if (status == DT_OK) status = report(s, o->model, pruned);
    dt_model_destroy(pruned);
    return status;
}

dt_status prune_run(const settings *s, int *exit_code)
{
    dt_pruning how = s->prune;
    pattern_list whole = { 0 };
    session o = { 0 };

    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    dt_status status = pattern_list_read(s->whole, &whole);
    if (status == DT_OK) status = session_open_checkpoint(s, &o);
    how.group_keep = s->group[0];
    how.group_of = s->group[1];
    how.whole = (const char *const *)whole.item;
    how.n_whole = whole.n;
    if (status == DT_OK) status = prune_and_save(s, &o, &how);
    session_close(&o);
    pattern_list_free(&whole);
    return status;
}
