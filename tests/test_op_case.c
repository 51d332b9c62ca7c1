/*
 * test_op_case.c - says whether the operators' tests compared CUDA with the CPU.
 */
#include <criterion/criterion.h>

#include "../core/context.h"

Test(op_case, compares_cuda_where_there_is_one)
{
    dt_options opt;
    dt_context *ctx = NULL;
    dt_options_default(&opt);
    opt.backend = "cuda";

    if (dt_context_create(&opt, &ctx) == DT_ERR_UNSUPPORTED) {
        cr_skip("the operators' tests ran on the CPU alone: %s", dt_last_error());
    }
    cr_assert(ctx != NULL, "%s", dt_last_error());
    dt_context_destroy(ctx);
}
