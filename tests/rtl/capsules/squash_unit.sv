// squash_unit.sv - squash of one capsule by the table: a code a cycle in, four cycles between, a code a cycle out.
//
// Formats are inputs, so that one unit serves all capsules. The arithmetic is that of docs/PROGRAM_FORMAT.md, route_int,
// step 2. dim is 1 to 64. The table is squash_table.hex in the folder where the simulation runs.
module squash_unit (
    input logic clock,
    input logic reset,
    input logic [6:0] dim,
    input logic [4:0] s_frac,
    input logic [4:0] v_bits,
    input logic [4:0] v_frac,
    input logic in_valid,  // taken while in_ready
    input logic signed [15:0] s,
    output logic in_ready,
    output logic out_valid,
    output logic signed [15:0] v
);
    typedef enum logic [1:0] {
        LOAD,
        FIND,
        MIX,
        SEND
    } step;

    logic [15:0] table_rom[0:144];
    initial $readmemh("squash_table.hex", table_rom);

    step now;
    logic signed [15:0] held[0:63];
    logic [6:0] at;
    logic [36:0] q;  // the sum of squares
    logic [7:0] place;
    logic signed [17:0] low, high;
    logic [5:0] halvings;  // of the gain, outside the table
    logic signed [17:0] gain;

    // The number of the highest bit that is 1; 0 of 0.
    function automatic int highest(input logic [36:0] x);
        highest = 0;
        for (int i = 0; i < 37; i++) if (x[i]) highest = i;
    endfunction

    // FIND: the entry of the table and the place behind it.
    int z, octave, moved, entry;
    logic [36:0] mantissa;
    logic [2:0] segment;
    assign segment = mantissa[10:8];
    always_comb begin
        z = highest(q);
        octave = z - 2 * int'(s_frac);
        moved = octave < -6 ? (-6 - octave + 1) / 2 : octave > 11 ? (octave - 10) / 2 : 0;
        octave = octave < -6 ? octave + 2 * moved : octave - 2 * moved;
        mantissa = z >= 11 ? q >> (z - 11) : q << (11 - z);
    end
    assign entry = 8 * (octave + 6) + int'(segment);

    // MIX: between two entries, half up.
    logic signed [35:0] mixed;
    assign mixed = ((high - low) * $signed({1'b0, place}) + 36'sd128) >>> 8;

    // SEND: the product, rounded half up, and clamped.
    int down;
    logic signed [15:0] sent;
    assign sent = held[at[5:0]];
    logic signed [63:0] product, rounded, most;
    always_comb begin
        down = int'(s_frac) + 16 - int'(v_frac) + int'(halvings);
        product = 64'(sent) * 64'(gain);
        rounded = down > 0 ? (product + (64'sd1 <<< (down - 1))) >>> down : product;
        most = (64'sd1 <<< (v_bits - 1)) - 64'sd1;
        if (rounded > most) rounded = most;
        if (rounded < -most - 64'sd1) rounded = -most - 64'sd1;
    end

    assign in_ready = now == LOAD;

    always_ff @(posedge clock) begin
        out_valid <= 0;
        if (reset) begin
            now <= LOAD;
            at  <= 0;
            q   <= 0;
        end else
            case (now)
                LOAD:
                if (in_valid) begin
                    held[at[5:0]] <= s;
                    q <= q + 37'(32'(s) * 32'(s));
                    at <= at + 1;
                    if (at + 1 == dim) now <= FIND;
                end
                FIND: begin
                    low <= q == 0 ? 18'sd0 : $signed({2'b0, table_rom[entry]});
                    high <= q == 0 ? 18'sd0 : $signed({2'b0, table_rom[entry+1]});
                    place <= mantissa[7:0];
                    halvings <= 6'(moved);
                    now <= MIX;
                end
                MIX: begin
                    gain <= low + 18'(mixed);
                    at   <= 0;
                    now  <= SEND;
                end
                SEND: begin
                    v <= 16'(rounded);
                    out_valid <= 1;
                    at <= at + 1;
                    if (at + 1 == dim) begin
                        at  <= 0;
                        q   <= 0;
                        now <= LOAD;
                    end
                end
            endcase
    end
endmodule
