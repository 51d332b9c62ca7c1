/*
 * test_core_alone.c - core/ links with nothing of the other folders: it is handed its operators and its devices.
 *
 * tests/CMakeLists.txt links this file with core's sources alone. The three tables below are all that core takes from
 * above; an undefined name beside them fails the build of this test.
 */
#include <criterion/criterion.h>

#include "../../core/backend.h"
#include "../../core/graph/graph.h"

static dt_status infer_copy(dt_node *n)
{
    n->out->shape = n->in[0]->shape;
    return DT_OK;
}

static const dt_op copy = { .name = "copy", .min_in = 1, .max_in = 1, .infer = infer_copy };
const dt_op *const dt_ops[DT_OP_COUNT] = { [DT_OP_IDENTITY] = &copy };
const dt_backend dt_backend_cpu, dt_backend_cuda;

Test(core_alone, a_graph_of_the_operators_that_it_was_handed)
{
    dt_graph *g = NULL;
    int image, y;
    const dt_shape shape = { 4, { 1, 5, 3, 2 } };

    cr_assert(dt_graph_create("alone", &g) == DT_OK);
    cr_assert(dt_graph_give(g, "image", DT_F32, &shape, &image) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_graph_add(g, DT_OP_IDENTITY, "y", NULL, &image, 1, &y) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_graph_shape(g, y)->dim[2] == 3);
    dt_graph_destroy(g);
}
