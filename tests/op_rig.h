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

/* Device memory of count floats. */
void *op_device_constant(dt_context *ctx, float value, int64_t count);

#endif /* OP_RIG_H */
