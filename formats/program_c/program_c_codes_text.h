/*
 * program_c_codes_text.h - the functions of the C that program_c_codes.c writes: those of the layers that compute under
 *                          a profile, and the arithmetic that they share.
 *
 * core/arith/requantize.h and core/arith/qsoftmax.h say what the arithmetic is; names here are theirs without dt_. A
 * "product" is one way to round a sum times a factor: twice, once, f32, exact, eighth, real or evaluated. Its functions
 * are one text with the product's name in it. Where C leaves open what a compiler does, this text does without:
 * negative integers are not shifted, and a float that a product and a sum could be fused for is volatile, or of another
 * type.
 */
#ifndef DT_PROGRAM_C_CODES_TEXT_H
#define DT_PROGRAM_C_CODES_TEXT_H
static const char within_text[] = "static code within(int64_t x, int low, int high)\n"
                                  "{\n"
                                  "    return (code)(x < low ? low : x > high ? high : x);\n"
                                  "}\n"
                                  "\n";

static const char down_text[] = "/* x / 2^bits, rounded down: a shift with its sign, which C leaves open */\n"
                                "static int64_t down(int64_t x, int bits)\n"
                                "{\n"
                                "    return x < 0 ? ~(~x >> bits) : x >> bits;\n"
                                "}\n"
                                "\n";

static const char fixed_text[] = "static int64_t saturate(int64_t x)\n"
                                 "{\n"
                                 "    return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x;\n"
                                 "}\n"
                                 "\n"
                                 "/* a * b / 2^31, rounded half up */\n"
                                 "static int64_t high_product(int64_t a, int64_t b)\n"
                                 "{\n"
                                 "    const int64_t product = a * b, half = product >= 0 ? 1073741824 : -1073741823;\n"
                                 "    return saturate((product + half) / INT64_C(2147483648));\n"
                                 "}\n"
                                 "\n"
                                 "/* x / 2^bits, rounded half away from zero */\n"
                                 "static int64_t shift_away(int64_t x, int bits)\n"
                                 "{\n"
                                 "    const int64_t whole = down(x, bits), rest = x - whole * (INT64_C(1) << bits);\n"
                                 "    return whole + (rest > (((INT64_C(1) << bits) - 1) >> 1) + (x < 0));\n"
                                 "}\n"
                                 "\n";

static const char product_twice_text[] =
    "/* x * multiplier * 2^(shift - 31), rounded after the product and after the shift. x * 2^shift wraps to 32 bits. "
    "*/\n"
    "static int64_t product_twice(int64_t x, int32_t multiplier, int shift)\n"
    "{\n"
    "    const uint32_t bits = (uint32_t)((uint64_t)x << (shift > 0 ? shift : 0));\n"
    "    const int64_t raised = bits > INT32_MAX ? (int64_t)bits - INT64_C(4294967296) : (int64_t)bits;\n"
    "    return shift_away(high_product(raised, multiplier), shift > 0 ? 0 : -shift);\n"
    "}\n"
    "\n";

static const char product_once_text[] = "/* x * multiplier * 2^(shift - 31), rounded once, half up */\n"
                                        "static int64_t product_once(int64_t x, int32_t multiplier, int shift)\n"
                                        "{\n"
                                        "    return down(x * multiplier + (INT64_C(1) << (30 - shift)), 31 - shift);\n"
                                        "}\n"
                                        "\n";

static const char nearest_text[] =
    "/* Limited first: that gives the same code, and no number is too large for an int. */\n"
    "static code nearest(double x, int low, int high)\n"
    "{\n"
    "    return (code)round_half_even(x < low ? low : x > high ? high : x);\n"
    "}\n"
    "\n";

/* %1$s: twice or once */
static const char multiplier_factor_text[] =
    "typedef struct {\n"
    "    int low, high, step;       /* step 1: a factor for each channel; 0: one for all */\n"
    "    const int32_t *multiplier; /* M = multiplier * 2^(shift - 31) */\n"
    "    const int8_t *shift;\n"
    "} %1$s_factor;\n"
    "\n"
    "static code %1$s_code(const %1$s_factor *f, int channel, int64_t sum)\n"
    "{\n"
    "    const int at = channel * f->step;\n"
    "    return within(product_%1$s(sum, f->multiplier[at], f->shift[at]), f->low, f->high);\n"
    "}\n"
    "\n";

static const char f32_factor_text[] =
    "typedef struct {\n"
    "    int low, high, step; /* step 1: a factor for each channel; 0: one for all */\n"
    "    const float *factor;\n"
    "} f32_factor;\n"
    "\n"
    "static code f32_code(const f32_factor *f, int channel, int64_t sum)\n"
    "{\n"
    "    const float product = (float)sum * f->factor[channel * f->step];\n"
    "    return nearest((double)product, f->low, f->high);\n"
    "}\n"
    "\n";

static const char exact_factor_text[] =
    "typedef struct {\n"
    "    int low, high, step; /* step 1: a factor for each channel; 0: one for all */\n"
    "    const double *factor;\n"
    "} exact_factor;\n"
    "\n"
    "static code exact_code(const exact_factor *f, int channel, int64_t sum)\n"
    "{\n"
    "    volatile double product; /* rounded to double: else compilers may fuse it with what rounds it */\n"
    "    product = (double)sum * f->factor[channel * f->step];\n"
    "    return nearest(product, f->low, f->high);\n"
    "}\n"
    "\n";

static const char eighth_factor_text[] =
    "typedef struct {\n"
    "    int low, high, step;   /* step 1: a factor for each channel; 0: one for all */\n"
    "    const int64_t *factor; /* in 256ths */\n"
    "} eighth_factor;\n"
    "\n"
    "static code eighth_code(const eighth_factor *f, int channel, int64_t sum)\n"
    "{\n"
    "    return within(down(sum * f->factor[channel * f->step] + 128, 8), f->low, f->high);\n"
    "}\n"
    "\n";

static const char real_factor_text[] =
    "typedef struct {\n"
    "    int low, high, step;  /* step 1: a factor for each channel; 0: one for all */\n"
    "    const double *factor; /* the scale of the sum */\n"
    "    float scale;          /* of the codes */\n"
    "} real_factor;\n"
    "\n"
    "static code real_code(const real_factor *f, int channel, int64_t sum)\n"
    "{\n"
    "    const float value = (float)((double)sum * f->factor[channel * f->step]);\n"
    "    return nearest((double)(value / f->scale), f->low, f->high);\n"
    "}\n"
    "\n";

/* %1$s: the product */
static const char requantize_text[] =
    "typedef struct {\n"
    "    const conv_layer *conv;\n"
    "    int height, width;   /* of y */\n"
    "    const int32_t *bias; /* [filters]; NULL: none */\n"
    "    %1$s_factor factor;\n"
    "} requantize_%1$s_layer;\n"
    "\n"
    "static void requantize_%1$s(const requantize_%1$s_layer *v, const code *x, code *y)\n"
    "{\n"
    "    const int filters = v->conv->filters;\n"
    "    for (int i = 0; i < v->height * v->width; i++, y += filters) {\n"
    "        convolve(v->conv, x, i / v->width, i %% v->width, psums);\n"
    "        for (int k = 0; k < filters; k++) {\n"
    "            y[k] = %1$s_code(&v->factor, k, (int64_t)psums[k] + (v->bias ? v->bias[k] : 0));\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

static const char cells_sum_text[] =
    "/* The codes of channel c in a window's cells. */\n"
    "static int64_t cells_sum(const pool_layer *v, pool_cells at, const code *x, int c)\n"
    "{\n"
    "    int64_t sum = 0;\n"
    "    for (int h = at.top; h < at.bottom; h++) {\n"
    "        for (int w = at.left; w < at.right; w++) sum += x[(h * v->width + w) * v->channels + c];\n"
    "    }\n"
    "    return sum;\n"
    "}\n"
    "\n";

/* %1$s: the product */
static const char mean_text[] = "typedef struct {\n"
                                "    pool_layer pool;\n"
                                "    %1$s_factor factor; /* with the division by the number of cells */\n"
                                "} mean_%1$s_layer;\n"
                                "\n"
                                "static void mean_%1$s(const mean_%1$s_layer *v, const code *x, code *y)\n"
                                "{\n"
                                "    for (int i = 0; i < v->pool.out_height * v->pool.out_width; i++) {\n"
                                "        const pool_cells at = cells_of(&v->pool, i);\n"
                                "        for (int c = 0; c < v->pool.channels; c++) *y++ = %1$s_code(&v->factor, 0, "
                                "cells_sum(&v->pool, at, x, c));\n"
                                "    }\n"
                                "}\n"
                                "\n";

/* %1$s: the product */
static const char rescale_text[] = "static void rescale_%1$s(const %1$s_factor *v, int n, const code *x, code *y)\n"
                                   "{\n"
                                   "    for (int i = 0; i < n; i++) y[i] = %1$s_code(v, 0, x[i]);\n"
                                   "}\n"
                                   "\n";

/* %1$s: the product */
static const char qmul_text[] =
    "static void qmul_%1$s(const %1$s_factor *v, int n, const code *a, const code *b, code *y)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) y[i] = %1$s_code(v, 0, (int64_t)a[i] * b[i]);\n"
    "}\n"
    "\n";

static const char evaluated_qmul_text[] =
    "typedef struct {\n"
    "    int low, high;\n"
    "    float a, b, y; /* scales */\n"
    "} qmul_evaluated_layer;\n"
    "\n"
    "static void qmul_evaluated(const qmul_evaluated_layer *v, int n, const code *a, const code *b, code *y)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        const float first = (float)a[i] * v->a, second = (float)b[i] * v->b;\n"
    "        y[i] = nearest((double)(first * second / v->y), v->low, v->high);\n"
    "    }\n"
    "}\n"
    "\n";

/* %1$s: the product */
static const char qmatmul_text[] =
    "typedef struct {\n"
    "    int matrices, rows, terms, columns;\n"
    "    int a_matrix, a_row, a_term, b_matrix, b_term, b_column; /* how far apart elements lie */\n"
    "    %1$s_factor factor;\n"
    "} qmatmul_%1$s_layer;\n"
    "\n"
    "static void qmatmul_%1$s(const qmatmul_%1$s_layer *v, const code *a, const code *b, code *y)\n"
    "{\n"
    "    for (int i = 0; i < v->matrices * v->rows * v->columns; i++) {\n"
    "        const int column = i %% v->columns, row = i / v->columns %% v->rows, matrix = i / v->columns / v->rows;\n"
    "        const code *p = a + matrix * v->a_matrix + row * v->a_row;\n"
    "        const code *q = b + matrix * v->b_matrix + column * v->b_column;\n"
    "        int64_t sum = 0;\n"
    "        for (int t = 0; t < v->terms; t++) sum += (int64_t)p[t * v->a_term] * q[t * v->b_term];\n"
    "        y[i] = %1$s_code(&v->factor, 0, sum);\n"
    "    }\n"
    "}\n"
    "\n";

/* %1$s: twice or once */
static const char multiplier_qadd_text[] =
    "typedef struct {\n"
    "    int low, high;\n"
    "    int32_t a, b, y; /* multipliers */\n"
    "    int a_shift, b_shift, y_shift, sign;\n"
    "} qadd_%1$s_layer;\n"
    "\n"
    "/* Both addends, 20 bits up, get one scale; their sum gets y's. */\n"
    "static void qadd_%1$s(const qadd_%1$s_layer *v, int n, const code *a, const code *b, code *y)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        const int64_t first = product_%1$s((int64_t)a[i] * 1048576, v->a, v->a_shift);\n"
    "        const int64_t second = product_%1$s((int64_t)b[i] * 1048576, v->b, v->b_shift);\n"
    "        y[i] = within(product_%1$s(first + v->sign * second, v->y, v->y_shift), v->low, v->high);\n"
    "    }\n"
    "}\n"
    "\n";

static const char f32_qadd_text[] =
    "typedef struct {\n"
    "    int low, high;\n"
    "    int32_t a, b; /* the addends' scales in y's, of `shift` bits of fraction */\n"
    "    int shift;\n"
    "} qadd_f32_layer;\n"
    "\n"
    "static void qadd_f32(const qadd_f32_layer *v, int n, const code *a, const code *b, code *y)\n"
    "{\n"
    "    const int64_t half = INT64_C(1) << (v->shift - 1);\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        y[i] = within(down((int64_t)a[i] * v->a + (int64_t)b[i] * v->b + half, v->shift), v->low, v->high);\n"
    "    }\n"
    "}\n"
    "\n";

/* %1$s: real or evaluated */
static const char real_qadd_text[] =
    "typedef struct {\n"
    "    int low, high;\n"
    "    float a, b, y; /* scales */\n"
    "} qadd_%1$s_layer;\n"
    "\n"
    "static void qadd_%1$s(const qadd_%1$s_layer *v, int n, const code *a, const code *b, code *y)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        volatile float first, second; /* rounded to float: else compilers may fuse one with the sum */\n"
    "        first = (float)a[i] * v->a;\n"
    "        second = (float)b[i] * v->b;\n"
    "        y[i] = nearest((double)((first + second) / v->y), v->low, v->high);\n"
    "    }\n"
    "}\n"
    "\n";

static const char quotient_away_text[] = "/* Half away from zero. */\n"
                                         "static int64_t quotient_away(int64_t sum, int n)\n"
                                         "{\n"
                                         "    return sum > 0 ? (sum + n / 2) / n : -((-sum + n / 2) / n);\n"
                                         "}\n"
                                         "\n";

static const char quotient_even_text[] =
    "/* Half to even. */\n"
    "static int64_t quotient_even(int64_t sum, int n)\n"
    "{\n"
    "    const int64_t whole = sum / n - (sum % n < 0), twice = 2 * (sum - whole * n);\n"
    "    return whole + (twice > n || (twice == n && whole % 2 != 0));\n"
    "}\n"
    "\n";

/* %1$s: away or even */
static const char qavgpool_text[] =
    "typedef struct {\n"
    "    pool_layer pool;\n"
    "    int low, high, zero; /* code + zero is averaged */\n"
    "} qavgpool_%1$s_layer;\n"
    "\n"
    "static void qavgpool_%1$s(const qavgpool_%1$s_layer *v, const code *x, code *y)\n"
    "{\n"
    "    for (int i = 0; i < v->pool.out_height * v->pool.out_width; i++) {\n"
    "        const pool_cells at = cells_of(&v->pool, i);\n"
    "        const int n = (at.bottom - at.top) * (at.right - at.left);\n"
    "        for (int c = 0; c < v->pool.channels; c++) {\n"
    "            const int64_t sum = cells_sum(&v->pool, at, x, c) + (int64_t)n * v->zero;\n"
    "            *y++ = within(quotient_%1$s(sum, n) - v->zero, v->low, v->high);\n"
    "        }\n"
    "    }\n"
    "}\n"
    "\n";

static const char table_text[] =
    "typedef struct {\n"
    "    int n, first, columns; /* columns 1: one table for all channels */\n"
    "    const code *table;     /* [codes from first][columns] */\n"
    "} table_layer;\n"
    "\n"
    "static void table(const table_layer *v, const code *x, code *y)\n"
    "{\n"
    "    for (int i = 0; i < v->n; i++) y[i] = v->table[(x[i] - v->first) * v->columns + i % v->columns];\n"
    "}\n"
    "\n";

static const char dequantize_text[] =
    "static void dequantize(int n, float scale, const code *x, float *y)\n"
    "{\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        volatile float product; /* rounded to float: else compilers may fuse it with a later sum */\n"
    "        product = scale * (float)x[i];\n"
    "        y[i] = product;\n"
    "    }\n"
    "}\n"
    "\n";

static const char half_away_text[] = "/* Limited first: that gives the same code, and a NaN is a number, too. */\n"
                                     "static code half_away(float x, int low, int high)\n"
                                     "{\n"
                                     "    const double least = x > (float)low ? (double)x : (double)low, v = least < "
                                     "(double)high ? least : (double)high;\n"
                                     "    return (code)(int)(v < 0.0 ? v - 0.5 : v + 0.5);\n"
                                     "}\n"
                                     "\n";

static const char half_even_text[] = "static code half_even(float x, int low, int high)\n"
                                     "{\n"
                                     "    return nearest(x > (float)low ? (double)x : (double)low, low, high);\n"
                                     "}\n"
                                     "\n";

/* %1$s: x[i] and what makes steps of it, %2$s: away or even, then the image's range */
static const char image_quantize_text[] = "static void quantize_image(int n, const float *x, code *y)\n"
                                          "{\n"
                                          "    for (int i = 0; i < n; i++) y[i] = half_%2$s(%1$s, %3$d, %4$d);\n"
                                          "}\n"
                                          "\n";

#endif /* DT_PROGRAM_C_CODES_TEXT_H */
