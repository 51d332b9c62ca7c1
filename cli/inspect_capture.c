/*
 * inspect_capture.c - `detent inspect` of a capture's file: what it holds, how often each code and psum occurs, and
 *                     some of its values.
 */
#include "cli.h"
#include "histogram.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line for each code of up to 8 bits; psums are put together in 16 lines. */
enum { PSUM_ROWS = 16, BAR_WIDTH = 40, SAMPLE_SIDE = 4 };

static void print_histogram(const char *what, const histogram *h)
{
    static const char bar[BAR_WIDTH + 1] = "########################################";

    printf("\n%-24s %14s\n", what, "count");
    for (int i = 0; i < h->rows; i++) {
        const int64_t first = h->low + i * h->width;
        const int length = (int)ceil((double)h->count[i] * BAR_WIDTH / (double)h->most);
        char range[VALUE_BYTES];
        snprintf(range, sizeof range, h->width > 1 ? "%s..%s" : "%s", text_count(first).s,
                 text_count(first + h->width - 1).s);
        printf("%24s %14s %5.1f%%%s%.*s\n", range, text_count(h->count[i]).s,
               100.0 * (double)h->count[i] / (double)h->n, length > 0 ? "  " : "", length, bar);
    }
}

typedef struct {
    histogram input, weight, psum;
    int64_t n_input, n_weight, n_psum, n_next;
} histograms;

static void count_all(const dt_capture *c, histograms *h)
{
    const int64_t maps = c->n * c->maps;

    h->n_input = maps * c->height * c->width * c->channels;
    h->n_weight = (int64_t)c->filters * c->kernel_height * c->kernel_width * (c->channels / c->conv.groups);
    h->n_psum = maps * c->out_height * c->out_width * c->filters;
    h->n_next = c->n * c->next_maps * c->next_height * c->next_width * c->next_channels;
    histogram_of(c->qx, h->n_input, HISTOGRAM_ROWS, &h->input);
    histogram_of(c->qw, h->n_weight, HISTOGRAM_ROWS, &h->weight);
    histogram_of(c->psum, h->n_psum, PSUM_ROWS, &h->psum);
}

/* "0.12..3.4" */
static short_text range_of(const float *values, int64_t n)
{
    float low = values[0], high = values[0];
    short_text out;

    for (int64_t i = 1; i < n; i++) {
        low = fminf(low, values[i]);
        high = fmaxf(high, values[i]);
    }
    snprintf(out.s, sizeof out.s, "%.6g..%.6g", (double)low, (double)high);
    return out;
}

/* Bits of codes of low..high, two's complement if low is below 0. */
static int bits_of(int low, int high)
{
    int bits = low < 0 ? 1 : 0;

    while ((low < 0 ? -low - 1 : 0) >> (bits - (low < 0)) || high >> (bits - (low < 0))) bits++;
    return bits;
}

static int all_equal(const int *value, int n)
{
    for (int i = 1; i < n; i++) {
        if (value[i] != value[0]) return 0;
    }
    return 1;
}

/* "2", or "2,1" where they differ */
static short_text text_list(const int *value, int n)
{
    short_text out;
    int used = snprintf(out.s, sizeof out.s, "%d", value[0]);

    if (all_equal(value, n)) return out;
    for (int i = 1; i < n; i++) used += snprintf(out.s + used, sizeof out.s - (size_t)used, ",%d", value[i]);
    return out;
}

static cJSON *list_json(const int *value, int n)
{
    return all_equal(value, n) ? cJSON_CreateNumber(value[0]) : cJSON_CreateIntArray(value, n);
}

/* What is not 1 in most convolutions is told only then. */
static void print_form(const dt_conv_params *p)
{
    printf("; stride %s, pad %s", text_list(p->stride, 2).s, text_list(p->pad, 4).s);
    if (p->dilation[0] > 1 || p->dilation[1] > 1) printf(", dilation %s", text_list(p->dilation, 2).s);
    if (p->groups > 1) printf(", groups %d", p->groups);
    printf("\n");
}

static void print_contents(const settings *s, const dt_capture *c, const histograms *h)
{
    printf("%s: capture of %s, %s images\n\n", s->checkpoint, c->layer, text_count(c->n).s);
    printf("%-12s %-16s %d..%d, %d bits; scale %s\n", "input", text_size(c->maps, c->height, c->width, c->channels).s,
           c->x_low, c->x_high, bits_of(c->x_low, c->x_high), text_float(c->sx).s);
    printf("%-12s %-16s %d..%d, %d bits; scale %s%s\n", "weight",
           text_size(c->filters, c->kernel_height, c->kernel_width, c->channels / c->conv.groups).s, c->w_low,
           c->w_high, bits_of(c->w_low, c->w_high), text_float(c->sw[0]).s,
           c->n_sw > 1 ? " of filter 0; one a filter" : "");
    printf("%-12s %-16s %s", "psum", text_size(c->maps, c->out_height, c->out_width, c->filters).s,
           range_of(c->psum, h->n_psum).s);
    print_form(&c->conv);
    if (c->input_float) printf("%-12s %-16s %s\n", "input_float", "as input", range_of(c->input_float, h->n_input).s);
    if (c->next_input) {
        printf("%-12s %-16s %s; read by %s\n", "next_input",
               text_size(c->next_maps, c->next_height, c->next_width, c->next_channels).s,
               range_of(c->next_input, h->n_next).s, c->next_layer);
    }
}

/* The upper left corner of channel 0 of [height][width][channels]. */
static void print_corner(const char *what, const float *values, int height, int width, int channels)
{
    printf("\n%s\n", what);
    for (int row = 0; row < height && row < SAMPLE_SIDE; row++) {
        for (int col = 0; col < width && col < SAMPLE_SIDE; col++) {
            printf(" %12.7g", (double)values[((int64_t)row * width + col) * channels]);
        }
        puts("");
    }
}

static void print_samples(const dt_capture *c)
{
    if (c->input_float)
        print_corner("input_float, image 0, channel 0", c->input_float, c->height, c->width, c->channels);
    print_corner("input, image 0, channel 0", c->qx, c->height, c->width, c->channels);
    print_corner("weight, filter 0, channel 0", c->qw, c->kernel_height, c->kernel_width, c->channels / c->conv.groups);
    print_corner("psum, image 0, filter 0", c->psum, c->out_height, c->out_width, c->filters);
    if (c->next_input)
        print_corner("next_input, image 0, channel 0", c->next_input, c->next_height, c->next_width, c->next_channels);
}

static cJSON *codes_json(const int shape[4], int low, int high, const histogram *h)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddItemToObject(out, "shape", cJSON_CreateIntArray(shape, 4));
    cJSON_AddNumberToObject(out, "low", low);
    cJSON_AddNumberToObject(out, "high", high);
    cJSON_AddNumberToObject(out, "bits", bits_of(low, high));
    cJSON_AddItemToObject(out, "histogram", histogram_json(h));
    return out;
}

static dt_status print_capture_json(const dt_capture *c, const histograms *h)
{
    const int input[4] = { c->maps, c->height, c->width, c->channels };
    const int weight[4] = { c->filters, c->kernel_height, c->kernel_width, c->channels / c->conv.groups };
    const int psum[4] = { c->maps, c->out_height, c->out_width, c->filters };
    const int next[4] = { c->next_maps, c->next_height, c->next_width, c->next_channels };
    cJSON *out = cJSON_CreateObject(), *scales = cJSON_CreateArray();

    cJSON_AddStringToObject(out, "capture", c->layer);
    cJSON_AddNumberToObject(out, "images", (double)c->n);
    cJSON_AddItemToObject(out, "stride", list_json(c->conv.stride, 2));
    cJSON_AddItemToObject(out, "pad", list_json(c->conv.pad, 4));
    cJSON_AddItemToObject(out, "dilation", list_json(c->conv.dilation, 2));
    cJSON_AddNumberToObject(out, "groups", c->conv.groups);
    cJSON_AddRawToObject(out, "input_scale", text_float(c->sx).s);
    for (int i = 0; i < c->n_sw; i++) cJSON_AddItemToArray(scales, cJSON_CreateRaw(text_float(c->sw[i]).s));
    cJSON_AddItemToObject(out, "weight_scale", scales);
    cJSON_AddItemToObject(out, "input", codes_json(input, c->x_low, c->x_high, &h->input));
    cJSON_AddItemToObject(out, "weight", codes_json(weight, c->w_low, c->w_high, &h->weight));
    cJSON *sums = cJSON_AddObjectToObject(out, "psum");
    cJSON_AddItemToObject(sums, "shape", cJSON_CreateIntArray(psum, 4));
    cJSON_AddItemToObject(sums, "histogram", histogram_json(&h->psum));
    cJSON_AddBoolToObject(out, "input_float", c->input_float != NULL);
    if (c->next_input) {
        cJSON_AddStringToObject(out, "next_layer", c->next_layer);
        cJSON_AddItemToObject(out, "next_input", cJSON_CreateIntArray(next, 4));
    }
    return print_json(out);
}

static dt_status print_capture(const settings *s, const dt_capture *c)
{
    histograms *h = calloc(1, sizeof *h);
    dt_status status = DT_OK;

    DT_CHECK(h, DT_ERR_MEMORY, "%s: no memory for histograms", s->checkpoint);
    count_all(c, h);
    if (s->json) {
        status = print_capture_json(c, h);
    } else {
        print_contents(s, c, h);
        print_histogram("activation code", &h->input);
        print_histogram("weight code", &h->weight);
        print_histogram("psum", &h->psum);
        print_samples(c);
    }
    free(h);
    return status;
}

dt_status inspect_capture(const settings *s)
{
    dt_capture *c;

    DT_TRY(dt_capture_load(s->checkpoint, &c));
    const dt_status status = print_capture(s, c);
    dt_capture_destroy(c);
    return status;
}
