// array_op.sv - what the array does with a vector; travels with it from PE to PE, so that vectors may follow one
//               another without a gap: weights of the next pass directly behind the activations of the last.
package array_op;
    localparam logic [2:0] IDLE = 3'd0;
    localparam logic [2:0] LOAD = 3'd1;        // a weight for each row; goes to the first column that lacks one
    localparam logic [2:0] EXECUTE = 3'd2;     // weight stationary: psums south, one row a cycle
    localparam logic [2:0] ACCUMULATE = 3'd3;  // output stationary: each PE adds to its own sum
    localparam logic [2:0] DRAIN = 3'd4;       // output stationary: the sums move a row south, the last row's leave
endpackage
