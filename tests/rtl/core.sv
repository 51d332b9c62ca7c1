// core.sv - array, psum memory, special function unit. The sequence of a layer comes from outside: see vectors_tb.sv.
//
// Weight stationary, the array's psums go to the memory, and are added up at the addresses given; output stationary,
// the sums that DRAIN brings go through the special function unit as they are.
module core #(
    parameter int ROWS = 8,
    parameter int COLS = 8,
    parameter int PSUM_BITS = 16,
    parameter int DEPTH = 2048
) (
    input logic clock,
    input logic reset,
    input logic simd,
    input logic [2:0] op,
    input logic [ROWS*4-1:0] west,
    input logic [COLS*8-1:0] north,
    input logic add,  // the word at address to the total
    input logic add_first,
    input logic add_last,
    input logic [$clog2(DEPTH)-1:0] address,
    output logic tap_valid,
    output logic [COLS*PSUM_BITS-1:0] tap,
    output logic out_valid,
    output logic [COLS*PSUM_BITS-1:0] out_raw,
    output logic [COLS*PSUM_BITS-1:0] out
);
    import array_op::*;

    logic [2:0] psum_op;
    logic [COLS*PSUM_BITS-1:0] word;
    logic read, read_first, read_last;  // as add, when the memory's word is there

    wire drained = psum_op == DRAIN;
    assign tap_valid = psum_op == EXECUTE;

    systolic_array #(.ROWS(ROWS), .COLS(COLS), .PSUM_BITS(PSUM_BITS)) systolic (
        .clock, .reset, .simd, .op, .west, .north, .psum_op, .psum(tap)
    );

    psum_memory #(.BITS(COLS * PSUM_BITS), .DEPTH(DEPTH)) memory (
        .clock, .reset, .write(tap_valid), .in(tap), .address, .out(word)
    );

    always_ff @(posedge clock)
        if (reset) {read, read_first, read_last} <= 0;
        else {read, read_first, read_last} <= {add, add_first, add_last};

    sfu #(.COLS(COLS), .PSUM_BITS(PSUM_BITS)) special (
        .clock,
        .reset,
        .add(read || drained),
        .first(read_first || drained),
        .last(read_last || drained),
        .psum(drained ? tap : word),
        .valid(out_valid),
        .total(out_raw),
        .relu(out)
    );
endmodule
