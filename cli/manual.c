/*
 * manual.c - `detent manual`: prints the manual page, for man, from the tables by which the command line is read.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

/* As roff reads it: hyphens that can be copied, and backslashes. */
static void print_escaped(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        switch (text[i]) {
        case '-': fputs("\\-", stdout); break;
        case '\\': fputs("\\e", stdout); break;
        default: putchar(text[i]);
        }
    }
}

/* A line of its own, which is no request whatever it begins with. */
static void print_line(const char *text, size_t n)
{
    if (n > 0 && (text[0] == '.' || text[0] == '\'')) fputs("\\&", stdout);
    print_escaped(text, n);
    putchar('\n');
}

static void print_text(const char *text)
{
    print_line(text, strlen(text));
}

/* Paragraphs as the help has them: lines that begin with blanks are commands, and stay lines. */
static void print_paragraphs(const char *text)
{
    int in_example = 0;

    while (*text) {
        const size_t n = strcspn(text, "\n");
        const int is_example = text[0] == ' ';

        if (is_example && !in_example) puts(".PP\n.nf");
        if (!is_example && in_example) puts(".fi");
        in_example = is_example;
        if (n == 0)
            puts(".PP");
        else
            print_line(text, n);
        text += n + (text[n] == '\n');
    }
    if (in_example) puts(".fi");
}

static void print_option(const option_row *row, const settings *defaults)
{
    char help[HELP_BYTES];

    options_help(row, defaults, help);
    printf(".TP\n\\fB\\-\\-");
    print_escaped(row->name, strlen(row->name));
    printf("\\fR");
    if (row->kind != KIND_FLAG) {
        printf(" \\fI");
        print_escaped(row->unit, strlen(row->unit));
        printf("\\fR");
    }
    putchar('\n');
    print_text(help);
}

static void print_command(const command *cmd, const settings *defaults)
{
    printf(".SH ");
    print_text(cmd->name);
    print_paragraphs(cmd->about);
    for (int i = 0; i < n_option_rows; i++) {
        if (option_rows[i].commands & cmd->bit) print_option(&option_rows[i], defaults);
    }
}

static void print_variables(void)
{
    static const char *const of[][2] = {
        { "DETENT_CPU", "scalar, avx2, avx512 or amx: the most that kernels use of this CPU's instructions." },
        { "DETENT_VERBOSE", "dispatch: tells which kernel computes each convolution, on standard error." },
        { "DETENT_CACHE", "The folder of cuDNN's plans; empty: none is kept." },
        { "DETENT_LINKS", "tcp: ranks of one host sum by TCP too, not by memory that they share." },
        { "DETENT_TRACE", "1: tells where a failure came from, file and line." },
        { "OMP_NUM_THREADS", "The number of threads, where \\-\\-threads is not given." },
        { "GOMP_SPINCOUNT", "How often threads that wait look again before they sleep: 2000, where neither this nor "
                            "OMP_WAIT_POLICY is set." },
    };

    puts(".SH ENVIRONMENT");
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) printf(".TP\n.B %s\n%s\n", of[i][0], of[i][1]);
}

dt_status print_manual(const command *commands, int n)
{
    settings defaults;

    DT_TRY(settings_default(&defaults));
    printf(".TH DETENT 1 \"\" \"detent %s\"\n.SH NAME\ndetent \\- trains networks that compute on integers\n"
           ".SH SYNOPSIS\n.B detent\n\\fICOMMAND\\fR [\\fIOPTION\\fR...]\n.SH DESCRIPTION\n"
           "Trains networks that compute on integers, and hands the same integers to hardware.\n",
           DT_VERSION);
    for (int i = 0; i < n; i++) {
        printf(".TP\n.B ");
        print_text(commands[i].name);
        print_text(commands[i].brief);
    }
    for (int i = 0; i < n; i++) print_command(&commands[i], &defaults);
    print_variables();
    puts(".SH EXIT STATUS\n0 good, 1 failed, 2 wrong usage, 3 a check found mismatches, 130 interrupted.");
    settings_free(&defaults);
    return DT_OK;
}
