// capsules_tb.sv - runs exported capsules and rows of logits (steps.txt) through squash_unit and softmax_unit, and
//                  compares every code.
//
// A line of steps.txt: 1 dim s_frac v_bits v_frac, dim codes of s, dim of v; or 2 span b_frac c_bits c_frac, span codes of
// b, span of c. Ends with "passed N codes of C capsules and R rows", or with the first that differs and status 1.
module capsules_tb;
    logic clock = 0, reset = 1;
    always #5 clock = ~clock;

    logic [6:0] dim;
    logic [9:0] span;
    logic [4:0] s_frac, v_bits, v_frac, c_bits, c_frac;
    logic signed [5:0] b_frac;
    logic squash_in = 0, softmax_in = 0, squash_ready, softmax_ready, squash_out, softmax_out;
    logic signed [15:0] code, v;
    logic [15:0] c;

    squash_unit squash (
        .clock, .reset, .dim, .s_frac, .v_bits, .v_frac, .in_valid(squash_in), .s(code), .in_ready(squash_ready),
        .out_valid(squash_out), .v
    );
    softmax_unit softmax (
        .clock, .reset, .span, .b_frac, .c_bits, .c_frac, .in_valid(softmax_in), .b(code), .in_ready(softmax_ready),
        .out_valid(softmax_out), .c
    );

    int file, op, n, format[0:2], given[0:511], want[0:511], found, capsules = 0, rows = 0, codes = 0, wrong = 0;

    // One number of the line.
    function automatic int next;
        int number;
        if ($fscanf(file, "%d", number) != 1) begin
            $display("steps.txt ends in the middle of a line");
            $fatal(1);
        end
        return number;
    endfunction

    // Gives the codes, and compares what comes out.
    task automatic run_one;
        for (int i = 0; i < n; i++) begin
            code = 16'(given[i]);
            squash_in = op == 1;
            softmax_in = op == 2;
            @(negedge clock);
        end
        squash_in = 0;
        softmax_in = 0;
        for (int i = 0; i < n; i++) begin
            while (!(op == 1 ? squash_out : softmax_out)) @(negedge clock);
            found = op == 1 ? int'(v) : int'(c);
            if (found !== want[i]) begin
                if (wrong == 0)
                    $display("differs: %s %0d, code %0d is %0d, expected %0d", op == 1 ? "capsule" : "row",
                             op == 1 ? capsules : rows, i, found, want[i]);
                wrong++;
            end
            codes++;
            @(negedge clock);
        end
    endtask

    initial begin
        file = $fopen("steps.txt", "r");
        if (file == 0) begin
            $display("there is no steps.txt");
            $fatal(1);
        end
        repeat (2) @(negedge clock);
        reset = 0;
        while ($fscanf(file, "%d", op) == 1) begin
            n = next();
            for (int i = 0; i < 3; i++) format[i] = next();
            for (int i = 0; i < n; i++) given[i] = next();
            for (int i = 0; i < n; i++) want[i] = next();
            dim = 7'(n);
            span = 10'(n);
            s_frac = 5'(format[0]);
            b_frac = 6'(format[0]);
            v_bits = 5'(format[1]);
            c_bits = 5'(format[1]);
            v_frac = 5'(format[2]);
            c_frac = 5'(format[2]);
            run_one;
            if (op == 1) capsules++;
            else rows++;
        end
        if (wrong != 0) begin
            $display("%0d of %0d codes differ", wrong, codes);
            $fatal(1);
        end
        $display("passed %0d codes of %0d capsules and %0d rows", codes, capsules, rows);
        $finish;
    end
endmodule
