/*
 * cpu_comm.c - sums over ranks for the CPU's backend: by the links of the ranks themselves (core/dist/).
 *
 * Sums of gradients are taken where they are asked for. A CPU has no engine that moves data beside its threads, so
 * there is nothing to overlap with: docs/SCALING.md has the measurement.
 * Tests: tests/core/test_ranks.c.
 */
#include "cpu_backend.h"

dt_status dt_cpu_comm_open(void *device, dt_dist *dist)
{
    dt_cpu_device *cpu = device;

    cpu->dist = dist;
    return DT_OK;
}

dt_status dt_cpu_all_reduce(void *device, void *data, int64_t count, dt_dtype type, int slot)
{
    dt_cpu_device *cpu = device;
    (void)slot;

    DT_CHECK(type == DT_F32, DT_ERR_UNSUPPORTED, "a sum over ranks of type %d; the CPU has f32", (int)type);
    return dt_dist_sum_floats(cpu->dist, "gradients", data, count);
}

dt_status dt_cpu_all_reduce_join(void *device)
{
    (void)device;
    return DT_OK;
}

dt_status dt_cpu_norm_sums(const dt_node *node, const dt_exec *ex, double *v, int64_t n)
{
    const dt_purpose *p = &node->purpose;
    const dt_cpu_device *cpu = ex->device;

    if (p->norm_images == 0 || p->norm_images == p->images) return DT_OK;
    return dt_dist_sum(cpu->dist, node->name, v, n);
}
