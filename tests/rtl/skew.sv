// skew.sv - delays lane i by i cycles, so that a vector meets its row's or column's psums on their way; or, to put the
//           lanes of a result side by side again, by LANES - 1 - i.
module skew #(
    parameter int LANES = 8,
    parameter int BITS = 4,
    parameter bit REALIGN = 0
) (
    input logic clock,
    input logic reset,
    input logic [LANES*BITS-1:0] in,
    output logic [LANES*BITS-1:0] out
);
    for (genvar i = 0; i < LANES; i++) begin : lane
        localparam int CYCLES = REALIGN ? LANES - 1 - i : i;
        wire [BITS-1:0] head = in[i*BITS+:BITS];
        if (CYCLES == 0) begin : direct
            assign out[i*BITS+:BITS] = head;
        end else begin : delayed
            logic [CYCLES*BITS-1:0] stages;
            assign out[i*BITS+:BITS] = stages[(CYCLES-1)*BITS+:BITS];
            always_ff @(posedge clock)
                if (reset) stages <= 0;
                else stages <= (CYCLES * BITS)'({stages, head});
        end
    end
endmodule
