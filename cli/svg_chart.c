/*
 * svg_chart.c - see svg_chart.h.
 *
 * A chart is drawn in a box of WIDTH x HEIGHT units and scaled by the page. Text has FONT units, which is legible on a
 * telephone too. Series differ by colour and by the form of their points.
 */
#include "svg_chart.h"

#include <math.h>

enum { WIDTH = 520, HEIGHT = 280, LEFT = 74, RIGHT = 14, TOP = 14, BOTTOM = 50, TICKS = 5, LABELS = 12 };

/* Of the first series; later ones are smaller, so that those below them stay visible. */
static const double first_point = 5.6, smaller_point = 0.6, first_line = 3.6, thinner_line = 0.45;

/* What maps values to places. */
typedef struct {
    double low, high; /* of the y axis; their logarithms if it is logarithmic */
    double step;      /* between two marks of it */
    int is_log;
    int n; /* places along x */
} axes;

void html_text(FILE *to, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '&': fputs("&amp;", to); break;
        case '"': fputs("&quot;", to); break;
        default: fputc(*text, to);
        }
    }
}

void chart_write_style(FILE *to)
{
    fputs(":root{color-scheme:light dark;--page:#fff;--ink:#1c1f23;--faint:#5c636b;--grid:#dfe3e8;--mark:#8a5a00;"
          "--s0:#0064a8;--s1:#c24a00;--s2:#00805d;--s3:#a8408a;--s4:#8a6d00;--s5:#4a4f57}\n"
          "@media(prefers-color-scheme:dark){:root{--page:#15181c;--ink:#e6e8eb;--faint:#a0a7b0;--grid:#333940;"
          "--mark:#e0b050;--s0:#6bbcff;--s1:#ff9a5c;--s2:#3fd6a8;--s3:#f09fd8;--s4:#e8cf4a;--s5:#c4c9d0}}\n"
          ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1.5rem}\n"
          "figure{margin:0}\nfigcaption{font-weight:600;margin-bottom:.25rem}\n"
          "svg{display:block;width:100%;height:auto;overflow:visible}\n"
          "svg text{fill:var(--faint);font-size:14px}\n@media(max-width:40rem){svg text{font-size:19px}}\n"
          ".grid{stroke:var(--grid)}\n.mark{stroke:var(--mark);stroke-dasharray:6 4}\nsvg .mark-text{fill:var(--mark);"
          "stroke:var(--page);stroke-width:4px;paint-order:stroke}\n"
          ".legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;padding:0;"
          "overflow-wrap:anywhere}\n"
          ".legend svg{display:inline-block;width:1.6rem;height:1rem;vertical-align:-.15rem}\n",
          to);
    for (int i = 0; i < CHART_SERIES_MOST; i++) {
        fprintf(to, ".s%d{stroke:var(--s%d);fill:var(--s%d);stroke-width:%.2f}\n", i, i, i,
                first_line - thinner_line * i);
    }
    fputs("polyline{fill:none}\ncircle,path{stroke-width:1}\n", to);
}

/* A circle, a square, a diamond, a triangle up, a triangle down, or a cross. */
void chart_point_begin(FILE *to, int series, double x, double y, double size)
{
    const double r = size * (first_point - smaller_point * series);

    switch (series) {
    case 0: fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\">", x, y, r); return;
    case 1: fprintf(to, "<path d=\"M%.1f %.1fh%.1fv%.1fh%.1fz\">", x - r, y - r, 2 * r, 2 * r, -2 * r); return;
    case 2:
        fprintf(to, "<path d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\">", x, y - 1.3 * r, 1.3 * r, 1.3 * r,
                -1.3 * r, 1.3 * r, -1.3 * r, -1.3 * r);
        return;
    case 3: fprintf(to, "<path d=\"M%.1f %.1fh%.1fl%.1f %.1fz\">", x - r, y + r, 2 * r, -r, -2 * r); return;
    case 4: fprintf(to, "<path d=\"M%.1f %.1fh%.1fl%.1f %.1fz\">", x - r, y - r, 2 * r, -r, 2 * r); return;
    default:
        fprintf(to, "<path stroke-width=\"2\" d=\"M%.1f %.1fl%.1f %.1fm0 %.1fl%.1f %.1f\">", x - r, y - r, 2 * r, 2 * r,
                -2 * r, -2 * r, 2 * r);
    }
}

void chart_point_end(FILE *to, int series)
{
    fputs(series == 0 ? "</circle>" : "</path>", to);
}

void chart_write_legend(FILE *to, const char *const *name, int n)
{
    fputs("<ul class=\"legend\">\n", to);
    for (int i = 0; i < n; i++) {
        fprintf(to, "<li><svg viewBox=\"0 0 26 16\" class=\"s%d\" aria-hidden=\"true\"><polyline points=\"0,8 26,8\"/>",
                i);
        chart_point_begin(to, i, 13, 8, 1.0);
        chart_point_end(to, i);
        fputs("</svg> ", to);
        html_text(to, name[i]);
        fputs("</li>\n", to);
    }
    fputs("</ul>\n", to);
}

/* ---- axes ---- */

double chart_step(double span)
{
    static const double sizes[] = { 1, 2, 5, 10 };
    const double power = pow(10.0, floor(log10(span / TICKS)));

    for (int i = 0; i < 4; i++) {
        if (span <= TICKS * sizes[i] * power * (1 + 1e-9)) return sizes[i] * power;
    }
    return 10 * power;
}

static void widen(axes *a, double y)
{
    a->low = fmin(a->low, y);
    a->high = fmax(a->high, y);
}

static axes find_axes(const chart *c)
{
    axes a = { INFINITY, -INFINITY, 1.0, c->has_log_scale, 1 };

    for (int k = 0; k < c->n_series; k++) {
        for (int i = 0; i < c->series[k].n; i++) {
            if (isfinite(c->series[k].y[i])) widen(&a, c->series[k].y[i]);
        }
        if (c->series[k].n > a.n) a.n = c->series[k].n;
    }
    if (a.low > a.high) a.low = a.high = 0.0;
    a.is_log = a.is_log && a.low > 0.0 && a.high > 10.0 * a.low;
    if (a.is_log) {
        a.low = floor(log10(a.low));
        a.high = ceil(log10(a.high));
        return a;
    }
    if (a.low > 0.0 && !c->is_open) a.low = 0.0;
    if (a.high < 0.0 && !c->is_open) a.high = 0.0;
    if (a.low == a.high) a.high = 1.0;
    a.step = chart_step(a.high - a.low);
    a.low = floor(a.low / a.step) * a.step;
    a.high = ceil(a.high / a.step) * a.step;
    return a;
}

static double x_of(const axes *a, int i)
{
    return LEFT + (a->n > 1 ? (double)i / (a->n - 1) : 0.5) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const axes *a, double y)
{
    const double at = a->is_log ? log10(y) : y;

    return HEIGHT - BOTTOM - (at - a->low) / (a->high - a->low) * (HEIGHT - TOP - BOTTOM);
}

static void write_y_tick(FILE *to, const axes *a, double value)
{
    const double y = y_of(a, value);

    fprintf(to, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.7g</text>\n",
            LEFT, y, WIDTH - RIGHT, LEFT - 8, y + 5, value);
}

static void write_axes(FILE *to, const chart *c, const axes *a)
{
    const double step = a->step;
    const int every = a->n > LABELS ? (int)chart_step((double)a->n * TICKS / LABELS) : 1;

    for (int i = 0; a->low + i * step <= a->high + step / 2; i++) {
        const double at = a->low + i * step;
        const double value = a->is_log ? pow(10.0, at) : fabs(at) < step / 1e6 ? 0.0 : at;
        write_y_tick(to, a, value);
    }
    for (int i = 0; i < a->n; i++) {
        if ((i + c->first) % every != 0) continue;
        fprintf(to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x_of(a, i), HEIGHT - BOTTOM + 23,
                i + c->first);
    }
    fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4);
    html_text(to, c->x_title);
    fputs("</text>\n", to);
}

static void write_marks(FILE *to, const chart *c, const axes *a)
{
    for (int i = 0; i < c->n_marks; i++) {
        const double at = c->mark[i].at;
        if (a->is_log || at < a->low || at > a->high) continue;
        fprintf(to,
                "<path class=\"mark\" d=\"M%d %.1fH%d\"/><text class=\"mark-text\" x=\"%d\" y=\"%.1f\" "
                "text-anchor=\"%s\">",
                LEFT, y_of(a, at), WIDTH - RIGHT, c->mark[i].is_left ? LEFT + 6 : WIDTH - RIGHT,
                y_of(a, at) + (i % 2 || c->mark[i].is_left ? -5 : 16), c->mark[i].is_left ? "start" : "end");
        html_text(to, c->mark[i].text);
        fputs("</text>\n", to);
    }
}

/* ---- lines ---- */

static void write_line(FILE *to, const chart_series *s, const axes *a)
{
    int is_open = 0;

    for (int i = 0; i < s->n; i++) {
        const int is_there = isfinite(s->y[i]);
        if (is_there) fprintf(to, "%s%.1f,%.1f ", is_open ? "" : "<polyline points=\"", x_of(a, i), y_of(a, s->y[i]));
        if (!is_there && is_open) fputs("\"/>\n", to);
        is_open = is_there;
    }
    if (is_open) fputs("\"/>\n", to);
}

/* Points and lines are smaller where there are many. */
static double size_of(const axes *a)
{
    return a->n > 30 ? fmax(30.0 / a->n, 0.35) : 1.0;
}

static void write_points(FILE *to, const chart *c, int k, const axes *a)
{
    const chart_series *s = &c->series[k];

    for (int i = 0; i < s->n; i++) {
        if (!isfinite(s->y[i])) continue;
        chart_point_begin(to, k + s->look, x_of(a, i), y_of(a, s->y[i]), size_of(a));
        fprintf(to, "<title>%d ", i + c->first);
        html_text(to, s->note ? s->note[i] : s->name ? s->name : "");
        fprintf(to, ": %.6g%s</title>", s->y[i], c->unit ? c->unit : "");
        chart_point_end(to, k + s->look);
        fputc('\n', to);
    }
}

/* "; train: 1.42 at first, 0.91 at last" of each line that has a name. */
static void write_summary(FILE *to, const chart *c)
{
    for (int k = 0; k < c->n_series; k++) {
        const chart_series *s = &c->series[k];
        int first = 0, last = s->n - 1;
        while (first < s->n && !isfinite(s->y[first])) first++;
        while (last > first && !isfinite(s->y[last])) last--;
        if (!s->name || first >= s->n) continue;
        fputs("; ", to);
        html_text(to, s->name);
        fprintf(to, ": %.4g%s at first, %.4g%s at last", s->y[first], c->unit ? c->unit : "", s->y[last],
                c->unit ? c->unit : "");
    }
}

void chart_write(FILE *to, const chart *c)
{
    const axes a = find_axes(c);

    fputs("<figure><figcaption>", to);
    html_text(to, c->title);
    fprintf(to, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    html_text(to, c->title);
    fputs(" by ", to);
    html_text(to, c->x_title);
    write_summary(to, c);
    fputs("\">\n", to);
    write_axes(to, c, &a);
    for (int k = 0; k < c->n_series; k++) {
        const int look = k + c->series[k].look;
        fprintf(to, "<g class=\"s%d\" style=\"stroke-width:%.2f\">\n", look,
                fmax(size_of(&a) * (first_line - thinner_line * look), 1.0));
        write_line(to, &c->series[k], &a);
        write_points(to, c, k, &a);
        fputs("</g>\n", to);
    }
    write_marks(to, c, &a);
    fputs("</svg></figure>\n", to);
}
