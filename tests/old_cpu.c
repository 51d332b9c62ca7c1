/*
 * old_cpu.c - runs what chooses by the CPU on a CPU that old_cpu.sh imitates; an instruction that this CPU lacks ends
 *             the program. It is compiled for any x86-64, and without oneDNN.
 *
 *   old_cpu LEVEL    fails unless this CPU's highest level is LEVEL, or a result is wrong
 *   old_cpu refuses  fails unless DETENT_CPU is refused; prints why
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../accel/psum/psum_kernels.h"
#include "../core/backend.h"
#include "../core/cpu_level.h"
#include "../layers/conv/conv_kernels.h"
#include "../layers/gemm/word_gemm.h"
#include "../quant/requantize_lines.h"

/* What core/ takes from above; nothing of it is used here. */
const dt_op *const dt_ops[DT_OP_COUNT];
const dt_backend dt_backend_cpu, dt_backend_cuda;

enum { N = 2, SIDE = 6, C = 16, K = 32, IN = N * SIDE * SIDE * C, OUT = N * SIDE * SIDE * K, WEIGHTS = K * 9 * C };

static int failed(const char *what)
{
    printf("%s\n", what);
    return 1;
}

/* The psum of a position and a filter. */
static float psum(const float *x, const float *w, int at, int k)
{
    float sum = 0.0f;

    for (int tap = 0; tap < 9; tap++) {
        const int h = at / SIDE % SIDE + tap / 3 - 1, v = at % SIDE + tap % 3 - 1;
        if (h < 0 || h >= SIDE || v < 0 || v >= SIDE) continue;
        for (int c = 0; c < C; c++) {
            sum += x[((at / SIDE / SIDE * SIDE + h) * SIDE + v) * C + c] * w[(k * 9 + tap) * C + c];
        }
    }
    return sum;
}

/* A 3x3 convolution of codes, all directions, in mixed precision: Winograd, tiles and bf16 would take it. */
static int convolution(void)
{
    static float x_data[IN], w_data[WEIGHTS], y_data[OUT], dx[IN], dw[WEIGHTS], dy[OUT], x_scale = 1, w_scale = 1,
                                                                                         y_scale;
    const dt_conv_params same = DT_CONV_SQUARE(1, 1);
    dt_tensor x = { .shape = { 4, { N, SIDE, SIDE, C } },
                    .data = x_data,
                    .grad = dx,
                    .n_scale = 1,
                    .scale = &x_scale,
                    .qmax = 3,
                    .wants_grad = 1 };
    dt_tensor w = { .shape = { 4, { K, 3, 3, C } },
                    .data = w_data,
                    .grad = dw,
                    .n_scale = 1,
                    .scale = &w_scale,
                    .qmin = -7,
                    .qmax = 7,
                    .wants_grad = 1 };
    dt_tensor y = { .data = y_data, .grad = dy, .scale = &y_scale };
    dt_node node = { .kind = DT_OP_CONV2D, .name = "conv", .params = &same, .in = { &x, &w }, .n_in = 2, .out = &y };
    dt_exec ex = { .precision = DT_PRECISION_MIXED, .training = 1 };
    int wrong = 0;

    for (int i = 0; i < IN; i++) x_data[i] = (float)(i * 7 % 4);
    for (int i = 0; i < WEIGHTS; i++) w_data[i] = (float)(i * 5 % 15 - 7);
    if (dt_conv_infer(&node) != DT_OK || dt_conv_choose(&node, &ex, &ex.scratch_bytes) != DT_OK) return failed("conv");
    printf("y by %s, dx by %s, dw by %s\n", dt_conv_chosen(&node, DT_CONV_Y), dt_conv_chosen(&node, DT_CONV_DX),
           dt_conv_chosen(&node, DT_CONV_DW));
    ex.scratch = aligned_alloc(64, dt_round_up(ex.scratch_bytes + 1, 64));
    if (!ex.scratch || dt_conv_forward(&node, &ex) != DT_OK || dt_conv_backward(&node, &ex) != DT_OK)
        return failed("conv");
    for (int i = 0; i < OUT; i++) wrong |= y_data[i] != psum(x_data, w_data, i / K, i % K);
    dt_conv_release(&node);
    free(ex.scratch);
    return wrong ? failed("a psum is wrong") : 0;
}

/* A line of QADD, at whatever level dt_qadd_line takes. */
static int addition(void)
{
    enum { CODES = 100 };
    static float a[CODES], b[CODES], code[CODES];
    const float scale_a = 0.5f, scale_b = 0.3f, scale_y = 0.7f;
    const dt_qbinary_view v = {
        { .profile = DT_PROFILE_LITERT_REF, .low = -128, .high = 127 }, a, b, &scale_a, &scale_b, &scale_y, code
    };
    const dt_adder adder = dt_qadd_adder(&v);

    for (int i = 0; i < CODES; i++) {
        a[i] = (float)(i * 31 % 255 - 127);
        b[i] = (float)(i * 17 % 255 - 127);
    }
    dt_qadd_line(&v, &adder, 0, CODES);
    for (int i = 0; i < CODES; i++) {
        if (code[i] != dt_qadd_value(&v, &adder, i)) return failed("a code of QADD is wrong");
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) return failed("usage: old_cpu LEVEL | refuses");
    if (strcmp(argv[1], "refuses") == 0) {
        if (dt_cpu_level_check() == DT_OK) return failed("nothing is refused");
        printf("%s\n", dt_last_error());
        return 0;
    }
    printf("level %s\n", dt_cpu_level_name(dt_cpu_level_best()));
    if (strcmp(argv[1], dt_cpu_level_name(dt_cpu_level_best())) != 0) return failed("another level was expected");
    if (dt_word_gemm_has_int8() || dt_word_gemm_has_bf16() || dt_psum_has_vnni()) return failed("AVX-512 is found");
    return convolution() | addition();
}
