// vectors_tb.sv - runs the layer in a folder of `detent export --to vectors` through the core, and compares all psums.
//
//   vvp simulation +dir=FOLDER +layout=course|pack-a|output-stationary [+repeat=N] [sizes: see vector_folder.sv]
//
// A line for each output position that differs; then "PASS 16/16 positions, ..." or "FAIL ..." and exit code 1.
// cycles: of one image, from reset to its last output.  psums: outputs of one image.  repeat: images, for timing.
module vectors_tb #(
    parameter int ROWS = 8,
    parameter int COLS = 8,
    parameter int PSUM_BITS = 16,
    parameter int DEPTH = 2048  // words of psum memory
);
    import array_op::*;

    localparam int WORD_BITS = COLS * PSUM_BITS;
    localparam int ADDRESS_BITS = $clog2(DEPTH);
    localparam int TAP_LINES = 8;  // at most, of those that differ

    logic clock = 0, reset = 1, simd, add, add_first, add_last, tap_valid, out_valid;
    logic [2:0] op;
    logic [ROWS*4-1:0] west;
    logic [COLS*8-1:0] north;
    logic [ADDRESS_BITS-1:0] address;
    logic [WORD_BITS-1:0] tap, out_raw, out;

    vector_folder #(.ROWS(ROWS), .COLS(COLS), .PSUM_BITS(PSUM_BITS)) folder ();
    core #(.ROWS(ROWS), .COLS(COLS), .PSUM_BITS(PSUM_BITS), .DEPTH(DEPTH)) dut (.*);

    int out_tile, n_taps_seen, n_outputs_seen;  // of the output tile in the array, so far
    int cycles = 0, n_wrong_taps = 0, n_errors = 0;
    bit wrong[0:65535];  // of each output position

    task automatic clock_with(input logic [2:0] what, input logic [ROWS*4-1:0] rows, input logic [COLS*8-1:0] columns);
        {op, west, north} = {what, rows, columns};
        @(negedge clock);
    endtask

    task automatic idle(input int n_clocks);
        {op, west, north} = 0;
        repeat (n_clocks) @(negedge clock);
    endtask

    // Each tile and tap: weights, then all positions; pass follows pass without a gap.
    task automatic multiply_weight_stationary(input int passes);
        automatic int n_weights = simd ? 2 * COLS : COLS, first = folder.first_in_tile(out_tile);

        for (int t = 0; t < passes; t++) begin
            for (int i = 0; i < n_weights; i++)
                clock_with(LOAD, folder.weights.line[(out_tile*passes+t)*n_weights+i], 0);
            for (int n = 0; n < folder.n_inputs; n++)
                clock_with(EXECUTE, folder.activations.line[(first+t/folder.n_taps)*folder.n_inputs+n], 0);
        end
        idle(ROWS + COLS);  // until the last psum is in the memory
    endtask

    // Each output: the words of its taps, tile after tile.
    task automatic accumulate(input int passes);
        for (int n = 0; n < folder.n_outputs * passes; n++) begin
            automatic int o = n / passes, t = n % passes;
            automatic int tile_base = t / folder.n_taps * folder.n_taps * folder.n_inputs;

            address = ADDRESS_BITS'(tile_base + folder.addresses.line[o*folder.n_taps+t%folder.n_taps]);
            {add, add_first, add_last} = {1'b1, t == 0, t == passes - 1};
            @(negedge clock);
        end
        {add, add_first, add_last} = 0;
        idle(2);  // through memory and sum
    endtask

    // A step: one channel under one tap, or (simd) two channels, whose lines are a window's taps apart.
    task automatic accumulate_step(input int activation_line, input int weight_line);
        automatic logic [ROWS*4-1:0] x = folder.activations.line[activation_line], rows = x;
        automatic logic [COLS*4-1:0] w = folder.weights.line[weight_line], second_w = 0;
        automatic logic [COLS*8-1:0] columns;

        if (simd) begin
            second_w = folder.weights.line[weight_line+folder.n_taps];
            for (int r = 0; r < ROWS; r++)
                rows[r*4+2+:2] = folder.activations.line[activation_line+folder.n_taps][r*4+:2];
        end
        for (int c = 0; c < COLS; c++) columns[c*8+:8] = {second_w[c*4+:4], w[c*4+:4]};
        clock_with(ACCUMULATE, rows, columns);
    endtask

    // Each tile of positions: all channels of the group and all taps, then the sums.
    task automatic run_output_stationary;
        automatic int lines = folder.channels * folder.n_taps, weight_lines = folder.group_channels * folder.n_taps;
        automatic int first = folder.first_channel(out_tile) * folder.n_taps;

        for (int p = 0; p < folder.n_outputs; p += ROWS) begin
            for (int c = 0; c < folder.group_channels; c += simd ? 2 : 1)
                for (int k = 0; k < folder.n_taps; k++)
                    accumulate_step(p / ROWS * lines + first + c * folder.n_taps + k,
                                    out_tile * weight_lines + c * folder.n_taps + k);
            repeat (ROWS) clock_with(DRAIN, 0, 0);
        end
        idle(ROWS + COLS);  // until the last sum is out
    endtask

    task automatic run_weight_stationary;
        automatic int passes = folder.in_tiles * folder.n_taps;

        multiply_weight_stationary(passes);
        accumulate(passes);
        if (n_taps_seen != passes * folder.n_inputs) fail($sformatf("%0d words of tap psums", n_taps_seen));
    endtask

    task automatic run_image;
        for (out_tile = 0; out_tile < folder.out_tiles; out_tile++) begin
            {n_taps_seen, n_outputs_seen} = 0;
            reset = 1;
            @(negedge clock);
            reset = 0;
            if (folder.stationary) run_output_stationary;
            else run_weight_stationary;
            if (n_outputs_seen < folder.n_outputs) fail($sformatf("%0d outputs", n_outputs_seen));
        end
    endtask

    task automatic fail(input string what);
        $display("error: %s", what);
        n_errors++;
    endtask

    task automatic see_tap;
        automatic int tile_lines = folder.in_tiles * folder.n_taps * folder.n_inputs;
        automatic logic [WORD_BITS-1:0] expected = folder.taps.line[out_tile*tile_lines+n_taps_seen];

        if (tap !== expected) begin
            n_wrong_taps++;
            if (n_wrong_taps <= TAP_LINES)
                $display("output tile %0d tap %0d input position %0d: psums %h, expected %h", out_tile,
                         n_taps_seen / folder.n_inputs, n_taps_seen % folder.n_inputs, tap, expected);
        end
        n_taps_seen++;
    endtask

    // Output stationary, the last row of a tile comes first; rows past the last position are of no output.
    task automatic see_output;
        automatic int position = n_outputs_seen;
        automatic logic [WORD_BITS-1:0] raw, relu;

        if (folder.stationary) position = n_outputs_seen / ROWS * ROWS + ROWS - 1 - n_outputs_seen % ROWS;
        raw = folder.raws.line[out_tile*folder.n_outputs+position];
        relu = folder.relus.line[out_tile*folder.n_outputs+position];
        if (position < folder.n_outputs && (out_raw !== raw || out !== relu)) begin
            wrong[position] = 1;
            $display("output tile %0d position %0d: psums %h, expected %h; after ReLU %h, expected %h", out_tile,
                     position, out_raw, raw, out, relu);
        end
        n_outputs_seen++;
    endtask

    task automatic report(input int images);
        automatic int right = 0;
        automatic bit pass;

        for (int p = 0; p < folder.n_outputs; p++) if (n_errors == 0 && !wrong[p]) right++;
        pass = right == folder.n_outputs && n_wrong_taps == 0;
        $display("%s %0d/%0d positions, %0d wrong tap psums, cycles=%0d psums=%0d images=%0d", pass ? "PASS" : "FAIL",
                 right, folder.n_outputs, n_wrong_taps, cycles / images, folder.n_outputs * folder.filters, images);
`ifdef __ICARUS__
        if (!pass) $finish_and_return(1);  // $fatal would print behind the last line
`else
        if (!pass) $fatal;
`endif
        $finish;
    endtask

    initial forever #1 clock = !clock;

    initial forever @(posedge clock) begin
        cycles++;
        if (tap_valid) see_tap;
        if (out_valid) see_output;
    end

    initial begin
        int images, words;

        {op, west, north, add, add_first, add_last, address} = 0;
        if (!$value$plusargs("repeat=%d", images)) images = 1;
        folder.read;
        simd = folder.simd;
        words = folder.in_tiles * folder.n_taps * folder.n_inputs;
        if (images < 1) fail("repeat must be 1 or more");
        else if (folder.n_errors > 0) fail($sformatf("%0d in what %s holds", folder.n_errors, folder.dir));
        else if (!folder.stationary && words > DEPTH) fail($sformatf("%0d words of psums, DEPTH is %0d", words, DEPTH));
        else repeat (images) run_image;
        report(images);
    end
endmodule
