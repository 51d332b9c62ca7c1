/*
 * onednn.h - oneDNN's C API with dt_status, and the few calls that our kernels need of it.
 *
 * oneDNN's objects are made for one thread and run on one thread, always, inside dt_onednn_enter and dt_onednn_leave.
 * An object that was made for n threads is wrong on a smaller team: a copy of s8 filters, for one, adds up n partial
 * sums, of which missing threads wrote none. The parallel loops are our own.
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

/* Makes the one engine of the process, unless it is there; by every thread that will use it. */
DT_MUST_CHECK dt_status dt_onednn_open(void);
/* That engine, which threads may share. */
dnnl_engine_t dt_onednn_engine(void);

/* From enter, which returns what leave takes, oneDNN uses the calling thread alone. */
static inline int dt_onednn_enter(void)
{
    return dt_threads_use(1);
}

static inline void dt_onednn_leave(int before)
{
    dt_threads_use(before);
}

/* Integer dot products without 16-bit saturation on the way (VNNI); 16-bit floats in hardware. */
int dt_onednn_has_int8(void);
int dt_onednn_has_bf16(void);

/* A primitive with a memory object for each argument and a stream of its own, so it needs nothing that another thread
 * changes; one thread at a time runs it. Destroying one that is all zeros is allowed. */
enum { DT_DNNL_MAX_ARGS = 5 };

typedef struct {
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_memory_t memory[DT_DNNL_MAX_ARGS];
    int arg[DT_DNNL_MAX_ARGS]; /* DNNL_ARG_SRC, ... */
    int n_args;
} dt_dnnl_call;

/* The primitive and its stream. */
DT_MUST_CHECK dt_status dt_dnnl_call_create(const_dnnl_primitive_desc_t desc, dt_dnnl_call *out);
/* Adds an argument of that layout; its data is given at each run. */
DT_MUST_CHECK dt_status dt_dnnl_call_arg(dt_dnnl_call *call, int arg, const dnnl_memory_desc_t *layout);
/* data[i] belongs to the i-th argument added. */
DT_MUST_CHECK dt_status dt_dnnl_call_run(dt_dnnl_call *call, void *const *data);
void dt_dnnl_call_destroy(dt_dnnl_call *call);

/* A copy between two layouts or types, rounding half to even. Arguments: from, to. */
DT_MUST_CHECK dt_status dt_dnnl_reorder_create(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                                               dt_dnnl_call *out);

#endif /* DT_ONEDNN_H */
