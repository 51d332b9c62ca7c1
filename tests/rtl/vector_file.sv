// vector_file.sv - data lines of files that `detent export --to vectors` writes: '0' and '1', most significant first.
module vector_file #(
    parameter int BITS = 32,
    parameter int DEPTH = 65536
);
    logic [BITS-1:0] line[0:DEPTH-1];
    int n_lines = 0, n_errors = 0;

    // Adds the file's lines behind those read before: n lines of exactly `bits` digits behind the header, and no more.
    task automatic append(input string path, input int header_lines, input int n, input int bits);
        int file, symbol, i;
        bit opened, good;
        logic [BITS-1:0] value;

        file = $fopen(path, "r");
        opened = file != 0;
        good = opened && n_lines + n <= DEPTH && bits <= BITS;
        i = 0;
        if (opened) begin
            for (int h = 0; h < header_lines; h++) do symbol = $fgetc(file); while (symbol >= 0 && symbol != "\n");
            while (good && i < n) begin
                value = 0;
                for (int b = 0; b < bits; b++) begin
                    symbol = $fgetc(file);
                    good &= symbol == "0" || symbol == "1";
                    value = {value[BITS-2:0], symbol == "1"};
                end
                line[n_lines+i] = value;
                symbol = $fgetc(file);
                good = good && symbol == "\n";
                i++;
            end
            symbol = $fgetc(file);
            good = good && symbol < 0;
            $fclose(file);
        end
        if (!good) begin
            if (!opened) $display("%s: cannot be read", path);
            else if (n_lines + n > DEPTH) $display("%s: with those before, more than %0d lines", path, DEPTH);
            else
                $display("%s: expected %0d lines of %0d digits behind %0d lines of header; line %0d is not", path, n,
                         bits, header_lines, header_lines + i);
            n_errors++;
        end
        n_lines += n;
    endtask
endmodule
