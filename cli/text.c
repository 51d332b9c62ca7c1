/*
 * text.c - writes numbers and failures for people.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

short_text text_count(int64_t n)
{
    char digits[VALUE_BYTES];
    const int n_digits = snprintf(digits, sizeof digits, "%" PRId64, n < 0 ? -n : n);
    short_text out = { "" };
    char *p = out.s;

    if (n < 0) *p++ = '-';
    for (int i = 0; i < n_digits; i++) {
        if (i > 0 && (n_digits - i) % 3 == 0) *p++ = ',';
        *p++ = digits[i];
    }
    return out;
}

short_text text_float(float value)
{
    short_text out = { "" };

    for (int digits = value >= 10.0f && value < 1000.0f ? 3 : 1; digits <= 9; digits++) { /* 200, not 2e+02 */
        snprintf(out.s, sizeof out.s, "%.*g", digits, (double)value);
        if (strtof(out.s, NULL) == value) break;
    }
    return out;
}

short_text text_double(double value)
{
    short_text out = { "" };

    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out.s, sizeof out.s, "%.*g", digits, value);
        if (strtod(out.s, NULL) == value) break;
    }
    return out;
}

short_text text_seconds(double seconds)
{
    const int64_t all = seconds < 1e9 ? (int64_t)(seconds + 0.5) : 1000000000;
    const int s = (int)(all % 60), m = (int)(all / 60 % 60);
    const int64_t h = all / 3600;
    short_text out;

    if (h > 0)
        snprintf(out.s, sizeof out.s, "%" PRId64 ":%02d:%02d", h, m, s);
    else
        snprintf(out.s, sizeof out.s, "%d:%02d", m, s);
    return out;
}

short_text text_bytes(size_t bytes)
{
    short_text out;

    const int in_kib = bytes < (size_t)1 << 20, shift = in_kib ? 10 : 20;
    snprintf(out.s, sizeof out.s, "%.40s %s", text_count((int64_t)((bytes + ((size_t)1 << shift >> 1)) >> shift)).s,
             in_kib ? "KiB" : "MiB");
    return out;
}

short_text text_shape(const int64_t *dim, int ndim)
{
    short_text out = { "1" };
    int used = 0;

    for (int d = 0; d < ndim && used < VALUE_BYTES; d++) {
        used += snprintf(out.s + used, sizeof out.s - (size_t)used, "%s%lld", d ? "x" : "", (long long)dim[d]);
    }
    return out;
}

short_text text_size(int maps, int height, int width, int channels)
{
    short_text out = { "" };
    const int used = maps > 1 ? snprintf(out.s, sizeof out.s, "%dx", maps) : 0;

    snprintf(out.s + used, sizeof out.s - (size_t)used, "%dx%dx%d", height, width, channels);
    return out;
}

network_text text_network(const dt_model *m)
{
    dt_qcaps_formats f;
    dt_model_info is;
    network_text out;

    if (!dt_qcaps_look(m, &f)) {
        dt_model_describe(m, out.s);
        return out;
    }
    dt_model_look(m, &is);
    snprintf(out.s, sizeof out.s, "%s in fixed point, %s", is.name, dt_rounding_names[f.rounding]);
    return out;
}

void print_fallback(const dt_context *ctx)
{
    const char *why = dt_context_fallback(ctx);
    if (*why) printf("           not cuda: %s\n", why);
}

void add_fallback(cJSON *object, const dt_context *ctx)
{
    const char *why = dt_context_fallback(ctx);
    if (*why) cJSON_AddStringToObject(object, "not_cuda", why);
}

int report_failure(const char *command_name, dt_status status, int verbose)
{
    const char *wanted = getenv("DETENT_TRACE");

    fprintf(stderr, "detent %s: %s%s\n", command_name, json_memory_lost() ? "memory was short: " : "", dt_last_error());
    if (verbose || (wanted && strcmp(wanted, "1") == 0)) fprintf(stderr, "%s\n", dt_last_trace());

    if (status == DT_ERR_INTERRUPTED) return EXIT_INTERRUPTED;
    if (status != DT_ERR_ARGUMENT || json_memory_lost()) return EXIT_FAILED;
    fprintf(stderr, "Try 'detent %s --help' for more information.\n", command_name);
    return EXIT_BAD_USAGE;
}

cJSON *array_report_json(const dt_array_report *r)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "layer", r->name);
    cJSON_AddNumberToObject(out, "images", (double)r->images);
    cJSON_AddNumberToObject(out, "psums", (double)r->n_psums);
    cJSON_AddNumberToObject(out, "tap_psums", (double)r->n_tap_psums);
    cJSON_AddNumberToObject(out, "min", (double)r->min);
    cJSON_AddNumberToObject(out, "max", (double)r->max);
    cJSON_AddNumberToObject(out, "bits", r->bits);
    cJSON_AddNumberToObject(out, "overflows", (double)r->n_overflows);
    cJSON_AddNumberToObject(out, "zero_share", r->zero_share);
    cJSON_AddNumberToObject(out, "macs", (double)r->macs);
    cJSON_AddNumberToObject(out, "cycles", (double)r->cycles);
    cJSON_AddNumberToObject(out, "utilisation", r->utilisation);
    cJSON_AddNumberToObject(out, "sram_reads", (double)r->sram_reads);
    cJSON_AddNumberToObject(out, "sram_writes", (double)r->sram_writes);
    return out;
}

dt_status print_json(cJSON *object)
{
    char *out = json_text(object);

    cJSON_Delete(object);
    DT_CHECK(out, DT_ERR_MEMORY, "no memory for the JSON");
    puts(out);
    cJSON_free(out);
    return DT_OK;
}
