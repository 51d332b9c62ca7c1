/*
 * test_fallback.c - the device "auto" takes the CPU where the GPU cannot be used, and says why if there is one.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "detent/detent.h"

static const struct {
    const char *device; /* SIMT_DEVICE */
    const char *backend;
    const char *why; /* part of the reason; "": there is none */
} rows[] = {
    { "9.0", "cuda", "" },
    { "8.0", "cuda", "" },
    { "7.0", "cpu", "has compute capability 7.0, 8.0 is needed" },
    { "busy", "cpu", "no usable NVIDIA GPU or driver: unknown error" },
    { "none", "cpu", "" },
    { "driver", "cpu", "" }, /* and no GPU on the bus, as on this machine or as it may be elsewhere: see below */
};

Test(fallback, says_why_the_gpu_is_not_used)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dt_options o;
        dt_context *ctx;
        dt_options_default(&o);
        setenv("SIMT_DEVICE", rows[i].device, 1);
        cr_assert(dt_context_create(&o, &ctx) == DT_OK, "%s: %s", rows[i].device, dt_last_error());
        const char *why = dt_context_fallback(ctx);
        cr_expect_str_eq(dt_context_backend(ctx), rows[i].backend, "%s: %s", rows[i].device, dt_context_backend(ctx));
        if (strcmp(rows[i].device, "driver") == 0 && *why) /* this machine has an NVIDIA GPU */
            cr_expect(strstr(why, "insufficient") != NULL, "%s", why);
        else
            cr_expect(*rows[i].why ? strstr(why, rows[i].why) != NULL : !*why, "%s: '%s'", rows[i].device, why);
        dt_context_destroy(ctx);
    }
}

Test(fallback, there_is_none_where_the_cpu_was_asked_for)
{
    dt_options o;
    dt_context *ctx;
    dt_options_default(&o);
    o.backend = "cpu";
    setenv("SIMT_DEVICE", "7.0", 1);
    cr_assert(dt_context_create(&o, &ctx) == DT_OK, "%s", dt_last_error());
    cr_assert_str_empty(dt_context_fallback(ctx));
    dt_context_destroy(ctx);
}
