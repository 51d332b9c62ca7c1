/* test_cublas.c - cuBLASLt is opened with the first GPU; its file and functions are found with or without a GPU. */
#include "detent/status.h"

#include <criterion/criterion.h>

#ifdef DETENT_HAVE_CUDA
#include "../../cuda/cublas_gemm.h"

#include <string.h>

Test(cublas, its_functions_are_found)
{
    dt_cublas *cublas = NULL;
    const dt_status got = dt_cublas_open(NULL, &cublas);

    if (got != DT_OK) cr_assert(strstr(dt_last_error(), "cublasLtCreate: "), "%s", dt_last_error()); /* no GPU */
    dt_cublas_close(cublas);
}
#else
Test(cublas, its_functions_are_found)
{
    cr_skip_test("built without CUDA");
}
#endif
