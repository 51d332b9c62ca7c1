/*
 * test_program_c_caps.c - capsule networks as C: compiled without a warning in several dialects and with the sanitizer
 *                         of undefined behaviour, run, every length compared with dt_program_run. No float and no
 *                         allocation is in the text.
 *
 * Needs a compiler named cc, which is what a reader of such a file has, too.
 */
#include "../support/caps_network.h"
#include "../support/compiled_c.h"

enum { IMAGES = 40 };

typedef void (*run_image)(const uint8_t *image, int32_t *lengths);
typedef int (*classify_image)(const uint8_t *image);

static void compare(const lowered *r, void *library, const char *what)
{
    run_image run;
    classify_image classify;
    dt_dataset_view v;

    find_in(library, "net_run", &run);
    find_in(library, "net_classify", &classify);
    dt_dataset_look(r->data, &v);
    for (int n = 0; n < IMAGES; n++) {
        const uint8_t *image = v.images + n * v.height * v.width * v.channels;
        float expected[CAPS_CLASSES];
        int32_t found[CAPS_CLASSES];
        int best = 0;
        MUST(dt_program_run(r->program, image, expected));
        run(image, found);
        for (int j = 0; j < CAPS_CLASSES; j++) {
            const int32_t want = (int32_t)(expected[j] * 16777216.0f);
            cr_assert(found[j] == want, "%s: image %d, length %d is %d, expected %d", what, n, j, found[j], want);
            if (expected[j] > expected[best]) best = j;
        }
        cr_assert(classify(image) == best, "%s: image %d", what, n);
    }
}

static void read_text(const char *dir, const char *name, char **text)
{
    char path[TEMP_PATH_BYTES + 32];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    cr_assert(f != NULL, "%s", path);
    *text = calloc(1, 1 << 22);
    cr_assert(fread(*text, 1, (1 << 22) - 1, f) > 0);
    fclose(f);
}

/* After the comment at the head, which says so. */
static void has_no_floats(const char *dir)
{
    static const char *const words[] = { "float", "double", "malloc", "calloc", "0x1.", "math.h" };
    char *text;

    read_text(dir, "net.c", &text);
    const char *code = strstr(text, "*/");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        cr_assert(strstr(code, words[i]) == NULL, "'%s' occurs in net.c", words[i]);
    cr_assert(strstr(text, "Integers alone") != NULL);
    free(text);
    read_text(dir, "net.h", &text);
    cr_assert(strstr(strstr(text, "*/"), "float") == NULL, "a float is in net.h");
    free(text);
}

static void compile_and_compare(int routing_bits)
{
    lowered r = caps_lowered("cpu", routing_bits, IMAGES);
    char dir[TEMP_PATH_BYTES + 8];

    snprintf(dir, sizeof dir, "%s/c", temp_folder);
    MUST(dt_program_write_c(r.program, dir, "net"));
    has_no_floats(dir);
    for (int d = 0; d <= N_C_DIALECTS; d++) {
        const char *flags =
            d < N_C_DIALECTS ? c_dialects[d] : "-std=c99 -O1 -fsanitize=undefined -fno-sanitize-recover";
        void *library = compile_c("cc", flags);
        compare(&r, library, flags);
        dlclose(library);
    }
    lowered_close(&r);
}

/* Criterion runs no .fini after a skip. */
Test(program_c_caps, every_length)
{
    if (!has_compiler("cc")) cr_skip_test("there is no C compiler named cc");
    temp_make();
    compile_and_compare(8);
    compile_and_compare(5);
    temp_remove();
}

/* Constants and RAM that the head names. */
Test(program_c_caps, sizes)
{
    lowered r = caps_lowered("cpu", 8, 1);
    char dir[TEMP_PATH_BYTES + 8], *text;

    temp_make();
    snprintf(dir, sizeof dir, "%s/c", temp_folder);
    MUST(dt_program_write_c(r.program, dir, "net"));
    read_text(dir, "net.c", &text);
    /* psums of 300 values; 3 * 300 of a routing; logits of 150 x 10; couplings of 75: what skip and digit need */
    cr_assert(strstr(text, "static int32_t psums[300]") != NULL);
    cr_assert(strstr(text, "sums[300], capsules_s[300], capsules_v[300];") != NULL);
    cr_assert(strstr(text, "static int16_t logits[1500];") != NULL);
    cr_assert(strstr(text, "static uint16_t couplings[75];") != NULL);
    free(text);
    temp_remove();
    lowered_close(&r);
}
