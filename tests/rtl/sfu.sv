// sfu.sv - the special function unit: adds up an output's tap psums in each column, and clips the total at 0 (ReLU).
module sfu #(
    parameter int COLS = 8,
    parameter int PSUM_BITS = 16
) (
    input logic clock,
    input logic reset,
    input logic add,
    input logic first,  // overwrites the total
    input logic last,   // the total is complete in the next cycle
    input logic [COLS*PSUM_BITS-1:0] psum,
    output logic valid,
    output logic [COLS*PSUM_BITS-1:0] total,
    output logic [COLS*PSUM_BITS-1:0] relu
);
    always_ff @(posedge clock)
        if (reset) valid <= 0;
        else valid <= add && last;

    for (genvar c = 0; c < COLS; c++) begin : column
        logic signed [PSUM_BITS-1:0] sum;
        always_ff @(posedge clock) if (add) sum <= (first ? 0 : sum) + psum[c*PSUM_BITS+:PSUM_BITS];
        assign total[c*PSUM_BITS+:PSUM_BITS] = sum;
        assign relu[c*PSUM_BITS+:PSUM_BITS] = sum < 0 ? 0 : sum;
    end
endmodule
