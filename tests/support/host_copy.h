/*
 * host_copy.h - for tests: what the device holds, in memory of the host that the caller frees; a failure fails the
 * test.
 */
#ifndef HOST_COPY_H
#define HOST_COPY_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "../../core/context.h"
#include "../../core/train/model.h"

static inline float *host_floats(dt_context *ctx, const void *src, int64_t n)
{
    float *host = NULL;
    const dt_status status = dt_device_floats(ctx, src, n, &host);
    cr_assert(status == DT_OK, "%s: %s", dt_status_name(status), dt_last_error());
    return host;
}

/* Parameter i. count may be NULL. */
static inline float *host_param(const dt_model *m, int i, int64_t *count)
{
    dt_param_info info;
    dt_model_param(m, i, &info);
    float *host = malloc((size_t)info.count * sizeof *host);
    const dt_status status = dt_model_read(m, i, host);
    cr_assert(status == DT_OK, "%s: %s", dt_status_name(status), dt_last_error());
    if (count) *count = info.count;
    return host;
}

#endif /* HOST_COPY_H */
