/*
 * histogram.h - how often each integer of a range occurs: codes one by one, and where there are too many of them, as of
 *               psums, several in a row.
 */
#ifndef DT_CLI_HISTOGRAM_H
#define DT_CLI_HISTOGRAM_H

#include <cjson/cJSON.h>
#include <stdint.h>

enum { HISTOGRAM_ROWS = 256 };

/* Row i counts the integers low + i * width .. low + (i + 1) * width - 1. */
typedef struct {
    int64_t low, high; /* the range */
    int64_t width, n;
    int64_t most; /* the highest count */
    int rows;     /* 1..HISTOGRAM_ROWS */
    int64_t count[HISTOGRAM_ROWS];
    double sum, squares; /* of the integers, and of their squares */
} histogram;

/* Makes an empty histogram of low..high in at most rows_most rows. */
void histogram_begin(int64_t low, int64_t high, int rows_most, histogram *h);
/* Counts those of n integers, held in floats, that are in the range. */
void histogram_add(histogram *h, const float *values, int64_t n);
/* Counts n >= 1 integers, over the range that they have. */
void histogram_of(const float *values, int64_t n, int rows_most, histogram *h);
/* Returns how many were counted in the row of an integer; 0 outside of the range. */
int64_t histogram_at(const histogram *h, int64_t value);
/* Makes an array with an object for each row: low, high, count. The caller deletes it. */
cJSON *histogram_json(const histogram *h);

#endif /* DT_CLI_HISTOGRAM_H */
