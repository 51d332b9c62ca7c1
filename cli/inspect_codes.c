/*
 * inspect_codes.c - `detent inspect --histograms`: draws how often each code of a layer's weights occurs, and of the
 *                   activations that it reads, in a line each.
 *
 * A terminal in UTF-8 gets blocks of eight heights, another one characters of growing weight. Codes beyond CELLS share
 * cells. A height is a cell's share of the largest; what occurs at all has the least height.
 * Tests: tests/cli/test_cli_codes.sh.
 */
#include "layer_codes.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 32, HEIGHTS = 8 };

static const char *const blocks[HEIGHTS + 1] = { " ",
                                                 "\xe2\x96\x81",
                                                 "\xe2\x96\x82",
                                                 "\xe2\x96\x83",
                                                 "\xe2\x96\x84",
                                                 "\xe2\x96\x85",
                                                 "\xe2\x96\x86",
                                                 "\xe2\x96\x87",
                                                 "\xe2\x96\x88" };
static const char *const plain[HEIGHTS + 1] = { " ", ".", ",", ":", "-", "=", "+", "*", "#" };

static const char *const *heights(void)
{
    setlocale(LC_CTYPE, "");
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? blocks : plain;
}

/* Sums rows into cells; returns how many cells there are. */
static int make_cells(const histogram *h, int64_t cell[CELLS], int64_t *most)
{
    const int rows = (h->rows + CELLS - 1) / CELLS, n = (h->rows + rows - 1) / rows;

    *most = 0;
    memset(cell, 0, CELLS * sizeof *cell);
    for (int i = 0; i < h->rows; i++) cell[i / rows] += h->count[i];
    for (int i = 0; i < n; i++) *most = cell[i] > *most ? cell[i] : *most;
    return n;
}

static void print_line(const char *layer, int width, const char *what, int bits, const histogram *h)
{
    const char *const *height = heights();
    int64_t cell[CELLS], most;
    const int n = make_cells(h, cell, &most);

    printf("%-*s  %-7s %4d %11s %7.1f %% %7lld ", width, layer, what, bits, text_count(h->n).s,
           h->n > 0 ? 100.0 * (double)histogram_at(h, 0) / (double)h->n : 0.0, (long long)h->low);
    for (int i = 0; i < n; i++)
        fputs(height[cell[i] == 0 ? 0 : (int)(1 + (HEIGHTS - 1) * (double)cell[i] / (double)most)], stdout);
    printf(" %lld\n", (long long)h->high);
}

static int name_width(const network_codes *c)
{
    int width = 8;

    for (int i = 0; i < c->n; i++) {
        const int bytes = (int)strlen(c->layer[i].name);
        width = bytes > width ? bytes : width;
    }
    return width;
}

static void print_codes(const network_codes *c)
{
    const int width = name_width(c);

    printf("%-*s  %-7s %4s %11s %9s %7s \n", width, "layer", "codes", "bits", "number", "zero", "from");
    for (int i = 0; i < c->n; i++) {
        const layer_codes *l = &c->layer[i];
        print_line(l->name, width, "weights", l->wbits, &l->weights);
        if (l->images > 0) print_line("", width, "reads", l->abits, &l->inputs);
    }
}

static dt_status print_codes_json(const network_codes *c)
{
    cJSON *out = cJSON_CreateObject(), *layers = cJSON_AddArrayToObject(out, "layers");

    for (int i = 0; i < c->n; i++) {
        const layer_codes *l = &c->layer[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", l->name);
        cJSON_AddNumberToObject(one, "wbits", l->wbits);
        cJSON_AddNumberToObject(one, "abits", l->abits);
        cJSON_AddItemToObject(one, "weights", histogram_json(&l->weights));
        if (l->images > 0) cJSON_AddItemToObject(one, "reads", histogram_json(&l->inputs));
        if (l->images > 0) cJSON_AddNumberToObject(one, "images", (double)l->images);
        cJSON_AddItemToArray(layers, one);
    }
    return print_json(out);
}

/* NULL where the data set is not known or not found; a line on stderr then says why. */
static dt_dataset *open_some_images(const settings *s, const dt_model *m)
{
    settings few = *s;
    dt_dataset *d = NULL;

    few.test_size = s->images;
    if (s->checkpoint && session_open_images(&few, m, DT_SPLIT_TEST, &d) == DT_OK) return d;
    fprintf(stderr, "%s: note: no activation codes: %s\n", s->argv[0],
            s->checkpoint ? dt_last_error() : "a network that is not trained has none");
    return NULL;
}

static dt_status show(const settings *s, dt_model *m)
{
    dt_dataset *d = open_some_images(s, m);
    network_codes codes;

    dt_status status = network_codes_look(m, d, s->images, NULL, &codes);
    if (status == DT_OK && codes.n == 0)
        status = dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                          "%s has no layer of integer codes; train it with --wbits and --abits", text_network(m).s);
    if (status == DT_OK && s->json)
        status = print_codes_json(&codes);
    else if (status == DT_OK)
        print_codes(&codes);
    network_codes_free(&codes);
    dt_dataset_close(d);
    return status;
}

dt_status inspect_codes(const settings *s, const session *o)
{
    return session_use_model(s, o, show);
}
