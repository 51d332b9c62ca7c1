# commands.awk - the commands of detent in Markdown pages, one a line: "PAGE:LINE<tab>WORDS...".
#
# They stand in blocks of code, and in prose between backticks. Of a block, lines that end in \ are joined, variables
# that the page has set by then (F="...") are put in, and prompts, comments and what follows a pipe, a redirection or &&
# are left out. What begins with "detent train:", or has a colon before "detent", is a message and no command.

function cut(text, at) {
    gsub(/[ \t]#.*/, "", text)
    while (match(text, /(&&|[|;)<>])/)) text = substr(text, 1, RSTART - 1)
    if (match(text, /   +[^ -]/)) text = substr(text, 1, RSTART - 1) # a drawing goes on beside it
    gsub(/ \.\.\.( |$)/, " ", text)
    sub(/[ ,]*$/, "", text)
    if (text ~ /^detent [a-z-]+( |$)/) print FILENAME ":" at "\t" text
}

# Each "detent WORD" of the text begins a command, which the next one ends.
function commands(text, at,  next_one) {
    gsub(/: detent /, ": ", text)
    while (match(text, /(^|[ \/(])detent [a-z]/)) {
        text = substr(text, RSTART + (substr(text, RSTART, 1) != "d"))
        next_one = match(substr(text, 7), /[ \/(]detent [a-z]/) ? RSTART + 5 : length(text)
        cut(substr(text, 1, next_one), at)
        text = substr(text, 7)
    }
}

function prose(  i, n, span) {
    n = split(paragraph, span, "`")
    for (i = 2; i <= n; i += 2) {
        if (span[i] ~ /^(build\/)?detent [a-z]/) commands(span[i], first_line)
    }
    paragraph = ""
}

FNR == 1 {
    prose()
    in_code = 0
    for (name in value) delete value[name]
}

/^ *```/ {
    prose()
    in_code = !in_code
    joined = ""
    next
}

in_code {
    if (joined == "") first_line = FNR
    line = $0
    sub(/^\$ /, "", line)
    joined = joined line
    if (sub(/\\$/, "", joined)) next
    if (match(joined, /^[A-Z]+=/)) {
        name = substr(joined, 1, RLENGTH - 1)
        value[name] = substr(joined, RLENGTH + 1)
        gsub(/"/, "", value[name])
    }
    for (name in value) gsub("\"?[$]" name "\"?", value[name], joined)
    commands(joined, first_line)
    joined = ""
    next
}

/^ *$/ || /^[|#-]/ {
    prose()
}

{
    if (paragraph == "") first_line = FNR
    paragraph = paragraph (paragraph == "" ? "" : " ") $0
}

END {
    prose()
}
