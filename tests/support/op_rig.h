/*
 * op_rig.h - what op_case.c and op_rig.c share; tests include op_case.h alone.
 */
#ifndef OP_RIG_H
#define OP_RIG_H

#include "op_case.h"

/* Fails the test unless status is DT_OK. */
void op_must(dt_status status, const char *why, const char *doing);

int64_t op_input_count(const op_case *c, int k);
int op_is_differentiable(const op_case *c, int k);

/* Evenly spread in [0, 1), in another order for each k. */
double op_spread(int k, int64_t i);

/* Element i of input k, scale * code for a grid tensor. */
double op_real_value(const op_input *in, int k, int64_t i);

/* Facts of input k, without memory. */
dt_tensor op_describe(const op_input *in, int k);

/* op_rig_open with a kernel in the place of the backend's; NULL: the backend's. */
int op_rig_open_with(op_rig *rig, const char *backend, int threads, const op_case *c, const dt_kernel *kernel);
DT_MUST_CHECK dt_status op_rig_try_forward(op_rig *rig);
DT_MUST_CHECK dt_status op_rig_try_backward(op_rig *rig, const float *dy);
void op_rig_free(op_rig *rig); /* op_rig_close, whatever has been written */

/* What has been written beside, "out" or the like, and on which side of it; NULL if nothing has. */
const char *op_rig_overrun(op_rig *rig, const char **side);

/* Fills the scratch with NaNs; whether anything was written behind it since. */
void op_rig_clear_scratch(op_rig *rig);
int op_rig_scratch_overrun(op_rig *rig);

/* The number of an input, state aside, that holds something else than in the beginning; -1 if there is none. */
int op_rig_input_changed(op_rig *rig, const op_case *c);

#endif /* OP_RIG_H */
