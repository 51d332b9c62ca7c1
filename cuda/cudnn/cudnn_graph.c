/*
 * cudnn_graph.c - makes operation graphs of cuDNN for convolutions, and runs their plans; cudnn_plan.c chooses engines.
 *
 * If the result has the type of the operands, the graph is the convolution alone. 16-bit and 8-bit operands with an f32
 * result need a second node that copies the accumulator, because for a single operation cuDNN has no tensor core engine
 * that writes f32. The engines of the first kind are ready made; those of the second compile a kernel at run time.
 *
 * This file and cudnn_plan.c alone call cuDNN.
 *
 * Source: NVIDIA, "cuDNN backend API reference", version 9, cudnn_graph library.
 * Stand-in: tests/simt/standin_cudnn.c.  Tests: tests/cuda/test_cudnn_plans.c.
 */
#include "cudnn_graph.h"

#include "../cuda_check.h"
#include "cudnn_plan.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16 };
enum { UID_X = 1, UID_FILTER, UID_Y, UID_ACCUMULATOR };

dt_cudnn_text dt_cudnn_name(void)
{
    const size_t version = cudnnGetVersion(); /* 91900 is 9.19.0 */
    dt_cudnn_text name;

    snprintf(name.text, sizeof name.text, "cuDNN %zu.%zu", version / 10000, version / 100 % 100);
    return name;
}

static dt_status set_integers(dt_descriptor d, cudnnBackendAttributeName_t name, int64_t n, const int64_t *values)
{
    return dt_cudnn_set(d, name, CUDNN_TYPE_INT64, n, values);
}

static dt_status set_type(dt_descriptor d, cudnnBackendAttributeName_t name, cudnnDataType_t type)
{
    return dt_cudnn_set(d, name, CUDNN_TYPE_DATA_TYPE, 1, &type);
}

static cudnnDataType_t type_of(dt_dtype type)
{
    static const cudnnDataType_t types[] = {
        [DT_F32] = CUDNN_DATA_FLOAT, [DT_I32] = CUDNN_DATA_INT32,     [DT_U8] = CUDNN_DATA_UINT8,
        [DT_I8] = CUDNN_DATA_INT8,   [DT_BF16] = CUDNN_DATA_BFLOAT16, [DT_F16] = CUDNN_DATA_HALF
    };
    return types[type];
}

static cudnnDataType_t accumulator_type(const dt_conv_problem *p)
{
    return p->operand == DT_I8 ? CUDNN_DATA_INT32 : CUDNN_DATA_FLOAT;
}

/* dim in memory order, channels last; cuDNN names them in the order N,C,H,W and tells the layout by strides. */
static dt_status make_tensor(dt_conv_plan *plan, int64_t uid, cudnnDataType_t type, const int dim[4],
                             dt_descriptor *out)
{
    const int64_t n = dim[0], h = dim[1], w = dim[2], c = dim[3];
    const int64_t dims[4] = { n, c, h, w }, strides[4] = { h * w * c, 1, w * c, c }, alignment = ALIGNMENT;
    const bool is_virtual = uid == UID_ACCUMULATOR;

    DT_TRY(dt_cudnn_part(plan, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out));
    DT_TRY(set_type(*out, CUDNN_ATTR_TENSOR_DATA_TYPE, type));
    DT_TRY(set_integers(*out, CUDNN_ATTR_TENSOR_DIMENSIONS, 4, dims));
    DT_TRY(set_integers(*out, CUDNN_ATTR_TENSOR_STRIDES, 4, strides));
    DT_TRY(set_integers(*out, CUDNN_ATTR_TENSOR_UNIQUE_ID, 1, &uid));
    DT_TRY(set_integers(*out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 1, &alignment));
    DT_TRY(dt_cudnn_set(*out, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual));
    return dt_cudnn_finish(*out);
}

/* What the convolution reads and writes. Two of the three are operands, `result` is the third's place. */
typedef struct {
    dt_descriptor x, filter, y;
    dt_descriptor result;      /* what memory receives */
    dt_descriptor accumulator; /* result itself, or the virtual tensor before it */
} conv_tensors;

static dt_status make_tensors(dt_conv_plan *plan, conv_tensors *out)
{
    const dt_conv_problem *p = &plan->problem;
    const int dim[DT_CONV_PASSES][4] = {
        { p->n, dt_conv_rows_out(p), dt_conv_columns_out(p), p->k },
        { p->n, p->h, p->w, p->c },
        { p->k, p->r, p->s, p->c / p->form.groups }, /* fewer channels than x tell cuDNN of groups */
    };
    static const int64_t uid[DT_CONV_PASSES] = { UID_Y, UID_X, UID_FILTER };
    dt_descriptor tensor[DT_CONV_PASSES] = { NULL };

    for (int i = 0; i < DT_CONV_PASSES; i++) {
        const int is_result = i == (int)p->pass;
        DT_TRY(make_tensor(plan, uid[i], type_of(is_result ? p->result : p->operand), dim[i], &tensor[i]));
    }
    out->result = out->accumulator = tensor[p->pass];
    if (p->operand != p->result) {
        DT_TRY(make_tensor(plan, UID_ACCUMULATOR, accumulator_type(p), dim[p->pass], &out->accumulator));
        tensor[p->pass] = out->accumulator;
    }
    out->y = tensor[DT_CONV_FORWARD];
    out->x = tensor[DT_CONV_BACKWARD_DATA];
    out->filter = tensor[DT_CONV_BACKWARD_FILTER];
    return DT_OK;
}

static dt_status make_convolution(dt_conv_plan *plan, dt_descriptor *out)
{
    const dt_conv_problem *p = &plan->problem;
    const dt_conv_params *f = &p->form;
    const int64_t spatial = 2, before[2] = { f->pad[0], f->pad[1] }, after[2] = { f->pad[2], f->pad[3] };
    const int64_t strides[2] = { f->stride[0], f->stride[1] }, dilations[2] = { f->dilation[0], f->dilation[1] };
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;

    DT_TRY(dt_cudnn_part(plan, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 1, &spatial));
    DT_TRY(set_type(*out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, accumulator_type(p)));
    DT_TRY(dt_cudnn_set(*out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, spatial, before));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, spatial, after));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_DILATIONS, spatial, dilations));
    DT_TRY(set_integers(*out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, spatial, strides));
    return dt_cudnn_finish(*out);
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

static dt_status make_operation(dt_conv_plan *plan, const conv_tensors *t, dt_descriptor *out)
{
    const conv_operation *o = &operations[plan->problem.pass];
    const float alpha = ldexpf(1.0f, -plan->problem.shift), beta = 0.0f;
    dt_descriptor convolution = NULL;

    DT_TRY(make_convolution(plan, &convolution));
    DT_TRY(dt_cudnn_part(plan, o->type, out));
    DT_TRY(dt_cudnn_set_part(*out, o->convolution, convolution));
    DT_TRY(dt_cudnn_set_part(*out, o->x, t->x));
    DT_TRY(dt_cudnn_set_part(*out, o->filter, t->filter));
    DT_TRY(dt_cudnn_set_part(*out, o->y, t->y));
    DT_TRY(dt_cudnn_set(*out, o->alpha, CUDNN_TYPE_FLOAT, 1, &alpha));
    DT_TRY(dt_cudnn_set(*out, o->beta, CUDNN_TYPE_FLOAT, 1, &beta));
    return dt_cudnn_finish(*out);
}

static dt_status make_copy(dt_conv_plan *plan, const conv_tensors *t, dt_descriptor *out)
{
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_IDENTITY;
    dt_descriptor pointwise = NULL;

    DT_TRY(dt_cudnn_part(plan, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &pointwise));
    DT_TRY(dt_cudnn_set(pointwise, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode));
    DT_TRY(set_type(pointwise, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT));
    DT_TRY(dt_cudnn_finish(pointwise));
    DT_TRY(dt_cudnn_part(plan, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, out));
    DT_TRY(dt_cudnn_set_part(*out, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise));
    DT_TRY(dt_cudnn_set_part(*out, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, t->accumulator));
    DT_TRY(dt_cudnn_set_part(*out, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, t->result));
    return dt_cudnn_finish(*out);
}

static dt_status make_graph(dt_conv_plan *plan, dt_descriptor *out)
{
    conv_tensors tensors = { NULL };
    dt_descriptor operation[2] = { NULL, NULL };
    int n = 1;

    DT_TRY(make_tensors(plan, &tensors));
    DT_TRY(make_operation(plan, &tensors, &operation[0]));
    if (tensors.accumulator != tensors.result) DT_TRY(make_copy(plan, &tensors, &operation[n++]));
    DT_TRY(dt_cudnn_part(plan, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, out));
    DT_TRY(dt_cudnn_set(*out, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, n, operation));
    if (plan->cudnn->handle) {
        DT_TRY(dt_cudnn_set(*out, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &plan->cudnn->handle));
    }
    return dt_cudnn_finish(*out);
}

/* The usual form has the words that it has always had, so that what was kept for it is found. */
static void form_text(const dt_conv_params *f, char *text, size_t bytes)
{
    const dt_conv_params square = dt_conv_square(f->stride[0], f->pad[0]);

    if (memcmp(f, &square, sizeof square) == 0)
        snprintf(text, bytes, "stride %d, pad %d", f->stride[0], f->pad[0]);
    else
        snprintf(text, bytes, "strides %d,%d, pads %d,%d,%d,%d, dilations %d,%d, groups %d", f->stride[0], f->stride[1],
                 f->pad[0], f->pad[1], f->pad[2], f->pad[3], f->dilation[0], f->dilation[1], f->groups);
}

const char *dt_conv_problem_text(const dt_conv_problem *p, char *text, size_t bytes)
{
    char form[160];
    static const char *const passes[DT_CONV_PASSES] = { "forward", "backward to x", "backward to w" };
    static const char *const types[] = {
        [DT_F32] = "f32", [DT_I32] = "i32", [DT_U8] = "u8", [DT_I8] = "i8", [DT_BF16] = "bf16", [DT_F16] = "f16"
    };

    form_text(&p->form, form, sizeof form);
    snprintf(text, bytes, "%s, %s%s -> %s / 2^%d, x %dx%dx%dx%d, w %dx%dx%dx%d, %s", passes[p->pass], types[p->operand],
             p->keep_f32 ? "" : " or tf32", types[p->result], p->shift, p->n, p->h, p->w, p->c, p->k, p->r, p->s,
             p->c / p->form.groups, form);
    return text;
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
    dt_descriptor graph = NULL;
    char text[384];

    DT_TRY(make_graph(plan, &graph));
    DT_TRY(dt_conv_plan_choose(plan, graph));
    DT_CHECK(plan->config, DT_ERR_UNSUPPORTED, "%s has no deterministic engine for the convolution %s",
             dt_cudnn_name().text, dt_conv_problem_text(&plan->problem, text, sizeof text));
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

const char *dt_conv_plan_engine(const dt_conv_plan *plan)
{
    return plan->engine;
}

static dt_status execute(const dt_conv_plan *plan, dt_descriptor pack, const void *const data[3], void *workspace)
{
    static const int64_t uids[DT_CONV_PASSES][3] = {
        [DT_CONV_FORWARD] = { UID_X, UID_FILTER, UID_Y },
        [DT_CONV_BACKWARD_DATA] = { UID_Y, UID_FILTER, UID_X },
        [DT_CONV_BACKWARD_FILTER] = { UID_Y, UID_X, UID_FILTER },
    };

    DT_TRY(set_integers(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, 3, uids[plan->problem.pass]));
    DT_TRY(dt_cudnn_set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, data));
    DT_TRY(dt_cudnn_set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace));
    DT_TRY(dt_cudnn_finish(pack));
    DT_CUDNN(cudnnBackendExecute(plan->cudnn->handle, plan->plan, pack));
    return DT_OK;
}

dt_status dt_conv_plan_run(const dt_conv_plan *plan, const void *a, const void *b, void *result, void *workspace)
{
    dt_descriptor pack = NULL;

    DT_CHECK(plan->plan, DT_ERR_UNSUPPORTED, "a plan for a described device cannot run");
    DT_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    const dt_status ran = execute(plan, pack, (const void *const[3]){ a, b, result }, workspace);
    (void)cudnnBackendDestroyDescriptor(pack);
    return ran;
}

static dt_status name_device(dt_cudnn *cudnn)
{
    struct cudaDeviceProp properties;
    int ordinal = 0;

    DT_CUDA(cudaGetDevice(&ordinal));
    DT_CUDA(cudaGetDeviceProperties(&properties, ordinal));
    snprintf(cudnn->name, sizeof cudnn->name, "%s, sm_%d%d", properties.name, properties.major, properties.minor);
    return DT_OK;
}

static dt_status cudnn_start(dt_cudnn *cudnn, void *stream, const char *json)
{
    if (json) {
        DT_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &cudnn->device));
        DT_TRY(dt_cudnn_set(cudnn->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                            (int64_t)strlen(json) + 1, json));
        return dt_cudnn_finish(cudnn->device);
    }
    DT_CUDNN(cudnnCreate(&cudnn->handle));
    DT_CUDNN(cudnnSetStream(cudnn->handle, (cudaStream_t)stream));
    cudnn->stream = stream;
    return name_device(cudnn);
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
