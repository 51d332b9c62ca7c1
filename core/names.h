/*
 * names.h - is a value of a public enumeration one of its constants?
 */
#ifndef DT_NAMES_H
#define DT_NAMES_H

#include "detent.h"

/* words: of the enumeration, NULL at the end. DT_ERR_ARGUMENT names the field, its value and the range. */
DT_MUST_CHECK dt_status dt_check_word(const char *field, int value, const char *const *words);

#endif /* DT_NAMES_H */
