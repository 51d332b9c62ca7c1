/*
 * names.h - checks of enumerations by their words, and the names of nodes.
 */
#ifndef DT_NAMES_H
#define DT_NAMES_H

#include "detent/detent.h"

/* Checks that value is a constant of an enumeration. words has a word for each constant, and NULL at the end.
 * DT_ERR_ARGUMENT names the field, its value and the range. */
DT_MUST_CHECK dt_status dt_check_word(const char *field, int value, const char *const *words);

/* The name of an activation quantizer is that of the layer that reads its codes, with this at the end. */
#define DT_ACT_QUANT_SUFFIX ".act_quant"

/* Returns the bytes of a node's name without that suffix: 11 for "features.27.act_quant" and for "features.27". */
int dt_layer_name_bytes(const char *node);

#endif /* DT_NAMES_H */
