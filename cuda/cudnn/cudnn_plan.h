/*
 * cudnn_plan.h - inside a plan. cudnn_graph.c describes the convolution to cuDNN, and cudnn_plan.c chooses the engine;
 *                no other file includes this.
 */
#ifndef DT_CUDNN_PLAN_H
#define DT_CUDNN_PLAN_H

#include <cudnn.h>

#include "cudnn_graph.h"

#define DT_CUDNN(call)                                                                                               \
    do {                                                                                                             \
        const cudnnStatus_t dt_cudnn_ = (call);                                                                      \
        DT_CHECK(dt_cudnn_ == CUDNN_STATUS_SUCCESS, DT_ERR_DEVICE, "%s: %s", #call, cudnnGetErrorString(dt_cudnn_)); \
    } while (0)

typedef cudnnBackendDescriptor_t dt_descriptor;

enum { DT_MAX_PLAN_PARTS = 16, DT_ENGINE_TEXT = 512 };

/* The descriptors of a plan live as long as the plan, because cuDNN does not say which of them it still reads. */
struct dt_conv_plan {
    dt_conv_problem problem;
    const dt_cudnn *cudnn;
    dt_descriptor part[DT_MAX_PLAN_PARTS];
    int n_parts;
    dt_descriptor config; /* the chosen engine, with its knobs */
    dt_descriptor plan;   /* NULL: the device is a described one, for which support was checked and nothing compiled */
    int compiled;
    char engine[DT_ENGINE_TEXT]; /* the engine's number, then knob=value for each of its knobs */
    size_t workspace_bytes;
    dt_conv_plan *next;
};

struct dt_cudnn {
    cudnnHandle_t handle; /* NULL for a described device */
    dt_descriptor device; /* NULL for a real one */
    void *stream;
    char name[320]; /* name of a real device, for the cache's keys, such as "NVIDIA H100 80GB HBM3, sm_90" */
    dt_conv_plan *plans;
};

/* Writes every field of a problem to text, and returns text: "forward, f16 -> f16 / 2^3, x 128x32x32x64, w 64x3x3x64,
 * stride 1, pad 1". It needs at most 384 bytes. */
const char *dt_conv_problem_text(const dt_conv_problem *problem, char *text, size_t bytes);

/* Chooses an engine for the graph of plan->problem, and sets the members of the plan behind n_parts. If no engine keeps
 * our rules, it returns DT_OK and leaves config NULL. */
DT_MUST_CHECK dt_status dt_conv_plan_choose(dt_conv_plan *plan, dt_descriptor graph);

/* Sets an attribute of a descriptor to n values. */
static inline dt_status dt_cudnn_set(dt_descriptor d, cudnnBackendAttributeName_t name,
                                     cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    DT_CUDNN(cudnnBackendSetAttribute(d, name, type, n, values));
    return DT_OK;
}

/* Sets an attribute of a descriptor to another descriptor. */
static inline dt_status dt_cudnn_set_part(dt_descriptor d, cudnnBackendAttributeName_t name, dt_descriptor value)
{
    return dt_cudnn_set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

/* Finishes a descriptor, after which it can be used and not changed. */
static inline dt_status dt_cudnn_finish(dt_descriptor d)
{
    DT_CUDNN(cudnnBackendFinalize(d));
    return DT_OK;
}

/* Makes a new descriptor that belongs to the plan. */
static inline dt_status dt_cudnn_part(dt_conv_plan *plan, cudnnBackendDescriptorType_t type, dt_descriptor *out)
{
    DT_CHECK(plan->n_parts < DT_MAX_PLAN_PARTS, DT_ERR_RANGE, "a plan has at most %d descriptors", DT_MAX_PLAN_PARTS);
    DT_CUDNN(cudnnBackendCreateDescriptor(type, &plan->part[plan->n_parts]));
    *out = plan->part[plan->n_parts++];
    return DT_OK;
}

#endif /* DT_CUDNN_PLAN_H */
