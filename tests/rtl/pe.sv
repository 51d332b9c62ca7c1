// pe.sv - a processing element: two multipliers of 2 unsigned by 4 signed bits, and an adder that wraps.
//
//   simd 0   product = west * weight, as 4 * (west[3:2] * weight) + west[1:0] * weight
//   simd 1   product = west[3:2] * weight_high + west[1:0] * weight_low     two activations of 2 bits
//
//   op           does                                                  sends south
//   LOAD         keeps the weight in west, if it lacks one             north
//   EXECUTE      nothing but multiply                                  north + product
//   ACCUMULATE   sum = sum + product, with the weights in north        north
//   DRAIN        sum = north                                           sum
//
// op and west go east a cycle later; where a weight was kept, IDLE goes. EXECUTE ends the loading: the next LOAD
// replaces the weights. With simd 1 a PE keeps two, the high one first.
module pe #(
    parameter int PSUM_BITS = 16  // 8 at least: north carries two weights
) (
    input logic clock,
    input logic reset,
    input logic simd,
    input logic [2:0] op,
    input logic [3:0] west,
    input logic signed [PSUM_BITS-1:0] north,
    output logic [2:0] op_east,
    output logic [3:0] east,
    output logic signed [PSUM_BITS-1:0] south
);
    import array_op::*;

    logic signed [3:0] kept_high, kept_low;
    logic [1:0] n_kept;
    logic signed [PSUM_BITS-1:0] sum;

    wire keep = op == LOAD && n_kept != (simd ? 2'd2 : 2'd1);

    wire signed [3:0] weight_low = op == ACCUMULATE ? north[3:0] : kept_low;
    wire signed [3:0] weight_second = op == ACCUMULATE ? north[7:4] : kept_high;
    wire signed [3:0] weight_high = simd ? weight_second : weight_low;
    wire signed [6:0] high = $signed({1'b0, west[3:2]}) * weight_high;  // -24..21
    wire signed [6:0] low = $signed({1'b0, west[1:0]}) * weight_low;
    wire signed [7:0] product = simd ? 8'(high) + 8'(low) : (8'(high) <<< 2) + 8'(low);  // -120..105

    always_ff @(posedge clock)
        if (reset) begin
            op_east <= IDLE;
            east <= 0;
            south <= 0;
            sum <= 0;
            n_kept <= 0;
            kept_high <= 0;
            kept_low <= 0;
        end else begin
            op_east <= keep ? IDLE : op;
            east <= west;
            if (keep) begin
                kept_high <= kept_low;
                kept_low <= west;
                n_kept <= n_kept + 1;
            end
            south <= north;
            case (op)
                EXECUTE: begin
                    n_kept <= 0;
                    south <= north + PSUM_BITS'(product);
                end
                ACCUMULATE: sum <= sum + PSUM_BITS'(product);
                DRAIN: begin
                    sum <= north;
                    south <= sum;
                end
                default: ;
            endcase
        end
endmodule
