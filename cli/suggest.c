/*
 * suggest.c - a word that the command line does not know, and the one that was meant.
 *
 * Nearest is the word that the fewest insertions, deletions, exchanges of a letter or of two neighbours make (optimal
 * string alignment), if these are few for its length.
 *
 * Tests: tests/cli/test_cli_wrong.sh.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

enum { WORD_MOST = 48, LIST_BYTES = 256 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* WORD_MOST for words that are too long to be one of the program's. */
static int distance(const char *a, const char *b)
{
    const int n = (int)strlen(a), m = (int)strlen(b);
    int d[WORD_MOST + 1][WORD_MOST + 1];

    if (n > WORD_MOST || m > WORD_MOST) return WORD_MOST;
    for (int i = 0; i <= n; i++) d[i][0] = i;
    for (int k = 0; k <= m; k++) d[0][k] = k;
    for (int i = 1; i <= n; i++) {
        for (int k = 1; k <= m; k++) {
            const int equal = a[i - 1] == b[k - 1],
                      turned = i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1];
            d[i][k] = least(least(d[i - 1][k], d[i][k - 1]) + 1, d[i - 1][k - 1] + !equal);
            if (turned) d[i][k] = least(d[i][k], d[i - 2][k - 2] + 1);
        }
    }
    return d[n][m];
}

int suggest_is_nearer(const char *word, const char *other, int *best)
{
    const int d = distance(word, other), few = least(*best, 1 + (int)strlen(word) / 4);

    if (d >= *best || d > few) return 0;
    *best = d;
    return 1;
}

/* ---- options */

/* The row of the subcommand's option that the first n letters of a word name or begin; NULL: none. */
static const option_row *row_that_begins(const command *cmd, const char *word, size_t n)
{
    const option_row *found = NULL;

    for (int i = 0; i < n_option_rows; i++) {
        const option_row *row = &option_rows[i];
        if (!(row->commands & cmd->bit) || strncmp(row->name, word, n) != 0) continue;
        if (row->name[n] == '\0') return row;
        found = row;
    }
    return found;
}

static int is_own(const char *word, size_t n)
{
    static const char *const own[] = { "help", "usage", "version" };

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strncmp(own[i], word, n) == 0) return 1;
    }
    return 0;
}

/* Of which subcommands it is an option; 0: of none. */
static int commands_with(const char *name)
{
    int bits = 0;

    for (int i = 0; i < n_option_rows; i++) {
        if (strcmp(option_rows[i].name, name) == 0) bits |= option_rows[i].commands;
    }
    return bits;
}

static dt_status refuse(const command *cmd, const char *name)
{
    const char *meant = NULL, *short_name = cmd->name;
    char others[LIST_BYTES];
    int best = WORD_MOST;

    command_names(commands_with(name), others, sizeof others);
    DT_CHECK(!others[0], DT_ERR_ARGUMENT, "--%s is no option of '%s', but of %s", name, short_name, others);
    for (int i = 0; i < n_option_rows; i++) {
        if ((option_rows[i].commands & cmd->bit) && suggest_is_nearer(name, option_rows[i].name, &best))
            meant = option_rows[i].name;
    }
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "there is no option --%s%s%s%s", name,
                    meant ? "; do you mean --" : "", meant ? meant : "", meant ? "?" : "");
}

dt_status suggest_options(const command *cmd, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char name[WORD_MOST + 1];

        if (strncmp(argv[i], "--", 2) != 0) continue;
        const size_t n = strcspn(argv[i] + 2, "=");
        if (n == 0) return DT_OK; /* the end of the options */
        snprintf(name, sizeof name, "%.*s", n <= WORD_MOST ? (int)n : WORD_MOST, argv[i] + 2);
        const option_row *row = row_that_begins(cmd, argv[i] + 2, n);
        if (!row && is_own(name, n)) continue;
        if (!row) return refuse(cmd, name);
        i += row->kind != KIND_FLAG && argv[i][2 + n] == '\0'; /* its value, whatever that begins with */
    }
    return DT_OK;
}
