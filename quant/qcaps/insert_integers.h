/*
 * insert_integers.h - what Q-CapsNets has quantized, as a network that computes on integers alone.
 */
#ifndef DT_INSERT_INTEGERS_H
#define DT_INSERT_INTEGERS_H

#include "../../core/train/model.h"

/* DT_ERR_UNSUPPORTED if the rounding of m's formats has no integers: stochastic and logarithmic ones have none. Models
 * without formats pass. */
DT_MUST_CHECK dt_status dt_fixed_check_integers(const dt_model *m);

/* Makes *out the network on integers of m, which has formats, with m's values. insert_integers.c says what each format
 * becomes. DT_ERR_UNSUPPORTED: its rounding has no integers, or bits that programs have no room for. */
DT_MUST_CHECK dt_status dt_fixed_integers(dt_model *m, dt_model **out);

#endif /* DT_INSERT_INTEGERS_H */
