// vector_folder.sv - what a folder of `detent export --to vectors` holds: the sizes of its layer and the lines of its
//                    files. Names and order of lines are accel/vectors/vectors.h's.
//
//   +dir=FOLDER +layout=course|pack-a|output-stationary, and, with the values of features.27 as defaults,
//   +height=4 +width=4 +pad=1 +window=3 +stride=1 +dilation=1 +channels=8 +filters=8 (16 with simd) +groups=1
//   +pad_left +pad_bottom +pad_right, +window_width, +stride_columns, +dilation_columns   where they differ from those
//   +simd=1       two 2-bit channels in a PE and a step: pack-a always, output-stationary on request
//   +headers=3    lines before the data, in every file; manifest.json counts them (export --header-lines)
module vector_folder #(
    parameter int ROWS = 8,
    parameter int COLS = 8,
    parameter int PSUM_BITS = 16
);
    localparam int WORD_BITS = COLS * PSUM_BITS;

    vector_file #(.BITS(ROWS * 4)) activations ();  // input tile (output stationary: tile of positions), line
    vector_file #(.BITS(ROWS * 4)) weights ();  // output tile, input tile, tap, line; weights_os: COLS * 4 bits
    vector_file #(.BITS(WORD_BITS)) taps ();  // output tile, input tile, tap, position of the padded input
    vector_file #(.BITS(32)) addresses ();  // output, tap
    vector_file #(.BITS(WORD_BITS)) raws ();  // output tile, output
    vector_file #(.BITS(WORD_BITS)) relus ();

    string dir, layout;
    bit pack;  // pack-a
    bit stationary;  // outputs are; else weights
    bit simd;
    int headers, channels, filters;
    int window_width, stride, stride_columns, dilation, dilation_columns;
    int group_channels, blocks;  // channels of a group; blocks of groups that are in the array at once
    int in_tiles, block_out_tiles;  // of a block
    int out_tiles;  // of all blocks
    int width;  // of the padded input
    int out_width;
    int n_inputs, n_outputs, n_taps;  // positions of the padded input; of the output; of a window
    int n_errors;

    function automatic int argument(input string format, input int otherwise);
        int value;
        argument = otherwise;
        if ($value$plusargs(format, value)) argument = value;
    endfunction

    // From a window's first tap to its last.
    function automatic int reach(input int n, input int step);
        reach = (n - 1) * step;
    endfunction

    // Each group has rows and columns of its own; output stationary, and where it does not fit, the array to itself.
    task automatic cut_tiles(input int groups);
        automatic int lanes = simd ? 2 : 1, group_filters = filters / groups;
        automatic int down, across, at_once;

        group_channels = channels / groups;
        down = ROWS / ((group_channels - 1) / lanes + 1);
        across = COLS / group_filters;
        at_once = down < across ? down : across;
        if (stationary || at_once == 0) at_once = 1;
        blocks = (groups - 1) / at_once + 1;
        in_tiles = (group_channels - 1) / (lanes * ROWS) + 1;
        block_out_tiles = (group_filters - 1) / COLS + 1;
        out_tiles = blocks * block_out_tiles;
    endtask

    task automatic read_arguments;
        int height, pad, window;
        if (!$value$plusargs("dir=%s", dir)) dir = ".";
        if (!$value$plusargs("layout=%s", layout)) layout = "course";
        pack = layout == "pack-a";
        stationary = layout == "output-stationary";
        simd = pack || argument("simd=%d", 0) != 0;
        headers = argument("headers=%d", 3);
        channels = argument("channels=%d", simd ? 16 : 8);
        filters = argument("filters=%d", simd ? 16 : 8);
        window = argument("window=%d", 3);
        window_width = argument("window_width=%d", window);
        stride = argument("stride=%d", 1);
        stride_columns = argument("stride_columns=%d", stride);
        dilation = argument("dilation=%d", 1);
        dilation_columns = argument("dilation_columns=%d", dilation);
        pad = argument("pad=%d", 1);
        height = argument("height=%d", 4) + pad + argument("pad_bottom=%d", pad);
        width = argument("width=%d", 4) + argument("pad_left=%d", pad) + argument("pad_right=%d", pad);

        cut_tiles(argument("groups=%d", 1));
        out_width = (width - 1 - reach(window_width, dilation_columns)) / stride_columns + 1;
        n_inputs = height * width;
        n_outputs = ((height - 1 - reach(window, dilation)) / stride + 1) * out_width;
        n_taps = window * window_width;
    endtask

    // The first tile of activations that an output tile reads.
    function automatic int first_in_tile(input int out_tile);
        first_in_tile = out_tile / block_out_tiles * in_tiles;
    endfunction

    // Output stationary, a block is a group.
    function automatic int first_channel(input int out_tile);
        first_channel = out_tile / block_out_tiles * group_channels;
    endfunction

    // What a name says of a tile: nothing where there is only one.
    function automatic string tile(input string letters, input int index, input int n);
        tile = "";
        if (n > 1) tile = $sformatf("_%s%0d", letters, index);
    endfunction

    function automatic string activation_name(input int i);
        activation_name = $sformatf("activation_tile%0d", i);
        if (pack) activation_name = {"activation", tile("ictile", i, blocks * in_tiles)};
        if (stationary) activation_name = {"activation_os", tile("tile", i, (n_outputs - 1) / ROWS + 1)};
    endfunction

    function automatic string weight_name(input int i, input int o, input int k);
        weight_name = $sformatf("weight_itile%0d_otile%0d_kij%0d", i, o, k);
        if (pack) weight_name = $sformatf("weight_octile%0d%s_kij%0d", o, tile("ictile", i, blocks * in_tiles), k);
        if (stationary) weight_name = {"weights_os", tile("otile", o, out_tiles)};
    endfunction

    function automatic string tap_name(input int i, input int o);
        tap_name = "psum";
        if (blocks * in_tiles * out_tiles > 1) begin
            tap_name = $sformatf("psum_itile%0d_otile%0d", i, o);
            if (pack) tap_name = $sformatf("psum_octile%0d_ictile%0d", o, i);
        end
    endfunction

    function automatic string output_name(input string stem, input int o);
        output_name = {stem, tile("otile", o, out_tiles)};
        if (pack) output_name = $sformatf("%s_octile%0d", stem, o);
    endfunction

    function automatic string path(input string name);
        path = {dir, "/", name, ".txt"};
    endfunction

    // Digits of an address: those of the course's memory, or more.
    function automatic int address_bits();
        address_bits = 11;
        while (n_taps * n_inputs > 1 << address_bits) address_bits++;
    endfunction

    task automatic read_weight_stationary;
        automatic int n_weights = simd ? 2 * COLS : COLS;

        for (int i = 0; i < blocks * in_tiles; i++)
            activations.append(path(activation_name(i)), headers, n_inputs, ROWS * 4);
        for (int o = 0; o < out_tiles; o++)
            for (int i = first_in_tile(o); i < first_in_tile(o) + in_tiles; i++) begin
                for (int k = 0; k < n_taps; k++)
                    weights.append(path(weight_name(i, o, k)), headers, n_weights, ROWS * 4);
                taps.append(path(tap_name(i, o)), headers, n_taps * n_inputs, WORD_BITS);
            end
        addresses.append(path("acc_address"), headers, n_outputs * n_taps, address_bits());
    endtask

    task automatic read_output_stationary;
        for (int i = 0; i < n_outputs; i += ROWS)
            activations.append(path(activation_name(i / ROWS)), headers, channels * n_taps, ROWS * 4);
        for (int o = 0; o < out_tiles; o++)
            weights.append(path(weight_name(0, o, 0)), headers, group_channels * n_taps, COLS * 4);
    endtask

    task automatic read_files;
        if (stationary) read_output_stationary;
        else read_weight_stationary;
        for (int o = 0; o < out_tiles; o++) begin
            raws.append(path(output_name("out_raw", o)), headers, n_outputs, WORD_BITS);
            relus.append(path(output_name("out", o)), headers, n_outputs, WORD_BITS);
        end
        n_errors = activations.n_errors + weights.n_errors + taps.n_errors + addresses.n_errors + raws.n_errors +
                   relus.n_errors;
    endtask

    // An address that is wrong may still find the right word, where the image is 0.
    task automatic check_addresses;
        for (int n = 0; n < addresses.n_lines; n++) begin
            automatic int o = n / n_taps, k = n % n_taps;
            automatic int row = o / out_width * stride + k / window_width * dilation;
            automatic int column = o % out_width * stride_columns + k % window_width * dilation_columns;
            automatic int expected = k * n_inputs + row * width + column;

            if (addresses.line[n] != expected) begin
                $display("acc_address: position %0d tap %0d: %0d, expected %0d", o, k, addresses.line[n], expected);
                n_errors++;
            end
        end
    endtask

    // n_errors: what is wrong has been printed.
    task automatic read;
        read_arguments;
        if (layout != "course" && !pack && !stationary) begin
            $display("layout %s: expected course, pack-a or output-stationary", layout);
            n_errors = 1;
        end else if (stationary && simd && group_channels % 2 != 0) begin
            $display("simd with %0d channels of a group: expected an even number", group_channels);
            n_errors = 1;
        end else begin
            read_files;
            if (n_errors == 0) check_addresses;
        end
    endtask
endmodule
