/*
 * choose.h - for tests: an option of a built-in network, which it has.
 */
#ifndef CHOOSE_H
#define CHOOSE_H

#include <criterion/criterion.h>

#include "detent/detent.h"

static inline void choose(dt_model_config *c, const char *option, int value)
{
    cr_assert(dt_model_option(c, option, value) == DT_OK, "%s", dt_last_error());
}

#endif /* CHOOSE_H */
