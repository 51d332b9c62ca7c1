/*
 * test_safetensors.c - the safetensors reader on whole and damaged files, and the writer on a disk that fills up.
 *
 * Damaged files are written byte by byte here, not by the writer, so that both ends cannot be wrong together.
 */
#include "../support/temp_files.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "../../formats/safetensors.h"

TestSuite(safetensors, .init = temp_make, .fini = temp_remove);

static int files_in_folder(void)
{
    DIR *folder = opendir(temp_folder);
    int n = 0;

    cr_assert(ne(ptr, folder, NULL));
    while (readdir(folder)) n++;
    closedir(folder);
    return n - 2; /* . and .. */
}

static size_t read_file(const char *name, uint8_t *bytes, size_t room)
{
    FILE *file = fopen(temp_path(name), "rb");

    cr_assert(ne(ptr, file, NULL), "%s", name);
    const size_t n = fread(bytes, 1, room, file);
    fclose(file);
    return n;
}

/* Writes a file of this header and data_bytes zeros; length: what its first 8 bytes say. */
static void write_raw(const char *name, uint64_t length, const char *header, size_t header_bytes, size_t data_bytes)
{
    uint8_t *bytes = calloc(1, 8 + header_bytes + data_bytes);

    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(length >> (8 * i));
    memcpy(bytes + 8, header, header_bytes);
    temp_write(name, bytes, 8 + header_bytes + data_bytes);
    free(bytes);
}

static void expect_open_refused(const char *why, const char *name, const char *part)
{
    dt_safetensors *const untouched = (dt_safetensors *)temp_folder;
    dt_safetensors *f = untouched;
    const dt_status s = dt_safetensors_open(temp_path(name), &f);

    cr_assert(eq(int, (int)s, DT_ERR_FORMAT), "%s: %s", why, s == DT_OK ? "opened" : dt_last_error());
    cr_assert(eq(ptr, f, untouched), "%s: out was written", why);
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), name), NULL), "%s: no file in '%s'", why, dt_last_error());
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), part), NULL), "%s: no '%s' in '%s'", why, part, dt_last_error());
}

static void write_good(const char *name, const char *text)
{
    const float weight[] = { 1.5f, NAN };
    const uint8_t pixel[] = { 1, 2, 3 };
    dt_safetensors_writer *w;

    cr_assert(eq(int, dt_safetensors_writer_create(&w), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_metadata(w, "text", text), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_add(w, "w", DT_SAFETENSORS_F32, 2, (int64_t[]){ 2, 1 }, weight), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_add(w, "p", DT_SAFETENSORS_U8, 1, (int64_t[]){ 3 }, pixel), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_write(w, temp_path(name)), DT_OK), "%s", dt_last_error());
    dt_safetensors_writer_destroy(w);
}

Test(safetensors, bytes_of_a_small_file)
{
    static const char header[] = "{\"__metadata__\":{\"text\":\"t\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],"
                                 "\"data_offsets\":[0,8]},\"p\":{\"dtype\":\"U8\",\"shape\":[3],"
                                 "\"data_offsets\":[8,11]}}       ";
    const size_t n = sizeof header - 1;
    const uint32_t words[] = { 0x3FC00000, 0x7FC00000 };
    uint8_t bytes[256], expected[256] = { (uint8_t)n };

    cr_assert(eq(sz, n % 8, 0)); /* the literal above is padded by hand */
    memcpy(expected + 8, header, n);
    memcpy(expected + 8 + n, words, 8);
    memcpy(expected + 16 + n, "\1\2\3", 3);
    for (int again = 0; again < 2; again++) { /* the second replaces the first */
        write_good("small.safetensors", "t");
        cr_assert(eq(sz, read_file("small.safetensors", bytes, sizeof bytes), n + 19));
        cr_assert(eq(int, memcmp(bytes, expected, n + 19), 0), "%.*s", (int)n, (char *)bytes + 8);
        cr_assert(eq(int, files_in_folder(), 1));
    }
}

Test(safetensors, round_trip)
{
    static const float f32[] = { -0.0f, INFINITY, 1e-45f, 3.5f, -7.25f, 0.1f };
    static const int32_t i32[] = { INT32_MIN };
    static const int64_t i64[] = { INT64_MIN, INT64_MAX };
    static const uint8_t u8[] = { 0, 255, 128 };
    static const int8_t i8[] = { -128, 127, 0, 1, 2, 3, 4 };
    static const struct {
        const char *name;
        dt_safetensors_type type;
        int ndim;
        int64_t dim[DT_SAFETENSORS_MAX_DIMS];
        const void *data;
        size_t bytes;
    } rows[] = {
        { "features.27.weight", DT_SAFETENSORS_F32, 4, { 1, 3, 2, 1 }, f32, sizeof f32 },
        { "a scalar", DT_SAFETENSORS_I32, 0, { 0 }, i32, sizeof i32 },
        { "nothing", DT_SAFETENSORS_F32, 2, { 0, 7 }, NULL, 0 },
        { "odd before wide", DT_SAFETENSORS_U8, 1, { 3 }, u8, sizeof u8 },
        { "unaligned", DT_SAFETENSORS_I64, 1, { 2 }, i64, sizeof i64 },
        { "eight dimensions", DT_SAFETENSORS_I8, 8, { 1, 1, 1, 7, 1, 1, 1, 1 }, i8, sizeof i8 },
    };
    enum { N_ROWS = sizeof rows / sizeof rows[0] };
    static const char text[] = "quote \" backslash \\u0000 line\nKräh \xF0\x9F\x90\xA6";
    dt_safetensors_writer *w;
    dt_safetensors *f;
    uint8_t back[64];

    cr_assert(eq(int, dt_safetensors_writer_create(&w), DT_OK));
    for (int i = 0; i < N_ROWS; i++) {
        cr_assert(eq(int,
                     dt_safetensors_writer_add(w, rows[i].name, rows[i].type, rows[i].ndim, rows[i].dim, rows[i].data),
                     DT_OK));
    }
    cr_assert(eq(int, dt_safetensors_writer_metadata(w, "text", text), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_write(w, temp_path("all.safetensors")), DT_OK), "%s", dt_last_error());
    dt_safetensors_writer_destroy(w);

    cr_assert(eq(int, dt_safetensors_open(temp_path("all.safetensors"), &f), DT_OK), "%s", dt_last_error());
    cr_assert(eq(str, (char *)dt_safetensors_metadata(f, "text"), (char *)text));
    cr_assert(eq(ptr, (void *)dt_safetensors_metadata(f, "Text"), NULL));
    cr_assert(eq(int, dt_safetensors_count(f), N_ROWS));
    for (int i = 0; i < N_ROWS; i++) {
        const dt_safetensors_tensor *t = dt_safetensors_at(f, i);
        cr_assert(eq(str, (char *)t->name, (char *)rows[i].name));
        cr_assert(eq(ptr, (void *)dt_safetensors_find(f, rows[i].name), (void *)t));
        cr_assert(eq(int, (int)t->type, (int)rows[i].type), "%s", t->name);
        cr_assert(eq(int, t->ndim, rows[i].ndim), "%s", t->name);
        cr_assert(eq(int, memcmp(t->dim, rows[i].dim, (size_t)t->ndim * sizeof *t->dim), 0), "%s", t->name);
        cr_assert(eq(i64, t->end - t->begin, (int64_t)rows[i].bytes), "%s", t->name);
        cr_assert(eq(int, dt_safetensors_read(f, t, back), DT_OK));
        if (rows[i].bytes) cr_assert(eq(int, memcmp(back, rows[i].data, rows[i].bytes), 0), "%s", t->name);
    }
    cr_assert(eq(ptr, (void *)dt_safetensors_find(f, "features.28.weight"), NULL));
    dt_safetensors_close(f);
}

#define A(dtype, shape, offsets) "\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define B(offsets)               ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" offsets "}"

/* A header over 12 bytes of data; F32 [2] at 0..8 and U8 [4] at 8..12 would be whole. */
typedef struct {
    const char *why;
    const char *header;
    const char *part;
} damage;

static const damage damages[] = {
    { "no header", "", "starts with 0x00, expected '{'" },
    { "a blank first", " {" A("\"F32\"", "[3]", "[0,12]") "}", "starts with 0x20, expected '{'" },
    { "a list", "[]", "starts with 0x5b, expected '{'" },
    { "garbage", "{garbage}", "header is not JSON from byte" },
    { "not closed", "{" A("\"F32\"", "[3]", "[0,12]"), "not JSON" },
    { "ends after a comma", "{" A("\"F32\"", "[3]", "[0,12]") ",", "not JSON" },
    { "a number of 90 digits",
      "{" A("\"F32\"", "[1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000]",
            "[0,12]") "}",
      "" },
    { "text after it", "{" A("\"F32\"", "[3]", "[0,12]") "} x", "goes on after its JSON" },
    { "a second object", "{" A("\"F32\"", "[3]", "[0,12]") "}{}", "goes on after its JSON" },
    { "Latin-1", "{\"\xE4\":{}}", "byte 2 (0xe4) is not UTF-8" },
    { "an overlong slash", "{\"\xC0\xAF\":{}}", "byte 2 (0xc0) is not UTF-8" },
    { "a surrogate", "{\"\xED\xA0\x80\":{}}", "byte 2 (0xed) is not UTF-8" },
    { "above U+10FFFF", "{\"\xF4\x90\x80\x80\":{}}", "byte 2 (0xf4) is not UTF-8" },
    { "a character cut short", "{\"\xE2\x82", "byte 2 (0xe2) is not UTF-8" },
    { "an escaped NUL", "{\"a\\u0000b\":{}}", "NUL at byte 3" },
    { "half a surrogate pair", "{\"\\ud800\":{}}", "not JSON" },
    { "the same tensor twice", "{" A("\"F32\"", "[3]", "[0,12]") "," A("\"F32\"", "[3]", "[0,12]") "}",
      "'a' stands there twice" },
    { "the same once escaped", "{" A("\"F32\"", "[3]", "[0,12]") ",\"\\u0061\":{}}", "'a' stands there twice" },
    { "metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}," A("\"F32\"", "[3]", "[0,12]") "}",
      "'__metadata__' stands there twice" },
    { "metadata is a list", "{\"__metadata__\":[\"x\"]," A("\"F32\"", "[3]", "[0,12]") "}", "is not an object" },
    { "metadata of a number", "{\"__metadata__\":{\"x\":1}," A("\"F32\"", "[3]", "[0,12]") "}", "'x' is not a string" },
    { "a metadata key twice", "{\"__metadata__\":{\"x\":\"\",\"x\":\"\"}," A("\"F32\"", "[3]", "[0,12]") "}",
      "'x' stands there twice" },
    { "no tensors", "{}", "the rest belongs to none" },
    { "tensor is a number", "{\"a\":1}", "tensor 'a': expected a string dtype" },
    { "tensor is a list", "{\"a\":[\"F32\",[3],[0,12]]}", "tensor 'a': expected a string dtype" },
    { "no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[3]}}", "tensor 'a': expected a string dtype" },
    { "one field more", "{\"a\":{\"x\":0,\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", "and no more" },
    { "one field twice", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}",
      "and no more" },
    { "upper-case field", "{\"a\":{\"DTYPE\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", "a string dtype" },
    { "dtype is a number", "{" A("32", "[3]", "[0,12]") "}", "tensor 'a': expected a string dtype" },
    { "unknown dtype", "{" A("\"F24\"", "[4]", "[0,12]") "}", "tensor 'a': dtype 'F24' is not known" },
    { "lower-case dtype", "{" A("\"f32\"", "[3]", "[0,12]") "}", "dtype 'f32' is not known" },
    { "another dtype", "{" A("\"F64\"", "[3]", "[0,12]") "}", "span 12 bytes, its shape and dtype need 24" },
    { "shape is a number", "{" A("\"F32\"", "3", "[0,12]") "}", "lists shape and data_offsets" },
    { "negative dimension", "{" A("\"F32\"", "[-3]", "[0,12]") "}", "shape[0] is not a whole number" },
    { "half a dimension", "{" A("\"F32\"", "[1,2.5]", "[0,12]") "}", "shape[1] is not a whole number" },
    { "a dimension of text", "{" A("\"F32\"", "[\"3\"]", "[0,12]") "}", "shape[0] is not a whole number" },
    { "2^53, which a double may be by rounding", "{" A("\"U8\"", "[9007199254740992]", "[0,12]") "}",
      "shape[0] is not a whole number" },
    { "infinite dimension", "{" A("\"U8\"", "[1e999]", "[0,12]") "}", "shape[0] is not a whole number" },
    { "2^64 elements", "{" A("\"U8\"", "[4294967296,4294967296]", "[0,0]") "}", "overflows at shape[1] = 4294967296" },
    { "2^62 * 4 bytes wrap to 0", "{" A("\"F32\"", "[2147483648,2147483648]", "[0,0]") "}", "overflows at shape[1]" },
    { "nine dimensions", "{" A("\"F32\"", "[1,1,1,1,1,1,1,1,3]", "[0,12]") "}", "9 dimensions, limit 8" },
    { "one offset", "{" A("\"F32\"", "[3]", "[0]") "}", "data_offsets are not two whole numbers" },
    { "three offsets", "{" A("\"F32\"", "[3]", "[0,12,12]") "}", "data_offsets are not two whole numbers" },
    { "negative offset", "{" A("\"F32\"", "[3]", "[-12,0]") "}", "data_offsets are not two whole numbers" },
    { "offsets swapped", "{" A("\"F32\"", "[3]", "[12,0]") "}", "data_offsets are 12..0, expected within 0..12" },
    { "past the end", "{" A("\"F32\"", "[4]", "[0,16]") "}", "data_offsets are 0..16, expected within 0..12" },
    { "far past the end", "{" A("\"F32\"", "[1]", "[9007199254740987,9007199254740991]") "}", "expected within 0..12" },
    { "one element short", "{" A("\"F32\"", "[2]", "[0,12]") "}", "span 12 bytes, its shape and dtype need 8" },
    { "overlap", "{" A("\"F32\"", "[2]", "[0,8]") B("[7,11]") "}", "'b' begins at byte 7, expected 8: it overlaps" },
    { "the same place", "{" A("\"U8\"", "[4]", "[8,12]") B("[8,12]") "}", "begins at byte 8, expected 0" },
    { "one inside the other", "{" A("\"F32\"", "[3]", "[0,12]") B("[4,8]") "}", "'b' begins at byte 4, expected 12" },
    { "hole at the start", "{" A("\"F32\"", "[2]", "[4,12]") "}", "'a' begins at byte 4, expected 0: there is a hole" },
    { "hole in the middle", "{" A("\"U8\"", "[7]", "[0,7]") B("[8,12]") "}", "'b' begins at byte 8, expected 7" },
    { "hole at the end", "{" A("\"F32\"", "[2]", "[0,8]") "}", "end at byte 8 of the data, expected 12" },
};

Test(safetensors, refuses_a_damaged_header)
{
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const damage *d = &damages[i];
        const size_t n = strlen(d->header);
        write_raw("damaged.safetensors", n, d->header, n, 12);
        expect_open_refused(d->why, "damaged.safetensors", d->part);
    }
}

Test(safetensors, takes_what_the_format_allows)
{
    static const char *const headers[] = {
        "{" A("\"F32\"", "[2]", "[0,8]") B("[8,12]") "}",
        "{" A("\"F32\"", "[2]", "[4,12]") B("[0,4]") "}     ", /* stored in another order than listed */
        "{\"e\":{\"shape\":[0],\"data_offsets\":[4,4],\"dtype\":\"F64\"}," A("\"BF16\"", "[4]", "[4,12]")
            B("[0,4]") "}",
        "{\"\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},\"__metadata__\":{\"\":\"\"}}",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        dt_safetensors *f;
        write_raw("odd.safetensors", strlen(headers[i]), headers[i], strlen(headers[i]), 12);
        cr_assert(eq(int, dt_safetensors_open(temp_path("odd.safetensors"), &f), DT_OK), "%s: %s", headers[i],
                  dt_last_error());
        dt_safetensors_close(f);
    }
}

Test(safetensors, refuses_a_wrong_header_length)
{
    static const char header[] = "{" A("\"F32\"", "[3]", "[0,12]") "}";
    const size_t n = sizeof header - 1;
    static const struct {
        const char *why;
        uint64_t length;
        const char *part;
    } rows[] = {
        { "all ones", UINT64_MAX, "header length is 18446744073709551615" },
        { "the sign bit", (uint64_t)1 << 63, "header length is 9223372036854775808" },
        { "past the end", sizeof header - 1 + 13, "bytes follow" },
        { "into the data", sizeof header - 1 + 1, "byte 55 (0x00) is not UTF-8" },
        { "one short", sizeof header - 2, "not JSON" },
        { "zero", 0, "expected '{'" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_raw("length.safetensors", rows[i].length, header, n, 12);
        expect_open_refused(rows[i].why, "length.safetensors", rows[i].part);
    }
    write_raw("length.safetensors", 100000001, header, n, 0);
    cr_assert(eq(int, truncate(temp_path("length.safetensors"), 200000000), 0)); /* sparse */
    expect_open_refused("longer than any header", "length.safetensors", "is 100000001, limit 100000000");
}

Test(safetensors, refuses_a_raw_nul_and_deep_nesting)
{
    static const char nul[] = "{\"a\0b\":{}}";
    enum { DEPTH = 100000 };
    char *deep = malloc(DEPTH + 1);

    write_raw("nul.safetensors", sizeof nul - 1, nul, sizeof nul - 1, 12);
    expect_open_refused("a raw NUL", "nul.safetensors", "byte 3 (0x00) is not UTF-8");

    memset(deep, '[', DEPTH);
    memcpy(deep, "{\"a\":", 5);
    write_raw("deep.safetensors", DEPTH, deep, DEPTH, 0);
    expect_open_refused("100,000 levels", "deep.safetensors", "not JSON");
    free(deep);
}

Test(safetensors, refuses_every_length_but_the_whole)
{
    uint8_t bytes[256];

    write_good("whole.safetensors", "t");
    const size_t n = read_file("whole.safetensors", bytes, sizeof bytes);
    for (size_t cut = 0; cut < n; cut++) {
        temp_write("cut.safetensors", bytes, cut);
        expect_open_refused("cut short", "cut.safetensors", "");
    }
    bytes[n] = 0;
    temp_write("cut.safetensors", bytes, n + 1);
    expect_open_refused("one byte more", "cut.safetensors", "end at byte 11 of the data, expected 12");
}

/* Whatever one wrong byte does, nothing outside the file is believed: run it under the address sanitizer. */
Test(safetensors, survives_any_one_wrong_byte)
{
    uint8_t bytes[256], data[64];
    dt_safetensors *f;

    write_good("whole.safetensors", "t");
    const size_t n = read_file("whole.safetensors", bytes, sizeof bytes);
    for (size_t i = 0; i < n; i++) {
        for (int flip = 1; flip < 256; flip += flip < 4 ? 1 : 37) {
            bytes[i] ^= (uint8_t)flip;
            temp_write("flip.safetensors", bytes, n);
            bytes[i] ^= (uint8_t)flip;
            if (dt_safetensors_open(temp_path("flip.safetensors"), &f) != DT_OK) continue;
            for (int t = 0; t < dt_safetensors_count(f); t++) {
                cr_assert(eq(int, dt_safetensors_read(f, dt_safetensors_at(f, t), data), DT_OK));
            }
            dt_safetensors_close(f);
        }
    }
}

Test(safetensors, refuses_what_is_not_a_file)
{
    dt_safetensors *f;

    cr_assert(eq(int, dt_safetensors_open(temp_path("missing.safetensors"), &f), DT_ERR_IO));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "missing.safetensors: cannot be opened: No such file"), NULL));
    cr_assert(eq(int, dt_safetensors_open(temp_folder, &f), DT_ERR_IO));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "not a regular file"), NULL));
    cr_assert(eq(int, dt_safetensors_open("/dev/zero", &f), DT_ERR_IO));
    dt_safetensors_close(NULL);
}

Test(safetensors, a_file_that_shrinks_while_open_is_an_error)
{
    dt_safetensors *f;
    float w[2];

    write_good("shrinks.safetensors", "t");
    cr_assert(eq(int, dt_safetensors_open(temp_path("shrinks.safetensors"), &f), DT_OK));
    cr_assert(eq(int, truncate(temp_path("shrinks.safetensors"), 100), 0));
    cr_assert(eq(int, dt_safetensors_read(f, dt_safetensors_find(f, "w"), w), DT_ERR_FORMAT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "shrinks.safetensors: ends at byte"), NULL));
    dt_safetensors_close(f);
}

Test(safetensors, writer_refuses_misuse)
{
    dt_safetensors_writer *w;
    const int64_t ones[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    const int64_t negative = -1;
    const float one = 1.0f;

    cr_assert(eq(int, dt_safetensors_writer_create(&w), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_add(w, "a", DT_SAFETENSORS_F32, 1, ones, &one), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_add(w, "a", DT_SAFETENSORS_F32, 1, ones, &one), DT_ERR_ARGUMENT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "the name 'a' is taken"), NULL));
    cr_assert(
        eq(int, dt_safetensors_writer_add(w, "__metadata__", DT_SAFETENSORS_F32, 1, ones, &one), DT_ERR_ARGUMENT));
    cr_assert(eq(int, dt_safetensors_writer_add(w, "\xFF", DT_SAFETENSORS_F32, 1, ones, &one), DT_ERR_ARGUMENT));
    cr_assert(eq(int, dt_safetensors_writer_add(w, "b", DT_SAFETENSORS_F32, 9, ones, &one), DT_ERR_ARGUMENT));
    cr_assert(eq(int, dt_safetensors_writer_add(w, "b", DT_SAFETENSORS_F32, 1, &negative, &one), DT_ERR_ARGUMENT));
    cr_assert(eq(int, dt_safetensors_writer_metadata(w, "text", "\xE4"), DT_ERR_ARGUMENT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "'text' is not UTF-8"), NULL));
    cr_assert(eq(int, dt_safetensors_writer_write(w, temp_path("no/such/folder")), DT_ERR_IO));
    cr_assert(eq(int, dt_safetensors_writer_write(w, temp_folder), DT_ERR_IO)); /* a folder has that name */
    cr_assert(eq(int, files_in_folder(), 0));
    dt_safetensors_writer_destroy(w);
    dt_safetensors_writer_destroy(NULL);
}

/* A limit on the size of files stands in for a full disk: writes fail halfway, with EFBIG instead of ENOSPC. */
Test(safetensors, a_full_disk_leaves_the_old_file)
{
    enum { N = 100000, LIMIT = 65536 };
    float *values = calloc(N, sizeof *values);
    const int64_t n = N;
    struct rlimit full, before;
    dt_safetensors_writer *w;
    uint8_t old[256], now[256];

    write_good("last.safetensors", "t");
    const size_t bytes = read_file("last.safetensors", old, sizeof old);
    cr_assert(eq(int, dt_safetensors_writer_create(&w), DT_OK));
    cr_assert(eq(int, dt_safetensors_writer_add(w, "big", DT_SAFETENSORS_F32, 1, &n, values), DT_OK));

    signal(SIGXFSZ, SIG_IGN);
    cr_assert(eq(int, getrlimit(RLIMIT_FSIZE, &before), 0));
    full = (struct rlimit){ LIMIT, before.rlim_max };
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &full), 0));
    const dt_status s = dt_safetensors_writer_write(w, temp_path("last.safetensors"));
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &before), 0));

    cr_assert(eq(int, (int)s, DT_ERR_IO));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "cannot be written: File too large"), NULL), "%s",
              dt_last_error());
    cr_assert(eq(int, files_in_folder(), 1));
    cr_assert(eq(sz, read_file("last.safetensors", now, sizeof now), bytes));
    cr_assert(eq(int, memcmp(now, old, bytes), 0));
    dt_safetensors_writer_destroy(w);
    free(values);
}
