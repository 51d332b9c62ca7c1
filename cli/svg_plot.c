/*
 * svg_plot.c - points by two numbers, histograms of codes, and small graphics for the cells of tables. See svg_chart.h.
 *
 * What a graphic of a table shows stands in the table as numbers too, so that it is hidden from readers of screens.
 */
#include "svg_chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- points ---- */

enum { PLOT_WIDTH = 520, PLOT_HEIGHT = 280, PLOT_LEFT = 74, PLOT_RIGHT = 20, PLOT_TOP = 30, PLOT_BOTTOM = 50 };
enum { NAME_HEIGHT = 21, NAME_WIDTH = 11 /* of a character */ };

typedef struct {
    double low, high, step;
} plot_axis;

typedef struct {
    plot_axis x, y;
} plot_axes;

/* from_zero: the axis begins at 0. */
static plot_axis axis_of(double low, double high, int from_zero)
{
    plot_axis a;

    if (from_zero && low > 0.0) low = 0.0;
    if (!(high > low)) high = low + (low != 0.0 ? fabs(low) * 0.1 : 1.0);
    a.step = chart_step(high - low);
    a.low = floor(low / a.step) * a.step;
    a.high = ceil(high / a.step) * a.step;
    return a;
}

static plot_axes plot_axes_of(const plot *p)
{
    double x_low = INFINITY, x_high = -INFINITY, y_low = INFINITY, y_high = -INFINITY;

    for (int i = 0; i < p->n; i++) {
        if (!isfinite(p->point[i].x) || !isfinite(p->point[i].y)) continue;
        x_low = fmin(x_low, p->point[i].x);
        x_high = fmax(x_high, p->point[i].x);
        y_low = fmin(y_low, p->point[i].y);
        y_high = fmax(y_high, p->point[i].y);
    }
    if (x_low > x_high) x_low = x_high = y_low = y_high = 0.0;
    return (plot_axes){ axis_of(x_low, x_high, 1), axis_of(y_low, y_high, 0) };
}

static double plot_x(const plot_axes *a, double x)
{
    return PLOT_LEFT + (x - a->x.low) / (a->x.high - a->x.low) * (PLOT_WIDTH - PLOT_LEFT - PLOT_RIGHT);
}

static double plot_y(const plot_axes *a, double y)
{
    return PLOT_HEIGHT - PLOT_BOTTOM - (y - a->y.low) / (a->y.high - a->y.low) * (PLOT_HEIGHT - PLOT_TOP - PLOT_BOTTOM);
}

static void write_plot_axes(FILE *to, const plot *p, const plot_axes *a)
{
    for (int i = 0; a->y.low + i * a->y.step <= a->y.high + a->y.step / 2; i++) {
        const double value = a->y.low + i * a->y.step, y = plot_y(a, value);
        fprintf(to,
                "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.7g</text>\n",
                PLOT_LEFT, y, PLOT_WIDTH - PLOT_RIGHT, PLOT_LEFT - 8, y + 5, value);
    }
    for (int i = 0; a->x.low + i * a->x.step <= a->x.high + a->x.step / 2; i++) {
        const double value = a->x.low + i * a->x.step, x = plot_x(a, value);
        fprintf(
            to,
            "<path class=\"grid\" d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.7g</text>\n", x,
            PLOT_TOP, PLOT_HEIGHT - PLOT_BOTTOM, x, PLOT_HEIGHT - PLOT_BOTTOM + 23, value);
    }
    fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (PLOT_LEFT + PLOT_WIDTH - PLOT_RIGHT) / 2,
            PLOT_HEIGHT - 4);
    html_text(to, p->x_title);
    fprintf(to, "</text><text x=\"%d\" y=\"18\" text-anchor=\"start\">", PLOT_LEFT);
    html_text(to, p->y_title);
    fputs("</text>\n", to);
}

/* Where the name of a point stands. */
typedef struct {
    double x, y;
    int is_left;
} name_place;

static int is_over(const name_place *a, const name_place *b)
{
    return a->is_left == b->is_left && fabs(a->y - b->y) < NAME_HEIGHT && fabs(a->x - b->x) < 12 * NAME_WIDTH;
}

/* Names move down until they are over none of those before. */
static void place_names(const plot *p, const plot_axes *a, name_place *place)
{
    for (int i = 0; i < p->n; i++) {
        const double x = plot_x(a, p->point[i].x);
        const int is_left = x + 14 + NAME_WIDTH * (double)strlen(p->point[i].name) > PLOT_WIDTH;
        place[i] = (name_place){ x + (is_left ? -11 : 11), plot_y(a, p->point[i].y) + 5, is_left };
        for (int k = 0; k < i; k++) {
            if (!is_over(&place[i], &place[k])) continue;
            place[i].y = place[k].y + NAME_HEIGHT;
            k = -1;
        }
    }
}

static void write_plot_points(FILE *to, const plot *p, const plot_axes *a)
{
    name_place *place = calloc((size_t)p->n + 1, sizeof *place);

    if (place) place_names(p, a, place);
    for (int i = 0; i < p->n; i++) {
        const plot_point *q = &p->point[i];
        if (!isfinite(q->x) || !isfinite(q->y)) continue;
        fprintf(to, "<g class=\"s%d\">", q->look);
        chart_point_begin(to, q->look, plot_x(a, q->x), plot_y(a, q->y), 1.1);
        fputs("<title>", to);
        html_text(to, q->name);
        fprintf(to, ": %.6g, %.6g</title>", q->x, q->y);
        chart_point_end(to, q->look);
        fputs("</g>", to);
        if (place) {
            fprintf(to, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", place[i].x, place[i].y,
                    place[i].is_left ? "end" : "start");
            html_text(to, q->name);
            fputs("</text>", to);
        }
        fputc('\n', to);
    }
    free(place);
}

void plot_write(FILE *to, const plot *p)
{
    const plot_axes a = plot_axes_of(p);

    fputs("<figure><figcaption>", to);
    html_text(to, p->title);
    fprintf(to, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", PLOT_WIDTH, PLOT_HEIGHT);
    html_text(to, p->title);
    for (int i = 0; i < p->n; i++) {
        if (!isfinite(p->point[i].x) || !isfinite(p->point[i].y)) continue;
        fputs("; ", to);
        html_text(to, p->point[i].name);
        fprintf(to, ": %.4g at %.6g", p->point[i].y, p->point[i].x);
    }
    fputs("\">\n", to);
    write_plot_axes(to, p, &a);
    write_plot_points(to, p, &a);
    fputs("</svg></figure>\n", to);
}

/* ---- histograms of codes ---- */

enum { CODES_WIDTH = 260, CODES_HEIGHT = 104, CODES_TOP = 18, CODES_BOTTOM = 20, BARS_WITH_TITLES = 32 };
enum { CUT_FACTOR = 3, CUT_WIDTH = 4 };

/* The count at the top of the figure. *is_cut: the bar of code 0 is higher. */
static int64_t top_of(const histogram *h, int *is_cut)
{
    int64_t other = 0;

    for (int i = 0; i < h->rows; i++) {
        const int64_t low = h->low + i * h->width;
        const int has_zero = low <= 0 && low + h->width > 0;
        if (!has_zero && h->count[i] > other) other = h->count[i];
    }
    *is_cut = other > 0 && h->most > CUT_FACTOR * other;
    return *is_cut ? other * 5 / 4 + 1 : h->most > 0 ? h->most : 1;
}

static double code_left(const histogram *h, int row)
{
    return (double)row * CODES_WIDTH / h->rows;
}

static void write_code_bar(FILE *to, const histogram *h, int row, int64_t top)
{
    const double height = CODES_HEIGHT - CODES_TOP - CODES_BOTTOM, wide = (double)CODES_WIDTH / h->rows;
    const double gap = wide > 3.0 ? 1.0 : 0.0;
    const double share = h->count[row] > top ? 1.0 : (double)h->count[row] / (double)top;
    const double tall = fmax(share * height, 0.7), y = CODES_HEIGHT - CODES_BOTTOM - tall;

    if (h->count[row] == 0) return;
    fprintf(to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"", code_left(h, row) + gap / 2, y,
            wide - gap, tall);
    if (h->rows > BARS_WITH_TITLES) {
        fputs("/>", to);
    } else {
        fprintf(to, "><title>code %lld: %lld, %.2f %%</title></rect>", (long long)(h->low + row * h->width),
                (long long)h->count[row], 100.0 * (double)h->count[row] / (double)h->n);
    }
    if (h->count[row] > top) {
        const double mid = CODES_TOP + 9;
        fprintf(to, "<path class=\"cut\" d=\"M%.1f %.1fL%.1f %.1f\"/>", code_left(h, row) - CUT_WIDTH, mid + 3,
                code_left(h, row) + wide + CUT_WIDTH, mid - 3);
    }
}

/* The least code, 0 if it is inside, and the largest. */
static void write_code_axis(FILE *to, const histogram *h)
{
    const int y = CODES_HEIGHT - 4;
    const double zero = code_left(h, (int)((0 - h->low) / h->width)) + CODES_WIDTH / 2.0 / h->rows;

    fprintf(to, "<path class=\"base\" d=\"M0 %dH%d\"/><text x=\"0\" y=\"%d\">%s%lld</text>",
            CODES_HEIGHT - CODES_BOTTOM, CODES_WIDTH, y, h->low < 0 ? "\xe2\x88\x92" : "", llabs((long long)h->low));
    if (h->low < 0 && h->high > 0) fprintf(to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">0</text>", zero, y);
    fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%lld</text>", CODES_WIDTH, y, (long long)h->high);
}

void codes_write(FILE *to, const char *title, const char *note, const histogram *h, int look)
{
    int is_cut;
    const int64_t top = top_of(h, &is_cut);

    fputs("<figure class=\"codes\"><figcaption>", to);
    html_text(to, title);
    fputs(" <small>", to);
    html_text(to, note);
    fprintf(to, "</small></figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", CODES_WIDTH,
            CODES_HEIGHT);
    html_text(to, title);
    fputs(": ", to);
    html_text(to, note);
    fprintf(to, "; codes %lld to %lld\"><g class=\"f%d\">", (long long)h->low, (long long)h->high, look);
    for (int i = 0; i < h->rows; i++) write_code_bar(to, h, i, top);
    fputs("</g>", to);
    write_code_axis(to, h);
    fprintf(to, "<text x=\"0\" y=\"12\">%.3g %%%s</text></svg></figure>\n",
            h->n > 0 ? 100.0 * (double)top / (double)h->n : 0.0, is_cut ? "; the bar of 0 is cut" : "");
}

/* ---- cells of tables ---- */

enum { SPARK_WIDTH = 120, SPARK_HEIGHT = 26, SPARK_EDGE = 4 };

void spark_write(FILE *to, const double *y, int n, const char *what)
{
    double low = INFINITY, high = -INFINITY, x_at = 0.0, y_at = 0.0, first = NAN, last = NAN;

    for (int i = 0; i < n; i++) {
        if (!isfinite(y[i])) continue;
        low = fmin(low, y[i]);
        high = fmax(high, y[i]);
        if (isnan(first)) first = y[i];
        last = y[i];
    }
    if (isnan(first)) return;
    fprintf(to, "<svg class=\"spark\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", SPARK_WIDTH, SPARK_HEIGHT);
    html_text(to, what);
    fprintf(to, ": %.4g at first, %.4g at last\"><polyline points=\"", first, last);
    for (int i = 0; i < n; i++) {
        if (!isfinite(y[i])) continue;
        x_at = SPARK_EDGE + (n > 1 ? (double)i / (n - 1) : 0.5) * (SPARK_WIDTH - 2 * SPARK_EDGE);
        y_at = SPARK_HEIGHT - SPARK_EDGE -
               (high > low ? (y[i] - low) / (high - low) : 0.5) * (SPARK_HEIGHT - 2 * SPARK_EDGE);
        fprintf(to, "%.1f,%.1f ", x_at, y_at);
    }
    fprintf(to, "\"/><circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"/></svg>", x_at, y_at);
}

enum { RANGE_WIDTH = 320, RANGE_HEIGHT = 20, RANGE_HEAD = 30 };

/* Logarithmic, with 0 in the middle. */
static double range_x(const range_axis *a, double value)
{
    const double at = copysign(log2(1.0 + fabs(value)), value) / (a->bits - 1);

    return RANGE_WIDTH / 2.0 * (1.0 + fmax(-1.0, fmin(1.0, at)));
}

/* The register's limits, and every fourth number of bits. */
static void write_range_marks(FILE *to, const range_axis *a, int height)
{
    for (int bits = 4; bits <= a->bits; bits += 4) {
        const double limit = ldexp(1.0, bits - 1);
        fprintf(to, "<path class=\"grid\" d=\"M%.1f 0V%dM%.1f 0V%d\"/>", range_x(a, -limit), height, range_x(a, limit),
                height);
    }
    fprintf(to, "<path class=\"grid\" d=\"M%d 0V%d\"/>", RANGE_WIDTH / 2, height);
    if (a->register_bits > 0 && a->register_bits <= a->bits) {
        const double limit = ldexp(1.0, a->register_bits - 1);
        fprintf(to, "<path class=\"mark\" d=\"M%.1f 0V%dM%.1f 0V%d\"/>", range_x(a, -limit), height, range_x(a, limit),
                height);
    }
}

void range_axis_write(FILE *to, const range_axis *a)
{
    const int every = a->bits > 20 ? 8 : 4;

    fprintf(to, "<svg class=\"range\" viewBox=\"0 0 %d %d\" aria-hidden=\"true\">", RANGE_WIDTH, RANGE_HEAD);
    for (int bits = every; bits <= a->bits; bits += every) {
        const double limit = ldexp(1.0, bits - 1);
        for (int sign = -1; sign <= 1; sign += 2) {
            const double x = range_x(a, sign * limit);
            fprintf(to, "<text x=\"%.1f\" y=\"22\" text-anchor=\"%s\">%d</text>", x,
                    x < 10                 ? "start"
                    : x > RANGE_WIDTH - 10 ? "end"
                                           : "middle",
                    bits);
        }
    }
    fprintf(to, "<text x=\"%d\" y=\"22\" text-anchor=\"middle\">0</text></svg>", RANGE_WIDTH / 2);
}

void range_write(FILE *to, const range_axis *a, int64_t low, int64_t high, int64_t bound)
{
    const double limit = ldexp(1.0, a->register_bits - 1);
    const int is_over = a->register_bits > 0 && low <= high && ((double)low < -limit || (double)high > limit - 1.0);

    fprintf(to, "<svg class=\"range\" viewBox=\"0 0 %d %d\" aria-hidden=\"true\">", RANGE_WIDTH, RANGE_HEIGHT);
    fprintf(to, "<rect class=\"bound\" x=\"%.1f\" y=\"8\" width=\"%.1f\" height=\"4\"/>", range_x(a, -(double)bound),
            range_x(a, (double)bound) - range_x(a, -(double)bound));
    write_range_marks(to, a, RANGE_HEIGHT);
    if (low <= high)
        fprintf(to, "<rect class=\"%s\" x=\"%.1f\" y=\"5\" width=\"%.1f\" height=\"10\"/>", is_over ? "f1" : "f0",
                range_x(a, (double)low), fmax(range_x(a, (double)high) - range_x(a, (double)low), 1.0));
    fputs("</svg>", to);
}

void bar_write(FILE *to, double share, double filled)
{
    const double width = share * RANGE_WIDTH;

    fprintf(to,
            "<svg class=\"range\" viewBox=\"0 0 %d %d\" aria-hidden=\"true\"><rect class=\"idle\" x=\"0\" y=\"4\" "
            "width=\"%.1f\" height=\"12\"/><rect class=\"f0\" x=\"0\" y=\"4\" width=\"%.1f\" height=\"12\"/></svg>",
            RANGE_WIDTH, RANGE_HEIGHT, fmax(width, 0.5), width * filled);
}
