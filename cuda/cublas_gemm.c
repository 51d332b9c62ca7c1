/*
 * cublas_gemm.c - the one file that calls cuBLASLt.
 *
 * cuBLASLt takes matrices as column-major. A row-major c = a b is its c^T = b^T a^T, so the operands change places and
 * keep their transpositions. It gets no workspace, and no reduction scheme is allowed. So sums are not split over
 * blocks, and their order is fixed.
 *
 * The library is opened with the first GPU, not when the program starts: to load it takes 60 ms and 200 MB, which
 * commands that use no GPU need not spend.
 *
 * Stand-in: tests/simt/standin_cublas.c.
 */
#include "cublas_gemm.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <pthread.h>

#include <stdio.h>
#include <stdlib.h>

/* The functions of cuBLASLt that are called here, without their prefix. */
/* clang-format off */
#define FUNCTIONS(f)                                                                                         \
    f(Create) f(Destroy) f(GetStatusString) f(Matmul) f(MatmulAlgoGetHeuristic)                              \
    f(MatmulDescCreate) f(MatmulDescDestroy) f(MatmulDescSetAttribute)                                       \
    f(MatmulPreferenceCreate) f(MatmulPreferenceDestroy) f(MatmulPreferenceSetAttribute)                     \
    f(MatrixLayoutCreate) f(MatrixLayoutDestroy)
/* clang-format on */

#define MEMBER(name) __typeof__(cublasLt##name) *name;
static struct {
    FUNCTIONS(MEMBER)
} cublas_lt;
static pthread_once_t loaded = PTHREAD_ONCE_INIT;
static char missing[256]; /* why it could not be opened; "": it is open */

#define DT_CUBLAS(call)                                                               \
    do {                                                                              \
        const cublasStatus_t dt_cublas_ = (call);                                     \
        DT_CHECK(dt_cublas_ == CUBLAS_STATUS_SUCCESS, DT_ERR_DEVICE, "%s: %s", #call, \
                 cublas_lt.GetStatusString(dt_cublas_));                              \
    } while (0)

struct dt_cublas {
    cublasLtHandle_t handle;
    cudaStream_t stream;
};

struct dt_gemm_plan {
    dt_gemm_problem problem;
    const dt_cublas *cublas;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
};

/* Opens the library by its name, or where it was found when this program was configured. */
static void load(void)
{
#define TEXT_OF(x)    #x
#define SONAME(major) "libcublasLt.so." TEXT_OF(major)
    void *library = dlopen(SONAME(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen(DETENT_CUBLASLT_DIR "/" SONAME(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(missing, sizeof missing, "%s", dlerror());
        return;
    }
#define FIND(name)                                                \
    *(void **)&cublas_lt.name = dlsym(library, "cublasLt" #name); \
    if (!cublas_lt.name) snprintf(missing, sizeof missing, "%s", dlerror());
    FUNCTIONS(FIND)
}

dt_status dt_cublas_open(void *stream, dt_cublas **out)
{
    (void)pthread_once(&loaded, load);
    DT_CHECK(!missing[0], DT_ERR_DEVICE, "cuBLASLt cannot be used: %s", missing);

    dt_cublas *cublas = calloc(1, sizeof *cublas);
    DT_CHECK(cublas, DT_ERR_MEMORY, "no memory for cuBLASLt's state");
    cublas->stream = stream;
    const cublasStatus_t made = cublas_lt.Create(&cublas->handle);
    if (made != CUBLAS_STATUS_SUCCESS) {
        free(cublas);
        return dt_raise(DT_ERR_DEVICE, __FILE__, __LINE__, "cublasLtCreate: %s", cublas_lt.GetStatusString(made));
    }
    *out = cublas;
    return DT_OK;
}

void dt_cublas_close(dt_cublas *cublas)
{
    if (!cublas) return;
    (void)cublas_lt.Destroy(cublas->handle);
    free(cublas);
}

/* A row-major matrix of `rows` x `columns`, as it lies in memory. */
static dt_status make_layout(int rows, int columns, cublasLtMatrixLayout_t *out)
{
    DT_CUBLAS(cublas_lt.MatrixLayoutCreate(out, CUDA_R_32F, (uint64_t)columns, (uint64_t)rows, columns));
    return DT_OK;
}

static dt_status make_product(dt_gemm_plan *plan)
{
    const dt_gemm_problem *p = &plan->problem;
    const cublasOperation_t a = p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t b = p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;

    DT_CUBLAS(cublas_lt.MatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    DT_CUBLAS(cublas_lt.MatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSA, &b, sizeof b));
    DT_CUBLAS(cublas_lt.MatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSB, &a, sizeof a));
    DT_TRY(make_layout(p->transpose_a ? p->k : p->m, p->transpose_a ? p->m : p->k, &plan->a));
    DT_TRY(make_layout(p->transpose_b ? p->n : p->k, p->transpose_b ? p->k : p->n, &plan->b));
    DT_TRY(make_layout(p->m, p->n, &plan->c));
    return DT_OK;
}

/* The limits on what cuBLASLt may choose; parameters lie at any multiple of 4 bytes. */
static dt_status set_limits(cublasLtMatmulPreference_t limits)
{
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                                                                       CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                                                       CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                                                                       CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES };
    const uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_NONE, alignment = sizeof(float);
    const size_t workspace = 0;

    DT_CUBLAS(cublas_lt.MatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                                     sizeof workspace));
    DT_CUBLAS(cublas_lt.MatmulPreferenceSetAttribute(limits, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &scheme,
                                                     sizeof scheme));
    for (int i = 0; i < 4; i++) {
        DT_CUBLAS(cublas_lt.MatmulPreferenceSetAttribute(limits, alignments[i], &alignment, sizeof alignment));
    }
    return DT_OK;
}

static dt_status choose_algorithm(dt_gemm_plan *plan)
{
    const dt_gemm_problem *p = &plan->problem;
    cublasLtMatmulPreference_t limits = NULL;
    cublasLtMatmulHeuristicResult_t best;
    int n_found = 0;

    DT_CUBLAS(cublas_lt.MatmulPreferenceCreate(&limits));
    const dt_status limited = set_limits(limits);
    cublasStatus_t got = CUBLAS_STATUS_SUCCESS;
    if (limited == DT_OK) {
        got = cublas_lt.MatmulAlgoGetHeuristic(plan->cublas->handle, plan->product, plan->b, plan->a, plan->c, plan->c,
                                               limits, 1, &best, &n_found);
    }
    (void)cublas_lt.MatmulPreferenceDestroy(limits);
    DT_TRY(limited);
    DT_CHECK(got == CUBLAS_STATUS_SUCCESS && n_found == 1, DT_ERR_UNSUPPORTED,
             "cuBLASLt has no f32 product of %dx%d and %dx%d without a workspace: %s", p->m, p->k, p->k, p->n,
             cublas_lt.GetStatusString(got));
    plan->algorithm = best.algo;
    return DT_OK;
}

static dt_status plan_make(dt_gemm_plan *plan)
{
    DT_TRY(make_product(plan));
    return choose_algorithm(plan);
}

dt_status dt_gemm_plan_create(dt_cublas *cublas, const dt_gemm_problem *problem, dt_gemm_plan **out)
{
    dt_gemm_plan *plan = calloc(1, sizeof *plan);
    DT_CHECK(plan, DT_ERR_MEMORY, "no memory for a product's plan");
    plan->problem = *problem;
    plan->cublas = cublas;
    const dt_status made = plan_make(plan);
    if (made != DT_OK) {
        dt_gemm_plan_destroy(plan);
        return made;
    }
    *out = plan;
    return DT_OK;
}

void dt_gemm_plan_destroy(dt_gemm_plan *plan)
{
    if (!plan) return;
    if (plan->c) (void)cublas_lt.MatrixLayoutDestroy(plan->c);
    if (plan->b) (void)cublas_lt.MatrixLayoutDestroy(plan->b);
    if (plan->a) (void)cublas_lt.MatrixLayoutDestroy(plan->a);
    if (plan->product) (void)cublas_lt.MatmulDescDestroy(plan->product);
    free(plan);
}

dt_status dt_gemm_run(const dt_gemm_plan *plan, const float *a, const float *b, float *c, int add)
{
    const float one = 1.0f, keep = add ? 1.0f : 0.0f;

    DT_CUBLAS(cublas_lt.Matmul(plan->cublas->handle, plan->product, &one, b, plan->b, a, plan->a, &keep, c, plan->c, c,
                               plan->c, &plan->algorithm, NULL, 0, plan->cublas->stream));
    return DT_OK;
}
