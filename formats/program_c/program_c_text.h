/*
 * program_c_text.h - the functions of the C that program_c.c writes, one for each kind of layer. A struct describes the
 *                    layer to its function.
 *
 * A function is written only if the program has such a layer. "code" is the narrowest of uint8_t, int8_t, int16_t
 * and int32_t that holds every activation code. Psums of a layer are never stored: THRESHOLD and AFFINE ask for those
 * of one position. Sums of codes are convolutions whose weights are 1.
 */
#ifndef DT_PROGRAM_C_TEXT_H
#define DT_PROGRAM_C_TEXT_H

/* What both convolutions begin with, behind their descriptor. */
#define CONVOLVE_HEAD                                                                                               \
    "static int32_t dot(const code *x, const int8_t *w, int n)\n"                                                   \
    "{\n"                                                                                                           \
    "    int32_t sum = 0;\n"                                                                                        \
    "    for (int i = 0; i < n; i++) sum += x[i] * w[i];\n"                                                         \
    "    return sum;\n"                                                                                             \
    "}\n"                                                                                                           \
    "\n"                                                                                                            \
    "/* The psums of every filter at row p, column q of the output. Outside of x there are zeros: they are passed " \
    "over. */\n"                                                                                                    \
    "static void convolve(const conv_layer *v, const code *x, int p, int q, int32_t *psum)\n"                       \
    "{\n"

static const char conv_text[] =
    "typedef struct {\n"
    "    int height, width, channels; /* of x */\n"
    "    int filters, window_height, window_width, stride, pad;\n"
    "    const int8_t *weight; /* [filters][window_height][window_width][channels] */\n"
    "} conv_layer;\n"
    "\n" CONVOLVE_HEAD "    const int row = p * v->stride - v->pad, column = q * v->stride - v->pad;\n"
    "    const int first = column < 0 ? -column : 0; /* columns of the window that lie in x: first .. last - 1 */\n"
    "    const int last = v->width - column < v->window_width ? v->width - column : v->window_width;\n"
    "    const int n = last > first ? (last - first) * v->channels : 0;\n"
    "    const int8_t *w = v->weight + first * v->channels;\n"
    "\n"
    "    for (int k = 0; k < v->filters; k++) {\n"
    "        psum[k] = 0;\n"
    "        for (int r = row; r < row + v->window_height; r++) {\n"
    "            if (r >= 0 && r < v->height) psum[k] += dot(x + (r * v->width + column + first) * v->channels, w, "
    "n);\n"
    "            w += v->window_width * v->channels;\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

/* In place of conv_text, where a convolution has groups, dilation, or strides or pads that differ, or is a sum. */
static const char general_conv_text[] =
    "typedef struct {\n"
    "    int height, width, channels; /* of x */\n"
    "    int filters, groups, window_height, window_width;\n"
    "    int stride[2], pad[2], dilation[2]; /* of rows, of columns; pads above and on the left */\n"
    "    const int8_t *weight; /* [filters][window_height][window_width][channels / groups] */\n"
    "    const code *other;    /* NULL, or of the size of x: its psums are added */\n"
    "} conv_layer;\n"
    "\n" CONVOLVE_HEAD "    const int row = p * v->stride[0] - v->pad[0], column = q * v->stride[1] - v->pad[1];\n"
    "    const int channels = v->channels / v->groups, filters = v->filters / v->groups; /* of a group */\n"
    "    const int8_t *w = v->weight;\n"
    "\n"
    "    for (int k = 0; k < v->filters; k++) {\n"
    "        const code *from = x + k / filters * channels;\n"
    "        psum[k] = 0;\n"
    "        for (int i = 0; i < v->window_height * v->window_width; i++, w += channels) {\n"
    "            const int r = row + i / v->window_width * v->dilation[0];\n"
    "            const int s = column + i % v->window_width * v->dilation[1];\n"
    "            if (r < 0 || r >= v->height || s < 0 || s >= v->width) continue;\n"
    "            const int at = (int)(from - x) + (r * v->width + s) * v->channels;\n"
    "            psum[k] += dot(x + at, w, channels);\n"
    "            if (v->other) psum[k] += dot(v->other + at, w, channels);\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

static const char threshold_text[] =
    "typedef struct {\n"
    "    const conv_layer *conv;\n"
    "    int height, width; /* of y */\n"
    "    int low, n_steps;\n"
    "    const int8_t *sign;       /* [filters] */\n"
    "    const int32_t *threshold; /* [n_steps][filters] */\n"
    "} threshold_layer;\n"
    "\n"
    "/* Number of a filter's thresholds that psum reaches. They ascend, and half is the largest power of 2 up to "
    "n_steps. "
    "*/\n"
    "static int steps_passed(const threshold_layer *v, const int32_t *threshold, int32_t psum, int half)\n"
    "{\n"
    "    int passed = 0;\n"
    "    for (; half > 0; half /= 2) {\n"
    "        const int next = passed + half < v->n_steps ? passed + half : v->n_steps;\n"
    "        passed = psum >= threshold[(next - 1) * v->conv->filters] ? next : passed;\n"
    "    }\n"
    "    return passed;\n"
    "}\n"
    "\n"
    "/* code = low + number of thresholds that sign * psum reaches */\n"
    "static void threshold(const threshold_layer *v, const code *x, code *y)\n"
    "{\n"
    "    const int filters = v->conv->filters;\n"
    "    int half = 1;\n"
    "    while (2 * half <= v->n_steps) half *= 2;\n"
    "    for (int i = 0; i < v->height * v->width; i++, y += filters) {\n"
    "        convolve(v->conv, x, i / v->width, i % v->width, psums);\n"
    "        for (int k = 0; k < filters; k++) {\n"
    "            y[k] = (code)(v->low + steps_passed(v, v->threshold + k, psums[k] * v->sign[k], half));\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

static const char multiplier_text[] =
    "typedef struct {\n"
    "    const conv_layer *conv;\n"
    "    int height, width; /* of y */\n"
    "    int low, high;\n"
    "    const int32_t *multiplier; /* [filters] */\n"
    "    const int64_t *offset;     /* [filters] */\n"
    "    const int32_t *shift;      /* [filters] */\n"
    "} multiplier_layer;\n"
    "\n"
    "/* code = psum * multiplier + offset, shifted right with its sign (C leaves that open), clamped */\n"
    "static void multiply(const multiplier_layer *v, const code *x, code *y)\n"
    "{\n"
    "    const int filters = v->conv->filters;\n"
    "    for (int i = 0; i < v->height * v->width; i++, y += filters) {\n"
    "        convolve(v->conv, x, i / v->width, i % v->width, psums);\n"
    "        for (int k = 0; k < filters; k++) {\n"
    "            const int64_t wide = (int64_t)psums[k] * v->multiplier[k] + v->offset[k];\n"
    "            const int64_t scaled = wide < 0 ? ~(~wide >> v->shift[k]) : wide >> v->shift[k];\n"
    "            y[k] = (code)(scaled < v->low ? v->low : scaled > v->high ? v->high : scaled);\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

static const char affine_text[] =
    "typedef struct {\n"
    "    const conv_layer *conv;\n"
    "    int height, width;           /* of y */\n"
    "    const float *slope, *offset; /* [filters] */\n"
    "} affine_layer;\n"
    "\n"
    "static void affine(const affine_layer *v, const code *x, float *y)\n"
    "{\n"
    "    const int filters = v->conv->filters;\n"
    "    for (int i = 0; i < v->height * v->width; i++, y += filters) {\n"
    "        convolve(v->conv, x, i / v->width, i % v->width, psums);\n"
    "        for (int k = 0; k < filters; k++) {\n"
    "            volatile float product; /* rounded to float: else compilers may fuse it with the sum */\n"
    "            product = v->slope[k] * (float)psums[k];\n"
    "            y[k] = product + v->offset[k];\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

/* %1$s: codes or reals, %2$s: its type */
static const char relu_text[] = "static void relu_%1$s(int n, const %2$s *x, %2$s *y)\n"
                                "{\n"
                                "    for (int i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];\n"
                                "}\n"
                                "\n";

static const char limit_text[] =
    "static void limit(int n, float most, const float *x, float *y)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i] > most ? most : x[i];\n"
    "}\n"
    "\n";

static const char clip_text[] = "static void clip(int n, float low, float high, const float *x, float *y)\n"
                                "{\n"
                                "    for (int i = 0; i < n; i++) y[i] = x[i] < low ? low : x[i] > high ? high : x[i];\n"
                                "}\n"
                                "\n";

/* One part of the codes that are put side by side. */
static const char concat_text[] =
    "static void part(const code *x, int rows, int length, code *y, int step)\n"
    "{\n"
    "    for (int i = 0; i < rows; i++, x += length, y += step) memcpy(y, x, (size_t)length * sizeof *y);\n"
    "}\n"
    "\n";

static const char transpose_text[] =
    "/* [rows][columns][inner] becomes [columns][rows][inner]. */\n"
    "static void transpose(int rows, int columns, int inner, const code *x, code *y)\n"
    "{\n"
    "    for (int i = 0; i < rows * columns; i++, y += inner) {\n"
    "        memcpy(y, x + (i % rows * columns + i / rows) * inner, (size_t)inner * sizeof *y);\n"
    "    }\n"
    "}\n"
    "\n";

static const char add_text[] = "static void add(int n, const float *a, const float *b, float *y)\n"
                               "{\n"
                               "    for (int i = 0; i < n; i++) y[i] = a[i] + b[i];\n"
                               "}\n"
                               "\n";

static const char pool_text[] =
    "typedef struct {\n"
    "    int height, width, channels; /* of x */\n"
    "    int out_height, out_width;\n"
    "    int window[2], stride[2]; /* of rows, of columns */\n"
    "    int pad[2];               /* at the top, at the left */\n"
    "    int count_include_pad;    /* an average divides by all cells of a window, not by those in the map */\n"
    "} pool_layer;\n"
    "\n"
    "/* The cells of a window that lie in the map. */\n"
    "typedef struct {\n"
    "    int top, bottom, left, right; /* bottom and right are the first behind it */\n"
    "} pool_cells;\n"
    "\n"
    "static pool_cells cells_of(const pool_layer *v, int output)\n"
    "{\n"
    "    const int row = output / v->out_width * v->stride[0] - v->pad[0];\n"
    "    const int column = output % v->out_width * v->stride[1] - v->pad[1];\n"
    "    const int bottom = row + v->window[0], right = column + v->window[1];\n"
    "    pool_cells cells;\n"
    "    cells.top = row > 0 ? row : 0;\n"
    "    cells.bottom = bottom < v->height ? bottom : v->height;\n"
    "    cells.left = column > 0 ? column : 0;\n"
    "    cells.right = right < v->width ? right : v->width;\n"
    "    return cells;\n"
    "}\n"
    "\n";

/* %1$s: codes or reals, %2$s: its type */
static const char maxpool_text[] =
    "static void maxpool_%1$s(const pool_layer *v, const %2$s *x, %2$s *y)\n"
    "{\n"
    "    for (int i = 0; i < v->out_height * v->out_width; i++, y += v->channels) {\n"
    "        const pool_cells at = cells_of(v, i);\n"
    "        memcpy(y, x + (at.top * v->width + at.left) * v->channels, (size_t)v->channels * sizeof *y);\n"
    "        for (int h = at.top; h < at.bottom; h++) {\n"
    "            for (int w = at.left; w < at.right; w++) {\n"
    "                const %2$s *cell = x + (h * v->width + w) * v->channels;\n"
    "                for (int c = 0; c < v->channels; c++) {\n"
    "                    if (cell[c] > y[c]) y[c] = cell[c];\n"
    "                }\n"
    "            }\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

static const char avgpool_text[] =
    "static void avgpool(const pool_layer *v, const float *x, float *y)\n"
    "{\n"
    "    for (int i = 0; i < v->out_height * v->out_width; i++, y += v->channels) {\n"
    "        const pool_cells at = cells_of(v, i);\n"
    "        int n = 0;\n"
    "        for (int h = at.top; h < at.bottom; h++) {\n"
    "            for (int w = at.left; w < at.right; w++, n++) {\n"
    "                const float *cell = x + (h * v->width + w) * v->channels;\n"
    "                for (int c = 0; c < v->channels; c++) y[c] = n == 0 ? cell[c] : y[c] + cell[c];\n"
    "            }\n"
    "        }\n"
    "        if (v->count_include_pad) n = v->window[0] * v->window[1];\n"
    "        for (int c = 0; c < v->channels; c++) y[c] /= (float)n;\n"
    "    }\n"
    "}\n"
    "\n";

static const char round_text[] = "static int round_half_even(double v)\n"
                                 "{\n"
                                 "    const int down = (int)v - (v < (double)(int)v);\n"
                                 "    const double above = v - (double)down;\n"
                                 "    return down + (above > 0.5 || (above == 0.5 && down % 2 != 0));\n"
                                 "}\n"
                                 "\n";

static const char quantize_text[] =
    "typedef struct {\n"
    "    int n;\n"
    "    float alpha, floor, ceiling, factor;\n"
    "} quantize_layer;\n"
    "\n"
    "/* code = x / alpha, clamped (so that a NaN is a number, too), times factor, rounded */\n"
    "static void quantize(const quantize_layer *v, const float *x, code *y)\n"
    "{\n"
    "    for (int i = 0; i < v->n; i++) {\n"
    "        float u = x[i] / v->alpha;\n"
    "        u = u > v->floor ? u : v->floor;\n"
    "        u = u < v->ceiling ? u : v->ceiling;\n"
    "        u *= v->factor;\n"
    "        y[i] = (code)round_half_even((double)u);\n"
    "    }\n"
    "}\n"
    "\n";

static const char linear_text[] =
    "typedef struct {\n"
    "    int inputs, outputs;\n"
    "    const float *matrix, *bias; /* [outputs][inputs], [outputs] */\n"
    "} linear_layer;\n"
    "\n"
    "/* In double, where a product of two floats is exact: fused or not, the sum is the same. */\n"
    "static void linear(const linear_layer *v, const float *x, float *y)\n"
    "{\n"
    "    for (int o = 0; o < v->outputs; o++) {\n"
    "        const float *w = v->matrix + o * v->inputs;\n"
    "        double sum = (double)v->bias[o];\n"
    "        for (int i = 0; i < v->inputs; i++) sum += (double)x[i] * (double)w[i];\n"
    "        y[o] = (float)sum;\n"
    "    }\n"
    "}\n"
    "\n";

/* %1$s: the program's name in capitals */
static const char pixels_text[] =
    "static void pixels(const uint8_t *image, code *y)\n"
    "{\n"
    "    for (int i = 0; i < %1$s_HEIGHT * %1$s_WIDTH; i++) {\n"
    "        for (int c = 0; c < %1$s_CHANNELS; c++) *y++ = image_table[*image++ * %1$s_CHANNELS + c];\n"
    "    }\n"
    "}\n"
    "\n";

/* Where nothing else is said, %1$s is the program's name below, and %2$s the same in capitals. */

static const char header_begin_text[] = "#ifdef __cplusplus\n"
                                        "extern \"C\" {\n"
                                        "#endif\n"
                                        "\n";

static const char header_pixels_text[] =
    "/* image: rows of pixels, the channels of a pixel together, 0..255 as in the data set. */\n"
    "void %1$s_run(const uint8_t image[%2$s_HEIGHT * %2$s_WIDTH * %2$s_CHANNELS], %3$s scores[%2$s_CLASSES]);\n"
    "\n";

static const char header_lengths_text[] = "/* Scores are lengths of the class capsules in steps of 2^-24. */\n";

static const char header_reals_text[] =
    "/* image: reals as the network reads them, normalised where it was trained so; rows of cells, the channels of a\n"
    " * cell together. What is beyond the codes' range counts as its end, and a NaN as the lower one. */\n"
    "void %1$s_run_reals(const float image[%2$s_HEIGHT * %2$s_WIDTH * %2$s_CHANNELS], float scores[%2$s_CLASSES]);\n"
    "\n";

/* %3$s: scale and %4$d: zero of the image, %5$d..%6$d: its stored integers, %7$s and %8$d: scale and zero of the scores
 */
static const char header_stored_text[] =
    "/* Stored integers of 8 bits, in the order of the reals: q stands for scale * (q - zero). The image has the "
    "scale\n"
    " * %3$s and the zero %4$d, and q is %5$d..%6$d: what is beyond counts as the end.\n"
    " * The scores have the scale %7$s and the zero %8$d. */\n"
    "void %1$s_run_codes(const int8_t image[%2$s_HEIGHT * %2$s_WIDTH * %2$s_CHANNELS], int8_t scores[%2$s_CLASSES]);\n"
    "\n";

/* the program's name; "" of pixels, or "_reals"; their type */
static const char header_classify_text[] = "/* The class of the largest score, the first of equals. */\n"
                                           "int %s_classify%s(const %s *image);\n"
                                           "\n";

/* the program's name in capitals */
static const char header_end_text[] = "#ifdef __cplusplus\n"
                                      "}\n"
                                      "#endif\n"
                                      "#endif /* %s_H */\n";

/* %3$s: "" of pixels, or "_reals"; %4$s: their type; %5$s: that of the scores */
static const char classify_text[] = "int %1$s_classify%3$s(const %4$s *image)\n"
                                    "{\n"
                                    "    %5$s scores[%2$s_CLASSES];\n"
                                    "    int best = 0;\n"
                                    "\n"
                                    "    %1$s_run%3$s(image, scores);\n"
                                    "    for (int i = 1; i < %2$s_CLASSES; i++) {\n"
                                    "        if (scores[i] > scores[best]) best = i;\n"
                                    "    }\n"
                                    "    return best;\n"
                                    "}\n";

#endif /* DT_PROGRAM_C_TEXT_H */
