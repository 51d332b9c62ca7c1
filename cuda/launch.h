/*
 * launch.h - the one way to launch a kernel.
 *
 *   DT_LAUNCH(squash_kernel, dt_blocks(n, 256), 256, 0, stream, x, y, n);
 *
 * It returns from the calling function, as DT_CUDA does, if the launch has a bad configuration. The name of a template
 * kernel that has commas stands in parentheses: DT_LAUNCH((quantize_kernel<float, true>), ...).
 *
 * nvcc sees kernel<<<...>>>(...). Tests compile the same files with g++ and run the kernels on the CPU; there the
 * cuda_runtime.h of tests/simt/ has defined DT_START already.
 */
#ifndef DT_CUDA_LAUNCH_H
#define DT_CUDA_LAUNCH_H

#include "cuda_check.h"

#ifndef DT_START

#define DT_START(kernel, grid, block, shared_bytes, stream, ...) \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)

#endif

#define DT_LAUNCH(...)         \
    do {                       \
        DT_START(__VA_ARGS__); \
        DT_CUDA_LAUNCHED();    \
    } while (0)

#endif /* DT_CUDA_LAUNCH_H */
