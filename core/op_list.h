/*
 * op_list.h - the one list of operators. Every backend's table of kernels, the table of facts, and the check that each
 *             operator has a test are made from it.
 *
 * XX(UPPER, lower, stem): the operator's facts are `dt_op_lower` and its CPU kernel is `dt_cpu_lower`, in stem.c of
 * layers/, quant/ or accel/ or of a folder inside. Its CUDA kernel is `dt_cuda_lower`, in cuda/stem.cu, or in stem.c
 * there if it only calls a library. The comment of a line has the shapes; [ ] encloses inputs that may be missing.
 */
#ifndef DT_OP_LIST_H
#define DT_OP_LIST_H

/* clang-format off */
#define DT_OP_MAP(XX)                                                                                         \
    XX(AUGMENT,      augment,      augment)      /* images u8 or f32 n,H,W,C; order i32 n [alpha 1] -> x N,H,W,C */ \
    XX(GATHER,       gather,       augment)      /* labels i32 n,..; order i32 n -> labels of the batch N,.. */ \
    XX(CONV2D,       conv,         conv)         /* x N,H,W,C; w K,R,S,C -> y N,P,Q,K                      */ \
    XX(LINEAR,       linear,       linear)       /* x N,I; w O,I; b O -> y N,O                             */ \
    XX(BATCHNORM,    batchnorm,    batchnorm)    /* x ..,C; gamma beta mean var C -> y ..,C                */ \
    XX(RELU,         relu,         activation)                                                                \
    XX(MAXPOOL,      maxpool,      pool)         /* x N,H,W,C -> y N,P,Q,C                                 */ \
    XX(AVGPOOL,      avgpool,      pool)                                                                      \
    XX(FLATTEN,      flatten,      shape)        /* x N,.. -> y N,I                                        */ \
    XX(IDENTITY,     identity,     shape)                                                                     \
    XX(ADD,          add,          shape)        /* a, b of one shape                                      */ \
    XX(MUL,          mul,          mul)          /* a N,..,C; b of that shape or N,1,..,1,C -> y as a      */ \
    XX(SOFTMAX,      softmax,      softmax)      /* x ..,C -> y ..,C, over the last axis                   */ \
    XX(SOFTMAX_XENT, softmax_xent, loss)         /* logits N,O; labels i32 N -> mean loss 1                */ \
    XX(SIGMOID_XENT, sigmoid_xent, sigmoid_xent) /* scores N,O; labels i32 N,O or, of one, N -> mean loss 1 */ \
    XX(LINEAR_XENT,  linear_xent,  linear_xent)  /* x N,I; w O,I; b O; labels i32 N -> mean loss 1         */ \
    XX(WEIGHT_QUANT, weight_quant, weight_quant) /* w K,..; alpha 1 or K -> codes K,..                     */ \
    XX(ACT_QUANT,    act_quant,    act_quant)    /* x; alpha 1 -> codes                                    */ \
    XX(NORM_QUANT,   norm_quant,   norm_quant)   /* x [gamma beta mean var C] [alpha 1] -> codes or y      */ \
    XX(CODES,        codes,        codes)        /* integers K,..; scale 1 or K -> codes K,..              */ \
    XX(TABLE,        table,        codes)        /* x u8 or codes ..,C; table L,C; scale 1 -> codes ..,C   */ \
    XX(DEQUANTIZE,   dequantize,   codes)        /* integers -> their real values                         */ \
    XX(QUANTIZE,     quantize,     requantize)   /* reals ..; scale 1 -> codes ..                          */ \
    XX(REQUANTIZE,   requantize,   requantize)   /* x ..,C; scales of x, y [w 1 or C] [bias C] -> codes    */ \
    XX(QADD,         qadd,         qbinary)      /* codes a, b of one shape; scales of a, b, y -> codes    */ \
    XX(QMUL,         qmul,         qbinary)      /* the same                                               */ \
    XX(QMATMUL,      qmatmul,      qmatmul)      /* codes a N,B,R,T; b N,B,T,C; 3 scales -> codes N,B,R,C */ \
    XX(QAVGPOOL,     qavgpool,     qpool)        /* codes N,H,W,C -> codes N,P,Q,C                         */ \
    XX(QSOFTMAX,     qsoftmax,     qsoftmax)     /* codes ..,C; scales of x, y -> codes ..,C               */ \
    XX(THRESHOLD,    threshold,    threshold)    /* psum ..,C; thresholds T,C; sign C; scale 1 -> codes    */ \
    XX(AFFINE,       affine,       affine)       /* x ..,C; a C; b C -> y ..,C                             */ \
    XX(PSUM,         psum,         psum)         /* x N,H,W,C; w K,R,S,C -> psums of the array N,P,Q,K     */ \
    XX(BIAS,         bias,         bias)         /* x ..,C; b C -> real y ..,C                             */ \
    XX(SIGMOID,      sigmoid,      activation)                                                                \
    XX(CLIP,         clip,         activation)                                                                \
    XX(TRANSPOSE,    transpose,    shape)        /* x N,A,B,D -> y N,B,A,D, in the shape given             */ \
    XX(CONCAT,       concat,       shape)        /* 2..6 of N,.. that differ along one axis -> N,..        */ \
    XX(CONV_TRANSPOSE, conv_transpose, conv_transpose) /* x N,P,Q,K; w K,R,S,C -> y N,H,W,C                */ \
    XX(SQUASH,       squash,       squash)       /* x ..,C of capsules of D -> y ..,C                      */ \
    XX(BIAS_SQUASH,  bias_squash,  bias_squash)  /* x ..,C of capsules of D; b C -> y ..,C                 */ \
    XX(BIAS_RELU,    bias_relu,    bias_relu)    /* x ..,C; b C -> y ..,C                                  */ \
    XX(CAPS_VOTES,   caps_votes,   caps_votes)   /* x N,I,A; w I,A,C -> votes N,I,C                        */ \
    XX(CAPS_ROUTE,   caps_route,   caps_route)   /* votes N*I,(H,W,)C; b C -> capsules N,(H,W,)C           */ \
    XX(ROUTE_INT,    route_int,    route_int)    /* votes, codes; b C -> codes of capsules, as caps_route    */ \
    XX(CLASS_INT,    class_int,    class_int)    /* s codes N,C -> codes of lengths N,J                    */ \
    XX(CAPS_LENGTH,  caps_length,  caps_class)   /* v N,C -> lengths N,J                                   */ \
    XX(CAPS_MASK,    caps_mask,    caps_class)   /* v N,C; labels i32 N -> the labelled capsule N,D        */ \
    XX(MARGIN_LOSS,  margin_loss,  caps_loss)    /* lengths N,J; labels i32 N -> mean loss 1               */ \
    XX(RECONSTRUCTION_LOSS, reconstruction_loss, caps_loss) /* y N,..; x N,.. -> scaled mean loss 1        */ \
    XX(FIXED_POINT,  fixed_point,  fixed_point)  /* x -> x in a fixed-point format, real or codes          */ \
    XX(ROWS,         rows,         augment)      /* rows f32 or u8 n,..; order i32 -> x N,..               */ \
    XX(RANGE_QUANT,  range_quant,  range_quant)  /* x; range 2; [others that count] -> codes               */ \
    XX(SCALE_QUANT,  scale_quant,  scale_quant)  /* x ..; scale 1 or one a channel -> codes ..             */ \
    XX(MAX_QUANT,    max_quant,    max_quant)    /* w K,..; least scale 1 or K -> codes K,..               */ \
    XX(DYNAMIC_QUANT, dynamic_quant, dynamic_quant) /* x N,.. -> x, each image on an 8-bit grid of its own */ \
    XX(BATCH_STATS,  batch_stats,  batch_stats)  /* mean C; var C; [x ..,C] -> stats 2,C                   */ \
    XX(FOLD_WEIGHT,  fold_weight,  norm_fold)    /* w K,..; gamma K; stats 2,K -> folded w K,..            */ \
    XX(FOLD_BIAS,    fold_bias,    norm_fold)    /* x ..,C; gamma, beta C; stats 2,C [stats 2,C] [b C] -> y */ \
    XX(CENTRE,       centre,       centre)       /* x N,..; mean .. -> x N,.. less the mean                */ \
    XX(FEATUREMAP_QUANT, featuremap_quant, featuremap_quant) /* x N,.. -> x, each image on a grid of its own */
/* clang-format on */

typedef enum {
#define XX(upper, lower, stem) DT_OP_##upper,
    DT_OP_MAP(XX)
#undef XX
        DT_OP_COUNT
} dt_op_kind;

#endif /* DT_OP_LIST_H */
