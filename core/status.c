/*
 * status.c - names of the error codes and this thread's last failure.
 */
#include "detent/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char last_error[1024] = "no error", last_trace[1024];

const char *dt_status_name(dt_status s)
{
    switch (s) {
#define XX(name, text) \
    case DT_##name: return "DT_" #name;
        DT_STATUS_MAP(XX)
#undef XX
    case DT_STATUS_COUNT: break;
    }
    return "DT_STATUS_UNKNOWN";
}

const char *dt_last_error(void)
{
    return last_error;
}

const char *dt_last_trace(void)
{
    return last_trace;
}

/* From the source folder on, also where the compiler was called with paths relative to the build folder. */
static const char *plain_path(const char *file)
{
    for (;;) {
        if (strncmp(file, "../", 3) == 0)
            file += 3;
        else if (strncmp(file, "./", 2) == 0)
            file += 2;
        else
            return file;
    }
}

dt_status dt_raise(dt_status s, const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    snprintf(last_trace, sizeof last_trace, "%s at %s:%d", dt_status_name(s), plain_path(file), line);
    va_start(ap, fmt);
    vsnprintf(last_error, sizeof last_error, fmt, ap);
    va_end(ap);
    return s;
}

dt_status dt_forward(dt_status s, const char *file, int line)
{
    size_t const used = strlen(last_trace);

    snprintf(last_trace + used, sizeof last_trace - used, "\n  from %s:%d", plain_path(file), line);
    return s;
}
