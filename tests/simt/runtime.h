/*
 * runtime.h - what the two halves of the fake runtime share: device.cc and stream.cc.
 */
#ifndef SIMT_RUNTIME_H
#define SIMT_RUNTIME_H

#include "cuda_runtime_api.h"

namespace simt
{

/* of sm_90: bytes of shared memory that a block may have without cudaFuncSetAttribute, and with it */
static const size_t shared_plain = 48 * 1024;
static const size_t shared_optin = 227 * 1024;

/* Keeps an error for cudaGetLastError(), and returns it. */
cudaError_t result(cudaError_t error);

/* Runs all that was issued and waits still, on every stream. */
void finish_all();

/* Whether what is issued on a stream waits until somebody waits for it. */
bool is_held_back(cudaStream_t stream);

/* A call that waits or allocates has no place in a capture: it fails, and the capture with it. */
bool refused_by_capture();

} // namespace simt

#endif /* SIMT_RUNTIME_H */
