/*
 * train_peak.c - what share of its device's peak a run of training uses.
 *
 *   peak = ranks * operations a second of the largest products / operations of an image's step
 *
 * A step multiplies each weight three times: forward, for the gradient of what the layer reads and for that of the
 * weight. A product and a sum are two operations. The first layer's input has no gradient, and the decoder of a capsule
 * network is left out; both are small. Tests: tests/simt/device.sh.
 */
#include "train.h"

#include <math.h>
#include <stdlib.h>

enum { PASSES = 3, OPERATIONS = 2 }; /* of each product of a layer */

dt_status measure_peak(run *r)
{
    dt_layer_cost *cost;
    double rate, products = 0.0;
    int n;

    r->peak = NAN;
    if (r->rank != 0 || r->s->quiet) return DT_OK;
    DT_TRY(dt_context_peak(r->o.ctx, &rate));
    if (rate <= 0.0) return DT_OK;
    DT_TRY(dt_model_cost(r->o.model, &cost, &n));
    for (int i = 0; i < n; i++) products += (double)cost[i].macs;
    free(cost);
    if (products > 0.0) r->peak = (r->dist ? dt_dist_size(r->dist) : 1) * rate / (PASSES * OPERATIONS * products);
    return DT_OK;
}
