/*
 * test_vector_folder.c - folders of vectors: written and read back in every layout, damaged byte by byte, interrupted;
 *                        manifests that say something else.
 */
#include "../support/temp_files.h"
#include "../support/vector_cases.h"

#include "../../formats/manifest.h"

#include <cjson/cJSON.h>
#include <sha2.h>
#include <signal.h>
#include <sys/resource.h>

TestSuite(vector_folder, .init = temp_make, .fini = temp_remove);

static vector_case t;

static dt_status save_styled(dt_vector_style style, const char *dir, int *n_files)
{
    const dt_array array = case_array();

    return dt_vectors_save(&t.capture, "features.27", &array, &style, dir, n_files);
}

static dt_status save(dt_layout layout, const char *dir, int *n_files)
{
    return save_styled(case_style(layout), dir, n_files);
}

static char *folder(void)
{
    static char dir[2 * TEMP_PATH_BYTES];

    snprintf(dir, sizeof dir, "%s", temp_path("new/vectors"));
    return dir;
}

/* A file of the folder with a NUL behind it; the caller frees it. */
static char *read_all(const char *name, size_t *bytes)
{
    char path[3 * TEMP_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder(), name);
    FILE *file = fopen(path, "rb");

    cr_assert(ne(ptr, file, NULL), "%s", path);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*bytes + 1);
    cr_assert(eq(sz, fread(text, 1, *bytes, file), *bytes));
    text[*bytes] = '\0';
    fclose(file);
    return text;
}

static void write_all(const char *name, const char *text, size_t bytes)
{
    char path[TEMP_PATH_BYTES];

    snprintf(path, sizeof path, "new/vectors/%s", name);
    temp_write(path, text, bytes);
}

static void expect_good(const char *why)
{
    dt_vectors_report r = { .n_psums = 0, .n_mismatches = -1 };

    cr_assert(eq(int, (int)dt_vectors_check(folder(), &r), DT_OK), "%s: %s", why, dt_last_error());
    cr_assert(r.n_psums > 0 && r.n_mismatches == 0, "%s", why);
}

static void expect_bad(const char *why, dt_status status, const char *message)
{
    dt_vectors_report r = { .n_psums = -7, .n_mismatches = -7 };
    const dt_status s = dt_vectors_check(folder(), &r);

    cr_assert(eq(int, (int)s, (int)status), "%s: %s", why, s == DT_OK ? "accepted" : dt_last_error());
    cr_assert(r.n_psums == -7 && r.n_mismatches == -7, "%s: results were written", why);
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), message), NULL), "%s: no '%s' in '%s'", why, message,
              dt_last_error());
}

Test(vector_folder, every_layout_is_read_back)
{
    for (dt_layout layout = DT_LAYOUT_COURSE; layout <= DT_LAYOUT_OUTPUT_STATIONARY; layout++) {
        int n_files = 0;
        case_shape(&t, 3, 5, 11, 13, 3, 2, 1);
        case_fill_random(&t, 2, 4, (uint32_t)layout);
        cr_assert(eq(int, (int)save(layout, folder(), &n_files), DT_OK), "%s", dt_last_error());
        cr_assert(n_files > 0);
        expect_good(dt_layout_names[layout]); /* also over the files of the layout before */
    }
}

Test(vector_folder, other_forms_are_read_back_in_every_layout)
{
    for (int i = 0; i < N_CASE_FORMS; i += 14) { /* depthwise, and all at once */
        case_random_form(&t, &case_forms[i], (uint32_t)i);
        for (dt_layout layout = DT_LAYOUT_COURSE; layout <= DT_LAYOUT_OUTPUT_STATIONARY; layout++) {
            cr_assert(eq(int, (int)save(layout, folder(), NULL), DT_OK), "%s: %s", case_forms[i].why, dt_last_error());
            expect_good(case_forms[i].why);
        }
    }
}

Test(vector_folder, the_manifest_says_the_form_as_a_network_does)
{
    size_t bytes;

    case_random_form(&t, &case_forms[14], 1);
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), NULL), DT_OK), "%s", dt_last_error());
    char *text = read_all("manifest.json", &bytes);
    cJSON *root = cJSON_Parse(text);
    char *geometry = cJSON_PrintUnformatted(cJSON_GetObjectItem(root, "geometry"));
    cr_assert(eq(int, cJSON_GetObjectItem(root, "version")->valueint, 2));
    cr_assert(eq(str, geometry,
                 "{\"H\":5,\"W\":7,\"C\":33,\"K\":22,\"R\":2,\"S\":3,\"stride\":[2,3],\"pad\":[3,0,1,2],"
                 "\"dilation\":[2,3],\"groups\":11,\"P\":4,\"Q\":1}"));
    free(geometry);
    cJSON_Delete(root);
    free(text);
}

/* SHA-256 of manifest.json, which has those of all files, as the first version wrote it: one group, one stride, one
 * pad. */
static const char *const first_version[] = {
    "d7434379bd1b2960279d7c2447a3fc45913483fc50af0c1b8bf3808f5b671b2c",
    "39b365b28161e96315fd342db96f67335089dce035563e0c9a6a83a0636a619b",
    "449924419300cd59961aa6ceb80b5e7b303b23fc201565cfc79a762637bdf54d",
    "874cfd9cefb5f891fdeb0b32d9f8761490aa16640a013fc0dd82be019e66f695",
    "b0d2b11d763f641d1bc0dc233680ccb972a21cfc0e1a7b40abe01ecd352db07a",
    "6e537ed0f3bde8406e8c5ea1e950dec9ddf19abdb0d2f15f2b02d1d7ebcd9611",
};

Test(vector_folder, folders_of_plain_convolutions_stay_as_they_were)
{
    for (dt_layout layout = DT_LAYOUT_COURSE; layout <= DT_LAYOUT_OUTPUT_STATIONARY; layout++) {
        char sha256[65];
        size_t bytes;
        case_shape(&t, 3, 5, 11, 13, 3, 2, 1);
        case_fill_random(&t, 2, 4, (uint32_t)layout);
        cr_assert(eq(int, (int)save(layout, folder(), NULL), DT_OK), "%s", dt_last_error());
        char *text = read_all("manifest.json", &bytes);
        SHA256Data((const uint8_t *)text, bytes, sha256);
        cr_expect(eq(str, sha256, (char *)first_version[layout]), "%s", dt_layout_names[layout]);
        free(text);
    }
}

Test(vector_folder, the_manifest_names_what_the_network_was_trained_on)
{
    size_t bytes;

    case_fill_example(&t, 8, 4, 15);
    t.capture.origin = (dt_data_origin){ "mnist", 600, "0123456789abcdef", { 0.1307f }, { 0.3081f }, 0 };
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), NULL), DT_OK), "%s", dt_last_error());
    expect_good("with an origin");
    char *text = read_all("manifest.json", &bytes);
    cJSON *root = cJSON_Parse(text), *data = cJSON_GetObjectItem(root, "data");
    cr_assert(eq(str, cJSON_GetObjectItem(data, "name")->valuestring, "mnist"));
    cr_assert(eq(str, cJSON_GetObjectItem(data, "fingerprint")->valuestring, "0123456789abcdef"));
    cr_assert(eq(dbl, cJSON_GetArrayItem(cJSON_GetObjectItem(data, "mean"), 0)->valuedouble, 0.1307));
    cJSON_Delete(root);
    memcpy(strstr(text, "0.3081"), "0.3082", 6);
    write_all("manifest.json", text, bytes);
    expect_bad("another deviation", DT_ERR_FORMAT, "sha256 is");
    free(text);
}

/* The reader goes by what the manifest says of each file, not by what this version would write. */
Test(vector_folder, any_number_of_header_lines_is_read_back)
{
    case_fill_example(&t, 8, 4, 15);
    for (dt_layout layout = DT_LAYOUT_COURSE; layout <= DT_LAYOUT_NOTEBOOK; layout++) {
        for (int lines = DT_HEADER_OF_LAYOUT; lines <= DT_HEADER_LINES_MOST; lines++) {
            cr_assert(eq(int, (int)save_styled((dt_vector_style){ layout, lines }, folder(), NULL), DT_OK));
            expect_good(dt_layout_names[layout]);
        }
    }
}

/* What people who read the manifest without detent rely on. */
Test(vector_folder, the_manifest_describes_each_file)
{
    size_t bytes;
    int n_files = 0;

    case_fill_example(&t, 8, 4, 15);
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), &n_files), DT_OK), "%s", dt_last_error());
    char *text = read_all("manifest.json", &bytes);
    cJSON *root = cJSON_Parse(text), *files = cJSON_GetObjectItem(root, "files"), *item;
    cr_assert(eq(str, cJSON_GetObjectItem(root, "format")->valuestring, "detent-vectors"));
    cr_assert(eq(str, cJSON_GetObjectItem(root, "layer")->valuestring, "features.27"));
    cr_assert(eq(str, cJSON_GetObjectItem(root, "layout")->valuestring, "course"));
    cr_assert(eq(int, cJSON_GetObjectItem(cJSON_GetObjectItem(root, "geometry"), "Q")->valueint, 4));
    cr_assert(eq(int, cJSON_GetObjectItem(cJSON_GetObjectItem(root, "psum"), "overflows")->valueint, 0));
    cr_assert(eq(int, cJSON_GetArraySize(files), n_files));
    cJSON_ArrayForEach(item, files)
    {
        char sha256[65];
        char *data = read_all(cJSON_GetObjectItem(item, "name")->valuestring, &bytes);
        int lines = 0;
        for (size_t i = 0; i < bytes; i++) lines += data[i] == '\n';
        SHA256Data((const uint8_t *)data, bytes, sha256);
        cr_assert(eq(str, cJSON_GetObjectItem(item, "sha256")->valuestring, sha256));
        cr_assert(eq(sz, (size_t)cJSON_GetObjectItem(item, "bytes")->valueint, bytes));
        cr_assert(eq(int,
                     cJSON_GetObjectItem(item, "header_lines")->valueint + cJSON_GetObjectItem(item, "lines")->valueint,
                     lines));
        free(data);
    }
    cJSON_Delete(root);
    free(text);
}

Test(vector_folder, any_flipped_byte_is_found)
{
    size_t bytes, manifest_bytes;
    uint32_t state = 3;

    case_fill_example(&t, 8, 4, 15);
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), NULL), DT_OK));
    char *manifest = read_all("manifest.json", &manifest_bytes);
    cJSON *root = cJSON_Parse(manifest), *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(root, "files"))
    {
        const char *name = cJSON_GetObjectItem(item, "name")->valuestring;
        char *text = read_all(name, &bytes);
        for (int n = 0; n < 3; n++) {
            const size_t at = n == 0 ? 1 : case_random(&state) % bytes;
            text[at] ^= 1;
            write_all(name, text, bytes);
            expect_bad(name, DT_ERR_FORMAT, "its SHA-256 begins ");
            cr_assert(ne(ptr, (void *)strstr(dt_last_error(), name), NULL), "%s", dt_last_error());
            text[at] ^= 1;
        }
        write_all(name, text, bytes - 1);
        expect_bad(name, DT_ERR_FORMAT, " bytes, the manifest says ");
        write_all(name, text, bytes);
        free(text);
    }
    cJSON_Delete(root);
    expect_good("all restored");
    free(manifest);
}

/* Every byte: the texts beside it stay right. */
Test(vector_folder, any_flipped_byte_of_the_manifest_is_found)
{
    size_t bytes;

    case_shape(&t, 2, 2, 3, 2, 1, 1, 0);
    case_fill_random(&t, 4, 4, 9);
    cr_assert(eq(int, (int)save(DT_LAYOUT_NOTEBOOK, folder(), NULL), DT_OK));
    char *text = read_all("manifest.json", &bytes);
    for (size_t i = 0; i < bytes; i++) {
        dt_vectors *v = NULL;
        text[i] ^= 1;
        const dt_status s = dt_manifest_parse(text, bytes, "m", &v);
        cr_assert(eq(int, (int)s, DT_ERR_FORMAT), "byte %d", (int)i);
        cr_assert(eq(ptr, v, NULL));
        text[i] ^= 1;
    }
    for (size_t n = 0; n < bytes; n++) { /* and every cut; n == bytes would be whole */
        dt_vectors *v = NULL;
        char *exact = malloc(n + 1);
        memcpy(exact, text, n);
        cr_assert(eq(int, (int)dt_manifest_parse(exact, n, "m", &v), DT_ERR_FORMAT), "%d bytes", (int)n);
        free(exact);
    }
    free(text);
}

/* ---- manifests that lie ---- */

/* Replaces the first `from` behind the first `after` by `to`; the caller frees. */
static char *replaced(const char *text, const char *after, const char *from, const char *to)
{
    const char *start = strstr(text, after);
    const char *at = start ? strstr(start, from) : NULL;
    cr_assert(ne(ptr, (void *)at, NULL), "no %s behind %s", from, after);
    const size_t before = (size_t)(at - text);
    char *made = malloc(strlen(text) + strlen(to) + 1);

    memcpy(made, text, before);
    strcpy(made + before, to);
    strcat(made, at + strlen(from));
    return made;
}

#define X16 "xxxxxxxxxxxxxxxx"
#define X64 X16 X16 X16 X16

typedef struct {
    const char *after, *from, *to, *message;
} lie;

static const lie lies[] = {
    { "{", "{", "[", "is not JSON from byte" },
    { "{", "\"format\"", "\"format\": 1, \"format\"", "format is 1, expected \"detent-vectors\"" },
    { "{", "\"version\"", "\"extra\": 1, \"version\"", "extra is not a field of this version" },
    { "{", "\"layer\"", "\"layer\": \"features.27\", \"layer\"", "layer stands there twice" },
    { "{", "detent-vectors", "detent-capture", "format is \"detent-capture\", expected \"detent-vectors\"" },
    { "version", "1", "2", "version is 2, expected 1" },
    { "version", "1", "3", "version is 3, expected 1 or 2" },
    { "layer", "\"features.27\"", "27", "layer is 27, expected a name" },
    { "layer", "features.27", "features.28", "sha256 is" },
    { "layer", "features.27", "features.27\\u0000", "a string holds a NUL" },
    { "layer", "features.27", X64 X64 X64 X64, "expected a name of at most 255 characters" },
    { "layout", "course", "coarse", "layout is \"coarse\"" },
    { "rows", "8", "0", "rows is 0, expected 1..256" },
    { "rows", "8", "8.5", "array.rows is 8.5, expected a whole number" },
    { "rows", "8", "\"8\"", "array.rows is \"8\", expected a whole number" },
    { "rows", "8", "-8", "array.rows is -8, expected a whole number" },
    { "cols", "8", "4", "course makes 52 files of this layer, limit 28" },
    { "psum_bits", "16", "33", "psum_bits is 33, expected 8..32" },
    { "simd", "1", "2", "array.simd is 2, expected 1" },
    { "geometry", "4", "65537", "height is 65537, expected 1..65536" },
    { "geometry", "4", "5", "geometry.P is 4, expected 5" },
    { "geometry", "\"H\":\t4", "\"H\":\t1e99", "geometry.H is 1e+99, expected a whole number" },
    { "\"C\"", "8", "65536", "files of this layer, limit 28" },
    { "\"pad\"", "1", "0", "geometry.P is 4, expected 2" },
    { "\"stride\"", "1", "0", "geometry.stride is [0,0], expected a list of whole numbers of 1..4096" },
    { "\"stride\"", "1", "[1, 1]", "geometry.stride is [1,1], expected 1" },
    { "\"stride\"", "1", "[1, 2]", "version is 1, expected 2" },
    { "\"pad\"", "1", "[1, 1, 1]", "geometry.pad is [1,1,1], expected a list of whole numbers of 0..4096" },
    { "\"pad\"", "1", "1, \"groups\": 1", "geometry.groups is not a field of this version" },
    { "\"pad\"", "1", "1, \"groups\": 8", "version is 1, expected 2" },
    { "\"stride\":\t1,", "\"stride\"", "\"stripe\"", "geometry.stripe is not a field of this version" },
    { "activation", "4", "9", "activation bits is 9, expected 1..8" },
    { "activation", "false", "true", "files[0].signed is false, expected true" },
    { "activation", "0.5", "1e300", "activation.scale is 1e+300, expected a number that a float holds" },
    { "weight", "[0.125]", "[]", "weight.scale has 0 values, expected 1, or one for each of 8 filters" },
    { "weight", "[0.125]", "[\"x\"]", "weight.scale is \"x\"" },
    { "overflows", "0", "-1", "psum.overflows is -1" },
    { "\"files\"", "[", "7, \"more\": [", "files is 7, expected a list" },
    { "\"files\"", "[", "[{}, ", "files[0].sha256 is (no value)" },
    { "\"files\"", "activation_tile0.txt", "../activation_tile0", "files[0].name is \"../activation_tile0\"" },
    { "\"files\"", "activation_tile0.txt", "/etc/passwd", "files[0].name is \"/etc/passwd\"" },
    { "\"role\"", "activation", "weight", "files[0].role is \"weight\", expected \"activation\"" },
    { "header_lines", "3", "2", "sha256 is" },
    { "header_lines", "3", "10", "files[0].header_lines is 10, expected a whole number of 0..9" },
    { "header_lines", "3", "-1", "files[0].header_lines is -1, expected a whole number of 0..9" },
    { "header_lines", "3", "\"3\"", "files[0].header_lines is \"3\", expected a whole number of 0..9" },
    { "\"lines\"", "36", "35", "files[0].lines is 35, expected 36" },
    { "\"lanes\"", "8", "9", "files[0].lanes is 9, expected 8" },
    { "\"files\"", "false", "true", "files[0].signed is true, expected false" },
    { "order", "7..0", "0..7", "files[0].order is" },
    { "in_tile", "0", "1", "files[0].in_tile is 1, expected 0" },
    { "in_tile", "-1", "0", "files[0].out_tile is 0, expected -1" },
    { "\"bytes\"", "1", "1e30, \"x\": 1", "files[0].bytes is 1e+30, expected a whole number" },
    { "\"bytes\"", "\"sha256\":\t\"", "\"sha256\":\t\"X", "expected 64 of 0-9 and a-f" },
};

static void expect_lies_found(const lie *said, size_t n)
{
    size_t bytes;
    char *good = read_all("manifest.json", &bytes);

    for (size_t i = 0; i < n; i++) {
        char *bad = replaced(good, said[i].after, said[i].from, said[i].to);
        write_all("manifest.json", bad, strlen(bad));
        expect_bad(said[i].to, DT_ERR_FORMAT, said[i].message);
        free(bad);
    }
    write_all("manifest.json", good, bytes);
    expect_good("restored");
    free(good);
}

Test(vector_folder, a_manifest_that_says_something_else_is_refused)
{
    case_fill_example(&t, 8, 4, 15);
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), NULL), DT_OK));
    expect_lies_found(lies, sizeof lies / sizeof lies[0]);
}

static const lie grouped_lies[] = {
    { "version", "2", "1", "version is 1, expected 2" },
    { "\"pad\"", "1", "[1, 1, 1, 2]", "geometry.Q is 5, expected 6" },
    { "\"dilation\"", "1", "2", "geometry.P is 3, expected 1" },
    { "\"dilation\"", "1", "3",
      "a window of 3x3 with dilation 3,3 spans 7x7, which does not fit the padded input of "
      "5x7" },
    { "\"dilation\"", "1", "[1]", "geometry.dilation is [1], expected a list of whole numbers of 1..4096" },
    { "pad", "\"dilation\":\t1,", "", "geometry.dilation is (no value), expected 1" },
    { "\"groups\"", "11", "0", "geometry.groups is 0, expected a whole number of 1..1048576" },
    { "\"groups\"", "11", "2", "2 groups of 11 channels and 11 filters; groups must divide both" },
    { "\"groups\"", "11", "[11]", "geometry.groups is [11], expected a whole number" },
    { "\"groups\"", "11", "1", "files of this layer, limit 54" },
};

Test(vector_folder, a_manifest_that_says_another_form_is_refused)
{
    case_random_form(&t, &case_forms[0], 1);
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), NULL), DT_OK));
    expect_lies_found(grouped_lies, sizeof grouped_lies / sizeof grouped_lies[0]);
}

/* ---- psums that are wrong with right hashes ---- */

static void rewrite_manifest(const char *name)
{
    size_t bytes, manifest_bytes;
    dt_vectors *v;
    char *text = read_all(name, &bytes), *manifest = read_all("manifest.json", &manifest_bytes), *made;

    cr_assert(eq(int, (int)dt_manifest_parse(manifest, manifest_bytes, "m", &v), DT_OK), "%s", dt_last_error());
    SHA256Data((const uint8_t *)text, bytes, case_file(v, name)->sha256);
    cr_assert(eq(int, (int)dt_manifest_write(v, &made), DT_OK));
    write_all("manifest.json", made, strlen(made));
    dt_vectors_destroy(v);
    free(made);
    free(manifest);
    free(text);
}

Test(vector_folder, psums_that_do_not_follow_are_counted)
{
    dt_vectors_report r;
    size_t bytes;

    case_fill_example(&t, 8, 4, 15);
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), NULL), DT_OK));
    char *text = read_all("out_raw.txt", &bytes);
    text[bytes - 2] ^= 1;
    write_all("out_raw.txt", text, bytes);
    rewrite_manifest("out_raw.txt");
    cr_assert(eq(int, (int)dt_vectors_check(folder(), &r), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, (int)r.n_mismatches, 1));
    free(text);
}

/* ---- folders ---- */

Test(vector_folder, what_is_not_a_whole_folder_is_refused)
{
    char path[2 * TEMP_PATH_BYTES + 64];

    expect_bad("nothing there", DT_ERR_IO, "manifest.json: cannot be opened: No such file");
    case_fill_example(&t, 8, 4, 15);
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), NULL), DT_OK));
    snprintf(path, sizeof path, "%s/out.txt", folder());
    cr_assert(eq(int, unlink(path), 0));
    expect_bad("a file is missing", DT_ERR_IO, "out.txt: cannot be opened: No such file");
    cr_assert(eq(int, mkdir(path, 0777), 0));
    expect_bad("a folder in its place", DT_ERR_IO, "out.txt: not a regular file");

    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), NULL), DT_ERR_IO));
    expect_bad("an export that failed", DT_ERR_IO, "manifest.json: cannot be opened");
    temp_write("plain", "x", 1);
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, temp_path("plain"), NULL), DT_ERR_IO));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "plain"), NULL), "%s", dt_last_error());
}

/* A limit on the size of files stands in for a full disk: psum.txt does not fit, the files before it do. */
Test(vector_folder, a_full_disk_leaves_no_manifest)
{
    struct rlimit full, before;

    case_fill_example(&t, 8, 4, 15);
    cr_assert(eq(int, (int)save(DT_LAYOUT_COURSE, folder(), NULL), DT_OK)); /* an older export */
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(eq(int, getrlimit(RLIMIT_FSIZE, &before), 0));
    full = (struct rlimit){ 8192, before.rlim_max };
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &full), 0));
    const dt_status s = save(DT_LAYOUT_COURSE, folder(), NULL);
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &before), 0));
    cr_assert(eq(int, (int)s, DT_ERR_IO));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "psum.txt: cannot be written: File too large"), NULL), "%s",
              dt_last_error());
    expect_bad("incomplete", DT_ERR_IO, "manifest.json: cannot be opened");
}
