/*
 * cudnn_graph.c - the one file that calls cuDNN: operation graphs, engines, plans.
 *
 * A graph is the convolution alone where everything is f32. 16-bit and 8-bit operands need a second node that copies
 * the accumulator to an f32 result: as a single operation cuDNN has no tensor core engine that writes f32.
 * Refused are engines whose sums are not deterministic, that transform (Winograd, FFT), or that accumulate in less
 * than 32 bits. So forward, on codes whose psums stay below 2^24, is exact with any engine that is left.
 *
 * Source: NVIDIA, "cuDNN backend API reference", version 9, cudnn_graph library.
 * Stand-in: tests/simt/standin_cudnn.c.  Tests: tests/test_cudnn_plans.c.
 */
#include "cudnn_graph.h"

#include <cudnn.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DT_CUDNN(call)                                                                                               \
    do {                                                                                                             \
        const cudnnStatus_t dt_cudnn_ = (call);                                                                      \
        DT_CHECK(dt_cudnn_ == CUDNN_STATUS_SUCCESS, DT_ERR_DEVICE, "%s: %s", #call, cudnnGetErrorString(dt_cudnn_)); \
    } while (0)

enum { MAX_PARTS = 16, MAX_CONFIGS = 64, MAX_NOTES = 16, ALIGNMENT = 16 };
enum { UID_X = 1, UID_FILTER, UID_Y, UID_ACCUMULATOR };

typedef cudnnBackendDescriptor_t descriptor;

/* The descriptors of a plan live as long as it does: cuDNN does not say which of them it still reads. */
struct dt_conv_plan {
    dt_conv_problem problem;
    const dt_cudnn *cudnn;
    descriptor part[MAX_PARTS];
    int n_parts;
    descriptor config; /* the engine chosen, with its knobs */
    descriptor plan;   /* NULL: support was checked, a described device cannot compile */
    int compiled;
    size_t workspace_bytes;
    dt_conv_plan *next;
};

struct dt_cudnn {
    cudnnHandle_t handle; /* NULL for a described device */
    descriptor device;    /* NULL for a real one */
    dt_conv_plan *plans;
};

const char *dt_cudnn_name(void)
{
    static char name[32];
    const size_t version = cudnnGetVersion(); /* 91900 is 9.19.0 */

    snprintf(name, sizeof name, "cuDNN %zu.%zu", version / 10000, version / 100 % 100);
    return name;
}

static dt_status plan_part(dt_conv_plan *plan, cudnnBackendDescriptorType_t type, descriptor *out)
{
    DT_CHECK(plan->n_parts < MAX_PARTS, DT_ERR_RANGE, "a plan has at most %d descriptors", MAX_PARTS);
    DT_CUDNN(cudnnBackendCreateDescriptor(type, &plan->part[plan->n_parts]));
    *out = plan->part[plan->n_parts++];
    return DT_OK;
}

static dt_status set(descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
                     const void *values)
{
    DT_CUDNN(cudnnBackendSetAttribute(d, name, type, n, values));
    return DT_OK;
}

static dt_status set_integers(descriptor d, cudnnBackendAttributeName_t name, int64_t n, const int64_t *values)
{
    return set(d, name, CUDNN_TYPE_INT64, n, values);
}

static dt_status set_part(descriptor d, cudnnBackendAttributeName_t name, descriptor value)
{
    return set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static dt_status set_type(descriptor d, cudnnBackendAttributeName_t name, cudnnDataType_t type)
{
    return set(d, name, CUDNN_TYPE_DATA_TYPE, 1, &type);
}

static dt_status finish(descriptor d)
{
    DT_CUDNN(cudnnBackendFinalize(d));
    return DT_OK;
}

static cudnnDataType_t operand_type(const dt_conv_problem *p)
{
    static const cudnnDataType_t types[] = { CUDNN_DATA_FLOAT, CUDNN_DATA_BFLOAT16, CUDNN_DATA_INT8 };
    return types[p->operand];
}

static cudnnDataType_t accumulator_type(const dt_conv_problem *p)
{
    return p->operand == DT_OPERAND_I8 ? CUDNN_DATA_INT32 : CUDNN_DATA_FLOAT;
}

/* dim in memory order, channels last; cuDNN names them in the order N,C,H,W and tells the layout by strides. */
static dt_status make_tensor(dt_conv_plan *plan, int64_t uid, cudnnDataType_t type, const int dim[4], descriptor *out)
{
    const int64_t n = dim[0], h = dim[1], w = dim[2], c = dim[3];
    const int64_t dims[4] = { n, c, h, w }, strides[4] = { h * w * c, 1, w * c, c }, alignment = ALIGNMENT;
    const bool is_virtual = uid == UID_ACCUMULATOR;

    DT_TRY(plan_part(plan, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out));
    DT_TRY(set_type(*out, CUDNN_ATTR_TENSOR_DATA_TYPE, type));
    DT_TRY(set_integers(*out, CUDNN_ATTR_TENSOR_DIMENSIONS, 4, dims));
    DT_TRY(set_integers(*out, CUDNN_ATTR_TENSOR_STRIDES, 4, strides));
    DT_TRY(set_integers(*out, CUDNN_ATTR_TENSOR_UNIQUE_ID, 1, &uid));
    DT_TRY(set_integers(*out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 1, &alignment));
    DT_TRY(set(*out, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual));
    return finish(*out);
}

/* What the convolution reads and writes. Two of the three are operands, `result` is the third's place. */
typedef struct {
    descriptor x, filter, y;
    descriptor result;      /* what memory receives */
    descriptor accumulator; /* result itself, or the virtual tensor before it */
} conv_tensors;

static dt_status make_tensors(dt_conv_plan *plan, conv_tensors *out)
{
    const dt_conv_problem *p = &plan->problem;
    const int dim[DT_CONV_PASSES][4] = {
        { p->n, dt_conv_out(p->h, p->r, p->stride, p->pad), dt_conv_out(p->w, p->s, p->stride, p->pad), p->k },
        { p->n, p->h, p->w, p->c },
        { p->k, p->r, p->s, p->c },
    };
    static const int64_t uid[DT_CONV_PASSES] = { UID_Y, UID_X, UID_FILTER };
    descriptor tensor[DT_CONV_PASSES] = { NULL };

    for (int i = 0; i < DT_CONV_PASSES; i++) {
        const int is_result = i == (int)p->pass;
        DT_TRY(make_tensor(plan, uid[i], is_result ? CUDNN_DATA_FLOAT : operand_type(p), dim[i], &tensor[i]));
    }
    out->result = out->accumulator = tensor[p->pass];
    if (p->operand != DT_OPERAND_F32) {
        DT_TRY(make_tensor(plan, UID_ACCUMULATOR, accumulator_type(p), dim[p->pass], &out->accumulator));
        tensor[p->pass] = out->accumulator;
    }
    out->y = tensor[DT_CONV_FORWARD];
    out->x = tensor[DT_CONV_BACKWARD_DATA];
    out->filter = tensor[DT_CONV_BACKWARD_FILTER];
    return DT_OK;
}

static dt_status make_convolution(dt_conv_plan *plan, descriptor *out)
{
    const dt_conv_problem *p = &plan->problem;
    const int64_t spatial = 2, pads[2] = { p->pad, p->pad }, strides[2] = { p->stride, p->stride };
    const int64_t dilations[2] = { 1, 1 };
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;

    DT_TRY(plan_part(plan, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 1, &spatial));
    DT_TRY(set_type(*out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, accumulator_type(p)));
    DT_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, spatial, pads));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, spatial, pads));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_DILATIONS, spatial, dilations));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, spatial, strides));
    return finish(*out);
}

/* One pass's operation and the names of its attributes. */
typedef struct {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t convolution, x, filter, y, alpha, beta;
} conv_operation;

static const conv_operation operations[DT_CONV_PASSES] = {
    [DT_CONV_FORWARD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
    [DT_CONV_BACKWARD_DATA] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
    [DT_CONV_BACKWARD_FILTER] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA },
};

static dt_status make_operation(dt_conv_plan *plan, const conv_tensors *t, descriptor *out)
{
    const conv_operation *o = &operations[plan->problem.pass];
    const float alpha = 1.0f, beta = 0.0f;
    descriptor convolution = NULL;

    DT_TRY(make_convolution(plan, &convolution));
    DT_TRY(plan_part(plan, o->type, out));
    DT_TRY(set_part(*out, o->convolution, convolution));
    DT_TRY(set_part(*out, o->x, t->x));
    DT_TRY(set_part(*out, o->filter, t->filter));
    DT_TRY(set_part(*out, o->y, t->y));
    DT_TRY(set(*out, o->alpha, CUDNN_TYPE_FLOAT, 1, &alpha));
    DT_TRY(set(*out, o->beta, CUDNN_TYPE_FLOAT, 1, &beta));
    return finish(*out);
}

static dt_status make_copy(dt_conv_plan *plan, const conv_tensors *t, descriptor *out)
{
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_IDENTITY;
    descriptor pointwise = NULL;

    DT_TRY(plan_part(plan, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &pointwise));
    DT_TRY(set(pointwise, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode));
    DT_TRY(set_type(pointwise, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT));
    DT_TRY(finish(pointwise));
    DT_TRY(plan_part(plan, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, out));
    DT_TRY(set_part(*out, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise));
    DT_TRY(set_part(*out, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, t->accumulator));
    DT_TRY(set_part(*out, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, t->result));
    return finish(*out);
}

static dt_status make_graph(dt_conv_plan *plan, descriptor *out)
{
    conv_tensors tensors = { NULL };
    descriptor operation[2] = { NULL, NULL };
    int n = 1;

    DT_TRY(make_tensors(plan, &tensors));
    DT_TRY(make_operation(plan, &tensors, &operation[0]));
    if (tensors.accumulator != tensors.result) DT_TRY(make_copy(plan, &tensors, &operation[n++]));
    DT_TRY(plan_part(plan, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, out));
    DT_TRY(set(*out, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, n, operation));
    if (plan->cudnn->handle) {
        DT_TRY(set(*out, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &plan->cudnn->handle));
    }
    return finish(*out);
}

static int note_is_allowed(const dt_conv_problem *p, cudnnBackendNumericalNote_t note)
{
    switch (note) {
    case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
    case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
    case CUDNN_NUMERICAL_NOTE_FFT:
    case CUDNN_NUMERICAL_NOTE_WINOGRAD:
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13: return 0;
    case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS: return !p->keep_f32;
    default: return 1;
    }
}

/* Whether the engine of a configuration keeps our rules, and whether it compiles its kernel at run time. */
static dt_status look_at_engine(const dt_conv_problem *p, descriptor config, int *allowed, int *compiled)
{
    cudnnBackendNumericalNote_t note[MAX_NOTES];
    cudnnBackendBehaviorNote_t habit[MAX_NOTES];
    int64_t n_engines = 0, n_notes = 0, n_habits = 0;
    descriptor engine = NULL;

    DT_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    cudnnStatus_t got = cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                                 &n_engines, &engine);
    if (got == CUDNN_STATUS_SUCCESS) {
        got = cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, MAX_NOTES,
                                       &n_notes, note);
    }
    if (got == CUDNN_STATUS_SUCCESS) {
        got = cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, MAX_NOTES,
                                       &n_habits, habit);
    }
    (void)cudnnBackendDestroyDescriptor(engine);
    DT_CUDNN(got);
    *allowed = n_notes <= MAX_NOTES && n_habits <= MAX_NOTES;
    *compiled = 0;
    for (int64_t i = 0; *allowed && i < n_notes; i++) *allowed = note_is_allowed(p, note[i]);
    for (int64_t i = 0; *allowed && i < n_habits; i++) {
        *compiled |= habit[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    }
    return DT_OK;
}

/* Makes the execution plan of a configuration; DT_OK with plan->plan NULL if cuDNN declines after all. */
static dt_status finish_plan(dt_conv_plan *plan, descriptor config)
{
    const dt_cudnn *cudnn = plan->cudnn;
    int64_t workspace = 0, n = 0;
    descriptor d = NULL;

    DT_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &d));
    dt_status status = set_part(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (status == DT_OK && cudnn->handle) {
        status = set(d, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &cudnn->handle);
    } else if (status == DT_OK) {
        status = set_part(d, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, cudnn->device);
    }
    const int made = status == DT_OK && cudnnBackendFinalize(d) == CUDNN_STATUS_SUCCESS &&
                     cudnnBackendGetAttribute(d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
                                              &workspace) == CUDNN_STATUS_SUCCESS;
    if (!made) {
        (void)cudnnBackendDestroyDescriptor(d);
        return status;
    }
    plan->plan = d;
    plan->workspace_bytes = (size_t)workspace;
    return DT_OK;
}

/* Takes the first configuration that keeps our rules and that cuDNN can make a plan of; takes it out of the list. */
static dt_status choose_config(dt_conv_plan *plan, descriptor *config, int64_t n)
{
    const int described = plan->cudnn->handle == NULL;

    for (int64_t i = 0; i < n && !plan->config; i++) {
        int allowed = 0, compiled = 0;
        DT_TRY(look_at_engine(&plan->problem, config[i], &allowed, &compiled));
        if (!allowed) continue;
        if (!compiled || !described) DT_TRY(finish_plan(plan, config[i]));
        if (!plan->plan && !(compiled && described)) continue;
        plan->compiled = compiled;
        plan->config = config[i];
        config[i] = NULL;
    }
    return DT_OK;
}

static dt_status ask_heuristics(dt_conv_plan *plan, descriptor graph, cudnnBackendHeurMode_t mode)
{
    descriptor heuristics = NULL, config[MAX_CONFIGS] = { NULL };
    int64_t n = 0;

    DT_TRY(plan_part(plan, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics));
    DT_TRY(set_part(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph));
    DT_TRY(set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    if (plan->cudnn->device) DT_TRY(set_part(heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, plan->cudnn->device));
    if (cudnnBackendFinalize(heuristics) != CUDNN_STATUS_SUCCESS) return DT_OK; /* nothing offered in this mode */

    cudnnStatus_t got = CUDNN_STATUS_SUCCESS;
    for (int i = 0; i < MAX_CONFIGS && got == CUDNN_STATUS_SUCCESS; i++) {
        got = cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[i]);
    }
    if (got == CUDNN_STATUS_SUCCESS) {
        got = cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                       MAX_CONFIGS, &n, config);
    }
    const dt_status status = got == CUDNN_STATUS_SUCCESS ? choose_config(plan, config, n) : DT_OK;
    for (int i = 0; i < MAX_CONFIGS; i++) {
        if (config[i]) (void)cudnnBackendDestroyDescriptor(config[i]);
    }
    DT_CUDNN(got);
    return status;
}

static void plan_destroy(dt_conv_plan *plan)
{
    if (plan->plan) (void)cudnnBackendDestroyDescriptor(plan->plan);
    if (plan->config) (void)cudnnBackendDestroyDescriptor(plan->config);
    for (int i = plan->n_parts - 1; i >= 0; i--) (void)cudnnBackendDestroyDescriptor(plan->part[i]);
    free(plan);
}

static dt_status plan_make(dt_conv_plan *plan)
{
    static const cudnnBackendHeurMode_t modes[] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK };
    static const char *const passes[DT_CONV_PASSES] = { "forward", "backward to x", "backward to w" };
    static const char *const operands[] = { "f32", "bf16", "int8" };
    const dt_conv_problem *p = &plan->problem;
    descriptor graph = NULL;

    DT_TRY(make_graph(plan, &graph));
    for (int i = 0; i < 2 && !plan->config; i++) DT_TRY(ask_heuristics(plan, graph, modes[i]));
    DT_CHECK(plan->config, DT_ERR_UNSUPPORTED,
             "%s has no deterministic engine for conv %s: %s, x %dx%dx%dx%d, w %dx%dx%dx%d, stride %d, pad %d",
             dt_cudnn_name(), passes[p->pass], operands[p->operand], p->n, p->h, p->w, p->c, p->k, p->r, p->s, p->c,
             p->stride, p->pad);
    return DT_OK;
}

dt_status dt_conv_plan_get(dt_cudnn *cudnn, const dt_conv_problem *problem, const dt_conv_plan **out)
{
    for (const dt_conv_plan *known = cudnn->plans; known; known = known->next) {
        if (memcmp(&known->problem, problem, sizeof *problem) != 0) continue;
        *out = known;
        return DT_OK;
    }
    dt_conv_plan *plan = calloc(1, sizeof *plan);
    DT_CHECK(plan, DT_ERR_MEMORY, "no memory for a convolution's plan");
    plan->problem = *problem;
    plan->cudnn = cudnn;
    const dt_status made = plan_make(plan);
    if (made != DT_OK) {
        plan_destroy(plan);
        return made;
    }
    plan->next = cudnn->plans;
    cudnn->plans = plan;
    *out = plan;
    return DT_OK;
}

size_t dt_conv_plan_workspace(const dt_conv_plan *plan)
{
    return plan->workspace_bytes;
}

int dt_conv_plan_is_compiled(const dt_conv_plan *plan)
{
    return plan->compiled;
}

static dt_status execute(const dt_conv_plan *plan, descriptor pack, const void *const data[3], void *workspace)
{
    static const int64_t uids[DT_CONV_PASSES][3] = {
        [DT_CONV_FORWARD] = { UID_X, UID_FILTER, UID_Y },
        [DT_CONV_BACKWARD_DATA] = { UID_Y, UID_FILTER, UID_X },
        [DT_CONV_BACKWARD_FILTER] = { UID_Y, UID_X, UID_FILTER },
    };

    DT_TRY(set_integers(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, 3, uids[plan->problem.pass]));
    DT_TRY(set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, data));
    DT_TRY(set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace));
    DT_TRY(finish(pack));
    DT_CUDNN(cudnnBackendExecute(plan->cudnn->handle, plan->plan, pack));
    return DT_OK;
}

dt_status dt_conv_plan_run(const dt_conv_plan *plan, const void *a, const void *b, float *result, void *workspace)
{
    descriptor pack = NULL;

    DT_CHECK(plan->plan, DT_ERR_UNSUPPORTED, "a plan for a described device cannot run");
    DT_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    const dt_status ran = execute(plan, pack, (const void *const[3]){ a, b, result }, workspace);
    (void)cudnnBackendDestroyDescriptor(pack);
    return ran;
}

static dt_status cudnn_start(dt_cudnn *cudnn, void *stream, const char *json)
{
    if (json) {
        DT_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &cudnn->device));
        DT_TRY(set(cudnn->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(json) + 1,
                   json));
        return finish(cudnn->device);
    }
    DT_CUDNN(cudnnCreate(&cudnn->handle));
    DT_CUDNN(cudnnSetStream(cudnn->handle, (cudaStream_t)stream));
    return DT_OK;
}

static dt_status cudnn_create(void *stream, const char *json, dt_cudnn **out)
{
    dt_cudnn *cudnn = calloc(1, sizeof *cudnn);
    DT_CHECK(cudnn, DT_ERR_MEMORY, "no memory for cuDNN's state");
    const dt_status started = cudnn_start(cudnn, stream, json);
    if (started != DT_OK) {
        dt_cudnn_close(cudnn);
        return started;
    }
    *out = cudnn;
    return DT_OK;
}

dt_status dt_cudnn_open(void *stream, dt_cudnn **out)
{
    return cudnn_create(stream, NULL, out);
}

dt_status dt_cudnn_describe(const char *json, dt_cudnn **out)
{
    return cudnn_create(NULL, json, out);
}

void dt_cudnn_close(dt_cudnn *cudnn)
{
    if (!cudnn) return;
    while (cudnn->plans) {
        dt_conv_plan *plan = cudnn->plans;
        cudnn->plans = plan->next;
        plan_destroy(plan);
    }
    if (cudnn->device) (void)cudnnBackendDestroyDescriptor(cudnn->device);
    if (cudnn->handle) (void)cudnnDestroy(cudnn->handle);
    free(cudnn);
}
