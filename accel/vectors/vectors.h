/*
 * vectors.h - the text files with which RTL of the array is brought up: activations, weights, psums, addresses; one
 *             line a vector of '0' and '1', most significant bit first.
 *
 * Layouts (dt_layout; lanes are named from the left, [..] is there if a layer has several such tiles):
 *   course             activation_tile{i}.txt: (H + 2 pad)(W + 2 pad) lines, channels high to low, signed
 *                      where codes are below 0
 *                      weight_itile{i}_otile{o}_kij{k}.txt: a line a filter ascending, channels high to low, signed
 *                      psum[_itile{i}_otile{o}].txt: what the column FIFOs deliver: taps, in each all input positions
 *                      out_raw[_otile{o}].txt, out[_otile{o}].txt (after ReLU): filters high to low
 *                      acc_address.txt: for each output and tap, the line of psum.txt that is added
 *   notebook           activation.txt unpadded; weight lines by filter descending, channels ascending; psum_{k}.txt at
 *                      output positions; psum.txt (before ReLU), psum_relu.txt
 *   pack-a             two 2-bit channels a PE row, 2r and 2r+1: activation.txt channels high to low;
 *                      weight_octile{o}_kij{k}.txt: for each filter a line of odd channels, then one of even;
 *                      psum, out_raw_octile{o}.txt, out_octile{o}.txt, acc_address.txt as course
 *   pack-b             channels r (low bits) and r + rows (high): names as course, tiles of rows channels, 2-bit lanes
 *   pack-c             activation.txt unpadded, weight_k{k}.txt a line a filter, out.txt: tiles of 2 rows channels and
 *                      2 cols filters, ascending from the left; no headers
 *   output-stationary  activation_os[_tile{i}].txt, weights_os[_otile{o}].txt: a line for each channel and tap;
 *                      positions (tiles of rows positions), and filters, high to low; out_raw, out as course
 * Channels and filters past the last are zeros. Each file has a human-readable twin of decimals in viz/.
 *
 * Position (row, col) of the padded input is read by output (p, q) under tap (r, s) where row = p stride + r dilation,
 * each of its axis, and padded is what pad adds at top, left, bottom and right: H + 2 pad above stands for all.
 *
 * Groups: tiles are those of a layer of one group whose weights between different groups are 0, but for these rules,
 * which are also tiling.h's:
 *   - Groups that go on the array at once are a block, each in rows and columns of its own: as many as have room, one
 *     of output-stationary. Of a depthwise layer on an 8x8 array a block has 8 channels, and their 8 filters.
 *   - A tile has channels, or filters, of one block alone, in their order. Lanes and lines left over are zeros. In
 *     packs a group begins with a PE row of its own: with an odd number of channels its last row has one. Of groups
 *     that share the array, pack-b has the first half of each group's channels in the low bits.
 *   - Tiles are numbered on from block to block. Files of weights and psums are there of tiles of the same block:
 *     depthwise, weight_itile1_otile1_kij0.txt, and none of itile 0 and otile 1, whose weights are all 0.
 *   - output-stationary: activation files have lines for all channels, a weights file for those of its group.
 *
 * Before the data stand comment lines. A reader skips them ($fgets, or $fscanf of %s where a line is one token), then
 * reads words ($fscanf of %b); $readmemb skips those that begin with // by itself.
 *   notebook           its own words, which begin with #: 3 lines in activation.txt and psum_relu.txt, 2 in psum.txt,
 *                      none in the others; $readmemb needs --header-lines
 *   pack-c             none
 *   all others         3 lines of one token each, which begin with //
 *   --header-lines N   N such lines, in every file of any layout
 * Source: the files of the ECE284 course's project; pack-a, -b, -c and output-stationary are those of designs made in
 * it.
 *
 * This file makes texts; formats/vector_folder.c writes them with manifest.json, and reads them back.
 * Tests: tests/accel/test_vectors.c, test_vectors_layouts.c, test_vectors_groups.c, test_vector_headers.c,
 * test_vectors_compare.c, test_vector_folder.c.
 */
#ifndef DT_VECTORS_H
#define DT_VECTORS_H

#include "../psum/psum.h"

typedef enum {
    DT_VECTOR_ACTIVATION,
    DT_VECTOR_WEIGHT,
    DT_VECTOR_TAP_PSUM,
    DT_VECTOR_OUTPUT, /* total psums */
    DT_VECTOR_OUTPUT_RELU,
    DT_VECTOR_ADDRESS,
    DT_VECTOR_TWIN
} dt_vector_role;

extern const char *const dt_vector_role_names[8]; /* "activation", ..; NULL at the end */

typedef struct {
    char name[96];   /* "weight_itile0_otile0_kij4.txt", "viz/viz_out.txt" */
    char about[160]; /* what a line holds, in words */
    dt_vector_role role;
    int header_lines, lines; /* lines: of data */
    int lanes, bits;         /* of a data line; 0 lanes: decimal text */
    int is_signed;
    char order[160];            /* "lanes channel 7..0; lines nij 0..35" */
    int in_tile, out_tile, tap; /* -1 where it is not of one; in_tile of positions for output stationary activations */
    char *text;                 /* NUL-terminated, owned; NULL before it is made or read */
    size_t bytes;               /* of text */
    char sha256[65];            /* of text; formats/ fills it */
} dt_vector_file;

typedef struct {
    dt_layout layout;
    int header_lines; /* as dt_vector_style's; of vectors read from files DT_HEADER_OF_LAYOUT: each file has its own */
    char layer[DT_NAME_MAX + 1];
    dt_data_origin origin; /* of the network */
    dt_psum_shape shape;
    int rows, cols, psum_bits, simd;
    int groups_at_once, blocks;            /* groups of a block; blocks that all groups make */
    int in_tiles, out_tiles, tile_filters; /* tiles of a block; filters of an output tile, places left empty too */
    int activation_bits, weight_bits;      /* of a code, with its sign if it has one */
    int activation_signed;                 /* 1: activation codes are two's complement, as weights always are */
    float sx;
    float *sw; /* [n_sw], owned */
    int n_sw;
    int64_t n_overflows; /* psums in tap psum and output files that psum_bits did not hold */
    int n_files;
    dt_vector_file *file; /* the twin of file[i] is file[i + n_files / 2] */
} dt_vectors;

/* Of the first map of image 0 of c. Refused with the reason: codes that do not fit the layout's lanes, as signed
 * ones in packs. */
DT_MUST_CHECK dt_status dt_vectors_make(const dt_capture *c, const char *layer, const dt_array *array,
                                        const dt_vector_style *style, dt_vectors **out);
void dt_vectors_destroy(dt_vectors *v);

/* From layout, header_lines, shape, rows, cols and bits: checks them, sets simd, blocks, tiles and the shape's outputs,
 * and lists the files, without texts. A layer that needs more than most_files is refused. Messages begin with `where`;
 * `kind` is the status of a value out of range: DT_ERR_ARGUMENT of a call, DT_ERR_FORMAT of a manifest. */
DT_MUST_CHECK dt_status dt_vectors_list(dt_vectors *v, int64_t most_files, const char *where, dt_status kind);

/* From the texts alone: activations and weights back to integers, their psums in 64 bits, and which of those in the
 * psum and output files differ. DT_ERR_FORMAT, naming file and line, if a text is not what its file's lanes and lines
 * say, or an address or a twin is wrong. */
DT_MUST_CHECK dt_status dt_vectors_compare(const dt_vectors *v, dt_vectors_report *out);

#endif /* DT_VECTORS_H */
