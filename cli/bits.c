/*
 * bits.c - --bits: a choice of bits for some layers, on the command line or in a JSON file.
 *
 *   features.27:w2a2,stage1.*:w8a4,dense:w4a4b16,stem:float
 *   { "features.27": { "wbits": 2, "abits": 2 }, "dense": { "wbits": 4, "abits": 4, "bbits": 16 },
 *     "stem": { "wbits": "float", "abits": "float" } }
 *
 * A layer is a name, or a pattern with * and ?. The last that fits a layer counts.
 */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void layer_bits_free(layer_bits *b)
{
    for (int i = 0; i < b->n; i++) free((char *)b->layer[i].layer);
    free(b->layer);
    *b = (layer_bits){ 0 };
}

/* of: its bits; its name, of so many bytes, is copied. */
static dt_status add(layer_bits *b, const char *name, size_t bytes, const dt_layer_bits *of)
{
    dt_layer_bits *bigger = realloc(b->layer, (size_t)(b->n + 1) * sizeof *bigger);
    char *copy = bigger ? strndup(name, bytes) : NULL;

    if (bigger) b->layer = bigger;
    DT_CHECK(copy, DT_ERR_MEMORY, "--bits: no memory for %d layers", b->n + 1);
    b->layer[b->n] = *of;
    b->layer[b->n++].layer = copy;
    return DT_OK;
}

/* "w2a4", "w2a4b16", or "float"; nothing behind it. */
static int read_bits(const char *text, dt_layer_bits *out)
{
    int end = 0, end_of_bias = 0;

    *out = (dt_layer_bits){ NULL, DT_BITS_FLOAT, DT_BITS_FLOAT, 0 };
    if (strcmp(text, "float") == 0) return 1;
    const int n = sscanf(text, "w%2da%2d%nb%2d%n", &out->wbits, &out->abits, &end, &out->bbits, &end_of_bias);
    return n >= 2 && text[n == 3 ? end_of_bias : end] == '\0';
}

static dt_status read_line(const char *text, layer_bits *b)
{
    while (*text) {
        const size_t length = strcspn(text, ",");
        char one[VALUE_BYTES * 8];
        dt_layer_bits bits;

        snprintf(one, sizeof one, "%.*s", (int)length, text);
        char *const colon = strrchr(one, ':');
        DT_CHECK(colon && colon > one && length < sizeof one && read_bits(colon + 1, &bits), DT_ERR_ARGUMENT,
                 "--bits: '%.80s' is not LAYER:wXaY, LAYER:wXaYbZ or LAYER:float, say features.27:w2a2", one);
        DT_TRY(add(b, one, (size_t)(colon - one), &bits));
        text += length + (text[length] == ',');
    }
    return DT_OK;
}

static int read_item(const cJSON *item, int *out)
{
    const char *word = cJSON_GetStringValue(item);

    *out = word && strcmp(word, "float") == 0 ? DT_BITS_FLOAT : cJSON_IsNumber(item) ? item->valueint : 0;
    return *out != 0;
}

static dt_status read_object(const char *path, const cJSON *object, layer_bits *b)
{
    const cJSON *layer;

    DT_CHECK(cJSON_IsObject(object), DT_ERR_FORMAT, "--bits %s: not a JSON object of layers", path);
    cJSON_ArrayForEach(layer, object)
    {
        const cJSON *bias = cJSON_GetObjectItemCaseSensitive(layer, "bbits");
        dt_layer_bits bits = { .layer = NULL };
        DT_CHECK(read_item(cJSON_GetObjectItemCaseSensitive(layer, "wbits"), &bits.wbits) &&
                     read_item(cJSON_GetObjectItemCaseSensitive(layer, "abits"), &bits.abits) &&
                     (!bias || (cJSON_IsNumber(bias) && (bits.bbits = bias->valueint) > 0)) &&
                     cJSON_GetArraySize(layer) == 2 + (bias != NULL),
                 DT_ERR_FORMAT,
                 "--bits %s: %s is not { \"wbits\": 2..8 or \"float\", \"abits\": .. }, with \"bbits\" where its bias "
                 "has some",
                 path, layer->string);
        DT_TRY(add(b, layer->string, strlen(layer->string), &bits));
    }
    return DT_OK;
}

static dt_status read_json(const char *path, layer_bits *b)
{
    char *content;
    size_t bytes;

    DT_TRY(read_file(path, &content, &bytes));
    DT_CHECK(content, DT_ERR_IO, "--bits %s: no such file", path);
    cJSON *object = cJSON_ParseWithLength(content, bytes);
    free(content);
    const dt_status status = read_object(path, object, b);
    cJSON_Delete(object);
    return status;
}

int bits_are_in_file(const settings *s)
{
    return dt_network_is_file(s->bits) && !strchr(s->bits, ':');
}

dt_status layer_bits_read(const settings *s, layer_bits *out)
{
    layer_bits b = { 0 };

    if (!s->bits) return DT_OK;
    const dt_status status = bits_are_in_file(s) ? read_json(s->bits, &b) : read_line(s->bits, &b);
    if (status != DT_OK) {
        layer_bits_free(&b);
        return status;
    }
    *out = b;
    return DT_OK;
}
