# shortages.sh - what tests of calls that fail share, behind command.sh: `shortages` runs a command once for each call that
# fails, of those that $kinds names, and judges what it leaves. The program is linked with shortage.c.
most=${DETENT_TEST_SHORTAGE:-8} # calls of a kind that fail, of each command
[ "$most" = all ] && most=1000000000
n_injected=0
n_survived=0

# fresh: the folder `here`, in which the command runs, is as it was before; nothing is done where nothing has been written.
fresh()
{
    if [ -z "$rewritten" ]; then
        set -- here/*
        [ "$*" != "$entries" ] || return
    fi
    rm -rf here
    mkdir here
    [ -z "$before" ] || cp -r $before here/
    set -- here/*
    entries=$*
}

# whole FILE: the file here is that of a command without a failure, or that of before.
whole()
{
    cmp -s "here/$1" "good/$1" || { [ -e "was/$1" ] && cmp -s "here/$1" "was/$1"; }
}

# fault TEXT: a check that does not hold
fault()
{
    not_ok "$name, $kind $k of $calls: $1; exit code $got"
    n_faults=$((n_faults + 1))
}

# read_errors: what the command has said of its failure.
read_errors()
{
    said=
    of_memory=
    while IFS= read -r line; do
        case $line in
        *Sanitizer* | *"runtime error"*) fault "a sanitizer has found something" ;;
        "detent "*": "?*) said=yes ;;
        esac
        case $line in *[Mm]emory* | *allocat*) of_memory=yes ;; esac
    done <err
}

# judge: what the command has left.
judge()
{
    n_injected=$((n_injected + 1))
    read_errors
    case $got in
    0)
        n_survived=$((n_survived + 1))
        for file in $results; do cmp -s "here/$file" "good/$file" || fault "$file is another"; done
        ;;
    1)
        [ -n "$said" ] || fault "no message"
        [ "$kind" != memory ] || [ -n "$of_memory" ] || fault "the message is not of memory"
        for file in $results; do [ ! -e "here/$file" ] || whole "$file" || fault "$file is half"; done
        ;;
    *) fault "neither 0 nor 1" ;;
    esac
    for file in here/*.tmp-* here/*/*.tmp-*; do
        [ ! -e "$file" ] || fault "$file is left"
    done
}

# go_on: the command that follows makes good what the failure has left undone.
go_on()
{
    (cd here && exec "$detent" $after) >out 2>err || fault "it does not go on"
    for file in $results; do cmp -s "here/$file" "good/$file" || fault "$file is another when it went on"; done
}

# without_failure COMMAND...: makes `was`, `good` and the numbers of calls.
without_failure()
{
    rm -rf was good here
    entries=
    rewritten=
    fresh
    cp -r here was
    for file in $results; do [ ! -e "was/$file" ] || rewritten=yes; done
    (cd here && DETENT_SHORTAGE_COUNT=../count "$detent" "$@") >out 2>err || not_ok "$name"
    cp -r here good
}

# shortages NAME BEFORE RESULTS COMMAND...: BEFORE are files that are copied into `here`, RESULTS those whose bytes count.
# $after, if there is one, is a command that must make the results good after each failure.
shortages()
{
    name=$1
    before=$2
    results=$3
    shift 3
    n_faults=0
    first=$n_injected
    without_failure "$@"
    for kind in $kinds; do
        calls=$(sed -n "s/^$kind //p" count)
        step=$((calls / most + 1))
        k=1
        while [ $k -le "$calls" ]; do
            fresh
            (cd here && DETENT_SHORTAGE=$kind:$k exec "$detent" "$@") >out 2>err
            got=$?
            judge
            [ $got -eq 0 ] || [ -z "$after" ] || go_on
            k=$((k + step))
        done
    done
    is "$name: $((n_injected - first)) failures, $n_faults faults" $n_faults -eq 0
}

