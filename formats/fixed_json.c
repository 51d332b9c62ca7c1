/*
 * fixed_json.c - tables of the fields of the formats and of a tensor, which json_fields.c walks.
 *
 * Interface: fixed_json.h.  Tests: tests/formats/test_fixed_file.c.
 */
#include "fixed_json.h"

#include "../core/arith/fixed_point.h"
#include "json_fields.h"

#include <float.h>
#include <limits.h>

enum { MOST_TENSORS = 1024, MOST_BITS = 32, LEAST_EXPONENT = -149, MOST_EXPONENT = 127, WHERE_BYTES = 96 };

/* A word is read and written through an int. */
_Static_assert(sizeof(dt_rounding) == sizeof(int) && sizeof(dt_fixed_kind) == sizeof(int),
               "enumerations have the size of int");

static const char *const kind_words[] = { "weight", "output", "inner", "routing", NULL };

#define BITS(member) offsetof(dt_fixed_formats, bits.member), 0, DT_INTS(DT_QCAPS_LAYERS, 0, MOST_BITS)

static const dt_field format_fields[] = {
    { DT_MEMBER(dt_fixed_formats, rounding), DT_WORD(dt_rounding_names) },
    { DT_MEMBER(dt_fixed_formats, published), DT_INT(0, 1) },
    { "weight", BITS(weight) },
    { "activation", BITS(activation) },
    { "routing", BITS(routing) },
};

static const dt_field tensor_fields[] = {
    { DT_MEMBER(dt_fixed_tensor, name), DT_TEXT(dt_fixed_tensor, name) },
    { DT_MEMBER(dt_fixed_tensor, layer), DT_INT(0, DT_QCAPS_LAYERS - 1) },
    { DT_MEMBER(dt_fixed_tensor, kind), DT_WORD(kind_words) },
    { DT_MEMBER(dt_fixed_tensor, scale), DT_FLOAT((double)DT_FIXED_LEAST_SCALE, FLT_MAX) },
};

/* numbers.have and dt_field.only */
enum { STEPS = 1, CLAMPED = 2, POWERS = 4 };

/* What a tensor's format comes to: codes low..high, in steps; or powers of two. */
typedef struct {
    unsigned have;
    int bits;
    float step;
    int low, high;
    int low_exponent, high_exponent;
} numbers;

static const dt_field number_fields[] = {
    { DT_MEMBER(numbers, bits), DT_INT(0, MOST_BITS) },
    { DT_MEMBER_IF(STEPS, numbers, step), DT_FLOAT(0, FLT_MAX) },
    { DT_MEMBER_IF(CLAMPED, numbers, low), DT_INT(INT_MIN, 0) },
    { DT_MEMBER_IF(CLAMPED, numbers, high), DT_INT(0, INT_MAX) },
    { DT_MEMBER_IF(POWERS, numbers, low_exponent), DT_INT(LEAST_EXPONENT, MOST_EXPONENT) },
    { DT_MEMBER_IF(POWERS, numbers, high_exponent), DT_INT(LEAST_EXPONENT, MOST_EXPONENT) },
};

static int numbers_have(const dt_field *f, const void *object)
{
    return (f->only & ((const numbers *)object)->have) != 0;
}

static const dt_fields format_table = { .field = format_fields, .n_fields = DT_LENGTH(format_fields), "tensors" };
static const dt_fields tensor_table = { .field = tensor_fields, .n_fields = DT_LENGTH(tensor_fields) };
static const dt_fields number_table = { number_fields, DT_LENGTH(number_fields), NULL, numbers_have };

static dt_field_place formats_in(const char *file)
{
    return (dt_field_place){ file, "formats", ": " };
}

static const char *tensor_place(int i, const char *name, char where[WHERE_BYTES])
{
    snprintf(where, WHERE_BYTES, "tensor %d '%.63s'", i, name);
    return where;
}

static numbers powers_of(const dt_fixed_format *f)
{
    if (f->published) return (numbers){ .have = POWERS, .low_exponent = -f->bits, .high_exponent = 10 };
    const int top = dt_nearest_exponent(f->scale);
    const int64_t low = top - (((int64_t)1 << (f->bits - 1)) - 2);
    return (numbers){ .have = POWERS,
                      .low_exponent = low > LEAST_EXPONENT ? (int)low : LEAST_EXPONENT,
                      .high_exponent = top };
}

static numbers numbers_of(const dt_fixed_format *f)
{
    numbers n = { .have = f->published ? STEPS : STEPS | CLAMPED };

    if (f->rounding == DT_ROUND_LOGARITHMIC) {
        n = powers_of(f);
    } else {
        n.step = dt_fixed_step(f);
        if (!f->published) n.high = (int)(((int64_t)1 << (f->bits - 1)) - 1);
        n.low = -n.high - 1;
    }
    n.bits = f->bits;
    return n;
}

static dt_status write_tensor(dt_fixed_formats *f, int i, int describe, cJSON *tensors)
{
    const dt_fixed_tensor *t = &f->tensor[i];
    cJSON *object = cJSON_CreateObject();
    char where[WHERE_BYTES];
    const dt_field_place at = { "formats", tensor_place(i, t->name, where), ": " };
    dt_fixed_format format;

    DT_CHECK(object && cJSON_AddItemToArray(tensors, object), DT_ERR_MEMORY, "no memory for %s", where);
    DT_TRY(dt_fields_write(&tensor_table, &at, t, object));
    if (!describe) return DT_OK;
    DT_TRY(dt_fixed_format_of(f, t->name, t->layer, t->kind, &format));
    const numbers n = numbers_of(&format);
    DT_TRY(dt_fields_write(&number_table, &at, &n, object));
    return DT_OK;
}

dt_status dt_fixed_to_json(dt_fixed_formats *f, int describe, cJSON *object)
{
    const dt_field_place at = formats_in("formats");

    DT_TRY(dt_fields_write(&format_table, &at, f, object));
    cJSON *tensors = cJSON_AddArrayToObject(object, "tensors");
    for (int i = 0; i < f->n; i++) DT_TRY(write_tensor(f, i, describe, tensors));
    return DT_OK;
}

/* The published code's bits are fractional ones, of which 0 are some. */
static dt_status check_tensor(const dt_field_place *at, dt_fixed_formats *f, int i)
{
    const dt_fixed_tensor *t = &f->tensor[i];
    dt_fixed_format format;

    DT_CHECK(dt_fixed_find(f, t->name) == i, DT_ERR_FORMAT, "%s: %s stands there twice", at->file, at->where);
    DT_TRY(dt_fixed_format_of(f, t->name, t->layer, t->kind, &format));
    DT_CHECK(f->published || format.bits > 0, DT_ERR_FORMAT, "%s: %s, of layer %d, has %d bits, expected 1..%d",
             at->file, at->where, t->layer, format.bits, MOST_BITS);
    return DT_OK;
}

static dt_status read_tensor(const char *file, const cJSON *object, dt_fixed_formats *f)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(object, "name");
    char where[WHERE_BYTES];
    const dt_field_place at = { file, tensor_place(f->n, cJSON_IsString(name) ? name->valuestring : "", where), ": " };

    DT_TRY(dt_fields_read(&tensor_table, &at, object, &f->tensor[f->n]));
    f->n++;
    DT_TRY(check_tensor(&at, f, f->n - 1));
    return DT_OK;
}

dt_status dt_fixed_from_json(const cJSON *object, const char *file, dt_fixed_formats *f)
{
    const dt_field_place at = formats_in(file);
    const cJSON *item;

    DT_TRY(dt_fields_read(&format_table, &at, object, f));
    const cJSON *tensors = cJSON_GetObjectItemCaseSensitive(object, "tensors");
    const int n = cJSON_GetArraySize(tensors);
    DT_CHECK(n >= 1 && n <= MOST_TENSORS, DT_ERR_FORMAT, "%s: formats of %d tensors, expected 1..%d", file, n,
             MOST_TENSORS);
    f->tensor = calloc((size_t)n, sizeof *f->tensor);
    DT_CHECK(f->tensor, DT_ERR_MEMORY, "%s: no memory for formats of %d tensors", file, n);
    f->room = n;
    cJSON_ArrayForEach(item, tensors) DT_TRY(read_tensor(file, item, f));
    return DT_OK;
}
