/*
 * qcaps_network.h - networks made up for the search of Q-CapsNets: their accuracy follows from the bits alone.
 */
#ifndef QCAPS_NETWORK_H
#define QCAPS_NETWORK_H

#include <criterion/criterion.h>
#include <string.h>

#include "draws.h"
#include "qcaps_shapes.h"

enum { MOST_TRIALS = 400, NEVER = 33 };

/* A network made up: `good` % while no layer has fewer bits than it needs, else `bad`; less `slope` for each bit that a
 * layer has below `from`. It keeps what it was asked and what was reported. */
typedef struct {
    int n_layers;
    int weight[DT_QCAPS_LAYERS], activation[DT_QCAPS_LAYERS], routing[DT_QCAPS_LAYERS];
    double good, bad;
    int weight_from, activation_from, routing_from;
    double weight_slope, activation_slope, routing_slope;
    draws noise;
    int fail_at, stop_at; /* a measurement that fails, a trial that stops; 0: none */
    int n_measured, n_trials;
    dt_qcaps_bits measured[MOST_TRIALS];
    dt_qcaps_trial trial[MOST_TRIALS];
} network;

static inline double loss(int bits, int from, double slope)
{
    return bits < from ? slope * (from - bits) : 0.0;
}

static inline dt_status measure(void *user, const dt_qcaps_bits *b, double *accuracy)
{
    network *net = user;
    cr_assert(net->n_measured < MOST_TRIALS);
    net->measured[net->n_measured++] = *b;
    if (net->n_measured == net->fail_at) return dt_raise(DT_ERR_DEVICE, __FILE__, __LINE__, "the device is gone");
    *accuracy = net->good;
    for (int l = 0; l < net->n_layers; l++) {
        if (b->weight[l] < net->weight[l] || b->activation[l] < net->activation[l] || b->routing[l] < net->routing[l]) {
            *accuracy = net->bad;
        }
        *accuracy -= loss(b->weight[l], net->weight_from, net->weight_slope);
        *accuracy -= loss(b->activation[l], net->activation_from, net->activation_slope);
        *accuracy -= b->routing[l] > 0 ? loss(b->routing[l], net->routing_from, net->routing_slope) : 0.0;
    }
    return DT_OK;
}

static inline int on_trial(void *user, const dt_qcaps_trial *t)
{
    network *net = user;
    cr_assert(net->n_trials < MOST_TRIALS && t->trial == net->n_trials + 1);
    net->trial[net->n_trials++] = *t;
    return net->n_trials == net->stop_at;
}

static inline dt_status search(int shape, const dt_qcaps_options *o, network *net, double full, dt_qcaps_result *r)
{
    const dt_qcaps_judge judge = { measure, net };
    const dt_qcaps_watch watch = { .trial = on_trial, .user = net };
    net->n_layers = qcaps_shapes[shape].n_layers;
    return dt_qcaps_run(&qcaps_shapes[shape], o, full, &judge, &watch, r);
}

static inline dt_qcaps_result searched(int shape, const dt_qcaps_options *o, network *net, double full)
{
    dt_qcaps_result r;
    cr_assert(search(shape, o, net, full, &r) == DT_OK, "%s", dt_last_error());
    cr_assert(r.n_trials == net->n_trials && r.full_accuracy == full);
    return r;
}

static inline dt_qcaps_options options(float budget, float tolerance)
{
    dt_qcaps_options o = qcaps_options(budget, 0);
    o.accuracy_tolerance = tolerance;
    return o;
}

static inline void same_bits(const int *is, const int *want, int n, const char *what)
{
    for (int l = 0; l < n; l++) {
        cr_assert(is[l] == want[l], "%s: layer %d has %d bits, expected %d", what, l, is[l], want[l]);
    }
}

#endif /* QCAPS_NETWORK_H */
