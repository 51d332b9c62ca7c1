/*
 * safetensors_floats.c - tensors of other float types as f32: parameters that were saved in fewer or more bits.
 *
 * Interface: safetensors.h.  Tests: tests/formats/test_safetensors_floats.c.
 */
#include "safetensors.h"

#include "../core/half.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

int dt_safetensors_is_float(dt_safetensors_type type)
{
    return type == DT_SAFETENSORS_F32 || type == DT_SAFETENSORS_F16 || type == DT_SAFETENSORS_BF16 ||
           type == DT_SAFETENSORS_F64;
}

/* Element i of the tensor's bytes. */
static double value_at(dt_safetensors_type type, const void *from, int64_t i)
{
    if (type == DT_SAFETENSORS_F64) return ((const double *)from)[i];
    const uint16_t half = ((const uint16_t *)from)[i];
    return (double)(type == DT_SAFETENSORS_BF16 ? dt_from_bf16(half) : dt_from_fp16(half));
}

static dt_status convert(const dt_safetensors_tensor *t, const void *from, float *to)
{
    for (int64_t i = 0; i < t->count; i++) {
        const double value = value_at(t->type, from, i);
        to[i] = (float)value;
        DT_CHECK(isfinite(to[i]) || !isfinite(value), DT_ERR_FORMAT,
                 "tensor '%.80s': value %" PRId64 " is %g, which F32 does not hold", t->name, i, value);
    }
    return DT_OK;
}

dt_status dt_safetensors_read_floats(const dt_safetensors *f, const dt_safetensors_tensor *t, float *to)
{
    DT_CHECK(dt_safetensors_is_float(t->type), DT_ERR_FORMAT, "tensor '%.80s' is %s, expected F32, F16, BF16 or F64",
             t->name, dt_safetensors_type_name(t->type));
    if (t->type == DT_SAFETENSORS_F32) return dt_safetensors_read(f, t, to);
    void *bytes = malloc((size_t)(t->end - t->begin) + 1);
    DT_CHECK(bytes, DT_ERR_MEMORY, "no memory for tensor '%.80s' of %" PRId64 " bytes", t->name, t->end - t->begin);
    dt_status s = dt_safetensors_read(f, t, bytes);
    if (s == DT_OK) s = convert(t, bytes, to);
    free(bytes);
    return s;
}
