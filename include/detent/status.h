/*
 * status.h - error codes, and the macros that raise and forward them.
 *
 * A function that can fail returns dt_status. DT_CHECK raises a new failure with a message, and DT_TRY forwards one.
 * Neither prints: dt_last_error() has the text. assert() is for invariants of the library, never for input or
 * environment.
 */
#ifndef DT_STATUS_H
#define DT_STATUS_H

#define DT_STATUS_MAP(XX)                                              \
    XX(OK, "success")                                                  \
    XX(ERR_ARGUMENT, "an argument is out of its documented range")     \
    XX(ERR_SHAPE, "tensor shapes do not fit the operator")             \
    XX(ERR_RANGE, "index past the end")                                \
    XX(ERR_MEMORY, "host or device memory exhausted")                  \
    XX(ERR_SEALED, "allocation asked for after the tape was compiled") \
    XX(ERR_UNSUPPORTED, "this backend has no kernel for the operator") \
    XX(ERR_DEVICE, "a CUDA, cuBLAS or cuDNN call failed")              \
    XX(ERR_COMM, "a rank failed, or the link to it")                   \
    XX(ERR_IO, "a file could not be read or written")                  \
    XX(ERR_FORMAT, "a file is not what its name or header says")       \
    XX(ERR_NUMERIC, "NaN, infinity or integer overflow was detected")  \
    XX(ERR_INTERRUPTED, "stopped on request")

typedef enum {
#define XX(name, text) DT_##name,
    DT_STATUS_MAP(XX)
#undef XX
        DT_STATUS_COUNT
} dt_status;

#if defined(__GNUC__)
#define DT_API          __attribute__((visibility("default"))) /* exported by a shared library */
#define DT_MUST_CHECK   __attribute__((warn_unused_result))
#define DT_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define DT_API
#define DT_MUST_CHECK
#define DT_PRINTF(a, b)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Returns the name of a status, such as "DT_ERR_ARGUMENT". */
DT_API const char *dt_status_name(dt_status s);
/* Returns the message of the calling thread's last failure, for people. */
DT_API const char *dt_last_error(void);
/* Returns the place of the calling thread's last failure: "DT_ERR_ARGUMENT at core/context.c:40", and a line
 * "  from file:line" for each function that forwarded it. */
DT_API const char *dt_last_trace(void);

/* Stores the message of a failure and its place, and returns s. No argument may be dt_last_error() itself. */
DT_API dt_status dt_raise(dt_status s, const char *file, int line, const char *fmt, ...) DT_PRINTF(4, 5);

/* Adds a line "  from file:line" to the trace, and returns s. */
DT_API dt_status dt_forward(dt_status s, const char *file, int line);

#ifdef __cplusplus
}
#endif

/* Returns from the calling function with a new failure, unless cond holds. A format and its arguments follow status. */
#define DT_CHECK(cond, status, ...)                                              \
    do {                                                                         \
        if (!(cond)) return dt_raise((status), __FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

/* Returns from the calling function with the status of expr, unless that is DT_OK. */
#define DT_TRY(expr)                                                          \
    do {                                                                      \
        dt_status const dt_try_ = (expr);                                     \
        if (dt_try_ != DT_OK) return dt_forward(dt_try_, __FILE__, __LINE__); \
    } while (0)

#endif /* DT_STATUS_H */
