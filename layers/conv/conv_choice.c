/*
 * conv_choice.c - chooses the kernel that computes a convolution on the CPU, and the types of its tensors.
 *
 * The choice depends on the node and on the machine alone, never on the data or on the number of threads. Narrow types
 * (core/tape/types.c) do not depend on it: every kernel takes x in F32, U8 or I8, w in F32 or I8, and gradients of x
 * and y in F32 or BF16. Tests: tests/layers/test_conv_choice.c, tests/layers/test_conv.c,
 * tests/layers/test_conv_extremes.c, tests/layers/test_conv_types.c.
 */
#include "conv_kernels.h"

#include "../../core/threads.h"
#include "../cpu_backend.h"
#ifdef DETENT_HAVE_ONEDNN
#include "onednn.h"
#else
#include "../gemm/word_gemm.h"
#endif

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order in which they are asked. */
static const dt_conv_kernel *const kernels[] = {
    &dt_conv_amx,       /* one group, where the CPU has tiles */
    &dt_conv_winograd,  /* 3x3 */
    &dt_conv_small,     /* backward of the smallest maps, in f32; dw from bf16 too */
    &dt_conv_winograd4, /* backward of 3x3 in f32, by AVX2 */
    &dt_conv_pairs,     /* y of codes of few bits, by AVX2 */
#ifdef DETENT_HAVE_ONEDNN
    &dt_conv_onednn, /* everything but what f32 does not hold, and what conv_depthwise.c is faster at */
#endif
    &dt_conv_integers,  /* y of codes, whose sums f32 does not hold; without oneDNN of any */
    &dt_conv_depthwise, /* one channel a group */
    &dt_conv_plain,     /* everything */
};

enum { MOST_KERNELS = 9 };

/* node->state */
typedef struct {
    const dt_conv_kernel *kernel[MOST_KERNELS];
    dt_conv_share share[MOST_KERNELS];
    int n;
} conv_choice;

#ifdef DETENT_HAVE_ONEDNN

enum { HAS_ONEDNN = 1 };

static dt_status open_library(void)
{
    return dt_onednn_open();
}

int dt_conv_has_int8(void)
{
    return dt_onednn_has_int8();
}

static int has_byte_pairs(void)
{
    return dt_onednn_has_byte_pairs();
}

int dt_conv_has_bf16(void)
{
    return dt_onednn_has_bf16();
}

#else

enum { HAS_ONEDNN = 0 };

static dt_status open_library(void)
{
    return DT_OK;
}

int dt_conv_has_int8(void)
{
    return dt_word_gemm_has_int8();
}

static int has_byte_pairs(void)
{
    return 0;
}

int dt_conv_has_bf16(void)
{
    return dt_word_gemm_has_bf16();
}

#endif

dt_status dt_cpu_conv_open(const char **text)
{
    static const char *const texts[2][3] = {
        { "plain C", "own kernels with int8", "own kernels with bf16 and int8" },
        { "oneDNN", "oneDNN with int8", "oneDNN with bf16 and int8" },
    };

    DT_TRY(open_library());
    *text = texts[HAS_ONEDNN][dt_conv_has_bf16() ? 2 : dt_conv_has_int8() ? 1 : 0];
    return DT_OK;
}

/* Two products fit 16 bits: of codes of up to 8 bits without a sign and weights of up to 6, or of fewer and more. */
static int are_small_pairs(const dt_tensor *x, const dt_tensor *w)
{
    const int64_t w_most = w->qmax > -w->qmin ? w->qmax : -w->qmin;

    return x->qmin >= 0 && 2 * x->qmax * w_most <= INT16_MAX;
}

int dt_conv_has_bytes(const dt_node *node)
{
    const dt_tensor *x = node->in[0], *w = node->in[1];

    return x->n_scale > 0 && x->qmin >= -128 && x->qmax <= (x->qmin < 0 ? 127 : 255) && w->qmin >= -128 &&
           w->qmax <= 127 && (dt_conv_has_int8() || (has_byte_pairs() && are_small_pairs(x, w)));
}

int dt_conv_is_mixed(const dt_exec *ex)
{
    return ex->precision == DT_PRECISION_MIXED && dt_conv_has_bf16();
}

dt_storage dt_cpu_conv_storage(const dt_node *node, const dt_exec *ex)
{
    const int bytes = dt_conv_has_bytes(node);
    const dt_dtype grad = ex->training && dt_conv_is_mixed(ex) ? DT_BF16 : DT_F32;

    return (dt_storage){ .x = !bytes                  ? DT_F32
                              : node->in[0]->qmin < 0 ? DT_I8
                                                      : DT_U8,
                         .y = DT_F32,
                         .w = bytes ? DT_I8 : DT_F32,
                         .x_grad = grad,
                         .y_grad = grad };
}

static unsigned wanted(const dt_node *node, const dt_exec *ex)
{
    if (!ex->training) return DT_CONV_Y;
    return DT_CONV_Y | DT_CONV_DW | (node->in[0]->wants_grad ? DT_CONV_DX : 0u);
}

const char *dt_conv_chosen(const dt_node *node, unsigned direction)
{
    const conv_choice *choice = node->state;

    for (int i = 0; i < choice->n; i++) {
        if (choice->share[i].directions & direction) return choice->kernel[i]->name;
    }
    return NULL;
}

/* Tells who computes each direction, and why those that stand before it in the list do not, if DETENT_VERBOSE asks. */
static void tell(const dt_node *node, const dt_exec *ex, const dt_conv_kernel *const *kernel, int n,
                 unsigned directions)
{
    static const char *const names[] = { [DT_CONV_Y] = "y", [DT_CONV_DX] = "dx", [DT_CONV_DW] = "dw" };
    const char *wanted = getenv("DETENT_VERBOSE");
    char line[512];

    if (!wanted || !strstr(wanted, "dispatch")) return;
    for (unsigned d = DT_CONV_Y; d <= DT_CONV_DW; d <<= 1) {
        size_t at = 0;
        if (!(directions & d)) continue;
        for (int i = 0; i < n && kernel[i]->refuses(node, ex, d) && at < sizeof line; i++) {
            at += (size_t)snprintf(line + at, sizeof line - at, "%s%s: %s", i ? "; " : " (not ", kernel[i]->name,
                                   kernel[i]->refuses(node, ex, d));
        }
        fprintf(stderr, "detent: %s: %s by %s%s%s\n", node->name, names[d], dt_conv_chosen(node, d), at ? line : "",
                at ? ")" : "");
    }
}

dt_status dt_conv_choose_from(dt_node *node, const dt_exec *ex, const dt_conv_kernel *const *kernel, int n,
                              size_t *scratch_bytes)
{
    unsigned left = wanted(node, ex);
    conv_choice *choice = calloc(1, sizeof *choice);
    size_t most = 0;

    DT_CHECK(choice, DT_ERR_MEMORY, "%s: conv: no memory for the choice of kernels", node->name);
    assert(n <= MOST_KERNELS);
    node->state = choice;
    DT_CHECK(dt_conv_is_mixed(ex) || (node->in[0]->grad_type == DT_F32 && node->out->grad_type == DT_F32),
             DT_ERR_UNSUPPORTED, "%s: conv: gradients are stored in bf16, but backward computes in f32", node->name);
    for (choice->n = 0; choice->n < n;) {
        dt_conv_share *share = &choice->share[choice->n];
        const dt_conv_kernel *k = choice->kernel[choice->n] = kernel[choice->n];
        choice->n++; /* from here on it is released */
        share->directions = dt_conv_can(k, node, ex, left);
        share->threads = dt_threads_now();
        left &= ~share->directions;
        if (share->directions) DT_TRY(k->prepare(node, ex, share));
        if (share->scratch_bytes > most) most = share->scratch_bytes;
    }
    DT_CHECK(!left, DT_ERR_UNSUPPORTED, "%s: conv: no kernel computes it", node->name);
    tell(node, ex, kernel, n, wanted(node, ex));
    *scratch_bytes = most;
    return DT_OK;
}

dt_status dt_conv_choose(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    return dt_conv_choose_from(node, ex, kernels, (int)DT_LENGTH(kernels), scratch_bytes);
}

void dt_conv_release(dt_node *node)
{
    conv_choice *choice = node->state;

    if (!choice) return;
    for (int i = 0; i < choice->n; i++) {
        if (choice->kernel[i]->release) choice->kernel[i]->release(&choice->share[i]);
    }
    free(choice);
    node->state = NULL;
}

static dt_status run(const dt_node *node, const dt_exec *ex, unsigned directions)
{
    const conv_choice *choice = node->state;

    for (int i = 0; i < choice->n; i++) {
        const unsigned mine = choice->share[i].directions & directions;
        if (mine) DT_TRY(choice->kernel[i]->run(node, ex, &choice->share[i], mine));
    }
    return DT_OK;
}

dt_status dt_conv_forward(const dt_node *node, const dt_exec *ex)
{
    DT_TRY(run(node, ex, DT_CONV_Y));
    dt_conv_scale(node);
    return DT_OK;
}

dt_status dt_conv_backward(const dt_node *node, const dt_exec *ex)
{
    return run(node, ex, (node->in[0]->grad ? DT_CONV_DX : 0u) | (node->in[1]->grad ? DT_CONV_DW : 0u));
}
