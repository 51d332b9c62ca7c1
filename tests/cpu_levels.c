/*
 * cpu_levels.c - `cpu_levels list` prints this machine's levels of DETENT_CPU, lowest first. `cpu_levels` alone checks
 *                that whatever chooses by the CPU keeps to the level that is set.
 */
#include <stdio.h>
#include <string.h>

#include "detent/detent.h"

#include "../accel/psum/psum_kernels.h"
#include "../core/cpu_level.h"
#include "../layers/caps/caps_lanes.h"
#include "../layers/caps/votes_avx512.h"
#include "../layers/conv/conv_kernels.h"
#include "../layers/gemm/word_gemm.h"
#include "../quant/requantize_lines.h"

static int list(void)
{
    for (int i = 0; i <= (int)dt_cpu_level_best(); i++)
        printf("%s%s", i ? " " : "", dt_cpu_level_name((dt_cpu_level)i));
    putchar('\n');
    return 0;
}

static int expect(int holds, const char *what)
{
    if (!holds) printf("at level %s: %s\n", dt_cpu_level_name(dt_cpu_level_now()), what);
    return !holds;
}

int main(int argc, char **argv)
{
    dt_options options;
    dt_context *context = NULL;
    int failed = 0;

    if (argc == 2 && strcmp(argv[1], "list") == 0) return list();
    dt_options_default(&options);
    options.backend = "cpu";
    if (dt_context_create(&options, &context) != DT_OK) {
        printf("%s\n", dt_last_error());
        return 1;
    }
    const dt_cpu_level level = dt_cpu_level_now();
    const int has_lines = (int)(level < DT_CPU_AVX512 ? level : DT_CPU_AVX512);
    failed |= expect((int)dt_lines_best() == has_lines, "REQUANTIZE's lines are of another level");
    if (level < DT_CPU_AVX512) {
        failed |= expect(!dt_word_gemm_has_int8() && !dt_word_gemm_has_bf16(), "words are multiplied by AVX-512");
        failed |= expect(!dt_psum_has_vnni(), "the array sums by VNNI");
        failed |= expect(dt_caps_lanes_now() == &dt_caps_lanes_plain, "capsules are summed by AVX-512");
        failed |= expect(!dt_votes_avx512_fit(8, 160), "votes are made by AVX-512");
        failed |= expect(!dt_conv_has_int8() && !dt_conv_has_bf16(), "oneDNN has VNNI or bf16");
    }
    if (level == DT_CPU_AMX) failed |= expect(dt_conv_has_int8() && dt_conv_has_bf16(), "oneDNN has no VNNI or bf16");
    printf("%s\n", dt_context_device(context));
    dt_context_destroy(context);
    return failed;
}
