/*
 * vectors_compare.c - reads texts back to integers, and judges psums and outputs by those of the activations and
 *                     weights that the same texts hold.
 *
 * Lanes that pad must be 0, a code that stands in several lines must be the same in all of them, and no code may be
 * beyond its bits.
 * Interface: dt_vectors_compare in vectors.h.  Tests: tests/accel/test_vectors_compare.c.
 */
#include "vector_layout.h"
#include "vector_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNREAD = INT32_MIN };

typedef struct {
    const dt_vectors *v;
    dt_vector_codes codes;
    int64_t n_x, n_w;
    int64_t n_overflows;
    dt_vectors_report report;
} comparison;

/* Puts the lanes of an activation or weight file where they belong. */
static dt_status read_codes(comparison *c, const dt_vector_file *f)
{
    const char *data = dt_vector_text_data(f);
    const int is_weight = f->role == DT_VECTOR_WEIGHT;
    const int bits = is_weight ? c->v->weight_bits : c->v->activation_bits;
    const int64_t high = ((int64_t)1 << (bits - f->is_signed)) - 1, low = f->is_signed ? -high - 1 : 0;

    for (int line = 0; line < f->lines; line++) {
        for (int lane = 0; lane < f->lanes; lane++) {
            const int64_t value = dt_vector_text_get(f, data, line, lane);
            const int64_t index = dt_vector_code_index(c->v, f, dt_vector_place_of(c->v, f, line, lane));
            int32_t *to = (is_weight ? c->codes.w : c->codes.x) + (index < 0 ? 0 : index);
            const int first = index >= 0 && *to == UNREAD;
            const int64_t expected = index < 0 ? 0 : *to;

            DT_CHECK(value >= low && value <= high, DT_ERR_FORMAT,
                     "%s: line %d, lane %d is %" PRId64 ", codes of %d bits are %" PRId64 "..%" PRId64, f->name,
                     f->header_lines + line + 1, lane + 1, value, bits, low, high);
            DT_CHECK(first || value == expected, DT_ERR_FORMAT,
                     "%s: line %d, lane %d is %" PRId64 ", expected %" PRId64 " as %s", f->name,
                     f->header_lines + line + 1, lane + 1, value, expected, index < 0 ? "padding" : "in a line before");
            if (first) *to = (int32_t)value;
        }
    }
    return DT_OK;
}

static void read_unread_as_zero(int32_t *codes, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (codes[i] == UNREAD) codes[i] = 0; /* a stride jumps over it: no psum needs it */
    }
}

static void found_wrong(dt_vectors_report *r, const dt_vector_file *f, int line, int lane, int64_t expected,
                        int64_t found)
{
    if (r->n_mismatches++ > 0) return;
    snprintf(r->file, sizeof r->file, "%s", f->name);
    r->line = f->header_lines + line + 1;
    r->lane = lane + 1;
    r->expected = expected;
    r->found = found;
}

static void compare_psums(comparison *c, const dt_vector_file *f)
{
    const char *data = dt_vector_text_data(f);
    const int counted = f->role != DT_VECTOR_OUTPUT_RELU; /* as the maker counts overflows */

    for (int line = 0; line < f->lines; line++) {
        for (int lane = 0; lane < f->lanes; lane++) {
            const int64_t exact = dt_vector_value(c->v, &c->codes, f, line, lane);
            const int64_t kept = dt_vector_wrap(exact, f->bits);
            const int64_t found = dt_vector_text_get(f, data, line, lane);
            if (found != kept) found_wrong(&c->report, f, line, lane, kept, found);
            c->n_overflows += counted && kept != exact;
        }
    }
    c->report.n_psums += (int64_t)f->lines * f->lanes;
}

static dt_status check_addresses(const comparison *c, const dt_vector_file *f)
{
    const char *data = dt_vector_text_data(f);

    for (int line = 0; line < f->lines; line++) {
        const int64_t value = dt_vector_text_get(f, data, line, 0);
        const int64_t expected = dt_vector_value(c->v, &c->codes, f, line, 0);
        DT_CHECK(value == expected, DT_ERR_FORMAT, "%s: line %d is %" PRId64 ", expected %" PRId64, f->name,
                 f->header_lines + line + 1, value, expected);
    }
    return DT_OK;
}

/* The twin that f's text makes, against the one that is there. */
static dt_status check_twin(const dt_vector_file *f, const dt_vector_file *twin)
{
    dt_vector_file made = *twin;
    size_t at = 0;
    int line = 1;

    DT_CHECK(twin->text, DT_ERR_ARGUMENT, "%s: its text has not been read", twin->name);
    DT_TRY(dt_vector_text_twin(f, &made));
    while (at < made.bytes && at < twin->bytes && made.text[at] == twin->text[at]) line += made.text[at++] == '\n';
    const int same = at == made.bytes && at == twin->bytes;
    free(made.text);
    DT_CHECK(same, DT_ERR_FORMAT, "%s: line %d is not what %s says", twin->name, line, f->name);
    return DT_OK;
}

static dt_status compare_file(comparison *c, const dt_vector_file *f)
{
    if (f->role == DT_VECTOR_TAP_PSUM || f->role == DT_VECTOR_OUTPUT || f->role == DT_VECTOR_OUTPUT_RELU) {
        compare_psums(c, f);
    } else if (f->role == DT_VECTOR_ADDRESS) {
        DT_TRY(check_addresses(c, f));
    }
    return DT_OK;
}

static dt_status compare(comparison *c)
{
    const dt_vectors *v = c->v;
    const int n = v->n_files / 2;

    for (int i = 0; i < n; i++) {
        const dt_vector_file *f = &v->file[i];
        DT_TRY(dt_vector_text_check(f));
        if (f->role == DT_VECTOR_ACTIVATION || f->role == DT_VECTOR_WEIGHT) DT_TRY(read_codes(c, f));
    }
    read_unread_as_zero(c->codes.x, c->n_x);
    read_unread_as_zero(c->codes.w, c->n_w);
    for (int i = 0; i < n; i++) DT_TRY(compare_file(c, &v->file[i]));
    if (c->report.n_mismatches > 0) return DT_OK; /* twins would only say so again */

    for (int i = 0; i < n; i++) DT_TRY(check_twin(&v->file[i], &v->file[i + n]));
    DT_CHECK(c->n_overflows == v->n_overflows, DT_ERR_FORMAT,
             "%s: %" PRId64 " psums overflow %d bits, the vectors say %" PRId64, v->layer, c->n_overflows, v->psum_bits,
             v->n_overflows);
    return DT_OK;
}

static int32_t *unread_codes(int64_t n)
{
    int32_t *codes = malloc((size_t)n * sizeof *codes);

    for (int64_t i = 0; codes && i < n; i++) codes[i] = UNREAD;
    return codes;
}

dt_status dt_vectors_compare(const dt_vectors *v, dt_vectors_report *out)
{
    const dt_psum_shape *s = &v->shape;
    comparison c = { .v = v,
                     .n_x = (int64_t)s->height * s->width * s->channels,
                     .n_w = (int64_t)s->filters * s->window_height * s->window_width * dt_psum_group_channels(s) };

    c.codes.x = unread_codes(c.n_x);
    c.codes.w = unread_codes(c.n_w);
    const dt_status status = c.codes.x && c.codes.w
                                 ? compare(&c)
                                 : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for its codes", v->layer);
    free(c.codes.x);
    free(c.codes.w);
    DT_TRY(status);
    *out = c.report;
    return DT_OK;
}
