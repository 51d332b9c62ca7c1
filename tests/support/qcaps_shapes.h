/*
 * qcaps_shapes.h - the layers of the three networks of Q-CapsNets: parameters and outputs counted by hand.
 */
#ifndef QCAPS_SHAPES_H
#define QCAPS_SHAPES_H

#include "../../quant/qcaps/qcaps.h"

enum { SHALLOW, DEEP28, DEEP64, N_SHAPES };

static const dt_qcaps_shape qcaps_shapes[N_SHAPES] = {
    { 3, 784, { { "conv", 20992, 102400, 0 }, { "primary", 5308672, 9216, 1 }, { "digit", 1474720, 160, 3 } } },
    { 6,
      784,
      { { "conv1", 1536, 100352, 0 },
        { "block1", 590336, 100352, 0 },
        { "block2", 2065408, 50176, 0 },
        { "block3", 2360320, 16384, 0 },
        { "block4", 1789184, 4096, 3 },
        { "capsLayer", 1638720, 320, 3 } } },
    { 6,
      12288,
      { { "conv1", 3840, 524288, 0 },
        { "block1", 590336, 524288, 0 },
        { "block2", 2065408, 262144, 0 },
        { "block3", 2360320, 65536, 0 },
        { "block4", 1789184, 16384, 3 },
        { "capsLayer", 6553920, 320, 3 } } },
};

static inline dt_qcaps_options qcaps_options(float budget, int published)
{
    dt_qcaps_options o;
    dt_qcaps_options_default(&o);
    o.memory_budget = budget;
    o.published = published;
    return o;
}

#endif /* QCAPS_SHAPES_H */
