/*
 * post_training.h - quantization after training: a network of real values becomes one on affine grids, without a step
 * of training.
 *
 * fold.c folds batch norms, calibrate.c observes ranges, insert_range.c puts quantizers in; or insert_dynamic.c makes
 * codes of weights alone; or insert_qkeras.c puts QKeras-Mod's quantizers in. What they make is a model as any other:
 * it evaluates, trains on, and, if its values have ranges, is lowered to a program. formats/quantize.c reads ranges
 * from files for it.
 */
#ifndef DT_POST_TRAINING_H
#define DT_POST_TRAINING_H

#include "calibrate.h"

/* Makes a model of m's network with its batch norms folded, and m's origin. DT_ERR_UNSUPPORTED: m has quantizers. */
DT_MUST_CHECK dt_status dt_post_training_fold(dt_model *m, dt_model **out);

/* Ranges that are known of a network's values: has[i] 1: range[i] is. Both are [n_values of the folded graph], or NULL.
 */
typedef struct {
    const char *has;
    const dt_range *range;
} dt_known_ranges;

/* Quantizes what dt_post_training_fold made. Ranges that are not known are observed. */
DT_MUST_CHECK dt_status dt_post_training_quantize(dt_model *folded, const dt_quantization *what,
                                                  const dt_known_ranges *known, dt_model **out);

/* Makes the network of reals that m has trained, before its batch norms are folded. The caller destroys *out. */
DT_MUST_CHECK dt_status dt_post_training_plain(dt_model *m, dt_graph **out);

/* The two halves of dt_post_training_quantize. range: [n_values of the folded graph], written by the first. */
DT_MUST_CHECK dt_status dt_post_training_ranges(dt_model *folded, const dt_quantization *what,
                                                const dt_known_ranges *known, dt_range *range);
DT_MUST_CHECK dt_status dt_post_training_with(dt_model *folded, const dt_quantization *what, const dt_range *range,
                                              dt_model **out);

/* Makes codes of the weights of what dt_post_training_fold made: the scheme DRQ. */
DT_MUST_CHECK dt_status dt_post_training_dynamic(dt_model *folded, const dt_quantization *what, dt_model **out);

/* Puts QKeras-Mod's quantizers of training into what dt_post_training_fold made: the scheme QKERAS. */
DT_MUST_CHECK dt_status dt_post_training_qkeras(dt_model *folded, const dt_quantization *what, dt_model **out);

#endif /* DT_POST_TRAINING_H */
