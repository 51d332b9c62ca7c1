#!/bin/sh
# test_cli_manual.sh - the manual page and the completions say what the help says, of every subcommand and option; and the
# programs that read them can, where they are installed.
#
# usage: test_cli_manual.sh PATH_OF_DETENT
. "$(dirname "$0")/../support/command.sh"

expect "detent manual" 0 manual
cp out page
expect "--help" 0 --help
sed -n 's/^  \([a-z-]*\) .*/\1/p' out >commands
is "there are subcommands" "$(wc -l <commands)" -gt 10
for shell in bash zsh fish; do
    expect "completion $shell" 0 completion $shell
    cp out $shell
done
expect "completion for another shell" 2 completion tcsh
has err "there are bash, zsh and fish"

# options of SUBCOMMAND, one a line
options_of() { "$detent" "$1" --usage | grep -o -e '--[a-z0-9-]*' | sed 's/^--//' | grep -Ev '^(help|usage|version)$'; }

while read -r command; do
    options_of "$command" | sort >wanted
    sed -n "/^\.SH $(echo "$command" | sed 's/-/\\\\-/g')\$/,/^\.SH [A-Z]*\$/p" page | sed '2,$ { /^\.SH /,$d }' |
        sed -n 's/^\\fB\\-\\-\(.*\)/\1/p' | sed 's/\\fR.*//; s/\\-/-/g' | sort >found
    is "$command: options of the page" "$(cat found)" = "$(cat wanted)"
    sed -n "/^    $command)\$/,/;;\$/p" zsh | sed -n "s/^ *'--\([a-z0-9-]*\).*/\1/p" | sort >found
    is "$command: options of zsh" "$(cat found)" = "$(cat wanted)"
    sed -n "s/.*_from $command' -l \([a-z0-9-]*\) .*/\1/p" fish | sort >found
    is "$command: options of fish" "$(cat found)" = "$(cat wanted)"
done <commands

if command -v groff >/dev/null; then
    is "groff has nothing to say" "$(groff -man -Tutf8 -ww -z page 2>&1)" = ""
fi
if command -v zsh >/dev/null; then
    zsh -n zsh
    check "zsh can read it" $?
fi
if command -v fish >/dev/null; then
    # offered LINE: what fish offers at its end
    offered() { fish --no-config -c "source ./fish; complete -C '$1'" | cut -f 1 | tr '\n' ' '; }
    is "fish completes a command" "$(offered 'detent tr')" = "train "
    is "... an option of it" "$(offered 'detent eval --eng')" = "--engine "
    is "... a word" "$(offered 'detent train --quant-rule s')" = "scream "
fi
finish
