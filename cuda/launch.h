/*
 * launch.h - the one way to launch a kernel.
 *
 *   DT_LAUNCH(squash_kernel, dt_blocks(n, 256), 256, 0, stream, x, y, n);
 *   DT_CUDA_LAUNCHED();
 *
 * nvcc sees kernel<<<...>>>(...). Tests compile the same files with g++ and run the kernels on the CPU; there the
 * cuda_runtime.h of tests/simt/ has defined the macro already. The name of a template kernel that has commas stands
 * in parentheses: DT_LAUNCH((quantize_kernel<float, true>), ...).
 */
#ifndef DT_CUDA_LAUNCH_H
#define DT_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#ifndef DT_LAUNCH

#define DT_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)

#endif

#endif /* DT_CUDA_LAUNCH_H */
