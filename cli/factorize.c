/*
 * factorize.c - `detent factorize`: layers of a trained network become layers of low rank.
 *
 *   --ranks fc1:8,conv5:16           two cores with a rank of 8 between them; a convolution of rank 16
 *   --ranks fc1:4x6:7x6x4:2x2x2      ranks between three cores, and factors of the inputs and of the features
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* Reads "7x6x4" into number, of DT_CORES_MOST; returns how many, or 0 if it is no such text. */
static int read_numbers(const char *text, int *number)
{
    int n = 0, used = 0;

    while (n < DT_CORES_MOST && sscanf(text, "%9d%n", &number[n], &used) == 1) {
        n++;
        text += used;
        if (*text == '\0') return n;
        if (*text++ != 'x') return 0;
    }
    return 0;
}

/* LAYER:RANKS[:IN:OUT], of which colons become ends of texts. */
static dt_status read_layer(char *text, dt_layer_ranks *out)
{
    char whole[VALUE_BYTES * 4], *part[4] = { text }, *rest = text;
    int n = 1;

    snprintf(whole, sizeof whole, "%s", text);
    while ((rest = strchr(rest, ':')) && n < 4) {
        *rest++ = '\0';
        part[n++] = rest;
    }
    *out = (dt_layer_ranks){ .layer = part[0] };
    out->n_ranks = n > 1 ? read_numbers(part[1], out->rank) : 0;
    out->n_factors = n == 4 ? read_numbers(part[2], out->in) : 0;
    const int n_out = n == 4 ? read_numbers(part[3], out->out) : 0;
    DT_CHECK(out->n_ranks > 0 && n != 3 && out->n_factors == n_out && (n < 4 || n_out > 0), DT_ERR_ARGUMENT,
             "--ranks: '%.80s' is not LAYER:RANKS or LAYER:RANKS:INPUTS:FEATURES, say fc1:8 or fc1:4x6:7x6x4:2x2x2",
             whole);
    return DT_OK;
}

static void print_table(const settings *s, const dt_model *before, const dt_model *after, const dt_layer_cost *l, int n)
{
    FILE *const to = report_stream(s->out);
    int64_t macs = 0;

    fprintf(to, "%-24s %12s %12s\n", "layer", "weights", "products");
    for (int i = 0; i < n; i++) {
        fprintf(to, "%-24s %12s %12s\n", l[i].name, text_count(l[i].n_weights).s, text_count(l[i].macs).s);
        macs += l[i].macs;
    }
    fprintf(to, "%s: %s > %s parameters, %s products\n", s->out, text_count(dt_model_count(before)).s,
            text_count(dt_model_count(after)).s, text_count(macs).s);
}

static dt_status print_table_json(const dt_model *before, const dt_model *after, const dt_layer_cost *l, int n)
{
    cJSON *out = cJSON_CreateObject(), *layers = cJSON_AddArrayToObject(out, "layers");

    for (int i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", l[i].name);
        cJSON_AddNumberToObject(one, "weights", (double)l[i].n_weights);
        cJSON_AddNumberToObject(one, "macs", (double)l[i].macs);
        cJSON_AddItemToArray(layers, one);
    }
    cJSON *parameters = cJSON_AddArrayToObject(out, "parameters");
    cJSON_AddItemToArray(parameters, cJSON_CreateNumber((double)dt_model_count(before)));
    cJSON_AddItemToArray(parameters, cJSON_CreateNumber((double)dt_model_count(after)));
    return print_json(out);
}

static dt_status report(const settings *s, const dt_model *before, const dt_model *after)
{
    dt_status status = DT_OK;
    dt_layer_cost *l;
    int n;

    DT_TRY(dt_model_cost(after, &l, &n));
    if (s->json)
        status = print_table_json(before, after, l, n);
    else
        print_table(s, before, after, l, n);
    free(l);
    return status;
}

static dt_status factorize_and_save(const settings *s, const session *o, const dt_layer_ranks *layers, int n)
{
    dt_model *made;

    DT_TRY(dt_factorize(o->model, layers, n, &made));
    dt_status status = dt_model_save(made, s->out, NULL);
    if (status == DT_OK) status = report(s, o->model, made);
    dt_model_destroy(made);
    return status;
}

dt_status factorize_run(const settings *s, int *exit_code)
{
    pattern_list list = { 0 };
    session o = { 0 };

    DT_TRY(need_option("ranks", s->ranks_of));
    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    DT_TRY(pattern_list_read(s->ranks_of, &list));
    dt_layer_ranks *layers = calloc((size_t)list.n + 1, sizeof *layers);
    dt_status status = layers ? DT_OK : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %d layers", list.n);
    for (int i = 0; i < list.n && status == DT_OK; i++) status = read_layer(list.item[i], &layers[i]);
    if (status == DT_OK) status = session_open_checkpoint(s, &o);
    if (status == DT_OK) status = factorize_and_save(s, &o, layers, list.n);
    session_close(&o);
    free(layers);
    pattern_list_free(&list);
    return status;
}
