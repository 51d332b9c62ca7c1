/*
 * range_check.c - see range_check.h.
 */
#include "range_check.h"

#include <math.h>

/* Element i; a NaN is no integer of any range. */
static double value_at(const dt_tensor *t, int64_t i)
{
    switch (t->type) {
    case DT_U8: return ((const uint8_t *)t->data)[i];
    case DT_I8: return ((const int8_t *)t->data)[i];
    case DT_I16: return ((const int16_t *)t->data)[i];
    default: return (double)((const float *)t->data)[i];
    }
}

/* Sums beyond 2^24 are rounded to f32, as the ends of the range are here. */
void dt_range_check(const dt_tensor *t, const char *who)
{
    const double low = (double)(float)t->qmin, high = (double)(float)t->qmax;

    if (!DT_CHECKS_RANGES || t->n_scale == 0) return;
    for (int64_t i = 0; i < dt_count(&t->shape); i++) {
        const double value = value_at(t, i);
        if (value >= low && value <= high) continue;
        dt_declared_outside(isnan(value) ? INT64_MIN : (int64_t)value, t->qmin, t->qmax, who, "value");
    }
}
