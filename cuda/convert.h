/*
 * convert.h - between detent's f32 tensors and what a convolution of cuDNN reads and writes.
 *
 * Rows are all axes but the last, which is channels; a convolution may want more channels than there are, and the ones
 * added are 0.
 */
#ifndef DT_CONVERT_H
#define DT_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "../core/half.h"
#include "../core/status.h"
#include "cudnn_graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* to[row][c] = from[row][c] * scale[row / rows_per_scale] */
typedef struct {
    const float *from; /* [rows][channels] */
    void *to;          /* [rows][padded] of `operand` */
    dt_operand operand;
    int64_t rows, channels, padded;
    const float *scale; /* in device memory; NULL: 1 */
    int64_t rows_per_scale;
} dt_convert;

/* to[row][c] += from[row][c] * scale[0], or = where to is fresh */
typedef struct {
    const float *from; /* [rows][padded] */
    float *to;         /* [rows][channels] */
    int64_t rows, channels, padded;
    const float *scale; /* in device memory; NULL: 1 */
    int fresh;
} dt_accumulate;

DT_MUST_CHECK dt_status dt_cuda_convert(const dt_convert *c, void *stream);
DT_MUST_CHECK dt_status dt_cuda_accumulate(const dt_accumulate *a, void *stream);
/* scale[i] = sx[0] * sw[i]; the scale of psums */
DT_MUST_CHECK dt_status dt_cuda_psum_scale(const float *sx, const float *sw, int n, float *scale, void *stream);

static inline size_t dt_operand_bytes(dt_operand operand)
{
    return operand == DT_OPERAND_F32 ? 4 : operand == DT_OPERAND_BF16 ? 2 : 1;
}

#ifdef __cplusplus
}
#endif

#endif /* DT_CONVERT_H */
