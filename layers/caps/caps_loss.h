/*
 * caps_loss.h - the margins of the margin loss, and the part that one capsule adds to it. CPU and CUDA share this
 *               arithmetic. caps_loss.c has the mathematics.
 */
#ifndef DT_CAPS_LOSS_H
#define DT_CAPS_LOSS_H

#include "../../core/rng.h" /* DT_HD */

typedef struct {
    double present;      /* m+: the labelled capsule should be at least this long */
    double absent;       /* m-: the others should be at most this long */
    double absent_share; /* lambda: factor on the loss of the others */
} dt_margins;

/* Returns the margins; those of hard training if hard (dt_step_in.hard) is 1. */
static inline DT_HD dt_margins dt_margins_of(int hard)
{
    dt_margins m;
    m.present = hard ? 0.95 : 0.9;
    m.absent = hard ? 0.05 : 0.1;
    m.absent_share = hard ? 0.8 : 0.5;
    return m;
}

/* Returns by how much a length misses its margin, or 0 if it does not. A NaN stays a NaN, so that it shows in the loss.
 */
static inline DT_HD double dt_margin_miss(dt_margins m, double length, int is_label)
{
    const double miss = is_label ? m.present - length : length - m.absent;
    return miss < 0.0 ? 0.0 : miss;
}

/* Returns the loss of one capsule. */
static inline DT_HD double dt_margin_loss(dt_margins m, double length, int is_label)
{
    const double miss = dt_margin_miss(m, length, is_label);
    return (is_label ? 1.0 : m.absent_share) * (miss * miss);
}

/* Returns d loss / d length of one capsule. */
static inline DT_HD double dt_margin_slope(dt_margins m, double length, int is_label)
{
    return (is_label ? -2.0 : 2.0 * m.absent_share) * dt_margin_miss(m, length, is_label);
}

#endif /* DT_CAPS_LOSS_H */
