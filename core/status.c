/*
 * status.c - names of the error codes and this thread's last failure.
 */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char last_error[1024] = "no error";

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

dt_status dt_raise(dt_status s, const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    int used = snprintf(last_error, sizeof last_error, "%s:%d: %s: ", file, line, dt_status_name(s));

    if (used < 0 || (size_t)used >= sizeof last_error) return s;
    va_start(ap, fmt);
    vsnprintf(last_error + used, sizeof last_error - (size_t)used, fmt, ap);
    va_end(ap);
    return s;
}

dt_status dt_forward(dt_status s, const char *file, int line)
{
    size_t const used = strlen(last_error);

    snprintf(last_error + used, sizeof last_error - used, "\n  from %s:%d", file, line);
    return s;
}
