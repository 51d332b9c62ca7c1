/*
 * caps_loss.h - the margins of the margin loss and what one capsule adds to it, one arithmetic for CPU and CUDA.
 *
 * The mathematics is in caps_loss.c.
 */
#ifndef DT_CAPS_LOSS_H
#define DT_CAPS_LOSS_H

#include "../../core/rng.h" /* DT_HD */

typedef struct {
    double present;      /* m+: the labelled capsule wants to be as long as this */
    double absent;       /* m-: the others no longer than this */
    double absent_share; /* lambda: weight of the others */
} dt_margins;

/* hard: those of hard training, dt_step_in.hard */
static inline DT_HD dt_margins dt_margins_of(int hard)
{
    dt_margins m;
    m.present = hard ? 0.95 : 0.9;
    m.absent = hard ? 0.05 : 0.1;
    m.absent_share = hard ? 0.8 : 0.5;
    return m;
}

/* By how much a length misses its margin, 0 if it does not. A NaN is passed on: it must show in the loss. */
static inline DT_HD double dt_margin_miss(dt_margins m, double length, int is_label)
{
    const double miss = is_label ? m.present - length : length - m.absent;
    return miss < 0.0 ? 0.0 : miss;
}

static inline DT_HD double dt_margin_loss(dt_margins m, double length, int is_label)
{
    const double miss = dt_margin_miss(m, length, is_label);
    return (is_label ? 1.0 : m.absent_share) * (miss * miss);
}

/* d loss / d length */
static inline DT_HD double dt_margin_slope(dt_margins m, double length, int is_label)
{
    return (is_label ? -2.0 : 2.0 * m.absent_share) * dt_margin_miss(m, length, is_label);
}

#endif /* DT_CAPS_LOSS_H */
