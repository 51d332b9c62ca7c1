/*
 * status.h - error codes, and the macros that raise and forward them.
 *
 * A function that can fail returns dt_status. DT_CHECK raises a new failure with a
 * message; DT_TRY forwards one. Neither prints: the text waits in dt_last_error().
 * assert() is for broken invariants of our own, never for input or environment.
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
    XX(ERR_COMM, "an MPI or NCCL call failed")                         \
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
#define DT_API          __attribute__((visibility("default"))) /* what a shared library shows */
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

DT_API const char *dt_status_name(dt_status s);
/* Of the calling thread's last failure: what was wrong, for people. */
DT_API const char *dt_last_error(void);
/* And where: "DT_ERR_ARGUMENT at core/context.c:40", then a line "  from file:line" for each function that it passed.
 */
DT_API const char *dt_last_trace(void);

/* Stores the message and returns s, so that `return dt_raise(...)` reads as one thing. No
 * argument may be dt_last_error() itself. */
DT_API dt_status dt_raise(dt_status s, const char *file, int line, const char *fmt, ...) DT_PRINTF(4, 5);

/* Adds "  from file:line" to the trace and returns s. */
DT_API dt_status dt_forward(dt_status s, const char *file, int line);

#ifdef __cplusplus
}
#endif

#define DT_CHECK(cond, status, ...)                                              \
    do {                                                                         \
        if (!(cond)) return dt_raise((status), __FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

#define DT_TRY(expr)                                                          \
    do {                                                                      \
        dt_status const dt_try_ = (expr);                                     \
        if (dt_try_ != DT_OK) return dt_forward(dt_try_, __FILE__, __LINE__); \
    } while (0)

#endif /* DT_STATUS_H */
