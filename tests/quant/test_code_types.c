/*
 * test_code_types.c - codes of narrow types become f32 and go back: every code of each type, and no neighbour.
 */
#include "../../core/fields.h"
#include "../../quant/code_types.h"

#include <criterion/criterion.h>
#include <math.h>

enum { MOST = 70 };

typedef struct {
    dt_dtype type;
    int min, max;
} row;

static const row rows[] = { { DT_U8, 0, 255 }, { DT_I8, -128, 127 }, { DT_I16, -32768, 32767 }, { DT_F32, -9, 9 } };

static int read_code(const dt_tensor *t, int64_t i)
{
    switch (t->type) {
    case DT_U8: return ((const uint8_t *)t->data)[i];
    case DT_I8: return ((const int8_t *)t->data)[i];
    case DT_I16: return ((const int16_t *)t->data)[i];
    default: return (int)((const float *)t->data)[i];
    }
}

static void there_and_back(const row *r, int64_t first, int64_t n)
{
    float memory[MOST + 8] = { 0 }, room[MOST], back[MOST];
    const dt_tensor t = { .type = r->type, .data = memory };
    float *codes = dt_codes_room(&t, first, room);

    for (int64_t i = 0; i < n; i++) codes[i] = (float)(i % 3 == 0 ? r->max - i : i % 3 == 1 ? r->min + i : i % 10);
    dt_codes_narrow(&t, first, n, codes);
    const float *wide = dt_codes_widened(&t, first, n, back);
    for (int64_t i = 0; i < n; i++) {
        const int code = (int)(i % 3 == 0 ? r->max - i : i % 3 == 1 ? r->min + i : i % 10);
        cr_assert_eq(read_code(&t, first + i), code, "type %d, code %lld of %lld", (int)r->type, (long long)i,
                     (long long)n);
        cr_assert(wide[i] == (float)code, "type %d, code %lld of %lld", (int)r->type, (long long)i, (long long)n);
    }
    cr_assert(read_code(&t, first + n) == 0 && (first == 0 || read_code(&t, first - 1) == 0), "a neighbour is written");
}

Test(code_types, there_and_back)
{
    for (size_t k = 0; k < DT_LENGTH(rows); k++) {
        for (int64_t n = 1; n <= 67; n++) there_and_back(&rows[k], n % 3, n);
    }
}

/* what no convolution of bytes could read either */
Test(code_types, a_nan_becomes_a_code)
{
    uint8_t memory[2] = { 7, 7 };
    const dt_tensor t = { .type = DT_U8, .data = memory };
    const float nan = NAN;

    dt_codes_narrow(&t, 0, 1, &nan);
    cr_assert(memory[0] == 0 && memory[1] == 7);
}
