/*
 * test_step_launches.c - how many launches a captured training step has: VGG16 with a chokepoint of 16 channels, w4a2,
 *                        in mixed precision, with a quarter of the other channels, which takes less time and as many
 *                        launches.
 *
 * A GPU takes about 2 us for a launch, however little it does. What is counted are our own kernels, copies and sets,
 * and each call of a library's stand-in once: a plan of cuDNN is one kernel here, and on a GPU sometimes more.
 */
#include "../support/tiny_run.h"
#include "graph_nodes.h"

#include <stdio.h>

enum { MOST_KINDS = 64, MOST_LAUNCHES = 95, IMAGES = 65, FEW = 2 };

static tiny_options vgg16(int batch)
{
    tiny_options o = tiny_defaults();

    o.context.backend = "cuda";
    o.context.precision = DT_PRECISION_MIXED;
    MUST(dt_model_config_default("vgg16", &o.model));
    choose(&o.model, "choke", 16);
    choose(&o.model, "width-percent", 25);
    o.train.batch = batch;
    o.images = 2 * batch;
    return o;
}

/* Returns the number of nodes of the captured step, and prints which they are. */
static int launches_of(const tiny_options *o)
{
    simt_node_kind kind[MOST_KINDS];
    tiny_run r;
    int launches = 0;

    cr_assert(tiny_open(&r, o), "%s", dt_last_error());
    tiny_steps(&r, 2); /* the second one is captured */
    const int n = simt_captured_nodes(kind, MOST_KINDS);
    cr_assert(n > 0 && n <= MOST_KINDS, "%d kinds of nodes", n);
    printf("a step of %d images:\n", o->train.batch);
    for (int i = 0; i < n; i++) {
        printf("%5d  %s\n", kind[i].count, kind[i].name);
        launches += kind[i].count;
    }
    printf("%5d  in all\n", launches);
    tiny_close(&r);
    return launches;
}

/* Sums over few rows are made by the kernel that reads them (cuda/norm_quant.cu): in 4 nodes of 65 to 128 images, and
 * in all 12 of 2. */
Test(step_launches, are_few)
{
    const tiny_options usual = vgg16(IMAGES), small = vgg16(FEW);
    const int launches = launches_of(&usual), of_few = launches_of(&small);

    cr_assert(launches <= MOST_LAUNCHES, "%d launches, %d are allowed", launches, MOST_LAUNCHES);
    cr_assert(of_few == launches - 8, "%d with a batch of %d", of_few, FEW);
}
