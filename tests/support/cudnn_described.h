/*
 * cudnn_described.h - devices as cuDNN wants them described, the forms in which a convolution is asked for, and the
 * rules that an engine keeps to, for the tests of plans.
 */
#ifndef CUDNN_DESCRIBED_H
#define CUDNN_DESCRIBED_H

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../cuda/cudnn/conv_problem.h"
#include "../../cuda/cudnn/cudnn_plan.h"

/* What cuDNN wants to know of a device and what differs between architectures: a large GPU of each. */
typedef struct {
    int capability, multiprocessors, shared_bytes, threads;
    long long l2_bytes;
} device_facts;

static const device_facts devices[] = {
    { 80, 108, 166912, 2048, 41943040 },   /* A100 */
    { 90, 132, 232448, 2048, 52428800 },   /* H100 */
    { 100, 148, 232448, 2048, 132644864 }, /* B200 */
    { 120, 170, 101376, 1536, 100663296 }, /* RTX 5090 */
};

enum { N_DEVICES = sizeof devices / sizeof *devices, JSON_BYTES = 1024, BATCH = 128 };

static inline void device_json(const device_facts *f, char *json)
{
    snprintf(json, JSON_BYTES,
             "{\"deviceName\":\"described\",\"cudaDeviceId\":0,\"deviceVer\":%d,\"driverVer\":13000,\"isTccDriver\":0,"
             "\"l2CacheSize\":%lld,\"maxCtasPerSM\":32,\"maxRegistersPerSM\":65536,\"maxSharedMemoryPerBlock\":49152,"
             "\"maxSharedMemoryPerBlockOptin\":%d,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":%d,"
             "\"memClockRateKHz\":2619000,\"multiProcessorCount\":%d,\"pciDeviceId\":0,\"regsPerBlock\":65536,"
             "\"reservedSharedMemoryPerBlock\":1024,\"smClockRateKHz\":1980000,\"supportCoopLaunch\":1,"
             "\"totalGlobalMem\":32000000000,\"warpSize\":32,\"maxBlockSize\":[1024,1024,64],"
             "\"maxGridSize\":[2147483647,65535,65535]}",
             10 * f->capability, f->l2_bytes, f->shared_bytes, f->threads, f->multiprocessors);
}

/* The driver, or the toolkit's stub of it under the driver's name. Returns 0 if neither is here. */
static inline int load_driver(void)
{
    const char *root = getenv("CUDA_HOME");
    char stub[512];

    if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL)) return 1;
    snprintf(stub, sizeof stub, "%s/lib64/stubs/libcuda.so", root ? root : "/usr/local/cuda");
    return dlopen(stub, RTLD_NOW | RTLD_GLOBAL) != NULL;
}

/* How the tensors around a convolution are stored, and in which precision it is asked for. */
typedef enum { IN_F32, MIXED_ALONE, MIXED_FUSED, N_FORMS } form;

/* How training asks for it. */
static inline dt_exec exec_of(form f)
{
    return (dt_exec){ .precision = f == IN_F32 ? DT_PRECISION_F32 : DT_PRECISION_MIXED, .training = 1 };
}

static const char *const form_names[N_FORMS] = { "f32", "mixed", "mixed, stored in 16 bits" };

/* What core/tape/types.c would do between fused nodes. */
static inline void store_as(const dt_node *node, form f)
{
    const dt_exec ex = exec_of(f);
    const dt_storage s = dt_conv_storage(node, &ex);

    node->out->type = f == MIXED_FUSED ? s.y : DT_F32;
    node->out->grad_type = f == MIXED_FUSED ? s.y_grad : DT_F32;
}

/* The notes of the engine that was chosen keep to cudnn_plan.c's rules. TF32 has no note of its own: its engines carry
 * that of tensor cores. */
static inline void check_engine(const char *name, const dt_conv_plan *plan)
{
    enum { MOST = 32 };
    static const cudnnBackendNumericalNote_t refused[] = {
        CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC,
        CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
        CUDNN_NUMERICAL_NOTE_FFT,
        CUDNN_NUMERICAL_NOTE_WINOGRAD,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13,
    };
    const int is_strict = plan->problem.operand == DT_F32 && plan->problem.keep_f32;
    cudnnBackendNumericalNote_t note[MOST];
    dt_descriptor engine = NULL;
    int64_t n = 0;

    cr_assert(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == CUDNN_STATUS_SUCCESS);
    cr_assert(cudnnBackendGetAttribute(plan->config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n,
                                       &engine) == CUDNN_STATUS_SUCCESS);
    cr_assert(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, MOST, &n,
                                       note) == CUDNN_STATUS_SUCCESS);
    for (int64_t i = 0; i < n; i++) {
        cr_expect(!is_strict || note[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE, "%s: engine %s computes in TF32", name,
                  plan->engine);
        for (size_t j = 0; j < sizeof refused / sizeof *refused; j++) {
            cr_expect(note[i] != refused[j], "%s: engine %s has note %d", name, plan->engine, (int)note[i]);
        }
    }
    (void)cudnnBackendDestroyDescriptor(engine);
}

#endif /* CUDNN_DESCRIBED_H */
