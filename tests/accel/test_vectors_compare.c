/*
 * test_vectors_compare.c - texts of vectors judged by themselves: flipped bits, other damage, psums that do not follow.
 */
#include "../support/vector_cases.h"

static vector_case t;

/* dt_vectors_compare sees it: as a mismatch, or as an error that names the file. */
static int compare_finds(const dt_vectors *v)
{
    dt_vectors_report r = { .n_psums = 0, .n_mismatches = 0 };
    const dt_status s = dt_vectors_compare(v, &r);

    return s == DT_ERR_FORMAT || (s == DT_OK && r.n_mismatches > 0);
}

/* Four of each file. */
static void expect_flips_found(dt_layout layout, uint32_t *state)
{
    dt_vectors *v = case_make(&t, layout);

    for (int i = 0; i < v->n_files / 2; i++) {
        dt_vector_file *f = &v->file[i];
        char *data = f->text + (case_data(f) - f->text);
        for (int n = 0; n < 4; n++) {
            const size_t line = case_random(state) % (uint32_t)f->lines;
            const size_t bit = case_random(state) % (uint32_t)(f->lanes * f->bits);
            char *at = data + line * (size_t)(f->lanes * f->bits + 1) + bit;
            *at ^= 1; /* '0' <-> '1' */
            cr_assert(compare_finds(v), "%s %s: line %d, bit %d", dt_layout_names[layout], f->name, (int)line,
                      (int)bit);
            *at ^= 1;
        }
    }
    cr_assert(eq(int, compare_finds(v), 0), "%s", dt_layout_names[layout]);
    dt_vectors_destroy(v);
}

Test(vectors_compare, flipped_bits_are_found)
{
    uint32_t state = 1;

    for (dt_layout layout = DT_LAYOUT_COURSE; layout <= DT_LAYOUT_OUTPUT_STATIONARY; layout++) {
        case_random_of(&t, &case_sizes[layout % 2 ? 5 : 1], 2); /* also with inputs that no psum needs */
        expect_flips_found(layout, &state);
        case_random_form(&t, &case_forms[0], 2); /* also of weights between two groups */
        expect_flips_found(layout, &state);
        case_random_form(&t, &case_forms[14], 2);
        expect_flips_found(layout, &state);
    }
}

Test(vectors_compare, a_psum_that_differs_is_counted)
{
    static const struct {
        const char *file;
        int mismatches, line;
    } cases[] = { { "psum.txt", 1, 327 }, { "out_raw.txt", 1, 19 }, { "out.txt", 1, 19 } };
    dt_vectors_report r;

    case_fill_example(&t, 8, 4, 15);
    dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_vector_file *f = case_file(v, cases[i].file);
        f->text[f->bytes - 2] ^= 1;
        cr_assert(eq(int, (int)dt_vectors_compare(v, &r), DT_OK));
        cr_assert(eq(int, (int)r.n_mismatches, cases[i].mismatches));
        cr_assert(eq(int, (int)r.n_psums, 324 * 8 + 2 * 16 * 8));
        cr_assert(eq(str, r.file, (char *)cases[i].file));
        cr_assert(r.line == cases[i].line && r.lane == 8, "line %d, lane %d", r.line, r.lane);
        cr_assert(r.found == r.expected + 1 || r.found == r.expected - 1);
        f->text[f->bytes - 2] ^= 1;
    }
    dt_vectors_destroy(v);
}

Test(vectors_compare, damaged_texts_are_named)
{
    static const struct {
        const char *why, *file;
        int from_end; /* of the character */
        char to;
        const char *message;
    } cases[] = {
        { "not a digit", "out.txt", 2, '2', "out.txt: line 19, character 128 is 0x32, expected 0 or 1" },
        { "no newline", "out.txt", 1, '0', "out.txt: line 19, character 129 is 0x30, expected the end of the line" },
        { "a header", "psum.txt", 0, 'x',
          "psum.txt: line 1 begins with 'x/lanes_filter_7', expected '//' or '#': 3 lines of comments stand" },
        { "an address", "acc_address.txt", 2, '0', "acc_address.txt: line 147 is 322, expected 323" },
        { "padding", "activation_tile0.txt", 2, '1', "line 39, lane 8 is 1, expected 0 as padding" },
        { "a twin", "viz/viz_out.txt", 2, '9', "viz/viz_out.txt: line 19 is not what out.txt says" },
    };
    dt_vectors_report r;

    case_fill_example(&t, 8, 4, 15);
    dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_vector_file *f = case_file(v, cases[i].file);
        char *at = cases[i].from_end ? f->text + f->bytes - cases[i].from_end : f->text;
        const char was = *at;
        *at = cases[i].to;
        cr_assert(eq(int, (int)dt_vectors_compare(v, &r), DT_ERR_FORMAT), "%s", cases[i].why);
        cr_assert(ne(ptr, (void *)strstr(dt_last_error(), cases[i].message), NULL), "%s: %s", cases[i].why,
                  dt_last_error());
        *at = was;
    }
    dt_vectors_destroy(v);
}

Test(vectors_compare, overflows_are_counted_again)
{
    dt_vectors_report r;

    case_fill_example(&t, 8, 4, 15);
    dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);
    v->n_overflows = 2;
    cr_assert(eq(int, (int)dt_vectors_compare(v, &r), DT_ERR_FORMAT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "0 psums overflow 16 bits, the vectors say 2"), NULL), "%s",
              dt_last_error());
    dt_vectors_destroy(v);
}

Test(vectors_compare, a_plan_without_texts_is_refused)
{
    dt_vectors_report r;

    case_fill_example(&t, 8, 4, 15);
    dt_vectors *v = case_make(&t, DT_LAYOUT_COURSE);
    char *text = v->file[3].text;
    v->file[3].text = NULL;
    cr_assert(eq(int, (int)dt_vectors_compare(v, &r), DT_ERR_ARGUMENT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "kij2.txt: its text has not been read"), NULL), "%s",
              dt_last_error());
    v->file[3].text = text;
    dt_vectors_destroy(v);
}
