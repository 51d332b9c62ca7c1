/*
 * code_types.c - see code_types.h.  Tests: tests/quant/test_code_types.c.
 */
#include "code_types.h"

#include <assert.h>

const float *dt_codes_widened(const dt_tensor *t, int64_t first, int64_t n, float *room)
{
    const uint8_t *u8 = (const uint8_t *)t->data + first;
    const int8_t *i8 = (const int8_t *)t->data + first;
    const int16_t *i16 = (const int16_t *)t->data + first;

    switch (t->type) {
    case DT_U8:
        for (int64_t i = 0; i < n; i++) room[i] = (float)u8[i];
        return room;
    case DT_I8:
        for (int64_t i = 0; i < n; i++) room[i] = (float)i8[i];
        return room;
    case DT_I16:
        for (int64_t i = 0; i < n; i++) room[i] = (float)i16[i];
        return room;
    default: assert(t->type == DT_F32); return (const float *)t->data + first;
    }
}

float *dt_codes_room(const dt_tensor *t, int64_t first, float *room)
{
    return t->type == DT_F32 ? (float *)t->data + first : room;
}

/* The code as an integer; of a NaN, 0 */
static inline int32_t integer_of(float code)
{
    return (int32_t)(code == code ? code : 0.0f);
}

void dt_codes_narrow(const dt_tensor *t, int64_t first, int64_t n, const float *restrict codes)
{
    uint8_t *restrict u8 = (uint8_t *)t->data + first;
    int8_t *restrict i8 = (int8_t *)t->data + first;
    int16_t *restrict i16 = (int16_t *)t->data + first;

    switch (t->type) {
    case DT_U8:
        for (int64_t i = 0; i < n; i++) u8[i] = (uint8_t)integer_of(codes[i]);
        break;
    case DT_I8:
        for (int64_t i = 0; i < n; i++) i8[i] = (int8_t)integer_of(codes[i]);
        break;
    case DT_I16:
        for (int64_t i = 0; i < n; i++) i16[i] = (int16_t)integer_of(codes[i]);
        break;
    default: assert(codes == (const float *)t->data + first); /* they are there already */
    }
}
