/*
 * report_images.c - the part of a run on the page of `detent report` that is about test images: which classes were
 * taken for which, the mistakes of which the network is most sure, and what a decoder makes of capsules. See report.h.
 */
#include "report.h"
#include "svg_chart.h"

#include <stdlib.h>
#include <string.h>

/* Of more classes the pairs that were confused most are listed; shades of the matrix, in %. */
enum { MATRIX_MOST = 32, PAIRS_MOST = 24, SHADE_LEAST = 6, SHADE_MOST = 40 };

static void write_class(FILE *to, const shown_run *r, int c)
{
    if (r->class_name && c < r->n_classes && r->class_name[c][0])
        html_text(to, r->class_name[c]);
    else
        fprintf(to, "%d", c);
}

/* ---- classes ---- */

static void write_matrix_cell(FILE *to, const dt_class_report *c, int i, int j, int64_t n_images)
{
    const int64_t n = c->confusion[i * c->n_classes + j];
    const double share = n_images > 0 ? (double)n / (double)n_images : 0.0;

    if (n == 0)
        fputs("<td class=\"c none\" style=\"--a:0\">0</td>", to);
    else
        fprintf(to, "<td class=\"c%s\" style=\"--a:%.0f\">%s</td>", i == j ? " own" : "",
                SHADE_LEAST + share * (SHADE_MOST - SHADE_LEAST), text_count(n).s);
}

static void write_matrix(FILE *to, const shown_run *r)
{
    const dt_class_report *c = r->classes;

    report_table_begin(to, "Test images of each class (rows), and how many were taken for which class (columns)");
    fputs("<thead><tr><th scope=\"col\">class</th><th scope=\"col\">images</th><th scope=\"col\">right</th><th "
          "scope=\"col\" class=\"gap\">precision</th>",
          to);
    for (int j = 0; j < c->n_classes; j++) {
        fputs("<th scope=\"col\" class=\"class\">", to);
        write_class(to, r, j);
        fputs("</th>", to);
    }
    fputs("</tr></thead><tbody>\n", to);
    for (int i = 0; i < c->n_classes; i++) {
        const dt_class_score s = dt_class_report_score(c, i);
        const int64_t n = class_images(c, i);
        fputs("<tr><th scope=\"row\">", to);
        write_class(to, r, i);
        fprintf(to, "</th><td>%s</td><td>%.1f %%</td><td class=\"gap\">%.1f %%</td>", text_count(n).s, 100.0 * s.recall,
                100.0 * s.precision);
        for (int j = 0; j < c->n_classes; j++) write_matrix_cell(to, c, i, j, n);
        fputs("</tr>\n", to);
    }
    fputs("</tbody>", to);
    report_table_end(to);
}

typedef struct {
    int64_t n;
    int own, taken;
} pair;

/* Puts one among the n largest; returns how many there are then. */
static int insert_pair(const pair *one, int n, pair *out)
{
    int at = n;

    while (at > 0 && out[at - 1].n < one->n) at--;
    if (at >= PAIRS_MOST) return n;
    const int n_then = n < PAIRS_MOST ? n + 1 : PAIRS_MOST;
    for (int i = n_then - 1; i > at; i--) out[i] = out[i - 1];
    out[at] = *one;
    return n_then;
}

static void write_pairs(FILE *to, const shown_run *r)
{
    const dt_class_report *c = r->classes;
    pair most[PAIRS_MOST];
    int n = 0;

    for (int i = 0; i < c->n_classes; i++) {
        for (int j = 0; j < c->n_classes; j++) {
            const pair one = { c->confusion[i * c->n_classes + j], i, j };
            if (i != j && one.n > 0) n = insert_pair(&one, n, most);
        }
    }
    report_table_begin(to, "Classes that were confused most; there are too many for a matrix");
    fputs("<thead><tr><th scope=\"col\">class</th><th scope=\"col\">taken for</th><th scope=\"col\">test "
          "images</th></tr></thead><tbody>\n",
          to);
    for (int i = 0; i < n; i++) {
        fputs("<tr><th scope=\"row\">", to);
        write_class(to, r, most[i].own);
        fputs("</th><td class=\"text\">", to);
        write_class(to, r, most[i].taken);
        fprintf(to, "</td><td>%s</td></tr>\n", text_count(most[i].n).s);
    }
    fputs("</tbody>", to);
    report_table_end(to);
}

static void write_labels(FILE *to, const shown_run *r)
{
    report_table_begin(to, "Labels, of which a sample may have several");
    fputs(
        "<thead><tr><th scope=\"col\">label</th><th scope=\"col\">test samples</th><th scope=\"col\">precision</th><th "
        "scope=\"col\">recall</th><th scope=\"col\">F1</th></tr></thead><tbody>\n",
        to);
    for (int l = 0; l < r->labels->n_labels; l++) {
        const dt_class_score s = dt_label_report_score(r->labels, l);
        fputs("<tr><th scope=\"row\">", to);
        write_class(to, r, l);
        fprintf(to, "</th><td>%s</td><td>%.1f %%</td><td>%.1f %%</td><td>%.4f</td></tr>\n", text_count(s.support).s,
                100.0 * s.precision, 100.0 * s.recall, s.f1);
    }
    fputs("</tbody>", to);
    report_table_end(to);
}

static void write_classes(FILE *to, const shown_run *r)
{
    if (r->no_data[0])
        report_absent(to, "The classes", r->no_data);
    else if (r->no_classes[0])
        report_absent(to, "The classes", r->no_classes);
    else if (r->labels)
        write_labels(to, r);
    else if (r->classes->n_classes > MATRIX_MOST)
        write_pairs(to, r);
    else
        write_matrix(to, r);
}

/* ---- pictures ---- */

static void write_base64(FILE *to, const uint8_t *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        const uint32_t b = i + 1 < n ? data[i + 1] : 0, c = i + 2 < n ? data[i + 2] : 0;
        const uint32_t bits = (uint32_t)data[i] << 16 | b << 8 | c;
        fputc(digits[bits >> 18], to);
        fputc(digits[bits >> 12 & 63], to);
        fputc(i + 1 < n ? digits[bits >> 6 & 63] : '=', to);
        fputc(i + 2 < n ? digits[bits & 63] : '=', to);
    }
}

/* The end of an <img>, behind its alt text: source and size. */
static void write_source(FILE *to, const picture *p)
{
    uint8_t *png = NULL;
    size_t bytes = 0;

    fputs("\" src=\"data:image/png;base64,", to);
    if (dt_png_encode(p->pixels, p->height, p->width, p->channels, &png, &bytes) == DT_OK) write_base64(to, png, bytes);
    free(png);
    fprintf(to, "\" width=\"%d\" height=\"%d\">", p->width, p->height);
}

static void write_mistake(FILE *to, const shown_run *r, int at)
{
    const wrong_image *w = &r->wrong[at];

    fprintf(to, "<li><figure><img alt=\"Test image %s, of class ", text_count(w->image).s);
    write_class(to, r, w->label);
    write_source(to, &r->wrong_picture[at]);
    fputs("<figcaption>", to);
    write_class(to, r, w->label);
    fputs("<br>taken for <b>", to);
    write_class(to, r, w->taken);
    fprintf(to, "</b><br>%.1f %%, image %s</figcaption></figure></li>\n", 100.0 * w->confidence,
            text_count(w->image).s);
}

static void write_mistakes(FILE *to, const shown_run *r)
{
    if (r->no_data[0] || r->no_classes[0] || r->no_wrong[0]) {
        report_absent(to, "Mistakes", r->no_data[0] ? r->no_data : r->no_classes[0] ? r->no_classes : r->no_wrong);
        return;
    }
    fprintf(
        to,
        "<p>The test images of which the network is most sure, and wrong. Percent: %s.</p>\n<ul class=\"gallery\">\n",
        r->is.caps_dim > 0 ? "the length of the class's capsule" : "the share of the class in a softmax of the scores");
    for (int i = 0; i < r->n_wrong; i++) write_mistake(to, r, i);
    fputs("</ul>\n", to);
}

static void write_reconstructions(FILE *to, const shown_run *r)
{
    if (!r->reconstructions.pixels) {
        report_absent(to, "Reconstructions", r->no_reconstructions);
        return;
    }
    fprintf(to,
            "<p>Test images above, and under each what the decoder makes of its class capsule. Then a row for each of "
            "the %d values of the first image's capsule, moved by \xe2\x88\x92"
            "0.25 to 0.25 in steps of 0.05.</p>\n<div class=\"wide\" tabindex=\"0\" role=\"group\" "
            "aria-label=\"Reconstructions\"><img class=\"sheet\" alt=\"%d test images, their reconstructions, "
            "and the first with each value of its capsule moved",
            r->is.caps_dim, REPORT_DRAWN);
    write_source(to, &r->reconstructions);
    fputs("</div>\n", to);
}

void report_write_images(FILE *to, const shown_run *r, int at)
{
    report_heading(to, at, "classes", r->is.is_binary ? "Labels" : "Classes");
    write_classes(to, r);
    report_heading(to, at, "wrong", "Mistakes");
    write_mistakes(to, r);
    report_heading(to, at, "reconstructions", "Reconstructions");
    write_reconstructions(to, r);
}
