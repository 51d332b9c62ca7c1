/*
 * amx_model.c - see amx_model.h.
 */
#define DETENT_AMX_MODEL          "../../tests/support/amx_tiles.h"
#define dt_word_gemm_amx_bf16     model_word_gemm_bf16
#define dt_word_gemm_amx_u8s8     model_word_gemm_u8s8
#define dt_amx_map_plan           model_map_plan
#define dt_amx_map_run            model_map_run
#define dt_amx_forward            model_forward
#define dt_amx_forward_refuses    model_forward_refuses
#define dt_amx_forward_scratch    model_forward_scratch
#define dt_amx_backward_x         model_backward_x
#define dt_amx_backward_x_refuses model_backward_x_refuses
#define dt_amx_backward_x_scratch model_backward_x_scratch
#define dt_amx_backward_w         model_backward_w
#define dt_amx_backward_w_refuses model_backward_w_refuses
#define dt_amx_backward_w_scratch model_backward_w_scratch

#include "../../layers/conv/amx_backward_w.c"
#include "../../layers/conv/amx_backward_x.c"
#include "../../layers/conv/amx_forward.c"
#include "../../layers/conv/amx_map.c"

#if !defined(__x86_64__)
#include "../../layers/conv/conv_trio.h"
DT_CONV_TRIO_NONE(dt_amx_forward)
DT_CONV_TRIO_NONE(dt_amx_backward_x)
DT_CONV_TRIO_NONE(dt_amx_backward_w)
#endif

/* whose macros and short names are the ones above, too */
#undef DOT
#define block   gemm_block
#define product gemm_product
#include "../../layers/gemm/word_gemm_amx.c"
