/*
 * test_structure.c - the plan of the source tree: who may include whom, which libraries stay behind one folder, that
 * every operator has its facts, its kernels and its test where its stem says, and that every kernel of CUDA is run.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/op_list.h"

#define SOURCE_DIR DETENT_TEST_GOLDEN "/../.."

enum { PATH_BYTES = 4096, MOST_ALLOWED = 8 };

/* A prefix that ends in '/' allows a folder, "layers/.h" the headers of a folder, anything else one file. */
typedef struct {
    const char *folder;
    const char *allowed[MOST_ALLOWED];
} include_rule;

static const include_rule include_rules[] = {
    { "core", { "core/" } },
    { "core/graph", { "core/" } },
    { "layers", { "layers/", "core/", "quant/grid.h", "quant/fixed_point.h" } },
    { "quant", { "quant/", "core/", "layers/.h" } },
    { "cuda",
      { "cuda/", "core/", "layers/.h", "quant/grid.h", "quant/fixed_point.h", "quant/norm_quant.h",
        "quant/weight_quant.h", "accel/.h" } },
    { "models", { "models/", "core/", "layers/", "quant/" } },
    { "datasets", { "datasets/", "core/rng.h" } },
    { "accel", { "accel/", "core/", "layers/.h", "quant/grid.h", "quant/program.h" } },
    { "formats", { "formats/", "core/", "quant/", "accel/.h", "models/.h" } },
    { "cli", { "cli/", "formats/config_json.h" } },
};
enum { N_FOLDERS = sizeof include_rules / sizeof include_rules[0] };

/* Headers of libraries, each with the only folders that know it. */
static const struct {
    const char *header;
    const char *folders[3];
} libraries[] = {
    { "oneapi/", { "layers" } },   { "cblas.h", { "layers" } },        { "cuda", { "cuda" } },
    { "cudnn", { "cuda" } },       { "cublas", { "cuda" } },           { "zlib.h", { "datasets" } },
    { "matio.h", { "datasets" } }, { "cjson/", { "formats", "cli" } }, { "argp.h", { "cli" } },
    { "sha2.h", { "formats" } },
};

typedef void (*file_visit)(void *user, const char *folder, const char *name, const char *text);

/* The whole file, NUL at its end; NULL if there is none. The caller frees it. */
static char *read_text(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s/%s", SOURCE_DIR, folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    const size_t bytes = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(bytes + 1);
    cr_assert(text && fread(text, 1, bytes, file) == bytes, "%s", path);
    text[bytes] = '\0';
    fclose(file);
    return text;
}

static int is_source(const char *name)
{
    const char *end = strrchr(name, '.');
    return end && (strcmp(end, ".c") == 0 || strcmp(end, ".h") == 0 || strcmp(end, ".cu") == 0);
}

/* Every source of the folders above; returns how many. */
static int each_source(file_visit visit, void *user)
{
    int n = 0;
    for (int i = 0; i < N_FOLDERS; i++) {
        char path[PATH_BYTES];
        const char *folder = include_rules[i].folder;
        snprintf(path, sizeof path, "%s/%s", SOURCE_DIR, folder);
        DIR *dir = opendir(path);
        cr_assert(dir != NULL, "there is no %s", path);
        for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
            if (!is_source(entry->d_name)) continue;
            char *text = read_text(folder, entry->d_name);
            visit(user, folder, entry->d_name, text);
            free(text);
            n++;
        }
        closedir(dir);
    }
    return n;
}

/* The header of the next #include at or after *at, which moves past it; 0 at the end of the text. */
static int next_include(const char **at, char *quote, char *header, size_t bytes)
{
    static const char directive[] = "#include ";
    for (const char *p = *at; (p = strstr(p, directive)) != NULL; p++) {
        const char *open = p + sizeof directive - 1;
        const char *close = strchr(open + 1, *open == '<' ? '>' : '"');
        if (!close || (*open != '<' && *open != '"')) continue; /* in a comment or a string */
        snprintf(header, bytes, "%.*s", (int)(close - open - 1), open + 1);
        *quote = *open;
        *at = close;
        return 1;
    }
    return 0;
}

static int starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int matches(const char *target, const char *pattern)
{
    const size_t n = strlen(pattern), n_target = strlen(target);
    if (n > 3 && strcmp(pattern + n - 3, "/.h") == 0) {
        return strncmp(target, pattern, n - 2) == 0 && strcmp(target + n_target - 2, ".h") == 0;
    }
    return pattern[n - 1] == '/' ? starts_with(target, pattern) : strcmp(target, pattern) == 0;
}

static void check_own_header(const char *folder, const char *name, const char *header)
{
    char target[2 * PATH_BYTES];
    const include_rule *rule = include_rules;
    if (starts_with(header, "detent/")) return; /* the public interface is everybody's */
    while (strcmp(rule->folder, folder) != 0) rule++;
    size_t depth = strlen(folder); /* of the folder that the header's name starts from */
    while (starts_with(header, "../")) {
        while (depth > 0 && folder[--depth] != '/') continue;
        header += 3;
    }
    snprintf(target, sizeof target, "%.*s%s%s", (int)depth, folder, depth ? "/" : "", header);
    for (int i = 0; i < MOST_ALLOWED && rule->allowed[i]; i++) {
        if (matches(target, rule->allowed[i])) return;
    }
    cr_assert_fail("%s/%s includes %s, which %s/ may not", folder, name, target, folder);
}

static void check_library(const char *folder, const char *name, const char *header)
{
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        int known = 0;
        if (!starts_with(header, libraries[i].header)) continue;
        for (int f = 0; f < 3 && libraries[i].folders[f]; f++) known |= strcmp(folder, libraries[i].folders[f]) == 0;
        cr_assert(known, "%s/%s includes <%s>, which belongs behind %s/", folder, name, header,
                  libraries[i].folders[0]);
    }
}

static void check_includes(void *user, const char *folder, const char *name, const char *text)
{
    int *n_includes = user;
    char header[PATH_BYTES], quote;
    while (next_include(&text, &quote, header, sizeof header)) {
        ++*n_includes;
        if (quote == '"')
            check_own_header(folder, name, header);
        else
            check_library(folder, name, header);
    }
}

Test(structure, folders_include_what_they_may)
{
    int n_includes = 0;
    const int n_files = each_source(check_includes, &n_includes);
    cr_assert(n_files > 50 && n_includes > 2 * n_files, "only %d files with %d includes were found", n_files,
              n_includes);
}

/* ---- operators ---- */

/* 1 if the file is there and holds the text; *found counts the files. */
static int file_has(const char *folder, const char *stem, const char *suffix, const char *wanted, int *found)
{
    char name[160];
    snprintf(name, sizeof name, "%.120s%s", stem, suffix);
    char *text = read_text(folder, name);
    if (!text) return 0;
    const int has = strstr(text, wanted) != NULL;
    free(text);
    ++*found;
    return has;
}

static void check_definition(const char *op, const char *stem, const char *type, const char *prefix,
                             const char *const (*places)[2], int n_places)
{
    char wanted[128];
    int found = 0, has = 0;
    snprintf(wanted, sizeof wanted, "\nconst %s %s%s = {", type, prefix, op);
    for (int i = 0; i < n_places; i++) has += file_has(places[i][0], stem, places[i][1], wanted, &found);
    cr_assert(found == 1, "%s: %d files named %s in %s/ and the like, expected 1", op, found, stem, places[0][0]);
    cr_assert(has == 1, "%s: no '%s' in %s/%s%s", op, wanted + 1, places[0][0], stem, places[0][1]);
}

static void check_op(const char *op, const char *stem)
{
    static const char *const host[3][2] = { { "layers", ".c" }, { "quant", ".c" }, { "accel", ".c" } };
    static const char *const cuda[2][2] = { { "cuda", ".cu" }, { "cuda", ".c" } };
    char name[128];
    int found = 0;
    check_definition(op, stem, "dt_op", "dt_op_", host, 3);
    check_definition(op, stem, "dt_kernel", "dt_cpu_", host, 3);
    check_definition(op, stem, "dt_kernel", "dt_cuda_", cuda, 2);
    snprintf(name, sizeof name, "test_%s", stem);
    file_has("tests", name, ".c", "", &found);
    cr_assert(found == 1, "%s: there is no tests/%s.c", op, name);
}

Test(structure, every_operator_lives_where_its_stem_says)
{
#define XX(upper, lower, stem) check_op(#lower, #stem);
    DT_OP_MAP(XX)
#undef XX
}

/* ---- kernels on the SIMT shim ---- */

/* tests/simt/CMakeLists.txt finds test_<stem>.c, or a part of it, test_<stem>_<part>.c. */
static int is_on_shim(const char *stem)
{
    char whole[160], part[160];
    snprintf(whole, sizeof whole, " test_%.120s ", stem);
    snprintf(part, sizeof part, " test_%.120s_", stem);
    return strstr(DETENT_TEST_ON_SHIM, whole) || strstr(DETENT_TEST_ON_SHIM, part);
}

/* By the name of the file, or by what it says of its tests. */
static void check_kernels(void *user, const char *folder, const char *name, const char *text)
{
    static const char tests[] = "tests/test_";
    int *n_files = user;
    const char *end = strrchr(name, '.');
    char stem[PATH_BYTES];
    snprintf(stem, sizeof stem, "%.*s", (int)(end - name), name);
    if (strcmp(end, ".cu") != 0) return;
    int found = is_on_shim(stem);
    for (const char *p = text; !found && (p = strstr(p, tests)) != NULL; p++) {
        const char *from = p + strlen(tests);
        snprintf(stem, sizeof stem, "%.*s", (int)strcspn(from, "."), from);
        found = is_on_shim(stem);
    }
    cr_assert(found,
              "no test runs the kernels of %s/%s on the SIMT shim: let its test call op_cases_run, or open \"cuda\", "
              "and run cmake again",
              folder, name);
    ++*n_files;
}

static void check_op_on_shim(const char *op, const char *stem)
{
    cr_assert(is_on_shim(stem), "%s: tests/test_%s.c does not run it on the SIMT shim; run cmake again if it should",
              op, stem);
}

Test(structure, every_kernel_runs_on_the_shim)
{
    int n_files = 0;
    each_source(check_kernels, &n_files);
    cr_assert(n_files > 20, "only %d files of kernels were found", n_files);
#define XX(upper, lower, stem) check_op_on_shim(#lower, #stem);
    DT_OP_MAP(XX)
#undef XX
}

/* ---- */

/* "Tests: tests/test_conv.c": a file that says so is right. */
static void check_named_tests(void *user, const char *folder, const char *name, const char *text)
{
    int *n_named = user;
    for (const char *p = text; (p = strstr(p, "tests/test_")) != NULL; p++) {
        const char *from = p + strlen("tests/");
        char test[128];
        int found = 0;
        snprintf(test, sizeof test, "%.*s", (int)strcspn(from, " ,;:)\n*"), from);
        while (test[0] && test[strlen(test) - 1] == '.') test[strlen(test) - 1] = '\0'; /* the end of a sentence */
        file_has("tests", test, "", "", &found);
        cr_assert(found == 1, "%s/%s names tests/%s, which is not there", folder, name, test);
        ++*n_named;
    }
}

Test(structure, tests_that_are_named_exist)
{
    int n_named = 0;
    each_source(check_named_tests, &n_named);
    cr_assert(n_named > 20, "only %d files name their test", n_named);
}
