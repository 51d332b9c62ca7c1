/*
 * test_conv_choice.c - which kernel computes a convolution on the CPU, in builds with oneDNN and without.
 */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/conv_lists.h"
#include "../support/op_case.h"
#include "../support/op_rig.h"

#include "../../core/cpu_level.h"

#ifdef DETENT_HAVE_ONEDNN
enum { HAS_ONEDNN = 1 };
#else
enum { HAS_ONEDNN = 0 };
#endif

/* strides, pads (top, left, bottom, right), dilations, groups */
#define SAME(groups)                               \
    {                                              \
        { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, groups \
    }
static const dt_conv_params same = SAME(1), by_2 = SAME(2), by_16 = SAME(16), by_32 = SAME(32);
static const dt_conv_params half = { { 2, 2 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 };
static const dt_conv_params dilated_by_16 = { { 1, 1 }, { 2, 2, 2, 2 }, { 2, 2 }, 16 };

typedef struct {
    const char *why;
    const dt_conv_params *params;
    int64_t x[4], w[4];
    float x_size, w_size;       /* largest codes; 0: real values */
    int mixed;                  /* precision */
    unsigned tiles;             /* directions that tiles take, where the CPU has them */
    const char *with, *without; /* oneDNN: kernels of y, dx, dw; where there are no tiles */
} choice;

#define LAYER(form, K, R, each, ...) .params = &form, .x = { __VA_ARGS__ }, .w = { K, R, R, each }
#define CODES(x, w)                  .x_size = x, .w_size = w

enum { ALL = DT_CONV_Y | DT_CONV_DX | DT_CONV_DW };

static const choice rows[] = {
    { LAYER(same, 32, 3, 64, 8, 8, 8, 64), CODES(15, 7), .why = "w4a4, as in VGG16", .tiles = ALL, .mixed = 1,
      .with = "winograd winograd winograd", .without = "winograd winograd winograd" },
    { LAYER(same, 32, 3, 64, 8, 8, 8, 64), CODES(15, 7), .why = "w4a4, backward in f32", .tiles = DT_CONV_Y,
      .with = "winograd onednn onednn", .without = "winograd plain plain" },
    { LAYER(same, 32, 3, 64, 8, 8, 8, 64), CODES(15, 127), .why = "w8: a transformed filter fits no byte", .tiles = ALL,
      .mixed = 1, .with = "onednn winograd winograd", .without = "integers winograd winograd" },
    { LAYER(same, 16, 3, 16, 8, 8, 8, 16), CODES(15, 7), .why = "16 channels to 16 filters", .tiles = ALL, .mixed = 1,
      .with = "winograd onednn onednn", .without = "winograd plain plain" },
    { LAYER(same, 32, 3, 64, 8, 8, 8, 64), .why = "real values", .tiles = ALL, .mixed = 1,
      .with = "onednn winograd winograd", .without = "plain winograd winograd" },
    { LAYER(same, 16, 3, 3, 2, 8, 8, 3), CODES(127, 7), .why = "three channels", .tiles = ALL, .mixed = 1,
      .with = "onednn onednn onednn", .without = "integers plain plain" },
    { LAYER(half, 16, 3, 16, 2, 9, 8, 16), CODES(15, 7), .why = "stride 2", .tiles = ALL, .mixed = 1,
      .with = "onednn onednn onednn", .without = "integers plain plain" },
    { LAYER(by_2, 16, 3, 16, 2, 6, 8, 32), CODES(15, 7), .why = "2 groups", .mixed = 1, .with = "onednn onednn onednn",
      .without = "integers plain plain" },
    { LAYER(same, 33, 3, 33, 7, 2, 2, 33), CODES(15, 7), .why = "2x2, in f32", .tiles = DT_CONV_Y,
      .with = "onednn small small", .without = "integers small small" },
    { LAYER(same, 32, 3, 64, 7, 2, 2, 64), CODES(15, 7), .why = "2x2, vectors of channels", .tiles = ALL, .mixed = 1,
      .with = "winograd winograd winograd", .without = "winograd winograd winograd" },
    { LAYER(same, 32, 3, 64, 7, 1, 1, 64), CODES(15, 7), .why = "one pixel", .tiles = ALL, .mixed = 1,
      .with = "winograd onednn small", .without = "winograd plain small" },
    { LAYER(by_32, 32, 3, 1, 2, 7, 6, 32), CODES(15, 7), .why = "depthwise, in f32", .with = "onednn onednn onednn",
      .without = "depthwise depthwise depthwise" },
    { LAYER(by_32, 32, 3, 1, 2, 7, 6, 32), CODES(15, 7), .why = "depthwise, backward from bf16", .mixed = 1,
      .with = "onednn depthwise depthwise", .without = "depthwise depthwise depthwise" },
    { LAYER(dilated_by_16, 16, 3, 1, 2, 7, 6, 16), CODES(15, 7), .why = "depthwise, dilated",
      .with = "onednn depthwise depthwise", .without = "depthwise depthwise depthwise" },
    { LAYER(by_16, 32, 3, 1, 2, 7, 6, 16), CODES(15, 7), .why = "depth multiplier 2",
      .with = "depthwise depthwise depthwise", .without = "depthwise depthwise depthwise" },
    { LAYER(by_16, 32, 3, 1, 2, 7, 6, 16), CODES(20000, 127), .why = "depth multiplier 2, psums past 2^24",
      .with = "plain depthwise depthwise", .without = "plain depthwise depthwise" },
    { LAYER(by_16, 32, 9, 1, 2, 9, 9, 16), CODES(15, 7), .why = "depthwise, 9x9: more taps than conv_depthwise.c takes",
      .with = "onednn onednn onednn", .without = "plain plain plain" },
    { LAYER(same, 16, 3, 3, 1, 4, 4, 3), CODES(20000, 127),
      .why = "psums past 2^24 of codes that no byte holds: 27 * 20,000 * 127", .with = "integers onednn onednn",
      .without = "integers plain plain" },
    { LAYER(same, 16, 3, 3, 1, 4, 4, 3), CODES(70000, 127), .why = "codes past 16 bits", .with = "plain onednn onednn",
      .without = "plain plain plain" },
};

static op_case case_of(const choice *row)
{
    const int is_grid = row->x_size > 0.0f;
    op_case c = { .why = row->why, .op = DT_OP_CONV2D, .params = row->params, .n_in = 2 };

    for (int k = 0; k < 2; k++) {
        const int64_t *dim = k == 0 ? row->x : row->w;
        c.in[k] = (op_input){ .shape = { 4, { dim[0], dim[1], dim[2], dim[3] } },
                              .fill = is_grid ? FILL_INTEGER : FILL_REAL,
                              .size = k == 0 ? row->x_size : row->w_size,
                              .scale = is_grid ? 0.5f : 0.0f };
    }
    if (is_grid && row->x_size < 16.0f) c.in[0].fill = FILL_COUNT; /* 4 * (15 - -15) is 120, and fits a byte too */
    c.precision = row->mixed ? DT_PRECISION_MIXED : DT_PRECISION_F32;
    return c;
}

static const char *name_of(const dt_node *node, unsigned direction)
{
    const char *name = dt_conv_chosen(node, direction);
    return name ? name : "nobody";
}

/* The names in `others`, but for the directions that tiles take. */
static void expected(const choice *row, const char *others, char *want, size_t bytes)
{
    const unsigned tiles = dt_cpu_level_now() == DT_CPU_AMX ? row->tiles : 0;
    char name[3][16];

    cr_assert(sscanf(others, "%15s %15s %15s", name[0], name[1], name[2]) == 3);
    snprintf(want, bytes, "%s %s %s", tiles & DT_CONV_Y ? "amx" : name[0], tiles & DT_CONV_DX ? "amx" : name[1],
             tiles & DT_CONV_DW ? "amx" : name[2]);
}

static void check(const choice *row, const dt_kernel *kernel, const char *others)
{
    const op_case c = case_of(row);
    char got[64], want[64];
    op_rig rig;

    expected(row, others, want, sizeof want);
    cr_assert(op_rig_open_with(&rig, "cpu", 2, &c, kernel));
    snprintf(got, sizeof got, "%s %s %s", name_of(&rig.node, DT_CONV_Y), name_of(&rig.node, DT_CONV_DX),
             name_of(&rig.node, DT_CONV_DW));
    cr_assert(strcmp(got, want) == 0, "%s: y, dx, dw are computed by %s, expected %s", row->why, got, want);
    op_rig_close(&rig);
}

static void must_be_this_machine(void)
{
    if (!dt_conv_has_int8() || !dt_conv_has_bf16()) cr_skip("the CPU's level has no AVX512-VNNI or no AVX512-BF16");
}

Test(conv_choice, table_takes_the_fastest_kernel_that_this_build_has)
{
    must_be_this_machine();
    for (int i = 0; i < DT_LENGTH(rows); i++) check(&rows[i], NULL, HAS_ONEDNN ? rows[i].with : rows[i].without);
}

Test(conv_choice, own_kernels_need_no_onednn)
{
    must_be_this_machine();
    for (int i = 0; i < DT_LENGTH(rows); i++) check(&rows[i], &conv_by_own, rows[i].without);
}

Test(conv_choice, what_nobody_wants_is_not_chosen)
{
    const op_case c = case_of(&rows[0]);
    op_rig rig;
    size_t bytes = 0;

    cr_assert(op_rig_open(&rig, "cpu", 1, &c));
    rig.kernel->release(&rig.node);
    rig.in[0].wants_grad = 0;
    rig.ex.training = 1; /* which is set in prepare alone */
    cr_assert(rig.kernel->prepare(&rig.node, &rig.ex, &bytes) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_conv_chosen(&rig.node, DT_CONV_Y) && !dt_conv_chosen(&rig.node, DT_CONV_DX), "dx of an image");
    cr_assert(dt_conv_chosen(&rig.node, DT_CONV_DW), "dw is wanted");
    rig.kernel->release(&rig.node);
    rig.ex.training = 0;
    cr_assert(rig.kernel->prepare(&rig.node, &rig.ex, &bytes) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_conv_chosen(&rig.node, DT_CONV_Y) && !dt_conv_chosen(&rig.node, DT_CONV_DW), "dw in evaluation");
    op_rig_close(&rig);
}

Test(conv_choice, node_that_no_kernel_computes_is_refused)
{
    static const dt_conv_kernel *const only[] = { &dt_conv_depthwise };
    const op_case c = case_of(&rows[0]);
    op_rig rig;
    size_t bytes = 0;

    cr_assert(op_rig_open(&rig, "cpu", 1, &c));
    rig.kernel->release(&rig.node);
    cr_assert(dt_conv_choose_from(&rig.node, &rig.ex, only, 1, &bytes) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "no kernel computes") != NULL, "%s", dt_last_error());
    op_rig_close(&rig);
}

/* With a list that no machine changes: the first that computes it, and why those before it do not. */
Test(conv_choice, dispatch_is_told_where_it_is_wanted)
{
    static const dt_conv_kernel *const two[] = { &dt_conv_depthwise, &dt_conv_plain };
    const op_case c = case_of(&rows[0]);
    char line[256];
    op_rig rig;
    size_t bytes = 0;
    int n = 0;

    cr_redirect_stderr();
    cr_assert(op_rig_open(&rig, "cpu", 1, &c));
    rig.kernel->release(&rig.node);
    rig.ex.training = 1;
    setenv("DETENT_VERBOSE", "dispatch", 1);
    cr_assert(dt_conv_choose_from(&rig.node, &rig.ex, two, 2, &bytes) == DT_OK, "%s", dt_last_error());
    unsetenv("DETENT_VERBOSE");
    fflush(stderr);
    FILE *told = cr_get_redirected_stderr();
    for (; fgets(line, sizeof line, told); n++) {
        const char *const names[] = { ": y by", ": dx by", ": dw by" };
        cr_assert(n < 3 && strstr(line, names[n]), "line %d is: %s", n, line);
        cr_assert(strstr(line, " plain (not depthwise: not one channel a group)\n"), "line %d is: %s", n, line);
    }
    cr_assert(n == 3, "%d lines", n);
    op_rig_close(&rig);
}
