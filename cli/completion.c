/*
 * completion.c - `detent completion`: prints a script for bash that completes subcommands, options and the words that
 *                an option takes. It is made from the tables by which the command line is read. Other values complete
 *                as file names.
 */
#include "cli.h"

#include <stdio.h>

static void print_commands(const command *commands, int n)
{
    printf("    local commands='help completion");
    for (int i = 0; i < n; i++) printf(" %s", commands[i].name);
    printf("'\n");
}

/* `--quant-rule) words='ece284 apot' ;;` for each option of the subcommand that takes words. */
static void print_words(const command *cmd)
{
    const dt_dataset_info *known;
    const int n_known = dt_dataset_known(&known);

    for (int i = 0; i < n_option_rows; i++) {
        const option_row *row = &option_rows[i];
        const int is_dataset = row->offset == offsetof(settings, dataset);

        if (!(row->commands & cmd->bit) || (row->kind != KIND_WORD && !is_dataset)) continue;
        printf("    '%s --%s') words='", cmd->name, row->name);
        for (int w = 0; !is_dataset && row->words[w]; w++) printf("%s%s", w ? " " : "", row->words[w]);
        for (int d = 0; is_dataset && d < n_known; d++) printf("%s%s", d ? " " : "", known[d].name);
        printf("' ;;\n");
    }
}

static void print_options(const command *cmd)
{
    printf("    '%s '-*) words='--help --usage --version", cmd->name);
    for (int i = 0; i < n_option_rows; i++) {
        if (option_rows[i].commands & cmd->bit) printf(" --%s", option_rows[i].name);
    }
    printf("' ;;\n");
}

void print_completion(const command *commands, int n)
{
    printf("# Completes detent in bash:  source <(detent completion)\n_detent()\n{\n");
    print_commands(commands, n);
    printf("    local command=${COMP_WORDS[1]} word=${COMP_WORDS[COMP_CWORD]} words=\n"
           "    case \"$command ${COMP_WORDS[COMP_CWORD - 1]}\" in\n");
    for (int i = 0; i < n; i++) print_words(&commands[i]);
    printf("    esac\n    [ -n \"$words\" ] || case \"$command $word\" in\n");
    for (int i = 0; i < n; i++) print_options(&commands[i]);
    printf("    esac\n    [ \"$COMP_CWORD\" -eq 1 ] && words=$commands\n"
           "    [ \"$COMP_CWORD\" -eq 2 ] && [ \"$command\" = help ] && words=$commands\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -o default -F _detent detent\n");
}
