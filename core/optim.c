/*
 * optim.c - SGD with momentum and Adam, over all parameters in one pass.
 *
 *   g = dw + weight_decay * w
 *   SGD:   m = momentum * m + g;  w -= lr * m
 *   Adam:  m1 = beta1 * m1 + (1 - beta1) * g;  m2 = beta2 * m2 + (1 - beta2) * g^2
 *          w -= lr * (m1 * correct1) / (sqrt(m2 * correct2) + epsilon),  correctN = 1 / (1 - betaN^t)
 *   then w = max(w, floor), where lr is the step's times the range's factor.
 *
 * Sources: PyTorch's torch.optim.SGD (dampening 0, no Nesterov); Kingma, Ba, "Adam", 2015, algorithm 1, with the decay
 * added to the gradient.  CUDA: cuda/optim.cu.  Tests: tests/test_optim.c.
 */
#include "backend.h"

#include <math.h>

/* Threads take whole blocks: 64 KiB of each array. */
enum { OPTIM_BLOCK = 16384 };

static void sgd_block(const dt_update *u, const dt_update_range *r, float lr, int64_t first, int64_t end)
{
    float *w = u->w, *m = u->m1;
    const float *dw = u->dw;
    const float momentum = u->momentum, decay = r->weight_decay, floor = r->floor;

    for (int64_t i = first; i < end; i++) {
        m[i] = momentum * m[i] + (dw[i] + decay * w[i]);
        const float next = w[i] - lr * m[i];
        w[i] = next < floor ? floor : next;
    }
}

static void adam_block(const dt_update *u, const dt_update_range *r, const dt_step_in *in, float lr, int64_t first,
                       int64_t end)
{
    float *w = u->w, *m1 = u->m1, *m2 = u->m2;
    const float *dw = u->dw;

    for (int64_t i = first; i < end; i++) {
        const float g = dw[i] + r->weight_decay * w[i];
        m1[i] = u->beta1 * m1[i] + (1.0f - u->beta1) * g;
        m2[i] = u->beta2 * m2[i] + (1.0f - u->beta2) * (g * g);
        const float next = w[i] - lr * (m1[i] * in->adam_correct1) / (sqrtf(m2[i] * in->adam_correct2) + u->epsilon);
        w[i] = next < r->floor ? r->floor : next;
    }
}

dt_status dt_cpu_update(const dt_update *u, const dt_exec *ex)
{
    const dt_step_in *in = &ex->step->in;

    for (int k = 0; k < u->n_ranges; k++) {
        const dt_update_range *r = &u->range[k];
        const float lr = in->lr * r->lr_factor;
        const int64_t n_blocks = (r->count + OPTIM_BLOCK - 1) / OPTIM_BLOCK;

#pragma omp parallel for if (n_blocks > 1)
        for (int64_t b = 0; b < n_blocks; b++) {
            const int64_t first = r->first + b * OPTIM_BLOCK;
            const int64_t end = b + 1 < n_blocks ? first + OPTIM_BLOCK : r->first + r->count;
            if (u->kind == DT_OPTIM_SGD)
                sgd_block(u, r, lr, first, end);
            else
                adam_block(u, r, in, lr, first, end);
        }
    }
    return DT_OK;
}
