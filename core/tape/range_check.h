/*
 * range_check.h - inside dt_tape: what an operator has left is compared with the range that its tensor declares. For
 *                 builds with -DDETENT_CHECK_RANGES=ON: see core/declared.h.
 */
#ifndef DT_RANGE_CHECK_H
#define DT_RANGE_CHECK_H

#include "../declared.h"
#include "../tensor.h"

/* Ends the process if an integer of the grid tensor t, which is in host memory, is outside qmin..qmax. */
void dt_range_check(const dt_tensor *t, const char *who);

#endif /* DT_RANGE_CHECK_H */
