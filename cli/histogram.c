/*
 * histogram.c - see histogram.h.
 *
 * Tests: tests/cli/test_cli_vectors.sh, tests/cli/test_cli_codes.sh.
 */
#include "histogram.h"

#include <assert.h>

void histogram_begin(int64_t low, int64_t high, int rows_most, histogram *h)
{
    assert(low <= high && rows_most >= 1 && rows_most <= HISTOGRAM_ROWS);
    *h = (histogram){ .low = low, .high = high, .width = (high - low) / rows_most + 1 };
    h->rows = (int)((high - low) / h->width) + 1;
}

void histogram_add(histogram *h, const float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t value = (int64_t)values[i];
        if (value < h->low || value > h->high) continue;
        h->count[(value - h->low) / h->width]++;
        h->n++;
        h->sum += (double)value;
        h->squares += (double)value * (double)value;
    }
    for (int i = 0; i < h->rows; i++) {
        if (h->count[i] > h->most) h->most = h->count[i];
    }
}

void histogram_of(const float *values, int64_t n, int rows_most, histogram *h)
{
    int64_t low = (int64_t)values[0], high = low;

    for (int64_t i = 1; i < n; i++) {
        const int64_t value = (int64_t)values[i];
        if (value < low) low = value;
        if (value > high) high = value;
    }
    histogram_begin(low, high, rows_most, h);
    histogram_add(h, values, n);
}

int64_t histogram_at(const histogram *h, int64_t value)
{
    return value < h->low || value > h->high ? 0 : h->count[(value - h->low) / h->width];
}

cJSON *histogram_json(const histogram *h)
{
    cJSON *rows = cJSON_CreateArray();

    for (int i = 0; i < h->rows; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(row, "low", (double)(h->low + i * h->width));
        cJSON_AddNumberToObject(row, "high", (double)(h->low + (i + 1) * h->width - 1));
        cJSON_AddNumberToObject(row, "count", (double)h->count[i]);
        cJSON_AddItemToArray(rows, row);
    }
    return rows;
}
