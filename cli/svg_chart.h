/*
 * svg_chart.h - charts as SVG inside of an HTML page, without scripts: svg_chart.c has lines, svg_plot.c the others.
 * Colours are CSS variables, one set for light and one for dark pages; the browser chooses.
 */
#ifndef DT_CLI_SVG_CHART_H
#define DT_CLI_SVG_CHART_H

#include <stdint.h>
#include <stdio.h>

#include "histogram.h"

enum { CHART_SERIES_MOST = 6, CHART_MARKS_MOST = 2 };

/* One line: y[i] stands at x = i. */
typedef struct {
    const double *y;         /* [n]; what is not finite is left out, and the line has a gap there */
    const char *const *note; /* [n] what a point shows under the pointer, before its value; NULL: the name */
    int n;
    const char *name; /* for readers of screens; NULL: none */
    int look;         /* colour and form are those of series number k + look */
} chart_series;

/* A horizontal line at a value that readers compare with. It is left out where it does not fit the values. */
typedef struct {
    double at;
    const char *text;
    int is_left; /* 1: the text stands above the line, at its begin */
} chart_mark;

typedef struct {
    const char *title, *x_title;
    chart_series series[CHART_SERIES_MOST];
    int n_series;
    chart_mark mark[CHART_MARKS_MOST];
    int n_marks;
    int has_log_scale; /* 1: the y axis is logarithmic, if all values are above 0 and spread enough for it */
    int is_open;       /* 1: the y axis need not have 0 */
    int first;         /* number of the first place along x */
    const char *unit;  /* behind a value; NULL: none */
} chart;

/* Writes text with what HTML wants escaped. */
void html_text(FILE *to, const char *text);
/* Writes the rules of style that all charts of a page need. */
void chart_write_style(FILE *to);
/* Writes the list of names by colour and mark. */
void chart_write_legend(FILE *to, const char *const *name, int n);
/* Writes a figure with the chart. */
void chart_write(FILE *to, const chart *c);
/* Returns 1, 2, 5 or 10 times a power of ten: the least that makes few steps of a span above 0. */
double chart_step(double span);
/* Write the form by which a series is known, at a place; between the two a <title> may stand. */
void chart_point_begin(FILE *to, int series, double x, double y, double size);
void chart_point_end(FILE *to, int series);

/* ---- svg_plot.c ---- */

/* A point of a scatter chart. */
typedef struct {
    double x, y;
    const char *name; /* beside the point */
    int look;         /* colour and form are those of that series */
} plot_point;

typedef struct {
    const char *title, *x_title, *y_title;
    const plot_point *point; /* [n]; what is not finite is left out */
    int n;
} plot;

/* Writes a figure of points by two numbers. The y axis need not have 0. */
void plot_write(FILE *to, const plot *p);
/* Writes a figure of how often codes occur. look: colour of its series. note: under the title. A bar of code 0 that is
 * far higher than all others is cut. */
void codes_write(FILE *to, const char *title, const char *note, const histogram *h, int look);
/* Writes a small line for a cell of a table, through what is finite. what: what readers of screens are told before its
 * ends. */
void spark_write(FILE *to, const double *y, int n, const char *what);

/* What the ranges of a column have in common: a logarithmic axis from -2^(bits - 1) to 2^(bits - 1). */
typedef struct {
    int bits;          /* of the axis */
    int register_bits; /* of the register that is to hold them; it has marks; 0: none */
} range_axis;

/* Writes the axis for the head of such a column. */
void range_axis_write(FILE *to, const range_axis *a);
/* Writes one range, and behind it that of a bound; low > high: there is no range. */
void range_write(FILE *to, const range_axis *a, int64_t low, int64_t high, int64_t bound);
/* Writes a bar whose length is `share` of the cell's, of which `filled` is in full colour; both 0..1. */
void bar_write(FILE *to, double share, double filled);

#endif /* DT_CLI_SVG_CHART_H */
