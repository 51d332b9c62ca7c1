/*
 * code_types.h - codes that lie in memory as U8, I8 or I16, and those that lie there as F32.
 *
 * Operators compute with codes in f32, a block at a time, so that both stay in the first cache. What lies in a large
 * tensor takes a quarter of the bytes. core/tape/types.c chooses the type, which holds every code of the tensor. A NaN
 * is no code; in a narrow type it becomes some code, as it does in a convolution that multiplies bytes.
 */
#ifndef DT_CODE_TYPES_H
#define DT_CODE_TYPES_H

#include "../core/tensor.h"

enum { DT_CODE_BLOCK = 4096 }; /* codes of a block, at most */

/* Returns codes first .. first + n - 1 of t as f32: where they lie, or their copy in room, which has n. */
const float *dt_codes_widened(const dt_tensor *t, int64_t first, int64_t n, float *room);
/* Returns where to write codes first .. first + n - 1 of t as f32: where they lie, or room, which has n. */
float *dt_codes_room(const dt_tensor *t, int64_t first, float *room);
/* Brings n codes from where dt_codes_room had them written to t. */
void dt_codes_narrow(const dt_tensor *t, int64_t first, int64_t n, const float *codes);

#endif /* DT_CODE_TYPES_H */
