/*
 * convert.h - converts between detent's tensors and those that a convolution of cuDNN reads and writes, where types or
 *             channels differ.
 *
 * Rows are all axes but the last, which is channels. A convolution may want more channels than there are; those that
 * are added are 0.
 */
#ifndef DT_CONVERT_H
#define DT_CONVERT_H

#include <stdint.h>

#include "detent/status.h"
#include "../core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A conversion: to[row][c] = from[row][c] * scale[row / rows_per_scale]. */
typedef struct {
    const void *from; /* [rows][channels], f32 or 16 bits */
    void *to;         /* [rows][padded], f32, 16 bits or int8 */
    dt_dtype from_type, to_type;
    int64_t rows, channels, padded;
    const float *scale; /* in device memory; NULL: 1 */
    int64_t rows_per_scale;
} dt_convert;

/* An addition: to[row][c] += from[row][c] * unit * scale[0]. If `to` is fresh, it is overwritten instead. */
typedef struct {
    const void *from; /* [rows][padded], f32 or 16 bits */
    void *to;         /* [rows][channels], f32 or 16 bits */
    dt_dtype from_type, to_type;
    int64_t rows, channels, padded;
    const float *scale; /* in device memory; NULL: 1 */
    float unit;         /* a power of two */
    int fresh;
} dt_accumulate;

/* Launches a conversion. */
DT_MUST_CHECK dt_status dt_cuda_convert(const dt_convert *c, void *stream);
/* Launches an addition. */
DT_MUST_CHECK dt_status dt_cuda_accumulate(const dt_accumulate *a, void *stream);
/* Sets scale[i] = unit * sx[0] * sw[i] for i < n, in device memory. unit is a power of two. */
DT_MUST_CHECK dt_status dt_cuda_psum_scale(const float *sx, const float *sw, int unit, int n, float *scale,
                                           void *stream);

#ifdef __cplusplus
}
#endif

#endif /* DT_CONVERT_H */
