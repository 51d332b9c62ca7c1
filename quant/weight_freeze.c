/*
 * weight_freeze.c - freezes the weights whose code goes back and forth, on the CPU, behind each update.
 *
 * For each weight, with the code q(t) after step t, the momentum m and the threshold h:
 *   turned(t) = 1 if q changes at step t in the other direction than it changed last, else 0
 *   turns(t)  = (1 - m) turns(t-1) + m turned(t),    0 at the begin
 *   mean(t)   = (1 - m) mean(t-1) + m q(t),          q at the begin
 * A weight with turns(t) > h is frozen: its code is rint(mean(t-1)) to the end. Its value follows the step s as code *
 * s, so that whoever reads the parameters, with the optimiser's state or without, finds that code.
 *
 * This is for the rule LSQ. By the other rules a code depends on the mean and the deviation of the layer, and so on all
 * of its weights. Behind a division by s, code * s is within a rounding of the code: frozen codes are exact.
 *
 * Ranks that share an update all do this for all weights, with the same bits.
 *
 * Source: Nagel et al., "Overcoming oscillations in quantization-aware training", ICML 2022, section 4.3. Their code
 * freezes to the mean of the steps before, as this does, and gives the step of a frozen weight its code as gradient.
 * CUDA: cuda/optim.cu.  Tests: tests/quant/test_weight_freeze.c.
 */
#include "weight_quant.h"

#include "../layers/cpu_backend.h"

static void freeze_piece(const dt_update *u, const dt_weight_layer *l, const dt_weight_piece *p)
{
    const int64_t first = l->w - u->w + p->first;
    const float alpha = l->alpha[p->set];
    float *w = l->w + p->first;

    for (int i = 0; i < p->n; i++) w[i] = dt_weight_freeze(&u->freeze, first + i, w[i], alpha, &l->grid);
}

void dt_cpu_freeze(const dt_update *u)
{
    const dt_update_freeze *f = &u->freeze;
    dt_weight_group g;

    for (int first = 0; first < f->n_quantizers;) {
        first += dt_weight_group_of(f->quantizer + first, f->n_quantizers - first, NULL, &g);
#pragma omp parallel for
        for (int i = 0; i < g.n_pieces; i++) {
            const dt_weight_piece p = dt_weight_piece_at(&g, i);
            freeze_piece(u, &g.layer[p.layer], &p);
        }
    }
}
