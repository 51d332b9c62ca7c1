/*
 * names.h - is a value of a public enumeration one of its constants?
 */
#ifndef DT_NAMES_H
#define DT_NAMES_H

#include "detent/detent.h"

/* words: of the enumeration, NULL at the end. DT_ERR_ARGUMENT names the field, its value and the range. */
DT_MUST_CHECK dt_status dt_check_word(const char *field, int value, const char *const *words);

/* What an activation quantizer's name adds to that of the layer that reads its codes. */
#define DT_ACT_QUANT_SUFFIX ".act_quant"

/* Bytes of the layer's part of a node's name: 11 of "features.27.act_quant", all of "features.27". */
int dt_layer_name_bytes(const char *node);

#endif /* DT_NAMES_H */
