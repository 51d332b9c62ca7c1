/*
 * fuzz_network.c - any bytes as a network's file: refused, or written and read again with equal text, quantized, and
 *                  shown.
 */
#include "fuzz_target.h"

#include <string.h>

#include "../../formats/graph_json.h"
#include "../../formats/json_file.h"
#include "../../quant/insert.h"
#include "../../quant/insert_range.h"

static int read_text(const char *text, size_t bytes, dt_graph **out)
{
    cJSON *object = NULL;

    if (dt_json_parse(text, bytes, "input", &object) != DT_OK) return 0;
    const dt_status status = dt_graph_from_json(object, "input", out);
    cJSON_Delete(object);
    return status == DT_OK;
}

static void show(const dt_graph *g, dt_graph_form form)
{
    char *text = NULL;

    FUZZ_REQUIRE(dt_graph_print(g, form, &text) == DT_OK);
    free(text);
}

static void write_and_read(const dt_graph *g)
{
    char *first = NULL, *second = NULL;
    dt_graph *again = NULL;

    FUZZ_REQUIRE(dt_graph_print(g, DT_GRAPH_FILE, &first) == DT_OK);
    FUZZ_REQUIRE(read_text(first, strlen(first), &again));
    FUZZ_REQUIRE(dt_graph_print(again, DT_GRAPH_FILE, &second) == DT_OK);
    FUZZ_REQUIRE(strcmp(first, second) == 0);
    dt_graph_destroy(again);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const dt_quant_choice choice = { .wbits = 4, .abits = 4, .input_bits = 8, .rule = DT_RULE_LSQ };
    const dt_range_choice affine = { .wbits = 8, .abits = 8, .per_channel = 1, .decay = 0.999f };
    char *text = calloc(size + 1, 1);
    dt_graph *g = NULL, *quantized = NULL, *ranged = NULL;

    if (text && size > 0) memcpy(text, data, size);
    if (text && read_text(text, size, &g)) {
        write_and_read(g);
        show(g, DT_GRAPH_TABLE);
        show(g, DT_GRAPH_DOT);
        if (dt_quant_insert(g, &choice, &quantized) == DT_OK) write_and_read(quantized);
        dt_graph_destroy(quantized);
        if (dt_quant_insert_range(g, &affine, &ranged) == DT_OK) write_and_read(ranged);
        dt_graph_destroy(ranged);
        dt_graph_destroy(g);
    }
    free(text);
    return 0;
}
