/*
 * test_structure.c - the plan of the source tree: who may include whom, which libraries stay behind one folder, that
 * every operator has its facts, its kernels and its test where its stem says, that every kernel of CUDA is run, and
 * that no file is too long.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/op_list.h"

#define SOURCE_DIR DETENT_TEST_GOLDEN "/../.."

enum { PATH_BYTES = 4096, MOST_ALLOWED = 8 };

/* A prefix that ends in '/' allows a folder and those inside; anything else is a pattern of the shell's. */
typedef struct {
    const char *folder; /* its folders too, unless they have a rule of their own */
    const char *allowed[MOST_ALLOWED];
} include_rule;

#define LAYERS_H "layers/*.h", "layers/*/*.h"

static const include_rule include_rules[] = {
    { "core", { "core/" } },
    { "layers", { "layers/", "core/" } },
    { "quant", { "quant/", "core/", LAYERS_H } },
    { "compress", { "compress/", "core/", "quant/*.h" } },
    { "cuda", { "cuda/", "core/", LAYERS_H, "quant/*.h", "accel/*/*.h" } },
    { "models", { "models/", "core/", "layers/", "quant/" } },
    { "datasets", { "datasets/", "core/rng.h", "core/train/dataset_view.h", "formats/safetensors.h" } },
    { "accel", { "accel/", "core/", LAYERS_H, "quant/program/program.h" } },
    { "formats", { "formats/", "core/", "quant/", "accel/*/*.h", "models/*.h" } },
    { "cli", { "cli/", "formats/config_json.h" } },
    /* inside the core, each sees what is below it */
    { "core/arith", { "core/arith/", "core/rng.h", "core/declared.h", "core/op_params.h", "core/grid_facts.h" } },
    { "core/tape", { "core/tape/", "core/*.h" } },
    { "core/dist", { "core/dist/" } },
    { "core/graph", { "core/graph/", "core/tape/tape.h", "core/*.h" } },
};
enum { N_RULES = sizeof include_rules / sizeof include_rules[0], N_FOLDERS = 10 /* of those, at the top */ };

/* Headers of libraries, each with the only folders that know it. */
static const struct {
    const char *header;
    const char *folders[3];
} libraries[] = {
    { "oneapi/", { "layers" } },
    { "cblas.h", { "layers" } },
    { "cuda", { "cuda" } },
    { "cudnn", { "cuda" } },
    { "cublas", { "cuda" } },
    { "nccl", { "cuda" } },
    { "zlib.h", { "datasets" } },
    { "matio.h", { "datasets" } },
    { "cjson/", { "formats", "cli" } },
    { "argp.h", { "cli" } },
    { "sha2.h", { "formats", "core/dist" } },
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
    static const char *const ends[] = { ".c", ".h", ".cu", ".cc" };
    const char *end = strrchr(name, '.');
    int found = 0;
    for (size_t i = 0; end && i < sizeof ends / sizeof ends[0]; i++) found |= strcmp(end, ends[i]) == 0;
    return found;
}

static int is_no_dot(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The sources of a folder and of those inside, by name; returns how many. */
static int each_source_of(const char *folder, file_visit visit, void *user)
{
    struct dirent **entry = NULL;
    char path[PATH_BYTES];
    int n = 0;

    snprintf(path, sizeof path, "%s/%s", SOURCE_DIR, folder);
    const int n_entries = scandir(path, &entry, is_no_dot, alphasort);
    cr_assert(n_entries >= 0, "there is no %s", path);
    for (int i = 0; i < n_entries; free(entry[i++])) {
        if (is_source(entry[i]->d_name)) {
            char *text = read_text(folder, entry[i]->d_name);
            visit(user, folder, entry[i]->d_name, text);
            free(text);
            n++;
        } else if (entry[i]->d_type == DT_DIR) {
            snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
            n += each_source_of(path, visit, user);
        }
    }
    free(entry);
    return n;
}

/* Every source of the folders above; returns how many. */
static int each_source(file_visit visit, void *user)
{
    int n = 0;
    for (int i = 0; i < N_FOLDERS; i++) n += each_source_of(include_rules[i].folder, visit, user);
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
    return pattern[strlen(pattern) - 1] == '/' ? starts_with(target, pattern)
                                               : fnmatch(pattern, target, FNM_PATHNAME) == 0;
}

static int is_inside(const char *folder, const char *of)
{
    const size_t n = strlen(of);
    return strncmp(folder, of, n) == 0 && (folder[n] == '/' || folder[n] == '\0');
}

/* The rule of the folder, else of the nearest one around it. */
static const include_rule *rule_of(const char *folder)
{
    const include_rule *rule = NULL;
    for (int i = 0; i < N_RULES; i++) {
        const include_rule *r = &include_rules[i];
        if (is_inside(folder, r->folder) && (!rule || strlen(r->folder) > strlen(rule->folder))) rule = r;
    }
    return rule;
}

static void check_own_header(const char *folder, const char *name, const char *header)
{
    char target[2 * PATH_BYTES];
    const include_rule *rule = rule_of(folder);
    if (starts_with(header, "detent/")) return; /* the public interface is everybody's */
    size_t depth = strlen(folder);              /* of the folder that the header's name starts from */
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
        for (int f = 0; f < 3 && libraries[i].folders[f]; f++) known |= is_inside(folder, libraries[i].folders[f]);
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

/* ---- what a user chooses ---- */

/* What a network is, everybody below its builders asks the graph. */
static void check_no_choice(void *user, const char *folder, const char *name, const char *text)
{
    (void)user;
    cr_assert(!strstr(text, "dt_model_config"),
              "%s/%s names dt_model_config, which builders and the command know; ask the graph (dt_model_look)", folder,
              name);
}

Test(structure, below_the_builders_nobody_knows_what_was_chosen)
{
    static const char *const folders[] = { "core", "layers", "quant", "accel", "cuda" };
    int n_files = 0;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        n_files += each_source_of(folders[i], check_no_choice, NULL);
    }
    cr_assert(n_files > 100, "only %d files were found", n_files);
}

/* ---- operators ---- */

/* A definition that is looked for, in the files of some name. */
typedef struct {
    char file[128], wanted[128]; /* "squash.c", "\nconst dt_op dt_op_squash = {" */
    int n_files, n_have;
} definition;

static void look_for(void *user, const char *folder, const char *name, const char *text)
{
    definition *d = user;
    (void)folder;
    if (strcmp(name, d->file) != 0) return;
    d->n_files++;
    d->n_have += strstr(text, d->wanted) != NULL;
}

/* In one file stem.c or, on CUDA, stem.cu, of these folders. */
static void check_definition(const char *op, const char *stem, const char *type, const char *const folders[3])
{
    static const char *const suffix[2] = { ".c", ".cu" };
    const int on_cuda = strcmp(folders[0], "cuda") == 0;
    definition d = { .n_files = 0 };
    snprintf(d.wanted, sizeof d.wanted, "\nconst %s%s = {", type, op);
    for (int s = 0; s < 1 + on_cuda; s++) {
        snprintf(d.file, sizeof d.file, "%.100s%s", stem, suffix[s]);
        for (int i = 0; i < 3 && folders[i]; i++) each_source_of(folders[i], look_for, &d);
    }
    cr_assert(d.n_files == 1, "%s: %d files named %s in %s/ and the like, expected 1", op, d.n_files, stem, folders[0]);
    cr_assert(d.n_have == 1, "%s: no '%s' in %s", op, d.wanted + 1, d.file);
}

/* How many files tests/NAME, tests/FOLDER/NAME there are. */
static int count_tests(const char *name)
{
    char path[PATH_BYTES];
    glob_t found = { 0 };
    snprintf(path, sizeof path, "%s/tests/%s", SOURCE_DIR, name);
    glob(path, 0, NULL, &found);
    snprintf(path, sizeof path, "%s/tests/*/%s", SOURCE_DIR, name);
    glob(path, GLOB_APPEND, NULL, &found);
    const int n = (int)found.gl_pathc;
    globfree(&found);
    return n;
}

static void check_op(const char *op, const char *stem)
{
    static const char *const host[3] = { "layers", "quant", "accel" }, *const cuda[3] = { "cuda" };
    char name[128];
    check_definition(op, stem, "dt_op dt_op_", host);
    check_definition(op, stem, "dt_kernel dt_cpu_", host);
    check_definition(op, stem, "dt_kernel dt_cuda_", cuda);
    snprintf(name, sizeof name, "test_%.100s.c", stem);
    cr_assert(count_tests(name) == 1, "%s: %d files tests/%s, expected 1", op, count_tests(name), name);
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
    static const char tests[] = "/test_";
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

/* "Tests: tests/layers/test_conv.c": a file that says so is right. */
static void check_named_tests(void *user, const char *folder, const char *name, const char *text)
{
    int *n_named = user;
    for (const char *p = text; (p = strstr(p, " tests/")) != NULL; p++) {
        char test[128], path[PATH_BYTES];
        snprintf(test, sizeof test, "%.*s", (int)strcspn(p + 1, " ,;:)\n*"), p + 1);
        while (test[0] && test[strlen(test) - 1] == '.') test[strlen(test) - 1] = '\0'; /* the end of a sentence */
        snprintf(path, sizeof path, "%s/%s", SOURCE_DIR, test);
        cr_assert(access(path, F_OK) == 0, "%s/%s names %s, which is not there", folder, name, test);
        ++*n_named;
    }
}

Test(structure, tests_that_are_named_exist)
{
    int n_named = 0;
    each_source(check_named_tests, &n_named);
    cr_assert(n_named > 20, "only %d files name their test", n_named);
}

/* ---- sizes ---- */

enum { MOST_LINES = 500 }; /* HOUSE_STYLE.md, "Size" */

static void check_lines(void *user, const char *folder, const char *name, const char *text)
{
    int *n_files = user, n_lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++) n_lines++;
    cr_expect(n_lines <= MOST_LINES,
              "%s/%s has %d lines, and a file has at most %d: move a part that has a name of its own into another",
              folder, name, n_lines, MOST_LINES);
    ++*n_files;
}

/* Without exceptions: of C, C++ and CUDA, tests and examples included. */
Test(structure, files_have_500_lines_at_most)
{
    static const char *const beside[] = { "include", "tests", "benchmarks", "examples" };
    int n_files = 0;
    each_source(check_lines, &n_files);
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) each_source_of(beside[i], check_lines, &n_files);
    cr_assert(n_files > 500, "only %d files were found", n_files);
}
