// psum_memory.sv - a word of psums for each vector that the array delivered, in that order; read a cycle later.
module psum_memory #(
    parameter int BITS = 128,
    parameter int DEPTH = 2048
) (
    input logic clock,
    input logic reset,  // the next word is word 0
    input logic write,
    input logic [BITS-1:0] in,
    input logic [$clog2(DEPTH)-1:0] address,
    output logic [BITS-1:0] out
);
    logic [BITS-1:0] words[0:DEPTH-1];
    logic [$clog2(DEPTH)-1:0] n_written;

    always_ff @(posedge clock) begin
        out <= words[address];
        if (reset) n_written <= 0;
        else if (write) begin
            words[n_written] <= in;
            n_written <= n_written + 1;
        end
    end
endmodule
