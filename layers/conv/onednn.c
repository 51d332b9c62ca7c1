/*
 * onednn.c - one engine for the process, and thin wrappers over its objects.
 */
#include "onednn.h"

#include "../../core/cpu_level.h"

#include <pthread.h>
#include <string.h>

/* Guards the making of the engine, by whoever comes first. Every thread that reads it has held the lock before, in
 * dt_onednn_open. */
static pthread_mutex_t engine_lock = PTHREAD_MUTEX_INITIALIZER;
static dnnl_engine_t engine;

dnnl_engine_t dt_onednn_engine(void)
{
    return engine;
}

/* What oneDNN itself may use at each level. It takes this once, before it makes anything. */
static const dnnl_cpu_isa_t limits[DT_CPU_LEVELS] = { dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx2,
                                                      dnnl_cpu_isa_avx512_core_bf16, dnnl_cpu_isa_avx512_core_amx };
static pthread_once_t limited = PTHREAD_ONCE_INIT;
static dnnl_status_t limit_status = dnnl_success;

static void limit(void)
{
    if (dt_cpu_level_now() < dt_cpu_level_best()) limit_status = dnnl_set_max_cpu_isa(limits[dt_cpu_level_now()]);
}

static dnnl_cpu_isa_t isa_now(void)
{
    pthread_once(&limited, limit);
    return dnnl_get_effective_cpu_isa();
}

/* Without VNNI oneDNN adds pairs of u8 x s8 products in 16 bits, which saturates where codes are large. */
int dt_onednn_has_int8(void)
{
    switch (isa_now()) {
    case dnnl_cpu_isa_avx2_vnni:
    case dnnl_cpu_isa_avx512_core_vnni:
    case dnnl_cpu_isa_avx512_core_bf16:
    case dnnl_cpu_isa_avx512_core_amx: return 1;
    default: return 0;
    }
}

int dt_onednn_has_byte_pairs(void)
{
    return dt_onednn_has_int8() || (isa_now() & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2;
}

int dt_onednn_has_bf16(void)
{
    const dnnl_cpu_isa_t isa = isa_now();
    return isa == dnnl_cpu_isa_avx512_core_bf16 || isa == dnnl_cpu_isa_avx512_core_amx;
}

dt_status dt_onednn_open(void)
{
    dnnl_status_t made = dnnl_success;

    pthread_once(&limited, limit);
    DT_CHECK(
        limit_status == dnnl_success, DT_ERR_DEVICE,
        "DETENT_CPU=%s: oneDNN is in use already, so that its instructions cannot be limited; set it for the whole "
        "process, or unset it",
        dt_cpu_level_name(dt_cpu_level_now()));
    pthread_mutex_lock(&engine_lock);
    if (!engine) made = dnnl_engine_create(&engine, dnnl_cpu, 0);
    pthread_mutex_unlock(&engine_lock);
    DT_DNNL(made);
    return DT_OK;
}

dt_status dt_dnnl_call_create(const_dnnl_primitive_desc_t desc, dt_dnnl_call *out)
{
    DT_DNNL(dnnl_primitive_create(&out->primitive, desc));
    DT_DNNL(dnnl_stream_create(&out->stream, engine, dnnl_stream_default_flags));
    return DT_OK;
}

dt_status dt_dnnl_call_arg(dt_dnnl_call *call, int arg, const dnnl_memory_desc_t *layout)
{
    DT_DNNL(dnnl_memory_create(&call->memory[call->n_args], layout, engine, DNNL_MEMORY_NONE));
    call->arg[call->n_args++] = arg;
    return DT_OK;
}

static dt_status call_run(dt_dnnl_call *call, void *const *data)
{
    dnnl_exec_arg_t args[DT_DNNL_MAX_ARGS];

    for (int i = 0; i < call->n_args; i++) {
        DT_DNNL(dnnl_memory_set_data_handle(call->memory[i], data[i]));
        args[i] = (dnnl_exec_arg_t){ call->arg[i], call->memory[i] };
    }
    DT_DNNL(dnnl_primitive_execute(call->primitive, call->stream, call->n_args, args));
    DT_DNNL(dnnl_stream_wait(call->stream));
    return DT_OK;
}

dt_status dt_dnnl_call_run(dt_dnnl_call *call, void *const *data)
{
    const int before = dt_onednn_enter();
    const dt_status status = call_run(call, data);

    dt_onednn_leave(before);
    return status;
}

void dt_dnnl_call_destroy(dt_dnnl_call *call)
{
    for (int i = 0; i < call->n_args; i++) dnnl_memory_destroy(call->memory[i]);
    if (call->primitive) dnnl_primitive_destroy(call->primitive);
    if (call->stream) dnnl_stream_destroy(call->stream);
    memset(call, 0, sizeof *call);
}

dt_status dt_dnnl_reorder_create(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, dt_dnnl_call *out)
{
    dnnl_primitive_desc_t desc = NULL;
    dt_status status;

    DT_DNNL(dnnl_reorder_primitive_desc_create(&desc, from, engine, to, engine, NULL));
    status = dt_dnnl_call_create(desc, out);
    dnnl_primitive_desc_destroy(desc);
    DT_TRY(status);
    DT_TRY(dt_dnnl_call_arg(out, DNNL_ARG_FROM, from));
    return dt_dnnl_call_arg(out, DNNL_ARG_TO, to);
}
