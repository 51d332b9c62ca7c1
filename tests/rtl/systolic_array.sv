// systolic_array.sv - ROWS x COLS processing elements with the registers that skew what enters and realign what leaves.
//
// A vector given in one cycle (an activation or a weight a row; output stationary also a weight pair a column) leaves
// as one vector of psums ROWS + COLS - 1 cycles later, with its op beside it.
module systolic_array #(
    parameter int ROWS = 8,
    parameter int COLS = 8,
    parameter int PSUM_BITS = 16
) (
    input logic clock,
    input logic reset,
    input logic simd,
    input logic [2:0] op,
    input logic [ROWS*4-1:0] west,   // row 0 in the low bits
    input logic [COLS*8-1:0] north,  // column 0 in the low bits; 0 unless op is ACCUMULATE
    output logic [2:0] psum_op,
    output logic [COLS*PSUM_BITS-1:0] psum
);
    localparam int ROW_BITS = 3 + 4;  // op, data

    logic [ROWS*ROW_BITS-1:0] row_in, row_skewed;
    logic [COLS*8-1:0] north_skewed;
    logic [COLS*PSUM_BITS-1:0] bottom;

    // wires between PEs: (r, c) is the west border of column c, the north border of row r
    wire [2:0] op_at[0:ROWS*(COLS+1)-1];
    wire [3:0] data_at[0:ROWS*(COLS+1)-1];
    wire [PSUM_BITS-1:0] psum_at[0:(ROWS+1)*COLS-1];

    skew #(.LANES(ROWS), .BITS(ROW_BITS)) row_skew (.clock, .reset, .in(row_in), .out(row_skewed));
    skew #(.LANES(COLS), .BITS(8)) column_skew (.clock, .reset, .in(north), .out(north_skewed));

    for (genvar r = 0; r < ROWS; r++) begin : row
        assign row_in[r*ROW_BITS+:ROW_BITS] = {op, west[r*4+:4]};
        assign {op_at[r*(COLS+1)], data_at[r*(COLS+1)]} = row_skewed[r*ROW_BITS+:ROW_BITS];
        for (genvar c = 0; c < COLS; c++) begin : column
            pe #(.PSUM_BITS(PSUM_BITS)) element (
                .clock,
                .reset,
                .simd,
                .op(op_at[r*(COLS+1)+c]),
                .west(data_at[r*(COLS+1)+c]),
                .north(psum_at[r*COLS+c]),
                .op_east(op_at[r*(COLS+1)+c+1]),
                .east(data_at[r*(COLS+1)+c+1]),
                .south(psum_at[(r+1)*COLS+c])
            );
        end
    end
    for (genvar c = 0; c < COLS; c++) begin : edges
        assign psum_at[c] = PSUM_BITS'(north_skewed[c*8+:8]);
        assign bottom[c*PSUM_BITS+:PSUM_BITS] = psum_at[ROWS*COLS+c];
    end

    skew #(.LANES(COLS), .BITS(PSUM_BITS), .REALIGN(1)) realign (.clock, .reset, .in(bottom), .out(psum));
    assign psum_op = op_at[ROWS*(COLS+1)-1];  // of the last row's last PE, which is not delayed
endmodule
