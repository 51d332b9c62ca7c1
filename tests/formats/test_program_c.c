/*
 * test_program_c.c - programs as C: compiled without a warning in several dialects, run, compared bit for bit with
 *                    dt_program_run.
 *
 * Needs a compiler named cc, which is what a reader of such a file has, too.
 */
#include "../support/compiled_c.h"
#include "../support/program_case.h"

enum { N_IMAGES = 50, IMAGE_BYTES = PROGRAM_CASE_HEIGHT * PROGRAM_CASE_WIDTH * 3 };

typedef void (*run_image)(const uint8_t *image, float *scores);
typedef int (*classify_image)(const uint8_t *image);

static void compare(const dt_program *p, void *library, const char *what)
{
    run_image run;
    classify_image classify;
    uint8_t image[IMAGE_BYTES];
    float expected[PROGRAM_CASE_CLASSES], found[PROGRAM_CASE_CLASSES];
    draws d = { .seed = 99 };

    find_in(library, "net_run", &run);
    find_in(library, "net_classify", &classify);
    for (int n = 0; n < N_IMAGES; n++) {
        int best = 0;
        for (int i = 0; i < IMAGE_BYTES; i++) image[i] = n == 0 ? 0 : (uint8_t)draw(&d, 256);
        cr_assert(eq(int, dt_program_run(p, image, expected), DT_OK));
        run(image, found);
        for (int o = 0; o < PROGRAM_CASE_CLASSES; o++) {
            cr_assert(memcmp(&expected[o], &found[o], sizeof found[o]) == 0,
                      "%s: image %d, score %d is %a, expected %a", what, n, o, (double)found[o], (double)expected[o]);
            if (expected[o] > expected[best]) best = o;
        }
        cr_assert(eq(int, classify(image), best), "%s: image %d", what, n);
    }
}

static void compile_and_compare(const program_case *spec, const char *what)
{
    dt_program *p = program_case_make(spec);
    char dir[TEMP_PATH_BYTES + 8], text[256];

    snprintf(dir, sizeof dir, "%s/c", temp_folder);
    cr_assert(eq(int, dt_program_write_c(p, dir, "net"), DT_OK), "%s", dt_last_error());
    for (int d = 0; d < N_C_DIALECTS; d++) {
        void *library = compile_c("cc", c_dialects[d]);
        snprintf(text, sizeof text, "%s, %s", what, c_dialects[d]);
        compare(p, library, text);
        dlclose(library);
    }
    dt_program_destroy(p);
}

/* Criterion runs no .fini after a skip: tests that may skip make and remove their folder themselves. */
static void compiled(const program_case *spec, const char *what)
{
    if (!has_compiler("cc")) cr_skip_test("there is no C compiler named cc");
    temp_make();
    compile_and_compare(spec, what);
    temp_remove();
}

Test(program_c_compiled, thresholds)
{
    compiled(&(program_case){ .seed = 11, .image_low = -4 }, "int8_t codes, thresholds");
}

Test(program_c_compiled, multipliers_and_lsq)
{
    compiled(&(program_case){ .seed = 12, .multipliers = 1, .rule = DT_RULE_LSQ }, "int8_t codes, multipliers, LSQ");
}

Test(program_c_compiled, wide_codes)
{
    compiled(&(program_case){ .seed = 13, .image_low = -300 }, "int16_t codes");
}

Test(program_c_compiled, sums)
{
    compiled(&(program_case){ .seed = 14, .image_low = -4, .sums = 1 }, "sums of codes");
    compiled(&(program_case){ .seed = 15, .image_low = -4, .sums = 1, .multipliers = 1 }, "sums of codes, multipliers");
}

TestSuite(program_c, .init = temp_make, .fini = temp_remove);

Test(program_c, equal_programs_give_equal_files)
{
    dt_program *p = program_case_make(&(program_case){ .seed = 11 });
    char dir[2 * TEMP_PATH_BYTES], command[5 * TEMP_PATH_BYTES];

    for (int k = 0; k < 2; k++) {
        snprintf(dir, sizeof dir, "%s/made/%d", temp_folder, k); /* made, with the folder above */
        cr_assert(eq(int, dt_program_write_c(p, dir, "net"), DT_OK), "%s", dt_last_error());
    }
    snprintf(command, sizeof command,
             "cd '%s/made' && cmp 0/net.c 1/net.c && cmp 0/net.h 1/net.h && test $(ls 0 | wc -l) = 2", temp_folder);
    cr_assert(eq(int, system(command), 0));
    dt_program_destroy(p);
}

Test(program_c, refuses_misuse)
{
    static const char *const names[] = {
        "", "1net", "a-b", "a b", "_net", "net\n", "n\xC3\xA4her", "a234567890123456789012345678901234567890123456789"
    };
    dt_program *p = program_case_make(&(program_case){ .seed = 11 });

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert(eq(int, dt_program_write_c(p, temp_folder, names[i]), DT_ERR_ARGUMENT), "'%s'", names[i]);
        cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "expected a C identifier"), NULL), "%s", dt_last_error());
    }
    temp_write("file", "", 0);
    cr_assert(eq(int, dt_program_write_c(p, temp_path("file"), "net"), DT_ERR_IO));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "not a folder"), NULL), "%s", dt_last_error());
    int32_t *step = p->graph->value[dt_graph_find(p->graph, "features.3.threshold")]->data;
    step[0] = 1 << 30;
    cr_assert(eq(int, dt_program_write_c(p, temp_folder, "net"), DT_ERR_FORMAT));
    dt_program_destroy(p);
}

/* A name from a file cannot leave its comment. */
Test(program_c, names_stay_in_comments)
{
    dt_program *p = program_case_make(&(program_case){ .seed = 11 });
    dt_graph_value *pool = p->graph->value[dt_graph_find(p->graph, "features.2")];
    FILE *file;
    char line[256];

    strcpy(pool->name, "*/ int x;");
    free(p->graph->name);
    p->graph->name = strdup("?\?/ */");
    cr_assert(eq(int, dt_program_write_c(p, temp_folder, "net"), DT_OK), "%s", dt_last_error());
    file = fopen(temp_path("net.c"), "r");
    cr_assert(ne(ptr, file, NULL));
    while (fgets(line, sizeof line, file)) {
        cr_assert(eq(ptr, (void *)strstr(line, "*/ int"), NULL), "%s", line);
        cr_assert(eq(ptr, (void *)strstr(line, "?\?"), NULL), "%s", line);
        cr_assert(strlen(line) <= 121, "%s", line);
    }
    fclose(file);
    dt_program_destroy(p);
}
