/*
 * inspect_cost.c - `detent inspect --cost`: products, weights and bits of each layer and of the network.
 *
 * Bit operations, BOPs, are products times the bits of weight and activation, and memory is weights times their bits
 * and outputs times 32, as QONNX's inference_cost counts them with discount_sparsity off. The JSON has its names.
 */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>

enum { OUTPUT_BITS = 32 };

static int64_t bops_of(const dt_layer_cost *l)
{
    return l->macs * l->wbits * l->abits;
}

static network_cost sum_of(const dt_layer_cost *l, int n)
{
    network_cost sum = { 0 };

    for (int i = 0; i < n; i++) {
        sum.macs += l[i].macs;
        sum.bops += bops_of(&l[i]);
        sum.w_values += l[i].n_weights;
        sum.w_bits += l[i].n_weights * l[i].wbits;
        sum.o_values += l[i].n_outputs;
    }
    return sum;
}

dt_status network_cost_of(const dt_model *m, network_cost *out)
{
    dt_layer_cost *l;
    int n;

    DT_TRY(dt_model_cost(m, &l, &n));
    *out = sum_of(l, n);
    free(l);
    return DT_OK;
}

static void print_table(const dt_layer_cost *l, int n)
{
    const network_cost sum = sum_of(l, n);

    printf("%-24s %5s %5s %14s %12s %14s %12s %18s\n", "layer", "wbits", "abits", "MACs", "weights", "weight bits",
           "outputs", "BOPs");
    for (int i = 0; i < n; i++) {
        printf("%-24s %5d %5d %14s %12s %14s %12s %18s\n", l[i].name, l[i].wbits, l[i].abits, text_count(l[i].macs).s,
               text_count(l[i].n_weights).s, text_count(l[i].n_weights * l[i].wbits).s, text_count(l[i].n_outputs).s,
               text_count(bops_of(&l[i])).s);
    }
    printf("%-24s %5s %5s %14s %12s %14s %12s %18s\n", "sum", "", "", text_count(sum.macs).s,
           text_count(sum.w_values).s, text_count(sum.w_bits).s, text_count(sum.o_values).s, text_count(sum.bops).s);
    printf("weights take %.1f KiB, outputs of %d bits %.1f KiB an image\n", (double)sum.w_bits / 8192.0, OUTPUT_BITS,
           (double)(sum.o_values * OUTPUT_BITS) / 8192.0);
}

static dt_status print_cost_json(const dt_layer_cost *l, int n)
{
    const network_cost sum = sum_of(l, n);
    cJSON *out = cJSON_CreateObject(), *layers = cJSON_AddArrayToObject(out, "layers");

    for (int i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", l[i].name);
        cJSON_AddNumberToObject(one, "wbits", l[i].wbits);
        cJSON_AddNumberToObject(one, "abits", l[i].abits);
        cJSON_AddNumberToObject(one, "macs", (double)l[i].macs);
        cJSON_AddNumberToObject(one, "weights", (double)l[i].n_weights);
        cJSON_AddNumberToObject(one, "outputs", (double)l[i].n_outputs);
        cJSON_AddNumberToObject(one, "bops", (double)bops_of(&l[i]));
        cJSON_AddItemToArray(layers, one);
    }
    cJSON_AddNumberToObject(out, "total_macs", (double)sum.macs);
    cJSON_AddNumberToObject(out, "total_bops", (double)sum.bops);
    cJSON_AddNumberToObject(out, "total_mem_w_elems", (double)sum.w_values);
    cJSON_AddNumberToObject(out, "total_mem_w_bits", (double)sum.w_bits);
    cJSON_AddNumberToObject(out, "total_mem_o_elems", (double)sum.o_values);
    cJSON_AddNumberToObject(out, "total_mem_o_bits", (double)(sum.o_values * OUTPUT_BITS));
    return print_json(out);
}

static dt_status print_cost(const settings *s, dt_model *m)
{
    dt_status status = DT_OK;
    dt_layer_cost *l;
    int n;

    DT_TRY(dt_model_cost(m, &l, &n));
    if (s->json)
        status = print_cost_json(l, n);
    else
        print_table(l, n);
    free(l);
    return status;
}

dt_status inspect_cost(const settings *s, const session *o)
{
    return session_use_model(s, o, print_cost);
}
