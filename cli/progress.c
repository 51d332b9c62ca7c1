/*
 * progress.c - shows how far the work is: on a terminal one line, drawn anew at most ten times a second; elsewhere a
 *              plain line every 30 s. It is always on stderr, because stdout has the results.
 */
#include "cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define TERMINAL_SECONDS 0.1
#define PLAIN_SECONDS    30.0

enum { BAR_CELLS = 20, LINE_BYTES = 256 };

double clock_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_begin(progress *p, int quiet)
{
    *p = (progress){ .terminal = isatty(STDERR_FILENO), .quiet = quiet };
    p->next = clock_seconds() + (p->terminal ? TERMINAL_SECONDS : PLAIN_SECONDS);
}

int progress_due(const progress *p)
{
    return !p->quiet && clock_seconds() >= p->next;
}

/* Appends to a line of LINE_BYTES bytes; what does not fit is cut. */
DT_PRINTF(2, 3) static void add(char *line, const char *fmt, ...)
{
    const size_t used = strlen(line);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line + used, LINE_BYTES - used, fmt, ap);
    va_end(ap);
}

static void format_line(const progress_view *v, int bar, char *line)
{
    const double share = v->total > 0 ? (double)v->done / (double)v->total : 1.0;
    const int cells = (int)(share * BAR_CELLS);

    *line = '\0';
    add(line, "%s  ", v->what);
    if (bar) add(line, "[%.*s%*s]  ", cells, "====================", BAR_CELLS - cells, "");
    add(line, "%3d %%", (int)(share * 100.0));
    if (!isnan(v->images_per_s)) add(line, "  %s images/s", text_count((int64_t)(v->images_per_s + 0.5)).s);
    if (!isnan(v->peak_share)) add(line, " (%.0f %% of peak)", 100.0 * v->peak_share);
    if (!isnan(v->loss)) add(line, "  loss %.4f", v->loss);
    if (!isnan(v->margin)) add(line, "  margin %.4f", v->margin);
    if (!isnan(v->accuracy)) add(line, "  accuracy %.2f %%", 100.0 * v->accuracy);
    if (!isnan(v->seconds_left)) add(line, "  %s left", text_seconds(v->seconds_left).s);
}

/* Of the terminal, less one: a line of full width would wrap. */
static int columns(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return 79;
    return size.ws_col - 1;
}

void progress_show(progress *p, const progress_view *view)
{
    char line[LINE_BYTES];

    if (p->quiet) return;
    format_line(view, p->terminal, line);
    if (p->terminal)
        fprintf(stderr, "\r%.*s\033[K", columns(), line);
    else
        fprintf(stderr, "%s\n", line);
    fflush(stderr);
    p->drawn = p->terminal;
    p->next = clock_seconds() + (p->terminal ? TERMINAL_SECONDS : PLAIN_SECONDS);
}

void progress_wipe(progress *p)
{
    if (p->drawn) fputs("\r\033[K", stderr);
    fflush(stderr);
    p->drawn = 0;
}

void progress_count(progress *p, const char *what, int64_t done, int64_t total, double images_per_s,
                    double seconds_left)
{
    progress_show(p, &(progress_view){ .what = what,
                                       .done = done,
                                       .total = total,
                                       .images_per_s = images_per_s,
                                       .peak_share = NAN,
                                       .loss = NAN,
                                       .margin = NAN,
                                       .accuracy = NAN,
                                       .seconds_left = seconds_left });
}

int progress_tick(void *task, int64_t done, int64_t total)
{
    const progress_task *t = task;
    const double seconds = clock_seconds() - t->begin;

    if (done > 0 && progress_due(t->bar))
        progress_count(t->bar, t->what, done, total, (double)done / seconds,
                       seconds * (double)(total - done) / (double)done);
    return interrupt_requested();
}
