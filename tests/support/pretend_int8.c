/*
 * pretend_int8.c - preloaded, it makes any CPU one that multiplies bytes exactly, so that the tests of that path run
 *                  where there is no VNNI. Codes must be few enough bits that 16-bit sums of two products hold them.
 */
#include <oneapi/dnnl/dnnl.h>

dnnl_cpu_isa_t dnnl_get_effective_cpu_isa(void)
{
    return dnnl_cpu_isa_avx512_core_vnni;
}
