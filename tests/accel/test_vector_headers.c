/*
 * test_vector_headers.c - the comment lines before the data of each vector file: the notebook's own, those of the other
 *                         layouts, and as many as a caller asks for.
 */
#include "../support/vector_cases.h"

static vector_case t;

/* The first lines begin with //, as $readmemb wants it, and have no blanks: readers may skip lines or tokens. */
static void expect_tokens(const dt_vector_file *f, int header_lines)
{
    const char *data = case_data(f);
    int lines = 0;

    cr_assert(eq(int, f->header_lines, header_lines), "%s", f->name);
    for (const char *p = f->text; p < data; p++) {
        cr_assert(ne(chr, *p, ' '), "%s: a blank", f->name);
        if (p == f->text || p[-1] == '\n') cr_assert(eq(int, strncmp(p, "//", 2), 0), "%s", f->name);
    }
    for (const char *p = data; *p; p++) lines += *p == '\n';
    cr_assert(ne(chr, *data, '/'), "%s", f->name);
    cr_assert(eq(int, lines, f->lines), "%s", f->name);
    cr_assert(eq(sz, strlen(f->text), f->bytes));
}

Test(vector_headers, headers_are_three_tokens)
{
    case_random_of(&t, &case_sizes[1], 1);
    for (dt_layout layout = DT_LAYOUT_COURSE; layout <= DT_LAYOUT_OUTPUT_STATIONARY; layout++) {
        if (layout == DT_LAYOUT_NOTEBOOK) continue;
        dt_vectors *v = case_make(&t, layout);
        for (int i = 0; i < v->n_files; i++) {
            const dt_vector_file *f = &v->file[i];
            expect_tokens(f, layout == DT_LAYOUT_PACK_C ? 0 : 3);
            for (int j = 0; j < i; j++) cr_assert(ne(int, strcmp(f->name, v->file[j].name), 0));
        }
        dt_vectors_destroy(v);
    }
}

/* Its readers count lines, and read the weights and the psums of one tap from the first line on. */
Test(vector_headers, headers_of_the_notebook_are_its_own)
{
    static const struct {
        const char *file, *header;
    } cases[] = {
        { "activation.txt", "#time0row7[msb-lsb],time0row6[msb-lsb],...,time0row0[msb-lsb]\n"
                            "#time1row7[msb-lsb],time1row6[msb-lsb],...,time1row0[msb-lsb]\n"
                            "#.....#\n" },
        { "weight_itile0_otile0_kij0.txt", "" },
        { "weight_itile0_otile0_kij8.txt", "" },
        { "psum.txt", "#time0row7[msb-lsb],time0row6[msb-lsb],...,time0row0[msb-lsb]\n"
                      "#.....#\n" },
        { "psum_relu.txt", "#ReLUed psum output\n"
                           "#time0row7[msb-lsb],time0row6[msb-lsb],...,row0#\n"
                           "#.....#\n" },
        { "psum_0.txt", "" },
        { "psum_8.txt", "" },
    };

    case_fill_example(&t, 8, 4, 15);
    dt_vectors *v = case_make(&t, DT_LAYOUT_NOTEBOOK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const dt_vector_file *f = case_file(v, cases[i].file);
        const char *data = strchr("01", f->text[0]) ? f->text : strstr(f->text, "#.....#\n");
        cr_assert(ne(ptr, (void *)data, NULL), "%s begins with %.40s", f->name, f->text);
        const size_t n = data == f->text ? 0 : (size_t)(data - f->text) + strlen("#.....#\n");
        cr_assert(eq(sz, n, strlen(cases[i].header)), "%s", f->name);
        cr_assert(eq(int, strncmp(f->text, cases[i].header, n), 0), "%s begins with %.*s", f->name, (int)n, f->text);
    }
    dt_vectors_destroy(v);
}

/* A narrow array has fewer rows to name. */
Test(vector_headers, headers_of_the_notebook_name_the_rows_there_are)
{
    static const char *const first[] = {
        "#time0row0[msb-lsb]\n",
        "#time0row1[msb-lsb],time0row0[msb-lsb]\n",
        "#time0row2[msb-lsb],time0row1[msb-lsb],...,time0row0[msb-lsb]\n",
    };
    const dt_vector_style style = case_style(DT_LAYOUT_NOTEBOOK);
    dt_array array = case_array();
    dt_vectors *v;

    case_fill_example(&t, 8, 4, 15);
    for (int cols = 1; cols <= 3; cols++) {
        array.cols = cols;
        cr_assert(eq(int, (int)dt_vectors_make(&t.capture, "l", &array, &style, &v), DT_OK), "%s", dt_last_error());
        const dt_vector_file *f = case_file(v, "psum_otile0.txt");
        cr_assert(eq(int, strncmp(f->text, first[cols - 1], strlen(first[cols - 1])), 0), "%.80s", f->text);
        dt_vectors_destroy(v);
    }
}

Test(vector_headers, as_many_header_lines_as_asked_for)
{
    case_random_of(&t, &case_sizes[1], 1);
    for (dt_layout layout = DT_LAYOUT_COURSE; layout <= DT_LAYOUT_OUTPUT_STATIONARY; layout++) {
        dt_vectors *plain = case_make_styled(&t, (dt_vector_style){ layout, 0 });
        for (int lines = 0; lines <= DT_HEADER_LINES_MOST; lines++) {
            dt_vectors *v = case_make_styled(&t, (dt_vector_style){ layout, lines });
            dt_vectors_report r = { .n_mismatches = -1 };
            for (int i = 0; i < v->n_files; i++) {
                expect_tokens(&v->file[i], lines);
                cr_assert(eq(str, (char *)case_data(&v->file[i]), plain->file[i].text), "%s", v->file[i].name);
            }
            cr_assert(eq(int, (int)dt_vectors_compare(v, &r), DT_OK), "%s", dt_last_error());
            cr_assert(eq(int, (int)r.n_mismatches, 0));
            dt_vectors_destroy(v);
        }
        dt_vectors_destroy(plain);
    }
}

Test(vector_headers, other_numbers_of_header_lines_are_refused)
{
    static const int bad[] = { -2, 10 };
    const dt_array array = case_array();
    dt_vectors *v = NULL;

    case_fill_example(&t, 8, 4, 15);
    for (int i = 0; i < 2; i++) {
        const dt_vector_style style = { DT_LAYOUT_COURSE, bad[i] };
        cr_assert(eq(int, (int)dt_vectors_make(&t.capture, "l", &array, &style, &v), DT_ERR_ARGUMENT));
        cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "header lines, expected 0..9"), NULL), "%s", dt_last_error());
        cr_assert(eq(ptr, v, NULL));
    }
}
