/*
 * report.c - one layer's line in the reports of `detent verify` and `detent eval --engine array`.
 *
 * Tests: tests/accel/test_verify.c.
 */
#include "report.h"

#include "../array/tiling.h"

dt_array_report dt_array_report_of(const char *name, const dt_array *array, const dt_psum_shape *shape)
{
    const dt_tiling t = dt_tiling_of(array, shape);
    return (dt_array_report){ .name = name,
                              .macs = t.macs,
                              .cycles = t.cycles,
                              .utilisation = t.utilisation,
                              .sram_reads = t.activation_reads + t.weight_reads + t.psum_reads,
                              .sram_writes = t.psum_writes };
}

void dt_array_report_fill(dt_array_report *r, const dt_psum_stats *stats, int64_t images)
{
    r->images = images;
    r->n_psums = stats->n_psums;
    r->n_tap_psums = stats->n_tap_psums;
    r->min = stats->min;
    r->max = stats->max;
    r->bits = dt_psum_bits(stats->min, stats->max);
    r->n_overflows = stats->n_overflows;
    r->zero_share = stats->n_codes > 0 ? (double)stats->n_zero_codes / (double)stats->n_codes : 0.0;
}

void dt_array_report_repeat(dt_array_report *r, int maps)
{
    r->macs *= maps;
    r->cycles *= maps;
    r->sram_reads *= maps;
    r->sram_writes *= maps;
}
