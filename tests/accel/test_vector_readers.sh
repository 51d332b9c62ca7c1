#!/bin/sh
# test_vector_readers.sh - exported vectors read by what people read them with, in Icarus Verilog: $readmemb reads files
#                          without a header in every layout, and with one in all but the notebook's; $fgets and $fscanf
#                          of %b read behind as many lines as the manifest says.
#
# usage: test_vector_readers.sh PATH_OF_DETENT
set -u
for program in iverilog vvp; do
    if ! command -v $program >/dev/null; then
        echo "skipped: there is no $program (apt-get install iverilog)"
        exit 77
    fi
done
. "$(dirname "$0")/../support/command.sh"
: >err # all that is printed goes to out

# files_of DIR: name and header lines of each file of digits, by the manifest
files_of()
{
    awk -F '"' '/"name":/ { name = $4 } /"header_lines":/ { split($3, part, /[^0-9]+/); print name, part[2] }' \
        "$1/manifest.json" | grep -v '^viz/'
}

# data_of DIR: the digits of all files, behind their headers
data_of()
{
    files_of "$1" | while read -r name header; do tail -n +$((header + 1)) "$1/$name"; done
}

# modules DIR HOW: a module a file, which prints the words that it has read, then one that makes them follow each other
modules()
{
    files_of "$1" >files
    echo "module top; int turn = 0;"
    count=0
    while read -r name header; do
        lines=$(($(wc -l <"$1/$name") - header))
        bits=$(tail -n 1 "$1/$name" | tr -d '\n' | wc -c)
        echo "reg [$bits-1:0] m$count [0:$lines-1];"
        case $2 in
        readmemb) read="\$readmemb(\"$1/$name\", m$count);" ;;
        fscanf) read="file = \$fopen(\"$1/$name\", \"r\");
            repeat ($header) skipped = \$fgets(comment, file);
            for (int i = 0; i < $lines; i++) skipped = \$fscanf(file, \"%b\", m$count[i]);
            \$fclose(file);" ;;
        esac
        echo "initial begin : read$count int file, skipped; reg [8*512-1:0] comment;
            wait (turn == $count); $read
            for (int i = 0; i < $lines; i++) \$display(\"%b\", m$count[i]);
            turn = $((count + 1)); end"
        count=$((count + 1))
    done <files
    echo "endmodule"
}

# reads DIR HOW: words are the files' digits, and the simulator says nothing else
reads()
{
    modules "$1" "$2" >top.sv && iverilog -g2012 -o top top.sv >out 2>&1 && vvp top >out 2>&1 || return
    data_of "$1" >expected
    [ -s expected ] && cmp expected out
}

# export_to DIR OPTIONS...
export_to()
{
    dir=$1
    shift
    "$detent" export --checkpoint w2a2/last.safetensors --dataset synthetic --layer features.4 --to vectors "$@" \
        --out "$dir" >out 2>&1
    check "export $*" $?
}

"$detent" train --model tiny --dataset synthetic --train-size 64 --test-size 32 --batch 32 --epochs 1 --abits 2 \
    --device cpu --quiet --out w2a2 >out 2>&1
check "train" $?

for layout in course notebook pack-a pack-b pack-c output-stationary; do
    export_to $layout-0 --layout $layout --header-lines 0
    reads $layout-0 readmemb
    check "$layout: \$readmemb reads files without a header" $?
    export_to $layout --layout $layout
    reads $layout fscanf
    check "$layout: \$fscanf reads behind the lines that the manifest counts" $?
    [ $layout = notebook ] || reads $layout readmemb
    check "$layout: \$readmemb reads them as they are, but for the notebook's" $?
    "$detent" verify --vectors $layout-0 >out 2>&1 && "$detent" verify --vectors $layout >>out 2>&1
    check "$layout: verify reads both" $?
done
export_to course-1 --layout course --header-lines 1
reads course-1 fscanf
check "one line, as asked for" $?
[ -s notebook/manifest.json ] && ! reads notebook readmemb
check "\$readmemb does not read the notebook's comments, which begin with #" $?

! grep -v '^[01]*$' notebook/weight_itile0_otile0_kij0.txt >out
check "the notebook's weights have no header" $?
[ "$(head -n 1 notebook/psum_relu.txt)" = "#ReLUed psum output" ]
check "the notebook's psum_relu.txt begins with its own words" $?

finish
