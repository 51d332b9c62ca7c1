/*
 * test_peak.c - the measured peak of a device: a number on "cuda", in both precisions; none on the CPU.
 */
#include <criterion/criterion.h>

#include "detent/context.h"

static double peak_of(const char *backend, dt_precision precision)
{
    dt_options opt;
    dt_context *ctx;
    double peak = -1.0;

    dt_options_default(&opt);
    opt.backend = backend;
    opt.precision = precision;
    if (dt_context_create(&opt, &ctx) != DT_OK) cr_skip_test("%s", dt_last_error());
    cr_assert(dt_context_peak(ctx, &peak) == DT_OK, "%s", dt_last_error());
    dt_context_destroy(ctx);
    return peak;
}

Test(peak, a_gpu_has_one_in_either_precision)
{
    /* The shim's product of 256x256 takes some milliseconds; no machine does 1e18 operations a second. */
    for (int precision = DT_PRECISION_F32; precision <= DT_PRECISION_MIXED; precision++) {
        const double peak = peak_of("cuda", (dt_precision)precision);
        cr_assert(peak > 1e6 && peak < 1e18, "%s: %g operations a second", dt_precision_names[precision], peak);
    }
}

Test(peak, a_cpu_has_none)
{
    cr_assert(peak_of("cpu", DT_PRECISION_MIXED) == 0.0);
}
