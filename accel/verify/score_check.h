/*
 * score_check.h - the scores of a program beside those of its model: equal bits.
 */
#ifndef DT_SCORE_CHECK_H
#define DT_SCORE_CHECK_H

#include "../../core/context.h"
#include "oracle.h"

/* Compares the scores of a batch, which both have computed. result->first has the image and, as channel, the class; its
 * values are bits. */
DT_MUST_CHECK dt_status dt_score_check_batch(dt_context *ctx, const dt_tensor *model, const dt_tensor *program,
                                             dt_oracle_result *result);

#endif /* DT_SCORE_CHECK_H */
