# links.awk - the links of Markdown pages, one a line: "link PAGE:LINE<tab>TARGET"; and the anchors that their headings
# give: "anchor PAGE#NAME", as GitHub names them. Blocks of code have neither.

/^ *```/ {
    in_code = !in_code
    next
}

FNR == 1 {
    in_code = 0
}

in_code {
    next
}

/^#+ / {
    name = tolower($0)
    sub(/^#+ /, "", name)
    gsub(/[^a-z0-9 _-]/, "", name)
    gsub(/ /, "-", name)
    print "anchor " FILENAME "#" name
}

{
    line = $0
    gsub(/`[^`]*`/, "", line)
    while (match(line, /\]\([^)]*\)/)) {
        print "link " FILENAME ":" FNR "\t" substr(line, RSTART + 2, RLENGTH - 3)
        line = substr(line, RSTART + RLENGTH)
    }
}
