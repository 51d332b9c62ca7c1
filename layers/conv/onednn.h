/*
 * onednn.h - the part of oneDNN's C API that our kernels use, with dt_status.
 *
 * oneDNN's objects are always made for one thread and run on one thread, between dt_onednn_enter and dt_onednn_leave.
 * An object made for n threads would be wrong on a smaller team: a copy of s8 filters, for example, adds n partial
 * sums, and missing threads would not have written theirs. The parallel loops are our own.
 */
#ifndef DT_ONEDNN_H
#define DT_ONEDNN_H

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h> /* dnnl_status2str */

#include "detent/status.h"
#include "../../core/threads.h"

#define DT_DNNL(call)                                                                                  \
    do {                                                                                               \
        const dnnl_status_t dt_dnnl_ = (call);                                                         \
        DT_CHECK(dt_dnnl_ == dnnl_success, DT_ERR_DEVICE, "%s: %s", #call, dnnl_status2str(dt_dnnl_)); \
    } while (0)

/* Makes the one engine of the process, unless it exists. Every thread that will use it calls this first. */
DT_MUST_CHECK dt_status dt_onednn_open(void);
/* Returns that engine, which threads may share. */
dnnl_engine_t dt_onednn_engine(void);

/* Lets oneDNN use the calling thread alone, until dt_onednn_leave gets the number that this returns. */
static inline int dt_onednn_enter(void)
{
    return dt_threads_use(1);
}

/* Restores the number of threads that dt_onednn_enter returned. */
static inline void dt_onednn_leave(int before)
{
    dt_threads_use(before);
}

/* Returns 1 if oneDNN has integer dot products that do not saturate at 16 bits on the way (VNNI). */
int dt_onednn_has_int8(void);
/* Returns 1 if oneDNN multiplies u8 x s8 exactly where sums of two products fit 16 bits. Of s8 x s8 without VNNI it
 * halves the weights, which is not exact. */
int dt_onednn_has_byte_pairs(void);
/* Returns 1 if oneDNN has bf16 in hardware. */
int dt_onednn_has_bf16(void);

enum { DT_DNNL_MAX_ARGS = 5 };

/* A primitive with a stream and memory objects of its own, so that it uses nothing that another thread changes. One
 * thread at a time may run it. One that is all zeros may be destroyed. */
typedef struct {
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_memory_t memory[DT_DNNL_MAX_ARGS];
    int arg[DT_DNNL_MAX_ARGS]; /* DNNL_ARG_SRC, ... */
    int n_args;
} dt_dnnl_call;

/* Makes the primitive and its stream. */
DT_MUST_CHECK dt_status dt_dnnl_call_create(const_dnnl_primitive_desc_t desc, dt_dnnl_call *out);
/* Adds an argument with its layout. Each run gives its data. */
DT_MUST_CHECK dt_status dt_dnnl_call_arg(dt_dnnl_call *call, int arg, const dnnl_memory_desc_t *layout);
/* Runs the primitive and waits for it. data[i] is that of the i-th argument which was added. */
DT_MUST_CHECK dt_status dt_dnnl_call_run(dt_dnnl_call *call, void *const *data);
void dt_dnnl_call_destroy(dt_dnnl_call *call);

/* Makes a copy between two layouts or types, which rounds half to even. Its arguments are from and to. */
DT_MUST_CHECK dt_status dt_dnnl_reorder_create(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                                               dt_dnnl_call *out);

#endif /* DT_ONEDNN_H */
