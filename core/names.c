/*
 * names.c - the words of the public enumerations, in their order: for options, configurations and reports.
 */
#include "names.h"

#include <string.h>

const char *const dt_precision_names[] = { "f32", "mixed", NULL };
const char *const dt_quant_rule_names[] = { "ece284", "apot", "scream", "pact", "lsq", "affine", "qkeras", NULL };
const char *const dt_fold_mode_names[] = { "none", "ema", "batch", NULL };
const char *const dt_start_weights_names[] = { "default", "keep", NULL };
const char *const dt_tflite_io_names[] = { "f32", "i8", "u8", NULL };
const char *const dt_onnx_style_names[] = { "qdq", "qcdq", "qonnx", NULL };
const char *const dt_profile_names[] = { "litert-ref", "ref-double", "ref-single", "fp32-rne", "onnx", "exact", NULL };
const char *const dt_columns_names[] = { "notebook", "qkeras-mod", NULL };
const char *const dt_image_cast_names[] = { "round", "truncate-i8", "truncate-u8", NULL };
const char *const dt_range_update_names[] = { "learned", "average", "fixed", NULL };
const char *const dt_optim_names[] = { "sgd", "adam", NULL };
const char *const dt_schedule_names[] = { "constant", "cosine",     "step",      "exponential",
                                          "decay",    "triangular", "one-cycle", NULL };
const char *const dt_start_clips_names[] = { "own", "fixed", "mse", "percentile", NULL };
const char *const dt_teacher_sees_names[] = { "originals", "augmented", NULL };
const char *const dt_flip_names[] = { "random", "alternating", NULL };
const char *const dt_decoder_names[] = { "none", "fc", "conv28", "conv64", NULL };
const char *const dt_rounding_names[] = { "round_to_nearest", "stochastic", "truncation", "logarithmic", NULL };
const char *const dt_dataflow_names[] = { "ws", "os", NULL };
const char *const dt_overflow_names[] = { "wrap", "saturate", NULL };
const char *const dt_layout_names[] = { "course", "notebook", "pack-a", "pack-b", "pack-c", "output-stationary", NULL };

int dt_layer_name_bytes(const char *node)
{
    const size_t bytes = strlen(node), end = sizeof DT_ACT_QUANT_SUFFIX - 1;

    return (int)(bytes > end && strcmp(node + bytes - end, DT_ACT_QUANT_SUFFIX) == 0 ? bytes - end : bytes);
}

dt_status dt_check_word(const char *field, int value, const char *const *words)
{
    int n = 0;

    while (words[n]) n++;
    DT_CHECK(value >= 0 && value < n, DT_ERR_ARGUMENT, "%s is %d, allowed are 0 (%s) to %d (%s)", field, value,
             words[0], n - 1, words[n - 1]);
    return DT_OK;
}
