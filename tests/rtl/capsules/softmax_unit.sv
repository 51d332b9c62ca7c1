// softmax_unit.sv - couplings of a row of logits: a code a cycle in, a sweep for the powers of two, 18 cycles of
//                   division, a code a cycle out.
//
// Formats are inputs. The arithmetic is that of docs/PROGRAM_FORMAT.md, route_int, step 3. span is 1 to 512. The table is
// exp_table.hex in the folder where the simulation runs.
module softmax_unit (
    input logic clock,
    input logic reset,
    input logic [9:0] span,
    input logic signed [5:0] b_frac,
    input logic [4:0] c_bits,
    input logic [4:0] c_frac,
    input logic in_valid,  // taken while in_ready
    input logic signed [15:0] b,
    output logic in_ready,
    output logic out_valid,
    output logic [15:0] c
);
    typedef enum logic [1:0] {
        LOAD,
        POWER,
        DIVIDE,
        SEND
    } step;

    logic [15:0] table_rom[0:31];
    initial $readmemh("exp_table.hex", table_rom);

    step now;
    logic signed [15:0] held[0:511];
    logic [15:0] power[0:511];
    logic [9:0] at;
    logic signed [15:0] top;
    logic [24:0] sum;
    logic [4:0] left;       // steps of the division
    logic [17:0] rest;
    logic [16:0] quotient;  // floor(2^31 / (sum >> (z - 15)))

    // POWER: 2^15 * 2^-(top - b), in 1/32 of log2.
    logic signed [15:0] logit;
    logic [16:0] below;  // top - b >= 0
    logic [31:0] y;
    logic [15:0] entry, e;
    int n;
    assign logit = held[at[8:0]];
    assign below = 17'(top) - 17'(logit);
    assign y = b_frac <= 5 ? 32'(below) << (5 - b_frac) : (32'(below) + (32'd1 << (b_frac - 6))) >> (b_frac - 5);
    assign n = int'(y >> 5);
    assign entry = table_rom[y[4:0]];
    always_comb begin
        e = entry;
        if (n > 16) e = 0;
        else if (n > 0) e = 16'((32'(entry) + (32'd1 << (n - 1))) >> n);
    end

    // DIVIDE: one bit of the quotient a cycle; the 15 highest bits of 2^31 are taken at the begin.
    function automatic int highest(input logic [24:0] x);
        highest = 15;
        for (int i = 15; i < 25; i++) if (x[i]) highest = i;
    endfunction

    int z;
    logic [17:0] divisor, doubled;
    always_comb begin
        z = highest(sum);
        divisor = 18'(sum >> (z - 15));
        doubled = rest << 1;
    end

    // SEND: the coupling, half up, and clamped.
    logic [15:0] share;
    assign share = power[at[8:0]];
    logic [33:0] product, coupling, most;
    always_comb begin
        product = 34'(share) * 34'(quotient);
        coupling = (product + (34'd1 << (z + 15 - c_frac))) >> (z + 16 - c_frac);
        most = (34'd1 << c_bits) - 1;
        if (coupling > most) coupling = most;
    end

    assign in_ready = now == LOAD;

    always_ff @(posedge clock) begin
        out_valid <= 0;
        if (reset) begin
            now <= LOAD;
            at  <= 0;
        end else
            case (now)
                LOAD:
                if (in_valid) begin
                    held[at[8:0]] <= b;
                    top <= at == 0 || b > top ? b : top;
                    sum <= 0;
                    at <= at + 1;
                    if (at + 1 == span) begin
                        at  <= 0;
                        now <= POWER;
                    end
                end
                POWER: begin
                    power[at[8:0]] <= e;
                    sum <= sum + 25'(e);
                    at <= at + 1;
                    if (at + 1 == span) begin
                        at <= 0;
                        left <= 17;
                        rest <= 18'd1 << 14;
                        quotient <= 0;
                        now <= DIVIDE;
                    end
                end
                DIVIDE: begin
                    rest <= doubled >= divisor ? doubled - divisor : doubled;
                    quotient <= {quotient[15:0], doubled >= divisor};
                    left <= left - 1;
                    if (left == 1) now <= SEND;
                end
                SEND: begin
                    c <= 16'(coupling);
                    out_valid <= 1;
                    at <= at + 1;
                    if (at + 1 == span) begin
                        at  <= 0;
                        now <= LOAD;
                    end
                end
            endcase
    end
endmodule
