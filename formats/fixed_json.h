/*
 * fixed_json.h - the formats of a network that Q-CapsNets has quantized, as JSON.
 *
 *   {"rounding": "round_to_nearest", "published": 0, "weight": [6,5,4,0,..], "activation": [..], "routing": [..],
 *    "tensors": [{"name": "conv.conv.weight", "layer": 0, "kind": "weight", "scale": 0.31}, ..]}
 *
 * Strict both ways, like a program's (program_file.c).
 * Used by: fixed_file.c, fixed_codes.c.  Format: docs/FIXED_POINT_FORMAT.md.  Tests: tests/formats/test_fixed_file.c,
 * tests/formats/test_fixed_codes.c.
 */
#ifndef DT_FIXED_JSON_H
#define DT_FIXED_JSON_H

#include <cjson/cJSON.h>

#include "../quant/qcaps/fixed_formats.h"

/* Adds the fields to an empty object. describe: each tensor's bits too, its step with low and high, or the exponents of
 * its powers of two. DT_ERR_ARGUMENT names a value that no reader would take. */
DT_MUST_CHECK dt_status dt_fixed_to_json(dt_fixed_formats *f, int describe, cJSON *object);

/* Fills zeroed formats; file is for messages. On failure too, f holds what dt_fixed_formats_destroy releases. Every
 * tensor is there once and has bits; whether they are a network's is found when it is recorded. */
DT_MUST_CHECK dt_status dt_fixed_from_json(const cJSON *object, const char *file, dt_fixed_formats *f);

#endif /* DT_FIXED_JSON_H */
