/*
 * comm_sums.cu - CUDA kernels of steps in parts: the sum of two gradients, the mean that follows the parameters, and
 *                running sums and statistics as doubles that ranks can sum. layers/cpu_comm.c and cpu_backend.c have
 *                the same for the CPU.
 *
 * Tests: tests/core/test_ranks_cuda.c.
 */
#include "kernel.h"

extern "C" {
#include "comm.h"
#include "cuda_device.h"
}

/* one thread for each value */
__global__ static void add_kernel(float *sum, const float *v, int64_t count)
{
    const int64_t i = dt_thread();
    if (i < count) sum[i] += v[i];
}

/* one thread for each value */
__global__ static void follow_kernel(float *mean, const float *v, int64_t count, const dt_step *step)
{
    const int64_t i = dt_thread();
    if (i < count) mean[i] += step->in.ema_share * (v[i] - mean[i]);
}

/* one thread for each value of state; the first also takes the sums */
__global__ static void pack_kernel(const dt_step_sum *sum, const float *state, int64_t n, double *room)
{
    const int64_t i = dt_thread();

    if (i == 0) dt_step_sum_pack(sum, room);
    if (i < n) room[DT_STEP_SUMS + i] = (double)state[i];
}

/* one thread for each value of state; the first also gives the sums */
__global__ static void unpack_kernel(const double *room, int ranks, dt_step_sum *sum, float *state, int64_t n)
{
    const int64_t i = dt_thread();

    if (i == 0) dt_step_sum_unpack(room, sum);
    if (i < n) state[i] = (float)(room[DT_STEP_SUMS + i] / (double)ranks);
}

static cudaStream_t stream_of(void *device)
{
    return ((const dt_cuda_device *)device)->stream;
}

extern "C" dt_status dt_cuda_add_gradients(void *device, float *sum, const float *v, int64_t count)
{
    DT_LAUNCH(add_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, stream_of(device), sum, v, count);
    return DT_OK;
}

extern "C" dt_status dt_cuda_follow(void *device, float *mean, const float *v, int64_t count, const dt_step *step)
{
    DT_LAUNCH(follow_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, stream_of(device), mean, v, count, step);
    return DT_OK;
}

extern "C" dt_status dt_cuda_pack_sums(void *device, const dt_step_sum *sum, const float *state, int64_t n,
                                       double *room)
{
    DT_LAUNCH(pack_kernel, dt_blocks(n + 1, DT_BLOCK), DT_BLOCK, 0, stream_of(device), sum, state, n, room);
    return DT_OK;
}

extern "C" dt_status dt_cuda_unpack_sums(void *device, const double *room, int ranks, dt_step_sum *sum, float *state,
                                         int64_t n)
{
    DT_LAUNCH(unpack_kernel, dt_blocks(n + 1, DT_BLOCK), DT_BLOCK, 0, stream_of(device), room, ranks, sum, state, n);
    return DT_OK;
}
