/*
 * test_tiling.c - closed forms of cycles and SRAM traffic against what the cycle-level array counts.
 */
#include "../support/array_layer.h"

#include "../../accel/array/tiling.h"

static int64_t line_bytes(int64_t codes, int bits)
{
    return array_layer_tiles(codes * bits, 8);
}

/* 4-bit weights (-7..7) and unsigned activations of x_bits. */
static void expect_tiling(const char *layer, const array_layer *run, int x_bits, const dt_array_count *count)
{
    const dt_array *a = &run->array;
    const dt_tiling t = dt_tiling_of(a, &run->shape);
    const int64_t word = line_bytes(a->cols, a->psum_bits);
    const int ws = a->dataflow == DT_DATAFLOW_WS;

    cr_assert(t.cycles == count->cycles, "%s: %lld cycles, the array took %lld", layer, (long long)t.cycles,
              (long long)count->cycles);
    cr_assert(t.cycles == t.passes * (t.load + t.execute + t.drain + t.accumulate), "%s", layer);
    cr_assert(t.activation_reads == count->activation_lines * line_bytes(a->rows * a->simd, x_bits),
              "%s: %lld bytes of activations, %lld lines", layer, (long long)t.activation_reads,
              (long long)count->activation_lines);
    cr_assert(t.weight_reads == count->weight_lines * line_bytes(ws ? a->rows : a->cols * a->simd, 4),
              "%s: %lld bytes of weights, %lld lines", layer, (long long)t.weight_reads,
              (long long)count->weight_lines);
    cr_assert(t.psum_reads == count->psum_reads * word && t.psum_writes == count->psum_writes * word,
              "%s: %lld and %lld bytes of psums", layer, (long long)t.psum_reads, (long long)t.psum_writes);
    cr_assert(t.macs == run->n_psums * run->n_w / run->shape.filters, "%s: %lld macs", layer, (long long)t.macs);
    cr_assert(t.utilisation > 0.0 && t.utilisation <= 1.0, "%s: utilisation %g", layer, t.utilisation);
}

Test(tiling, random_layers_cost_what_the_array_counts)
{
    for (int kind = 0; kind < ARRAY_LAYER_KINDS; kind++) {
        for (uint32_t seed = 0; seed < ARRAY_LAYER_SEEDS; seed++) {
            char layer[200];
            array_layer run;
            dt_array_count count;
            array_layer_random(seed * ARRAY_LAYER_KINDS + (uint32_t)kind, kind, &run);
            array_layer_run(&run, &count);
            array_layer_describe(&run, layer, sizeof layer);
            expect_tiling(layer, &run, run.array.simd == 2 ? 2 : 4, &count);
            array_layer_close(&run);
        }
    }
}

/* SRAM of the first example, counted by hand: lines of 8 4-bit codes, words of 8 16-bit psums. */
Test(tiling, traffic_of_the_worked_example)
{
    array_layer run;
    array_layer_example(&run, 8, 16, 4, DT_DATAFLOW_WS);
    const dt_tiling t = dt_tiling_of(&run.array, &run.shape);
    cr_assert(t.activation_reads == 9 * 36 * 4 && t.weight_reads == 9 * 8 * 4);
    cr_assert(t.psum_writes == 9 * 16 * 16 && t.psum_reads == 8 * 16 * 16);
    cr_assert(t.macs == 9216 && t.utilisation == 9216.0 / (558.0 * 64.0));
    array_layer_close(&run);
}

/* The same layer, depthwise: as many cycles for an eighth of the products. */
Test(tiling, depthwise_uses_a_place_a_column)
{
    array_layer run;
    array_layer_example(&run, 8, 16, 4, DT_DATAFLOW_WS);
    run.shape.conv.groups = 8;
    const dt_tiling t = dt_tiling_of(&run.array, &run.shape);
    cr_assert(t.in_tiles == 1 && t.out_tiles == 1 && t.cycles == 558);
    cr_assert(t.macs == 1152 && t.utilisation == 1152.0 / (558.0 * 64.0));
    array_layer_close(&run);
}
