/*
 * completion.c - `detent completion SHELL`: prints a script for bash, zsh or fish that completes subcommands, options
 *                and the words that an option takes. It is made from the tables by which the command line is read.
 *                Other values complete as file names.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

/* The words that an option takes: those of its row, or the datasets' names. Returns NULL behind the last. */
static const char *word_of(const option_row *row, int i)
{
    const dt_dataset_info *known;

    if (row->kind == KIND_WORD) return row->words[i];
    if (row->offset != offsetof(settings, dataset)) return NULL;
    return i < dt_dataset_known(&known) ? known[i].name : NULL;
}

/* "ece284 apot", between `before` and `after`; nothing for an option that takes no words. */
static void print_words(const option_row *row, const char *before, const char *after)
{
    const char *word;

    if (!word_of(row, 0)) return;
    fputs(before, stdout);
    for (int i = 0; (word = word_of(row, i)); i++) printf("%s%s", i ? " " : "", word);
    fputs(after, stdout);
}

/* Whether a value may be the name of a file. */
static int takes_file(const option_row *row)
{
    return row->kind == KIND_TEXT && !word_of(row, 0);
}

/* In single quotes, as all three shells read it; escaped: characters that get a backslash beside. */
static void print_quoted(const char *text, const char *escaped)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            printf("%s%c", strchr(escaped, *text) ? "\\" : "", *text);
    }
}

/* ---- bash ---- */

static void bash_options(const command *cmd)
{
    printf("    '%s '-*) words='--help --usage --version", cmd->name);
    for (int i = 0; i < n_option_rows; i++) {
        if (option_rows[i].commands & cmd->bit) printf(" --%s", option_rows[i].name);
    }
    printf("' ;;\n");
}

/* `'train --quant-rule') words='ece284 apot' ;;` for each option that takes words. */
static void bash_words(const command *cmd)
{
    for (int i = 0; i < n_option_rows; i++) {
        const option_row *row = &option_rows[i];

        if (!(row->commands & cmd->bit) || !word_of(row, 0)) continue;
        printf("    '%s --%s')", cmd->name, row->name);
        print_words(row, " words='", "' ;;\n");
    }
}

static void print_bash(const command *commands, int n)
{
    printf("# Completes detent in bash:  source <(detent completion bash)\n_detent()\n{\n"
           "    local commands='help completion");
    for (int i = 0; i < n; i++) printf(" %s", commands[i].name);
    printf("'\n    local command=${COMP_WORDS[1]} word=${COMP_WORDS[COMP_CWORD]} words=\n"
           "    case \"$command ${COMP_WORDS[COMP_CWORD - 1]}\" in\n");
    for (int i = 0; i < n; i++) bash_words(&commands[i]);
    printf("    esac\n    [ -n \"$words\" ] || case \"$command $word\" in\n");
    for (int i = 0; i < n; i++) bash_options(&commands[i]);
    printf("    esac\n    [ \"$COMP_CWORD\" -eq 1 ] && words=$commands\n"
           "    [ \"$COMP_CWORD\" -eq 2 ] && [ \"$command\" = help ] && words=$commands\n"
           "    [ \"$COMP_CWORD\" -eq 2 ] && [ \"$command\" = completion ] && words='bash zsh fish'\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -o default -F _detent detent\n");
}

/* ---- zsh ---- */

/* `'--wbits=[bits of a weight]:N: '`, in the notation of _arguments. */
static void zsh_option(const option_row *row)
{
    const int is_flag = row->kind == KIND_FLAG;

    printf(" \\\n            '--%s%s[", row->name, is_flag ? "" : "=");
    print_quoted(row->about, "[]:\\");
    printf("]");
    if (!is_flag) {
        printf(":");
        print_quoted(row->unit, ":\\");
        printf(":");
        print_words(row, "(", ")");
        if (!word_of(row, 0)) printf("%s", takes_file(row) ? "_files" : " ");
    }
    printf("'");
}

static void print_zsh(const command *commands, int n)
{
    printf(
        "#compdef detent\n# Completes detent in zsh:  source <(detent completion zsh)\n_detent()\n{\n"
        "    local -a commands=(\n        'help:explain a command'\n        'completion:print a script for a shell'\n");
    for (int i = 0; i < n; i++) {
        printf("        '%s:", commands[i].name);
        print_quoted(commands[i].brief, ":\\");
        printf("'\n");
    }
    printf("    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
           "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in\n"
           "    help) _describe command commands ;;\n    completion) _arguments '1:shell:(bash zsh fish)' ;;\n");
    for (int i = 0; i < n; i++) {
        printf("    %s)\n        _arguments '--help[print the options]' '*:file:_files'", commands[i].name);
        for (int k = 0; k < n_option_rows; k++) {
            if (option_rows[k].commands & commands[i].bit) zsh_option(&option_rows[k]);
        }
        printf(" ;;\n");
    }
    printf("    esac\n}\ncompdef _detent detent\n");
}

/* ---- fish ---- */

static void fish_option(const command *cmd, const option_row *row)
{
    printf("complete -c detent -n '__fish_seen_subcommand_from %s' -l %s", cmd->name, row->name);
    if (row->kind != KIND_FLAG) printf(" %s", takes_file(row) ? "-r" : "-x");
    print_words(row, " -a '", "'");
    printf(" -d '");
    print_quoted(row->about, "\\");
    printf("'\n");
}

static void print_fish(const command *commands, int n)
{
    printf("# Completes detent in fish:  detent completion fish | source\n"
           "complete -c detent -n __fish_use_subcommand -f -a help -d 'explain a command'\n"
           "complete -c detent -n __fish_use_subcommand -f -a completion -d 'print a script for a shell'\n"
           "complete -c detent -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n");
    for (int i = 0; i < n; i++) {
        printf("complete -c detent -n __fish_use_subcommand -f -a %s -d '", commands[i].name);
        print_quoted(commands[i].brief, "\\");
        printf("'\ncomplete -c detent -n '__fish_seen_subcommand_from help' -f -a %s\n", commands[i].name);
        for (int k = 0; k < n_option_rows; k++) {
            if (option_rows[k].commands & commands[i].bit) fish_option(&commands[i], &option_rows[k]);
        }
    }
}

int print_completion(const char *shell, const command *commands, int n)
{
    static const struct {
        const char *name;
        void (*print)(const command *commands, int n);
    } shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };

    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(shell, shells[i].name) != 0) continue;
        shells[i].print(commands, n);
        return 1;
    }
    return 0;
}
