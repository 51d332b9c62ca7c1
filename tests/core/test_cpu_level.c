/*
 * test_cpu_level.c - DETENT_CPU: which words are taken, and what is said of the others.
 *
 * The level is found once in a process. Criterion runs each test in a process of its own.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "detent/detent.h"

#include "../../core/cpu_level.h"
#include "../../layers/gemm/word_gemm.h"
#include "../../quant/requantize_lines.h"

Test(cpu_level, without_the_variable_it_is_the_highest)
{
    unsetenv("DETENT_CPU");
    cr_assert(dt_cpu_level_now() == dt_cpu_level_best());
    cr_assert(dt_cpu_level_check() == DT_OK, "%s", dt_last_error());
}

Test(cpu_level, an_empty_word_is_none)
{
    setenv("DETENT_CPU", "", 1);
    cr_assert(dt_cpu_level_now() == dt_cpu_level_best());
    cr_assert(dt_cpu_level_check() == DT_OK, "%s", dt_last_error());
}

Test(cpu_level, scalar_is_everywhere_and_kernels_follow)
{
    setenv("DETENT_CPU", "scalar", 1);
    cr_assert(dt_cpu_level_check() == DT_OK, "%s", dt_last_error());
    cr_assert(dt_cpu_level_now() == DT_CPU_SCALAR);
    cr_assert(!dt_cpu_has_vnni() && !dt_cpu_has_bf16());
    cr_assert(!dt_word_gemm_has_int8() && !dt_word_gemm_has_bf16());
    cr_assert(dt_lines_best() == DT_LINES_PLAIN);
}

Test(cpu_level, an_unknown_word_is_refused_with_the_list)
{
    dt_options options;
    dt_context *context = NULL;

    setenv("DETENT_CPU", "sse9", 1);
    dt_options_default(&options);
    options.backend = "cpu";
    cr_assert(dt_context_create(&options, &context) == DT_ERR_ARGUMENT);
    cr_assert(context == NULL);
    cr_assert(strstr(dt_last_error(), "'sse9'") && strstr(dt_last_error(), "scalar, avx2, avx512 and amx"), "%s",
              dt_last_error());
    cr_assert(dt_cpu_level_now() == dt_cpu_level_best());
}

Test(cpu_level, a_lacking_level_is_refused)
{
    dt_options options;
    dt_context *context = NULL;

    setenv("DETENT_CPU", "amx", 1);
    dt_options_default(&options);
    options.backend = "cpu";
    if (dt_cpu_level_best() == DT_CPU_AMX) cr_skip_test("this machine has amx; old_cpu.sh refuses it on an older CPU");
    cr_assert(dt_context_create(&options, &context) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "'amx'") && strstr(dt_last_error(), dt_cpu_level_name(dt_cpu_level_best())), "%s",
              dt_last_error());
}
