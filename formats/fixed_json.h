/*
 * fixed_json.h - the formats of a network that Q-CapsNets has quantized, as JSON.
 *
 *   {"rounding": "round_to_nearest", "published": 0, "weight": [6,5,4,0,..], "activation": [..], "routing": [..],
 *    "tensors": [{"name": "conv.conv.weight", "layer": 0, "kind": "weight", "scale": 0.31}, ..]}
 *
 * What can be written can be read, and a reader wants every field exactly once and no other.
 * Used by: fixed_file.c, fixed_codes.c.  Format: docs/FIXED_POINT_FORMAT.md.  Tests: tests/formats/test_fixed_file.c,
 * tests/formats/test_fixed_codes.c.
 */
#ifndef DT_FIXED_JSON_H
#define DT_FIXED_JSON_H

#include <cjson/cJSON.h>

#include "../quant/qcaps/fixed_formats.h"

/* Adds the fields to an empty object. If describe is 1, it also adds each tensor's bits, and its step, low and high, or
 * the exponents of its powers of two. DT_ERR_ARGUMENT names a value that no reader would accept. */
DT_MUST_CHECK dt_status dt_fixed_to_json(dt_fixed_formats *f, int describe, cJSON *object);

/* Fills formats that are all zeros. It checks that each tensor is there once and has bits; whether they are those of a
 * network, dt_fixed_insert finds. If it fails, dt_fixed_formats_destroy still has to release f. Messages name `file`.
 */
DT_MUST_CHECK dt_status dt_fixed_from_json(const cJSON *object, const char *file, dt_fixed_formats *f);

#endif /* DT_FIXED_JSON_H */
