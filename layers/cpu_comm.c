/*
 * cpu_comm.c - sums over ranks for the CPU's backend: by the links of the ranks themselves (core/dist/).
 *
 * Sums of gradients are taken where they are asked for. A CPU has no engine that moves data beside its threads, so
 * there is nothing to overlap with.
 * Tests: tests/core/test_ranks.c.
 */
#include "cpu_backend.h"

#include "../core/dist/link.h"

#include <stdio.h>

dt_status dt_cpu_comm_open(void *device, dt_dist *dist, char *text, size_t text_bytes)
{
    dt_cpu_device *cpu = device;

    cpu->dist = dist;
    snprintf(text, text_bytes, "%s", dt_dist_links(dist));
    return DT_OK;
}

dt_status dt_cpu_all_reduce(void *device, void *data, int64_t count, dt_sum_type type)
{
    dt_cpu_device *cpu = device;

    if (type == DT_SUM_F64) return dt_dist_sum(cpu->dist, "running sums", data, count);
    return dt_dist_sum_floats(cpu->dist, "gradients", data, count);
}

dt_status dt_cpu_sum_shares(void *device, float *data, const int64_t *at)
{
    dt_cpu_device *cpu = device;

    return dt_dist_sum_shares(cpu->dist, "gradients", data, at);
}

dt_status dt_cpu_spread_shares(void *device, const char *what, float *data, const int64_t *at)
{
    dt_cpu_device *cpu = device;

    return dt_dist_spread_shares(cpu->dist, what, data, at);
}

dt_status dt_cpu_all_reduce_join(void *device)
{
    (void)device;
    return DT_OK;
}

dt_status dt_cpu_pack_sums(void *device, const dt_step_sum *sum, const float *state, int64_t n, double *room)
{
    (void)device;
    dt_step_sum_pack(sum, room);
    for (int64_t i = 0; i < n; i++) room[DT_STEP_SUMS + i] = (double)state[i];
    return DT_OK;
}

dt_status dt_cpu_unpack_sums(void *device, const double *room, int ranks, dt_step_sum *sum, float *state, int64_t n)
{
    (void)device;
    dt_step_sum_unpack(room, sum);
    for (int64_t i = 0; i < n; i++) state[i] = (float)(room[DT_STEP_SUMS + i] / ranks);
    return DT_OK;
}

dt_status dt_cpu_norm_sums(const dt_node *node, const dt_exec *ex, double *v, int64_t n)
{
    const dt_purpose *p = &node->purpose;
    const dt_cpu_device *cpu = ex->device;

    if (p->norm_images == 0 || p->norm_images == p->images) return DT_OK;
    return dt_dist_sum(cpu->dist, node->name, v, n);
}
