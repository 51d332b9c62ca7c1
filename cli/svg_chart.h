/*
 * svg_chart.h - line charts as SVG inside of an HTML page, without scripts. Colours are CSS variables, one set for
 * light and one for dark pages; the browser chooses.
 */
#ifndef DT_CLI_SVG_CHART_H
#define DT_CLI_SVG_CHART_H

#include <stdio.h>

enum { CHART_SERIES_MOST = 6, CHART_MARKS_MOST = 2 };

/* One line: y[i] stands at x = i. */
typedef struct {
    const double *y;         /* [n]; what is not finite is left out, and the line has a gap there */
    const char *const *note; /* [n] what a point shows under the pointer, before its value */
    int n;
} chart_series;

/* A horizontal line at a value that readers compare with. It is left out where it does not fit the values. */
typedef struct {
    double at;
    const char *text;
} chart_mark;

typedef struct {
    const char *title, *x_title;
    chart_series series[CHART_SERIES_MOST];
    int n_series;
    chart_mark mark[CHART_MARKS_MOST];
    int n_marks;
    int has_log_scale; /* 1: the y axis is logarithmic, if all values are above 0 and spread enough for it */
} chart;

/* Writes text with what HTML wants escaped. */
void html_text(FILE *to, const char *text);
/* Writes the rules of style that all charts of a page need. */
void chart_write_style(FILE *to);
/* Writes the list of names by colour and mark. */
void chart_write_legend(FILE *to, const char *const *name, int n);
/* Writes a figure with the chart. */
void chart_write(FILE *to, const chart *c);

#endif /* DT_CLI_SVG_CHART_H */
